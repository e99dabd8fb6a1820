"""Lesson 6: parameters by formula, and the gates shown against the LSTM's equations in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn import nn


def sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def test_parameters_are_counted_by_formula(lesson: Any) -> None:
    """H (I + H + 1) for a cell and for each gate, 3 H for peepholes; a grown LSTM is the LSTM."""
    elman = 5 * (7 + 5 + 1)
    expected = [elman, elman, 2 * elman, 3 * elman, 4 * elman, 4 * elman + 3 * 5]
    assert list(lesson["counts"].values()) == expected
    assert "260 parameters, 4.00 times Elman's" in lesson.printed
    assert lesson["difference"] < 1e-15
    assert lesson.written() == {"grown.svg", "gates.svg"}


def test_the_gates_shown_are_those_of_the_equations(lesson: Any) -> None:
    assert "leave/O" in lesson.printed
    assert "new/B-departure york/I-departure" in lesson.printed
    assert lesson["gates"].shape == (11, 3, 12)
    W_xh, W_hh, b = (getattr(lesson["cell"], name).data for name in ("W_xh", "W_hh", "b"))
    h, c = np.zeros(12), np.zeros(12)
    for x, shown in zip(lesson["vectors"].data, lesson["gates"], strict=True):
        i, f, g, o = np.split(x[0] @ W_xh + h @ W_hh + b, 4)
        np.testing.assert_allclose(shown, [sigmoid(a) for a in (i, f, o)], rtol=1e-9)
        c = shown[1] * c + shown[0] * np.tanh(g)
        h = shown[2] * np.tanh(c)


def test_without_coupling_the_cell_state_leaves_the_range(lesson: Any) -> None:
    grown = lesson["Grown"](7, 5, "ifgo")
    _, (_, c) = nn.unroll(grown, 100 * np.ones((50, 1, 7)))
    assert np.abs(c.data).max() > 1


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
