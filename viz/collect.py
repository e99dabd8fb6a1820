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
from typing import Any, Literal

import numpy as np

from tinygrad_rnn import Scope, Tensor, Trace, backprop
from tinygrad_rnn.check import Report
from tinygrad_rnn.engine.tensor import Primitive

__all__ = ["Band", "Graph", "Link", "Step", "Vertex", "as_trace", "collect", "is_view"]
__all__ += ["mark_entries", "step_of"]


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
    step : Step or None
        None for what is shared by several steps.
    """

    tensor: Tensor | None
    order: float
    array: Any = None  # of a constant
    value: float | None = None
    step: Step | None = None
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
    computed: bool = field(init=False)  # the result of an operation, not a leaf

    def __post_init__(self) -> None:
        self.computed = self.operation is not None

    @property
    def number(self) -> int:
        """The tensor's number on the tape; -1 for a constant array."""
        return -1 if self.tensor is None else self.tensor.number

    @property
    def name(self) -> str:
        """The tensor's own name, if it has one."""
        return (self.tensor is not None and self.tensor.name) or ""

    @property
    def needs_grad(self) -> bool:
        """Whether a gradient is asked for."""
        return self.tensor is not None and self.tensor.requires_grad

    @property
    def operation(self) -> Primitive | None:
        """What made it; None for a leaf or a constant."""
        return None if self.tensor is None else self.tensor.primitive

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

    band: Band
    slot: int
    t: int | None
    scope: Scope | None = None
    vertices: list[Vertex] = field(default_factory=list)
    entries: dict[Vertex, int] = field(default_factory=dict)  # which state comes in as it
    hidden: tuple[int, int, int] | None = None  # of a fold: how many steps, the first, the last

    def starts(self) -> list[Vertex]:
        """The initial or detached states that stand before it."""
        found = dict.fromkeys(e.source for v in self.vertices for e in v.inputs)
        return [vertex for vertex in found if vertex.initial and vertex in self.entries]


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
    net: int = 0  # of several nets below each other

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
    before = []
    for rank, vertex in enumerate(everything):
        vertex.rank = rank
        users = dict.fromkeys(r.step.band for r in vertex.readers if r.step is not None)
        if vertex.step is not None:
            vertex.step.vertices.append(vertex)
        elif not users:
            before.append(vertex)
        for band in users if vertex.step is None else ():
            band.shared.append(vertex)
    for band in bands:
        _find_states(band)
    return Graph(everything, bands, slots, before, trace)


def step_of(tensor: Tensor | None) -> Scope | None:
    """The scope of the innermost time step in which a tensor was computed."""
    scope = None if tensor is None or tensor.primitive is None else tensor.scope
    while scope is not None and scope.t is None:
        scope = scope.parent
    return scope


def _place(vertices: Sequence[Vertex]) -> tuple[list[Band], int]:
    """Give each vertex its band and slot; those that several steps share keep none."""
    scopes = {vertex: step_of(vertex.tensor) for vertex in vertices}
    all_bands: dict[tuple[Any, ...], Band] = {}
    steps: dict[Scope | None, Step] = {}
    recurrent = set()
    for scope in dict.fromkeys(scope for scope in scopes.values() if scope is not None):
        chain = scope.chain()
        owners = [s.owner for s in chain if s.owner is not None]
        name = " / ".join(s.name for s in chain[:-1])
        band = all_bands.setdefault((name, *map(id, owners[-1:])), Band(name, [], owners))
        steps[scope] = Step(band, 0, scope.t, scope)
        band.steps.append(steps[scope])
        if scope.state_in is not None:
            recurrent.add(band)
    for vertex, inside in scopes.items():
        for link in vertex.inputs if inside is not None else ():
            other = scopes[link.source]
            if other is not None and inside is not None and other.t != inside.t:
                recurrent |= {steps[other].band} & {steps[inside].band}
    # Where some cell runs over time, other marks of a step say only which step a thing belongs to.
    bands = [band for band in all_bands.values() if band in recurrent or not recurrent]
    times = sorted({step.t for band in bands for step in band.steps if step.t is not None})
    slot_of = {t: slot for slot, t in enumerate(times)}
    slots = max([len(times), *(len(band.steps) for band in bands)])
    for band in bands:
        ts = [step.t or 0 for step in band.steps]
        band.reverse = len(ts) > 1 and ts[1] < ts[0]
        again = len(set(ts)) < len(ts)  # one cell run over several chunks: side by side
        for i, step in enumerate(band.steps):
            step.slot = i if again else slot_of[ts[i]]
    hints: dict[Vertex, int] = {}
    for vertex, inside in scopes.items():
        if inside is not None and steps[inside].band in bands:
            vertex.step = steps[inside]
        elif inside is not None and inside.t in slot_of:
            hints[vertex] = slot_of[inside.t]
    states = {number for scope in steps if scope for number in scope.state_in or ()}
    _place_after(vertices, bands, slots, hints)
    for vertex in reversed(vertices):  # what comes before: with its readers, if they are together
        found = {reader.step for reader in vertex.readers} if vertex.step is None else set()
        if len(found) == 1:
            (only,) = found
            weight = only is not None and (slots == 1 or (slots and only.band.after))
            if vertex.computed or not weight or vertex.number in states:
                vertex.step = only
    return bands, slots


def _place_after(
    vertices: Sequence[Vertex], bands: list[Band], slots: int, hints: dict[Vertex, int]
) -> None:
    """Places for what follows the steps: losses sit at their steps, the rest at the end."""
    after: dict[Vertex, int] = {}
    for vertex in vertices:
        if vertex.step is None and vertex.computed:
            sources = [link.source for link in vertex.inputs]
            found = {after.get(s, -1) if s.step is None else s.step.slot for s in sources} - {-1}
            if found or not bands:
                # A sum of two joins the later step: an accumulated loss runs along its own row.
                together = len(found) == 1 or len(found) == len(sources) == 2
                slot = hints.get(vertex, max(found) if together else slots)
                after[vertex] = slots if vertex is vertices[-1] else slot
    times = {step.slot: step.t for band in bands for step in band.steps}
    spread = sorted({*after.values()} - {slots})
    if len(spread) < 2:
        after, spread = dict.fromkeys(after, slots), []
    for at in (spread, [slots] * bool(after)):
        band = Band("", [], after=True)
        band.steps = [Step(band, slot, times.get(slot)) for slot in at]
        step_at = dict(zip(at, band.steps, strict=True))
        for vertex, slot in after.items():
            vertex.step = step_at.get(slot, vertex.step)
        bands += [band] if at else []


def _constants(vertices: Iterable[Vertex]) -> list[Vertex]:
    """Vertices for constant arrays: inputs, targets, initial and detached states."""
    made: dict[tuple[int, Step | None], Vertex] = {}
    originals = {id(v.data): v for v in vertices if v.computed}
    for vertex in vertices:
        assert vertex.tensor is not None
        drawn = len(vertex.inputs)
        for index, x in enumerate(vertex.tensor.inputs):
            tensor = x if isinstance(x, Tensor) else None
            if tensor is not None and tensor.requires_grad:
                continue
            given = x if tensor is None else vertex.tensor.arrays[index]
            array = np.asarray(given)
            if not array.ndim * array.size or array.dtype.kind not in "fiuc":
                continue
            key = id(given), vertex.step
            if key not in made:
                made[key] = Vertex(tensor, vertex.order - 0.5, array, step=vertex.step)
                original = originals.get(key[0])
                if original is not None and original.order < vertex.order:
                    made[key].inputs.append(Link(original, -1))  # detached
            vertex.inputs.append(Link(made[key], index))
            made[key].readers.append(vertex)
        if len(vertex.inputs) > drawn:
            vertex.inputs.sort(key=lambda link: link.index)
    return list(made.values())


# --- states ---------------------------------------------------------------------------------------


def _find_states(band: Band) -> None:
    """Mark what a step makes of the state, its input and its output, and what it starts from."""
    if any(step.scope is None or step.scope.state_in is None for step in band.steps):
        _guess_states(band)
    else:
        for step in band.steps:
            _read_states(step)
    made = {v.state for step in band.steps for v in step.vertices if v.state is not None}
    band.states = 1 + max(made.union(*(step.entries.values() for step in band.steps)), default=-1)
    for step in band.steps:
        if step.scope is not None and not any(vertex.is_input for vertex in step.vertices):
            _guess_input(step)
        starts: dict[int | None, Vertex] = {}
        for source in (e.source for v in step.vertices for e in v.inputs):
            k = step.entries.get(source)
            outside = k is not None and not source.computed and source.step is not None
            if outside and starts.setdefault(k, source) is source:
                source.initial, source.state = True, k
        step.vertices = [vertex for vertex in step.vertices if not vertex.initial]


def _read_states(step: Step) -> None:
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
                step.entries[source] = entering[source.number]


def _guess_states(band: Band) -> None:
    """For a loop written by hand: what a step computes and the next one reads is the state.

    Every step makes and reads the same states, counted from its end: the first may do less.
    """
    steps = [[v for v in step.vertices if v.computed][::-1] for step in band.steps]
    made: dict[int, int] = {}  # which operation of a step, from its end, makes which state
    reads: dict[tuple[int, int], int] = {}  # which input of which operation it is
    for before, after in itertools.pairwise(steps):
        place = {vertex: i for i, vertex in enumerate(before)}
        for i, vertex in reversed(list(enumerate(after))):
            for link in vertex.inputs:
                detached = not link.source.computed and link.source.inputs
                maker = link.source.inputs[0].source if detached else link.source
                if maker in place:
                    reads[i, link.index] = made.setdefault(place[maker], len(made))
    for step, computed in zip(band.steps, steps, strict=True):
        for i, vertex in enumerate(computed):
            vertex.state = made.get(i)
            for link in vertex.inputs:
                if (i, link.index) in reads:
                    step.entries[link.source] = reads[i, link.index]


def _guess_input(step: Step) -> None:
    """The first leaf, constant, or slice of something shared."""
    for vertex in step.vertices:
        row = is_view(vertex) and bool(vertex.inputs) and vertex.inputs[0].source.step is None
        if vertex not in step.entries and (row or not vertex.computed):
            vertex.is_input = True
            break


def is_view(vertex: Vertex) -> bool:
    """Whether it only rearranges or selects entries of its input."""
    return vertex.operation is not None and vertex.operation.view


def mark_entries(band: Band) -> None:
    """Mark the links by which a state enters a step: from the step before, or from outside."""
    before: set[Vertex] = set()
    for step in band.steps:
        for link in (link for vertex in step.vertices for link in vertex.inputs):
            source, k = link.source, step.entries.get(link.source)
            handed = source in before and source.state == k
            if source.initial:
                handed = source.step is step
            elif source.step is not None:
                handed = handed or source.step.band is not band
            link.state = k if handed else None
        before = set(step.vertices)
