"""`draw`: the picture of one output's record, or of several side by side on one scale."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from . import render
from .collect import Graph, Metric, as_trace, collect
from .contract import beside, fold_steps, to_cells
from .expression import place_by_dot
from .labels import name_all
from .layout import Sheet
from .marks import Bar, bars, legend, tell
from .model import Text
from .picture import Picture
from .scale import fit
from .style import theme as theme_named

__all__ = ["draw", "finish"]

Fold: TypeAlias = Literal["auto"] | tuple[int, int] | None
Path: TypeAlias = str | os.PathLike[str] | None

_MEANINGS = {
    "gradient": (
        "‖∇‖",
        "gradient magnitude",
        "‖∂L/∂·‖",
        "Arrows follow the gradient, from the loss back. Colour and width: its size.",
    ),
    "error of the gradient": (
        "error",
        "error of the gradient",
        "‖error of ∂L/∂·‖",
        "Arrows follow the gradient, from the loss back. Colour and width: how wrong it is.",
    ),
    "values": (
        "‖·‖",
        "size of values",
        "‖·‖",
        "Arrows follow the data. Colour and width: the size of the values.",
    ),
}
_FOLD_AFTER = {"op": (12, 2), "cell": (60, 8)}  # so many steps; then this many first and last ones


def draw(
    output: Any,
    path: Path = None,
    *,
    level: Literal["op", "cell"] = "op",
    fold: Fold = "auto",
    show: Literal["gradient", "forward"] = "gradient",
    theme: Literal["light", "dark"] = "light",
    metric: Metric = "norm",
    vmin: float | None = None,
    vmax: float | None = None,
    labels: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    names: Any = None,
    title: str | None = None,
) -> Picture:
    """Draw what an output was computed from, with the size of every gradient on the way back.

    A record with time steps is unrolled from left to right, shared weights as rails above the
    steps; one without is laid out by Graphviz. No ``.grad`` is changed.

    Parameters
    ----------
    output : Tensor, Trace, Report, or dict from names to these
        Usually a loss; of a tensor with several entries, the sum is traced. The report of a
        gradient check is drawn as the error on every node and arrow. Several nets are
        drawn below each other on one scale, best with ``level="cell"``.
    path : str or path, optional
        Where to save the picture: ``.svg``, ``.png``, ``.pdf`` or ``.dot``.
    level : {"op", "cell"}
        Every operation, or one node for each state of each step.
    fold : "auto", (head, tail) or None
        How many of the first and last steps to draw; those between become coloured stripes. By
        default beyond 12 steps (60 at cell level).
    show : {"gradient", "forward"}
        Sizes of gradients, with arrows that follow them, or of values, with arrows that follow
        the data.
    theme : {"light", "dark"}
    metric : {"norm", "rms", "max"}
        Euclidean norm, root mean square (to compare tensors of unlike shapes), largest entry.
    vmin, vmax : float, optional
        The ends of the colour scale, to share it between pictures.
    labels : sequence of str, optional
        What to write on the input of each step, such as the words of a sentence; of several nets,
        a dict with a sequence for each.
    names : Module or dict, optional
        Where to find names of weights that belong to no cell, such as an output layer's.
    title : str, optional

    Returns
    -------
    Picture

    Raises
    ------
    ValueError
        If the output has no history, an option is unknown, the suffix is, or a PNG would be too
        large.
    FileNotFoundError
        If the directory of `path` does not exist.
    RuntimeError
        If there is no Graphviz.

    Examples
    --------
    >>> import numpy as np, tinygrad_rnn as tr, viz
    >>> w, h = tr.Tensor([[0.5]], requires_grad=True, name="w"), tr.Tensor(np.ones((1, 1)))
    >>> for t in range(3):
    ...     with tr.step(t):
    ...         h = tr.tanh(h @ w)
    >>> picture = viz.draw(h)
    >>> [(node.label, round(node.value, 3)) for node in picture.nodes if node.kind == "parameter"]
    [('w', 0.625)]
    """
    _check("level", level, ("op", "cell"))
    _check("show", show, ("gradient", "forward"))
    picture = Picture(fit([]), theme_named(theme), show)
    target = None if path is None else render.check(path)
    outputs = output if isinstance(output, Mapping) else {"": output}
    graphs = {str(n): collect(as_trace(one, metric), metric, show) for n, one in outputs.items()}
    for name, found in graphs.items():
        name_all(found, labels.get(name) if isinstance(labels, Mapping) else labels, names)
        if level == "cell":
            to_cells(found)
    graph = beside(graphs) if len(graphs) > 1 else next(iter(graphs.values()))
    sizes = (v for vertex in graph.vertices for v in vertex.sizes())
    picture.scale = fit(sizes, vmin, vmax)
    picture.title = title if title is not None else _title(graph)
    if graph.slots == 0:
        place_by_dot(graph, picture)
    else:
        _draw_steps(picture, graph, _folded(fold, level, graph.slots), level == "op")
    finish(picture, metric, measures=graph.trace.measures)
    programs = dict.fromkeys(v.operation for v in graph.vertices if v.operation.startswith("▶"))
    for program in programs:
        picture.texts[-1].text += f" {program}: draw unroll(cell, xs) to see inside."
    if target is not None:
        picture.save(target)
    return picture


def finish(
    picture: Picture, metric: Metric = "norm", note: str | None = None, measures: str = "gradient"
) -> None:
    """Add the colour bar below and the title above."""
    x0, y0, _, y1 = picture.bounds()
    picture.sign, kind, sign, default = _MEANINGS[
        "values" if picture.show == "forward" else measures
    ]
    what = {"norm": f"{sign}₂", "rms": f"{sign}₂ / √size", "max": "largest |entry|"}[metric]
    legend(picture, x0 + 10, y1 + 40, f"{kind} {what}, log scale")
    note = default if note is None else note
    picture.texts.append(Text(picture.title, x0 + 4, y0 - 34, 14, "text", "left"))
    picture.texts.append(Text(note, x0 + 4, y0 - 14, 9, "muted", "left"))


def _check(name: str, given: str, known: tuple[str, str]) -> None:
    if given not in known:
        raise ValueError(f"{name}={given!r} was given; there are {known[0]!r} and {known[1]!r}")


def _folded(fold: Fold, level: str, slots: int) -> range:
    """The slots that are not drawn in full."""
    if fold is None:
        return range(0)
    if fold == "auto":
        most, kept = _FOLD_AFTER[level]
        return range(kept, slots - kept) if slots > most else range(0)
    if not (isinstance(fold, tuple) and len(fold) == 2 and all(n >= 1 for n in fold)):
        raise ValueError(
            f"fold={fold!r} was given; expected 'auto', None, or how many first and last steps to "
            f"draw, such as (2, 2), each at least 1"
        )
    head, tail = fold
    return range(head, slots - tail) if head + tail < slots - 1 else range(0)


def _title(graph: Graph) -> str:
    what = dict.fromkeys(type(b.owners[-1]).__name__ for b in graph.bands if b.owners)
    if not graph.slots:
        return f"Computation graph of {len(graph.vertices)} tensors"
    steps = f"{graph.slots} steps" if graph.slots > 1 else "1 step"
    return f"{', '.join(what) or 'Graph'} unrolled over {steps}"


def _draw_steps(picture: Picture, graph: Graph, folded: range, with_bars: bool) -> None:
    bands = [band for band in graph.bands if band.states and not band.after]
    series = [[band.series(k) for k in range(band.states)] for band in bands]
    if folded:
        fold_steps(graph, folded)
    sheet = Sheet(graph, picture)
    y, ends = sheet.bottom + 34, (sheet.columns[0][0], sheet.right)
    for n, (band, found) in enumerate(zip(bands, series, strict=True)):
        places: dict[str, list[Bar]] = {}
        for k, (letter, entries) in enumerate(zip(band.letters, found, strict=True)):
            share = (ends[1] - ends[0]) / max(len(entries), 1)
            for i, (slot, t, value) in enumerate(entries):
                if folded:
                    width = 0.84 * share / band.states
                    x = ends[0] + (i + (k + 0.5) / band.states) * share
                else:
                    left, wide = sheet.columns[slot]
                    x, width = left + wide / 2 + (k - (band.states - 1) / 2) * 50, 38.0
                places.setdefault(letter, []).append((x, width, t, value))
        values = [value for _, _, value in found[0]][:: -1 if band.reverse else 1]
        told = picture.show == graph.trace.measures == "gradient"
        note = tell(values, band.letters[0]) if told else ""
        if note:
            said = f"{band.name}: {note}." if band.name else f"{note}."
            picture.description = f"{picture.description} {said}".strip()
        if with_bars:
            y = bars(picture, f"bars{n}", places, ends, y, note) + 12
