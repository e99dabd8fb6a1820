"""Layers around the recurrence: `Linear` and `Embedding`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import Tensor, where
from .initialisers import Seed, parameter, uniform
from .module import Module

__all__ = ["Embedding", "Linear"]


class Linear(Module):
    """``y = x W + b``.

    Parameters
    ----------
    input_size, output_size : int
    bias : bool, default True
    rng : numpy.random.Generator, int or None
        The initial values are uniform within ±1/√input_size, as in PyTorch.
    dtype : dtype, default float64

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> tr.nn.Linear(3, 2, rng=0)(np.ones((4, 3))).shape
    (4, 2)
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        bias: bool = True,
        rng: Seed = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        generator = np.random.default_rng(rng)
        bound = input_size**-0.5
        self.W = parameter(uniform(generator, (input_size, output_size), bound), dtype)
        self.b = parameter(uniform(generator, (output_size,), bound), dtype) if bias else None

    def __call__(self, x: Any) -> Tensor:
        """Map the last axis of `x` from input_size to output_size."""
        y: Tensor = x @ self.W
        return y if self.b is None else y + self.b


class Embedding(Module):
    """A table of vectors, one row for each word.

    The gradient is added row by row for the words that were looked up: repeated words add up, and
    no step makes a dense pass over the vocabulary.

    Parameters
    ----------
    vocabulary_size, size : int
        The number of rows, and of entries in each.
    padding_idx : int, optional
        The word used for padding: its row starts at zero and gets no gradient.
    scale : float, default 1
        Standard deviation of the initial values, which are normal: 1 as in PyTorch. A tagger whose
        words are mostly rare learns them better from a smaller start, such as 0.1.
    rng : numpy.random.Generator, int or None
    dtype : dtype, default float64

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> table = tr.nn.Embedding(10, 4, rng=0)
    >>> vectors = table([[1, 1], [7, 0]])
    >>> vectors.sum().backward()
    >>> table.W.grad[[0, 1, 2]].sum(axis=1)
    array([4., 8., 0.])
    """

    def __init__(
        self,
        vocabulary_size: int,
        size: int,
        padding_idx: int | None = None,
        scale: float = 1.0,
        rng: Seed = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        start = scale * np.random.default_rng(rng).standard_normal((vocabulary_size, size))
        if padding_idx is not None:
            start[padding_idx] = 0.0
            padding_idx %= vocabulary_size
        self.W = parameter(start, dtype)
        self.padding_idx = padding_idx

    def __call__(self, words: Any) -> Tensor:
        """The vectors of an integer array of any shape (...), as (..., size)."""
        words = np.asarray(words)
        if words.dtype.kind not in "iu":
            raise TypeError(f"Embedding looks up integers, but was given {words.dtype}")
        if words.size and (words.min() < 0 or words.max() >= self.W.shape[0]):
            raise IndexError(
                f"Embedding was given words from {words.min()} to {words.max()}, but its table has "
                f"{self.W.shape[0]} rows; map unknown words to a row kept for them"
            )
        vectors = self.W[words]
        if self.padding_idx is not None:  # the same value, as a constant
            is_padding = (words == self.padding_idx)[..., None]
            vectors = where(is_padding, self.W.data[self.padding_idx], vectors)
        return vectors
