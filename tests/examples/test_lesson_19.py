"""Lesson 19: a selective scan as plain loops; what was learnt, on sequences drawn here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest


def plain_loops(p: dict[str, Any], xs: Any, h: Any) -> Any:
    """Algorithm 2 of Gu and Dao (2023), one number at a time."""
    (T, batch, features), states = xs.shape, p["A_log"].shape[1]
    ys, h = np.zeros(xs.shape), h.copy()
    for t in range(T):
        for b in range(batch):
            x = xs[t, b]
            for d in range(features):
                delta = math.log1p(math.exp(x @ p["W_delta"][:, d] + p["b_delta"][d]))
                for n in range(states):
                    B = x @ p["W_B"][:, n] + p["b_B"][n]
                    C = x @ p["W_C"][:, n] + p["b_C"][n]
                    A = -math.exp(p["A_log"][d, n])
                    h[b, d, n] = math.exp(delta * A) * h[b, d, n] + delta * B * x[d]
                    ys[t, b, d] += C * h[b, d, n]
    return ys


def test_the_selective_scan_is_the_papers_loop(lesson: Any) -> None:
    cell = lesson["S6Cell"](5, 3)
    weights = {name: p.data for name, p in cell.named_parameters().items()}
    expected = plain_loops(weights, lesson["xs"], lesson["h0"])
    np.testing.assert_allclose(lesson["scanned"].data, expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(lesson["unrolled"].data, expected, rtol=1e-11, atol=1e-12)


def test_only_the_selective_net_copies(lesson: Any) -> None:
    rng = np.random.default_rng(3)
    tokens, kinds, steps = lesson["TOKENS"], lesson["KINDS"], lesson["STEPS"]
    right = dict.fromkeys(lesson["nets"], 0)
    for _ in range(200):
        xs, answers = (
            np.zeros((steps + tokens, 1, kinds + tokens)),
            rng.integers(kinds, size=tokens),
        )
        xs[np.sort(rng.choice(steps, tokens, replace=False)), 0, answers] = 1
        xs[np.arange(steps, steps + tokens), 0, np.arange(kinds, kinds + tokens)] = 1
        for name, (cell, readout) in lesson["nets"].items():
            outputs, _ = lesson["nn"].unroll(cell, xs)
            said = [readout(y).data.argmax() for y in outputs[steps:]]
            right[name] += list(answers) == said
    assert right["selective"] >= 190
    assert right["fixed"] <= 50
    assert lesson["right"]["selective"] > 0.95
    assert lesson["right"]["fixed"] < 0.25


def test_the_step_is_long_at_tokens_and_short_at_blanks(lesson: Any) -> None:
    cell, _ = lesson["nets"]["selective"]
    xs = lesson["test_xs"][: lesson["STEPS"]]
    sizes, is_token = lesson["step_sizes"](cell, xs), xs.any(axis=-1)
    assert sizes[is_token].min() > 0.5
    assert sizes[~is_token].max() < 0.1
    assert lesson.written() == {"s6.svg", "step_size.svg"}


@pytest.mark.parametrize("selective", [True, False])
def test_the_cell_is_right_drawn_and_derived(lesson: Any, check_cell: Any, selective: bool) -> None:
    check_cell(lesson["S6Cell"](3, 2, selective), 3)


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
