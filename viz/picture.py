"""A drawing that can show and save itself."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Any

import graphviz

from tinygrad_rnn.train import replace_file

from . import dot, render
from .model import Drawing
from .scale import number
from .style import THEMES

__all__ = ["Picture"]


class Picture(Drawing):
    """A drawing that shows itself in notebooks and saves itself as SVG, PNG, PDF or DOT.

    Made by `viz.draw` and its companions; `nodes` and `edges` hold the data behind it.

    Examples
    --------
    >>> import tinygrad_rnn as tr, viz
    >>> w = tr.Tensor(0.5, requires_grad=True, name="w")
    >>> picture = viz.draw(w * w, title="A square")
    >>> [node.label for node in picture.nodes if node.tensor is not None], len(picture.edges)
    (['w', 'w⊙w'], 2)
    >>> picture.svg.startswith("<svg ")
    True
    """

    @property
    def dot(self) -> str:
        """The DOT text; plain ``dot -Tsvg`` draws it exactly as it is shown."""
        return dot.write(self)

    @property
    def source(self) -> graphviz.Source:
        """The same text as a `graphviz.Source`, for further use."""
        return graphviz.Source(self.dot)

    @property
    def svg(self) -> str:
        """The SVG, to be put into a page as it is; it is as wide as its window."""
        drawn = render.render(self.dot, "svg").decode()
        return render.finish_svg(drawn, dot.xml_text(self.title), dot.xml_text(self.description))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture; the suffix sets the format: ``.svg``, ``.png``, ``.pdf`` or ``.dot``.

        Raises
        ------
        ValueError
            For another suffix, or a PNG of more than 32,767 pixels along one side.
        FileNotFoundError
            If the directory does not exist.
        RuntimeError
            If there is no Graphviz.
        """
        target = render.check(path)
        kind = target.suffix.lower().removeprefix(".")
        if kind == "dot":
            content = self.dot.encode()
        elif kind == "svg":
            content = self.svg.encode()
        else:
            x0, y0, x1, y1 = self.bounds()
            if kind == "png":
                render.check_png_size(x1 - x0, y1 - y0)
            content = render.render(self.dot, kind)
        replace_file(target, content)

    def themed(self) -> tuple[str, dict[str, str]]:
        """The SVG with CSS variables for colours, and for each theme the rule that sets them."""
        drawn = {name: replace(self, theme=theme).svg for name, theme in THEMES.items()}
        places = re.compile(r'(?<=fill="|roke=")(?!none|transparent)[^"]+')
        pairs = list(zip(*(places.findall(svg) for svg in drawn.values()), strict=True))
        names = {pair: f"var(--c{i})" for i, pair in enumerate(dict.fromkeys(pairs))}
        found = iter(pairs)
        svg = places.sub(lambda _: names[next(found)], drawn["light"])
        rules = {
            theme: "".join(f"--c{i}:{pair[k]};" for i, pair in enumerate(names))
            for k, theme in enumerate(drawn)
        }
        return svg, rules

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook or a page shows; there a light picture turns dark where the page does."""
        svg = shown = self.svg
        if self.theme is THEMES["light"]:
            shown, rules = self.themed()
            name = "#" + re.findall(r'id="(p[0-9a-f]+_picture)"', svg)[0]
            dark = ("[data-theme=dark]", "[data-jp-theme-light=false]", ".vscode-dark")
            where = ",".join(f"{page} {name}" for page in dark)
            style = f"{name}{{{rules['light']}}}{where}{{{rules['dark']}}}"
            shown = f"<style>{style}</style>{shown}"
        return {
            "image/svg+xml": svg,
            "text/html": f"<div>{shown}</div>",
            "text/plain": str(self),
        }

    def __str__(self) -> str:
        """A table for terminals: the nodes by step, with their sizes."""
        lines = [self.title or "picture", self.description]
        for node in self.nodes:
            if node.tensor is not None:
                place = "" if node.step is None else f"t = {node.step}"
                lines.append(f"{place:>8}  {node.label:<20} {number(node.value):>8}")
        return "\n".join(line for line in lines if line)

    def __repr__(self) -> str:
        return f"<picture {self.title!r}: {len(self.nodes)} nodes, {len(self.edges)} edges>"
