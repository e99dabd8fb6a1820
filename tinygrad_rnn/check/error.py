"""The error of a gradient as a trace: how it spreads back from the operations at fault."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine import Tensor
from ..functions import Trace, backprop
from ..functions.trace import dense
from .claim import Comparison
from .nodes import right_messages

__all__ = ["ErrorTrace", "error_trace"]


class ErrorTrace(Trace):
    """The difference between two traces of one record: the gradients as they are, and as they
    should be. Draw it like any other; sizes are those of errors.
    """

    measures = "error of the gradient"

    def __init__(self, actual: Trace, right: Trace) -> None:
        self.output, self.tensors, self.keep = right.output, right.tensors, "arrays"
        self.start = np.zeros(right.output.shape)
        self.events, self._received, self._gradients = [], {}, {right.output.number: self.start}
        given = {(event.tensor.number, event.index): event.message for event in actual.events}
        for event in right.events:
            number, place = event.input.number, (event.tensor.number, event.index)
            error = dense(event.message) - dense(given.get(place, 0.0))
            self._gradients[number] = total = self._gradients.get(number, 0.0) + error
            self._observe(event.tensor, event.index, error, total)


def error_trace(output: Tensor, culprits: Sequence[Comparison]) -> ErrorTrace:
    """How the error spreads: from the operations at fault back to everything before them.

    The record is walked twice, with the rules as they are and with the faulty ones replaced by
    numeric derivatives.
    """
    actual = backprop(output, keep="arrays")
    before = {c.claim.node: c.primitive for c in culprits if c.claim.node is not None}
    try:
        for culprit in culprits:
            _mend(culprit)
        right = backprop(output, keep="arrays")
    finally:
        for node, primitive in before.items():
            node.primitive = primitive
    return ErrorTrace(actual, right)


def _mend(culprit: Comparison) -> None:
    """Let the operation at fault have a numeric derivative instead of its rule."""
    node, wrong, method = culprit.claim.node, culprit.input, culprit.method
    assert node is not None
    assert node.primitive is not None
    assert wrong is not None
    rules = list(node.primitive.rules)
    joint = rules[0] if node.primitive.joint else None

    def rule(g: Any, y: Any, *xs: Any, **kwargs: Any) -> Any:
        parts, x = right_messages(node, wrong, g, method), xs[wrong]
        right = parts.sum(axis=tuple(range(parts.ndim - x.ndim))).astype(x.dtype)
        if joint is None:
            return right
        found = list(joint(g, y, *xs, **kwargs))
        return [right if i == wrong else message for i, message in enumerate(found)]

    rules[0 if joint else wrong] = rule
    node.primitive = dataclasses.replace(node.primitive, rules=tuple(rules))
