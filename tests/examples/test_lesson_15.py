"""Lesson 15: the baselines against a plain recount, and the LSTM against the baselines."""

from __future__ import annotations

import math
import runpy
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest


def witten_bell(learned: list[int], held_out: list[int], n: int, kinds: int) -> float:
    """Bits a character, by dictionaries and one probability at a time."""
    counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for k in range(n):
        for i in range(k, len(learned)):
            counts[tuple(learned[i - k : i])][learned[i]] += 1

    def probability(context: tuple[int, ...], symbol: int) -> float:
        lower = probability(context[1:], symbol) if context else 1 / kinds
        seen = counts.get(context)
        if not seen:
            return lower
        total = sum(seen.values())
        return (seen[symbol] + len(seen) * lower) / (total + len(seen))

    places = range(n - 1, len(held_out))
    return -sum(
        math.log2(probability(tuple(held_out[i - n + 1 : i]), held_out[i])) for i in places
    ) / len(places)


def test_the_lstm_beats_the_baselines_and_these_are_right(lesson: Any) -> None:
    learned, held_out = lesson["learned"].tolist(), lesson["held_out"].tolist()
    for n, name in ((1, "single"), (2, "bigram"), (3, "trigram")):
        expected = witten_bell(learned, held_out, n, lesson["V"])
        assert lesson["bits"][name] == pytest.approx(expected, rel=1e-9)
    assert lesson["bits"]["LSTM"] < lesson["bits"]["trigram"] - 0.3
    assert lesson["bits"]["LSTM"] < lesson["bits"]["4-gram"] - 0.05
    assert lesson.written() == {"bits.svg"}


def test_a_text_file_that_is_missing_is_named(
    lesson: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(lesson.file), "nowhere.txt"])
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt"):
        runpy.run_path(str(lesson.file), run_name="__main__")


def test_the_exercises_fail_as_given_and_pass_solved(solve: Any) -> None:
    solve()
