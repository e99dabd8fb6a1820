# %% [markdown]
# # 10. Clipping
#
# **Claim: if the norm of the gradient exceeds a threshold, scale the gradient down to it, and
# training that failed converges.**
#
# At the cliff of lesson 9 the direction of the gradient is still right. Only its norm is far too
# large. So keep the direction and reduce the norm. That is all there is to gradient clipping
# (Mikolov 2012; Pascanu, Mikolov and Bengio 2013).
#
# ## The same descent, clipped

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn, train

pictures = Path("10_clipping")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)
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
    w, b = way[-1]
    print(f"{name:13} largest norm {norms.max():.0f}, ends at {w:.2f}, {b:.2f}: {loss(w, b):.5f}")

# %%
ws, bs = np.linspace(4.3, 5.6, 161), np.linspace(-2.8, -2.1, 161)
surface = viz.surface(loss, ws, bs, progress=False)
figure, panels = plt.subplots(1, 2, figsize=(11, 4.5), sharey=True, layout="constrained")
for axes, (name, way) in zip(panels, ways.items(), strict=True):
    contours = axes.contourf(ws, bs, surface, levels=30, cmap="viridis")
    inside = (np.abs(way - [4.95, -2.45]) < [0.65, 0.35]).all(axis=1)
    axes.plot(*way[inside].T, ".-", color="white", linewidth=1, markersize=3)
    if not inside.all():  # the step that leaves the map, as an arrow to its edge
        before, after = way[inside][-1], way[~inside][0]
        edge = before + (after - before) * (bs[-1] - before[1]) / (after - before)[1]
        axes.annotate("", edge, before, arrowprops={"arrowstyle": "->", "color": "red"})
        where = f"to w = {after[0]:.0f}, b = {after[1]:.0f}"
        axes.annotate(where, edge, (-4, -16), textcoords="offset points", color="white", ha="right")
    axes.set(title=name, xlabel="w", ylabel="b", xlim=ws[[0, -1]], ylim=bs[[0, -1]])
figure.colorbar(contours, ax=panels, label="loss")
figure.savefig(pictures / "descent.svg")

# %% [markdown]
# Both meet the same cliff at the same step, with a gradient of norm 4,155. One is thrown off the
# map. The other takes a step of 0.05, follows the foot of the cliff, and ends at a low loss.
#
# ## A training that fails, and the same one that does not
#
# A linear recurrent net has to remember a number for twenty steps. Its matrix starts a little too
# large, and there is no nonlinearity to bound its hidden state, so gradients grow on the way back.
# The first updates overshoot; then numbers become infinite, and infinity minus infinity is not a
# number.

# %%
rng = np.random.default_rng(0)
xs = np.zeros((20, 32, 1))
xs[0, :, 0] = rng.normal(size=32)  # something to remember, then silence


def training(threshold, steps=600):  # returns the loss at every update
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
# A loss that is NaN does not say why. `detect_anomaly` watches every operation and stops at the
# first that produces an infinity or a NaN, forward or backward. It names the time step.

# %%
report = ""
try:
    with tr.detect_anomaly():
        training(np.inf)
except FloatingPointError as error:
    report = str(error)
    print(report)

# %%
figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
failed, clipped = curves["not clipped"], curves["clipped at 1"]
end = int(np.argmax(~np.isfinite(failed)))
axes.plot(failed[:end], "o-", color="C3", label="not clipped")
axes.annotate(f"NaN at update {end}", (end, 1e5), (15, 0), textcoords="offset points", color="C3")
axes.plot(clipped, color="C0", alpha=0.25, linewidth=1)
mean = np.exp(np.convolve(np.log(clipped), np.ones(25) / 25, "valid"))  # of the logarithms
axes.plot(np.arange(len(mean)) + 12, mean, color="C0", label="clipped at 1, mean of 25 updates")
axes.set(yscale="log", ylim=(1e-3, 1e6), xlabel="update", ylabel="mean squared error")
axes.legend()
figure.savefig(pictures / "training.svg")

# %% [markdown]
# Clipping does nothing about vanishing gradients: scaling down cannot restore what is gone. For
# that you need another cell (lesson 6).

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. Clip each entry by itself instead (`train.clip_grad_value`). That changes the direction. Find a
#    gradient that it turns by more than 40 degrees. Hint: one entry far above the threshold, one
#    below it.
# 2. By what factor does clipping at 1 shorten a gradient of norm 5? Hint: the direction stays.

# %%
# g = np.array(...)  # two entries
# p = tr.Tensor([0.0, 0.0], requires_grad=True)
# (p * g).sum().backward()
# train.clip_grad_value([p], 1.0)
# assert p.grad @ g < np.cos(np.radians(40)) * np.linalg.norm(p.grad) * np.linalg.norm(g)

# %%
# factor = ...
# p = tr.Tensor([0.0, 0.0], requires_grad=True)
# (p * np.array([3.0, 4.0])).sum().backward()
# train.clip_grad_norm([p], 1.0)
# assert np.allclose(p.grad, factor * np.array([3.0, 4.0]))
