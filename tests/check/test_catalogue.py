"""Every mistake of the catalogue is one, is caught and named; without it the same net passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn.check.catalogue import MISTAKES, Mistake
from tinygrad_rnn.check.subject import nodes_of

each = pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)


def check(made: tuple[Any, ...], order: int = 1) -> Any:
    if len(made) == 3:
        return tr.check.check_gradients(made[0], made[1], *made[2], time=["xs"])
    return tr.check.gradcheck(made[0], *made[1], order=order)


def flat(outputs: Any) -> np.ndarray:
    parts = outputs if isinstance(outputs, list) else [outputs]
    return np.concatenate([np.ravel(part.data) for part in parts])


def gradients(made: tuple[Any, ...], order: int) -> list[np.ndarray]:
    """Of all leaves, for the outputs' weighted sum; of second order, for that gradient's square."""
    f, inputs = made
    outputs = f(*(tr.Tensor(x, requires_grad=True) for x in inputs))
    parts = outputs if isinstance(outputs, list) else [outputs]
    total: Any = 0.0
    for k, part in enumerate(parts):
        total = total + (part * np.arange(1.0 + k, 1.0 + k + part.size).reshape(part.shape)).sum()
    leaves = [node for node in nodes_of(parts) if node.primitive is None]
    if order == 2:
        slopes = tr.grad(total, leaves, create_graph=True)
        total = tr.Tensor(0.0, requires_grad=True)
        for slope in slopes:
            total = total + (slope * slope).sum()
    total.backward()
    return [np.zeros(leaf.shape) if leaf.grad is None else leaf.grad for leaf in leaves]


def test_there_are_enough_of_them_and_each_has_a_name() -> None:
    assert len(MISTAKES) >= 50
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES)


@each
def test_values_are_right_and_gradients_wrong(mistake: Mistake) -> None:
    """By themselves, without the checker: against the net without the mistake."""
    wrong, right = mistake.make(), mistake.right()
    if mistake.by_hand:
        assert wrong[0](*wrong[2]) == right[0](*right[2])
        found, expected = wrong[1](*wrong[2]), right[1](*right[2])
        assert any(
            found[name].shape != expected[name].shape
            or np.abs(found[name] - expected[name]).max() > 1e-6
            for name in expected
        )
        return
    xs = [tr.Tensor(x) for x in wrong[1]]
    np.testing.assert_array_equal(flat(wrong[0](*xs)), flat(right[0](*xs)))
    pairs = zip(gradients(wrong, mistake.order), gradients(right, mistake.order), strict=True)
    assert any(np.abs(a - b).max() > 1e-7 for a, b in pairs)


@each
def test_it_is_caught_and_named(mistake: Mistake) -> None:
    report = check(mistake.make(), mistake.order)
    assert not report
    named = {(c.op, c.step) for c in report.culprits}
    assert {op for op, _ in named} == ({mistake.op} if mistake.op else set())
    if mistake.op and mistake.order == 1:
        assert {c.input for c in report.culprits} >= {mistake.input}
    if mistake.step is not None:
        assert {step for _, step in named} == {mistake.step}
    if mistake.by_hand:  # the parameter is named
        assert report.properties or any(c.having("wrong") for c in report.comparisons)
    elif not mistake.op:
        assert "has no history" in report.diagnosis[0]


@pytest.mark.parametrize("order", [1, 2])
@each
def test_without_it_all_is_well(mistake: Mistake, order: int) -> None:
    made = mistake.right()
    report = check(made, order)
    assert report, report
