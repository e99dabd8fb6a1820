"""The playground as it was built, in headless Chromium: its numbers, controls, links and manners.

Skipped unless it has been built: ``python docs/make_playground.py docs/_build/html/playground``.
"""

from __future__ import annotations

import functools
import http.server
import re
import runpy
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
BUILT = ROOT / "docs" / "_build" / "html" / "playground"
HERE = runpy.run_path(str(ROOT / "docs" / "playground" / "playground.py"))

browser = pytest.mark.browser
COURSE = runpy.run_path(str(ROOT / "docs" / "make_course.py"))
FORM = {name: value for name, value in HERE["DEFAULTS"].items() if name not in ("theme", "code")}
CELLS = [name for name in HERE["CELLS"] if name != "own"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


class Playground:
    """A tab with the playground, by what a person does there."""

    def __init__(self, tab: Any) -> None:
        self.tab = tab

    def open(self, fragment: str = "") -> Playground:
        self.tab.goto("about:blank")
        self.tab.goto(f"{self.tab.address}#{fragment}")
        self.tab.wait_for_selector("[data-ready], .wrong", timeout=90_000)
        return self

    def set(self, **values: str) -> Playground:
        """Set controls; returns when the picture has followed."""
        self.tab.evaluate(
            """async (values) => {
                for (const [name, value] of Object.entries(values)) {
                    const field = document.getElementById("settings").elements[name];
                    field.value = value;
                    field.dispatchEvent(new Event("input", { bubbles: true }));
                }
                await new Promise((next) => requestAnimationFrame(() => setTimeout(next)));
            }""",
            values,
        )
        self.tab.wait_for_selector("#view:not([aria-busy=true])", timeout=90_000)
        return self

    @property
    def shown(self) -> dict[str, Any]:
        return self.tab.evaluate("window.shown")  # type: ignore[no-any-return]

    @property
    def said(self) -> str:
        return self.tab.inner_text("#status")  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    if not (BUILT / "library.zip").exists():
        pytest.skip("the playground has not been built")
    handler = functools.partial(Quiet, directory=str(BUILT))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


def new_tab(chromium: Any, address: str, **options: Any) -> Any:
    tab = chromium.new_page(viewport={"width": 1440, "height": 900}, **options)
    tab.address, tab.complaints, tab.requests = address, [], []
    tab.on("console", lambda message: tab.complaints.append(message.text))
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("request", lambda request: tab.requests.append(request.url))
    return tab


@pytest.fixture(scope="module")
def opened(chromium: Any, address: str) -> Iterator[Playground]:
    """One tab for all tests; at the end it must not have complained or asked elsewhere."""
    tab = new_tab(chromium, address)
    page = Playground(tab).open()
    print(f"ready after {tab.evaluate('document.body.dataset.ready')} ms")
    yield page
    assert tab.complaints == []
    root = address.removesuffix("index.html")
    assert [u for u in tab.requests if not u.startswith((root, "data:", "blob:", "about:"))] == []


@pytest.fixture
def page(opened: Playground) -> Playground:
    return opened.set(**FORM)


@browser
@pytest.mark.parametrize("cell", CELLS)
def test_numbers_in_the_page_are_those_of_cpython(page: Playground, cell: str) -> None:
    for changed in (
        {"scale": "1.4", "steps": "9"},
        {"size": "7", "inputs": "leave Taipei on Monday", "loss": "every", "clip": "0.5"},
    ):
        shown = page.set(**FORM | {"cell": cell} | changed).shown
        form = HERE["DEFAULTS"] | {"cell": cell} | changed
        expected = HERE["show"](form)
        assert shown["python"] == expected["python"]
        assert shown["said"] == expected["said"]
        there = page.tab.evaluate("(form) => ask('gradients', form)", form)
        here = HERE["gradients"](form)
        assert there.keys() == here.keys() >= {"loss", "W_xh", "b"}
        for name, expected_numbers in here.items():
            np.testing.assert_allclose(there[name], expected_numbers, rtol=1e-12, atol=1e-15)
        print(f"{cell}: drawn in {shown['time']} ms")


@browser
@pytest.mark.parametrize(
    ("name", "value", "given"),
    [
        ("cell", "gru", {}),
        ("nonlinearity", "relu", {"cell": "elman"}),
        ("nonlinearity", "identity", {"cell": "jordan"}),
        ("steps", "30", {}),
        ("size", "9", {}),
        ("scale", "1.01", {}),
        ("scale", "0", {"cell": "elman"}),
        ("forget_bias", "1.5", {"cell": "peephole"}),
        ("inputs", "1 0 -0.5", {}),
        ("inputs", "from here to there", {}),
        ("loss", "every", {}),
        ("clip", "0.001", {}),
        ("level", "op", {}),
        ("level", "cell", {}),
        ("show", "forward", {}),
    ],
)
def test_every_control_changes_the_picture(
    page: Playground, name: str, value: str, given: dict[str, str]
) -> None:
    before = page.set(**given).shown
    after = page.set(**{name: value}).shown
    assert "error" not in after
    assert after["svg"] != before["svg"]
    assert after["svg"].count("<g ") == page.tab.locator("#picture svg g").count()
    assert name not in after["unused"]


@browser
def test_what_one_step_cannot_show_is_said(page: Playground) -> None:
    page.set(steps="1")
    said = "no weight is used by several time steps"
    page.tab.wait_for_selector(f"#contributions:has-text('{said}')")


@browser
def test_an_unused_control_says_so_and_bad_input_is_answered(page: Playground) -> None:
    assert page.tab.locator("label.unused").all_inner_texts()[0].startswith("Nonlinearity")
    page.set(clip="much")
    assert page.said == "'much' was given as the clip threshold; give a number above 0"
    page.set(clip="", cell="elman", nonlinearity="relu", inputs="1e200")
    assert page.said.startswith("first non-finite gradient: W_hh")
    assert page.tab.locator("#status.wrong").count() == 0


@pytest.mark.parametrize("lesson", list(COURSE["LIVE"]))
def test_every_lesson_has_a_setting_that_can_be_drawn(lesson: str) -> None:
    assert (ROOT / "examples" / f"{lesson}.py").exists()
    setting = dict(parse_qsl(COURSE["LIVE"][lesson], strict_parsing=True))
    assert set(setting) <= set(HERE["DEFAULTS"])
    if setting.get("cell") != "own":
        assert "error" not in HERE["show"](HERE["DEFAULTS"] | setting)


@browser
def test_a_link_reproduces_the_view(page: Playground, chromium: Any, address: str) -> None:
    page.set(cell="elman", scale="1.01", steps="40", inputs="1", level="cell", loss="every")
    shown, fragment = page.shown, page.tab.evaluate("location.hash.slice(1)")
    assert fragment == "cell=elman&steps=40&scale=1.01&inputs=1&loss=every&level=cell"
    other = Playground(new_tab(chromium, address)).open(fragment)
    assert other.shown["svg"] == shown["svg"]
    other.tab.close()


@browser
def test_a_broken_link_shows_what_it_can(chromium: Any, address: str) -> None:
    page = Playground(new_tab(chromium, address)).open("cell=none&steps=many&level=op&run=1")
    assert page.said.startswith("going back")
    assert 'level="op"' in page.shown["python"]
    assert page.tab.complaints == []
    page.tab.close()


@browser
def test_keys_move_a_slider_and_buttons_hand_out_what_is_shown(page: Playground) -> None:
    page.tab.focus("[name=scale]")
    page.tab.keyboard.press("ArrowRight")
    page.set()
    assert "W_hh.data * 1.01" in page.shown["python"]
    page.tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    copied = []
    for button in ("#python", "#link"):
        page.tab.click(button)
        page.tab.wait_for_selector("#status:has-text('copied')")
        copied.append(page.tab.evaluate("navigator.clipboard.readText()"))
        page.tab.evaluate("document.getElementById('status').textContent = ''")
    assert copied == [page.shown["python"], page.tab.url]
    with page.tab.expect_download() as waiting:
        page.tab.click("#save")
    assert Path(waiting.value.path()).read_text("utf-8") == page.shown["svg"]


WRONG = """
import numpy as np
import tinygrad_rnn as tr
from tinygrad_rnn import nn

bad = tr.primitive("squash", np.tanh, lambda g, y, x: g * (1.0 - y))

class Mine(nn.ElmanCell):
    def __call__(self, x, h):
        h = bad(x @ self.W_xh + h @ self.W_hh + self.b)
        return h, h
"""


@browser
def test_an_own_cell_is_drawn_and_a_wrong_one_names_operation_and_step(page: Playground) -> None:
    page.set(cell="own")
    assert "MyCell(2, 4)" in page.shown["python"]
    assert page.said.startswith("going back 4 steps")
    page.tab.click("#check")
    page.tab.wait_for_selector("#report:has-text('gradcheck passed')")
    page.set(code=WRONG)
    page.tab.click("#check")
    page.tab.wait_for_selector("#report:has-text('gradcheck FAILED')")
    report = page.tab.inner_text("#report")
    assert report.startswith("gradcheck FAILED")
    assert "squash" in report
    assert "t=0" in report
    page.set(code=WRONG.replace("self.b", "self.bias"))
    assert page.said.startswith("Line 10: AttributeError: ")
    page.set(code=WRONG.replace("def __call__(self", "def __call__(self, (x)"))
    assert page.said.startswith("Line 9: SyntaxError: ")
    page.set(code=WRONG.replace("h @ self.W_hh", "h @ self.W_xh"))
    assert page.said.startswith("Line 10: ")
    assert "matmul" in page.said
    assert "t=0" in page.said


@browser
def test_a_cell_that_does_not_end_can_be_stopped(chromium: Any, address: str) -> None:
    page = Playground(new_tab(chromium, address)).open()
    page.tab.select_option("[name=cell]", "own")
    page.tab.fill("[name=code]", "class Mine: pass\nwhile True: pass")
    page.tab.click("#stop", timeout=30_000)
    page.tab.wait_for_selector("#status:has-text('Press Run')", timeout=90_000)
    page.tab.fill("[name=code]", "from tinygrad_rnn.nn import GRUCell\nclass Mine(GRUCell): pass")
    page.tab.wait_for_selector("#status:has-text('going back')", timeout=90_000)
    page.tab.close()


@browser
def test_a_cell_of_ones_own_can_ask_no_other_host(
    chromium: Any, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Playground(new_tab(chromium, address)).open()
    elsewhere = address.replace("127.0.0.1", "localhost")
    asked: list[str] = []
    monkeypatch.setattr(Quiet, "do_GET", lambda self: asked.append(self.path))
    code = f"from pyodide.http import open_url\nopen_url('{elsewhere}')\nclass Mine: pass"
    page.set(cell="own", code=code)
    assert "NetworkError" in page.said
    assert asked == []
    page.tab.close()


@browser
@pytest.mark.parametrize("task", list(HERE["TASKS"]))
def test_a_training_shows_its_film_and_where_the_clip_fired(page: Playground, task: str) -> None:
    page.set(cell="elman", scale="1.5", clip="0.1", task=task)
    page.tab.click("#train")
    page.tab.wait_for_selector("#frame:not([max='0'], [max='1'])", timeout=60_000)
    page.tab.click("#train")
    page.tab.wait_for_selector("#train:has-text('Train')")
    frames = []
    for at in "012":
        page.tab.locator("#frame").fill(at)
        assert page.said.startswith(f"After {5 * int(at)} batches: going back")
        frames.append(page.tab.inner_html("#picture"))
    assert len(set(frames)) == 3
    assert page.tab.locator("#curve .clip").count() > 5
    page.set(scale="1.4")
    assert page.said.startswith("going back")


@pytest.mark.parametrize("task", list(HERE["TASKS"]))
def test_a_training_learns(task: str) -> None:
    form = HERE["DEFAULTS"] | {"cell": "gru", "task": task, "steps": "4", "size": "8"}
    curves = (answer["curve"] for answer in HERE["training"](form))
    losses = (float(re.search(r"loss (\S+) after", curve)[1]) for curve in curves)
    first = next(losses)
    assert any(loss < first / 4 for loss in losses)


@browser
def test_code_that_came_with_a_link_waits_for_a_press(chromium: Any, address: str) -> None:
    code = "import js; js.document.title = 'run'; class A: pass"
    page = Playground(new_tab(chromium, address)).open(f"cell=own&code={code}")
    assert page.said.startswith("Press Run")
    assert page.tab.title() != "run"
    page.tab.click("#run")
    page.tab.wait_for_selector(".wrong")  # there is no document where Python runs
    assert page.tab.title() != "run"
    page.tab.close()


@browser
def test_without_webassembly_there_is_a_sentence_and_a_still_picture(
    chromium: Any, address: str
) -> None:
    tab = new_tab(chromium, address)
    tab.add_init_script("delete globalThis.WebAssembly")
    tab.goto(address)
    tab.wait_for_load_state("networkidle")
    assert "needs JavaScript and WebAssembly" in tab.inner_text("#status")
    assert tab.evaluate("document.querySelector('#picture img').naturalWidth") > 0
    assert tab.complaints == []
    tab.close()


@browser
@pytest.mark.parametrize("size", [(390, 844), (1440, 900)], ids=["phone", "laptop"])
def test_nothing_is_wider_than_the_window(page: Playground, size: tuple[int, int]) -> None:
    page.tab.set_viewport_size({"width": size[0], "height": size[1]})
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= size[0]
    page.tab.set_viewport_size({"width": 1440, "height": 900})


def test_the_terms_of_all_that_is_passed_on_are_in_the_folder(address: str) -> None:
    terms = (BUILT / "licences.txt").read_text("utf-8")
    for words in ("MPL-2.0", "Apache License", "NumPy Developers", "Permission is hereby granted"):
        assert words in terms


def test_an_archive_that_is_not_the_pinned_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = runpy.run_path(str(ROOT / "docs" / "make_playground.py"))["fetch"]
    monkeypatch.setitem(fetch.__globals__, "CACHE", tmp_path)
    (tmp_path / "some-package-1.0.tgz").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"some-package-1\.0\.tgz has the SHA-512"):
        fetch("@some/package", "1.0", "pinned")
    assert not list(tmp_path.iterdir())
