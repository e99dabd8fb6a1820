"""The one table of cells that all tests share.

``CELLS["lstm"]()`` is an LSTM cell for inputs of size 3 with hidden states of size 4;
``CELLS["lstm"](2, 5, rng=1, dtype=np.float32)`` is another. Every cell's output has the hidden
state's size. ``@each_cell`` runs a test for every name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.derive.c import compile

I, H = 3, 4  # noqa: E741
try:
    compile.compiler()
    TARGETS = ["numpy", "c"]
except tr.DeriveError:  # what needs a C compiler is skipped
    TARGETS = ["numpy"]
needs_c = pytest.mark.skipif("c" not in TARGETS, reason="there is no C compiler")


@dataclass(frozen=True)
class Kind:
    """How a cell is made, and what is known of it.

    `torch` is its counterpart in ``torch.nn``; `analytic` whether a complex step can check it.
    """

    make: Callable[..., Any]
    options: dict[str, Any] = field(default_factory=dict)
    torch: str | None = None
    analytic: bool = True

    def __call__(self, input_size: int = I, hidden_size: int = H, **options: Any) -> Any:
        return self.make(input_size, hidden_size, **({"rng": 0} | self.options | options))


class Leaky(nn.Module):
    """A cell of a user's own: a few lines, no registration."""

    def __init__(self, i: int, h: int, rng: Any = None, dtype: Any = np.float64) -> None:
        start = np.random.default_rng(rng).standard_normal((i + h, h)) / 2
        self.W = tr.Tensor(start, requires_grad=True, dtype=dtype)

    def initial_state(self, batch: int) -> tr.Tensor:
        return tr.Tensor(np.zeros((batch, self.W.shape[1]), self.W.dtype))

    def __call__(self, x: tr.Tensor, h: tr.Tensor) -> tuple[tr.Tensor, tr.Tensor]:
        h = 0.9 * h + tr.tanh(tr.concatenate([x, h], axis=1) @ self.W)
        return h, h


class Delayed(nn.Module):
    """A user's own cell of three states, one of them a delay line; no state is the output."""

    def __init__(self, i: int, h: int, rng: Any = None, dtype: Any = np.float64) -> None:
        rng = np.random.default_rng(rng)
        self.U = tr.Tensor(rng.standard_normal((i, h)) / 2, requires_grad=True, dtype=dtype)
        self.V = tr.Tensor(rng.standard_normal((h, h)) / 2, requires_grad=True, dtype=dtype)

    def initial_state(self, batch: int) -> tuple[tr.Tensor, ...]:
        zeros = np.zeros((batch, len(self.V)), self.V.dtype)
        return tuple(tr.Tensor(zeros) for _ in range(3))

    def __call__(self, x: tr.Tensor, state: Any) -> tuple[tr.Tensor, tuple[tr.Tensor, ...]]:
        a, b, total = state
        y = tr.tanh(x @ self.U + (a + b) @ self.V)
        return y * total, (y, a, 0.5 * total + y)


def _learned(i: int, h: int, **options: Any) -> Any:
    return nn.LearnedState(nn.LSTMCell(i, h, **options))


def _jordan(i: int, h: int, **options: Any) -> Any:
    return nn.JordanCell(i, h + 2, h, **options)


CELLS: dict[str, Kind] = {
    "elman": Kind(nn.ElmanCell, torch="RNNCell"),
    "elman relu": Kind(nn.ElmanCell, {"nonlinearity": "relu"}, torch="RNNCell", analytic=False),
    "elman no bias": Kind(nn.ElmanCell, {"bias": False}, torch="RNNCell"),
    "jordan": Kind(_jordan),
    "lstm": Kind(nn.LSTMCell, torch="LSTMCell"),
    "peephole": Kind(nn.PeepholeLSTMCell),
    "gru": Kind(nn.GRUCell, torch="GRUCell"),
    "gru before": Kind(nn.GRUCell, {"reset": "before"}),
    "learned": Kind(_learned),
    "own": Kind(Leaky),
    "own delayed": Kind(Delayed),
}
each_cell = pytest.mark.parametrize("name", CELLS)
