"""Lesson 18: closed forms of linear recurrences, and complex numbers in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def test_a_matrix_is_its_eigenvalues(lesson: Any) -> None:
    cell = lesson["elman"]
    h, hs = np.zeros((2, 8)), []
    for x in lesson["xs"]:
        h = x @ cell.W_xh.data + h @ cell.W_hh.data
        hs.append(h)
    np.testing.assert_allclose(lesson["hs"].data, hs, rtol=1e-12, atol=1e-13)
    assert lesson["same"] < 1e-12


def test_the_lru_is_the_papers_recurrence_in_complex_numbers(lesson: Any) -> None:
    cell = lesson["LRUCell"](3, 8, 0.5)
    p = {name: value.data for name, value in cell.named_parameters().items()}
    lam = np.exp(-np.exp(p["nu"]) + 1j * p["theta"])
    np.testing.assert_allclose(p["gamma"], np.sqrt(1 - abs(lam) ** 2))
    h, B = np.zeros((2, 8), complex), p["B"][:, :8] + 1j * p["B"][:, 8:]
    for x in lesson["xs"]:
        h = lam * h + p["gamma"] * (x @ B)
    _, found = lesson["nn"].unroll(cell, lesson["xs"])
    np.testing.assert_allclose(found.data[:, 0] + 1j * found.data[:, 1], h, rtol=1e-11)


def test_the_gradient_falls_by_the_eigenvalue(lesson: Any) -> None:
    for size, share in lesson["shares"].items():
        assert share == pytest.approx(size**399, rel=1e-9)


def test_the_sensitivity_is_the_sum_in_closed_form(lesson: Any) -> None:
    for lam, (mean, error, slopes) in lesson["measured"].items():
        noise = np.random.default_rng(1).normal(size=(round(6 / (1 - lam)), len(slopes)))
        k = np.arange(1, len(noise))
        expected = (k * lam ** (k - 1)) @ noise[-2::-1]
        np.testing.assert_allclose(slopes, expected, rtol=1e-9)
        exact = (1 + lam**2) / (1 - lam**2) ** 3
        assert np.sum(k**2 * lam ** (2.0 * k - 2)) == pytest.approx(exact, rel=1e-3)
        assert abs(mean - exact) < 3 * error
    assert lesson.written() == {"gradient_flow.svg", "lru.svg", "sensitivity.svg"}


def test_the_cell_is_right_drawn_and_derived(lesson: Any, check_cell: Any) -> None:
    check_cell(lesson["LRUCell"](3, 4, 0.5), 3)


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
