"""Batches of sequences of unequal lengths: which go together, and how they are padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..engine import Array

__all__ = ["batches", "pad"]


def pad(sequences: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    """Numbers of several sequences as one array, time first, and their lengths.

    Returns
    -------
    padded : integer array (T, B)
        Zero past a sequence's end.
    lengths : integer array (B,)

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.train.pad([[5, 6, 7], [8]])
    (array([[5, 8],
           [6, 0],
           [7, 0]]), array([3, 1]))
    """
    lengths = np.array([len(sequence) for sequence in sequences])
    padded = np.zeros((lengths.max(), len(sequences)), np.int64)
    for b, sequence in enumerate(sequences):
        padded[: len(sequence), b] = sequence
    return padded, lengths


def batches(
    lengths: Sequence[int], size: int, rng: np.random.Generator | None = None
) -> Iterator[Array]:
    """Group sequences of similar length, so that a batch contains little padding.

    Parameters
    ----------
    lengths : sequence of int
    size : int
        Sequences in a batch.
    rng : numpy.random.Generator, optional
        Shuffles sequences of equal length and the order of the batches. Words within a sequence
        stay in order, always.

    Yields
    ------
    integer array
        Which sequences form a batch.

    Raises
    ------
    ValueError
        If a batch is to hold less than one sequence.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> [list(map(int, b)) for b in tr.train.batches([9, 2, 8, 3], 2)]
    [[1, 3], [2, 0]]
    """
    if size < 1:
        raise ValueError(f"batches was asked for batches of {size} sequences; expected 1 or more")
    ties = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    order = np.lexsort((ties, np.asarray(lengths)))
    starts = np.arange(0, len(order), size)
    for start in starts if rng is None else rng.permutation(starts):
        yield order[start : start + size]
