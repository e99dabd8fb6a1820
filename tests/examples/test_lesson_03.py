"""Lesson 3: two equally likely letters and the same state for both cost log 2 at best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def test_the_jordan_net_is_at_chance(lesson: Any) -> None:
    assert lesson["when_asked"]["Jordan"] == pytest.approx(np.log(2), abs=5e-3)
    assert lesson["when_asked"]["Elman"] < 0.05
    assert "50% right" in lesson.printed
    assert "100% right" in lesson.printed
    assert lesson.written() == {"both.svg"}


def test_what_is_fed_back_decides_the_score(lesson: Any) -> None:
    """Without memory a word always gets the same label; with the hidden state it need not."""
    f1 = lesson["f1"]
    assert f1["NoMemory"] < f1["Jordan"] < f1["Elman"]
    assert f1["Elman"] > 85


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
