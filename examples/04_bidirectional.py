# %% [markdown]
# # 4. Bidirectional
#
# **Claim: a net that reads from both sides sees the whole sentence at every word. One that reads
# from the left sees only what came before.**
#
# In [lesson 3](03_elman_and_jordan.py) the word that decides came first: *arrive taipei*. Here it
# comes last:
#
# - *taipei is where we arrive*: the city is the destination;
# - *taipei is where we leave*: it is the place of departure.
#
# A net that reads from the left has to label *taipei* before it has seen anything else. Neither
# training nor size will help.

# %%
import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn, train

pictures = Path("04_bidirectional")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)

cities = "taipei tokyo osaka paris rome vienna oslo lima quito cairo delhi madrid".split()
verbs = {"arrive": 1, "leave": 2}  # the city's label: 1 destination, 2 departure
choices = itertools.product(cities, ["we", "you", "they"], verbs)
sentences = [[city, "is", "where", who, verb] for city, who, verb in choices]

vocabulary = {word: i for i, word in enumerate(dict.fromkeys(itertools.chain(*sentences)))}
words = np.array([[vocabulary[word] for word in sentence] for sentence in sentences]).T
slots = np.zeros_like(words)  # (5 steps, 72 sentences); no slot: 0
slots[0] = [verbs[sentence[-1]] for sentence in sentences]
print(f"{len(sentences)} sentences, such as", " ".join(sentences[0]))

# %% [markdown]
# ## One direction and two
#
# `Bidirectional` runs one cell from the left and one from the right, and concatenates their
# outputs. Both nets below have 8 hidden units for each direction.


# %%
class Tagger(nn.Module):
    def __init__(self, both_sides):
        rng = np.random.default_rng(0)
        self.embedding = nn.Embedding(len(vocabulary), 8, rng=rng)
        cells = [nn.ElmanCell(8, 8, rng=rng) for _ in range(1 + both_sides)]
        self.net = nn.Bidirectional(*cells) if both_sides else nn.Stacked(*cells)
        self.readout = nn.Linear(8 * len(cells), 3, rng=rng)

    def __call__(self, x):
        """The scores of the three labels at every step."""
        return [self.readout(h) for h in self.net(x)[0]]


def fit(both_sides):
    tagger = Tagger(both_sides)
    optimiser = train.Adam(tagger.parameters(), lr=0.02)
    for _ in range(300):
        scores = tr.stack(tagger(tagger.embedding(words)))
        loss = nn.cross_entropy(scores, slots) / len(sentences)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    right = (scores.data.argmax(-1) == slots)[slots > 0]
    loss = nn.cross_entropy(scores, slots, mask=slots > 0, reduction="mean")
    return tagger, right.mean(), loss.item()


results = {name: fit(sides) for name, sides in {"left to right": False, "both sides": True}.items()}
for name, (_, right, loss) in results.items():
    print(f"{name:>13}: {right:.0%} of the cities right, cross entropy {loss:.3f}")

# %% [markdown]
# The two sentences of a pair begin alike, so the net that reads from the left gives both the same
# label and is right in one. Its cross entropy cannot fall below log 2 = 0.693, which is chance.
#
# ## Which label sees which word?
#
# Ask the gradient: how much would the score of "destination" at each word change with the vector of
# each word? `influence` returns a table, with a row for each label and a column for each word.
# Exactly zero means that there is no path from the one to the other.

# %%
sentence = sentences[0]
seen = {}
for name, (tagger, _, _) in results.items():
    vectors = tagger.embedding(words[:, :1])
    xs = [tr.Tensor(x.data, requires_grad=True) for x in vectors]
    seen[name] = tr.influence([y[0, 1] for y in tagger(xs)], xs)
    first = "  ".join(f"{w} {n:.1g}" for w, n in zip(sentence, seen[name][0], strict=True))
    print(f"{name:>13}, the label of {sentence[0]}:  {first}")

figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for ax, (name, table) in zip(axes, seen.items(), strict=True):
    sizes = np.ma.masked_equal(table, 0)  # exactly zero stays white
    image = ax.imshow(sizes, norm="log", vmin=1e-4, vmax=10, cmap="viridis_r")
    ax.set(title=name, xticks=range(5), yticks=range(5), xticklabels=sentence, xlabel="word")
    ax.set(yticklabels=sentence, ylabel="label of")
figure.colorbar(image, ax=axes, label="size of the gradient")
figure.savefig(pictures / "influence.svg")

# %% [markdown]
# From the left, a triangle: nothing above the diagonal. From both sides, the whole square. (The
# gradient of the deciding word is small here, because the hidden units of a trained net are
# saturated. But a small gradient means that there is a path; zero means that there is none.)
#
# In the picture of the bidirectional net there are two bands. The upper one runs from left to
# right, the lower one from right to left.

# %%
scores = tagger(vectors)  # the tagger that came last
losses = [nn.cross_entropy(y, slots[t, :1]) for t, y in enumerate(scores)]
viz.draw(
    sum(losses[1:], losses[0]), pictures / "both_sides.svg", level="cell", labels=sentence,
    title="Both sides: the loss of all labels of a sentence",
)  # fmt: skip

# %% [markdown]
# The price: a net that reads from both sides has to wait for the end. It cannot label a sentence
# while it is still being spoken.

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. What does the table look like for a net that reads from the *right* alone? Predict it before
#    you run the cell. Hint: which words has the net seen when it labels the first one?
# 2. Let the net that reads from the left wait: put the city's label on the *last* word instead of
#    on the city, and train again. Hint: `slots` has a row for each step.

# %%
# cell, readout = nn.ElmanCell(8, 8, rng=0), nn.Linear(8, 3, rng=0)
# ys = [readout(h) for h in nn.unroll(cell, xs, reverse=True)[0]]
# predicted = ...  # a table of 5 by 5, True where there is a path
# assert np.array_equal(tr.influence([y[0, 1] for y in ys], xs) > 0, predicted)

# %%
# slots = np.zeros_like(words)
# slots[...] = [verbs[sentence[-1]] for sentence in sentences]
# assert (slots[0] == 0).all()
# assert fit(both_sides=False)[1] == 1
