"""Lesson 10: the same descents in plain NumPy, and what the report has to name."""

from __future__ import annotations

from typing import Any

import numpy as np


def value_and_slope(w: float, b: float) -> tuple[float, np.ndarray]:
    def loss(w: Any, b: Any) -> Any:
        x: Any = 0.5
        for _ in range(50):
            x = w / (1 + np.exp(-x)) + b
        return (1 / (1 + np.exp(-x)) - 0.7) ** 2

    slope = [loss(w + 1e-30j, b).imag / 1e-30, loss(w, b + 1e-30j).imag / 1e-30]
    return loss(w, b), np.array(slope)


def test_descent_and_training_with_and_without_clipping(lesson: Any) -> None:
    point = np.array([5.2, -2.65])
    for expected in lesson["ways"]["clipped at 1"][:20]:
        np.testing.assert_allclose(point, expected, rtol=1e-9)
        slope = value_and_slope(*point)[1]
        point = point - 0.05 * slope * min(1.0, 1.0 / np.linalg.norm(slope))
    ends = {name: value_and_slope(*way[-1])[0] for name, way in lesson["ways"].items()}
    assert ends["clipped at 1"] < 0.01 < 0.05 < ends["not clipped"]
    steps = np.linalg.norm(np.diff(lesson["ways"]["clipped at 1"], axis=0), axis=1)
    assert steps.max() < 0.05 * 1.000001

    assert np.isnan(lesson["curves"]["not clipped"][-1])
    assert lesson["curves"]["clipped at 1"][-1] < 1e-3 * lesson["curves"]["clipped at 1"][0]
    assert lesson["report"].startswith("in elman / t=")
    assert lesson.written() == {"descent.svg", "training.svg"}


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
