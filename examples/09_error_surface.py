# %% [markdown]
# # 9. The error surface
#
# **Claim: the error surface of a recurrent net is flat in some places and a cliff in others.**
#
# Vanishing and exploding gradients (lesson 8) belong to the same net. Where the surface is flat,
# they vanish; at the cliff, they explode. To see this you need a net so small that its surface can
# be drawn: one unit, two weights (Pascanu, Mikolov and Bengio 2013).
#
# The unit: x ← w σ(x) + b, fifty times, from x = 0.5. The loss: (σ(x) − 0.7)², at the end only.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tr
import viz

pictures = Path("09_error_surface")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)
STEPS = 50


def loss(w, b):
    """Works on numbers, arrays and tensors alike."""
    x = 0.5
    for step in range(STEPS):
        with tr.step(step):
            x = w * tr.sigmoid(np.float64(x) if isinstance(x, float) else x) + b
    return (tr.sigmoid(x) - 0.7) ** 2


def slope(w, b):
    """The loss and its gradient, by backpropagation through the fifty steps."""
    w, b = tr.Tensor(w, requires_grad=True), tr.Tensor(b, requires_grad=True)
    value = loss(w, b)
    return value.item(), np.array([g.item() for g in tr.grad(value, [w, b])])


# %% [markdown]
# ## Where is the cliff?
#
# For large w the map x ← w σ(x) + b has two stable fixed points. From x = 0.5 the unit moves to the
# upper one or to the lower one, and fifty steps are enough to get there. The boundary lies where
# 0.5 itself is a fixed point: w σ(0.5) + b = 0.5. We call this line the ridge. There a small
# difference is multiplied by w σ'(0.5) at each step. If that factor is more than 1, fifty steps
# turn it into a cliff.

# %%
sigma = 1 / (1 + np.exp(-0.5))
print("    w      b on the ridge   factor a step   factor over 50   |gradient| there")
rows = []
for w in (3.0, 4.0, 4.5, 5.0, 6.0):
    b = 0.5 - w * sigma
    factor = w * sigma * (1 - sigma)
    size = np.linalg.norm(slope(w, b)[1])
    rows.append((w, b, factor, size))
    print(f"{w:5}   {b:14.4f}   {factor:13.3f}   {factor**STEPS:14.3g}   {size:16.3g}")

# %%
ws, bs = np.linspace(2.0, 7.0, 161), np.linspace(-4.0, -1.0, 161)
values = viz.surface(loss, ws, bs, progress=False)
print(f"the loss lies between {values.min():.1e} and {values.max():.2f}")
viz.error_surface(loss, ws, bs, path=pictures / "surface.svg")

# %% [markdown]
# ## Falling off the cliff
#
# Start gradient descent on the low side, not far from the ridge. Its steps are small at first,
# because it is flat there. They lead towards the lowest place, which lies at the foot of the cliff,
# and zigzag between foot and edge. Then a step ends *on* the cliff. There the norm of the gradient
# is thousands of times larger, and the next step throws the weights off the map.


# %%
def descend(start, rate, steps, clip=np.inf):
    """The weights, one row a step; a gradient whose norm exceeds `clip` is scaled down to it."""
    way, norms = [np.array(start)], []
    for _ in range(steps):
        _, gradient = slope(*way[-1])
        norms.append(np.linalg.norm(gradient))
        way.append(way[-1] - rate * gradient * min(1.0, clip / norms[-1]))
    return np.array(way), np.array(norms)


START, RATE = (5.2, -2.65), 0.05
way, norms = descend(START, RATE, 40)
fall = int(np.argmax(norms))
before, after = way[fall], way[fall + 1]
print(f"after {fall} steps with a median gradient norm of {np.median(norms[:fall]):.2g}")
print(f"comes one of {norms[fall]:.4g}. It moves w = {before[0]:.2f}, b = {before[1]:.2f}")
print(f"to w = {after[0]:.0f}, b = {after[1]:.0f}, where the gradient is {norms[fall + 1]:.1g}")

# %%
near_ws, near_bs = np.linspace(5.06, 5.26, 161), np.linspace(-2.74, -2.60, 161)
near = viz.surface(loss, near_ws, near_bs, progress=False)
figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
figure.colorbar(axes.contourf(near_ws, near_bs, near, levels=30, cmap="viridis"), label="loss")
axes.plot(*way[: fall + 1].T, ".-", color="white", linewidth=1)
axes.annotate("start", way[0], (5, -14), textcoords="offset points", color="white")
edge = before + (after - before) * (near_bs[-1] - before[1]) / (after - before)[1]
axes.annotate("", edge, before, arrowprops={"arrowstyle": "->", "color": "red", "linewidth": 2})
where = f"to w = {after[0]:.0f}, b = {after[1]:.0f}"
axes.annotate(where, edge, (6, -16), textcoords="offset points", color="white")
axes.set(xlabel="w", ylabel="b", xlim=near_ws[[0, -1]], ylim=near_bs[[0, -1]])
figure.savefig(pictures / "descent.svg")

# %% [markdown]
# Where it landed, the surface is so flat that descent cannot return: the gradient there is zero.
# One step has undone all the others.

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. How wide is the cliff at w = 5? Find the two b where the loss has 90 % and 10 % of its drop
#    still ahead. Hint: bisection, from 0.1 below the ridge to 0.1 above it.
# 2. Descend with a rate ten times smaller. Does that prevent the fall, or is the loss larger at the
#    end than at the start? Predict, then run. Hint: what matters is whether a step ends on the
#    cliff.

# %%
# w, ridge, factor, _ = rows[3]
# top, bottom = loss(w, ridge - 0.1), loss(w, ridge + 0.1)
# b_90, b_10 = ..., ...
# assert np.isclose(loss(w, b_90), bottom + 0.9 * (top - bottom), rtol=1e-6)
# assert np.isclose(loss(w, b_10), bottom + 0.1 * (top - bottom), rtol=1e-6)
# print(f"{b_10 - b_90:.2g} wide; 1 / (factor over 50) is {factor**-STEPS:.2g}")

# %%
# larger = ...  # True or False
# slower, _ = descend(START, RATE / 10, 400)
# assert bool(loss(*slower[-1]) > loss(*START)) is larger
