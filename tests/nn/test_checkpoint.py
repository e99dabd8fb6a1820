"""`unroll(..., checkpoint=k)`: the same record, bit for bit, with k steps of it in memory."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn

from ..cells import CELLS, each_cell

T, K = 7, 3
XS = np.random.default_rng(0).normal(size=(T, 2, 3))
OPTIONS: list[dict[str, Any]] = [
    {},
    {"lengths": [T, 3]},
    {"reverse": True, "lengths": [2, T], "first_step": 5},
]


def parts(state: Any) -> tuple[Any, ...]:
    return state if isinstance(state, tuple) else (state,)


def run(cell: Any, **options: Any) -> tuple[tr.Tensor, tr.Tensor, list[tr.Tensor]]:
    """The inputs, a loss of all outputs and the last state, and the outputs."""
    xs = tr.Tensor(XS, requires_grad=True)
    outputs, state = nn.unroll(cell, xs, **options)
    return xs, (tr.stack(outputs) ** 2).sum() + sum((s**3).sum() for s in parts(state)), outputs


def everything(cell: Any, checkpoint: int | None, **options: Any) -> list[Any]:
    """The gradient of all there is, to first and second order, and what a trace says."""
    xs, loss, outputs = run(cell, checkpoint=checkpoint, **options)
    wanted = [xs, *cell.parameters()]
    (slope,) = tr.grad(loss, xs, create_graph=True)
    found = [*tr.grad(loss, [*wanted, *outputs]), *tr.grad((slope * slope).sum(), wanted)]
    trace = tr.backprop(loss, keep="arrays")
    sizes = [(e.index, e.norm, e.total) for e in trace.events]
    for p in wanted:
        p.grad = None
    loss.backward()
    parts = [part for p in wanted for part in trace.contributions(p)]
    return [*(g.data for g in found), *(p.grad for p in wanted), *parts, sizes]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@each_cell
def test_every_gradient_is_the_same_to_the_last_bit(name: str, options: Any) -> None:
    cell = CELLS[name]()
    expected = everything(cell, None, **options)
    for k in (1, K, T, 100):
        for found, right in zip(everything(cell, k, **options), expected, strict=True):
            np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("options", OPTIONS[::2], ids=str)
@pytest.mark.parametrize("name", ["lstm", "own delayed"])
def test_pictures_and_the_player_see_every_step(name: str, options: Any) -> None:
    cell = CELLS[name]()
    losses = [run(cell, checkpoint=k, **options)[1] for k in (None, K)]
    for level in ("op", "scope", "cell"):
        plain, kept = (viz.draw(loss, level=level).dot for loss in losses)
        assert plain == kept
    forward = [viz.draw(loss, level="op", show="forward").dot for loss in losses]
    assert forward[0] == forward[1]
    plain, kept = (viz.player(loss).page for loss in losses)
    assert plain == kept


def test_gradcheck_looks_at_every_operation() -> None:
    cell = CELLS["lstm"]()
    reports = [
        tr.check.gradcheck(lambda xs, k=k: nn.unroll(cell, xs, checkpoint=k), XS, order=2)
        for k in (None, K)
    ]
    assert all(reports)
    assert len({str(report) for report in reports}) == 1


class Watched(nn.LSTMCell):
    """Counts its calls, and how many of them have left something in memory."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.calls: list[Any] = []
        self.most = 0

    def __call__(self, x: Any, state: Any) -> Any:
        inside = x @ self.W_xh
        self.calls.append(weakref.ref(inside))
        self.most = max(self.most, sum(call() is not None for call in self.calls))
        return super().__call__(x + 0.0 * inside.sum(), state)


@pytest.mark.parametrize("backward", [tr.Tensor.backward, tr.backprop, None])
def test_memory_and_work_are_as_promised(backward: Callable[..., Any] | None) -> None:
    steps, k = 30, 5
    cell = Watched(3, 4, rng=0)
    xs = np.random.default_rng(1).normal(size=(steps, 2, 3))
    outputs, _ = nn.unroll(cell, xs, checkpoint=k)
    assert (cell.most, len(cell.calls)) == (k, steps)
    loss = (outputs[-1] ** 2).sum() + (outputs[3] ** 2).sum()
    if backward is tr.backprop:  # a trace is a record, and keeps it
        trace = backward(loss)
        assert (cell.most, len(trace.steps)) == (steps, steps)
    else:
        (backward or (lambda loss: tr.grad(loss, cell.W_hh)))(loss)
        assert cell.most <= k + 1  # a walk still holds the tensor that it comes from
    assert len(cell.calls) == 2 * steps - k  # the last k are at hand from the way forward


def test_what_is_dropped_is_freed_at_once() -> None:
    gc.disable()
    try:
        cell = Watched(3, 4, rng=0)
        _, loss, outputs = run(cell, checkpoint=2)
        loss.backward()
        seen = [weakref.ref(x) for x in (loss, *outputs)]
        del loss, outputs, _
        assert not any(found() is not None for found in [*seen, *cell.calls])
    finally:
        gc.enable()


def test_a_long_sequence_is_walked_and_freed() -> None:
    cell = nn.ElmanCell(1, 1, rng=0)
    _, h = nn.unroll(cell, np.ones((5_000, 1, 1)), checkpoint=1)
    (h * h).sum().backward()
    assert cell.W_hh.grad is not None


def test_a_carried_state_is_still_refused() -> None:
    cell = CELLS["lstm"]()
    outputs, state = nn.unroll(cell, XS, checkpoint=K)
    tr.stack(outputs).sum().backward()
    for k in (None, 2):
        outputs, _ = nn.unroll(cell, XS, state, checkpoint=k)
        with pytest.raises(RuntimeError, match="carries history from an earlier sequence"):
            tr.stack(outputs).sum().backward()
    outputs, _ = nn.unroll(cell, XS, tr.train.detached(state), checkpoint=K)
    tr.stack(outputs).sum().backward()


def test_two_losses_of_one_sequence_may_be_walked_in_turn() -> None:
    grads = []
    for k in (None, 2):
        cell = CELLS["gru"]()
        outputs, _ = nn.unroll(cell, XS, checkpoint=k)
        for t in (3, 6, 1):
            (outputs[t] ** 2).sum().backward()
        grads.append(cell.W_hh.grad)
    np.testing.assert_array_equal(*grads)


def test_a_first_pass_without_a_record_has_no_history() -> None:
    with tr.no_grad():
        outputs, h = nn.unroll(CELLS["elman"](), XS, checkpoint=2)
    assert not h.requires_grad
    assert not outputs[0].requires_grad
    losses = [run(CELLS["elman"](), checkpoint=k)[1] for k in (None, 2)]
    with tr.no_grad():  # but a walk records what it needs
        expected, found = (len(tr.backprop(loss).events) for loss in losses)
    assert found == expected


def test_what_is_given_out_shows_its_history() -> None:
    _, h = nn.unroll(CELLS["elman"](), XS, checkpoint=2)
    h.name = "last"
    assert tr.backprop(h.sum()).tensors[1].name == "last"
    assert h.primitive is tr.tanh
    assert h.inputs[0].primitive is tr.add
    np.testing.assert_array_equal(np.tanh(h.arrays[0]), h.data)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        h.nonsense  # noqa: B018


class Rooted(nn.ElmanCell):
    def __call__(self, x: Any, h: Any) -> Any:
        return super().__call__(tr.sqrt(x * x), h)


def test_an_anomaly_is_named_at_its_step() -> None:
    """The root of zero has no derivative; the step is run again before the walk comes to it."""
    cell, messages = Rooted(3, 4, rng=0), []
    xs = tr.Tensor(np.where(np.arange(T)[:, None, None] == 1, 0.0, XS), requires_grad=True)
    for k in (None, 2):
        with tr.detect_anomaly(), pytest.raises(FloatingPointError) as raised:
            nn.unroll(cell, xs, checkpoint=k)[1].sum().backward()
        messages.append(str(raised.value))
    assert "in rooted / t=1: backward of sqrt made" in messages[0]
    assert messages[1] == messages[0]


class Noisy(nn.ElmanCell):
    def __call__(self, x: Any, h: Any) -> Any:
        return super().__call__(x + np.random.default_rng().normal(size=x.shape), h)


def test_a_cell_that_computes_something_else_is_refused() -> None:
    noisy, changed = Noisy(3, 4, rng=0), nn.ElmanCell(3, 4, rng=0)
    losses = [run(cell, checkpoint=2)[1] for cell in (noisy, changed)]
    changed.W_hh.data = changed.W_hh.data.copy()  # not even the same numbers elsewhere
    with pytest.raises(RuntimeError, match=r"recorded in noisy / t=\d.*draws random numbers"):
        losses[0].backward()
    with pytest.raises(RuntimeError, match=r"W_hh, shape .* has new data"):
        losses[1].backward()
    assert changed.W_hh.grad is noisy.W_hh.grad is None


@pytest.mark.parametrize("k", [0, -1])
def test_a_number_of_steps_is_expected(k: int) -> None:
    with pytest.raises(ValueError, match=rf"checkpoint={k} .* 1 or more"):
        nn.unroll(CELLS["elman"](), XS, checkpoint=k)
    with pytest.raises(ValueError, match="a cell that is run step by step"):
        nn.unroll(tr.derive(CELLS["elman"]()), XS, checkpoint=2)


def test_threads_may_record_meanwhile() -> None:
    """Other tensors' numbers come in between, on the way forward and when steps are run again."""
    cell = CELLS["lstm"]()
    expected = everything(cell, None)
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            tr.Tensor(1.0)

    other = threading.Thread(target=busy)
    other.start()
    try:
        for _ in range(2):
            for found, right in zip(everything(cell, K), expected, strict=True):
                np.testing.assert_array_equal(found, right)
    finally:
        stop.set()
        other.join()
