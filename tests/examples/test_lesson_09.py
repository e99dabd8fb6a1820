"""Lesson 9: the surface and its slope in plain NumPy, the ridge by its closed form."""

from __future__ import annotations

from typing import Any

import numpy as np


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def loss(w: Any, b: Any) -> Any:
    x: Any = 0.5
    for _ in range(50):
        x = w * sigmoid(x) + b
    return (sigmoid(x) - 0.7) ** 2


def test_the_surface_its_slope_and_the_fall(lesson: Any) -> None:
    ws, bs = np.meshgrid(lesson["ws"], lesson["bs"])
    np.testing.assert_allclose(lesson["values"], loss(ws, bs), rtol=1e-6, atol=1e-9)
    for w, b in [(3.0, -1.5), (5.2, -2.65), (4.6, -2.3)]:
        expected = [loss(w + 1e-30j, b).imag / 1e-30, loss(w, b + 1e-30j).imag / 1e-30]
        np.testing.assert_allclose(lesson["slope"](w, b)[1], expected, rtol=1e-9)
    for w, b, factor, _ in lesson["rows"]:
        assert abs(w * sigmoid(0.5) + b - 0.5) < 1e-12  # a fixed point
        assert abs(factor - w * sigmoid(0.5) * (1 - sigmoid(0.5))) < 1e-12
    norms, fall = lesson["norms"], lesson["fall"]
    assert norms[fall] > 1000 * np.median(norms[:fall])
    assert np.abs(lesson["after"]).max() > 50
    assert lesson.written() == {"surface.svg", "descent.svg"}


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
