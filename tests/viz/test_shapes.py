"""Every graph that can be recorded can be drawn at every level, or a sentence says why not."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import nets
import numpy as np
import pytest
from test_layout import check

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn
from viz.collect import as_trace, collect

HOW_MANY = int(os.environ.get("RANDOM_GRAPHS", "60"))  # the full sweep: 1500


class Random:
    """A random program: operations, scopes, steps, loops by hand and cells run over time.

    Everything has the shape (2, 3), so that anything can be computed from anything.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.pool: list[Any] = [self.weight() for _ in range(self.rng.integers(1, 4))]
        self.squares = [self.weight((3, 3)) for _ in range(2)]

    def weight(self, shape: tuple[int, ...] = (2, 3)) -> tr.Tensor:
        name = (None, "W", "h", "W_xh")[self.rng.integers(4)]
        return tr.Tensor(self.rng.normal(size=shape) / 2, requires_grad=True, name=name)

    def any(self) -> Any:
        recent = self.pool[-int(self.rng.integers(1, 9)) :]
        return recent[self.rng.integers(len(recent))]

    def operation(self) -> None:
        a, b, square = self.any(), self.any(), self.squares[self.rng.integers(2)]
        made = (
            lambda: a + b,
            lambda: a * b,
            lambda: a * a,
            lambda: tr.tanh(a),
            lambda: a @ square,
            lambda: a[:],
            lambda: a.reshape(3, 2).reshape(2, 3),
            lambda: a.T.T,
            lambda: tr.where(np.arange(3) > 0, a, b),
            lambda: tr.concatenate([a[:1], b[1:]], axis=0),
            lambda: tr.stack([a, b]).sum(axis=0),
            lambda: a - a.sum(),
            lambda: a * np.arange(3.0),
            lambda: a.detach() + b,
            lambda: tr.Tensor(self.rng.normal(size=(2, 3))),
            lambda: tr.softmax(a, axis=-1) + b,
        )[self.rng.integers(16)]()
        self.pool.append(made)

    def some(self, most: int = 4) -> None:
        for _ in range(self.rng.integers(0, most)):
            self.operation()

    def loop(self) -> None:
        """A recurrence by hand, of one or two states, in whatever order of times."""
        h, c, square = self.any(), self.any(), self.squares[0]
        times = [int(t) for t in self.rng.integers(0, 4, size=self.rng.integers(1, 5))]
        for t in sorted(times) if self.rng.random() < 0.7 else times:
            with tr.step(t):
                if self.rng.random() < 0.5:
                    h, c = tr.tanh(h @ square), h * c
                else:
                    h = tr.tanh(h @ square) + self.any()
                self.pool.append(h)
                self.some(3)

    def cell(self) -> None:
        """A cell over steps that get whatever there is."""
        kinds = (nn.ElmanCell, nn.LSTMCell, nn.GRUCell, nn.PeepholeLSTMCell)
        cell = kinds[self.rng.integers(4)](3, 3, rng=0)
        xs = [self.any() for _ in range(self.rng.integers(1, 4))]
        options: dict[str, Any] = {"reverse": bool(self.rng.random() < 0.3)}
        if self.rng.random() < 0.3:
            options["lengths"] = self.rng.integers(1, len(xs) + 1, size=2)
        if self.rng.random() < 0.3:
            state = self.any()
            options["state"] = (
                (state, self.any()) if cell.initial_state(2).__class__ is tuple else state
            )
        outputs, state = nn.unroll(cell, xs, **options)
        if self.rng.random() < 0.3:  # and on from there, the gradient cut or not
            parts = state if isinstance(state, tuple) else (state,)
            parts = tuple(p.detach() if self.rng.random() < 0.5 else p for p in parts)
            more, _ = nn.unroll(cell, xs, parts if isinstance(state, tuple) else parts[0])
            outputs = [*outputs, *more]
        self.pool += outputs

    def output(self) -> tr.Tensor:
        for _ in range(self.rng.integers(1, 5)):
            part = (self.some, self.some, self.loop, self.cell)[self.rng.integers(4)]
            if self.rng.random() < 0.4:
                with tr.scope(("input gate", "attention", "layer norm")[self.rng.integers(3)]):
                    part()
                    self.some()
            else:
                part()
        found = [x for x in self.pool if x.requires_grad]
        last: tr.Tensor = found[-1 - int(self.rng.integers(min(3, len(found))))]
        if self.rng.random() < 0.5:
            losses = [(x * x).sum() for x in found[-4:]]
            return sum(losses[1:], losses[0])
        return last if self.rng.random() < 0.5 else last.sum()


def has_states(output: tr.Tensor) -> bool:
    return any(band.states and not band.after for band in collect(as_trace(output)).bands)


@pytest.mark.parametrize("seed", [*range(HOW_MANY), 922, 1025])  # those were drawn badly
def test_random_graphs(seed: int) -> None:
    output = Random(seed).output()
    for level in ("op", "scope", "cell", "auto"):
        show = ("gradient", "forward")[seed % 2]
        fold: Any = ("auto", None, (1, 1))[seed % 3]
        none = pytest.raises(ValueError, match="there are none here")
        stateless = level == "cell" and not has_states(output)
        with none if stateless else contextlib.nullcontext():
            picture = viz.draw(output, level=level, show=show, fold=fold, labels=["a", "b"])
            check(picture)
            assert picture.dot


def test_what_was_drawn_badly_or_not_at_all() -> None:
    outputs, _ = nn.unroll(nn.LSTMCell(3, 4, rng=0), nets.inputs(3))
    h, w = tr.Tensor(np.ones((1, 2))), tr.Tensor(np.eye(2), requires_grad=True)
    for _ in range(4):
        h = tr.tanh(h @ w)
    for level in ("op", "scope", "cell", "auto"):
        check(viz.draw(outputs[-1], level=level))
        if level != "cell":
            check(viz.draw(h, level=level))
    picture = viz.draw(outputs[-1], labels=[1, None], title=5)
    assert picture.title == "5"
    assert {"1", "None"} <= {n.label for n in picture.nodes}
    picture = viz.draw(outputs[-1], title="long " * 2000)
    assert picture.bounds()[2] - picture.bounds()[0] < 2000
    assert picture.svg
