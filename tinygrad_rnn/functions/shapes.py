"""Operations that rearrange, select and join entries: what they compute, NumPy does by indexing.

Composed of reshape, transpose, broadcast_to, concatenate, stack, and the entries at a key; none has
a derivative of its own. Names and arguments are NumPy's.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..engine import primitives as p
from ..engine.tensor import Tensor, located, operations

__all__ = [
    "concatenate", "expand_dims", "flatten", "flip", "moveaxis", "pad", "ravel", "repeat",
    "reshape", "roll", "split", "squeeze", "stack", "swapaxes", "take_along_axis", "tile",
    "transpose",
]  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])


def operation(function: F) -> F:
    """Make `function` a method of tensors; take numbers and lists; say where an error arose."""

    @functools.wraps(function)
    def of_anything(x: Any, /, *args: Any, **kwargs: Any) -> Any:
        x = x if isinstance(x, Tensor) else np.asarray(x)
        try:
            return function(x, *args, **kwargs)
        except (ValueError, TypeError, IndexError) as error:
            if error.__suppress_context__:  # it comes from a primitive, which has named it
                raise
            raise located(error, function.__name__, [x]) from None

    operations[function.__name__] = of_anything
    return of_anything  # type: ignore[return-value]


# --- shapes -------------------------------------------------------------------------------------


def _listed(lengths: tuple[Any, ...]) -> tuple[Any, ...]:
    """What was given one by one, or as one sequence."""
    return tuple(lengths[0]) if len(lengths) == 1 and np.iterable(lengths[0]) else lengths


@operation
def reshape(x: Any, *shape: Any) -> Any:
    """`x` in another shape; one length may be -1. Takes a tuple or the lengths one by one.

    Parameters
    ----------
    x : Tensor or array_like
    *shape : ints, or one sequence of them

    Returns
    -------
    Tensor of that shape, or array if `x` is none

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
    return p.reshape(x, shape=_listed(shape))


@operation
def ravel(x: Any) -> Any:
    """The entries of `x` in one row, the last axis running fastest; also known as `flatten`.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.Tensor([[1.0, 2.0], [3.0, 4.0]]).ravel()
    Tensor([1., 2., 3., 4.])
    """
    return p.reshape(x, shape=(-1,))


operations["flatten"] = flatten = ravel


@operation
def squeeze(x: Any, axis: p.Axis = None) -> Any:
    """`x` without its axes of length 1, or without those that `axis` names.

    Parameters
    ----------
    x : Tensor or array_like
    axis : int, tuple of ints or None
        All axes of length 1 by default.

    Returns
    -------
    Tensor, or array if `x` is none

    Raises
    ------
    ValueError
        If an axis named has another length.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.squeeze(tr.Tensor([[[1.0], [2.0]]]), 0).shape
    (2, 1)
    """
    gone = p.axes_of(x, axis)
    if axis is None:
        gone = tuple(a for a in gone if x.shape[a] == 1)
    if any(x.shape[a] != 1 for a in gone):
        raise ValueError(f"axis {axis} is longer than 1")
    return p.reshape(x, shape=tuple(n for a, n in enumerate(x.shape) if a not in gone))


@operation
def expand_dims(x: Any, axis: int | tuple[int, ...]) -> Any:
    """`x` with new axes of length 1, at the places that `axis` names in the result.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.expand_dims(tr.Tensor([1.0, 2.0]), (0, -1)).shape
    (1, 2, 1)
    """
    rank = x.ndim + np.size(axis)
    new, old = normalize_axis_tuple(axis, rank), iter(x.shape)
    return p.reshape(x, shape=tuple(1 if a in new else next(old) for a in range(rank)))


@operation
def transpose(x: Any, *each: Any, axes: Sequence[int] | None = None) -> Any:
    """`x` with its axes in another order, reversed by default.

    Parameters
    ----------
    x : Tensor or array_like
    *each : ints, or one sequence of them, optional
        Where each axis of the result comes from.
    axes : sequence of ints, optional
        The same, by NumPy's name.

    Returns
    -------
    Tensor, or array if `x` is none

    Raises
    ------
    ValueError
        If these are not x's axes, each once.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([[[1.0, 2.0]]])
    >>> x.transpose(2, 0, 1).shape, tr.transpose(x, (2, 0, 1)).shape
    ((2, 1, 1), (2, 1, 1))
    """
    order = _listed(each) or axes
    return p.transpose(x) if order in (None, (None,)) else p.transpose(x, axes=tuple(order))


@operation
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """`x` with two axes exchanged.

    Parameters
    ----------
    x : Tensor or array_like
    axis1, axis2 : int

    Returns
    -------
    Tensor, or array if `x` is none

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.swapaxes(tr.Tensor([[[1.0, 2.0]]]), 0, 2).shape
    (2, 1, 1)
    """
    return p.transpose(x, axes=np.swapaxes(_numbered(x), axis1, axis2).shape)


@operation
def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """`x` with axes moved to other places, the rest staying in order.

    Parameters
    ----------
    x : Tensor or array_like
    source, destination : int or sequence of ints
        Which axes, and where each of them goes.

    Returns
    -------
    Tensor, or array if `x` is none

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> batch_first = tr.Tensor([[[1.0, 2.0]] * 3])
    >>> tr.moveaxis(batch_first, 0, 1).shape
    (3, 1, 2)
    """
    return p.transpose(x, axes=np.moveaxis(_numbered(x), source, destination).shape)


def _numbered(x: Any) -> Any:
    """An empty array, each axis as long as its number: NumPy moves its axes, and checks how."""
    return np.empty(range(x.ndim))


# --- joining and taking apart -------------------------------------------------------------------


def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Any:
    """Tensors joined along an axis they have.

    Parameters
    ----------
    arrays : sequence of Tensors or arrays
        Alike in every length but that of `axis`.
    axis : int or None, default 0
        None joins all entries in one row.

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
    if axis is None:
        arrays, axis = [ravel(x) for x in arrays], 0
    return p.concatenate(*arrays, axis=axis)


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


operations.update(concatenate=concatenate, stack=stack)


@operation
def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """`x` cut along `axis` into equal parts, or before each of the given positions.

    Parameters
    ----------
    x : Tensor or array_like
    sections : int or sequence of ints
        How many equal parts, or where to cut.
    axis : int, default 0

    Returns
    -------
    list of Tensors, or of arrays if `x` is none

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
    if not np.iterable(sections):
        if sections < 1 or length % sections:
            raise ValueError(
                f"axis {axis} has no {sections} equal parts; give the positions to cut at, "
                f"or a number that divides {length}"
            )
        part = length // sections
        sections = [part * i for i in range(1, sections)]
    return [p.take.apply((x,), part) for part in _parts(axis % x.ndim, (0, *sections, length))]


@functools.lru_cache(maxsize=256)  # a cell splits alike at every step: its slices are shared
def _parts(axis: int, cuts: tuple[int, ...]) -> list[dict[str, Any]]:
    return [
        {"key": _along(axis, slice(a, b)), "repeats": False} for a, b in itertools.pairwise(cuts)
    ]


# --- entries ------------------------------------------------------------------------------------


def _along(axis: int, entries: Any) -> tuple[Any, ...]:
    """The key of these entries along `axis`, which counts from the first one."""
    return (slice(None),) * axis + (entries,)


@operation
def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Any:
    """The entries that `indices` points at along `axis`.

    Parameters
    ----------
    x : Tensor or array_like
    indices : array of ints
        Of x's number of axes; along the others, its lengths and x's broadcast.
    axis : int or None, default -1
        None counts through all entries in a row.

    Returns
    -------
    Tensor, or array if `x` is none
        Of the shape of `indices`, broadcast.

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
    if axis is None:
        x, indices, axis = ravel(x), ravel(indices), 0
    indices = np.asarray(indices.data if isinstance(indices, Tensor) else indices)
    if indices.ndim != x.ndim:
        raise ValueError(
            f"expected indices with {x.ndim} axes, but they have shape {indices.shape}"
        )
    key = list(np.ogrid[tuple(slice(n) for n in x.shape)])
    key[normalize_axis_tuple(axis, x.ndim)[0]] = indices
    return p.getitem(x, tuple(key))


@operation
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each entry along `axis` several times in a row.

    Parameters
    ----------
    x : Tensor or array_like
    repeats : int, or one for each entry
        How many times.
    axis : int or None
        All entries in one row by default.

    Returns
    -------
    Tensor, or array if `x` is none

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.repeat(tr.Tensor([1.0, 2.0]), 2)
    Tensor([1., 1., 2., 2.])
    """
    if axis is None:
        x, axis = ravel(x), 0
    (axis,) = normalize_axis_tuple(axis, x.ndim)
    return p.getitem(x, _along(axis, np.repeat(np.arange(x.shape[axis]), repeats)))


@operation
def tile(x: Any, reps: int | Sequence[int]) -> Any:
    """`x` as a whole several times over, along each axis.

    Parameters
    ----------
    x : Tensor or array_like
    reps : int or sequence of ints
        How many times, for the last axes; more of them than `x` has make new axes.

    Returns
    -------
    Tensor, or array if `x` is none

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.tile(tr.Tensor([1.0, 2.0]), (2, 2))
    Tensor([[1., 2., 1., 2.],
            [1., 2., 1., 2.]])
    """
    times = _listed((reps,))
    times, lengths = (1,) * (x.ndim - len(times)) + times, (1,) * (len(times) - x.ndim) + x.shape
    x = p.reshape(x, shape=tuple(n for length in lengths for n in (1, length)))
    x = p.broadcast_to(x, shape=tuple(itertools.chain(*zip(times, lengths, strict=True))))
    return p.reshape(x, shape=tuple(r * n for r, n in zip(times, lengths, strict=True)))


@operation
def flip(x: Any, axis: p.Axis = None) -> Any:
    """`x` in reverse order along `axis`, along every axis by default.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.flip(tr.Tensor([1.0, 2.0]))
    Tensor([2., 1.])
    """
    flipped = p.axes_of(x, axis)
    return p.getitem(x, tuple(slice(None, None, -1 if a in flipped else 1) for a in range(x.ndim)))


@operation
def roll(x: Any, shift: int | Sequence[int], axis: p.Axis = None) -> Any:
    """`x` moved by `shift` places along `axis`, and entries shifted out come in at the other end.

    Parameters
    ----------
    x : Tensor or array_like
    shift : int, or one for each axis
    axis : int, tuple of ints or None
        All entries in one row by default.

    Returns
    -------
    Tensor, or array if `x` is none

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.roll(tr.Tensor([1.0, 2.0, 3.0]), 1)
    Tensor([3., 1., 2.])
    """
    if axis is None:
        return p.reshape(roll(ravel(x), shift, 0), shape=x.shape)
    for by, a in np.broadcast(shift, axis):
        (a,) = normalize_axis_tuple(a, x.ndim)
        x = p.getitem(x, _along(a, np.roll(np.arange(x.shape[a]), by)))
    return x


@operation
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: float = 0.0) -> Any:
    """`x` with more entries around it, all alike or such as `x` has at its edges.

    Parameters
    ----------
    x : Tensor or array_like
    pad_width : int, pair of ints, or one pair for each axis
        How many before and after.
    mode : str, default "constant"
        "edge" for the nearest entry, "reflect" and "symmetric" for a mirror image without and with
        the edge, "wrap" for what stands at the other end.
    constant_values : float, default 0
        What stands around `x` in mode "constant".

    Returns
    -------
    Tensor, or array if `x` is none

    Raises
    ------
    ValueError
        If there is not one pair for each axis, one is negative, or NumPy knows no such mode.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.pad(tr.Tensor([1.0, 2.0]), (1, 0))
    Tensor([0., 1., 2.])
    >>> tr.pad(tr.Tensor([1.0, 2.0, 3.0]), (0, 2), mode="reflect")
    Tensor([1., 2., 3., 2., 1.])
    """
    widths = np.broadcast_to(pad_width, (x.ndim, 2)).tolist()
    if np.min(widths, initial=0) < 0:
        raise ValueError(f"pad_width {pad_width} is negative; take a slice instead")
    if mode != "constant":
        for axis, width in enumerate(widths):
            x = p.getitem(x, _along(axis, np.pad(np.arange(x.shape[axis]), width, mode)))  # type: ignore[call-overload]
        return x
    inside = tuple(slice(a, a + n) for (a, _), n in zip(widths, x.shape, strict=True))
    shape = tuple(a + n + b for (a, b), n in zip(widths, x.shape, strict=True))
    padded = p.scatter(x, key=inside, repeats=False, shape=shape)
    if constant_values:
        within = p.scatter(np.ones(x.shape, bool), key=inside, repeats=False, shape=shape)
        padded = p.where(within, padded, np.asarray(constant_values, x.dtype))
    return padded
