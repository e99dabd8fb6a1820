"""Lesson 23: gradients against complex steps in plain NumPy, runs against dynamic programming."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def last_loss(xs: Any, W_xh: Any, W_hh: Any, b: Any) -> Any:
    h = c = np.zeros((4, 32))
    for x in xs:
        i, f, g, o = np.split(x @ W_xh + h @ W_hh + b, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return (h * h).sum() + (c * c).sum()


def test_the_gradient_is_right_and_stays_the_same(lesson: Any) -> None:
    xs, results = lesson["xs"], lesson["results"]
    weights = [p.data for p in lesson["nn"].LSTMCell(8, 32, rng=0).parameters()]
    for i, gradient in enumerate(results[None][0]):
        moved = [w.astype(complex) for w in weights]
        moved[i].flat[5] += 1e-30j
        expected = last_loss(xs, *moved).imag / 1e-30
        assert gradient.flat[5] == pytest.approx(expected, rel=1e-9)
    for found, _, _ in results.values():
        for a, b in zip(found, results[None][0], strict=True):
            np.testing.assert_array_equal(a, b)
    memory = {k: result[1] for k, result in results.items()}
    assert memory[32] < memory[None] / 8
    assert memory[500] > memory[125] > memory[32]
    assert lesson.written() == {"memory.svg", "kept.svg"}


def test_what_is_in_memory_when(lesson: Any) -> None:
    """The picture, drawn anew: up in stretches of six, and down again from the last but one."""
    memory = lesson["memory"]
    np.testing.assert_array_equal(memory[36], np.tri(36, dtype=bool).T)
    starts = [0, 6, 12, 18, 24, 30, 24, 18, 12, 6, 0]
    expected = np.zeros((36, 66), dtype=bool)
    for n, first in enumerate(starts):
        expected[first : first + 6, 6 * n : 6 * n + 6] = np.tri(6, dtype=bool).T
    np.testing.assert_array_equal(memory[6], expected)


def test_the_least_number_of_runs_is_the_papers(lesson: Any) -> None:
    """t(l, s) = min over m of m + t(l - m, s - 1) + t(m, s), Griewank and Walther 2000."""
    T = lesson["T"]
    t = {1: np.arange(T + 1) * (np.arange(T + 1) - 1) // 2}
    for places in range(2, 45):
        t[places] = np.zeros(T + 1, int)
        for n in range(2, T + 1):
            m = np.arange(1, n)
            t[places][n] = (m + t[places - 1][n - m] + t[places][m]).min()
    for places in t:
        assert [lesson["least"](n, places) for n in range(1, T + 1)] == t[places][1:].tolist()
    assert lesson["revolved"] == {s: (t[s][T], True) for s in (44, 10, 5)}
    assert math.comb(43 + 2, 2) < T <= math.comb(44 + 2, 2)  # two runs of each step: 44 places


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
