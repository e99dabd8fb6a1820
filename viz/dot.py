"""A picture as DOT text, with every position given: Graphviz draws, it does not lay out.

One function, `dot_string`, stands between any text and the file. Node, edge and cluster names are
generated; nothing of a user's becomes markup, a link or an attribute.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from html import escape

from .model import Drawing, Edge, Node, Point, Text, text_width
from .scale import form, number
from .style import FONT, Theme, ink

__all__ = ["clean", "dot_string", "write", "xml_text"]

# C0 and C1 controls, surrogates, and what XML forbids: a renderer would write broken XML.
_UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_BIDI = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
_PREFIX = "\0"  # stands for the picture's own prefix until the content is known
_LONGEST_TOOLTIP = 2000

# Shape, style, border width and role of the border's colour for each kind of node.
_NODE_STYLES = {
    "op": ("rounded", 1.0, "node_line"),
    "state": ("rounded", 2.0, "text"),
    "input": ("", 1.0, "node_line"),
    "output": ("", 2.0, "text"),
    "parameter": ("", 1.6, "text"),
    "swatch": ("", 0.0, "page"),
    "sample": ("rounded", 1.0, "node_line"),
    "callout": ("rounded", 1.4, "bad"),
}


def clean(text: str, longest: int = 200) -> str:
    """Text without what breaks a renderer or a reader: controls replaced, bidi marks left out."""
    text = _UNPRINTABLE.sub("\ufffd", _BIDI.sub("", text[: longest + 1]))
    return text if len(text) <= longest else text[: longest - 1] + "…"


def dot_string(text: str, longest: int = 200) -> str:
    r"""Any text as a quoted DOT string that shows exactly `clean(text)`.

    Examples
    --------
    >>> print(dot_string('a "b" <c> & N'))
    "a \"b\" <c> &amp; N"
    """
    text = clean(text, longest).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    return '"' + text.replace("\n", "\\n") + '"'


def xml_text(text: str) -> str:
    """Any text for an XML attribute or element."""
    return escape(clean(text, _LONGEST_TOOLTIP).replace("\n", " "))


def write(picture: Drawing) -> str:
    """The DOT text of a picture."""
    theme = picture.theme
    x0, _, _, y1 = picture.bounds()

    def place(x: float, y: float) -> str:
        return f"{x - x0:.1f},{y1 - y:.1f}"

    lines = [
        "digraph picture {",
        f'graph [layout=nop2, bgcolor="{theme.page}", pad=0.22, margin=0, notranslate=true, '
        f'outputorder=edgesfirst, fontname="{FONT}", id="{_PREFIX}picture", '
        f"tooltip={dot_string(picture.title or 'picture')}]",
        f'node [shape=box, fixedsize=true, fontname="{FONT}", fontsize=10, margin=0]',
    ]
    for i, box in enumerate(picture.boxes):
        fill, line = (theme.lane, theme.lane_line) if box.kind == "lane" else ("", theme.box_line)
        style = '"rounded,filled,dashed"' if box.kind == "fold" else '"rounded,filled"'
        colour = theme.muted if box.kind == "fold" else line
        lines.append(
            f'subgraph cluster_{i} {{ graph [bb="{place(box.x0, box.y1)},{place(box.x1, box.y0)}", '
            f'style={style}, fillcolor="{fill or theme.box}", color="{colour}", '
            f'id="{_PREFIX}{box.id}", tooltip={dot_string(box.tooltip or box.kind)}] }}'
        )
    for node in picture.nodes:
        lines.append(
            f'{node.id} [pos="{place(node.x, node.y)}", width={node.width / 72:.4f}, '
            f"height={node.height / 72:.4f}, {_node_look(node, picture, theme)}, "
            f'id="{_PREFIX}{node.id}", tooltip={_tooltip(node.tooltip or node.label)}]'
        )
    for i, text in enumerate(picture.texts):
        lines.append(f"text{i} {_text(text, place, theme)}")
    gradient = picture.show == "gradient"
    for edge in picture.edges:
        # In a gradient picture arrows follow the gradient: from the consumer to its input.
        curve = edge.curve[::-1] if gradient else edge.curve
        ends = (edge.target, edge.source) if gradient else (edge.source, edge.target)
        look, arrow = _edge_look(edge, picture, theme)
        at = ""
        if arrow:
            at = f"e,{place(*curve[-1])} "
            curve = _shortened(curve, 10 * arrow)
        points = " ".join(place(*point) for point in curve)
        lines.append(
            f'{ends[0]} -> {ends[1]} [pos="{at}{points}", {look}, id="{_PREFIX}{edge.id}", '
            f"tooltip={_tooltip(edge.tooltip or edge.kind)}]"
        )
    lines.append("}\n")
    text_so_far = "\n".join(lines)
    digest = hashlib.sha256(text_so_far.encode()).hexdigest()[:8]
    return text_so_far.replace(_PREFIX, f"p{digest}_")


def _tooltip(text: str) -> str:
    return dot_string(text.strip() or "drawing", _LONGEST_TOOLTIP)


def _node_look(node: Node, picture: Drawing, theme: Theme) -> str:
    if node.kind == "joint":
        return 'label="", style=invis'
    shape, line_width, line_role = _NODE_STYLES[node.kind]
    line = getattr(theme, line_role)
    fill, style, rings = theme.page, shape, 1
    if node.kind == "callout":
        ink_colour = theme.bad
    else:
        kind = form(node.value)
        ink_colour = theme.text if kind != "finite" else ""
        if kind == "finite" and node.value is not None:
            fill = theme.colour(picture.scale.position(abs(node.value)))
        elif kind in ("zero", "none"):
            style += ",dashed" if kind == "zero" else ",dotted"
            line_width, line = max(line_width, 1.0), line if line_width > 1 else theme.muted
        else:  # by form, not by hue alone: a hollow or a solid box in a second ring
            style, rings, line, line_width = "", 2, theme.bad, 2.0 if kind == "infinite" else 1.4
            if kind == "nan":
                fill = theme.bad
            ink_colour = theme.bad if kind == "infinite" else ""
    label = node.label
    if node.kind in ("op", "state", "input", "output"):
        label = f"{label}\n{number(node.value)}"
    elif node.kind == "parameter":
        label = f"{label}   ‖{'∇' if picture.show == 'gradient' else '·'}‖ {number(node.value)}"
    names = ",".join(part for part in f"filled,{style}".split(",") if part)
    rings = rings if line_width else 0
    outline = "" if rings == 1 else f", peripheries={rings}"
    size = ", fontsize=9" if node.kind in ("parameter", "swatch", "callout") else ""
    return (
        f'label={dot_string(label)}, style="{names}", fillcolor="{fill}", color="{line}", '
        f'fontcolor="{ink_colour or ink(fill)}", penwidth={line_width}'
        f"{outline}{size}"
    )


def _edge_look(edge: Edge, picture: Drawing, theme: Theme) -> tuple[str, float]:
    """The attributes of an edge, and the size of its arrowhead (0 for none)."""
    kind = form(edge.value)
    style, width = "solid", 0.9
    if edge.kind == "rule":
        return f'color="{theme.box_line}", penwidth=0.6, dir=none', 0.0
    if edge.kind in ("cut", "link"):
        colour, style = theme.muted, "dashed" if edge.kind == "cut" else "dotted"
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
    look = f'color="{colour}", penwidth={width:.2f}'
    if style != "solid":
        look += f", style={style}"
    return look + (f", arrowsize={arrow:.2f}" if arrow else ", dir=none"), arrow


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


def _text(text: Text, place: Callable[[float, float], str], theme: Theme) -> str:
    # Fonts differ, so an aligned text stands at the edge of a box that is amply wide.
    wide = 1.3 * text_width(text.text, text.size) + 8
    shift = {"left": wide / 2, "centre": 0.0, "right": -wide / 2}[text.align]
    label = (
        dot_string(text.text)[:-1] + {"left": '\\l"', "centre": '"', "right": '\\r"'}[text.align]
    )
    height = 1.5 * text.size * (1 + text.text.count("\n"))
    return (
        f'[pos="{place(text.x + shift, text.y)}", shape=plaintext, width={wide / 72:.4f}, '
        f"height={height / 72:.4f}, fontsize={text.size:g}, "
        f'fontcolor="{getattr(theme, text.role)}", label={label}, tooltip={_tooltip(text.text)}]'
    )
