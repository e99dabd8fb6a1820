"""Lesson 8: powers in closed form, the flow of the gradient by Jacobians in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def test_a_thousand_steps_of_a_linear_unit(lesson: Any) -> None:
    for w, (output, slope) in lesson["results"].items():
        assert output == pytest.approx(w**999, rel=1e-11)
        assert slope == pytest.approx(999 * w**998, rel=1e-11)
    assert lesson["results"][1.01][0] == pytest.approx(20_000, rel=0.05)  # as the lecture has it

    cell, xs = lesson["cells"]["Elman"], lesson["xs"]
    hs = [np.zeros((4, 24))]
    for x in xs:
        hs.append(np.tanh(x @ cell.W_xh.data + hs[-1] @ cell.W_hh.data + cell.b.data))
    g = 2 * hs[-1]
    norms = [np.linalg.norm(g)]
    for h in hs[:1:-1]:
        g = (g * (1 - h * h)) @ cell.W_hh.data.T
        norms.append(np.linalg.norm(g))
    loss, outputs = lesson["flows"]["Elman"]
    trace = lesson["tr"].backprop(loss)
    np.testing.assert_allclose([trace.norm(h) for h in outputs], norms[::-1], rtol=1e-9)
    assert lesson.written() == {"gradient_flow.svg", "influence.svg"}


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
