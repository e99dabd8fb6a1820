"""A walk through one computation: values appear going forward, then gradients going back.

Every frame is one event: a value is computed, or a message arrives. Nothing is shown before its
event. How frames are shown is decided in page.py.
"""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

from tinygrad_rnn import Trace

from .collect import as_trace, step_of
from .dot import clean
from .draw import draw
from .model import Edge, Node, text_width
from .page import Frame, Look, Player
from .picture import Picture
from .scale import number

__all__ = ["player"]

_FALLS = " (A sum's norm can fall when a term is added: terms may point in opposite directions.)"
_COMPUTED = ("op", "state", "output")  # kinds of nodes
_LINES = ("message", "tap", "rail", "link")  # kinds of edges
_Event: TypeAlias = tuple[Frame, Any]  # with what its unit's summary is made of


def player(
    output: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    speed: Literal[1, 2, 3] = 2,
    **options: Any,
) -> Player:
    """Walk a computation forward and its gradient back, one step or one event at a time.

    Parameters
    ----------
    output : Tensor or Trace
        Usually a loss.
    path : str or path, optional
        Where to save it: a self-contained page ``.html``, or an animation ``.gif``.
    speed : {1, 2, 3}
        The initial speed of the page: slow, medium, fast.
    **options
        As for `viz.draw`: ``level``, ``fold``, ``labels``, ``names``, ``title``.

    Returns
    -------
    Player
        Shows itself in a notebook; saves itself and its frames.

    Raises
    ------
    ValueError
        If the suffix is another one, or as `viz.draw` raises it.
    FileNotFoundError
        If the directory does not exist.

    Examples
    --------
    >>> import numpy as np, tinygrad_rnn as tr, viz
    >>> w, h = tr.Tensor([[0.5]], requires_grad=True, name="w"), tr.Tensor(np.ones((1, 1)))
    >>> for t in range(3):
    ...     with tr.step(t):
    ...         h = tr.tanh(h @ w)
    >>> walk = viz.player(h)
    >>> walk
    <player 'Graph unrolled over 3 steps': 16 frames>
    >>> walk.page.startswith("<!doctype html>")
    True
    """
    trace = as_trace(output)
    picture = draw(trace, **options)
    forward = draw(trace, show="forward", **options | {"level": picture.level})
    found = Player(picture, list(_Walk(trace, picture, forward).frames()), speed)
    if path is not None:
        found.save(path)
    return found


class _Walk:
    """The frames of a picture, from the given values alone to the finished picture."""

    def __init__(self, trace: Trace, picture: Picture, forward: Picture) -> None:
        self.trace, self.picture = trace, picture
        self.nodes = {node.id: node for node in picture.nodes}
        # Small tensors are written out where they fit the box, of others the norm is said.
        said = {node.id: node.text for node in forward.nodes}
        room = {name: node.width for name, node in self.nodes.items()}
        said = {name: t if text_width(t) <= room.get(name, 0.0) else "" for name, t in said.items()}
        self.values = {node.id: said[node.id] or number(node.value) for node in forward.nodes}
        self.measure = {name: "value" if text else "norm" for name, text in said.items()}
        self.tensors = {tensor.number: tensor for tensor in trace.tensors}
        self.rails = {tap: rail for rail in picture.rails for tap in rail.taps}
        self.marks = _marks(picture)
        self.left: dict[str, None] = {}  # what does not yet look as it is drawn
        self.sums: dict[str, float] = {}  # the norm of each running sum
        self.told = False  # that it can fall
        self.timed = any(node.step is not None for node in picture.nodes)

    def frames(self) -> Iterator[Frame]:
        """The start, the forward pass, the backward pass."""
        yield self._start()
        yield from self._told("Forward", self._forward(), self._forward_summary)
        yield from self._told("Backward", self._backward(), self._backward_summary)

    def _told(
        self,
        way: str,
        events: Iterable[_Event],
        tell: Callable[[Sequence[Any]], tuple[str, Sequence[str]]],
    ) -> Iterator[Frame]:
        """Frames with their place before what they say, and a summary at the end of each unit."""
        for place, group in itertools.groupby(events, key=lambda event: event[0].unit):
            found = list(group)
            heading = f"{way}, {place}" if place else way
            for frame, _ in found:
                frame.said = f"{heading}: {frame.said}"
                frame.unit = heading if self.timed else ""
            said, named = tell([what for _, what in found if what is not None])
            found[-1][0].summary = (f"{heading}: {said}", named) if said else ("", ())
            yield from (frame for frame, _ in found)

    def _start(self) -> Frame:
        """Inputs, weights and initial states; all else is out of sight."""
        hidden = [e.id for e in self.picture.edges if e.kind in _LINES]
        hidden += [n.id for n in self.picture.nodes if n.kind in (*_COMPUTED, "callout")]
        hidden += [name for found in self.marks.values() for name in found]
        looks = dict.fromkeys(hidden, Look("off"))
        for node in self.picture.nodes:
            if node.kind in ("input", "parameter"):
                norm = "" if self.measure[node.id] == "value" else "‖·‖ "
                sign = f"{clean(node.label)}   {norm}" if node.kind == "parameter" else ""
                looks[node.id] = Look("plain", None, sign + self.values[node.id])
        self.left = dict.fromkeys(looks)
        said = "Only the inputs and the weights are known."
        return Frame(looks, said, unit="Start")

    # --- forward ----------------------------------------------------------------------------------

    def _forward(self) -> Iterator[_Event]:
        computed = [n for n in self.nodes.values() if n.kind in _COMPUTED]
        waiting: dict[str, list[Edge]] = {}
        for edge in self.picture.edges:
            if edge.kind in _LINES:
                waiting.setdefault(edge.target, []).append(edge)
        for node in sorted(computed, key=lambda n: n.tensor or 0):
            looks = {node.id: Look("plain", None, self.values[node.id])}
            for edge in waiting.get(node.id, ()):
                looks |= dict.fromkeys(self._line(edge), Look("plain"))
            size = f"{self.measure[node.id]} is {self.values[node.id]}"
            said = f"{_named(node)} is computed; its {size}."
            yield Frame(looks, said, (node.id,), "", self._place(node)), node

    def _forward_summary(self, nodes: Sequence[Node]) -> tuple[str, Sequence[str]]:
        shown = [n for n in nodes if n.kind in ("state", "output")] or list(nodes[-1:])
        values = [f"{_named(n)} ({self.measure[n.id]} {self.values[n.id]})" for n in shown]
        return f"all is computed up to {_listed(values)}.", [n.id for n in shown]

    # --- backward ---------------------------------------------------------------------------------

    def _backward(self) -> Iterator[_Event]:
        trace, last = self.trace, self.tensors[self.trace.output.number]
        sent = (e for e in self.picture.edges if e.events and e.value is not None)
        edges = sorted(sent, key=lambda e: (min(e.events), max(e.events)))
        receivers = [self.rails[e.id].node if e.id in self.rails else e.source for e in edges]
        more = Counter(receivers)
        end = next((n for n in self.nodes.values() if n.tensor == last.number), None)
        if end is not None:
            size = number(trace.norm(last))
            said = f"The way back begins at {_named(end)}. Its {trace.measures} has norm {size}."
            if last.size == 1 and size == "1":
                said = f"The way back begins at {_named(end)}: ∂{_named(end)}/∂{_named(end)} = 1."
            yield Frame(self._done([end.id, "back"]), said, (end.id,), "", self._place(end)), None
        for i, (edge, name) in enumerate(zip(edges, receivers, strict=True)):
            more[name] -= 1
            sender, receiver = self.nodes[edge.target], self.nodes[name]
            looks = self._done(self._line(edge))
            if not more[name]:
                looks |= self._done([name])
            elif edge.total is not None:
                sign = f"{clean(receiver.label)}   {self.picture.sign} "
                sign = sign if receiver.kind == "parameter" else ""
                looks[name] = Look("sized", edge.total, sign + number(edge.total))
            if i == len(edges) - 1:
                looks |= self._done(list(self.left))
            said, named = self._sent(edge, receiver, more[name]), (sender.id, edge.id, name)
            frame = Frame(looks, said, named, self._rule(edge), self._place(sender))
            yield frame, (edge, receiver)

    def _sent(self, edge: Edge, receiver: Node, more: int) -> str:
        sender, name = self.nodes[edge.target], _named(receiver)
        came = "The folded steps send" if sender.kind == "joint" else f"{_named(sender)} sends"
        if receiver.kind == "parameter":
            said = f"{came} {name} a term of norm {number(edge.value)}"
        else:
            said = f"{came} a message of norm {number(edge.value)} back to {name}"
        total = edge.total if more else receiver.value
        sum_is = "" if total is None else f" The sum so far has norm {number(total)}."
        if not more:
            sum_is = f" With it the {self.trace.measures} of {name} is complete"
            sum_is += "." if total is None else f"; its norm is {number(total)}."
        if total is not None:
            if total < self.sums.get(receiver.id, 0.0) and not self.told:
                sum_is, self.told = sum_is + _FALLS, True
            self.sums[receiver.id] = total
        return f"{said}.{sum_is}"

    def _backward_summary(self, sent: Sequence[tuple[Edge, Node]]) -> tuple[str, Sequence[str]]:
        inside = dict.fromkeys(edge.target for edge, _ in sent)
        on = [
            (e, r) for e, r in sent if r.kind not in ("parameter", "input") and r.id not in inside
        ]
        terms = [(e, r) for e, r in sent if r.kind == "parameter"]
        said = []
        for what, found in (("messages go back to", on), ("terms are added to", terms)):
            parts = [f"{_named(r)} (norm {number(e.value)})" for e, r in found]
            said += [f"{what} {_listed(parts)}"] if parts else []
        own = [name for name in inside if self.nodes[name].kind == "state"] or list(inside)[:1]
        return f"{'; '.join(said)}." if said else "", [*own, *(r.id for _, r in [*on, *terms])]

    # --- parts ------------------------------------------------------------------------------------

    def _line(self, edge: Edge) -> list[str]:
        """An edge, with the piece of the rail that it feeds."""
        rail = self.rails.get(edge.id)
        if rail is None:
            return [edge.id]
        k = rail.taps.index(edge.id)
        return [edge.id, *rail.segments[k : k + 1]]

    def _done(self, names: Iterable[str]) -> dict[str, Look]:
        """Things as they are drawn, with the marks that show their sizes."""
        looks = {}
        for name in names:
            for one in (name, *self.marks.get(name, ())):
                if one in self.left:
                    looks[one] = Look()
                    del self.left[one]
        return looks

    def _place(self, node: Node) -> str:
        tensor = self.tensors.get(node.tensor or 0)
        scope = step_of(tensor)
        if scope is None:
            return "" if node.step is None else f"t = {node.step}"
        names = [s.name for s in scope.chain() if s.t is None and s.owner is None]
        names = [f"{n} layer" if n in ("forward", "backward") else n for n in names]
        return ", ".join([*names, f"t = {scope.t}"])

    def _rule(self, edge: Edge) -> str:
        """What the one operation does that the edge stands for; nothing if there are several."""
        events = [self.trace.events[i] for i in sorted(edge.events)]
        primitives = [event.tensor.primitive for event in events]
        made = primitives[0]
        if made is None or not all(later and later.view for later in primitives[1:]):
            return ""
        formula = made.formula[min(events[0].index, len(made.formula) - 1)] if made.formula else ""
        said = made.sentence.replace("`", "")
        return " · ".join(part for part in (formula, said[:1].upper() + said[1:]) if part)


def _named(node: Node) -> str:
    if node.kind == "joint":
        return "the folded steps"
    return re.sub(r"\s+", " ", clean(node.label).split(" → ")[-1]) or "the result"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


def _marks(picture: Picture) -> dict[str, list[str]]:
    """By the id of a node or an edge: the bars, stripes and numbers that show its size."""
    owners = {node.id: node.of for node in picture.nodes if node.of}
    marks: dict[str, list[str]] = {}
    for name, owner in owners.items():
        marks.setdefault(owner, []).append(name)
    for i, text in enumerate(picture.texts):
        if text.of:
            marks.setdefault(owners.get(text.of, text.of), []).append(f"text{i}")
    return marks
