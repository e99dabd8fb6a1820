"""`gradcheck`, tested by its failures: what it names, what it calls undecided, what it refuses."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
import viz
from tests.cells import CELLS, each_cell
from tests.engine.test_programs import OPERATIONS, arrays, programs, run
from tinygrad_rnn import nn
from tinygrad_rnn.engine.scope import recording

gradcheck = functools.partial(tr.check.gradcheck, raise_exception=False)
gradgradcheck = functools.partial(gradcheck, order=2)
WRONG_TANH = tr.primitive("tanh", np.tanh, lambda g, y, x: g * (1.0 - y), symbol="tanh")


def sequence(steps: int = 4, batch: int = 2, size: int = 3) -> np.ndarray:
    return np.random.default_rng(steps).normal(size=(steps, batch, size))


def at_step(t: int | None, wrong: Any) -> Callable[[Any], Any]:
    """A tanh that is `wrong` at one step, or at all."""
    return lambda x: (wrong if t is None or recording.scope.step == t else tr.tanh)(x)


def elman(nonlinearity: Any, last: bool = False) -> Callable[[Any], Any]:
    cell = nn.ElmanCell(3, 4, nonlinearity=nonlinearity, rng=0)
    return lambda xs: nn.unroll(cell, xs)[0][-1 if last else slice(None)]


# --- what is right passes -----------------------------------------------------------------------


@each_cell
def test_every_cell_passes_to_second_order(name: str) -> None:
    """In both directions, over sequences of two lengths."""
    cell = CELLS[name](2, 3)

    def f(xs: Any) -> Any:
        return [nn.unroll(cell, xs, lengths=[3, 1], reverse=way) for way in (False, True)]

    report = gradcheck(f, sequence(3, size=2), order=2)
    assert report, report
    names = {c.variable.name.removesuffix(", second order") for c in report.comparisons}
    assert len(names) == 1 + len(cell.named_parameters())
    if CELLS[name].analytic:
        assert all(c.method == "complex step" and c.worst < 1e-10 for c in report.comparisons)


def test_a_module_is_checked_with_its_parameters_by_path() -> None:
    net = nn.LSTM(3, 2, num_layers=2, bidirectional=True, rng=0)
    report = gradcheck(net, sequence())
    assert report, report
    assert {c.variable.name for c in report.comparisons} >= set(net.named_parameters())
    indices = tr.Tensor(np.array([2, 0, 2]))
    assert gradcheck(nn.Embedding(4, 3, rng=0), indices)


def test_single_precision_is_held_to_its_own_rounding() -> None:
    cell = nn.LSTMCell(3, 4, rng=0, dtype=np.float32)
    report = gradcheck(lambda xs: nn.unroll(cell, xs), sequence().astype(np.float32), order=2)
    assert report, report
    off = tr.primitive("tanh", np.tanh, lambda g, y, x: g * (1 - y * y) * np.float32(1.01))
    single = nn.ElmanCell(3, 4, nonlinearity=off, rng=0, dtype=np.float32)
    assert not gradcheck(lambda xs: nn.unroll(single, xs), sequence().astype(np.float32))


PIECEWISE: dict[str, tuple[int, Any]] = {
    "relu": (1, lambda m, a: m.relu(a)),
    "size": (1, lambda m, a: abs(a)),
    "largest": (1, lambda m, a: a + m.max(a, axis=0)),
    "larger": (2, lambda m, a, b: m.maximum(a, b)),
    "bound": (1, lambda m, a: m.clip(a, -0.5, 0.5)),
    "choice": (2, lambda m, a, b: m.where(a.data.real > 0, a, b)),
    "soft": (1, lambda m, a: m.softmax(a, axis=1)),
    "join": (2, lambda m, a, b: m.concatenate([a, b], axis=0)[1:3]),
    "twins": (1, lambda m, a: a[[0, 0]]),
}


@pytest.mark.parametrize("order", [1, 2])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data(), st.integers(0, 1000))
def test_a_right_program_never_fails(order: int, data: Any, seed: int) -> None:
    """Random programs, operations with kinks and ties among them."""
    operations = OPERATIONS | PIECEWISE
    with pytest.MonkeyPatch.context() as patch:
        for name, operation in PIECEWISE.items():
            patch.setitem(OPERATIONS, name, operation)
        program = data.draw(programs())
        report = gradcheck(
            lambda a, b: run(tr, program, [a, b]), *arrays(seed), order=order, seed=seed
        )
    assert len(operations) > len(OPERATIONS)
    assert report, (program, report)


# --- what is wrong is named ---------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 2, 3])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_one_wrong_rule_at_one_step_is_named(kind: str, step: int) -> None:
    cell = CELLS[kind]()

    def f(xs: Any) -> Any:
        outputs, _ = nn.unroll(cell, xs)
        seen = set()
        waiting = list(outputs)
        while waiting:  # plant the fault in the record: a rule replaced at one step
            t = waiting.pop()
            if isinstance(t, tr.Tensor) and t not in seen:
                seen.add(t)
                waiting += t.inputs
                if t.primitive and t.primitive.name == "tanh" and t.scope.step == step:
                    t.primitive = WRONG_TANH
        return outputs

    report = gradcheck(f, sequence())
    assert not report
    assert {(c.op, c.input, c.step) for c in report.culprits} == {("tanh", 0, step)}
    assert f"{kind} / t={step}" in report.culprits[0].path
    assert f"a rule is wrong: tanh, input 0, {kind} / t={step}" in str(report)
    assert report.by_op["tanh"].wrong == len(report.culprits)
    assert max(report.by_step, key=report.by_step.__getitem__) == step
    assert all(op.wrong == 0 for name, op in report.by_op.items() if name != "tanh")


def test_the_worst_entries_show_numbers_and_the_inequality() -> None:
    report = gradcheck(elman(WRONG_TANH), sequence())
    worst = report.worst(3)
    assert len(worst) == 3
    for entry in worst:
        assert entry.verdict == "wrong"
        assert entry.error == abs(entry.analytic - entry.numeric) > entry.allowed
        assert f"{entry.numeric:.9g}" in str(report)
        assert entry.place in str(report)
    ratios = [entry.error / entry.allowed for entry in report.worst(100)]
    assert ratios == sorted(ratios, reverse=True)


def scaled(rule: Callable[[Any], Any], name: str = "tanh") -> Any:
    """A tanh whose right message goes through `rule`."""
    return tr.primitive(name, np.tanh, lambda g, y, x: rule(g * (1.0 - y * y)))


def one_sign(message: Any) -> Any:
    found = np.array(message)
    found[1, 2] *= -1
    return found


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (lambda m: 2.0 * m, "a constant factor: 2 times"),
        (lambda m: -m, "the sign is flipped"),
        (lambda m: 0.0 * m, "zero everywhere"),
        (lambda m: m + 0.25, "right but for a constant: +0.25"),
        (lambda m: one_sign(m), "one entry, [1, 2], has the wrong sign"),
        (lambda m: m[:, ::-1] * 1.0, "reversed along axis 1"),
        (lambda m: m[:, [2, 3, 0, 1]], "2 blocks of the last axis"),
        (lambda m: m * np.array([[1.0], [1.01]]), "wrong only at 1 of axis 0"),
        (lambda m: m * (1 + 1e-4 * np.eye(2, 4)[1]), "wrong only at 1 of axis 1"),
    ],
)
def test_a_diagnosis_of_the_rule(rule: Any, sentence: str) -> None:
    (finding, *_) = gradcheck(elman(scaled(rule)), sequence()).culprits
    assert finding.diagnosis
    assert sentence in finding.diagnosis[0]


def test_a_transposed_gradient_is_said_to_be_so() -> None:
    product = tr.primitive(
        "matmul", np.matmul, lambda g, y, a, b: g @ b.T, lambda g, y, a, b: (a.T @ g).T
    )
    report = gradcheck(lambda a, b: product(a, b), np.ones((2, 3)), np.eye(3) + 1.0)
    (finding,) = report.culprits
    assert (finding.op, finding.input) == ("matmul", 1)
    assert finding.diagnosis == ["the gradient is transposed"]


def test_a_gradient_not_summed_over_the_batch_is_said_to_be_so() -> None:
    bias = tr.primitive("bias", np.add, lambda g, y, a, b: g, lambda g, y, a, b: g[0])
    report = gradcheck(lambda a, b: bias(a, b), np.ones((5, 3)), np.ones(3))
    (finding,) = report.culprits
    assert (finding.op, finding.input) == ("bias", 1)
    assert finding.diagnosis == ["not summed over the broadcast axis 0"]


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("cut everywhere", {"cut": {1, 2, 3}}, "zero but at the last step"),
        ("cut once", {"cut": {2}}, "zero at every step before t=2"),
    ],
)
def test_a_graph_that_was_cut_is_told_from_a_wrong_rule(
    name: str, options: Any, sentence: str
) -> None:
    cell = nn.ElmanCell(3, 4, rng=0)

    def f(xs: Any) -> Any:
        h = cell.initial_state(2)
        for t in range(4):
            with tr.step(t):
                h = h.detach() if t in options["cut"] else h
                _, h = cell(xs[t], h)
        return h

    report = gradcheck(f, sequence())
    assert not report
    assert not report.culprits
    assert "every rule is right by itself, and so is the traversal" in report.diagnosis[0]
    assert f"matmul, input 0, t={max(options['cut'])}" in report.diagnosis[0]
    assert any(d.startswith("xs: " + sentence) for d in report.diagnosis)
    frozen = gradcheck(f, sequence(), truncated=True)
    assert frozen, frozen
    assert "frozen at its recorded value" in str(frozen)


def test_a_wrong_traversal_is_told_from_wrong_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """A traversal that halves what it hands out: every rule by itself is right."""
    from tinygrad_rnn.check.subject import Function

    right = Function.pulled
    monkeypatch.setattr(Function, "pulled", lambda *given: [g * 0.5 for g in right(*given)])
    report = gradcheck(elman("tanh"), sequence())
    assert not report.culprits
    assert "the traversal is wrong" in report.diagnosis[0]


def test_truncated_bptt_is_checked_against_the_function_with_frozen_states() -> None:
    cell = nn.LSTMCell(3, 4, rng=0)

    def f(xs: Any) -> Any:
        total: Any = 0.0
        for _, outputs in tr.train.truncated_bptt(cell, xs, k1=2, k2=3):
            total = total + (tr.stack(outputs) ** 2).sum()
        return total

    xs = sequence(7)
    full, truncated = gradcheck(f, xs), gradcheck(f, xs, truncated=True)
    assert not full
    assert not full.culprits
    assert truncated, truncated
    assert max(c.worst for c in truncated.comparisons) < 1e-12


# --- second order -------------------------------------------------------------------------------


def test_a_rule_that_hides_from_the_record_is_wrong_at_second_order_only() -> None:
    square = tr.primitive(
        "square", np.square, lambda g, y, x: g * 2.0 * (x.data if isinstance(x, tr.Tensor) else x)
    )
    assert gradcheck(square, [1.0, 2.0])
    report = gradgradcheck(square, [1.0, 2.0])
    assert not report
    assert str(report.culprits[0]) == (
        "square: the derivative of its rules with respect to input 0"
    )


def test_an_asymmetric_hessian_is_seen() -> None:
    """∂f/∂a claims to depend on b as 2b, while ∂f/∂b claims not to depend on a."""
    odd = tr.primitive(
        "odd", lambda a, b: a * b, lambda g, y, a, b: g * b, lambda g, y, a, b: g * a.data
        if isinstance(a, tr.Tensor) else g * a,
    )  # fmt: skip
    report = gradgradcheck(lambda a, b: odd(a, b), [1.0, 2.0], [3.0, 4.0])
    assert {c.variable.name for c in report.comparisons if c.having("wrong")} == {"a, second order"}
    assert {(c.op, c.claim.order) for c in report.culprits} == {("odd", 2)}


# --- kinks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "x", "places"),
    [
        (tr.relu, [[1.0, 0.0], [-1.0, 0.5]], ["x[0, 1]"]),
        (tr.abs, [[0.0, 2.0]], ["x[0, 0]"]),
        (lambda x: tr.max(x), [3.0, 1.0, 3.0], ["x[0]", "x[2]"]),
        (lambda x: tr.maximum(x[0], x[1]), [1.5, 1.5], ["x[0]", "x[1]"]),
        (lambda x: tr.clip(x, -1.0, 1.0), [0.0, 1.0], ["x[1]"]),
        (tr.relu, [1e-9, 1.0], ["x[0]"]),
    ],
)
def test_a_kink_is_inconclusive_not_a_failure(f: Any, x: Any, places: list[str]) -> None:
    report = gradcheck(lambda x: f(x), np.array(x))
    assert report, report
    found = [e.place for c in report.comparisons for e in c.having("inconclusive")]
    assert sorted(found) == places
    for place in places:
        assert f"inconclusive, kink within the step at {place}" in str(report)
    assert report.comparisons[0].method == "differences"


def test_a_kink_nearby_does_not_hide_a_wrong_rule() -> None:
    bad = tr.primitive(
        "relu", lambda x: np.maximum(x, 0.0), lambda g, y, x: g * (x < 0), analytic=False
    )
    report = gradcheck(lambda x: bad(x), [[1.0, 0.0], [1e-4, -2.0]])
    wrong = {e.place for c in report.comparisons for e in c.having("wrong")}
    assert wrong == {"x[0, 0]", "x[1, 0]", "x[1, 1]"}
    assert report.culprits[0].op == "relu"


def test_which_method_was_used_is_said_for_each_operation() -> None:
    report = gradcheck(lambda x: tr.relu(tr.tanh(x)), [0.5, -1.0])
    assert report.by_op["tanh"].method == "complex step"
    assert report.by_op["relu"].method == "differences"
    assert report.comparisons[0].method == "differences"


def test_a_forward_function_that_only_seems_analytic_is_checked_by_differences() -> None:
    """|x|³ takes complex numbers without complaint, and its complex step is wrong."""
    cubed = tr.primitive("cubed", lambda x: np.abs(x) ** 3, lambda g, y, x: g * 3 * x * abs(x))
    report = gradcheck(lambda x: cubed(x), [1.0, -2.0])
    assert report, report
    assert report.by_op["cubed"].method == "differences"


def test_large_arrays_are_compared_along_directions_and_at_a_sample() -> None:
    W = np.random.default_rng(0).normal(size=(30, 30))
    report = gradcheck(lambda W: tr.tanh(W @ W), W)
    assert report, report
    assert report.comparisons[0].how == "8 random directions, 32 of 900 entries"
    off = tr.primitive("tanh", np.tanh, lambda g, y, x: g * (1 - y * y) * one_off(x))
    report = gradcheck(lambda W: off(W / 9.0), W)
    assert report.culprits[0].diagnosis == ["one entry alone is wrong: [7, 3]"]


def one_off(x: Any) -> Any:
    """Ones, but for an error of 1e-4 in one of 900 entries."""
    found = np.ones(x.shape)
    found[7, 3] += 1e-4
    return found


# --- what holds of any gradient -----------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [
        lambda g, y, x: g * 2 * x + 1e-3,  # a zero gradient of the output does not give zero
        lambda g, y, x: abs(g) * 2 * x,  # not linear in it
    ],
)
def test_a_rule_that_is_not_linear_is_wrong(rule: Any) -> None:
    """No rule of its own: what it is compared with is linear."""
    square = tr.primitive("square", np.square, rule)
    report = gradcheck(lambda x: square(x), [1.0, 2.0, -1.0, 0.5])
    assert {c.op for c in report.culprits} == {"square"}
    assert report.comparisons[0].having("wrong")


def test_a_function_may_change_the_dtype() -> None:
    report = gradcheck(lambda x: tr.astype(x, np.float64) * 2.0, np.ones(2, np.float32))
    assert report, report


def test_the_same_seed_gives_the_same_report() -> None:
    first, again, other = (
        str(gradcheck(elman(WRONG_TANH), sequence(), seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other
    assert "seed 1, 3 random signed cotangents" in first


# --- a forgotten assert ---------------------------------------------------------------------------


@pytest.mark.parametrize("check", [tr.check.gradcheck, tr.check.gradgradcheck])
def test_a_wrong_gradient_raises_with_its_report(check: Any) -> None:
    with pytest.raises(AssertionError, match="a rule is wrong: tanh, input 0") as caught:
        check(elman(WRONG_TANH), sequence())
    assert isinstance(caught.value, tr.check.GradientError)
    assert str(caught.value) == str(caught.value.report)
    assert {c.op for c in caught.value.report.culprits} == {"tanh"}


def test_a_cell_that_returns_its_state_alone_does_not_pass() -> None:
    """With two sequences, its state unpacks into an output and a state, each of one sequence."""

    class Bare(nn.ElmanCell):
        def __call__(self, x: Any, h: Any) -> Any:
            return super().__call__(x, h)[1]

    cell = Bare(3, 4, rng=0)
    with pytest.raises(TypeError, match="returned"):
        gradcheck(lambda xs: nn.unroll(cell, xs), sequence())


# --- the report ---------------------------------------------------------------------------------


def test_the_error_is_drawn_where_it_is() -> None:
    """Nothing between the loss and the culprit is off, and everything beyond it is."""
    report = gradcheck(elman(at_step(2, WRONG_TANH), last=True), sequence(5))
    picture = viz.draw(report)
    steps: dict[int, list[float]] = {}
    for node in picture.nodes:
        if node.kind in ("op", "state") and node.step is not None and node.value is not None:
            steps.setdefault(node.step, []).append(node.value)
    assert max(steps[4] + steps[3]) == 0.0
    assert min(steps[0] + steps[1]) > 1e-4
    assert min(steps[2]) == 0.0 < max(steps[2])  # the tanh's own gradient is still right
    texts = " ".join(text.text for text in picture.texts)
    assert "how wrong it is" in texts


def test_the_error_trace_is_the_difference_from_the_right_gradient() -> None:
    """The right gradient: of the same net, without the fault."""
    xs = tr.Tensor(sequence(5), requires_grad=True)
    report = gradcheck(elman(at_step(2, WRONG_TANH), last=True), xs)
    wrong, right = (
        tr.grad(elman(f, last=True)(xs).sum(), xs)[0].data
        for f in (at_step(2, WRONG_TANH), tr.tanh)
    )
    assert (np.abs(wrong - right).max(axis=(1, 2)) > 0).tolist() == [True] * 3 + [False] * 2
    error = report.trace.gradient(xs)
    assert (np.abs(error).max(axis=(1, 2)) > 0).tolist() == [True] * 3 + [False] * 2


def test_the_page_shows_what_the_text_shows() -> None:
    report = gradcheck(elman(at_step(1, WRONG_TANH)), sequence())
    page = report._repr_html_()
    assert "at fault: tanh, input 0, elman / t=1" in page
    assert report.worst(1)[0].place in page
    hostile = tr.primitive("<script>", np.tanh, lambda g, y, x: g)
    assert "<script>" not in gradcheck(lambda x: hostile(x), [0.3])._repr_html_()


# --- bad input ----------------------------------------------------------------------------------


def draws(x: Any) -> Any:
    return x * float(np.random.default_rng().normal())


def writes(x: Any) -> Any:
    x.data[0] = 5.0
    return x * 2.0


def unlocks(x: Any) -> Any:
    y = x * 2.0
    x.data.setflags(write=True)
    x.data[0] += 1.0
    return y


def rebinds(x: Any) -> Any:
    y = x * 2.0
    x.data = x.data + 1.0
    return y


def no_history(x: Any) -> Any:
    with tr.no_grad():
        return x * 2.0


@pytest.mark.parametrize(
    ("f", "inputs", "error", "sentence"),
    [
        (tr.tanh, [np.array([1, 2])], TypeError, "given int64 for .*Write numbers such as 1.0"),
        (tr.tanh, [np.array([1j])], TypeError, "given complex128"),
        (lambda: tr.Tensor([1.0]), [], ValueError, "nothing that requires a gradient"),
        (lambda x: 3.0, [[1.0]], TypeError, "f returned float, without any floating-point Tensor"),
        (lambda x: x.data, [[1.0]], TypeError, "f returned ndarray"),
        (no_history, [[1.0]], ValueError, "was it detached, computed under no_grad"),
        (draws, [[1.0]], ValueError, "not deterministic: its output 0 differs"),
        (writes, [[1.0]], ValueError, "f writes into its inputs"),
        (unlocks, [[1.0]], ValueError, "f writes into its inputs"),
        (rebinds, [[1.0]], ValueError, "f gives its inputs new data"),
        (lambda x: tr.log(x), [[-1.0]], FloatingPointError, "log made nan at entry"),
    ],
)
def test_bad_input_is_a_sentence(f: Any, inputs: Any, error: Any, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        gradcheck(f, *inputs)


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(ValueError, match="order=3 was given to gradcheck; there are 1 and 2"):
        gradcheck(tr.tanh, [1.0], order=3)


def test_leaves_hold_what_they_held_when_something_raises() -> None:
    cell = nn.ElmanCell(3, 4, rng=0)
    before, calls = cell.W_hh.data, []

    def f(xs: Any) -> Any:
        calls.append(0)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return nn.unroll(cell, xs)

    with pytest.raises(KeyboardInterrupt):
        gradcheck(f, sequence())
    assert cell.W_hh.data is before


def test_a_gradient_that_is_not_finite_names_its_source() -> None:
    report = gradcheck(lambda x: tr.sqrt(tr.var(x)), [1.0, 1.0])
    assert not report
    assert "backward of sqrt made" in report.diagnosis[0]


def test_a_report_leaves_nothing_for_the_cycle_collector() -> None:
    f, xs = elman(WRONG_TANH), sequence()
    gradcheck(f, xs, order=1)  # whatever is made once
    gc.collect()
    gc.disable()
    try:
        report = gradcheck(f, xs)
        report.trace  # noqa: B018
        del report
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_the_error_trace_of_an_entrywise_operation_takes_few_evaluations() -> None:
    """Not one for each entry, whether or not it was declared entry by entry."""
    evaluated = []

    def tanh(x: Any) -> Any:
        evaluated.append(x.size)
        return np.tanh(x)

    wrong = tr.primitive("tanh", tanh, lambda g, y, x: g * (1.0 - y))
    report = gradcheck(lambda x: wrong(x), np.linspace(-1.0, 1.0, 300).reshape(3, 100))
    evaluated.clear()
    (error,) = report.trace.contributions(report.trace.tensors[-1])
    assert len(evaluated) < 20
    y = np.tanh(np.linspace(-1.0, 1.0, 300).reshape(3, 100))
    g = report.comparisons[0].variable.gradients[0] / (1 - y)
    np.testing.assert_allclose(error, g * (y - y * y), rtol=1e-12, atol=1e-15)
