# %% [markdown]
# # 11. Not the sigmoid's fault
#
# **Claim: ReLU has the problem too. The cause is one weight used many times.**
#
# It is often said that gradients vanish because the sigmoid is flat: its slope is at most a
# quarter, and fifty quarters multiplied are nothing. That is true, and it is not the cause. Take
# the sigmoid away and the gradient vanishes still, or explodes instead.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn

T, B, I, H = 60, 4, 8, 64  # noqa: E741
xs = np.random.default_rng(0).normal(size=(T, B, I)) / 10


def net(nonlinearity, gain=None):
    """An Elman cell; W_hh random with gain/√H a weight, or the identity for no gain at all."""
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
# ReLU's slope is 1 or 0; nothing about it is flat where it is on. Yet with gain 1 its gradient
# vanishes, because half of the units are off and each step loses a factor of about √½. With gain 2
# each step gains about √2, and it explodes. Between the two lies a knife's edge. (tanh with gain 1
# happens to sit near its own: these inputs are so small that its slope is close to 1.)
#
# Starting from the identity *is* that edge (Le, Jaitly and Hinton 2015): each step then hands on
# what it was given, and a unit that is on passes its gradient unchanged. It is a start, not a cure:
# once W_hh has learned something else, it is off the edge again.

# %%
viz.gradient_flow(nets, "11_gradient_flow.svg")

# %% [markdown]
# ## The cause
#
# Strip the net to one number: h ← w h, fifty times. There is no nonlinearity left to blame. The
# gradient that reaches the first step is w⁵⁰. Each step multiplies by *the same* w, so if w is a
# little above 1, all fifty steps pull the same way.
#
# Now let each step have a weight of its own, drawn alike. Some are above 1, some below. They
# cancel.

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
figure.savefig("11_tied.svg")

# %% [markdown]
# The spread grows with T if the weight is shared and with √T if not: a random walk against a
# straight march. Deep nets with separate layers walk. Recurrent nets march.
#
# And a weight that is used many times is also *pushed* many times. Its gradient is the sum of one
# contribution a step (lesson 2). Here they are for ReLU with gain 2: the earliest of the sixty
# steps decide nearly alone where W_hh goes.

# %%
exploding = tr.backprop(nets["ReLU, gain 2"][0], keep="arrays")
viz.contributions(exploding, "11_contributions.svg")

# %% [markdown]
# ## Exercises
#
# 1. For which gain does the ReLU net neither vanish nor explode? Find it by bisection on `ratios`,
#    and explain why it is near √2.
# 2. With one shared weight all of h ← w h's contributions to dL/dw are equal. Show it with
#    `backprop(...).by_step`, and give their sum in closed form:

# %%
w = tr.Tensor(1.05, requires_grad=True)
h = tr.Tensor(1.0)
for t in range(STEPS):
    with tr.step(t):
        h = w * h
parts = tr.backprop(h, keep="arrays").by_step(w)
assert np.allclose(parts, 1.05 ** (STEPS - 1))
assert np.isclose(parts.sum(), STEPS * 1.05 ** (STEPS - 1))
