# %% [markdown]
# # 6. The LSTM in full
#
# **Claim: an LSTM cell is an Elman cell with a memory cell and three gates. It computes four things
# where the Elman cell computes one, so it has four times the parameters.**
#
# [Lesson 5](05_lstm_by_hand.py) set the gates by hand. Here they are learnt: the candidate and each
# gate are computed from x and the previous h, with weights of their own. Build up the cell line by
# line:
#
# | cell | equations | new |
# |---|---|---|
# | Elman | h' = tanh(a_g) | |
# | + memory cell | c' = c + tanh(a_g), h' = tanh(c') | the cell state adds up |
# | + input gate | c' = c + σ(a_i) tanh(a_g) | not everything is added |
# | + forget gate | c' = σ(a_f) c + σ(a_i) tanh(a_g) | not everything is kept |
# | + output gate | h' = σ(a_o) tanh(c') | not everything is shown |
#
# Each a is x W + h U + b with its own W, U and b. One product for x and one for h compute them all.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tr
import viz
from sentences import UNKNOWN, numbering, read_iob
from tinygrad_rnn import nn, train

pictures = Path("06_lstm_in_full")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)


class Grown(nn.Module):
    """Made of the parts named: "g" alone is the memory cell without gates, "ifgo" the LSTM."""

    def __init__(self, inputs, hidden, parts):
        self.parts = parts
        n, rng = len(parts) * hidden, np.random.default_rng(0)
        start = [rng.uniform(-1, 1, shape) / hidden**0.5 for shape in [(inputs, n), (hidden, n), n]]
        self.W_xh, self.W_hh, self.b = (tr.Tensor(a, requires_grad=True) for a in start)

    def initial_state(self, batch):
        zeros = np.zeros((batch, self.W_hh.shape[0]))
        return tr.Tensor(zeros, name="h"), tr.Tensor(zeros, name="c")

    def gates(self, x, h):
        a = tr.split(x @ self.W_xh + h @ self.W_hh + self.b, len(self.parts), axis=-1)
        a = dict(zip(self.parts, a, strict=True))
        return [tr.sigmoid(a[gate]) if gate in a else 1.0 for gate in "ifo"], tr.tanh(a["g"])

    def __call__(self, x, state):
        h, c = state
        (i, f, o), g = self.gates(x, h)
        c = f * c + i * g
        h = o * tr.tanh(c)
        return h, (h, c)


# %% [markdown]
# ## Counting
#
# An Elman cell with I inputs and H hidden units has H (I + H + 1) parameters: each unit is
# connected to all inputs and to all hidden units, and has a bias. Each gate has as many again.
# *Peepholes* connect the gates to the cell state c itself, which h may hide: one weight for each
# gate of each memory cell, 3 H more.


# %%
def count(module):
    return sum(p.size for p in module.parameters())


stages = {"+ memory cell": "g", "+ input gate": "ig", "+ forget gate": "ifg"}
stages["+ output gate"] = "ifgo"
counts = {"Elman": count(nn.ElmanCell(7, 5))}
counts |= {name: count(Grown(7, 5, parts)) for name, parts in stages.items()}
counts["+ peepholes"] = count(nn.PeepholeLSTMCell(7, 5))
for name, n in counts.items():
    print(f"{name:<14} {n:4} parameters, {n / counts['Elman']:.2f} times Elman's")

grown, ready = Grown(7, 5, "ifgo"), nn.LSTMCell(7, 5)
for name in ("W_xh", "W_hh", "b"):
    getattr(ready, name).data = getattr(grown, name).data
xs = np.random.default_rng(1).normal(size=(6, 2, 7))
ours, theirs = (tr.stack(nn.unroll(cell, xs)[0]).data for cell in (grown, ready))
difference = np.abs(ours - theirs).max()
print(f"the grown cell against nn.LSTMCell: largest difference {difference:.0e}")

# %% [markdown]
# Here is the grown cell over two steps. The lower row is the cell state: between one step and the
# next there are only the forget gate and an addition.

# %%
viz.draw(nn.unroll(grown, xs[:2])[0][-1].sum(), pictures / "grown.svg", title="The grown LSTM")

# %% [markdown]
# ## What do the gates do in a sentence?
#
# Train the grown cell to find slots, and look at its gates while it reads.

# %%
here = Path(__file__).parent if "__file__" in globals() else Path()  # program or notebook
sentences = read_iob(here / "data" / "train.iob")
vocabulary = numbering((s.words for s in sentences), first=[UNKNOWN])
labels = list(numbering(s.labels for s in sentences))
embedding = nn.Embedding(len(vocabulary), 16, rng=0)
cell, readout = Grown(16, 12, "ifgo"), nn.Linear(12, len(labels), rng=0)
optimiser = train.Adam([p for m in (embedding, cell, readout) for p in m.parameters()], lr=0.02)
rng = np.random.default_rng(0)
for _ in range(4):
    for batch in train.batches([len(s.words) for s in sentences], 16, rng):
        x, lengths = train.pad([[vocabulary[w] for w in sentences[k].words] for k in batch])
        y, _ = train.pad([[labels.index(label) for label in sentences[k].labels] for k in batch])
        scores = readout(tr.stack(nn.unroll(cell, embedding(x), lengths=lengths)[0]))
        loss = nn.cross_entropy(scores, y, np.arange(len(x))[:, None] < lengths) / len(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

words = "i want to leave on monday at night from new york".split()
vectors = embedding(np.array([[vocabulary[w]] for w in words]))
hs = nn.unroll(cell, vectors)[0]
print(*(f"{w}/{labels[readout(h).data.argmax()]}" for w, h in zip(words, hs, strict=True)))

before = zip(vectors, [cell.initial_state(1)[0], *hs[:-1]], strict=True)
gates = np.array([[gate.data[0] for gate in cell.gates(x, h)[0]] for x, h in before])

figure, axes = plt.subplots(1, 3, figsize=(11, 4), sharey=True, layout="constrained")
for k, name in enumerate(["input gate", "forget gate", "output gate"]):
    image = axes[k].imshow(gates[:, k].T, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    axes[k].set(title=name, xticks=range(len(words)))
    axes[k].set_xticklabels(words, rotation=60, ha="right")
axes[0].set_ylabel("memory cell")
figure.colorbar(image, ax=axes, label="0 closed, 1 open")
figure.savefig(pictures / "gates.svg")

# %% [markdown]
# A row is a memory cell, a column a word. Many gates work like switches. Look for a row of the
# output gate that is closed until a slot begins, and for rows that close just there.

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. The paper on peepholes (Gers, Schraudolph and Schmidhuber 2002) counts 17 weights in a net with
#    one input, one memory cell and one output unit. Account for all of them. Hint: what reads h?
# 2. Couple two gates: let the input gate be i = 1 − f, so that what is added replaces what is
#    forgotten. The cell state then stays between −1 and 1. Hint: which part is not needed any more?

# %%
# weights_of_the_output_unit = ...
# assert count(nn.PeepholeLSTMCell(1, 1)) + weights_of_the_output_unit == 17

# %%
# class Coupled(Grown):
#     def __call__(self, x, state):
#         h, c = state
#         (_, f, o), g = self.gates(x, h)
#         c = ...
#         h = o * tr.tanh(c)
#         return h, (h, c)
#
#
# coupled = Coupled(7, 5, ...)
# assert count(coupled) == 3 * counts["Elman"]
# assert np.abs(nn.unroll(coupled, 100 * np.ones((50, 1, 7)))[1][1].data).max() <= 1
