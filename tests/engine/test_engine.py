"""What the engine promises beyond single derivatives: safety, order, scale, threads, the trace."""

from __future__ import annotations

import gc
import pickle
import threading
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn

from .numeric import complex_step


def leaf(*shape: int, seed: int = 0, name: str | None = None) -> tr.Tensor:
    array = np.random.default_rng(seed).standard_normal(shape)
    return tr.Tensor(array, requires_grad=True, name=name)


# --- safety -------------------------------------------------------------------------------------


def test_a_leaf_is_copied_in() -> None:
    array = np.ones(3)
    x = tr.Tensor(array, requires_grad=True)
    array[0] = 5.0
    assert x.data.tolist() == [1, 1, 1]


def test_a_constant_changed_after_recording_does_not_change_the_gradient() -> None:
    constant = np.array([2.0, 3.0])
    x = leaf(2)
    y = (x * constant).sum()
    constant[:] = 100.0
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 3.0]


def test_indices_changed_after_recording_do_not_change_the_gradient() -> None:
    index = np.array([0, 0])
    x = leaf(2)
    y = x[index].sum()
    index[:] = 1
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 0.0]


def test_rebinding_a_parameter_leaves_an_earlier_graph_right() -> None:
    w = tr.Tensor(3.0, requires_grad=True)
    y = w * w
    w.data = np.array(100.0)
    y.backward()
    assert w.grad == 6.0


def test_a_graph_of_the_gradient_is_refused_after_rebinding() -> None:
    w = tr.Tensor(3.0, requires_grad=True)
    y = w * w
    w.data = np.array(100.0)
    with pytest.raises(RuntimeError, match="given new data after"):
        tr.grad(y, w, create_graph=True)


@pytest.mark.parametrize(("new", "what"), [(np.ones(3), "shape"), (np.float32(1.0), "float32")])
def test_new_data_must_fit(new: Any, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        tr.Tensor(1.0, requires_grad=True).data = new


def test_computed_data_cannot_be_rebound() -> None:
    with pytest.raises(ValueError, match="only a leaf"):
        (leaf(2) * 2).data = np.ones(2)


def test_the_gradient_is_locked_and_not_the_callers_array() -> None:
    x, g = leaf(2), np.ones(2)
    (x + 0.0).backward(g)
    g[:] = 7.0
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="read-only"):
        x.grad[0] = 2.0


def test_backward_twice_adds_up_for_leaves() -> None:
    x = leaf(3)
    y = (x * x).sum()
    y.backward()
    once = x.grad
    y.backward()
    assert once is not None
    np.testing.assert_array_equal(x.grad, 2 * once)


def test_two_losses_on_one_trunk_add_up() -> None:
    x = leaf(3)
    h = tr.tanh(x)
    h.sum().backward()
    (h * 2.0).sum().backward()
    np.testing.assert_allclose(x.grad, 3 * (1 - np.tanh(x.data) ** 2), rtol=1e-15)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (lambda: leaf(2, 2) * 2.0, r"only a single number can start without a gradient"),
        (lambda: tr.Tensor([1.0]), r"it has no history"),
        (lambda: tr.Tensor([1, 2]), r"int64: it has no history"),
        (lambda: leaf(1).detach() * 2.0, r"it has no history"),
    ],
)
def test_backward_of_what_cannot_start_is_refused_with_the_fix(start: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        start().backward()


def test_a_gradient_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the gradient is float64 of shape \(3,\)"):
        (leaf(2) * 2.0).backward(np.ones(3))


def test_integers_cannot_require_a_gradient() -> None:
    with pytest.raises(TypeError, match=r"int64.*write 1\.0 instead of 1"):
        tr.Tensor([1, 2], requires_grad=True)


def test_numpy_functions_are_refused_rather_than_losing_the_gradient() -> None:
    x = leaf(2)
    with pytest.raises(TypeError):
        np.tanh(x)
    with pytest.raises(TypeError, match="gradient would be lost"):
        np.asarray(x)
    assert (np.ones(2) * x).requires_grad  # our operators win over NumPy's


def test_a_shape_error_names_operation_shapes_and_scope() -> None:
    expected = r"^in lstm / t=3 / forget gate: cannot multiply \(4, 8\) and \(4, 9\): "
    a, b = leaf(4, 8), leaf(4, 9)
    where = tr.scope("lstm"), tr.step(3), tr.scope("forget gate")
    with where[0], where[1], where[2], pytest.raises(ValueError, match=expected):
        a * b


def test_a_misspelt_operation_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute and no operation 'tanhh'"):
        leaf(1).tanhh()


def test_grad_names_what_the_output_does_not_depend_on() -> None:
    with pytest.raises(ValueError, match="does not depend on w"):
        tr.grad(leaf(1).sum(), leaf(1, name="w"))


def test_a_failing_rule_changes_no_gradient() -> None:
    def fail(g: Any, y: Any, x: Any) -> Any:
        raise ArithmeticError

    odd = tr.primitive("odd", lambda x: x, fail)
    x, w = leaf(1), leaf(1)
    with pytest.raises(ArithmeticError):
        (w * 2.0 + odd(x)).sum().backward()
    assert w.grad is None
    assert x.grad is None


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda g, y, x: g[:1], r"rule for input 0 of the output of odd.*returned shape \(1,\)"),
        (lambda g, y, x: g.astype(np.float32), r"returned dtype float32.*dtype float64"),
        (lambda g, y, x: None, r"returned a NoneType"),
    ],
)
def test_a_rule_that_returns_something_else_is_named(rule: Any, message: str) -> None:
    odd = tr.primitive("odd", lambda x: x + 0, rule)
    with pytest.raises(ValueError, match=message):
        odd(leaf(3)).sum().backward()


def test_a_state_that_carries_history_is_found_and_named() -> None:
    cell = nn.ElmanCell(2, 3, rng=0)
    xs = np.ones((4, 1, 2))
    outputs, h = nn.unroll(cell, xs)
    tr.stack(outputs).sum().backward()
    outputs, _ = nn.unroll(cell, xs, h)
    with pytest.raises(RuntimeError, match=r"elman / t=3, carries history.*elman / t=0.*detach"):
        tr.stack(outputs).sum().backward()
    outputs, _ = nn.unroll(cell, xs, h.detach())
    tr.stack(outputs).sum().backward()


def test_an_encoders_state_may_flow_into_a_decoder() -> None:
    encoder, decoder = nn.ElmanCell(2, 3, rng=0), nn.ElmanCell(2, 3, rng=1)
    _, h = nn.unroll(encoder, np.ones((4, 1, 2)))
    outputs, _ = nn.unroll(decoder, np.ones((2, 1, 2)), h)
    tr.stack(outputs).sum().backward()
    assert encoder.W_hh.grad is not None


def test_a_tensor_pickles_as_a_leaf() -> None:
    y = tr.tanh(leaf(3))
    copy = pickle.loads(pickle.dumps(y))
    assert copy.primitive is None
    np.testing.assert_array_equal(copy.data, y.data)


# --- anomalies ----------------------------------------------------------------------------------


def test_the_first_infinity_of_the_forward_pass_is_named() -> None:
    x = tr.Tensor([1.0, 800.0], requires_grad=True)
    anomaly = pytest.raises(FloatingPointError)
    with tr.detect_anomaly(), tr.scope("net"), tr.step(3), anomaly as caught:
        tr.tanh(tr.exp(x))
    message = str(caught.value)
    assert message.startswith("in net / t=3: exp made inf at entry [1] of its output")
    assert "input 0 in [1, 800]" in message
    assert "test_engine.py:" in message
    assert "tr.tanh(tr.exp(x))" in message


def test_the_first_nan_of_the_backward_pass_is_named() -> None:
    x = tr.Tensor([0.0], requires_grad=True)
    with tr.detect_anomaly():
        with tr.step(5):
            y = tr.sqrt(x)
        with pytest.raises(FloatingPointError, match=r"in t=5: backward of sqrt made inf at entry"):
            (y * 2.0).sum().backward()
    assert x.grad is None


# --- order --------------------------------------------------------------------------------------


def test_derivatives_of_tanh_to_the_fifth_order() -> None:
    """Against the recurrence of polynomials in y = tanh x: d/dx p(y) = p'(y) (1 - y²)."""
    x = tr.Tensor(0.3, requires_grad=True)
    y = np.tanh(0.3)
    polynomial = np.polynomial.Polynomial([0, 1])
    found = tr.tanh(x)
    for _ in range(5):
        (found,) = tr.grad(found, x, create_graph=True)
        polynomial = polynomial.deriv() * np.polynomial.Polynomial([1, 0, -1])
        assert found.item() == pytest.approx(polynomial(y), rel=1e-13)


def test_a_plain_array_on_either_side_of_a_product_serves_the_second_order_too() -> None:
    """The Hessian of sum((A W)³) along V is 6 Aᵀ((A W) ⊙ (A V)); likewise from the other side."""
    A, W, V = np.random.default_rng(0).normal(size=(3, 4, 4))
    left = tr.hvp(lambda W: ((A @ W) ** 3).sum(), W, V)
    right = tr.hvp(lambda W: ((W @ A) ** 3).sum(), W, V)
    np.testing.assert_allclose(left.data, 6 * A.T @ ((A @ W) * (A @ V)), rtol=1e-12)
    np.testing.assert_allclose(right.data, 6 * ((W @ A) * (V @ A)) @ A.T, rtol=1e-12)


def lstm_loss(xs: np.ndarray, cell: nn.LSTMCell, batch: int) -> Any:
    def loss(W: tr.Tensor) -> tr.Tensor:
        cell.W_hh = W
        state = tuple(
            tr.Tensor(np.zeros((batch, 3)), dtype=W.dtype) for _ in range(2)
        )  # complex where a complex step comes by
        outputs, _ = nn.unroll(cell, xs, state)
        return (tr.stack(outputs) ** 3).sum()

    return loss


def test_hessian_vector_product_of_an_unrolled_lstm() -> None:
    """Against a complex step of the gradient."""
    rng = np.random.default_rng(0)
    cell = nn.LSTMCell(2, 3, rng=rng)
    W, v = cell.W_hh.data, rng.standard_normal((3, 12))
    loss = lstm_loss(rng.standard_normal((5, 2, 2)), cell, 2)
    found = tr.hvp(loss, W, v)
    moved = tr.Tensor(W + 1e-30j * v, requires_grad=True)
    (slope,) = tr.grad(loss(moved), moved)
    assert isinstance(found, tr.Tensor)
    np.testing.assert_allclose(found.data, slope.data.imag / 1e-30, rtol=1e-11, atol=1e-13)


def test_products_with_the_jacobian_agree_with_the_jacobian() -> None:
    rng = np.random.default_rng(0)
    x, v, u = rng.standard_normal(3), rng.standard_normal(3), rng.standard_normal((2, 3))
    W = rng.standard_normal((2, 3))

    def f(x: tr.Tensor) -> tr.Tensor:
        return tr.tanh(W * x) * x.sum()

    J = tr.jacobian(f, x)
    assert J.shape == (2, 3, 3)
    expected = complex_step(lambda x: f(tr.Tensor(x)).data, [x], 0, u)
    np.testing.assert_allclose(np.einsum("ij,ijk", u, J), expected, rtol=1e-13)
    _, pull = tr.vjp(f, x)
    np.testing.assert_allclose(pull(u)[0].data, expected, rtol=1e-13)
    _, tangent = tr.jvp(f, x, v)
    np.testing.assert_allclose(tangent.data, J @ v, rtol=1e-13)


def test_transforms_take_several_inputs_and_constants() -> None:
    def f(a: tr.Tensor, b: tr.Tensor) -> tr.Tensor:
        return (a * a * b).sum()

    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    H_a, H_b = tr.hvp(f, (a, b), (np.array([1.0, 0.0]), np.zeros(2)))
    assert H_a.data.tolist() == [6.0, 0.0]
    assert H_b.data.tolist() == [2.0, 0.0]
    _, tangent = tr.jvp(f, (a, b), (a, b))
    assert tangent.item() == pytest.approx(3 * f(tr.Tensor(a), tr.Tensor(b)).item())
    assert tr.hessian(lambda x: x.sum(), a).tolist() == [[0.0, 0.0], [0.0, 0.0]]


# --- recording ----------------------------------------------------------------------------------


def test_constants_have_no_history() -> None:
    x = tr.Tensor([1.0, 2.0])
    assert (x * x).primitive is None
    assert (leaf(2) > 0).primitive is None
    assert isinstance(tr.tanh(np.ones(2)), np.ndarray)  # arrays in, array out
    with tr.no_grad():
        assert (leaf(2) * 2.0).primitive is None


def test_numbers_grow_from_inputs_to_outputs() -> None:
    x = leaf(2)
    y = tr.tanh(x)
    z = y * x
    assert x.number < y.number < z.number


def test_a_scope_is_shared_by_all_that_is_recorded_in_it() -> None:
    x = leaf(1)
    with tr.scope("net"), tr.step(4) as here:
        a, b = x + 1.0, x * 2.0
    assert a.scope is b.scope is here
    assert here.path == "net / t=4"
    assert here.step == 4
    assert (x + 1.0).scope is None


def test_the_graph_of_a_gradient_carries_the_steps() -> None:
    x = leaf(1)
    with tr.step(7):
        y = tr.tanh(x)
    (g,) = tr.grad(y.sum(), x, create_graph=True)
    assert g.scope is not None
    assert g.scope.step == 7


def test_threads_record_without_seeing_each_other() -> None:
    found: dict[int, Any] = {}
    meet = threading.Barrier(2, timeout=10)

    def work(k: int) -> None:
        x = leaf(3, seed=k)
        with tr.scope(f"thread {k}"):
            meet.wait()
            y = x
            for _ in range(200):
                y = tr.tanh(y * x)
            meet.wait()
            y.sum().backward()
        found[k] = (y.scope, x.grad)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for k in range(2):
        x = leaf(3, seed=k)
        y = x
        for _ in range(200):
            y = tr.tanh(y * x)
        y.sum().backward()
        scope, gradient = found[k]
        assert scope.path == f"thread {k}"
        np.testing.assert_array_equal(gradient, x.grad)


def test_no_grad_in_one_thread_leaves_the_others_recording() -> None:
    seen = []

    def record() -> None:
        seen.append((leaf(1) * 2.0).requires_grad)

    with tr.no_grad():
        worker = threading.Thread(target=record)
        worker.start()
        worker.join()
    assert seen == [True]


# --- scale --------------------------------------------------------------------------------------


def test_a_hundred_thousand_steps_record_walk_and_are_freed() -> None:
    w = leaf(1)
    h = tr.Tensor(np.ones(1))
    gc.disable()
    try:
        for t in range(100_000):
            with tr.step(t):
                h = tr.tanh(h * w)
        alive = weakref.ref(h)
        h.backward()
        assert w.grad is not None
        del h
        assert alive() is None
    finally:
        gc.enable()


def test_fan_out_costs_nothing_extra() -> None:
    """h = h*w + h*w doubles the paths at every step; the rules are called once a use."""
    calls = 0

    def count(g: Any, y: Any, a: Any, b: Any) -> Any:
        nonlocal calls
        calls += 1
        return g * b

    times = tr.primitive("times", np.multiply, count, lambda g, y, a, b: g * a)
    h, w = leaf(1), tr.Tensor(np.array([0.5]))
    for _ in range(1000):
        h = times(h, w) + times(h, w)
    h.sum().backward()
    assert calls == 2000


def test_a_stack_of_many_walks_in_linear_memory() -> None:
    """A joint rule is called once, not once an input with all inputs unpacked."""
    x = leaf(1)
    parts = [x * float(k) for k in range(20_000)]
    y = tr.stack(parts).sum()
    tracemalloc.start()
    y.backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert x.grad is not None
    assert x.grad[0] == sum(range(20_000))
    assert peak < 40e6


def test_slices_of_one_array_share_one_buffer() -> None:
    x = leaf(1, 4000)
    parts = tr.split(x, 1000, axis=1)
    y = tr.concatenate(parts, axis=1).sum()
    tracemalloc.start()
    y.backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1000 * 4000 * 8 / 10  # a dense array each would take 32 MB


# --- the trace ----------------------------------------------------------------------------------


@pytest.fixture
def unrolled() -> tuple[tr.Tensor, list[tr.Tensor], nn.LSTMCell]:
    cell = nn.LSTMCell(2, 3, rng=0)
    outputs, _ = nn.unroll(cell, np.random.default_rng(0).standard_normal((5, 2, 2)))
    return (tr.stack(outputs) ** 2).sum(), outputs, cell


def test_a_trace_changes_no_gradient_and_agrees_with_backward(unrolled: Any) -> None:
    loss, _, cell = unrolled
    trace = tr.backprop(loss, keep="arrays")
    assert all(p.grad is None for p in cell.parameters())
    loss.backward()
    for p in cell.parameters():
        np.testing.assert_array_equal(trace.gradient(p), p.grad)
        np.testing.assert_allclose(sum(trace.contributions(p)), p.grad, rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(trace.by_step(p).sum(axis=0), p.grad, rtol=1e-13, atol=1e-15)
        assert trace.by_step(p).shape == (5, *p.shape)
        assert trace.norm(p) == pytest.approx(np.linalg.norm(p.grad), rel=1e-14)


def test_the_gradient_of_a_step_is_that_of_its_own_copy_of_the_weight() -> None:
    """by_step against untied weights: one leaf a step in place of the shared one."""
    xs = np.random.default_rng(0).standard_normal((4, 1, 2))
    cell = nn.ElmanCell(2, 3, rng=0)
    outputs, _ = nn.unroll(cell, xs)
    by_step = tr.backprop((tr.stack(outputs) ** 2).sum(), keep="arrays").by_step(cell.W_hh)
    copies = [tr.Tensor(cell.W_hh, requires_grad=True) for _ in range(4)]
    h, hs = cell.initial_state(1), []
    for x, W in zip(xs, copies, strict=True):
        h = tr.tanh(tr.Tensor(x) @ cell.W_xh + h @ W + cell.b)
        hs.append(h)
    (tr.stack(hs) ** 2).sum().backward()
    np.testing.assert_allclose(by_step[1:], [W.grad for W in copies[1:]], rtol=1e-13)
    np.testing.assert_array_equal(by_step[0], 0.0)  # the state before the first step is zero


def test_events_come_in_the_order_of_the_traversal(unrolled: Any) -> None:
    loss, _, cell = unrolled
    trace = tr.backprop(loss)
    numbers = [event.tensor.number for event in trace.events]
    assert numbers == sorted(numbers, reverse=True)
    assert [t.number for t in trace.tensors] == sorted(
        (t.number for t in trace.tensors), reverse=True
    )
    received = trace.events_of(cell.W_hh)
    assert len(received) == 5
    assert all(event.input is cell.W_hh for event in received)
    assert received[-1].total == trace.norm(cell.W_hh)


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e200, 1e300])
def test_norms_neither_vanish_nor_overflow_before_their_gradients_do(size: float) -> None:
    x = tr.Tensor([1.0, 1.0], requires_grad=True)
    trace = tr.backprop(x * np.array([3.0, 4.0]), np.full(2, size))
    assert trace.norm(x) == pytest.approx(5 * size, rel=1e-14)


@pytest.mark.parametrize("value", [0.0, np.inf, np.nan])
def test_norms_of_zero_infinity_and_nan_are_themselves(value: float) -> None:
    x = tr.Tensor([1.0, 1.0], requires_grad=True)
    trace = tr.backprop(x * 1.0, np.array([value, 0.0]))
    np.testing.assert_equal(trace.norm(x), value)


def test_a_trace_of_norms_says_how_to_get_arrays(unrolled: Any) -> None:
    loss, _, cell = unrolled
    with pytest.raises(ValueError, match="keep='arrays'"):
        tr.backprop(loss).by_step(cell.b)


def test_by_step_refuses_what_is_used_outside_of_steps(unrolled: Any) -> None:
    loss, outputs, _ = unrolled
    with pytest.raises(ValueError, match="outside of any time step"):
        tr.backprop(loss, keep="arrays").by_step(outputs[-1])


@pytest.mark.parametrize("make", [nn.ElmanCell, nn.LSTMCell, nn.GRUCell])
def test_influence_is_that_of_each_loss_alone(make: Any) -> None:
    """The batched walk against one separate gradient for each pair."""
    cell, rng = make(2, 3, rng=0), np.random.default_rng(0)
    outputs, _ = nn.unroll(cell, rng.standard_normal((4, 2, 2)), lengths=[4, 2])
    targets = rng.integers(0, 3, (4, 2))
    losses = [nn.cross_entropy(h, y) for h, y in zip(outputs, targets, strict=True)]
    found = tr.influence(losses, outputs)
    expected = np.zeros((4, 4))
    for t, loss in enumerate(losses):
        for s, h in enumerate(outputs[: t + 1]):
            try:
                expected[t, s] = np.linalg.norm(tr.grad(loss, h)[0].data)
            except ValueError:  # the sequence that this loss sees has ended before
                expected[t, s] = 0.0
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-16)
