"""The scale and the colours: readable text, even steps, safe for colour-blind eyes."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
import viz
from viz.scale import fit, form, number
from viz.style import THEMES, contrast, ink

SAMPLES = [i / 255 for i in range(256)]


@pytest.mark.parametrize("name", THEMES)
def test_text_on_every_fill_is_readable(name: str) -> None:
    theme = THEMES[name]
    fills = [theme.colour(u) for u in SAMPLES] + [theme.bad]
    assert min(contrast(fill, ink(fill)) for fill in fills) >= 4.5  # WCAG AA
    assert min(contrast(theme.stroke(u), theme.page) for u in SAMPLES) >= 1.65
    assert min(contrast(c, theme.page) for c in (theme.text, theme.muted)) >= 4.5
    assert contrast(theme.bad, theme.page) >= 3.0


def oklab(colour: str, sight: np.ndarray) -> np.ndarray:
    """A colour as somebody with this sight sees it, in OKLab (Ottosson 2020)."""
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(sight @ linear, 0, 1)
    to_lms = np.array([
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ])  # fmt: skip
    to_lab = np.array([
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ])  # fmt: skip
    return to_lab @ np.cbrt(to_lms @ linear)


# Full dichromacy in linear RGB (Machado, Oliveira and Fernandes 2009).
SIGHTS = {
    "usual": np.eye(3),
    "protan": np.array([
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]),
    "deutan": np.array([
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]),
    "tritan": np.array([
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ]),
}  # fmt: skip


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("name", THEMES)
def test_ramp_is_ordered_and_apart_from_the_warning_colour(name: str, sight: str) -> None:
    theme = THEMES[name]
    seen = np.array([oklab(theme.colour(u), SIGHTS[sight]) for u in SAMPLES])
    lightness = np.diff(seen[:, 0]) * (-1 if name == "light" else 1)
    assert lightness.min() > -0.002  # up to the rounding of a colour to 8 bits
    bad = oklab(theme.bad, SIGHTS[sight])
    assert np.linalg.norm(seen - bad, axis=1).min() >= 0.15
    if sight == "usual":
        steps = np.linalg.norm(np.diff(seen[::17], axis=0), axis=1)
        assert steps.max() / steps.min() < 1.6  # perceptually even


@given(st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=20))
def test_scale_holds_whole_decades(sizes: list[float]) -> None:
    scale = fit(sizes)
    assert scale.low == int(scale.low)
    assert scale.high == int(scale.high)
    assert 1 <= scale.high - scale.low <= 12
    assert 10.0 ** (scale.high - 1) <= max(sizes) * (1 + 1e-12)
    assert math.log10(max(sizes)) <= scale.high
    positions = [scale.position(size) for size in sorted(sizes)]
    assert positions == sorted(positions)
    assert all(0 <= p <= 1 for p in positions)
    assert scale.floored == (min(sizes) < 10.0**scale.low) or scale.low < -290


@given(st.floats(1e-300, 1e300))
def test_numbers_fit_into_a_node(size: float) -> None:
    text = number(size)
    assert len(text) <= 8
    read = float(text.replace("−", "-"))
    assert read == pytest.approx(size, rel=0.06)


def forms(picture: Any) -> dict[str, set[str]]:
    """How each form is written, from the DOT lines of the nodes."""
    found: dict[str, set[str]] = {}
    for node, line in itertools.product(picture.nodes, picture.dot.splitlines()):
        if line.startswith(f"\t{node.id} [") and node.kind in ("op", "state", "input"):
            style = line.split("style=")[1].split(" tooltip=")[0].strip('"')
            style += " twice" if "peripheries=2" in line else ""
            found.setdefault(form(node.value), set()).add(style)
    return found


def test_zero_none_infinite_and_nan_differ_in_form() -> None:
    x = tr.Tensor(np.array([0.0, 1.0]), requires_grad=True)
    blow = tr.primitive("blow", lambda a: a * 1.0, lambda g, y, a: g * np.inf)
    zero = tr.primitive("zero", lambda a: a * 1.0, lambda g, y, a: g * 0.0)
    with np.errstate(all="ignore"), tr.step(0):
        y = tr.tanh(blow(tr.exp(x) * np.ones(2)))
        picture = viz.draw((zero(blow(x * 2.0)) + y * np.array([1.0, 2.0])).sum(), level="op")
    found = forms(picture)
    assert set(found) == {"finite", "zero", "none", "infinite", "nan"}
    drawn = [frozenset(styles) for styles in found.values()]
    assert all("dashed" in s for s in found["zero"])
    assert all("dotted" in s for s in found["none"])
    assert all("twice" in s for s in found["infinite"] | found["nan"])
    assert len(drawn) >= 4
    dot = {line.strip().split(" [")[0]: line for line in picture.dot.splitlines()}
    infinite = next(n.id for n in picture.nodes if form(n.value) == "infinite" and n.kind == "op")
    nan = next(n.id for n in picture.nodes if form(n.value) == "nan" and n.kind == "op")
    page, bad = THEMES["light"].page, THEMES["light"].bad
    assert f'fillcolor="{page}"' in dot[infinite]  # hollow
    assert f'fillcolor="{bad}"' in dot[nan]  # solid


def test_the_first_bad_gradient_is_called_out() -> None:
    """The first in the order of the traversal, which is the last in time."""
    h = tr.Tensor(np.full((1, 1), 0.5), requires_grad=True)
    w = tr.Tensor(np.ones((1, 1)), requires_grad=True, name="w")
    blow = tr.primitive("blow", lambda a: a * 1.0, lambda g, y, a: g * np.inf)
    for t in range(4):
        with tr.step(t):
            h = tr.tanh((blow(h) if t == 2 else h) @ w)
    with np.errstate(all="ignore"):
        picture = viz.draw((h * 2.0).sum())
    (callout,) = [node for node in picture.nodes if node.kind == "callout"]
    assert callout.label == "first non-finite gradient: h₁"  # what blow, at step 2, has read
    assert picture.description.startswith("first non-finite gradient: h₁.")


def test_a_shared_scale_gives_equal_sizes_equal_colours() -> None:
    x = tr.Tensor(np.array([3.0]), requires_grad=True, name="x")
    small, large = (x * 1e-3).sum(), (x * 1e3 + x).sum()
    own = {viz.draw(loss).scale for loss in (small, large)}
    shared = {viz.draw(loss, vmin=1e-4, vmax=1e4).scale for loss in (small, large)}
    assert len(own) == 2
    assert len(shared) == 1


def test_metrics() -> None:
    x = tr.Tensor(np.ones(4), requires_grad=True, name="x")
    loss = (x * np.array([1.0, 2.0, 2.0, 4.0])).sum()
    for metric, wanted in (("norm", 5.0), ("rms", 2.5), ("max", 4.0)):
        (node,) = [n for n in viz.draw(loss, metric=metric).nodes if n.label == "x"]  # type: ignore[arg-type]
        assert node.value == wanted
    (node,) = [n for n in viz.draw(loss, show="forward").nodes if n.label == "x"]
    assert node.value == 2.0  # the norm of four ones
