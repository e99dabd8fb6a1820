"""A picture as DOT text, with every position given: Graphviz draws, it does not lay out.

The `graphviz` package quotes, escapes and writes the document. One function, `label`, stands
between any text and the file; node, edge and cluster names are generated, and nothing of a user's
becomes markup, a link or an attribute.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from functools import lru_cache
from html import escape

import graphviz

from .model import Drawing, Edge, Node, Point, Text, text_width
from .scale import form, number
from .style import FONT, Theme, ink

__all__ = ["clean", "label", "write", "xml_text"]

# C0 and C1 controls, surrogates, and what XML forbids: a renderer would write broken XML.
_UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_BIDI = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
_PREFIX = "\0"  # stands for the picture's own prefix until the content is known
_TOOLTIP = 2000  # characters

# Shape, style, border width and role of the border's colour for each kind of node.
_NODE_STYLES = {
    "op": ("rounded", 1.0, "node_line"),
    "state": ("rounded", 2.0, "text"),
    "input": ("", 1.0, "node_line"),
    "output": ("", 2.0, "text"),
    "parameter": ("", 1.6, "text"),
    "swatch": ("", 0.0, "page"),
    "callout": ("rounded", 1.4, "bad"),
}
_BOX_STYLES = {
    "step": ("", "box", "box_line"),
    "lane": ("", "lane", "lane_line"),
    "fold": (",dashed", "box", "muted"),
}


def clean(text: str, longest: int = 200) -> str:
    """Text without what breaks a renderer or a reader: controls replaced, bidi marks left out."""
    text = _UNPRINTABLE.sub("\ufffd", _BIDI.sub("", text[: longest + 1]))
    return text if len(text) <= longest else text[: longest - 1] + "…"


def label(text: str, longest: int = 200, end: str = "") -> str:
    r"""Any text as a value of DOT that shows exactly `clean(text)`; `end` may align its lines.

    Examples
    --------
    >>> print(graphviz.quoting.quote(label('a "b" <c> & \\N')))
    "a \"b\" <c> &amp; \\N"
    """
    shown: str = graphviz.escape(clean(text, longest).replace("&", "&amp;"))
    shown = graphviz.nohtml(shown.replace("\n", end or "\\n") + end)
    return shown


def xml_text(text: str) -> str:
    """Any text for an XML attribute or element."""
    return escape(clean(text, _TOOLTIP).replace("\n", " "))


def write(picture: Drawing) -> str:
    """The DOT text of a picture."""
    theme = picture.theme
    x0, _, _, y1 = picture.bounds()

    def place(x: float, y: float) -> str:
        return f"{x - x0:.1f},{y1 - y:.1f}"

    def known(name: str, tooltip: str) -> dict[str, str]:
        return {"id": _PREFIX + name, "tooltip": label(tooltip.strip() or "drawing", _TOOLTIP)}

    def add(start: str, name: str, tip: str, look: dict[str, str]) -> None:
        look |= known(name, tip)
        listed = " ".join(f"{key}={_quote(value)}" for key, value in look.items())
        graph.body.append(f"\t{start} [{listed}]\n")

    graph = graphviz.Digraph(
        "picture",
        graph_attr={
            "layout": "nop2", "bgcolor": theme.page, "pad": "0.22", "margin": "0",
            "notranslate": "true", "outputorder": "edgesfirst", "fontname": FONT,
            **known("picture", picture.title or "picture"),
        },
        node_attr={
            "shape": "box", "fixedsize": "true", "fontname": FONT, "fontsize": "10", "margin": "0"
        },
    )  # fmt: skip
    for i, box in enumerate(picture.boxes):
        style, fill, line = _BOX_STYLES[box.kind]
        with graph.subgraph(name=f"cluster_{i}") as cluster:
            cluster.attr(
                bb=f"{place(box.x0, box.y1)},{place(box.x1, box.y0)}",
                style=f"rounded,filled{style}",
                fillcolor=getattr(theme, fill),
                color=getattr(theme, line),
                **known(box.id, box.tooltip or box.kind),
            )
    for node in picture.nodes:
        look = {"pos": place(node.x, node.y), **_size(node.width, node.height)}
        look |= _node_look(node, picture, theme)
        add(node.id, node.id, node.tooltip or node.label, look)
    for i, text in enumerate(picture.texts):
        add(f"text{i}", f"text{i}", text.text, _text_look(text, place, theme))
    for edge in picture.edges:
        # In a gradient picture arrows follow the gradient: from the consumer to its input.
        gradient = picture.show == "gradient" and edge.kind != "data"
        curve = edge.curve[::-1] if gradient else edge.curve
        ends = (edge.target, edge.source) if gradient else (edge.source, edge.target)
        look, arrow = _edge_look(edge, picture, theme)
        at = ""
        if arrow:
            at = f"e,{place(*curve[-1])} "
            curve = _shortened(curve, 10 * arrow)
        look["pos"] = at + " ".join(place(*point) for point in curve)
        add(" -> ".join(ends), edge.id, edge.tooltip or edge.kind, look)
    text_so_far: str = graph.source
    digest = hashlib.sha256(text_so_far.encode()).hexdigest()[:8]
    return text_so_far.replace(_PREFIX, f"p{digest}_")


# The library's quoting, of what comes again and again: colours, styles, tooltips.
_quote = lru_cache(maxsize=4096, typed=True)(graphviz.quoting.quote)


def _size(width: float, height: float) -> dict[str, str]:
    return {"width": f"{width / 72:.4f}", "height": f"{height / 72:.4f}"}


def _node_look(node: Node, picture: Drawing, theme: Theme) -> dict[str, str]:
    if node.kind == "joint":
        return {"label": "", "style": "invis"}
    plain = node.kind == "swatch" and form(node.value) != "finite"  # no area of a colour
    shape, line_width, line_role = _NODE_STYLES["op" if plain else node.kind]
    line = getattr(theme, line_role)
    fill, style, rings = theme.page, shape, 1
    if node.kind == "callout":
        ink_colour = theme.bad
    else:
        kind = form(node.value)
        ink_colour = theme.text if kind != "finite" else ""
        if kind == "finite" and node.value is not None:
            fill = theme.colour(picture.scale.position(abs(node.value)))
        elif kind == "none" and node.text:
            pass  # it stands for itself, not for a gradient that is missing
        elif kind in ("zero", "none"):
            style += ",dashed" if kind == "zero" else ",dotted"
            line_width, line = max(line_width, 1.0), line if line_width > 1 else theme.muted
        else:  # by form, not by hue alone: a hollow or a solid box in a second ring
            style, rings, line, line_width = "", 2, theme.bad, 2.0 if kind == "infinite" else 1.4
            if kind == "nan":
                fill = theme.bad
            ink_colour = theme.bad if kind == "infinite" else ""
    said = node.label
    if node.kind in ("op", "state", "input", "output"):
        said = f"{said}\n{node.text or number(node.value)}"
    elif node.kind == "parameter":
        said = f"{said}   {node.text or f'{picture.sign} {number(node.value)}'}"
    look = {
        "label": label(said),
        "style": ",".join(part for part in f"filled,{style}".split(",") if part),
        "fillcolor": fill,
        "color": line,
        "fontcolor": ink_colour or ink(fill),
        "penwidth": str(line_width),
    }
    if (rings if line_width else 0) != 1:
        look["peripheries"] = str(rings if line_width else 0)
    return look


def _edge_look(edge: Edge, picture: Drawing, theme: Theme) -> tuple[dict[str, str], float]:
    """The attributes of an edge, and the size of its arrowhead (0 for none)."""
    kind = form(edge.value)
    style, width = "solid", 0.9
    if edge.kind == "rule":
        return {"color": theme.box_line, "penwidth": "0.6", "dir": "none"}, 0.0
    if edge.kind in ("cut", "link", "data"):
        colour = theme.muted
        style = {"cut": "dashed", "link": "dotted", "data": "solid"}[edge.kind]
        width = 1.4 if edge.kind == "cut" else 0.9
    elif kind == "finite" and edge.value is not None:
        position = picture.scale.position(abs(edge.value))
        colour, width = theme.stroke(position), 0.9 + 4.6 * position
    elif kind in ("zero", "none"):
        colour, style = theme.muted, "dashed" if kind == "zero" else "dotted"
    else:
        colour, width = theme.bad, 4.0
        style = "dashed" if kind == "nan" else "solid"
    arrow = 0.0 if edge.kind in ("rail", "cut") else max(0.55, 0.35 + 0.10 * width)
    look = {"color": colour, "penwidth": f"{width:.2f}"}
    look |= {} if style == "solid" else {"style": style}
    return look | ({"arrowsize": f"{arrow:.2f}"} if arrow else {"dir": "none"}), arrow


def _shortened(curve: list[Point], by: float) -> list[Point]:
    """The curve without its end: an arrowhead of that length sits there."""
    tip, length = curve[-1], math.dist(curve[-4], curve[-1])
    if len(curve) > 4 and length < by:  # a short last piece is the arrowhead's alone
        return _shortened(curve[:-3], by - length)
    before = next((p for p in curve[-2:-5:-1] if math.dist(p, tip) > 1e-6), tip)
    share = min(by, 0.9 * length) / (math.dist(before, tip) or 1.0)
    dx, dy = (tip[0] - before[0]) * share, (tip[1] - before[1]) * share
    end = (tip[0] - dx, tip[1] - dy)
    handle = end if share >= 1 else (curve[-2][0] - dx, curve[-2][1] - dy)
    return [*curve[:-2], handle, end]


def _text_look(text: Text, place: Callable[[float, float], str], theme: Theme) -> dict[str, str]:
    # Fonts differ, so an aligned text stands at the edge of a box that is amply wide.
    wide = 1.3 * text_width(text.text, text.size) + 8
    shift = {"left": wide / 2, "centre": 0.0, "right": -wide / 2}[text.align]
    return {
        "pos": place(text.x + shift, text.y),
        "shape": "plaintext",
        **_size(wide, 1.5 * text.size * (1 + text.text.count("\n"))),
        "fontsize": f"{text.size:g}",
        "fontcolor": getattr(theme, text.role),
        "label": label(text.text, end={"left": "\\l", "centre": "", "right": "\\r"}[text.align]),
    }
