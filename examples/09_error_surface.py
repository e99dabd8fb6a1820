# %% [markdown]
# # 9. The error surface
#
# **Claim: the error surface of a recurrent net is flat here, and a cliff there.**
#
# Vanishing and exploding gradients (lesson 8) belong to the same net. Where it is flat, they
# vanish; at the cliff, they explode. To see it one needs a net so small that its surface can be
# drawn: one unit, two weights (Pascanu, Mikolov and Bengio 2013).
#
# The unit: x ← w σ(x) + b, fifty times, from x = 0.5. The loss: (σ(x) − 0.7)², at the end only.

# %%
import numpy as np

import tinygrad_rnn as tr
import viz

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
# Think of x ← w σ(x) + b as a slope with two valleys. From x = 0.5 the unit rolls into the upper
# valley or the lower one, and fifty steps are enough to arrive. Which one is decided at the ridge
# between them: where 0.5 itself is a fixed point, w σ(0.5) + b = 0.5. There a hair's difference is
# multiplied by w σ'(0.5) at each step. If that is more than 1, fifty steps make it a wall.

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

# %% [markdown]
# ## Falling off the cliff
#
# Gradient descent from the upper side, not far from the ridge. Its steps are small at first,
# because it is flat there. They lead towards the lowest place, which lies at the foot of the wall.
# Then a step ends *in* the wall. There the gradient is thousands of times larger, and one step
# throws the weights off the map.


# %%
def descend(start, rate, steps, clip=np.inf):
    """The way down, one row a step; a gradient longer than `clip` is shortened to it."""
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
print(f"after {fall} quiet steps, the median gradient {np.median(norms[:fall]):.2g},")
print(f"one of {norms[fall]:.4g}: from w = {before[0]:.2f}, b = {before[1]:.2f}")
print(f"to w = {after[0]:.0f}, b = {after[1]:.0f}, where the gradient is {norms[fall + 1]:.1g}")

# %%
viz.error_surface(loss, ws, bs, {"gradient descent": way[: fall + 1]}, "09_error_surface.svg")

# %% [markdown]
# Where it landed, it is so flat that nothing will ever bring it back: the gradient there is zero.
# One step has undone all the others.
#
# ## Exercises
#
# 1. How thick is the wall at w = 5? Find the b on each side where the loss is a tenth of the way
#    between plain and plain, by bisection, and compare with 1 / (factor over 50).
# 2. Fall off with a rate ten times smaller. It takes longer; does it help? (Try
#    `descend(START, RATE / 10, 400)` and look at the largest gradient.)

# %%
w, b, factor, size = rows[3]
left, right = loss(w, b - 1e-2), loss(w, b + 1e-2)
assert abs(left - right) > 0.2  # a hundredth to each side of the ridge: two different plains
