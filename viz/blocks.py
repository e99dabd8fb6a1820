"""One time step laid out by itself: which row and column each node gets, and how arrows run.

A step's layout depends on its shape alone, so it is computed once for all steps of the same shape
and equal steps look equal. The path that carries a state through the step lies on one straight
row (two for an LSTM). Between any two rows runs a track, and beside the nodes a gap, that no node
stands in: arrows that cannot be straight run there.
"""

from __future__ import annotations

import math
from bisect import bisect, bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from .model import Point

__all__ = ["HALF", "ROW", "Block", "Shape", "make_block", "rounded"]

Interval: TypeAlias = tuple[float, float]

ROW = 64.0  # from row to row
HALF = 17.0  # half a node's height
_GAP = 9.0  # between two nodes of a row
_LANE = 5.0


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
    """A layout: centres in points from the left, rows downwards from row 0."""

    shape: Shape
    x: list[float]
    row: list[int]
    spine: list[int]  # the row of each state
    bottom: int
    width: float = 0.0
    taken: dict[int, list[Interval]] = field(default_factory=dict)
    routes: dict[tuple[int, int], list[Point]] = field(default_factory=dict)
    fan: dict[tuple[int, int], float] = field(default_factory=dict)  # (state, reader) -> aside

    def y(self, node: int) -> float:
        """The height of a node's centre below row 0."""
        return self.row[node] * ROW

    def up_x(self, node: int, line: int) -> float:
        """Where the n-th line up leaves a node."""
        lines = self.shape.up[node]
        apart = min(self.shape.widths[node] / (lines + 1), 14.0)
        return self.x[node] + apart * (line - (lines - 1) / 2)

    def lines_up(self) -> list[float]:
        """Where all lines up leave."""
        return [self.up_x(node, n) for node, up in enumerate(self.shape.up) for n in range(up)]

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


def make_block(shape: Shape, low: Sequence[int], abreast: int, margin: float) -> Block:
    """Lay out one step: a row for each depth, with so many nodes at most in it.

    `low` says how far down each state's row has to be at least. States stand on the right.
    """
    row, spine = _rows(shape, low or [0] * len(shape.exits), abreast)
    block = Block(shape, [0.0] * len(row), row, spine, max([0, *row, *spine]))
    _place(block, margin)
    _route(block)
    return block


def _rows(shape: Shape, low: Sequence[int], abreast: int) -> tuple[list[int], list[int]]:
    """The row of every node, by depth, and of each state, which has one to itself."""
    depth: list[int] = []
    readers: list[list[int]] = [[] for _ in shape.inputs]
    for j, found in enumerate(shape.inputs):
        depth.append(max((depth[i] + 1 for i in found), default=0))
        for i in found:
            readers[i].append(j)
    made = {i: k for k, i in enumerate(shape.exits) if i is not None}
    aside: dict[int, int] = {}  # what makes a state -> what stands left of it
    for i, reads in enumerate(readers):
        into = reads[0] if len(reads) == 1 and i not in made and depth[i] > 0 else -1
        if abreast > 1 and into in made and into not in shape.entries[made[into]]:
            aside.setdefault(into, i)
    rows, spine, free = [0] * len(depth), [0] * len(low), 0

    def give(k: int) -> int:
        """The next row to a state."""
        nonlocal free
        spine[k] = max(free, low[k])
        free = spine[k] + 1
        return spine[k]

    levels: list[list[int]] = [[] for _ in range(max(depth, default=-1) + 1)]
    for i, level in enumerate(depth):
        if i not in aside.values():
            levels[level].append(i)
    for here in levels:
        lone = [i for i in here if i not in made]
        for n, i in enumerate(lone):
            rows[i] = free + n // abreast
        free += -(-len(lone) // abreast)
        for i in sorted(made.keys() & here, key=lambda i: (low[made[i]], i)):
            rows[i] = rows[aside.get(i, i)] = give(made[i])
    for k, end in enumerate(shape.exits):
        if end is None and shape.entries[k]:  # nothing makes it anew here
            spine[k] = rows[shape.entries[k][0]]
            if spine[k] in (row for n, row in enumerate(spine) if n != k):
                give(k)
    return rows, spine


def _place(block: Block, side: float) -> None:
    """Columns from the left; lines up run in the open, and states stand on the right."""
    shape, taken = block.shape, block.taken
    side -= 3.8 if len(block.row) < 4 else 0.0

    def put(node: int, at: float) -> None:
        """At this place or right of it, where nothing stands in its row or its lines' way."""
        row, half, reach = block.row[node], shape.widths[node] / 2, 6.0 * shape.up[node]
        ways = [(row, half, _GAP)] + [(above, reach, 3.0) for above in range(row) if reach]
        while hits := [
            b + gap + wide
            for n, wide, gap in ways
            for _, b in _hits(taken.get(n, []), at - wide - gap + 0.1, at + wide + gap - 0.1)
        ]:
            at = max(hits)
        block.x[node] = at
        for n, wide, _ in ways:
            insort(taken.setdefault(n, []), (at - wide, at + wide))

    # What has lines up comes first: whatever stands above keeps clear of them.
    made = {i for i in shape.exits if i is not None}
    inner = [i for i in range(len(block.row)) if i not in made]
    for node in sorted(inner, key=lambda i: (not shape.up[i], block.row[i], i)):
        put(node, side + shape.widths[node] / 2)
    edge = max([side, *(block.right(i) for i in inner), *(side + shape.widths[i] for i in made)])
    for node in sorted(made, key=lambda i: block.row[i]):
        put(node, edge - shape.widths[node] / 2)
    block.width = max(map(block.right, range(len(block.row))), default=0.0) + side


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
        spread = spread if node < n else 5.0
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
    for k, readers in enumerate(shape.entries):  # several lines of one state run side by side
        turns = [(row[j] - row[n + k], block.routes[n + k, j][0][0], j) for j in set(readers)]
        order = sorted(turns, key=lambda turn: ((turn[0] > 0) - (turn[0] < 0), -turn[0] * turn[1]))
        for place, (_, _, j) in enumerate(order):
            block.fan[k, j] = 5.0 * (place - (len(order) - 1) / 2)


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
