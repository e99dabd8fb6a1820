"""The DOT text: golden pictures, cleaned labels, and what renderers make of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.dom.minidom
from collections.abc import Callable
from pathlib import Path

import graphviz
import nets
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from viz import render
from viz.dot import clean, label
from viz.scale import fit

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = [
    'quote " and \\" backslash \\N \\G \\',
    "<b>bold</b> & &lt; <script>alert(1)</script>",
    "control \x00 \x01 \x1b \x85 \ud800",
    "right to left \u202e txt.exe \u2066",
    "newline\nand more\r\n",
    "emoji 👩‍🔬 中文 ∂",
    "x" * 100_000,
    'a", URL="javascript:alert(1)',
    "]; }",
    "",
]


def square(label: str = "x") -> tr.Tensor:
    x = tr.Tensor(np.array([1.0, 2.0]), requires_grad=True, name=label)
    return (x * x).sum()


@pytest.mark.parametrize("name", ["elman", "lstm", "gru", "bidirectional", "stacked", "folded"])
def test_golden(name: str) -> None:
    """The DOT text is what it was; after a change on purpose run with UPDATE_GOLDEN=1 and look."""
    make: dict[str, Callable[[], str]] = {
        "elman": lambda: nets.draw(nets.simple("elman", 2)[0], labels=["arrive", "Taipei"]).dot,
        "lstm": lambda: nets.draw(nets.simple("lstm", 2)[0], theme="dark").dot,
        "gru": lambda: nets.draw(nets.simple("gru", 2)[0]).dot,
        "bidirectional": lambda: nets.draw(nets.bidirectional(2)[0]).dot,
        "stacked": lambda: nets.draw(nets.stacked(2)[0]).dot,
        "folded": lambda: nets.draw(nets.simple("elman", 8)[0], fold=(1, 1)).dot,
    }
    path = GOLDEN / f"{name}.dot"
    found = make[name]()
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


def test_same_text_whatever_came_before() -> None:
    """Names come from the picture's own order: not from addresses, hashes or the tape so far."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import nets, tinygrad_rnn as tr, viz, hashlib\n"
        "junk = [tr.Tensor(1.0) for _ in range(int(sys.argv[2]))]\n"
        "print(hashlib.sha256(nets.draw(nets.bidirectional(3)[0]).dot.encode()).hexdigest())\n"
    )
    found = set()
    for seed in ("0", "1"):
        command = [sys.executable, "-c", code, str(Path(__file__).parent), str(int(seed) * 37)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout.strip())
    assert len(found) == 1


def texts(svg: str) -> list[str]:
    """The text of an SVG's text elements, by node."""
    document = xml.dom.minidom.parseString(svg.encode())
    return [
        "".join(child.data for child in element.childNodes)
        for element in document.getElementsByTagName("text")
    ]


@pytest.mark.parametrize("said", HOSTILE)
def test_hostile_labels(said: str) -> None:
    svg = nets.draw(square(said), title=said).svg
    document = xml.dom.minidom.parseString(svg.encode())
    assert {e.tagName for e in document.getElementsByTagName("*")} <= {
        "svg", "g", "a", "title", "desc", "text", "path", "polygon", "polyline", "ellipse",
    }  # fmt: skip
    for element in document.getElementsByTagName("*"):
        for name, value in element.attributes.items():
            assert not name.startswith("on"), (name, value)
            assert name != "xlink:href", value


@settings(max_examples=20, deadline=None)
@given(st.text(alphabet=st.characters(), max_size=60))
@example("&amp;")
@example("\\")
@example("a\\lb\\N")
@example("<b>bold</b>")
def test_label_survives_the_renderer(said: str) -> None:
    """Any text goes through DOT and Graphviz and comes out as the cleaned label."""
    shown = clean(said)
    graph = graphviz.Digraph(graph_attr={"layout": "nop2"})
    graph.node("a", label(said), pos="0,0", shape="plaintext")
    found = texts(render.render(graph.source, "svg").decode())
    wanted = shown.split("\n")
    assert [t.replace("\xa0", " ") for t in found] == [
        w.replace("\xa0", " ") for w in wanted if w
    ] or "".join(found).replace("\xa0", " ").split() == "".join(wanted).replace("\xa0", " ").split()


def test_svg_is_labelled_for_readers_and_notebooks() -> None:
    a, b = nets.draw(square()), nets.draw(square() * 2)
    svg = a.svg
    root = xml.dom.minidom.parseString(svg.encode()).documentElement
    assert (root.getAttribute("role"), root.getAttribute("aria-label")) == ("img", a.title)
    assert svg.startswith("<svg ")
    assert "<desc>" in svg
    ids = [
        {e.getAttribute("id") for e in xml.dom.minidom.parseString(p.svg.encode())
         .getElementsByTagName("*") if e.hasAttribute("id")}
        for p in (a, b)
    ]  # fmt: skip
    assert ids[0]
    assert ids[0].isdisjoint(ids[1])  # two pictures in one notebook
    bundle = a._repr_mimebundle_()
    assert set(bundle) == {"image/svg+xml", "text/html", "text/plain"}
    assert " size=" not in a.dot  # it would clip the picture in notebooks
    assert root.getAttribute("width") == "100%"
    assert root.getAttribute("viewBox")
    assert not root.getAttribute("height")
    assert a.source.source == a.dot


def test_a_page_in_the_dark_shows_the_dark_picture() -> None:
    """Each colour of the HTML is a variable, set to what either theme's own picture has there."""
    picture = nets.draw(nets.simple("lstm", 2)[0])
    svg, rules = picture.themed()
    for name, rule in rules.items():
        colours = dict(item.split(":") for item in rule.split(";") if item)
        found = re.sub(r"var\((--c\d+)\)", lambda m, c=colours: c[m[1]], svg)
        own = nets.draw(nets.simple("lstm", 2)[0], theme=name).svg
        assert re.sub("p[0-9a-f]{8}_", "", found) == re.sub("p[0-9a-f]{8}_", "", own)
    page = picture._repr_mimebundle_()["text/html"]
    assert "[data-theme=dark] #p" in page
    assert "var(--c0)" in page
    dark = nets.draw(nets.simple("lstm", 2)[0], theme="dark")  # as it was asked for
    assert "var(" not in dark._repr_mimebundle_()["text/html"]


def test_tooltips_are_ours() -> None:
    a = nets.draw(square())
    assert all("tooltip=" in line for line in a.dot.splitlines() if "pos=" in line)


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf", "dot"])
def test_files_by_suffix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    nets.draw(square(), path)
    starts = {"svg": b"<svg ", "png": b"\x89PNG", "pdf": b"%PDF", "dot": b"digraph"}
    assert path.read_bytes().startswith(starts[suffix])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_bad_files_are_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"suffix must be one of \.svg, \.png, \.pdf, \.dot"):
        nets.draw(square(), tmp_path / "picture.jpeg")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        nets.draw(square(), tmp_path / "nowhere" / "picture.svg")
    assert list(tmp_path.iterdir()) == []


def test_too_large_a_png_is_refused_with_the_way_out(tmp_path: Path) -> None:
    h = tr.Tensor(0.5, requires_grad=True)
    for t in range(400):
        with tr.step(t):
            h = tr.tanh(h * 0.9)
    with pytest.raises(ValueError, match=r"32767; save it as \.svg or \.pdf, or fold it"):
        nets.draw(h, tmp_path / "picture.png", fold=None)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "picture.dot"
    path.write_text("before")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        nets.draw(square(), path)
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def fake_dot(folder: Path) -> None:
    """A `dot` program that is pygraphviz in another process: it reads standard input alone."""
    script = folder / "dot"
    script.write_text(
        f"#!{sys.executable}\n"
        "import sys, pygraphviz\n"
        "engine, kind = (a[2:] for a in sys.argv[1:])\n"
        "graph = pygraphviz.AGraph(string=sys.stdin.read())\n"
        "engine = graph.graph_attr['layout']\n"
        "sys.stdout.buffer.write(graph.draw(format=kind, prog=engine))\n"
    )
    script.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_the_dot_program_draws_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = nets.draw(nets.simple("lstm", 2)[0])
    in_process = picture.svg
    fake_dot(tmp_path)
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert picture.svg == in_process
    assert nets.draw(square()).svg  # its layout comes from the program too


def test_without_any_graphviz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = nets.draw(nets.simple("elman", 2)[0])
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(graphviz.ExecutableNotFound) as refused:
        picture.save(tmp_path / "picture.svg")
    assert "pip install pygraphviz" in refused.value.__notes__[0]
    assert list(tmp_path.iterdir()) == []
    picture.save(tmp_path / "picture.dot")  # DOT needs none


def test_every_renderer_installed_agrees_on_the_canvas() -> None:
    """One width and height, and one shape for each thing drawn."""
    picture = nets.draw(nets.simple("gru", 2)[0])
    x0, _, x1, _ = picture.bounds()
    root = xml.dom.minidom.parseString(picture.svg.encode()).documentElement
    width = float(root.getAttribute("viewBox").split()[2])
    assert abs(width - (x1 - x0 + 2 * 0.22 * 72)) < 30
    shapes = [e for e in root.getElementsByTagName("g") if e.getAttribute("class") == "edge"]
    assert len(shapes) == len(picture.edges)


def test_options_are_checked() -> None:
    loss = square()
    for options, said in [
        ({"theme": "blue"}, "theme='blue'"),
        ({"level": "layer"}, "level='layer'"),
        ({"show": "both"}, "show='both'"),
        ({"metric": "l1"}, "metric='l1'"),
        ({"vmin": -1.0}, "vmin=-1.0"),
        ({"vmin": 2.0, "vmax": 1.0}, "smaller"),
    ]:
        with pytest.raises(ValueError, match=said):
            nets.draw(loss, **options)
    with pytest.raises(TypeError, match="not a float"):
        nets.draw(1.0)
    with pytest.raises(ValueError, match="has no history"):
        nets.draw(tr.Tensor(1.0))
    with pytest.raises(ValueError, match="an empty dict"):
        nets.draw({})
    with pytest.raises(ValueError, match="fold=3"):
        nets.draw(nets.simple("elman", 2)[0], fold=3)  # type: ignore[arg-type]
    assert fit([]).low < fit([]).high
