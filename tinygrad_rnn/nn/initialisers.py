"""Starting values for parameters, drawn from an explicit random generator."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..engine import Array, Tensor

__all__ = ["Seed", "parameter", "uniform"]

# What makes a generator: one to go on with, a seed, or None for a fresh one.
Seed: TypeAlias = np.random.Generator | int | None


def parameter(array: Any, dtype: npt.DTypeLike = np.float64) -> Tensor:
    """A tensor to be trained: of floating dtype, requiring a gradient."""
    return Tensor(array, requires_grad=True, dtype=dtype)


def uniform(rng: np.random.Generator, shape: tuple[int, ...], bound: float) -> Array:
    """Numbers between -bound and bound; with ``bound = fan_in ** -0.5``, PyTorch's default.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> w = tr.nn.uniform(np.random.default_rng(0), (2, 3), 0.5)
    >>> w.shape, bool(abs(w).max() < 0.5)
    ((2, 3), True)
    """
    return rng.uniform(-bound, bound, shape)
