"""One row an operation: what it is called with, and NumPy's own way to its value.

The rows expand into the tests of test_table.py. `analytic` operations are differentiated by a
complex step, exact to rounding; the others by central differences, extrapolated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

import tinygrad_rnn as tr

Shapes = tuple[tuple[int, ...], ...]


@dataclass
class Row:
    """An operation, its value by NumPy, the shapes to try, and where its inputs come from."""

    name: str
    function: Callable[..., Any]
    reference: Callable[..., Any]
    shapes: tuple[Shapes, ...]
    domain: tuple[float, float] = (-2.0, 2.0)
    analytic: bool = True
    primitives: tuple[str, ...] = ()  # whose rules the row's gradient goes through

    def inputs(self, shapes: Shapes, seed: int = 0) -> list[np.ndarray]:
        """Random inputs, away from integers, where kinks are."""
        rng = np.random.default_rng([seed, *map(ord, self.name)])
        low, high = self.domain
        drawn = [rng.uniform(low, high, shape) for shape in shapes]
        return [np.where(abs(x - x.round()) < 0.02, x + 0.05, x) for x in drawn]


def one(*shapes: tuple[int, ...]) -> tuple[Shapes, ...]:
    return tuple((shape,) for shape in shapes)


UNARY = one((), (3,), (2, 3), (0, 2))
BINARY: tuple[Shapes, ...] = (
    ((), ()),
    ((3,), (3,)),
    ((4, 3), (3,)),
    ((2, 1), (1, 3)),
    ((), (2, 2)),
    ((0, 2), (2,)),
)
MATRICES: tuple[Shapes, ...] = (
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((4, 2, 3), (3, 2)),
    ((4, 2, 3), (3,)),
    ((3,), (4, 3, 2)),
    ((4, 2, 3), (4, 3, 2)),
    ((5, 1, 2, 3), (4, 3, 2)),
    ((2, 3), (4, 3, 2)),
    ((2, 0), (0, 3)),
)
KEYS: dict[str, Any] = {
    "integer": 1,
    "slice": slice(0, 2),
    "step": slice(None, None, -2),
    "new axis": (None, slice(None), 1),
    "ellipsis": (..., 0),
    "array": np.array([0, 2, 0, -1]),
    "matrix of indices": np.array([[0, 0], [2, 1]]),
    "two arrays": (np.array([0, 2, 0]), np.array([1, 1, 1])),
    "slice and array": (slice(1, None), [2, 0, 2]),
    "booleans": np.array([True, False, True]),
}


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    e = np.exp(x - x.max(axis=axis, keepdims=True)) if x.size else np.exp(x)
    return e / e.sum(axis=axis, keepdims=True)


def logsumexp(x: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.log(np.exp(x).sum(axis=axis))


def step_by_step(a: np.ndarray, b: np.ndarray, h: np.ndarray) -> np.ndarray:
    """What a scan computes, as a loop."""
    a, b, h = np.broadcast_arrays(a, b, h[None])
    states = [h[0]]
    for keep, add in zip(a, b, strict=True):
        states.append(keep * states[-1] + add)
    return np.stack(states[1:])


def row(name: str, shapes: tuple[Shapes, ...], reference: Any = None, **options: Any) -> Row:
    """A row for an operation that NumPy has under the same name."""
    return Row(name, getattr(tr, name), reference or getattr(np, name), shapes, **options)


def varied(name: str, shapes: tuple[Shapes, ...], *variants: dict[str, Any], **options: Any):
    """Rows for the same operation with different keyword arguments."""
    reference = options.pop("reference", None) or getattr(np, name)
    for kwargs in variants:
        text = ", ".join(f"{key}={value}" for key, value in kwargs.items())
        yield Row(
            f"{name}({text})",
            lambda *xs, k=kwargs: getattr(tr, name)(*xs, **k),
            lambda *xs, k=kwargs: reference(*xs, **k),
            shapes,
            **options,
        )


AXES = [{}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, 2)}]
BOX = one((2, 3, 2))

TABLE: list[Row] = [
    row("add", BINARY, primitives=("add",)),
    row("subtract", BINARY, primitives=("subtract",)),
    row("multiply", BINARY, primitives=("multiply",)),
    row("divide", BINARY, domain=(0.3, 2.0), primitives=("divide",)),
    row("power", BINARY, domain=(0.3, 2.0), primitives=("power",)),
    Row("power 3", lambda x: x**3, lambda x: x**3, UNARY, primitives=("power",)),
    Row("power -1", lambda x: x**-1, lambda x: 1 / x, UNARY, (0.3, 2.0)),
    Row("2 to the power", lambda x: 2**x, lambda x: 2.0**x, UNARY, primitives=("power",)),
    row("negative", UNARY, primitives=("negative",)),
    row("exp", UNARY, primitives=("exp",)),
    row("expm1", UNARY, primitives=("expm1",)),
    row("log", UNARY, domain=(0.3, 2.0), primitives=("log",)),
    row("log1p", UNARY, domain=(-0.7, 2.0), primitives=("log1p",)),
    row("sqrt", UNARY, domain=(0.3, 2.0), primitives=("sqrt",)),
    row("sin", UNARY, primitives=("sin",)),
    row("cos", UNARY, primitives=("cos",)),
    row("tanh", UNARY, primitives=("tanh",)),
    row("sigmoid", UNARY, lambda x: 1 / (1 + np.exp(-x)), primitives=("sigmoid",)),
    row("relu", UNARY, lambda x: np.maximum(x, 0), analytic=False, primitives=("relu",)),
    row("abs", UNARY, analytic=False, primitives=("abs",)),
    row("sign", UNARY, analytic=False, primitives=("sign",)),
    row("maximum", BINARY, analytic=False, primitives=("maximum",)),
    row("minimum", BINARY, analytic=False, primitives=("minimum",)),
    Row(
        "where",
        lambda a, b: tr.where(np.array([True, False, True]), a, b),
        lambda a, b: np.where(np.array([True, False, True]), a, b),
        (((3,), (3,)), ((2, 3), (1,)), ((), (2, 1))),
        primitives=("where",),
    ),
    Row(
        "clip",
        tr.clip,
        np.clip,
        (((), (), ()), ((3,), (3,), (3,)), ((4, 3), (3,), ()), ((20,), (20,), (20,))),
        (-3.0, 3.0),
        analytic=False,
        primitives=("clip",),
    ),
    row("matmul", MATRICES, primitives=("matmul",)),
    Row(
        "scan",
        tr.nn.scan,
        step_by_step,
        (
            ((1,), (1,), ()),
            ((5, 3), (5, 3), (3,)),
            ((3,), (6, 2, 3), (2, 1)),
            ((8, 1, 3), (8, 2, 1), (3,)),
            ((7, 3), (3,), (3,)),
        ),
        primitives=("scan",),
    ),
    *varied("sum", BOX, *AXES, primitives=("sum",)),
    *varied("mean", BOX, *AXES),
    *varied("max", BOX, *AXES, analytic=False, primitives=("max",)),
    *varied("min", BOX, *AXES, analytic=False, primitives=("min",)),
    *varied("var", BOX, *AXES, {"ddof": 1}),
    *varied("std", BOX, *AXES, {"axis": 1, "ddof": 1}),
    Row("norm", tr.norm, lambda x: np.sqrt((x * x).sum()), one((3,), (2, 3))),
    Row("reshape", lambda x: x.reshape(3, -1), lambda x: x.reshape(3, -1), one((2, 3), (6,))),
    Row(
        "reshape of a reshape",
        lambda x: tr.reshape(x, (6,)) ** 2,
        lambda x: x.reshape(6) ** 2,
        one((2, 3)),
        primitives=("reshape",),
    ),
    *varied("transpose", BOX, {}, {"axes": (2, 0, 1)}, {"axes": (-1, 0, 1)}),
    Row(
        "transpose squared",
        lambda x: tr.transpose(x, (2, 0, 1)) ** 2,
        lambda x: np.transpose(x, (2, 0, 1)) ** 2,
        BOX,
        primitives=("transpose",),
    ),
    *varied("swapaxes", BOX, {"axis1": 0, "axis2": -1}),
    Row(
        "broadcast_to",
        lambda x: tr.broadcast_to(x, shape=(4, 2, 3)),
        lambda x: np.broadcast_to(x, (4, 2, 3)),
        one((), (3,), (2, 1), (1, 2, 3)),
        primitives=("broadcast_to",),
    ),
    Row(
        "concatenate",
        lambda a, b: tr.concatenate([a, b], axis=-1),
        lambda a, b: np.concatenate([a, b], axis=-1),
        (((3,), (2,)), ((2, 3), (2, 1)), ((2, 0), (2, 3))),
        primitives=("concatenate",),
    ),
    Row(
        "stack",
        lambda a, b: tr.stack([a, b, a], axis=1),
        lambda a, b: np.stack([a, b, a], axis=1),
        (((2, 3), (2, 3)), ((3,), (3,))),
        primitives=("stack",),
    ),
    Row(
        "split",
        lambda x: tr.split(x, 2, axis=1)[1] * tr.split(x, [1], axis=1)[0],
        lambda x: np.split(x, 2, axis=1)[1] * np.split(x, [1], axis=1)[0],
        one((3, 4)),
    ),
    *(
        Row(
            f"getitem, {name}",
            lambda x, key=key: tr.getitem(x, key) ** 2,
            lambda x, key=key: x[key] ** 2,
            one((3, 3)),
            primitives=("getitem",),
        )
        for name, key in KEYS.items()
    ),
    Row(
        "take_along_axis",
        lambda x: tr.take_along_axis(x, np.array([[1, 1], [0, 2]]), axis=1),
        lambda x: np.take_along_axis(x, np.array([[1, 1], [0, 2]]), axis=1),
        one((2, 3)),
    ),
    *varied(
        "softmax", one((3,), (2, 3)), {}, {"axis": 0}, reference=softmax, primitives=("softmax",)
    ),
    *varied(
        "logsumexp",
        one((3,), (2, 3)),
        {},
        {"axis": 0},
        reference=logsumexp,
        primitives=("logsumexp",),
    ),
    Row(
        "log_softmax",
        tr.log_softmax,
        lambda x: np.log(softmax(x)),
        one((3,), (2, 3)),
        primitives=("log_softmax",),
    ),
    Row("softplus", tr.softplus, lambda x: np.logaddexp(0, x), UNARY),
    Row(
        "leaky_relu",
        lambda x: tr.leaky_relu(x, 0.1),
        lambda x: np.where(x > 0, x, 0.1 * x),
        UNARY,
        analytic=False,
    ),
    Row("elu", tr.elu, lambda x: np.where(x > 0, x, np.expm1(x)), UNARY, analytic=False),
    Row(
        "gelu",
        tr.gelu,
        lambda x: x * np.vectorize(NormalDist().cdf, [float])(x),
        UNARY,
        analytic=False,
        primitives=("erf",),
    ),
    Row(
        "gelu by tanh",
        lambda x: tr.gelu(x, "tanh"),
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        UNARY,
    ),
    *varied("flip", one((3,), (2, 3)), {}, {"axis": -1}),
    *varied("roll", one((2, 3)), {"shift": 2}, {"shift": -1, "axis": 1}),
    *varied("pad", one((2, 3)), {"pad_width": [(1, 0), (0, 2)]}),
    *varied("pad", one((3, 3)), *({"pad_width": (1, 2), "mode": m} for m in ("edge", "reflect"))),
    *varied("prod", one((2, 3), (5,)), {}, {"axis": -1, "keepdims": True}),
    *varied("cumsum", one((2, 3), (5,)), {}, {"axis": -1}, primitives=("cumsum",)),
    *varied("squeeze", one((1, 3, 1)), {}, {"axis": 0}),
    *varied("expand_dims", one((2, 3)), {"axis": (0, -1)}),
    *varied("moveaxis", one((2, 3, 1)), {"source": 0, "destination": -1}),
    *varied("repeat", one((2, 3)), {"repeats": 2}, {"repeats": [1, 0, 2], "axis": 1}),
    *varied("tile", one((2, 3)), {"reps": 2}, {"reps": (2, 1, 2)}),
    Row("outer", tr.outer, np.outer, (((3,), (2,)),)),
    *(
        Row(
            f"einsum {subscripts}",
            lambda *xs, s=subscripts: tr.einsum(s, *xs),
            lambda *xs, s=subscripts: np.einsum(s, *xs),
            (shapes,),
        )
        for subscripts, shapes in {
            "ij,jk->ik": ((2, 3), (3, 2)),
            "tbi,ih->tbh": ((2, 3, 2), (2, 4)),
            "bij,bjk->bki": ((2, 3, 2), (2, 2, 3)),
            "i,j->ij": ((2,), (3,)),
            "ij,ij->": ((2, 3), (2, 3)),
            "ijk->ki": ((2, 3, 2),),
            "ij,k->j": ((2, 3), (2,)),
            "ij,jk": ((2, 3), (3, 2)),
            "iij->j": ((2, 2, 3),),
            "...ij,...jk->...ik": ((4, 1, 2, 3), (5, 3, 2)),
            "i,ij,j->": ((2,), (2, 3), (3,)),
        }.items()
    ),
]
