"""The one reverse traversal, and `backward`, which leaves its gradients on the leaves.

A tensor's inputs always have smaller numbers than the tensor itself. So when a heap returns the
tensor with the largest number, all of its consumers have been processed, and its gradient is
complete. That is all of reverse mode, and all of backpropagation through time.

The record of a traversal, for pictures and reports, is in functions/trace.py; `grad` and the
derivatives of functions (`vjp`, `jacobian`, ...) are in functions/transforms.py. Both walk with
`walk`, as everything does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy import ndarray

from .primitives import Scattered
from .scope import Scope, collector_paused, recording
from .tensor import Tensor, operations

__all__ = ["backward"]

# Called with the consumer, the position of the input, the message to it, and its running sum.
Observer = Callable[[Tensor, int, Any, Any], None]


def messages(
    tensor: Tensor, g: Any, create_graph: bool = False, oldest: int = 0
) -> list[tuple[int, Any]]:
    """The chain rule at one node: what `tensor`, with gradient `g`, sends to each of its inputs.

    Parameters
    ----------
    tensor : Tensor
    g : ndarray or Tensor
        Its gradient.
    create_graph : bool
        Pass tensors to the rules instead of arrays, so that what they compute is recorded.
    oldest : int
        Tensors with a smaller number receive nothing.

    Returns
    -------
    list of (int, message)
        The position of each input that takes part, and its contribution, in the input's own shape
        and dtype: an array, a `Scattered`, or a Tensor if a graph is made.
    """
    primitive, found = tensor.primitive, []
    if primitive is None:
        return []
    y, values, rules, kwargs = tensor._data, tensor.arrays, primitive.rules, tensor.kwargs
    joint, watcher = None, recording.watcher
    if create_graph:
        y, values = tensor, _as_tensors(tensor)  # type: ignore[assignment]
        scope_before, recording.scope = recording.scope, tensor.scope
    try:
        if primitive.joint:
            joint = rules[0](g, y, *values, **kwargs)
        for i, x in enumerate(tensor.inputs):
            if not isinstance(x, Tensor) or not x.requires_grad or x.number < oldest:
                continue
            if joint is None and rules[i] is None:
                continue
            message = joint[i] if joint else rules[i](g, y, *values, **kwargs)
            array = x._data
            if (
                type(message) is not ndarray
                or message.shape != array.shape
                or message.dtype is not array.dtype
            ):
                message = _conform(message, g, tensor, i)
            if watcher is not None:
                watcher.sent(tensor, i, g, message)
            found.append((i, message))
    finally:
        if create_graph:
            recording.scope = scope_before
    return found


def walk(
    output: Tensor,
    gradient: Any,
    create_graph: bool = False,
    oldest: int = 0,
    observe: Observer | None = None,
) -> Iterator[tuple[Tensor, Any]]:
    """Yield every tensor that `output` depends on with its gradient, the youngest first.

    Parameters
    ----------
    output : Tensor
        Where to start.
    gradient : ndarray or Tensor
        The gradient of `output`, as `seed` makes it.
    create_graph, oldest
        As for `messages`.
    observe : callable, optional
        Sees each message as it arrives.
    """
    # What has had a message, by number: the tensor, its running sum, and whether the sum is ours to
    # write into, as it is from the second message on: the first may be shared with another tensor.
    waiting: dict[int, list[Any]] = {output.number: [output, gradient, False]}
    heap = [-output.number]
    while heap:
        tensor, g, _ = waiting.pop(-heappop(heap))
        tensor = tensor.recorded()
        if not create_graph:
            g.setflags(False)  # read-only: it may be a message to others too
        yield tensor, g
        for i, message in messages(tensor, g, create_graph, oldest):
            x = tensor.inputs[i]
            is_part = type(message) is Scattered
            if (entry := waiting.get(x.number)) is None:
                heappush(heap, -x.number)
                waiting[x.number] = entry = [x, message.dense() if is_part else message, is_part]
            elif not entry[2]:
                entry[1] = entry[1] + (message.dense() if is_part else message)
                entry[2] = not create_graph
            elif is_part:
                message.add_to(entry[1])
            else:
                entry[1] += message
            if observe is not None:
                observe(tensor, i, message, entry[1])


def _conform(message: Any, g: Any, tensor: Tensor, i: int) -> Any:
    """Undo broadcasting and dtype promotion: bring a message to its input's shape and dtype."""
    x = tensor.inputs[i]
    if type(message) is Scattered:
        return message
    if not hasattr(message, "dtype"):
        raise _rule_error(tensor, i, f"a {type(message).__name__}")
    lead = message.ndim - x.ndim
    if lead > 0:
        message = message.sum(axis=tuple(range(lead)))
    if message.shape != x.shape:
        if lead < 0 or any(n not in (1, m) for n, m in zip(x.shape, message.shape, strict=True)):
            raise _rule_error(tensor, i, f"shape {message.shape}")
        ones = tuple(a for a, n in enumerate(x.shape) if n == 1 != message.shape[a])
        message = message.sum(axis=ones, keepdims=True)
    if message.dtype != x.dtype and g.dtype.kind != "c":  # a complex step runs through real weights
        if message.dtype.kind != x.dtype.kind or x.dtype == tensor.dtype:
            raise _rule_error(tensor, i, f"dtype {message.dtype}")
        message = message.astype(x.dtype)
    return message


def _rule_error(tensor: Tensor, i: int, got: str) -> ValueError:
    x = tensor.inputs[i]
    return ValueError(
        f"the rule for input {i} of {tensor.describe()}, returned {got}; expected the input's "
        f"dtype {x.dtype} and its shape {x.shape}, or one broadcast from it"
    )


def _as_tensors(tensor: Tensor) -> tuple[Any, ...]:
    """The inputs of a recorded operation, for rules that record."""
    for x, array in zip(tensor.inputs, tensor.arrays, strict=True):
        if isinstance(x, Tensor) and x._data is not array:
            raise RuntimeError(
                f"{x.describe()} was given new data after {tensor.describe()} was computed from "
                f"it; a graph of the gradient would mix old and new values: compute again first"
            )
    # An array becomes a constant tensor: its own methods would not record.
    return tuple(Tensor(x) if isinstance(x, np.ndarray) else x for x in tensor.inputs)


def seed(output: Tensor, gradient: Any, asked_by: str) -> Any:
    """The gradient to start from, checked: 1 for a single number, or what was given."""
    if not output.requires_grad:
        raise ValueError(
            f"{asked_by} of {output.describe()}, {output.dtype}: it has no history; make the "
            f"parameters it is computed from Tensor(..., requires_grad=True), outside of no_grad"
        )
    if gradient is None and output.size != 1:
        raise ValueError(
            f"{asked_by} of {output.describe()}: only a single number can start without a "
            f"gradient; reduce it, for instance by sum(), or give gradient= of its shape"
        )
    if gradient is None:
        return np.ones(output.shape, output.dtype)
    if not isinstance(gradient, Tensor):
        gradient = np.array(gradient)  # ours: a leaf may come to hold it
    if gradient.shape != output.shape or (gradient.dtype.kind == "c" and output.dtype.kind != "c"):
        raise ValueError(
            f"{asked_by} of {output.describe()}: the gradient is {gradient.dtype} of shape "
            f"{gradient.shape}; expected {output.dtype} of shape {output.shape}"
        )
    return gradient if gradient.dtype == output.dtype else gradient.astype(output.dtype)


def backward(output: Tensor, gradient: Any = None) -> None:
    """``output.backward(gradient)``; see `Tensor.backward`.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([3.0, 4.0], requires_grad=True)
    >>> tr.backward(x * x, [1.0, 0.5])
    >>> x.grad
    array([6., 4.])
    """
    start = seed(output, gradient, "backward")
    if isinstance(start, Tensor):
        start = start._data
    # Gradients are assigned only when all are complete: an error before that changes nothing.
    leaves, scopes = [], set()  # no tensors: steps that were recorded again for this may go
    with collector_paused():
        for tensor, g in walk(output, start):
            if tensor.primitive is None:
                leaves.append((tensor, g))
            else:
                scopes.add(tensor.scope)
    sequences = {scope.sequence for scope in scopes if scope} - {None}
    again = {id(sequence.owner) for sequence in sequences if sequence.walked}
    if any(id(sequence.owner) in again and not sequence.walked for sequence in sequences):
        _refuse_stale_state([tensor for tensor, _ in walk(output, start) if tensor.primitive])
    for sequence in sequences:
        sequence.walked = True
    for tensor, g in leaves:
        tensor._grad = g if tensor._grad is None else tensor._grad + g


def _refuse_stale_state(computed: Sequence[Tensor]) -> None:
    """Refuse to walk through the state of a new sequence into one of the same cell walked before.

    Several losses of one sequence may share it, and one net may read another's states. But a cell's
    new sequence is not meant to include its last one, and the one before that.
    """
    behind: dict[int, set[Scope]] = {}  # the walked sequences that a tensor brings with it
    for tensor in reversed(computed):  # the oldest first
        step = tensor.scope and tensor.scope.stateful
        for x in (x for x in tensor.inputs if isinstance(x, Tensor) and x.primitive):
            before, made_in = behind.get(x.number, set()), x.scope and x.scope.sequence
            if made_in and made_in.walked:
                before = {made_in}
            if step is None:
                behind[tensor.number] = behind.get(tensor.number, set()) | before
            elif x.number in (step.state_in or ()) and any(
                other.owner is step.sequence.owner and not step.sequence.walked for other in before
            ):
                raise RuntimeError(
                    f"{x.describe()}, carries history from an earlier sequence into "
                    f"{tensor.describe()}: its own backward has already run, and this one would "
                    f"walk through that sequence again; pass state.detach() to the new sequence"
                )


operations["backward"] = backward
