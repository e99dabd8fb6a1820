"""`draw`: the picture of one output's record, or of several side by side on one scale."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from tinygrad_rnn import Trace

from . import render
from .collect import Graph, as_trace, collect, step_of
from .contract import Level, Metric, Show, beside, contract, fold_steps
from .dot import clean
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

_FLOW = "Arrows follow {}. Colour and width: {}."
_BACK = "the gradient, from the loss back"
# The sign beside a weight's name, what the colour bar shows and its sign, the note below the title.
_MEANINGS = {
    "gradient": ("‖∇‖", "gradient magnitude", "‖∂L/∂·‖", _FLOW.format(_BACK, "its size")),
    "error of the gradient": (
        "error", "error of the gradient", "‖error of ∂L/∂·‖", _FLOW.format(_BACK, "how wrong it is")
    ),
    "values": (
        "‖·‖", "size of values", "‖·‖", _FLOW.format("the data", "the size of the values")
    ),
}  # fmt: skip
_FOLD_AFTER = {"op": (12, 2), "scope": (12, 2), "cell": (14, 4)}  # steps; first and last ones then
_PAGE = 1277.0  # points: shown 1440 pixels wide, ten points are eleven pixels high
# As many operations can be taken in at a glance: in a graph without steps, and in one step.
_MOST_ALONE, _MOST_IN_A_STEP = 60, 8


def draw(
    output: Any,
    path: Path = None,
    *,
    level: Level | Literal["auto"] = "auto",
    fold: Fold = "auto",
    show: Show = "gradient",
    theme: Literal["light", "dark"] = "light",
    metric: Metric = "norm",
    vmin: float | None = None,
    vmax: float | None = None,
    labels: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    names: Any = None,
    title: str | None = None,
) -> Picture:
    """Draw what an output was computed from, with the size of every gradient of the backward pass.

    A record with time steps is unrolled from left to right, shared weights as rails below the
    steps; one without is laid out by Graphviz. No ``.grad`` is changed.

    Parameters
    ----------
    output : Tensor, Trace, Report, or dict from names to these
        Usually a loss; of a tensor with several entries, the sum is traced. The report of a
        gradient check is drawn as the error on every node and arrow. Several nets are
        drawn below each other on one scale, best with ``level="cell"``.
    path : str or path, optional
        Where to save the picture: ``.svg``, ``.png``, ``.pdf`` or ``.dot``.
    level : {"auto", "op", "scope", "cell"}
        Every operation; one node for each named scope and each state; or the states alone. By
        default the most detailed one that can be read on a page 1440 pixels wide; every operation
        only of simple steps, and without a fold.
    fold : "auto", (head, tail) or None
        How many of the first and last steps to draw; those between become coloured stripes. By
        default beyond 12 steps (14 at cell level).
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
        If there is no output or it has no history, an option is unknown, the suffix is, or a PNG
        would be too large.
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
    _check("level", level, ("auto", "op", "scope", "cell"))
    _check("metric", metric, ("norm", "rms", "max"))
    _check("show", show, ("gradient", "forward"))
    theme_named(theme)
    target = None if path is None else render.check(path)
    outputs = output if isinstance(output, Mapping) else {"": output}
    if not outputs:
        raise ValueError("draw was given an empty dict; give at least one loss to draw")
    traces = {str(name): as_trace(one) for name, one in outputs.items()}
    for chosen in _levels(traces) if level == "auto" else (level,):
        try:
            graph = _graph(traces, chosen, metric, show, labels, names)
        except ValueError:  # no states for cell level: the one before has to do
            if level != "auto":
                raise
            break
        sizes = (v for vertex in graph.vertices for v in vertex.sizes())
        picture = Picture(fit(sizes, vmin, vmax), theme_named(theme), show, level=chosen)
        if graph.slots == 0:
            place_by_dot(graph, picture)
        else:
            _draw_steps(picture, graph, _folded(fold, chosen, graph.slots), chosen)
        if _fits(picture):
            break
    picture.title = _title(graph) if title is None else str(title)
    finish(picture, metric, measures=graph.trace.measures)
    tensors = (tensor for trace in traces.values() for tensor in trace.tensors)
    programs = {tensor.primitive.name for tensor in tensors if tensor.primitive is not None}
    for program in sorted(name for name in programs if name.startswith("▶")):
        picture.texts[-1].text += f" {program}: draw unroll(cell, xs) to see inside."
    if target is not None:
        picture.save(target)
    return picture


def _levels(traces: Mapping[str, Trace]) -> tuple[Level, ...]:
    """Those that may be readable, the most detailed first."""
    made = (x for trace in traces.values() for x in trace.tensors if x.primitive is not None)
    counts = Counter(map(step_of, made))
    alone = counts.pop(None, 0)
    few = max(counts.values()) <= _MOST_IN_A_STEP if counts else alone <= _MOST_ALONE
    few = few and len({scope.t for scope in counts if scope}) <= _FOLD_AFTER["op"][0]
    return ("op", "scope", "cell") if few else ("scope", "cell")


def _graph(
    traces: Mapping[str, Trace], level: Level, metric: Metric, show: Show, labels: Any, names: Any
) -> Graph:
    graphs = {}
    for name, trace in traces.items():
        graphs[name] = found = collect(trace)
        contract(found, level, metric, show)
        words = labels.get(name) if isinstance(labels, Mapping) else labels
        name_all(found, level, words, names)
    if len(graphs) == 1:
        return next(iter(graphs.values()))
    return beside(dict(reversed(graphs.items())))  # the first on top


def _fits(picture: Picture) -> bool:
    x0, _, x1, _ = picture.bounds()
    return x1 - x0 <= _PAGE


def finish(
    picture: Picture, metric: Metric = "norm", note: str | None = None, measures: str = "gradient"
) -> None:
    """Add the colour bar below and the title above."""
    x0, y0, x1, y1 = picture.bounds()
    measures = "values" if picture.show == "forward" else measures
    picture.sign, kind, sign, default = _MEANINGS[measures]
    what = {"norm": f"{sign}₂", "rms": f"{sign}₂ / √size", "max": "largest |entry|"}[metric]
    legend(picture, x0 + 10, y1 + 40, f"{kind} {what}, log scale")
    title = clean(picture.title, max(60, int((x1 - x0) / 8)))
    picture.texts.append(Text(title, x0 + 4, y0 - 34, 14, "text", "left"))
    note = default if note is None else note
    picture.texts.append(Text(note, x0 + 4, y0 - 14, 10, "muted", "left", of="back"))


def _check(name: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise ValueError(f"{name}={given!r} was given; expected one of {', '.join(known)}")


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


def _draw_steps(picture: Picture, graph: Graph, folded: range, level: Level) -> None:
    bands = [band for band in graph.bands if band.states and not band.after]
    series = [[band.series(k) for k in range(band.states)] for band in bands]
    if folded:
        fold_steps(graph, folded)
    sheet = Sheet(graph, picture, _PAGE - 72)  # weights of what comes last stand out at the right
    y1 = picture.bounds()[3]
    y, ends = y1 + 30, (min(x for x, _ in sheet.columns.values()), sheet.right)
    high = _bars_height(picture, len(bands)) if level == "scope" else 0.0
    told = picture.show == graph.trace.measures == "gradient"
    for n, (band, found) in enumerate(zip(bands, series, strict=True)):
        columns, states = sheet.columns, band.states
        if folded:  # one beside the other, wherever the steps are
            share = (ends[1] - ends[0]) / graph.slots
            columns = {slot: (ends[0] + slot * share, share) for slot in range(graph.slots)}
        places: dict[str, list[Bar]] = {}
        for k, (letter, entries) in enumerate(zip(band.letters, found, strict=True)):
            for slot, t, vertex in entries:
                left, wide = columns[slot]
                apart = min(50.0, wide / states)
                x = left + wide / 2 + (k - (states - 1) / 2) * apart
                bar = (x, 0.8 * apart, t, vertex.value, f"n{vertex.rank}")
                places.setdefault(letter, []).append(bar)
        values = [vertex.value for _, _, vertex in found[0]][:: -1 if band.reverse else 1]
        note = tell(values, band.letters[0]) if told else ""
        if note:
            note = f"{band.name}: {note}" if len(bands) > 1 and band.name else note
            picture.description = f"{picture.description} {note}.".strip()
        if level != "cell" and any(places.values()):
            y = bars(picture, f"bars{n}", places, ends, y, note, high) + 24


def _bars_height(picture: Picture, count: int) -> float:
    """So much that the page is no flatter than 16:9, title and colour bar included."""
    x0, y0, x1, y1 = picture.bounds()
    spare = (x1 - x0 + 32) * 9 / 16 - (y1 - y0 + 32) - 130 - 60 * count
    return max(0.0, spare / max(count, 1))
