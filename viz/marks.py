"""What stands around a graph: the colour bar, bars over time, stripes, and the sentence below.

Everything is an ordinary node or text, so that every renderer draws it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from .model import Drawing, Node, Text
from .scale import form, number

__all__ = ["Bar", "bars", "legend", "stripes", "tell"]

_HEIGHT = 56.0  # of the bars
_COLOURS = 40  # swatches of the colour bar
_STRIPES = 300  # at most, in a fold

# Centre, width, time, size, and the id of the node whose size it is.
Bar: TypeAlias = tuple[float, float, int | None, float | None, str]


def legend(drawing: Drawing, x: float, y: float, title: str, width: float = 280.0) -> None:
    """The colour bar, and those of the four sizes drawn by form that occur."""
    low, high = drawing.scale.low, drawing.scale.high
    drawing.texts.append(Text(title, x + width / 2, y, 10, "text"))
    step = width / _COLOURS
    for i in range(_COLOURS):
        value = 10 ** (low + (high - low) * (i + 0.5) / _COLOURS)
        at, wide, tip = x + (i + 0.5) * step, step + 0.4, number(value)
        drawing.nodes.append(
            Node(f"bar{i}", "", "swatch", value, None, None, tip, at, y + 16, wide, 12)
        )
    for position, text in drawing.scale.ticks():
        drawing.texts.append(Text(text, x + position * width, y + 30))
    drawn = [n.value for n in drawing.nodes if n.kind not in ("joint", "callout")]
    occur = {form(value) for value in [*drawn, *(e.value for e in drawing.edges if e.events)]}
    forms = {"exactly 0": 0.0, "no gradient": None, "±Inf": math.inf, "NaN": math.nan}
    forms = {text: special for text, special in forms.items() if form(special) in occur}
    for i, (text, special) in enumerate(forms.items()):
        at = x + width + 44 + 108 * i
        drawing.nodes.append(
            Node(f"form{i}", "", "swatch", special, None, None, text, at, y + 16, 24, 14)
        )
        drawing.texts.append(Text(text, at + 22, y + 16, align="left"))


def stripes(
    drawing: Drawing, name: str, span: Sequence[tuple[int | None, float | None]], inside: Node
) -> None:
    """One coloured stripe for each step, or for every so many steps where there are too many."""
    count = min(len(span), _STRIPES)
    step = inside.width / count
    for i in range(count):
        t, value = span[i * len(span) // count]
        x = inside.x - inside.width / 2 + (i + 0.5) * step
        tip = f"t = {t}: {number(value)}"
        wide, high = step + 0.4, inside.height
        mark = Node(
            f"{name}{i}", "", "swatch", value, t, None, tip, x, inside.y, wide, high, inside.id
        )
        drawing.nodes.append(mark)


def bars(
    drawing: Drawing, name: str, series: dict[str, list[Bar]], ends: tuple[float, float], y: float,
    note: str, more: float = 0.0,
) -> float:  # fmt: skip
    """A bar for each state at every step, on the picture's scale; returns the y below."""
    high = _HEIGHT + more
    (left, right), foot = ends, y + high + 12
    for position, text in drawing.scale.ticks():
        level = foot - position * high
        drawing.rule("rule", (left, level), (right, level), text)
        drawing.texts.append(Text(text, left - 8, level, align="right"))
    sign = "‖∂L/∂{}‖" if drawing.show == "gradient" else "‖{}‖"
    what = "\n".join(sign.format(letter) for letter in series)
    drawing.texts.append(Text(f"{what}\nat each step", left - 84, foot - high / 2, 10, "text"))
    drawing.texts.append(Text(note, (left + right) / 2, y - 10, 10, "text", of=f"{name} end"))
    for k, (letter, found) in enumerate(series.items()):
        few = len(found) <= 20
        for n, (x, width, t, value, of) in enumerate(found):
            height = {"nan": high, "infinite": high}.get(form(value), 1.0)
            if form(value) == "finite" and value is not None:
                height = max(1.0, high * drawing.scale.position(value))
            tip = f"{letter}, t = {t}: {number(value)}"
            bar, middle = f"{name}_{k}_{n}", foot - height / 2
            mark = Node(bar, "", "swatch", value, t, None, tip, x, middle, width, height, of)
            drawing.nodes.append(mark)
            if few:
                above = Text(number(value), x, foot - height - 8, 10, "text", of=bar)
                drawing.texts.append(above)
                drawing.texts.append(Text(letter if len(series) > 1 else "", x, foot + 8))
            elif k == 0 and t is not None and t % 10 == 0:
                drawing.texts.append(Text(str(t), x, foot + 9))
    return foot + 18


def tell(values: Sequence[float | None], letter: str) -> str:
    """How the gradient of a state changes on its way back: the sentence a teacher would say.

    Examples
    --------
    >>> tell([1e-4, 1e-3, 1e-2, 1e-1, 1.0], "h")
    'going back, ‖∂L/∂h‖ falls to a thousandth of its size after 3 steps, by a factor of 0.1 a step'
    >>> tell([8.0, 4.0, 2.0], "h")
    'going back 2 steps, ‖∂L/∂h‖ grows 4-fold, by a factor of 2 a step'
    """
    what = f"‖∂L/∂{letter}‖"
    if any(form(v) in ("nan", "infinite") for v in values):
        return f"{what} does not stay finite"
    known = [(i, v) for i, v in enumerate(values) if v is not None and v > 0]
    if len(known) < 2:
        return ""
    (first, foot), (last, top) = known[0], known[-1]
    by = f"by a factor of {number((foot / top) ** (1 / (last - first)))} a step"
    for i, value in reversed(known):
        after = f"its size after {last - i} steps, {by}"
        if value < top * 1.0000001e-3:
            return f"going back, {what} falls to a thousandth of {after}"
        if value > top * 0.9999999e3:
            return f"going back, {what} explodes: a thousand times {after}"
    steps = "1 step" if last - first == 1 else f"{last - first} steps"
    if foot < top:
        return f"going back {steps}, {what} falls to {number(100 * foot / top)} %, {by}"
    return f"going back {steps}, {what} grows {number(foot / top)}-fold, {by}"
