"""From the trace of one traversal to a graph of vertices with their places in time.

What lives here: which step and which band of steps each tensor belongs to, which tensors carry the
state from step to step, which are shared over time. How much of it is drawn, and the size that each
thing shows, is decided in contract.py; what things are called in labels.py; where they go in
layout.py.

A *band* is a row of time steps, such as one layer in one direction, or the losses of every step;
what comes after all steps is a band of one step too. A *slot* is a column of steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from tinygrad_rnn import Scope, Tensor, Trace, backprop
from tinygrad_rnn.check import Report
from tinygrad_rnn.engine.tensor import Primitive

__all__ = ["Band", "Graph", "Link", "Step", "Vertex", "as_trace", "collect", "is_view"]
__all__ += ["mark_entries", "step_of"]

Place: TypeAlias = tuple[int, int]  # band, slot


@dataclass(slots=True, eq=False)
class Link:
    """One input of a vertex: where it comes from, and the message that goes back along it."""

    source: Vertex
    index: int  # which input of the reader; -1 where a state was detached
    events: tuple[int, ...] = ()
    value: float | None = None
    total: float | None = None  # the size of the source's running sum after the message
    state: int | None = None  # which state enters the step by it, if one does


@dataclass(slots=True, eq=False)
class Vertex:
    """A tensor that may be drawn.

    Attributes
    ----------
    tensor : Tensor or None
        None for a constant array.
    order : float
        Its place on the tape; a constant stands just before its first reader.
    place : (band, slot) or None
        None for what is shared by several steps.
    """

    tensor: Tensor | None
    order: float
    array: Any = None  # of a constant
    value: float | None = None
    place: Place | None = None
    inputs: list[Link] = field(default_factory=list)
    readers: list[Vertex] = field(default_factory=list)
    rank: int = -1  # the n-th of all
    state: int | None = None  # the index of the state it carries to the next step
    initial: bool = False  # holds such a state before the first step
    is_input: bool = False  # brings a step its data
    is_output: bool = False
    final: bool = False  # the output that was traced
    label: str = ""
    letter: str = ""  # of the state
    span: list[tuple[int | None, float | None]] = field(default_factory=list)  # of a folded state

    @property
    def number(self) -> int:
        """The tensor's number on the tape; -1 for a constant array."""
        return -1 if self.tensor is None else self.tensor.number

    @property
    def operation(self) -> Primitive | None:
        """What made it; None for a leaf or a constant."""
        return None if self.tensor is None else self.tensor.primitive

    @property
    def computed(self) -> bool:
        """Whether it is the result of an operation, not a leaf."""
        return self.operation is not None

    @property
    def data(self) -> Any:
        """The values."""
        return self.array if self.tensor is None else self.tensor.data

    def sizes(self) -> list[float | None]:
        """All that is drawn of it: its own, its messages', its running sums'."""
        return [self.value, *(v for link in self.inputs for v in (link.value, link.total))]


@dataclass(slots=True, eq=False)
class Step:
    """One step of one band: its vertices in the order of the tape."""

    slot: int
    t: int | None
    scope: Scope | None = None
    vertices: list[Vertex] = field(default_factory=list)
    entries: dict[int, int] = field(default_factory=dict)  # id of a vertex -> state it comes in as
    hidden: tuple[int, int, int] | None = None  # of a fold: how many steps, the first, the last

    def starts(self) -> list[Vertex]:
        """The initial or detached states that stand before it."""
        found = {id(e.source): e.source for v in self.vertices for e in v.inputs}
        return [v for key, v in found.items() if v.initial and key in self.entries]


@dataclass(slots=True, eq=False)
class Band:
    """A row of steps, in the order in which they were computed."""

    name: str
    steps: list[Step]
    owners: list[Any] = field(default_factory=list)
    reverse: bool = False
    after: bool = False  # follows the steps: losses and what joins the outputs
    states: int = 0
    letters: list[str] = field(default_factory=list)
    shared: list[Vertex] = field(default_factory=list)

    def series(self, k: int) -> list[tuple[int, int | None, Vertex]]:
        """Slot and time of a state at every step, and the state, in the order of time."""
        found = (
            (step.slot, step.t, vertex)
            for step in self.steps
            for vertex in step.vertices
            if vertex.state == k and vertex.computed
        )
        return sorted(found, key=lambda entry: entry[0])


@dataclass(slots=True, eq=False)
class Graph:
    """Everything that is drawn of one record.

    Attributes
    ----------
    before : list of Vertex
        What the shared vertices were computed from.
    bad : Vertex or None
        The first in the traversal whose gradient is infinite or NaN, or that passes on an error.
    """

    vertices: list[Vertex]
    bands: list[Band]
    slots: int
    before: list[Vertex]
    trace: Trace
    bad: Vertex | None = None


def as_trace(output: Any, keep: Literal["norms", "arrays"] = "norms") -> Trace:
    """The trace itself, that of an output (of its sum), or that of a check's errors."""
    if isinstance(output, Report):
        output = output.trace
    if isinstance(output, Trace):
        return output
    if not isinstance(output, Tensor):
        raise TypeError(f"expected a Tensor or a Trace to draw, not a {type(output).__name__}")
    start = None if output.size == 1 else np.ones(output.shape, output.dtype)
    return backprop(output, start, keep)


def collect(trace: Trace) -> Graph:
    """The graph that a trace has walked: every tensor a vertex at its place in time."""
    vertices = {tensor.number: Vertex(tensor, tensor.number) for tensor in trace.tensors[::-1]}
    for i, event in enumerate(trace.events):
        reader, source = vertices[event.tensor.number], vertices[event.input.number]
        reader.inputs.append(Link(source, event.index, (i,)))
        source.readers.append(reader)
    bands, slots = _place(list(vertices.values()))
    everything = [*vertices.values(), *_constants(vertices.values())]
    everything.sort(key=lambda v: v.order)
    everything[-1].final = True
    steps = {(b, step.slot): step for b, band in enumerate(bands) for step in band.steps}
    before = []
    for rank, vertex in enumerate(everything):
        vertex.rank = rank
        if vertex.place is not None:
            steps[vertex.place].vertices.append(vertex)
        elif users := {r.place[0] for r in vertex.readers if r.place is not None}:
            for b in sorted(users):
                bands[b].shared.append(vertex)
        else:
            before.append(vertex)
    numbers = {vertex.number for vertex in everything}
    for band in bands:
        _find_states(band, numbers)
    return Graph(everything, bands, slots, before, trace)


def step_of(tensor: Tensor | None) -> Scope | None:
    """The scope of the innermost time step in which a tensor was computed."""
    scope = None if tensor is None or tensor.primitive is None else tensor.scope
    while scope is not None and scope.t is None:
        scope = scope.parent
    return scope


def _place(vertices: Sequence[Vertex]) -> tuple[list[Band], int]:
    """Give each vertex its band and slot; those that several steps share keep none."""
    scopes = {id(vertex): step_of(vertex.tensor) for vertex in vertices}
    owners: dict[Scope, list[Any]] = {}
    keys: dict[Scope, tuple[Any, ...]] = {}
    recurrent = set()
    for marked in dict.fromkeys(scope for scope in scopes.values() if scope is not None):
        chain = marked.chain()
        owners[marked] = [s.owner for s in chain if s.owner is not None]
        keys[marked] = (*(s.name for s in chain[:-1]), id(next(iter(owners[marked][::-1]), None)))
        if marked.state_in is not None:
            recurrent.add(keys[marked])
    for vertex in vertices:
        scope = scopes[id(vertex)]
        for link in vertex.inputs if scope is not None else ():
            other = scopes[id(link.source)]
            if other and scope and keys[other] == keys[scope] and other.t != scope.t:
                recurrent.add(keys[scope])
    # Where some cell runs over time, other marks of a step say only which step a thing belongs to.
    bands: dict[Any, Band] = {}
    steps: dict[Scope, tuple[int, Step]] = {}
    for marked, key in keys.items():
        if key in recurrent or not recurrent:
            band = bands.setdefault(key, Band(" / ".join(key[:-1]), [], owners[marked]))
            steps[marked] = (list(bands).index(key), Step(0, marked.t, marked))
            band.steps.append(steps[marked][1])
    found = list(bands.values())
    times = sorted({step.t for band in found for step in band.steps if step.t is not None})
    slot_of, slots = {t: i for i, t in enumerate(times)}, len(times)
    for band in found:
        ts = [step.t or 0 for step in band.steps]
        band.reverse = len(ts) > 1 and ts[1] < ts[0]
        again = len(set(ts)) < len(ts)  # one cell run over several chunks: side by side
        for i, step in enumerate(band.steps):
            step.slot = i if again else slot_of[ts[i]]
        slots = max(slots, len(ts))
    hints: dict[int, int] = {}
    for vertex in vertices:
        inside = scopes[id(vertex)]
        if inside in steps:
            vertex.place = (steps[inside][0], steps[inside][1].slot)
        elif inside is not None and inside.t in slot_of:
            hints[id(vertex)] = slot_of[inside.t]
    _place_after(vertices, found, slots, hints)
    states = {n for scope in steps for n in scope.state_in or ()}
    first_after = len(bands)
    for vertex in reversed(vertices):  # what comes before: with its readers, if they are together
        places = {reader.place for reader in vertex.readers} if vertex.place is None else set()
        if len(places) == 1:
            (place,) = places
            weight = place is not None and (slots == 1 or (slots and place[0] >= first_after))
            if vertex.computed or not weight or vertex.number in states:
                vertex.place = place
    return found, slots


def _place_after(
    vertices: Sequence[Vertex], bands: list[Band], slots: int, hints: dict[int, int]
) -> None:
    """Places for what follows the steps: losses sit at their steps, the rest at the end."""
    after: dict[int, int] = {}
    for vertex in vertices:
        if vertex.place is not None or not vertex.computed:
            continue
        places = [(link.source.place, after.get(id(link.source), -1)) for link in vertex.inputs]
        found = {place[1] if place is not None else slot for place, slot in places} - {-1}
        if found or not bands:
            # A sum of two joins the later step: an accumulated loss runs along its own row.
            together = len(found) == 1 or (len(found) == 2 and len(vertex.inputs) == 2)
            slot = hints.get(id(vertex), max(found) if together else slots)
            after[id(vertex)] = slots if vertex is vertices[-1] else slot
    spread = sorted(set(after.values()) - {slots})
    if len(spread) > 1:
        times = {step.slot: step.t for band in bands for step in band.steps}
        bands.append(Band("", [Step(slot, times.get(slot)) for slot in spread], after=True))
    if after:
        bands.append(Band("", [Step(slots, None)], after=True))
    for vertex in vertices:
        if id(vertex) in after:
            slot = after[id(vertex)] if len(spread) > 1 else slots
            vertex.place = (len(bands) - (1 if slot == slots else 2), slot)


def _constants(vertices: Iterable[Vertex]) -> list[Vertex]:
    """Vertices for constant arrays: inputs, targets, initial and detached states."""
    made: dict[tuple[int, Place | None], Vertex] = {}
    originals = {id(v.data): v for v in vertices if v.computed}
    for vertex in vertices:
        assert vertex.tensor is not None
        for index, x in enumerate(vertex.tensor.inputs):
            array = vertex.tensor.arrays[index]
            kind = getattr(array, "dtype", np.dtype(bool)).kind
            drawn = np.ndim(array) and array.size and kind in "fiuc"
            if (isinstance(x, Tensor) and x.requires_grad) or not drawn:
                continue
            key = (id(array if isinstance(x, Tensor) else x), vertex.place)
            if key not in made:
                tensor = x if isinstance(x, Tensor) else None
                made[key] = Vertex(tensor, vertex.order - 0.5, array, place=vertex.place)
                original = originals.get(id(array))
                if original is not None and original.order < vertex.order:
                    made[key].inputs.append(Link(original, -1))  # detached
            vertex.inputs.append(Link(made[key], index))
            made[key].readers.append(vertex)
        vertex.inputs.sort(key=lambda link: link.index)
    return list(made.values())


# --- states ---------------------------------------------------------------------------------------


def _find_states(band: Band, numbers: set[int]) -> None:
    """Mark what a step makes of the state, its input and its output, and what it starts from."""
    if any(step.scope is None or step.scope.state_in is None for step in band.steps):
        _guess_states(band)
    else:
        for step in band.steps:
            _read_states(band, step)
    band.states = 1 + max((k for step in band.steps for k in step.entries.values()), default=-1)
    for step in band.steps:
        if step.scope is not None and step.scope.input not in numbers:
            _guess_input(step)
        for vertex in step.vertices:
            if vertex.state is not None:
                band.states = max(band.states, vertex.state + 1)
        starts: dict[int, Vertex] = {}
        for source in (e.source for v in step.vertices for e in v.inputs):
            if not source.computed and source.place is not None and id(source) in step.entries:
                k = step.entries[id(source)]
                if starts.setdefault(k, source) is source:
                    source.initial, source.state = True, k
        step.vertices = [vertex for vertex in step.vertices if not vertex.initial]


def _read_states(band: Band, step: Step) -> None:
    """From what `unroll` wrote on the step's scope."""
    scope = step.scope
    assert scope is not None
    entering = {number: k for k, number in reversed(list(enumerate(scope.state_in or ())))}
    leaving = {number: k for k, number in reversed(list(enumerate(scope.state_out or ())))}
    for vertex in step.vertices:
        vertex.is_input = vertex.number == scope.input
        vertex.is_output = vertex.number == scope.output
        if vertex.computed:
            vertex.state = leaving.get(vertex.number)
        for source in (link.source for link in vertex.inputs):
            if source.number in entering:
                step.entries[id(source)] = entering[source.number]


def _guess_states(band: Band) -> None:
    """For a loop written by hand: what a step computes and the next one reads is the state.

    States are told apart by the order in which the next step first reads them.
    """
    place = {id(v): i for step in band.steps for i, v in enumerate(_computed(step))}
    reads: dict[tuple[int, int], int] = {}  # which input of the n-th operation is which state
    made: dict[int, int] = {}  # which operation of a step makes which state
    for before, step in itertools.pairwise(band.steps):
        inside = {id(v) for v in _computed(before)}
        for vertex in _computed(step):
            for link in vertex.inputs:
                source = link.source
                detached = not source.computed and source.inputs
                maker = source.inputs[0].source if detached else source
                if id(maker) in inside:
                    if maker.state is None:
                        maker.state = sum(v.state is not None for v in _computed(before))
                    step.entries[id(source)] = maker.state
                    reads.setdefault((place[id(vertex)], link.index), maker.state)
                    made[place[id(maker)]] = maker.state
    for vertex in _computed(band.steps[0]):
        for link in vertex.inputs:
            k = reads.get((place[id(vertex)], link.index))
            if k is not None and not link.source.computed:
                band.steps[0].entries.setdefault(id(link.source), k)
    last = _computed(band.steps[-1])
    if len(band.steps) > 1 and len(last) == len(_computed(band.steps[-2])):
        for i, k in made.items():
            if i < len(last):
                last[i].state = k


def _guess_input(step: Step) -> None:
    """The first leaf, constant, or slice of something shared."""
    for vertex in step.vertices:
        shared = bool(vertex.inputs) and vertex.inputs[0].source.place is None
        row = shared and is_view(vertex)
        if id(vertex) not in step.entries and (row or not vertex.computed):
            vertex.is_input = True
            break


def is_view(vertex: Vertex) -> bool:
    """Whether it only rearranges or selects entries of its input."""
    return vertex.operation is not None and vertex.operation.view


def _computed(step: Step) -> list[Vertex]:
    return [vertex for vertex in step.vertices if vertex.computed]


def mark_entries(band: Band, index: int) -> None:
    """Mark the links by which a state enters a step: from the step before, or from outside."""
    before: set[int] = set()
    for step in band.steps:
        for vertex in step.vertices:
            for link in vertex.inputs:
                source, k = link.source, step.entries.get(id(link.source))
                handed = id(source) in before and source.state == k
                if source.initial:
                    handed = source.place == (index, step.slot)
                elif source.place is not None:
                    handed = handed or source.place[0] != index
                link.state = k if handed else None
        before = {id(vertex) for vertex in step.vertices}
