"""Time, found in a record that has none: the n-th use of a recurrent weight is step n.

What runs inside a module's forward is a row of items: operations, and calls of other modules. A
weight is recurrent if the same kind of item uses it again and depends on its last use. Its uses are
the clock of a loop; the loop's body reaches as far around them as the row repeats itself. Each
round becomes the scope of a step, which knows the state that went in and came out, as if `unroll`
had run it. Steps that the user marked are taken as they are.
"""

from __future__ import annotations

import itertools
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from ..engine import Scope, Tensor, add

__all__ = ["find_time"]

Item: TypeAlias = Tensor | Scope
Inside: TypeAlias = dict[Scope | None, list[Item]]
Use: TypeAlias = tuple[int, Tensor]  # the position of an item in its row, and the first use in it


def find_time(
    tensors: Sequence[Tensor],
    parameters: Mapping[int, str],
    modules: Mapping[Scope | None, Any],
    originals: Mapping[int, int],
    offsets: Mapping[int, int],
) -> None:
    """Put the tensors of a record into the steps that they belong to.

    Parameters
    ----------
    tensors : sequence of Tensor
        The oldest first.
    parameters : dict from numbers to names
    modules : dict from scopes to modules
        Whose call each scope is; the whole model's for None.
    originals : dict from numbers to numbers
        What each detached tensor was detached from.
    offsets : dict from numbers to ints
        Where a tensor begins in PyTorch's storage: a loop that goes down runs back in time.
    """
    inside: Inside = {}
    position: dict[int, int] = {}
    for x in tensors:
        for item, above in _upwards(x) if x.primitive is not None else ():
            if id(item) in position:
                break
            row = inside.setdefault(above, [])
            position[id(item)] = len(row)
            row.append(item)
    last_read = {y.number: x.number for x in tensors for y in _inputs(x)}
    weights = _weights(tensors, parameters)
    uses: dict[Scope | None, dict[int, list[Use]]] = {}
    for x in tensors:
        for root in _roots(x, weights) if x.number not in weights else ():
            for item, above in _upwards(x):
                found = uses.setdefault(above, {}).setdefault(root, [])
                if not found or found[-1][0] != position[id(item)]:
                    found.append((position[id(item)], x))
    depth = {above: len(above.chain()) if above else 0 for above in inside}
    for above in sorted(depth, key=lambda s: -depth[s]):  # the innermost loops first
        marked = [s for s in inside[above] if isinstance(s, Scope) and s.t is not None]
        loops = [] if marked else _loops(uses.get(above, {}), inside[above], tensors, originals)
        for clock, roots in loops:
            for outer in [None, *above.chain()[:-1]] if above else []:
                for root in roots:
                    uses.get(outer, {}).pop(root, None)
            name = parameters[roots[0]].rpartition("weight_hh_")[2].removesuffix(".weight")
            if above is None:
                name = type(modules[None]).__name__
            own = above is None or len(loops) > 1
            steps = _lay_out(inside, above, clock, name if own else None, last_read)
            _describe(steps, inside, last_read, weights, originals, offsets)
            steps[0].sequence.owner = modules.get(above)
        if marked:
            _describe(marked, inside, last_read, weights, originals, {})


def _upwards(x: Tensor) -> Iterator[tuple[Item, Scope | None]]:
    """A tensor and the scope around it, that scope and the one around it, and so on."""
    item, above = x, x.scope
    yield item, above
    while above is not None:
        yield above, above.parent
        above = above.parent


def _inputs(x: Tensor) -> list[Tensor]:
    return [y for y in x.inputs if isinstance(y, Tensor)]


def _weights(tensors: Sequence[Tensor], parameters: Mapping[int, str]) -> dict[int, set[int]]:
    """Parameters, and what is computed from them alone, with the parameters it comes from."""
    weights = {number: {number} for number in parameters}
    for x in tensors:
        chosen = x.kwargs.get("repeats")  # rows of an embedding are data
        if x.inputs and not chosen and all(y.number in weights for y in _inputs(x)):
            weights[x.number] = _roots(x, weights)
    return weights


def _roots(x: Tensor, weights: Mapping[int, set[int]]) -> set[int]:
    return set().union(*(weights.get(y.number, ()) for y in _inputs(x)))


def _kind(item: Item) -> Any:
    return item.name if isinstance(item, Scope) else item.primitive


def _loops(
    uses: Mapping[int, list[Use]],
    row: Sequence[Item],
    tensors: Sequence[Tensor],
    originals: Mapping[int, int],
) -> list[tuple[list[Use], list[int]]]:
    """The clock of each loop in a row, and the recurrent weights that it uses."""
    clocks = []
    for root, found in uses.items():
        kinds: dict[Any, list[Use]] = {}
        for use in found:
            kinds.setdefault(_kind(row[use[0]]), []).append(use)
        for same in kinds.values():
            if len(same) > 1 and _depends(same[1][1], same[0][1], tensors, originals):
                clocks.append((same, [root]))
    loops: list[tuple[list[Use], list[int]]] = []
    for clock, roots in sorted(clocks, key=lambda c: (c[0][0][0], -len(c[0]))):
        if not loops or clock[0][0] > loops[-1][0][-1][0]:
            loops.append((clock, roots))
        else:  # used in the same loop: the one used most often is its clock
            before, others = loops[-1]
            loops[-1] = (max(before, clock, key=len), others + roots)
    return loops


def _depends(
    x: Tensor, on: Tensor, tensors: Sequence[Tensor], originals: Mapping[int, int]
) -> bool:
    reached = {on.number}
    first = bisect(tensors, on.number, key=lambda y: y.number)
    for y in tensors[first : bisect(tensors, x.number, key=lambda y: y.number)]:
        if any(originals.get(z.number, z.number) in reached for z in _inputs(y)):
            reached.add(y.number)
    return x.number in reached


def _lay_out(
    inside: Inside,
    above: Scope | None,
    uses: Sequence[Use],
    name: str | None,
    last_read: Mapping[int, int],
) -> list[Scope]:
    """Make the steps of a loop, and move the items of each round into its step."""
    row = inside[above]
    clock = [at for at, _ in uses]
    own = itertools.takewhile(  # what a later round reads too was made for all of them
        lambda x: isinstance(x, Scope) or last_read.get(x.number, 0) < uses[1][1].number,
        row[: clock[0]][::-1],
    )
    before = _alike(row[clock[0] + 1 : clock[1]][::-1], list(own))
    end = clock[-1] + 1 + _alike(row[clock[-2] + 1 : clock[-1] - before], row[clock[-1] + 1 :])
    sequence = above
    if name is not None:
        sequence = Scope(name)
        sequence.parent, sequence.step = above, above.step if above else None
    starts = [max(a + 1, b - before) for a, b in itertools.pairwise([-1, *clock])]
    steps = []
    for t, (a, b) in enumerate(itertools.pairwise([*starts, end])):
        step = Scope(f"t={t}", t=t)
        step.parent = sequence
        inside[step] = row[a:b]
        for item in row[a:b]:
            setattr(item, "parent" if isinstance(item, Scope) else "scope", step)
        steps.append(step)
    return steps


def _alike(items: Sequence[Item], others: Sequence[Item]) -> int:
    """How many items at the beginning are of the same kind."""
    pairs = zip(map(_kind, items), map(_kind, others), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _contents(scope: Scope, inside: Inside) -> tuple[list[Tensor], list[Scope]]:
    """The tensors in a scope, the oldest first, and the scopes in it that are of its step."""
    waiting, tensors, scopes = [scope], [], []
    for here in waiting:  # grows as it goes
        for item in inside.get(here, ()):
            if isinstance(item, Tensor):
                tensors.append(item)
            else:
                waiting.append(item)
                if item.t is None and (here is scope or here in scopes):
                    scopes.append(item)
    return sorted(tensors, key=lambda x: x.number), scopes


def _describe(
    steps: Sequence[Scope],
    inside: Inside,
    last_read: Mapping[int, int],
    weights: Mapping[int, Any],
    originals: Mapping[int, int],
    offsets: Mapping[int, int],
) -> None:
    """Write on each step what went in and came out; turn time around if the loop ran back."""
    contents = [_contents(step, inside) for step in steps]
    rounds = [found for found, _ in contents]
    carried: list[dict[int, tuple[int, int]]] = []  # what a step made: which reader's which input
    for a, b in itertools.pairwise(rounds):
        made = {x.number: k for k, x in enumerate(a)}
        read = {y.number for x in b for y in _inputs(x)}
        readers: dict[int, list[tuple[int, int]]] = {}
        for k, x in enumerate(b):
            for j, y in enumerate(x.inputs):
                number = originals.get(y.number, y.number) if isinstance(y, Tensor) else -1
                if number in made:
                    readers.setdefault(made[number], []).append((k, j))
        carried.append({
            maker: places[0] for maker, places in readers.items()
            if len(places) > 1 or (x := b[places[0][0]]).primitive is not add or x.number in read
        })  # fmt: skip
    into, out_of = [*carried[:1], *carried], [*carried, *carried[-1:]]
    for t, (step, found) in enumerate(zip(steps, rounds, strict=True)):
        step.state_in = step.state_out = ()
        if carried:  # the first step and the last are like their neighbours
            second, last = rounds[max(t, 1)], rounds[min(t, len(rounds) - 2)]
            step.state_in = tuple(
                y.number for k, j in into[t].values()
                if _alike(found[k : k + 1], second[k : k + 1])
                and isinstance(y := found[k].inputs[j], Tensor)
            )  # fmt: skip
            step.state_out = tuple(
                found[k].number for k in out_of[t] if _alike(found[k : k + 1], last[k : k + 1])
            )
        outputs = [x.number for x in found if last_read.get(x.number, 0) > rounds[-1][-1].number]
        step.output = next(iter([*outputs[-1:], *step.state_out]), None)
        known = {*step.state_in, *weights, *(x.number for x in found)}
        for reader, y in ((x, y) for x in found for y in _inputs(x)):
            if step.input is None and y.number not in known:
                step.input = y.number
            if y.number == step.input and reader.primitive and reader.primitive.view:
                step.input = reader.number
    begins = [offsets.get(step.input or -1, 0) for step in steps]
    if len(steps) > 1 and all(b < a for a, b in itertools.pairwise(begins)):
        for t, step in enumerate(reversed(steps)):
            step.t = step.step = t
            step.name = f"t={t}"
    for step, (_, scopes) in zip(steps, contents, strict=True):
        for scope in scopes:
            scope.step = step.step
