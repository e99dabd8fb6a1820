"""Pictures in a real browser: text that can be read, nothing cut off, in both themes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nets
import pytest

import viz
from tinygrad_rnn import nn

NETS = {
    "lstm": lambda: nets.every_loss(nn.LSTMCell(3, 4, rng=0), nets.inputs(5))[0],
    "gru": lambda: nets.every_loss(nn.GRUCell(3, 4, rng=0), nets.inputs(4))[0],
    "peephole": lambda: nets.simple("peephole", 4)[0],
    "elman": lambda: nets.simple("elman", 3)[0],
    "jordan": lambda: nets.simple("jordan", 5)[0],
    "bidirectional": lambda: nets.bidirectional(3)[0],
    "stacked": lambda: nets.stacked(3)[0],
    "encoder, decoder": lambda: nets.encoder_decoder(3)[0],
    "truncated": lambda: nets.truncated(2)[0],
    "folded": lambda: nets.simple("lstm", 100)[0],
}
MEASURE = """() => {
  const svg = document.querySelector("svg"), page = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll("text")];
  const scale = svg.getScreenCTM().a;
  const cut = [...svg.querySelectorAll("text, path, polygon")].filter((e) => {
    const r = e.getBoundingClientRect();
    return r.left < page.left - 1 || r.right > page.right + 1
      || r.top < page.top - 1 || r.bottom > page.bottom + 1;
  });
  const sizes = texts.map((t) => parseFloat(t.getAttribute("font-size") || "10") * scale);
  return { width: page.width, wide: document.documentElement.scrollWidth,
    smallest: Math.min(...sizes), cut: cut.map((e) => e.textContent || e.tagName) };
}"""


@pytest.mark.browser
@pytest.mark.parametrize("name", NETS)
def test_a_picture_fits_its_window(name: str, chromium: Any, tmp_path: Path) -> None:
    theme = ("light", "dark")[len(name) % 2]
    picture = viz.draw(NETS[name](), theme=theme)  # type: ignore[arg-type]
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><meta charset='utf-8'><body style='margin:0'>{picture.svg}")
    for width in (1440, 390):
        window = chromium.new_page(viewport={"width": width, "height": 900})
        window.goto(page.as_uri())
        found = window.evaluate(MEASURE)
        window.close()
        assert found["wide"] <= width
        assert found["cut"] == []
        assert found["smallest"] >= 11 or width < 1440
