"""Tables of coloured cells over time: which loss reaches which step, what each step contributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import tinygrad_rnn as tr

from . import render
from .collect import as_trace, collect
from .contract import Metric, size_of
from .draw import Path, finish
from .labels import name_all
from .model import Node, Text
from .picture import Picture
from .scale import fit, number, subscript
from .style import theme as theme_named

__all__ = ["contributions", "influence"]

_TABLE = 360.0  # points along a table's side
_NUMBERED = 40.0  # a cell this wide shows its number

# Labels of the rows and of the columns, and the sizes.
Table: TypeAlias = tuple[Sequence[str], Sequence[str], Sequence[Sequence[float | None]]]


def influence(
    losses: Sequence[tr.Tensor] | Mapping[str, Sequence[tr.Tensor]],
    path: Path = None,
    *,
    state: str | None = None,
    theme: Literal["light", "dark"] = "light",
    vmin: float | None = None,
    vmax: float | None = None,
    title: str = "Which loss reaches which step",
) -> Picture:
    """Draw the triangle of ‖∂L_t/∂h_s‖: how far back in time each step's loss reaches.

    Parameters
    ----------
    losses : sequence of Tensors, or dict from names to such
        The loss of every step, not yet added up; several nets share one scale.
    path : str or path, optional
        Where to save the picture.
    state : str, optional
        The letter of the state, such as ``"h"``; by default ``c`` where there is one.
    theme, vmin, vmax, title
        As for `draw`.

    Returns
    -------
    Picture

    Raises
    ------
    ValueError
        If no state of that letter runs from step to step.

    Examples
    --------
    >>> import tinygrad_rnn as tr, viz
    >>> w, h, losses = tr.Tensor(0.5, requires_grad=True), tr.Tensor(1.0), []
    >>> for t in range(3):
    ...     with tr.step(t):
    ...         h = w * h
    ...     losses.append(h * 2)
    >>> [node.value for node in viz.influence(losses).nodes if node.id.startswith("m0_2")]
    [0.5, 1.0, 2.0]
    """
    tables: dict[str, Table] = {}
    for name, found in (losses if isinstance(losses, Mapping) else {"": losses}).items():
        letter, states = _states(found, state)
        matrix = tr.influence(found, list(states.values())).tolist()
        lower = [row[: t + 1] for t, row in enumerate(matrix)]
        rows = [f"L{subscript(t)}" for t in range(len(found))]
        tables[name] = (rows, [f"{letter}{subscript(t)}" for t in states], lower)
    note = "Each row is one loss; further left is further back in time."
    return _draw(tables, path, theme, (vmin, vmax), title, note, "norm")


def contributions(
    output: Any,
    path: Path = None,
    *,
    names: Any = None,
    metric: Metric = "norm",
    theme: Literal["light", "dark"] = "light",
    vmin: float | None = None,
    vmax: float | None = None,
    title: str = "What each step contributes to the gradient of each weight",
) -> Picture:
    """Draw one strip for each shared weight: the size of every step's contribution to dL/dW.

    Parameters
    ----------
    output : Tensor, or Trace that kept arrays
    path, names, metric, theme, vmin, vmax, title
        As for `draw`.

    Returns
    -------
    Picture

    Raises
    ------
    ValueError
        If no weight is shared by several steps.

    Examples
    --------
    >>> import tinygrad_rnn as tr, viz
    >>> w, h = tr.Tensor(0.5, requires_grad=True, name="w"), tr.Tensor(1.0)
    >>> for t in range(3):
    ...     with tr.step(t):
    ...         h = w * h
    >>> [node.value for node in viz.contributions(h).nodes if node.id.startswith("m")]
    [0.25, 0.25, 0.25]
    """
    trace = as_trace(output, "arrays")
    graph = collect(trace)
    name_all(graph, names=names)
    labels: list[str] = []
    rows: list[list[float | None]] = []
    for band in graph.bands:
        for vertex in band.shared if len(band.steps) > 1 else ():
            assert vertex.tensor is not None
            places = [i for i, event in enumerate(trace.events) if event.input is vertex.tensor]
            parts = dict(zip(places, trace.contributions(vertex.tensor), strict=True))
            row: list[float | None] = [None] * graph.slots
            for step in band.steps:
                links = [e for v in step.vertices for e in v.inputs if e.source is vertex]
                if links:
                    row[step.slot] = size_of(sum(parts[e.events[-1]] for e in links), metric)
            labels.append(vertex.label)
            rows.append(row)
    if not rows:
        raise ValueError("no weight is used by several time steps, so there is no strip to draw")
    note = (
        "One row for each weight; the contributions themselves, not their sizes, add up to dL/dW."
    )
    times = {step.slot: step.t for band in graph.bands for step in band.steps}
    table = (labels, [str(times[slot]) for slot in range(graph.slots)], rows)
    return _draw({"": table}, path, theme, (vmin, vmax), title, note, metric)


def _states(losses: Sequence[tr.Tensor], wanted: str | None) -> tuple[str, dict[int, tr.Tensor]]:
    """A state's letter, and its tensors by time."""
    graph = collect(as_trace(sum(losses[1:], losses[0])))
    name_all(graph)
    for band in graph.bands:
        letter = wanted or ("c" if "c" in band.letters else "".join(band.letters[:1]))
        if letter in band.letters:
            k = band.letters.index(letter)
            states = [(s.t, v.tensor) for s in band.steps for v in s.vertices if v.state == k]
            known = {t: x for t, x in states if t is not None and x is not None}
            return letter, dict(sorted(known.items()))
    raise ValueError(f"no state{f' {wanted!r}' if wanted else ''} runs from step to step here")


def _draw(
    tables: Mapping[str, Table], path: Path, theme: str, ends: tuple[float | None, float | None],
    title: str, note: str, metric: Metric,
) -> Picture:  # fmt: skip
    sizes = [v for _, _, table in tables.values() for row in table for v in row]
    picture = Picture(fit(sizes, *ends), theme_named(theme), title=title, description=note)
    target = None if path is None else render.check(path)
    left = 60.0
    for n, (name, (rows, columns, table)) in enumerate(tables.items()):
        wide = min(48.0, max(4.0, _TABLE / max(len(columns), 1)))
        high, every = min(wide, 24.0), max(1, round(16 / wide))
        if len(rows) * 16 <= len(columns) * wide:  # few rows: high enough to name each
            high = max(high, 16.0)
        every_row = max(1, round(16 / high))
        picture.texts.append(Text(name, left + wide * len(columns) / 2, -22, 11, "text"))
        for i, row in enumerate(table):
            y = (i + 0.5) * high
            picture.texts.append(
                Text("" if i % every_row else rows[i], left - 6, y, 10, align="right")
            )
            for j, value in enumerate(row):
                tip = f"{rows[i]}, {columns[j]}: {number(value)}"
                x = left + (j + 0.5) * wide
                said, name = number(value) if wide >= _NUMBERED else "", f"m{n}_{i}_{j}"
                place = x, y, wide - 1, high - 1
                picture.nodes.append(Node(name, said, "swatch", value, None, None, tip, *place))
        for j in range(0, len(columns), every):
            picture.texts.append(
                Text(columns[j], left + (j + 0.5) * wide, high * len(rows) + 8, 10)
            )
        left += wide * len(columns) + 90
    finish(picture, metric, note)
    if target is not None:
        picture.save(target)
    return picture
