# %% [markdown]
# # 1. The store
#
# **Claim: a net with memory gives different outputs for the same input, and the order of the inputs
# matters.**
#
# A net without memory is a function: the same input, the same output. A recurrent net keeps what it
# has computed in a *store* and reads it at the next step. So its output depends on what came
# before.
#
# The smallest net that shows it has two inputs, two hidden units and two outputs. Every weight is
# 1, there is no bias, and nothing bends the numbers. One can follow it in the head.

# %%
import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn

cell = nn.ElmanCell(2, 2, nonlinearity=lambda a: a, bias=False)  # h' = x W_xh + h W_hh
cell.W_xh.data = np.ones((2, 2))
cell.W_hh.data = np.ones((2, 2))
W_hy = tr.Tensor(np.ones((2, 2)), requires_grad=True, name="W_hy")


def read(sequence):
    """The output at every step: the store h, and then y = h W_hy."""
    xs = np.array(sequence, float)[:, None, :]  # (steps, 1 sequence, 2 features)
    hs, _ = nn.unroll(cell, xs)
    return [h @ W_hy for h in hs]


def numbers(outputs):
    return [y.data[0].tolist() for y in outputs]


# %% [markdown]
# ## The same input twice
#
# The first two inputs are equal. The store is empty at first: h = (0, 0). Steps count from 0.
#
# | step | input | what is stored: both inputs + both of the old store | output: both of the store |
# |---|---|---|---|
# | 0 | (1, 1) | 1 + 1 + 0 + 0 = 2 | 2 + 2 = 4 |
# | 1 | (1, 1) | 1 + 1 + 2 + 2 = 6 | 6 + 6 = 12 |
# | 2 | (2, 2) | 2 + 2 + 6 + 6 = 16 | 16 + 16 = 32 |
#
# `unroll` runs the cell over the steps. It should find the same.

# %%
lecture = [(1, 1), (1, 1), (2, 2)]
outputs = read(lecture)
for x, y in zip(lecture, numbers(outputs), strict=True):
    print(f"input {x}  output {y}")

# %% [markdown]
# The input (1, 1) gave 4 the first time and 12 the second time. Now the picture. Each box is a
# step, and arrows run with the data. The weights are drawn once, above the steps: there is a single
# `W_xh` and a single `W_hh`, used at every step. The store is the row that runs from left to right.
# The numbers are lengths of vectors, so the input (1, 1) shows as √2 = 1.41. Dashed means zero.

# %%
viz.draw(outputs[-1], "01_store.svg", show="forward", names={"W_hy": W_hy}, title="The store")

# %% [markdown]
# ## Another order
#
# The same three inputs, the last two swapped. Without memory the outputs would only swap too.

# %%
swapped = [(1, 1), (2, 2), (1, 1)]
other = numbers(read(swapped))
for x, y in zip(swapped, other, strict=True):
    print(f"input {x}  output {y}")

# %% [markdown]
# The last output is 36 now, and it was 32. The input (2, 2) came one step earlier, so it went round
# the store once more, and each round doubles it.
#
# ## Without the store
#
# Set `W_hh` to 0. The old store is not read any more, and the net is a function again: 4 for (1, 1)
# and 8 for (2, 2), wherever they stand.

# %%
cell.W_hh.data = np.zeros((2, 2))
forgetful = numbers(read(lecture)), numbers(read(swapped))
print("lecture's order:", forgetful[0])
print("another order:  ", forgetful[1])
cell.W_hh.data = np.ones((2, 2))

# %% [markdown]
# ## Exercises
#
# 1. Put (2, 2) first: (2, 2), (1, 1), (1, 1). Work out the three outputs in your head. Then fill
#    them in below and take the `#` away: silence means that you are right.
# 2. Not every store cares about order. Choose `W_xh`, `W_hh` and `W_hy` so that each output is the
#    *sum of all inputs so far*: (1, 1), (2, 2), (4, 4) in the lecture's order. The last output is
#    then (4, 4) in any order.

# %%
# mine = [[..., ...], [..., ...], [..., ...]]
# assert numbers(read([(2, 2), (1, 1), (1, 1)])) == mine

# %%
# cell.W_xh.data, cell.W_hh.data, W_hy.data = ..., ..., ...
# assert numbers(read(lecture)) == [[1, 1], [2, 2], [4, 4]]
# assert numbers(read(swapped))[-1] == [4, 4]
