"""What the pictures say: labels, folding, cell level, comparisons, tables, graphs of gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nets
import numpy as np
import pytest

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn
from viz.dot import clean


def labels(picture: viz.Picture, step: int | None) -> list[str]:
    kinds = ("op", "state", "input", "output")
    return [n.label for n in picture.nodes if n.kind in kinds and n.step == step]


def test_labels_of_an_elman_step() -> None:
    loss, _ = nets.simple("elman", 3)
    assert labels(nets.draw(loss), 1) == ["x₁", "·W_xh", "·W_hh", "+", "+ b", "tanh → h₁"]
    shared = [n.label for n in nets.draw(loss).nodes if n.kind == "parameter"]
    assert shared == ["W_xh", "W_hh", "b", "W_hy"]


def test_labels_of_an_lstm_step() -> None:
    """Gates by their names, products written out, both states named."""
    found = labels(nets.draw(nets.simple("lstm", 3)[0]), 1)
    assert {"σ input", "σ forget", "tanh candidate", "σ output", "forget⊙c", "+ → c₁"} <= set(found)
    assert {"tanh", "⊙ → h₁"} <= set(found)


def test_a_jordan_cell_feeds_back_y() -> None:
    assert labels(nets.draw(nets.simple("jordan", 3)[0]), 1)[-1].endswith(" → y₁")


def test_states_of_steps_that_differ() -> None:
    """The first step computes less, its states being constant; the last hands nothing on."""
    picture = nets.draw(nets.every_loss(nets.OddCell(), nets.inputs(2))[0])
    found = [n.label for n in picture.nodes if n.kind == "state"]
    assert sorted(found) == ["+ → u₀", "+ → u₁", "+ → v₀", "+ → v₁", "− → w₀", "− → w₁"]


def test_states_of_a_loop_by_hand_whose_first_step_does_less() -> None:
    W = tr.Tensor(np.eye(3), requires_grad=True, name="W")
    U = tr.Tensor(np.eye(3) / 2, requires_grad=True, name="U")
    h = None
    for t, x in enumerate(nets.inputs(4)):
        with tr.step(t):
            h = tr.tanh(x @ W) if h is None else tr.tanh(x @ W + h @ U)
    for level, said in (("op", "tanh → h"), ("scope", "h"), ("cell", "h")):
        picture = nets.draw((h**2).sum(), level=level)
        found = [n.label for n in picture.nodes if n.kind == "state"]
        assert found == [said + index for index in "₀₁₂₃"]


def test_states_of_a_step_that_ends_in_a_mask() -> None:
    """Of the last step only the masked output is read, so its state is not in the record."""
    loss = nets.masked_layers(3)[0]
    found = [n.label.split(" → ")[1] for n in nets.draw(loss).nodes if n.kind == "state"]
    assert sorted(found) == sorted(2 * ["h₀", "h₁", "c₀", "c₁"])
    cells = nets.draw(loss, level="cell")
    assert [n.label for n in cells.nodes if n.step == 2 and n.kind == "op"] == ["y₂", "y₂"]


def test_words_stand_on_the_inputs() -> None:
    table = tr.Tensor(np.ones((9, 3)), requires_grad=True, name="E")
    outputs, _ = nn.unroll(nn.ElmanCell(3, 4, rng=0), [table[np.array([i])] for i in (2, 5)])
    picture = nets.draw((outputs[-1] ** 2).sum(), labels=["leave", "Taipei"])
    assert labels(picture, 0)[0] == "leave"
    assert labels(picture, 1)[0] == "Taipei"
    assert "E" in [n.label for n in picture.nodes if n.kind == "parameter"]
    for net in (nets.bidirectional(2)[0], nets.simple("gru", 2)[0]):
        assert "leave" in labels(nets.draw(net, labels=["leave", "Taipei"]), 0)


def test_names_from_a_module_or_a_dict() -> None:
    out = nn.Linear(4, 2, rng=0)
    outputs, _ = nn.unroll(nn.ElmanCell(3, 4, rng=0), nets.inputs(2))
    loss = (out(outputs[-1]) ** 2).sum()
    for names in (out, {"head": out}):
        shown = {n.label for n in nets.draw(loss, names=names).nodes if n.kind == "parameter"}
        assert {"W", "b⁽¹⁾", "b⁽²⁾"} <= shown  # the cell's b and the head's are told apart


def test_inputs_that_need_gradients_are_sliced_under_their_labels() -> None:
    xs = tr.Tensor(nets.inputs(3), requires_grad=True, name="xs")
    picture = nets.draw(nets.last_loss(nn.ElmanCell(3, 4, rng=0), xs)[0], labels=list("abc"))
    (b,) = [n for n in picture.nodes if n.label == "b" and n.step == 1]
    assert b.value is not None
    assert b.value > 0


@pytest.mark.parametrize("name", ["elman", "lstm"])
def test_a_fold_keeps_every_step_as_a_stripe_and_a_bar(name: str) -> None:
    loss, _ = nets.simple(name, 30)
    trace = tr.backprop(loss)
    full, folded = nets.draw(trace, fold=None), nets.draw(trace)
    states = [n for n in full.nodes if n.kind == "state"]
    states += [n for n in full.nodes if n.kind == "output" and "→" in n.label]
    values = sorted(n.value for n in states if n.value is not None)
    stripes = [n.value for n in folded.nodes if n.kind == "swatch" and n.step in range(2, 28)]
    bars = [n for n in folded.nodes if n.id.startswith("bars0_")]
    assert sorted(n.value for n in bars if n.value is not None) == values
    assert len(stripes) == 2 * 26 * (2 if name == "lstm" else 1)  # in the fold, in the bars
    (box,) = [b for b in folded.boxes if b.kind == "fold"]
    assert box.tooltip.endswith("… 26 more steps, t = 2 to 27 …")
    for picture in (full, folded):
        sums = {n.label: n.value for n in picture.nodes if n.kind == "parameter"}
        assert sums == {n.label: n.value for n in full.nodes if n.kind == "parameter"}


@pytest.mark.parametrize(("level", "most"), [("op", 12), ("scope", 12), ("cell", 14)])
def test_automatic_folding(level: str, most: int) -> None:
    for steps in (most, most + 1):
        picture = nets.draw(nets.simple("elman", steps)[0], level=level)
        assert sum(b.kind == "fold" for b in picture.boxes) == steps - most


def test_the_sentence_says_how_fast_the_gradient_falls() -> None:
    """A linear recurrence with factor 0.1: a thousandth after exactly three steps."""
    h = tr.Tensor(np.ones((1, 1)), requires_grad=True)
    w = tr.Tensor(np.full((1, 1), 0.1), requires_grad=True, name="w")
    for t in range(6):
        with tr.step(t):
            h = h @ w
    picture = nets.draw(h * 1.0)
    said = "falls to a thousandth of its size after 3 steps, by a factor of 0.1 a step"
    assert said in picture.description


def test_cell_level_shows_states_and_messages() -> None:
    loss, _ = nets.simple("lstm", 5)
    trace = tr.backprop(loss)
    picture = nets.draw(trace, level="cell")
    states = {n.label: n for n in picture.nodes if n.kind == "state"}
    assert set(states) == {f"{letter}{'₀₁₂₃₄'[t]}" for letter in "hc" for t in range(5)}
    norms = {t.number: trace.norm(t) for t in trace.tensors}
    assert all(n.value == norms[n.tensor] for n in states.values() if n.tensor is not None)
    ends = {(e.source, e.target) for e in picture.edges}
    for source, target in (("h₂", "h₃"), ("h₂", "c₃"), ("c₂", "c₃"), ("c₂", "h₂")):
        assert (states[source].id, states[target].id) in ends


class Gated(nn.ElmanCell):
    """Its output is not its state."""

    def __call__(self, x: Any, h: Any) -> Any:
        h, _ = super().__call__(x, h)
        return 3.0 * h, h


@pytest.mark.parametrize("inside", [True, False], ids=["output of a step", "loss behind the steps"])
def test_cell_level_joins_the_loss_to_states_it_sees_through_outputs(inside: bool) -> None:
    outputs, _ = nn.unroll(Gated(3, 1, rng=0), nets.inputs(3)[:, :1])
    picture = nets.draw(outputs[-1] if inside else outputs[-1].sum(), level="cell")
    nodes = {n.id: n.label for n in picture.nodes}
    (edge,) = [e for e in picture.edges if nodes[e.target] == "loss"]
    assert (nodes[edge.source], edge.value) == ("h₂", 3.0)


def test_several_nets_share_one_scale_and_page() -> None:
    losses = {name: nets.simple(name, 4)[0] for name in ("elman", "lstm", "gru")}
    picture = nets.draw(losses, level="cell")
    named = sorted((t.y, t.text) for t in picture.texts if t.text in losses)
    assert [text for _, text in named] == list(losses)  # from top to bottom
    assert len({n.id for n in picture.nodes}) == len(picture.nodes)
    alone = [nets.draw(loss, level="cell").scale for loss in losses.values()]
    assert picture.scale.low == min(s.low for s in alone)
    assert picture.scale.high == max(s.high for s in alone)


def test_cell_level_without_states_is_refused() -> None:
    x = tr.Tensor(1.0, requires_grad=True)
    with pytest.raises(ValueError, match="level='op'"):
        nets.draw(x * x, level="cell")


def test_influence_is_the_triangle_of_gradients(tmp_path: Path) -> None:
    outputs, _ = nn.unroll(nn.ElmanCell(3, 4, rng=0), nets.inputs(4))
    W_hy = tr.Tensor(np.linspace(-1, 1, 8).reshape(4, 2), requires_grad=True)
    losses = [((h @ W_hy) ** 2).sum() for h in outputs]
    picture = viz.influence(losses, tmp_path / "triangle.svg")
    cells = {n.id: n.value for n in picture.nodes if n.id.startswith("m0_")}
    for t, loss in enumerate(losses):
        trace = tr.backprop(loss)
        for s in range(t + 1):
            assert cells[f"m0_{t}_{s}"] == pytest.approx(trace.norm(outputs[s]), rel=1e-12)
    assert len(cells) == 4 + 3 + 2 + 1
    assert picture.title == picture.texts[-2].text == "Which loss reaches which step"
    assert (tmp_path / "triangle.svg").read_bytes().startswith(b"<svg")
    with pytest.raises(ValueError, match="no state 'q'"):
        viz.influence(losses, state="q")


def test_contributions_add_up_to_the_gradient() -> None:
    loss, parameters = nets.every_loss(nn.LSTMCell(3, 4, rng=0), nets.inputs(5))
    picture = viz.contributions(loss)
    trace = tr.backprop(loss, keep="arrays")
    rows = [t.text for t in picture.texts if t.text in parameters]
    for name in ("W_hh", "b"):
        by_step = trace.by_step(parameters[name])
        np.testing.assert_allclose(
            by_step.sum(axis=0), trace.gradient(parameters[name]), rtol=1e-12
        )
        i = rows.index(name)
        shown = [n.value for n in picture.nodes if n.id.startswith(f"m0_{i}_")]
        assert shown == pytest.approx([np.linalg.norm(part) for part in by_step], rel=1e-12)


def test_third_derivative_of_tanh() -> None:
    """The graph of a gradient of a gradient is a graph like any other."""
    x = tr.Tensor(0.7, requires_grad=True, name="x")
    y = tr.tanh(x)
    for _ in range(3):
        (y,) = tr.grad(y, x, create_graph=True)
    picture = nets.draw(y)
    (node,) = [n for n in picture.nodes if n.label == "x"]
    t = np.tanh(0.7)
    fourth = 8 * t * (1 - t**2) * (2 - 3 * t**2)  # by hand
    assert node.value == pytest.approx(abs(fourth), rel=1e-9)
    assert {e.kind for e in picture.edges} == {"message"}
    assert picture.svg


def test_large_expression_graphs_are_placed_by_us() -> None:
    x = tr.Tensor(0.1, requires_grad=True)
    y = x
    for _ in range(2000):
        y = tr.tanh(y * 1.01)
    picture = nets.draw(y)
    assert len([n for n in picture.nodes if n.kind == "op"]) == 3999


def test_drawing_does_not_touch_gradients() -> None:
    loss, parameters = nets.simple("gru", 3)
    loss.backward()
    before = {name: p.grad for name, p in parameters.items()}
    nets.draw(loss)
    for name, p in parameters.items():
        assert np.array_equal(p.grad, before[name])


def test_the_text_form_is_a_table() -> None:
    text = str(nets.draw(nets.simple("elman", 2)[0]))
    assert "ElmanCell unrolled over 2 steps" in text
    assert "tanh → h₁" in text


def test_cleaning() -> None:
    assert clean("a\x00b\u202ec\ud800") == "a\ufffdbc\ufffd"
    assert len(clean("x" * 100_000)) == 200
