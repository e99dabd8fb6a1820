"""Lesson 15: the baselines against a plain recount, and the LSTM against the baselines."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def witten_bell(learned: list[int], held_back: list[int], n: int, kinds: int) -> float:
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

    places = range(n - 1, len(held_back))
    return -sum(
        math.log2(probability(tuple(held_back[i - n + 1 : i]), held_back[i])) for i in places
    ) / len(places)


def test_the_lstm_beats_the_baselines_and_these_are_right(lesson: Any) -> None:
    found = lesson("15_a_real_corpus")
    learned, held_back = found["learned"].tolist(), found["held_back"].tolist()
    for n, name in ((1, "single"), (2, "bigram"), (3, "trigram")):
        expected = witten_bell(learned, held_back, n, found["V"])
        assert found["bits"][name] == pytest.approx(expected, rel=1e-9)
    assert found["bits"]["LSTM"] < found["bits"]["trigram"] - 0.1


def test_a_text_file_that_is_missing_is_named(tmp_path: Path) -> None:
    path = EXAMPLES / "15_a_real_corpus.py"
    done = subprocess.run(
        [sys.executable, str(path), "nowhere.txt"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
    )  # fmt: skip
    assert done.returncode != 0
    assert "nowhere.txt" in done.stderr
