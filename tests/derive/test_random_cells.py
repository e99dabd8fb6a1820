"""Cells put together at random: derived equals unrolled. None of them needs to be refused.

``TINYGRAD_RNN_CELLS=3000 pytest tests/derive/test_random_cells.py`` runs so many of them.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr

from .test_program import assert_same

SIZE = 4  # inputs and states alike, so that any operation fits any value
EXAMPLES = int(os.environ.get("TINYGRAD_RNN_CELLS", 200))


@tr.primitive("tanh", rules=[lambda g, y, x: g * (0.5 - 2.0 * y * y)], entrywise=True)
def half_tanh(x: Any, /) -> Any:
    return np.tanh(x) / 2.0


@tr.primitive("own sum", rules=[lambda g, y, x: g + 0.0 * x])
def own_sum(x: Any, /) -> Any:
    return np.sum(x, axis=-1, keepdims=True)


def by_own_loop(x: Any) -> Any:
    found = np.zeros_like(x)
    for k in range(x.shape[1]):
        found[:, k] = np.sin(x[:, k])
    return found


own_sin = tr.primitive("sin", by_own_loop, lambda g, y, x: g * tr.cos(x))
UNARY = {
    "own tanh": half_tanh,
    "own sum": lambda a: 0.1 * a * own_sum(a),
    "own sin": own_sin,
    "total": lambda a: a / (1.0 + (a * a).sum()),
    "largest": lambda a: a - a.max(),
    "norm of all": lambda a: a / (1.0 + tr.norm(a)),
    "log softmax": tr.log_softmax,
    "logsumexp": lambda a: a - tr.logsumexp(a, axis=-1, keepdims=True),
    "log sigmoid": lambda a: tr.log(tr.sigmoid(3.0 * a)),
    "rolled": lambda a: tr.roll(a, 1, axis=1),
    "padded": lambda a: tr.pad(a[:, 1:], [(0, 0), (1, 0)]),
    "column": lambda a: a[:, 1:2] * a,
    "row": lambda a: a - a[0],
    "outer": lambda a: (a[:, :, None] * a[:, None, :]).sum(axis=1),
    "mixed precision": lambda a: a.astype(np.float32).astype(np.float64) * 0.0 + a,
    "tanh": tr.tanh,
    "sigmoid": tr.sigmoid,
    "sin": tr.sin,
    "exp of tanh": lambda a: tr.exp(tr.tanh(a)),
    "relu": tr.relu,
    "negative": lambda a: -a,
    "softmax": tr.softmax,
    "softplus": tr.softplus,
    "norm": lambda a: a / (1.0 + tr.norm(a, axis=-1, keepdims=True)),
    "max": lambda a: a - a.max(axis=1, keepdims=True),
    "swap halves": lambda a: tr.concatenate([a[:, 2:], a[:, :2]], axis=1),
    "product of halves": lambda a: tr.concatenate([a[:, :2] * a[:, 2:], a[:, 1:3]], axis=1),
    "flip": lambda a: tr.flip(a, 1),
    "picked": lambda a: a[:, [0, 2, 2, 1]],
    "reshape": lambda a: tr.tanh(a.reshape(-1, 2, 2)).swapaxes(1, 2).reshape(-1, SIZE),
    "mean": lambda a: a - a.mean(axis=0),
    "where": lambda a: tr.where(a > 0.1, a, 0.5 * a),
    "clip": lambda a: tr.clip(a, -0.5, 0.5),
}
BINARY = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / (2.0 + tr.sin(b)),
    "maximum": tr.maximum,
    "gate": lambda a, b: tr.sigmoid(a) * b + (1.0 - tr.sigmoid(a)) * a,
}
WEIGHTED = {
    "matmul": lambda a, w, v: a @ w,
    "bias": lambda a, w, v: a + v,
    "peephole": lambda a, w, v: v * a,
    "both": lambda a, w, v: a @ (w * v) + v,
    "tied": lambda a, w, v: tr.tanh(a @ w) @ w.T,
}
OPERATIONS = [*UNARY, *BINARY, *WEIGHTED]


class RandomCell(tr.nn.Module):
    """x and the states are the first values; each entry of the plan makes one more.

    What becomes of the states is chosen from all values, old states among them: delay lines.
    """

    def __init__(self, plan: list[tuple[str, int, int]], ends: list[int], seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.plan, self.ends, self.states = plan, ends, len(ends)
        self.W = [tr.nn.parameter(rng.uniform(-0.5, 0.5, (SIZE, SIZE))) for _ in range(2)]
        self.v = [tr.nn.parameter(rng.uniform(-0.5, 0.5, SIZE)) for _ in range(2)]

    def initial_state(self, batch: int) -> Any:
        zeros = tuple(tr.Tensor(np.zeros((batch, SIZE))) for _ in range(self.states))
        return zeros if self.states > 1 else zeros[0]

    def __call__(self, x: tr.Tensor, state: Any) -> tuple[tr.Tensor, Any]:
        values = [x, *(state if self.states > 1 else [state])]
        for name, j, k in self.plan:
            a, b = values[j % len(values)], values[k % len(values)]
            if name in UNARY:
                values.append(UNARY[name](a))
            elif name in BINARY:
                values.append(BINARY[name](a, b))
            else:
                values.append(WEIGHTED[name](a, self.W[k % 2], self.v[k % 2]))
        # Every weight is used, and nothing grows from step to step.
        output = values[-1] @ self.W[0] @ self.W[1] + self.v[0] * self.v[1]
        new = []
        for k in self.ends:
            kept = k % (self.states + 1)  # x, or an old state, as it is
            new.append(values[kept] if k < 5 and kept else tr.tanh(values[k % len(values)]))
        return output, tuple(new) if self.states > 1 else new[0]


class PlainCell:
    """The same, but no Module: its weights are held by something else."""

    def __init__(self, *arguments: Any) -> None:
        inner = RandomCell(*arguments)
        self.step = inner.__call__
        self.initial_state = inner.initial_state
        self.parameters = inner.parameters

    def __call__(self, x: tr.Tensor, state: Any) -> tuple[tr.Tensor, Any]:
        return self.step(x, state)


# Cells that once went wrong: what arrives from the next step asked for by a weight; a sum over the
# batch beside slices that overlap; slices of an array that is itself still wanted; a delay line.
@example([("bias", 9, 0), ("mean", 2, 3), ("matmul", 6, 0)], [9], 1, None, False, False)
@example(
    [("both", 7, 5), ("mean", 0, 9), ("product of halves", 3, 9)], [7], 1, [6, 2, 4], True, False
)
@example(
    [("tanh", 7, 8), ("product of halves", 9, 2), ("product of halves", 8, 5), ("bias", 4, 1),
     ("peephole", 6, 8), ("tied", 5, 0), ("peephole", 7, 8)],
    [8], 1, None, False, False,
)  # fmt: skip
@example(
    [("swap halves", 4, 0), ("picked", 6, 6), ("swap halves", 9, 0), ("product of halves", 9, 6),
     ("softmax", 7, 1)],
    [8], 1, None, False, True,
)  # fmt: skip
@example([("add", 1, 2), ("matmul", 0, 1)], [2, 9], 1, None, True, False)
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
@given(
    plan=st.lists(
        st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 9), st.integers(0, 9)),
        min_size=2,
        max_size=9,
    ),
    ends=st.lists(st.integers(0, 12), min_size=1, max_size=3),
    seed=st.integers(0, 99),
    lengths=st.sampled_from([None, [6, 2, 4]]),
    plain=st.booleans(),
    reverse=st.booleans(),
)
def test_derived_equals_unrolled(
    plan: Any, ends: list[int], seed: int, lengths: Any, plain: bool, reverse: bool
) -> None:
    cell = (PlainCell if plain else RandomCell)(plan, ends, seed)
    assert_same(cell, 1e-10, lengths=lengths, reverse=reverse)
