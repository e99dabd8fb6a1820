# %% [markdown]
# # 1. Memory
#
# **Claim: a net with memory gives different outputs for the same input, and the order of the inputs
# matters.**
#
# A net without memory is a function: the same input, the same output. A recurrent net keeps what it
# has computed as its *hidden state* and reads it at the next step. So its output depends on what
# came before.
#
# The smallest net that shows this has two inputs, two hidden units and two outputs. Every weight is
# 1, there is no bias, and there is no nonlinearity. You can follow it in your head.

# %%
from pathlib import Path

import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn

pictures = Path("01_memory")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)

cell = nn.ElmanCell(2, 2, nonlinearity=lambda a: a, bias=False)  # h' = x W_xh + h W_hh
cell.W_xh.data = np.ones((2, 2))
cell.W_hh.data = np.ones((2, 2))
W_hy = tr.Tensor(np.ones((2, 2)), requires_grad=True, name="W_hy")


def read(sequence):
    """The output at every step: first the hidden state h, then y = h W_hy."""
    xs = np.array(sequence, float)[:, None, :]  # (steps, 1 sequence, 2 features)
    hs, _ = nn.unroll(cell, xs)
    return [h @ W_hy for h in hs]


def numbers(outputs):
    return [y.data[0].tolist() for y in outputs]


# %% [markdown]
# ## The same input twice
#
# The first two inputs are equal. The hidden state starts at zero: h = (0, 0). Steps count from 0.
#
# | step | input | each hidden unit: inputs + old hidden units | each output: hidden units |
# |---|---|---|---|
# | 0 | (1, 1) | 1 + 1 + 0 + 0 = 2 | 2 + 2 = 4 |
# | 1 | (1, 1) | 1 + 1 + 2 + 2 = 6 | 6 + 6 = 12 |
# | 2 | (2, 2) | 2 + 2 + 6 + 6 = 16 | 16 + 16 = 32 |
#
# `unroll` runs the cell over the steps. It should find the same numbers.

# %%
lecture = [(1, 1), (1, 1), (2, 2)]
outputs = read(lecture)
for x, y in zip(lecture, numbers(outputs), strict=True):
    print(f"input {x}  output {y}")

# %% [markdown]
# The input (1, 1) gave 4 the first time and 12 the second time. Here is the picture. Each box is a
# step, and arrows point the way the data flows. The weights are drawn once, above the steps: there
# is a single `W_xh` and a single `W_hh`, used at every step. The hidden state is the row that runs
# from left to right. The numbers are lengths of vectors, so the input (1, 1) shows as √2 = 1.41.
# Dashed means zero.

# %%
viz.draw(outputs[-1], pictures / "memory.svg", show="forward", names={"W_hy": W_hy}, title="Memory")

# %% [markdown]
# ## Another order
#
# The same three inputs, with the last two swapped. Without memory, the outputs would merely swap
# too.

# %%
swapped = [(1, 1), (2, 2), (1, 1)]
other = numbers(read(swapped))
for x, y in zip(swapped, other, strict=True):
    print(f"input {x}  output {y}")

# %% [markdown]
# The last output is now 36; before, it was 32. The input (2, 2) came one step earlier, so it passed
# through `W_hh` once more, and each pass doubles it.
#
# ## Without memory
#
# Set `W_hh` to 0. The old hidden state is no longer read, and the net is a function again: 4 for
# (1, 1) and 8 for (2, 2), wherever they stand.

# %%
cell.W_hh.data = np.zeros((2, 2))
forgetful = numbers(read(lecture)), numbers(read(swapped))
print("lecture's order:", forgetful[0])
print("another order:  ", forgetful[1])
cell.W_hh.data = np.ones((2, 2))

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# Each exercise is a cell that fails until you replace its `...`. Take the `#` away, write, and run
# it: if it says nothing, you are right. The answers are in `examples/solutions/`.
#
# 1. Put (2, 2) first: (2, 2), (1, 1), (1, 1). Work out the three outputs in your head. Hint: the
#    output is always twice the hidden unit.
# 2. Not every memory cares about order. Choose `W_xh`, `W_hh` and `W_hy` so that each output is the
#    *sum of all inputs so far*: (1, 1), (2, 2), (4, 4) in the lecture's order. The last output is
#    then (4, 4) in any order. Hint: each unit has to deal with one feature alone.

# %%
# mine = ...
# assert numbers(read([(2, 2), (1, 1), (1, 1)])) == mine

# %%
# cell.W_xh.data, cell.W_hh.data, W_hy.data = ..., ..., ...
# assert numbers(read(lecture)) == [[1, 1], [2, 2], [4, 4]]
# assert numbers(read(swapped))[-1] == [4, 4]
