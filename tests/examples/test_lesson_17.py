"""Lesson 17: states and gradients by complex steps through a plain loop; gradients as products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def minimal_gru(p: dict[str, Any], x: Any, h: Any) -> Any:
    z = sigmoid(x @ p["W_z"] + p["b_z"])
    return (1 - z) * h + z * (x @ p["W_n"] + p["b_n"])


def minimal_lstm(p: dict[str, Any], x: Any, h: Any) -> Any:
    f, i = sigmoid(x @ p["W_f"] + p["b_f"]), sigmoid(x @ p["W_i"] + p["b_i"])
    return f / (f + i) * h + i / (f + i) * (x @ p["W_n"] + p["b_n"])


@pytest.mark.parametrize(
    ("name", "equations"), [("MinGRUCell", minimal_gru), ("MinLSTMCell", minimal_lstm)]
)
def test_the_scan_is_the_papers_loop(lesson: Any, name: str, equations: Any) -> None:
    cell = lesson[name](lesson["I"], lesson["H"])
    found = lesson["values_and_gradients"](lesson["by_scan"], cell)
    given = {"xs": lesson["inputs"], "h0": lesson["start"]}
    given |= {key: p.data for key, p in cell.named_parameters().items()}

    def states(given: dict[str, Any]) -> Any:
        h, hs = given["h0"], []
        for x in given["xs"]:
            h = equations(given, x, h)
            hs.append(h)
        return np.array(hs)

    np.testing.assert_allclose(found[0], states(given), rtol=1e-12, atol=1e-13)
    for (key, value), gradient in zip(given.items(), found[1:], strict=True):
        for index in [(0,) * value.ndim, (-1,) * value.ndim]:
            moved = value.astype(complex)
            moved[index] += 1e-30j
            expected = np.sin(states(given | {key: moved})).sum().imag / 1e-30
            assert gradient[index] == pytest.approx(expected, rel=1e-11, abs=1e-12)
    assert lesson["agreement"][name] < 1e-12


def test_the_gradient_through_time_is_a_product_of_factors(lesson: Any) -> None:
    cell = lesson["MinGRUCell"](lesson["I"], lesson["H"])
    xs = 10 * lesson["inputs"][:60]
    z, n = sigmoid(xs @ cell.W_z.data), xs @ cell.W_n.data
    h = np.zeros_like(lesson["start"])
    for t in range(60):
        h = (1 - z[t]) * h + z[t] * n[t]
    norms = [np.linalg.norm(2 * h * np.prod(1 - z[t + 1 :], axis=0)) for t in range(60)]
    share = lesson["share"]
    np.testing.assert_allclose(share["minGRU, weights × 10"], np.array(norms) / norms[-1])
    assert share["minGRU, weights × 10"].max() == 1
    assert share["GRU, weights × 10"].max() > 1000
    assert lesson.written() == {"steps.svg", "scan.svg", "gradient_flow.svg"}


@pytest.mark.parametrize("name", ["MinGRUCell", "MinLSTMCell"])
def test_the_cells_are_right_drawn_and_derived(lesson: Any, name: str, check_cell: Any) -> None:
    check_cell(lesson[name](3, 4), 3)


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
