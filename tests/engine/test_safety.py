"""What could silently change a value, lose a gradient or disturb the host program is refused."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.functions.trace import norm_of, tape


def leaf(*values: float) -> tr.Tensor:
    return tr.Tensor(list(values), requires_grad=True)


# --- an operation is known by its object, never by its name --------------------------------------


@tr.primitive("tanh", rules=[lambda g, y, x: g * 2.0 * (1.0 - 0.25 * y * y)], entrywise=True)
def twice_tanh(x: Any, /) -> Any:
    """Twice the hyperbolic tangent, under the name of another operation; it is only a test."""
    return 2 * np.tanh(x)


def test_an_operation_of_the_same_name_is_copied_and_pickled_as_itself() -> None:
    cell = nn.ElmanCell(2, 3, nonlinearity=twice_tanh, rng=0)
    for other in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert other.nonlinearity is twice_tanh
    assert copy.deepcopy(tr.tanh) is pickle.loads(pickle.dumps(tr.tanh)) is tr.tanh


def test_an_operation_that_no_module_holds_says_why_it_is_not_pickled() -> None:
    hidden = tr.primitive("tanh", lambda x: np.tanh(x), lambda g, y, x: g * (1 - y * y))
    with pytest.raises(pickle.PicklingError, match="tanh cannot be pickled: it is not found as"):
        pickle.dumps(hidden)
    assert copy.deepcopy(hidden) is hidden


def test_influence_asks_the_operations_own_rules() -> None:
    h = leaf(0.3)
    (expected,) = tr.grad(twice_tanh(h).sum(), h)
    assert tr.influence([twice_tanh(h).sum()], [h])[0, 0] == abs(expected.data[0])


def test_what_stands_behind_the_slash_is_a_setting() -> None:
    x = tr.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    np.testing.assert_array_equal(tr.sum(x, 0).data, [4.0, 6.0])
    np.testing.assert_array_equal(tr.max(x, 1, True).data, [[2.0], [4.0]])


def test_a_declaration_is_all_that_is_said_of_an_operation() -> None:
    assert tr.multiply.formula == ("∂(a ⊙ b)/∂a = b", "∂(a ⊙ b)/∂b = a")
    assert tr.add.sentence == "both inputs get the gradient of the sum."
    assert twice_tanh.sentence == "it is only a test."


# --- indexing ------------------------------------------------------------------------------------


NONE = np.array([], int)
KEYS = [  # as a user writes it, and as NumPy understands it
    (range(2), [0, 1]), ((np.array([0, 1]),), [0, 1]), (((0, 1),), [0, 1]), (True, True),
    (np.True_, True), (np.array(1), 1), (np.int64(1), 1), ([], NONE), (NONE, NONE),
    ([True, False, True], [0, 2]), ((slice(None), (0, 1)), (slice(None), [0, 1])),
    ((range(2), [1, 0]), ([0, 1], [1, 0])), ((0, True), (0, True)),
    ((None, np.array(2)), (None, 2)),
    (tr.Tensor([0, 2, 2]), [0, 2, 2]), (tr.Tensor(1), 1),
]  # fmt: skip


@pytest.mark.parametrize(("key", "plain"), KEYS, ids=[str(k) for k in range(len(KEYS))])
def test_every_key_takes_and_gives_back_as_numpy_does(key: Any, plain: Any) -> None:
    array = np.arange(12.0).reshape(3, 4)
    x = tr.Tensor(array, requires_grad=True)
    y = x[key]
    np.testing.assert_array_equal(y.data, array[plain])
    # Every entry of x has its own number: count how often each was taken.
    counts = np.bincount(y.data.astype(int).ravel(), minlength=array.size)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.ravel(), counts)


# --- leaving the graph ---------------------------------------------------------------------------


def test_a_plain_number_is_not_taken_out_of_the_graph_in_silence() -> None:
    x = leaf(1.0, 2.0)
    for take in (float, int, lambda y: np.array([y]), lambda y: [0, 1][y]):
        with pytest.raises(TypeError, match=r"x\.item\(\) or x\.detach\(\)"):
            take(x[0])
    z = np.zeros(2)
    with pytest.raises((TypeError, ValueError)) as refused:
        z[0] = x[0]
    assert "x.detach()" in str(refused.value.__cause__ or refused.value)
    z[0], z[1] = x[0].item(), x[1].detach()
    np.testing.assert_array_equal(z, [1.0, 2.0])


def test_a_copy_of_a_computed_tensor_is_refused() -> None:
    x = leaf(1.0, 2.0)
    for copied in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"gradient would be lost; say x\.detach\(\)"):
            copied(x * x)
        twin = copied(x)
        assert twin is not x
        assert twin.requires_grad


def test_numpys_functions_name_ours() -> None:
    with pytest.raises(TypeError, match=r"np\.tanh was given .* use tr\.tanh"):
        np.tanh(leaf(1.0))
    array = np.ones(1)
    with pytest.raises(TypeError, match=r"np\.add was given"):
        array += leaf(1.0)


def test_operators_with_arrays_on_the_left() -> None:
    x, a = leaf(1.0, 2.0), np.array([3.0, 4.0])
    (a * x + np.float64(2.0) * x - a / x).sum().backward()
    np.testing.assert_allclose(x.grad, a + 2 + a / np.array([1.0, 4.0]))
    assert (a @ x).item() == 11.0
    assert ((a > x) & ~(a == x) | (x < 0)).data.all()


def test_tensors_print_as_numbers_do() -> None:
    assert f"{leaf(1.0, 2.0).sum():.3f}" == "3.000"
    assert f"{leaf(1.0)}" == "Tensor([1.], requires_grad=True)"
    assert +leaf(1.0).data == 1.0
    assert int(tr.Tensor(3)) == [0, 1, 2, 3][tr.Tensor(3)] == 3


# --- arrays that somebody else can write into ----------------------------------------------------


def test_a_read_only_view_of_a_writable_buffer_is_copied() -> None:
    w, buffer = tr.Tensor(np.ones((2, 3)), requires_grad=True), np.ones(3)
    loss = (w * np.broadcast_to(buffer, (2, 3))).sum()
    buffer[:] = 100.0
    loss.backward()
    np.testing.assert_array_equal(w.grad, np.ones((2, 3)))


def test_data_and_grad_belong_to_the_tensor() -> None:
    w, array = leaf(1.0, 2.0), np.array([3.0, 4.0])
    view = array[:]
    w.data = array
    w.grad = array
    view[0] = 99.0  # still the caller's to write into, and nobody else's
    np.testing.assert_array_equal(w.data, [3.0, 4.0])
    np.testing.assert_array_equal(w.grad, [3.0, 4.0])
    with pytest.raises(ValueError, match="read-only"):
        w.grad[0] = 1.0
    for wrong in (np.array([1, 2]), np.array([1j, 2.0]), np.ones(3)):
        with pytest.raises(ValueError, match="was given a gradient of"):
            w.grad = wrong
    w.grad = np.array([1.0, 2.0], np.float32)
    assert w.grad.dtype == np.float64


def test_a_gradient_of_another_dtype_is_cast_or_refused() -> None:
    x = tr.Tensor(np.ones(2, np.float32), requires_grad=True)
    for gradient in (np.ones(2), tr.Tensor(np.ones(2)), [1, 1]):
        x.grad = None
        (x * x).backward(gradient)
        assert x.grad.dtype == np.float32
    with pytest.raises(ValueError, match="the gradient is complex128"):
        (x * x).backward(np.ones(2) * 1j)


def test_leaves_are_kept_in_c_order() -> None:
    w = tr.Tensor(np.ones((3, 2), order="F"), requires_grad=True)
    assert w.data.flags.c_contiguous
    w.data = np.zeros((3, 2), order="F")
    assert w.data.flags.c_contiguous


def test_a_rule_cannot_write_into_a_gradient_that_others_share() -> None:
    def doubled(g: Any, y: Any, x: Any) -> Any:
        g *= 2
        return g

    odd = tr.primitive("odd", lambda x: x + 0, doubled)
    x = leaf(1.0)
    with pytest.raises(ValueError, match="read-only"):
        (odd(x * x) + x).sum().backward()
    assert x.grad is None


# --- scopes --------------------------------------------------------------------------------------


def test_a_scope_closed_late_does_not_come_back() -> None:
    def generator() -> Iterator[None]:
        with tr.scope("inner"):
            yield

    running = generator()
    with tr.scope("outer"):
        next(running)
    assert (leaf(1.0) * 2).scope is None
    with tr.scope("after") as after:
        running.close()
        assert (leaf(1.0) * 2).scope is after
    assert (leaf(1.0) * 2).scope is None


def test_a_step_knows_its_state() -> None:
    cell = nn.LSTMCell(2, 3, rng=0)
    xs = tr.Tensor(np.ones((3, 1, 2)), requires_grad=True)
    outputs, (h, c) = nn.unroll(cell, xs)
    steps = [output.scope.stateful for output in outputs]
    assert [step.t for step in steps] == [0, 1, 2]
    assert [step.output for step in steps] == [output.number for output in outputs]
    assert steps[0].state_out == steps[1].state_in
    assert steps[2].state_out == (h.number, c.number)
    assert len({step.sequence for step in steps}) == 1
    assert steps[0].sequence.owner is cell


# --- one walk over several losses ----------------------------------------------------------------


def unrolled(steps: int = 4, state: Any = None, cell: Any = None) -> tuple[Any, list[Any], Any]:
    cell = cell or nn.ElmanCell(2, 3, rng=0)
    return cell, *nn.unroll(cell, np.ones((steps, 1, 2)), state)


def test_losses_of_one_sequence_may_share_it() -> None:
    """One backward for each step adds up to the backward of the sum."""
    cell, outputs, _ = unrolled()
    for h in outputs:
        h.sum().backward()
    together, outputs, _ = unrolled()
    tr.stack(outputs).sum().backward()
    np.testing.assert_allclose(cell.W_hh.grad, together.W_hh.grad, rtol=1e-12)


def test_a_second_loss_may_look_back_at_other_steps() -> None:
    cell, outputs, _ = unrolled()
    loss = tr.stack(outputs).sum()
    (slope,) = tr.grad(loss, cell.W_hh, create_graph=True)
    loss.backward()
    with tr.step(9):  # an auxiliary loss, attention over the steps, and a gradient penalty
        attention = sum((outputs[0] * h).sum() for h in outputs)
    (attention + (slope * slope).sum()).backward()
    assert np.isfinite(cell.W_hh.grad).all()


@pytest.mark.parametrize("steps", [1, 3])
def test_a_state_carried_into_a_new_sequence_is_found(steps: int) -> None:
    cell, outputs, h = unrolled(steps)
    tr.stack(outputs).sum().backward()
    _, outputs, h = unrolled(steps, h, cell)
    with pytest.raises(RuntimeError, match=r"carries history from an earlier sequence.*detach"):
        tr.stack(outputs).sum().backward()
    _, outputs, _ = unrolled(steps, h.detach(), cell)
    tr.stack(outputs).sum().backward()


@pytest.mark.parametrize("steps", [1, 3])
def test_so_it_is_when_a_layer_carries_it(steps: int) -> None:
    lstm = nn.LSTM(2, 3, num_layers=2, rng=0)
    y, state = lstm(np.ones((steps, 1, 2)))
    y.sum().backward()
    y, _ = lstm(np.ones((steps, 1, 2)), state)
    with pytest.raises(RuntimeError, match="carries history from an earlier sequence"):
        y.sum().backward()


def test_two_decoders_may_start_from_one_encoder() -> None:
    encoder, _, h = unrolled()
    for seed in (1, 2):
        _, outputs, _ = unrolled(2, h, nn.ElmanCell(2, 3, rng=seed))
        tr.stack(outputs).sum().backward()
    assert encoder.W_hh.grad is not None


# --- the host program's garbage ------------------------------------------------------------------


class Cyclic:
    def __init__(self) -> None:
        self.me = self


def collects_cycles(work: Callable[[], Any], rounds: int) -> int:
    """How many of the host's cyclic objects are left, of 100 made before each round of work."""
    made: list[weakref.ref[Cyclic]] = []
    for _ in range(rounds):
        made += [weakref.ref(Cyclic()) for _ in range(100)]
        work()
    return sum(reference() is not None for reference in made)


@pytest.mark.parametrize("how", ["operations", "unroll and backward"])
def test_the_hosts_cycles_are_collected_beside_a_recording(how: str) -> None:
    cell, xs, x = nn.ElmanCell(2, 3, rng=0), np.ones((20, 1, 2)), leaf(1.0)

    def work() -> None:
        if how == "operations":
            for _ in range(100):
                x * x
        else:
            outputs, _ = nn.unroll(cell, xs)
            tr.stack(outputs).sum().backward()

    before = gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()
    assert collects_cycles(work, 200) < 4_000  # of 20,000
    assert (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()) == before


def test_a_collector_that_the_host_has_stopped_stays_stopped() -> None:
    gc.disable()
    try:
        unrolled()[1][-1].sum().backward()
        assert not gc.isenabled()
    finally:
        gc.enable()
    with pytest.raises(ValueError, match="cannot matmul"):
        nn.unroll(nn.ElmanCell(2, 3, rng=0), np.ones((2, 1, 9)))
    assert gc.isenabled()


# --- numbers -------------------------------------------------------------------------------------


def test_the_mixed_second_derivative_of_a_power() -> None:
    """d²(aᵇ)/da db = aᵇ⁻¹ (1 + b log a), also at b = 0."""
    found = tr.hessian(lambda v: v[0] ** v[1], [2.0, 0.0])
    np.testing.assert_allclose(found, [[0.0, 0.5], [0.5, np.log(2.0) ** 2]], rtol=1e-12)


def test_a_negative_base_has_no_derivative_by_its_exponent() -> None:
    exponent = tr.Tensor(2.0, requires_grad=True)
    ((-2.0) ** exponent).backward()
    assert np.isnan(exponent.grad)


def test_norms_of_tiny_and_huge_gradients() -> None:
    for size in (1e-200, 1e200, 0.0):
        assert norm_of(np.array([3.0, 4.0]) * size) == pytest.approx(5.0 * size, rel=1e-15)
    h = leaf(1.0)
    assert tr.influence([(h * 1e-200).sum()], [h])[0, 0] == 1e-200


def test_a_list_is_a_constant_at_every_order() -> None:
    x = leaf(1.0, 2.0)
    y = (x * x) @ [3.0, 4.0]
    (slope,) = tr.grad(y, x, create_graph=True)
    (curve,) = tr.grad(slope.sum(), x)
    np.testing.assert_array_equal(curve.data, [6.0, 8.0])


def test_the_tape_has_everything_once_and_the_youngest_first() -> None:
    x = leaf(1.0)
    y = x * x + x
    numbers = [tensor.number for tensor in tape(y, y)]
    assert numbers == sorted(set(numbers), reverse=True)
    assert len(numbers) == 3


def test_threads_keep_their_own_scope() -> None:
    found: list[Any] = []
    with tr.scope("here"):
        thread = threading.Thread(target=lambda: found.append((leaf(1.0) * 2).scope))
        thread.start()
        thread.join()
    assert found == [None]


def test_no_file_leaks_into_the_public_face() -> None:
    modules = [name for name, value in vars(tr).items() if isinstance(value, ModuleType)]
    modules = [name for name in modules if name.isidentifier()]  # pytest adds "@py_builtins"
    assert {*modules} - {"torch"} == {"engine", "functions", "nn", "train", "check"}
