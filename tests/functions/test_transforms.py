"""Derivatives of functions against closed forms and complex steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn

from ..engine.numeric import complex_step


def test_a_plain_array_on_either_side_of_a_product_serves_the_second_order_too() -> None:
    """The Hessian of sum((A W)³) along V is 6 Aᵀ((A W) ⊙ (A V)); likewise from the other side."""
    A, W, V = np.random.default_rng(0).normal(size=(3, 4, 4))
    left = tr.hvp(lambda W: ((A @ W) ** 3).sum(), W, V)
    right = tr.hvp(lambda W: ((W @ A) ** 3).sum(), W, V)
    np.testing.assert_allclose(left.data, 6 * A.T @ ((A @ W) * (A @ V)), rtol=1e-12)
    np.testing.assert_allclose(right.data, 6 * ((W @ A) * (V @ A)) @ A.T, rtol=1e-12)


def lstm_loss(xs: np.ndarray, cell: nn.LSTMCell, batch: int) -> Any:
    def loss(W: tr.Tensor) -> tr.Tensor:
        cell.W_hh = W
        state = tuple(
            tr.Tensor(np.zeros((batch, 3)), dtype=W.dtype) for _ in range(2)
        )  # complex where a complex step comes by
        outputs, _ = nn.unroll(cell, xs, state)
        return (tr.stack(outputs) ** 3).sum()

    return loss


def test_hessian_vector_product_of_an_unrolled_lstm() -> None:
    """Against a complex step of the gradient."""
    rng = np.random.default_rng(0)
    cell = nn.LSTMCell(2, 3, rng=rng)
    W, v = cell.W_hh.data, rng.standard_normal((3, 12))
    loss = lstm_loss(rng.standard_normal((5, 2, 2)), cell, 2)
    found = tr.hvp(loss, W, v)
    moved = tr.Tensor(W + 1e-30j * v, requires_grad=True)
    (slope,) = tr.grad(loss(moved), moved)
    assert isinstance(found, tr.Tensor)
    np.testing.assert_allclose(found.data, slope.data.imag / 1e-30, rtol=1e-11, atol=1e-13)


def test_products_with_the_jacobian_agree_with_the_jacobian() -> None:
    rng = np.random.default_rng(0)
    x, v, u = rng.standard_normal(3), rng.standard_normal(3), rng.standard_normal((2, 3))
    W = rng.standard_normal((2, 3))

    def f(x: tr.Tensor) -> tr.Tensor:
        return tr.tanh(W * x) * x.sum()

    J = tr.jacobian(f, x)
    assert J.shape == (2, 3, 3)
    expected = complex_step(lambda x: f(tr.Tensor(x)).data, [x], 0, u)
    np.testing.assert_allclose(np.einsum("ij,ijk", u, J), expected, rtol=1e-13)
    _, pull = tr.vjp(f, x)
    np.testing.assert_allclose(pull(u)[0].data, expected, rtol=1e-13)
    _, tangent = tr.jvp(f, x, v)
    np.testing.assert_allclose(tangent.data, J @ v, rtol=1e-13)


def test_transforms_take_several_inputs_and_constants() -> None:
    def f(a: tr.Tensor, b: tr.Tensor) -> tr.Tensor:
        return (a * a * b).sum()

    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    H_a, H_b = tr.hvp(f, (a, b), (np.array([1.0, 0.0]), np.zeros(2)))
    assert H_a.data.tolist() == [6.0, 0.0]
    assert H_b.data.tolist() == [2.0, 0.0]
    _, tangent = tr.jvp(f, (a, b), (a, b))
    assert tangent.item() == pytest.approx(3 * f(tr.Tensor(a), tr.Tensor(b)).item())
    assert tr.hessian(lambda x: x.sum(), a).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_derivatives_are_computed_where_nothing_else_is_recorded() -> None:
    def cube(x: tr.Tensor) -> tr.Tensor:
        return (x**3).sum()

    with tr.no_grad():
        np.testing.assert_allclose(tr.jacobian(lambda x: x**3, [1.0, 2.0]), np.diag([3.0, 12.0]))
        np.testing.assert_allclose(tr.hessian(cube, [1.0, 2.0]), np.diag([6.0, 12.0]))
        np.testing.assert_allclose(tr.hvp(cube, [1.0, 2.0], [1.0, 1.0]).data, [6.0, 12.0])
        np.testing.assert_allclose(tr.jvp(cube, [1.0, 2.0], [1.0, 1.0])[1].data, 15.0)
        np.testing.assert_allclose(tr.vjp(cube, [1.0, 2.0])[1](1.0)[0].data, [3.0, 12.0])
        assert not (tr.Tensor(1.0, requires_grad=True) * 2).requires_grad  # the block goes on


def test_what_does_not_fit_is_said() -> None:
    x = [1.0, 2.0]
    for name, call in {
        "vjp": lambda: tr.vjp(lambda x: x.data, x),
        "jvp": lambda: tr.jvp(lambda x: x.data, x, x),
        "hvp": lambda: tr.hvp(lambda x: 1.0, x, x),
        "jacobian": lambda: tr.jacobian(lambda x: (x, x), x),
        "hessian": lambda: tr.hessian(lambda x: None, x),
    }.items():
        with pytest.raises(TypeError, match=f"{name} needs a function that returns a Tensor"):
            call()
    with pytest.raises(ValueError, match="1 directions were given for 2 inputs"):
        tr.jvp(lambda a, b: a * b, (x, x), (x,))
    with pytest.raises(ValueError, match="direction has shape"):
        tr.hvp(lambda a: a.sum(), x, [1.0])
