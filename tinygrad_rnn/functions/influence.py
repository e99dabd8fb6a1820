"""Which loss reaches which step: many reverse traversals walked as one."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from ..engine.backprop import seed
from ..engine.primitives import Scattered
from ..engine.tensor import Array, Tensor

__all__ = ["influence"]

# Primitives whose rules work entry by entry: they take a gradient with a leading axis as it is.
_ENTRYWISE = frozenset(
    "abs add astype clip cos divide exp log maximum minimum multiply negative power relu sigmoid "
    "sin sqrt subtract tanh where".split()
)


def influence(losses: Sequence[Tensor], states: Sequence[Tensor]) -> Array:
    """The matrix of ‖∂L_t/∂h_s‖ (RNNbow, arXiv 1907.12545): which loss reaches which step.

    All losses walk back together: a tensor's gradients with respect to all the losses that depend
    on it form one array with a leading axis, and a rule is called once for them all wherever it
    works entry by entry, is a matrix product, or takes slices.

    Parameters
    ----------
    losses : sequence of Tensors
        Single numbers.
    states : sequence of Tensors
        Such as the hidden state of every step.

    Returns
    -------
    ndarray of shape ``(len(losses), len(states))``
        Zero where a loss does not depend on a state.

    Raises
    ------
    ValueError
        If a loss has no history or more than one entry.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> h = [tr.Tensor(1.0, requires_grad=True)]
    >>> for _ in range(2):
    ...     h.append(0.5 * h[-1])
    >>> tr.influence(h, h)
    array([[1.  , 0.  , 0.  ],
           [0.5 , 1.  , 0.  ],
           [0.25, 0.5 , 1.  ]])
    """
    columns: dict[int, list[int]] = {}
    for s, state in enumerate(states):
        columns.setdefault(state.number, []).append(s)
    found = np.zeros((len(losses), len(states)))
    oldest = min(columns, default=0)
    # For each tensor: itself, the losses that reach it, its gradients one after the other.
    waiting: dict[int, tuple[Tensor, Array, Array]] = {}
    heap: list[int] = []

    def add(x: Tensor, rows: Array, messages: Array) -> None:
        if x.number not in waiting:
            heappush(heap, -x.number)
        else:
            _, old_rows, old = waiting[x.number]
            all_rows = np.union1d(old_rows, rows)
            total = np.zeros((len(all_rows), *x.shape), x.dtype)
            total[np.searchsorted(all_rows, old_rows)] = old
            total[np.searchsorted(all_rows, rows)] += messages
            rows, messages = all_rows, total
        waiting[x.number] = (x, rows, messages)

    for t, loss in enumerate(losses):
        add(loss, np.array([t]), seed(loss, None, "influence")[None])
    while heap:
        tensor, rows, g = waiting.pop(-heappop(heap))
        if tensor.number in columns:
            norms = np.sqrt(np.square(g.reshape(len(rows), -1)).sum(axis=1))
            for column in columns[tensor.number]:
                found[rows, column] = norms
        for i, x in enumerate(tensor.inputs):
            if isinstance(x, Tensor) and x.requires_grad and x.number >= oldest:
                messages = _messages(tensor, i, g)
                if messages is not None:
                    add(x, rows, messages)
    return found


def _messages(tensor: Tensor, i: int, g: Array) -> Array | None:
    """The contributions to input `i`, one for each gradient in `g`, along a leading axis."""
    primitive = tensor.primitive
    assert primitive is not None
    rule = primitive.rules[0 if primitive.joint else i]
    if rule is None:
        return None
    shape = tensor.inputs[i].shape

    def apply(one: Array) -> Any:
        found = rule(one, tensor._data, *tensor.arrays, **tensor.kwargs)
        return found[i] if primitive.joint else found

    together = primitive.name in _ENTRYWISE or (
        primitive.name == "matmul" and i == 0 and all(np.ndim(x) == 2 for x in tensor.arrays)
    )
    if together:
        return _unbroadcast(apply(g), shape)
    if primitive.name == "getitem" and not tensor.kwargs["repeats"]:
        key = (slice(None), *tensor.kwargs["key"])
        return Scattered(g, key, False, (len(g), *shape)).dense()
    rows = [apply(one) for one in g]
    return np.stack(
        [_unbroadcast((r.dense() if isinstance(r, Scattered) else r)[None], shape)[0] for r in rows]
    )


def _unbroadcast(messages: Any, shape: tuple[int, ...]) -> Array:
    """Sum what was broadcast, as the traversal does, behind the leading axis."""
    lead = messages.ndim - 1 - len(shape)
    messages = messages.sum(axis=tuple(range(1, 1 + lead)))
    ones = tuple(1 + a for a, n in enumerate(shape) if n == 1 != messages.shape[1 + a])
    total: Array = messages.sum(axis=ones, keepdims=True)
    return total
