"""One time step laid out by itself: which row and column each node gets, and how arrows run.

A step's layout depends on its shape alone, so it is computed once for all steps of the same shape
and equal steps look equal. The path that carries a state through the step lies on one straight
row (two for an LSTM). Between any two rows runs a track, and beside the nodes a gap, that no node
stands in: arrows that cannot be straight run there.
"""

from __future__ import annotations

import math
from bisect import bisect, bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from .model import Point

__all__ = ["HALF", "ROW", "Block", "Shape", "make_block", "rounded"]

Interval: TypeAlias = tuple[float, float]

ROW = 64.0  # from row to row
HALF = 17.0  # half a node's height
_GAP = 12.0  # between two nodes of a row
MARGIN = 18.0  # left and right of the nodes
_ABREAST = 3  # as many lone nodes of one depth may share a row
_LANE = 5.0
_APART = 9.0  # between two nodes of an upright step


class Shape(NamedTuple):
    """What a block's layout depends on; the nodes are in an order in which inputs come first.

    `entries` says for each state which nodes read it, `exits` which node makes the next one, `up`
    how many lines leave a node upwards.
    """

    widths: tuple[float, ...]
    inputs: tuple[tuple[int, ...], ...]
    entries: tuple[tuple[int, ...], ...]
    exits: tuple[int | None, ...]
    up: tuple[int, ...]


@dataclass
class Block:
    """A layout: centres in points from the left, rows downwards from the first spine (row 0)."""

    shape: Shape
    x: list[float]
    row: list[int]
    spine: list[int]  # the row of each state
    width: float
    top: int
    bottom: int
    taken: dict[int, list[Interval]]
    routes: dict[tuple[int, int], list[Point]] = field(default_factory=dict)

    def y(self, node: int) -> float:
        """The height of a node's centre below row 0."""
        return self.row[node] * ROW

    def up_x(self, node: int, line: int) -> float:
        """Where the n-th line up leaves a node."""
        lines = self.shape.up[node]
        apart = min(self.shape.widths[node] / (lines + 1), 14.0)
        return self.x[node] + apart * (line - (lines - 1) / 2)

    def right(self, node: int) -> float:
        """A node's right side."""
        return self.x[node] + self.shape.widths[node] / 2

    def down(self, node: int) -> list[Point]:
        """From a node to the lower edge."""
        x, row = self.x[node] + self.shape.widths[node] / 2 - 9, self.row[node]
        end = (self.bottom + 0.5) * ROW
        if self.clear(x, row + 1, self.bottom):
            return [(x, row * ROW + HALF), (x, end)]
        free = self.free_x(x, row + 1, self.bottom)
        track = (row + 0.5) * ROW + _LANE
        return [(x, row * ROW + HALF), (x, track), (free, track), (free, end)]

    def entering(self, state: int, node: int) -> list[Point]:
        """From the left edge, at the height of the state's row, to a node that reads it."""
        return [(0.0, self.spine[state] * ROW), *self.routes[len(self.x) + state, node]]

    def leaving(self, state: int) -> list[Point]:
        """From the node that makes a state to the right edge, at the height of the state's row."""
        end = self.shape.exits[state]
        assert end is not None
        route = self.routes[end, len(self.x) + len(self.spine) + state]
        return [*route, (self.width, self.spine[state] * ROW)]

    def clear_row(self, row: int, x0: float, x1: float) -> bool:
        """Whether a row is free of nodes between two places."""
        return not any(b - a > 30 for a, b in _hits(self.taken.get(row, []), x0, x1))

    def clear(self, x: float, first: int, last: int) -> bool:
        """Whether a line can pass some rows at one place."""
        rows = range(first, last + 1)
        return not any(_hits(self.taken.get(row, []), x - 4, x + 4) for row in rows)

    def free_x(self, near: float, first: int, last: int) -> float:
        """A place close to `near` where a line can pass some rows; the margins are always free."""
        edges = [self.width - 10.0, 10.0]
        for row in range(first, last + 1):
            for a, b in _hits(self.taken.get(row, []), near - 400, near + 400):
                edges += [a - _GAP / 2, b + _GAP / 2]
        free = [x for x in edges if 6 < x < self.width - 6 and self.clear(x, first, last)]
        return min(free, key=lambda x: (abs(x - near), x))


def _hits(intervals: list[Interval], x0: float, x1: float) -> list[Interval]:
    """Those of some sorted intervals that lie between two places; none overlaps another."""
    first = max(bisect(intervals, (x0, math.inf)) - 1, 0)
    beyond = bisect_left(intervals, (x1, -math.inf))
    return [(a, b) for a, b in intervals[first:beyond] if b > x0]


def make_block(shape: Shape, low: Sequence[int] = (), abreast: int = 0) -> Block:
    """Lay out one step.

    `low` says how far down each state's row has to be at least. With `abreast` the step is upright:
    a row for each depth, so many nodes at most in it, and each state on the right of its own.
    """
    layer: list[int] = []
    for found in shape.inputs:
        layer.append(max((layer[i] + 1 for i in found), default=0))
    if abreast:
        row, spine = _upright_rows(shape, layer, low, abreast)
        x, taken, width = _upright_columns(shape, row)
    else:
        row, spine = _rows(shape, layer, low)
        x, taken = _columns(shape, layer, row, set(spine) or {0})
        width = max((x[i] + w / 2 for i, w in enumerate(shape.widths)), default=0.0) + MARGIN
    ends = min(row, default=0), max([*row, *spine], default=0)
    block = Block(shape, x, row, spine, width, *ends, taken)
    _route(block)
    return block


def _upright_rows(
    shape: Shape, layer: list[int], low: Sequence[int], abreast: int
) -> tuple[list[int], list[int]]:
    """Rows by depth; a state has one to itself where it reads what it was before."""
    exits = {i: k for k, i in enumerate(shape.exits) if i is not None}
    readers: list[list[int]] = [[] for _ in layer]
    for j, found in enumerate(shape.inputs):
        for i in found:
            readers[i].append(j)
    beside: dict[int, int] = {}  # state -> what stands left of it
    for i, reads in enumerate(readers):
        into = reads[0] if len(reads) == 1 and i not in exits and layer[i] > 0 else -1
        if abreast > 1 and into in exits and into not in shape.entries[exits[into]]:
            beside.setdefault(into, i)
    rows = [0] * len(layer)
    spine = [0] * len(shape.exits)
    free = 0
    depths: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for i, depth in enumerate(layer):
        depths[depth].append(i)
    aside = set(beside.values())
    for here in depths:
        lone = [i for i in here if i not in exits and i not in aside]
        for n, i in enumerate(lone):
            rows[i] = free + n // abreast
        free += -(-len(lone) // abreast)
        ends = [i for i in here if i in exits]
        for i in sorted(ends, key=lambda i: low[exits[i]] if low else 0):
            k = exits[i]
            rows[i] = spine[k] = free = max([free, *low[k : k + 1]])
            free += 1
            if i in beside:
                rows[beside[i]] = rows[i]
    for k, end in enumerate(shape.exits):
        if end is None and shape.entries[k]:  # nothing makes it anew here
            spine[k] = rows[shape.entries[k][0]]
            if spine[k] in (spine[n] for n in range(len(spine)) if n != k):
                spine[k] = free = max([free, *low[k : k + 1]])
                free += 1
    return rows, spine


def _upright_columns(
    shape: Shape, row: list[int]
) -> tuple[list[float], dict[int, list[Interval]], float]:
    """From the left; lines up run in the open, and states stand on the right."""
    x = [0.0] * len(row)
    taken: dict[int, list[Interval]] = {}
    side = 18.0 if len(row) > 3 else 14.2  # left and right of the nodes

    def place(node: int, at: float) -> None:
        """At this place or right of it, where nothing stands in its row or its lines' way."""
        half, reach = shape.widths[node] / 2, 6.0 * shape.up[node]
        above = range(row[node]) if reach else ()
        while hits := [
            *((b + _APART + half) for _, b in _hits(
                taken.get(row[node], []), at - half - _APART + 0.1, at + half + _APART - 0.1)),
            *((b + 3 + reach) for r in above for _, b in _hits(
                taken.get(r, []), at - reach - 2, at + reach + 2)),
        ]:  # fmt: skip
            at = max(hits)
        x[node] = at
        insort(taken.setdefault(row[node], []), (at - half, at + half))
        for r in above:
            insort(taken.setdefault(r, []), (at - reach, at + reach))

    # What has lines up comes first: whatever stands above keeps clear of them.
    exits = [i for i in shape.exits if i is not None]
    inner = [i for i in range(len(row)) if i not in exits]
    for node in sorted(inner, key=lambda i: (not shape.up[i], row[i], i)):
        place(node, side + shape.widths[node] / 2)
    edge = max((x[i] + shape.widths[i] / 2 for i in inner), default=side)
    edge = max([edge, *(side + shape.widths[i] for i in exits)])
    for node in sorted(set(exits), key=lambda i: row[i]):
        place(node, edge - shape.widths[node] / 2)
    edge = max((x[i] + w / 2 for i, w in enumerate(shape.widths)), default=0.0)
    return x, taken, edge + side


def _chain(shape: Shape, layer: list[int], node: int, free: Callable[[int], bool]) -> list[int]:
    """Back from a node along its deepest inputs, as far as these are free; earliest first."""
    chain = [node]
    while open_ := [i for i in shape.inputs[chain[-1]] if free(i)]:
        chain.append(max(open_, key=lambda i: (layer[i], -i)))
    return chain[::-1]


def _spines(shape: Shape, layer: list[int]) -> list[list[int]]:
    """A path for each state, the shortest through the step; without a state, a longest one."""
    paths: list[list[int]] = []
    taken: set[int] = set()
    for entries, end in zip(shape.entries, shape.exits, strict=True):
        if end is None:  # nothing reads the state later
            path = [node for node in entries if node not in taken][:1]
        else:
            path = _shortest(shape, (set(entries) - {end}) or set(entries), end) or [end]
        paths.append(path)
        taken.update(path)
    last = max(range(len(layer)), key=lambda i: (layer[i], i))
    return paths or [_chain(shape, layer, last, lambda i: True)]


def _shortest(shape: Shape, starts: set[int], end: int) -> list[int]:
    onward = {end: end}
    queue = [end]
    for node in queue:  # grows as it goes
        if node in starts:
            path = [node]
            while path[-1] != end:
                path.append(onward[path[-1]])
            return path
        for i in shape.inputs[node]:
            if i not in onward:
                onward[i] = node
                queue.append(i)
    return []


def _rows(shape: Shape, layer: list[int], low: Sequence[int]) -> tuple[list[int], list[int]]:
    """The row of each node, and of each state: spines first, all else above or between them."""
    paths = _spines(shape, layer)
    order = sorted(range(len(paths)), key=lambda k: (-len(paths[k]), k))
    first = set(paths[order[0]])
    others = {node for k in order[1:] for node in paths[k]} - first
    fed = {node for k in order[1:] for node in shape.entries[k]}
    rows: dict[int, int] = dict.fromkeys(first, 0)
    between = _between(shape, first | others, others, fed)
    used: dict[int, list[tuple[int, int]]] = {}
    for node in range(len(layer) - 1, -1, -1):
        if node in rows or node in others:
            continue
        side = node in between

        def free(i: int, side: bool = side) -> bool:
            return i not in rows and i not in others and (i in between) == side

        chain = _chain(shape, layer, node, free)
        start, stop = layer[chain[0]], layer[node]
        step = 1 if side else -1
        row = step
        while hits := sum(a <= stop and start <= b for a, b in used.get(row, ())):
            if len(chain) == 1 and hits < _ABREAST:
                break
            row += step
        used.setdefault(row, []).append((start, stop))
        rows.update(dict.fromkeys(chain, row))
    spine = [0] * len(shape.entries)
    bottom = max(0, *used) if used else 0
    for k in order[1:]:
        bottom = max([bottom + 1, *low[k : k + 1]])
        for node in paths[k]:
            rows.setdefault(node, bottom)
        spine[k] = bottom
    return [rows[node] for node in range(len(layer))], spine


def _between(shape: Shape, spines: set[int], others: set[int], fed: set[int]) -> set[int]:
    """The nodes that belong between the first spine and the others: they touch the others."""
    found = set(fed) - spines
    n = len(shape.inputs)
    for node in range(n - 1, -1, -1):  # what leads there
        if node in found or node in others:
            found.update(i for i in shape.inputs[node] if i not in spines)
    for node in range(n):  # what comes from there
        if node not in spines and any(i in others or i in found for i in shape.inputs[node]):
            found.add(node)
    return found


def _columns(
    shape: Shape, layer: list[int], row: list[int], spines: set[int]
) -> tuple[list[float], dict[int, list[Interval]]]:
    """As far left as inputs allow; nothing may stand above a node whose lines go up."""
    x = [0.0] * len(row)
    taken: dict[int, list[Interval]] = {}
    top = min(row, default=0)
    for node in sorted(range(len(row)), key=lambda i: (layer[i], row[i] not in spines, i)):
        half = shape.widths[node] / 2
        at = MARGIN + half
        for i in shape.inputs[node]:
            beside = row[i] == row[node]
            at = max(at, x[i] + (shape.widths[i] / 2 + _GAP + half if beside else 0.0))
        reach = 6.0 * shape.up[node]
        lines = range(top, row[node]) if reach else ()
        moved = True
        while moved:
            moved = False
            for a, b in _hits(taken.get(row[node], []), at - half - _GAP, at + half + _GAP):
                gap = _GAP if b - a > 30 else 5.0
                if at - half - gap < b - 1e-9 and a + 1e-9 < at + half + gap:
                    at, moved = b + gap + half, True
            for above in lines:
                for _, b in _hits(taken.get(above, []), at - reach - 3, at + reach + 3):
                    at, moved = b + reach + 3, True
        x[node] = at
        insort(taken.setdefault(row[node], []), (at - half, at + half))
        for above in lines:
            insort(taken.setdefault(above, []), (at - reach, at + reach))
    return x, taken


def _route(block: Block) -> None:
    """Draw every arrow inside the block, and those by which states enter and leave it."""
    shape, n, states = block.shape, len(block.x), len(block.spine)
    # Where a state crosses the block's edges counts as a node without extent.
    x = [*block.x, *(8.0 + 3 * k for k in range(states))]
    x += [block.width - 8.0 - 4 * k for k in range(states)]
    row = [*block.row, *block.spine, *block.spine]
    half = [*(w / 2 for w in shape.widths), *[0.0] * (2 * states)]
    tall = [*[HALF] * n, *[0.0] * (2 * states)]
    pairs = [(i, node) for node, found in enumerate(shape.inputs) for i in dict.fromkeys(found)]
    pairs += [(n + k, i) for k, found in enumerate(shape.entries) for i in dict.fromkeys(found)]
    pairs += [(i, n + states + k) for k, i in enumerate(shape.exits) if i is not None]

    ports: dict[tuple[int, int], list[tuple[float, int]]] = {}  # (node, face) -> other ends
    bent: list[tuple[int, int, int, int]] = []
    for i, j in pairs:
        right, left = x[i] + half[i], x[j] - half[j]
        if row[i] == row[j] and left > right and block.clear_row(row[i], right + 1, left - 1):
            block.routes[i, j] = [(right, row[i] * ROW), (left, row[i] * ROW)]
            continue
        out, into = (1, -1) if row[j] > row[i] else (-1, 1) if row[j] < row[i] else (-1, -1)
        ports.setdefault((i, out), []).append((x[j], len(bent)))
        ports.setdefault((j, into), []).append((x[i], len(bent)))
        bent.append((i, j, out, into))
    at: dict[tuple[int, int], float] = {}  # (arrow, node) -> where it meets the node's face
    for (node, face), found in ports.items():
        busy = node < n and face < 0 and shape.up[node] > 0
        count = len(found) + busy
        spread = max(0.0, min(12.0, (2 * half[node] - 18) / max(count - 1, 1)))
        places = [x[node] + spread * (s - (count - 1) / 2) for s in range(count)]
        if busy:  # the middle belongs to the lines up
            places.pop(count // 2)
        at.update(((m, node), place) for place, (_, m) in zip(places, sorted(found), strict=True))
    lanes: dict[int, int] = {}

    def track(above: int) -> float:
        """A height between row `above` and the next."""
        lanes[above] = lane = lanes.get(above, -1) + 1
        return (above + 0.5) * ROW + _LANE * (0, -1, 1)[lane % 3]

    for m, (i, j, out, into) in enumerate(bent):
        a, b = at[m, i], at[m, j]
        near, far = (row[i], row[j] - 1) if out > 0 else (row[i] - 1, row[j])
        rows = (row[i] + 1, row[j] - 1) if out > 0 else (row[j] + 1, row[i] - 1)
        if block.clear(b, *rows):
            straight = out != into and abs(a - b) < 10 and block.clear(a, *rows)
            y = 0.0 if straight else track(near)
            middle = [] if straight else [(a, y), (b, y)]
        elif block.clear(a, *rows):
            y = track(far)
            middle = [(a, y), (b, y)]
        else:
            free, y, z = block.free_x(b, *rows), track(near), track(far)
            middle = [(a, y), (free, y), (free, z), (b, z)]
        start, end = (a, row[i] * ROW + out * tall[i]), (b, row[j] * ROW + into * tall[j])
        block.routes[i, j] = [start, *middle, end]


def rounded(points: Sequence[Point], radius: float = 8.0) -> list[Point]:
    """A polyline with rounded corners as cubic Bézier control points."""
    path = [points[0]]
    for point in points[1:]:
        if math.dist(point, path[-1]) > 1e-6:
            if len(path) > 1 and _straight(path[-2], path[-1], point):
                path.pop()
            path.append(point)
    path += path if len(path) == 1 else []
    curve = [path[0]]

    def line_to(end: Point) -> None:
        start = curve[-1]
        curve.extend([_toward(start, end, 1 / 3), _toward(start, end, 2 / 3), end])

    for before, corner, after in zip(path, path[1:], path[2:], strict=False):
        lengths = math.dist(before, corner), math.dist(corner, after)
        cut = min(radius, lengths[0] / 2, lengths[1] / 2)
        line_to(_toward(corner, before, cut / lengths[0]))
        curve.extend([corner, corner, _toward(corner, after, cut / lengths[1])])
    line_to(path[-1])
    return curve


def _toward(a: Point, b: Point, share: float) -> Point:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def _straight(a: Point, b: Point, c: Point) -> bool:
    return abs((b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])) < 1e-6
