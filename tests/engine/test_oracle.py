"""PyTorch as oracle: values, first and second derivatives, and what happens at kinks and ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr

from .table import BINARY, KEYS, MATRICES, Shapes, one

torch: Any = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

UNARY = one((), (3,), (2, 3), (2, 0))
BOX = one((2, 3, 2), (1, 4, 1), (3, 0, 2))

# Name, ours, PyTorch's, shapes, and the interval that inputs are drawn from.
CASES: list[tuple[str, Any, Any, tuple[Shapes, ...], tuple[float, float]]] = [
    *(
        (name, getattr(tr, name), getattr(torch, theirs), BINARY, (0.3, 2.0))
        for name, theirs in {
            "add": "add",
            "subtract": "sub",
            "multiply": "mul",
            "divide": "div",
            "power": "pow",
            "maximum": "maximum",
            "minimum": "minimum",
        }.items()
    ),
    *(
        (name, getattr(tr, name), getattr(torch, name), UNARY, (0.3, 2.0))
        for name in ("negative", "exp", "log", "sqrt", "sin", "cos", "tanh", "sigmoid", "abs")
    ),
    *(
        (name, getattr(tr, name), getattr(torch.nn.functional, name), UNARY, (-3.0, 3.0))
        for name in ("relu", "softplus", "leaky_relu", "elu")
    ),
    (
        "gelu",
        tr.gelu,
        torch.nn.functional.gelu,
        UNARY,
        (-3.0, 3.0),
    ),
    ("clip", lambda x: tr.clip(x, -1, 1), lambda x: x.clamp(-1, 1), UNARY, (-3.0, 3.0)),
    ("matmul", tr.matmul, torch.matmul, MATRICES, (-1.0, 1.0)),
    ("sum", lambda x: x.sum((0, 2)), lambda x: x.sum((0, 2)), BOX, (-1.0, 1.0)),
    ("mean", lambda x: x.mean(0), lambda x: x.mean(0), BOX[:2], (-1.0, 1.0)),
    ("var", lambda x: x.var(1), lambda x: x.var(1, correction=0), BOX[:2], (-1.0, 1.0)),
    ("std", lambda x: x.std(1, ddof=1), lambda x: x.std(1), BOX[:2], (-1.0, 1.0)),
    ("max", lambda x: x.max(1), lambda x: x.amax(1), BOX[:2], (-1.0, 1.0)),
    ("min", lambda x: x.min(-1), lambda x: x.amin(-1), BOX[:2], (-1.0, 1.0)),
    ("norm", tr.norm, torch.linalg.vector_norm, BOX[:2], (-1.0, 1.0)),
    ("softmax", tr.softmax, lambda x: x.softmax(-1), BOX[:2], (-3.0, 3.0)),
    ("log_softmax", tr.log_softmax, lambda x: x.log_softmax(-1), BOX[:2], (-3.0, 3.0)),
    ("logsumexp", tr.logsumexp, lambda x: x.logsumexp(-1), BOX[:2], (-3.0, 3.0)),
    (
        "cat",
        lambda a, b: tr.concatenate([a, b], 1),
        lambda a, b: torch.cat([a, b], 1),
        (((2, 3), (2, 1)), ((2, 0), (2, 2))),
        (-1.0, 1.0),
    ),
    (
        "stack",
        lambda a, b: tr.stack([a, b], -1),
        lambda a, b: torch.stack([a, b], -1),
        (((2, 3), (2, 3)), ((), ())),
        (-1.0, 1.0),
    ),
    ("roll", lambda x: tr.roll(x, 2, 1), lambda x: x.roll(2, 1), BOX, (-1.0, 1.0)),
    ("flip", lambda x: tr.flip(x, 1), lambda x: x.flip(1), BOX, (-1.0, 1.0)),
    (
        "einsum",
        lambda a, b: tr.einsum("tbi,ih->bth", a, b),
        lambda a, b: torch.einsum("tbi,ih->bth", a, b),
        (((2, 3, 2), (2, 4)),),
        (-1.0, 1.0),
    ),
    *(
        (
            f"index {name}",
            lambda x, k=key: tr.getitem(x, k),
            lambda x, k=key: x[k],
            one((3, 3)),
            (-1.0, 1.0),
        )
        for name, key in KEYS.items()
        if name != "step"  # PyTorch has no negative steps
    ),
]
EACH = [
    pytest.param(ours, theirs, shapes, domain, id=f"{name} {shapes}")
    for name, ours, theirs, all_shapes, domain in CASES
    for shapes in all_shapes
]


@pytest.mark.parametrize(("ours", "theirs", "shapes", "domain"), EACH)
def test_values_and_two_orders_agree(ours: Any, theirs: Any, shapes: Any, domain: Any) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(*domain, shape) for shape in shapes]
    xs = [tr.Tensor(x, requires_grad=True) for x in arrays]
    ts = [torch.tensor(x, requires_grad=True) for x in arrays]
    y, s = ours(*xs), theirs(*ts)
    assert y.shape == tuple(s.shape)
    np.testing.assert_allclose(y.data, s.detach().numpy(), rtol=1e-12, atol=1e-12)

    u = rng.standard_normal(y.shape)
    first = tr.grad(y, xs, u, create_graph=True)
    expected = torch.autograd.grad(s, ts, torch.tensor(u), create_graph=True)
    for g, e in zip(first, expected, strict=True):
        np.testing.assert_allclose(g.data, e.detach().numpy(), rtol=1e-12, atol=1e-12)

    # The gradient of the sum of squares of the gradients: everything of second order at once.
    total: Any = sum((g * g).sum() for g in first)
    wanted = sum((e * e).sum() for e in expected)
    if not wanted.requires_grad:
        return
    wanted.backward()
    if total.requires_grad:
        total.backward()
    for x, t in zip(xs, ts, strict=True):
        e = np.zeros(x.shape) if t.grad is None else t.grad.numpy(force=True)
        g = np.zeros(x.shape) if x.grad is None else x.grad
        np.testing.assert_allclose(g, e, rtol=1e-11, atol=1e-11)


KINKS: dict[str, tuple[Any, Any, list[list[float]]]] = {
    "relu at 0": (tr.relu, lambda x: torch.relu(x), [[-1.0, 0.0, 1.0]]),
    "abs at 0": (tr.abs, torch.abs, [[-1.0, 0.0, 1.0]]),
    "sign": (tr.sign, torch.sign, [[-1.0, 0.0, 1.0]]),
    "maximum of equals": (tr.maximum, torch.maximum, [[1.0, 2.0], [1.0, 1.0]]),
    "minimum of equals": (tr.minimum, torch.minimum, [[1.0, 2.0], [1.0, 1.0]]),
    "max of equals": (tr.max, torch.amax, [[2.0, 1.0, 2.0]]),
    "min of equals": (tr.min, torch.amin, [[1.0, 1.0, 2.0]]),
    "clip on its bounds": (
        lambda x: tr.clip(x, -1, 1),
        lambda x: x.clamp(-1, 1),
        [[-2.0, -1.0, 0.0, 1.0, 2.0]],
    ),
    "leaky_relu at 0": (tr.leaky_relu, torch.nn.functional.leaky_relu, [[-1.0, 0.0, 1.0]]),
    "elu at 0": (tr.elu, torch.nn.functional.elu, [[-1.0, 0.0, 1.0]]),
    "norm at 0": (tr.norm, torch.linalg.vector_norm, [[0.0, 0.0]]),
    "0 to the power of 0, 1 and 2": (tr.power, torch.pow, [[0.0, 0.0, 0.0], [0.0, 1.0, 2.0]]),
    "sigmoid far out": (tr.sigmoid, torch.sigmoid, [[-800.0, -40.0, 40.0, 800.0]]),
    "softplus far out": (tr.softplus, torch.nn.functional.softplus, [[-800.0, 800.0]]),
    "log_softmax far out": (
        tr.log_softmax,
        lambda x: x.log_softmax(-1),
        [[-800.0, 0.0, 800.0]],
    ),
}


@pytest.mark.parametrize("name", KINKS)
def test_kinks_ties_and_extremes_follow_pytorch(name: str) -> None:
    ours, theirs, arrays = KINKS[name]
    xs = [tr.Tensor(x, requires_grad=True) for x in arrays]
    ts = [torch.tensor(x, requires_grad=True, dtype=torch.float64) for x in arrays]
    y, s = ours(*xs), theirs(*ts)
    np.testing.assert_allclose(y.data, s.detach().numpy(), rtol=1e-12, atol=1e-300)
    y.sum().backward()
    s.sum().backward()
    for x, t in zip(xs, ts, strict=True):
        np.testing.assert_allclose(x.grad, t.grad.numpy(force=True), rtol=1e-12, atol=1e-300)
