"""Coarser views of a graph: steps folded into one, cells as one node for each state.

Both only replace vertices by fewer; whatever is left is laid out as everything else is. An arrow
that stands for several messages shows the largest of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .collect import Band, Graph, Link, Step, Vertex
from .scale import largest

__all__ = ["beside", "fold_steps", "to_cells"]


def _merged(links: Sequence[Link]) -> Link:
    """One link for several from the same source."""
    last = max(links, key=lambda link: max(link.events, default=-1))
    events = tuple(event for link in links for event in link.events)
    return replace(last, value=largest(link.value for link in links), events=events)


def _by_source(links: Iterable[Link]) -> list[Link]:
    found: dict[int, list[Link]] = {}
    for link in links:
        found.setdefault(id(link.source), []).append(link)
    return [_merged(same) for same in found.values()]


def fold_steps(graph: Graph, slots: range) -> None:
    """Put one vertex for each state in the place of all steps in `slots`."""
    gone: dict[int, Vertex | None] = {}  # what stands for it from now on
    for b, band in enumerate(graph.bands):
        hidden = [step for step in band.steps if step.slot in slots]
        if not hidden:
            continue
        inside = {id(v) for step in hidden for v in step.vertices}
        place, order = (b, slots.start), hidden[0].vertices[0].order
        stands = [Vertex(None, order, None, place) for _ in range(max(band.states, 1))]
        for k, stand in enumerate(stands):
            stand.rank, stand.label = len(graph.vertices), "the fold"
            graph.vertices.append(stand)
            stand.span = [(t, value) for slot, t, value in band.series(k) if slot in slots]
            stand.state = k if band.states else None
        links = [
            e for s in hidden for v in s.vertices for e in v.inputs if id(e.source) not in inside
        ]
        for k, stand in enumerate(stands):
            stand.inputs = _by_source(e for e in links if e.state == k and not e.source.initial)
        stands[0].inputs += _by_source(e for e in links if e.source.place is None)
        for step in hidden:
            for vertex in step.vertices:
                gone[id(vertex)] = None if vertex.state is None else stands[vertex.state]
        times = sorted(step.t for step in hidden if step.t is not None)
        folded = Step(slots.start, hidden[0].t, stands, (len(hidden), times[0], times[-1]))
        first = band.steps.index(hidden[0])
        band.steps[first : first + len(hidden)] = [folded]
    for vertex in graph.vertices:
        kept = []
        for link in vertex.inputs:
            source = gone.get(id(link.source), link.source)
            if source is link.source or (source is not None and link.state is not None):
                kept.append(replace(link, source=source))
        vertex.inputs = kept


def to_cells(graph: Graph) -> None:
    """Leave the states of each step, its input, and the output at the end.

    Raises
    ------
    ValueError
        If no state runs from step to step.
    """
    bands = [band for band in graph.bands if band.states and not band.after]
    if not bands:
        raise ValueError(
            "level='cell' draws the states that run from step to step, and there are none here; "
            "use level='op'"
        )
    final = graph.vertices[-1]
    ends: list[Link] = []
    carried: set[int] = set()  # states of the bands above
    leaving = {id(final)}  # what leads from a state to the output and is no state itself
    for vertex in reversed(graph.vertices):
        if vertex.state is None and vertex is not final:
            after = vertex.place is not None and graph.bands[vertex.place[0]].after
            if after or any(id(reader) in leaving for reader in vertex.readers):
                leaving.add(id(vertex))
    for band in bands:
        band.shared = []
        for step in band.steps:
            entering = [e for v in step.vertices for e in v.inputs if e.state is not None]
            states = [v for v in step.vertices if v.state is not None and v.computed]
            inputs = [v for v in step.vertices if v.is_input][:1]
            data = [e for x in inputs for r in x.readers for e in r.inputs if e.source is x]
            data += [e for v in step.vertices for e in v.inputs if id(e.source) in carried]
            for vertex in states:
                ends += _by_source(
                    e
                    for reader in vertex.readers
                    for e in reader.inputs
                    if e.source is vertex and e.state is None and id(reader) in leaving
                )
                vertex.inputs = _by_source(e for e in entering if e.state == vertex.state)
                vertex.label = vertex.label.split(" → ")[-1]
            for x in inputs:
                x.inputs = []
            states.sort(key=lambda v: v.state or 0)
            if states:
                states[0].inputs += _by_source(data)
            step.vertices = inputs + states
        carried.update(id(v) for step in band.steps for v in step.vertices)
    final.inputs = ends
    end = Band("", [Step(graph.slots, None, [final])], [], after=True)
    graph.bands, graph.before = [*bands, end], []
    _settle(graph)


def beside(graphs: Mapping[str, Graph]) -> Graph:
    """Several graphs as one, a band or more for each."""
    slots = max(graph.slots for graph in graphs.values())
    first = next(iter(graphs.values()))
    bands = []
    for name, graph in graphs.items():
        for band in graph.bands:
            alone = sum(not other.after for other in graph.bands) == 1
            band.name = name if alone else f"{name} / {band.name}"
            bands.append(band)
            if band.after:
                band.steps[-1].slot = slots
    vertices = [vertex for graph in graphs.values() for vertex in graph.vertices]
    joined = Graph(vertices, bands, slots, [], first.trace)
    _settle(joined)
    return joined


def _settle(graph: Graph) -> None:
    """Number places and vertices anew."""
    for rank, vertex in enumerate(graph.vertices):
        vertex.rank = rank
    for b, band in enumerate(graph.bands):
        for step in band.steps:
            for vertex in step.vertices:
                vertex.place = (b, step.slot)
                for link in vertex.inputs:
                    if link.source.initial:
                        link.source.place = vertex.place
