"""The table: PyTorch's ATen operations beside what they are here.

An entry is called with the operation's own arguments, every tensor replaced by ours, and returns
what PyTorch returns; of several outputs only the first ones that carry a gradient. In-place and
``out=`` variants use the entry of the operation they are variants of. Views need no entry, nor does
what carries no gradient (dropout's mask, ``zeros``, ``argmax``), which is taken as PyTorch computed
it. What is not here is decomposed as PyTorch itself would decompose it, in the end into its
``prims``, most of which go by the same names. Add your own::

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

Entry = Callable[..., Any]


def _times(x: Any, factor: float) -> Any:
    return x if factor == 1 else x * factor


def _add_product(x: Tensor, a: Tensor, b: Tensor, beta: float = 1, alpha: float = 1) -> Any:
    return _times(x, beta) + _times(a @ b, alpha)


def _along(reduce: Callable[..., Any]) -> Entry:
    """A reduction over all axes if none are named: PyTorch also says it by an empty list."""

    def entry(x: Tensor, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
        axes = dim if isinstance(dim, int) else tuple(dim) if dim else None
        return reduce(x, axes, keepdim)

    return entry


def _var(x: Tensor, dim: Any = None, correction: float | None = 1, keepdim: bool = False) -> Any:
    return f.var(x, tuple(dim) if dim else None, 1 if correction is None else correction, keepdim)


def _extreme(which: Callable[..., Any], where: Callable[..., Any]) -> Entry:
    """``max`` and ``min``: of all entries, or along an axis, where the first extreme one wins."""

    def entry(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
        if dim is None:
            return which(x)
        found = f.take_along_axis(x, where(x.data, axis=dim, keepdims=True), dim)
        return (found if keepdim else f.squeeze(found, dim),)

    return entry


def _packed(x: Tensor, lengths: Tensor, batch_first: bool) -> Any:
    """The steps of sequences sorted by falling length, one after the other, without padding."""
    x = p.transpose(x, axes=(1, 0, 2)) if batch_first else x
    return (x[np.arange(x.shape[0])[:, None] < lengths.data],)


def _key(indices: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(slice(None) if i is None else i.data for i in indices)


def _set(x: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False) -> Any:
    """``x[indices] = values``, or ``+=``."""
    key, kept = _key(indices), np.ones(x.shape, bool)
    kept[key] = accumulate
    values = p.broadcast_to(values, x.data[key].shape)
    return p.where(kept, x, 0.0) + p.scatter(values, key=key, repeats=True, shape=x.shape)


# No gradient passes through these, although what they are given may carry one.
CONSTANT = {
    *("fill", "zero", "bernoulli", "uniform", "normal", "sign", "floor", "ceil", "round", "trunc"),
    *("full_like", "zeros_like", "ones_like", "empty_like", "rand_like", "randn_like"),
    *("new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided"),
}

SAME_HERE = (
    *(f.exp, f.expm1, p.log, f.log1p, f.sqrt, f.sin, f.cos, f.tanh, f.sigmoid, f.relu, f.abs),
    *(f.erf, f.gelu, f.maximum, f.minimum, p.where, f.prod, f.cumsum, f.stack),
)

TABLE: dict[str, Entry] = {
    **{function.__name__: function for function in SAME_HERE},
    # arithmetic
    "add": lambda x, y, alpha=1: x + _times(y, alpha),
    "sub": lambda x, y, alpha=1: x - _times(y, alpha),
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "neg": lambda x: -x,
    "pow": lambda x, y: x**y,
    "reciprocal": lambda x: 1.0 / x,
    "rsqrt": lambda x: 1.0 / f.sqrt(x),
    # products
    **dict.fromkeys(("mm", "mv", "bmm", "dot"), lambda a, b: a @ b),
    **dict.fromkeys(("addmm", "baddbmm"), _add_product),
    # reductions and what is made of them
    "sum": _along(p.sum),
    "mean": _along(f.mean),
    "amax": _along(f.max),
    "amin": _along(f.min),
    "max": _extreme(f.max, np.argmax),
    "min": _extreme(f.min, np.argmin),
    "var": _var,
    "_softmax": lambda x, dim, _: f.softmax(x, dim),
    "_log_softmax": lambda x, dim, _: f.log_softmax(x, dim),
    # copies and parts
    **dict.fromkeys(("clone", "_to_copy"), lambda x, **_: x),
    **dict.fromkeys(("copy", "copy_to"), lambda x, y, _=None: p.broadcast_to(y, x.shape)),
    "cat": lambda xs, dim=0: f.concatenate([x for x in xs if x.shape != (0,)], dim),
    "flip": lambda x, dims: f.flip(x, tuple(dims)),
    "index": lambda x, indices: x[_key(indices)],
    "index_put": _set,
    "gather": lambda x, dim, index, sparse_grad=False: f.take_along_axis(x, index, dim),
    "embedding": lambda weight, indices, *_: weight[indices],
    "_pack_padded_sequence": _packed,
}
