"""From the trace of one traversal to a graph of vertices with their places in time.

What lives here: which tensors are drawn, the size each shows, which step and which band of steps
each belongs to, which of them carry the state from step to step, which are shared over time.
What they are called stands in labels.py, where they are put in layout.py.

A *band* is a row of time steps, such as one layer in one direction, or the losses of every step;
what comes after all steps is a band of one step too. A *slot* is a column of steps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from tinygrad_rnn import Scope, Tensor, Trace, backprop
from tinygrad_rnn.check import Report

__all__ = ["Band", "Graph", "Link", "Metric", "Step", "Vertex"]
__all__ += ["as_trace", "collect", "received", "size_of"]

Metric = Literal["norm", "rms", "max"]
Show = Literal["gradient", "forward"]
Place: TypeAlias = tuple[int, int]  # band, slot
Entry: TypeAlias = tuple[int, int]  # the n-th tensor of a step, its input

# Inside a step these are part of the arrow when one operation alone reads them.
_VIEWS = frozenset({"getitem", "reshape", "transpose", "broadcast_to", "astype"})


@dataclass(slots=True, eq=False)
class Link:
    """One input of a vertex: where it comes from, and the message that goes back along it."""

    source: Vertex
    index: int
    value: float | None
    events: tuple[int, ...] = ()
    total: float | None = None  # the size of the source's running sum after the message
    state: int | None = None  # which state enters the step by it, if one does


@dataclass(slots=True, eq=False)
class Vertex:
    """A tensor that is drawn.

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
    value: float | None
    place: Place | None = None
    inputs: list[Link] = field(default_factory=list)
    readers: list[Vertex] = field(default_factory=list)
    rank: int = -1  # the n-th that is drawn, and the n-th of its step
    local: int = -1
    state: int | None = None  # the index of the state it carries to the next step
    initial: bool = False  # holds such a state before the first step
    final: bool = False  # the output that was traced
    label: str = ""
    letter: str = ""  # of the state
    span: list[tuple[int | None, float | None]] = field(default_factory=list)  # of a folded state

    @property
    def operation(self) -> str:
        """The name of what made it; empty for a leaf."""
        made = self.tensor is not None and self.tensor.primitive
        return made.name if made else ""

    @property
    def computed(self) -> bool:
        """Whether it is the result of an operation, not a leaf."""
        return bool(self.operation)

    def sizes(self) -> list[float | None]:
        """All that is drawn of it: its own, its messages', its running sums'."""
        return [self.value, *(v for link in self.inputs for v in (link.value, link.total))]

    @property
    def is_input(self) -> bool:
        """Whether it brings in data: a constant, a leaf, a row or slice of something shared."""
        if not self.computed:
            return not self.initial
        shared = bool(self.inputs) and self.inputs[0].source.place is None
        return self.operation == "getitem" and shared


@dataclass(slots=True, eq=False)
class Step:
    """One step of one band: its vertices in the order of the tape."""

    slot: int
    t: int | None
    vertices: list[Vertex] = field(default_factory=list)
    hidden: tuple[int, int, int] | None = None  # of a fold: how many steps, the first, the last

    def starts(self) -> list[Vertex]:
        """The initial or detached states that stand before it."""
        found = {id(e.source): e.source for v in self.vertices for e in v.inputs}
        return [vertex for vertex in found.values() if vertex.initial]


@dataclass(slots=True, eq=False)
class Band:
    """A row of steps, in the order in which they were computed."""

    name: str
    steps: list[Step]
    owners: list[Any]
    reverse: bool = False
    after: bool = False  # follows the steps: losses and what joins the outputs
    states: int = 0
    letters: list[str] = field(default_factory=list)
    shared: list[Vertex] = field(default_factory=list)

    def series(self, k: int) -> list[tuple[int, int | None, float | None]]:
        """Slot, time and size of a state at every step, in the order of time."""
        return sorted(
            (step.slot, step.t, vertex.value)
            for step in self.steps
            for vertex in step.vertices
            if vertex.state == k and vertex.computed
        )


@dataclass(slots=True, eq=False)
class Graph:
    """Everything that is drawn of one record.

    Attributes
    ----------
    before : list of Vertex
        What the shared vertices were computed from.
    bad : Vertex or None
        The first in the traversal whose gradient is infinite or NaN.
    """

    vertices: list[Vertex]
    bands: list[Band]
    slots: int
    before: list[Vertex]
    trace: Trace
    bad: Vertex | None = None


def as_trace(output: Any, metric: Metric = "norm") -> Trace:
    """The trace itself, that of an output (of its sum), or that of a check's errors."""
    if metric not in ("norm", "rms", "max"):
        raise ValueError(f"metric={metric!r} was given; there are 'norm', 'rms' and 'max'")
    if isinstance(output, Report):
        output = output.trace
    if isinstance(output, Trace):
        if metric == "max" and output.keep != "arrays":
            raise ValueError(
                "metric='max' needs the messages themselves; make the trace with "
                "backprop(output, keep='arrays')"
            )
        return output
    if not isinstance(output, Tensor):
        raise TypeError(f"expected a Tensor or a Trace to draw, not a {type(output).__name__}")
    start = None if output.size == 1 else np.ones(output.shape, output.dtype)
    return backprop(output, start, keep="arrays" if metric == "max" else "norms")


def size_of(array: Any, metric: Metric) -> float:
    """The size of an array: its Euclidean norm, that of one entry on average, or its largest."""
    array = np.asarray(array, dtype=np.float64)
    if not array.size:
        return 0.0
    if metric == "max":
        return float(np.abs(array).max())
    norm = float(np.sqrt(np.vdot(array, array)))
    return norm if metric == "norm" else norm / math.sqrt(array.size)


def received(trace: Trace) -> dict[int, list[int]]:
    """The positions in ``trace.events`` of the messages to each tensor, by its number."""
    found: dict[int, list[int]] = {}
    for i, event in enumerate(trace.events):
        found.setdefault(event.input.number, []).append(i)
    return found


def _sizes(
    trace: Trace, metric: Metric, show: Show
) -> tuple[dict[int, float], list[float], list[float]]:
    """The size of every tensor by its number, of every message, and of every running sum."""
    events, tensors = trace.events, trace.tensors
    if show == "forward":
        sizes = {tensor.number: size_of(tensor.data, metric) for tensor in tensors}
        values = [sizes[event.input.number] for event in events]
        return sizes, values, values
    if metric == "max":
        sizes = {tensor.number: size_of(trace.gradient(tensor), "max") for tensor in tensors}
        values, totals = [0.0] * len(events), [0.0] * len(events)
        for positions in received(trace).values():
            total: Any = 0.0
            messages = trace.contributions(events[positions[0]].input)
            for i, message in zip(positions, messages, strict=True):
                total = total + message
                values[i], totals[i] = size_of(message, "max"), size_of(total, "max")
        return sizes, values, totals
    root = {t.number: math.sqrt(max(t.size, 1)) if metric == "rms" else 1.0 for t in tensors}
    sizes = {t.number: (trace.norm(t) or 0.0) / root[t.number] for t in tensors}
    values = [event.norm / root[event.input.number] for event in events]
    return sizes, values, [event.total / root[event.input.number] for event in events]


def collect(trace: Trace, metric: Metric = "norm", show: Show = "gradient") -> Graph:
    """The graph that a trace has walked, with every vertex at its place in time."""
    step_of = _step_finder()
    vertices = _vertices(trace, _sizes(trace, metric, show), step_of)
    bands, slots = _place(list(vertices.values()), step_of)
    everything = [*vertices.values(), *_constants(vertices.values(), show, metric)]
    everything.sort(key=lambda v: v.order)
    everything[-1].final = True
    steps = {(b, step.slot): step for b, band in enumerate(bands) for step in band.steps}
    count = dict.fromkeys(steps, 0)
    before = []
    for rank, vertex in enumerate(everything):
        vertex.rank = rank
        if vertex.place is not None:
            steps[vertex.place].vertices.append(vertex)
            if vertex.computed:
                vertex.local = count[vertex.place]
                count[vertex.place] += 1
        elif users := {r.place[0] for r in vertex.readers if r.place is not None}:
            for b in sorted(users):
                bands[b].shared.append(vertex)
        else:
            before.append(vertex)
    for band in bands:
        _find_states(band)
    graph = Graph(everything, bands, slots, before, trace)
    if show == "gradient":
        bad = (t.number for t in trace.tensors if not math.isfinite(trace.norm(t) or 0.0))
        graph.bad = next((vertices[number] for number in bad if number in vertices), None)
    return graph


def _step_finder() -> Callable[[Tensor], Scope | None]:
    """A function from a tensor to the scope of its innermost step."""
    known: dict[Scope | None, Scope | None] = {None: None}

    def step_of(tensor: Tensor) -> Scope | None:
        scope = tensor.scope if tensor.primitive is not None else None
        if scope not in known:
            inner = scope
            while inner is not None and inner.t is None:
                inner = inner.parent
            known[scope] = inner
        return known[scope]

    return step_of


def _vertices(
    trace: Trace,
    sizes: tuple[dict[int, float], list[float], list[float]],
    step_of: Callable[[Tensor], Scope | None],
) -> dict[int, Vertex]:
    """A vertex for each tensor, by its number; a mere view is part of the arrow out of it."""
    sent: dict[int, list[int]] = {}
    for i, event in enumerate(trace.events):
        sent.setdefault(event.tensor.number, []).append(i)
    reads = {number: len(found) for number, found in received(trace).items()}
    vertices: dict[int, Vertex] = {}
    passed: dict[int, tuple[Vertex, int]] = {}
    for tensor in reversed(trace.tensors):
        found = sent.get(tensor.number, [])
        if len(found) == 1 and reads.get(tensor.number) == 1 and tensor.name is None:
            kind, source = tensor.primitive, trace.events[found[0]].input
            here, there = step_of(tensor), step_of(source)
            name = "" if kind is None else kind.name
            whole = source.primitive is None and name != "getitem"
            plain = name in _VIEWS and here is not None and (here is there or whole)
            if plain and source.number in vertices:
                passed[tensor.number] = (vertices[source.number], found[0])
                continue
        vertex = vertices[tensor.number] = Vertex(tensor, tensor.number, sizes[0][tensor.number])
        for i in found:
            number = trace.events[i].input.number
            source_vertex, last = passed.get(number) or (vertices[number], i)
            link = Link(source_vertex, trace.events[i].index, sizes[1][last])
            link.events, link.total = tuple(dict.fromkeys((i, last))), sizes[2][last]
            vertex.inputs.append(link)
            source_vertex.readers.append(vertex)
    return vertices


def _place(
    vertices: Sequence[Vertex], step_of: Callable[[Tensor], Scope | None]
) -> tuple[list[Band], int]:
    """Give each vertex its band and slot; those that several steps share keep none."""
    scopes = {id(v): step_of(v.tensor) for v in vertices if v.tensor is not None}
    keys: dict[Scope, tuple[Any, ...]] = {}
    for marked in dict.fromkeys(scope for scope in scopes.values() if scope is not None):
        owners = [s.owner for s in marked.chain() if s.owner is not None]
        keys[marked] = (*(s.name for s in marked.chain()[:-1]), id(owners[-1]) if owners else None)
    recurrent = {
        keys[scope]
        for vertex in vertices
        if (scope := scopes[id(vertex)]) is not None
        for link in vertex.inputs
        if (other := scopes[id(link.source)]) is not None
        and keys[other] == keys[scope]
        and other.t != scope.t
    }
    # Where some cell runs over time, other marks of a step say only which step a thing belongs to.
    bands: dict[Any, Band] = {}
    steps: dict[Scope, tuple[int, Step]] = {}
    for marked, key in keys.items():
        if key in recurrent or not recurrent:
            owners = [s.owner for s in marked.chain() if s.owner is not None]
            band = bands.setdefault(key, Band(" / ".join(key[:-1]), [], owners))
            steps[marked] = (list(bands).index(key), Step(0, marked.t))
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
    first_after = len(bands)
    for vertex in reversed(vertices):  # what comes before: with its readers, if they are together
        places = {reader.place for reader in vertex.readers} if vertex.place is None else set()
        if len(places) == 1:
            (place,) = places
            weight = place is not None and (slots == 1 or (slots and place[0] >= first_after))
            if vertex.computed or not weight:
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
        bands.append(Band("", [Step(slot, times.get(slot)) for slot in spread], [], after=True))
    if after:
        bands.append(Band("", [Step(slots, None)], [], after=True))
    for vertex in vertices:
        if id(vertex) in after:
            slot = after[id(vertex)] if len(spread) > 1 else slots
            vertex.place = (len(bands) - (1 if slot == slots else 2), slot)


def _constants(vertices: Iterable[Vertex], show: Show, metric: Metric) -> list[Vertex]:
    """Vertices for constant arrays: inputs, targets, initial and detached states."""
    made: dict[tuple[int, Place | None], Vertex] = {}
    originals = {id(v.tensor.data): v for v in vertices if v.tensor is not None and v.computed}
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
                size = size_of(array, metric) if show == "forward" else None
                made[key] = Vertex(x if isinstance(x, Tensor) else None, vertex.order - 0.5, size)
                made[key].place = vertex.place
                original = originals.get(id(array))
                if original is not None and original.order < vertex.order:
                    made[key].inputs.append(Link(original, -1, None))  # detached
            vertex.inputs.append(Link(made[key], index, made[key].value))
            made[key].readers.append(vertex)
        vertex.inputs.sort(key=lambda link: link.index)
    return list(made.values())


def _find_states(band: Band) -> None:
    """Mark the tensors that one step hands to the next, and those that start or restart them.

    The states are told apart by the order in which the next step first reads them, so that a step
    that ends in a mask hands over the same states as one that does not.
    """
    handed: list[list[tuple[Entry, Vertex]]] = []
    sizes = [sum(v.computed for v in step.vertices) for step in band.steps]
    for before, step in itertools.pairwise(band.steps):
        found: dict[int, tuple[Entry, Vertex]] = {}
        inside = {id(v) for v in before.vertices}
        for vertex in step.vertices:
            for link in vertex.inputs if vertex.computed else ():
                source = link.source
                if not source.computed and source.inputs:
                    source = source.inputs[0].source  # detached
                if id(source) in inside:
                    found.setdefault(id(source), ((vertex.local, link.index), source))
        handed.append(sorted(found.values(), key=lambda pair: pair[0]))
    band.states = max(map(len, handed), default=0)
    entries: dict[int, dict[Entry, int]] = {}  # number of tensors in a step -> who reads a state
    for size, states in zip(sizes[1:], handed, strict=True):
        if len(states) == band.states:
            for k, (entry, vertex) in enumerate(states):
                vertex.state = entries.setdefault(size, {})[entry] = k
    known = {entry: k for found in reversed(entries.values()) for entry, k in found.items()}
    for states in handed:
        for rank, (entry, vertex) in enumerate(states):
            vertex.state = known.get(entry, rank) if vertex.state is None else vertex.state
    inside = set()
    for i, step in enumerate(band.steps):
        reads, alike = entries.get(sizes[i], known), sizes[i] in entries
        own = {id(v) for v in step.vertices}
        for vertex in step.vertices:
            for link in vertex.inputs:
                source, read = link.source, reads.get((vertex.local, link.index))
                if id(source) in inside:
                    link.state = source.state
                elif read is not None and not source.computed and (i == 0 or source.inputs):
                    source.initial, source.state = source.place is not None, read
                elif source.computed and source.place is not None and id(source) not in own:
                    link.state = read if alike else None  # from elsewhere, such as an encoder
                if source.initial:
                    link.state = source.state
        inside = own
        step.vertices = [vertex for vertex in step.vertices if not vertex.initial]
    _mark_last(band)


def _mark_last(band: Band) -> None:
    """The states of a step that hands nothing on, by what it has in common with the others."""
    known: dict[int, list[tuple[int, str, int]]] = {}  # size of a step -> which hold its states
    for step in band.steps:
        computed = [v for v in step.vertices if v.computed]
        size = len(computed)
        held = [(v.local, v.operation, v.state) for v in computed if v.state is not None]
        if held:
            known.setdefault(size, held)
            continue
        reads = [(v, e.state) for v in computed for e in v.inputs if e.state is not None]
        found = [(v, k) for v, k in reads if v.operation == "where"]  # masks of the state
        like = size if size in known else next(iter(known), 0)
        for shift in (0, size - like):  # as far from the start, or else from the end
            places = [(i + shift, made, k) for i, made, k in known.get(like, ())]
            if not found and all(
                i < size and computed[i].operation == made for i, made, _ in places
            ):
                found = [(computed[i], k) for i, _, k in places]
        for vertex, k in found:
            vertex.state = k
