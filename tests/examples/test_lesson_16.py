"""Lesson 16: gradients of both nets by complex steps; what they repeat, in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

NETS = ["without attention", "with attention"]


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def gru(p: dict[str, Any], name: str, x: Any, h: Any) -> Any:
    """Equations (5) to (8) of Cho et al. 2014, with the reset gate behind the product."""
    a = np.split(x @ p[f"{name}.W_xh"] + p[f"{name}.b"], 3, axis=-1)
    b = np.split(h @ p[f"{name}.W_hh"], 3, axis=-1)
    r, z = sigmoid(a[0] + b[0]), sigmoid(a[1] + b[1])
    return (1 - z) * np.tanh(a[2] + r * (b[2] + p[f"{name}.b_hn"])) + z * h


def log_probabilities(net: Any, given: Any, said: Any, moved: int = -1, by: Any = 0.0) -> Any:
    """Of each word at each step, (T, B, words); the state at step `moved` is moved by `by`."""
    p = {name: value.data for name, value in net.named_parameters().items()}
    h, hs, found = np.zeros((given.shape[1], 32)), [], []
    for t, word in enumerate([*given, *said]):
        decoding = t >= len(given)
        h = gru(p, "decoder" if decoding else "encoder", p["E.W"][word], h) + by * (t == moved)
        if not decoding:
            hs.append(h)
            continue
        seen = [h]
        if net.attends:
            alpha = np.exp([(h * other).sum(axis=-1) for other in hs])
            alpha = alpha / alpha.sum(axis=0)
            seen.append(sum(a[:, None] * other for a, other in zip(alpha, hs, strict=True)))
        found.append(np.concatenate(seen, axis=1) @ p["readout.W"] + p["readout.b"])
    scores = np.array(found)
    return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("name", NETS)
def test_the_gradient_at_a_step_is_that_of_complex_steps(lesson: Any, name: str) -> None:
    fresh = lesson["Translator"](name == "with attention")  # as it was before it was trained
    given, said = lesson["task"](30, 16, np.random.default_rng(1))
    loss, states = lesson["flows"][name]
    trace = lesson["tr"].backprop(loss)
    norms = {}
    for t in (0, 15, 29, 30, 59):
        gradient = []
        for unit in range(32):
            found = log_probabilities(fresh, given, said, t, 1e-30j * (np.arange(32) == unit))
            gradient.append(-found[-1, np.arange(16), given[-1]].imag / 1e-30)
        norms[t] = np.linalg.norm(gradient)
        assert trace.norm(states[t]) == pytest.approx(norms[t], rel=1e-9)
    assert lesson["share"][name] == pytest.approx(norms[0] / norms[59], rel=1e-9)
    # The claim: there is a factor for each step, or none.
    assert norms[0] < norms[29] / 1e5 if name == NETS[0] else norms[0] > norms[29] / 3


@pytest.mark.parametrize("name", NETS)
def test_as_many_words_are_repeated_as_plain_equations_say(lesson: Any, name: str) -> None:
    given, said = lesson["task"](12, 500, np.random.default_rng(2))
    found = log_probabilities(lesson["nets"][name], given, said).argmax(axis=-1)
    assert lesson["repeated"][name] == pytest.approx((found == given).mean(), abs=1e-3)
    assert lesson["repeated"][name] > 0.9 if name == NETS[1] else lesson["repeated"][name] < 0.6
    assert lesson.written() == {"with.svg", "without.svg", "gradient_flow.svg"}


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
