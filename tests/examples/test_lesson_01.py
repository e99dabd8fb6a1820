"""Lesson 1: the lecture's numbers, y_t = 4 x_t + 2 y_{t-1}, worked out by hand."""

from __future__ import annotations

from typing import Any


def test_the_lectures_numbers(lesson: Any) -> None:
    """Two equal inputs into each of two units, read off twice."""
    assert lesson["numbers"](lesson["outputs"]) == [[4, 4], [12, 12], [32, 32]]
    assert lesson["other"] == [[4, 4], [16, 16], [36, 36]]
    assert lesson["forgetful"] == ([[4, 4], [4, 4], [8, 8]], [[4, 4], [8, 8], [4, 4]])
    for y in ("4.0, 4.0", "12.0, 12.0", "32.0, 32.0", "16.0, 16.0", "36.0, 36.0"):
        assert f"output [{y}]" in lesson.printed
    assert lesson.written() == {"memory.svg"}


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
