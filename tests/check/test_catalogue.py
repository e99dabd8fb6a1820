"""Every mistake of the catalogue is one, is caught and named; without it the same net passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tests.check.catalogue import MISTAKES, Mistake
from tinygrad_rnn.check.subject import nodes_of

# Many are made from the same net. The long one is the Elman net again, for 200 steps.
RIGHT = {mistake.right: mistake for mistake in MISTAKES if mistake.step != 137}
each = pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)


def check(made: tuple[Any, ...], order: int = 1) -> Any:
    if len(made) == 3:
        return tr.check.check_gradients(
            made[0], made[1], *made[2], time=["xs"], raise_exception=False
        )
    return tr.check.gradcheck(made[0], *made[1], order=order, raise_exception=False)


def flat(outputs: Any) -> list[Any]:
    return outputs if isinstance(outputs, list) else [outputs]


def total(f: Any, inputs: list[Any]) -> Any:
    """A sum of all outputs, each entry with a weight of its own."""
    found: Any = 0.0
    for k, part in enumerate(flat(f(*inputs))):
        found = found + (part * np.arange(1.0 + k, 1.0 + k + part.size).reshape(part.shape)).sum()
    return found


def slope_of(value: Any) -> float:
    """The derivative of a function of one number at 0, by differences of fourth order."""
    h = 1e-3
    return float((8 * (value(h) - value(-h)) - (value(2 * h) - value(-2 * h))) / (12 * h))


def recorded(made: tuple[Any, ...], order: int) -> tuple[float, float]:
    """The slope along a random direction: as the recorded gradient has it, and as it is.

    Of second order, it is the slope of the gradient's square.
    """
    f, inputs = made[0], [tr.Tensor(x, requires_grad=True) for x in made[1]]
    outputs = flat(f(*inputs))
    leaves = [node for node in nodes_of(outputs) if node.primitive is None]
    rng = np.random.default_rng(0)
    starts = [leaf.data for leaf in leaves]
    directions = [rng.normal(size=leaf.shape) for leaf in leaves]

    def asked(create_graph: bool) -> Any:
        result = total(f, inputs)
        if order == 2:
            slopes = tr.grad(result, leaves, create_graph=create_graph)
            result = tr.Tensor(0.0, requires_grad=True)
            for slope in slopes:
                result = result + (slope * slope).sum()
        return result

    def value(move: float) -> float:
        for leaf, start, direction in zip(leaves, starts, directions, strict=True):
            leaf.data = start + move * direction
        return float(asked(False).item())

    expected = slope_of(value)
    value(0.0)
    asked(True).backward()
    pairs = zip(leaves, directions, strict=True)
    return sum(np.sum(x.grad * d) for x, d in pairs if x.grad is not None), expected


def by_hand(made: tuple[Any, ...]) -> tuple[float, float]:
    """The same of a function of arrays; a gradient of another shape has no slope."""
    f, df, (named,) = made
    rng = np.random.default_rng(0)
    directions = {name: rng.normal(size=array.shape) for name, array in named.items()}
    expected = slope_of(
        lambda move: f({name: named[name] + move * d for name, d in directions.items()})
    )
    gradients = df(named)
    if any(gradients[name].shape != d.shape for name, d in directions.items()):
        return np.nan, expected
    return sum(np.sum(gradients[name] * d) for name, d in directions.items()), expected


def test_there_are_enough_of_them_and_each_has_a_name() -> None:
    assert len(MISTAKES) >= 50
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES)


@each
def test_values_are_right_and_gradients_wrong(mistake: Mistake) -> None:
    """Without the checker, and without any rule: against differences of the function itself."""
    wrong, right = mistake.make(), mistake.right()
    if mistake.by_hand:
        assert wrong[0](*wrong[2]) == right[0](*right[2])
        (found, expected), (known, same) = by_hand(wrong), by_hand(right)
    else:
        xs = [tr.Tensor(x) for x in wrong[1]]
        for a, b in zip(flat(wrong[0](*xs)), flat(right[0](*xs)), strict=True):
            np.testing.assert_array_equal(a.data, b.data)
        (found, expected), (known, same) = (recorded(m, mistake.order) for m in (wrong, right))
    assert expected == same
    assert known == pytest.approx(expected, rel=1e-8)
    assert not abs(found - expected) < 1e-6 * abs(expected)


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
        assert report.diagnosis or any(c.having("wrong") for c in report.comparisons)
    elif not mistake.op:
        assert "has no history" in report.diagnosis[0]


@pytest.mark.parametrize("mistake", RIGHT.values(), ids=lambda mistake: mistake.name)
def test_without_it_all_is_well(mistake: Mistake) -> None:
    """To second order; code by hand has the first only."""
    report = check(mistake.right(), order=2)
    assert report, report
