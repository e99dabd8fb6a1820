# %% [markdown]
# # 22. Forward through time
#
# **Claim: the gradient can also be carried forward, in memory that does not grow with T.**
#
# Backpropagation through time has to keep the past. Real-time recurrent learning (RTRL; Williams
# and Zipser 1989, section 2) keeps instead how the state depends on the weights, P = ∂h/∂θ. Every
# step moves P on, and the loss L of a step reads its gradient from it at once:
#
# P' = (∂h'/∂h) P + ∂h'/∂θ, and ∂L/∂θ = (∂L/∂h') P'

# %%
import tracemalloc
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import nn

pictures = Path("22_forward_through_time")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)
I, H, T = 2, 4, 30  # noqa: E741
rng = np.random.default_rng(0)
long_xs, targets = rng.normal(size=(1000, 1, I)), rng.normal(size=(1000, 1, H))
xs = long_xs[:T]
cell = nn.ElmanCell(I, H, rng=0)
weights = cell.parameters()


def losses(cell, xs):  # ½ ‖h − target‖² of every step
    outputs, _ = nn.unroll(cell, xs)
    return [0.5 * ((h - y) ** 2).sum() for h, y in zip(outputs, targets, strict=False)]


def flat(gradients):
    return np.concatenate([g.data.ravel() for g in gradients])


def step(x, h):
    """One step: the new state, and its derivatives by the old state and by the weights."""
    old = tr.Tensor(h, requires_grad=True)
    new, _ = cell(tr.Tensor(x), old)
    rows = np.array([flat(tr.grad(new, [old, *weights], unit)) for unit in np.eye(H)[:, None]])
    return new.data, rows[:, :H], rows[:, H:]


def rtrl(xs):  # the gradient of each step's loss
    h, P = np.zeros((1, H)), np.zeros((H, sum(w.size for w in weights)))
    for x, target in zip(xs, targets, strict=False):
        h, by_state, by_weights = step(x, h)
        P = by_state @ P + by_weights
        yield (h - target)[0] @ P


def bptt(xs):
    return flat(tr.grad(sum(losses(cell, xs)), weights))


by_loss = np.array(list(rtrl(xs)))
print(f"largest difference from backpropagation: {abs(by_loss.sum(axis=0) - bptt(xs)).max():.0e}")

# %% [markdown]
# `jvp`, the derivative of the whole unrolled graph along one direction, says the same. It takes a
# run for each weight; with P it is one run for all.


# %%
def whole(theta):
    net = nn.ElmanCell(I, H)
    net.W_xh, net.W_hh, net.b = theta[:8].reshape(I, H), theta[8:24].reshape(H, H), theta[24:]
    return sum(losses(net, xs))


along = [tr.jvp(whole, flat(weights), unit)[1].item() for unit in np.eye(28)]
print(f"largest difference from jvp: {abs(along - bptt(xs)).max():.0e}")

# %% [markdown]
# ## Two ways to add up a triangle
#
# The loss of step t depends on the weights through each step s ≤ t. Backpropagation adds up this
# triangle's columns, from right to left. RTRL adds up its rows, one for each loss, downwards.

# %%
triangle = np.zeros((T, T, by_loss.shape[1]))
for t, loss in enumerate(losses(cell, xs)):
    trace = tr.backprop(loss, keep="arrays")
    triangle[t, : t + 1] = np.hstack([trace.by_step(w).reshape(t + 1, -1) for w in weights])

memory = {}
for run in (bptt, lambda xs: sum(rtrl(xs))):
    run(long_xs)  # so that Python has filled its free lists
    for n in (10, 100, 1000):
        tracemalloc.start()
        run(long_xs[:n])
        memory[n] = [*memory.get(n, []), tracemalloc.get_traced_memory()[1] / 1e3]
        tracemalloc.stop()
for n, (back, ahead) in memory.items():
    print(f"{n:4} steps: backward {back:6.0f} kB, forward {ahead:3.0f} kB")

# %% [markdown]
# ## A smaller P
#
# P has H numbers for each weight. UORO (Tallec and Ollivier 2017, algorithm 1) keeps a column a and
# a row b, and draws signs ν each step: a' = ρ₀ (∂h'/∂h) a + ρ₁ ν, b' = b ÷ ρ₀ + ν (∂h'/∂θ) ÷ ρ₁.
# The mean of a b is P, for any ρ > 0: what the product has too much vanishes with the mean of ν.


# %%
def size(rows):
    return np.linalg.norm(rows, axis=1, keepdims=True) + 1e-7  # not 0: it divides


def uoro(xs, signs):
    """An estimate of the gradient for each draw of the signs, which are (T, draws, H)."""
    h, a, b, total = np.zeros((1, H)), np.zeros(signs.shape[1:]), 0.0 * signs[0, :, :1], 0.0
    for x, target, nu in zip(xs, targets, signs, strict=False):
        h, by_state, by_weights = step(x, h)
        a, c = a @ by_state.T, nu @ by_weights
        p0, p1 = np.sqrt(size(b) / size(a)), np.sqrt(size(c) / size(nu))
        a, b = p0 * a + p1 * nu, b / p0 + c / p1
        total = total + a @ (h - target).T * b
    return total


draws = uoro(xs, rng.choice([-1.0, 1.0], size=(T, 10_000, H)))
length = np.linalg.norm(bptt(xs))
shares = draws @ bptt(xs) / length  # of each draw, along the gradient
half = 2.576 * shares.std() / np.sqrt(len(shares))
print(f"gradient {length:.3f}; mean of 10,000 draws {shares.mean():.3f} ± {half:.3f} (99 %)")

# %%
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
norms = np.linalg.norm(triangle, axis=2)
figure.colorbar(left.imshow(np.log10(norms + 1e-9), vmin=-7), label="log₁₀ of the size")
left.set(xlabel="weights used at step s", ylabel="loss of step t")
middle.semilogy(norms[-1], "<-", label="backwards: the last row")
middle.semilogy(norms[:, 0], ">-", label="forwards: the first column")
middle.set(xlabel="step s or t")
right.hist(shares, 100, label="UORO, 10,000 draws")
right.axvline(length, color="C1", label="the gradient")
right.set(xlabel="estimates, along the gradient", yticks=[])
middle.legend(loc="lower center")
right.legend(loc="upper right")
figure.savefig(pictures / "forward.svg")
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. Suppose that backpropagation keeps only h of every step. After how many steps does it need as
#    many numbers as P has? Hint: P has a row for each entry of h.
# 2. Of how many draws of UORO must the mean be taken so that it scatters by 1 % of the gradient?
#    Hint: the scatter of a mean of N draws is 1/√N of that of one.

# %%
# steps = ...
# assert steps * H == (H * sum(w.size for w in weights))

# %%
# number = ...
# means = [rng.choice(shares, number).mean() for _ in range(100)]
# assert 0.007 < np.std(means) / length < 0.013
