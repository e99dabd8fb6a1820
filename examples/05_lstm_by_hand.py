# %% [markdown]
# # 5. An LSTM by hand
#
# **Claim: three gates control a memory cell. Set by hand, they make it keep a sum, show it when
# asked, and clear it.**
#
# So far the hidden state was overwritten at every step. An LSTM has a *memory cell* as well,
# guarded by three gates. A gate is a number between 0, closed, and 1, open:
#
# - the *input gate* i: is the new value added to the cell?
# - the *forget gate* f: does the cell keep its old value? (Open means keep.)
# - the *output gate* o: does the output show the cell?
#
# The cell state is then c' = f c + i g, and the output y = o c'. Each input is three numbers, and
# each has a job: x₁ is the value g; x₂ = 1 says *add it*, x₂ = −1 says *clear the cell*; x₃ = 1
# says *show it*.

# %%
from pathlib import Path

import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn

pictures = Path("05_lstm_by_hand")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)

# %% [markdown]
# ## The weights
#
# A gate is σ(100 · its input ± 10). The 100 makes it a switch. The bias decides the position of the
# switch when its input is 0: −10 is closed, +10 is open. So by default the input gate and the
# output gate are closed and the forget gate is open, and the cell keeps what it has.
#
# There is no tanh here, so that the numbers stay readable, and no gate sees the last output.


# %%
class HandSetCell(nn.Module):
    def __init__(self):
        weights = [
            #  i      f    g      o
            [0.0, 0.0, 1.0, 0.0],  # x₁: the value
            [100.0, 100.0, 0.0, 0.0],  # x₂: add it (1), or clear (−1)
            [0.0, 0.0, 0.0, 100.0],  # x₃: show
        ]
        self.W_x = tr.Tensor(weights, requires_grad=True)
        self.b = tr.Tensor([-10.0, 10.0, 0.0, -10.0], requires_grad=True)

    def initial_state(self, batch):
        return tr.Tensor(np.zeros((batch, 1)), name="c")

    def __call__(self, x, c):
        i, f, g, o = tr.split(x @ self.W_x + self.b, 4, axis=-1)
        c = tr.sigmoid(f) * c + tr.sigmoid(i) * g
        y = tr.sigmoid(o) * c
        return y, c


def run(cell, inputs):
    """The inputs as tensors, and the outputs."""
    xs = [tr.Tensor([x], requires_grad=True, dtype=float) for x in inputs]
    return xs, nn.unroll(cell, xs)[0]


# %% [markdown]
# ## Five steps
#
# Follow it by hand before you look. Add 3. Add 4. Ignore 2. Show. Clear.

# %%
cell = HandSetCell()
inputs = [(3, 1, 0), (4, 1, 0), (2, 0, 0), (1, 0, 1), (3, -1, 0)]
xs, outputs = run(cell, inputs)
print("      input    in  keep  show   output")
for x, y in zip(inputs, outputs, strict=True):
    i, f, _, o = tr.sigmoid(x @ cell.W_x.data + cell.b.data)
    print(f"{x!s:>11}  {i:4.0f}  {f:4.0f}  {o:4.0f}   {y.item():.5f}, so {y.item():.0f}")

# %% [markdown]
# Rounded, the outputs are 0, 0, 0, 7, 0. They are not *exactly* that: a closed gate is σ(−10) =
# 0.000045 and not 0. Because a gate never quite closes, it can be learnt: an exact switch has no
# gradient.
#
# ## Where did the 7 come from?
#
# Ask for the gradient of the fourth output with respect to every x₁. A value that was added, kept
# and shown counts in full. The 2 and the 1 met a closed input gate.

# %%
shown = outputs[3]
trace = tr.backprop(shown, keep="arrays")
labels = [str(x) for x in inputs]
credit = [trace.gradient(x)[0, 0] for x in xs[:4]]
print("dy/dx₁ at each step:", "  ".join(f"{g:.5f}" for g in credit))

# %% [markdown]
# In the picture the gradient runs back from one cell state to the one before and stays 1: every
# forget gate is open, so nothing is lost on the way. At steps 0 and 1 it reaches x in full. At
# steps 2 and 3 it hardly does: those input gates are closed. (What is left there is the gradient
# that reaches x through the gates themselves.)

# %%
viz.draw(shown, pictures / "seven.svg", level="cell", labels=labels, title="The gradient of the 7")

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. Let the cell forget by default: unless something is added, it loses what it has. One number
#    changes. What are the five outputs then? Hint: which gate decides what is kept?
# 2. `nn.LSTMCell` squashes what comes in and what goes out: c' = f c + i tanh(x₁), y = o tanh(c').
#    Put the weights into `nn.LSTMCell(3, 1)`: `W_xh` and `b` as they are, in the same order i, f,
#    g, o. The 7 becomes 0.964. Why not more? Hint: this cell's gates also see the last output, here
#    they must not; and work out tanh(tanh 3 + tanh 4).

# %%
# forgetful = HandSetCell()
# forgetful.b.data = ...
# assert np.allclose([y.item() for y in run(forgetful, inputs)[1]], 0, atol=1e-3)
# assert (forgetful.b.data != cell.b.data).sum() == 1

# %%
# squashed = nn.LSTMCell(3, 1)
# squashed.W_xh.data, squashed.W_hh.data, squashed.b.data = ..., ..., ...
# assert np.isclose(run(squashed, inputs)[1][3].item(), np.tanh(np.tanh(3) + np.tanh(4)), atol=1e-3)
