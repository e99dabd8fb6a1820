"""What the engine promises beyond single derivatives: safety, order, scale, threads."""

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
    with pytest.raises(AttributeError, match="no attribute 'tanhh'"):
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


def test_gradients_reach_an_array_that_was_unpickled() -> None:
    """NumPy gives it a dtype that equals float64's and is another object."""
    x = tr.Tensor(pickle.loads(pickle.dumps(np.ones((3, 2)))), requires_grad=True)
    (x[1:] * 2.0).sum().backward()
    assert x.grad.tolist() == [[0, 0], [2, 2], [2, 2]]


def test_a_tensor_pickles_as_a_leaf() -> None:
    y = tr.tanh(leaf(3))
    copy = pickle.loads(pickle.dumps(y))
    assert copy.primitive is None
    np.testing.assert_array_equal(copy.data, y.data)


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
