"""When each value of a step is computed: once, before, in or after the loop over the steps.

What depends on the weights alone is computed once. What does not wait for the recurrence is
computed for all steps at once, before the loop; what the recurrence does not wait for, after it.
The loop keeps what is used outside of it. A `Schedule` is plain data, from which a
program can be printed in any language.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..engine import primitives as p
from ..functions import reductions as r
from .record import Node, Step
from .rewrite import depends_on, order, users

__all__ = ["ALONG_AXIS", "PLURALS", "Pass", "Schedule", "Sum", "axis_of", "schedule"]

# From this many numbers on, a pass over memory costs more than a call of NumPy: backward, what one
# step needs is computed in the loop, where it stays in the processor's cache.
_LARGE = 512
PLURALS = {"x": "xs", "target": "targets", "running": "running"}  # what changes with the step
_PLACES = ("once", "before", "loop", "after")
# What a program says of what it computes there, forward and backward.
_AFTER = "What the recurrence does not need: all steps at once."
_COMMENTS = (
    {
        "once": "What needs only the weights.",
        "before": "What needs only the inputs: all steps at once.",
        "loop": "The recurrence.",
        "after": _AFTER,
    },
    {
        "once": "What does not wait for the gradient.",
        "before": "What does not wait for the gradient.",
        "loop": "The recurrence, backwards.",
        "after": _AFTER,
    },
)

# Operations along an axis, which is another one where the steps are the first.
ALONG_AXIS = [p.sum, p.concatenate, p.stack, r.max, r.min, r.softmax, r.log_softmax, r.logsumexp]


class Sum(NamedTuple):
    """A part of a weight's gradient, summed over all steps.

    "product" of two matrices, the first one transposed; "columns" of a matrix; a "scatter" of
    vectors over a table's rows; or of "steps", whatever they are.
    """

    kind: str
    node: Node
    values: tuple[Node, ...]


@dataclass
class Pass:
    """The forward or the backward pass.

    `carried` are the leaves that one step passes to the next, `ends` their new values, `places`
    the values that are computed "once", "before", in the "loop" and "after", in order, and
    `comments` what a program says of each place.
    """

    carried: list[Node]
    ends: list[Node | None]
    places: dict[str, list[Node]]
    comments: dict[str, str]


@dataclass
class Schedule:
    """A step's values in two passes.

    Attributes
    ----------
    timed : set of Node
        What differs from step to step.
    kept : set of Node
        Values of a loop, and what it carries, that are needed for all steps.
    sums : list
        For each weight, the terms of its gradient.
    results : list
        The output, the gradients of the inputs, and what is summed: once for each use.
    users : dict
        Who else uses each value, once for each use.
    ahead : set of Node
        What the forward pass computes.
    """

    step: Step
    forward: Pass
    backward: Pass
    timed: set[Node]
    kept: set[Node]
    sums: list[list[Sum]]
    results: list[Node]
    users: dict[Node, list[Node]]
    ahead: set[Node]

    @property
    def passes(self) -> tuple[Pass, Pass]:
        """The forward and the backward pass."""
        return self.forward, self.backward

    def label(self, node: Node) -> str:
        """The name in the cell's code, or one that says what it is for."""
        parts = [x.name for x in node.nodes if x.name]
        if node.name:
            return node.name
        if node.primitive is p.matmul and len(parts) == 2:
            return "_".join(parts)
        if node.primitive is p.transpose and parts:
            return f"{parts[0]}_T"
        if node.primitive and node.primitive.entrywise and len(node.inputs) == len(parts) == 1:
            return f"{node.primitive.name}_{parts[0]}"
        if node in self.forward.places["before"]:
            return "from_x"
        ahead, forward = node, node in self.ahead
        for _ in range(8):  # what it is a part of
            near = {u for u in self.users.get(ahead, ()) if (u in self.ahead) == forward}
            if ahead.name or len(near) != 1:
                break
            (ahead,) = near
        stem = (ahead.name or "").removeprefix("d_")
        return "part" if not stem else f"to_{stem}" if stem == ahead.name else f"slope_{stem}"

    def plural(self, node: Node) -> str:
        """What to call a value of all steps."""
        label = self.label(node)
        return f"{label}es" if len(label) > 3 and label.endswith("s") else f"{label}s"


def schedule(step: Step, fused: bool = False) -> Schedule:
    """The schedule of a step.

    Where loops are `fused`, a pass over memory costs more than anything else: what only a loop
    needs is computed in it.
    """
    sums = [_sums(g) for g in step.d_weights]
    terms = [n for each in sums for part in each for n in part.values]
    results = [n for n in (step.output, *step.d_inputs, *terms) if n is not None]
    forward = order([step.output, *step.new_states])
    every = order([*forward, *step.d_old_states, *results])
    ahead = set(forward)
    backward = [n for n in every if n not in ahead]
    timed = depends_on(every, [*step.inputs, *step.states, step.d_output, *step.d_states])
    used = users(every)
    large = {n for n in backward if math.prod(n.shape) > _LARGE}
    cached = set() if fused else large
    one = _placed(forward, step.states, step.new_states, timed, used, set(), fused, _COMMENTS[0])
    other = _placed(
        backward, step.d_states, step.d_old_states, timed, used, cached, fused, _COMMENTS[1]
    )
    kept = set()
    for part in (one, other):
        loop = set(part.places["loop"])
        for n in [*part.carried, *loop]:
            if n in results or any(u not in loop for u in used.get(n, ())):
                kept.add(n)
    return Schedule(step, one, other, timed, kept, sums, results, used, ahead)


def _placed(
    nodes: Sequence[Node], carried: list[Node], ends: Sequence[Node | None], timed: set[Node],
    used: dict[Node, list[Node]], cached: set[Node], fused: bool, comments: dict[str, str],
) -> Pass:  # fmt: skip
    """Where each value is computed; of those `cached`, none before the loop that needs it."""
    waits, needed, here = depends_on(nodes, carried), set(order(ends)), set(nodes)
    place: dict[Node, str] = {}
    for node in (n for n in nodes if n.primitive):
        sources = {place.get(x) for x in node.nodes if x in here}
        free = batchable(node, timed)
        if node not in timed:
            place[node] = "once"
        elif node in waits or sources & {"loop", "after"}:
            place[node] = "after" if free and node not in needed else "loop"
        else:
            place[node] = "before" if free and not (node in needed and node in cached) else "loop"
    for node in reversed(nodes):
        later = {place[u] for u in used.get(node, ()) if u in here}
        if place.get(node) == "before" and later == {"after"} and node not in needed:
            place[node] = "after"
        if fused and place.get(node) == "before" and later == {"loop"}:
            place[node] = "before" if node.primitive is p.matmul else "loop"
        # What cannot be computed for all steps at once is in the loop, and so what it needs. Parts
        # that a loop has made are put side by side there, while they are at hand.
        joins = node.primitive is p.concatenate and {place.get(x) for x in node.nodes} == {"loop"}
        if place.get(node) == "after" and ("loop" in later or joins):
            place[node] = "loop"
    found = {at: [n for n in nodes if place.get(n) == at] for at in _PLACES}
    # What only the next step uses comes last, so that it can take the old value's name.
    last = {n for n in ends if n and "loop" not in {place[u] for u in used.get(n, ()) if u in here}}
    found["loop"].sort(key=last.__contains__)
    return Pass(list(carried), list(ends), found, comments)


def batchable(node: Node, timed: set[Node]) -> bool:
    """Whether the operation can be done for all steps at once, with the steps as first axis."""
    do, inputs = node.primitive, [x for x in node.nodes if x in timed]
    assert do is not None
    if do is p.take and node.inputs[0] not in timed:  # rows of a table, by words
        return len(node.settings["key"]) == 1
    if any(all(x is not other for other in node.inputs) for x in inputs):
        return False
    if do is p.matmul:
        a, b = node.inputs
        return len(np.shape(a)) == len(np.shape(b)) == 2 and b not in timed
    if do in ALONG_AXIS:
        return axis_of(node) is not None and len(inputs) == len(node.inputs)
    if do is p.take or do is p.scatter:
        return all(isinstance(k, (slice, int)) for k in node.settings["key"])
    if do is p.reshape:
        return True
    if do.entrywise or do is p.astype or do is p.broadcast_to:
        return all(len(x.shape) == len(node.shape) for x in inputs)
    return False


def axis_of(node: Node) -> Any:
    """The axis that an operation goes along, or several, or None for all."""
    assert node.primitive is not None
    default = inspect.signature(node.primitive.forward).parameters["axis"].default
    return node.settings.get("axis", default)


def _sums(g: Node | None) -> list[Sum]:
    found = []
    waiting = [g] if g is not None else []
    while waiting:
        node = waiting.pop(0)
        do, a, b = node.primitive, *(*node.nodes, None, None)[:2]
        same = [x.shape == node.shape for x in node.nodes]
        if do is p.add and len(same) == 2 and all(same):
            waiting += node.nodes
        elif do is p.matmul and a and b and a.primitive is p.transpose and (
            len(a.shape) == len(b.shape) == 2 and a.settings.get("axes") is None
        ):  # fmt: skip
            found.append(Sum("product", node, (a.nodes[0], b)))
        elif do is p.sum and a and len(a.shape) == 2 and (
            node.settings.get("axis") in (0, (0,)) and not node.settings.get("keepdims")
        ):  # fmt: skip
            found.append(Sum("columns", node, (a,)))
        elif do is p.scatter and b and len(node.settings["key"]) == 1:  # rows of a table, by words
            found.append(Sum("scatter", node, tuple(node.nodes)))
        else:
            found.append(Sum("steps", node, (node,)))
    return found
