# %% [markdown]
# # 3. Elman and Jordan
#
# **Claim: an Elman net feeds back its hidden state, a Jordan net feeds back its output. What is not
# in the output, a Jordan net cannot remember.**
#
# The two oldest recurrent nets differ in one arrow: what is fed back.
#
# - Elman (1990): h' = tanh(x W_xh + h W_hh + b), then the output is read off h'.
# - Jordan (1986): h' = tanh(x W_xh + y W_yh + b), y' = softmax(h' W_hy + b_y), and only y' is kept.
#
# A Jordan net's state is its last output. That makes it easy to read, and it is also its limit.

# %%
from pathlib import Path

import numpy as np

import tinygrad_rnn as tr
import viz
from sentences import UNKNOWN, numbering, read_iob, span_f1
from tinygrad_rnn import nn, train

pictures = Path("03_elman_and_jordan")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)

# %% [markdown]
# ## A task that only one of them can do
#
# Show the net a letter, A or B. Then let it wait for four steps and *say nothing*. Then ask, and it
# has to say the letter.
#
# While it waits, the right output is "nothing" in both cases. So a Jordan net that does its task
# keeps the same state in both cases. When it is asked it cannot know: the best it can do is to give
# A and B the probability ½ each. That is chance, and it costs a cross entropy of −log ½ = 0.693.

# %%
NOTHING, A, B = 0, 1, 2
STEPS = 6
shown = np.zeros((STEPS, 2, 4))  # 6 steps, 2 sequences, and 4 kinds of input
shown[0, 0, 0] = shown[0, 1, 1] = 1  # A in one sequence, B in the other
shown[1:-1, :, 2] = 1  # wait
shown[-1, :, 3] = 1  # say it
said = np.full((STEPS, 2), NOTHING)
said[-1] = A, B


def descend(parameters, loss, updates, lr=0.02):
    optimiser = train.Adam(parameters, lr=lr)
    for k in range(updates):
        optimiser.zero_grad()
        loss(k).backward()
        optimiser.step()


class Elman(nn.Module):
    def __init__(self, inputs, hidden, classes):
        rng = np.random.default_rng(0)
        self.cell = nn.ElmanCell(inputs, hidden, rng=rng)
        self.readout = nn.Linear(hidden, classes, rng=rng)

    def __call__(self, xs, lengths=None):  # the scores of every step
        return [self.readout(h) for h in nn.unroll(self.cell, xs, lengths=lengths)[0]]


class Jordan(nn.Module):
    def __init__(self, inputs, hidden, classes):
        self.cell = nn.JordanCell(inputs, hidden, classes, rng=0)

    def __call__(self, xs, lengths=None):  # its outputs are probabilities already
        return [tr.log(y + 1e-12) for y in nn.unroll(self.cell, xs, lengths=lengths)[0]]


when_asked, last = {}, {}
for Net in (Elman, Jordan):
    net = Net(4, 8, 3)
    descend(net.parameters(), lambda k, net=net: nn.cross_entropy(tr.stack(net(shown)), said), 300)
    scores = net(shown)[-1]
    last[Net.__name__] = nn.cross_entropy(scores, said[-1], reduction="mean")
    when_asked[Net.__name__] = last[Net.__name__].item()
    right = np.mean(scores.data.argmax(-1) == said[-1])
    print(f"{Net.__name__:>6}: {when_asked[Net.__name__]:.3f} when asked, {right:.0%} right")

# %% [markdown]
# The Jordan net is at chance, 0.69. In principle it could hide the letter in the last decimals of
# its "nothing". Training does not find that. The picture shows why: it is the gradient of the last
# answer, in both nets after training. In the Jordan net only y runs from step to step, and y is
# trained to say "nothing". The gradient shrinks by a factor of about 1,000 a step, and hardly any
# of it reaches the letter at step 0.

# %%
viz.draw(last, pictures / "both.svg", level="cell", title="The gradient of the last answer")

# %% [markdown]
# ## Slot filling without context words
#
# In *arrive taipei* the city is a destination, in *leave taipei* a place of departure. A net with
# memory needs only one word at each step. All nets read the same sentences five times; the score is
# the span F1 on new sentences. Expect the Jordan net in between: all it remembers of *leave* is
# that it said "no slot".

# %%
here = Path(__file__).parent if "__file__" in globals() else Path()  # program or notebook
sentences = read_iob(here / "data" / "train.iob")
test = read_iob(here / "data" / "test.iob")
vocabulary = numbering((s.words for s in sentences), first=[UNKNOWN])
labels = list(numbering(s.labels for s in sentences))


def padded(some):
    """Word numbers and label numbers, (steps, sentences) each, and lengths."""
    words, lengths = train.pad([[vocabulary.get(w, 0) for w in s.words] for s in some])
    return words, train.pad([[labels.index(x) for x in s.labels] for s in some])[0], lengths


class NoMemory(nn.Linear):  # each word by itself
    def __init__(self, inputs, hidden, classes):
        super().__init__(inputs, classes, rng=0)

    def __call__(self, xs, lengths=None):
        return [super(NoMemory, self).__call__(x) for x in xs]


def score(Net):
    net, embedding = Net(16, 16, len(labels)), nn.Embedding(len(vocabulary), 16, rng=0)
    rng, sizes = np.random.default_rng(0), [len(s.words) for s in sentences]
    batches = [b for _ in range(5) for b in train.batches(sizes, 16, rng)]

    def loss(k):
        words, right, lengths = padded([sentences[i] for i in batches[k]])
        real = np.arange(len(words))[:, None] < lengths
        scores = tr.stack(net(embedding(words), lengths))
        return nn.cross_entropy(scores, right, real) / len(lengths)

    descend([*net.parameters(), *embedding.parameters()], loss, len(batches))
    words, _, lengths = padded(test)
    found = np.array([scores.data.argmax(-1) for scores in net(embedding(words), lengths)])
    given = [[labels[k] for k in found[:n, i]] for i, n in enumerate(lengths)]
    return span_f1([s.labels for s in test], given)


f1 = {Net.__name__: score(Net) for Net in (NoMemory, Jordan, Elman)}
print("span F1:", ", ".join(f"{name} {value:.1f}" for name, value in f1.items()))

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. Let the net *repeat* the letter while it waits. Now the letter is in the output, and a Jordan
#    net can do the task. Hint: `said` has a row for each step and a column for each sequence.
# 2. Do not wait at all: two steps, show and ask, with "nothing" at the first. How well does the
#    Jordan net do now? Hint: what is its state after the first step?

# %%
# repeated = ...
# net = Jordan(4, 8, 3)
# descend(net.parameters(), lambda k: nn.cross_entropy(tr.stack(net(shown)), repeated), 300)
# assert nn.cross_entropy(net(shown)[-1], said[-1], reduction="mean").item() < 0.1

# %%
# two_inputs, two_targets, expected = ..., ..., ...
# net = Jordan(4, 8, 3)
# descend(net.parameters(), lambda k: nn.cross_entropy(tr.stack(net(two_inputs)), two_targets), 300)
# found = nn.cross_entropy(net(two_inputs)[-1], two_targets[-1], reduction="mean").item()
# assert len(two_inputs) == 2
# assert abs(found - expected) < 0.05
