"""Functions of one number or two: declared as your own would be.

The engine holds the operations that its own rules and the operators of tensors need; these are the
rest, each with its derivative rules above it. Functions of all entries along an axis are in
reductions.py, what is composed of both in composed.py.

Where a function has a kink, its derivative there follows PyTorch: 0 for abs and relu at 0, half
and half for maximum and minimum where both are equal, 1 for clip on the bounds themselves.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine.primitives import where
from ..engine.tensor import methods, primitive

__all__ = [
    "abs", "cos", "erf", "exp", "expm1", "log1p", "maximum", "minimum", "relu", "sigmoid", "sign",
    "sin", "sqrt", "tanh",
]  # fmt: skip


def floating(x: Any) -> Any:
    """`x` as an array of floating numbers, for functions that take no others."""
    x = np.asarray(x)
    return x if x.dtype.char in "fdFD" else x.astype(np.float64)


@primitive(rules=[lambda g, y, x: g * y], entrywise=True)
def exp(x: Any, /) -> Any:
    """The exponential function; it is its own derivative.

    ∂ exp x/∂x = exp x

    Parameters
    ----------
    x : Tensor or array
        Of any shape.

    Returns
    -------
    Tensor, or array if `x` is one
        Of x's shape.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([0.0, 1.0], requires_grad=True)
    >>> y = tr.exp(x)
    >>> y.sum().backward()
    >>> bool((x.grad == y.data).all())
    True
    """
    return np.exp(x)


@primitive(rules=[lambda g, y, x: g * (y + 1.0)], entrywise=True)
def expm1(x: Any, /) -> Any:
    """``exp(x) - 1``, exact for small `x` too; its derivative is exp x.

    ∂(exp x − 1)/∂x = y + 1

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.expm1(tr.Tensor([0.0, 1e-20]))
    Tensor([0.e+00, 1.e-20])
    """
    return np.expm1(x)


@primitive(rules=[lambda g, y, x: g / (1.0 + x)], entrywise=True)
def log1p(x: Any, /) -> Any:
    """``log(1 + x)``, exact for small `x` too; its derivative is 1 / (1 + x).

    ∂ log(1 + x)/∂x = 1 ÷ (1 + x)

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.log1p(tr.Tensor([0.0, 1e-20]))
    Tensor([0.e+00, 1.e-20])
    """
    return np.log1p(x)


@primitive(
    rules=[lambda g, y, x: g * (2.0 / math.sqrt(math.pi)) * exp(-x * x)],
    entrywise=True,
    analytic=False,
)
def erf(x: Any, /) -> Any:
    """2 / √π times the area under exp(-t²) from 0 to `x`; its derivative is a bell curve.

    ∂ erf x/∂x = 2 ÷ √π exp(−x²)

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.erf(tr.Tensor([0.0, 0.5])).data.round(4)
    array([0.    , 0.5205])
    """
    x = floating(x)
    return np.vectorize(math.erf, otypes=[x.dtype])(x)


@primitive(rules=[lambda g, y, x: g * 0.5 / y], symbol="√", entrywise=True)
def sqrt(x: Any, /) -> Any:
    """The square root; its derivative is 1 / (2 √x).

    ∂√x/∂x = 1 ÷ (2 √x)

    Parameters
    ----------
    x : Tensor or array
        Of any shape.

    Returns
    -------
    Tensor, or array if `x` is one
        Of x's shape.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([1.0, 16.0], requires_grad=True)
    >>> tr.sqrt(x)
    Tensor([1., 4.], sqrt)
    >>> tr.sqrt(x).sum().backward()
    >>> x.grad
    array([0.5  , 0.125])
    """
    return np.sqrt(x)


@primitive(rules=[lambda g, y, x: g * cos(x)], entrywise=True)
def sin(x: Any, /) -> Any:
    """The sine of an angle in radians; its derivative is the cosine.

    ∂ sin x/∂x = cos x

    Parameters
    ----------
    x : Tensor or array
        Of any shape.

    Returns
    -------
    Tensor, or array if `x` is one
        Of x's shape.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([0.0], requires_grad=True)
    >>> tr.sin(x)
    Tensor([0.], sin)
    >>> tr.sin(x).sum().backward()
    >>> x.grad
    array([1.])
    """
    return np.sin(x)


@primitive(rules=[lambda g, y, x: -g * sin(x)], entrywise=True)
def cos(x: Any, /) -> Any:
    """The cosine of an angle in radians; its derivative is minus the sine.

    ∂ cos x/∂x = −sin x

    Parameters
    ----------
    x : Tensor or array
        Of any shape.

    Returns
    -------
    Tensor, or array if `x` is one
        Of x's shape.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([0.0], requires_grad=True)
    >>> tr.cos(x)
    Tensor([1.], cos)
    >>> tr.cos(x).sum().backward()
    >>> x.grad
    array([-0.])
    """
    return np.cos(x)


@primitive(rules=[lambda g, y, x: g * (1.0 - y * y)], entrywise=True)
def tanh(x: Any, /) -> Any:
    """The hyperbolic tangent, between -1 and 1; its derivative is 1 - y², at most 1.

    ∂ tanh x/∂x = 1 − y²

    Parameters
    ----------
    x : Tensor or array
        Of any shape.

    Returns
    -------
    Tensor, or array if `x` is one
        Of x's shape.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([0.0, 20.0], requires_grad=True)
    >>> tr.tanh(x)
    Tensor([0., 1.], tanh)
    >>> tr.tanh(x).sum().backward()
    >>> x.grad
    array([1., 0.])
    """
    return np.tanh(x)


# For each dtype the largest exponent that exp takes without overflowing, and 1.
_EXP_LIMITS = {
    char: (np.array(88.0 if char in "fF" else 709.0, char), np.array(1.0, char)) for char in "fdFD"
}


@primitive(rules=[lambda g, y, x: g * y * (1.0 - y)], symbol="σ", entrywise=True)
def sigmoid(x: Any, /) -> Any:
    """The logistic function 1 / (1 + exp(-x)), between 0 and 1; its derivative is y (1 - y).

    ∂σ(x)/∂x = y (1 − y)

    At most a quarter of a gradient comes through. Large entries do not overflow.

    Parameters
    ----------
    x : Tensor or array
        Of any shape.

    Returns
    -------
    Tensor, or array if `x` is one
        Of x's shape.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([0.0, 1000.0], requires_grad=True)
    >>> tr.sigmoid(x)
    Tensor([0.5, 1. ], sigmoid)
    >>> tr.sigmoid(x).sum().backward()
    >>> x.grad
    array([0.25, 0.  ])
    """
    # 1 / (1 + exp(-x)) in one buffer. Beyond the limit the result is 0 to the last digit.
    x = floating(x)
    limit, one = _EXP_LIMITS[x.dtype.char]
    y = np.empty(x.shape, x.dtype)
    np.negative(x, y)
    np.minimum(y, limit, out=y)
    np.exp(y, y)
    np.add(y, one, y)
    return np.reciprocal(y, y)


@primitive(rules=[lambda g, y, x: g * (x > 0)], entrywise=True, analytic=False)
def relu(x: Any, /) -> Any:
    """`x` where it is positive, else 0; its derivative is 1 there, else 0, and 0 at 0 itself.

    ∂ relu x/∂x = 1 where x > 0, else 0

    Parameters
    ----------
    x : Tensor or array
        Of any shape.

    Returns
    -------
    Tensor, or array if `x` is one
        Of x's shape.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([-1.0, 0.0, 2.0], requires_grad=True)
    >>> tr.relu(x)
    Tensor([0., 0., 2.], relu)
    >>> tr.relu(x).sum().backward()
    >>> x.grad
    array([0., 0., 1.])
    """
    return np.maximum(x, 0)


@primitive(rules=[lambda g, y, x: g * sign(x)], symbol="|·|", entrywise=True, analytic=False)
def abs(x: Any, /) -> Any:
    """The absolute value; its derivative is the sign, 0 at 0.

    ∂|x|/∂x = sign x

    Parameters
    ----------
    x : Tensor or array
        Of any shape.

    Returns
    -------
    Tensor, or array if `x` is one
        Of x's shape.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([-3.0, 0.0, 2.0], requires_grad=True)
    >>> tr.abs(x)
    Tensor([3., 0., 2.], abs)
    >>> tr.abs(x).sum().backward()
    >>> x.grad
    array([-1.,  0.,  1.])
    """
    return np.absolute(x)


@primitive(rules=[lambda g, y, x: 0 * g], entrywise=True, analytic=False)
def sign(x: Any, /) -> Any:
    """-1, 0 or 1 by the sign of each entry; its derivative is 0.

    ∂ sign x/∂x = 0

    Parameters
    ----------
    x : Tensor or array
        Of any shape.

    Returns
    -------
    Tensor, or array if `x` is one
        Of x's shape.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.sign(tr.Tensor([-3.0, 0.0, 2.0]))
    Tensor([-1.,  0.,  1.])
    """
    return np.sign(x)


def _won(g: Any, wins: Any, ties: Any) -> Any:
    return where(wins, g, where(ties, 0.5 * g, 0.0))


@primitive(
    rules=[lambda g, y, a, b: _won(g, a > b, a == b), lambda g, y, a, b: _won(g, b > a, a == b)],
    symbol="max",
    entrywise=True,
    analytic=False,
)
def maximum(a: Any, b: Any, /) -> Any:
    """The larger of `a` and `b`, which gets the gradient; half each where they are equal.

    ∂ max(a, b)/∂a = 1 where a > b; ∂ max(a, b)/∂b = 1 where b > a

    Parameters
    ----------
    a, b : Tensor or array_like
        Of one shape, or of shapes that broadcast as in NumPy.

    Returns
    -------
    Tensor, or array if neither is a Tensor
        Of the broadcast shape.

    Raises
    ------
    ValueError
        If the shapes do not broadcast; it names both, and the time step.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> a, b = tr.Tensor([1.0, 5.0], requires_grad=True), tr.Tensor([3.0, 5.0], requires_grad=True)
    >>> tr.maximum(a, b)
    Tensor([3., 5.], maximum)
    >>> tr.maximum(a, b).sum().backward()
    >>> a.grad, b.grad
    (array([0. , 0.5]), array([1. , 0.5]))
    """
    return np.maximum(a, b)


@primitive(
    rules=[lambda g, y, a, b: _won(g, a < b, a == b), lambda g, y, a, b: _won(g, b < a, a == b)],
    symbol="min",
    entrywise=True,
    analytic=False,
)
def minimum(a: Any, b: Any, /) -> Any:
    """The smaller of `a` and `b`, which gets the gradient; half each where they are equal.

    ∂ min(a, b)/∂a = 1 where a < b; ∂ min(a, b)/∂b = 1 where b < a

    Parameters
    ----------
    a, b : Tensor or array_like
        Of one shape, or of shapes that broadcast as in NumPy.

    Returns
    -------
    Tensor, or array if neither is a Tensor
        Of the broadcast shape.

    Raises
    ------
    ValueError
        If the shapes do not broadcast; it names both, and the time step.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> a, b = tr.Tensor([1.0, 5.0], requires_grad=True), tr.Tensor([3.0, 5.0], requires_grad=True)
    >>> tr.minimum(a, b)
    Tensor([1., 5.], minimum)
    >>> tr.minimum(a, b).sum().backward()
    >>> a.grad, b.grad
    (array([1. , 0.5]), array([0. , 0.5]))
    """
    return np.minimum(a, b)


@primitive(
    rules=[
        lambda g, y, x, low, high: where((x >= low) * (x <= high), g, 0.0),
        lambda g, y, x, low, high: where((x < low) * (low < high), g, 0.0),
        lambda g, y, x, low, high: where((x > high) + (high < low), g, 0.0),
    ],
    entrywise=True,
    analytic=False,
)
def clip(x: Any, low: Any, high: Any, /) -> Any:
    """`x` within bounds; the gradient goes to `x` inside and on the bounds, else to the bound.

    ∂y/∂x = 1 where low ≤ x ≤ high, else 0; ∂y/∂low = 1 where x < low; ∂y/∂high = 1 where x > high
    """
    return np.clip(x, low, high)


methods(**{name: globals()[name] for name in __all__})
