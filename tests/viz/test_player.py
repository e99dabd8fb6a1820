"""The player: its page as text, and in headless Chromium by keyboard, mouse and without scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nets
import numpy as np
import pytest

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn
from viz.scale import number
from viz.style import THEMES


def net(make: Any = nn.ElmanCell, steps: int = 5) -> tuple[tr.Tensor, nn.Module, Any]:
    cell = make(3, 4, rng=0)
    head = nn.Linear(4, 1, bias=False, rng=1)
    xs = np.random.default_rng(0).standard_normal((steps, 1, 3))
    outputs, _ = nn.unroll(cell, xs)
    return nn.mse(head(outputs[-1]), [[1.0]]), head, cell


def data(page: str) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found[1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("make", [nn.ElmanCell, nn.LSTMCell, nn.GRUCell])
@pytest.mark.parametrize("level", ["op", "scope", "cell"])
def test_every_message_of_the_trace_is_an_event_of_the_page(make: Any, level: Any) -> None:
    loss, head, cell = net(make)
    trace = tr.backprop(loss)
    found = data(viz.player(trace, names=head, level=level).page)
    picture = viz.draw(trace, names=head, level=level)
    ends = [found["ids"][c[0]] for f in found["frames"] for c in f["c"] if c[1:] == ["drawn"]]
    assert len(set(ends)) == len(ends)  # each is finished once
    shown = {edge.id for edge in picture.edges if edge.kind in ("message", "tap", "rail", "link")}
    shown |= {node.id for node in picture.nodes if node.kind in ("op", "state", "parameter")}
    assert set(ends) >= shown
    drawn = sorted(i for edge in picture.edges for i in edge.events)
    assert drawn == list(range(len(trace.events))) or level != "op"
    if level == "cell":
        return
    # What is said last of each weight is its gradient.
    said = [frame["s"] for frame in found["frames"]]
    for name, p in cell.named_parameters().items():
        last = [s for s in said if f" sends {name} a term" in s][-1]
        assert f"complete; its norm is {number(trace.norm(p))}." in last


def test_nothing_is_given_away_before_it_happens() -> None:
    """At the start only inputs and weights; on the way forward no size of any gradient."""
    loss, head, _ = net(nn.LSTMCell)
    walk = viz.player(loss, names=head)
    start, finished = walk._at(0), walk.picture
    seen = {n.kind for n in start.nodes if n.id in {m.id for m in finished.nodes if m.label}}
    assert seen == {"input", "parameter", "joint"}
    assert not [edge for edge in start.edges if edge.kind not in ("rule", "cut")]
    assert not [text.text for text in start.texts if text.of and text.text]
    assert "falls" in finished.description
    assert not [text.text for text in start.texts if "falls" in text.text]
    end_of_forward = [f.said.startswith("Forward") for f in walk._frames].index(True, 1)
    while walk._frames[end_of_forward].said.startswith("Forward"):
        for node in (picture := walk._at(end_of_forward)).nodes:
            assert node.kind in ("joint", "swatch", "sample") or node.value is None
        assert {e.kind for e in picture.edges} <= {"data", "rule", "cut"}
        end_of_forward += 1


def test_a_walk_ends_in_the_finished_picture() -> None:
    for loss in (net(nn.LSTMCell)[0], nets.bidirectional(3)[0], nets.simple("elman", 30)[0]):
        walk = viz.player(loss)
        assert walk._at(len(walk._frames) - 1).dot == walk.picture.dot


def test_sentences_say_direction_and_layer_and_what_they_measure() -> None:
    walk = viz.player(nets.bidirectional(3)[0])
    said = [frame.said for frame in walk._frames]
    assert any(s.startswith("Backward, backward layer, t = 2: ") for s in said)
    assert any(
        s.startswith("Forward, forward layer, t = 0: h₀ is computed; its norm") for s in said
    )
    assert sum("A sum's norm can fall" in s for s in said) == 1
    rules = {frame.rule for frame in walk._frames}
    assert "∂(a + b)/∂a = 1 · Both inputs get the gradient of the sum." in rules


def test_an_own_operation_says_what_its_declaration_says() -> None:
    @tr.primitive(rules=[lambda g, y, x: 2.0 * g], symbol="2·")
    def tanh(x: Any, /) -> Any:  # of a built-in's name
        """Twice `x`; its gradient doubles.

        ∂2x/∂x = 2
        """
        return 2.0 * x

    h = tr.Tensor([1.0], requires_grad=True)
    with tr.step(0):
        h = tanh(h)
    assert "∂2x/∂x = 2 · Its gradient doubles." in [f.rule for f in viz.player(h)._frames]


def test_the_page_is_one_file_of_the_size_promised() -> None:
    loss, head, _ = net(nn.LSTMCell)
    page = viz.player(loss, names=head).page
    assert len(page.encode()) < 300 * 1024
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert not links
    assert "default-src 'none'" in page


def test_hostile_names_stay_text() -> None:
    w = tr.Tensor([[0.5]], requires_grad=True, name='</script><img src=x onerror="alert(1)">')
    h = tr.Tensor([[1.0]])
    for t in range(2):
        with tr.step(t):
            h = tr.tanh(h @ w)
    walk = viz.player(h, title="</title><script>alert(2)</script>{{data}}")
    assert walk.page.count("<script") == 2
    assert "<img" not in walk.page
    frame = walk._repr_html_()
    assert frame.count("<") == 2  # one element, its page an attribute
    assert 'sandbox="allow-scripts"' in frame


@pytest.mark.parametrize(("name", "error"), [("a.svg", ValueError), ("no/a.html", OSError)])
def test_a_page_that_cannot_be_written(tmp_path: Path, name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        viz.player(net()[0], tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("format", "start"), [("svg", b"<svg"), ("png", b"\x89PNG")])
def test_a_picture_for_each_step_for_slides(tmp_path: Path, format: Any, start: bytes) -> None:
    walk = viz.player(net(nn.LSTMCell, steps=2)[0])
    paths = walk.frames(tmp_path, format)
    assert sorted(tmp_path.iterdir()) == paths
    assert all(path.read_bytes().startswith(start) for path in paths)
    units = [frame.unit for frame in walk._frames]
    assert len(paths) == sum(a != b for a, b in zip(units, [*units[1:], ""], strict=True))
    if format == "svg":  # all on one canvas
        assert len({re.findall(rb'viewBox="[^"]*"', path.read_bytes())[0] for path in paths}) == 1
    with pytest.raises(ValueError, match=r"must be one of \.svg, \.png, \.pdf"):
        walk.frames(tmp_path, "gif")  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        walk.frames(tmp_path / "nowhere")


def test_an_animation(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    walk = viz.player(net(steps=2)[0], tmp_path / "walk.gif")
    with image.open(tmp_path / "walk.gif") as gif:
        assert gif.n_frames == len(walk._stops())
        assert gif.width <= 1200


# --- a film ---------------------------------------------------------------------------------------


def turned(weight: float, steps: int = 100) -> tr.Trace:
    """One unit whose only weight is turned, with its gradient."""
    w, h = tr.Tensor(weight, requires_grad=True, name="w"), tr.Tensor(np.ones(()))
    for t in range(steps):
        with tr.step(t):
            h = w * h
    return tr.backprop(h)


def test_a_film_has_the_sizes_of_every_trace_and_fits_its_promise() -> None:
    weights = np.linspace(0.9, 1.1, 100)
    film = viz.film({f"w = {w:.3f}": turned(w) for w in weights}, title="A weight")
    assert len(film.page.encode()) < 1_000_000
    found = data(film.page)
    assert [label for _, label in found["units"]] == [f"w = {w:.3f}" for w in weights]
    (rail,) = [n.id for n in film.picture.nodes if n.kind == "parameter"]
    place = found["ids"].index(rail)
    for w, frame in list(zip(weights, found["frames"], strict=True))[1:]:
        (text,) = [change[2] for change in frame["c"] if change[0] == place]
        assert text == f"w   ‖∇‖ {number(abs(100 * w**99))}"
    assert "explodes" in found["frames"][-1]["s"]


def test_a_film_goes_on_where_gradients_do_not_stay_finite() -> None:
    with np.errstate(all="ignore"):
        film = viz.film({f"{w:g}": turned(w, 3) for w in (1.0, 1e200)})
    found = data(film.page)
    assert {change[1] for change in found["frames"][1]["c"]} >= {"infinite"}
    assert "first non-finite gradient" in found["frames"][1]["s"]


def test_a_film_of_two_nets_is_refused() -> None:
    with pytest.raises(ValueError, match="the frame 'b' shows another computation"):
        viz.film({"a": turned(1.0, 3), "b": turned(1.0, 4)})
    with pytest.raises(ValueError, match="at least one frame"):
        viz.film({})


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture
def visit(chromium: Any, tmp_path: Path) -> Iterator[Any]:
    """A function that opens a player's page; no page may complain, or ask for another file."""
    contexts = []

    def open_(player: viz.Player, size: tuple[int, int] = (1440, 900), **options: Any) -> Any:
        player.save(tmp_path / "walk.html")
        viewport = {"width": size[0], "height": size[1]}
        context = chromium.new_context(viewport=viewport, reduced_motion="reduce", **options)
        page = context.new_page()
        page.complaints, page.requests = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.requests.append(request.url))
        page.goto((tmp_path / "walk.html").as_uri())
        contexts.append((context, page))
        return page

    yield open_
    for context, page in contexts:
        assert page.complaints == []
        assert len(page.requests) == 1
        context.close()


PHONE = {"has_touch": True, "is_mobile": True}


def lstm() -> viz.Player:
    """An LSTM of three steps."""
    loss, head, _ = net(nn.LSTMCell, steps=3)
    return viz.player(loss, names=head, level="op")


@pytest.mark.browser
def test_forward_and_back_return_to_the_same_page(visit: Any) -> None:
    page = visit(lstm())
    page.locator("#fit").click()  # else weights move along with the view
    there, back = page.locator("body").evaluate(
        """(body) => ["ArrowRight", "ArrowLeft"].map((key) => Array.from({ length: 61 }, () => {
            const looks = document.getElementById("picture").innerHTML;
            const pressed = { key, shiftKey: true, bubbles: true };
            body.dispatchEvent(new KeyboardEvent("keydown", pressed));
            return looks;
        }))"""
    )
    assert len(set(there)) == len(there)
    assert back[1:] == there[::-1][:-1]


@pytest.mark.browser
def test_at_the_end_it_is_the_finished_picture_with_the_gradients(visit: Any) -> None:
    page = visit(lstm())
    page.keyboard.press("End")
    texts = page.locator("#picture g.node text").all_text_contents()
    plain = visit(lstm(), java_script_enabled=False)
    assert plain.locator("#picture g.node text").all_text_contents() == texts
    assert not plain.locator("#controls").is_visible()
    assert page.locator("#picture [data-look]").count() == 0
    loss, _, cell = net(nn.LSTMCell, steps=3)
    loss.backward()
    for name, p in cell.named_parameters().items():
        shown = number(float(np.linalg.norm(p.grad)))
        assert any(t.startswith(name) and t.endswith(shown) for t in texts), name


@pytest.mark.browser
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)], ids=["laptop", "phone"])
@pytest.mark.parametrize("make", ["lstm", "bidirectional"])
def test_what_a_sentence_speaks_of_is_in_sight(visit: Any, size: Any, make: str) -> None:
    """After every event and every step, in both directions, sender and receiver can be seen."""
    loss = nets.simple("lstm", 5)[0] if make == "lstm" else nets.bidirectional(3)[0]
    page = visit(viz.player(loss), size, **(PHONE if size[0] < 500 else {}))
    total = int(page.locator("#at").get_attribute("max"))
    presses = [["ArrowRight", True]] * total + [["ArrowLeft", False]] * 40
    presses += [["ArrowRight", False]] * 40 + [["ArrowLeft", True]] * (total - 1)
    out_of_sight = page.locator("body").evaluate(
        """(body, presses) => presses.filter(([key, shiftKey]) => {
            body.dispatchEvent(new KeyboardEvent("keydown", { key, shiftKey, bubbles: true }));
            const box = document.getElementById("picture").getBoundingClientRect();
            const now = [...document.querySelectorAll(".now")];
            const shown = now.map((g) => g.getBoundingClientRect());
            const seen = (r) => r.x >= -0.5 && r.right <= innerWidth + 0.5 && r.y >= box.y - 0.5
              && r.bottom <= innerHeight + 0.5 && Math.max(r.width, r.height) > 5;
            return document.getElementById("at").value > 0 && !(shown.length && shown.every(seen));
        }).length""",
        presses,
    )
    assert out_of_sight == 0


@pytest.mark.browser
def test_the_view_does_not_move_for_what_is_in_sight(visit: Any) -> None:
    page = visit(viz.player(nets.simple("elman", 5)[0]))
    places = set()
    for _ in range(3):  # the first three events are side by side
        page.keyboard.press("Shift+ArrowRight")
        places.add(page.locator("#picture").evaluate("e => e.scrollLeft + ' ' + e.scrollTop"))
    assert places == {"0 0"}


@pytest.mark.browser
def test_keyboard_alone_plays_and_jumps(visit: Any) -> None:
    page = visit(lstm())
    said, at = page.locator("#said"), page.locator("#at")
    assert said.inner_text().startswith("Only the inputs")
    page.keyboard.press("ArrowRight")  # a whole step
    assert "Forward, t = 0: all is computed up to" in said.inner_text()
    page.keyboard.press("Shift+ArrowRight")  # one event
    assert "Forward, t = 1: ·W_xh is computed" in said.inner_text()
    page.locator("#by").select_option("event")
    before = int(at.input_value())
    page.locator("#on").click()
    assert int(at.input_value()) == before + 1
    page.keyboard.press("Home")
    page.locator("#speed").select_option("3")
    page.locator("#picture").focus()
    page.keyboard.press(" ")
    for _ in range(50):  # its own policy forbids the page to evaluate a condition for us
        if int(at.input_value()) > 3:
            break
        page.wait_for_timeout(100)
    page.keyboard.press(" ")
    assert page.locator("#play").inner_text() == "Play"
    page.keyboard.press("End")
    total = at.get_attribute("max")
    assert said.inner_text().startswith(f"Event {total} of {total}")
    for button in ("back", "play", "on", "in", "out", "fit"):  # every control has a name
        element = page.locator(f"#{button}")
        assert element.get_attribute("aria-label") or element.inner_text()


@pytest.mark.browser
def test_go_to_leads_to_a_cell_and_stays_true(visit: Any) -> None:
    page = visit(lstm())
    page.locator("#unit").select_option(label="Backward, t = 1")
    assert "Backward, t = 1: messages go back to" in page.locator("#said").inner_text()
    page.locator("#picture").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#unit option:checked").inner_text() == "Backward, t = 0"
    page.locator("#picture g.node", has_text="tanh candidate").first.click(force=True)
    assert "tanh candidate" in page.locator("#said").inner_text()
    assert "is complete" in page.locator("#said").inner_text()


@pytest.mark.browser
def test_on_a_phone_it_speaks_of_taps_and_swipes(visit: Any) -> None:
    page = visit(lstm(), (390, 844), **PHONE)
    said = page.locator("#said")
    assert "Tap ▶, or swipe this line" in said.inner_text()
    assert "key" not in said.inner_text()
    page.locator("#on").tap()
    assert "Forward, t = 0" in said.inner_text()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_page(visit: Any, scheme: Any) -> None:
    page = visit(viz.film({w: turned(w, 5) for w in (0.5, 1.0)}), color_scheme=scheme)
    page.keyboard.press("ArrowRight")
    shape = page.locator("#picture g.node[data-look=sized] :is(path, polygon)").first
    fill = shape.evaluate("e => getComputedStyle(e).fill")
    r, g, b = map(int, re.findall(r"\d+", fill))
    assert f"#{r:02x}{g:02x}{b:02x}" in {THEMES[scheme].colour(k / 255) for k in range(256)}
    page.keyboard.press("ArrowLeft")
    assert page.locator("#picture [data-look]").count() == 0


def test_values_stay_inside_their_boxes() -> None:
    """Written out where the box, drawn for a norm, has the room; else the norm is said."""
    cell = tr.nn.LSTMCell(3, 4, rng=0)
    outputs, _ = tr.nn.unroll(cell, np.random.default_rng(0).normal(size=(2, 1, 3)))
    walk = viz.player((outputs[-1] ** 2).sum())
    assert not re.search(r'"\[[−\d]', walk.page)  # four numbers, as drawn or as said
    assert "norm" in walk._frames[1].said
