"""A derived program computes what `unroll` computes: values and all gradients, to rounding."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
import viz
from tests.cells import CELLS, each_cell

T, B, I, H = 6, 3, 4, 5  # noqa: E741


def make(name: str, dtype: Any = np.float64) -> Any:
    """A cell of the shared table, of this file's sizes."""
    return CELLS[name](I, H, dtype=dtype)


def derived(program: tr.Program) -> list[Any]:
    """What has been derived so far."""
    return [made for each in program._made.values() for made in each]


def everything(
    run: Any, cell: Any, xs: Any, state: Any, lengths: Any, reverse: bool
) -> list[np.ndarray]:
    """Outputs, last state, and the gradients of xs, the first state and every parameter."""
    xs = tr.Tensor(xs, requires_grad=True)
    parts = [tr.Tensor(s, requires_grad=True) for s in state]
    first = tuple(parts) if len(parts) > 1 else parts[0]
    outputs, last = run(xs, first, lengths, reverse)
    outputs = outputs if isinstance(outputs, tr.Tensor) else tr.stack(outputs)
    ends = [outputs, *(last if isinstance(last, tuple) else [last])]
    rng = np.random.default_rng(1)
    loss = sum(((e * rng.standard_normal(e.shape).astype(e.dtype)).sum() for e in ends), 0.0)
    wanted = [xs, *parts, *cell.parameters()]
    for w in wanted:
        w.grad = None
    loss.backward()
    return [e.data for e in ends] + [
        np.zeros(w.shape) if w.grad is None else w.grad for w in wanted
    ]


def assert_same(
    cell: Any, tolerance: float = 1e-12, T: int = T, target: Any = "numpy", **how: Any
) -> None:
    rng = np.random.default_rng(0)
    first = cell.initial_state(B)
    parts = first if isinstance(first, tuple) else (first,)
    dtype = parts[0].dtype
    xs = rng.standard_normal((T, B, I)).astype(dtype)
    state = [rng.standard_normal(p.shape).astype(dtype) for p in parts]
    how = {"lengths": None, "reverse": False} | how

    def unrolled(*arguments: Any) -> Any:
        return tr.nn.unroll(cell, *arguments)

    want = everything(unrolled, cell, xs, state, **how)
    got = everything(tr.derive(cell, target=target), cell, xs, state, **how)
    for w, g in zip(want, got, strict=True):
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance)


@each_cell
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, [6, 1, 4]])
def test_same_values_and_gradients_as_unroll(name: str, reverse: bool, lengths: Any) -> None:
    assert_same(make(name), lengths=lengths, reverse=reverse)


@each_cell
def test_in_single_precision(name: str) -> None:
    assert_same(make(name, np.float32), 1e-4, lengths=[6, 2, 3])


@each_cell
def test_a_single_step(name: str) -> None:
    assert_same(make(name), T=1)


def test_steps_may_come_as_a_list_and_outputs_iterate() -> None:
    cell = make("gru")
    rng = np.random.default_rng(0)
    xs = [tr.Tensor(rng.standard_normal((B, I))) for _ in range(T)]
    want, _ = tr.nn.unroll(cell, xs)
    got, _ = tr.derive(cell)(xs)
    for w, g in zip(want, got, strict=True):
        np.testing.assert_allclose(g.data, w.data, atol=1e-12)


def test_layers_of_programs_are_layers_of_cells() -> None:
    cells = [tr.nn.GRUCell(I, H, rng=0), tr.nn.LSTMCell(I, H, rng=1), tr.nn.ElmanCell(2 * H, 3)]
    cells.append(tr.nn.LearnedState(tr.nn.LSTMCell(3, H, rng=2)))
    xs = np.random.default_rng(0).standard_normal((T, B, I))
    found = []
    for make in (lambda cell: cell, tr.derive):
        a, b, c, d = (make(cell) for cell in cells)
        net = tr.nn.Stacked(tr.nn.Bidirectional(a, b), c, d)
        outputs, _ = net(xs, lengths=[6, 1, 4])
        (tr.stack(outputs) ** 2).sum().backward()
        found.append([tr.stack(outputs).data, *(p.grad for p in net.parameters())])
        for p in net.parameters():
            p.grad = None
    for want, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_gradients_agree_with_finite_differences() -> None:
    """Independent of the engine's rules: values of the program alone."""
    cell = make("peephole")
    program = tr.derive(cell)
    rng = np.random.default_rng(0)
    xs, lengths = rng.standard_normal((T, B, I)), [6, 1, 4]

    def loss() -> tr.Tensor:
        outputs, (h, c) = program(xs, lengths=lengths)
        return (outputs * outputs).sum() + tr.sin(h).sum() + c.sum()

    loss().backward()
    for p in cell.parameters():
        start, direction = p.data, rng.standard_normal(p.shape)
        ends = []
        for sign in (1, -1):
            p.data = start + sign * 1e-6 * direction
            ends.append(loss().item())
        p.data = start
        assert p.grad is not None
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx((p.grad * direction).sum(), rel=1e-6)


def test_new_weights_are_used_without_deriving_again() -> None:
    cell = make("lstm")
    program = tr.derive(cell)
    xs = np.ones((T, B, I))
    program(xs)
    cell.W_xh.data = cell.W_xh.data * 2
    want, _ = tr.nn.unroll(cell, xs)
    np.testing.assert_allclose(program(xs)[0].data[-1], want[-1].data, atol=1e-12)
    assert len(derived(program)) == 1
    program(np.ones((T + 5, B, I)))
    assert len(derived(program)) == 1  # any number of steps
    program(np.ones((T, B + 1, I)))
    assert len(derived(program)) == 2


def test_backward_twice_gives_twice_the_gradient() -> None:
    cell = make("gru")
    outputs, _ = tr.derive(cell)(np.ones((T, B, I)))
    loss = (outputs * outputs).sum()
    loss.backward()
    once = cell.W_hh.grad.copy()
    loss.backward()
    np.testing.assert_allclose(cell.W_hh.grad, 2 * once, rtol=1e-12)


def test_a_program_is_one_box_in_the_graph() -> None:
    outputs, _ = tr.derive(make("lstm"))(np.ones((T, B, I)))
    packed = outputs.inputs[0]
    assert packed.primitive is not None
    assert packed.primitive.name == "▶ program of LSTMCell"


def test_programs_pickle() -> None:
    program = tr.derive(make("lstm"))
    want = program(np.ones((T, B, I)))[0].data
    again = pickle.loads(pickle.dumps(program))
    np.testing.assert_array_equal(again(np.ones((T, B, I)))[0].data, want)
    assert again.source == program.source


def test_second_derivatives_point_to_unroll() -> None:
    cell = make("elman")
    xs = tr.Tensor(np.ones((T, B, I)), requires_grad=True)
    outputs, _ = tr.derive(cell)(xs)
    with pytest.raises(RuntimeError, match=r"second derivative.*use unroll"):
        tr.grad(outputs.sum(), xs, create_graph=True)


def test_without_recording_there_is_no_history() -> None:
    with tr.no_grad():
        outputs, h = tr.derive(make("elman"))(np.ones((T, B, I)))
    assert outputs.primitive is None
    assert not h.requires_grad


class Branching(tr.nn.ElmanCell):
    def __call__(self, x: Any, h: Any) -> Any:
        h = x @ self.W_xh + h @ self.W_hh
        h = tr.tanh(h) if h.sum().item() > 0 else tr.sin(h)
        return h, h


class Noisy(tr.nn.ElmanCell):
    def __call__(self, x: Any, h: Any) -> Any:
        h = tr.tanh(x @ self.W_xh + h @ self.W_hh)
        return h * np.random.default_rng().random(h.shape), h


class Peeking(tr.nn.ElmanCell):
    def __call__(self, x: Any, h: Any) -> Any:
        h = tr.tanh(x @ self.W_xh + h @ self.W_hh)
        return h, h - h.data.max()


class Moody(tr.nn.ElmanCell):
    def __call__(self, x: Any, h: Any) -> Any:
        h = tr.tanh(x @ self.W_xh + h @ self.W_hh)
        if h.sum().item() > 0:
            h = -h
        return h, h


@pytest.mark.parametrize(
    ("cell", "operation"),
    [(Branching, "tanh|sin"), (Noisy, "multiply"), (Peeking, "subtract"), (Moody, "negative")],
)
def test_what_depends_on_the_data_is_refused_with_its_line(cell: Any, operation: str) -> None:
    program = tr.derive(cell(I, H, rng=0))
    where = rf"({operation}) at test_program.py, line \d+ was recorded differently"
    with pytest.raises(tr.DeriveError, match=where):
        program(np.ones((T, B, I)))
    tr.nn.unroll(program.cell, np.ones((T, B, I)))  # still works


class Growing(tr.nn.ElmanCell):
    def __call__(self, x: Any, h: Any) -> Any:
        h = tr.concatenate([h, x], axis=1)
        return h, h


def test_a_state_that_changes_shape_is_refused() -> None:
    with pytest.raises(tr.DeriveError, match="a state of the form, shapes and precision"):
        tr.derive(Growing(I, H, rng=0))(np.ones((T, B, I)))


def test_bad_inputs_are_refused() -> None:
    program = tr.derive(make("elman"))
    with pytest.raises(ValueError, match=r"expected \(T, B, I\)"):
        program(np.ones((0, B, I)))
    with pytest.raises(ValueError, match="lengths from 0 to 4"):
        program(np.ones((T, B, I)), lengths=[0, 1, 4])


@pytest.mark.parametrize("name", ["elman", "lstm", "peephole", "gru"])
def test_the_text_is_the_one_that_was_read_and_found_good(name: str) -> None:
    text = tr.derive(make(name)).source
    golden = Path(__file__).with_name("golden") / f"{name}.py"
    assert text == golden.read_text(encoding="utf-8")


def test_the_elman_program_fits_on_a_slide() -> None:
    text = tr.derive(make("elman")).source
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 40
    assert max(len(line) for line in text.splitlines()) <= 100


def test_the_text_runs_alone() -> None:
    """NumPy and nothing else: paste it anywhere."""
    cell = make("lstm")
    program = tr.derive(cell)
    xs = np.ones((T, B, I))
    found: dict[str, Any] = {}
    exec(program.source, found)
    assert set(re.findall(r"^(?:import|from) (\w+)", program.source, re.M)) == {"numpy"}
    outputs, _, _ = found["forward"](
        xs, *(s.data for s in cell.initial_state(B)), *(p.data for p in cell.parameters())
    )
    np.testing.assert_allclose(outputs, program(xs)[0].data, atol=1e-12)


MASKED = {"lengths": [T, 2, 1]}


@pytest.mark.parametrize("order", [{}, MASKED, MASKED | {"reverse": True}])
@pytest.mark.parametrize("kind", [kind for kind in CELLS if CELLS[kind].analytic])
def test_gradcheck_passes_through_a_program(kind: str, order: Any) -> None:
    """By complex step, to rounding; a second run in between does not spoil what backward needs."""
    program = tr.derive(make(kind))
    xs = np.random.default_rng(0).normal(size=(T, B, I))
    report = tr.check.gradcheck(lambda xs: program(xs, **order), xs)
    assert report, report
    assert all(c.method == "complex step" and c.worst < 1e-13 for c in report.comparisons)
    names = {c.variable.name for c in report.comparisons}
    assert len(names) == 1 + len(program.cell.named_parameters())


@pytest.mark.parametrize("layer", [tr.nn.RNN, tr.nn.LSTM, tr.nn.GRU])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2, "dropout": 0.3}])
def test_a_derived_layer_is_the_same_layer(layer: Any, options: Any) -> None:
    """Outputs, states, gradients, dropout's draws, names; only the record is shorter."""
    plain, derived = layer(I, H, rng=0, **options), layer(I, H, rng=0, wrap=tr.derive, **options)
    assert list(plain.named_parameters()) == list(derived.named_parameters())
    xs = tr.Tensor(np.random.default_rng(0).normal(size=(T, B, I)), requires_grad=True)
    found = []
    for net in (plain, derived):
        outputs, state = net(xs, lengths=[T, 2, 1])
        parts = state if isinstance(state, tuple) else (state,)
        loss = (outputs**2).sum()
        for part in parts:
            loss = loss + (part**3).sum()
        leaves = [xs, *net.parameters()]
        found.append([outputs, *parts, *tr.grad(loss, leaves)])
        steps = len(tr.backprop(loss).tensors)
        assert steps < 20 * len(net.cells()) + 30 or net is plain
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-12)
    derived.load_state_dict(plain.state_dict())


def test_a_picture_says_how_to_see_inside_a_program() -> None:
    outputs, _ = tr.derive(tr.nn.LSTMCell(I, H, rng=0))(np.ones((T, B, I)))
    texts = " ".join(text.text for text in viz.draw((outputs**2).sum()).texts)
    assert "▶ program of LSTMCell: draw unroll(cell, xs) to see inside." in texts


@pytest.mark.parametrize("lengths", [None, [T, 2, 1]])
@pytest.mark.parametrize("kind", ["elman", "lstm", "gru"])
def test_a_readout_and_its_loss_become_part_of_the_program(kind: str, lengths: Any) -> None:
    """Against the recorded net with cross entropy: the losses and all gradients."""
    cell, scores = make(kind), tr.nn.Linear(H, 7, rng=1)

    def readout(h: Any, target: Any) -> Any:
        log_p = tr.log_softmax(scores(h))
        return -(target * log_p).sum(axis=-1)

    rng = np.random.default_rng(0)
    xs = tr.Tensor(rng.normal(size=(T, B, I)), requires_grad=True)
    targets = rng.integers(7, size=(T, B))
    leaves = [xs, *cell.parameters(), *scores.parameters()]
    program = tr.derive(cell, readout)
    assert set(program.parameters()) == {*cell.parameters(), *scores.parameters()}
    losses, _ = program(xs, lengths=lengths, targets=np.eye(7)[targets])
    running = np.arange(T)[:, None] < np.array(lengths or [T] * B)
    assert losses.shape == (T, B)
    assert not losses.data[~running].any()
    outputs, _ = tr.nn.unroll(cell, xs, lengths=lengths)
    expected = tr.nn.cross_entropy(scores(tr.stack(outputs)), targets, running)
    assert losses.data.sum() == pytest.approx(expected.item(), rel=1e-12)
    pairs = zip(tr.grad(losses.sum(), leaves), tr.grad(expected, leaves), strict=True)
    for found, right in pairs:
        np.testing.assert_allclose(found.data, right.data, rtol=1e-11, atol=1e-12)
    loop = program.source.split("# The recurrence.")[1].split("# What the recurrence")[0]
    assert "scores" not in loop  # it waits for nothing: all steps at once


def test_a_readout_that_is_no_use_is_refused() -> None:
    cell = tr.nn.ElmanCell(I, H, rng=0)
    with pytest.raises(tr.DeriveError, match=r"expected something for each of the 3 sequences"):
        tr.derive(cell, lambda h: h.sum())(np.ones((T, B, I)))
    program = tr.derive(cell, lambda h, target: (h * target).sum(axis=-1))
    with pytest.raises(ValueError, match=r"targets of shape \(2, 3\); expected \(6, 3, ...\)"):
        program(np.ones((T, B, I)), targets=np.ones((2, 3)))
    with pytest.raises(tr.DeriveError, match="once it has been called"):
        program.source  # noqa: B018


def test_the_source_is_that_of_the_last_call_and_nothing_is_derived_twice() -> None:
    program = tr.derive(tr.nn.LSTMCell(I, H, rng=0))
    program(np.ones((T, B, I)))
    plain = program.source
    program(np.ones((T, B, I)), lengths=[T, 2, 1])
    assert "running" in program.source
    for steps in range(1, 30):
        program(np.ones((steps, B, I)))
    assert program.source == plain
    assert len(derived(program)) == 2
