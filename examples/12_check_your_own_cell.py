# %% [markdown]
# # 12. Check your own cell
#
# **Claim: a wrong derivative is found, and named: the operation, its input, the time step, the
# entry.**
#
# A gradient that is slightly wrong does not crash. The net trains, only worse, and nobody knows
# why. So check a new cell or a new operation before you use it. The idea is old: move an input a
# little, see how the output moves, compare with the gradient. What is new here is the answer. An
# ordinary check says "wrong". This one says where.

# %%
from pathlib import Path

import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn

pictures = Path("12_check_your_own_cell")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)
xs = np.random.default_rng(0).normal(size=(3, 2, 3))  # 3 steps, 2 sequences, 3 features

# %% [markdown]
# ## A cell of your own
#
# The minimal gated unit (Zhou et al. 2016) is a GRU with a single gate. A cell is its equations and
# nothing else: no registration, no backward pass.


# %%
class MinimalGatedCell(nn.Module):
    def __init__(self, input_size, hidden_size, tanh=tr.tanh, sigmoid=tr.sigmoid):
        rng = np.random.default_rng(0)
        for name, rows in [("W_f", input_size), ("U_f", hidden_size),
                           ("W_n", input_size), ("U_n", hidden_size)]:  # fmt: skip
            start = rng.normal(size=(rows, hidden_size)) / 2
            setattr(self, name, tr.Tensor(start, requires_grad=True))
        self.tanh, self.sigmoid = tanh, sigmoid

    def initial_state(self, batch):
        return tr.Tensor(np.zeros((batch, self.U_f.shape[0])))

    def __call__(self, x, h):
        with tr.scope("forget gate"):
            f = self.sigmoid(x @ self.W_f + h @ self.U_f)
        with tr.scope("candidate"):
            n = self.tanh(x @ self.W_n + (f * h) @ self.U_n)
        h = (1.0 - f) * h + f * n
        return h, h


cell = MinimalGatedCell(3, 4)
report = tr.check.gradcheck(lambda xs: nn.unroll(cell, xs), xs)
worst = max(comparison.worst for comparison in report.comparisons)
print(f"the cell {'passes' if report else 'FAILS'}; the largest error is {worst:.0e}")
report

# %% [markdown]
# It passes. Every entry of every gradient was compared with a *complex step*: the function is run
# at x + ih, with h so small (1e-30) that its square vanishes, and the imaginary part of the result,
# divided by h, is the derivative. Nothing is subtracted, so no digits are lost.
#
# In addition, every recorded operation was checked by itself, on the numbers it was called with.

# %% [markdown]
# ## Break a rule
#
# The derivative of y = tanh x is 1 − y². Here is the classic slip, 1 − y. The cell makes it at the
# second step only, as if some rare branch were wrong. A wrong gradient raises an error, which
# carries the report.

# %%
slip = tr.primitive("tanh", np.tanh, lambda g, y, x: g * (1.0 - y))
calls = iter(range(10**6))
broken = MinimalGatedCell(3, 4, tanh=lambda x: (slip if next(calls) % 3 == 1 else tr.tanh)(x))

try:
    tr.check.gradcheck(lambda xs: nn.unroll(broken, xs)[0][-1], xs)
except AssertionError as error:
    report = error.report
print(report)
culprit = report.culprits[0]

# %% [markdown]
# The first lines are all you need: *tanh, input 0, t=1, candidate*. The other two uses of tanh are
# right, and so is every other operation.
#
# The report can be drawn. Colour and width now show the *error* of the gradient. To the right of
# the wrong operation, which the gradient has not reached yet, the error is exactly zero. To its
# left everything is wrong: the error flows back through time with the gradient.

# %%
viz.draw(report, pictures / "error.svg")

# %% [markdown]
# ## When no rule is wrong
#
# Suppose every operation passes and the whole does not. Then the rules are right and the *graph* is
# wrong: somewhere a value that depends on the inputs was used as a constant.


# %%
def forgetful(xs):
    h = cell.initial_state(2)
    for t in range(3):
        with tr.step(t):
            h, _ = cell(xs[t], h.detach() if t == 2 else h)
    return h


cut = tr.check.gradcheck(forgetful, xs, raise_exception=False)
print(*cut.diagnosis, sep="\n")

# %% [markdown]
# That is a mistake, unless it is truncated backpropagation through time. Then the cut is intended,
# and the gradient is that of another function: the one whose state at the cut is *frozen*. Say
# `truncated=True`, and the gradient is checked against that function.

# %%
truncated = tr.check.gradcheck(forgetful, xs, truncated=True)
print("truncated:", "passed" if truncated else "FAILED")

# %% [markdown]
# ## In a test suite
#
# With pytest installed, this is a complete test file. One line runs every combination, and a
# failure prints the report above instead of a traceback.
#
# ```python
# @pytest.mark.gradcheck(cell=[nn.GRUCell, MinimalGatedCell], length=[1, 7], order=2)
# def test_gradient(gradcheck, cell, length):
#     net = cell(3, 4)
#     gradcheck(lambda xs: nn.unroll(net, xs), np.random.default_rng(0).normal(size=(length, 2, 3)))
# ```

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. Write a sigmoid whose rule forgets the factor 1 − y, and give it to the cell. Predict which
#    operations the report names, and at which steps, before you run it. Hint: the cell has one
#    gate.
# 2. Write ReLU with the rule `g * (x >= 0)` and check it at 1 and at 0. It passes. Which entry does
#    the report call *inconclusive*, and why is it not wrong? Hint: look at the slope on both sides.

# %%
# slip = tr.primitive("sigmoid", lambda x: 1 / (1 + np.exp(-x)), ...)
# predicted = ...  # a list of pairs such as ("tanh", 1)
# broken = MinimalGatedCell(3, 4, sigmoid=slip)
# report = tr.check.gradcheck(lambda xs: nn.unroll(broken, xs), xs, raise_exception=False)
# assert [(culprit.op, culprit.step) for culprit in report.culprits] == predicted

# %%
# lenient = tr.primitive("relu", lambda x: np.maximum(x, 0), ..., analytic=False)
# place = ...  # such as "x[0, 2]"
# corner = tr.check.gradcheck(lambda x: lenient(x), [[1.0, 0.0]])
# assert corner
# assert corner.inconclusive[0].place == place
