"""The command ``tinygrad-rnn``, for someone who only wants a picture, or a cell checked."""

from __future__ import annotations

import argparse
import inspect
import runpy
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.train import replace_file

from . import render
from .draw import draw
from .player import player

__all__ = ["main"]

_CELLS: dict[str, Callable[..., Any]] = {
    "lstm": nn.LSTMCell,
    "elman": nn.ElmanCell,
    "gru": nn.GRUCell,
    "jordan": lambda inputs, hidden, rng: nn.JordanCell(inputs, hidden, hidden, rng=rng),
    "peephole": nn.PeepholeLSTMCell,
}
# Options: the default, the least number or what there is to choose from, and the help.
_OPTIONS: dict[str, tuple[Any, Any, str]] = {
    "steps": (5, 1, "time steps"),
    "hidden": (8, 1, "hidden units of a cell"),
    "inputs": (3, 1, "features of each step's input"),
    "seed": (0, 0, "of the random weights and inputs"),
    "cell": ("lstm", _CELLS, "the recurrent cell"),
    "layers": (1, 1, "cells on top of each other"),
    "loss": ("last", ("last", "every"), "the steps that have a loss"),
    "level": ("auto", ("auto", "op", "scope", "cell"), "operations, gates, or states alone"),
    "theme": ("light", ("light", "dark"), "the page that it is for"),
    "show": ("gradient", ("gradient", "forward"), "sizes of gradients, or of values"),
}
_COMMANDS: dict[str, tuple[str, str | None, int]] = {  # how many of the options they have
    "draw": ("a picture: .svg, .png, .pdf or .dot", "net.svg", 10),
    "play": ("a page that walks backpropagation: .html", "walk.html", 8),
    "check": ("the gradients of your own cell, such as mycell.py:MyCell", None, 4),
}
_EXAMPLES = """examples:
  tinygrad-rnn draw --cell lstm --steps 5 --hidden 8 -o lstm.svg
  tinygrad-rnn draw --cell elman --steps 100 --theme dark -o vanishing.png
  tinygrad-rnn draw --cell gru --bidirectional --layers 2 --loss every -o gru.pdf
  tinygrad-rnn play --cell lstm --steps 4 -o walk.html
  tinygrad-rnn check mycell.py:MyCell
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 1 for a wrong gradient, 2 for what cannot be done."""
    options = _parser().parse_args(arguments)
    try:
        for name, value in vars(options).items():
            if isinstance(value, int) and value < _OPTIONS.get(name, (0, 0))[1]:
                raise ValueError(f"--{name} must be {_OPTIONS[name][1]} or more; {value} was given")
        return _check(options) if options.command == "check" else _show(options)
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        print(f"tinygrad-rnn: {error}", file=sys.stderr)
        return 2


def _show(options: argparse.Namespace) -> int:
    """Draw or play a random net over random inputs, with a loss at the last step or at each."""
    rng = np.random.default_rng(options.seed)
    ways, layers = 1 + options.bidirectional, []
    for width in [options.inputs, *[ways * options.hidden] * (options.layers - 1)]:
        cells = [_CELLS[options.cell](width, options.hidden, rng=rng) for _ in range(ways)]
        layers.append(nn.Bidirectional(*cells) if options.bidirectional else cells[0])
    net = nn.Stacked(*layers) if options.layers > 1 else layers[0]
    xs = rng.standard_normal((options.steps, 1, options.inputs))
    outputs, _ = nn.unroll(net, xs) if hasattr(net, "initial_state") else net(xs)
    head = nn.Linear(ways * options.hidden, 1, bias=False, rng=rng)
    losses = [nn.mse(head(h), [[1.0]]) for h in outputs[-1 if options.loss == "last" else 0 :]]
    loss = tr.stack(losses).sum() if len(losses) > 1 else losses[0]
    title = f"{options.cell} over {options.steps} steps" + ", both directions" * (ways == 2)
    more: Any = {"names": head, "title": title, "level": options.level}
    if options.command == "draw":
        draw(loss, options.output, theme=options.theme, show=options.show, **more)
    else:
        player(loss, options.output, **more)
    print(options.output)
    return 0


def _check(options: argparse.Namespace) -> int:
    """Check the gradients of a cell that somebody wrote, over two sequences."""
    target = render.check(options.output, ("html",)) if options.output else None
    file, _, name = options.cell.rpartition(":")
    if not Path(file).is_file():
        raise ValueError(
            f"{options.cell!r} was given; expected a file that exists and a cell in it, such as "
            f"mycell.py:MyCell"
        )
    sys.path.insert(0, str(Path(file).resolve().parent))  # for what it imports
    doing = file
    try:
        cell = runpy.run_path(file).get(name)
        if not hasattr(cell, "initial_state"):
            raise ValueError(
                f"there is no cell called {name!r}, a class with __call__(x, state) and "
                f"initial_state(batch)"
            )
        sizes = f"{options.inputs}, {options.hidden}"
        doing = f"{name}({sizes}) cannot be made; one that takes more can be made in the file"
        if isinstance(cell, type):
            seed = {"rng": options.seed} if "rng" in inspect.signature(cell).parameters else {}
            cell = cell(options.inputs, options.hidden, **seed)
        doing = f"{name} cannot be checked"
        xs = np.random.default_rng(options.seed).normal(size=(options.steps, 2, options.inputs))
        report = tr.check.gradcheck(lambda xs: nn.unroll(cell, xs), xs, raise_exception=False)
    except Exception as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
        place = f" ({file}, line {lines[-1]})" if lines else ""
        raise ValueError(f"{doing}: {type(error).__name__}: {error}{place}") from error
    if target is None:
        print(report)
    else:
        picture = "" if report else draw(report).svg
        page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title>'
        replace_file(target, f"{page}{report._repr_html_()}{picture}</html>".encode())
        print(options.output)
    return 0 if report else 1


def _parser() -> argparse.ArgumentParser:
    shown: Any = {"epilog": _EXAMPLES, "formatter_class": argparse.RawDescriptionHelpFormatter}
    what = "Draw a recurrent net, unrolled over time, with the size of every gradient."
    parser = argparse.ArgumentParser("tinygrad-rnn", description=what, **shown)
    parser.add_argument("--version", action="version", version=f"%(prog)s {tr.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (help_, output, count) in _COMMANDS.items():
        command = commands.add_parser(name, help=help_, description=help_, **shown)
        for option, (default, allowed, said) in list(_OPTIONS.items())[:count]:
            kind: Any = {"type": int} if isinstance(allowed, int) else {"choices": allowed}
            help_ = f"{said} (default: {default})"
            command.add_argument(f"--{option}", default=default, help=help_, **kind)
        if name == "check":
            command.add_argument(
                "cell",
                metavar="FILE:CELL",
                help="a class that takes two sizes, or a cell that is made",
            )
            help_ = "a page with the report, .html, instead of printing it"
        else:
            help_ = "a second cell in every layer, from the last step to the first"
            command.add_argument("--bidirectional", action="store_true", help=help_)
            help_ = f"what to write (default: {output})"
        command.add_argument("-o", "--output", default=output, help=help_)
    return parser
