"""At every level the numbers are the trace's, and what arrives at a node adds up to its own."""

from __future__ import annotations

import itertools
from typing import Any

import nets
import numpy as np
import pytest

import tinygrad_rnn as tr
import viz
from tests.cells import CELLS, each_cell
from tinygrad_rnn import nn

LEVELS = ("op", "scope", "cell")


def loss_at_every_step(cell: Any, batch: int, size: int, steps: int = 4) -> tr.Tensor:
    """Inputs that need gradients too, so that every arrow has a message."""
    rng = np.random.default_rng(1)
    xs = [tr.Tensor(rng.normal(size=(batch, size)), requires_grad=True) for _ in range(steps)]
    outputs, _ = nn.unroll(cell, xs)
    losses = [(h * h).sum() for h in outputs]
    return sum(losses[1:], losses[0])


@each_cell
@pytest.mark.parametrize("level", LEVELS)
def test_nodes_and_arrows_show_what_the_trace_has(name: str, level: Any) -> None:
    loss = loss_at_every_step(CELLS[name](), 2, 3)
    trace = tr.backprop(loss)
    picture = viz.draw(trace, level=level)
    norms = {t.number: trace.norm(t) for t in trace.tensors}
    nodes = {n.id: n for n in picture.nodes}
    ends: dict[str, list[float]] = {}
    for edge in picture.edges:
        if edge.kind == "message":
            has = nodes[edge.source].tensor in norms
            assert (edge.value is not None) == bool(edge.events) == has
            ends.setdefault(edge.source, []).append(edge.value or 0.0)
    for node in picture.nodes:
        if node.tensor is not None:
            assert node.value == norms.get(node.tensor)
        if node.tensor in norms and node.kind in ("op", "state", "input"):
            sizes = sorted(
                ends[node.id]
            )  # a sum of arrays: no longer than all, no shorter than ...
            assert node.value <= sum(sizes) * (1 + 1e-9)
            assert node.value >= (sizes[-1] - sum(sizes[:-1])) * (1 - 1e-9)
    drawn = (e for e in picture.edges if e.kind == "message" and e.events)
    in_order = sorted(drawn, key=lambda e: (min(e.events), max(e.events)))
    last = {edge.source: edge.total for edge in in_order}
    for key, total in last.items():
        assert total == pytest.approx(nodes[key].value, rel=1e-9)


@pytest.mark.parametrize("name", [name for name in CELLS if name != "jordan"])
@pytest.mark.parametrize("level", LEVELS)
def test_messages_add_up(name: str, level: Any) -> None:
    """With one unit, one sequence and one feature all is scalar: some choice of signs adds up."""
    loss = loss_at_every_step(CELLS[name](1, 1), 1, 1)
    picture = viz.draw(loss, level=level)
    one = {n.id: n for n in picture.nodes if n.kind in ("state", "input") and n.tensor is not None}
    arriving: dict[str, list[float]] = {}
    for edge in picture.edges:
        if edge.source in one and edge.events:
            arriving.setdefault(edge.source, []).append(edge.value or 0.0)
    assert arriving
    for key, sizes in arriving.items():
        sums = [np.dot(sizes, signs) for signs in itertools.product((1, -1), repeat=len(sizes))]
        assert min(abs(abs(s) - one[key].value) for s in sums) < 1e-9 * max(1.0, *sizes)


def test_the_arrow_from_h_to_c_is_what_the_equations_say() -> None:
    """∂h/∂c of an LSTM is o ⊙ (1 − tanh² c); c of the step before is reached by f."""
    loss = loss_at_every_step(nn.LSTMCell(3, 4, rng=0), 2, 3)
    trace = tr.backprop(loss, keep="arrays")
    tensors = {t.number: t for t in trace.tensors}
    cells, scopes = (viz.draw(trace, level=level) for level in ("cell", "scope"))
    by = {n.label: tensors[n.tensor] for n in scopes.nodes if n.tensor in tensors and n.step == 2}
    by |= {n.label: tensors[n.tensor] for n in scopes.nodes if n.label in ("c₁", "h₁")}
    h, c, o, f = by["h₂"], by["c₂"], by["output"], by["forget"]
    down = np.linalg.norm(trace.gradient(h) * o.data * (1 - np.tanh(c.data) ** 2))
    for picture in (cells, scopes):
        ids = {n.label: n.id for n in picture.nodes if n.kind == "state"}
        shown = {(e.target, e.source): e.value for e in picture.edges}
        assert shown[ids["h₂"], ids["c₂"]] == pytest.approx(down, rel=1e-12)
    along = np.linalg.norm(trace.gradient(c) * f.data)
    assert shown[ids["c₂"], ids["c₁"]] == pytest.approx(along, rel=1e-12)


def test_scope_level_of_an_lstm_is_the_textbook() -> None:
    picture = viz.draw(nets.simple("lstm", 5)[0])  # chosen by itself
    found = [n.label for n in picture.nodes if n.step == 1 and n.kind in ("op", "state", "input")]
    assert set(found) == {"x₁", "z", "input", "forget", "candidate", "output", "c₁", "h₁"}
    assert len(found) == 8


@each_cell
@pytest.mark.parametrize("steps", [5, 12])
def test_pages_at_scope_level_are_no_flatter_than_16_to_9(name: str, steps: int) -> None:
    picture = viz.draw(loss_at_every_step(CELLS[name](), 1, 3, steps), level="scope")
    x0, y0, x1, y1 = picture.bounds()
    assert (x1 - x0 + 32) / (y1 - y0 + 32) < 16 / 9 + 0.02


@pytest.mark.parametrize("steps", [2, 5, 9, 14, 30, 100])
@each_cell
def test_by_default_it_can_be_read_on_a_laptop(name: str, steps: int) -> None:
    """Ten points, the smallest text, are eleven pixels where the page is 1440 pixels wide."""
    picture = viz.draw(loss_at_every_step(CELLS[name](), 1, 3, steps))
    x0, _, x1, _ = picture.bounds()
    assert min(t.size for t in picture.texts) >= 10
    assert 1440 / (x1 - x0 + 2 * 0.22 * 72) * 10 >= 11


def test_values_of_small_tensors_are_written_out() -> None:
    w, x = tr.Tensor([[2.0]], requires_grad=True, name="w"), tr.Tensor([[-1.0, 3.0]])
    h = tr.Tensor([[2.0]])
    for t in range(2):
        with tr.step(t):
            h = h @ w + (x * x).sum()
    shown = {n.label: n.text for n in viz.draw(h.sum(), show="forward", level="op").nodes}
    assert shown["+ 10 → h₀"] == "14"
    assert shown["w"] == "2"
    assert shown["loss"] == "38"
    assert not [n.text for n in viz.draw(h.sum()).nodes if n.text]


def test_an_error_is_called_out_where_it_begins() -> None:
    """The rule of one operation is wrong; rails and the note below speak of errors."""

    @tr.primitive(rules=[lambda g, y, x: 3.0 * g])
    def double(x: Any, /) -> Any:
        return 2.0 * x

    x = tr.Tensor(np.array([1.0, 2.0]), requires_grad=True, name="x")
    report = tr.check.gradcheck(lambda x: (double(x * x) * 0.5).sum(), x, raise_exception=False)
    picture = viz.draw(report, level="op")
    (callout,) = [n for n in picture.nodes if n.kind == "callout"]
    assert callout.label == "the error begins at double"
    assert picture.sign == "error"
