"""The command, and the matplotlib figures."""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn
from viz.cli import main


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["draw", "--cell", "lstm", "--steps", "2", "-o", "a.svg"], b"<svg"),
        (["draw", "--cell", "gru", "--steps", "20", "--theme", "dark", "-o", "a.png"], b"\x89PNG"),
        (["draw", "--loss", "every", "--level", "cell", "-o", "a.pdf"], b"%PDF"),
        (["draw", "--show", "forward", "--cell", "elman", "-o", "a.dot"], b"digraph"),
        (["play", "--cell", "peephole", "--steps", "2", "-o", "a.html"], b"<!doctype html>"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_command_writes_what_it_is_asked_for(
    arguments: list[str],
    start: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 0
    (written,) = tmp_path.iterdir()
    assert capsys.readouterr().out.strip() == written.name
    assert written.read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["draw", "-o", "a.gif"], "its suffix must be one of .svg"),
        (["draw", "-o", "no/a.svg"], "does not exist"),
        (["play", "-o", "a.svg"], "its suffix must be"),
        (["draw", "--steps", "0"], "--steps must be 1 or more"),
        (["draw", "--seed", "-1"], "--seed must be 0 or more"),
        (["draw", "--hidden", "10000000"], "allocate"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["draw", "--help"])
    assert "tinygrad-rnn draw --cell lstm" in capsys.readouterr().out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"tinygrad-rnn {tr.__version__}\n"


def bowl(w: Any, b: Any) -> Any:
    return w * w + 2 * b


def only_numbers(w: float, b: float) -> float:
    return bowl(w, b) if w < 10 else 0.0  # an array has no single truth


def test_a_surface_is_the_same_in_one_pass_point_by_point_and_in_processes() -> None:
    xs, ys = np.linspace(-1, 1, 5), np.linspace(0, 1, 3)
    expected = xs**2 + 2 * ys[:, None]
    np.testing.assert_array_equal(viz.surface(bowl, xs, ys), expected)
    np.testing.assert_array_equal(viz.surface(only_numbers, xs, ys, progress=False), expected)
    with ProcessPoolExecutor(2) as pool:
        found = viz.surface(only_numbers, xs, ys, pool, progress=False)
    np.testing.assert_array_equal(found, expected)


def test_a_vectorised_surface_is_evaluated_once() -> None:
    calls = []

    def count(w: Any, b: Any) -> Any:
        calls.append(np.shape(w))
        return w + b

    viz.surface(count, np.arange(4.0), np.arange(3.0))
    assert calls == [(3, 4)]


def test_figures_hold_the_numbers_they_show(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    cell = nn.ElmanCell(2, 3, rng=0)
    outputs, _ = nn.unroll(cell, np.ones((6, 1, 2)))
    trace = tr.backprop((outputs[-1] ** 2).sum(), keep="arrays")
    figure = viz.gradient_flow({"Elman": (trace, outputs)}, tmp_path / "flow.svg")
    shown = figure.axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(shown, [trace.norm(h) for h in outputs])

    figure = viz.histogram(trace, cell.W_hh, tmp_path / "parts.png", bins=10)
    counts = figure.axes[0].collections[0].get_array()
    assert counts.shape == (6, 10)
    assert counts.sum() == (trace.by_step(cell.W_hh) != 0).sum()

    result = tr.check.convergence(lambda x: tr.sin(x), [0.5])
    figure = viz.convergence(result, tmp_path / "v.svg")
    assert [line.get_label().split(",")[0] for line in figure.axes[0].lines] == list(result.errors)
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), result.errors["forward"])

    way = np.array([[0.5, 0.5], [0.0, 0.1], [9.0, 9.0]])
    xs, ys = np.linspace(-1, 1, 5), np.linspace(0, 1, 4)
    figure = viz.error_surface(bowl, xs, ys, {"descent": way}, tmp_path / "cliff.pdf")
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_xdata(), [0.5, 0.0, np.nan])
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["cliff.pdf", "flow.svg", "parts.png", "v.svg"]


def test_figures_show_themselves_in_notebooks_without_pyplot() -> None:
    """What IPython asks an object for; only pyplot would teach it to show any figure."""
    pytest.importorskip("matplotlib")
    xs = np.linspace(-1, 1, 3)
    assert viz.error_surface(bowl, xs, xs)._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["_x", "$\\frac$", "a_b$^", "", "ü $x$"])
def test_any_name_can_stand_in_a_legend(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    outputs, _ = nn.unroll(nn.ElmanCell(2, 3, rng=0), np.ones((6, 1, 2)))
    nets = {name: (outputs[-1].sum(), outputs), "other": (outputs[-2].sum(), outputs)}
    figure = viz.gradient_flow(nets, tmp_path / "flow.svg")
    shown = [text.get_text().strip() for text in figure.axes[0].get_legend().get_texts()]
    assert shown == [name, "other"]
    xs = np.linspace(-1, 1, 3)
    viz.error_surface(bowl, xs, xs, {name: np.zeros((2, 2))}, tmp_path / "a.png", names=(name, "b"))


def test_plots_ask_for_no_graphviz_and_take_no_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    xs = np.linspace(-1, 1, 3)
    viz.error_surface(bowl, xs, xs, path=tmp_path / "a.svg")
    with pytest.raises(ValueError, match=r"must be one of \.svg, \.png, \.pdf$"):
        viz.error_surface(bowl, xs, xs, path=tmp_path / "a.dot")
