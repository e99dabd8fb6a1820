"""Derivatives: `grad`, products with the Jacobian, and the Jacobian and Hessian themselves.

Each is a few lines over `grad`. There is no forward mode: `jvp` differentiates the
vector-Jacobian product, which is linear in its vector, once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..engine.backprop import seed, walk
from ..engine.primitives import multiply
from ..engine.primitives import sum as total
from ..engine.scope import collector_paused, recording
from ..engine.tensor import Array, Tensor

__all__ = ["grad", "hessian", "hvp", "jacobian", "jvp", "vjp"]

Function = Callable[..., Tensor]


@contextmanager
def _recording() -> Iterator[None]:
    """Record inside a `no_grad` block too: whoever asks for a derivative by name is to have it."""
    before, recording.enabled = recording.enabled, True
    try:
        yield
    finally:
        recording.enabled = before


@_recording()
def pull(
    output: Tensor, inputs: Sequence[Tensor], gradient: Any, create_graph: bool
) -> list[Tensor | None]:
    """The gradients of `output` with respect to `inputs`; None for those it does not depend on."""
    if create_graph != isinstance(gradient, Tensor):
        gradient = Tensor(gradient) if create_graph else gradient.data
    found: dict[int, Any] = {x.number: None for x in inputs}
    with collector_paused():
        for tensor, g in walk(output, gradient, create_graph, oldest=min(found, default=0)):
            if tensor.number in found:
                found[tensor.number] = g if create_graph else Tensor(g)
    return [found[x.number] for x in inputs]


def pulled(
    output: Tensor, inputs: Sequence[Tensor], gradient: Any, create_graph: bool = False
) -> list[Tensor]:
    """The gradients of `output`, one for each input; zeros where it does not depend on it."""
    found: list[Tensor | None] = [None] * len(inputs)
    if output.requires_grad:
        found = pull(output, inputs, gradient, create_graph)
    return [
        Tensor(np.zeros(x.shape, x.dtype)) if g is None else g
        for x, g in zip(inputs, found, strict=True)
    ]


def grad(
    output: Tensor,
    inputs: Tensor | Sequence[Tensor],
    gradient: Any = None,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """The gradients of `output` with respect to `inputs`, leaving every ``.grad`` alone.

    Parameters
    ----------
    output : Tensor
    inputs : Tensor or sequence of Tensors
        Leaves or computed tensors.
    gradient : array_like or Tensor, optional
        The gradient of `output`, of its shape; 1 if it has a single entry.
    create_graph : bool, default False
        Record the computation of the gradients, so that they can be differentiated again.

    Returns
    -------
    tuple of Tensors
        In the order, shapes and dtypes of `inputs`.

    Raises
    ------
    ValueError
        If `output` has no history or does not depend on one of the inputs.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor(2.0, requires_grad=True)
    >>> (first,) = tr.grad(x**3, x, create_graph=True)
    >>> (second,) = tr.grad(first, x)
    >>> first.item(), second.item()
    (12.0, 12.0)
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    found = pull(output, inputs, seed(output, gradient, "grad"), create_graph)
    for x, g in zip(inputs, found, strict=True):
        if g is None:
            raise ValueError(
                f"{output.describe()} does not depend on {x.describe()}; was it detached?"
            )
    return tuple(g for g in found if g is not None)


def _leaves(xs: Sequence[Any]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(x, requires_grad=True, name=x.name if isinstance(x, Tensor) else None) for x in xs
    )


def _tensor(output: Any, asked_by: str) -> Tensor:
    if not isinstance(output, Tensor):
        raise TypeError(
            f"{asked_by} needs a function that returns a Tensor, but it returned a "
            f"{type(output).__name__}; use the operations of tinygrad_rnn, not x.data, inside"
        )
    return output


def _pulled(
    output: Tensor, xs: Sequence[Tensor], gradient: Any, create_graph: bool, asked_by: str
) -> tuple[Tensor, ...]:
    """The gradients, with zeros for what `output` does not depend on."""
    start = seed(output, gradient, asked_by) if output.requires_grad else None
    return tuple(pulled(output, xs, start, create_graph))


@_recording()
def vjp(function: Function, *xs: Any) -> tuple[Tensor, Callable[[Any], tuple[Tensor, ...]]]:
    """The output of ``function(*xs)`` and the function that pulls a gradient back through it.

    Parameters
    ----------
    function : callable
        Of one or several tensors, returning a tensor.
    *xs : Tensor or array_like
        The point; copied into new leaves.

    Returns
    -------
    output : Tensor
    pull_back : callable
        ``pull_back(u)`` is the tuple of uᵀJ, one for each input, in its shape.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> y, pull_back = tr.vjp(lambda a, b: a * b, [1.0, 2.0], [3.0, 4.0])
    >>> pull_back([1.0, 10.0])
    (Tensor([ 3., 40.]), Tensor([ 1., 20.]))
    """
    leaves = _leaves(xs)
    output = _tensor(function(*leaves), "vjp")

    def pull_back(u: Any) -> tuple[Tensor, ...]:
        gradient = u.data if isinstance(u, Tensor) else u
        return _pulled(output, leaves, gradient, False, "vjp")

    return output, pull_back


@_recording()
def jvp(function: Function, xs: Any, vs: Any) -> tuple[Tensor, Tensor]:
    """The output of `function` and its derivative Jv along the directions `vs`.

    Parameters
    ----------
    function : callable
    xs, vs : Tensor or array_like, or tuples of them
        The point and the direction, one for each input, of its shape.

    Returns
    -------
    output, tangent : Tensor
        Of the same shape.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.jvp(lambda x: x * x, [1.0, 3.0], [1.0, 0.5])
    (Tensor([1., 9.], multiply), Tensor([2., 3.]))
    """
    xs, vs = (xs, vs) if isinstance(xs, tuple) else ((xs,), (vs,))
    leaves = _leaves(xs)
    output = _tensor(function(*leaves), "jvp")
    u = Tensor(np.zeros(output.shape, output.dtype), requires_grad=True)
    rows = _pulled(output, leaves, u, True, "jvp")
    (tangent,) = _pulled(_inner(rows, vs), (u,), None, False, "jvp")
    return output, tangent


def _inner(xs: Sequence[Tensor], vs: Sequence[Any]) -> Tensor:
    """The sum of all entrywise products, as a single number."""
    found: Any = 0.0
    if len(xs) != len(vs):
        raise ValueError(f"{len(vs)} directions were given for {len(xs)} inputs")
    for x, v in zip(xs, vs, strict=True):
        v = np.asarray(v.data if isinstance(v, Tensor) else v, dtype=x.dtype)
        if v.shape != x.shape:
            raise ValueError(f"the direction has shape {v.shape}, its input {x.shape}")
        found = found + total(multiply(x, v))
    result: Tensor = found
    return result


@_recording()
def hvp(function: Function, x: Any, v: Any) -> Tensor | tuple[Tensor, ...]:
    """The product Hv of the Hessian of a scalar function with a direction.

    Parameters
    ----------
    function : callable
        Returns a single number.
    x, v : Tensor or array_like, or tuples of them
        The point and the direction.

    Returns
    -------
    Tensor, or tuple of Tensors if `x` is a tuple

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.hvp(lambda x: (x * x * x).sum(), [1.0, 2.0], [1.0, 1.0])
    Tensor([ 6., 12.])
    """
    xs, vs = (x, v) if isinstance(x, tuple) else ((x,), (v,))
    leaves = _leaves(xs)
    slopes = _pulled(_tensor(function(*leaves), "hvp"), leaves, None, True, "hvp")
    found = _pulled(_inner(slopes, vs), leaves, None, False, "hvp")
    return found if isinstance(x, tuple) else found[0]


@_recording()
def jacobian(function: Function, x: Any) -> Any:
    """The Jacobian: every entry of the output by every entry of the input.

    Parameters
    ----------
    function : callable
    x : Tensor or array_like, or tuple of them

    Returns
    -------
    ndarray of shape ``output.shape + x.shape``, or a tuple of them if `x` is a tuple

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.jacobian(lambda x: x * x, [1.0, 2.0])
    array([[2., 0.],
           [0., 4.]])
    """
    leaves = _leaves(x if isinstance(x, tuple) else (x,))
    output = _tensor(function(*leaves), "jacobian")
    found = tuple(np.zeros((output.size, *leaf.shape), leaf.dtype) for leaf in leaves)
    for i in range(output.size):
        u = np.zeros(output.size, output.dtype)
        u[i] = 1.0
        row = _pulled(output, leaves, u.reshape(output.shape), False, "jacobian")
        for rows, part in zip(found, row, strict=True):
            rows[i] = part.data
    shaped = tuple(rows.reshape(output.shape + rows.shape[1:]) for rows in found)
    return shaped if isinstance(x, tuple) else shaped[0]


def hessian(function: Function, x: Any) -> Array:
    """The Hessian of a scalar function, of shape ``x.shape + x.shape``.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.hessian(lambda x: x[0] * x[0] * x[1], [1.0, 3.0])
    array([[6., 2.],
           [2., 0.]])
    """

    def slope(leaf: Tensor) -> Tensor:
        return _pulled(_tensor(function(leaf), "hessian"), (leaf,), None, True, "hessian")[0]

    found: Array = jacobian(slope, x)
    return found
