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
    found = lesson("10_clipping")
    point = np.array([5.2, -2.65])
    for expected in found["ways"]["clipped at 1"][:20]:
        np.testing.assert_allclose(point, expected, rtol=1e-9)
        slope = value_and_slope(*point)[1]
        point = point - 0.05 * slope * min(1.0, 1.0 / np.linalg.norm(slope))
    ends = {name: value_and_slope(*way[-1])[0] for name, way in found["ways"].items()}
    assert ends["clipped at 1"] < 0.01 < 0.05 < ends["not clipped"]
    steps = np.linalg.norm(np.diff(found["ways"]["clipped at 1"], axis=0), axis=1)
    assert steps.max() < 0.05 * 1.000001

    assert np.isnan(found["curves"]["not clipped"][-1])
    assert found["curves"]["clipped at 1"][-1] < 1e-3 * found["curves"]["clipped at 1"][0]
    assert found["report"].startswith("in elman / t=")
