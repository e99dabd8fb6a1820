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

from ..engine import primitives as p
from ..engine.tensor import Tensor, located, methods

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

    methods(**{function.__name__: of_anything})
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


flatten = ravel
methods(flatten=flatten)


def _hollow(x: Any) -> Any:
    """An array of the shape of `x` without its memory, for NumPy to work out shapes on."""
    return np.broadcast_to(False, x.shape)


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
    return p.reshape(x, shape=np.squeeze(_hollow(x), axis).shape)


@operation
def expand_dims(x: Any, axis: int | tuple[int, ...]) -> Any:
    """`x` with new axes of length 1, at the places that `axis` names in the result.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.expand_dims(tr.Tensor([1.0, 2.0]), (0, -1)).shape
    (1, 2, 1)
    """
    return p.reshape(x, shape=np.expand_dims(_hollow(x), axis).shape)


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


methods(concatenate=concatenate, stack=stack)


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
        {"key": (*[slice(None)] * axis, slice(a, b)), "repeats": False}
        for a, b in itertools.pairwise(cuts)
    ]


# --- entries ------------------------------------------------------------------------------------


def _places(x: Any) -> Any:
    """The entries of `x` numbered, for NumPy to rearrange: the result says which stands where."""
    return np.arange(x.size).reshape(x.shape)


def _gather(x: Any, places: Any) -> Any:
    return p.getitem(ravel(x), places)


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
    indices = np.asarray(indices.data if isinstance(indices, Tensor) else indices)
    indices = indices.ravel() if axis is None else indices
    return _gather(x, np.take_along_axis(_places(x), indices, axis))


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
    return _gather(x, np.repeat(_places(x), repeats, axis))


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
    return _gather(x, np.tile(_places(x), reps))


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
    return _gather(x, np.roll(_places(x), shift, axis))


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
    if mode != "constant":
        return _gather(x, np.pad(_places(x), pad_width, mode))  # type: ignore[call-overload]
    # The constant is one more entry, which all places outside share.
    constant = np.full(1, constant_values, x.dtype)
    places = np.pad(_places(x), pad_width, constant_values=x.size)
    return _gather(p.concatenate(ravel(x), constant, axis=0), places)
