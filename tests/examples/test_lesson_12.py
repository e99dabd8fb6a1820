"""Lesson 12: the culprit planted is the culprit named; a cut graph is told from a wrong rule."""

from __future__ import annotations

from typing import Any


def test_what_is_planted_is_named(lesson: Any) -> None:
    assert lesson["worst"] < 1e-9
    (culprit,) = lesson["report"].culprits
    assert (culprit.op, culprit.input, culprit.step) == ("tanh", 0, 1)
    assert culprit.path.endswith("t=1 / candidate")
    assert not lesson["cut"]
    assert not lesson["cut"].culprits
    assert "matmul, input 0, t=2" in lesson["cut"].diagnosis[0]
    assert lesson["truncated"]
    assert lesson.written() == {"error.svg"}


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
