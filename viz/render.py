"""DOT text to bytes, and bytes to files.

Graphviz comes with `pygraphviz`, whose wheels carry it; else the `dot` program is used. Either runs
in a process of its own, gets DOT on its standard input and never sees a file name. A file is
written whole or not at all.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

__all__ = ["FORMATS", "check", "check_png_size", "finish_svg", "render"]

FORMATS = ("svg", "png", "pdf", "dot")
DPI = 110  # of PNG, for screens
_LARGEST_PNG = 32_767  # pixels along one side; cairo shrinks what is larger without a word
_TIMEOUT = 120  # seconds for Graphviz

# In a process of its own, and left before its libraries clean up: there they have been seen to
# crash, which would take the notebook along.
_PYGRAPHVIZ = """
import os, sys
import pygraphviz
from pygraphviz import graphviz
graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode())
context = graphviz.gvContextWithBuiltins()
if graphviz.gvLayout(context, graph.handle, sys.argv[2].encode()):
    sys.exit("it could not lay the graph out")
failed, content = graphviz.gvRenderData(context, graph.handle, sys.argv[1].encode())
if failed:
    sys.exit("it could not render the graph")
sys.stdout.buffer.write(content)
sys.stdout.buffer.flush()
os._exit(0)
"""


def render(dot: str, kind: str, engine: str = "nop2") -> bytes:
    """What Graphviz makes of `dot`.

    Parameters
    ----------
    dot : str
        Our own DOT text.
    kind : str
        ``"svg"``, ``"png"``, ``"pdf"`` or ``"plain"``.
    engine : {"nop2", "dot"}
        Draw at the positions given, or place the nodes first.

    Raises
    ------
    RuntimeError
        If there is no Graphviz, or it fails.
    """
    if _has_pygraphviz():
        command = [sys.executable, "-c", _PYGRAPHVIZ, kind, engine]
    else:
        command = [_program(), f"-K{engine}", f"-T{kind}"]
    try:
        done = subprocess.run(
            command, input=dot.encode(), capture_output=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"Graphviz did not finish within {_TIMEOUT} seconds") from None
    if done.returncode:
        raise RuntimeError(f"Graphviz failed: {_last_line(done.stderr.decode(errors='replace'))}")
    return done.stdout


def _has_pygraphviz() -> bool:
    return find_spec("pygraphviz") is not None


def _program() -> str:
    program = shutil.which("dot")
    if program is None:
        raise RuntimeError(
            "no Graphviz was found: 'pip install pygraphviz' brings one for most machines; "
            "elsewhere install Graphviz itself (https://graphviz.org/download) so that 'dot' is on "
            "the PATH. A picture's DOT text can be saved without it: picture.save('x.dot')"
        )
    return program


def _last_line(text: str) -> str:  # those before it are warnings and tracebacks
    return next((line for line in text.splitlines()[::-1] if line.strip()), "it gave no reason")


def check(path: str | os.PathLike[str]) -> Path:
    """Raise now whatever would keep a picture from being saved under this name later.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    pathlib.Path
        The same path.

    Raises
    ------
    ValueError
        If the suffix is not one of ``.svg``, ``.png``, ``.pdf`` and ``.dot``.
    FileNotFoundError
        If the directory is not there.
    RuntimeError
        If there is no Graphviz, and it is needed.

    Examples
    --------
    >>> import viz
    >>> viz.check("net.dot").name
    'net.dot'
    >>> viz.check("net.jpeg")
    Traceback (most recent call last):
        ...
    ValueError: cannot draw to 'net.jpeg': its suffix must be one of .svg, .png, .pdf, .dot
    """
    target = Path(path)
    if target.suffix.lower().removeprefix(".") not in FORMATS:
        known = ", ".join(f".{kind}" for kind in FORMATS)
        raise ValueError(f"cannot draw to {str(path)!r}: its suffix must be one of {known}")
    if "\0" in str(target) or not target.parent.is_dir():
        raise FileNotFoundError(
            f"cannot write {target.name!r}: the directory {str(target.parent)!r} does not exist"
        )
    if target.suffix.lower() != ".dot" and not _has_pygraphviz():
        _program()
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
    """Graphviz's SVG without its header, with what a screen reader says. Texts are XML already."""
    start = svg.index("<svg ")
    opening, rest = svg[start:].split(">", 1)
    opening = re.sub(r"\s+", " ", opening)
    return (
        f'{opening} role="img" aria-label="{label}">\n<title>{label}</title>\n'
        f"<desc>{description}</desc>{rest}"
    )
