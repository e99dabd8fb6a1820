# %% [markdown]
# # 8. Vanishing and exploding
#
# **Claim: over 1,000 steps a weight of 1 gives 1, 1.01 gives about 20,000, 0.99 gives nearly
# nothing, and 0.01 gives nothing.**
#
# The smallest recurrent net is one linear unit that feeds itself: y ← w y. Feed it a 1 at the first
# step and let it run for a thousand steps. The output is w⁹⁹⁹. Everything that is hard about
# training recurrent nets can be seen in that number.

# %%
from pathlib import Path

import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn

pictures = Path("08_vanishing_and_exploding")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)
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
# the smallest double is about 10⁻³²⁴. However long the net trains, w will not move.
#
# Forward and backward behave alike: an input that makes no difference to the output gets no
# gradient from it.
#
# ## Gradient against time
#
# Real cells are not linear, but each step still multiplies. Here are three cells of the same size
# with the same inputs, and one of them a second time with its forget gate open. Only the last step
# has a loss; how much of its gradient reaches each earlier step?

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
viz.gradient_flow(flows, pictures / "gradient_flow.svg")

# %% [markdown]
# A straight line on this scale is a constant factor a step. The Elman net's is about a half. In an
# LSTM the gradient can also return through the cell state, c' = f ⊙ c + ...: there the factor is
# the forget gate and nothing else. If the gate is nearly 1, the gradient arrives.
#
# ## The triangle of influence
#
# Now let every step have a loss. ‖∂L_t/∂h_s‖ says how much the loss at step t (row) depends on the
# state at step s (column). Above the diagonal is the future, on which it cannot depend. In a net
# that forgets, each row fades to the left: a loss depends on the last few steps alone. A net that
# remembers fills the triangle evenly.

# %%
losses = {}
for name in ("Elman", "LSTM, forget gate open"):
    outputs, _ = nn.unroll(cells[name], xs)
    losses[name] = [(h * h).sum() for h in outputs]
viz.influence(losses, pictures / "influence.svg")

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. For which w is the output of the linear unit after 1,000 steps exactly 2? Hint: solve
#    w⁹⁹⁹ = 2.
# 2. How large must `forget_bias` be for the forget gates to let a tenth of the gradient through
#    from step 59 to step 0? Take the other inputs of the gate as 0. Hint: the gate is then σ(b).

# %%
# w = ...
# assert np.isclose(linear_unit(w)[0].item(), 2.0)

# %%
# bias = ...
# assert np.isclose(tr.sigmoid(tr.Tensor(bias)).item() ** 59, 0.1)
# open_enough = nn.LSTMCell(8, 24, rng=0, forget_bias=bias)
# outputs, _ = nn.unroll(open_enough, xs)
# trace = tr.backprop((outputs[-1] ** 2).sum())
# assert trace.norm(outputs[0]) / trace.norm(outputs[-1]) > 0.01  # near enough for an estimate
