"""The player: its page as text, and in headless Chromium by keyboard, mouse and without scripts."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn
from viz.scale import number

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def net(make: Any = nn.ElmanCell, steps: int = 5) -> tuple[tr.Tensor, nn.Module, Any]:
    cell = make(3, 4, rng=0)
    head = nn.Linear(4, 1, bias=False, rng=1)
    xs = np.random.default_rng(0).standard_normal((steps, 1, 3))
    outputs, _ = nn.unroll(cell, xs)
    return nn.mse(head(outputs[-1]), [[1.0]]), head, cell


def frames(page: str) -> list[dict[str, Any]]:
    found = re.search(r'id="data">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found[1])["frames"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("make", [nn.ElmanCell, nn.LSTMCell, nn.GRUCell])
def test_every_message_of_the_trace_is_an_event_of_the_page(make: Any) -> None:
    loss, head, cell = net(make)
    trace = tr.backprop(loss)
    page = viz.player(trace, names=head)
    picture = viz.draw(trace, names=head)
    shown = {edge for frame in frames(page) for edge in frame.get("e", ())}
    assert shown >= {edge.id for edge in picture.edges if edge.events}
    drawn = sorted(i for edge in picture.edges for i in edge.events)
    assert drawn == list(range(len(trace.events)))
    # What is said last of each weight is its gradient.
    for name, p in cell.named_parameters().items():
        last = [f["s"] for f in frames(page) if re.search(rf"adds .* to {name},", f["s"])][-1]
        assert last.endswith(f"now {number(trace.norm(p))}.")


def test_the_page_is_one_file_of_the_size_promised() -> None:
    loss, head, _ = net(nn.LSTMCell)
    page = viz.player(loss, names=head)
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
    page = viz.player(h, title="</title><script>alert(2)</script>")
    assert page.count("<script") == 2
    assert "<img" not in page


@pytest.mark.parametrize(("name", "error"), [("a.svg", ValueError), ("no/a.html", OSError)])
def test_a_page_that_cannot_be_written(tmp_path: Path, name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        viz.player(net()[0], tmp_path / name)
    assert not list(tmp_path.iterdir())


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Any, tmp_path: Path) -> Iterator[Any]:
    """The page of an LSTM, with all that the browser complained of or asked for."""
    loss, head, _ = net(nn.LSTMCell, steps=3)
    viz.player(loss, tmp_path / "walk.html", names=head)
    page = chromium.new_page(reduced_motion="reduce")
    page.complaints, page.requests = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto((tmp_path / "walk.html").as_uri())
    yield page
    assert page.complaints == []
    assert len(page.requests) == 1
    page.close()


def looks(page: Any) -> str:
    return str(page.locator("#picture").evaluate("e => e.innerHTML"))


@pytest.mark.browser
def test_forward_and_back_return_to_the_same_page(opened: Any) -> None:
    start = looks(opened)
    seen = [start]
    for _ in range(60):
        opened.keyboard.press("ArrowRight")
        seen.append(looks(opened))
    assert len(set(seen)) == len(seen)
    for expected in reversed(seen[:-1]):
        opened.keyboard.press("ArrowLeft")
        assert looks(opened) == expected


@pytest.mark.browser
def test_at_the_end_it_is_the_finished_picture_with_the_gradients(
    opened: Any, chromium: Any, tmp_path: Path
) -> None:
    opened.keyboard.press("End")
    texts = opened.locator("#picture .light g.node text").all_text_contents()
    plain = chromium.new_context(java_script_enabled=False).new_page()
    plain.goto(opened.url)
    assert plain.locator("#picture .light g.node text").all_text_contents() == texts
    assert not plain.locator("#controls").is_visible()
    loss, _, cell = net(nn.LSTMCell, steps=3)
    loss.backward()
    for name, p in cell.named_parameters().items():
        shown = number(float(np.linalg.norm(p.grad)))
        assert any(t.startswith(name) and t.endswith(shown) for t in texts), name
    plain.close()


@pytest.mark.browser
def test_keyboard_alone_plays_and_jumps(opened: Any) -> None:
    said = opened.locator("#said")
    opened.keyboard.press("ArrowRight")
    assert said.inner_text().startswith("Event 1 of")
    opened.keyboard.press("Home")
    assert said.inner_text().startswith("Before the first event")
    opened.locator("#speed").select_option("3")
    opened.locator("h1").click()
    opened.keyboard.press(" ")
    for _ in range(50):  # its own policy forbids the page to evaluate a condition for us
        if int(opened.locator("#at").input_value()) > 3:
            break
        opened.wait_for_timeout(100)
    opened.keyboard.press(" ")
    assert opened.locator("#play").inner_text() == "Play"
    opened.keyboard.press("End")
    total = opened.locator("#at").get_attribute("max")
    assert said.inner_text().startswith(f"Event {total} of {total}")
    for button in ("back", "play", "on"):  # every control has a name
        element = opened.locator(f"#{button}")
        assert element.get_attribute("aria-label") or element.inner_text()


@pytest.mark.browser
def test_a_click_on_a_node_jumps_to_where_its_gradient_is_complete(opened: Any) -> None:
    opened.locator("#picture .light g.node", has_text="tanh g").first.click(force=True)
    assert "tanh g" in opened.locator("#said").inner_text()
    assert "it is complete" in opened.locator("#said").inner_text()
    opened.locator("#step").select_option(label="t = 1")
    assert "t = 1" in opened.locator("#said").inner_text()
