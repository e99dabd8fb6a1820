"""Operations computed from the primitives: statistics, norms, activations, products.

None has a derivative of its own. Names and arguments are NumPy's where NumPy has the function,
PyTorch's for the activations. Operations that only rearrange or select entries are in shapes.py.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import primitives as p
from ..engine.tensor import Tensor, methods, primitive
from . import elementwise as e
from . import reductions as r
from .shapes import operation

__all__ = [
    "all", "any", "clip", "einsum", "elu", "gelu", "isnan", "leaky_relu", "mean", "norm",
    "outer", "prod", "softplus", "std", "var",
]  # fmt: skip


# --- statistics ---------------------------------------------------------------------------------


def _count(x: Any, axis: p.Axis) -> int:
    return math.prod(x.shape[a] for a in p.axes_of(x, axis))


@operation
def mean(x: Any, axis: p.Axis = None, keepdims: bool = False) -> Any:
    """The arithmetic mean over `axis`.

    Parameters
    ----------
    x : Tensor or array_like
    axis : int, tuple of ints or None
        Over everything by default.
    keepdims : bool, default False
        Leave the axis in the result, with length 1.

    Returns
    -------
    Tensor, or array if `x` is none

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.mean(tr.Tensor([[1.0, 2.0], [3.0, 4.0]]), axis=1)
    Tensor([1.5, 3.5])
    """
    total, count = p.sum(x, axis=axis, keepdims=keepdims), _count(x, axis)
    return total / count if count else total * math.nan


@operation
def var(x: Any, axis: p.Axis = None, ddof: float = 0, keepdims: bool = False) -> Any:
    """The variance over `axis`, divided by n - `ddof` as NumPy does.

    Parameters
    ----------
    x : Tensor or array_like
    axis : int, tuple of ints or None
        Over everything by default.
    ddof : number, default 0
        0 for the population's variance, 1 for the sample's.
    keepdims : bool, default False
        Leave the axis in the result, with length 1.

    Returns
    -------
    Tensor, or array if `x` is none

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.var(tr.Tensor([1.0, 3.0])).item()
    1.0
    """
    deviation = x - mean(x, axis, keepdims=True)
    count = _count(x, axis) - ddof
    total = p.sum(deviation * deviation, axis=axis, keepdims=keepdims)
    return total / count if count > 0 else total * math.nan


@operation
def std(x: Any, axis: p.Axis = None, ddof: float = 0, keepdims: bool = False) -> Any:
    """The standard deviation over `axis`, the root of `var`; 0 has the gradient 0, as in PyTorch.

    Parameters
    ----------
    x : Tensor or array_like
    axis : int, tuple of ints or None
        Over everything by default.
    ddof : number, default 0
        As for `var`.
    keepdims : bool, default False
        Leave the axis in the result, with length 1.

    Returns
    -------
    Tensor, or array if `x` is none

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.std(tr.Tensor([1.0, 3.0])).item()
    1.0
    """
    return _save_zero(e.sqrt, var(x, axis, ddof, keepdims))


def _save_zero(function: Callable[[Any], Any], x: Any) -> Any:
    """`function` of `x`, but of 0 it is 0, with the gradient 0 instead of an infinite one."""
    return p.where(x == 0, 0.0, function(p.where(x == 0, 1.0, x)))


@operation
def norm(x: Any, axis: p.Axis = None, keepdims: bool = False, ord: float = 2) -> Any:
    """The `ord`-norm over `axis`; its gradient at zero is zero, as in PyTorch.

    Parameters
    ----------
    x : Tensor or array_like
    axis : int, tuple of ints or None
        Over everything by default.
    keepdims : bool, default False
        Leave the axis in the result, with length 1.
    ord : number, default 2
        Of which power of the absolute values the sum's root is taken: 1 for their sum, 2 for the
        Euclidean norm, ``math.inf`` and ``-math.inf`` for the largest and smallest, 0 for how many
        are not 0. As in ``np.linalg.vector_norm``.

    Returns
    -------
    Tensor, or array if `x` is none

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([3.0, -4.0])
    >>> tr.norm(x), tr.norm(x, ord=1)
    (Tensor(5.), Tensor(7.))
    """
    settings = {"axis": axis, "keepdims": keepdims}
    if ord == 2:
        return _save_zero(e.sqrt, p.sum(x * x, **settings))
    if ord == 0:
        return p.sum(x != 0, **settings).astype(x.dtype)
    size = e.abs(x)
    if math.isinf(ord):
        return r.max(size, **settings) if ord > 0 else r.min(size, **settings)
    if ord == 1:
        return p.sum(size, **settings)
    powers = _save_zero(lambda s: s**ord, size) if ord > 0 else size**ord
    return _save_zero(lambda s: s ** (1 / ord), p.sum(powers, **settings))


@operation
def prod(x: Any, axis: p.Axis = None, keepdims: bool = False) -> Any:
    """The product over `axis`; at zeros its derivatives of every order are right too.

    Parameters
    ----------
    x : Tensor or array_like
    axis : int, tuple of ints or None
        Over everything by default.
    keepdims : bool, default False
        Leave the axis in the result, with length 1.

    Returns
    -------
    Tensor, or array if `x` is none

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([2.0, 0.0, 3.0], requires_grad=True)
    >>> tr.prod(x).backward()
    >>> x.grad
    array([0., 6., 0.])
    """
    axes = p.axes_of(x, axis)
    for a in axes:
        before = (slice(None),) * a
        while (n := x.shape[a]) > 1:  # one half times the other, until one entry is left
            x, odd = x[(*before, slice(n // 2 * 2))], x[(*before, slice(n // 2 * 2, n))]
            x = x[(*before, slice(n // 2))] * x[(*before, slice(n // 2, None))]
            x = p.concatenate(x, odd, axis=a) if n % 2 else x
        if n == 0:
            x = 1 + p.sum(x, axis=a, keepdims=True)
    return x if keepdims else p.sum(x, axis=axes)


@operation
def any(x: Any, axis: p.Axis = None, keepdims: bool = False) -> Any:
    """Whether an entry over `axis` is not zero; a constant, without a gradient.

    Parameters
    ----------
    x : Tensor or array_like
    axis : int, tuple of ints or None
        Over everything by default.
    keepdims : bool, default False
        Leave the axis in the result, with length 1.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([[1.0, 0.0], [0.0, 0.0]])
    >>> tr.any(x, axis=1)
    Tensor([ True, False])
    """
    return p.sum(x != 0, axis=axis, keepdims=keepdims) != 0


@operation
def all(x: Any, axis: p.Axis = None, keepdims: bool = False) -> Any:
    """Whether no entry over `axis` is zero; a constant, without a gradient.

    Parameters
    ----------
    x : Tensor or array_like
    axis : int, tuple of ints or None
        Over everything by default.
    keepdims : bool, default False
        Leave the axis in the result, with length 1.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([[1.0, 2.0], [0.0, 0.0]])
    >>> tr.all(x, axis=1)
    Tensor([ True, False])
    """
    return p.sum(x == 0, axis=axis, keepdims=keepdims) == 0


@operation
def isnan(x: Any) -> Any:
    """Where `x` is not a number; a constant, without a gradient.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.isnan(tr.Tensor([0.0, float("nan")]))
    Tensor([False,  True])
    """
    return x != x


@operation
def clip(x: Any, min: Any = None, max: Any = None) -> Any:
    """`x` within bounds; the gradient passes on the bounds too, and goes to the bound beyond them.

    Parameters
    ----------
    x : Tensor or array_like
    min, max : number, Tensor or array, optional
        Broadcast with `x`; no bound on that side by default.

    Returns
    -------
    Tensor, or array if none of them is one

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.clip(tr.Tensor([-3.0, 0.5, 3.0]), -1.0, 1.0)
    Tensor([-1. ,  0.5,  1. ])
    """
    ends = np.iinfo(x.dtype) if x.dtype.kind in "iu" else None
    low, high = (ends.min, ends.max) if ends else (-math.inf, math.inf)
    return e.clip(x, low if min is None else min, high if max is None else max)


# --- activations --------------------------------------------------------------------------------

# What a branch that is not taken would compute must not make infinities or NaN, as their gradients
# would be 0 * inf: it is given 0 instead.


@operation
def softplus(x: Any) -> Any:
    """``log(1 + exp(x))`` without overflow.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.softplus(tr.Tensor([-1000.0, 1000.0]))
    Tensor([   0., 1000.])
    """
    positive = x > 0
    return p.where(positive, x, 0.0) + e.log1p(e.exp(p.where(positive, -x, x)))


@operation
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """`x` where positive, `negative_slope` times `x` elsewhere (the slope at 0 is the latter).

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.leaky_relu(tr.Tensor([-2.0, 3.0]), 0.5)
    Tensor([-1.,  3.])
    """
    return p.where(x > 0, x, negative_slope * x)


@operation
def elu(x: Any, alpha: float = 1.0) -> Any:
    """The exponential linear unit: `x` where positive, ``alpha * (exp(x) - 1)`` elsewhere.

    Clevert, Unterthiner and Hochreiter 2016, equation 15.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.elu(tr.Tensor([-1000.0, 3.0]))
    Tensor([-1.,  3.])
    """
    return p.where(x > 0, x, alpha * e.expm1(p.where(x > 0, 0.0, x)))


@operation
def gelu(x: Any, approximate: str = "none") -> Any:
    """The Gaussian error linear unit: `x` times the probability that a normal variable is below it.

    Parameters
    ----------
    x : Tensor or array_like
    approximate : str, default "none"
        "tanh" for the approximation by tanh (Hendrycks and Gimpel 2016, section 2), which is
        analytic and several times as fast.

    Raises
    ------
    ValueError
        If `approximate` is neither.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.gelu(tr.Tensor([0.0, 1.0])).data.round(4)
    array([0.    , 0.8413])
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate is 'none' or 'tanh', not {approximate!r}")
    if approximate == "none":
        return 0.5 * x * (1.0 + e.erf(x * math.sqrt(0.5)))
    return 0.5 * x * (1.0 + e.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


# --- products -----------------------------------------------------------------------------------


@operation
def outer(a: Any, b: Any) -> Any:
    """All products of an entry of `a` with an entry of `b`, both flattened.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.outer(tr.Tensor([1.0, 2.0]), tr.Tensor([3.0, 4.0]))
    Tensor([[3., 4.],
            [6., 8.]])
    """
    return p.reshape(a, shape=(-1, 1)) * p.reshape(b, shape=(1, -1))


def _einsum_rule(g: Any, y: Any, *xs: Any, subscripts: str) -> tuple[Any, ...]:
    # The same sum with g in the place of x. A constant brings the letters that are nowhere else;
    # where x has a letter twice, it is 1 on the diagonal and 0 beside it.
    inputs, _, output = subscripts.partition("->")
    terms, found = inputs.split(","), []
    for i, (x, term) in enumerate(zip(xs, terms, strict=True)):
        places, once = np.zeros((1, *x.shape), g.dtype), "".join(dict.fromkeys(term))
        np.einsum(f"...{term}->...{once}", places)[...] = 1.0  # of an array without axes it is one
        new = iter(_unused(subscripts))
        own = "".join(next(new) if s in term[:k] else s for k, s in enumerate(term))
        names = ",".join([output, *terms[:i], *terms[i + 1 :], own])
        operands = (g, *xs[:i], *xs[i + 1 :], places[0])
        found.append(_einsum(*operands, subscripts=f"{names}->{own}"))
    return tuple(found)


@primitive("einsum", rules=[_einsum_rule], joint=True)
def _einsum(*xs: Any, subscripts: str) -> Any:
    return np.einsum(subscripts, *xs, optimize=True)


def _unused(subscripts: str) -> str:
    return "".join(s for s in string.ascii_letters if s not in subscripts)


def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein summation: products of entries, summed over the letters not in the output.

    Parameters
    ----------
    subscripts : str
        Such as ``"tbi,ih->tbh"``: a letter for each axis, ``...`` for any number of leading ones.
        A letter twice in one operand takes the diagonal. Without ``->``, the output has the letters
        that occur once, in alphabetical order.
    *operands : Tensor or array_like
        Axes of length 1 broadcast.

    Raises
    ------
    ValueError
        If the letters do not fit the operands; it names both.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> a = tr.Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> tr.einsum("ij,kj->ik", a, a)
    Tensor([[ 5., 11.],
            [11., 25.]])
    >>> tr.einsum("ii", a)
    Tensor(5.)
    """
    arrays = [x if isinstance(x, Tensor) else np.asarray(x) for x in operands]
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    if not arrow:
        output = "..." + "".join(sorted(s for s in inputs if s.isalpha() and inputs.count(s) == 1))
    terms, unused, most = inputs.split(","), _unused(subscripts), 0
    for k, (term, x) in enumerate(zip(terms, arrays, strict=False)):
        count = x.ndim - len(term.replace("...", ""))
        terms[k], most = term.replace("...", unused[len(unused) - count :]), max(most, count)
    whole = f"{','.join(terms)}->{output.replace('...', unused[len(unused) - most :])}"
    try:
        return _einsum(*arrays, subscripts=whole)
    except ValueError:
        raise ValueError(
            f"einsum {subscripts!r} of shapes {[x.shape for x in arrays]}: expected as many terms "
            f"as operands, a letter for each axis, the same length wherever a letter stands (or 1)"
            f", and after -> letters of the operands, each once"
        ) from None


methods(einsum=einsum)
