"""Optimisers, schedules and clipping against PyTorch; checkpoints that resume bit for bit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn, train

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
def test_a_hundred_steps_are_pytorchs(
    name: str, order: str, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the memory order of parameter and gradient; in one piece or in several."""
    torch: Any = pytest.importorskip("torch")
    monkeypatch.setattr("tinygrad_rnn.train.optimisers._PIECE", 5)
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


# --- checkpoints ----------------------------------------------------------------------------------


def training(steps: int, cell: Any, optimiser: Any, rng: np.random.Generator) -> None:
    for _ in range(steps):
        optimiser.zero_grad()
        outputs, _ = nn.unroll(cell, rng.standard_normal((4, 2, 3)))
        (tr.stack(outputs) ** 2).sum().backward()
        optimiser.step()


def setting(seed: int) -> tuple[Any, Any, np.random.Generator]:
    cell = nn.LSTMCell(3, 4, rng=seed)
    return cell, train.Adam(cell.parameters(), lr=0.01), np.random.default_rng(seed)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    pytest.importorskip("safetensors")
    cell, optimiser, rng = setting(0)
    training(3, cell, optimiser, rng)
    train.save(tmp_path / "a.safetensors", cell, optimiser, rng)
    return tmp_path / "a.safetensors"


def test_training_resumed_gives_the_same_weights_bit_for_bit(checkpoint: Path) -> None:
    through, resumed = setting(0), setting(1)
    training(8, *through)
    train.load(checkpoint, *resumed)
    training(5, *resumed)
    for p, q in zip(through[0].parameters(), resumed[0].parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def unchanged_after(error: type[Exception], message: str, path: Path, *what: Any) -> None:
    cell, optimiser, rng = what
    before, state = cell.state_dict(), rng.bit_generator.state
    remembered = [{k: v.copy() for k, v in s.items()} for s in optimiser.state]
    with pytest.raises(error, match=message):
        train.load(path, cell, optimiser, rng)
    assert all(array is before[name] for name, array in cell.state_dict().items())
    assert rng.bit_generator.state == state
    for then, now in zip(remembered, optimiser.state, strict=True):
        for key, array in then.items():
            np.testing.assert_array_equal(array, now[key])


def test_a_truncated_checkpoint_is_refused_and_changes_nothing(checkpoint: Path) -> None:
    content = checkpoint.read_bytes()
    for length in (0, 5, 100, len(content) - 1):
        checkpoint.write_bytes(content[:length])
        unchanged_after(ValueError, "not a whole safetensors file", checkpoint, *setting(1))


def test_a_foreign_file_is_refused_and_changes_nothing(checkpoint: Path) -> None:
    from safetensors.numpy import save_file

    checkpoint.write_bytes(b"\x80\x04pickle is not welcome here")
    unchanged_after(ValueError, "not a whole safetensors file", checkpoint, *setting(1))
    save_file({"weight": np.ones(3)}, checkpoint)
    unchanged_after(ValueError, "no checkpoint of tinygrad_rnn", checkpoint, *setting(1))
    unchanged_after(FileNotFoundError, "no such checkpoint", checkpoint.with_name("b"), *setting(1))


def test_a_checkpoint_of_another_net_or_optimiser_is_refused(checkpoint: Path) -> None:
    cell = nn.LSTMCell(3, 5, rng=0)
    other = (cell, train.Adam(cell.parameters()), np.random.default_rng(0))
    unchanged_after(ValueError, "does not fit", checkpoint, *other)
    cell = nn.LSTMCell(3, 4, rng=0)
    other = (cell, train.SGD(cell.parameters(), lr=0.1), np.random.default_rng(0))
    unchanged_after(ValueError, "state of Adam, which does not fit this SGD", checkpoint, *other)


def test_a_failed_save_leaves_the_old_checkpoint(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkpoint.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk is full"):
        train.save(checkpoint, setting(1)[0])
    assert checkpoint.read_bytes() == before
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def test_saving_into_no_directory_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        train.save(tmp_path / "none" / "a.safetensors", nn.ElmanCell(2, 3))
