"""Lesson 13: derivatives of tanh by their polynomials, slopes and curvatures by differences."""

from __future__ import annotations

from typing import Any

import numpy as np


def loss(w: Any, b: Any) -> Any:
    x: Any = 0.5
    for _ in range(50):
        x = w / (1 + np.exp(-x)) + b
    return (1 / (1 + np.exp(-x)) - 0.7) ** 2


def test_every_order_and_the_curvature_of_the_cliff(lesson: Any) -> None:
    y = np.tanh(0.5)
    polynomial = np.polynomial.Polynomial([0, 1])
    for derivative in lesson["derivatives"]:
        np.testing.assert_allclose(derivative.item(), polynomial(y), rtol=1e-13)
        polynomial = polynomial.deriv() * np.polynomial.Polynomial([1, 0, -1])
    ws, B = lesson["ws"], lesson["B"]
    np.testing.assert_allclose(lesson["values"], loss(ws, B), rtol=1e-9)
    slopes = loss(ws + 1e-30j, B).imag / 1e-30
    np.testing.assert_allclose(lesson["slopes"], slopes, rtol=1e-9)
    h = 1e-7  # central differences of exact slopes
    curvatures = (loss(ws + h + 1e-30j, B) - loss(ws - h + 1e-30j, B)).imag / 1e-30 / (2 * h)
    np.testing.assert_allclose(lesson["curvatures"], curvatures, rtol=1e-4, atol=1e-4)
    assert np.abs(curvatures).max() > 1e5
    assert lesson["report"]
    assert lesson.written() == {"second_derivative.svg", "cliff.svg"}


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
