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
    "elman": nn.ElmanCell,
    "gru": nn.GRUCell,
    "lstm": nn.LSTMCell,
    "peephole": nn.PeepholeLSTMCell,
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
        for name, least in {"steps": 1, "hidden": 1, "inputs": 1, "seed": 0}.items():
            if getattr(options, name) < least:
                raise ValueError(f"--{name} must be {least} or more")
        loss, names = _net(options)
        title = f"{options.cell} over {options.steps} steps"
        if options.command == "draw":
            kind = {"theme": options.theme, "level": options.level, "show": options.show}
            draw(loss, options.output, names=names, title=title, **kind)
        else:
            player(loss, options.output, names=names, title=title, level=options.level)
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
    parser = argparse.ArgumentParser(
        prog="tinygrad-rnn",
        description="Draw a recurrent net, unrolled over time, with the size of every gradient.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"%(prog)s {tr.__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_, output in (
        ("draw", "a picture: .svg, .png, .pdf or .dot", "net.svg"),
        ("play", "a page that walks backpropagation: .html", "walk.html"),
    ):
        command = commands.add_parser(
            name, help=help_, epilog=_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        command.add_argument("--cell", choices=_CELLS, default="lstm")
        command.add_argument("--steps", type=int, default=5)
        command.add_argument("--hidden", type=int, default=8)
        command.add_argument("--inputs", type=int, default=3)
        command.add_argument("--loss", choices=("last", "every"), default="last")
        command.add_argument("--level", choices=("auto", "op", "scope", "cell"), default="auto")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("-o", "--output", default=output, help=f"default: {output}")
        if name == "draw":
            command.add_argument("--theme", choices=("light", "dark"), default="light")
            command.add_argument("--show", choices=("gradient", "forward"), default="gradient")
    return parser
