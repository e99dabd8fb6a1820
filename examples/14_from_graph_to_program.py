# %% [markdown]
# # 14. From graph to program
#
# **Claim: the framework writes the backpropagation through time that you would have written.**
#
# Recording every operation of every step is the point of this course, and it costs time: at small
# sizes Python is busy with its record, not with numbers. Somebody who wants speed writes the
# backward loop by hand, in NumPy. Lesson 2 did that for three steps, and it is where slips are
# made.
#
# But all that is needed to write it is known. Record *one* step. Ask for its gradient *as a graph*
# (lesson 13). Print both as a program over the whole sequence. That is `derive`.

# %%
import time
import tracemalloc

import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import nn

cell = nn.ElmanCell(3, 5, rng=0)
program = tr.derive(cell)
print(program.source)

# %% [markdown]
# Read it as you would a colleague's code. What depends on the inputs alone, `x @ W_xh`, has left
# the loop and is one product for all steps. The forward loop keeps h. The backward loop runs from
# the last step to the first and carries one thing, the gradient of h. The weights' gradients are
# one product each after the loop, over all steps at once: lesson 2's sum over time. No line of this
# knows what an Elman cell is; it was all found in the graph of one step.
#
# ## The same numbers

# %%
xs = np.random.default_rng(0).normal(size=(20, 4, 3))


def gradients(run):
    """Of the sum of squares of all outputs, with respect to the cell's weights."""
    for p in cell.parameters():
        p.grad = None
    outputs, _ = run(xs)
    total = 0.0
    for h in outputs:
        total = total + (h * h).sum()
    total.backward()
    return {name: p.grad for name, p in cell.named_parameters().items()}


recorded = gradients(lambda xs: nn.unroll(cell, xs))
derived = gradients(program)
difference = max(np.abs(recorded[name] - derived[name]).max() for name in recorded)
print(f"largest difference between recorded and derived gradients: {difference:.0e}")

# %% [markdown]
# ## What it saves
#
# An LSTM of 32 units over 100 steps, forward and backward, on your machine. The longer the step
# takes in NumPy, the less there is to gain.

# %%
lstm = nn.LSTMCell(16, 32, rng=0)
lstm_program = tr.derive(lstm)
sequence = np.random.default_rng(1).normal(size=(100, 8, 16))


def once(run):
    outputs, _ = run(sequence)
    (tr.stack(list(outputs)) ** 2).sum().backward()


def milliseconds(run):
    times = []
    for _ in range(7):
        begun = time.perf_counter()
        once(run)
        times.append(time.perf_counter() - begun)
    return 1000 * sorted(times)[3]


def megabytes(run):
    once(run)
    tracemalloc.start()
    once(run)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


for name, run in [("recorded", lambda xs: nn.unroll(lstm, xs)), ("derived", lstm_program)]:
    print(f"{name:9} {milliseconds(run):6.1f} ms  {megabytes(run):5.1f} MB")

# %% [markdown]
# ## What it cannot do
#
# A program is one operation in the graph: a picture of it is one box, and a second derivative would
# need the program's own derivative. It says so, and points to `unroll`, which can do both. So:
# record to look, derive to run.

# %%
x = tr.Tensor(xs, requires_grad=True)
try:
    tr.grad((program(x)[0] ** 2).sum(), x, create_graph=True)
except Exception as error:
    refusal = str(error)
    print(refusal)

# %% [markdown]
# A cell whose Python code branches on its data has no single program. That, too, is a sentence,
# with the line that cannot be derived.


# %%
class Moody(nn.ElmanCell):
    def __call__(self, x, h):
        h = tr.tanh(x @ self.W_xh + h @ self.W_hh + self.b)
        if h.data.mean() > 0:
            h = -h
        return h, h


try:
    tr.derive(Moody(3, 5, rng=0))(xs)
except tr.DeriveError as error:
    moody = str(error)
    print(moody)

# %% [markdown]
# ## Exercises
#
# 1. Print `tr.derive(nn.LSTMCell(3, 5)).source`. Which products have left the loop, which could
#    not, and why? (Check: whatever is multiplied by h must wait for h.)
# 2. Derive the `MinimalGatedCell` of lesson 12 and compare its gradients with the recorded ones as
#    above. The largest difference should be below 1e-12:

# %%
assert difference < 1e-12
