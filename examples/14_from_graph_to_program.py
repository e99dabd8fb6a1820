# %% [markdown]
# # 14. From graph to program
#
# **Claim: the framework writes the backpropagation through time that you would have written.**
#
# Recording every operation is the point of this course, and it costs time: at small sizes Python
# spends more of it on the record than on the numbers. If you want speed, you write the backward
# loop by hand, in NumPy. Lesson 2 did that, and showed how easily it goes wrong.
#
# But everything needed to write it is known. Record *one* step. Ask for its gradient *as a graph*
# (lesson 13). Print both as a program over the whole sequence. That is `derive`.

# %%
import inspect
import timeit

import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import nn

cell = nn.ElmanCell(3, 5, rng=0)
program = tr.derive(cell)
print(program.source)

# %% [markdown]
# Read it as you would a colleague's code. What depends on the inputs alone, `x @ W_xh`, is computed
# before the loop, in one product for all steps. The forward loop keeps h. The backward loop runs
# from the last step to the first and carries only the gradient of h. The gradient of each weight is
# one product after the loop, over all steps at once: lesson 2's sum over time. `derive` knows
# nothing about Elman cells; it found all this in the graph of one step.
#
# ## The same numbers

# %%
xs = np.random.default_rng(0).normal(size=(20, 4, 3))


def gradients(run):
    """Of the sum of squares of all outputs, with respect to the cell's weights."""
    for p in cell.parameters():
        p.grad = None
    outputs, _ = run(xs)
    (tr.stack(list(outputs)) ** 2).sum().backward()
    return {name: p.grad for name, p in cell.named_parameters().items()}


recorded = gradients(lambda xs: nn.unroll(cell, xs))
derived = gradients(program)
difference = max(np.abs(recorded[name] - derived[name]).max() for name in recorded)
print(f"largest difference between recorded and derived gradients: {difference:.0e}")

# %% [markdown]
# ## Why you can rely on it
#
# Before a program is handed out, it is run against `unroll` on random numbers of three sizes: the
# outputs, the last state and every gradient have to agree. And it remembers what the cell was made
# of. New weights are used as they are; for another nonlinearity, the next call derives it again.

# %%
cell.nonlinearity = tr.sigmoid
outputs, _ = program(xs)
expected, _ = nn.unroll(cell, xs)
print("a sigmoid now:", np.allclose(outputs.data, tr.stack(expected).data))
print(next(line for line in program.source.splitlines() if "hs[t + 1]" in line).strip())
cell.nonlinearity = tr.tanh

# %% [markdown]
# ## What it saves
#
# An LSTM of 32 units over 100 steps, forward and backward, on your machine. The more time a step
# spends inside NumPy, the less there is to gain.

# %%
lstm = nn.LSTMCell(16, 32, rng=0)
lstm_program = tr.derive(lstm)
sequence = np.random.default_rng(1).normal(size=(100, 8, 16))


def once(run):
    outputs, _ = run(sequence)
    (tr.stack(list(outputs)) ** 2).sum().backward()


def milliseconds(run):
    return 1000 * min(timeit.repeat(lambda: once(run), number=1, repeat=7))


for name, run in [("recorded", lambda xs: nn.unroll(lstm, xs)), ("derived", lstm_program)]:
    print(f"{name:9} {milliseconds(run):6.1f} ms")

# %% [markdown]
# ## The same program in C
#
# What is left of the time goes into calling NumPy: some twenty calls a step, each on a small array.
# So let the same schedule be printed as C. What is entry by entry becomes *one* loop, in which no
# array is made; only the products are calls. It needs a C compiler: yours, or the one that
# `pip install tinygrad-rnn[c]` brings. The recurrence, as the cell says it, in NumPy and in C:

# %%
compiled_program = tr.derive(lstm, target="c")


def recurrence(source, end):  # the loop over the steps, without what stands around it
    return source.partition("The recurrence.")[2].partition(end)[0].split("\n", 1)[1]


print(inspect.getsource(type(lstm).__call__))
print(recurrence(lstm_program.source, "\n\n"))
try:
    print(recurrence(compiled_program.source, "\n    memcpy(h,"))
    print(f"{'in C':9} {milliseconds(compiled_program):6.1f} ms")
except tr.DeriveError as error:  # there is no compiler
    print(error)

# %% [markdown]
# ## What it cannot do
#
# A program is one operation in the graph: a picture of it is a single box, and a second derivative
# would need the derivative of the program itself. It raises an error that points to `unroll`, which
# can do both. So record when you want to look, and derive when you want speed.

# %%
x = tr.Tensor(xs, requires_grad=True)
try:
    tr.grad((program(x)[0] ** 2).sum(), x, create_graph=True)
except Exception as error:
    refusal = str(error)
    print(refusal)

# %% [markdown]
# A cell whose code branches on its data cannot become one program: `derive` names the line.


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
# 1. How many matrix products are left in the forward loop of an LSTM's program, where `unroll` does
#    two at each step? Predict it, then read `tr.derive(nn.LSTMCell(3, 5)).source`. Hint: which of
#    the two has to wait for h?
# 2. Derive the `MinimalGatedCell` of lesson 12 and compare its gradients with the recorded ones.
#    Hint: the class can be copied as it stands; `gradients` above uses the name `cell`.

# %%
# products = ...
# loop = tr.derive(nn.LSTMCell(3, 5)).source.partition("for ")[2].partition("\n\n")[0]
# assert sum(loop.count(product) for product in ("@", "dot", "matmul")) == products

# %%
# cell = ...  # a MinimalGatedCell(3, 5)
# recorded = gradients(lambda xs: nn.unroll(cell, xs))
# derived = gradients(tr.derive(cell))
# assert max(np.abs(recorded[name] - derived[name]).max() for name in recorded) < 1e-12
