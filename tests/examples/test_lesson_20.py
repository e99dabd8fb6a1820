"""Lesson 20: the delta rule in plain NumPy, nothing but ones in closed form, parity on new bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def weights(cell: Any) -> dict[str, Any]:
    return {name: p.data for name, p in cell.named_parameters().items()}


def delta_net(p: dict[str, Any], longest: float, xs: Any) -> Any:
    """One sequence, one pair after the other, with matrices: y of each step."""
    S, ys = np.zeros((p["W_k"].shape[1], p["W_v"].shape[1])), []
    for x in xs:
        k = x @ p["W_k"] / np.linalg.norm(x @ p["W_k"])
        beta = longest / (1 + np.exp(-(x @ p["W_beta"]).item()))
        S = (np.eye(len(k)) - beta * np.outer(k, k)) @ S + beta * np.outer(k, x @ p["W_v"])
        ys.append(x @ p["W_q"] @ S)
    return np.array(ys)


@pytest.mark.parametrize("name", ["positive", "negative too"])
def test_the_cell_is_the_delta_rule(lesson: Any, name: str) -> None:
    cell, _ = lesson["nets"][name]
    xs = np.random.default_rng(4).normal(size=(30, 2, 2))
    outputs, _ = lesson["nn"].unroll(cell, xs)
    for b in range(2):
        expected = delta_net(weights(cell), cell.longest, xs[:, b])
        found = [y.data[b] for y in outputs]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
    assert lesson["delta_rule"] < 1e-15


@pytest.mark.parametrize("name", ["positive", "negative too"])
def test_nothing_but_ones_is_a_geometric_series(lesson: Any, name: str) -> None:
    cell, _ = lesson["nets"][name]
    p = {key: value[1] for key, value in weights(cell).items()}  # of a one
    k, beta = p["W_k"] / np.linalg.norm(p["W_k"]), cell.longest / (1 + np.exp(-p["W_beta"]))
    steps = np.arange(1, 21)[:, None]
    expected = (p["W_q"] @ k) * p["W_v"] * (1 - (1 - beta) ** steps)
    np.testing.assert_allclose(lesson["said"][name], expected, rtol=1e-9, atol=1e-11)
    moves = np.diff(expected, axis=0)
    turns_back = (moves[1:] * moves[:-1] < 0).all()
    assert turns_back == (name == "negative too")


def test_only_negative_eigenvalues_solve_parity(lesson: Any) -> None:
    bits = np.random.default_rng(5).integers(2, size=(100, 256))
    right = {}
    for name, (cell, readout) in lesson["nets"].items():
        last = [delta_net(weights(cell), cell.longest, np.eye(2)[row])[-1] for row in bits]
        scores = np.array(last) @ readout.W.data + readout.b.data
        right[name] = (scores.argmax(axis=-1) == bits.sum(axis=1) % 2).mean()
    assert right["negative too"] > 0.98
    assert 0.3 < right["positive"] < 0.7
    for length in lesson["LENGTHS"][:2]:
        assert lesson["right"]["negative too", length] > 0.98
        assert 0.4 < lesson["right"]["positive", length] < 0.6
    assert lesson.written() == {"deltanet.svg", "ones.svg"}


@pytest.mark.parametrize("longest", [1.0, 2.0])
def test_the_cell_is_right_drawn_and_derived(lesson: Any, check_cell: Any, longest: float) -> None:
    check_cell(lesson["DeltaNetCell"](3, 3, 2, longest), 3)


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
