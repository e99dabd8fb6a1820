"""The site that was built holds together: no dead link, no picture missing, no page too wide.

Most is skipped unless it has been built, as docs/conf.py says how.
"""

from __future__ import annotations

import re
import runpy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
SITE = ROOT / "docs" / "_build" / "html"
LESSONS = sorted(path.stem for path in (ROOT / "examples").glob("[0-9][0-9]_*.py"))

built = pytest.mark.skipif(not (SITE / "index.html").exists(), reason="the site has not been built")


def test_the_list_of_lessons_is_up_to_date_and_small() -> None:
    folder = ROOT / "examples"
    page = runpy.run_path(str(ROOT / "docs" / "make_course.py"))["course_page"](folder)
    committed = (folder / "README.md").read_text(encoding="utf-8")
    assert committed == page, "build the site and run: python docs/thumbnails.py"
    thumbnails = {path.stem: path.stat().st_size for path in folder.glob("thumbnails/*")}
    assert sorted(thumbnails) == LESSONS
    assert sum(thumbnails.values()) < 400_000


class Page(HTMLParser):
    """The links of a page, and what can be linked to in it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors = {""}
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.anchors |= {value for name in ("id", "name") if (value := found.get(name))}
        self.links += [value for name in ("href", "src") if (value := found.get(name))]


def pages() -> dict[Path, Page]:
    files = (file for file in SITE.rglob("*.html") if "_static" not in file.parts)
    return {file.resolve(): Page(file) for file in files}


@built
def test_every_link_inside_the_site_leads_somewhere() -> None:
    found, dead = pages(), []
    for file, page in found.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            path = unquote(parts.path)
            target = (file.parent / path).resolve() if path else file
            if target.parent.name == "playground":
                parts = parts._replace(fragment="")  # settings, not anchors
            anchors = found[target].anchors if target in found else {parts.fragment}
            if not target.exists() or unquote(parts.fragment) not in anchors:
                dead.append(f"{file.relative_to(SITE.resolve())}: {link}")
    assert len(found) > 15
    assert not dead


@built
def test_nothing_is_fetched_from_elsewhere() -> None:
    tags = ('src="http', "src='http", 'rel="stylesheet" href="http', "url(http")
    for file in SITE.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert not [tag for tag in tags if tag in text], file


@built
def test_every_lesson_is_a_page_with_what_it_printed_or_drew() -> None:
    contents = (SITE / "course" / "index.html").read_text(encoding="utf-8")
    for lesson in LESSONS:
        assert f'href="{lesson}.html"' in contents
        page = (SITE / "course" / f"{lesson}.html").read_text(encoding="utf-8")
        assert "cell_output" in page
        assert "&lt;Figure" not in page, "a figure is named instead of shown"
        assert f'href="../notebooks/{lesson}.ipynb"' in page


@built
@pytest.mark.parametrize("lesson", LESSONS)
def test_a_notebook_is_valid_and_is_the_lesson_with_its_answers(lesson: str) -> None:
    nbformat, jupytext = pytest.importorskip("nbformat"), pytest.importorskip("jupytext")
    found = nbformat.read(SITE / "notebooks" / f"{lesson}.ipynb", as_version=4)
    nbformat.validate(found)
    code = [cell.source for cell in found.cells if cell.cell_type == "code"]
    program = jupytext.read(ROOT / "examples" / f"{lesson}.py")
    assert code == [
        "%matplotlib inline",
        *(cell.source for cell in program.cells if cell.cell_type == "code"),
    ]
    answers = jupytext.read(ROOT / "examples" / "solutions" / f"{lesson}.py")
    text = "\n".join(cell.source for cell in found.cells if cell.cell_type == "markdown")
    assert all(cell.source in text for cell in answers.cells if cell.cell_type == "code")
    assert "../" not in re.sub(r"\]\([^)]*\)", "", text)  # no link into the site


LOOKED_AT = [
    *("index", "compared", "how-it-works", "guide-for-teachers"),
    *(
        "how-to/draw",
        "how-to/live",
        "how-to/check",
        "how-to/cell",
        "how-to/operation",
        "how-to/pytorch-model",
    ),
    *("reference/operations", "reference/nn", "course/index"),
    *(f"course/{lesson}" for lesson in LESSONS),
]


@built
@pytest.mark.browser
@pytest.mark.parametrize("page", LOOKED_AT)
@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (1280, "dark"), (375, "light")])
def test_a_page_fits_the_screen_and_shows_its_pictures(
    chromium: Any, page: str, width: int, theme: str
) -> None:
    said: list[str] = []
    fetched: list[str] = []
    tab = chromium.new_page(viewport={"width": width, "height": 800}, color_scheme=theme)
    tab.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: fetched.append(request.url))
    tab.goto((SITE / f"{page}.html").as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    pictures = "[...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.src)"
    assert tab.evaluate(pictures) == []
    assert tab.evaluate("document.documentElement.dataset.theme") == theme
    assert not said
    assert all(url.startswith(("file:", "data:")) for url in fetched)
    tab.close()
