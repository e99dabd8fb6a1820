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

__all__ = ["Sheet", "call_out", "new_node"]

_RAIL = 26.0  # from rail to rail
_BOX = 104.0  # a weight's box
_BETWEEN = 6.0  # two steps
_SIDE = 128.0  # left of the steps: the weights' boxes, initial states
_NO_RAIL = 84.0
_CUT = 90.0  # more than that where the gradient is cut
_FOLD = 300.0


@dataclass(slots=True, eq=False)
class _Row:
    """A band with its blocks; `base` is the y of their row 0."""

    band: Band
    index: int
    shapes: dict[int, Shape] = field(default_factory=dict)  # by slot
    blocks: dict[int, Block] = field(default_factory=dict)
    base: float = 0.0
    top: float = 0.0
    bottom: float = 0.0
    lane: tuple[float, float] = (0.0, 0.0)

    @property
    def last_slot(self) -> int:
        """The slot of the last step in time."""
        steps = self.band.steps
        return max(steps[0].slot, steps[-1].slot)

    def make_blocks(self, abreast: int) -> None:
        found = dict.fromkeys(self.shapes.values())
        made = {shape: make_block(shape, (), abreast) for shape in found}
        low = [max(rows) for rows in zip(*(b.spine for b in made.values()), strict=True)]
        for shape, block in made.items():  # a state keeps its row in steps of another shape
            if block.spine != low:
                made[shape] = make_block(shape, low, abreast)
        self.blocks = {slot: made[shape] for slot, shape in self.shapes.items()}

    def place(self, top: float, head: float, foot: float = 0.0) -> None:
        self.top = top
        self.base = top + head + ROW / 2
        self.bottom = self.base + (max(b.bottom for b in self.blocks.values()) + 0.5) * ROW + foot


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


class Sheet:
    """A graph with time steps on its drawing."""

    def __init__(self, graph: Graph, drawing: Drawing, widest: float = math.inf) -> None:
        self.graph, self.out = graph, drawing
        self.nodes: dict[int, Node] = {}  # by the vertex's id
        self.where: dict[int, tuple[_Row, int, int]] = {}  # row, slot, index in the block
        self.rows = [_Row(band, i) for i, band in enumerate(graph.bands)]
        self.main = [row for row in self.rows if row.band.steps[0].slot < graph.slots]
        self.uses: dict[tuple[int, int], list[_Use]] = {}  # by row, shared vertex
        self.columns: dict[int, tuple[float, float]] = {}  # slot -> x, width
        self.left = self.right = self.bottom = 0.0
        self.last_time = max((s.t or 0 for r in self.rows for s in r.band.steps), default=0)
        for row in self.rows:
            row.shapes = {step.slot: self._shape(row, step) for step in row.band.steps}
        for abreast in (3, 2, 1):  # narrower steps, if the page needs them
            for row in self.rows:
                row.make_blocks(abreast)
            if self._place_columns() <= widest:
                break
        self._place_rows()
        for row in self.rows:
            for step in row.band.steps:
                self._place_step(row, step)
        self._place_before()
        for row in self.rows:
            self._draw_highways(row)
            for step in row.band.steps:
                self._draw_arrows(row, step)
            self._draw_rails(row)
        self._draw_callout()
        self._turn()

    # --- places -----------------------------------------------------------------------------------

    def _shape(self, row: _Row, step: Step) -> Shape:
        index = {id(v): i for i, v in enumerate(step.vertices)}
        entries: list[list[int]] = [[] for _ in range(row.band.states)]
        exits: list[int | None] = [None] * row.band.states
        inputs, up = [], []
        for i, vertex in enumerate(step.vertices):
            self.nodes[id(vertex)] = new_node(vertex, self.out, step.t, self.last_time)
            near, lines = [], 0
            for link in vertex.inputs:
                if link.state is not None:
                    entries[link.state].append(i)
                elif id(link.source) in index:
                    near.append(index[id(link.source)])
                else:
                    lines += 1
            inputs.append(tuple(near))
            up.append(lines)
            if vertex.state is not None:
                exits[vertex.state] = i
        widths = tuple(self.nodes[id(v)].width for v in step.vertices)
        read = tuple(map(tuple, entries))
        return Shape(widths, tuple(inputs), read, tuple(exits), tuple(up))

    def _place_columns(self) -> float:
        """Give each step its place from left to right; returns where the last ends."""
        railed = any(row.band.shared for row in self.main)
        x = (_SIDE if railed else _NO_RAIL) if self.main else 0.0
        steps: dict[int, list[tuple[_Row, Step]]] = {}
        for row in self.main:
            for step in row.band.steps:
                steps.setdefault(step.slot, []).append((row, step))
        slots = sorted(steps)
        # A state that starts within a band stands in a gap before its step, in the band's time.
        gaps = {
            step.slot + row.band.reverse
            for row in self.main
            for step in row.band.steps
            if step.starts()
        } - {slots[0] if slots else 0}
        for slot in slots:
            found = steps[slot]
            x += _CUT if slot in gaps else 0.0
            width = max(row.blocks[slot].width for row, _ in found)
            self.columns[slot] = (x, width)
            x += width + _BETWEEN
        self.right = x - _BETWEEN
        x += _SIDE - _BETWEEN if any(row.band.reverse for row in self.main) else 0.0
        for row in self.rows:
            if row not in self.main:
                self.columns[self.graph.slots] = (x, row.blocks[self.graph.slots].width)
        return sum(self.columns[max(self.columns)])

    def _place_rows(self) -> None:
        named = sum(not row.band.after for row in self.main) > 1
        y = 16.0
        for row in self.main or self.rows:
            y += 20.0
            shared = len(row.band.shared)
            row.lane = (y, y + (_RAIL * shared + 6 if shared else 0))
            timed = row in self.main and not row.band.after
            row.place(row.lane[1] + (20 if shared else 4), 2, 14 * timed)
            y = row.bottom + 8
            if named and row.band.name:
                self.out.texts.append(Text(row.band.name, 4, row.bottom - 13, 10, "text", "left"))
        for row in self.rows:
            if self.main and row not in self.main:  # level with what it reads of the last step
                step = row.band.steps[0]
                block, vertices = row.blocks[step.slot], step.vertices
                reads = [(e.source, j) for j, v in enumerate(vertices) for e in v.inputs]
                places = [(*s.place[::-1], s.rank, s, j) for s, j in reads if s.place]
                level, like = 0.0, self.rows[0]
                for slot, b, _, source, j in sorted(places, key=lambda found: found[:3]):
                    band = self.graph.bands[b]
                    if b != row.index and not source.initial:
                        like = self.rows[b]
                        (of,) = [s for s in band.steps if s.slot == slot]
                        level = like.blocks[slot].y(of.vertices.index(source)) - block.y(j)
                row.place(0.0, 0.0)
                shift = like.base + level - row.base
                row.top, row.base, row.bottom = (y + shift for y in (row.top, row.base, row.bottom))
                low = min(like.lane[1], row.top - 12)
                row.lane = (low - _RAIL * len(row.band.shared) - 6, low)
        self.bottom = max(row.bottom for row in self.rows)

    def _path(self, row: _Row, slot: int, points: Sequence[Point]) -> list[Point]:
        """From a block's own places to the page's; a band that runs back in time is mirrored."""
        left, width = self.columns[slot]
        mirrored = row.band.reverse
        return [(left + (width - x if mirrored else x), row.base + y) for x, y in points]

    def _place_step(self, row: _Row, step: Step) -> None:
        block = row.blocks[step.slot]
        left, width = self.columns[step.slot]
        for i, vertex in enumerate(step.vertices):
            node = self.nodes[id(vertex)]
            ((node.x, node.y),) = self._path(row, step.slot, [(block.x[i], block.y(i))])
            self.where[id(vertex)] = (row, step.slot, i)
            self.out.nodes.append(node)
            if vertex.span:
                stripes(self.out, f"{node.id}_", vertex.span, node)
        for vertex in step.starts():
            self._place_start(row, step, vertex)
        if row not in self.main:
            return
        said = f"t = {step.t}"
        if step.hidden:
            count, first, last = step.hidden
            said = f"… {count} more steps, t = {first} to {last} …"
        box = Box(f"step_{row.index}_{step.slot}", "fold" if step.hidden else "step", left, row.top)
        box.x1, box.y1, box.tooltip = left + width, row.bottom, f"{row.band.name} {said}".strip()
        self.out.boxes.append(box)
        if step.hidden:  # at the foot: taps rise above
            self.out.texts.append(Text(said, left + width / 2, row.bottom - 9, 10, "text"))
        elif not row.band.after:
            y = row.bottom - 13
            if row.band.reverse:  # what arrives from above does so at the left
                self.out.texts.append(Text(said, left + width - 14, y, 11, "text", "right"))
            else:
                self.out.texts.append(Text(said, left + 14, y, 11, "text", "left"))

    def _place_start(self, row: _Row, step: Step, vertex: Vertex) -> None:
        """A state before its first step, or detached before a later one."""
        self.nodes[id(vertex)] = node = new_node(vertex, self.out, step.t, self.last_time)
        aside = -(14 if vertex.inputs else 30) - node.width / 2
        y = row.blocks[step.slot].spine[vertex.state or 0] * ROW
        ((node.x, node.y),) = self._path(row, step.slot, [(aside, y)])
        self.out.nodes.append(node)
        if vertex.inputs:
            path = [*self._leaving(row, vertex.inputs[0].source), self._side(node, row, -1)]
            self._arrow(vertex.inputs[0], vertex, path)
            ((x, _),) = self._path(row, step.slot, [(18 - _CUT - _BETWEEN, 0)])
            if not any(text.text == "cut" and text.x == x for text in self.out.texts):
                self.out.rule("cut", (x, row.top - 6), (x, row.bottom + 6), "the gradient is cut")
                self.out.texts.append(Text("cut", x, row.bottom + 12))

    def _place_before(self) -> None:
        """What the shared vertices were computed from, left of everything."""
        found = self.graph.before
        if not found:
            return
        step = Step(-1, None, None, found)
        row = _Row(Band("", [step], []), -1)
        row.shapes[-1] = self._shape(row, step)
        row.make_blocks(1)
        self.left = min(0.0, *(_SIDE - 28 - self._boxes(r)[1] for r in self.rows))
        self.columns[-1] = (self.left - row.blocks[-1].width - 24, row.blocks[-1].width)
        row.base = next((sum(r.lane) / 2 for r in self.rows if r.band.shared), 0.0)
        self._place_step(row, step)
        self._draw_arrows(row, step)

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
        source, target = self.nodes[id(link.source)], self.nodes[id(reader)]
        kind: EdgeKind = "message" if link.index >= 0 else "link"
        tip = f"{target.label} sends {number(link.value)} to {source.label}"
        edge = self.out.line(
            source.id, target.id, kind, link.value, rounded(points), link.events, tip
        )
        edge.total = link.total

    def _side(self, node: Node, row: _Row, side: int) -> Point:
        """The middle of a node's side towards later steps, or with -1 towards earlier ones."""
        return node.x + side * node.width / 2 * (-1 if row.band.reverse else 1), node.y

    def _leaving(self, row: _Row, vertex: Vertex) -> list[Point]:
        """The way of a state out of the step that makes it, or from where it starts."""
        if id(vertex) not in self.where:
            return [self._side(self.nodes[id(vertex)], row, 1)]
        _, slot, _ = self.where[id(vertex)]
        return self._path(row, slot, row.blocks[slot].leaving(vertex.state or 0))

    def _draw_arrows(self, row: _Row, step: Step) -> None:
        block = row.blocks[step.slot]
        index = {id(v): i for i, v in enumerate(step.vertices)}
        for j, vertex in enumerate(step.vertices):
            up = 0
            for link in vertex.inputs:
                source_row = self.where.get(id(link.source), (row,))[0]
                if link.state is not None and source_row is row:
                    path = self._path(row, step.slot, block.entering(link.state, j))
                    self._arrow(link, vertex, [*self._leaving(row, link.source), *path])
                elif id(link.source) in index:
                    route = block.routes[index[id(link.source)], j]
                    self._arrow(link, vertex, self._path(row, step.slot, route))
                else:
                    if link.source.place is None:
                        use = (step, j, up, link, vertex)
                        self.uses.setdefault((row.index, id(link.source)), []).append(use)
                    elif id(link.source) in self.where:
                        self._draw_crossing(row, step.slot, j, up, link, vertex)
                    up += link.state is None

    def _draw_crossing(
        self, row: _Row, slot: int, j: int, up: int, link: Link, reader: Vertex
    ) -> None:
        """From one band to another, through the gaps between bands and steps."""
        from_row, from_slot, i = self.where[id(link.source)]
        block, from_block = row.blocks[slot], from_row.blocks[from_slot]
        source, target = self.nodes[id(link.source)], self.nodes[id(reader)]
        if (
            source.y == target.y
            and row not in self.main
            and from_slot == from_row.last_slot
            and not from_row.band.reverse
            and from_block.clear_row(from_block.row[i], from_block.right(i) + 1, math.inf)
            and block.clear_row(block.row[j], 0.0, block.x[j] - target.width / 2 - 1)
        ):
            ends = [self._side(source, row, 1), self._side(target, row, -1)]
            self._arrow(link, reader, ends)
            return
        path = self._path(from_row, from_slot, from_block.down(i))[:-1]
        x = path[-1][0]
        if row in self.main:
            ((into, _),) = self._path(row, slot, [(block.up_x(j, up), 0)])
            way = [(into, target.y - HALF)]
            if link.state is not None:
                ((into, _),) = self._path(row, slot, [(-_BETWEEN / 2, 0)])
                way = self._path(row, slot, block.entering(link.state, j))
                way.insert(0, (into, way[0][1]))
            top = row.lane[0] - 12 if row.band.shared else row.top - 8
            way.insert(0, (into, top))
            beside = row.index == from_row.index + 1
        else:  # to the end: below everything, then up from below
            way = self._path(row, slot, block.down(j))[:-1][::-1]
            top = self.bottom + 14
            way.insert(0, (way[0][0], top))
            beside = from_row.bottom >= self.bottom - 1
        if beside:
            path += [(x, top)]
        else:  # other bands are in between: pass them in the gap right of the step
            y, gap = from_row.bottom + 8, sum(self.columns[from_slot]) + _BETWEEN / 2
            path += [(x, y), (gap, y), (gap, top)]
        self._arrow(link, reader, [*path, *way])

    def _draw_highways(self, row: _Row) -> None:
        """A band behind the row of every state but the first."""
        if row not in self.main or row.band.after:
            return
        slots = sorted(row.blocks)
        x0, x1 = self.columns[slots[0]][0] - 10, sum(self.columns[slots[-1]]) + 10
        x0, x1 = (x0, x1 + 78) if row.band.reverse else (x0 - 78, x1)
        first = {block.spine[0] for block in row.blocks.values() if block.spine}
        for n in sorted({n for block in row.blocks.values() for n in block.spine} - first):
            y, name = row.base + n * ROW, f"way_{row.index}_{n}"
            self.out.boxes.append(Box(name, "lane", x0, y - 24, x1, y + 24, "the state's own path"))

    # --- rails ------------------------------------------------------------------------------------

    def _draw_rails(self, row: _Row) -> None:
        """Each shared vertex once, with a tap from every use; at the end, right above its use."""
        band, at_end = row.band, row not in self.main
        if not band.shared:
            return
        slots = sorted(row.blocks)
        first, last = self.columns[slots[0]][0], sum(self.columns[slots[-1]])
        texts, wide = self._boxes(row)
        box_x = last + 16 + wide / 2 if band.reverse else first - 16 - wide / 2
        if not at_end:
            away = wide / 2 + 6
            x0, x1 = (first - 6, box_x + away) if band.reverse else (box_x - away, last + 6)
            tip = "what the steps share"
            self.out.boxes.append(
                Box(f"lane_{row.index}", "lane", x0, row.lane[0], x1, row.lane[1], tip)
            )
        numbers: list[tuple[str, str, Step, float]] = []
        for n, vertex in enumerate(band.shared):
            uses = self.uses.get((row.index, id(vertex)), [])
            node = Node(f"n{vertex.rank}", vertex.label, "parameter", vertex.value, width=wide)
            node.text = texts[n]
            if id(vertex) in self.nodes:
                node.id += f"_{row.index}"  # one box in each band that uses it
            self.nodes[id(vertex)] = node
            node.tensor = None if vertex.tensor is None else vertex.tensor.number
            node.tooltip, node.height = tooltip(vertex), 20.0
            node.x, node.y = box_x, row.lane[0] + 3 + _RAIL * (len(band.shared) - n - 0.5)
            taps = [self._tap(row, use, node) for use in uses]
            for use, (_, edge, _, said) in zip(uses, taps, strict=True):
                numbers.append((said, edge.id, use[0], node.y))
            if at_end and taps:
                node.x = min(tap[0] for tap in taps) + wide / 2 - 14
            self._draw_rail(node, [tap[:3] for tap in taps], band.reverse)
            self.out.nodes.append(node)
            for link in vertex.inputs:  # computed before the steps, at the far left
                if id(link.source) in self.where:
                    source, end = self.nodes[id(link.source)], self._side(node, row, -1)
                    turns = [(self.left - 12, source.y), (self.left - 12, node.y)]
                    if band.reverse:  # its box stands at the right: above the lane and around
                        above, beyond = row.lane[0] - 3, end[0] + 12
                        turns[1:] = [(self.left - 12, above), (beyond, above), (beyond, node.y)]
                    start = (source.x + source.width / 2, source.y)
                    self._arrow(link, vertex, [start, *turns, end])
        if not at_end:
            self._write_numbers(row, numbers)

    def _boxes(self, row: _Row) -> tuple[list[str], float]:
        """The values written on the boxes of rails, and a width that suits them all."""
        texts = [values(v) if self.out.show == "forward" else "" for v in row.band.shared]
        wide = _BOX
        for vertex, text in zip(row.band.shared, texts, strict=True):
            said = f"{vertex.label}   {text or f'‖∇‖ {number(vertex.value)}'}"
            wide = max(wide, text_width(said) + 10)
        return texts, wide

    def _write_numbers(self, row: _Row, numbers: list[tuple[str, str, Step, float]]) -> None:
        """The size of every tap: above its rail, right of all taps of the step."""
        ends: dict[int, float] = {}
        for step in row.band.steps:
            block, slot = row.blocks[step.slot], step.slot
            lines = [
                (block.up_x(j, n), 0.0) for j, up in enumerate(block.shape.up) for n in range(up)
            ]
            ends[slot] = max((x for x, _ in self._path(row, slot, lines)), default=0.0)
        for text, of, step, rail in numbers:
            at = ends[step.slot] + 5
            self.out.texts.append(Text(text, at, rail + 9, 10, align="left", of=of))

    def _tap(self, row: _Row, use: _Use, rail: Node) -> tuple[float, Edge, float | None, str]:
        """A line from a use of a shared vertex up to its rail: its place, total and number."""
        step, j, up, link, reader = use
        ((x, _),) = self._path(row, step.slot, [(row.blocks[step.slot].up_x(j, up), 0)])
        node, joint = self.nodes[id(reader)], self.out.joint(x, rail.y)
        said = f"{step.hidden[0]} terms, the largest " if step.hidden else ""
        said += number(link.value)
        tip = f"{reader.label} adds {said} to {rail.label}"
        curve = rounded([(x, rail.y), (x, node.y - HALF)])
        edge = self.out.line(joint, node.id, "tap", link.value, curve, link.events, tip)
        edge.total = link.total
        return x, edge, link.total, said

    def _draw_rail(
        self, node: Node, taps: list[tuple[float, Edge, float | None]], reverse: bool
    ) -> None:
        """The running sum, from the use that comes first in the traversal to the weight's box."""
        totals = [total for _, _, total in sorted(taps, key=lambda t: max(t[1].events, default=0))]
        taps.sort(key=lambda tap: tap[0], reverse=not reverse)
        half, segments = node.width / 2, []
        for (x, tap, _), beyond, total in zip(taps, [*taps[1:], None], totals, strict=True):
            if abs(x - node.x) <= half:  # straight into the box
                tap.source = node.id
                tap.curve = rounded([(x, node.y + node.height / 2), tap.curve[-1]])
                continue
            far = (node.x + math.copysign(half, x - node.x), node.id)
            if beyond and abs(beyond[0] - node.x) > half:
                far = (beyond[0], beyond[1].source)
            tip = f"{node.label}: running sum {number(total)}"
            curve = rounded([(far[0], node.y), (x, node.y)])
            segments.append(self.out.line(far[1], tap.source, "rail", total, curve, (), tip).id)
        self.out.rails.append(Rail(node.id, tuple(t[1].id for t in taps), tuple(segments)))

    def _draw_callout(self) -> None:
        bad = self.graph.bad
        if bad is not None:
            node = self.nodes.get(id(bad))
            x, y = (node.x, node.y) if node is not None else (self.right, self.bottom - HALF)
            if id(bad) in self.where:  # clear of the step's head
                y = self.where[id(bad)][0].bottom - 21
            call_out(self.graph, self.out, bad, x, y + 33)


def call_out(graph: Graph, drawing: Drawing, bad: Vertex, x: float, y: float) -> None:
    """Say where gradients break, or where an error begins."""
    exact = graph.trace.measures == "gradient"
    said = "first non-finite gradient:" if exact else "the error begins at"
    said = f"{said} {bad.label.split('→')[-1].strip()}"
    wide = text_width(said) + 16
    drawing.nodes.append(Node("callout", said, "callout", None, None, None, said, x, y, wide, 18))
    drawing.description = f"{said}. {drawing.description}".strip()
