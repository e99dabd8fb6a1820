"""DOT text to bytes, and bytes to files.

Graphviz comes with `pygraphviz`, whose wheels carry it; else the `graphviz` package calls the `dot`
program. Either runs in a process of its own, gets DOT on its standard input and never sees a file
name. A file is written whole or not at all. Where there are no processes, as in a browser, whatever
draws DOT there is set as `run`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import graphviz

from tinygrad_rnn.train import check_replaceable

__all__ = ["FORMATS", "check", "check_png_size", "finish_svg", "render"]

FORMATS = ("svg", "png", "pdf", "dot")
DPI = 110  # of PNG, for screens
_LARGEST_PNG = 32_767  # pixels along one side; cairo shrinks larger images silently
_TIMEOUT = 120  # seconds for Graphviz

# In a process of its own, which exits before its libraries clean up: they have been seen to
# crash there, which would take the notebook down.
_PYGRAPHVIZ = """
import os, sys
import pygraphviz
from pygraphviz import graphviz
graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode())
context = graphviz.gvContextWithBuiltins()
engine = graph.graph_attr["layout"]
if graphviz.gvLayout(context, graph.handle, engine.encode()):
    sys.exit("it could not lay the graph out")
failed, content = graphviz.gvRenderData(context, graph.handle, sys.argv[1].encode())
if failed:
    sys.exit("it could not render the graph")
sys.stdout.buffer.write(content)
sys.stdout.buffer.flush()
os._exit(0)
"""


_HINT = (
    "'pip install pygraphviz' brings Graphviz for most machines; elsewhere install it from "
    "https://graphviz.org/download. A picture's DOT text needs none: picture.save('x.dot')"
)


def render(dot: str, kind: str) -> bytes:
    """The bytes that Graphviz makes of `dot`, whose text says whether it has to be laid out.

    Parameters
    ----------
    dot : str
        Our own DOT text.
    kind : str
        ``"svg"``, ``"png"``, ``"pdf"`` or ``"plain"``.

    Raises
    ------
    graphviz.ExecutableNotFound
        If there is no Graphviz; it is a RuntimeError.
    RuntimeError
        If Graphviz fails.
    """
    return run(dot, kind)


def _run(dot: str, kind: str) -> bytes:
    if not _has_pygraphviz():
        try:
            content: bytes = graphviz.pipe("dot", kind, dot.encode(), quiet=True)
        except subprocess.CalledProcessError as error:
            raise _failed(error.stderr) from None
        except graphviz.ExecutableNotFound as error:
            error.add_note(_HINT)
            raise
        return content
    command = [sys.executable, "-c", _PYGRAPHVIZ, kind]
    try:
        done = subprocess.run(
            command, input=dot.encode(), capture_output=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"Graphviz did not finish within {_TIMEOUT} seconds") from None
    if done.returncode:
        raise _failed(done.stderr)
    return done.stdout


run: Callable[[str, str], bytes] = _run


def _has_pygraphviz() -> bool:
    return find_spec("pygraphviz") is not None


def _failed(stderr: bytes) -> RuntimeError:  # the lines before are warnings and tracebacks
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    return RuntimeError(f"Graphviz failed: {lines[-1] if lines else 'it gave no reason'}")


def check(path: str | os.PathLike[str], kinds: Sequence[str] = FORMATS) -> Path:
    """Raise now any error that would prevent saving to this path later.

    Parameters
    ----------
    path : str or path
    kinds : sequence of str
        The suffixes it may have; those of a picture need Graphviz, ``.dot`` apart.

    Returns
    -------
    pathlib.Path
        The same path.

    Raises
    ------
    ValueError
        If the suffix is another one.
    FileNotFoundError
        If the directory does not exist.
    graphviz.ExecutableNotFound
        If there is no Graphviz, and it is needed.

    Examples
    --------
    >>> check("net.dot").name
    'net.dot'
    >>> check("net.jpeg")
    Traceback (most recent call last):
        ...
    ValueError: cannot save as 'net.jpeg': its suffix must be one of .svg, .png, .pdf, .dot
    """
    target = Path(path)
    kind = target.suffix.lower().removeprefix(".")
    if kind not in kinds:
        known = f"{'one of ' if len(kinds) > 1 else ''}{', '.join(f'.{kind}' for kind in kinds)}"
        raise ValueError(f"cannot save as {str(path)!r}: its suffix must be {known}")
    check_replaceable(target)
    if kinds is FORMATS and kind != "dot" and run is _run and not _has_pygraphviz():
        render("digraph {}", "svg")
    return target


def check_png_size(width: float, height: float) -> None:
    """Raise ValueError if a page of this size, in points, is too large for a PNG."""
    pixels = round(max(width, height) / 72 * DPI)
    if pixels > _LARGEST_PNG:
        raise ValueError(
            f"the picture would be {pixels} pixels long, and a PNG ends at {_LARGEST_PNG}; save "
            f"it as .svg or .pdf, or fold it: draw(..., fold='auto')"
        )


def finish_svg(svg: str, label: str, description: str) -> str:
    """Graphviz's SVG without its header: as wide as its window, and with what a screen reader says.

    It grows to one and a half times the size it was drawn for, so that small graphs stay small.
    Label and description are XML already.
    """
    opening, rest = svg[svg.index("<svg ") :].split(">", 1)
    width, height = (
        float(re.findall(rf'{side}="([\d.]+)pt"', opening)[0]) for side in ("width", "height")
    )
    opening = re.sub(r'\s+|width="[^"]*"|height="[^"]*"', " ", opening)
    # A tall picture in a window of its own is scrolled; others fit into the window's height too.
    style = f"max-width:{1.5 * width:.0f}pt{';height:auto' * (height > 0.8 * width)}"
    return (
        f'{re.sub(" +", " ", opening)} width="100%" style="{style}" '
        f'role="img" aria-label="{label}">\n<title>{label}</title>\n'
        f"<desc>{description}</desc>{rest}"
    )
