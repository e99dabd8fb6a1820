# %% [markdown]
# # 2. Backpropagation through time
#
# **Claim: backpropagation through time is reverse mode on the unrolled graph, and nothing else.**
#
# [Lesson 1](01_memory.py) ran a cell over three steps. Unrolled, that is an ordinary graph: three
# copies of the cell in a row that share their weights. So its gradients need no theory of their
# own. Walk the graph backwards. Where a weight is used three times, add the three contributions.
#
# To show that nothing else is involved, we first derive everything by hand.

# %%
from pathlib import Path

import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn

pictures = Path("02_backprop_through_time")  # this lesson writes its files here
pictures.mkdir(exist_ok=True)

rng = np.random.default_rng(0)
shapes = {"xs": (3, 1, 2), "W_xh": (2, 2), "W_hh": (2, 2), "b": (2,)}
start = {name: rng.normal(size=shape) for name, shape in shapes.items()}

# %% [markdown]
# ## By hand
#
# The net is h_t = tanh(z_t) with z_t = x_t W_xh + h_{t−1} W_hh + b. The loss is half the square of
# every hidden state: L = ½ (‖h_0‖² + ‖h_1‖² + ‖h_2‖²).
#
# The hidden state h_t affects the loss in two ways: through its own term, and through the next
# hidden state. So
#
# - dL/dh_t = h_t + dL/dz_{t+1} W_hhᵀ, and at the last step only h_t;
# - dL/dz_t = dL/dh_t ⊙ (1 − h_t²), since the derivative of tanh is 1 − tanh².
#
# Start at the last step and go back. At every step dL/dz_t is all you need: it gives that step's
# *term* of every gradient.


# %%
def hidden_states(p):
    hs = [np.zeros((1, 2))]
    for x in p["xs"]:
        hs.append(np.tanh(x @ p["W_xh"] + hs[-1] @ p["W_hh"] + p["b"]))
    return hs  # the initial state first, so h_t is hs[t + 1]


def loss_by_hand(p):
    return 0.5 * sum(np.sum(h**2) for h in hidden_states(p))


def terms_by_hand(p):
    hs, from_later = hidden_states(p), np.zeros((1, 2))
    terms = {name: np.zeros((3, *p[name].shape)) for name in ("W_xh", "W_hh", "b")}
    terms["xs"] = np.zeros_like(p["xs"])
    for t in (2, 1, 0):
        dh = hs[t + 1] + from_later
        dz = dh * (1 - hs[t + 1] ** 2)
        terms["W_xh"][t] = p["xs"][t].T @ dz
        terms["W_hh"][t] = hs[t].T @ dz
        terms["b"][t] = dz[0]
        terms["xs"][t] = dz @ p["W_xh"].T  # an input is used once, so it has one term
        from_later = dz @ p["W_hh"].T
    return terms


# %% [markdown]
# ## By the engine
#
# The same net, built from a cell. `backprop` walks the graph backwards and keeps every gradient it
# passes on; `by_step` returns the terms of a weight before they are added up.

# %%
cell = nn.ElmanCell(2, 2)
for name in ("W_xh", "W_hh", "b"):
    getattr(cell, name).data = start[name]
outputs, _ = nn.unroll(cell, start["xs"])
squares = [(h * h).sum() for h in outputs]
loss = 0.5 * sum(squares[1:], squares[0])
trace = tr.backprop(loss, keep="arrays")

terms = terms_by_hand(start)
differences = []
for name in ("W_xh", "W_hh", "b"):
    engine = trace.by_step(getattr(cell, name))
    for t in range(3):
        differences.append(np.abs(engine[t] - terms[name][t]).max())
        both = f"{terms[name][t].ravel()[0]:+.6f}  {engine[t].ravel()[0]:+.6f}"
        print(f"{name:>4}, step {t}, first entry by hand and by the engine: {both}")
print(f"largest difference over all entries: {max(differences):.0e}")

# %% [markdown]
# They are the same, term by term. At step 0 the term of `W_hh` is exactly zero: it is multiplied by
# the initial hidden state, which is zero.
#
# In the picture the arrows follow the gradient back from the losses. Each weight is a rail below
# the steps. Each tap on it is one term; the rail adds them up from right to left.

# %%
viz.draw(loss, pictures / "backprop.svg", title="Backpropagation through time, three steps")

# %% [markdown]
# The same as a walk: forward, then back, one step at a time. Open `walk.html` in a browser.

# %%
viz.player(loss, pictures / "walk.html", title="Backpropagation through time, three steps")

# %% [markdown]
# ## A classic mistake
#
# Hand-written code goes wrong where nobody looks. The gradient of the inputs is such a place:
# training does not need it until there is another layer below. This mistake has been published. It
# takes each step's own term and leaves out what comes back through time.


# %%
def right(p):
    terms = terms_by_hand(p)
    return {name: g if name == "xs" else g.sum(axis=0) for name, g in terms.items()}


def wrong(p):
    own = [h * (1 - h**2) for h in hidden_states(p)[1:]]  # h_t alone where dL/dh_t belongs
    return right(p) | {"xs": np.stack([dz @ p["W_xh"].T for dz in own])}


passed, found = (
    tr.check.check_gradients(loss_by_hand, df, start, time=["xs"], raise_exception=False)
    for df in (right, wrong)
)
print("right:", "passed" if passed else "FAILED")
print("wrong:", *found.diagnosis, sep="\n  ")

# %% [markdown]
# At the last step nothing comes back from later, so the mistake does not show there. A test that
# looks only at the last step, or at a sequence of length one, passes.

# %%
print("written:", *sorted(map(str, pictures.iterdir())))

# %% [markdown]
# ## Exercises
#
# 1. Give only the last hidden state a loss: L = ½ ‖h_2‖². Copy `terms_by_hand` and change one line.
#    Hint: which `dh` has a term of its own now?
# 2. Another classic: `=` for `+=`, so that only the last term visited is kept, which is that of
#    step 0. Which gradients will the check find wrong, and which one happens to be exactly zero?
#    Hint: the terms printed above.

# %%
# last = 0.5 * (outputs[-1] ** 2).sum()
# mine = ...
# for name in ("W_xh", "W_hh", "b"):
#     engine = tr.backprop(last, keep="arrays").by_step(getattr(cell, name))
#     assert np.allclose(mine(start)[name], engine)

# %%
# slip = lambda p: {n: g if n == "xs" else g[0] for n, g in terms_by_hand(p).items()}
# report = tr.check.check_gradients(
#     loss_by_hand, slip, start, time=["xs"], raise_exception=False
# )
# print(report)
# wrong_ones, the_zero = ..., ...
# assert {c.variable.name for c in report.comparisons if c.having("wrong")} == wrong_ones
# assert not slip(start)[the_zero].any()
