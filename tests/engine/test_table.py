"""Every operation, by its row in the table: values, first and second derivatives, safety."""

from __future__ import annotations

import gc
import math
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr

from .numeric import complex_step, differences
from .table import BINARY, TABLE, Row

CASES = [
    pytest.param(row, shapes, id=f"{row.name} {' '.join(map(str, shapes))}")
    for row in TABLE
    for shapes in row.shapes
]
FIRST = [pytest.param(row, row.shapes[-1], id=row.name) for row in TABLE]
each_case = pytest.mark.parametrize(("row", "shapes"), CASES)
each_row = pytest.mark.parametrize(("row", "shapes"), FIRST)


def leaves(arrays: list[np.ndarray]) -> list[tr.Tensor]:
    return [tr.Tensor(x, requires_grad=True) for x in arrays]


def cotangent(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape)


def value(row: Row, *xs: np.ndarray) -> np.ndarray:
    return row.function(*map(tr.Tensor, xs)).data


def gradients(row: Row, arrays: list[np.ndarray]) -> list[np.ndarray]:
    xs = leaves(arrays)
    y = row.function(*xs)
    y.backward(cotangent(y.shape))
    return [np.zeros(x.shape) if x.grad is None else x.grad for x in xs]


def check_gradients(row: Row, shapes: tuple[tuple[int, ...], ...]) -> None:
    arrays = row.inputs(shapes)
    numeric = complex_step if row.analytic else differences
    u = cotangent(value(row, *arrays).shape)
    for which, found in enumerate(gradients(row, arrays)):
        expected = numeric(lambda *xs: value(row, *xs), arrays, which, u)
        tolerance = 1e-13 if row.analytic else 1e-9
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@each_case
def test_value_is_numpys(row: Row, shapes: Any) -> None:
    arrays = row.inputs(shapes)
    expected = row.reference(*arrays)
    found = value(row, *arrays)
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


@each_case
def test_gradient_is_the_numeric_one(row: Row, shapes: Any) -> None:
    check_gradients(row, shapes)


@each_case
def test_second_order_is_the_numeric_one(row: Row, shapes: Any) -> None:
    """The gradient of ⟨v, gradient⟩ against a numeric derivative of the gradient itself."""
    arrays = row.inputs(shapes)
    xs = leaves(arrays)
    y = row.function(*xs)
    u = cotangent(y.shape)
    slopes = tr.grad(y, xs, u, create_graph=True)
    vs = [np.random.default_rng(k).standard_normal(x.shape) for k, x in enumerate(arrays)]
    total: Any = 0.0
    for slope, v in zip(slopes, vs, strict=True):
        total = total + (slope * v).sum()
    if not total.requires_grad:
        found = [np.zeros(x.shape) for x in arrays]
    else:
        total.backward()
        found = [np.zeros(x.shape) if x.grad is None else x.grad for x in xs]

    def slope_along(*moved: np.ndarray) -> np.ndarray:
        inputs = leaves(list(moved))
        output = row.function(*inputs)
        parts = tr.grad(output, inputs, u.astype(output.dtype))
        return sum(((g.data * v).sum() for g, v in zip(parts, vs, strict=True)), np.zeros(()))

    numeric = complex_step if row.analytic else differences
    tolerance = 1e-12 if row.analytic else 1e-8
    for which, got in enumerate(found):
        expected = numeric(slope_along, arrays, which, np.ones(()))
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@each_row
def test_float32_stays_float32(row: Row, shapes: Any) -> None:
    arrays = [x.astype(np.float32) for x in row.inputs(shapes)]
    xs = leaves(arrays)
    y = row.function(*xs)
    assert y.dtype == np.float32
    y.backward(cotangent(y.shape))
    for x, exact in zip(xs, gradients(row, row.inputs(shapes)), strict=True):
        if x.grad is not None:
            assert x.grad.dtype == np.float32
            np.testing.assert_allclose(x.grad, exact, rtol=2e-3, atol=2e-4)


@each_row
def test_two_uses_add_up(row: Row, shapes: Any) -> None:
    arrays = row.inputs(shapes)
    xs = leaves(arrays)
    y = row.function(*xs)
    z = y + row.function(*xs)
    z.backward(cotangent(z.shape))
    for x, once in zip(xs, gradients(row, arrays), strict=True):
        if x.grad is not None:
            np.testing.assert_allclose(x.grad, 2 * once, rtol=1e-14, atol=1e-14)


@each_row
def test_recorded_arrays_are_locked(row: Row, shapes: Any) -> None:
    xs = leaves(row.inputs(shapes))
    y = row.function(*xs)
    for tensor in (*xs, y):
        with pytest.raises(ValueError, match="read-only"):
            tensor.data[...] = 0.0


@each_row
@pytest.mark.parametrize("walk", ["no", "backward", "create_graph"])
def test_a_dropped_graph_is_freed_without_the_collector(row: Row, shapes: Any, walk: str) -> None:
    xs = leaves(row.inputs(shapes))
    gc.disable()
    try:
        y = row.function(*xs)
        alive = weakref.ref(y)
        if walk == "backward":
            y.backward(np.ones(y.shape))
        elif walk == "create_graph":
            slopes = tr.grad(y, xs, np.ones(y.shape), create_graph=True)
            del slopes
        del y
        assert alive() is None
    finally:
        gc.enable()


def check_all(row: Row) -> None:
    for shapes in row.shapes:
        if all(map(math.prod, shapes)):
            check_gradients(row, shapes)


def planted(rule: Any, i: int, fault: str) -> Any:
    """The rule for input `i` with a mistake in it."""

    def broken(g: Any, y: Any, *xs: Any, **kwargs: Any) -> Any:
        found = rule(g, y, *xs, **kwargs)
        if isinstance(found, tuple):  # a joint rule: the mistake is in the last contribution
            return (*found[:-1], spoiled(found[-1], xs[-1]))
        return spoiled(found.dense() if hasattr(found, "dense") else found, xs[i])

    def spoiled(message: np.ndarray, x: Any) -> np.ndarray:
        if fault == "sign":
            return -message
        if fault == "factor":
            return 1.0001 * message
        if fault == "one entry":
            message = np.array(message)
            message[(-1,) * message.ndim] += 0.01
            return message
        return message[(0,) * (message.ndim - np.ndim(x))]  # "not summed" over what was broadcast

    return broken


# Every primitive, by its name in the file that declares it.
FILES = (tr.functions.elementwise, tr.functions.reductions, tr.engine.primitives)
DECLARED = {name: value for file in FILES for name, value in vars(file).items()}
DECLARED["scan"] = tr.nn.scan

FAULTS = [
    pytest.param(row, name, fault, id=f"{row.name}, {fault}")
    for row in TABLE
    for name in row.primitives
    for fault in ("sign", "factor", "one entry", "not summed")
    if (fault != "not summed" or row.shapes is BINARY)
    and (name != "sign" or fault == "one entry")  # its derivative is zero, like any multiple of it
]


@pytest.mark.parametrize(("row", "name", "fault"), FAULTS)
def test_a_planted_fault_is_caught(
    row: Row, name: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Break each rule of the primitive in turn: the row's own check must fail each time."""
    primitive = DECLARED[{"getitem": "take"}.get(name, name)]
    used = [i for i, rule in enumerate(primitive.rules) if rule is not None]
    used = {"power 3": [0], "2 to the power": [1]}.get(row.name, used)  # the other is a number
    for i in used:
        rules = list(primitive.rules)
        rules[i] = planted(rules[i], i, fault)
        with monkeypatch.context() as patch:
            patch.setattr(primitive, "rules", tuple(rules))
            with pytest.raises((AssertionError, ValueError)):
                check_all(row)


def test_every_primitive_has_a_row() -> None:
    covered = {name for row in TABLE for name in row.primitives}
    differentiable = {
        op.name for op in DECLARED.values() if isinstance(op, tr.Primitive) and op.rules
    }
    assert differentiable - covered == {"astype", "scatter"}  # by float32, and by getitem twice
