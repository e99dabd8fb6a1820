"""Lesson 5: 0, 0, 0, 7, 0, and before rounding what the equations give with plain numbers."""

from __future__ import annotations

from typing import Any

import numpy as np


def sigmoid(a: float) -> float:
    return 1 / (1 + np.exp(-a))


def test_the_lectures_outputs(lesson: Any) -> None:
    outputs = [y.item() for y in lesson["outputs"]]
    assert [round(y) for y in outputs] == [0, 0, 0, 7, 0]
    c, expected = 0.0, []
    for x1, x2, x3 in [(3, 1, 0), (4, 1, 0), (2, 0, 0), (1, 0, 1), (3, -1, 0)]:
        c = sigmoid(100 * x2 + 10) * c + sigmoid(100 * x2 - 10) * x1
        expected.append(sigmoid(100 * x3 - 10) * c)
    np.testing.assert_allclose(outputs, expected, rtol=1e-12)
    printed = [line.split()[-1] for line in lesson.printed.splitlines() if ", so " in line]
    assert printed == ["0", "0", "0", "7", "0"]
    assert lesson.written() == {"seven.svg"}


def test_the_gradient_is_the_product_of_the_gates(lesson: Any) -> None:
    kept, leak = sigmoid(10), sigmoid(-10)
    expected = [kept**2, kept**2, leak * kept, leak]
    np.testing.assert_allclose(lesson["credit"], expected, rtol=1e-12)


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
