"""Lesson 25: the contributions against PyTorch with a weight of its own for each step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle


def untied(state: dict[str, Any], xs: Any, first: Any) -> np.ndarray:
    """The gradient of each step's own copy of the input weight, in plain PyTorch, in float64."""
    state = {name: value.double() for name, value in state.items()}
    copies = [state["lstm.weight_ih_l0"].clone().requires_grad_() for _ in xs]
    h = c = torch.zeros(xs.shape[1], state["out.weight"].shape[1], dtype=torch.float64)
    for x, W in zip(xs.double(), copies, strict=True):
        z = x @ W.T + h @ state["lstm.weight_hh_l0"].T
        i, f, g, o = (z + state["lstm.bias_ih_l0"] + state["lstm.bias_hh_l0"]).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    z = (h @ state["out.weight"].T + state["out.bias"]).squeeze(-1)
    loss = -(first * torch.log(torch.sigmoid(z)) + (1 - first) * torch.log(torch.sigmoid(-z)))
    loss.mean().backward()
    return np.array([W.grad.norm().item() for W in copies])


def test_the_first_input_teaches_nothing_until_the_forget_gates_bias_is_raised(
    lesson: Any,
) -> None:
    torch.manual_seed(1)
    mended = lesson["Recall"](forget_bias=4.0).state_dict()
    states = {"as it comes": lesson["start"], "forget bias 4": mended}
    for name, state in states.items():
        expected = untied(state, lesson["xs"], lesson["first"].double())
        np.testing.assert_allclose(lesson["sizes"][name], expected, rtol=1e-3, atol=1e-11)
    first = {name: found[0] / found[-1] for name, found in lesson["sizes"].items()}
    assert first["as it comes"] < 1e-6
    assert first["forget bias 4"] > 1e-2
    losses = {name: np.mean(found[-20:]) for name, found in lesson["losses"].items()}
    assert losses["as it comes"] > 0.6
    assert losses["forget bias 4"] < 0.3
    assert lesson.written() == {"after.svg", "before.svg", "recall.svg"}


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
