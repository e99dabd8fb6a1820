"""Lesson 21: where an exponential overflows, and both cells as plain sums of exponentials."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def test_the_overflow_is_named_at_its_step(lesson: Any) -> None:
    """n after step t is the sum of exp(10 s) for s from 0 to t."""
    largest = math.log(sys.float_info.max)
    first = next(t for t in range(999) if 10 * t - math.log1p(-math.exp(-10)) > largest)
    assert first == 71
    assert f"in slstm / t={first}: multiply made inf" in lesson["report"]
    assert lesson.written() == {"overflow.svg", "stabilised.svg", "gates.svg"}


def test_the_stabiliser_changes_nothing_else(lesson: Any) -> None:
    """Against the equations without it (8 to 14), with gates that do not overflow."""
    xs = np.random.default_rng(3).normal(size=(20, 2, 3))
    cell = lesson["SLSTMCell"](3, 4)
    p = {name: w.data for name, w in cell.named_parameters().items()}
    h = c = n = np.zeros((2, 4))
    outputs, state = lesson["nn"].unroll(cell, xs)
    for x, output in zip(xs, outputs, strict=True):
        z, i, f, o = (x @ p[f"W_{k}"] + h @ p[f"R_{k}"] + p[f"b_{k}"] for k in "zifo")
        c = np.exp(f) * c + np.exp(i) * np.tanh(z)
        n = np.exp(f) * n + np.exp(i)
        h = sigmoid(o) * c / n
        np.testing.assert_allclose(output.data, h, rtol=1e-11)
    np.testing.assert_allclose(state[2].data * np.exp(state[3].data), n, rtol=1e-11)


def test_both_forms_of_the_mlstm_are_the_sum_over_what_was_stored(lesson: Any) -> None:
    """h = o ⊙ Σ exp(i + Σ log f) (q·k) v ÷ max(|...|, 1)."""
    assert lesson["difference"] < 1e-10
    p = {name: w.data for name, w in lesson["cell"].named_parameters().items()}
    xs = lesson["xs"].data
    q, k, v, o, i, f = (xs @ p[f"W_{a}"] + p[f"b_{a}"] for a in "qkvoif")
    for t in (0, 1, 7, 59):
        weighted, weights = np.zeros(4), 0.0
        for s in range(t + 1):
            logs = [-math.log1p(math.exp(-value)) for value in f[s + 1 : t + 1, 0]]
            weight = math.exp(i[s, 0] + sum(logs)) * (q[t] @ k[s]) / 2
            weighted, weights = weighted + weight * v[s], weights + weight
        expected = sigmoid(o[t]) * weighted / max(abs(weights), 1)
        np.testing.assert_allclose(lesson["parallel"].data[t], expected, rtol=1e-11)
        np.testing.assert_allclose(lesson["recurrent"].data[t], expected, rtol=1e-11)


@pytest.mark.parametrize("name", ["SLSTMCell", "MLSTMCell"])
def test_the_cells_are_right_drawn_and_derived(lesson: Any, name: str, check_cell: Any) -> None:
    check_cell(lesson[name](3, 4), 3)


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
