"""The player: a page that walks backpropagation, one event at a time.

The page is one file: the finished picture as SVG (once for each theme), the events as data, and a
small script that takes the picture back to blank paper and fills it in again. Without scripting it
is the finished picture. What the picture looks like is decided in draw.py; nothing is drawn here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn import Tensor, Trace
from tinygrad_rnn.train import replace_file

from .collect import as_trace
from .dot import clean, xml_text
from .draw import draw
from .model import Edge, Node
from .picture import Picture
from .scale import form, number
from .style import THEMES, ink

__all__ = ["player"]

# What each rule computes, for the inputs in turn; a single text serves them all.
_RULES: dict[str, tuple[str, ...]] = {
    "add": ("∂(a + b) = 1",),
    "subtract": ("∂(a − b)/∂a = 1", "∂(a − b)/∂b = −1"),
    "multiply": ("∂(a ⊙ b)/∂a = b", "∂(a ⊙ b)/∂b = a"),
    "divide": ("∂(a ÷ b)/∂a = 1 ÷ b", "∂(a ÷ b)/∂b = −y ÷ b"),
    "power": ("∂(aᵇ)/∂a = b aᵇ⁻¹", "∂(aᵇ)/∂b = y log a"),
    "matmul": ("for y = a b the gradient of a is g bᵀ", "for y = a b the gradient of b is aᵀ g"),
    "negative": ("d(−x) = −1",),
    "exp": ("d exp = y",),
    "log": ("d log x = 1 ÷ x",),
    "sqrt": ("d √x = 1 ÷ 2y",),
    "tanh": ("d tanh = 1 − y²",),
    "sigmoid": ("dσ = y (1 − y)",),
    "relu": ("d relu = 1 where x > 0, else 0",),
    "abs": ("d|x| = sign x",),
    "sum": ("every summand gets the gradient of the sum",),
    "max": ("the gradient goes to the largest entry",),
    "where": ("the gradient goes where the value came from",),
    "getitem": ("the gradient goes to the entries taken",),
    "concatenate": ("each part gets its own piece of the gradient",),
    "stack": ("each part gets its own piece of the gradient",),
}


def player(
    output: Any, path: str | os.PathLike[str] | None = None, *, speed: int = 2, **options: Any
) -> str:
    """Write a page that walks the computation forward and the gradient back, event by event.

    One self-contained file: no network, no library. Arrow keys, Home, End and Space work as well
    as the buttons and the slider; a click on a node jumps to the moment its gradient is complete.

    Parameters
    ----------
    output : Tensor or Trace
        Usually a loss.
    path : str or path, optional
        Where to write the page: ``.html``.
    speed : {1, 2, 3}
        At which it plays at first: slow, medium, fast.
    **options
        As for `viz.draw`: ``level``, ``fold``, ``labels``, ``names``, ``title``.

    Returns
    -------
    str
        The page.

    Raises
    ------
    ValueError
        If the suffix is not ``.html``, or as `viz.draw` raises it.
    FileNotFoundError
        If the directory does not exist.

    Examples
    --------
    >>> import numpy as np, tinygrad_rnn as tr, viz
    >>> w, h = tr.Tensor([[0.5]], requires_grad=True, name="w"), tr.Tensor(np.ones((1, 1)))
    >>> for t in range(3):
    ...     with tr.step(t):
    ...         h = tr.tanh(h @ w)
    >>> page = viz.player(h)
    >>> page.startswith("<!doctype html>")
    True
    """
    target = None if path is None else Path(path)
    if target is not None and target.suffix.lower() != ".html":
        raise ValueError(f"cannot write a page to {str(path)!r}: its suffix must be .html")
    if target is not None and not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {target}: its directory does not exist")
    trace = as_trace(output)
    pictures = {theme: draw(trace, theme=theme, **options) for theme in ("light", "dark")}
    page = _page(trace, pictures, speed)
    if target is not None:
        replace_file(target, page.encode())
    return page


def _frames(trace: Trace, picture: Picture) -> Iterator[dict[str, Any]]:
    """The events in order: what appears (``n`` a node, ``e`` edges), and what is said of it."""
    nodes = {node.id: node for node in picture.nodes}
    tensors = {tensor.number: tensor for tensor in trace.tensors}
    computed = [n for n in picture.nodes if n.kind in ("op", "state", "output")]
    forward = sorted((n for n in computed if n.tensor in tensors), key=lambda n: n.tensor or 0)
    for node in forward:
        yield {"n": node.id, "s": _computed(node, tensors[node.tensor or 0])}

    rails = {tap: rail for rail in picture.rails for tap in rail.taps}
    edges = sorted((e for e in picture.edges if e.events), key=lambda e: max(e.events))
    receivers = [rails[e.id].node if e.id in rails else e.source for e in edges]
    left = {node: receivers.count(node) for node in set(receivers)}
    yield {"n": forward[-1].id, "g": 1, "s": "The gradient of the output by itself is 1."}
    for edge, name in zip(edges, receivers, strict=True):
        left[name] -= 1
        shown = [edge.id]
        if edge.id in rails:
            rail = rails[edge.id]
            k = rail.taps.index(edge.id)
            shown += rail.segments[k : k + 1]
        total = trace.events[max(edge.events)].total
        frame = {"n": name, "g": 1, "e": shown, "t": nodes[edge.target].step}
        if left[name] and form(total) == "finite":
            frame |= {"v": number(total), "c": _colours(picture, total)}
        rule = trace.events[min(edge.events)]
        assert rule.tensor.primitive is not None
        rules = _RULES.get(rule.tensor.primitive.name, ("",))
        said = _sent(edge, nodes[edge.target], nodes[name], total, left[name])
        yield frame | {"s": said, "r": rules[min(rule.index, len(rules) - 1)]}


def _named(node: Node) -> str:
    """A node's label with its step."""
    label = clean(node.label).replace("\n", " ")
    return label if node.step is None else f"{label} (t = {node.step})"


def _computed(node: Node, tensor: Tensor) -> str:
    size = number(float(np.linalg.norm(tensor.data)))
    return f"Forward: {_named(node)} is computed; its norm is {size}."


def _sent(edge: Edge, sender: Node, receiver: Node, total: float, left: int) -> str:
    if receiver.kind == "parameter":
        name = clean(receiver.label).replace("\n", " ")
        return f"{_named(sender)} adds {number(edge.value)} to {name}, now {number(total)}."
    end = f", now {number(total)} with {left} more to come." if left else "; it is complete."
    return f"{_named(sender)} sends {number(edge.value)} back to {_named(receiver)}{end}"


def _colours(picture: Picture, total: float) -> list[str]:
    """Fill and ink of a running sum in the light and the dark theme."""
    fills = [THEMES[t].colour(picture.scale.position(total)) for t in ("light", "dark")]
    return [colour for fill in fills for colour in (fill, ink(fill))]


def _page(trace: Trace, pictures: dict[str, Picture], speed: int) -> str:
    light = pictures["light"]
    drawn = {theme: picture.svg for theme, picture in pictures.items()}
    prefixes = [re.findall(r'id="(p[0-9a-f]+_)picture"', svg)[0] for svg in drawn.values()]
    frames = list(_frames(trace, light))
    given = {n.id for n in light.nodes if n.kind in ("input", "parameter")}
    data = {
        "prefixes": prefixes,
        "frames": frames,
        "given": sorted(given),
        "edges": [e.id for e in light.edges if e.kind in ("message", "tap", "rail", "link")],
        "speed": speed,
    }
    # The data stand in the page as text that no browser takes for markup.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    style, script = (
        files("viz").joinpath(name).read_text("utf-8") for name in ("player.css", "player.js")
    )
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}"
    figures = "\n".join(f'<div class="{name}">{_small(svg)}</div>' for name, svg in drawn.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{xml_text(light.title)}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{xml_text(light.title)}</h1>
<form id="controls" hidden>
<button type="button" id="back" aria-label="One event back">◀</button>
<button type="button" id="play">Play</button>
<button type="button" id="on" aria-label="One event on">▶</button>
<input type="range" id="at" min="0" value="0" aria-label="Event">
<label>Speed <select id="speed">
<option value="1">slow</option><option value="2">medium</option><option value="3">fast</option>
</select></label>
<label>Go to step <select id="step"></select></label>
</form>
<p id="said" role="status" aria-live="polite">{xml_text(light.description)}</p>
<p id="rule"></p>
<div id="picture">
{figures}
</div>
</main>
<script type="application/json" id="data">{text}</script>
<script>{script}</script>
</body>
</html>
"""


def _small(svg: str) -> str:
    """The SVG without what the page says once for all: two themes have to fit into one file."""
    svg = re.sub(r"<!-- \w+(?:&#45;&gt;\w+)? -->\n", "", svg)
    svg = re.sub(r"<title>(?:\w|&#45;|&gt;)*</title>\n", "", svg)
    svg = re.sub(r' (?:xml:space="preserve"|font-family="[^"]*"|stroke-width="0")', "", svg)
    svg = re.sub(r' (?:text-anchor="middle"|font-size="10.00")', "", svg)
    return re.sub(r">\n+<", "><", svg)


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
