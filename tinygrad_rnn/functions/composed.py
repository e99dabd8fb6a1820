"""Operations composed of the primitives: they need no derivative of their own.

Names and arguments are NumPy's where NumPy has the function, PyTorch's for the activations.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..engine import primitives as p
from ..engine.primitives import sum
from ..engine.tensor import Tensor, operations, primitive
from . import elementwise as e

__all__ = [
    "clip", "concatenate", "einsum", "elu", "flip", "gelu",
    "leaky_relu", "log_softmax", "logsumexp", "mean", "min", "norm", "outer", "pad",
    "reshape", "roll", "softmax", "softplus", "split", "stack", "std", "swapaxes",
    "take_along_axis", "transpose", "var",
]  # fmt: skip

Axis = int | tuple[int, ...] | None


def _operation(function: Callable[..., Any]) -> Callable[..., Any]:
    operations[function.__name__] = function
    return function


# --- NumPy's call forms of primitives -----------------------------------------------------------


@_operation
def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The smallest entry over `axis`; ties share the gradient evenly.

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
    return -e.max(-x, axis=axis, keepdims=keepdims)


@_operation
def reshape(x: Any, *shape: Any) -> Any:
    """`x` in another shape; one length may be -1. Takes a tuple or the lengths one by one.

    Parameters
    ----------
    x : Tensor or array
    *shape : ints, or one tuple of them

    Returns
    -------
    Tensor of that shape, or array if `x` is one

    Raises
    ------
    ValueError
        If the number of entries differs; it names the shape, and the time step.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.Tensor([1.0, 2.0, 3.0, 4.0]).reshape(2, -1).shape
    (2, 2)
    """
    one_argument = len(shape) == 1 and not isinstance(shape[0], int)
    return p.reshape(x, shape=tuple(shape[0]) if one_argument else shape)


@_operation
def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """`x` with its axes in another order, reversed by default.

    Parameters
    ----------
    x : Tensor or array
    axes : sequence of ints, optional
        Where each axis of the result comes from.

    Returns
    -------
    Tensor, or array if `x` is one

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.transpose(tr.Tensor([[[1.0, 2.0]]]), (2, 0, 1)).shape
    (2, 1, 1)
    """
    return p.transpose(x) if axes is None else p.transpose(x, axes=tuple(a % x.ndim for a in axes))


@_operation
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """`x` with two axes exchanged.

    Parameters
    ----------
    x : Tensor or array
    axis1, axis2 : int

    Returns
    -------
    Tensor, or array if `x` is one

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.swapaxes(tr.Tensor([[[1.0, 2.0]]]), 0, 2).shape
    (2, 1, 1)
    """
    axes = list(range(x.ndim))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return p.transpose(x, axes=tuple(axes))


@_operation
def clip(x: Any, low: float | None = None, high: float | None = None) -> Any:
    """`x` within bounds; the gradient passes on the bounds too, as in PyTorch.

    Parameters
    ----------
    x : Tensor or array
    low, high : float, optional
        No bound on that side by default.

    Returns
    -------
    Tensor of x's shape, or array if `x` is one

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.clip(tr.Tensor([-3.0, 0.5, 3.0]), -1.0, 1.0)
    Tensor([-1. ,  0.5,  1. ])
    """
    return e.clip(x, -math.inf if low is None else low, math.inf if high is None else high)


@_operation
def concatenate(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Tensors joined along an axis they have.

    Parameters
    ----------
    arrays : sequence of Tensors or arrays
        Alike in every length but that of `axis`.
    axis : int, default 0

    Returns
    -------
    Tensor, or array if all are

    Raises
    ------
    ValueError
        If they are not alike; it names the shapes, and the time step.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.concatenate([tr.Tensor([1.0]), tr.Tensor([2.0, 3.0])])
    Tensor([1., 2., 3.])
    """
    return p.concatenate(*arrays, axis=axis)


@_operation
def stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Tensors of one shape joined along a new axis; the outputs of `unroll` become ``(T, B, H)``.

    One tensor is taken as the sequence of its rows.

    Parameters
    ----------
    arrays : sequence of Tensors or arrays, all of one shape
    axis : int, default 0
        Where the new axis stands in the result.

    Returns
    -------
    Tensor, or array if all are

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.stack([tr.Tensor([1.0, 2.0]), tr.Tensor([3.0, 4.0])], axis=1)
    Tensor([[1., 3.],
            [2., 4.]])
    """
    if isinstance(arrays, Tensor) and axis == 0:  # its rows are stacked already
        return arrays
    return p.stack(*arrays, axis=axis)


# --- statistics ---------------------------------------------------------------------------------


def _count(x: Any, axis: Axis) -> int:
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return math.prod(x.shape[a] for a in axes)


@_operation
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The arithmetic mean over `axis`.

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
    >>> tr.mean(tr.Tensor([[1.0, 2.0], [3.0, 4.0]]), axis=1)
    Tensor([1.5, 3.5])
    """
    total, count = sum(x, axis, keepdims), _count(x, axis)
    return total / count if count else total * math.nan


@_operation
def var(x: Any, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """The variance over `axis`, divided by n - `ddof` as NumPy does.

    Parameters
    ----------
    x : Tensor or array
    axis : int, tuple of ints or None
        Over everything by default.
    ddof : int, default 0
        0 for the population's variance, 1 for the sample's.
    keepdims : bool, default False
        Leave the axis in the result, with length 1.

    Returns
    -------
    Tensor, or array if `x` is one

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.var(tr.Tensor([1.0, 3.0])).item()
    1.0
    """
    deviation = x - mean(x, axis, keepdims=True)
    count = _count(x, axis) - ddof
    total = sum(deviation * deviation, axis, keepdims)
    return total / count if count > 0 else total * math.nan


@_operation
def std(x: Any, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """The standard deviation over `axis`, the root of `var`.

    Parameters
    ----------
    x : Tensor or array
    axis : int, tuple of ints or None
        Over everything by default.
    ddof : int, default 0
        As for `var`.
    keepdims : bool, default False
        Leave the axis in the result, with length 1.

    Returns
    -------
    Tensor, or array if `x` is one

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.std(tr.Tensor([1.0, 3.0])).item()
    1.0
    """
    return e.sqrt(var(x, axis, ddof, keepdims))


@_operation
def norm(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The Euclidean norm over `axis`; its gradient at zero is zero, as in PyTorch.

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
    >>> tr.norm(tr.Tensor([3.0, 4.0]))
    Tensor(5.)
    """
    square = sum(x * x, axis, keepdims)
    nonzero = square != 0
    return p.where(nonzero, e.sqrt(p.where(nonzero, square, 1 + 0 * square)), 0 * square)


# --- activations --------------------------------------------------------------------------------


def _largest_entry(x: Any, axis: Axis) -> Any:
    largest = np.max(x.real, axis=axis, keepdims=True, initial=-np.inf)
    return np.where(np.isfinite(largest), largest, 0).astype(x.real.dtype)


# Constants, having no rules, that `x` can be shifted by without changing the result, only the
# rounding. They are operations so that whoever watches a recording sees that they depend on x.
_largest = primitive("largest", _largest_entry)
_half_size = primitive("half size", lambda x: np.abs(np.real(x)) / 2)


@_operation
def logsumexp(x: Any, axis: Axis = -1, keepdims: bool = False) -> Any:
    """``log(sum(exp(x)))`` over `axis` without overflow.

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
    shift = _largest(x, axis=axis)
    result = p.log(sum(e.exp(x - shift), axis, keepdims=True)) + shift
    return result if keepdims else sum(result, axis)


@_operation
def log_softmax(x: Any, axis: int = -1) -> Any:
    """``log(softmax(x))`` without overflow or underflow.

    Parameters
    ----------
    x : Tensor or array
    axis : int, default -1
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
    shifted = x - _largest(x, axis=axis)
    return shifted - p.log(sum(e.exp(shifted), axis, keepdims=True))


@_operation
def softmax(x: Any, axis: int = -1) -> Any:
    """``exp(x)`` divided by its sum over `axis`, without overflow.

    Parameters
    ----------
    x : Tensor or array
    axis : int, default -1
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
    powers = e.exp(x - _largest(x, axis=axis))
    return powers / sum(powers, axis, keepdims=True)


@_operation
def softplus(x: Any) -> Any:
    """``log(1 + exp(x))`` without overflow.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.softplus(tr.Tensor([-1000.0, 1000.0]))
    Tensor([   0., 1000.])
    """
    # log(1 + exp(x)) = x/2 + log(exp(x/2) + exp(-x/2)), shifted by a constant of the size of |x|/2.
    size = _half_size(x)
    half = 0.5 * x
    return half + size + p.log(e.exp(half - size) + e.exp(-half - size))


@_operation
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """`x` where positive, `negative_slope` times `x` elsewhere (the slope at 0 is the latter).

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.leaky_relu(tr.Tensor([-2.0, 3.0]), 0.5)
    Tensor([-1.,  3.])
    """
    return p.where(x > 0, x, negative_slope * x)


@_operation
def elu(x: Any, alpha: float = 1.0) -> Any:
    """`x` where positive, ``alpha * (exp(x) - 1)`` elsewhere (Clevert et al. 2016).

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.elu(tr.Tensor([-1000.0, 3.0]))
    Tensor([-1.,  3.])
    """
    # exp sees no positive number, so that its overflow cannot poison the branch not taken.
    return p.where(x > 0, x, alpha * (e.exp(p.where(x > 0, 0 * x, x)) - 1.0))


@_operation
def gelu(x: Any) -> Any:
    """The Gaussian error linear unit in its tanh form (Hendrycks and Gimpel 2016).

    Equal to ``torch.nn.functional.gelu(x, approximate="tanh")``.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.gelu(tr.Tensor([0.0, 1.0])).data.round(4)
    array([0.    , 0.8412])
    """
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
    return 0.5 * x * (1.0 + e.tanh(inner))


# --- taking apart and rearranging ---------------------------------------------------------------


@_operation
def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """`x` cut along `axis` into equal parts, or before each of the given positions.

    Parameters
    ----------
    x : Tensor or array
    sections : int or sequence of ints
        How many equal parts, or where to cut.
    axis : int, default 0

    Returns
    -------
    list of Tensors, or of arrays if `x` is one

    Raises
    ------
    ValueError
        If the axis does not divide into so many equal parts.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> i, f = tr.split(tr.Tensor([1.0, 2.0, 3.0, 4.0]), 2)
    >>> f
    Tensor([3., 4.])
    """
    length = x.shape[axis]
    if isinstance(sections, int):
        if sections < 1 or length % sections:
            raise ValueError(
                f"cannot split axis {axis} of {x.shape} into {sections} equal parts; "
                f"give the positions to cut at, or a number that divides {length}"
            )
        sections = range(length // sections, length, length // sections) if length else ()
    cuts = (0, *sections, length)
    return [p.take.apply((x,), part) for part in _parts(axis % x.ndim, cuts)]


@functools.lru_cache(maxsize=256)  # a cell splits alike at every step: its slices are shared
def _parts(axis: int, cuts: tuple[int, ...]) -> list[dict[str, Any]]:
    before = (slice(None),) * axis
    return [{"key": (*before, slice(a, b)), "repeats": False} for a, b in itertools.pairwise(cuts)]


@_operation
def take_along_axis(x: Any, indices: Any, axis: int) -> Any:
    """The entries that `indices` (of x's number of axes) points at along `axis`.

    Parameters
    ----------
    x : Tensor or array
    indices : array of ints
        Of x's number of axes.
    axis : int

    Returns
    -------
    Tensor of the shape of `indices`, or array if `x` is one

    Raises
    ------
    ValueError
        If `indices` has another number of axes than `x`.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> import numpy as np
    >>> scores = tr.Tensor([[0.1, 0.9], [0.8, 0.2]])
    >>> tr.take_along_axis(scores, np.array([[1], [0]]), axis=1)
    Tensor([[0.9],
            [0.8]])
    """
    indices = np.asarray(indices.data if isinstance(indices, Tensor) else indices)
    if indices.ndim != x.ndim:
        raise ValueError(
            f"take_along_axis needs indices with {x.ndim} axes for an input of shape {x.shape}, "
            f"but they have shape {indices.shape}"
        )
    key = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
    key[axis] = indices
    return p.getitem(x, tuple(key))


@_operation
def flip(x: Any, axis: Axis = None) -> Any:
    """`x` in reverse order along `axis`, along every axis by default.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.flip(tr.Tensor([1.0, 2.0]))
    Tensor([2., 1.])
    """
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    flipped = {a % x.ndim for a in axes}
    return p.getitem(x, tuple(slice(None, None, -1 if a in flipped else 1) for a in range(x.ndim)))


@_operation
def roll(x: Any, shift: int, axis: int | None = None) -> Any:
    """`x` moved by `shift` places along `axis`, what falls off coming in again at the other end.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.roll(tr.Tensor([1.0, 2.0, 3.0]), 1)
    Tensor([3., 1., 2.])
    """
    if axis is None:
        return reshape(roll(reshape(x, -1), shift, 0), x.shape)
    places = (np.arange(x.shape[axis]) - shift) % x.shape[axis] if x.shape[axis] else []
    return p.getitem(x, ((slice(None),) * (axis % x.ndim)) + (places,))


@_operation
def pad(x: Any, pad_width: Sequence[tuple[int, int]]) -> Any:
    """`x` with zeros around it: ``(before, after)`` for each axis.

    Parameters
    ----------
    x : Tensor or array
    pad_width : sequence of pairs of ints
        One pair for each axis.

    Returns
    -------
    Tensor, or array if `x` is one

    Raises
    ------
    ValueError
        If there is not one pair for each axis.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.pad(tr.Tensor([1.0, 2.0]), [(1, 0)])
    Tensor([0., 1., 2.])
    """
    inside = tuple(slice(a, a + n) for (a, _), n in zip(pad_width, x.shape, strict=True))
    shape = tuple(a + n + b for (a, b), n in zip(pad_width, x.shape, strict=True))
    return p.scatter(x, key=inside, repeats=False, shape=shape)


# --- products -----------------------------------------------------------------------------------


@_operation
def outer(a: Any, b: Any) -> Any:
    """All products of an entry of `a` with an entry of `b`, both flattened.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.outer(tr.Tensor([1.0, 2.0]), tr.Tensor([3.0, 4.0]))
    Tensor([[3., 4.],
            [6., 8.]])
    """
    return reshape(a, -1, 1) * reshape(b, 1, -1)


@_operation
def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein summation of one or two operands without repeated letters: one matrix product.

    Parameters
    ----------
    subscripts : str
        Such as ``"tbi,ih->tbh"``, with the output written out.
    *operands : Tensor or array

    Raises
    ------
    ValueError
        For what does not reduce to a matrix product: more than two operands, a letter twice in
        one operand, an ellipsis, no ``->``.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> a = tr.Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> tr.einsum("ij,kj->ik", a, a)
    Tensor([[ 5., 11.],
            [11., 25.]])
    """
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    fits = len(terms) == len(operands) <= 2 and all(
        len(set(term)) == len(term) == x.ndim and term.isalpha()
        for term, x in zip(terms, operands, strict=False) if term or x.ndim
    )  # fmt: skip
    if not (arrow and fits and set(output) <= set(inputs) and len(set(output)) == len(output)):
        raise ValueError(
            f"einsum {subscripts!r} of shapes {[np.shape(x) for x in operands]}: expected one or "
            f"two operands, one letter an axis, none twice in an operand, the output after ->"
        )
    if len(terms) == 1:
        terms, operands = [terms[0], ""], (operands[0], np.ones((), operands[0].dtype))
    (left, right), (a, b) = terms, operands
    batch = [s for s in left if s in right and s in output]
    inner = [s for s in left if s in right and s not in output]
    rows = [s for s in left if s not in right and s in output]
    columns = [s for s in right if s not in left and s in output]
    size = dict(zip(left, a.shape, strict=True)) | dict(zip(right, b.shape, strict=True))
    a = _arranged(a, left, batch + rows + inner)
    b = _arranged(b, right, batch + inner + columns)
    n, i, j, k = (math.prod(size[s] for s in part) for part in (batch, rows, inner, columns))
    product = p.matmul(reshape(a, n, i, j), reshape(b, n, j, k))
    found = batch + rows + columns
    return transpose(
        reshape(product, tuple(size[s] for s in found)), [found.index(s) for s in output]
    )


def _arranged(x: Any, letters: str, wanted: list[str]) -> Any:
    """`x` summed over the letters not wanted, its axes in the order of those that are."""
    left_out = tuple(i for i, s in enumerate(letters) if s not in wanted)
    if left_out:
        x = sum(x, left_out)
    kept = [s for s in letters if s in wanted]
    return transpose(x, [kept.index(s) for s in wanted])
