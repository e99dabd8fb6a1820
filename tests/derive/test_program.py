"""A derived program computes what `unroll` computes: values and all gradients, to rounding."""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr

T, B, I, H = 6, 3, 4, 5
CELLS: dict[str, Any] = {
    "elman": lambda dtype: tr.nn.ElmanCell(I, H, rng=0, dtype=dtype),
    "relu": lambda dtype: tr.nn.ElmanCell(I, H, "relu", rng=0, dtype=dtype),
    "no bias": lambda dtype: tr.nn.ElmanCell(I, H, bias=False, rng=0, dtype=dtype),
    "jordan": lambda dtype: tr.nn.JordanCell(I, H, 2, rng=0, dtype=dtype),
    "lstm": lambda dtype: tr.nn.LSTMCell(I, H, rng=0, dtype=dtype),
    "peephole": lambda dtype: tr.nn.PeepholeLSTMCell(I, H, rng=0, dtype=dtype),
    "gru": lambda dtype: tr.nn.GRUCell(I, H, rng=0, dtype=dtype),
    "gru before": lambda dtype: tr.nn.GRUCell(I, H, reset="before", rng=0, dtype=dtype),
}


def everything(
    run: Any, cell: Any, xs: Any, state: Any, lengths: Any, reverse: bool
) -> list[np.ndarray]:
    """Outputs, last state, and the gradients of xs, the first state and every parameter."""
    xs = tr.Tensor(xs, requires_grad=True)
    parts = [tr.Tensor(s, requires_grad=True) for s in state]
    first = tuple(parts) if len(parts) > 1 else parts[0]
    outputs, last = run(xs, first, lengths, reverse)
    outputs = outputs if isinstance(outputs, tr.Tensor) else tr.stack(outputs)
    ends = [outputs, *(last if isinstance(last, tuple) else [last])]
    rng = np.random.default_rng(1)
    loss = sum(((e * rng.standard_normal(e.shape).astype(e.dtype)).sum() for e in ends), 0.0)
    wanted = [xs, *parts, *cell.parameters()]
    for w in wanted:
        w.grad = None
    loss.backward()
    return [e.data for e in ends] + [np.zeros(w.shape) if w.grad is None else w.grad for w in wanted]


def assert_same(cell: Any, tolerance: float = 1e-12, T: int = T, **how: Any) -> None:
    rng = np.random.default_rng(0)
    first = cell.initial_state(B)
    parts = first if isinstance(first, tuple) else (first,)
    dtype = parts[0].dtype
    xs = rng.standard_normal((T, B, I)).astype(dtype)
    state = [rng.standard_normal(p.shape).astype(dtype) for p in parts]
    how = {"lengths": None, "reverse": False} | how

    def unrolled(*arguments: Any) -> Any:
        return tr.nn.unroll(cell, *arguments)

    want = everything(unrolled, cell, xs, state, **how)
    got = everything(tr.derive(cell), cell, xs, state, **how)
    for w, g in zip(want, got, strict=True):
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, [6, 1, 4]])
def test_same_values_and_gradients_as_unroll(name: str, reverse: bool, lengths: Any) -> None:
    assert_same(CELLS[name](np.float64), lengths=lengths, reverse=reverse)


@pytest.mark.parametrize("name", CELLS)
def test_in_single_precision(name: str) -> None:
    assert_same(CELLS[name](np.float32), 1e-4, lengths=[6, 2, 3])


@pytest.mark.parametrize("name", CELLS)
def test_a_single_step(name: str) -> None:
    assert_same(CELLS[name](np.float64), T=1)
