"""`check_gradients`: plain NumPy code, and the classical mistakes of hand-written BPTT."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tests.check.catalogue import MISTAKES
from tinygrad_rnn import nn

check_gradients = functools.partial(tr.check.check_gradients, raise_exception=False)
BY_HAND = {mistake.name: mistake for mistake in MISTAKES if mistake.by_hand}
SOME = BY_HAND["by hand: = for +="]


def test_right_code_passes_and_agrees_with_the_engine() -> None:
    f, df, (p,) = SOME.right()
    report = check_gradients(f, df, p, time=["xs"])
    assert report, report
    assert all(c.method == "complex step" and c.worst < 1e-12 for c in report.comparisons)
    cell = nn.ElmanCell(*p["W_xh"].shape, rng=0)
    for name in ("W_xh", "W_hh", "b"):
        getattr(cell, name).data = p[name]
    outputs, _ = nn.unroll(cell, p["xs"])
    total: Any = 0.0
    for t, h in enumerate(outputs):
        total = total + (t + 1.0) * (h * h).sum()
    (total / p["xs"].shape[1]).backward()
    np.testing.assert_allclose(df(p)["W_hh"], cell.W_hh.grad, rtol=1e-12)


EVERYTHING = {"xs", "W_xh", "W_hh", "b"}


@pytest.mark.parametrize(
    ("name", "wrong", "sentence"),
    [
        ("input gradient of its own step only", {"xs"}, "xs: right only at the last step"),
        ("h_t for h_t-1", {"W_hh"}, None),
        ("= for +=", {"W_hh"}, None),
        ("nothing through time", EVERYTHING, "xs: right only at the last step"),
        ("bias not summed over the batch", set(), "df: the gradient of b is not summed over the"),
        ("1/B missing", EVERYTHING, "xs: a constant factor: 2 times"),
        ("not flipped back", {"xs"}, None),
    ],
)
def test_a_classical_mistake_is_located(name: str, wrong: set[str], sentence: str) -> None:
    f, df, (p,) = BY_HAND[f"by hand: {name}"].make()
    report = check_gradients(f, df, p, time=["xs"])
    assert not report
    assert {c.variable.name for c in report.comparisons if c.having("wrong")} == wrong
    if sentence:
        assert any(d.startswith(sentence) for d in report.diagnosis), report.diagnosis
    if name == "input gradient of its own step only":  # every step but the last is named
        last = len(p["xs"]) - 1
        found = {e.step for c in report.comparisons for e in c.having("wrong")}
        assert found == set(range(last))
        assert report.by_step[last] < 1e-12 < 1e-3 < report.by_step[0]


def test_one_array_several_arrays_and_one_number() -> None:
    x, y = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    assert check_gradients(lambda x: np.sum(x**3), lambda x: 3 * x**2, x)
    assert check_gradients(lambda x, y: np.sum(x * y**2), lambda x, y: (y**2, 2 * x * y), x, y)
    report = check_gradients(lambda x, y: np.sum(x * y**2), lambda x, y: (y**2, x * y), x, y)
    assert report.diagnosis == ["y: a constant factor: 0.5 times what it should be"]
    assert check_gradients(lambda w: w**2, lambda w: 2 * w, np.float64(3.0))


def test_code_that_cannot_take_complex_numbers_is_checked_by_differences() -> None:
    """Written for real numbers: abs, a cast to float, comparisons."""
    for f, df in (
        (lambda x: float(np.sum(np.abs(x) ** 3)), lambda x: 3 * x * np.abs(x)),
        (lambda x: np.sum(np.abs(x) ** 3), lambda x: 3 * x * np.abs(x)),
        (lambda x: np.sum(np.where(x > 0, x, 0) ** 2), lambda x: 2 * np.maximum(x, 0)),
    ):
        x = np.array([1.0, -2.0, 0.5])
        report = check_gradients(f, df, x)
        assert report, report
        assert not check_gradients(f, lambda x, df=df: df(x) * 1.0001, x)


def test_a_kink_is_inconclusive() -> None:
    report = check_gradients(
        lambda x: float(np.sum(np.maximum(x, 0))), lambda x: (x > 0) * 1.0, np.array([0.0, 1.0])
    )
    assert report
    assert [e.place for e in report.inconclusive] == ["x[0]"]


def changes(x: np.ndarray) -> float:
    x += 1.0
    return float(x.sum())


@pytest.mark.parametrize(
    ("f", "df", "x", "error", "sentence"),
    [
        (np.sum, np.ones_like, np.array([1, 2]), TypeError, "int64 for .*numbers such as 1.0"),
        (np.tanh, np.ones_like, np.ones(2), ValueError, "f returned 2 numbers; expected a single"),
        (lambda x: np.log(-x).sum(), np.ones_like, np.ones(2), ValueError, "expected a single fin"),
        (lambda x: np.random.default_rng().normal(), np.ones_like, np.ones(2), ValueError,
         "not deterministic"),
        (changes, np.ones_like, np.ones(2), ValueError, "changes its input x; let it work on a"),
        (lambda x: x.sum(), lambda x: np.ones(3), np.ones(2), ValueError, r"shape \(3,\) for"),
        (lambda p: p["a"].sum(), lambda p: {"b": 0.0}, {"a": np.ones(2)}, ValueError,
         r"df returned \['b'\]; expected a gradient for each of \['a'\]"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(f: Any, df: Any, x: Any, error: Any, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        check_gradients(f, df, x)


def test_there_is_no_graph_to_draw() -> None:
    report = check_gradients(lambda x: np.sum(x), lambda x: 2 * np.ones_like(x), np.ones(2))
    with pytest.raises(ValueError, match="recorded no graph"):
        report.trace  # noqa: B018


# --- a diagnosis is given only if the numbers leave no other -------------------------------------


def through_time(p: Any, back: Any, scale: float = 1.0) -> Any:
    """The gradient of the inputs of a tanh net, carried from step to step by `back`."""
    hs = [np.zeros((2, 3))]
    for x in p["xs"]:
        hs.append(np.tanh(x @ p["W"] + hs[-1] @ p["U"]))
    carried, found = 0.0, np.zeros_like(p["xs"])
    for t in reversed(range(len(p["xs"]))):
        dz = (2 * hs[t + 1] + carried) * (1 - hs[t + 1] ** 2)
        found[t], carried = dz @ p["W"].T * scale, dz @ back
    return found


def squares(p: Any) -> Any:
    h, total = 0.0, 0.0
    for x in p["xs"]:
        h = np.tanh(x @ p["W"] + (h @ p["U"] if np.ndim(h) else 0.0))
        total = total + np.sum(h * h)
    return total


@pytest.mark.parametrize(
    ("name", "scale", "sentences"),
    [
        ("U for Uᵀ", 1.0, ["right only at the last step"]),
        ("every step off by 1e-5", 1.00001, ["a constant factor: 1.00001 times what it should be"]),
    ],
)
@pytest.mark.parametrize("growth", [0.01, 0.5, 2.0])
def test_nothing_is_said_that_other_mistakes_would_explain(
    name: str, scale: float, sentences: list[str], growth: float
) -> None:
    rng = np.random.default_rng(0)
    xs, W, U = rng.normal(size=(6, 2, 3)) / 3, rng.normal(size=(3, 3)), rng.normal(size=(3, 3))
    others = {"W": W, "U": growth * U}

    def f(xs: Any) -> Any:
        return squares({"xs": xs} | others)

    def df(xs: Any, back: Any = None, scale: float = 1.0) -> Any:
        back = others["U"].T if back is None else back
        return through_time({"xs": xs} | others, back, scale)

    assert check_gradients(f, df, xs, time=[0])
    wrong = others["U"] if scale == 1.0 else None
    report = check_gradients(f, lambda xs: df(xs, wrong, scale), xs, time=[0])
    assert report.diagnosis == [f"xs: {sentence}" for sentence in sentences]


def test_a_small_random_error_everywhere_is_no_pattern() -> None:
    x = 10.0 ** np.arange(8)
    noise = 1 + 1e-5 * np.random.default_rng(0).normal(size=8)
    report = check_gradients(lambda x: np.sum(x * x), lambda x: 2 * x * noise, x, time=[0])
    assert len(report.comparisons[0].having("wrong")) == 8
    assert report.diagnosis == []


def test_a_list_that_is_cut_says_so() -> None:
    def df(x: Any) -> Any:
        return 2 * x + (np.arange(20) < 13) * np.arange(1, 21)

    report = check_gradients(lambda x: np.sum(x * x), df, np.arange(1.0, 21.0) ** 2)
    assert report.diagnosis == ["x: wrong only at 0, 1, 2, 3, 4, 5, 6, 7 and 5 more of axis 0"]


def test_two_patterns_that_fit_are_both_named() -> None:
    report = check_gradients(lambda x: np.sum(x), lambda x: 1.25 * np.ones(3), np.ones(3))
    assert report.diagnosis == [
        "x: a constant factor: 1.25 times what it should be, or right but for a constant: "
        "+0.25 in every entry"
    ]
    report = check_gradients(lambda x: x**2, lambda x: x, np.float64(3.0))
    assert report.diagnosis == ["x: 0.5 times what it should be"]  # one number shows no constant
    assert check_gradients(lambda x: x**2, lambda x: 1.7 * x, np.float64(3.0)).diagnosis == []


def test_a_wrong_gradient_raises() -> None:
    with pytest.raises(AssertionError, match="x: the sign is flipped") as caught:
        tr.check.check_gradients(lambda x: np.sum(x * x), lambda x: -2 * x, np.arange(3.0))
    assert not caught.value.report  # type: ignore[attr-defined]
