"""Lesson 11: ratios against products of Jacobians in plain NumPy, the spread against √T."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def test_the_gradient_through_relu_is_a_product_of_jacobians(lesson: Any) -> None:
    for name, gain in [("ReLU, gain 1", 1.0), ("ReLU, gain 2", 2.0), ("ReLU from the identity", 0)]:
        cell = lesson["net"]("relu", gain or None)
        W_xh, W_hh = cell.W_xh.data, cell.W_hh.data
        hs = [np.zeros((lesson["B"], lesson["H"]))]
        for x in lesson["xs"]:
            hs.append(np.maximum(x @ W_xh + hs[-1] @ W_hh, 0))
        g = last = 2 * hs[-1]
        for h in hs[:1:-1]:
            g = (g * (h > 0)) @ W_hh.T
        expected = np.linalg.norm(g) / np.linalg.norm(last)
        assert lesson["ratios"][name] == pytest.approx(expected, rel=1e-9)
    assert lesson["ratios"]["ReLU, gain 1"] < 1e-6
    assert lesson["ratios"]["ReLU, gain 2"] > 1e6
    assert 0.1 < lesson["ratios"]["ReLU from the identity"] < 10
    assert lesson["ratios"]["sigmoid, gain 1"] < 0.25 ** lesson["T"] * 2 ** lesson["T"]
    assert lesson.written() == {"gradient_flow.svg", "tied.svg", "contributions.svg"}


def test_tied_weights_spread_with_T_and_untied_ones_with_its_root(lesson: Any) -> None:
    draws, steps = lesson["draws"], lesson["STEPS"]
    np.testing.assert_allclose(lesson["tied"], steps * np.log10(np.abs(draws[0])), rtol=1e-9)
    logs = np.log10(np.abs(draws)).sum(axis=0)
    np.testing.assert_allclose(lesson["untied"], logs, rtol=1e-9, atol=1e-12)
    assert lesson["tied"].std() / lesson["untied"].std() == pytest.approx(np.sqrt(steps), rel=0.1)


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
