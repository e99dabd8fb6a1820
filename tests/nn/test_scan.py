"""A scan in the engine, in gradcheck, in programs and in pictures; its row is in the table."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn


def drawn(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in shapes]


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 10, 1000])
def test_it_is_what_unroll_computes_for_a_linear_cell(steps: int) -> None:
    class Linear(nn.Module):
        def __call__(self, x: Any, h: Any) -> tuple[Any, Any]:
            a, b = tr.split(x, 2, axis=-1)
            h = tr.sigmoid(a) * h + b
            return h, h

    xs, h0 = drawn((steps, 2, 6), (2, 3))
    cotangent = drawn((steps, 2, 3))[0]
    leaves = [[tr.Tensor(x, requires_grad=True) for x in (xs, h0)] for _ in range(2)]
    by_steps = tr.stack(nn.unroll(Linear(), *leaves[0])[0])
    a, b = tr.split(leaves[1][0], 2, axis=-1)
    by_scan = nn.scan(tr.sigmoid(a), b, leaves[1][1])
    np.testing.assert_allclose(by_scan.data, by_steps.data, rtol=1e-12, atol=1e-12)
    for one, other in zip(
        tr.grad(by_scan, leaves[1], cotangent), tr.grad(by_steps, leaves[0], cotangent), strict=True
    ):
        np.testing.assert_allclose(one.data, other.data, rtol=1e-12, atol=1e-12)


def test_it_is_right_to_second_order_inside_a_net() -> None:
    a, b, h0 = drawn((9, 2, 3), (9, 2, 3), (2, 3))
    assert tr.check.gradgradcheck(lambda a, b, h0: nn.scan(tr.sigmoid(a), b, h0).tanh(), a, b, h0)


def test_a_nan_does_not_reach_earlier_steps() -> None:
    a, b = np.full(8, 0.5), np.ones(8)
    b[5] = np.nan
    assert np.isnan(nn.scan(a, b, 0.0)).tolist() == [False] * 5 + [True] * 3


def test_what_does_not_fit_is_refused() -> None:
    a, b = tr.Tensor(np.ones((4, 3)), requires_grad=True), np.ones((5, 3))
    shapes = r"t=2: cannot scan \(4, 3\) and \(5, 3\) and \(\)"
    with pytest.raises(ValueError, match=shapes), tr.step(2):
        nn.scan(a, b, 0.0)
    with pytest.raises(ValueError, match=r"cannot scan .*: there are no steps; it needs at least"):
        nn.scan(a[:0], b[:0], 0.0)


def test_it_is_pickled_and_copied_as_a_function_is() -> None:
    assert pickle.loads(pickle.dumps(nn.scan)) is nn.scan
    assert copy.deepcopy(nn.scan) is nn.scan


def test_a_cell_that_scans_within_its_step_can_be_derived() -> None:
    """Over the features, in a step: the program in NumPy calls the operation, C refuses it."""

    class Smoothing(nn.ElmanCell):
        def __call__(self, x: Any, h: Any) -> tuple[Any, Any]:
            h = tr.tanh(x @ self.W_xh + h @ self.W_hh + self.b)
            h = nn.scan(0.5, h.T, 0.0).T
            return h, h

    cell, (xs,) = Smoothing(3, 4, rng=0), drawn((5, 2, 3))
    program = tr.derive(cell)
    expected = tr.stack(nn.unroll(cell, xs)[0])
    np.testing.assert_allclose(program(xs)[0].data, expected.data, rtol=1e-13)
    assert tr.check.gradcheck(program, xs)
    with pytest.raises(tr.DeriveError, match="printed as C: scan"):
        tr.derive(cell, target="c")(xs)


def test_it_is_one_box_and_the_player_says_what_it_does() -> None:
    a, b, h0 = (tr.Tensor(x, requires_grad=True) for x in drawn((6, 2), (6, 2), (2,)))
    h = nn.scan(a, b, h0)
    loss = (h * h).sum()
    (box,) = [node for node in viz.draw(loss).nodes if node.label == "scan"]
    assert box.value == pytest.approx(np.linalg.norm(2 * h.data))
    assert nn.scan.sentence == "the gradient is a scan from last to first."
    assert len(nn.scan.formula) == 3
