"""What every recorded operation claims by itself, at the inputs it was recorded with.

Each rule computes its message for a random gradient of the output; the operation's own forward
function, evaluated along a random direction, tells what the message should have been. So a wrong
rule is found where it is, whatever comes before and after it. At order 2 the same is done to the
rules themselves: the engine's derivatives of a rule are compared with the rule's own values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..engine import Array, Tensor
from ..functions.transforms import pulled
from .claim import Claim, Comparison, Variable, one_hot, settle_one
from .diagnosis import diagnose
from .numeric import Method, Value, derivative
from .subject import Function, weighted

__all__ = ["check_node", "replay", "right_messages"]

_LOCATE_UP_TO = 1024  # entries of an input that are compared one by one once something is wrong
_NOISE = 30.0  # what rounding may do inside a rule, in units of ε times the sizes it works with


def check_node(node: Tensor, rng: np.random.Generator, order: int = 1) -> list[Comparison]:
    """Check one recorded operation: its rules, or with order 2 the rules' derivatives.

    Each input is compared along a random direction and, if it does not pass, entry by entry.
    """
    claim, g = _claim(node, rng, order)
    compared = []
    for which, variable in enumerate(claim.variables):
        found = settle_one(claim, which, rng, every_entry=_LOCATE_UP_TO, brief=True)
        if found.having("wrong"):
            parts = None
            if order == 1 and found.numeric is not None and node.ndim > found.numeric.ndim:
                parts = right_messages(node, variable.input or 0, g, found.method)
            found.diagnosis = diagnose(found, parts)
        compared.append(found)
    return compared


def _claim(node: Tensor, rng: np.random.Generator, order: int) -> tuple[Claim, Array]:
    """What its rules claim of the operation, or their derivatives of the rules.

    The second result is the gradient of the output that the rules are given.
    """
    primitive = node.primitive
    assert primitive is not None
    leaves = {
        i: Tensor(node.arrays[i], requires_grad=True)
        for i, x in enumerate(node.inputs)
        if isinstance(x, Tensor) and x.requires_grad
    }
    xs, given = list(leaves.values()), tuple(leaves.get(i, x) for i, x in enumerate(node.arrays))
    start = Tensor(rng.normal(size=node.shape).astype(node.dtype), requires_grad=True)
    g = start.data

    def rules(record: bool) -> list[Tensor]:
        return pulled(primitive.apply(given, node.kwargs), xs, start, record)

    if order == 1:
        y = primitive.apply(given, node.kwargs)
        value = replay([y], xs, lambda values: np.array([np.sum(g * values[y.number])]))
        gradients, size = rules(False), float(np.abs(g * y.data).sum())
    else:
        leaves, weights = {-1: start, **leaves}, [rng.normal(size=x.shape) for x in xs]
        function = Function(leaves, rules)
        value = function.combined([weights])
        gradients = function.pulled(weighted(rules(True), weights))
        # A message is at least as far off as a product of its weight and the gradient is rounded.
        size = float(np.abs(g).max(initial=0.0)) * sum(float(np.abs(w).sum()) for w in weights)
    variables = []
    for (i, leaf), gradient in zip(leaves.items(), gradients, strict=True):
        name = f"{primitive.name}'s {'gradient' if i < 0 else f'input {i}'}"
        step = node.scope.step if node.scope else None
        variable = Variable(name, leaf.data, [gradient.data], step, input=i)
        # What the sum is of, a unit of the input: a saturated 1 - y² is as far off as y is rounded.
        variable.noise = _NOISE * size / variable.unit
        variables.append(variable)
    dtypes = [node.dtype, *(leaf.dtype for leaf in leaves.values())]
    coarsest = max(dtypes, key=lambda dtype: np.finfo(dtype).eps)
    return Claim(value, variables, coarsest, size, primitive.analytic, node, order), g


def replay(
    nodes: Sequence[Tensor], leaves: Sequence[Tensor], finish: Callable[[Mapping[int, Any]], Array]
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
    """

    def value(arrays: Sequence[Any]) -> Array:
        values = {leaf.number: array for leaf, array in zip(leaves, arrays, strict=True)}
        for node in nodes:
            assert node.primitive is not None
            given = [
                values.get(x.number, array) if isinstance(x, Tensor) else array
                for x, array in zip(node.inputs, node.arrays, strict=True)
            ]
            values[node.number] = node.primitive.forward(*given, **node.kwargs)
        return finish(values)

    return value


def right_messages(node: Tensor, i: int, g: Array, method: Method) -> Array:
    """What an operation should have sent to an input, by numbers alone.

    Returns
    -------
    ndarray
        One message for each entry of the leading axes that the input does not have; their sum is
        the contribution to its gradient.
    """
    assert node.primitive is not None
    forward, kwargs, x = node.primitive.forward, node.kwargs, node.arrays[i]
    lead = node.shape[: max(0, node.ndim - x.ndim)]

    def slopes(direction: Array, count: int) -> Array:
        def value(arrays: Sequence[Any]) -> Array:
            parts: Array = np.reshape(g * forward(*arrays, **kwargs), (count, -1))
            return np.asarray(parts.sum(axis=1))

        return derivative(value, node.arrays, i, direction, method).values

    if x.shape == node.shape:  # entry by entry? Then the direction of ones says all at once
        direction = np.random.default_rng(0).normal(size=x.shape)
        each, mixed = slopes(np.ones(x.shape), x.size), slopes(direction, x.size)
        close = 1e-6 * np.abs(each).max(initial=0.0)
        if np.allclose(mixed, each * direction.ravel(), rtol=0.0, atol=close, equal_nan=True):
            return np.asarray(each.reshape(x.shape))
    found = [slopes(one_hot(x.shape, index), math.prod(lead)) for index in np.ndindex(x.shape)]
    return np.asarray(np.reshape(np.transpose(found), lead + x.shape))
