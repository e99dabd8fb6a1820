# %% [markdown]
# # 15. A real corpus
#
# **Claim: it works on data that was not made for the lesson, and beats counting.**
#
# The text is Python's own standard library, which everyone who runs this has on disk. The task is
# simple: given all characters so far, how probable is each one that may come next? The measure is
# bits a character, on held-out text: the number of yes-no questions that a perfect guesser with
# these probabilities would still have to ask. A uniform guess among 96 characters costs 6.6.

# %%
import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import nn, train

pictures = Path("15_a_real_corpus")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)
STEPS, RATE = 800, 0.015
LIBRARY = ["argparse", "ast", "calendar", "cmd", "codeop", "configparser", "csv", "difflib"]
LIBRARY += ["dis", "doctest", "functools", "heapq", "inspect", "optparse", "pickle", "random"]

# As a program: python 15_a_real_corpus.py mytext.txt
paths = [Path(p) for p in sys.argv[1:]] if sys.argv[0].endswith("15_a_real_corpus.py") else []
paths = paths or [Path(os.__file__).parent / f"{name}.py" for name in LIBRARY]
text = "".join(path.read_text(encoding="utf-8") for path in paths)[:400_000]
characters, codes = np.unique(list(text), return_inverse=True)
cut = int(0.95 * len(codes))
learned, held_out = codes[:cut], codes[cut:]
V = len(characters)
print(f"{len(learned):,} characters to learn from, {len(held_out):,} held out, {V} kinds")

# %% [markdown]
# ## Counting
#
# An n-gram model predicts a character from the n − 1 before it, by counting. A context that was
# rarely seen is mixed with the shorter one; the more different characters have followed it, the
# larger the share of the shorter one (Witten and Bell 1991). These are the numbers to beat.


# %%
def ngram_bits(n):
    """Bits a character of the held-out text, given the n - 1 characters before it."""
    probability = np.full(len(held_out) - n + 1, 1 / V)
    for k in range(1, n + 1):
        counts = np.zeros((V,) * k)
        np.add.at(counts, tuple(learned[j : len(learned) - k + 1 + j] for j in range(k)), 1)
        seen = tuple(held_out[n - k + j : len(held_out) - k + 1 + j] for j in range(k))
        seen = tuple(part[: len(probability)] for part in seen)
        total, kinds = counts.sum(-1)[seen[:-1]], (counts > 0).sum(-1)[seen[:-1]]
        known = total > 0
        weight = np.where(known, total / np.maximum(total + kinds, 1), 0)
        share = counts[seen] / np.maximum(total, 1)
        probability = weight * share + (1 - weight) * probability
    return -np.log2(probability).mean()


bits = {name: ngram_bits(n) for n, name in enumerate(["single", "bigram", "trigram"], 1)}
if V < 120:  # its table has V⁴ entries
    bits["4-gram"] = ngram_bits(4)
print("  ".join(f"{name} {value:.2f}" for name, value in bits.items()))

# %% [markdown]
# ## An LSTM
#
# It reads one character at a time and has 128 memory cells. How far back it remembers is up to its
# gates. The text is one long sequence, so we use truncated backpropagation through time: 32
# characters at a time, and the state is carried over without its history. The norm of the gradient
# is clipped (lesson 10), and the cell runs as a derived program (lesson 14).


# %%
class CharacterModel(nn.Module):
    def __init__(self, hidden=128, rng=0):
        rng, kind = np.random.default_rng(rng), np.float32
        self.embedding = nn.Embedding(V, 32, rng=rng, dtype=kind)
        self.cell = tr.derive(nn.LSTMCell(32, hidden, rng=rng, forget_bias=1.0, dtype=kind))
        self.readout = nn.Linear(hidden, V, rng=rng, dtype=kind)

    def __call__(self, characters, state=None):
        outputs, state = nn.unroll(self.cell, self.embedding(tr.Tensor(characters)), state)
        return self.readout(tr.stack(outputs)), state


T, B = 32, 32
model = CharacterModel()
optimiser = train.Adam(model.parameters(), lr=RATE)
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
    optimiser.lr = train.cosine(RATE, step, STEPS)
    optimiser.step()
    curve.append(loss.item() / np.log(2))

# %%
rows = (len(held_out) - 1) // 8
inputs = np.stack([held_out[k * rows : (k + 1) * rows] for k in range(8)], axis=1)
targets = np.stack([held_out[k * rows + 1 : (k + 1) * rows + 1] for k in range(8)], axis=1)
with tr.no_grad():
    held_out_loss = nn.cross_entropy(model(inputs)[0], targets).item()
bits["LSTM"] = held_out_loss / targets.size / np.log(2)
print("  ".join(f"{name} {value:.2f}" for name, value in bits.items()), "bits a character")
best = min(bits.keys() - {"LSTM"}, key=bits.get)
print(f"the LSTM needs {bits[best] - bits['LSTM']:.2f} bits a character less than the {best}")

# %%
figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
axes.plot(np.convolve(curve, np.ones(20) / 20, "valid"), label="LSTM, in training")
for style, name in zip([":", "-.", "--"], ["bigram", "trigram", best], strict=True):
    axes.axhline(bits[name], linestyle=style, color="0.4", label=f"{name}, held out")
axes.axhline(bits["LSTM"], color="C0", label="LSTM, held out")
axes.set(xlabel="update", ylabel="bits a character", ylim=(1, 5))
axes.legend()
figure.savefig(pictures / "bits.svg")

# %% [markdown]
# A table for one more character has 96 times as many entries, nearly all of them for contexts that
# never occur. The number of memory cells does not depend on how far back the LSTM has to remember.

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. Shuffle the characters, so that their order says nothing. How long a context is then best: a
#    single character, a bigram or a trigram model? Hint: what can a context still tell?
# 2. How many numbers does the table of a 4-gram model hold, and how many does the LSTM with its
#    embedding and readout? Hint: lesson 6 counts parameters.

# %%
# rng = np.random.default_rng(0)
# learned, held_out = rng.permutation(learned), rng.permutation(held_out)
# best_n = ...  # 1, 2 or 3
# assert min([1, 2, 3], key=ngram_bits) == best_n

# %%
# entries, weights = ..., ...
# assert entries == np.prod([V] * 4)
# assert weights == sum(p.size for p in model.parameters())
