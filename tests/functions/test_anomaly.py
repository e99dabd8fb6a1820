"""The first infinity or NaN of either pass is named: operation, entry, step and source line."""

from __future__ import annotations

import pytest

import tinygrad_rnn as tr


def test_the_first_infinity_of_the_forward_pass_is_named() -> None:
    x = tr.Tensor([1.0, 800.0], requires_grad=True)
    anomaly = pytest.raises(FloatingPointError)
    with tr.detect_anomaly(), tr.scope("net"), tr.step(3), anomaly as caught:
        tr.tanh(tr.exp(x))
    message = str(caught.value)
    assert message.startswith("in net / t=3: exp made inf at entry [1] of its output")
    assert "input 0 in [1, 800]" in message
    assert "test_anomaly.py:" in message
    assert "tr.tanh(tr.exp(x))" in message


def test_the_first_nan_of_the_backward_pass_is_named() -> None:
    x = tr.Tensor([0.0], requires_grad=True)
    with tr.detect_anomaly():
        with tr.step(5):
            y = tr.sqrt(x)
        with pytest.raises(FloatingPointError, match=r"in t=5: backward of sqrt made inf at entry"):
            (y * 2.0).sum().backward()
    assert x.grad is None
