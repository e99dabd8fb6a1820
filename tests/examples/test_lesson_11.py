"""Lesson 11: ratios against products of Jacobians in plain NumPy, the spread against √T."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def test_the_gradient_through_relu_is_a_product_of_jacobians(lesson: Any) -> None:
    found = lesson("11_not_the_sigmoids_fault")
    for name, gain in [("ReLU, gain 1", 1.0), ("ReLU, gain 2", 2.0), ("ReLU from the identity", 0)]:
        cell = found["net"]("relu", gain or None)
        W_xh, W_hh = cell.W_xh.data, cell.W_hh.data
        hs = [np.zeros((found["B"], found["H"]))]
        for x in found["xs"]:
            hs.append(np.maximum(x @ W_xh + hs[-1] @ W_hh, 0))
        g = last = 2 * hs[-1]
        for h in hs[:1:-1]:
            g = (g * (h > 0)) @ W_hh.T
        expected = np.linalg.norm(g) / np.linalg.norm(last)
        assert found["ratios"][name] == pytest.approx(expected, rel=1e-9)
    assert found["ratios"]["ReLU, gain 1"] < 1e-6
    assert found["ratios"]["ReLU, gain 2"] > 1e6
    assert 0.1 < found["ratios"]["ReLU from the identity"] < 10
    assert found["ratios"]["sigmoid, gain 1"] < 0.25 ** found["T"] * 2 ** found["T"]


def test_tied_weights_spread_with_T_and_untied_ones_with_its_root(lesson: Any) -> None:
    found = lesson("11_not_the_sigmoids_fault")
    draws, steps = found["draws"], found["STEPS"]
    np.testing.assert_allclose(found["tied"], steps * np.log10(np.abs(draws[0])), rtol=1e-9)
    logs = np.log10(np.abs(draws)).sum(axis=0)
    np.testing.assert_allclose(found["untied"], logs, rtol=1e-9, atol=1e-12)
    assert found["tied"].std() / found["untied"].std() == pytest.approx(np.sqrt(steps), rel=0.1)
