"""The table of derivatives: every primitive, with one rule for each input beside it.

A rule is called as ``rule(g, y, *inputs, **kwargs)`` with the gradient of the output, the output
and the inputs, and returns that input's contribution. Rules are written with operators and methods
that arrays and tensors share: given arrays they compute, given tensors they record, and so the
gradient is itself a graph that can be differentiated again. An input that was broadcast needs no
care here: the traversal in backprop.py sums its contribution back to the input's shape.

Everything else is composed of these, in functions.py.

Where a function has a kink, its derivative there follows PyTorch: 0 for abs and relu at 0, half
and half for maximum and minimum where both are equal, even shares among the ties of max, 1 for
clip on the bounds themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .tensor import Array, Rule, Tensor, operations, primitive

__all__ = [
    "abs", "add", "cos", "divide", "equal", "exp", "getitem",
    "greater", "greater_equal", "less", "less_equal", "log", "matmul", "maximum", "minimum",
    "multiply", "negative", "not_equal", "power", "relu", "sigmoid", "sign", "sin", "sqrt",
    "subtract", "tanh", "where",
]  # fmt: skip


def _op(
    name: str, symbol: str, forward: Callable[..., Any], *rules: Rule | None, **kind: Any
) -> Any:
    operations[name] = declared = primitive(name, forward, *rules, symbol=symbol, **kind)
    return declared


# --- arithmetic ---------------------------------------------------------------------------------


def _power_base(g: Any, y: Any, a: Any, b: Any) -> Any:
    # b * a**(b - 1), except that b = 0 gives 0 even where a is 0.
    if isinstance(b, (int, float)):
        return g * b * a ** (b - 1) if b else 0 * g
    return g * b * a ** where(b == 0, 1 + 0 * b, b - 1)


def _power_exponent(g: Any, y: Any, a: Any, b: Any) -> Any:
    # log(a) * a**b, except that a = 0 gives 0.
    if isinstance(a, (int, float)):
        return g * y * (math.log(a) if a else 0.0)
    return g * y * log(where(a == 0, 1 + 0 * a, a))


add = _op("add", "+", np.add, lambda g, y, a, b: g, lambda g, y, a, b: g)
subtract = _op("subtract", "−", np.subtract, lambda g, y, a, b: g, lambda g, y, a, b: -g)
multiply = _op("multiply", "⊙", np.multiply, lambda g, y, a, b: g * b, lambda g, y, a, b: g * a)
divide = _op("divide", "÷", np.divide, lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b)
power = _op("power", "^", np.power, _power_base, _power_exponent)
negative = _op("negative", "−", np.negative, lambda g, y, x: -g)


# --- functions of one number --------------------------------------------------------------------

# For each dtype the largest exponent that exp takes without overflowing, and 1.
_EXP_LIMITS = {
    char: (np.array(88.0 if char in "fF" else 709.0, char), np.array(1.0, char)) for char in "fdFD"
}


def _sigmoid(x: Array) -> Array:
    # 1 / (1 + exp(-x)) in one buffer. Beyond the limit the result is 0 to the last digit.
    limit, one = _EXP_LIMITS[x.dtype.char]
    y = np.empty(x.shape, x.dtype)
    np.negative(x, y)
    np.minimum(y, limit, out=y)
    np.exp(y, y)
    np.add(y, one, y)
    return np.reciprocal(y, y)


exp = _op("exp", "exp", np.exp, lambda g, y, x: g * y)
log = _op("log", "log", np.log, lambda g, y, x: g / x)
sqrt = _op("sqrt", "√", np.sqrt, lambda g, y, x: g * 0.5 / y)
sin = _op("sin", "sin", np.sin, lambda g, y, x: g * cos(x))
cos: Any = _op("cos", "cos", np.cos, lambda g, y, x: -g * sin(x))
tanh = _op("tanh", "tanh", np.tanh, lambda g, y, x: g * (1.0 - y * y))
sigmoid = _op("sigmoid", "σ", _sigmoid, lambda g, y, x: g * y * (1.0 - y))
relu = _op("relu", "relu", lambda x: np.maximum(x, 0), lambda g, y, x: g * (x > 0), analytic=False)
abs = _op("abs", "|·|", np.absolute, lambda g, y, x: g * sign(x), analytic=False)
sign: Any = _op("sign", "sign", np.sign, lambda g, y, x: 0 * g, analytic=False)


# --- comparisons and choices --------------------------------------------------------------------

# Comparisons have no rules: their results are constants.
equal = _op("equal", "=", np.equal)
not_equal = _op("not_equal", "≠", np.not_equal)
less = _op("less", "<", np.less)
less_equal = _op("less_equal", "≤", np.less_equal)
greater = _op("greater", ">", np.greater)
greater_equal = _op("greater_equal", "≥", np.greater_equal)

where: Any = _op(
    "where",
    "?",
    np.where,
    None,
    lambda g, y, condition, a, b: where(condition, g, 0.0),
    lambda g, y, condition, a, b: where(condition, 0.0, g),
)
maximum = _op(
    "maximum",
    "max",
    np.maximum,
    lambda g, y, a, b: where(a > b, g, where(a == b, 0.5 * g, 0.0)),
    lambda g, y, a, b: where(b > a, g, where(a == b, 0.5 * g, 0.0)),
    analytic=False,
)
minimum = _op(
    "minimum",
    "min",
    np.minimum,
    lambda g, y, a, b: where(a < b, g, where(a == b, 0.5 * g, 0.0)),
    lambda g, y, a, b: where(b < a, g, where(a == b, 0.5 * g, 0.0)),
    analytic=False,
)
clip = _op(
    "clip", "clip", np.clip, lambda g, y, x, low, high: g * (x == y), None, None, analytic=False
)


# --- matrix product -----------------------------------------------------------------------------


# For two matrices, `dot` is `matmul` with half the overhead.


def _matmul(a: Array, b: Array) -> Any:
    if b.ndim == 2:
        if a.ndim == 2:
            return a.dot(b)
        if a.ndim > 2:  # one large product instead of many small ones
            return a.reshape(-1, a.shape[-1]).dot(b).reshape(*a.shape[:-1], b.shape[-1])
    return a @ b


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
        return a.reshape(-1, a.shape[-1]).T.dot(g.reshape(-1, g.shape[-1]))
    return a.swapaxes(-1, -2) @ g


matmul = _op("matmul", "·", _matmul, _matmul_left, _matmul_right)


# --- sums and largest values --------------------------------------------------------------------


def _kept(g: Any, x: Any, axis: int | tuple[int, ...] | None, keepdims: bool) -> Any:
    """`g`, the gradient of a reduction of `x`, with the reduced axes put back as length 1."""
    if keepdims:
        return g
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    gone = {a % x.ndim for a in axes}
    return g.reshape(tuple(1 if a in gone else n for a, n in enumerate(x.shape)))


def _sum_rule(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return broadcast_to(_kept(g, x, axis, keepdims), shape=x.shape)


def _max_rule(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    largest = x == _kept(y, x, axis, keepdims)
    ties = largest.sum(axis=axis, keepdims=True).astype(g.dtype)
    return _kept(g, x, axis, keepdims) * (largest / ties)


sum = _op("sum", "Σ", np.sum, _sum_rule)
max = _op("max", "max", np.max, _max_rule, analytic=False)


# --- shape --------------------------------------------------------------------------------------


def _transpose_rule(g: Any, y: Any, x: Any, axes: Sequence[int] | None = None) -> Any:
    return g.transpose() if axes is None else g.transpose(tuple(int(a) for a in np.argsort(axes)))


reshape = _op(
    "reshape",
    "reshape",
    lambda x, shape: x.reshape(shape),
    lambda g, y, x, shape: g.reshape(x.shape),
)
transpose = _op("transpose", "ᵀ", np.transpose, _transpose_rule)
broadcast_to = _op("broadcast_to", "broadcast", np.broadcast_to, lambda g, y, x, shape: g)
astype = _op("astype", "astype", lambda x, dtype: x.astype(dtype), lambda g, y, x, dtype: g)


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


def _concatenate(*xs: Array, axis: int = 0) -> Array:
    return np.concatenate(xs, axis=axis)


def _stack(*xs: Array, axis: int = 0) -> Array:
    return np.stack(xs, axis=axis)


concatenate = _op("concatenate", "[,]", _concatenate, _concatenate_rule, joint=True)
stack = _op("stack", "[;]", _stack, _stack_rule, joint=True)


# --- indexing -----------------------------------------------------------------------------------


class Scattered:
    """A contribution that is zero but for the entries at `key`: it is added in place, unpadded.

    Four slices of one array, or a thousand rows looked up in one embedding table, are written
    into one buffer this way instead of into a dense array each.
    """

    __slots__ = ("dtype", "key", "repeats", "shape", "values")

    def __init__(self, values: Array, key: Any, repeats: bool, shape: tuple[int, ...]) -> None:
        self.values = values
        self.key = key
        self.repeats = repeats
        self.shape = shape
        self.dtype = values.dtype

    def add_to(self, total: Array) -> None:
        """Add this to a dense sum, in place."""
        if self.repeats:
            np.add.at(total, self.key, self.values)
        elif isinstance(part := total[self.key], np.ndarray):
            part += self.values
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


# `repeats` says whether the key may name an entry more than once, as arrays of indices may.
take = primitive("getitem", lambda x, key, repeats: x[key], _take_rule, symbol="[ ]")
scatter = _op(
    "scatter",
    "scatter",
    lambda x, key, repeats, shape: Scattered(x, key, repeats, shape).dense(),
    lambda g, y, x, key, repeats, shape: take(g, key=key, repeats=repeats),
)


def getitem(x: Any, key: Any) -> Any:
    """``x[key]`` with NumPy's basic, integer-array and boolean indexing.

    In the gradient, entries that were taken more than once add up.

    Parameters
    ----------
    x : Tensor or array
    key : what NumPy takes; tensors, arrays and lists of integers in it are copied.

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
    if isinstance(part, Tensor):
        return part.data
    if isinstance(part, (list, np.ndarray)):
        return np.array(part, dtype=None if len(part) else np.intp)
    return part


operations["getitem"] = getitem
