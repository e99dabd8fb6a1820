"""Write the course at a glance: ``python docs/thumbnails.py``, after the site has been built.

``examples/README.md`` lists the lessons, ``examples/thumbnails/`` has a picture of each, taken from
its page by headless Chromium (needs playwright and Pillow).
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

from make_course import LESSONS, course_page
from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
SITE = ROOT / "docs" / "_build" / "html" / "course"
EXAMPLES = ROOT / "examples"
SIZE = (300, 180)
COLOURS = 64  # a palette keeps a thumbnail at a few kilobytes

# Which of a lesson's pictures, counted from 0; the first one where nothing is said.
PICTURE = {"06_lstm_in_full": 1, "16_attention": 2, "21_xlstm": 2, "24_parallel_in_time": 1}


def main() -> None:
    """Write the page and the thumbnails."""
    folder = EXAMPLES / "thumbnails"
    folder.mkdir(exist_ok=True)
    with sync_playwright() as running:
        browser = running.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1600, "height": 1000}, color_scheme="light")
        for lesson in sorted(EXAMPLES.glob(LESSONS)):
            page.goto((SITE / f"{lesson.stem}.html").as_uri())
            pictures = page.locator(".cell_output :is(div > svg, img)")
            if not pictures.count():  # a lesson whose outcome is a text
                pictures = page.locator(".cell_output")
            picture = pictures.nth(PICTURE.get(lesson.stem, 0))
            image = Image.open(io.BytesIO(picture.screenshot(animations="disabled")))
            image = _fitted(image.convert("RGB"))
            image.quantize(COLOURS).save(folder / f"{lesson.stem}.png", optimize=True)
            print(folder / f"{lesson.stem}.png")
        browser.close()
    (EXAMPLES / "README.md").write_text(course_page(EXAMPLES), encoding="utf-8")


def _fitted(image: Image.Image) -> Image.Image:
    """As much as fits of a wide picture, from the left; the whole of another."""
    wide, high = image.size
    if wide > 2.5 * high:
        image = image.crop((0, 0, high * SIZE[0] // SIZE[1], high))
    image.thumbnail((2 * SIZE[0], 2 * SIZE[1]))
    sheet = Image.new("RGB", (2 * SIZE[0], 2 * SIZE[1]), "white")
    sheet.paste(image, ((sheet.width - image.width) // 2, (sheet.height - image.height) // 2))
    return sheet.resize(SIZE, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
