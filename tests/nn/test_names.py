"""Cells lend their letters: every result bound to a local variable is found under its name."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr


def names_of(cell: Any) -> list[str]:
    """The names of what one call computes, in order."""
    _, names = tr.nn.named_call(cell, tr.Tensor(np.ones((2, 3))), cell.initial_state(2))
    return [names[t] for t in sorted(names, key=lambda t: t.number) if t.primitive]


def test_the_letters_of_the_equations_are_found_in_order() -> None:
    found = names_of(tr.nn.LSTMCell(3, 4, rng=0))
    assert found == [*"ifgo", *"ifgo", "c", "h"]


def test_inputs_and_starred_locals_have_names() -> None:
    assert names_of(tr.nn.GRUCell(3, 4, rng=0)).count("n_h") == 1
    x = tr.Tensor(np.ones((2, 3)))
    cell = tr.nn.LSTMCell(3, 4, rng=0)
    state = cell.initial_state(2)
    names = tr.nn.named_call(cell, x, state)[1]
    assert (names[x], names[state[0]], names[state[1]]) == ("x", "h", "c")


def test_a_tracer_that_is_there_already_is_left_alone() -> None:
    def tracer(*_: object) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        found = names_of(tr.nn.ElmanCell(3, 4, rng=0))
        still = sys.gettrace()
    finally:
        sys.settrace(before)
    assert still is tracer
    assert found == []


def test_a_cell_that_fails_leaves_no_tracer_behind() -> None:
    before = sys.gettrace()
    with pytest.raises(ValueError, match="matmul"):
        tr.nn.named_call(tr.nn.ElmanCell(3, 4, rng=0), tr.Tensor(np.ones((2, 9))), 0)
    assert sys.gettrace() is before
