"""What complex steps, kinks, ties and rounding could hide: wrong is found, right never accused."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn

gradcheck = functools.partial(tr.check.gradcheck, raise_exception=False)
check_gradients = functools.partial(tr.check.check_gradients, raise_exception=False)

# --- code that takes complex numbers and is not analytic ----------------------------------------

X = np.array([0.7, -1.2, 0.3, 2.0])
BLIND = {
    "absolute value": (lambda x: np.sum(np.abs(x)), np.sign),
    "its square": (lambda x: np.sum(np.abs(x) ** 2), lambda x: 2 * x),
    "real part": (lambda x: np.sum(x.real**2), lambda x: 2 * x),
    "maximum of sizes": (lambda x: np.max(np.abs(x)), lambda x: np.eye(4)[3]),
    "standard deviation": (np.std, lambda x: (x - x.mean()) / (4 * x.std())),
    "variance": (np.var, lambda x: (x - x.mean()) / 2),
    "norm": (lambda x: np.linalg.norm(x), lambda x: x / np.linalg.norm(x)),
    "softsign": (lambda x: np.sum(x / (1 + np.abs(x))), lambda x: (1 + np.abs(x)) ** -2.0),
    "an L1 term": (lambda x: np.sum(x**3) + 1e-3 * np.sum(np.abs(x)),
                   lambda x: 3 * x**2 + 1e-3 * np.sign(x)),
    "median": (np.median, lambda x: np.array([0.5, 0.0, 0.5, 0.0])),
    "maximum": (lambda x: np.sum(np.maximum(x, 0.5)), lambda x: (x > 0.5) * 1.0),
}  # fmt: skip


def blind(f: Any, x: np.ndarray) -> np.ndarray:
    """The gradient that a complex step takes for right."""
    return np.array([np.imag(f(x + 1e-30j * row)) / 1e-30 for row in np.eye(len(x))])


@pytest.mark.parametrize("name", BLIND)
def test_a_gradient_that_only_a_complex_step_believes_is_wrong(name: str) -> None:
    f, df = BLIND[name]
    assert check_gradients(f, df, X)
    assert not check_gradients(f, lambda x: 0 * x, X)
    if name not in ("median", "maximum"):  # these two compare complex numbers as wanted
        assert not np.allclose(blind(f, X), df(X))
        assert not check_gradients(f, lambda x: blind(f, x), X)


def test_an_operation_that_a_complex_step_misjudges_is_named() -> None:
    softsign = tr.primitive(
        "softsign", lambda x: x / (1 + abs(x)), lambda g, y, x: g / (1 + abs(x))
    )
    right = tr.primitive(
        "softsign", lambda x: x / (1 + abs(x)), lambda g, y, x: g / (1 + abs(x)) ** 2
    )
    assert gradcheck(lambda x: right(x), X)
    report = gradcheck(lambda x: softsign(x), X)
    assert report.diagnosis[0] == "a rule is wrong: softsign, input 0"
    assert report.by_op["softsign"].method == "differences"


def test_a_constant_made_of_data_is_seen_through_a_real_norm() -> None:
    report = gradcheck(lambda x: x / np.linalg.norm(x.data), X)
    assert "has no history (detach, .data, no_grad): divide, input 1" in report.diagnosis[0]


def test_a_gradient_that_is_zero_but_for_rounding_is_right() -> None:
    def total(x: Any) -> Any:
        e = np.exp(x)
        return np.sum(e / e.sum())

    assert check_gradients(total, lambda x: 0 * x, X)
    assert not check_gradients(total, lambda x: 0 * x + 1e-9, X)


# --- small numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2.0, 1.01])
@pytest.mark.parametrize(
    ("dtype", "size"),
    [(np.float32, 1.0), (np.float32, 1e-5), (np.float32, 1e-20), (np.float64, 1e-14),
     (np.float64, 1e-200)],
)  # fmt: skip
@pytest.mark.parametrize("op", ["multiply", "scale", "divide", "matmul"])
def test_tolerances_follow_the_size_of_the_numbers(
    op: str, dtype: Any, size: float, factor: float
) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3)), size * rng.normal(size=(3, 3) if op == "matmul" else (2, 3))
    b = b if op != "divide" else 1 / b.clip(1e-30 if dtype == np.float32 else 1e-290)
    by = dtype(factor)

    def made(by: Any) -> Any:
        if op == "multiply":
            rules = (lambda g, y, a, b: g * b * by, lambda g, y, a, b: g * a)
            return tr.primitive(op, np.multiply, *rules)
        if op == "divide":
            rules = (lambda g, y, a, b: g / b * by, lambda g, y, a, b: -g * y / b)
            return tr.primitive(op, np.divide, *rules)
        if op == "matmul":
            rules = (lambda g, y, a, b: g @ b.T * by, lambda g, y, a, b: a.T @ g)
            return tr.primitive(op, np.matmul, *rules)
        return tr.primitive(
            op, lambda a, b: a * b, lambda g, y, a, b: g * b, lambda g, y, a, b: g * a * by
        )

    arrays = [a.astype(dtype), b.astype(dtype)]
    report = gradcheck(lambda a, b: made(dtype(1.0))(a, b), *arrays)
    assert report, report
    report = gradcheck(lambda a, b: made(by)(a, b), *arrays)
    assert [(c.op, c.input) for c in report.culprits] == [(op, int(op == "scale"))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("x", [[9.0, 15.0], [-17.0, 18.3], [1e-30, -1e-20], [40.0, 700.0]])
@pytest.mark.parametrize("f", ["tanh", "sigmoid", "softplus", "softmax", "log_softmax", "elu"])
def test_saturated_units_are_no_false_alarm(f: str, x: Any, dtype: Any) -> None:
    report = gradcheck(lambda x: getattr(tr, f)(x), np.array(x, dtype), order=2)
    assert report, report


def test_a_cast_to_single_precision_on_the_way_is_no_false_alarm() -> None:
    def f(x: Any, tanh: Any) -> Any:
        return tr.astype(tanh(tr.astype(x * 1.5, np.float32)), np.float64)

    wrong = tr.primitive("tanh", np.tanh, lambda g, y, x: g * (1 - y))
    report = gradcheck(lambda x: f(x, tr.tanh), X)
    assert report, report
    assert [c.op for c in gradcheck(lambda x: f(x, wrong), X).culprits] == ["tanh"]


def test_where_the_derivative_is_infinite_nothing_is_decided() -> None:
    report = gradcheck(lambda x: x**0.5, [0.0, 1.0])
    assert report, report
    assert next(entry.place for entry in report.inconclusive) == "x[0]"


def test_nothing_to_check_is_all_right() -> None:
    assert str(gradcheck(lambda x: 2.0 * x, np.zeros((0, 3)))).startswith("gradcheck passed")


# --- kinks and ties -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        tr.leaky_relu,
        tr.norm,
        tr.abs,
        lambda x: tr.elu(x, 2.0),
        lambda x: tr.relu(x) - tr.relu(-x),  # the identity, whose gradient at 0 comes out as 0
        lambda x: tr.where(x.data > 0, x, 3.0 * x),
        lambda x: tr.sqrt(x * x),
        lambda x: tr.max(x) - tr.min(x),
    ],
)
@pytest.mark.parametrize("x", [[0.0, 1.0], [0.0, 0.0], [-0.0, -2.0]])
def test_a_kink_is_no_false_alarm(f: Any, x: Any) -> None:
    report = gradcheck(lambda x: f(x), np.array(x))
    assert report or "not finite" in report.diagnosis[0], report


def test_a_relu_net_from_nothing_is_inconclusive() -> None:
    cell = nn.ElmanCell(3, 4, nonlinearity="relu", bias=False, rng=0)
    report = gradcheck(lambda xs: nn.unroll(cell, xs), np.zeros((3, 2, 3)))
    assert report, report
    assert report.inconclusive
    assert report.diagnosis == []


def test_a_cut_is_found_beside_a_kink() -> None:
    report = gradcheck(lambda x: tr.relu(x) + x * x.detach(), np.array([0.0, 1.0, -2.0]))
    assert not report
    assert "has no history (detach, .data, no_grad): multiply, input 1" in report.diagnosis[0]


def test_a_report_without_a_decision_says_so() -> None:
    report = gradcheck(tr.relu, [0.0, 0.0])
    assert "is inconclusive: no entry could be decided" in str(report)


UNARY = {
    "relu": tr.relu,
    "leaky": tr.leaky_relu,
    "abs": tr.abs,
    "elu": lambda x: tr.elu(x, 2.0),
    "clip": lambda x: tr.clip(x, -1.0, 1.0),
    "sign": tr.sign,
    "tanh": tr.tanh,
    "square": lambda x: x * x,
    "negative": lambda x: -x,
    "half": lambda x: 0.5 * x,
    "shift": lambda x: x + 1.0,
    "sum": lambda x: x + x.sum(),
    "max": lambda x: x + tr.max(x),
    "norm": lambda x: x + tr.norm(x),
    "columns": lambda x: x - tr.min(x, axis=0),
    "ends": lambda x: x[::-1],
    "softmax": lambda x: tr.softmax(x, axis=-1),
    "choice": lambda x: tr.where(x.data.real > 0, x, -2.0 * x),
}
BINARY = {
    "maximum": tr.maximum,
    "minimum": tr.minimum,
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "matmul": lambda a, b: a @ b.T @ a,
}


@pytest.mark.parametrize("order", [1, 2])
def test_right_programs_at_kinks_and_ties_are_never_wrong(order: int) -> None:
    """Small whole numbers everywhere, so that kinks and ties are met all the time.

    `PROGRAMS` in the environment says how many; 2,000 were tried.
    """
    unary, binary = sorted(UNARY), sorted(BINARY)
    for seed in range(int(os.environ.get("PROGRAMS", "15"))):
        rng = np.random.default_rng(seed)
        program = [
            (str(rng.choice(binary if rng.random() < 0.4 else unary)), *rng.integers(0, k + 2, 2))
            for k in range(rng.integers(1, 6))
        ]

        def run(a: Any, b: Any, program: Any = program) -> Any:
            made = [a, b]
            for name, i, j in program:
                made.append(
                    BINARY[name](made[i], made[j]) if name in BINARY else UNARY[name](made[i])
                )
            return made[-1] + 0.0 * (a + b)

        x, y = rng.integers(-2, 3, size=(2, 2, 3)).astype(float)
        report = gradcheck(run, x, y, order=order, seed=seed)
        assert report, (seed, program, x, y, report)


# --- the Taylor test ----------------------------------------------------------------------------


def test_a_taylor_test_drowned_in_rounding_is_not_true() -> None:
    wrong = tr.primitive("square", np.square, lambda g, y, x: g * x)
    for f in (lambda x: wrong(x) + 1e14, lambda x: x * x + 1e14, lambda x: 0.0 * x + 1e14):
        result = tr.check.taylor_test(f, [0.5, 1.0])
        assert not result
        assert "decided nothing" in str(result)
        assert "unknown" in str(result)


def test_a_polynomial_is_decided() -> None:
    for f in (lambda x: 3.0 * x, lambda x: x * x - x, lambda x: x * x * x):
        result = tr.check.taylor_test(f, [0.5, 1.0])
        assert result, result
    wrong = tr.primitive("double", lambda x: 2.0 * x, lambda g, y, x: g * 2.0000001)
    assert not tr.check.taylor_test(lambda x: wrong(x), [0.5, 1.0])
