"""Lesson 24: plain loops, Newton with one large linear system, gradients by complex steps."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr


def elman(p: dict[str, Any], x: Any, h: Any) -> Any:
    return np.tanh(x @ p["W_xh"] + h @ p["W_hh"] + p["b"])


def states(p: dict[str, Any], xs: Any) -> Any:
    h, found = np.zeros(16), []
    for x in xs:
        h = elman(p, x, h)
        found.append(h)
    return np.array(found)


@pytest.fixture
def cell(lesson: Any) -> Any:
    found = lesson["nn"].ElmanCell(4, 16, rng=1)
    found.W_hh.data = 0.9 * lesson["W_hh"]
    return found


def weights(cell: Any) -> dict[str, Any]:
    return {name: p.data for name, p in cell.named_parameters().items()}


def test_all_steps_at_once_are_those_of_a_loop(lesson: Any, cell: Any) -> None:
    expected = states(weights(cell), lesson["inputs"])
    np.testing.assert_allclose(
        lesson["newton"](cell, lesson["inputs"])[-1], expected, rtol=0, atol=1e-12
    )
    assert max(row[3] for row in lesson["rows"]) < 1e-10
    assert lesson.written() == {"newton.svg", "at_once.svg"}


def test_each_guess_is_newtons(lesson: Any, cell: Any) -> None:
    """All equations h - F(x, h before) = 0 of 12 steps as one system, solved by its Jacobian."""
    p, xs = weights(cell), lesson["inputs"][:12]
    guesses, h = lesson["newton"](cell, xs), np.zeros((12, 16))

    def residual(flat: Any) -> Any:
        h = flat.reshape(12, 16)
        return (h - elman(p, xs, np.concatenate([np.zeros((1, 16)), h[:-1]]))).ravel()

    for guess in guesses:
        moved = h.ravel() + 1e-30j * np.eye(h.size)
        jacobian = np.array([residual(row).imag / 1e-30 for row in moved]).T
        h = (h.ravel() - np.linalg.solve(jacobian, residual(h.ravel()))).reshape(12, 16)
        np.testing.assert_allclose(guess, h, rtol=0, atol=1e-12)


def test_the_gradient_of_one_more_iteration_is_the_gradient(lesson: Any, cell: Any) -> None:
    assert lesson["worst"] < 1e-12
    p, xs = weights(cell), lesson["inputs"][:40]
    h = lesson["at_once"](cell, tr.Tensor(xs))
    found = tr.grad(tr.sin(h).sum(), cell.parameters())
    for (name, value), gradient in zip(p.items(), found, strict=True):
        for index in [(0,) * value.ndim, (-1,) * value.ndim]:
            moved = value.astype(complex)
            moved[index] += 1e-30j
            expected = np.sin(states(p | {name: moved}, xs)).sum().imag / 1e-30
            assert gradient.data[index] == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_the_number_of_iterations_grows_with_the_weight(lesson: Any) -> None:
    counts = [row[1] for row in lesson["rows"]]
    assert counts == sorted(counts)
    assert counts[0] < 6 < 60 < counts[-1] < lesson["T"]
    for n in range(20):  # and every iteration gets one more step right, at the least
        assert lesson["errors"][2.0][n, : n + 1].max() < 1e-9
    quadratic = lesson["errors"][0.5].max(axis=1)
    assert all(b < 2 * a**2 for a, b in itertools.pairwise(quadratic[:4]))


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
