# %% [markdown]
# # 7. Slot filling
#
# **Claim: the error of a sentence is the cross entropy summed over its words. And the words must
# not be shuffled, for their order is what the net learns from.**
#
# Each word of a sentence gets a label: the slot it fills, or O for none. The error at a word is
# −log p, with p the probability that the net gave to the right label. The words of a sentence
# belong together, so their errors are added up, and one gradient serves them all.

# %%
from pathlib import Path

import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn, train

here = Path(__file__).parent if "__file__" in globals() else Path()  # program or notebook
sentences = train.read_iob(here / "data" / "train.iob")
test = train.read_iob(here / "data" / "test.iob")
vocabulary = train.numbering((s.words for s in sentences), first=[train.UNKNOWN])
labels = list(train.numbering(s.labels for s in sentences))
print(f"{len(sentences)} sentences, {len(vocabulary)} words, {len(labels)} labels")


def numbers(some):
    """Word numbers and label numbers, each (steps, sentences), and the lengths."""
    words, lengths = train.pad([[vocabulary.get(w, 0) for w in s.words] for s in some])
    return words, train.pad([[labels.index(label) for label in s.labels] for s in some])[0], lengths


class Tagger(nn.Module):
    def __init__(self, memory=True):
        rng = np.random.default_rng(0)
        self.embedding = nn.Embedding(len(vocabulary), 16, rng=rng)
        self.cell = nn.LSTMCell(16, 16, rng=rng) if memory else None
        self.readout = nn.Linear(16, len(labels), rng=rng)

    def __call__(self, words, lengths=None):
        """The scores of all labels, (steps, sentences, labels)."""
        x = self.embedding(words)
        if self.cell is not None:
            x = tr.stack(nn.unroll(self.cell, x, lengths=lengths)[0])
        return self.readout(x)

    def loss(self, some):
        words, right, lengths = numbers(some)
        real = np.arange(len(words))[:, None] < lengths  # not past the end of a sentence
        return nn.cross_entropy(self(words, lengths), right, real)


# %% [markdown]
# ## A sum over steps
#
# Before it has learnt anything, let the net give every label the same probability: with 9 labels
# each word costs log 9 = 2.197, and a sentence of T words costs T log 9.

# %%
tagger = Tagger()
for weight in tagger.readout.parameters():
    weight.data = np.zeros(weight.shape)
untrained = [tagger.loss([s]).item() for s in sentences[:3]]
for s, loss in zip(sentences, untrained, strict=False):
    n = len(s.words)
    print(f"{n:2} words cost {loss:.3f}, that is {loss / n:.3f} each: {' '.join(s.words)}")

# %% [markdown]
# ## Training, with and without shuffling the words
#
# Stochastic descent wants its examples in random order. But what is an example? A *sentence* is.
# Its words are the steps of one example. To see it, train two nets. Both see the sentences in
# random order. For the second one the words of every sentence are shuffled as well, each with its
# label.


# %%
def shuffled(sentence, rng):
    order = rng.permutation(len(sentence.words))
    return train.Sentence(*([column[k] for k in order] for column in sentence))


def fit(tagger, mix, epochs=5):
    optimiser = train.Adam(tagger.parameters(), lr=0.02)
    rng = np.random.default_rng(0)
    for _ in range(epochs):
        for batch in train.batches([len(s.words) for s in sentences], 16, rng):
            some = [shuffled(sentences[k], rng) if mix else sentences[k] for k in batch]
            loss = tagger.loss(some) / len(some)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return tagger


def score(tagger):
    """Span F1 on sentences not seen, their words in order."""
    words, _, lengths = numbers(test)
    best = tagger(words, lengths).data.argmax(-1)
    given = [[labels[k] for k in best[:n, i]] for i, n in enumerate(lengths)]
    return train.span_f1([s.labels for s in test], given)


nets = {"in order": fit(Tagger(), False), "words shuffled": fit(Tagger(), True)}
nets["no memory"] = fit(Tagger(memory=False), False)
f1 = {name: score(net) for name, net in nets.items()}
print("span F1:", ", ".join(f"{name} {value:.1f}" for name, value in f1.items()))

# %% [markdown]
# Shuffling takes away what the store is for. The net that learnt from shuffled words is hardly
# better than one without memory. It knows words, and not what their order says. To a net without
# memory the order is nothing at all, since a sum does not care about the order of its terms:

# %%
mixed = [shuffled(s, np.random.default_rng(1)) for s in test]
change = {name: net.loss(mixed).item() - net.loss(test).item() for name, net in nets.items()}
print("what shuffling the test's words adds to their error:")
print(", ".join(f"{name} {value:z.2f}" for name, value in change.items()))

# %% [markdown]
# ## One gradient for all words
#
# The picture is one sentence in the net that learnt from words in order. Each word has an error of
# its own, and sends its gradient up into the store. There it runs back to the words before.

# %%
words = "leave taipei on november 2nd".split()
right = ["O", "B-departure", "O", "B-date", "I-date"]
net = nets["in order"]
hs, _ = nn.unroll(net.cell, net.embedding(np.array([[vocabulary[w]] for w in words])))
pairs = zip(hs, right, strict=True)
errors = [nn.cross_entropy(net.readout(h), [labels.index(y)]) for h, y in pairs]
total = sum(errors[1:], errors[0])
print("  ".join(f"{w} {e.item():.3f}" for w, e in zip(words, errors, strict=True)))
viz.draw(total, "07_slot_filling.svg", level="cell", labels=words, title="An error at every word")

# %% [markdown]
# ## Exercises
#
# 1. Give `Tagger.loss` the mean over the words instead of the sum (`reduction="mean"`). What does
#    each of the three sentences cost then, before training? Work it out first.
# 2. The test has cities that the training has not. They get the number 0, whose vector was never
#    trained. In `fit`, replace one word in ten by `train.UNKNOWN`, at random. Reach 90.

# %%
# assert np.allclose(untrained, ...)

# %%
# assert f1["in order"] > 90
