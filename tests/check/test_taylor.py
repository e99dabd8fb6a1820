"""The Taylor test, against the theory's exponents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn

XS = np.random.default_rng(0).normal(size=(12, 3, 3))


def lstm(xs: Any) -> Any:
    return nn.unroll(nn.LSTMCell(3, 6, rng=0), xs)[0]


def test_remainders_shrink_with_the_powers_1_2_and_3() -> None:
    result = tr.check.taylor_test(lstm, XS)
    assert result
    assert result.slopes == pytest.approx((1.0, 2.0, 3.0), abs=0.05)
    ratios = result.remainders[:, :-1] / result.remainders[:, 1:]
    assert ratios[:, 0] == pytest.approx([2.0, 4.0, 8.0], rel=0.05)
    assert "slope" in str(result)
    assert "passed, seed 0" in str(result)


def test_a_sequence_of_hundreds_of_steps_passes_too() -> None:
    xs = np.random.default_rng(0).normal(size=(300, 1, 3))
    assert tr.check.taylor_test(lstm, xs)


def test_a_wrong_gradient_leaves_a_remainder_of_order_1() -> None:
    bad = tr.primitive("tanh", np.tanh, lambda g, y, x: g * (1.0 - y))
    result = tr.check.taylor_test(lambda x: bad(x), [1.0, 2.0])
    assert not result
    assert result.slopes[1] == pytest.approx(1.0, abs=0.05)


def test_a_wrong_hessian_leaves_a_remainder_of_order_2() -> None:
    stale = tr.primitive(
        "tanh", np.tanh, lambda g, y, x: g * (1.0 - np.asarray(getattr(y, "data", y)) ** 2)
    )
    result = tr.check.taylor_test(lambda x: stale(x), [1.0, 2.0])
    assert not result
    assert result.slopes == pytest.approx((1.0, 2.0, 2.0), abs=0.05)


def test_the_remainder_of_a_polynomial_is_rounding_and_passes() -> None:
    result = tr.check.taylor_test(lambda x: 3.0 * x * x, [1.0, 2.0])
    assert result
    assert np.isnan(result.slopes[2])
    assert "rounding" in str(result)
