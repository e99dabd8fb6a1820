"""Lesson 4: sentences come in pairs that begin alike: from the left, half right, log 2 or more."""

from __future__ import annotations

from typing import Any

import numpy as np


def test_from_the_left_at_chance_from_both_sides_certain(lesson: Any) -> None:
    _, left, left_loss = lesson["results"]["left to right"]
    _, both, both_loss = lesson["results"]["both sides"]
    assert (left, both) == (0.5, 1.0)
    assert np.log(2) <= left_loss < np.log(2) + 0.01
    assert both_loss < 0.01
    assert "left to right: 50% of the cities right, cross entropy 0.69" in lesson.printed
    assert "both sides: 100% of the cities right" in lesson.printed
    assert lesson.written() == {"influence.svg", "both_sides.svg"}


def test_a_word_is_seen_where_a_path_leads(lesson: Any) -> None:
    triangle = np.tril(np.ones((5, 5), bool))
    assert np.array_equal(lesson["seen"]["left to right"] > 0, triangle)
    assert (lesson["seen"]["both sides"] > 0).all()


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
