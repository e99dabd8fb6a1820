"""Draw the gallery: ``python docs/gallery.py docs/gallery`` (a picture of every kind).

Each function below makes one picture and says in its docstring what to look for. The pictures'
numbers are real gradients of small nets with fixed seeds.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn, train


def inputs(steps: int, batch: int = 2, size: int = 3) -> np.ndarray:
    """Random inputs (T, B, I)."""
    return np.random.default_rng(steps).normal(size=(steps, batch, size))


def readout(seed: int = 7, size: int = 4) -> tr.Tensor:
    """The weights of an output layer."""
    weights = np.random.default_rng(seed).normal(size=(size, 2)) / 2
    return tr.Tensor(weights, requires_grad=True, name="W_hy")


def last_loss(cell: Any, xs: Any, **options: Any) -> tr.Tensor:
    """A loss on the last output alone."""
    outputs, _ = nn.unroll(cell, xs, **options)
    return ((outputs[-1] @ readout()) ** 2).sum()


def step_losses(cell: Any, xs: Any) -> list[tr.Tensor]:
    """A loss on every output."""
    outputs, _ = nn.unroll(cell, xs)
    W_hy = readout()
    return [((h @ W_hy) ** 2).sum() for h in outputs]


def elman(theme: str) -> viz.Picture:
    """dL/dW is a sum over time: taps are its terms, each rail the sum from right to left."""
    title = "Elman network unrolled over 3 steps, loss at the last step"
    return viz.draw(
        last_loss(nn.ElmanCell(3, 4, rng=0), inputs(3)), level="op", theme=theme, title=title
    )


def lstm(theme: str) -> viz.Picture:
    """The lower row is the cell state's own path: there is no matrix product on it."""
    title = "LSTM unrolled over 2 steps, every operation"
    return viz.draw(
        last_loss(nn.LSTMCell(3, 4, rng=0), inputs(2)), level="op", theme=theme, title=title
    )


def lstm_scope(theme: str) -> viz.Picture:
    """The textbook's LSTM: one box for each gate and state, a loss at every step."""
    losses = step_losses(nn.LSTMCell(3, 4, rng=0), inputs(5))
    title = "LSTM unrolled over 5 steps, a loss at each"
    return viz.draw(sum(losses[1:], losses[0]), level="scope", theme=theme, title=title)


def encoder_decoder(theme: str) -> viz.Picture:
    """The last state of the encoder is the first of the decoder, and so the gradient runs back."""
    with tr.scope("encoder"):
        _, state = nn.unroll(nn.LSTMCell(3, 4, rng=0), inputs(3))
    with tr.scope("decoder"):
        outputs, _ = nn.unroll(nn.LSTMCell(2, 4, rng=1), inputs(3, size=2), state)
    loss = ((outputs[-1] @ readout()) ** 2).sum()
    return viz.draw(loss, level="scope", theme=theme, title="Encoder and decoder")


def gru(theme: str) -> viz.Picture:
    """The straight row is what the update gate keeps of h."""
    return viz.draw(last_loss(nn.GRUCell(3, 4, rng=0), inputs(4)), level="scope", theme=theme)


def folded(theme: str) -> viz.Picture:
    """A hundred steps: first and last in full, a stripe for each between, a bar for every step."""
    title = "Elman network, 100 steps: the vanishing gradient"
    return viz.draw(last_loss(nn.ElmanCell(3, 4, rng=0), inputs(100)), theme=theme, title=title)


def sentence(theme: str) -> viz.Picture:
    """Words on the inputs, and a loss below every step."""
    table = tr.Tensor(np.random.default_rng(3).normal(size=(9, 3)), requires_grad=True, name="E")
    words = ["leave", "Taipei", "on", "Monday"]
    losses = step_losses(nn.ElmanCell(3, 4, rng=0), [table[np.array([i])] for i in range(4)])
    total = sum(losses[1:], losses[0])
    return viz.draw(total, labels=words, theme=theme, title="A loss at every word")


def bidirectional(theme: str) -> viz.Picture:
    """The second band runs backwards in time, and so does its rail."""
    xs = inputs(3)
    with tr.scope("forward"):
        there, _ = nn.unroll(nn.ElmanCell(3, 4, rng=0), xs)
    with tr.scope("backward"):
        back, _ = nn.unroll(nn.ElmanCell(3, 4, rng=1), xs, reverse=True)
    W_hy = readout(size=8)
    pairs = zip(there, back, strict=True)
    losses = [((tr.concatenate(pair, axis=-1) @ W_hy) ** 2).sum() for pair in pairs]
    return viz.draw(sum(losses[1:], losses[0]), theme=theme, title="Bidirectional network")


def stacked(theme: str) -> viz.Picture:
    """One band of steps for each layer."""
    with tr.scope("layer 0"):
        outputs, _ = nn.unroll(nn.ElmanCell(3, 4, rng=0), inputs(3))
    with tr.scope("layer 1"):
        outputs, _ = nn.unroll(nn.ElmanCell(4, 4, rng=1), outputs)
    return viz.draw((outputs[-1] ** 2).sum(), theme=theme, title="Two layers")


def truncated(theme: str) -> viz.Picture:
    """Truncated backpropagation through time: the state is carried on, the gradient is cut."""
    cell, xs, W_hy = nn.ElmanCell(3, 4, rng=0), inputs(4), readout()
    first, state = nn.unroll(cell, xs[:2])
    second, _ = nn.unroll(cell, xs[2:], state.detach())
    total = ((first[-1] @ W_hy) ** 2).sum() + ((second[-1] @ W_hy) ** 2).sum()
    return viz.draw(total, theme=theme, title="Truncated after two steps")


def broken(theme: str) -> viz.Picture:
    """Where a gradient breaks: the first infinite one is marked, and NaN spreads from there."""
    burst = tr.primitive("burst", lambda x: x * 1.0, lambda g, y, x: g * np.inf)

    class BrokenCell(nn.ElmanCell):
        def __call__(self, x: Any, h: Any) -> Any:
            return super().__call__(x, burst(h) if x is xs[3] else h)

    xs = [tr.Tensor(x) for x in inputs(5)]
    with np.errstate(all="ignore"):
        loss = last_loss(BrokenCell(3, 4, rng=0), xs)
        return viz.draw(loss, theme=theme, title="The first infinite gradient, and NaN behind it")


def compared(theme: str) -> viz.Picture:
    """Three cells on one scale, one node for each state of each step."""
    cells = {"Elman": nn.ElmanCell, "LSTM": nn.LSTMCell, "GRU": nn.GRUCell}
    losses = {name: last_loss(cell(3, 4, rng=0), inputs(14)) for name, cell in cells.items()}
    return viz.draw(losses, level="cell", theme=theme, title="Where does the gradient go?")


def triangles(theme: str) -> viz.Picture:
    """Row t is the loss of step t; further left is further back in time."""
    cells = {"Elman": nn.ElmanCell, "LSTM": nn.LSTMCell}
    losses = {name: step_losses(cell(3, 4, rng=0), inputs(14)) for name, cell in cells.items()}
    return viz.influence(losses, theme=theme)


def strips(theme: str) -> viz.Picture:
    """The terms of each weight's gradient over time."""
    losses = step_losses(nn.LSTMCell(3, 4, rng=0), inputs(14))
    return viz.contributions(sum(losses[1:], losses[0]), theme=theme)


def tanh_third(theme: str) -> viz.Picture:
    """The graph of a gradient of a gradient of a gradient."""
    x = tr.Tensor(0.7, requires_grad=True, name="x")
    y = tr.tanh(x)
    for _ in range(3):
        (y,) = tr.grad(y, x, create_graph=True)
    return viz.draw(y, theme=theme, title="The third derivative of tanh")


def forward(theme: str) -> viz.Picture:
    """The same net with the sizes of its values; arrows follow the data."""
    title = "Elman network, forward: the size of the values"
    loss = last_loss(nn.ElmanCell(3, 4, rng=0), inputs(3))
    return viz.draw(loss, show="forward", theme=theme, title=title)


def walk() -> viz.Player:
    """Forward, then back: a step at a time, and nothing before it happens."""
    loss = last_loss(nn.LSTMCell(3, 4, rng=0), inputs(4))
    return viz.player(loss, title="Backpropagation through time: four steps of an LSTM")


def weight() -> viz.Player:
    """A linear net of 100 steps: below 1 its gradient vanishes on the way back, above it explodes.

    In one frame each, ‖W_hh‖ goes from 0.9 to 1.1; the layout and the scale stay.
    """
    cell = nn.ElmanCell(3, 4, nonlinearity=lambda x: x, rng=0)
    rotation = nn.orthogonal(np.random.default_rng(0), (4, 4))
    frames = {}
    for norm in np.linspace(0.9, 1.1, 21):
        cell.W_hh.data = norm * rotation
        frames[f"‖W_hh‖ = {norm:.2f}"] = tr.backprop(last_loss(cell, inputs(100)))
    return viz.film(frames, title="The recurrent weight from 0.9 to 1.1")


def training() -> viz.Player:
    """A GRU learns to answer with the sign that it saw 20 steps ago.

    Watch the gradient of the answer reach further back, epoch by epoch; only when it arrives at the
    first step is there anything to learn from.
    """
    rng = np.random.default_rng(0)

    def examples(count: int) -> tuple[np.ndarray, np.ndarray]:
        xs = 0.3 * rng.normal(size=(20, count, 2))
        signs = rng.integers(0, 2, size=(count, 1)) * 2.0 - 1.0
        xs[:, :, 0] = 0
        xs[0, :, :1] = signs
        return xs, signs

    cell, head = nn.GRUCell(2, 8, rng=1), nn.Linear(8, 1, rng=2)
    optimiser = train.Adam([*cell.parameters(), *head.parameters()], lr=0.02)
    shown, frames = examples(1)[0], {}
    for epoch in range(17):
        outputs, _ = nn.unroll(cell, shown)
        frames[f"Epoch {epoch}"] = tr.backprop(head(outputs[-1]).sum())
        for _ in range(5):
            xs, signs = examples(16)
            outputs, _ = nn.unroll(cell, xs)
            optimiser.zero_grad()
            ((tr.tanh(head(outputs[-1])) - signs) ** 2).mean().backward()
            train.clip_grad_norm(optimiser.parameters, 1.0)
            optimiser.step()
    return viz.film(frames, names=head, title="Learning to remember for 20 steps")


MOVING: dict[str, Callable[[], viz.Player]] = {"walk": walk, "weight": weight, "training": training}

PICTURES: dict[str, tuple[Callable[[str], viz.Picture], Sequence[str]]] = {
    "elman": (elman, ("light",)),
    "lstm": (lstm, ("light", "dark")),
    "lstm_scope": (lstm_scope, ("light", "dark")),
    "encoder_decoder": (encoder_decoder, ("light",)),
    "gru": (gru, ("dark",)),
    "folded": (folded, ("light",)),
    "sentence": (sentence, ("light",)),
    "bidirectional": (bidirectional, ("dark",)),
    "stacked": (stacked, ("light",)),
    "truncated": (truncated, ("light",)),
    "broken": (broken, ("light", "dark")),
    "compared": (compared, ("light", "dark")),
    "triangles": (triangles, ("light",)),
    "strips": (strips, ("dark",)),
    "tanh_third": (tanh_third, ("light",)),
    "forward": (forward, ("light",)),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw every picture into a folder."""
    parser = argparse.ArgumentParser(description="Draw the gallery.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--suffix", default="png", choices=("png", "svg", "pdf", "dot"))
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    page = ["# Gallery", "", f"Made by `python docs/gallery.py {options.folder.as_posix()}`.", ""]
    for name, play in MOVING.items():
        player, said = play(), inspect.cleandoc(play.__doc__ or "")
        player.save(options.folder / f"{name}.gif")
        print(options.folder / f"{name}.gif")
        title = player.picture.title
        page += [f"## {title}", "", said, "", f"![{title}]({name}.gif)", ""]
        page += ["On the site this is a page of its own, to be walked by keyboard or mouse.", ""]
    for name, (make, themes) in PICTURES.items():
        said = (make.__doc__ or "").strip()
        for theme in themes:
            stem = name if theme == "light" else f"{name}_{theme}"
            picture = make(theme)
            picture.save(options.folder / f"{stem}.{options.suffix}")
            page += [
                f"## {picture.title}",
                "",
                said,
                "",
                f"![{picture.title}]({stem}.{options.suffix})",
            ]
            page += ["", picture.description, ""] if picture.description else [""]
            print(options.folder / f"{stem}.{options.suffix}")
    (options.folder / "README.md").write_text("\n".join(page), encoding="utf-8")


if __name__ == "__main__":
    main()
