# %% [markdown]
# # 23. Checkpoints
#
# **Claim: keep √T states and compute the rest again. The gradient is the same to the last bit.**
#
# Backpropagation through time needs what every step computed. But a step can be run again, from the
# state before it. So `unroll` with `checkpoint=k` keeps each k-th state and forgets the rest. When
# the backward pass comes to a stretch of k steps, it runs them again, then forgets them for good.

# %%
import math
import time
import tracemalloc
from functools import cache
from pathlib import Path
from weakref import ref

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn

pictures = Path("23_checkpoints")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)
T = 1000
xs = np.random.default_rng(0).normal(size=(T, 4, 8))


def gradients(k):
    """Of the last state: gradients, peak of memory in MB, and seconds."""
    cell = nn.LSTMCell(8, 32, rng=0)
    tracemalloc.start()
    begun = time.perf_counter()
    h, c = nn.unroll(cell, xs, checkpoint=k)[1]  # who holds all outputs, keeps all outputs
    found = tr.grad((h * h).sum() + (c * c).sum(), cell.parameters())
    seconds, peak = time.perf_counter() - begun, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return [g.data for g in found], peak / 1e6, seconds


results = {k: gradients(k) for k in (None, 1, 8, 32, 125, 500)}
print("     k     MB  seconds  equal")
for k, (found, memory, seconds) in results.items():
    equal = all(map(np.array_equal, found, results[None][0]))
    print(f"{k or '-':>6} {memory:6.1f} {seconds:8.2f}  {equal}")

# %% [markdown]
# T / k states are kept, and k steps are recorded at a time: the memory is smallest at a k of the
# order of √T. The price is to run each step again, but for the last, which are still at hand.
#
# ## What is in memory, and when
#
# At each call of the cell, which of 36 steps have left something in memory?


# %%
class Watched(nn.ElmanCell):
    def __call__(self, x, h):
        h, _ = super().__call__(x, h)
        calls.append((h.scope.step, ref(h.inputs[0])))  # what tanh was given
        alive.append({t for t, made in calls if made() is not None})
        return h, h


memory = {}
for k in (36, 6):
    calls, alive = [], []
    watched = Watched(8, 4, rng=0)
    h = nn.unroll(watched, xs[:36], checkpoint=k)[1]
    tr.grad((h * h).sum(), watched.W_hh)
    memory[k] = np.array([[t in then for then in alive] for t in range(36)])
    print(f"checkpoint={k:2}: {memory[k].sum(axis=0).max()} steps at a time")

figure, places = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True, layout="constrained")
for axes, (k, rows) in zip(places, memory.items(), strict=True):
    axes.imshow(rows, origin="lower", cmap="Blues", aspect="auto", vmax=1.4)
    axes.hlines(np.arange(k, 36, k) - 0.5, -0.5, rows.shape[1] - 0.5, "C1", label="state kept")
    axes.set(title=f"checkpoint={k}", xlabel="runs of the cell")
places[0].set_ylabel("step")
places[1].legend(loc="upper left")
figure.savefig(pictures / "memory.svg")

# %% [markdown]
# Left, everything is kept. Right, each stretch is recorded on the way up and again on the way down,
# from the state below it. Traces and pictures do not notice. Here the kept states have a name.

# %%
cell = nn.ElmanCell(8, 4, rng=0)
outputs, _ = nn.unroll(cell, xs[:9], checkpoint=3)
for t in (2, 5):
    outputs[t].name = "kept"
viz.draw((outputs[-1] ** 2).sum(), pictures / "kept.svg", title="checkpoint=3")

# %% [markdown]
# ## With even less
#
# What if there is room for s states, the first included, and for the record of a single step? Run
# up to a step m, keep its state, do what follows with one place less, then what came before with
# all places. With the best m, l steps take t(l, s) runs without a record (Griewank and Walther
# 2000): if r is the least number with l ≤ C(s + r, s), then t(l, s) = r l − C(s + r, s + 1), and
# no step is run more than r times.


# %%
@cache
def least(steps, places):
    r = 0
    while math.comb(places + r, places) < steps:
        r += 1
    return r * steps - math.comb(places + r, places + 1)


@cache
def best(steps, places):
    ms = range(1 if places > 1 else steps - 1, steps)
    return min(ms, key=lambda m: m + least(steps - m, places - 1) + least(m, places))


def backwards(cell, state, first, last, places, g, found):
    """The gradient of `state`, at step first, from g, that of the state at step last; the runs."""
    runs = 0
    while last - first > 1:
        middle = first + best(last - first, places)
        with tr.no_grad():
            later = nn.unroll(cell, xs[first:middle], state)[1]
        g, more = backwards(cell, later, middle, last, places - 1, g, found)
        runs, last = runs + middle - first + more, middle
    start = tr.Tensor(state, requires_grad=True)
    h = nn.unroll(cell, xs[first:last], start)[1]
    g, *parts = tr.grad(h, [start, *cell.parameters()], g)
    found[:] = [a + b.data for a, b in zip(found, parts, strict=True)]
    return g, runs


h = nn.unroll(cell, xs)[1]
expected = [g.data for g in tr.grad((h * h).sum(), cell.parameters())]
revolved = {}
for places in (44, 10, 5):
    found = [0.0] * 3
    _, runs = backwards(cell, cell.initial_state(4), 0, T, places, 2 * h.data, found)
    revolved[places] = runs, all(map(np.array_equal, found, expected))
    print(f"{places:2} states: {runs} runs, bound {least(T, places)}; equal: {revolved[places][1]}")

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. The record of a step takes as much memory as c states. Which k is best for T steps? Hint: the
#    memory is T / k + c k states.
# 2. With 10 places, how long may a sequence be if no step is to be run more than 3 times without a
#    record? Hint: see above.

# %%
# for c, k in [(1, ...), (4, ...), (10, ...)]:
#     sizes = {n: T / n + c * n for n in range(1, T)}
#     assert abs(k - min(sizes, key=sizes.get)) < 1

# %%
# longest = ...
# assert least(longest, 10) - least(longest - 1, 10) == 3
# assert least(longest + 1, 10) - least(longest, 10) == 4
