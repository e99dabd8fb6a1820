"""Figures by matplotlib (extra ``plot``): gradient against time, error surfaces.

Each returns the matplotlib Figure, and saves it if a path is given.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_rnn import Tensor, Trace
from tinygrad_rnn.train import Failure, replace_file, sweep

from . import render
from .collect import as_trace

__all__ = ["error_surface", "gradient_flow", "histogram", "surface"]

_KINDS = ("svg", "png", "pdf")

Array = npt.NDArray[Any]
Where = str | os.PathLike[str] | None


def gradient_flow(
    nets: Mapping[str, tuple[Tensor | Trace, Sequence[Tensor]]], path: Where = None
) -> Any:
    """The norm of the gradient of the state against time, for several nets on one log scale.

    Parameters
    ----------
    nets : dict
        For each name the loss (or its trace) and the states, one a step, such as the outputs of
        `unroll`.
    path : str or path, optional
        ``.svg``, ``.png`` or ``.pdf``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError, FileNotFoundError
        If the path cannot be written.
    ImportError
        If matplotlib is not installed; so too the other plots.

    Examples
    --------
    >>> import numpy as np, tinygrad_rnn as tr, viz
    >>> outputs, _ = tr.nn.unroll(tr.nn.ElmanCell(2, 3, rng=0), np.ones((5, 1, 2)))
    >>> figure = viz.gradient_flow({"Elman": (outputs[-1].sum(), outputs)})
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['Elman']
    """
    curves: dict[str, Any] = {}
    for name, (output, states) in nets.items():
        norms = map(as_trace(output).norm, states)
        curves[name] = range(len(states)), [np.nan if n is None else n for n in norms]
    return _curves(path, curves, xlabel="step t", ylabel="‖∂L/∂h_t‖")


def surface(
    loss: Callable[[Any, Any], Any],
    xs: Array,
    ys: Array,
    executor: Executor | None = None,
    progress: bool = True,
) -> Array:
    """The loss at every point of a grid, of shape ``(len(ys), len(xs))``.

    In one pass where the function takes whole arrays; otherwise point by point, through an
    executor (processes, Dask, MPI) if one is given, as `tinygrad_rnn.train.sweep` runs them.

    Parameters
    ----------
    loss : callable
        Of two weights: two arrays of one shape, or two numbers.
    xs, ys : ndarray
        The weights along either axis.
    executor : concurrent.futures.Executor, optional
    progress : bool, default True

    Examples
    --------
    >>> import numpy as np, viz
    >>> viz.surface(lambda w, b: w * w + b, np.array([0.0, 2.0]), np.array([1.0]))
    array([[1., 5.]])
    """
    w, b = np.meshgrid(xs, ys)
    if executor is None:
        try:
            found = np.asarray(loss(w, b), dtype=float)
        except (TypeError, ValueError):
            pass
        else:
            if found.shape == w.shape:
                return found
    points = zip(w.ravel().tolist(), b.ravel().tolist(), strict=True)
    results = sweep(partial(_at, loss), points, executor, progress)
    for result in results:
        if isinstance(result, Failure):
            raise result.error
    return np.array(results).reshape(w.shape)


def _at(loss: Callable[[Any, Any], Any], point: tuple[float, float]) -> float:
    return float(loss(*point))


def error_surface(
    loss: Callable[[Any, Any], Any],
    xs: Array,
    ys: Array,
    paths: Mapping[str, Array] | None = None,
    path: Where = None,
    executor: Executor | None = None,
    names: tuple[str, str] = ("w", "b"),
) -> Any:
    """The error over two weights, as contours and in 3-D, with the paths of descents.

    Parameters
    ----------
    loss, xs, ys, executor
        As for `surface`.
    paths : dict of arrays (steps, 2), optional
        For each name the weights at every step, such as with and without clipping.
    path : str or path, optional
        ``.svg``, ``.png`` or ``.pdf``.
    names : pair of str
        Of the two weights.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import numpy as np, viz
    >>> ends = np.linspace(-1.0, 1.0, 5)
    >>> way = np.array([[0.9, 0.5], [0.5, 0.3]])
    >>> figure = viz.error_surface(lambda w, b: w * w + b, ends, ends, {"descent": way})
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('w', 'b')
    """
    figure, flat = _figure(path, (12.0, 5.0), (1, 2, 1))
    values = surface(loss, xs, ys, executor)
    solid = figure.add_subplot(1, 2, 2, projection="3d")
    contours = flat.contourf(xs, ys, values, levels=30, cmap="viridis")
    figure.colorbar(contours, ax=flat, label="error")
    solid.plot_surface(*np.meshgrid(xs, ys), values, cmap="viridis", alpha=0.8, linewidth=0)
    for name, way in (paths or {}).items():
        x, y = np.asarray(way, dtype=float).T
        inside = (x >= xs.min()) & (x <= xs.max()) & (y >= ys.min()) & (y <= ys.max())
        x, y = np.where(inside, (x, y), np.nan)
        flat.plot(x, y, marker=".", label=_shown(name))
        columns = np.abs(np.nan_to_num(x)[:, None] - xs).argmin(axis=1)
        rows = np.abs(np.nan_to_num(y)[:, None] - ys).argmin(axis=1)
        solid.plot(x, y, values[rows, columns], marker=".")
    for axes in (flat, solid):
        axes.set(xlabel=names[0], ylabel=names[1])
        for axis in (axes.xaxis, axes.yaxis):
            axis.label.set_parse_math(False)
    solid.set_zlabel("error")
    solid.set_box_aspect(None, zoom=0.85)  # or the label is cut off
    if paths:
        _legend(flat)
    return _saved(figure, path)


def histogram(trace: Trace, weight: Tensor, path: Where = None, bins: int = 40) -> Any:
    """The entries of a shared weight's gradient, step by step: one row of the image a step.

    Parameters
    ----------
    trace : Trace
        Made with ``keep="arrays"``.
    weight : Tensor
    path : str or path, optional
    bins : int, default 40

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import numpy as np, tinygrad_rnn as tr, viz
    >>> cell = tr.nn.ElmanCell(2, 3, rng=0)
    >>> outputs, _ = tr.nn.unroll(cell, np.random.default_rng(0).normal(size=(5, 1, 2)))
    >>> trace = tr.backprop(outputs[-1].sum(), keep="arrays")
    >>> figure = viz.histogram(trace, cell.W_hh)
    >>> figure.axes[0].get_ylabel()
    'step t'
    """
    figure, axes = _figure(path, (7.0, 4.0))
    parts = np.abs(trace.by_step(weight)).reshape(len(trace.steps), -1)
    sizes = np.log10(np.where(parts > 0, parts, np.nan))
    edges = np.linspace(np.nanmin(sizes), np.nanmax(sizes) + 1e-9, bins + 1)
    counts = np.stack([np.histogram(row[~np.isnan(row)], edges)[0] for row in sizes])
    steps = np.append(trace.steps, trace.steps[-1] + 1)
    image = axes.pcolormesh(edges, steps - 0.5, counts, cmap="viridis")
    axes.set(xlabel="log₁₀ |contribution|", ylabel="step t")
    figure.colorbar(image, ax=axes, label="entries")
    return _saved(figure, path)


def _curves(path: Where, curves: Mapping[str, Any], **axes_: str) -> Any:
    """Curves by their names, on a log scale."""
    figure, axes = _figure(path, (7.0, 4.0))
    for name, curve in curves.items():
        axes.plot(*curve, label=_shown(name), marker=".")
    axes.set(yscale="log", **axes_)
    axes.grid(alpha=0.3)
    _legend(axes)
    return _saved(figure, path)


def _shown(name: str) -> str:  # matplotlib leaves what begins with an underscore out of a legend
    return f" {name}" if name[:1] in ("", "_") else name


def _legend(axes: Any) -> None:
    for text in axes.legend().get_texts():
        text.set_parse_math(False)  # a user's "$" is no formula


def _figure(path: Where, size: tuple[float, float], place: tuple[int, int, int] = (1, 1, 1)) -> Any:
    if path is not None:
        render.check(path, _KINDS)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "plots need matplotlib: pip install matplotlib, or the extra 'plot'"
        ) from None

    class ShownFigure(Figure):
        def _repr_png_(self) -> bytes:  # notebooks show figures by themselves only after pyplot
            return _bytes(self, "png", dpi=100)

    figure = ShownFigure(figsize=size, layout="constrained")
    return figure, figure.add_subplot(*place)


def _saved(figure: Any, path: Where) -> Any:
    if path is not None:
        target = render.check(path, _KINDS)
        replace_file(target, _bytes(figure, target.suffix.lower().removeprefix(".")))
    return figure


def _bytes(figure: Any, kind: str, dpi: int = 150) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=dpi)
    return content.getvalue()
