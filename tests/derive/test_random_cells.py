"""Cells put together at random from the operations: derived equals unrolled."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr

from .test_program import assert_same

SIZE = 4  # inputs and states alike, so that any operation fits any value
UNARY = {
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
    """x and the states are the first values; each entry of the plan makes one more."""

    def __init__(self, plan: list[tuple[str, int, int]], states: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.plan, self.states = plan, states
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
        new = [tr.tanh(v) for v in values[-self.states - 1 : -1]]
        return output, tuple(new) if self.states > 1 else new[0]


# Cells that once went wrong: what arrives from the next step asked for by a weight; a sum over the
# batch beside slices that overlap; an array written in place while its slices, or it itself, are
# still wanted; work space in a slice of an array that is in use.
@example([("bias", 9, 0), ("mean", 2, 3), ("matmul", 6, 0)], 1, 1, None, False)
@example([("both", 7, 5), ("mean", 0, 9), ("product of halves", 3, 9)], 1, 1, [6, 2, 4], False)
@example(
    [
        ("tanh", 7, 8),
        ("product of halves", 9, 2),
        ("product of halves", 8, 5),
        ("bias", 4, 1),
        ("peephole", 6, 8),
        ("tied", 5, 0),
        ("peephole", 7, 8),
    ],
    1,
    1,
    None,
    False,
)
@example(
    [
        ("swap halves", 4, 0), ("picked", 6, 6), ("swap halves", 9, 0), ("product of halves", 9, 6),
        ("softmax", 7, 1),
    ],
    1, 1, None, True,
)  # fmt: skip
@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    plan=st.lists(
        st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 9), st.integers(0, 9)),
        min_size=3,
        max_size=9,
    ),
    states=st.integers(1, 2),
    seed=st.integers(0, 99),
    lengths=st.sampled_from([None, [6, 2, 4]]),
    reverse=st.booleans(),
)
def test_derived_equals_unrolled(
    plan: Any, states: int, seed: int, lengths: Any, reverse: bool
) -> None:
    cell = RandomCell(plan, states, seed)
    assert_same(cell, 1e-10, lengths=lengths, reverse=reverse)
