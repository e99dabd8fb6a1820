"""Cells and time: closed forms, hand loops, lengths, directions, second order, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn

from ..cells import CELLS, H, I, Leaky, each_cell

T, B = 5, 3


def inputs(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((T, B, I))


def parts(state: Any) -> tuple[tr.Tensor, ...]:
    return (state,) if isinstance(state, tr.Tensor) else tuple(state)


# --- what can be worked out by hand ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("xs", "expected"),
    [([1, 1, 2], [4, 12, 32]), ([1, 2, 1], [4, 16, 36])],
    ids=["the lecture's order", "another order"],
)
def test_a_linear_unit_of_all_ones(xs: list[int], expected: list[int]) -> None:
    """Two inputs, two hidden, two outputs, all weights 1: memory, and order matters."""
    cell = nn.ElmanCell(2, 2, nonlinearity=lambda a: a, bias=False)
    cell.W_xh.data = cell.W_hh.data = np.ones((2, 2))
    outputs, _ = nn.unroll(cell, np.array(xs, float)[:, None, None] * np.ones((1, 1, 2)))
    found = [(h @ np.ones((2, 2))).data.tolist() for h in outputs]
    assert found == [[[y, y]] for y in expected]


def test_jordan_feeds_back_the_output_after_its_softmax() -> None:
    cell, xs = nn.JordanCell(I, 6, H, rng=0), inputs()
    outputs, _ = nn.unroll(cell, xs)
    W_xh, W_yh, b, W_hy, b_y = (p.data for p in cell.parameters())
    y = np.zeros((B, H))
    for x, found in zip(xs, outputs, strict=True):
        z = np.tanh(x @ W_xh + y @ W_yh + b) @ W_hy + b_y
        y = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found.data, y, rtol=1e-13)


def test_parameters_are_counted_as_the_textbooks_do() -> None:
    def count(module: Any) -> int:
        return sum(p.size for p in module.parameters())

    assert count(nn.LSTMCell(7, 5)) == 4 * count(nn.ElmanCell(7, 5))
    # Gers, Schraudolph and Schmidhuber 2002: one cell, one input, one output unit with a bias.
    assert count(nn.PeepholeLSTMCell(1, 1)) + count(nn.Linear(1, 1)) == 17


def test_peepholes_look_at_the_right_store() -> None:
    """The input and forget gates see c of the step before, the output gate that of this step."""
    cell = nn.PeepholeLSTMCell(1, 1, rng=0)
    x, h, c = (tr.Tensor([[value]]) for value in (0.3, -0.2, 0.7))
    p = {name: value.data for name, value in cell.named_parameters().items()}
    a = 0.3 * p["W_xh"][0] - 0.2 * p["W_hh"][0] + p["b"]

    def sigmoid(z: Any) -> Any:
        return 1 / (1 + np.exp(-z))

    new_c = sigmoid(a[1] + p["p_f"] * 0.7) * 0.7 + sigmoid(a[0] + p["p_i"] * 0.7) * np.tanh(a[2])
    new_h = sigmoid(a[3] + p["p_o"] * new_c) * np.tanh(new_c)
    output, (h, c) = cell(x, (h, c))
    assert output is h
    np.testing.assert_allclose(c.data[0], new_c, rtol=1e-14)
    np.testing.assert_allclose(h.data[0], new_h, rtol=1e-14)


def test_the_forget_bias_is_added_to_the_forget_gate_alone() -> None:
    plain, open_ = nn.LSTMCell(2, 3, rng=0), nn.LSTMCell(2, 3, forget_bias=1.0, rng=0)
    np.testing.assert_allclose(open_.b.data - plain.b.data, [0] * 3 + [1] * 3 + [0] * 6)


def test_without_a_bias_nothing_of_it_is_trained() -> None:
    for cell in (nn.ElmanCell(2, 3, bias=False), nn.GRUCell(2, 3, bias=False)):
        assert sorted(cell.named_parameters()) == ["W_hh", "W_xh"]


# --- time -----------------------------------------------------------------------------------------


@each_cell
@pytest.mark.parametrize("reverse", [False, True])
def test_a_batch_gives_what_each_sequence_gives_alone(name: str, reverse: bool) -> None:
    """Values, end states and all gradients, with garbage where the sequences have ended."""
    lengths, xs = [5, 1, 3], inputs()
    xs[1:, 1], xs[3:, 2], xs[4, 2] = 1e6, np.inf, np.nan
    cell = CELLS[name]()
    u = np.random.default_rng(1).standard_normal((T, B, H))
    x = tr.Tensor(xs, requires_grad=True)
    outputs, state = nn.unroll(cell, x, lengths=lengths, reverse=reverse)
    total = (tr.stack(outputs) * u).sum()
    for part in parts(state):
        total = total + (part * part).sum()
    total.backward()

    alone = CELLS[name]()
    for b, length in enumerate(lengths):
        own = tr.Tensor(xs[:length, b : b + 1], requires_grad=True)
        outputs_b, state_b = nn.unroll(alone, own, reverse=reverse)
        total = (tr.stack(outputs_b) * u[:length, b : b + 1]).sum()
        for part, whole in zip(parts(state_b), parts(state), strict=True):
            total = total + (part * part).sum()
            np.testing.assert_allclose(whole.data[b], part.data[0], rtol=1e-12)
        total.backward()
        for t in range(T):
            expected = outputs_b[t].data[0] if t < length else np.zeros(H)
            np.testing.assert_allclose(outputs[t].data[b], expected, rtol=1e-12)
        assert x.grad is not None
        np.testing.assert_allclose(x.grad[:length, b], own.grad[:, 0], rtol=1e-11, atol=1e-14)
        assert not x.grad[length:, b].any()
    for p, q in zip(cell.parameters(), alone.parameters(), strict=True):
        np.testing.assert_allclose(p.grad, q.grad, rtol=1e-10, atol=1e-13)


@each_cell
def test_reversed_is_the_flipped_sequence(name: str) -> None:
    cell, xs = CELLS[name](), inputs()
    outputs, _ = nn.unroll(cell, xs, reverse=True)
    flipped, _ = nn.unroll(cell, xs[::-1].copy())
    for a, b in zip(outputs, flipped[::-1], strict=True):
        np.testing.assert_array_equal(a.data, b.data)


@each_cell
def test_steps_and_scope_are_recorded(name: str) -> None:
    outputs, _ = nn.unroll(CELLS[name](), inputs(), reverse=True, first_step=10)
    for t, output in enumerate(outputs):
        assert output.scope is not None
        assert output.scope.step == 10 + t
    assert outputs[0].scope is not None
    assert outputs[0].scope.chain()[0].owner is not None


@each_cell
def test_two_directions_are_two_runs(name: str) -> None:
    xs, lengths = inputs(), [5, 2, 4]
    net = nn.Bidirectional(CELLS[name](), CELLS[name](rng=1))
    outputs, (ahead, back) = net(xs, lengths=lengths)
    left, left_state = nn.unroll(net.forward, xs, lengths=lengths)
    right, right_state = nn.unroll(net.backward, xs, lengths=lengths, reverse=True)
    for both, a, b in zip(outputs, left, right, strict=True):
        np.testing.assert_array_equal(both.data, np.concatenate([a.data, b.data], axis=-1))
    for found, expected in ((ahead, left_state), (back, right_state)):
        for p, q in zip(parts(found), parts(expected), strict=True):
            np.testing.assert_array_equal(p.data, q.data)


def test_any_mix_of_cells_can_be_stacked() -> None:
    net = nn.Stacked(
        nn.LSTMCell(I, H, rng=0),
        nn.Bidirectional(nn.GRUCell(H, I, rng=1), nn.ElmanCell(H, 2, rng=2)),
        nn.JordanCell(I + 2, 6, I, rng=3),
        Leaky(I, H, rng=4),
    )
    outputs, states = net(inputs(), lengths=[5, 2, 4])
    (tr.stack(outputs) ** 2).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert len(states) == 4
    again, _ = net(inputs(), states)
    assert again[0].shape == (B, H)


@pytest.mark.parametrize("count", [1, 3])
def test_every_layer_has_its_state(count: int) -> None:
    net = nn.Stacked(nn.ElmanCell(I, H, rng=0), nn.ElmanCell(H, H, rng=1))
    with pytest.raises(ValueError, match=f"given {count} states; .* each of its 2 layers"):
        net(inputs(), [np.zeros((B, H))] * count)


def test_dropout_acts_between_layers_while_training() -> None:
    def net() -> nn.LSTM:
        return nn.LSTM(I, 50, num_layers=2, dropout=0.5, rng=0)

    a, b = net(), net()
    first, _ = a(inputs())
    np.testing.assert_array_equal(first.data, b(inputs())[0].data)  # the same seed
    assert (a(inputs())[0].data != first.data).any()  # another draw
    a.eval()
    np.testing.assert_array_equal(a(inputs())[0].data, a(inputs())[0].data)


@each_cell
def test_every_cell_has_second_order_gradients(name: str) -> None:
    """Hessian-vector products are symmetric and agree with differences of the gradient."""
    cell, xs = CELLS[name](), inputs()
    weights = cell.parameters()[:2][-1]
    data = weights.data

    def slope(W: np.ndarray) -> tuple[tr.Tensor, tr.Tensor]:
        weights.data = W.copy()
        outputs, _ = nn.unroll(cell, xs)
        loss = (tr.stack(outputs) ** 2).sum()
        return loss, tr.grad(loss, weights, create_graph=True)[0]

    rng = np.random.default_rng(0)
    u, v = rng.standard_normal((2, *data.shape))
    _, g = slope(data)
    Hu = tr.grad((g * u).sum(), weights)[0].data
    Hv = tr.grad((g * v).sum(), weights)[0].data
    assert (Hu * v).sum() == pytest.approx((Hv * u).sum(), rel=1e-10)
    ends = [slope(data + s * 1e-5 * u)[1].data for s in (1, -1)]
    np.testing.assert_allclose(Hu, (ends[0] - ends[1]) / 2e-5, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"xs": np.ones((0, 2, I))}, "sequence of no steps"),
        ({"xs": []}, "sequence of no steps"),
        ({"xs": np.ones((2, 0, I))}, "batch of no sequences"),
        ({"xs": np.ones((2, I))}, r"expected \(T, B, I\)"),
        ({"lengths": [0, 1, 2]}, "lengths from 0 to 2 were given; expected 1 to 5"),
        ({"lengths": [1, 6, 2]}, "expected 1 to 5"),
        ({"lengths": [1, 2]}, "one integer for each of the 3 sequences"),
        ({"lengths": [1.0, 2.0, 3.0]}, "float64"),
    ],
)
def test_inputs_that_cannot_be_unrolled(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nn.unroll(nn.ElmanCell(I, H, rng=0), **({"xs": inputs()} | arguments))


def test_a_wrong_feature_size_names_the_step() -> None:
    with pytest.raises(ValueError, match=r"in lstm / t=0: cannot matmul \(3, 7\) and \(3, 16\)"):
        nn.unroll(nn.LSTMCell(I, H, rng=0), np.ones((T, B, 7)))


class Returning(nn.Module):
    """An Elman cell of two units that returns something of its hidden state."""

    def __init__(self, returned: Any, initial: Any = lambda zeros: zeros) -> None:
        self.cell, self.returned, self.initial = nn.ElmanCell(I, 2, rng=0), returned, initial

    def initial_state(self, batch: int) -> Any:
        return self.initial(self.cell.initial_state(batch))

    def __call__(self, x: tr.Tensor, state: Any) -> Any:
        h = state[0] if isinstance(state, tuple) else state
        return self.returned(self.cell(x, h)[0])


def pair(h: tr.Tensor) -> tuple[tr.Tensor, tr.Tensor]:
    return h, h


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (Returning(lambda h: h), "state and returned float64 .2, 2.; a cell returns"),
        (Returning(lambda h: [h, h]), "returned list"),
        (Returning(lambda h: (h.data, h)), r"returned \(ndarray, float64 \(2, 2\)\)"),
        (Returning(lambda h: (h, h, h)), "returned .float64 .2, 2., float64 .2, 2., float64"),
        (Returning(lambda h: (h, (h,))), "was given float64 .2, 2. as its state and returned"),
        (Returning(lambda h: (h, None)), "returned .float64 .2, 2., NoneType."),
        (Returning(lambda h: (h, h[:1])), r"returned \(float64 \(2, 2\), float64 \(1, 2\)\)"),
        (Returning(lambda h: (h, h.astype(np.float32))), r"float32 \(2, 2\)"),
        (Returning(pair, initial=pair), r"was given \(float64 \(2, 2\), float64 \(2, 2\)\) as"),
        (Returning(lambda h: (h, [h, h]), initial=pair), r"returned \(float64 \(2, 2\), list\)"),
    ],
)
@pytest.mark.parametrize("lengths", [None, [2, 1]])
def test_a_cell_that_returns_something_else_is_told_what_to_return(
    cell: Any, message: str, lengths: Any
) -> None:
    """With two sequences, the rows of `h` are not taken for an output and a state."""
    xs = np.random.default_rng(0).standard_normal((3, 2, I))
    with pytest.raises(TypeError, match=rf"in returning / t=0: Returning .*{message}"):
        nn.unroll(cell, xs, lengths=lengths)
    with pytest.raises(TypeError, match="a cell returns"):
        tr.check.gradcheck(lambda x: nn.unroll(cell, x, lengths=lengths)[0], xs)


def test_a_state_may_be_given_as_arrays_or_in_a_list_and_gain_precision() -> None:
    cell, xs = nn.LSTMCell(I, H, rng=0), inputs()
    h, c = np.random.default_rng(1).standard_normal((2, B, H)).astype(np.float32)
    expected = nn.unroll(cell, xs, (tr.Tensor(h.astype(float)), tr.Tensor(c.astype(float))))[0]
    for state in ([h, c], (h, tr.Tensor(c)), [tr.Tensor(h), tr.Tensor(c)]):
        outputs, _ = nn.unroll(cell, xs, state)
        np.testing.assert_array_equal(outputs[-1].data, expected[-1].data)
    two = Returning(lambda h: (h, (h, h)), initial=lambda zeros: [zeros, zeros])
    assert isinstance(nn.unroll(two, xs)[1], tuple)


def test_with_lengths_every_tensor_has_a_row_for_each_sequence() -> None:
    flat = Returning(lambda h: (h.sum(), h))
    assert nn.unroll(flat, inputs())[0][0].shape == ()
    with pytest.raises(ValueError, match=r"lengths for 3 sequences, but a step has .* shape \(\)"):
        nn.unroll(flat, inputs(), lengths=[5, 1, 3])


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_single_sequence_needs_no_batch_axis(kind: Any, batch_first: bool) -> None:
    net = kind(I, H, num_layers=2, bidirectional=True, batch_first=batch_first, rng=0)
    xs = inputs()[:, 0]
    expected, states = net(xs[None] if batch_first else xs[:, None])
    outputs, state = net(xs)
    np.testing.assert_array_equal(
        outputs.data, expected.data[0] if batch_first else expected.data[:, 0]
    )
    for part, whole in zip(parts(state), parts(states), strict=True):
        np.testing.assert_array_equal(part.data, whole.data[:, 0])
    again, _ = net(xs, state)
    assert again.shape == outputs.shape
    with pytest.raises(ValueError, match=r"state of shape .* expected \(4, H\)"):
        net(xs, states)
    with pytest.raises(ValueError, match=r"shape \(2,\); expected \((B, T|T, B), I\), or \(T, I\)"):
        net(np.ones(2))


# --- truncated ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k1", "k2"), [(2, 2), (1, 3), (2, 3), (3, 3), (5, 9), (2, 5)])
def test_truncated_gradients_are_those_of_frozen_states(k1: int, k2: int) -> None:
    """Without an optimiser step in between: each stretch's gradient reaches back k2 steps."""
    xs = inputs()
    cell = nn.LSTMCell(I, H, rng=0)
    whole, _ = nn.unroll(cell, xs)
    reference = nn.LSTMCell(I, H, rng=0)
    seen = []
    for steps, outputs in tr.train.truncated_bptt(cell, xs, k1, k2):
        seen += list(steps)
        for t, output in zip(steps, outputs, strict=True):
            np.testing.assert_allclose(output.data, whole[t].data, rtol=1e-14)
        for p in (*cell.parameters(), *reference.parameters()):
            p.grad = None
        (tr.stack(outputs) ** 2).sum().backward()
        start = max(0, steps.stop - k2)
        state = None
        if start:
            state = tr.train.detached(nn.unroll(reference, xs[:start])[1])
        again, _ = nn.unroll(reference, xs[start : steps.stop], state)
        (tr.stack(again[steps.start - start :]) ** 2).sum().backward()
        for p, q in zip(cell.parameters(), reference.parameters(), strict=True):
            np.testing.assert_allclose(p.grad, q.grad, rtol=1e-12, atol=1e-15)
    assert seen == list(range(T))


def test_the_cut_shows_in_the_trace() -> None:
    cell = nn.ElmanCell(I, H, rng=0)
    total: Any = 0.0
    for _, outputs in tr.train.truncated_bptt(cell, inputs(), 2):
        total = total + (outputs[-1] ** 2).sum()
    trace = tr.backprop(total)
    crossing = [
        (event.tensor.scope.step, event.input.scope.step)
        for event in trace.events
        if event.tensor.scope and event.input.scope and event.input.primitive
    ]
    assert (1, 0) in crossing
    assert (2, 1) not in crossing
    assert (3, 2) in crossing


@pytest.mark.parametrize(("k1", "k2"), [(0, 2), (3, 2)])
def test_truncation_that_makes_no_sense_is_refused(k1: int, k2: int) -> None:
    with pytest.raises(ValueError, match="1 <= k1 <= k2"):
        list(tr.train.truncated_bptt(nn.ElmanCell(I, H), inputs(), k1, k2))
