"""What each primitive of the table says of itself, and how it is called.

The table in engine/primitives.py keeps a rule to a line. The words belong to it, but stand here:
each function below is a signature and a docstring, without a body, and gives both to the primitive
of its name. So ``help(tr.tanh)`` answers, and the examples run as doctests.
"""

from __future__ import annotations

import inspect
from typing import Any

from ..engine import primitives

__all__: list[str] = []


# --- arithmetic -----------------------------------------------------------------------------------


def add(a: Any, b: Any, /) -> Any:
    """``a + b``; both inputs get the gradient of the sum.

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
    >>> a, b = tr.Tensor([1.0, 2.0], requires_grad=True), tr.Tensor([10.0], requires_grad=True)
    >>> tr.add(a, b)
    Tensor([11., 12.], add)
    >>> tr.add(a, b).sum().backward()
    >>> a.grad, b.grad
    (array([1., 1.]), array([2.]))
    """


def subtract(a: Any, b: Any, /) -> Any:
    """``a - b``; the gradient goes to `a` as it is, and to `b` with its sign turned.

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
    >>> a, b = tr.Tensor([1.0, 2.0], requires_grad=True), tr.Tensor([10.0], requires_grad=True)
    >>> tr.subtract(a, b)
    Tensor([-9., -8.], subtract)
    >>> tr.subtract(a, b).sum().backward()
    >>> a.grad, b.grad
    (array([1., 1.]), array([-2.]))
    """


def multiply(a: Any, b: Any, /) -> Any:
    """``a * b``, entry by entry; each input's gradient is scaled by the other input.

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
    >>> a, b = tr.Tensor([1.0, 2.0], requires_grad=True), tr.Tensor([3.0, 4.0], requires_grad=True)
    >>> tr.multiply(a, b)
    Tensor([3., 8.], multiply)
    >>> tr.multiply(a, b).sum().backward()
    >>> a.grad, b.grad
    (array([3., 4.]), array([1., 2.]))
    """


def divide(a: Any, b: Any, /) -> Any:
    """``a / b``; the derivatives are 1 / b and -a / b².

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
    >>> a, b = tr.Tensor([1.0, 2.0], requires_grad=True), tr.Tensor([2.0, 4.0], requires_grad=True)
    >>> tr.divide(a, b)
    Tensor([0.5, 0.5], divide)
    >>> tr.divide(a, b).sum().backward()
    >>> a.grad, b.grad
    (array([0.5 , 0.25]), array([-0.25 , -0.125]))
    """


def power(a: Any, b: Any, /) -> Any:
    """``a ** b``; the derivatives are b aᵇ⁻¹ and aᵇ log a, the latter 0 where `a` is 0.

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
    >>> a, b = tr.Tensor([2.0, 3.0], requires_grad=True), tr.Tensor(3.0, requires_grad=True)
    >>> tr.power(a, b)
    Tensor([ 8., 27.], power)
    >>> tr.power(a, 2).sum().backward()
    >>> a.grad
    array([4., 6.])
    """


def negative(x: Any, /) -> Any:
    """``-x``; the gradient turns its sign.

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
    >>> x = tr.Tensor([1.0, -2.0], requires_grad=True)
    >>> tr.negative(x)
    Tensor([-1.,  2.], negative)
    >>> tr.negative(x).sum().backward()
    >>> x.grad
    array([-1., -1.])
    """


def matmul(a: Any, b: Any, /) -> Any:
    """``a @ b``, the matrix product; for y = a b the gradients are g bᵀ and aᵀ g.

    Parameters
    ----------
    a : Tensor or array, shape (..., n, k) or (k,)
    b : Tensor or array, shape (..., k, m) or (k,)
        Leading axes broadcast.

    Returns
    -------
    Tensor, or array if neither is a Tensor
        Of shape (..., n, m); a vector's axis is left out.

    Raises
    ------
    ValueError
        If the inner lengths differ; it names both shapes, and the time step.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([[1.0, 2.0]])
    >>> W = tr.Tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    >>> tr.matmul(x, W)
    Tensor([[1., 2.]], matmul)
    >>> tr.matmul(x, W).sum().backward()
    >>> W.grad
    array([[1., 1.],
           [2., 2.]])
    """


# --- functions of one number ----------------------------------------------------------------------


def exp(x: Any, /) -> Any:
    """The exponential function, which is its own derivative.

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


def log(x: Any, /) -> Any:
    """The natural logarithm; its derivative is 1 / x.

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
    >>> x = tr.Tensor([1.0, 4.0], requires_grad=True)
    >>> tr.log(x).sum().backward()
    >>> x.grad
    array([1.  , 0.25])
    """


def sqrt(x: Any, /) -> Any:
    """The square root; its derivative is 1 / (2 √x).

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


def sin(x: Any, /) -> Any:
    """The sine of an angle in radians; its derivative is the cosine.

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


def cos(x: Any, /) -> Any:
    """The cosine of an angle in radians; its derivative is minus the sine.

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


def tanh(x: Any, /) -> Any:
    """The hyperbolic tangent, between -1 and 1; its derivative is 1 - y², at most 1.

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


def sigmoid(x: Any, /) -> Any:
    """The logistic function 1 / (1 + exp(-x)), between 0 and 1; its derivative is y (1 - y).

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


def relu(x: Any, /) -> Any:
    """`x` where it is positive, else 0; its derivative is 1 there, else 0, and 0 at 0 itself.

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


def abs(x: Any, /) -> Any:
    """The absolute value; its derivative is the sign, 0 at 0.

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


def sign(x: Any, /) -> Any:
    """-1, 0 or 1 by the sign of each entry; its derivative is 0.

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


# --- comparisons and choices ----------------------------------------------------------------------


def equal(a: Any, b: Any, /) -> Any:
    """``a == b``, entry by entry.

    Parameters
    ----------
    a, b : Tensor or array_like
        Of one shape, or of shapes that broadcast as in NumPy.

    Returns
    -------
    Tensor or array of bool
        Of the broadcast shape; a constant, without a gradient.

    Raises
    ------
    ValueError
        If the shapes do not broadcast; it names both, and the time step.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.equal(tr.Tensor([1.0, 2.0]), 2.0)
    Tensor([False,  True])
    """


def not_equal(a: Any, b: Any, /) -> Any:
    """``a != b``, entry by entry.

    Parameters
    ----------
    a, b : Tensor or array_like
        Of one shape, or of shapes that broadcast as in NumPy.

    Returns
    -------
    Tensor or array of bool
        Of the broadcast shape; a constant, without a gradient.

    Raises
    ------
    ValueError
        If the shapes do not broadcast; it names both, and the time step.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.not_equal(tr.Tensor([1.0, 2.0]), 2.0)
    Tensor([ True, False])
    """


def less(a: Any, b: Any, /) -> Any:
    """``a < b``, entry by entry.

    Parameters
    ----------
    a, b : Tensor or array_like
        Of one shape, or of shapes that broadcast as in NumPy.

    Returns
    -------
    Tensor or array of bool
        Of the broadcast shape; a constant, without a gradient.

    Raises
    ------
    ValueError
        If the shapes do not broadcast; it names both, and the time step.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.less(tr.Tensor([1.0, 2.0]), 2.0)
    Tensor([ True, False])
    """


def less_equal(a: Any, b: Any, /) -> Any:
    """``a <= b``, entry by entry.

    Parameters
    ----------
    a, b : Tensor or array_like
        Of one shape, or of shapes that broadcast as in NumPy.

    Returns
    -------
    Tensor or array of bool
        Of the broadcast shape; a constant, without a gradient.

    Raises
    ------
    ValueError
        If the shapes do not broadcast; it names both, and the time step.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.less_equal(tr.Tensor([1.0, 2.0]), 2.0)
    Tensor([ True,  True])
    """


def greater(a: Any, b: Any, /) -> Any:
    """``a > b``, entry by entry.

    Parameters
    ----------
    a, b : Tensor or array_like
        Of one shape, or of shapes that broadcast as in NumPy.

    Returns
    -------
    Tensor or array of bool
        Of the broadcast shape; a constant, without a gradient.

    Raises
    ------
    ValueError
        If the shapes do not broadcast; it names both, and the time step.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.greater(tr.Tensor([1.0, 2.0]), 1.0)
    Tensor([False,  True])
    """


def greater_equal(a: Any, b: Any, /) -> Any:
    """``a >= b``, entry by entry.

    Parameters
    ----------
    a, b : Tensor or array_like
        Of one shape, or of shapes that broadcast as in NumPy.

    Returns
    -------
    Tensor or array of bool
        Of the broadcast shape; a constant, without a gradient.

    Raises
    ------
    ValueError
        If the shapes do not broadcast; it names both, and the time step.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.greater_equal(tr.Tensor([1.0, 2.0]), 1.0)
    Tensor([ True,  True])
    """


def where(condition: Any, a: Any, b: Any, /) -> Any:
    """`a` where `condition` holds, else `b`; the gradient goes where the value came from.

    Parameters
    ----------
    condition : Tensor or array of bool
    a, b : Tensor or array_like
        The three broadcast to one shape.

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
    >>> a, b = tr.Tensor([1.0, 2.0], requires_grad=True), tr.Tensor([3.0, 4.0], requires_grad=True)
    >>> tr.where(a > 1.0, a, b)
    Tensor([3., 2.], where)
    >>> tr.where(a > 1.0, a, b).sum().backward()
    >>> a.grad, b.grad
    (array([0., 1.]), array([1., 0.]))
    """


def maximum(a: Any, b: Any, /) -> Any:
    """The larger of `a` and `b`, which gets the gradient; half each where they are equal.

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


def minimum(a: Any, b: Any, /) -> Any:
    """The smaller of `a` and `b`, which gets the gradient; half each where they are equal.

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


for _name, _words in list(globals().items()):
    if inspect.isfunction(_words):
        _primitive = getattr(primitives, _name)
        _primitive.__doc__ = inspect.getdoc(_words)
        _primitive.__signature__ = inspect.signature(_words)
