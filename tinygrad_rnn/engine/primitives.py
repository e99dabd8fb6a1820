"""The table of derivatives: every primitive, with its rules above it, one for each input.

A rule is called as ``rule(g, y, *inputs, **settings)`` with the gradient of the output, the output
and the inputs, and returns that input's contribution. Rules are written with operators and methods
that arrays and tensors share: given arrays they compute, given tensors they record, and so the
gradient is itself a graph that can be differentiated again. An input that was broadcast needs no
care here: the traversal in backprop.py sums its contribution back to the input's shape.

These are declared as you would declare an operation of your own, and `Primitive` says what is read
from a declaration: the body is also how a derived program spells the operation, and the docstring
is also what the player says of it. Here are those that the rules themselves and the operators of
tensors need; the functions, such as tanh, are in functions/elementwise.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from .tensor import Array, Tensor, locked, methods, primitive

__all__ = [
    "add", "astype", "broadcast_to", "divide", "equal", "getitem", "greater", "greater_equal",
    "less", "less_equal", "log", "matmul", "multiply", "negative", "not_equal", "power",
    "subtract", "sum", "where",
]  # fmt: skip

# --- arithmetic ---------------------------------------------------------------------------------


@primitive(rules=[lambda g, y, a, b: g, lambda g, y, a, b: g], symbol="+", entrywise=True)
def add(a: Any, b: Any, /) -> Any:
    """``a + b``; both inputs get the gradient of the sum.

    ∂(a + b)/∂a = 1; ∂(a + b)/∂b = 1

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
    return np.add(a, b)


@primitive(rules=[lambda g, y, a, b: g, lambda g, y, a, b: -g], symbol="−", entrywise=True)
def subtract(a: Any, b: Any, /) -> Any:
    """``a - b``; the gradient goes to `a` as it is, and to `b` with its sign turned.

    ∂(a − b)/∂a = 1; ∂(a − b)/∂b = −1

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
    return np.subtract(a, b)


@primitive(rules=[lambda g, y, a, b: g * b, lambda g, y, a, b: g * a], symbol="⊙", entrywise=True)
def multiply(a: Any, b: Any, /) -> Any:
    """``a * b``, entry by entry; each input's gradient is scaled by the other input.

    ∂(a ⊙ b)/∂a = b; ∂(a ⊙ b)/∂b = a

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
    return np.multiply(a, b)


@primitive(
    rules=[lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b], symbol="÷", entrywise=True
)
def divide(a: Any, b: Any, /) -> Any:
    """``a / b``; the derivatives are 1 / b and -a / b².

    ∂(a ÷ b)/∂a = 1 ÷ b; ∂(a ÷ b)/∂b = −a ÷ b²

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
    return np.divide(a, b)


def _power_base(g: Any, y: Any, a: Any, b: Any) -> Any:
    # b * a**(b - 1), except that b = 0 gives 0 even where a is 0.
    if isinstance(b, (int, float)):
        return g * b * a ** (b - 1) if b else 0 * g
    return g * b * a ** where((b == 0) * (a == 0), 1 + 0 * b, b - 1)


def _power_exponent(g: Any, y: Any, a: Any, b: Any) -> Any:
    # log(a) * a**b, except that a = 0 gives 0.
    if isinstance(a, (int, float)):
        return g * y * (math.log(a) if a > 0 else math.nan if a else 0.0)
    return g * y * log(where(a == 0, 1 + 0 * a, a))


@primitive(rules=[_power_base, _power_exponent], symbol="^", entrywise=True)
def power(a: Any, b: Any, /) -> Any:
    """``a ** b``; the derivatives are b aᵇ⁻¹ and aᵇ log a, the latter 0 where `a` is 0.

    ∂(aᵇ)/∂a = b aᵇ⁻¹; ∂(aᵇ)/∂b = aᵇ log a

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
    return np.power(a, b)


@primitive(rules=[lambda g, y, x: -g], symbol="−", entrywise=True)
def negative(x: Any, /) -> Any:
    """``-x``; the gradient changes its sign.

    ∂(−x)/∂x = −1

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
    return np.negative(x)


@primitive(rules=[lambda g, y, x: g / x], entrywise=True)
def log(x: Any, /) -> Any:
    """The natural logarithm; its derivative is 1 / x.

    ∂ log x/∂x = 1 ÷ x

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
    return np.log(x)


# --- comparisons and choices --------------------------------------------------------------------

# Comparisons have no rules: their results are constants.


@primitive(symbol="=", entrywise=True)
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
    return np.equal(a, b)


@primitive(symbol="≠", entrywise=True)
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
    return np.not_equal(a, b)


@primitive(symbol="<", entrywise=True)
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
    return np.less(a, b)


@primitive(symbol="≤", entrywise=True)
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
    return np.less_equal(a, b)


@primitive(symbol=">", entrywise=True)
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
    return np.greater(a, b)


@primitive(symbol="≥", entrywise=True)
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
    return np.greater_equal(a, b)


@primitive(
    rules=[None, lambda g, y, c, a, b: where(c, g, 0.0), lambda g, y, c, a, b: where(c, 0.0, g)],
    symbol="?",
    entrywise=True,
)
def where(condition: Any, a: Any, b: Any, /) -> Any:
    """`a` where `condition` holds, else `b`; the gradient goes where the value came from.

    ∂y/∂a = 1 where the condition holds, else 0; ∂y/∂b = 0 where the condition holds, else 1

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
    return np.where(condition, a, b)


# What booleans and integers are combined by; for Tensor's operators.
for _function in (np.bitwise_and, np.bitwise_or, np.invert):
    methods(**{_function.__name__: primitive(_function.__name__, _function)})


# --- matrix product -----------------------------------------------------------------------------


def _rows(x: Any) -> Any:
    """All rows of `x`, one below the other."""
    return x.reshape(-1 if x.shape[-1] else math.prod(x.shape[:-1]), x.shape[-1])


def _matmul_left(g: Any, y: Any, a: Any, b: Any) -> Any:
    if b.ndim == 2 == g.ndim:
        return g.dot(b.T)
    if b.ndim == 1:
        return g[..., None] * b
    if a.ndim == 1:
        return (b @ g[..., None])[..., 0]
    return g @ b.swapaxes(-1, -2)


def _matmul_right(g: Any, y: Any, a: Any, b: Any) -> Any:
    if a.ndim == 1:
        return a * g if b.ndim == 1 else a[:, None] * g[..., None, :]
    if b.ndim == 1:
        return (g[..., None, :] @ a)[..., 0, :]
    if b.ndim == 2:
        if a.ndim == 2:
            return a.T.dot(g)
        return _rows(a).T.dot(_rows(g))
    return a.swapaxes(-1, -2) @ g


@primitive(rules=[_matmul_left, _matmul_right], symbol="·")
def matmul(a: Any, b: Any, /) -> Any:
    """``a @ b``, the matrix product; each input's gradient is a product with the other, transposed.

    For y = a b with the gradient g of y:
    ∂L/∂a = g bᵀ; ∂L/∂b = aᵀ g

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
    # For two matrices, `dot` is `matmul` with half the overhead.
    if getattr(b, "ndim", 0) == 2:
        if a.ndim == 2:
            return a.dot(b)
        if a.ndim > 2:  # one large product instead of many small ones
            return _rows(a).dot(b).reshape(*a.shape[:-1], b.shape[-1])
    return np.matmul(a, b)


# --- sums and largest values --------------------------------------------------------------------

Axis = int | tuple[int, ...] | None


def axes_of(x: Any, axis: Axis) -> tuple[int, ...]:
    """The axes that `axis` names; for an array without axes, as in NumPy, 0 and -1 name none."""
    if axis is None:
        return tuple(range(x.ndim))
    return normalize_axis_tuple(axis, x.ndim or 1)[: x.ndim]


def kept(g: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    """`g`, the gradient of a reduction of `x`, with the reduced axes put back as length 1."""
    if keepdims:
        return g
    gone = axes_of(x, axis)
    return g.reshape(tuple(1 if a in gone else n for a, n in enumerate(x.shape)))


def _sum_rule(g: Any, y: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    g = kept(g, x, axis, keepdims)
    if isinstance(g, Tensor):
        return broadcast_to(g, shape=x.shape)
    return np.zeros(x.shape, g.dtype) + g  # in a third of the time of np.broadcast_to


@primitive(rules=[_sum_rule], symbol="Σ")
def sum(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Any:
    """The sum over `axis`; every term gets the gradient of the sum.

    ∂ Σx/∂xᵢ = 1

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
    >>> tr.sum(tr.Tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    Tensor([4., 6.])
    """
    return np.sum(x, axis=axis, keepdims=keepdims)


# --- shape --------------------------------------------------------------------------------------


def _transpose_rule(g: Any, y: Any, x: Any, axes: Sequence[int] | None = None) -> Any:
    if axes is None:
        return g.transpose()
    return g.transpose(tuple(np.argsort([a % x.ndim for a in axes]).tolist()))


@primitive(rules=[lambda g, y, x, shape: g.reshape(x.shape)], view=True)
def reshape(x: Any, /, shape: tuple[int, ...]) -> Any:
    """The same entries in another shape; the gradient gets the old shape back."""
    return np.reshape(x, shape)


@primitive(rules=[_transpose_rule], symbol="ᵀ", view=True)
def transpose(x: Any, /, axes: Sequence[int] | None = None) -> Any:
    """`x` with its axes in another order; the gradient gets the old order back."""
    return np.transpose(x, axes)


@primitive(rules=[lambda g, y, x, shape: g], symbol="broadcast", view=True)
def broadcast_to(x: Any, /, shape: tuple[int, ...]) -> Any:
    """`x` repeated along new axes and axes of length 1; the gradients of the copies add up.

    Parameters
    ----------
    x : Tensor or array
    shape : tuple of ints
        One that x's own shape broadcasts to.

    Returns
    -------
    Tensor of that shape, or array if `x` is one

    Raises
    ------
    ValueError
        If it does not.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.broadcast_to(tr.Tensor([1.0, 2.0]), (2, 2))
    Tensor([[1., 2.],
            [1., 2.]])
    """
    return np.broadcast_to(x, shape)


@primitive(rules=[lambda g, y, x, dtype: g], view=True)
def astype(x: Any, /, dtype: Any) -> Any:
    """`x` in another dtype; its gradient is converted back.

    Parameters
    ----------
    x : Tensor or array
    dtype : dtype
        A floating one, if there is to be a gradient.

    Returns
    -------
    Tensor, or array if `x` is one

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> tr.astype(tr.Tensor([1.0]), np.float32).dtype
    dtype('float32')
    """
    return np.asarray(x).astype(dtype)


# --- joining ------------------------------------------------------------------------------------


def _concatenate_rule(g: Any, y: Any, *xs: Any, axis: int = 0) -> tuple[Any, ...]:
    before = (slice(None),) * (axis % y.ndim)
    ends = np.cumsum([x.shape[axis] for x in xs]).tolist()
    return tuple(
        g[(*before, slice(start, end))] for start, end in zip([0, *ends], ends, strict=False)
    )


def _stack_rule(g: Any, y: Any, *xs: Any, axis: int = 0) -> tuple[Any, ...]:
    before = (slice(None),) * (axis % y.ndim)
    return tuple(g[(*before, i)] for i in range(len(xs)))


@primitive(rules=[_concatenate_rule], symbol="[,]", joint=True)
def concatenate(*xs: Any, axis: int = 0) -> Any:
    """Arrays joined along an axis they have; each part gets its own piece of the gradient."""
    return np.concatenate(xs, axis=axis)


@primitive(rules=[_stack_rule], symbol="[;]", joint=True)
def stack(*xs: Any, axis: int = 0) -> Any:
    """Arrays joined along a new axis; each part gets its own piece of the gradient."""
    return np.stack(xs, axis=axis)


# --- indexing -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Scattered:
    """A contribution that is zero but for the entries at `key`: it is added in place, unpadded.

    Four slices of one array, or a thousand rows looked up in one embedding table, are written
    into one buffer this way instead of into a dense array each.
    """

    values: Array
    key: Any
    repeats: bool
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the values."""
        return self.values.dtype

    def add_to(self, total: Array) -> None:
        """Add this to a dense sum, in place."""
        if self.repeats:
            np.add.at(total, self.key, self.values)
        else:
            total[self.key] += self.values

    def dense(self) -> Array:
        """The whole array, zeros and all."""
        total = np.zeros(self.shape, self.dtype)
        self.add_to(total)
        return total


def _take_rule(g: Any, y: Any, x: Any, key: Any, repeats: bool) -> Any:
    if isinstance(g, Tensor):
        return scatter(g, key=key, repeats=repeats, shape=x.shape)
    return Scattered(g, key, repeats, x.shape)


@primitive("getitem", rules=[_take_rule], symbol="[ ]", view=True)
def take(x: Any, /, key: Any, repeats: bool) -> Any:
    """``x[key]``; the gradient goes to the entries taken.

    `repeats` says whether the key may name an entry more than once, as arrays of indices may.
    """
    return x[key]


@primitive(rules=[lambda g, y, x, key, repeats, shape: take(g, key=key, repeats=repeats)])
def scatter(x: Any, /, key: Any, repeats: bool, shape: tuple[int, ...]) -> Any:
    """Zeros of a shape with `x` added at `key`; each entry gets the gradient of its place."""
    return Scattered(x, key, repeats, shape).dense()


def getitem(x: Any, key: Any) -> Any:
    """``x[key]`` with NumPy's basic, integer-array and boolean indexing.

    In the gradient, entries that were taken more than once add up.

    Parameters
    ----------
    x : Tensor or array
    key : what NumPy takes; tensors, arrays and sequences of integers in it are copied.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> x[[0, 0, 2]].sum().backward()
    >>> x.grad
    array([2., 0., 1.])
    """
    parts = tuple(_index(part) for part in key) if isinstance(key, tuple) else (_index(key),)
    repeats = any(isinstance(part, np.ndarray) for part in parts)
    return take(x, key=parts, repeats=repeats)


def _index(part: Any) -> Any:
    """One part of a key: what NumPy takes for basic indexing as it is, all else as an array."""
    if part is None or part is Ellipsis or isinstance(part, slice):
        return part
    part = part.data if isinstance(part, Tensor) else part
    dtype = None if isinstance(part, np.ndarray) or np.size(part) else np.intp
    array = locked(np.asarray(part, dtype=dtype))
    return int(array) if array.ndim == 0 and array.dtype.kind in "iu" else array


methods(**{name: globals()[name] for name in __all__}, scatter=scatter)
