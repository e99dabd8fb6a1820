"""A drawing that can show and save itself."""

from __future__ import annotations

import os
from typing import Any

from tinygrad_rnn.train import replace_file

from . import dot, render
from .model import Drawing
from .scale import number

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
    def svg(self) -> str:
        """The SVG, to be put into a page as it is."""
        drawn = render.render(self.dot, "svg").decode()
        return render.finish_svg(drawn, dot.xml_text(self.title), dot.xml_text(self.description))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture; the suffix says as what: ``.svg``, ``.png``, ``.pdf`` or ``.dot``.

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

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        svg = self.svg
        return {
            "image/svg+xml": svg,
            "text/html": f'<div style="max-width:100%;overflow:auto">{svg}</div>',
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
