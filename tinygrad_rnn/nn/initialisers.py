"""Initial values for parameters, drawn from an explicit random generator."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..engine import Array, Tensor

__all__ = ["Seed", "glorot", "he", "identity", "orthogonal", "parameter", "uniform"]

# A generator to draw from, a seed for one, or None for a fresh one.
Seed: TypeAlias = np.random.Generator | int | None


def parameter(array: Any, dtype: npt.DTypeLike = np.float64) -> Tensor:
    """A tensor to be trained: of floating dtype, requiring a gradient.

    Parameters
    ----------
    array : array_like
    dtype : dtype, default float64

    Returns
    -------
    Tensor of the array's shape, a copy of it

    Raises
    ------
    TypeError
        If `dtype` is not a floating one.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.nn.parameter([1, 2])
    Tensor([1., 2.], requires_grad=True)
    """
    return Tensor(np.array(array, dtype=dtype, order="C"), requires_grad=True)


def uniform(rng: np.random.Generator, shape: tuple[int, ...], bound: float) -> Array:
    """Numbers between -bound and bound; with ``bound = fan_in ** -0.5``, PyTorch's default.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of ints
    bound : float

    Returns
    -------
    ndarray of that shape, float64

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> w = tr.nn.uniform(np.random.default_rng(0), (2, 3), 0.5)
    >>> w.shape, bool(abs(w).max() < 0.5)
    ((2, 3), True)
    """
    return rng.uniform(-bound, bound, shape)


def glorot(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Uniform with variance 2 / (fan in + fan out) (Glorot and Bengio 2010).

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : pair of ints
        (fan in, fan out): weights multiply from the right.

    Returns
    -------
    ndarray of that shape, float64

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> bool(abs(tr.nn.glorot(np.random.default_rng(0), (2, 4))).max() < 1)
    True
    """
    return uniform(rng, shape, (6 / sum(shape)) ** 0.5)


def he(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Normal with variance 2 / fan in, for ReLU (He, Zhang, Ren and Sun 2015).

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : pair of ints
        (fan in, fan out): weights multiply from the right.

    Returns
    -------
    ndarray of that shape, float64

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> round(float(tr.nn.he(np.random.default_rng(0), (100, 100)).var()), 2)
    0.02
    """
    found: Array = rng.standard_normal(shape) * (2 / shape[0]) ** 0.5
    return found


def orthogonal(rng: np.random.Generator, shape: tuple[int, int], gain: float = 1.0) -> Array:
    """Rows or columns orthonormal, times `gain` (Saxe, McClelland and Ganguli 2014).

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : pair of ints
    gain : float, default 1

    Returns
    -------
    ndarray of that shape, float64

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> Q = tr.nn.orthogonal(np.random.default_rng(0), (3, 3))
    >>> bool(np.allclose(Q @ Q.T, np.eye(3)))
    True
    """
    q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
    q = q * np.sign(np.diag(r))  # without this Q would not be uniform over the rotations
    return np.ascontiguousarray(gain * (q if shape[0] >= shape[1] else q.T))


def identity(shape: tuple[int, int], scale: float = 1.0) -> Array:
    """The identity, times `scale`: recurrent weights of ReLU nets (IRNN; Le, Jaitly, Hinton 2015).

    Parameters
    ----------
    shape : pair of ints
    scale : float, default 1

    Returns
    -------
    ndarray of that shape, float64

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> cell = tr.nn.ElmanCell(2, 3, nonlinearity="relu", rng=0)
    >>> cell.W_hh.data = tr.nn.identity((3, 3))
    >>> cell.W_hh.data.trace().item()
    3.0
    """
    found: Array = scale * np.eye(*shape)
    return found
