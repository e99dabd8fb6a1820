"""The picture as pure data: what is drawn where, and the size that each thing shows.

Coordinates are in points, y grows downwards, a node's x and y are its centre. Colours are not
here: they follow from `value`, the picture's scale and its theme when the DOT text is written
(dot.py). Where things go is decided in layout.py, what they say in collect.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .scale import Scale
from .style import Theme

__all__ = ["Box", "Drawing", "Edge", "Node", "Point", "Rail", "Text", "text_width"]

Point: TypeAlias = tuple[float, float]
NodeKind = Literal["op", "state", "input", "output", "parameter", "swatch", "joint", "callout"]
EdgeKind = Literal["message", "tap", "rail", "link", "data", "cut", "rule"]


@dataclass(slots=True)
class Node:
    """A tensor, or a mark of the drawing (a bar, a swatch, a joint of a rail).

    Attributes
    ----------
    id : str
        Stable: the n-th tensor of the record is ``n<n>``, whatever else the process has made.
    value : float or None
        The size drawn, such as the norm of the gradient.
    step : int or None
        The time step.
    tensor : int or None
        The tensor's number on the tape.
    of : str
        Of a mark: the id of the node whose sizes it shows.
    text : str
        What to write in place of the size, such as the values themselves.
    """

    id: str
    label: str = ""
    kind: NodeKind = "op"
    value: float | None = None
    step: int | None = None
    tensor: int | None = None
    tooltip: str = ""
    x: float = 0.0
    y: float = 0.0
    width: float = 46.0
    height: float = 34.0
    of: str = ""
    text: str = ""


@dataclass(slots=True)
class Edge:
    """What flows between two nodes; `source` and `target` are in the direction of the data.

    Attributes
    ----------
    value : float or None
        The size of the message that runs back along it, or of the running sum for a rail.
    total : float or None
        The size of the receiver's running sum after this message.
    events : tuple of int
        The positions in ``trace.events`` of the messages it stands for: the first to leave its
        sender, and those that arrive.
    curve : list of points
        Cubic Bézier control points, 3k + 1 of them, from the source to the target.
    """

    id: str
    source: str
    target: str
    kind: EdgeKind = "message"
    value: float | None = None
    events: tuple[int, ...] = ()
    tooltip: str = ""
    curve: list[Point] = field(default_factory=list)
    total: float | None = None


@dataclass(slots=True)
class Box:
    """A rounded area behind the nodes: a time step, a lane, a fold."""

    id: str
    kind: Literal["step", "lane", "fold"]
    x0: float
    y0: float
    x1: float = 0.0
    y1: float = 0.0
    tooltip: str = ""


@dataclass(slots=True)
class Text:
    """Free text; `of` is the id of the mark or edge whose size it says, if it does.

    ``"back"`` is what is true of the backward pass alone, ``"... end"`` what only its end shows.
    """

    text: str
    x: float
    y: float
    size: float = 10.0
    role: Literal["text", "muted", "bad"] = "muted"
    align: Literal["left", "centre", "right"] = "centre"
    of: str = ""


@dataclass(slots=True)
class Rail:
    """A shared weight over the steps: its node, and edges in the order of the traversal.

    The value of a tap is that use's contribution; that of a segment, the running sum so far.
    """

    node: str
    taps: tuple[str, ...]
    segments: tuple[str, ...]


@dataclass
class Drawing:
    """Everything that is drawn.

    Attributes
    ----------
    nodes, edges, boxes, texts, rails : list
        The data behind it.
    scale : Scale
        Of the colours; give its ends as ``vmin`` and ``vmax`` to share it with another picture.
    sign : str
        What the number beside a weight's name is, such as ``"‖∇‖"``.
    level : str
        ``"op"``, ``"scope"`` or ``"cell"``: the one that was asked for, or chosen.
    title, description : str
        What a screen reader says; the description is the sentence a teacher would say.
    """

    scale: Scale
    theme: Theme
    show: Literal["gradient", "forward"] = "gradient"
    title: str = ""
    description: str = ""
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    rails: list[Rail] = field(default_factory=list)
    sign: str = "‖∇‖"
    level: str = "op"

    def bounds(self) -> tuple[float, float, float, float]:
        """The corners x0, y0, x1, y1 of everything drawn."""
        halves = [(n, n.width / 2, n.height / 2) for n in self.nodes]
        found = [(n.x - w, n.y - h, n.x + w, n.y + h) for n, w, h in halves]
        found += [(b.x0, b.y0, b.x1, b.y1) for b in self.boxes]
        found += [(x, y, x, y) for e in self.edges for x, y in e.curve]
        for t in self.texts:
            wide, high = text_width(t.text, t.size), t.size * 0.75 * (1 + t.text.count("\n"))
            left = t.x - {"left": 0.0, "centre": 0.5, "right": 1.0}[t.align] * wide
            found.append((left, t.y - high, left + wide, t.y + high))
        x0, y0, x1, y1 = zip(*(found or [(0.0, 0.0, 1.0, 1.0)]), strict=True)
        return min(x0), min(y0), max(x1), max(y1)

    def joint(self, x: float, y: float) -> str:
        """An invisible node, for lines that end on no tensor; returns its id."""
        name = f"j{len(self.nodes)}"
        self.nodes.append(Node(name, kind="joint", x=x, y=y, width=0.5, height=0.5))
        return name

    def add(self, edge: Edge) -> Edge:
        """Add an edge, and give it its id."""
        edge.id = f"e{len(self.edges)}"
        self.edges.append(edge)
        return edge

    def rule(self, kind: EdgeKind, start: Point, end: Point, tooltip: str) -> None:
        """Add a straight line between two places."""
        ends = self.joint(*start), self.joint(*end)
        self.add(Edge("", *ends, kind, None, (), tooltip, [start, start, end, end]))


def text_width(text: str, size: float = 10.0) -> float:
    """About how wide a text is; narrow letters count half."""
    text = max(text.split("\n"), key=len)
    narrow = sum(c in "ijl.,:;'|!tfr ()[]₀₁₂₃₄₅₆₇₈₉⁻" for c in text)
    wide = sum(c in "mwMW@→Σ" for c in text)
    return (0.56 * len(text) - 0.24 * narrow + 0.28 * wide) * size
