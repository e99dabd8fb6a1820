# %% [markdown]
# # 15. A real corpus
#
# **Claim: it works on data that nobody made for the lesson.**
#
# The text is Python's own standard library, which every reader of this has on disk. The task is as
# plain as can be: given all characters so far, how probable is each one that may come next? The
# measure is bits a character, on text held back: the number of yes-no questions a perfect guesser
# with these probabilities would still need. Guessing blindly among 96 characters costs 6.6.

# %%
import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import nn, train

STEPS = 1000
LIBRARY = ["argparse", "ast", "calendar", "cmd", "codeop", "configparser", "csv", "difflib"]
LIBRARY += ["dis", "doctest", "functools", "heapq", "inspect", "optparse", "pickle", "random"]

# As a program: python 15_a_real_corpus.py mytext.txt
paths = [Path(p) for p in sys.argv[1:]] if sys.argv[0].endswith("15_a_real_corpus.py") else []
paths = paths or [Path(os.__file__).parent / f"{name}.py" for name in LIBRARY]
text = "".join(path.read_text(encoding="utf-8") for path in paths)[:400_000]
characters, codes = np.unique(list(text), return_inverse=True)
cut = int(0.95 * len(codes))
learned, held_back = codes[:cut], codes[cut:]
V = len(characters)
print(f"{len(learned):,} characters to learn from, {len(held_back):,} held back, {V} kinds")

# %% [markdown]
# ## What one, two and three characters know
#
# A bigram model looks at one character to guess the next, a trigram model at two. It counts. A
# context that was rarely seen falls back on the shorter one, by as much as it has surprised before
# (Witten and Bell 1991). These are the numbers to beat.


# %%
def ngram_bits(n):
    """Bits a character of the held-back text, given the n - 1 characters before it."""
    probability = np.full(len(held_back) - n + 1, 1 / V)
    for k in range(1, n + 1):
        counts = np.zeros((V,) * k)
        np.add.at(counts, tuple(learned[j : len(learned) - k + 1 + j] for j in range(k)), 1)
        seen = tuple(held_back[n - k + j : len(held_back) - k + 1 + j] for j in range(k))
        seen = tuple(part[: len(probability)] for part in seen)
        total, kinds = counts.sum(-1)[seen[:-1]], (counts > 0).sum(-1)[seen[:-1]]
        known = total > 0
        weight = np.where(known, total / np.maximum(total + kinds, 1), 0)
        share = counts[seen] / np.maximum(total, 1)
        probability = weight * share + (1 - weight) * probability
    return -np.log2(probability).mean()


bits = {name: ngram_bits(n) for name, n in [("single", 1), ("bigram", 2), ("trigram", 3)]}
print("  ".join(f"{name} {value:.2f}" for name, value in bits.items()))

# %% [markdown]
# ## An LSTM with a store
#
# It reads one character at a time and keeps 128 numbers. How far back it looks is up to its gates.
# The text is one stream, so truncated backpropagation through time fits: 32 characters at a time,
# the state handed on without its history. The gradient norm is clipped (lesson 10).


# %%
class CharacterModel(nn.Module):
    def __init__(self, hidden=128, rng=0):
        rng, kind = np.random.default_rng(rng), np.float32
        self.embedding = nn.Embedding(V, 32, rng=rng, dtype=kind)
        self.cell = nn.LSTMCell(32, hidden, rng=rng, forget_bias=1.0, dtype=kind)
        self.readout = nn.Linear(hidden, V, rng=rng, dtype=kind)

    def __call__(self, characters, state=None):
        outputs, state = nn.unroll(self.cell, self.embedding(tr.Tensor(characters)), state)
        return self.readout(tr.stack(outputs)), state


T, B = 32, 32
model = CharacterModel()
optimiser = train.Adam(model.parameters(), lr=0.005)
length = len(learned) // B
streams = learned[: length * B].reshape(B, length).T  # 32 places in the text, side by side
starts = range(0, length - T, T)
state, curve = None, []
for step in range(STEPS):
    start = starts[step % len(starts)]
    state = None if start == 0 else train.detached(state)
    scores, state = model(streams[start : start + T], state)
    loss = nn.cross_entropy(scores, streams[start + 1 : start + T + 1]) / (T * B)
    optimiser.zero_grad()
    loss.backward()
    train.clip_grad_norm(model.parameters(), 5.0)
    optimiser.lr = train.cosine(0.005, step, STEPS)
    optimiser.step()
    curve.append(loss.item() / np.log(2))

# %%
rows = (len(held_back) - 1) // 8
inputs = np.stack([held_back[k * rows : (k + 1) * rows] for k in range(8)], axis=1)
targets = np.stack([held_back[k * rows + 1 : (k + 1) * rows + 1] for k in range(8)], axis=1)
with tr.no_grad():
    held_back_loss = nn.cross_entropy(model(inputs)[0], targets).item()
bits["LSTM"] = held_back_loss / targets.size / np.log(2)
print("  ".join(f"{name} {value:.2f}" for name, value in bits.items()), "bits a character")

# %%
figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
axes.plot(np.convolve(curve, np.ones(20) / 20, "valid"), label="LSTM, while it learns")
for style, name in [(":", "bigram"), ("--", "trigram"), ("-", "LSTM")]:
    axes.axhline(bits[name], linestyle=style, color="0.4", label=f"{name}, held back")
axes.set(xlabel="step", ylabel="bits a character", ylim=(1, 5))
axes.legend()
figure.savefig("15_bits.svg")

# %% [markdown]
# The LSTM beats bigram and trigram. It is no magic: counting four characters does about as well as
# so short a training, as exercise 2 shows. But there the tables end: with 96 kinds, five characters
# make 96⁵ entries, most of them never seen. The store has 128 numbers whatever it remembers.
#
# ## Exercises
#
# 1. Shuffle `learned` and `held_back` before training, so that no order is left. Which baseline is
#    then the best that anybody can do? (The single character: all should come close to `bits`'s.)
# 2. Here is the 4-gram. Double `STEPS` and see which of the two is ahead:

# %%
four = ngram_bits(4) if V < 120 else np.inf  # the table has V⁴ entries
print(f"4-gram {four:.2f} bits; LSTM after {STEPS} steps {bits['LSTM']:.2f}")
