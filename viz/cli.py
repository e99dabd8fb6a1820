"""The command ``tinygrad-rnn``, for someone who only wants a picture."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import nn

from .draw import draw
from .player import player

__all__ = ["main"]

_CELLS: dict[str, Any] = {
    "lstm": nn.LSTMCell,
    "elman": nn.ElmanCell,
    "gru": nn.GRUCell,
    "peephole": nn.PeepholeLSTMCell,
}
# Options: what they may be, the default first; numbers with their default and the least.
_CHOICES = {
    "cell": tuple(_CELLS),
    "loss": ("last", "every"),
    "level": ("auto", "op", "scope", "cell"),
}
_COUNTS = {"steps": (5, 1), "hidden": (8, 1), "inputs": (3, 1), "seed": (0, 0)}
_LOOK: dict[str, tuple[str, ...]] = {"theme": ("light", "dark"), "show": ("gradient", "forward")}
_COMMANDS: dict[str, tuple[str, str, dict[str, tuple[str, ...]]]] = {
    "draw": ("a picture: .svg, .png, .pdf or .dot", "net.svg", _LOOK),
    "play": ("a page that walks backpropagation: .html", "walk.html", {}),
}
_EXAMPLES = """examples:
  tinygrad-rnn draw --cell lstm --steps 5 --hidden 8 -o lstm.svg
  tinygrad-rnn draw --cell elman --steps 100 --theme dark -o vanishing.png
  tinygrad-rnn draw --cell gru --loss every --level cell -o gru.pdf
  tinygrad-rnn play --cell lstm --steps 4 -o walk.html
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code, 2 for what cannot be done."""
    options = _parser().parse_args(arguments)
    try:
        for name, (_, least) in _COUNTS.items():
            if getattr(options, name) < least:
                raise ValueError(f"--{name} must be {least} or more")
        loss, names = _net(options)
        title = f"{options.cell} over {options.steps} steps"
        more = {name: getattr(options, name) for name in _COMMANDS[options.command][2]}
        show: Any = {"draw": draw, "play": player}[options.command]
        show(loss, options.output, names=names, title=title, level=options.level, **more)
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        print(f"tinygrad-rnn: {error}", file=sys.stderr)
        return 2
    print(options.output)
    return 0


def _net(options: argparse.Namespace) -> tuple[tr.Tensor, nn.Module]:
    """A random net over random inputs, and its loss: of the last step, or of every one."""
    rng = np.random.default_rng(options.seed)
    cell = _CELLS[options.cell](options.inputs, options.hidden, rng=rng)
    head = nn.Linear(options.hidden, 1, bias=False, rng=rng)
    xs = rng.standard_normal((options.steps, 1, options.inputs))
    outputs, _ = nn.unroll(cell, xs)
    losses = [nn.mse(head(h), [[1.0]]) for h in outputs[-1 if options.loss == "last" else 0 :]]
    return (tr.stack(losses).sum() if len(losses) > 1 else losses[0]), head


def _parser() -> argparse.ArgumentParser:
    shown: Any = {"epilog": _EXAMPLES, "formatter_class": argparse.RawDescriptionHelpFormatter}
    what = "Draw a recurrent net, unrolled over time, with the size of every gradient."
    parser = argparse.ArgumentParser("tinygrad-rnn", description=what, **shown)
    parser.add_argument("--version", action="version", version=f"%(prog)s {tr.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (help_, output, more) in _COMMANDS.items():
        command = commands.add_parser(name, help=help_, **shown)
        for option, choices in {**_CHOICES, **more}.items():
            command.add_argument(f"--{option}", choices=choices, default=choices[0])
        for option, (default, _) in _COUNTS.items():
            command.add_argument(f"--{option}", type=int, default=default)
        command.add_argument("-o", "--output", default=output, help=f"default: {output}")
    return parser
