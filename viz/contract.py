"""How much of a graph is drawn: every operation, every scope, the states alone, or folded steps.

One mechanism serves all levels. A level says which vertices stay; what lies between two that stay
becomes the arrow between them. Its message is what runs back along all paths from the one to the
other, added up as arrays and then measured, so that the messages that arrive at a vertex add up to
its gradient at every level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np

from tinygrad_rnn import Scope
from tinygrad_rnn.engine.backprop import messages
from tinygrad_rnn.engine.primitives import Scattered
from tinygrad_rnn.functions.trace import norm_of

from .collect import Band, Graph, Link, Step, Vertex, is_view, mark_entries
from .scale import largest

__all__ = ["Level", "Metric", "Show", "beside", "contract", "fold_steps", "named_scope", "size_of"]

_Way: TypeAlias = tuple[int, int]  # the rank of the head, and the input by which it is left
Level = Literal["op", "scope", "cell"]
Metric = Literal["norm", "rms", "max"]
Show = Literal["gradient", "forward"]


def size_of(array: Any, metric: Metric) -> float:
    """The size of an array: its Euclidean norm, that of one entry on average, or its largest."""
    array = np.asarray(array, dtype=np.float64)
    if not array.size:
        return 0.0
    if metric == "max":
        return float(np.abs(array).max())
    norm = norm_of(array)
    return norm if metric == "norm" else norm / math.sqrt(array.size)


def contract(graph: Graph, level: Level, metric: Metric = "norm", show: Show = "gradient") -> None:
    """Leave the vertices of a level, joined by arrows, and give everything its size.

    Raises
    ------
    ValueError
        For cell level, if no state runs from step to step.
    """
    stay = {"op": _operations, "scope": _scopes, "cell": _cells}[level](graph)
    with np.errstate(all="ignore"):  # the traversal has had its say
        _connect(graph, stay, level, metric, show)
    kept = [v for v in graph.vertices if v in stay]
    if show == "gradient" and graph.trace.measures == "gradient":
        bad = (v for v in kept[::-1] if not math.isfinite(v.value or 0.0))
    else:  # where an error begins: what sends it had none, or less, before
        bad = (v for v in kept[::-1] if show == "gradient" and any(e.value for e in v.inputs))
    graph.bad = next(bad, None)
    graph.vertices = kept
    graph.before = [v for v in graph.before if v in stay]
    for band in graph.bands:
        band.shared = [v for v in band.shared if v in stay]
        for step in band.steps:
            step.vertices = [v for v in step.vertices if v in stay]
        band.steps = [step for step in band.steps if step.vertices]
    graph.bands = [band for band in graph.bands if band.steps]
    for band in graph.bands:
        mark_entries(band)


# --- what stays -----------------------------------------------------------------------------------


def _operations(graph: Graph) -> set[Vertex]:
    """Everything, but that inside a step a mere view is part of the arrow to its only reader."""
    return {v for v in graph.vertices if not (graph.slots and _in_passing(v))}


def _in_passing(vertex: Vertex) -> bool:
    if not vertex.computed or len(vertex.readers) != 1 or not is_view(vertex):
        return False
    special = vertex.state is not None or vertex.is_input or vertex.final or vertex.name
    return not special and vertex.step is vertex.readers[0].step is not None


def _scopes(graph: Graph) -> set[Vertex]:
    """What scopes return, states, outputs, leaves; the rest belongs to the one that it leads to."""
    lead: dict[Vertex, Vertex] = {}
    for vertex in reversed(graph.vertices):
        found = {lead[reader] for reader in vertex.readers if reader in lead}
        (into,) = found if len(found) == 1 else (vertex,)
        special = vertex.state is not None or vertex.is_input or vertex.is_output or vertex.initial
        apart = special or vertex.name or vertex.final or vertex.step is not into.step
        scope = named_scope(vertex)
        if vertex.computed and not apart and scope in (None, named_scope(into)):
            lead[vertex] = into
        elif vertex.computed or special or vertex.needs_grad:
            lead[vertex] = vertex
    return {vertex for vertex, into in lead.items() if into is vertex}


def named_scope(vertex: Vertex) -> Scope | None:
    """The innermost scope with a name that a vertex was computed in, inside its step."""
    scope = vertex.tensor.scope if vertex.tensor is not None and vertex.computed else None
    return scope if scope is not None and scope.t is None and scope.owner is None else None


def _cells(graph: Graph) -> set[Vertex]:
    """The states of each step, its input, and the output at the end."""
    stay = {graph.vertices[-1]}
    found = [band for band in graph.bands if band.states and not band.after]
    if not found:
        raise ValueError(
            "level='cell' draws the states that run from step to step, and there are none here; "
            "use level='op' or 'scope'"
        )
    for step in (step for band in found for step in band.steps):
        states = [v for v in step.vertices if v.state is not None]
        states = states or [v for v in step.vertices if v.is_output]  # the last may make no other
        stay.update([*states, *step.starts()])
        stay.update(v for v in step.vertices if v.is_input)
    return stay


# --- what runs between ----------------------------------------------------------------------------


def _connect(graph: Graph, stay: set[Vertex], level: Level, metric: Metric, show: Show) -> None:
    """Join those that stay: a reverse traversal that takes the rest as ways between them."""
    trace = graph.trace
    exact = show == "gradient" and trace.measures == "gradient"
    arrived: dict[Vertex, dict[_Way, tuple[Link, Any]]] = {}  # arrows to it, and their messages
    passing: dict[Vertex, dict[Vertex, tuple[Link, Any]]] = {}  # by the head that sent them
    for vertex in reversed(graph.vertices):
        links, g = vertex.inputs, trace.start if exact and vertex.final else None
        ways: list[tuple[Vertex, Link | None, Any]] = [
            (head, *way) for head, way in passing.pop(vertex, {}).items()
        ]
        if vertex in stay:
            found = sorted(arrived.pop(vertex, {}).items(), key=lambda item: -item[0][0])
            for _, (link, message) in found:
                g = _sum(g, message)
                _measure(link, message, g, graph, metric, show)
            vertex.value = _value(vertex, g, graph, metric, show)
            vertex.inputs, ways = [], [(vertex, None, g)]
        for head, first, message in ways:
            sent = {} if message is None or vertex.tensor is None else _messages(vertex, message)
            for link in links:
                source, part, start = link.source, sent.get(link.index), first or link
                if source in stay:
                    arrows = arrived.setdefault(source, {})
                    way = head.rank, start.index if level == "op" else 0  # two arrows for x ⊙ x
                    if way not in arrows:
                        arrows[way] = Link(source, start.index), None
                        head.inputs.append(arrows[way][0])
                    arrow, before = arrows[way]
                    if start is link and not arrow.events:
                        arrow.events = link.events
                    elif link.events:
                        arrow.events = tuple(sorted({*arrow.events, *start.events, *link.events}))
                    arrows[way] = arrow, _sum(before, part)
                elif source.computed and link.index >= 0:
                    others = passing.setdefault(source, {})
                    start, before = others.get(head, (start, None))
                    others[head] = start, _sum(before, part)
    for vertex in graph.vertices:
        vertex.readers = []
    for vertex in graph.vertices:
        for link in vertex.inputs if vertex in stay else ():
            link.source.readers.append(vertex)


def _sum(a: Any, b: Any) -> Any:
    return b if a is None else a if b is None else a + b


def _messages(vertex: Vertex, g: Any) -> dict[int, Any]:
    """What a vertex sends to each of its inputs."""
    assert vertex.tensor is not None
    sent = messages(vertex.tensor, g)
    return {i: part.dense() if isinstance(part, Scattered) else part for i, part in sent}


def _measure(
    link: Link, message: Any, total: Any, graph: Graph, metric: Metric, show: Show
) -> None:
    """The size of a message, and that of its receiver's sum so far."""
    if show == "forward":
        link.value = link.total = size_of(link.source.data, metric)
    elif message is not None:
        link.value = link.total = size_of(message, metric)
        if total is not message:
            link.total = size_of(total, metric)
    elif link.events and graph.trace.measures != "gradient":
        events = [graph.trace.events[i] for i in link.events]
        link.value, link.total = largest(event.norm for event in events), events[-1].total


def _value(vertex: Vertex, g: Any, graph: Graph, metric: Metric, show: Show) -> float | None:
    """The size that a vertex shows."""
    if show == "forward":
        return size_of(vertex.data, metric)
    norm = None if vertex.tensor is None else graph.trace.norm(vertex.tensor)
    if norm is None or metric == "norm":
        return norm
    return size_of(g, metric)


# --- folded steps, nets below each other ----------------------------------------------------------


def fold_steps(graph: Graph, slots: range) -> None:
    """Put one vertex for each state in the place of all steps in `slots`.

    An arrow that stands for several messages shows the largest of them.
    """
    folded: dict[Vertex, list[Vertex]] = {}  # what stands for its step; the last for the rest
    for band in graph.bands:
        hidden = [step for step in band.steps if step.slot in slots]
        if not hidden:
            continue
        inside = [vertex for step in hidden for vertex in step.vertices]
        stands = [Vertex(None, inside[0].order, None) for _ in range(max(band.states, 1))]
        for k, stand in enumerate(stands):
            stand.label = "the fold"
            stand.rank = graph.vertices[-1].rank + 1
            graph.vertices.append(stand)
            stand.span = [(t, v.value) for slot, t, v in band.series(k) if slot in slots]
            stand.state = k if band.states else None
        # Taps leave from the state that stands next to the rails.
        nearest = [v.state for v in inside if v.state is not None]
        near = stands[next(iter(nearest), 0)]
        for vertex in inside:
            folded[vertex] = [*stands, near]
            if vertex.state is not None:  # its bar belongs to what is drawn for it
                vertex.rank = stands[vertex.state].rank
        times = sorted(step.t for step in hidden if step.t is not None)
        first = band.steps.index(hidden[0])
        one = Step(band, slots.start, hidden[0].t, None, stands)
        for stand in stands:
            stand.step = one
        one.hidden = (len(hidden), times[0], times[-1])
        band.steps[first : first + len(hidden)] = [one]
    moved: dict[tuple[Vertex, Vertex], list[Link]] = {}
    for vertex in graph.vertices:
        links, vertex.inputs = vertex.inputs, []
        for link in links:
            source, state = link.source, link.state
            if vertex not in folded and source not in folded:
                vertex.inputs.append(link)
            elif (state is not None and not source.initial) or source.step is None:
                reader = (
                    folded[vertex][-1 if state is None else state] if vertex in folded else vertex
                )
                source = folded[source][state or 0] if source in folded else source
                if reader is not source:
                    moved.setdefault((reader, source), []).append(replace(link, source=source))
    for (reader, _), same in moved.items():
        last = max(same, key=lambda link: max(link.events, default=-1))
        last.value = largest(link.value for link in same)
        last.events = tuple(event for link in same for event in link.events)
        reader.inputs.append(last)


def beside(graphs: Mapping[str, Graph]) -> Graph:
    """Several graphs as one, a band or more for each."""
    slots = max(graph.slots for graph in graphs.values())
    first = next(iter(graphs.values()))
    bands: list[Band] = []
    vertices: list[Vertex] = []
    for name, graph in graphs.items():
        for band in graph.bands:
            alone = sum(not other.after for other in graph.bands) == 1
            band.net = len(vertices)
            band.name = name if alone else f"{name} / {band.name}"
            bands.append(band)
            if band.steps[-1].slot >= graph.slots:
                band.steps[-1].slot = slots
        for vertex in graph.vertices:
            vertex.rank += 1 + (vertices[-1].rank if vertices else -1)
        vertices += graph.vertices
    return Graph(vertices, bands, slots, [], first.trace)
