"""A trace keeps what a walk saw: it agrees with `backward`, and adds up step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn


@pytest.fixture
def unrolled() -> tuple[tr.Tensor, list[tr.Tensor], nn.LSTMCell]:
    cell = nn.LSTMCell(2, 3, rng=0)
    outputs, _ = nn.unroll(cell, np.random.default_rng(0).standard_normal((5, 2, 2)))
    return (tr.stack(outputs) ** 2).sum(), outputs, cell


def test_a_trace_changes_no_gradient_and_agrees_with_backward(unrolled: Any) -> None:
    loss, _, cell = unrolled
    trace = tr.backprop(loss, keep="arrays")
    assert all(p.grad is None for p in cell.parameters())
    loss.backward()
    for p in cell.parameters():
        np.testing.assert_array_equal(trace.gradient(p), p.grad)
        np.testing.assert_allclose(sum(trace.contributions(p)), p.grad, rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(trace.by_step(p).sum(axis=0), p.grad, rtol=1e-13, atol=1e-15)
        assert trace.by_step(p).shape == (5, *p.shape)
        assert trace.norm(p) == pytest.approx(np.linalg.norm(p.grad), rel=1e-14)


def test_the_gradient_of_a_step_is_that_of_its_own_copy_of_the_weight() -> None:
    """by_step against untied weights: one leaf a step in place of the shared one."""
    xs = np.random.default_rng(0).standard_normal((4, 1, 2))
    cell = nn.ElmanCell(2, 3, rng=0)
    outputs, _ = nn.unroll(cell, xs)
    by_step = tr.backprop((tr.stack(outputs) ** 2).sum(), keep="arrays").by_step(cell.W_hh)
    copies = [tr.Tensor(cell.W_hh, requires_grad=True) for _ in range(4)]
    h, hs = cell.initial_state(1), []
    for x, W in zip(xs, copies, strict=True):
        h = tr.tanh(tr.Tensor(x) @ cell.W_xh + h @ W + cell.b)
        hs.append(h)
    (tr.stack(hs) ** 2).sum().backward()
    np.testing.assert_allclose(by_step[1:], [W.grad for W in copies[1:]], rtol=1e-13)
    np.testing.assert_array_equal(by_step[0], 0.0)  # the state before the first step is zero


def test_by_step_tells_a_product_before_the_first_step_apart() -> None:
    """All inputs times one weight at once: as if each step had multiplied by it itself."""
    rng = np.random.default_rng(0)
    xs, values = rng.normal(size=(4, 2, 3)), rng.normal(size=(3, 5))
    found = []
    for at_once in (True, False):
        W, h = tr.Tensor(values, requires_grad=True), tr.Tensor(np.zeros((2, 5)))
        rows = tr.tanh(tr.Tensor(xs) @ (2.0 * W)) if at_once else None
        for t in range(4):
            with tr.step(t):
                h = tr.tanh(h * 0.5 + (tr.tanh(xs[t] @ (2.0 * W)) if rows is None else rows[t]))
        found.append(tr.backprop((h * h).sum(), keep="arrays").by_step(W))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)
    assert (np.abs(found[0]).max(axis=(1, 2)) > 0).all()


def test_events_come_in_the_order_of_the_traversal(unrolled: Any) -> None:
    loss, _, cell = unrolled
    trace = tr.backprop(loss)
    numbers = [event.tensor.number for event in trace.events]
    assert numbers == sorted(numbers, reverse=True)
    assert [t.number for t in trace.tensors] == sorted(
        (t.number for t in trace.tensors), reverse=True
    )
    received = trace.events_of(cell.W_hh)
    assert len(received) == 5
    assert all(event.input is cell.W_hh for event in received)
    assert received[-1].total == trace.norm(cell.W_hh)


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e200, 1e300])
def test_norms_neither_vanish_nor_overflow_before_their_gradients_do(size: float) -> None:
    x = tr.Tensor([1.0, 1.0], requires_grad=True)
    trace = tr.backprop(x * np.array([3.0, 4.0]), np.full(2, size))
    assert trace.norm(x) == pytest.approx(5 * size, rel=1e-14)


@pytest.mark.parametrize("value", [0.0, np.inf, np.nan])
def test_norms_of_zero_infinity_and_nan_are_themselves(value: float) -> None:
    x = tr.Tensor([1.0, 1.0], requires_grad=True)
    trace = tr.backprop(x * 1.0, np.array([value, 0.0]))
    np.testing.assert_equal(trace.norm(x), value)


def test_a_trace_of_norms_says_how_to_get_arrays(unrolled: Any) -> None:
    loss, _, cell = unrolled
    with pytest.raises(ValueError, match="keep='arrays'"):
        tr.backprop(loss).by_step(cell.b)


def test_by_step_refuses_what_is_used_outside_of_steps(unrolled: Any) -> None:
    loss, outputs, _ = unrolled
    with pytest.raises(ValueError, match="outside of any time step"):
        tr.backprop(loss, keep="arrays").by_step(outputs[-1])
