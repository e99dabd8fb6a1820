# %% [markdown]
# # 13. Gradients of gradients
#
# **Claim: the gradient is a graph too. So it can be differentiated again, and drawn.**
#
# A rule of this engine, such as g · (1 − y²) for tanh, consists of ordinary operations. Given
# arrays it computes. Given tensors it records, like anything else. So a backward pass with
# `create_graph=True` records a second graph: the computation of the gradient.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tr
import viz

pictures = Path("13_gradients_of_gradients")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)

x = tr.Tensor(0.5, requires_grad=True, name="x")
y = tr.tanh(x)
derivatives = [y]
for _ in range(4):
    derivatives += tr.grad(derivatives[-1], x, create_graph=True)

t = np.tanh(0.5)  # all of tanh's derivatives are polynomials in it
expected = [t, 1 - t**2, -2 * t * (1 - t**2), (1 - t**2) * (6 * t**2 - 2)]
expected += [(1 - t**2) * (16 * t - 24 * t**3)]
print("order   by the engine         by hand")
for order, (found, right) in enumerate(zip(derivatives, expected, strict=True)):
    print(f"{order:5}   {found.item():+.15f}    {right:+.15f}")

# %% [markdown]
# Five orders without an additional rule: the same line, `lambda g, y, x: g * (1.0 - y * y)`, served
# them all. Here is the graph of the second derivative. Its arrows carry the third.

# %%
viz.draw(derivatives[2], pictures / "second_derivative.svg", title="The second derivative of tanh")

# %% [markdown]
# Each order is about twice as large as the one before, because the product rule doubles the number
# of terms.
#
# ## Curvature without the matrix
#
# The Hessian of a loss over n weights has n² entries. Its product with one direction v needs only
# two backward passes: ∇(∇L · v). It tells how the gradient changes in the direction v. `hvp`
# computes it.
#
# Take the net of lesson 9: x ← w σ(x) + b, fifty times, from 0.5, and the loss (σ(x) − 0.7)². Where
# is its surface flat, and how sharp is the cliff? Move along w at b = −2.4, across the cliff, and
# measure slope and curvature on the way.


# %%
def loss(p):
    w, b = p[0], p[1]
    x = tr.Tensor(0.5)
    for step in range(50):
        with tr.step(step):
            x = w * tr.sigmoid(x) + b
    return (tr.sigmoid(x) - 0.7) ** 2


B = -2.4
along_w = np.array([1.0, 0.0])
ws = np.linspace(4.63, 4.69, 301)
values, slopes, curvatures = [], [], []
for w in ws:
    p = tr.Tensor([w, B], requires_grad=True)
    value = loss(p)
    values.append(value.item())
    slopes.append(tr.grad(value, p)[0].data[0])
    curvatures.append(tr.hvp(loss, [w, B], along_w).data[0])
steepest, sharpest = np.argmax(np.abs(slopes)), np.argmax(np.abs(curvatures))
flat = slice(0, 100)
print(f"flat part, w from {ws[0]} to {ws[99]:.2f}: |slope| <= {np.abs(slopes[flat]).max():.2g}")
print(f"steepest at w = {ws[steepest]:.2f}: slope {slopes[steepest]:.3g}")
print(f"sharpest at w = {ws[sharpest]:.2f}: curvature {curvatures[sharpest]:.3g}")

# %%
rows = [("loss", values), ("slope along w", slopes), ("curvature along w", curvatures)]
figure, places = plt.subplots(3, sharex=True, figsize=(7, 6), layout="constrained")
for axes, (name, numbers) in zip(places, rows, strict=True):
    axes.plot(ws, numbers)
    axes.set_ylabel(name)
axes.set(xlabel=f"w, at b = {B:g}")
figure.savefig(pictures / "cliff.svg")

# %% [markdown]
# The slope says how steep the surface is *here*. The curvature says how quickly that changes: a
# step of length s changes the slope by about s times the curvature. At the cliff the curvature is
# in the hundreds of thousands, so a step length that was right just before it is far too long on
# it. This is what clipping is for (lesson 10). Where b is lower, the cliff is steeper still.
#
# ## Is it right?
#
# A complex step of the *gradient* also gives the curvature, and it uses no second derivatives.
# `gradgradcheck` does this for every entry.

# %%
report = tr.check.gradgradcheck(loss, np.array([4.7, B]))
assert report
print("second derivatives by complex step: passed;", *report.notes[:1])
report

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. What are tanh and its first four derivatives at 0, and why do some of them vanish? Hint: tanh
#    is odd.
# 2. Find the direction, of length 1, in which the curvature at w = 4.7 is largest. Hint: `H` is
#    symmetric, and what is vᵀ H v if v is one of its eigenvectors?

# %%
# at_zero = ...  # five numbers
# x = tr.Tensor(0.0, requires_grad=True)
# derivatives = [tr.tanh(x)]
# for _ in range(4):
#     derivatives += tr.grad(derivatives[-1], x, create_graph=True)
# assert np.allclose([derivative.item() for derivative in derivatives], at_zero)

# %%
# H = tr.hessian(loss, [4.7, B])
# direction = ...
# angles = np.linspace(0, np.pi, 1000)
# around = np.stack([np.cos(angles), np.sin(angles)])
# assert np.isclose(np.linalg.norm(direction), 1)
# assert direction @ H @ direction >= np.einsum("ik,ij,jk->k", around, H, around).max()
