"""Lesson 7: T words and C labels cost T log C at first; without memory order cannot matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def test_losses_add_up_over_the_words(lesson: Any) -> None:
    lengths = [len(s.words) for s in lesson["sentences"][:3]]
    assert len(lesson["labels"]) == 9
    np.testing.assert_allclose(lesson["untrained"], np.array(lengths) * np.log(9), rtol=1e-12)
    assert "that is 2.197 each" in lesson.printed
    together = sum(loss.item() for loss in lesson["losses"])
    assert lesson["total"].item() == pytest.approx(together, rel=1e-12)
    assert lesson.written() == {"sentence.svg"}


def test_order_matters_to_a_net_with_memory_alone(lesson: Any) -> None:
    f1, change = lesson["f1"], lesson["change"]
    assert f1["in order"] > 80
    assert f1["in order"] > f1["words shuffled"] + 15
    assert abs(f1["words shuffled"] - f1["no memory"]) < 15
    assert abs(change["no memory"]) < 1e-8
    assert change["in order"] > 100


def test_shuffling_keeps_each_word_with_its_label(lesson: Any) -> None:
    sentence = lesson["sentences"][1]
    mixed = lesson["shuffled"](sentence, np.random.default_rng(0))
    assert mixed.words != sentence.words
    pairs = zip(sentence.words, sentence.labels, strict=True)
    assert sorted(zip(mixed.words, mixed.labels, strict=True)) == sorted(pairs)


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
