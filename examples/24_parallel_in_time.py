# %% [markdown]
# # 24. Parallel in time
#
# **Claim: Newton's method computes all steps of a net at once, in few iterations if it forgets.**
#
# A scan needs a recurrence that is linear in h (lesson 17). But h' = F(x, h) of all steps together
# is a system of T equations, and Newton's method solves it by linear ones. Guess all states, take
# the Jacobian J of each step at its guess, and the next guess follows from a linear recurrence:
#
# h' = F(x, guess) + J (h − guess)
#
# DEER (Lim et al. 2024, section 3) does this to any cell, ParaRNN (Danieli et al. 2025) to cells
# whose J is diagonal. The cell does not change: a batch of all steps takes the place of the loop.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn

pictures = Path("24_parallel_in_time")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)
I, H, T = 4, 16, 256  # noqa: E741
rng = np.random.default_rng(0)
inputs = rng.normal(size=(T, I))


def linearised(cell, xs, h):
    """Each step at the guess h: J, and the recurrence h' = J h + b as far as it is not J."""
    before = np.concatenate([np.zeros((1, H)), h[:-1]])
    start = tr.Tensor(before, requires_grad=True, name="guess")
    after, _ = cell(xs, start)
    rows = [tr.grad(after, start, np.tile(unit, (len(h), 1)))[0].data for unit in np.eye(H)]
    J = np.stack(rows, axis=1)
    return J, after - (J @ before[:, :, None])[:, :, 0]


def scan(J, b):
    """h = J h + b from step to step, from 0: neighbours are joined over 1, 2, 4, ... steps."""
    reach = 1
    while reach < len(b):
        longer = (J[reach:] @ b[:-reach, :, None])[:, :, 0] + b[reach:]
        b = tr.concatenate([b[:reach], longer])
        J = np.concatenate([J[:reach], J[reach:] @ J[:-reach]])
        reach *= 2
    return b


def newton(cell, xs):
    """The guesses, one after the other, until the next one is no different."""
    guesses = [np.zeros((len(xs), H))]
    while len(guesses) < 2 or abs(guesses[-1] - guesses[-2]).max() > 1e-10:
        J, b = linearised(cell, tr.Tensor(xs), guesses[-1])
        guesses.append(scan(J, b.data))
    return guesses[1:]


def by_steps(cell, xs):
    return tr.stack(nn.unroll(cell, xs[:, None, :])[0])[:, 0, :]


gru = nn.GRUCell(I, H, rng=0)
expected = by_steps(gru, inputs).data
for n, guess in enumerate(newton(gru, inputs), 1):
    print(f"iteration {n}: all {T} steps of a GRU to {abs(guess - expected).max():.0e}")

# %% [markdown]
# The number of right digits about doubles each time: four iterations of log₂ 256 = 8 rounds stand
# against 256 steps. On one core that is more work; on a thousand it is less time.
#
# ## The gradient is one more iteration
#
# Record one iteration that starts at the solution. There h − guess is 0, so it does not matter how
# J depends on the weights. What is left is the gradient of each step and a scan of J, which the
# engine walks backwards.


# %%
def at_once(cell, xs):
    guess = newton(cell, xs.data)[-1]
    return scan(*linearised(cell, xs, guess))


xs = tr.Tensor(inputs, requires_grad=True)
leaves = [xs, *gru.parameters()]
both = [tr.grad(tr.sin(run(gru, xs)).sum(), leaves) for run in (by_steps, at_once)]
worst = max(abs(a.data - b.data).max() for a, b in zip(*both, strict=True))
print(f"all gradients as by backpropagation through time, to {worst:.0e}")

# %% [markdown]
# Eight steps take three rounds. The cell stands there once, and no time axis is left.

# %%
few = tr.Tensor(inputs[:8], requires_grad=True, name="xs")
elman = nn.ElmanCell(I, H, rng=0)
loss = (at_once(elman, few) ** 2).sum()
viz.draw(loss, pictures / "at_once.svg", level="op", title="Eight steps at once")

# %% [markdown]
# ## As the weight grows past 1
#
# Newton's method is quick where its guess is near, and a net that forgets brings each guess nearer.
# Let W_hh be random, with standard deviation g / √H. A small difference of two states is multiplied
# by about exp(λ) at each step. As λ comes near 0, a guess is no good until all before it are right.

# %%
W_hh = rng.normal(size=(H, H)) / np.sqrt(H)
rows, errors = [], {}
for g in (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0):
    cell = nn.ElmanCell(I, H, rng=0)
    cell.W_hh.data, cell.b.data = g * W_hh, np.zeros(H)
    expected, guesses = by_steps(cell, inputs).data, newton(cell, inputs)
    errors[g] = np.array([abs(guess - expected).max(axis=1) for guess in guesses])
    d, growth = rng.normal(size=H), 0.0
    for J in linearised(cell, tr.Tensor(inputs), expected)[0]:
        d = J @ d
        growth, d = growth + np.log(np.linalg.norm(d)), d / np.linalg.norm(d)
    rows.append((g, len(guesses), growth / T, errors[g][-1].max()))
    print("g = {:4}: {:3} iterations, λ = {:+.2f}, error {:.0e}".format(*rows[-1]))

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
for place, g in zip(axes, (0.5, 1.5), strict=False):
    shown = place.imshow(np.log10(errors[g] + 1e-16), aspect="auto", vmin=-16, vmax=2)
    place.set(xlabel="step", ylabel="iteration", title=f"g = {g}")
figure.colorbar(shown, ax=axes[1], label="log₁₀ of the error")
axes[2].plot(*np.array(rows).T[:2], "o-")
axes[2].axhline(T, color="C1", linestyle="--", label="one after the other")
axes[2].set(xlabel="g", ylabel="iterations", yscale="log")
axes[2].legend()
figure.savefig(pictures / "newton.svg")

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. How many iterations does a net without a nonlinearity take, before one finds no difference?
#    Hint: what is the tangent of a straight line?
# 2. How many states are right after 5 iterations, whatever the net? Hint: the state before the
#    first step is known.

# %%
# iterations = ...
# linear = nn.ElmanCell(I, H, nonlinearity=lambda x: x, rng=0)
# linear.W_hh.data = 0.5 * W_hh
# assert len(newton(linear, inputs)) == iterations + 1

# %%
# right = ...
# assert right >= 5
# assert errors[2.0][4, :right].max() < 1e-9
