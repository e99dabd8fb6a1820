"""How much of a graph is drawn: every operation, every scope, the states alone, or folded steps.

One mechanism serves all levels. A level says which vertices stay; what lies between two that stay
becomes the arrow between them. Its message is what runs back along all paths from the one to the
other, added up as arrays and then measured, so that the messages that arrive at a vertex add up to
its gradient at every level.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from typing import Any, Literal, TypeAlias

import numpy as np

from tinygrad_rnn import Scope
from tinygrad_rnn.engine.backprop import messages
from tinygrad_rnn.engine.primitives import Scattered
from tinygrad_rnn.functions.trace import norm_of

from .collect import Band, Graph, Link, Step, Vertex, is_view, mark_entries
from .scale import largest

__all__ = ["Level", "Metric", "Show", "beside", "contract", "fold_steps", "named_scope", "size_of"]

Way: TypeAlias = tuple[int, int]  # the rank of a source, and by which input the head is left
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
    kept = [v for v in graph.vertices if id(v) in stay]
    if show == "gradient" and graph.trace.measures == "gradient":
        bad = (v for v in kept[::-1] if not math.isfinite(v.value or 0.0))
    else:  # where an error begins: what sends it had none, or less, before
        bad = (v for v in kept[::-1] if show == "gradient" and any(e.value for e in v.inputs))
    graph.bad = next(bad, None)
    graph.vertices = kept
    graph.before = [v for v in graph.before if id(v) in stay]
    for band in graph.bands:
        band.shared = [v for v in band.shared if id(v) in stay]
        for step in band.steps:
            step.vertices = [v for v in step.vertices if id(v) in stay]
        band.steps = [step for step in band.steps if step.vertices]
    graph.bands = [band for band in graph.bands if band.steps]
    _settle(graph)


# --- what stays -----------------------------------------------------------------------------------


def _operations(graph: Graph) -> set[int]:
    """Everything, but that inside a step a mere view is part of the arrow to its only reader."""
    return {id(v) for v in graph.vertices if not (graph.slots and _in_passing(v))}


def _in_passing(vertex: Vertex) -> bool:
    if not vertex.computed or len(vertex.readers) != 1 or not is_view(vertex):
        return False
    special = vertex.state is not None or vertex.is_input or vertex.final
    named = vertex.tensor is not None and vertex.tensor.name is not None
    return not special and not named and vertex.place == vertex.readers[0].place is not None


def _scopes(graph: Graph) -> set[int]:
    """What scopes return, states, outputs, leaves; the rest belongs to the one that it leads to."""
    lead: dict[int, Vertex] = {}
    for vertex in reversed(graph.vertices):
        found = {id(lead[id(r)]): lead[id(r)] for r in vertex.readers if id(r) in lead}
        (into,) = found.values() if len(found) == 1 else (vertex,)
        special = vertex.state is not None or vertex.is_input or vertex.is_output or vertex.initial
        named = vertex.tensor is not None and vertex.tensor.name is not None
        apart = special or named or vertex.final or vertex.place != into.place
        scope = named_scope(vertex)
        if vertex.computed and not apart and scope in (None, named_scope(into)):
            lead[id(vertex)] = into
        elif vertex.computed or special or _needs(vertex):
            lead[id(vertex)] = vertex
    return {key for key, vertex in lead.items() if id(vertex) == key}


def _needs(vertex: Vertex) -> bool:
    return vertex.tensor is not None and vertex.tensor.requires_grad


def named_scope(vertex: Vertex) -> Scope | None:
    """The innermost scope with a name that a vertex was computed in, inside its step."""
    scope = vertex.tensor.scope if vertex.tensor is not None and vertex.computed else None
    return scope if scope is not None and scope.t is None and scope.owner is None else None


def _cells(graph: Graph) -> set[int]:
    """The states of each step, its input, and the output at the end."""
    stay = {id(graph.vertices[-1])}
    found = [band for band in graph.bands if band.states and not band.after]
    if not found:
        raise ValueError(
            "level='cell' draws the states that run from step to step, and there are none here; "
            "use level='op' or 'scope'"
        )
    for step in (step for band in found for step in band.steps):
        states = [v for v in step.vertices if v.state is not None]
        states = states or [v for v in step.vertices if v.is_output]  # the last may make no other
        stay.update(id(v) for v in [*states, *step.starts()])
        stay.update(id(v) for v in step.vertices if v.is_input)
    return stay


# --- what runs between ----------------------------------------------------------------------------


def _connect(graph: Graph, stay: set[int], level: Level, metric: Metric, show: Show) -> None:
    """Join those that stay, the youngest first: a reverse traversal that rests at each of them."""
    trace = graph.trace
    exact = show == "gradient" and trace.measures == "gradient"
    arrived: dict[int, Any] = {graph.vertices[-1].rank: trace.start} if exact else {}
    for head in reversed(graph.vertices):
        g = arrived.pop(head.rank, None)
        if id(head) not in stay:
            continue
        head.value = _value(head, g, graph, metric, show)
        links, sent = _reach(head, g, graph, stay, level)
        head.inputs = list(links.values())
        for key, link in links.items():
            rank = link.source.rank
            if show == "forward":
                link.value = link.total = _value(link.source, None, graph, metric, show)
            elif exact and key in sent:
                total = arrived[rank] + sent[key] if rank in arrived else sent[key]
                arrived[rank] = total
                link.value, link.total = size_of(sent[key], metric), size_of(total, metric)
            elif not exact and link.events:
                link.value = largest(trace.events[i].norm for i in link.events)
                link.total = trace.events[link.events[-1]].total
    for vertex in graph.vertices:
        vertex.readers = []
    for vertex in graph.vertices if stay else ():
        if id(vertex) in stay:
            for link in vertex.inputs:
                link.source.readers.append(vertex)


def _value(vertex: Vertex, g: Any, graph: Graph, metric: Metric, show: Show) -> float | None:
    """The size that a vertex shows."""
    if show == "forward":
        return size_of(vertex.data, metric)
    norm = None if vertex.tensor is None else graph.trace.norm(vertex.tensor)
    if norm is None or metric == "norm":
        return norm
    return size_of(g, metric)


def _reach(
    head: Vertex, g: Any, graph: Graph, stay: set[int], level: Level
) -> tuple[dict[Way, Link], dict[Way, Any]]:
    """Links from one that stays to the next ones before it, and what it sends along each."""
    links: dict[Way, Link] = {}
    sent: dict[Way, Any] = {}
    events: dict[Way, set[int]] = {}
    waiting: dict[int, tuple[Any, Link | None]] = {head.rank: (g, None)}
    heap = [-head.rank]
    while heap:
        vertex = graph.vertices[-heappop(heap)]
        g, first = waiting.pop(vertex.rank)
        tensor = vertex.tensor
        found = {} if g is None or tensor is None else dict(messages(tensor, g))
        for link in vertex.inputs:
            source, rank = link.source, link.source.rank
            message = found.get(link.index)
            if isinstance(message, Scattered):
                message = message.dense()
            start = first or link  # the way by which the head is left
            if id(source) in stay:
                way = rank, start.index if level == "op" else 0  # two arrows for x ⊙ x
                links.setdefault(way, replace(start, source=source))
                if link.events:
                    events.setdefault(way, set()).update(start.events, link.events)
                if message is not None:
                    sent[way] = sent[way] + message if way in sent else message
            elif source.computed and link.index >= 0:
                if rank not in waiting:
                    heappush(heap, -rank)
                    waiting[rank] = (message, start)
                elif message is not None:
                    before, begun = waiting[rank]
                    waiting[rank] = (message if before is None else before + message, begun)
    for way, link in links.items():
        link.events = tuple(sorted(events.get(way, ())))
    return links, sent


# --- folded steps, nets below each other ----------------------------------------------------------


def fold_steps(graph: Graph, slots: range, level: Level = "op") -> None:
    """Put one vertex for each state in the place of all steps in `slots`.

    An arrow that stands for several messages shows the largest of them.
    """
    gone: dict[int, Vertex | None] = {}  # what stands for it from now on
    for b, band in enumerate(graph.bands):
        hidden = [step for step in band.steps if step.slot in slots]
        if not hidden:
            continue
        inside = {id(v) for step in hidden for v in step.vertices}
        place, order = (b, slots.start), hidden[0].vertices[0].order
        stands = [Vertex(None, order, None, place=place) for _ in range(max(band.states, 1))]
        for k, stand in enumerate(stands):
            stand.rank, stand.label = graph.vertices[-1].rank + 1, "the fold"
            graph.vertices.append(stand)
            stand.span = [(t, v.value) for slot, t, v in band.series(k) if slot in slots]
            stand.state = k if band.states else None
        links = [
            e for s in hidden for v in s.vertices for e in v.inputs if id(e.source) not in inside
        ]
        for k, stand in enumerate(stands):
            stand.inputs = _by_source(e for e in links if e.state == k and not e.source.initial)
        # Taps leave from the state that stands next to the rails.
        nearest = [v.state for s in hidden for v in s.vertices if v.state is not None]
        near = stands[nearest[0] if nearest and level != "op" else 0]
        near.inputs += _by_source(e for e in links if e.source.place is None)
        for step in hidden:
            for vertex in step.vertices:
                gone[id(vertex)] = None if vertex.state is None else stands[vertex.state]
                if vertex.state is not None:  # its bar belongs to what is drawn for it
                    vertex.rank = stands[vertex.state].rank
        times = sorted(step.t for step in hidden if step.t is not None)
        folded = Step(slots.start, hidden[0].t, None, stands)
        folded.hidden = (len(hidden), times[0], times[-1])
        first = band.steps.index(hidden[0])
        band.steps[first : first + len(hidden)] = [folded]
    for vertex in graph.vertices:
        kept = []
        for link in vertex.inputs:
            source = gone.get(id(link.source), link.source)
            if source is link.source or (source is not None and link.state is not None):
                kept.append(replace(link, source=source))
        vertex.inputs = kept


def _by_source(links: Iterable[Link]) -> list[Link]:
    """One link for several from the same source."""
    found: dict[int, list[Link]] = {}
    for link in links:
        found.setdefault(id(link.source), []).append(link)
    return [_merged(same) for same in found.values()]


def _merged(links: Sequence[Link]) -> Link:
    last = max(links, key=lambda link: max(link.events, default=-1))
    events = tuple(event for link in links for event in link.events)
    return replace(last, value=largest(link.value for link in links), events=events)


def beside(graphs: Mapping[str, Graph]) -> Graph:
    """Several graphs as one, a band or more for each."""
    slots = max(graph.slots for graph in graphs.values())
    first = next(iter(graphs.values()))
    bands: list[Band] = []
    vertices: list[Vertex] = []
    for name, graph in graphs.items():
        for band in graph.bands:
            alone = sum(not other.after for other in graph.bands) == 1
            band.name = name if alone else f"{name} / {band.name}"
            bands.append(band)
            if band.steps[-1].slot >= graph.slots:
                band.steps[-1].slot = slots
        for vertex in graph.vertices:
            vertex.rank += 1 + (vertices[-1].rank if vertices else -1)
        vertices += graph.vertices
    joined = Graph(vertices, bands, slots, [], first.trace)
    _settle(joined)
    return joined


def _settle(graph: Graph) -> None:
    """Number places anew, and find where states enter."""
    for b, band in enumerate(graph.bands):
        for step in band.steps:
            for vertex in step.vertices:
                vertex.place = (b, step.slot)
            for vertex in step.starts():
                vertex.place = (b, step.slot)
    for b, band in enumerate(graph.bands):
        mark_entries(band, b)
