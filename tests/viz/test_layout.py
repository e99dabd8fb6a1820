"""That unrolled pictures are sound: no overlaps, arrows that touch, equal steps drawn equally."""

from __future__ import annotations

import itertools
import math
from typing import Any

import nets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from viz.model import Drawing, Edge, Node

MARKS = {"swatch", "sample", "joint", "callout"}


def check(picture: Drawing) -> None:
    """No two boxes overlap, every edge ends on its nodes, all lies finite within the page."""
    nodes = {node.id: node for node in picture.nodes}
    assert len(nodes) == len(picture.nodes)
    assert len({edge.id for edge in picture.edges}) == len(picture.edges)
    boxes = sorted((n for n in picture.nodes if n.kind not in MARKS), key=lambda n: n.x)
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            if b.x - a.x > 300:
                break
            apart_x = abs(a.x - b.x) - (a.width + b.width) / 2
            apart_y = abs(a.y - b.y) - (a.height + b.height) / 2
            assert max(apart_x, apart_y) > 0, (a.label, a.step, b.label, b.step)
    for edge in picture.edges:
        assert (len(edge.curve) - 1) % 3 == 0, edge
        for end, point in ((edge.source, edge.curve[0]), (edge.target, edge.curve[-1])):
            assert touches(nodes[end], point), (edge, nodes[end])
    x0, y0, x1, y1 = picture.bounds()
    assert all(map(math.isfinite, (x0, y0, x1, y1)))
    for edge in picture.edges:
        assert all(x0 - 1 <= x <= x1 + 1 and y0 - 1 <= y <= y1 + 1 for x, y in edge.curve)


def touches(node: Node, point: tuple[float, float]) -> bool:
    """Whether a point lies on the border of a node."""
    dx, dy = abs(point[0] - node.x) - node.width / 2, abs(point[1] - node.y) - node.height / 2
    return abs(max(dx, dy)) < 1.5


def crossed(picture: Drawing) -> list[tuple[Edge, Node]]:
    """Message arrows that run through a node that is not one of their ends."""
    found = []
    boxes = [n for n in picture.nodes if n.kind in ("op", "state", "input", "output")]
    for edge in picture.edges:
        if edge.kind not in ("message", "tap"):
            continue
        corners = edge.curve[::3]
        for (ax, ay), (bx, by) in itertools.pairwise(corners):
            for n in boxes:
                if n.id in (edge.source, edge.target):
                    continue
                steps = max(2, int(max(abs(ax - bx), abs(ay - by)) / 4))
                for s in range(steps + 1):
                    x, y = ax + (bx - ax) * s / steps, ay + (by - ay) * s / steps
                    if abs(x - n.x) < n.width / 2 - 1 and abs(y - n.y) < n.height / 2 - 1:
                        found.append((edge, n))
                        break
    return found


ALL = {
    **{name: (lambda name=name: nets.simple(name, 3)) for name in nets.CELLS},
    "losses": lambda: nets.every_loss(nn.GRUCell(3, 4, rng=0), nets.inputs(3)),
    "bidirectional": lambda: nets.bidirectional(3),
    "stacked": lambda: nets.stacked(3),
    "truncated": lambda: nets.truncated(2),
    "lengths": lambda: nets.last_loss(nn.LSTMCell(3, 4, rng=0), nets.inputs(3), lengths=[3, 1]),
    "encoder, decoder": lambda: nets.encoder_decoder(3),
    "masked layers": lambda: nets.masked_layers(3),
    "hoisted": lambda: nets.hoisted(3),
    "odd": lambda: nets.every_loss(nets.OddCell(), nets.inputs(3)),
    "one step": lambda: nets.simple("lstm", 1),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("show", ["gradient", "forward"])
@pytest.mark.parametrize("level", ["op", "scope", "cell"])
def test_layout_is_sound(name: str, show: Any, level: Any) -> None:
    if name == "one step" and level == "cell":
        return
    picture = nets.draw(ALL[name]()[0], show=show, level=level)
    check(picture)
    assert [(e.tooltip, n.label, n.step) for e, n in crossed(picture)] == []


@pytest.mark.parametrize("name", ALL)
def test_rails_end_in_the_gradient(name: str) -> None:
    """The nearest segment of a rail, and the box, show the norm that backward() leaves."""
    loss, parameters = ALL[name]()
    picture = nets.draw(loss)
    assert all(p.grad is None for p in parameters.values())  # drawing changed nothing
    loss.backward()
    nodes = {node.id: node for node in picture.nodes}
    edges = {edge.id: edge for edge in picture.edges}
    wanted = {p.number: np.linalg.norm(p.grad) for p in parameters.values()}
    seen = set()
    for rail in picture.rails:
        tensor = nodes[rail.node].tensor
        if tensor in wanted:
            seen.add(tensor)
            assert nodes[rail.node].value == pytest.approx(wanted[tensor], rel=1e-12)
            if rail.segments and name != "one step":
                assert edges[rail.segments[-1]].value == pytest.approx(wanted[tensor], rel=1e-12)
    assert seen == set(wanted)


def test_taps_are_the_contributions_of_each_step() -> None:
    loss, parameters = nets.simple("elman", 4)
    picture = nets.draw(loss)
    by_step = tr.backprop(loss, keep="arrays").by_step(parameters["W_xh"])
    nodes = {node.id: node for node in picture.nodes}
    edges = {edge.id: edge for edge in picture.edges}
    (rail,) = [r for r in picture.rails if nodes[r.node].label == "W_xh"]
    shown = {nodes[edges[tap].target].step: edges[tap].value for tap in rail.taps}
    assert shown == pytest.approx({t: np.linalg.norm(by_step[t]) for t in range(4)}, rel=1e-12)
    sums = [np.linalg.norm(by_step[t:].sum(axis=0)) for t in (3, 2, 1, 0)]
    assert [edges[s].value for s in rail.segments] == pytest.approx(sums, rel=1e-12)


def test_nodes_and_messages_show_the_trace() -> None:
    loss, _ = nets.every_loss(nn.PeepholeLSTMCell(3, 4, rng=0), nets.inputs(3))
    trace = tr.backprop(loss)
    picture = nets.draw(trace)
    norms = {t.number: trace.norm(t) for t in trace.tensors}
    for node in picture.nodes:
        if node.tensor in norms:
            assert node.value == norms[node.tensor]
    covered = [e for edge in picture.edges for e in edge.events]
    assert sorted(covered) == list(range(len(trace.events)))  # each message on one arrow
    for edge in picture.edges:
        if edge.events:
            assert edge.value == pytest.approx(trace.events[edge.events[-1]].norm, rel=1e-12)


@pytest.mark.parametrize("name", ["elman", "lstm", "gru", "peephole", "jordan"])
def test_equal_steps_look_equal(name: str) -> None:
    picture = nets.draw(nets.simple(name, 4)[0])
    left = {b.tooltip.split()[-1]: b.x0 for b in picture.boxes if b.kind == "step"}
    steps = [
        sorted(
            (n.kind, round(n.x - left[str(t)], 6), n.y)
            for n in picture.nodes
            if n.step == t and n.kind in ("op", "state", "input") and "init" not in n.label
        )
        for t in range(4)
    ]
    assert steps[0] == steps[1] == steps[2] == steps[3]


def test_a_state_from_another_net_enters_like_any_other() -> None:
    picture = nets.draw(nets.encoder_decoder(2)[0])
    rows = [
        sorted(
            (n.label.split(" ")[0], n.y) for n in picture.nodes if n.step == t and n.kind == "op"
        )
        for t in (0, 1)
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("name", ["elman", "lstm", "gru", "peephole"])
def test_states_run_on_straight_rows(name: str) -> None:
    """Each state stands at one height in every step, and is level until it is inside the next.

    Where it is read several times, the arrows run side by side.
    """
    picture = nets.draw(nets.simple(name, 4)[0])
    heights = {(n.label.split()[-1][0], n.y) for n in picture.nodes if n.kind == "state"}
    assert len(heights) == (2 if name in ("lstm", "peephole") else 1)
    nodes = {n.id: n for n in picture.nodes}
    begins = sorted(box.x0 for box in picture.boxes if box.kind == "step")
    onward = [
        (nodes[e.source], e) for e in picture.edges
        if nodes[e.source].kind == "state" and nodes[e.target].step == nodes[e.source].step + 1
    ]  # fmt: skip
    assert {state.id for state, _ in onward} == {
        n.id for n in picture.nodes if n.kind == "state" and n.step != 3
    }
    seen = set()
    for state, edge in onward:
        border = begins[state.step + 1]
        until = next(i for i, (x, _) in enumerate(edge.curve) if x > border)
        (height,) = {y for _, y in edge.curve[: until + 1]}
        assert abs(height - state.y) < state.height / 2
        assert (state.id, height) not in seen
        seen.add((state.id, height))


def test_backward_direction_is_mirrored() -> None:
    """In the second band the state, and the rail, run from right to left."""
    picture = nets.draw(nets.bidirectional(3)[0])
    boxes = [n for n in picture.nodes if n.kind == "parameter"]
    steps = [n.x for n in picture.nodes if n.step is not None and n.kind == "op"]
    right = [n for n in boxes if n.x > max(steps)]
    left = [n for n in boxes if n.x < min(steps)]
    assert {n.label for n in left} >= {"W_xh⁽¹⁾", "W_hh⁽¹⁾", "b⁽¹⁾"}
    assert len(right) == 4  # the GRU's


@pytest.mark.parametrize("level", ["scope", "cell"])
def test_nets_below_each_other_keep_to_themselves(level: Any) -> None:
    """No arrow of the one runs where the other is drawn, and their losses are not joined."""
    losses = {
        name: nets.every_loss(nn.LSTMCell(3, 4, rng=0), nets.inputs(3))[0] for name in ("a", "b")
    }
    picture = nets.draw(losses, level=level)
    tall = {name: [b for b in picture.boxes if b.tooltip.startswith(name)] for name in losses}
    (top, bottom) = tall.values()
    between = max(b.y1 for b in top), min(b.y0 for b in bottom)
    assert between[0] < between[1]
    for edge in picture.edges:
        if edge.kind in ("message", "link"):
            heights = [y for _, y in edge.curve]
            assert max(heights) < between[1] or min(heights) > between[0]


def test_truncation_is_a_cut() -> None:
    """A dashed line, and no gradient on the arrow across it."""
    picture = nets.draw(nets.truncated(2)[0])
    assert [e.kind for e in picture.edges].count("cut") == 1
    links = [e for e in picture.edges if e.kind == "link"]
    assert [e.value for e in links] == [None, None]  # h and c


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(nets.CELLS)),
    steps=st.integers(1, 6),
    every=st.booleans(),
    reverse=st.booleans(),
    lengths=st.booleans(),
    data=st.data(),
)
def test_any_cell_and_length(
    name: str, steps: int, every: bool, reverse: bool, lengths: bool, data: Any
) -> None:
    cell = nets.CELLS[name](3, 2, rng=0)
    options: dict[str, Any] = {"reverse": reverse}
    if lengths:
        options["lengths"] = data.draw(st.lists(st.integers(1, steps), min_size=2, max_size=2))
    loss, _ = (nets.every_loss if every else nets.last_loss)(cell, nets.inputs(steps), **options)
    check(nets.draw(loss))
    check(nets.draw(loss, fold=(1, 1)))
    if steps > 1 and (every or not reverse):  # else one step alone is reached
        check(nets.draw(loss, level="cell"))


def expression(size: int, seed: int) -> tr.Tensor:
    """A random graph of a hundred small operations, all within one step."""
    rng = np.random.default_rng(seed)
    found = [tr.Tensor(rng.normal(size=3), requires_grad=True) for _ in range(3)]
    with tr.step(0):
        for _ in range(size):
            a, b = (found[i] for i in rng.integers(max(0, len(found) - 8), len(found), size=2))
            found.append((a + b, a * b, tr.tanh(a))[rng.integers(3)])
        return sum(found[3:], found[0]).sum()


@pytest.mark.parametrize("seed", range(8))
def test_any_graph_inside_a_step(seed: int) -> None:
    picture = nets.draw(expression(25, seed))
    check(picture)
    assert crossed(picture) == []


class RandomCell(nn.Module):
    """A cell that nobody would design: random operations on the input and one to three states."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.states = int(self.rng.integers(1, 4))
        self.W = [tr.Tensor(self.rng.normal(size=(3, 3)), requires_grad=True) for _ in range(3)]
        self.plan = self.rng.integers(0, 1000, size=(int(self.rng.integers(4, 16)), 3))

    def initial_state(self, batch: int) -> Any:
        start = tuple(tr.Tensor(np.full((batch, 3), 0.1)) for _ in range(self.states))
        return start if self.states > 1 else start[0]

    def __call__(self, x: tr.Tensor, state: Any) -> Any:
        found = [x, *(state if self.states > 1 else (state,))]
        found.append(sum(found[1:], found[0]) @ self.W[0])
        for kind, i, j in self.plan:
            a, b = found[-1 - i % min(5, len(found))], found[-1 - j % min(5, len(found))]
            makers = (
                lambda a=a, b=b: a + b,
                lambda a=a, b=b: a * b,
                lambda a=a: tr.tanh(a),
                lambda a=a, k=kind: a @ self.W[k % 3],
                lambda a=a: 1.0 - a,
            )
            found.append(makers[kind % 5]())
        new = tuple(found[-self.states :])
        return found[-1], new if self.states > 1 else new[0]


@pytest.mark.parametrize("seed", range(30))
def test_any_cell_of_a_users(seed: int) -> None:
    every = seed % 2 == 0
    make = nets.every_loss if every else nets.last_loss
    options: dict[str, Any] = {"reverse": seed % 3 == 0 and every}
    if seed % 5 == 0:
        options["lengths"] = [4, 2]
    loss, _ = make(RandomCell(seed), nets.inputs(4), **options)
    picture = nets.draw(loss)
    check(picture)
    assert crossed(picture) == []
    check(nets.draw(loss, fold=(1, 1)))


def test_long_sequences_are_placed_without_recursion() -> None:
    h = tr.Tensor(0.5, requires_grad=True)
    w = tr.Tensor(0.9, requires_grad=True, name="w")
    for t in range(1500):  # more than Python's recursion limit
        with tr.step(t):
            h = tr.tanh(w * h)
    picture = nets.draw(h, fold=None)
    assert sum(n.kind == "state" for n in picture.nodes) == 1499
    assert len(picture.dot) > 300_000
