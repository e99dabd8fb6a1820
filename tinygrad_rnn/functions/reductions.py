"""Functions of all entries along an axis: extremes, running sums, softmax with its kin.

Ties of max and min get even shares of the gradient, as in PyTorch. The sum is in the engine, whose
traversal needs it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine.primitives import Axis, kept, where
from ..engine.tensor import methods, primitive
from .elementwise import exp, floating
from .shapes import flip

__all__ = ["argmax", "cumsum", "log_softmax", "logsumexp", "max", "min", "softmax"]


def _extreme_rule(g: Any, y: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    extreme = x == kept(y, x, axis, keepdims)
    ties = extreme.sum(axis=axis, keepdims=True).astype(g.dtype)
    return kept(g, x, axis, keepdims) * (extreme / ties)


@primitive(rules=[_extreme_rule], analytic=False)
def max(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Any:
    """The largest entry over `axis`; it gets the gradient, which ties share evenly.

    ∂ max x/∂xᵢ = 1 where xᵢ is the largest, else 0

    Parameters
    ----------
    x : Tensor or array
    axis : int, tuple of ints or None
        Over everything by default.
    keepdims : bool, default False
        Leave the axis in the result, with length 1.

    Returns
    -------
    Tensor, or array if `x` is one

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([2.0, 5.0, 5.0], requires_grad=True)
    >>> tr.max(x).backward()
    >>> x.grad
    array([0. , 0.5, 0.5])
    """
    return np.max(x, axis=axis, keepdims=keepdims)


@primitive(rules=[_extreme_rule], analytic=False)
def min(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Any:
    """The smallest entry over `axis`; it gets the gradient, which ties share evenly.

    ∂ min x/∂xᵢ = 1 where xᵢ is the smallest, else 0

    Parameters
    ----------
    x : Tensor or array
    axis : int, tuple of ints or None
        Over everything by default.
    keepdims : bool, default False
        Leave the axis in the result, with length 1.

    Returns
    -------
    Tensor, or array if `x` is one

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.min(tr.Tensor([2.0, 5.0, -1.0]))
    Tensor(-1.)
    """
    return np.min(x, axis=axis, keepdims=keepdims)


@primitive()
def argmax(x: Any, /, axis: int | None = None, keepdims: bool = False) -> Any:
    """Where the largest entry over `axis` stands, the first of several; a constant.

    Parameters
    ----------
    x : Tensor or array
    axis : int or None
        In the row of all entries by default.
    keepdims : bool, default False
        Leave the axis in the result, with length 1.

    Returns
    -------
    Tensor of integers, or array if `x` is one

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.argmax(tr.Tensor([[0.1, 0.9], [0.8, 0.2]]), axis=1)
    Tensor([1, 0])
    """
    return np.argmax(x, axis=axis, keepdims=keepdims)


def _cumsum_rule(g: Any, y: Any, x: Any, axis: int | None) -> Any:
    return flip(cumsum(flip(g, axis), axis), axis).reshape(x.shape)


@primitive(rules=[_cumsum_rule])
def cumsum(x: Any, /, axis: int | None = None) -> Any:
    """The sums of the first, the first two, ... entries; the gradient is summed from the last on.

    ∂yᵢ/∂xⱼ = 1 where j ≤ i, else 0

    Parameters
    ----------
    x : Tensor or array_like
    axis : int or None
        All entries in one row by default.

    Returns
    -------
    Tensor, or array if `x` is none

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.cumsum(tr.Tensor([1.0, 2.0, 3.0]))
    Tensor([1., 3., 6.])
    """
    y = np.cumsum(x, axis)
    return y if axis is None else y.reshape(x.shape)  # a single number too keeps its shape


def _below(x: Any, axis: Axis) -> Any:
    """`x` less its largest entry over `axis`: so that exp overflows nowhere."""
    return x - x.real.max(axis=axis, keepdims=True, initial=-np.inf)


@primitive(rules=[lambda g, y, x, axis: y * (g - (g * y).sum(axis=axis, keepdims=True))])
def softmax(x: Any, /, axis: Axis = -1) -> Any:
    """``exp(x)`` over its sum; each entry gets y times what its gradient exceeds the mean by.

    ∂L/∂xᵢ = yᵢ (gᵢ − Σ g y)

    The sum and the mean are over `axis`; the mean is weighted by `y`. Nothing overflows.

    Parameters
    ----------
    x : Tensor or array
    axis : int, tuple of ints or None, default -1
        Along which the result sums to one.

    Returns
    -------
    Tensor of x's shape, or array if `x` is one

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.softmax(tr.Tensor([1000.0, 1000.0]))
    Tensor([0.5, 0.5])
    """
    y = np.exp(_below(floating(x), axis))
    return y / y.sum(axis=axis, keepdims=True)


@primitive(rules=[lambda g, y, x, axis: g - exp(y) * g.sum(axis=axis, keepdims=True)])
def log_softmax(x: Any, /, axis: Axis = -1) -> Any:
    """``log(softmax(x))``; each gradient loses the sum of all times its own probability.

    ∂L/∂xᵢ = gᵢ − exp(yᵢ) Σ g

    Nothing overflows or underflows.

    Parameters
    ----------
    x : Tensor or array
    axis : int, tuple of ints or None, default -1
        Along which the probabilities sum to one.

    Returns
    -------
    Tensor of x's shape, or array if `x` is one

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.log_softmax(tr.Tensor([0.0, 1000.0]))
    Tensor([-1000.,     0.])
    """
    below = _below(floating(x), axis)
    return below - np.log(np.exp(below).sum(axis=axis, keepdims=True))


def _logsumexp_rule(g: Any, y: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    y = kept(y, x, axis, keepdims)  # -inf where all entries are: they get 0
    return kept(g, x, axis, keepdims) * exp(x - where(y == -math.inf, 0.0, y))


@primitive(rules=[_logsumexp_rule])
def logsumexp(x: Any, /, axis: Axis = -1, keepdims: bool = False) -> Any:
    """``log(sum(exp(x)))`` over `axis`; the gradient is shared out by softmax.

    ∂y/∂xᵢ = exp(xᵢ − y)

    Nothing overflows. Of entries that are all -inf it is -inf, and they get the gradient 0.

    Parameters
    ----------
    x : Tensor or array
    axis : int, tuple of ints or None, default -1
    keepdims : bool, default False
        Leave the axis in the result, with length 1.

    Returns
    -------
    Tensor, or array if `x` is one

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.logsumexp(tr.Tensor([1000.0, 1000.0])).item() - 1000.0  # doctest: +ELLIPSIS
    0.693147...
    """
    x = floating(x)
    largest = x.real.max(axis=axis, keepdims=True, initial=-np.inf)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        y = np.log(np.exp(x - largest).sum(axis=axis, keepdims=True)) + largest
    return y if keepdims else y.squeeze(axis)


methods(**{name: globals()[name] for name in __all__})
