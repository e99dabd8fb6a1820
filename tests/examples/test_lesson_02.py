"""Lesson 2: every term by a complex step in a net whose steps share nothing."""

from __future__ import annotations

from typing import Any

import numpy as np


def untied(p: dict[str, Any], weights: dict[str, Any]) -> Any:
    """The lesson's loss with weights of its own for every step: (3, *shape) each."""
    h, total = np.zeros((1, 2)), 0.0
    for t in range(3):
        h = np.tanh(p["xs"][t] @ weights["W_xh"][t] + h @ weights["W_hh"][t] + weights["b"][t])
        total = total + 0.5 * np.sum(h**2)
    return total


def complex_step(f: Any, array: np.ndarray) -> np.ndarray:
    gradient = np.zeros(array.shape)
    for index in np.ndindex(array.shape):
        moved = array.astype(complex)
        moved[index] += 1e-30j
        gradient[index] = f(moved).imag / 1e-30
    return gradient


def test_every_term_is_the_derivative_by_that_steps_own_weight(lesson: Any) -> None:
    p = lesson["start"]
    weights = {name: np.stack([p[name]] * 3) for name in ("W_xh", "W_hh", "b")}
    for name, copies in weights.items():
        expected = complex_step(lambda w, name=name: untied(p, weights | {name: w}), copies)
        np.testing.assert_allclose(lesson["terms"][name], expected, rtol=1e-12, atol=1e-15)
        engine = lesson["trace"].by_step(getattr(lesson["cell"], name))
        np.testing.assert_allclose(engine, expected, rtol=1e-12, atol=1e-15)
    assert max(lesson["differences"]) < 1e-14
    assert "largest difference" in lesson.printed
    assert lesson.written() == {"backprop.svg", "walk.html"}


def test_the_published_mistake_is_right_at_the_last_step_only(lesson: Any) -> None:
    p = lesson["start"]
    copies = {name: [p[name]] * 3 for name in ("W_xh", "W_hh", "b")}
    expected = complex_step(lambda xs: untied({"xs": xs}, copies), p["xs"])
    right, wrong = lesson["right"](p)["xs"], lesson["wrong"](p)["xs"]
    np.testing.assert_allclose(right, expected, rtol=1e-12)
    np.testing.assert_allclose(wrong[2], expected[2], rtol=1e-12)
    assert np.abs(wrong - expected)[:2].max(axis=(1, 2)).min() > 1e-3
    assert lesson["passed"]
    assert not lesson["found"]
    assert lesson["found"].diagnosis[0].startswith("xs: right only at the last step")


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
