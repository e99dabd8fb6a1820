"""The recorded graph as a program: run it again, with repaired rules, or find where it was cut.

Three questions about a record are answered here. What would its outputs be for other leaves, all
constants kept (so that truncated backpropagation can be checked)? What would its gradients be if
the wrong rules were right? And which of its constants should have had a history?
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from ..engine import Array, Primitive, Tensor
from ..functions import Trace, backprop
from ..functions.trace import Event, dense, norm_of
from .claim import Comparison, one_hot, place_of
from .nodes import combined, sent, unsummed
from .numeric import Method, Value, derivative

__all__ = ["ErrorTrace", "cuts", "error_trace", "replay"]


_SHOWN = 3  # cuts that are named
_CANDIDATES = 100  # constants that are looked at; each takes a run of the record


def replay(
    nodes: Sequence[Tensor],
    leaves: Sequence[Tensor],
    finish: Callable[[dict[int, Any]], Array],
    constant: Collection[tuple[Tensor, int]] = (),
) -> Value:
    """The function that a record computes from `leaves`, with all its constants as recorded.

    Parameters
    ----------
    nodes : sequence of Tensor
        The operations, oldest first.
    leaves : sequence of Tensor
        What the function takes.
    finish : callable
        From the values of all operations, by the tensors' numbers, to the result.
    constant : collection of (Tensor, int)
        Operations and which of their inputs is a constant that the function takes as well, last.
    """

    def value(arrays: Sequence[Any]) -> Array:
        values = {leaf.number: array for leaf, array in zip(leaves, arrays, strict=False)}
        for node in nodes:
            assert node.primitive is not None
            given = [
                values.get(x.number, array) if isinstance(x, Tensor) else array
                for x, array in zip(node.inputs, node.arrays, strict=True)
            ]
            for taker, i in constant:
                if taker is node:
                    given[i] = arrays[-1]
            values[node.number] = node.primitive.forward(*given, **node.kwargs)
        return finish(values)

    return value


def cuts(
    nodes: Sequence[Tensor], again: Sequence[Tensor], finish: Callable[[dict[int, Any]], Array]
) -> list[str]:
    """Name constants that differ between two records of one function, made at nearby inputs.

    One that the result does not depend on, such as the shift in log-sum-exp, is no cut.

    Parameters
    ----------
    nodes, again : sequence of Tensor
        The operations of both, oldest first.
    finish : callable
        As in `replay`.
    """
    if len(nodes) != len(again) or any(
        node.primitive is not other.primitive for node, other in zip(nodes, again, strict=True)
    ):
        return []
    changed: dict[int, tuple[Array, Array, list[tuple[Tensor, int]]]] = {}
    for node, other in zip(nodes, again, strict=True):
        for i, x in enumerate(node.inputs):
            before, after = np.asarray(node.arrays[i]), np.asarray(other.arrays[i])
            is_constant = not (isinstance(x, Tensor) and x.requires_grad)
            if is_constant and before.dtype.kind == "f" and (before != after).any():
                changed.setdefault(id(x), (before, after - before, []))[2].append((node, i))
    found: list[str] = []
    for before, change, places in itertools.islice(changed.values(), _CANDIDATES):
        value = replay(nodes, (), finish, places)
        slope = derivative(value, [before], 0, change, "differences")
        allowed = 1e-9 * np.abs(change).max() + 10 * slope.doubt
        if (np.abs(slope.values) > allowed).any():
            found.append(place_of(*places[0]))
        if len(found) == _SHOWN:
            break
    return found


class ErrorTrace(Trace):
    """The difference between two traces of one record: the gradients as they are, and as they
    should be. Draw it like any other; sizes are those of errors.
    """

    measures = "error of the gradient"

    def __init__(self, actual: Trace, right: Trace) -> None:
        self.output, self.tensors, self.keep = right.output, right.tensors, "arrays"
        self.start = np.zeros(right.output.shape)
        self.events, self._received = [], {}
        given = {(event.tensor.number, event.index): event.message for event in actual.events}
        self._gradients = {tensor.number: np.zeros(tensor.shape) for tensor in self.tensors}
        for event in right.events:
            number, place = event.input.number, (event.tensor.number, event.index)
            error = dense(event.message) - dense(given.get(place, 0.0))
            self._gradients[number] = total = self._gradients[number] + error
            self._note(Event(event.tensor, event.index, norm_of(error), norm_of(total), error))


def error_trace(output: Tensor, culprits: Sequence[Comparison]) -> ErrorTrace:
    """How the error spreads: from the operations at fault back to everything before them.

    The record is walked twice, with the rules as they are and with the faulty ones replaced by
    numeric derivatives.
    """
    actual = backprop(output, keep="arrays")
    wrong: dict[Tensor, dict[int, Method]] = {}
    for culprit in culprits:
        if culprit.claim.node is not None and culprit.input is not None:
            wrong.setdefault(culprit.claim.node, {})[culprit.input] = culprit.method
    before = {node: node.primitive for node in wrong}
    try:
        for node, methods in wrong.items():
            node.primitive = _with_numeric_rules(node, methods)
        right = backprop(output, keep="arrays")
    finally:
        for node, primitive in before.items():
            node.primitive = primitive
    return ErrorTrace(actual, right)


def _with_numeric_rules(node: Tensor, methods: dict[int, Method]) -> Primitive:
    """The node's primitive, with numeric derivatives for some of its inputs."""
    primitive = node.primitive
    assert primitive is not None

    def rule(g: Any, y: Any, *xs: Any, **kwargs: Any) -> tuple[Any, ...]:
        numeric, node.primitive = node.primitive, primitive
        try:
            found = sent(node, g)
            found |= {i: _numeric_message(node, i, g, method) for i, method in methods.items()}
        finally:
            node.primitive = numeric
        return tuple(found.get(i, np.zeros(np.shape(x))) for i, x in enumerate(xs))

    return dataclasses.replace(primitive, rules=(rule,), joint=True)


def _numeric_message(node: Tensor, i: int, g: Any, method: Method) -> Array:
    """What should be sent to an input: at once if the operation works entry by entry."""
    x, value = node.arrays[i], combined(node, g)
    parts = unsummed(node, i, g, method)
    if parts is not None:
        return parts.astype(x.dtype)
    found = np.zeros(x.shape, x.dtype)
    for index in np.ndindex(x.shape):
        (found[index],) = derivative(value, node.arrays, i, one_hot(x.shape, index), method).values
    return found
