"""The local check: every recorded operation by itself, at the very inputs it was recorded with.

Each rule is asked for its message for a random gradient of the output; the operation's own forward
function, moved along a random direction, says what the message should have been. So a wrong rule
is found where it is, whatever came before and after it. With ``order=2`` the same is done to the
rules themselves: their derivatives are asked of the engine, and held against the rule moved.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engine import Array, Tensor
from ..engine.backprop import pull, walk
from ..engine.primitives import Scattered
from .compare import Comparison, Entry, Tolerance, Variable, along, compare, one_hot
from .numeric import Method, Value, derivative

__all__ = ["Finding", "check_nodes", "messages", "method_of", "rounding"]

_LOCATE_UP_TO = 1024  # entries of an input that are compared one by one once something is wrong


@dataclass(slots=True, repr=False)
class Finding:
    """What is wrong, or cannot be decided, about one rule at one recorded operation.

    Attributes
    ----------
    node : Tensor
        The operation's output.
    op : str
    input : int
        Which input's rule; the gradient itself is -1 (second order only).
    order : int
        1 for the rule, 2 for the rule's own derivative.
    step : int or None
    path : str
        Such as ``lstm / t=3 / candidate``.
    comparison : Comparison
        The entries.
    diagnosis : list of str
    unsummed : ndarray or None
        For an input that was broadcast: its numeric gradient before it is summed.
    """

    node: Tensor
    input: int
    order: int
    comparison: Comparison
    diagnosis: list[str] = field(default_factory=list)
    unsummed: Array | None = None

    @property
    def op(self) -> str:
        """The operation's name."""
        assert self.node.primitive is not None
        return self.node.primitive.name

    @property
    def step(self) -> int | None:
        """The time step it was recorded in."""
        return self.node.scope.step if self.node.scope else None

    @property
    def path(self) -> str:
        """The scope it was recorded in."""
        return self.node.scope.path if self.node.scope else ""

    def __str__(self) -> str:
        place = f", {self.path}" if self.path else ""
        if self.order == 1:
            return f"{self.op}, input {self.input}{place}"
        of = "the gradient" if self.input < 0 else f"input {self.input}"
        return f"{self.op}: the derivative of its rules with respect to {of}{place}"

    __repr__ = __str__


def rounding(dtype: Any) -> float:
    """The relative rounding error of a floating dtype."""
    return float(np.finfo(dtype).eps)


def method_of(primitive: Any) -> Method:
    """The complex step for what is analytic, differences for the rest."""
    return "complex step" if primitive.analytic else "differences"


def check_nodes(
    nodes: Sequence[Tensor], rng: np.random.Generator, order: int
) -> Iterator[tuple[Tensor, Method, list[Entry], list[Finding]]]:
    """Check recorded operations one by one: their rules, or with order 2 the rules' derivatives.

    Yields
    ------
    node, method, entries, findings
        The comparisons made, and those of them that are wrong or undecided, located.
    """
    for node in nodes:
        value, variables, inputs = (_first_order if order == 1 else _second_order)(node, rng)
        entries, findings = [], []
        method = method_of(node.primitive)
        eps = max(rounding(v.array.dtype) for v in variables)
        tolerance = Tolerance(eps**0.6, 30 * eps)
        for which, i in enumerate(inputs):
            try:
                entry = along(value, variables, which, method, rng, tolerance)
            except TypeError:  # the forward function does not take complex numbers
                method = "differences"
                entry = along(value, variables, which, method, rng, tolerance)
            if entry.verdict == "wrong" and method == "complex step":
                # Is it the rule, or is the forward function not complex-differentiable?
                checked = along(value, variables, which, "differences", rng, tolerance)
                if checked.verdict == "right" and entry.relative > 1e-6:
                    method, entry = "differences", checked
            entries.append(entry)
            if entry.verdict != "right":
                only = _alone(value, variables, which)
                (located,) = compare(*only, method, rng, tolerance, every_entry=_LOCATE_UP_TO)
                if any(e.verdict != "right" for e in located.entries):
                    found = Finding(node, i, order, located)
                    if order == 1 and _was_broadcast(node, i):
                        found.unsummed = _unsummed(node, *only, method)
                    findings.append(found)
        yield node, method, entries, findings


def _alone(
    value: Value, variables: Sequence[Variable], which: int
) -> tuple[Value, Sequence[Variable]]:
    """The same comparison, of one of the variables."""
    arrays: list[Any] = [v.array for v in variables]

    def of_one(one: Sequence[Any]) -> Array:
        return value([*arrays[:which], one[0], *arrays[which + 1 :]])

    return of_one, [variables[which]]


def _was_broadcast(node: Tensor, i: int) -> bool:
    return node.inputs[i].ndim < node.ndim and node.size <= _LOCATE_UP_TO


def _unsummed(
    node: Tensor, value: Value, variables: Sequence[Variable], method: Method
) -> Array | None:
    """The numeric gradient of a broadcast input, every copy of it by itself."""
    try:
        copies = np.broadcast_to(variables[0].array, node.shape)
        return np.array([
            derivative(value, [copies], 0, one_hot(node.shape, index), method).values[0]
            for index in np.ndindex(node.shape)
        ]).reshape(node.shape)  # fmt: skip
    except ValueError:  # not an operation entry by entry: it was not broadcast after all
        return None


Part = tuple[Value, list[Variable], list[int]]


def _differentiable(node: Tensor) -> list[int]:
    return [i for i, x in enumerate(node.inputs) if isinstance(x, Tensor) and x.requires_grad]


def _first_order(node: Tensor, rng: np.random.Generator) -> Part:
    """The operation moved, against its rules."""
    assert node.primitive is not None
    forward, kwargs, recorded = node.primitive.forward, node.kwargs, list(node.arrays)
    g = rng.normal(size=node.shape).astype(node.dtype)
    inputs = _differentiable(node)
    found = messages(node, g)

    def value(arrays: Sequence[Any]) -> Array:
        everything = recorded.copy()
        for i, array in zip(inputs, arrays, strict=True):
            everything[i] = array
        return np.array([np.sum(g * forward(*everything, **kwargs))])

    return value, [_variable(node, i, found.get(i)) for i in inputs], inputs


def _variable(node: Tensor, i: int, message: Any) -> Variable:
    array = node.arrays[i]
    claimed = np.zeros(array.shape) if message is None else np.asarray(message)
    step = node.scope.step if node.scope else None
    return Variable(_place(node, i), array, [claimed], step)


def _place(node: Tensor, i: int) -> str:
    assert node.primitive is not None
    return f"{node.primitive.name}'s {'gradient' if i < 0 else f'input {i}'}"


def _second_order(node: Tensor, rng: np.random.Generator) -> Part:
    """The rules moved, against what the engine says of their derivatives."""
    primitive, inputs = node.primitive, _differentiable(node)
    assert primitive is not None
    weights = {i: rng.normal(size=node.inputs[i].shape) for i in inputs}

    def run(arrays: Sequence[Any], create_graph: bool) -> tuple[list[Tensor], Any]:
        g, *xs = [Tensor(array, requires_grad=True) for array in arrays]
        everything = list(node.arrays)
        for i, x in zip(inputs, xs, strict=True):
            everything[i] = x
        y = primitive.apply(tuple(everything), node.kwargs)
        found = messages(y, g if create_graph else g.data, create_graph)
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
    positions = [-1, *inputs]
    step = node.scope.step if node.scope else None
    return value, [
        Variable(
            _place(node, i),
            leaf.data,
            [np.zeros(leaf.shape) if claimed is None else np.asarray(claimed)],
            step,
        )
        for i, leaf, claimed in zip(positions, leaves, found, strict=True)
    ], positions  # fmt: skip


def messages(node: Tensor, g: Any, create_graph: bool = False) -> dict[int, Any]:
    """What one operation's rules send to its inputs for the gradient `g` of its output.

    This is the traversal's own first step, so whatever it does to a message has been done.
    """
    found: dict[int, Any] = {}

    def observe(tensor: Tensor, i: int, message: Any, total: Any) -> None:
        found[i] = message.dense() if isinstance(message, Scattered) else message

    # The node itself comes first; when the next tensor comes, its rules have run.
    list(itertools.islice(walk(node, g, create_graph, observe=observe), 2))
    return found
