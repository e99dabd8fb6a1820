"""Small nets for the picture tests; every one returns its loss and its parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tr
import viz
from tests import cells
from tinygrad_rnn import nn


def draw(output: Any, path: Any = None, **options: Any) -> viz.Picture:
    """`viz.draw` at op level, where nothing else is asked for."""
    return viz.draw(output, path, **{"level": "op"} | options)


Net = tuple[tr.Tensor, dict[str, tr.Tensor]]

# A learned initial state is used once, outside of the steps, and so has no rail.
CELLS = {name: kind for name, kind in cells.CELLS.items() if name != "learned"}


def inputs(steps: int, batch: int = 2, size: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(steps, batch, size))


def last_loss(cell: Any, xs: Any, **options: Any) -> Net:
    """A readout of the last output alone."""
    outputs, _ = nn.unroll(cell, xs, **options)
    W_hy = tr.Tensor(np.linspace(-1, 1, outputs[-1].shape[1] * 2).reshape(-1, 2), True, "W_hy")
    return ((outputs[-1] @ W_hy) ** 2).sum(), {**dict(cell.named_parameters()), "W_hy": W_hy}


def every_loss(cell: Any, xs: Any, **options: Any) -> Net:
    """A readout and a loss at every step, added up."""
    outputs, _ = nn.unroll(cell, xs, **options)
    W_hy = tr.Tensor(np.linspace(-1, 1, outputs[-1].shape[1] * 2).reshape(-1, 2), True, "W_hy")
    losses = [((h @ W_hy - 0.5) ** 2).sum() for h in outputs]
    return sum(losses[1:], losses[0]), {**dict(cell.named_parameters()), "W_hy": W_hy}


def simple(name: str, steps: int) -> Net:
    return last_loss(CELLS[name](3, 4), inputs(steps))


def bidirectional(steps: int) -> Net:
    there, back = nn.ElmanCell(3, 4, rng=0), nn.GRUCell(3, 4, rng=1)
    xs = inputs(steps)
    with tr.scope("forward"):
        a, _ = nn.unroll(there, xs)
    with tr.scope("backward"):
        b, _ = nn.unroll(back, xs, reverse=True)
    V = tr.Tensor(np.linspace(-1, 1, 16).reshape(8, 2), True, "V")
    losses = [((tr.concatenate([u, v], axis=-1) @ V) ** 2).sum() for u, v in zip(a, b, strict=True)]
    return sum(losses[1:], losses[0]), {"V": V}


def stacked(steps: int) -> Net:
    first, second = nn.LSTMCell(3, 4, rng=0), nn.ElmanCell(4, 4, rng=1)
    with tr.scope("layer 0"):
        outputs, _ = nn.unroll(first, inputs(steps))
    with tr.scope("layer 1"):
        outputs, _ = nn.unroll(second, outputs)
    return (outputs[-1] ** 2).sum(), dict(second.named_parameters())


def masked_layers(steps: int) -> Net:
    """Two layers over sequences of unlike lengths; the last states themselves are not read."""
    net = nn.Stacked(nn.LSTMCell(3, 4, rng=0), nn.LSTMCell(4, 4, rng=1))
    outputs, _ = net(inputs(steps), lengths=[steps, steps - 1])
    return (outputs[-1] ** 2).sum(), dict(net.named_parameters())


def truncated(steps: int) -> Net:
    """Two chunks of a sequence, the state detached in between."""
    cell = nn.LSTMCell(3, 4, rng=0)
    xs = inputs(2 * steps)
    a, state = nn.unroll(cell, xs[:steps])
    b, _ = nn.unroll(cell, xs[steps:], tuple(part.detach() for part in state))
    return (a[-1] ** 2).sum() + (b[-1] ** 2).sum(), dict(cell.named_parameters())


def hoisted(steps: int) -> Net:
    """A weight computed before the steps, from another, and shared by two directions."""
    V = tr.Tensor(np.linspace(-1, 1, 9).reshape(3, 3), True, "V")
    scale = tr.Tensor(np.array([0.5]), True, "s")
    W = tr.tanh(V * scale)
    loss = 0.0
    for name, times in (("there", range(steps)), ("back", reversed(range(steps)))):
        h = tr.Tensor(np.ones((1, 3)))
        for t in times:
            with tr.scope(name), tr.step(t):
                h = tr.tanh(h @ W + 0.1)
        loss = loss + h.sum()
    return loss, {}


def encoder_decoder(steps: int) -> Net:
    """The last state of one net is the first of another."""
    encoder, decoder = nn.LSTMCell(3, 4, rng=0), nn.LSTMCell(2, 4, rng=1)
    with tr.scope("encoder"):
        _, state = nn.unroll(encoder, inputs(steps))
    with tr.scope("decoder"):
        outputs, _ = nn.unroll(decoder, inputs(steps, size=2, seed=1), state)
    return (outputs[-1] ** 2).sum(), dict(decoder.named_parameters())


class OddCell(nn.Module):
    """Three states, a skip around the nonlinearity, and a constant in the middle."""

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        self.A = tr.Tensor(rng.normal(size=(4, 4)) / 2, requires_grad=True)
        self.B = tr.Tensor(rng.normal(size=(3, 4)), requires_grad=True)
        self.scale = np.array([1.0, 0.5, 0.25, 0.125])

    def initial_state(self, batch: int) -> tuple[tr.Tensor, ...]:
        return tuple(tr.Tensor(np.full((batch, 4), 0.1)) for _ in range(3))

    def __call__(self, x: tr.Tensor, state: Any) -> Any:
        u, v, w = state
        drive = tr.tanh(x @ self.B + u @ self.A)
        v = 0.9 * v + 0.1 * drive * self.scale
        w = tr.maximum(w, drive) - 1 / (2 + v * v)
        u = drive + w @ self.A.T
        return u + v, (u, v, w)
