"""The same step, with sums and products put so that most of it need not wait.

Rewritings, each true of numbers, if not to the last digit:

- ``a + (-b)`` becomes ``a - b``;
- ``d · h - d · n`` becomes ``d · (h - n)``, if only d waits for the gradient of the next step;
- products: ``(d · y) · (1 - y)`` becomes ``d · (y · (1 - y))``: the second factor does not wait for
  the gradient d that comes from the next step, and can be computed for all steps at once;
- sums likewise: ``x W + h U + b`` becomes ``(x W + b) + h U``;
- slices written into zeros and added become one concatenation;
- a function of slices that stand side by side becomes slices of one function's result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np

from ..engine import Primitive
from ..engine import primitives as p
from .record import Node, Step, exchanged, together

__all__ = ["depends_on", "factor", "is_slice", "order", "regroup", "side_by_side", "users"]


def order(roots: Iterable[Node | None]) -> list[Node]:
    """Everything the roots depend on, each node after its inputs, else as it was recorded."""
    waiting = [root for root in roots if root is not None]
    missing: dict[Node, int] = {}
    while waiting:
        node = waiting.pop()
        if node not in missing:
            missing[node] = len(node.nodes)
            waiting += node.nodes
    used = users(missing)
    ready = [(node.number, k, node) for k, node in enumerate(missing) if not node.nodes]
    heapify(ready)
    found = []
    while ready:
        *_, node = heappop(ready)
        found.append(node)
        for user in used.get(node, ()):
            missing[user] -= 1
            if not missing[user]:
                heappush(ready, (user.number, len(missing) + len(found), user))
    return found


def users(nodes: Iterable[Node]) -> dict[Node, list[Node]]:
    """Who uses each node, once for each use."""
    found: dict[Node, list[Node]] = {}
    for node in nodes:
        for x in node.nodes:
            found.setdefault(x, []).append(node)
    return found


def depends_on(nodes: Iterable[Node], leaves: Iterable[Node]) -> set[Node]:
    """The leaves, and those of the nodes, given in order, that depend on one of them."""
    found = set(leaves)
    for node in nodes:
        if any(x in found for x in node.nodes):
            found.add(node)
    return found


def factor(step: Step) -> Step:
    """The same step, after the first two rewritings."""
    nodes = order(step.roots())
    used = users(nodes)
    waits = depends_on(nodes, step.d_states)
    for node in (n for n in nodes if n.primitive is p.add):
        a, b = node.inputs
        if isinstance(b, Node) and b.primitive is p.negative and len(used[b]) == 1:
            b = b.inputs[0]
            _become(node, p.subtract, a, b)
        parts = [x.nodes for x in (a, b) if _is_product(x, node, used)]
        common = [x for x in parts[0] if x in waits and x in parts[1]] if len(parts) == 2 else []
        if len(common) == 1:
            rest = [next(y for y in part if y is not common[0]) for part in parts]
            if not any(y in waits or (y.shape, y.dtype) != (node.shape, node.dtype) for y in rest):
                inner = replace(node, inputs=tuple(rest), name=None, told=False)
                _become(node, p.multiply, common[0], inner)
    return step


def _is_product(x: Any, like: Node, used: Mapping[Node, list[Node]]) -> bool:
    """Whether a value is the product of two others, for one use, of the shape of `like`."""
    return (
        isinstance(x, Node) and x.primitive is p.multiply and len(used[x]) == 1
        and (x.shape, x.dtype) == (like.shape, like.dtype) and len({*x.nodes}) == 2
    )  # fmt: skip


def _become(node: Node, do: Primitive, *inputs: Any, **settings: Any) -> None:
    node.primitive, node.inputs, node.settings = do, inputs, settings
    node.nodes = [x for x in inputs if isinstance(x, Node)]


def regroup(step: Step) -> Step:
    """The same step, with products, sums and slices regrouped as above."""
    roots = step.roots()
    nodes = order(roots)
    used = users(nodes)
    for root in roots:
        used.setdefault(root, []).append(root)
    carried = depends_on(nodes, [*step.states, *step.d_states])
    d_carried = depends_on(nodes, step.d_states)
    gradients = depends_on(nodes, [step.d_output, *step.d_states])
    timed = depends_on(nodes, [*step.inputs, *step.states, step.d_output, *step.d_states])
    new: dict[Node, Node] = {}

    def done(x: Any) -> Any:
        return new.get(x, x) if isinstance(x, Node) else x

    for node in nodes:
        new[node] = node.on(done) if node.primitive else node
        if node.primitive is not p.add and node.primitive is not p.multiply:
            continue
        terms = list(_terms(node, used))
        pieces = [
            t for t in terms
            if isinstance(t, Node) and t.primitive is p.scatter and not t.settings["repeats"]
        ]  # fmt: skip
        if node.primitive is p.add and (axis := _tiles(node, pieces)) is not None:
            pieces.sort(key=lambda piece: piece.settings["key"][axis].start)
            parts = tuple(done(piece.inputs[0]) for piece in pieces)
            whole = replace(node, primitive=p.concatenate, inputs=parts, settings={"axis": axis})
            rest = [done(t) for t in terms if t not in pieces]
            new[node] = _joined(node, [whole, *rest]) if rest else whole
            continue
        loop = d_carried if node in gradients else carried
        waits = [isinstance(t, Node) and t in loop for t in terms]
        fits = all(
            t.dtype == node.dtype and (t.shape == node.shape or t not in timed)
            for t in terms if isinstance(t, Node)
        )  # fmt: skip
        if fits and len(terms) > 2 and len(set(waits)) > 1:
            early = [done(t) for t, w in zip(terms, waits, strict=True) if not w]
            late = [done(t) for t, w in zip(terms, waits, strict=True) if w]
            new[node] = _joined(node, [_joined(node, early, named=False), *late])
    return Step(**exchanged(vars(step), done))


def side_by_side(step: Step) -> Step:
    """The same step with one call where a function is applied to slices next to each other."""
    nodes = order(step.roots())
    used = users(nodes)
    groups: dict[Any, list[tuple[slice, Node]]] = {}
    for node in nodes:
        x = node.nodes[0] if len(node.inputs) == 1 and node.nodes and not node.settings else None
        if x and node.primitive and node.primitive.entrywise and len(used[x]) == 1 and is_slice(x):
            key = x.settings["key"]
            if _is_span(key, len(key) - 1):
                group = groups.setdefault((node.primitive, x.inputs[0], len(key)), [])
                group.append((key[-1], node))
    for group in groups.values():
        group.sort(key=lambda part: part[0].start)
        while group:
            run = [group.pop(0)]
            while group and group[0][0].start == run[-1][0].stop:
                run.append(group.pop(0))
            if len(run) > 1:
                _apply_once(run)
    return step


def _apply_once(run: Sequence[tuple[slice, Node]]) -> None:
    """Make slices of one result out of results of slices."""
    start, stop, first = run[0][0].start, run[-1][0].stop, run[0][1]
    part = first.nodes[0]
    before = part.settings["key"][:-1]
    shape = (*first.shape[: len(before)], stop - start, *first.shape[len(before) + 1 :])
    whole = replace(part, shape=shape, settings=_key(before, start, stop), name=None, told=False)
    name = together([node.name for _, node in run if node.name])
    result = replace(first, inputs=(whole,), shape=shape, name=name or None, told=True)
    for place, node in run:
        _become(node, p.take, result, **_key(before, place.start - start, place.stop - start))


def _key(before: Sequence[slice], start: int, stop: int) -> dict[str, Any]:
    return {"key": (*before, slice(start, stop)), "repeats": False}


def is_slice(node: Node) -> bool:
    """Whether a node is a part of another one that slices cut out."""
    return node.primitive is p.take and all(isinstance(k, slice) for k in node.settings["key"])


def _terms(node: Node, used: Mapping[Node, list[Node]]) -> Iterator[Any]:
    """The operands of a chain of one operation, as far as nobody else uses what is between."""
    waiting = [*node.inputs[::-1]]
    while waiting:
        x = waiting.pop()
        chained = isinstance(x, Node) and x.primitive is node.primitive
        if chained and len(used[x]) == 1 and (x.shape, x.dtype) == (node.shape, node.dtype):
            waiting += x.inputs[::-1]
        else:
            yield x


def _joined(like: Node, terms: Sequence[Any], named: bool = True) -> Any:
    """The operation of `like` on any number of operands, from the left."""
    result = terms[0]
    for k, term in enumerate(terms[1:], 2):
        shape = np.broadcast_shapes(np.shape(result), np.shape(term))
        last = named and k == len(terms)
        name, told = (like.name, like.told) if last else (None, False)
        result = replace(like, inputs=(result, term), shape=shape, name=name, told=told)
    return result


def _tiles(node: Node, pieces: Sequence[Node]) -> int | None:
    """The axis along which slices put side by side cover the whole array, if they do."""
    keys = [piece.settings["key"] for piece in pieces]
    axis = max(map(len, keys), default=0) - 1
    spans = sorted((key[-1].start, key[-1].stop) for key in keys if _is_span(key, axis))
    ends = [stop for _, stop in spans]
    meets = len(spans) == len(keys) > 1 and [start for start, _ in spans] == [0, *ends[:-1]]
    return axis if meets and ends[-1] == node.shape[axis] else None


def _is_span(key: tuple[Any, ...], axis: int) -> bool:
    """Whether a key is a plain slice along one axis, from a number to a number."""
    if len(key) <= axis or any(k != slice(None) for k in key[:axis]):
        return False
    last = key[axis]
    return isinstance(last, slice) and last.step is None and None not in (last.start, last.stop)
