"""Lesson 12: the culprit planted is the culprit named; a cut graph is told from a wrong rule."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import nn


def test_what_is_planted_is_named(lesson: Any) -> None:
    found = lesson("12_check_your_own_cell")
    assert found["worst"] < 1e-9
    (culprit,) = found["report"].culprits
    assert (culprit.op, culprit.input, culprit.step) == ("tanh", 0, 1)
    assert culprit.path.endswith("t=1 / candidate")
    assert not found["cut"]
    assert not found["cut"].culprits
    assert "matmul, input 0, t=2" in found["cut"].diagnosis[0]
    assert found["truncated"]


def test_the_first_exercise_has_three_culprits(lesson: Any) -> None:
    """One forget gate a step, three steps."""
    found = lesson("12_check_your_own_cell")
    slip = tr.primitive("sigmoid", lambda x: 1 / (1 + np.exp(-x)), lambda g, y, x: g * y)
    Cell = found["MinimalGatedCell"]
    globals_of_cell = Cell.__call__.__globals__["tr"]
    right, globals_of_cell.sigmoid = globals_of_cell.sigmoid, slip
    try:
        cell = Cell(3, 4)
        f = lambda xs: nn.unroll(cell, xs)  # noqa: E731
        report = tr.check.gradcheck(f, found["xs"], raise_exception=False)
    finally:
        globals_of_cell.sigmoid = right
    assert [(c.op, c.step) for c in report.culprits] == [("sigmoid", t) for t in range(3)]
