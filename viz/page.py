"""A page that runs through frames of one picture: the player's events, or a film's traces.

What lives here: a frame (what changes and what is said of it), and `Player`, which shows the frames
as one page with a small script, as pictures for slides, or as an animation. What the frames are is
decided in player.py and film.py; what the picture looks like, in draw.py.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from importlib.resources import files
from operator import sub
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tinygrad_rnn.train import replace_file

from . import render
from .dot import clean, xml_text
from .model import Edge, Node, Text
from .picture import Picture
from .scale import form
from .style import THEMES, ink

__all__ = ["Frame", "Look", "Player"]

_LEVELS = 255  # a page knows so many steps of the ramp
_GIF_WIDTH = 1200  # pixels, at most


class Look(NamedTuple):
    """How something stands from a frame on: unseen, as a value, with a size, or as it is drawn."""

    mode: Literal["off", "plain", "sized", "moved", "drawn"] = "drawn"
    value: float | None = None
    text: str = ""
    move: str = ""  # a CSS transform


@dataclass(slots=True)
class Frame:
    """One frame: the looks that change, by the id of a node, an edge or a text.

    Attributes
    ----------
    said, named
        A sentence, and the ids of what it speaks of.
    unit : str
        The step to which it belongs; a key press shows the last frame of the next unit, with
        `summary` in place of what is said.
    """

    looks: dict[str, Look]
    said: str
    named: Sequence[str] = ()
    rule: str = ""
    unit: str = ""
    summary: tuple[str, Sequence[str]] = ("", ())


@dataclass(repr=False)
class Player:
    """Frames of one picture, to be shown in a notebook, saved, or put on slides.

    Made by `viz.player` and `viz.film`.

    Attributes
    ----------
    picture : Picture
        The finished one; of a film, the first.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> import viz
    >>> x = tr.Tensor([1.0, 2.0], requires_grad=True)
    >>> walk = viz.player((x * x).sum())
    >>> walk.page.startswith("<!doctype html>")
    True
    """

    picture: Picture
    _frames: Sequence[Frame]
    _speed: int
    _drawn: Sequence[Picture] = ()  # of a film; else frames are drawn from their looks

    @cached_property
    def page(self) -> str:
        """The page: one self-contained file, without a network; the finished picture by itself."""
        svg, rules = self.picture.themed()
        opening, rest = svg.split(">", 1)
        svg = re.sub(r' (?:width|style)="[^"]*"', "", opening) + ">" + rest
        prefix = re.findall(r'id="(p[0-9a-f]+_)picture"', svg)[0]
        levels: set[int] = set()
        names = dict.fromkeys(name for f in self._frames for name in (*f.looks, *f.named))
        places = {name: i for i, name in enumerate(names)}
        data = {
            "prefix": prefix,
            "ids": list(places),
            "frames": [_frame(f, self.picture, places, levels) for f in self._frames],
            "units": [[k, frame.unit] for k, frame in self._stops()],
            "rails": [rail.node for rail in self.picture.rails if rail.segments],
            "speed": self._speed,
            "film": bool(self._drawn),
        }
        # The data are in the page as text that no browser mistakes for markup.
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        for sign in "<>&\u2028\u2029":
            text = text.replace(sign, f"\\u{ord(sign):04x}")
        page, style, script = (
            files("viz").joinpath(f"player.{kind}").read_text("utf-8")
            for kind in ("html", "css", "js")
        )
        colours = {name: rules[name] + _colours(name, sorted(levels)) for name in rules}
        style = style.replace("/* light */", colours["light"])
        style = style.replace("/* dark */", colours["dark"])
        parts = {
            "policy": f"style-src {_hash(style)}; script-src {_hash(script)}",
            "title": xml_text(self.picture.title),
            "description": xml_text(self.picture.description),
            "style": style, "script": script, "data": text, "svg": svg,
        }  # fmt: skip
        return re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m[1]], page)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page (``.html``) or an animation, one picture a step (``.gif``, by Pillow).

        Raises
        ------
        ValueError
            For another suffix.
        FileNotFoundError
            If the directory does not exist.
        ImportError
            If Pillow is not installed; the extra ``plot`` includes it.
        """
        target = render.check(path, ("html", "gif"))
        gif = target.suffix.lower() == ".gif"
        replace_file(target, self._animation() if gif else self.page.encode())

    def frames(
        self,
        folder: str | os.PathLike[str],
        format: Literal["svg", "png", "pdf"] = "png",
        each: Literal["step", "event"] = "step",
    ) -> list[Path]:
        """Write a picture for each step, or each event, such as for slides; return their paths.

        Raises
        ------
        ValueError
            For another format.
        FileNotFoundError
            If the folder does not exist.
        """
        every = range(len(self._frames))
        wanted = list(every) if each == "event" else [k for k, _ in self._stops()]
        digits = len(str(len(wanted)))
        paths = [Path(folder) / f"{n:0{digits}}.{format}" for n in range(len(wanted))]
        for path in paths[:1]:
            render.check(path, ("svg", "png", "pdf"))
        for k, path in zip(wanted, paths, strict=True):
            self._subtitled(k, each == "step").save(path)
        return paths

    def _stops(self) -> list[tuple[int, Frame]]:
        """The frames that end a unit."""
        pairs = zip(self._frames, [*self._frames[1:], Frame({}, "")], strict=True)
        ends = (not one.unit or one.unit != following.unit for one, following in pairs)
        return [(k, self._frames[k]) for k, end in enumerate(ends) if end]

    def _at(self, k: int) -> Picture:
        """The picture as it stands after frame k."""
        looks: dict[str, Look] = {}
        for frame in self._frames[: k + 1]:
            looks |= frame.looks
        whole, drawn = self.picture, Look()
        texts = [f"text{i}" for i, _ in enumerate(whole.texts)]
        return replace(
            whole,
            nodes=[_node_as(node, looks.get(node.id, drawn)) for node in whole.nodes],
            edges=[e for edge in whole.edges for e in _edge_as(edge, looks.get(edge.id, drawn))],
            texts=[
                replace(text, text="") if looks.get(name, drawn).mode == "off" else text
                for name, text in zip(texts, whole.texts, strict=True)
            ],
        )

    def _subtitled(self, k: int, summary: bool) -> Picture:
        """The picture of a frame with its sentence, on the same canvas for every frame."""
        x0, y0, x1, y1 = self.picture.bounds()
        picture = replace(self._drawn[k] if self._drawn else self._at(k))
        frame = self._frames[k]
        said = (summary and frame.summary[0]) or frame.said
        lines = textwrap.wrap(said, max(40, int((x1 - x0) / 8)))[:2]
        ends = ((x0, y0 - 44), (x1, y1))
        corners = [Node(f"corner{i}", kind="joint", x=x, y=y) for i, (x, y) in enumerate(ends)]
        picture.nodes = [*picture.nodes, *corners]
        line = Text("\n".join([*lines, " "][:2]), x0 + 4, y0 - 26, 12, "text", "left")
        picture.texts = [*picture.texts, line]
        return picture

    def _animation(self) -> bytes:
        try:
            from PIL import Image
        except ImportError:
            raise ImportError(
                "an animation needs Pillow: pip install pillow, or the extra 'plot'"
            ) from None
        images: list[Any] = []
        for k, _ in self._stops():
            png = render.render(self._subtitled(k, True).dot, "png")
            image = Image.open(io.BytesIO(png)).convert("RGB")
            image.thumbnail((_GIF_WIDTH, image.height), Image.Resampling.LANCZOS)
            images.append(image)
        # The theme's colours, the ramp's, and the most frequent blends; none that is almost the
        # page, for Pillow looks up the page's own in steps of four.
        theme, counts = self.picture.theme, sorted(images[-1].getcolors(1 << 24), reverse=True)
        named = [*astuple(theme), *(theme.colour(k / 159) for k in range(160))]
        content = b"".join(bytes.fromhex(c[1:]) for c in named if len(c) == 7)
        blends = [bytes(c) for _, c in counts if max(map(abs, map(sub, c, content[:3]))) > 8]
        content += b"".join(blends[:80])
        palette = Image.new("P", (1, 1))
        palette.putpalette(content)
        pages = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
        file = io.BytesIO()
        each = 300 if self._drawn else 1500  # milliseconds
        times = [each] * (len(pages) - 1) + [4000]
        pages[0].save(file, "GIF", save_all=True, append_images=pages[1:], duration=times, loop=0)
        return file.getvalue()

    def _repr_html_(self) -> str:
        page = html.escape(self.page)
        style = "width:100%;height:min(720px,90vh);border:0"
        title = xml_text(self.picture.title)
        frame = f'<iframe sandbox="allow-scripts" style="{style}" title="{title}"'
        return f'{frame} srcdoc="{page}"></iframe>'

    def __repr__(self) -> str:
        return f"<player {self.picture.title!r}: {len(self._frames)} frames>"


def _node_as(node: Node, look: Look) -> Node:
    if look.mode == "off":
        return replace(node, kind="joint")
    if look.mode == "plain":
        text = look.text.removeprefix(f"{clean(node.label)}   ")  # that of a weight is all it says
        return replace(node, value=None, text=text)
    return node if look.mode == "drawn" else replace(node, value=look.value, text="")


def _edge_as(edge: Edge, look: Look) -> list[Edge]:
    plain = replace(edge, kind="data", value=None)
    return {"off": [], "plain": [plain]}.get(look.mode, [edge])


def _frame(
    frame: Frame, picture: Picture, places: dict[str, int], levels: set[int]
) -> dict[str, Any]:
    """A frame as the script reads it: what it changes, says, and speaks of."""
    changes: list[list[Any]] = []
    for name, look in frame.looks.items():
        shown: Any = look.mode
        if look.mode == "sized":
            shown = form(look.value)
            if look.value is not None and shown == "finite":
                shown = round(picture.scale.position(abs(look.value)) * _LEVELS)
                levels.add(shown)
        change = [places[name], shown, look.text, look.move]
        while change[-1] == "":
            change.pop()
        changes.append(change)
    found: dict[str, Any] = {"c": changes, "s": frame.said, "r": frame.rule, "S": frame.summary[0]}
    for key, named in (("a", frame.named), ("A", frame.summary[1])):
        found[key] = [places[name] for name in dict.fromkeys(named) if name in places]
    return {key: value for key, value in found.items() if value or key == "c"}


def _colours(theme: str, levels: Sequence[int]) -> str:
    """The fill, the ink and the line of each level as CSS variables."""
    one, parts = THEMES[theme], []
    for level in levels:
        fill = one.colour(level / _LEVELS)
        parts.append(f"--f{level}:{fill};--i{level}:{ink(fill)};--s{level}:")
        parts.append(f"{one.stroke(level / _LEVELS)};")
    return "".join(parts)


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
