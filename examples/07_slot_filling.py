# %% [markdown]
# # 7. Slot filling
#
# **Claim: the loss of a sentence is the cross entropy summed over its words. And the words must not
# be shuffled, because the net learns from their order.**
#
# Each word of a sentence gets a label: the slot it fills, or O for none. The loss at a word is
# −log p, where p is the probability that the net gave to the right label. The words of a sentence
# belong together, so their losses are added up, and one backward pass serves them all.

# %%
from pathlib import Path

import numpy as np

import tinygrad_rnn as tr
import viz
from sentences import UNKNOWN, Sentence, numbering, read_iob, span_f1
from tinygrad_rnn import nn, train

pictures = Path("07_slot_filling")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)

here = Path(__file__).parent if "__file__" in globals() else Path()  # program or notebook
sentences = read_iob(here / "data" / "train.iob")
test = read_iob(here / "data" / "test.iob")
vocabulary = numbering((s.words for s in sentences), first=[UNKNOWN])
labels = list(numbering(s.labels for s in sentences))
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
# Before training, let the net give every label the same probability. With 9 labels the loss at each
# word is log 9 = 2.197, and that of a sentence of T words is T log 9.

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
# Stochastic gradient descent needs its examples in random order. But what is an example? A
# *sentence* is one; its words are the steps of that example. To see why, train two nets. Both see
# the sentences in random order. For the second one the words of every sentence are shuffled as
# well, each together with its label.


# %%
def shuffled(sentence, rng):
    order = rng.permutation(len(sentence.words))
    return Sentence(*([column[k] for k in order] for column in sentence))


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
    """Span F1 on new sentences, their words in order."""
    words, _, lengths = numbers(test)
    best = tagger(words, lengths).data.argmax(-1)
    given = [[labels[k] for k in best[:n, i]] for i, n in enumerate(lengths)]
    return span_f1([s.labels for s in test], given)


nets = {"in order": fit(Tagger(), False), "words shuffled": fit(Tagger(), True)}
nets["no memory"] = fit(Tagger(memory=False), False)
f1 = {name: score(net) for name, net in nets.items()}
print("span F1:", ", ".join(f"{name} {value:.1f}" for name, value in f1.items()))

# %% [markdown]
# Shuffling takes away what the hidden state is for. The net that learnt from shuffled words is
# hardly better than one without memory. It has learnt about words, but not about their order. To a
# net without memory the order makes no difference at all, since a sum does not depend on the order
# of its terms:

# %%
mixed = [shuffled(s, np.random.default_rng(1)) for s in test]
change = {name: net.loss(mixed).item() - net.loss(test).item() for name, net in nets.items()}
print("what shuffling the words of the test sentences adds to their loss:")
print(", ".join(f"{name} {value:z.2f}" for name, value in change.items()))

# %% [markdown]
# ## One gradient for all words
#
# The picture shows one sentence in the net that learnt from words in order. Each word has a loss of
# its own, which sends its gradient into the hidden state. From there it runs back to earlier words.

# %%
words = "leave taipei on november 2nd".split()
right = ["O", "B-departure", "O", "B-date", "I-date"]
net = nets["in order"]
hs, _ = nn.unroll(net.cell, net.embedding(np.array([[vocabulary[w]] for w in words])))
pairs = zip(hs, right, strict=True)
losses = [nn.cross_entropy(net.readout(h), [labels.index(y)]) for h, y in pairs]
total = sum(losses[1:], losses[0])
print("  ".join(f"{w} {loss.item():.3f}" for w, loss in zip(words, losses, strict=True)))
title = "A loss at every word"
viz.draw(total, pictures / "sentence.svg", level="cell", labels=words, title=title)

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. Take the mean over the words instead of the sum (`reduction="mean"`). What is the loss of each
#    of the three sentences before training? Hint: a mean does not depend on how many words there
#    are.
# 2. The test sentences contain cities that the training sentences do not. They all get the number
#    0, whose vector was never trained. Write a `Tagger` whose `loss` replaces one word in ten by
#    `UNKNOWN`, at random. Hint: a sentence is a named tuple, `s._replace(words=...)` copies
#    it.

# %%
# expected = ...  # three numbers
# tagger = Tagger()
# for weight in tagger.readout.parameters():
#     weight.data = np.zeros(weight.shape)
# for s, loss in zip(sentences, expected, strict=False):
#     words, right, lengths = numbers([s])
#     assert np.isclose(nn.cross_entropy(tagger(words), right, reduction="mean").item(), loss)

# %%
# class Hiding(Tagger):
#     def loss(self, some):
#         hidden = ...
#         return super().loss(hidden)
#
#
# assert score(fit(Hiding(), False)) > 90
