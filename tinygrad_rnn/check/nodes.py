"""What every recorded operation claims by itself, at the inputs it was recorded with.

Each rule computes its message for a random gradient of the output; the operation's own forward
function, evaluated along a random direction, tells what the message should have been. So a wrong
rule is found where it is, whatever comes before and after it. At order 2 the same is done to the
rules themselves: the engine's derivatives of a rule are compared with the rule's own values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine import Array, Tensor
from ..engine.backprop import messages
from ..engine.primitives import Scattered
from ..functions.transforms import pull
from .claim import Claim, Comparison, Variable, glance, settle_one
from .diagnosis import diagnose
from .numeric import Method, Value, derivative

__all__ = ["check_node", "combined", "sent", "unsummed"]

_LOCATE_UP_TO = 1024  # entries of an input that are compared one by one once something is wrong
_NOISE = 30.0  # what rounding may do inside a rule, in units of ε times the sizes it works with


def check_node(node: Tensor, rng: np.random.Generator, order: int = 1) -> list[Comparison]:
    """Check one recorded operation: its rules, or with order 2 the rules' derivatives.

    Each input is compared along a random direction and, if it does not pass, entry by entry.
    """
    claim = (_first_order if order == 1 else _second_order)(node, rng)
    compared = []
    for which in range(len(claim.variables)):
        found = glance(claim, which, rng)
        if not found.having("right"):
            found = settle_one(claim, which, rng, every_entry=_LOCATE_UP_TO)
        if found.having("wrong"):
            g, i = claim.cotangent, found.input
            parts = None if g is None or i is None else unsummed(node, i, g, found.method)
            found.diagnosis = diagnose(found, parts)
        compared.append(found)
    return compared


def _claim(
    node: Tensor, g: Array | None, value: Value, size: float, parts: dict[int, tuple[Array, Any]]
) -> Claim:
    """From an array and its gradient for each input; without a cotangent it is of order 2."""
    assert node.primitive is not None
    variables = []
    for i, (array, gradient) in parts.items():
        name = f"{node.primitive.name}'s {'gradient' if i < 0 else f'input {i}'}"
        gradient = np.zeros(array.shape) if gradient is None else np.asarray(gradient)
        step = node.scope.step if node.scope else None
        variable = Variable(name, array, [gradient], step, input=i)
        # What the sum is of, a unit of the input: a saturated 1 - y² is as far off as y is rounded.
        variable.noise = _NOISE * size / variable.unit
        variables.append(variable)
    dtypes = [node.dtype, *(v.array.dtype for v in variables)]
    coarsest = max(dtypes, key=lambda dtype: np.finfo(dtype).eps)
    analytic, order = node.primitive.analytic, 2 if g is None else 1
    return Claim(value, variables, coarsest, size, analytic, node, order, g)


def _differentiable(node: Tensor) -> list[int]:
    return [i for i, x in enumerate(node.inputs) if isinstance(x, Tensor) and x.requires_grad]


def combined(node: Tensor, g: Array) -> Value:
    """The function of all its arrays that an operation computes, combined by a cotangent."""
    assert node.primitive is not None
    forward, kwargs = node.primitive.forward, node.kwargs
    return lambda arrays: np.array([np.sum(g * forward(*arrays, **kwargs))])


def _filled(node: Tensor, inputs: Sequence[int], given: Sequence[Any]) -> tuple[Any, ...]:
    """The operation's arrays, with others for some of its inputs."""
    arrays = list(node.arrays)
    for i, array in zip(inputs, given, strict=True):
        arrays[i] = array
    return tuple(arrays)


def _first_order(node: Tensor, rng: np.random.Generator) -> Claim:
    """The operation moved, against its rules."""
    g = rng.normal(size=node.shape).astype(node.dtype)
    inputs, found, value = _differentiable(node), sent(node, g), combined(node, g)

    def moved(arrays: Sequence[Any]) -> Array:
        return value(_filled(node, inputs, arrays))

    size = float(np.abs(g * node.data).sum())
    return _claim(node, g, moved, size, {i: (node.arrays[i], found.get(i)) for i in inputs})


def _second_order(node: Tensor, rng: np.random.Generator) -> Claim:
    """The rules moved, against what the engine says of their derivatives."""
    primitive, inputs = node.primitive, _differentiable(node)
    assert primitive is not None
    weights = {i: rng.normal(size=node.inputs[i].shape) for i in inputs}

    def run(arrays: Sequence[Any], create_graph: bool) -> tuple[list[Tensor], Any]:
        g, *xs = [Tensor(array, requires_grad=True) for array in arrays]
        y = primitive.apply(_filled(node, inputs, xs), node.kwargs)
        found = sent(y, g if create_graph else g.data, create_graph)
        total: Any = 0.0
        for i, message in found.items():
            total = total + (weights[i] * message).sum()
        return [g, *xs], total

    def value(arrays: Sequence[Any]) -> Array:
        together = np.result_type(*arrays)  # a message has the dtype of what it is sent to
        return np.atleast_1d(run([a.astype(together) for a in arrays], create_graph=False)[1])

    g = rng.normal(size=node.shape).astype(node.dtype)
    leaves, total = run([g, *(node.arrays[i] for i in inputs)], create_graph=True)
    found: list[Any] = [None] * len(leaves)
    if isinstance(total, Tensor) and total.requires_grad:
        found = pull(total, leaves, np.ones(total.shape, total.dtype), create_graph=False)
    # A message is at least as far off as a product of its weight and the gradient is rounded.
    size = float(np.abs(g).max(initial=0.0)) * sum(float(np.abs(w).sum()) for w in weights.values())
    parts = ((leaf.data, claimed) for leaf, claimed in zip(leaves, found, strict=True))
    return _claim(node, None, value, size, dict(zip([-1, *inputs], parts, strict=True)))


def sent(node: Tensor, g: Any, create_graph: bool = False) -> dict[int, Any]:
    """What one operation's rules send to its inputs for the gradient `g` of its output."""
    if not create_graph:
        g.setflags(write=False)
    return {
        i: message.dense() if isinstance(message, Scattered) else message
        for i, message in messages(node, g, create_graph)
    }


def unsummed(node: Tensor, i: int, g: Array, method: Method) -> Array | None:
    """The right message of an operation that works entry by entry, before broadcasting is undone.

    None if the output's shape is not the one that the input was broadcast to, or if an entry
    depends on others: then a random direction does not give what the direction of ones does.
    """
    assert node.primitive is not None
    forward, kwargs, arrays = node.primitive.forward, node.kwargs, list(node.arrays)
    try:
        arrays[i] = np.broadcast_to(arrays[i], node.shape)
        if np.shape(forward(*arrays, **kwargs)) != node.shape:
            return None
    except (ValueError, IndexError):
        return None

    def value(given: Sequence[Any]) -> Array:
        return np.ravel(forward(*given, **kwargs))

    each = derivative(value, arrays, i, np.ones(node.shape), method).values
    direction = np.random.default_rng(0).normal(size=node.shape)
    mixed = derivative(value, arrays, i, direction, method).values
    close = 1e-6 * np.abs(each).max(initial=0.0)
    if not np.allclose(mixed, each * np.ravel(direction), rtol=0.0, atol=close, equal_nan=True):
        return None
    return np.asarray(g * each.reshape(node.shape))
