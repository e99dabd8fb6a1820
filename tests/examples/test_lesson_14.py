"""Lesson 14: the derived program's gradients against complex steps, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np


def test_the_program_printed_is_right_and_its_limits_are_said(lesson: Any) -> None:
    cell, xs = lesson["cell"], lesson["xs"]
    weights = {name: p.data for name, p in cell.named_parameters().items()}

    def loss(W_xh: Any, W_hh: Any, b: Any) -> Any:
        h, total = np.zeros((4, 5)), 0.0
        for x in xs:
            h = np.tanh(x @ W_xh + h @ W_hh + b)
            total = total + (h * h).sum()
        return total

    for name, value in weights.items():
        for index in [(0,) * value.ndim, (-1,) * value.ndim]:
            moved = value.astype(complex)
            moved[index] += 1e-30j
            expected = loss(**(weights | {name: moved})).imag / 1e-30
            np.testing.assert_allclose(lesson["derived"][name][index], expected, rtol=1e-11)
    assert "use unroll" in lesson["refusal"]
    assert "negative at 14_from_graph_to_program.py, line" in lesson["moody"]
    assert "f * c + i * g" in lesson.printed
    if "needs a C compiler" not in lesson.printed:
        assert "f * cs[t][row][col] + i * g" in lesson.printed
    assert "d_W_hh = rows(hs[:-1]).T @ rows(d_a_hs)" in lesson.printed


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
