# %% [markdown]
# # 8. Vanishing and exploding
#
# **Claim: over 1,000 steps a weight of 1 gives 1, 1.01 gives about 20,000, 0.99 gives nearly
# nothing, and 0.01 gives nothing.**
#
# The smallest recurrent net is one linear unit that feeds itself: y ← w y. Put 1 in at the first
# step and let it run for a thousand steps. What comes out is w⁹⁹⁹. Everything that is hard about
# training recurrent nets can be seen in that number.

# %%
import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn

STEPS = 1000


def linear_unit(w):
    """The output after 1,000 steps; the first step only receives the input, 1."""
    weight = tr.Tensor(w, requires_grad=True, name="w")
    y = tr.Tensor(1.0)
    for t in range(1, STEPS):
        with tr.step(t):
            y = weight * y
    return y, tr.grad(y, weight)[0].item()


print("    w        output       gradient dy/dw")
results = {}
for w in (1.0, 1.01, 0.99, 0.01):
    y, slope = linear_unit(w)
    results[w] = y.item(), slope
    print(f"{w:5}   {y.item():11.5g}   {slope:15.5g}")

# %% [markdown]
# With w = 1 the gradient is 999: the output is w⁹⁹⁹ and its derivative 999 w⁹⁹⁸. One hundredth
# more, and the gradient is twenty million: a step of any usual size throws w far away. One
# hundredth less, and it is 0.04. At 0.01 it is exactly zero in floating point: w⁹⁹⁸ = 10⁻¹⁹⁹⁶, and
# the smallest double is about 10⁻³²⁴. The net may learn forever and w will not move.
#
# Forward and backward are the same story. What cannot be told apart at the output cannot be blamed
# at the input.
#
# ## Gradient against time
#
# Real cells are not linear, but step by step they multiply all the same. Here are three cells of
# the same size with the same inputs. The loss is at the last step alone; how much of its gradient
# reaches each step before?

# %%
T = 60
xs = np.random.default_rng(0).normal(size=(T, 4, 8))
cells = {"Elman": nn.ElmanCell(8, 24, rng=0), "GRU": nn.GRUCell(8, 24, rng=0)}
cells["LSTM"] = nn.LSTMCell(8, 24, rng=0)
cells["LSTM, forget gate open"] = nn.LSTMCell(8, 24, rng=0, forget_bias=4.0)

flows = {}
for name, cell in cells.items():
    outputs, _ = nn.unroll(cell, xs)
    flows[name] = (outputs[-1] ** 2).sum(), outputs
    trace = tr.backprop(flows[name][0])
    share = trace.norm(outputs[0]) / trace.norm(outputs[-1])
    print(f"{name:24} {share:.1e} of the gradient at step {T - 1} reaches step 0")
viz.gradient_flow(flows, "08_gradient_flow.svg")

# %% [markdown]
# A straight line on this scale is a constant factor a step. The Elman net's is about a half. The
# LSTM's own way back is the cell state, c' = f ⊙ c + ...: there the factor is the forget gate, and
# nothing else stands on it. If the gate is nearly 1, the gradient arrives.
#
# ## The triangle of influence
#
# Now let every step have a loss. ‖∂L_t/∂h_s‖ says how much the loss at t (row) is felt at step s
# (column). Above the diagonal is the future, which cannot be felt. A net that forgets has a thin
# band along the diagonal; one that remembers fills the triangle.

# %%
few = xs[:24]
losses = {}
for name in ("Elman", "LSTM, forget gate open"):
    outputs, _ = nn.unroll(cells[name], few)
    losses[name] = [(h * h).sum() for h in outputs]
viz.influence(losses, "08_influence.svg")

# %% [markdown]
# ## Exercises
#
# 1. For which w is the output of the linear unit after 1,000 steps exactly 2? (Solve, then check
#    with `linear_unit`.)
# 2. How large must `forget_bias` be for a tenth of the gradient to come from step 59 back to step
#    0? Estimate it first: σ(b)⁵⁹ = 0.1.

# %%
w = 2 ** (1 / 999)
assert np.isclose(linear_unit(w)[0].item(), 2.0)
