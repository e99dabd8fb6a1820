"""Where everything of an unrolled graph goes: steps side by side, bands below each other, rails.

Each step's own layout is a block (blocks.py); this file puts blocks next to each other and draws
what runs between them. Linear in the size of the graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from .blocks import HALF, ROW, Block, Shape, make_block, rounded
from .collect import Band, Graph, Link, Step, Vertex
from .labels import tooltip, values
from .marks import stripes
from .model import Box, Drawing, Edge, EdgeKind, Node, Point, Rail, Text, text_width
from .scale import number

__all__ = ["Sheet", "call_out", "draw_arrow", "new_node"]

_RAIL = 26.0  # from rail to rail
_BOX = 104.0  # a weight's box
_BETWEEN = 6.0  # two steps
_SIDE = 128.0  # left of the steps: the weights' boxes, initial states
_NO_RAIL = 84.0
_CUT = 90.0  # more than that where the gradient is cut
_FOLD = 300.0


@dataclass(slots=True, eq=False)
class _Row:
    """A band with its blocks; `base` is the y of their row 0, `lane` where its rails run."""

    band: Band
    index: int
    shapes: dict[int, Shape]  # by slot
    weights: list[Node]
    blocks: dict[int, Block] = field(default_factory=dict)
    base: float = 0.0
    top: float = 0.0
    bottom: float = 0.0
    lane: Point = (0.0, 0.0)

    def make_blocks(self, abreast: int = 1, margin: float = 18.0) -> None:
        found = dict.fromkeys(self.shapes.values())
        made = {shape: make_block(shape, (), abreast, margin) for shape in found}
        low = [max(rows) for rows in zip(*(b.spine for b in made.values()), strict=True)]
        for shape, block in made.items():  # a state keeps its row in steps of another shape
            if block.spine != low:
                made[shape] = make_block(shape, low, abreast, margin)
        self.blocks = {slot: made[shape] for slot, shape in self.shapes.items()}

    def place(self, base: float, foot: float = 0.0) -> None:
        self.base, self.top = base, base - ROW / 2 - 2
        self.bottom = base + (max(b.bottom for b in self.blocks.values()) + 0.5) * ROW + foot


# The step, the reader's index in it, which of its lines up, the link, the reader.
_Use: TypeAlias = tuple[Step, int, int, Link, Vertex]


def new_node(vertex: Vertex, drawing: Drawing, t: int | None = None, last_time: int = 0) -> Node:
    """The node of a vertex, as wide as its label and its values need."""
    node = Node(f"n{vertex.rank}", vertex.label, "op", vertex.value, t)
    if vertex.final:
        node.kind = "output"
    elif vertex.span:
        node.kind, node.width, node.height = "joint", _FOLD, 2 * HALF
        return node
    elif not vertex.computed:
        node.kind = "input"
    elif vertex.state is not None and vertex.letter:
        node.kind = "state"
    node.tensor = None if vertex.tensor is None else vertex.tensor.number
    node.tooltip = tooltip(vertex)
    # As wide as that of the last step, so that equal steps look equal.
    spare = 0 if t is None else len(str(last_time)) - len(str(t))
    node.text = values(vertex) if drawing.show == "forward" else ""
    wide = max(text_width(vertex.label + "₀" * spare), text_width(node.text))
    node.width = max(46.0, math.ceil(wide + 10))
    return node


def draw_arrow(drawing: Drawing, link: Link, source: Node, target: Node, at: list[Point]) -> None:
    """The arrow of a link, along a curve."""
    kind: EdgeKind = "message" if link.index >= 0 else "link"
    tip = f"{target.label} sends {number(link.value)} to {source.label}"
    ends = source.id, target.id
    drawing.add(Edge("", *ends, kind, link.value, link.events, tip, at, link.total))


class Sheet:
    """A graph with time steps on its drawing."""

    def __init__(self, graph: Graph, drawing: Drawing, widest: float = math.inf) -> None:
        self.graph, self.out = graph, drawing
        self.nodes: dict[Vertex, Node] = {}
        self.where: dict[Vertex, tuple[_Row, int, int]] = {}  # row, slot, index in the block
        self.uses: dict[tuple[_Row, Vertex], list[_Use]] = {}
        self.columns: dict[int, tuple[float, float]] = {}  # slot -> x, width
        steps = [step for band in graph.bands for step in band.steps]
        self.last_time = max((step.t or 0 for step in steps), default=0)
        self.rows = [self._row(band, i) for i, band in enumerate(graph.bands)]
        self.main = [row for row in self.rows if row.band.steps[0].slot < graph.slots]
        self.ends = [row for row in self.rows if row not in self.main]
        few = all(len(step.vertices) <= 4 for step in steps)
        # Wider or narrower steps, as the page has room.
        for abreast, margin in ((3, 54.0 if few else 18.0), (3, 18.0), (2, 18.0), (1, 18.0)):
            for row in self.rows:
                row.make_blocks(abreast, margin)
            if self._place_columns() <= widest:
                break
        self._place_rows()
        self._place_before()
        for row in self.rows:
            self._draw_highways(row)
            for step in row.band.steps:
                self._draw_arrows(row, step)
            self._draw_rails(row)
        if graph.bad is not None:
            node = self.nodes.get(graph.bad) or Node("", x=self.right, y=self.rows[-1].bottom)
            y = self.where[graph.bad][0].bottom - 21 if graph.bad in self.where else node.y
            call_out(graph, self.out, graph.bad, node.x, y + 33)  # clear of the step's head
        self._turn()

    # --- places -----------------------------------------------------------------------------------

    def _row(self, band: Band, index: int) -> _Row:
        weights = [self._weight(vertex, index) for vertex in band.shared]
        for node in weights:
            node.width = max(_BOX, *(other.width for other in weights))
        return _Row(band, index, {s.slot: self._shape(band, s) for s in band.steps}, weights)

    def _weight(self, vertex: Vertex, index: int) -> Node:
        """The box of a shared vertex: one in each band that uses it."""
        node = new_node(vertex, self.out)
        node.kind, node.height = "parameter", 20.0
        said = node.text or f"‖∇‖ {number(vertex.value)}"
        node.width = text_width(f"{vertex.label}   {said}") + 10
        node.id += f"_{index}" if vertex in self.nodes else ""
        self.nodes[vertex] = node
        return node

    def _shape(self, band: Band, step: Step) -> Shape:
        index = {vertex: i for i, vertex in enumerate(step.vertices)}
        entries: list[list[int]] = [[] for _ in range(band.states)]
        exits: list[int | None] = [None] * band.states
        inputs, up = [], []
        for i, vertex in enumerate(step.vertices):
            self.nodes[vertex] = new_node(vertex, self.out, step.t, self.last_time)
            inside = [e.source for e in vertex.inputs if e.state is None and e.source in index]
            states = [e.state for e in vertex.inputs if e.state is not None]
            for k in states:
                entries[k].append(i)
            inputs.append(tuple(index[source] for source in inside))
            up.append(len(vertex.inputs) - len(inside) - len(states))
            if vertex.state is not None:
                exits[vertex.state] = i
        widths = tuple(self.nodes[vertex].width for vertex in step.vertices)
        return Shape(widths, tuple(inputs), tuple(map(tuple, entries)), tuple(exits), tuple(up))

    def _place_columns(self) -> float:
        """Give each step its place from left to right; returns where the last ends."""
        x = _SIDE if any(row.weights for row in self.main) else _NO_RAIL if self.main else 0.0
        widths: dict[int, float] = {}
        for row in self.main:
            for slot, block in row.blocks.items():
                widths[slot] = max(widths.get(slot, 0.0), block.width)
        # A state that starts within a band stands in a gap before its step, in the band's time.
        steps = [(row.band, step) for row in self.main for step in row.band.steps]
        gaps = {step.slot + band.reverse for band, step in steps if step.starts()}
        for slot, width in sorted(widths.items()):
            x += _CUT if slot in gaps - {min(widths)} else 0.0
            self.columns[slot] = (x, width)
            x += width + _BETWEEN
        self.right = x - _BETWEEN
        x = self.right + _SIDE if any(row.band.reverse for row in self.main) else x
        for row in self.ends:
            self.columns[self.graph.slots] = (x, row.blocks[self.graph.slots].width)
        return sum(self.columns[max(self.columns)])

    def _place_rows(self) -> None:
        named = sum(not row.band.after for row in self.main) > 1
        y = 36.0
        for row in self.rows:
            rails = _RAIL * len(row.weights) + 6 if row.weights else 0
            if row in self.main:
                row.lane = (y, y + rails)
                head = row.lane[1] + (20 if rails else 4)
                row.place(head + 2 + ROW / 2, 14 * (not row.band.after))
                if named and row.band.name:
                    name = row.band.name.replace(" / ", "\n")
                    middle = row.bottom - 13 + 6 * name.count("\n")
                    self.out.texts.append(Text(name, 4, middle, 10, "text", "left"))
            else:
                self._place_end(row, y, rails)
            self._place_steps(row)
            y = max(y, row.bottom + 28)

    def _place_end(self, row: _Row, y: float, rails: float) -> None:
        """Level with what it reads of the last step."""
        (block,) = row.blocks.values()
        reads = [
            (*self.where[e.source], j) for j, v in enumerate(row.band.steps[0].vertices)
            for e in v.inputs if e.source in self.where
        ]  # fmt: skip
        low = math.inf
        if reads:
            like, slot, i, j = max(reads, key=lambda read: (read[1], read[0].index, read[2]))
            y, low = like.base + like.blocks[slot].y(i) - block.y(j), like.lane[1]
        row.place(y)
        row.lane = (min(low, row.top - 12) - rails, row.top - 12)

    def _path(self, row: _Row, slot: int, points: Sequence[Point]) -> list[Point]:
        """From a block's own places to the page's; a band that runs back in time is mirrored."""
        left, width = self.columns[slot]
        mirrored = row.band.reverse
        return [(left + (width - x if mirrored else x), row.base + y) for x, y in points]

    def _place_steps(self, row: _Row) -> None:
        for step in row.band.steps:
            block = row.blocks[step.slot]
            for i, vertex in enumerate(step.vertices):
                node = self.nodes[vertex]
                ((node.x, node.y),) = self._path(row, step.slot, [(block.x[i], block.y(i))])
                self.where[vertex] = (row, step.slot, i)
                self.out.nodes.append(node)
                if vertex.span:
                    stripes(self.out, f"{node.id}_", vertex.span, node)
            for vertex in step.starts():
                self._place_start(row, step, vertex)
            if row in self.main:
                self._draw_step(row, step)

    def _draw_step(self, row: _Row, step: Step) -> None:
        """The box of a step, with its time at the foot; above it rise the taps of a fold."""
        left, width = self.columns[step.slot]
        said, name = f"t = {step.t}", f"step_{row.index}_{step.slot}"
        if step.hidden:
            said = "… {} more steps, t = {} to {} …".format(*step.hidden)
        box = Box(name, "fold" if step.hidden else "step", left, row.top, left + width, row.bottom)
        box.tooltip = f"{row.band.name} {said}".strip()
        self.out.boxes.append(box)
        foot = row.bottom - 13
        if step.hidden:
            self.out.texts.append(Text(said, left + width / 2, foot, 10, "text"))
        elif row.band.reverse:  # what arrives from above does so at the left
            self.out.texts.append(Text(said, left + width - 14, foot, 11, "text", "right"))
        elif not row.band.after:
            self.out.texts.append(Text(said, left + 14, foot, 11, "text", "left"))

    def _place_start(self, row: _Row, step: Step, vertex: Vertex) -> None:
        """A state before its first step, or detached before a later one."""
        self.nodes[vertex] = node = new_node(vertex, self.out, step.t, self.last_time)
        aside = -(14 if vertex.inputs else 30) - node.width / 2
        y = row.blocks[step.slot].spine[vertex.state or 0] * ROW
        ((node.x, node.y),) = self._path(row, step.slot, [(aside, y)])
        self.out.nodes.append(node)
        if vertex.inputs:  # detached from it
            ((x, _),) = self._path(row, step.slot, [(18 - _CUT - _BETWEEN, 0)])
            if not any(text.text == "cut" and text.x == x for text in self.out.texts):
                self.out.rule("cut", (x, row.top - 6), (x, row.bottom + 6), "the gradient is cut")
                self.out.texts.append(Text("cut", x, row.bottom + 12))

    def _place_before(self) -> None:
        """What the shared vertices were computed from, left of everything."""
        if not self.graph.before:
            return
        band = Band("", [])
        band.steps.append(Step(band, -1, None, None, self.graph.before))
        row = self._row(band, -1)
        row.make_blocks()
        self.left = min(_SIDE - 28 - node.width for r in self.rows for node in r.weights)
        width = row.blocks[-1].width
        self.columns[-1] = (self.left - width - 24, width)
        row.place(next(sum(r.lane) / 2 for r in self.rows if r.weights))
        self._place_steps(row)
        self._draw_arrows(row, band.steps[0])

    def _turn(self) -> None:
        """Upside down: inputs and weights below, losses above."""
        for node in self.out.nodes:
            node.y = -node.y
        for text in self.out.texts:
            text.y = -text.y
        for edge in self.out.edges:
            edge.curve = [(x, -y) for x, y in edge.curve]
        for box in self.out.boxes:
            box.y0, box.y1 = -box.y1, -box.y0

    # --- arrows -----------------------------------------------------------------------------------

    def _arrow(self, link: Link, reader: Vertex, points: Sequence[Point]) -> None:
        draw_arrow(self.out, link, self.nodes[link.source], self.nodes[reader], rounded(points))

    def _side(self, node: Node, row: _Row, side: int) -> Point:
        """The middle of a node's side towards later steps, or with -1 towards earlier ones."""
        return node.x + side * node.width / 2 * (-1 if row.band.reverse else 1), node.y

    def _leaving(self, row: _Row, vertex: Vertex) -> list[Point]:
        """The way of a state out of the step that makes it, or from where it starts."""
        if vertex not in self.where or vertex.state is None:
            return [self._side(self.nodes[vertex], row, 1)]
        row, slot, _ = self.where[vertex]
        return self._path(row, slot, row.blocks[slot].leaving(vertex.state))

    def _draw_arrows(self, row: _Row, step: Step) -> None:
        block = row.blocks[step.slot]
        for start in step.starts():
            for link in start.inputs:  # it was detached from
                end = self._side(self.nodes[start], row, -1)
                self._arrow(link, start, [*self._leaving(row, link.source), end])
        for j, vertex in enumerate(step.vertices):
            up = 0
            for link in vertex.inputs:
                from_row, from_slot, i = self.where.get(link.source, (row, None, 0))
                if link.state is not None and from_row is row:
                    way = self._leaving(row, link.source)
                    way += self._path(row, step.slot, block.entering(link.state, j))
                    level, aside = (
                        row.base + block.spine[link.state] * ROW,
                        block.fan[link.state, j],
                    )
                    way = [(x, y + aside if y == level else y) for x, y in way]
                    self._arrow(link, vertex, way)
                elif link.state is None and (from_row, from_slot) == (row, step.slot):
                    self._arrow(link, vertex, self._path(row, step.slot, block.routes[i, j]))
                else:
                    if link.source.step is None:
                        use = (step, j, up, link, vertex)
                        self.uses.setdefault((row, link.source), []).append(use)
                    elif from_slot is not None:
                        self._draw_crossing(row, step.slot, j, up, link, vertex)
                    up += link.state is None

    def _draw_crossing(
        self, row: _Row, slot: int, j: int, up: int, link: Link, reader: Vertex
    ) -> None:
        """From one band to another, through the gaps between bands and steps."""
        from_row, from_slot, i = self.where[link.source]
        block, from_block = row.blocks[slot], from_row.blocks[from_slot]
        source, target = self.nodes[link.source], self.nodes[reader]
        if (
            source.y == target.y
            and row in self.ends
            and from_slot == max(from_row.blocks)
            and not from_row.band.reverse
            and from_block.clear_row(from_block.row[i], from_block.right(i) + 1, math.inf)
            and block.clear_row(block.row[j], 0.0, block.x[j] - target.width / 2 - 1)
        ):
            ends = [self._side(source, row, 1), self._side(target, row, -1)]
            self._arrow(link, reader, ends)
            return
        path = self._path(from_row, from_slot, from_block.down(i))[:-1]
        x = path[-1][0]
        if row in self.ends:  # below everything, then up from below
            way = self._path(row, slot, block.down(j))[:-1][::-1]
            lowest = max(o.bottom for o in self.rows if o.band.net == row.band.net)
            top, beside = lowest + 14, from_row.bottom >= lowest - 1
        else:
            way = [(self._path(row, slot, [(block.up_x(j, up), 0)])[0][0], target.y - HALF)]
            if link.state is not None:
                way = block.entering(link.state, j)
                way = self._path(row, slot, [(-_BETWEEN / 2, way[0][1]), *way])
            top = row.lane[0] - 12 if row.weights else row.top - 8
            beside = row.index == from_row.index + 1
        if not beside:  # other bands are in between: pass them in the gap right of the step
            y, gap = from_row.bottom + 8, sum(self.columns[from_slot]) + _BETWEEN / 2
            path += [(x, y), (gap, y)]
            x = gap
        self._arrow(link, reader, [*path, (x, top), (way[0][0], top), *way])

    def _draw_highways(self, row: _Row) -> None:
        """A band behind the row of every state but the first."""
        if row in self.ends or row.band.after:
            return
        x0, x1 = self._reach(row)
        x0, x1 = (x0 - 10, x1 + 88) if row.band.reverse else (x0 - 88, x1 + 10)
        blocks = row.blocks.values()
        first = {block.spine[0] for block in blocks if block.spine}
        for n in sorted({n for block in blocks for n in block.spine} - first):
            y, name = row.base + n * ROW, f"way_{row.index}_{n}"
            self.out.boxes.append(Box(name, "lane", x0, y - 24, x1, y + 24, "the state's own path"))

    def _reach(self, row: _Row) -> tuple[float, float]:
        """Where the steps of a row begin and end."""
        return self.columns[min(row.blocks)][0], sum(self.columns[max(row.blocks)])

    # --- rails ------------------------------------------------------------------------------------

    def _draw_rails(self, row: _Row) -> None:
        """Each shared vertex once, with a tap from every use; at the end, right above its use."""
        if not row.weights:
            return
        reverse, wide, (first, last) = row.band.reverse, row.weights[0].width, self._reach(row)
        box_x = last + 16 + wide / 2 if reverse else first - 16 - wide / 2
        if row in self.main:
            away, name = wide / 2 + 6, f"lane_{row.index}"
            x0, x1 = (first - 6, box_x + away) if reverse else (box_x - away, last + 6)
            tip = "what the steps share"
            self.out.boxes.append(Box(name, "lane", x0, row.lane[0], x1, row.lane[1], tip))
        for n, (vertex, node) in enumerate(zip(row.band.shared, row.weights, strict=True)):
            node.x, node.y = box_x, row.lane[0] + 3 + _RAIL * (len(row.weights) - n - 0.5)
            self.nodes[vertex] = node
            taps = [self._tap(row, use, node) for use in self.uses.get((row, vertex), [])]
            if row in self.ends:
                node.x = min(x for x, _ in taps) + wide / 2 - 14
            self._draw_rail(node, taps, reverse)
            self.out.nodes.append(node)
            for link in vertex.inputs:  # computed before the steps, at the far left
                if link.source in self.where:
                    source, end = self.nodes[link.source], self._side(node, row, -1)
                    turns = [(self.left - 12, source.y), (self.left - 12, node.y)]
                    if reverse:  # its box stands at the right: above the lane and around
                        above, beyond = row.lane[0] - 3, end[0] + 12
                        turns[1:] = [(self.left - 12, above), (beyond, above), (beyond, node.y)]
                    start = (source.x + source.width / 2, source.y)
                    self._arrow(link, vertex, [start, *turns, end])

    def _tap(self, row: _Row, use: _Use, rail: Node) -> tuple[float, Edge]:
        """A line from a use of a shared vertex up to its rail, and its size right of all taps."""
        step, j, up, link, reader = use
        block, node = row.blocks[step.slot], self.nodes[reader]
        places = [(x, 0.0) for x in (block.up_x(j, up), *block.lines_up())]
        ((x, _), *others) = self._path(row, step.slot, places)
        said = f"{step.hidden[0]} terms, the largest " if step.hidden else ""
        said += number(link.value)
        tip = f"{reader.label} adds {said} to {rail.label}"
        curve = rounded([(x, rail.y), (x, node.y - HALF)])
        ends = self.out.joint(x, rail.y), node.id
        edge = Edge("", *ends, "tap", link.value, link.events, tip, curve, link.total)
        self.out.add(edge)
        if row in self.main:
            at = max(line for line, _ in others) + 8
            self.out.texts.append(Text(said, at, rail.y + 9, 10, align="left", of=edge.id))
        return x, edge

    def _draw_rail(self, node: Node, taps: list[tuple[float, Edge]], reverse: bool) -> None:
        """The running sum, from the use that comes first in the traversal to the weight's box."""
        totals = [t[1].total for t in sorted(taps, key=lambda t: max(t[1].events, default=0))]
        taps.sort(key=lambda tap: tap[0], reverse=not reverse)
        half, segments = node.width / 2, []
        for (x, tap), beyond, total in zip(taps, [*taps[1:], None], totals, strict=True):
            if abs(x - node.x) <= half:  # straight into the box
                tap.source = node.id
                tap.curve = rounded([(x, node.y + node.height / 2), tap.curve[-1]])
                continue
            far = (node.x + math.copysign(half, x - node.x), node.id)
            if beyond and abs(beyond[0] - node.x) > half:
                far = (beyond[0], beyond[1].source)
            tip = f"{node.label}: running sum {number(total)}"
            curve = rounded([(far[0], node.y), (x, node.y)])
            edge = self.out.add(Edge("", far[1], tap.source, "rail", total, (), tip, curve))
            segments.append(edge.id)
        self.out.rails.append(Rail(node.id, tuple(t[1].id for t in taps), tuple(segments)))


def call_out(graph: Graph, drawing: Drawing, bad: Vertex, x: float, y: float) -> None:
    """Say where gradients break, or where an error begins."""
    exact = graph.trace.measures == "gradient"
    said = "first non-finite gradient:" if exact else "the error begins at"
    said = f"{said} {bad.label.split('→')[-1].strip()}"
    wide = text_width(said) + 16
    drawing.nodes.append(Node("callout", said, "callout", None, None, None, said, x, y, wide, 18))
    drawing.description = f"{said}. {drawing.description}".strip()
