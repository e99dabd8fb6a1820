"""A film: one net under changing circumstances, one frame for each, with the layout kept.

Colours, widths, numbers and bars change from frame to frame: a weight is turned, a net learns. How
frames are shown is decided in page.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from .collect import as_trace
from .dot import clean
from .draw import draw
from .model import Node, Text
from .page import Frame, Look, Player
from .picture import Picture
from .scale import fit, number

__all__ = ["film"]

_LOWEST = 1.44  # points: Graphviz draws no lower node


def film(
    outputs: Mapping[Any, Any],
    path: str | os.PathLike[str] | None = None,
    *,
    speed: Literal[1, 2, 3] = 2,
    **options: Any,
) -> Player:
    """Show the gradients of one net as something about it changes: a slider runs over the frames.

    Parameters
    ----------
    outputs : dict from labels to Tensors or Traces
        One for each frame, such as ``{f"epoch {n}": tr.backprop(loss), ...}``, all of one and the
        same computation.
    path : str or path, optional
        Where to save it: a self-contained page ``.html``, or an animation ``.gif``.
    speed : {1, 2, 3}
        The initial speed of the page: slow, medium, fast.
    **options
        As for `viz.draw`: ``level``, ``fold``, ``labels``, ``names``, ``title``.

    Returns
    -------
    Player

    Raises
    ------
    ValueError
        If there is nothing to show, or a frame's computation differs from the first one's.

    Examples
    --------
    >>> import numpy as np, tinygrad_rnn as tr, viz
    >>> def last(weight):
    ...     w, h = tr.Tensor(weight, requires_grad=True, name="w"), tr.Tensor(np.ones(()))
    ...     for t in range(3):
    ...         with tr.step(t):
    ...             h = w * h
    ...     return h
    >>> viz.film({f"w = {w}": last(w) for w in (0.9, 1.0, 1.1)}, title="One weight")
    <player 'One weight': 3 frames>
    """
    traces = {str(label): as_trace(output) for label, output in outputs.items()}
    if not traces:
        raise ValueError("a film needs at least one frame, and none was given")
    # One scale: from the smallest to the largest of all messages and sums.
    sizes = (n for t in traces.values() for e in t.events for n in (e.norm, e.total))
    scale = fit([*sizes, *(t.norm(t.output) for t in traces.values())])
    options |= {"vmin": 10.0**scale.low, "vmax": 10.0**scale.high}
    options["level"] = draw(next(iter(traces.values())), **options).level
    pictures = [draw(trace, **options) for trace in traces.values()]
    base = pictures[0]
    looks = [_looks(picture, base, label) for label, picture in zip(traces, pictures, strict=True)]
    moving = {name for one in looks for name in one if one[name] != looks[0][name]}
    frames = []
    for label, picture, found in zip(traces, pictures, looks, strict=True):
        drawn = picture is base
        changes = {name: Look() if drawn else found[name] for name in found if name in moving}
        said = f"{clean(label)}. {picture.description}".strip()
        frames.append(Frame(changes, said, unit=clean(label)))
    shown = Player(base, frames, speed, pictures)
    if path is not None:
        shown.save(path)
    return shown


def _looks(picture: Picture, base: Picture, label: str) -> dict[str, Look]:
    """How everything stands in a picture that has its sizes alone in its own."""
    if _shape(picture) != _shape(base):
        raise ValueError(
            f"the frame {label!r} shows another computation than the first: a film needs the same "
            "net, and as many steps, in every frame"
        )
    lines = [edge for edge in picture.edges if edge.kind in ("message", "tap", "rail")]
    looks = {edge.id: Look("sized", edge.value) for edge in lines}
    heights = {node.id: max(node.height, _LOWEST) for node in base.nodes}
    for node in _sized(picture):
        share = node.height / heights[node.id]
        said = node.text or number(node.value)
        if node.kind == "parameter":
            said = f"{clean(node.label)}   {picture.sign} {said}"
        move = "" if share == 1 else f"scaleY({share:.4g})"
        looks[node.id] = Look("sized", node.value, said if node.label else "", move)
    texts = {_key(text): text for text in picture.texts}
    for i, old in enumerate(base.texts):
        text = texts.get(_key(old), old)
        move = "" if text.y == old.y else f"translateY({text.y - old.y:.4g}px)"
        looks[f"text{i}"] = Look("moved", None, text.text, move)
    return looks


def _sized(picture: Picture) -> list[Node]:
    """The nodes that every frame has: not the callout and the legend of what occurs in one."""
    drawn = [node for node in picture.nodes if node.kind not in ("joint", "callout")]
    return [node for node in drawn if not node.id.startswith("form")]


def _key(text: Text) -> Any:
    return text.of or (text.x, text.y)


def _shape(picture: Picture) -> list[Any]:
    lines = [(edge.id, edge.kind) for edge in picture.edges]
    return [*(node.id for node in _sized(picture)), *lines]
