"""Lesson 22: gradients by complex steps, UORO's mean over all signs, and by the law of errors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest


def total(theta: Any, xs: Any, targets: Any) -> Any:
    h, found = np.zeros((1, 4)), 0.0
    for x, y in zip(xs, targets, strict=False):
        h = np.tanh(x @ theta[:8].reshape(2, 4) + h @ theta[8:24].reshape(4, 4) + theta[24:])
        found = found + ((h - y) ** 2).sum() / 2
    return found


def gradient(lesson: Any, xs: Any) -> Any:
    theta = np.concatenate([w.data.ravel() for w in lesson["weights"]])
    moved = theta + 1e-30j * np.eye(len(theta))
    return np.array([total(row, xs, lesson["targets"]).imag / 1e-30 for row in moved])


def test_forwards_and_backwards_give_the_gradient(lesson: Any) -> None:
    expected = gradient(lesson, lesson["xs"])
    for found in (
        lesson["by_loss"].sum(axis=0),
        lesson["along"],
        lesson["triangle"].sum(axis=(0, 1)),
        lesson["bptt"](lesson["xs"]),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    rows = lesson["triangle"].sum(axis=1)
    np.testing.assert_allclose(rows, lesson["by_loss"], rtol=1e-11, atol=1e-13)
    third = gradient(lesson, lesson["xs"][:3]) - gradient(lesson, lesson["xs"][:2])
    np.testing.assert_allclose(lesson["by_loss"][2], third, rtol=1e-11, atol=1e-12)
    assert lesson.written() == {"forward.svg"}


def test_only_backwards_needs_more_memory_for_more_steps(lesson: Any) -> None:
    memory = lesson["memory"]
    assert memory[1000][0] > 50 * memory[10][0]
    assert memory[1000][1] < 1.5 * memory[10][1]


def test_the_mean_of_uoro_over_all_signs_is_the_gradient(lesson: Any) -> None:
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=12)))
    signs = signs.reshape(-1, 3, 4).transpose(1, 0, 2)  # all that can be drawn in three steps
    found = lesson["uoro"](lesson["xs"][:3], signs).mean(axis=0)
    np.testing.assert_allclose(found, gradient(lesson, lesson["xs"][:3]), rtol=1e-11, atol=1e-12)


def test_the_gradient_lies_in_the_interval(lesson: Any) -> None:
    expected = gradient(lesson, lesson["xs"])
    shares = lesson["draws"] @ expected / np.linalg.norm(expected)
    assert len(shares) == 10_000
    assert lesson["half"] == pytest.approx(2.576 * shares.std() / 100)
    assert abs(shares.mean() - np.linalg.norm(expected)) < lesson["half"]


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
