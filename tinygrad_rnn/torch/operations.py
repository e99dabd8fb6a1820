"""The table: PyTorch's ATen operations beside what they are here.

An entry is called with the operation's own arguments, every tensor replaced by ours, and returns
what PyTorch returns; of several outputs only the first ones that carry a gradient. In-place and
``out=`` variants use the entry of the operation they are variants of, and what carries no gradient
(dropout's mask, ``zeros``, ``argmax``) is taken as PyTorch computed it, so neither needs an entry.
What is not here is decomposed as PyTorch itself would decompose it. Add your own::

    from tinygrad_rnn.torch import TABLE
    TABLE["sinh"] = lambda x: (tr.exp(x) - tr.exp(-x)) / 2.0
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import functions as f
from ..engine import Tensor
from ..engine import primitives as p

__all__ = ["CONSTANT", "TABLE"]

Axes = Any  # an int, a list of ints, or None


def _axes(dim: Axes) -> Any:
    """All axes if none are named: PyTorch also says it by an empty list."""
    return None if dim is None or dim == [] else tuple(dim) if isinstance(dim, list) else dim


def _at(x: Tensor, dim: int, part: Any) -> Any:
    """`x` with one part of a key at axis `dim`."""
    return x[(slice(None),) * (dim % x.ndim) + (part,)]


def _ones(x: Tensor, dim: Axes) -> tuple[int, ...]:
    """Those of some axes that have one entry."""
    axes = range(x.ndim) if dim is None else dim if isinstance(dim, list) else [dim]
    return tuple(axis for axis in axes if x.shape[axis] == 1)


def _expanded(x: Tensor, shape: Sequence[int]) -> tuple[int, ...]:
    """A shape in which -1 keeps an axis as it is."""
    own = (1,) * (len(shape) - x.ndim) + x.shape
    return tuple(m if n == -1 else n for n, m in zip(shape, own, strict=True))


def _times(x: Any, factor: float) -> Any:
    return x if factor == 1 else x * factor


def _parts(x: Tensor, size: Any, dim: int = 0) -> list[Any]:
    """``split``, by one size or by all."""
    length = x.shape[dim]
    sizes = [size] * -(-length // size) if isinstance(size, int) else size
    ends = np.cumsum(sizes).tolist()
    return [_at(x, dim, slice(b - n, min(b, length))) for b, n in zip(ends, sizes, strict=True)]


def _permuted(x: Tensor, a: int, b: int) -> Any:
    axes = list(range(x.ndim))
    axes[a], axes[b] = axes[b], axes[a]
    return x.transpose(axes=axes) if axes != sorted(axes) else x


def _extreme(which: Callable[..., Any]) -> Callable[..., Any]:
    """``max`` and ``min``: of all entries, or along an axis, where the first extreme one wins."""

    def entry(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
        if dim is None:
            return which(x)
        data = x.data if which is f.max else -x.data
        found = f.take_along_axis(x, np.expand_dims(data.argmax(axis=dim), dim), axis=dim)
        return (found if keepdim else f.squeeze(found, dim),)

    return entry


def _var(x: Tensor, dim: Axes = None, correction: float | None = 1, keepdim: bool = False) -> Any:
    return f.var(x, _axes(dim), 1 if correction is None else correction, keepdim)


def _vector_norm(x: Tensor, ord: float = 2, dim: Axes = None, keepdim: bool = False) -> Any:
    return f.norm(x, _axes(dim), keepdim, ord)


def _layer_norm(x: Tensor, shape: Sequence[int], weight: Any, bias: Any, eps: float) -> Any:
    axes = tuple(range(-len(shape), 0))
    y = (x - f.mean(x, axes, True)) / f.sqrt(f.var(x, axes, 0, True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias,)


def _nll(logp: Tensor, target: Tensor, weight: Any, reduction: int, ignore: int) -> Any:
    """The classes are on axis 1, or on the only one; `reduction` counts none, mean, sum."""
    axis = min(1, logp.ndim - 1)
    counted = target.data != ignore
    classes = np.where(counted, target.data, 0)
    weights = np.ones(counted.shape) if weight is None else weight.data[classes]
    weights = (weights * counted).astype(logp.dtype)
    at = np.expand_dims(classes, axis)
    losses = -f.squeeze(f.take_along_axis(logp, at, axis), axis) * weights
    total = losses if reduction == 0 else losses.sum()
    return (total / float(weights.sum()) if reduction == 1 else total,)


def _packed(x: Tensor, lengths: Tensor, batch_first: bool) -> Any:
    """The steps of sequences sorted by falling length, one after the other, without padding."""
    x = _permuted(x, 0, 1) if batch_first else x
    return (x[np.arange(x.shape[0])[:, None] < lengths.data],)


def _padded(x: Tensor, widths: Sequence[int], value: float = 0.0) -> Any:
    """`widths` has two for each axis, the last axis first."""
    pairs = [*zip(widths[::2], widths[1::2], strict=True)][::-1]
    return f.pad(x, [(0, 0)] * (x.ndim - len(pairs)) + pairs, constant_values=value)


def _set(x: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False) -> Any:
    """``x[indices] = values``, or ``+=``."""
    key = tuple(slice(None) if i is None else i.data for i in indices)
    places = np.zeros(x.shape, bool)
    places[key] = True
    values = p.broadcast_to(values, x.data[key].shape)
    added = p.scatter(values, key=key, repeats=True, shape=x.shape)
    return x + added if accumulate else p.where(places, 0.0, x) + added


# No gradient passes through these, although what they are given may carry one.
CONSTANT = {
    *("fill", "zero", "bernoulli", "uniform", "normal", "sign", "floor", "ceil", "round", "trunc"),
    *("full_like", "zeros_like", "ones_like", "empty_like", "rand_like", "randn_like"),
    *("new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided"),
}

TABLE: dict[str, Callable[..., Any]] = {
    # arithmetic
    "add": lambda x, y, alpha=1: x + _times(y, alpha),
    "sub": lambda x, y, alpha=1: x - _times(y, alpha),
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "neg": lambda x: -x,
    "reciprocal": lambda x: 1.0 / x,
    "pow": lambda x, y: x**y,
    "where": lambda c, x, y: p.where(c, x, y),
    "maximum": lambda x, y: f.maximum(x, y),
    "minimum": lambda x, y: f.minimum(x, y),
    "clamp": lambda x, low=None, high=None: f.clip(x, low, high),
    "masked_fill": lambda x, mask, value: p.where(mask, value, x),
    # functions of one number
    "exp": lambda x: f.exp(x),
    "expm1": lambda x: f.expm1(x),
    "log": lambda x: p.log(x),
    "log1p": lambda x: f.log1p(x),
    "sqrt": lambda x: f.sqrt(x),
    "rsqrt": lambda x: 1.0 / f.sqrt(x),
    "sin": lambda x: f.sin(x),
    "cos": lambda x: f.cos(x),
    "tanh": lambda x: f.tanh(x),
    "sigmoid": lambda x: f.sigmoid(x),
    "relu": lambda x: f.relu(x),
    "abs": lambda x: f.abs(x),
    "erf": lambda x: f.erf(x),
    "gelu": lambda x, approximate="none": f.gelu(x, approximate),
    "softplus": lambda x, beta=1, threshold=20: _times(f.softplus(_times(x, beta)), 1 / beta),
    # products
    "mm": lambda a, b: a @ b,
    "mv": lambda a, b: a @ b,
    "bmm": lambda a, b: a @ b,
    "dot": lambda a, b: a @ b,
    "addmm": lambda x, a, b, beta=1, alpha=1: _times(x, beta) + _times(a @ b, alpha),
    "baddbmm": lambda x, a, b, beta=1, alpha=1: _times(x, beta) + _times(a @ b, alpha),
    # reductions and what is made of them
    "sum": lambda x, dim=None, keepdim=False, dtype=None: p.sum(x, _axes(dim), keepdim),
    "mean": lambda x, dim=None, keepdim=False, dtype=None: f.mean(x, _axes(dim), keepdim),
    "var": _var,
    "std": lambda x, dim=None, correction=1, keepdim=False: f.sqrt(
        _var(x, dim, correction, keepdim)
    ),
    "var_mean": lambda x, dim=None, correction=1, keepdim=False: (
        _var(x, dim, correction, keepdim),
        f.mean(x, _axes(dim), keepdim),
    ),
    "max": _extreme(f.max),
    "min": _extreme(f.min),
    "amax": lambda x, dim=None, keepdim=False: f.max(x, _axes(dim), keepdim),
    "amin": lambda x, dim=None, keepdim=False: f.min(x, _axes(dim), keepdim),
    "prod": lambda x, dim=None, keepdim=False: f.prod(x, dim, keepdim),
    "cumsum": lambda x, dim: f.cumsum(x, dim),
    "linalg_vector_norm": _vector_norm,
    "_softmax": lambda x, dim, _: f.softmax(x, dim),
    "_safe_softmax": lambda x, dim, dtype=None: f.softmax(x, dim),
    "_log_softmax": lambda x, dim, _: f.log_softmax(x, dim),
    "native_layer_norm": _layer_norm,
    "nll_loss_forward": _nll,
    "nll_loss2d_forward": _nll,
    # shapes and parts
    "alias": lambda x: x,
    "detach": lambda x: x,  # what PyTorch says needs no gradient is a constant here
    "clone": lambda x, memory_format=None: x,
    "copy": lambda x, y, non_blocking=False: p.broadcast_to(y, x.shape),
    "_to_copy": lambda x, **_: x,
    "view": lambda x, shape: x.reshape(shape),
    "_unsafe_view": lambda x, shape: x.reshape(shape),
    "expand": lambda x, shape, implicit=False: p.broadcast_to(x, _expanded(x, shape)),
    "t": lambda x: x.T,
    "transpose": _permuted,
    "permute": lambda x, dims: x.transpose(axes=[d % x.ndim for d in dims]),
    "squeeze": lambda x, dim=None: f.squeeze(x, _ones(x, dim)),
    "unsqueeze": lambda x, dim: f.expand_dims(x, dim),
    "select": lambda x, dim, index: _at(x, dim, index),
    "slice": lambda x, dim=0, start=None, end=None, step=1: _at(x, dim, slice(start, end, step)),
    "unbind": lambda x, dim=0: [_at(x, dim, i) for i in range(x.shape[dim])],
    "split": _parts,
    "split_with_sizes": _parts,
    "unsafe_split": _parts,
    "cat": lambda xs, dim=0: f.concatenate([x for x in xs if x.shape != (0,)], dim),
    "stack": lambda xs, dim=0: f.stack(xs, dim),
    "repeat": lambda x, repeats: f.tile(x, repeats),
    "constant_pad_nd": _padded,
    "flip": lambda x, dims: f.flip(x, tuple(dims)),
    "index": lambda x, indices: x[tuple(slice(None) if i is None else i for i in indices)],
    "index_select": lambda x, dim, index: _at(x, dim, index),
    "index_put": _set,
    "gather": lambda x, dim, index, sparse_grad=False: f.take_along_axis(x, index, dim),
    "embedding": lambda weight, indices, *_: weight[indices],
    "_pack_padded_sequence": _packed,
}
