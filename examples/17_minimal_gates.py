# %% [markdown]
# # 17. Minimal gates
#
# **Claim: if a gate does not look at h, the whole recurrence is one operation, a scan.**
#
# The gates of an LSTM and a GRU look at the input and at the hidden state, so step t has to wait
# for step t − 1. Feng et al. (2024, sections 3.1 and 3.2) leave the hidden state out, and the tanh
# as well. These are the *minimal* GRU and LSTM:
#
# | minGRU | minLSTM |
# |---|---|
# | z = σ(x W_z + b_z) | f = σ(x W_f + b_f), i = σ(x W_i + b_i) |
# | n = x W_n + b_n | n = x W_n + b_n |
# | h' = (1 − z) ⊙ h + z ⊙ n | h' = (f ⊙ h + i ⊙ n) ÷ (f + i) |

# %%
import time
from pathlib import Path

import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn

pictures = Path("17_minimal_gates")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)


class MinGRUCell(nn.Module):
    parts = "zn"

    def __init__(self, input_size, hidden_size):
        rng = np.random.default_rng(0)
        for part in self.parts:
            start = rng.normal(size=(input_size, hidden_size)) / np.sqrt(input_size)
            setattr(self, f"W_{part}", tr.Tensor(start, requires_grad=True))
            setattr(self, f"b_{part}", tr.Tensor(np.zeros(hidden_size), requires_grad=True))

    def initial_state(self, batch):
        return tr.Tensor(np.zeros((batch, len(self.b_n))))

    def keep_and_add(self, x):
        """The step h' = a ⊙ h + b as its pair (a, b); x is the input of one step, or of all."""
        with tr.scope("update gate"):
            z = tr.sigmoid(x @ self.W_z + self.b_z)
        with tr.scope("candidate"):
            n = x @ self.W_n + self.b_n
        return 1.0 - z, z * n

    def __call__(self, x, h):
        a, b = self.keep_and_add(x)
        h = a * h + b
        return h, h


class MinLSTMCell(MinGRUCell):
    parts = "fin"

    def keep_and_add(self, x):
        with tr.scope("forget gate"):
            f = tr.sigmoid(x @ self.W_f + self.b_f)
        with tr.scope("input gate"):
            i = tr.sigmoid(x @ self.W_i + self.b_i)
        with tr.scope("candidate"):
            n = x @ self.W_n + self.b_n
        return f / (f + i), i * n / (f + i)


# %% [markdown]
# ## Two steps are one step
#
# Look at what is left of a step: h' = a ⊙ h + b, and a and b come from the input alone. Do two of
# them:
#
# a₂ ⊙ (a₁ ⊙ h + b₁) + b₂ = (a₂ ⊙ a₁) ⊙ h + (a₂ ⊙ b₁ + b₂)
#
# That is a step of the same kind, so neighbours can be joined before anybody knows h. `nn.scan`
# does so in √T blocks of √T steps, for all blocks at once; a parallel machine needs log₂ T rounds.
# Its gradient δₜ = gₜ + aₜ₊₁ ⊙ δₜ₊₁ is a scan as well, from the last step to the first.

# %%
I, H = 8, 16  # noqa: E741
rng = np.random.default_rng(0)
inputs, start = rng.normal(size=(500, 2, I)), rng.normal(size=(2, H))  # 500 steps, 2 sequences


def by_steps(cell, xs, h0):
    return tr.stack(nn.unroll(cell, xs, h0)[0])


def by_scan(cell, xs, h0):
    return nn.scan(*cell.keep_and_add(xs), h0)


def values_and_gradients(run, cell):
    """All states, and the gradients of Σ sin h for the inputs, h0 and the weights."""
    leaves = tr.Tensor(inputs, requires_grad=True), tr.Tensor(start, requires_grad=True)
    h = run(cell, *leaves)
    return [x.data for x in (h, *tr.grad(tr.sin(h).sum(), [*leaves, *cell.parameters()]))]


agreement = {}
for cell in (MinGRUCell(I, H), MinLSTMCell(I, H)):
    results, name = [], type(cell).__name__
    for run in (by_steps, by_scan):
        began = time.perf_counter()
        results.append(values_and_gradients(run, cell))
        print(f"{name:11} {run.__name__} {time.perf_counter() - began:.4f} s")
    agreement[name] = max(abs(a - b).max() / abs(a).max() for a, b in zip(*results, strict=True))
    print(f"{name:11} largest relative difference {agreement[name]:.0e}")

# %% [markdown]
# Five steps, and the scan of them: time is now inside one box; the weights' gradients are the same.

# %%
cell = MinGRUCell(I, H)
xs, h0 = tr.Tensor(inputs[:5], name="xs"), tr.Tensor(start, name="h0")
viz.draw((by_steps(cell, xs, h0) ** 2).sum(), pictures / "steps.svg")

# %%
viz.draw((by_scan(cell, xs, h0) ** 2).sum(), pictures / "scan.svg", title="One scan over 5 steps")

# %% [markdown]
# ## The gradient through time
#
# From step to step the gradient is multiplied by a = 1 − z, entry by entry. A GRU also sends it
# through its gates and its candidate, by way of a matrix. Multiply all weights by ten: a matrix can
# make the gradient grow, and a factor between 0 and 1 cannot. The price: a gate that does not know
# the state cannot decide by it. Lesson 20 shows what such nets never learn.

# %%
flows, share = {}, {}
for name, cell in {"GRU": nn.GRUCell(I, H, rng=0), "minGRU": MinGRUCell(I, H)}.items():
    for scale in (1, 10):
        for p in cell.parameters():
            p.data = scale * p.data
        outputs, _ = nn.unroll(cell, inputs[:60])
        key = f"{name}, weights × {scale}"
        flows[key] = (outputs[-1] ** 2).sum(), outputs
        trace = tr.backprop(flows[key][0])
        share[key] = np.array([trace.norm(h) for h in outputs]) / trace.norm(outputs[-1])
        print(f"{key:21} at step 0 {share[key][0]:.0e} of the gradient at step 59")
viz.gradient_flow(flows, pictures / "gradient_flow.svg")

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. Write the function that joins two steps, and check that it is associative. Hint: the formula
#    is above.
# 2. A minGRU waits for 100 steps with x = 0. For which b_z does it still hold half of what it held?
#    Hint: 1 − σ(b) = σ(−b).

# %%
# def joined(first, second):
#     (a1, b1), (a2, b2) = first, second
#     return ..., ...
#
#
# p, q, r = rng.normal(size=(3, 2))
# assert np.allclose(joined(joined(p, q), r), joined(p, joined(q, r)))
# assert np.isclose(joined(joined(p, q), r)[1], nn.scan(*np.stack([p, q, r], axis=1), 0.0)[-1])

# %%
# bias = ...
# cell = MinGRUCell(1, 1)
# cell.b_z.data = np.array([bias])
# outputs, h = nn.unroll(cell, np.zeros((100, 1, 1)), np.ones((1, 1)))
# assert np.isclose(h.item(), 0.5)
