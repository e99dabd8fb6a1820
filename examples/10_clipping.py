# %% [markdown]
# # 10. Clipping
#
# **Claim: if the gradient is over a threshold, set it to the threshold, and training that failed
# converges.**
#
# At the cliff of lesson 9 the gradient's direction is still right. Only its length is absurd. So
# keep the direction and shorten the length. That is all of gradient clipping (Mikolov 2012;
# Pascanu, Mikolov and Bengio 2013).
#
# ## The same descent, clipped

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn, train

STEPS = 50


def loss(w, b):
    x = 0.5
    for step in range(STEPS):
        with tr.step(step):
            x = w * tr.sigmoid(np.float64(x) if isinstance(x, float) else x) + b
    return (tr.sigmoid(x) - 0.7) ** 2


def descend(threshold, steps=400, rate=0.05):
    """Lesson 9's descent, from the same start, with every gradient clipped."""
    w = tr.Tensor(5.2, requires_grad=True, name="w")
    b = tr.Tensor(-2.65, requires_grad=True, name="b")
    way, norms = [(w.item(), b.item())], []
    optimiser = train.SGD([w, b], lr=rate)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(w, b).backward()
        norms.append(train.clip_grad_norm([w, b], threshold))  # the norm before clipping
        optimiser.step()
        way.append((w.item(), b.item()))
    return np.array(way), np.array(norms)


ways = {}
for name, threshold in [("not clipped", np.inf), ("clipped at 1", 1.0)]:
    way, norms = descend(threshold)
    ways[name] = way
    print(f"{name:13} largest gradient {norms.max():6.0f}   ends at w = {way[-1][0]:6.2f}, "
          f"b = {way[-1][1]:6.2f}, loss {loss(*way[-1]):.5f}")  # fmt: skip

# %%
ws, bs = np.linspace(4.2, 5.6, 161), np.linspace(-3.2, -1.9, 161)
on_the_map = {"not clipped": ways["not clipped"][:25], "clipped at 1": ways["clipped at 1"]}
viz.error_surface(loss, ws, bs, on_the_map, "10_clipped_descent.svg")

# %% [markdown]
# Both meet the same wall at the same step, with the same gradient of about 4,000. One is thrown off
# the map. The other takes a step of 0.05, walks along the foot of the wall, and comes out low.
#
# ## A training that fails, and the same one that does not
#
# A linear recurrent net has to remember a number for twenty steps. Its matrix starts a little too
# large, and nothing squashes its state, so errors grow on the way back. The first steps overshoot;
# then numbers become infinite, and infinity minus infinity is not a number.

# %%
rng = np.random.default_rng(0)
xs = np.zeros((20, 32, 1))
xs[0, :, 0] = rng.normal(size=32)  # something to remember, then silence


def training(threshold, steps=600):
    """The losses; the norms of the gradients are clipped at `threshold`."""
    cell = nn.ElmanCell(1, 8, nonlinearity=lambda x: x, rng=3)
    cell.W_hh.data = 1.3 * np.linalg.qr(np.random.default_rng(3).normal(size=(8, 8)))[0]
    readout = nn.Linear(8, 1, rng=4)
    parameters = cell.parameters() + readout.parameters()
    optimiser, losses = train.SGD(parameters, lr=0.02), []
    for _ in range(steps):
        outputs, _ = nn.unroll(cell, xs)
        error = nn.mse(readout(outputs[-1]), xs[0], reduction="mean")
        losses.append(error.item())
        optimiser.zero_grad()
        error.backward()
        train.clip_grad_norm(parameters, threshold)
        optimiser.step()
    return np.array(losses)


with np.errstate(all="ignore"):
    curves = {"not clipped": training(np.inf), "clipped at 1": training(1.0)}
for name, losses in curves.items():
    print(f"{name:13} begins at {losses[0]:.3g}, ends at {losses[-1]:.3g}")

# %% [markdown]
# ## Where did the NaN come from?
#
# A loss that is NaN says nothing about the reason. `detect_anomaly` watches every operation and
# stops at the first that makes an infinity or a NaN, forward or backward. It names the time step.

# %%
report = ""
try:
    with tr.detect_anomaly():
        training(np.inf)
except FloatingPointError as error:
    report = str(error)
    print(report)

# %%
figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
for name, losses in curves.items():
    axes.plot(np.where(np.isfinite(losses), losses, np.nan), label=name)
axes.set(yscale="log", ylim=(1e-3, 1e6), xlabel="training step", ylabel="mean squared error")
axes.legend()
figure.savefig("10_training.svg")

# %% [markdown]
# Clipping does nothing against vanishing gradients: what is not there cannot be shortened. For that
# one needs another cell (lesson 6).
#
# ## Exercises
#
# 1. Clip each entry by itself instead (`train.clip_grad_value`). What happens to the direction?
#    Find two gradients that it turns by more than 40 degrees.
# 2. By what factor does clipping shorten a gradient of norm 5 at threshold 1? Check your answer:

# %%
p = tr.Tensor([0.0, 0.0], requires_grad=True)
(p * np.array([3.0, 4.0])).sum().backward()
train.clip_grad_norm([p], 1.0)
assert np.allclose(p.grad, [0.6, 0.8])
