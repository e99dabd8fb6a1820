"""Where our tensors stand in PyTorch's storages: one way for views and for in-place operations.

PyTorch's tensors are places in storages: an offset, a shape and strides. For each entry of a
storage we keep which of our tensors it comes from. Writing renames the entries of a place. What is
read is that tensor itself, or a part of it, put as a reader would: by reshaping, slicing and
transposing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine import Array, Tensor
from ..engine import primitives as p
from ..functions import concatenate

__all__ = ["Storage"]


class Storage:
    """The pieces that a storage's entries come from, numbered through."""

    def __init__(self, theirs: Any) -> None:
        self.keep = theirs.untyped_storage()  # alive: its address is our key
        self.source = np.full(self.keep.nbytes() // theirs.element_size(), -1)
        self.pieces: list[Tensor] = []
        self.ends = [0]
        self.plain = False  # one piece, in its own order: sources are not kept

    def _at(self, theirs: Any) -> Array:
        """The entries' sources, at the place of one of PyTorch's tensors."""
        if self.plain:
            self.plain, self.source = False, self.ends[0] + np.arange(len(self.source))
        strides = tuple(self.source.itemsize * n for n in theirs.stride())
        begin = self.source[theirs.storage_offset() :]
        return np.lib.stride_tricks.as_strided(begin, tuple(theirs.shape), strides)

    def write(self, theirs: Any, mine: Tensor, everywhere: bool = True) -> None:
        """From now on `mine` stands at a place, or at those of its entries that nobody wrote."""
        end, size = self.ends[-1], len(self.source)
        if mine.size == size and theirs.is_contiguous() and everywhere:
            self.plain, self.pieces, self.ends = True, [mine], [end, end + size]
            return
        place = self._at(theirs)
        numbers = end + np.arange(mine.size).reshape(mine.shape)
        place[...] = numbers if everywhere else np.where(place < 0, numbers, place)
        self.pieces.append(mine)
        self.ends.append(end + mine.size)

    def read(self, theirs: Any) -> Tensor | None:
        """What stands at a place; None if some of it was never written."""
        if self.plain:
            offset, strides, shape = theirs.storage_offset(), theirs.stride(), tuple(theirs.shape)
            found = _strided(self.pieces[0], offset, strides, shape)
            if found is not None:
                return found
        wanted = self._at(theirs)
        if not wanted.size or wanted.min() < 0:
            return None
        owners = np.searchsorted(self.ends, wanted, side="right") - 1
        first = owners.flat[0]
        used = np.array([first]) if (owners == first).all() else np.unique(owners)
        pieces = [self.pieces[k] for k in used]
        shift = np.cumsum([0, *(x.size for x in pieces[:-1])]) - np.take(self.ends, used)
        whole = pieces[0] if len(pieces) == 1 else concatenate([x.reshape(-1) for x in pieces])
        return _part(whole, wanted + shift[np.searchsorted(used, owners)])


def _part(x: Tensor, entries: Array) -> Tensor:
    """``x.reshape(-1)[entries]``, without picking the entries one by one if that can be."""
    offset = int(entries.flat[0])
    strides = [
        int(entries.take(1, k).flat[0]) - offset if n > 1 else 0
        for k, n in enumerate(entries.shape)
    ]
    regular = np.array(offset)
    for stride, n in zip(strides, entries.shape, strict=True):
        regular = regular[..., None] + stride * np.arange(n)
    found = _strided(x, offset, strides, entries.shape) if (regular == entries).all() else None
    picked: Tensor = x.reshape(-1)[entries] if found is None else found
    return picked


def _strided(
    x: Tensor, offset: int, strides: Sequence[int], shape: tuple[int, ...]
) -> Tensor | None:
    """A part of `x` by offset and strides, if it can be sliced out of it."""
    strides = [stride if n > 1 else 0 for stride, n in zip(strides, shape, strict=True)]
    own = [math.prod(x.shape[k + 1 :]) for k in range(x.ndim)]
    empty_or_back = 0 in shape or min(strides, default=0) < 0
    for cuts in ({*own, *strides, 1}, {*strides, 1}) if not empty_or_back else ():
        found = _sliced(x, sorted(cuts - {0}, reverse=True), offset, strides, shape)
        if found is not None:
            return found
    return None


def _sliced(
    x: Tensor, cuts: Sequence[int], offset: int, strides: Sequence[int], shape: tuple[int, ...]
) -> Tensor | None:
    """A part of `x` if, with `x` cut into axes of some strides, each of its axes is in one."""
    around = [*itertools.pairwise([x.size, *cuts])]
    sizes = tuple(a // b for a, b in around)
    starts = [offset % a // b for a, b in around]
    lengths = {stride: n for stride, n in zip(strides, shape, strict=True) if stride}
    stops = [start + lengths.get(cut, 1) for start, cut in zip(starts, cuts, strict=True)]
    fits = all(stop <= size for stop, size in zip(stops, sizes, strict=True))
    if any(a % b for a, b in around) or not fits or len(lengths) < np.count_nonzero(strides):
        return None
    kept = [cut for cut in cuts if cut in lengths]
    axes = [kept.index(stride) for stride in strides if stride]
    ordered = tuple(n if stride else 1 for stride, n in zip(strides, shape, strict=True))
    if math.prod(ordered) < x.size or axes != sorted(axes):
        key = tuple(
            a if cut not in lengths else slice(None) if b - a == size else slice(a, b)
            for a, b, cut, size in zip(starts, stops, cuts, sizes, strict=True)
        )
        x = x if x.shape == sizes else x.reshape(sizes)
        x = x if key == (slice(None),) * len(key) else x[key]
        x = x if axes == sorted(axes) else p.transpose(x, axes=axes)
    x = x if x.shape == ordered else x.reshape(ordered)
    return x if ordered == shape else p.broadcast_to(x, shape)
