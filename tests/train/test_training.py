"""Optimisers, schedules and clipping against PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import train

OPTIMISERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"lr": 0.01}),
    "momentum": ("SGD", {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.01}),
    "nesterov": ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    "adam": ("Adam", {"lr": 0.03, "betas": (0.8, 0.99)}),
    "adamw": ("AdamW", {"lr": 0.03, "weight_decay": 0.1}),
    "rmsprop": ("RMSprop", {"lr": 0.01, "momentum": 0.5}),
    "adagrad": ("Adagrad", {"lr": 0.1}),
}


ORDERS: dict[str, Any] = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "backwards": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
}


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_hundred_steps_are_pytorchs(name: str, order: str, dtype: Any) -> None:
    """Whatever the memory order of parameter and gradient."""
    torch: Any = pytest.importorskip("torch")
    kind, options = OPTIMISERS[name]
    rng = np.random.default_rng(0)
    start, target = rng.standard_normal((2, 3, 4)).astype(dtype)
    w = tr.Tensor(np.zeros((3, 4)), requires_grad=True, dtype=dtype)
    w.data = ORDERS[order](start)
    v = torch.tensor(start, requires_grad=True)
    idle, resting = tr.Tensor([1.0], requires_grad=True), torch.ones(1, requires_grad=True)
    ours = getattr(train, kind)([w, idle], **options)
    theirs = getattr(torch.optim, kind)([v, resting], **options)
    for _ in range(100):
        ours.zero_grad()
        theirs.zero_grad()
        (tr.tanh(w - target) ** 2).sum().backward()
        (torch.tanh(v - torch.tensor(target)) ** 2).sum().backward()
        w.grad = ORDERS[order](w.grad)
        ours.step()
        theirs.step()
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    np.testing.assert_allclose(w.data, v.detach().numpy(), rtol=tolerance, atol=tolerance)
    assert w.data.dtype == dtype
    assert idle.data[0] == 1.0


@pytest.mark.oracle
def test_schedules_are_pytorchs() -> None:
    torch: Any = pytest.importorskip("torch")
    scores = [3.0, 2.0, 2.0, 1.99999, 2.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]

    def rates(make: Any, scored: bool = False) -> list[float]:
        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.8)
        schedule = make(optimiser)
        found = []
        for score in scores:
            found.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            schedule.step(*([score] if scored else []))
        return found

    schedulers = torch.optim.lr_scheduler
    epochs = range(len(scores))
    assert [train.staircase(0.8, e, 3, 0.5) for e in epochs] == pytest.approx(
        rates(lambda o: schedulers.StepLR(o, 3, 0.5)), rel=1e-12
    )
    assert [train.cosine(0.8, e, 20, 0.1) for e in epochs] == pytest.approx(
        rates(lambda o: schedulers.CosineAnnealingLR(o, 20, 0.1)), rel=1e-12
    )
    plateau = train.Plateau(0.8, factor=0.5, patience=2)
    found = [0.8, *(plateau(score) for score in scores[:-1])]
    expected = rates(lambda o: schedulers.ReduceLROnPlateau(o, factor=0.5, patience=2), True)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("largest", [0.5, 100.0])
def test_clipping_is_pytorchs(largest: float) -> None:
    torch: Any = pytest.importorskip("torch")
    gradients = np.random.default_rng(0).standard_normal((2, 3, 4))
    ours = [tr.Tensor(np.zeros((3, 4)), requires_grad=True) for _ in gradients]
    theirs = [torch.zeros(3, 4, dtype=torch.float64, requires_grad=True) for _ in gradients]
    for p, q, g in zip(ours, theirs, gradients, strict=True):
        p.grad, q.grad = g, torch.tensor(g)
    total = torch.nn.utils.clip_grad_norm_(theirs, largest)
    assert train.clip_grad_norm(ours, largest) == pytest.approx(total.item(), rel=1e-14)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=1e-13)
    train.clip_grad_value(ours, 0.1)
    torch.nn.utils.clip_grad_value_(theirs, 0.1)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=1e-13)


def test_a_norm_that_is_not_finite_names_the_parameter_and_changes_nothing() -> None:
    a, b = (tr.Tensor([1.0], requires_grad=True, name=n) for n in "ab")
    a.grad, b.grad = np.array([2.0]), np.array([np.nan])
    with pytest.raises(FloatingPointError, match=r"is nan, because of b; detect_anomaly"):
        train.clip_grad_norm([a, b], 1.0, error_if_nonfinite=True)
    assert a.grad == 2.0
    assert math.isnan(train.clip_grad_norm([a, b], 1.0))


def test_optimisers_need_parameters() -> None:
    with pytest.raises(ValueError, match=r"Adam was given no parameters; pass module\.parameters"):
        train.Adam([])
