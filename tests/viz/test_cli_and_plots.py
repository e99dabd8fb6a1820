"""The command, and the matplotlib figures."""

from __future__ import annotations

import re
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn
from viz import cli
from viz.cli import main


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["draw", "--cell", "lstm", "--steps", "2", "-o", "a.svg"], b"<svg"),
        (["draw", "--cell", "gru", "--steps", "20", "--theme", "dark", "-o", "a.png"], b"\x89PNG"),
        (["draw", "--loss", "every", "--level", "cell", "-o", "a.pdf"], b"%PDF"),
        (["draw", "--show", "forward", "--cell", "elman", "-o", "a.dot"], b"digraph"),
        (["play", "--cell", "peephole", "--steps", "2", "-o", "a.html"], b"<!doctype html>"),
        (["draw", "--cell", "jordan", "--layers", "2", "--bidirectional", "-o", "a.svg"], b"<svg"),
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
        (["draw", "--hidden", "1000000"], "allocate"),
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


def test_the_command_knows_every_cell() -> None:
    made = {type(make(3, 4, rng=0)).__name__ for make in cli._CELLS.values()}
    assert made == {name for name in dir(nn) if name.endswith("Cell")}


def test_layers_and_directions_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["--cell", "elman", "--steps", "3", "--level", "cell", "--loss", "every"]
    for more, states in [([], 3), (["--layers", "2"], 6), (["--layers", "3", "--bidir"], 18)]:
        drawn = []
        monkeypatch.setattr(cli, "draw", lambda *a, d=drawn, **k: d.append(viz.draw(*a, **k)))
        assert main(["draw", *given, *more]) == 0
        assert sum(node.kind == "state" for node in drawn[0].nodes) == states


OWN = """
import numpy as np
import tinygrad_rnn as tr

squash = tr.primitive("squash", np.tanh, lambda g, y, x: g * (1.0 - y * y))
bad = tr.primitive("bad", np.tanh, lambda g, y, x: g * (1.0 - y))


class Right(tr.nn.ElmanCell):
    f = squash

    def __init__(self, input_size, hidden_size, rng=None):
        super().__init__(input_size, hidden_size, nonlinearity=type(self).f, rng=rng)


class Wrong(Right):
    f = bad


class Halting(Right):
    def __call__(self, x, h):
        return self.nothing


class Wide(Right):
    def __init__(self, input_size, hidden_size, output_size):
        super().__init__(input_size, hidden_size)


made = Wide(3, 4, 5)
number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("mycell.py").write_text(OWN, encoding="utf-8")
    return tmp_path


def test_a_cell_of_ones_own_is_checked(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("Right", "made"):
        assert main(["check", f"mycell.py:{name}"]) == 0
        assert capsys.readouterr().out.startswith("gradcheck passed")
    assert main(["check", "mycell.py:Wrong", "--steps", "3"]) == 1
    assert "at fault: bad, input 0, wrong / t=0\n    the same at 2 more" in capsys.readouterr().out
    assert main(["check", "mycell.py:Wrong", "-o", "report.html"]) == 1
    page = (own / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "at fault: bad, input 0" in page


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("nofile.py:Right", "'nofile.py:Right' was given; expected a file that exists and a cell"),
        ("mycell.py", "'mycell.py' was given; expected a file that exists and a cell in it"),
        ("mycell.py:Nothing", "mycell.py: ValueError: there is no cell called 'Nothing'"),
        ("mycell.py:number", "mycell.py: ValueError: there is no cell called 'number'"),
        ("mycell.py:Wide", "Wide(3, 8) cannot be made; one that takes more can be made"),
        ("mycell.py:Halting", "has no attribute 'nothing' (mycell.py, line 22)"),
        ("broken.py:Right", "broken.py: SyntaxError: "),
        (
            "stopped.py:Right",
            "stopped.py: ZeroDivisionError: division by zero (stopped.py, line 2)",
        ),
    ],
)
def test_what_is_wrong_with_a_cell_of_ones_own_is_one_sentence(
    own: Path, where: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "broken.py").write_text("class Right(:\n", encoding="utf-8")
    (own / "stopped.py").write_text("x = 1\nx / 0\n", encoding="utf-8")
    assert main(["check", where]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not said.out


def test_every_option_has_a_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("draw", "play", "check"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        options = capsys.readouterr().out.partition("options:\n")[2].partition("\n\n")[0]
        entries = re.split(r"\n  (?=-)", options)
        assert len(entries) >= 6
        assert all(re.search(r"(  |\n +)\w+,? \w+", entry[2:]) for entry in entries)


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

    way = np.array([[0.5, 0.5], [0.0, 0.1], [9.0, 9.0]])
    xs, ys = np.linspace(-1, 1, 5), np.linspace(0, 1, 4)
    figure = viz.error_surface(bowl, xs, ys, {"descent": way}, tmp_path / "cliff.pdf")
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_xdata(), [0.5, 0.0, np.nan])
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["cliff.pdf", "flow.svg", "parts.png"]


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
