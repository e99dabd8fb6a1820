# %% [markdown]
# # 11. Not the sigmoid's fault
#
# **Claim: ReLU has the problem too. The cause is one weight used many times.**
#
# It is often said that gradients vanish because the sigmoid is flat: its slope is at most a
# quarter, and the product of fifty quarters is practically zero. That is true, but it is not the
# cause. Without the sigmoid the gradient still vanishes, or it explodes instead.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn

pictures = Path("11_not_the_sigmoids_fault")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)
T, B, I, H = 60, 4, 8, 64  # noqa: E741
xs = np.random.default_rng(0).normal(size=(T, B, I)) / 10


def net(nonlinearity, gain=None):
    """An Elman cell; W_hh is random with standard deviation gain / √H, or the identity."""
    cell = nn.ElmanCell(I, H, nonlinearity=nonlinearity, rng=0)
    rng = np.random.default_rng(1)
    cell.W_hh.data = np.eye(H) if gain is None else rng.normal(size=(H, H)) * gain / np.sqrt(H)
    cell.b.data = np.zeros(H)
    return cell


def run(cell):
    outputs, _ = nn.unroll(cell, xs)
    return (outputs[-1] ** 2).sum(), outputs


nets = {
    "sigmoid, gain 1": run(net("sigmoid", 1.0)),
    "tanh, gain 1": run(net("tanh", 1.0)),
    "ReLU, gain 1": run(net("relu", 1.0)),
    "ReLU, gain 2": run(net("relu", 2.0)),
    "ReLU from the identity": run(net("relu")),
}
ratios = {}
for name, (loss, outputs) in nets.items():
    trace = tr.backprop(loss)
    ratios[name] = trace.norm(outputs[0]) / trace.norm(outputs[-1])
    print(f"{name:24} the gradient reaches the first step times {ratios[name]:.2g}")

# %% [markdown]
# The slope of ReLU is 1 or 0; it is not flat where the unit is active. Yet with gain 1 the gradient
# vanishes, because half of the units are inactive and each step loses a factor of about √½. With
# gain 2 each step gains about √2, and it explodes. Only a narrow range between the two is stable.
# (tanh with gain 1 happens to be near its own: these inputs are so small that its slope is close
# to 1.)
#
# The identity lies in that range (Le, Jaitly and Hinton 2015): each step then passes on what it was
# given, and the gradient of an active unit is unchanged. But that holds only at the start: once
# W_hh has learnt something else, the gradient can vanish or explode again.

# %%
viz.gradient_flow(nets, pictures / "gradient_flow.svg")

# %% [markdown]
# ## The cause
#
# Reduce the net to one number: h ← w h, fifty times. There is no nonlinearity left to blame. The
# gradient that reaches the first step is w⁵⁰. Each step multiplies by *the same* w, so if w is a
# little above 1, all fifty steps act in the same direction.
#
# Now give each step a weight of its own, drawn from the same distribution. Some are above 1, some
# below. They partly cancel.

# %%
STEPS, DRAWS = 50, 1000
rng = np.random.default_rng(2)


def gradient_at_the_start(weights):
    """∂h_T/∂h_0 for one weight or one weight a step, for all draws at once."""
    start = tr.Tensor(np.ones(DRAWS), requires_grad=True)
    h = start
    for t in range(STEPS):
        with tr.step(t):
            h = weights[t % len(weights)] * h
    return tr.grad(h.sum(), start)[0].data


draws = 1.0 + 0.1 * rng.normal(size=(STEPS, DRAWS))
weights = [tr.Tensor(w, requires_grad=True) for w in draws]
tied = np.log10(np.abs(gradient_at_the_start(weights[:1])))
untied = np.log10(np.abs(gradient_at_the_start(weights)))
print(f"one weight, used {STEPS} times:    the gradient spreads over ±{tied.std():.2f} decades")
print(f"{STEPS} weights, used once each:   ±{untied.std():.2f} decades")
print(f"ratio {tied.std() / untied.std():.1f}; √{STEPS} is {np.sqrt(STEPS):.1f}")

# %%
figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
bins = np.linspace(-8, 6, 71)
axes.hist(tied, bins, alpha=0.7, label="one weight, used at every step")
axes.hist(untied, bins, alpha=0.7, label="a weight for each step")
axes.set(xlabel="log₁₀ of the gradient at the first step", ylabel="nets of 1,000")
axes.legend()
figure.savefig(pictures / "tied.svg")

# %% [markdown]
# On a log scale the spread grows in proportion to T if the weight is shared, and to √T if it is
# not: fifty equal steps against a random walk. This is why recurrent nets suffer more than deep
# nets whose layers have separate weights.
#
# The gradient of a weight that is used many times is also the sum of one contribution from each
# step (lesson 2). Here are the contributions for ReLU with gain 2: the earliest of the sixty steps
# determine the gradient of W_hh almost alone.

# %%
exploding = tr.backprop(nets["ReLU, gain 2"][0], keep="arrays")
viz.contributions(exploding, pictures / "contributions.svg")

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. For which gain does the gradient of the ReLU net neither vanish nor explode? Hint: half of the
#    units are inactive, so half of the variance is lost at each step.
# 2. With one shared weight all contributions of h ← w h to dh/dw are equal. Find one of them, and
#    their sum, in closed form. Hint: differentiate wᵀ, where T is the number of steps.

# %%
# gain = ...
# loss, outputs = run(net("relu", gain))
# trace = tr.backprop(loss)
# assert 0.1 < trace.norm(outputs[0]) / trace.norm(outputs[-1]) < 10

# %%
# one, total = ..., ...
# w = tr.Tensor(1.05, requires_grad=True)
# h = tr.Tensor(1.0)
# for t in range(STEPS):
#     with tr.step(t):
#         h = w * h
# contributions = tr.backprop(h, keep="arrays").by_step(w)
# assert np.allclose(contributions, one)
# assert np.isclose(contributions.sum(), total)
