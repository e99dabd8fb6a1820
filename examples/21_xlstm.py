# %% [markdown]
# # 21. xLSTM
#
# **Claim: exponential gates need a stabiliser. It changes no output, and without it comes NaN.**
#
# A sigmoid cannot say that this input counts a hundred times more than all before. Beck et al.
# (2024, eqs. 8 to 14) open the gates by exp instead, and divide by the sum n of what was let in.
# But exponentials overflow. So m keeps the largest exponent, and divides all by exp(m) (15 to 17):
#
# | sLSTM | with a stabiliser |
# |---|---|
# | c' = exp(f) ⊙ c + exp(i) ⊙ z | m' = max(f + m, i) |
# | n' = exp(f) ⊙ n + exp(i) | c' = exp(f + m − m') ⊙ c + exp(i − m') ⊙ z |
# | h' = o ⊙ c' ÷ n' | n' = exp(f + m − m') ⊙ n + exp(i − m') |

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn

pictures = Path("21_xlstm")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)


class SLSTMCell(nn.Module):
    def __init__(self, input_size, hidden_size, stable=True):
        rng, self.stable = np.random.default_rng(0), stable
        for part in "zifo":
            for letter, rows in {"W": (input_size,), "R": (hidden_size,), "b": ()}.items():
                start = rng.normal(size=(*rows, hidden_size)) / np.sqrt(hidden_size)
                setattr(self, f"{letter}_{part}", tr.Tensor(start, requires_grad=True))

    def initial_state(self, batch):
        m = -1e6 if self.stable else 0.0  # exp(-10⁶) is 0: nothing has been let in yet
        return tuple(tr.Tensor(np.full((batch, len(self.b_z)), s)) for s in (0.0, 0.0, 0.0, m))

    def __call__(self, x, state):
        h, c, n, m = state
        with tr.scope("cell input"):
            z = tr.tanh(x @ self.W_z + h @ self.R_z + self.b_z)
        with tr.scope("input gate"):
            i = x @ self.W_i + h @ self.R_i + self.b_i
        with tr.scope("forget gate"):
            f = x @ self.W_f + h @ self.R_f + self.b_f + m
        with tr.scope("output gate"):
            o = tr.sigmoid(x @ self.W_o + h @ self.R_o + self.b_o)
        m = tr.maximum(f, i) if self.stable else m
        c = tr.exp(f - m) * c + tr.exp(i - m) * z
        n = tr.exp(f - m) * n + tr.exp(i - m)
        h = o * c / n
        return h, (h, c, n, m)


# %% [markdown]
# Without the stabiliser m stays 0. If every forget gate is e¹⁰, n is about e¹⁰ᵗ. The largest double
# is e⁷⁰⁹·⁷⁸, so the end comes at step 71, and `detect_anomaly` names it. With e³⁰⁰ it is step 3.


# %%
def unrolled(stable, forget, steps):  # with input gates of 1, and forget gates exp(forget)
    cell = SLSTMCell(3, 4, stable)
    for name, p in cell.named_parameters().items():
        if name[-1] in "if":
            p.data = np.full(p.shape, forget if name == "b_f" else 0.0)
    return nn.unroll(cell, np.random.default_rng(1).normal(size=(steps, 1, 3)))[0]


print("stabilised, all finite:", all(np.isfinite(h.data).all() for h in unrolled(True, 10.0, 100)))
try:
    with tr.detect_anomaly():
        unrolled(False, 10.0, 100)
except FloatingPointError as error:
    print("without:", report := str(error))
with np.errstate(all="ignore"):
    loss = (unrolled(False, 300.0, 4)[-1] ** 2).sum()
    picture = viz.draw(loss, pictures / "overflow.svg", level="scope")
picture

# %%
viz.draw((unrolled(True, 300.0, 4)[-1] ** 2).sum(), pictures / "stabilised.svg", level="scope")

# %% [markdown]
# ## A matrix as memory
#
# The mLSTM (eqs. 19 to 27) stores values under keys, C = Σ v kᵀ, and a query q reads. No gate sees
# h, so all steps can be done at once: at step t, what step s stored counts D = exp(iₛ + log fₛ₊₁ +
# ... + log fₜ), and h = o ⊙ Σₛ D (q·k) v ÷ max(|Σₛ D (q·k)|, 1). Now m is a row's largest exponent.


# %%
class MLSTMCell(nn.Module):
    def __init__(self, input_size, size):
        rng = np.random.default_rng(0)
        for part, width in {"q": size, "k": size, "v": size, "o": size, "i": 1, "f": 1}.items():
            start = rng.normal(size=(input_size, width)) / np.sqrt(input_size)
            setattr(self, f"W_{part}", tr.Tensor(start, requires_grad=True))
            setattr(self, f"b_{part}", tr.Tensor(np.zeros(width), requires_grad=True))

    def initial_state(self, batch):
        d = len(self.b_q)
        arrays = np.zeros((batch, d, d)), np.zeros((batch, d)), np.full((batch, 1), -1e6)
        return tuple(map(tr.Tensor, arrays))

    def parts(self, x):
        q, k, v, o, i, f = (x @ vars(self)[f"W_{p}"] + vars(self)[f"b_{p}"] for p in "qkvoif")
        return q, k / len(self.b_q) ** 0.5, v, tr.sigmoid(o), i, -tr.softplus(-f)

    def __call__(self, x, state):
        C, n, m_old = state
        q, k, v, o, i, f = self.parts(x)
        m = tr.maximum(f + m_old, i)
        f, i = tr.exp(f + m_old - m), tr.exp(i - m)
        C = f[:, :, None] * C + (i * v)[:, :, None] * k[:, None, :]
        n = f * n + i * k
        norm = tr.maximum(abs((n * q).sum(axis=1, keepdims=True)), tr.exp(-m))
        h = o * (C @ q[:, :, None])[:, :, 0] / norm
        return h, (C, n, m)


def at_once(cell, xs):  # one sequence (T, I): its outputs, and D divided by each row's largest
    q, k, v, o, i, f = cell.parts(xs)
    total = tr.cumsum(f, axis=0)
    exponents = tr.where(np.tri(len(xs), dtype=bool), total - total.T + i.T, -np.inf)
    m = tr.max(exponents, axis=1, keepdims=True)
    D = tr.exp(exponents - m)
    S = D * (q @ k.T)
    return o * (S @ v) / tr.maximum(abs(S.sum(axis=1, keepdims=True)), tr.exp(-m)), D


cell = MLSTMCell(3, 4)
cell.W_i.data, cell.b_f.data = 10 * cell.W_i.data, np.full(1, 3.0)
xs = tr.Tensor(np.random.default_rng(2).normal(size=(60, 3)), requires_grad=True)
parallel, D = at_once(cell, xs)
recurrent = tr.stack(nn.unroll(cell, xs[:, None, :])[0])[:, 0, :]
leaves = [xs, *cell.parameters()]
compared = [[h, *tr.grad(tr.sin(h).sum(), leaves)] for h in (recurrent, parallel)]
difference = max(abs(a.data - b.data).max() for a, b in zip(*compared, strict=True))
print(f"mLSTM, recurrent and parallel: values and gradients differ by {difference:.0e}")
figure, axes = plt.subplots(layout="constrained")
figure.colorbar(axes.imshow(D.data), label="D, divided by the largest of the row")
axes.set(xlabel="stored at step s", ylabel="read at step t")
figure.savefig(pictures / "gates.svg")
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. At which step does the n of the unstabilised sLSTM overflow if its forget gates are e²? Hint:
#    n is the sum of a geometric series, and the largest double is e⁷⁰⁹·⁷⁸.
# 2. All input gates of the mLSTM above are multiplied by e¹⁰⁰, and C stays what it was. What has
#    become of m? Hint: C' = exp(f + m − m') C + exp(i − m') v kᵀ.

# %%
# first = ...
# try:
#     with tr.detect_anomaly():
#         unrolled(False, 2.0, 500)
# except FloatingPointError as error:
#     report = str(error)
# assert f"t={first}: multiply made inf" in report

# %%
# more = ...
# C, n, m = nn.unroll(cell, xs[:, None, :])[1]
# cell.b_i.data = cell.b_i.data + 100.0
# C_after, n_after, m_after = nn.unroll(cell, xs[:, None, :])[1]
# assert np.allclose(C.data, C_after.data)
# assert np.allclose(m.data + more, m_after.data)
