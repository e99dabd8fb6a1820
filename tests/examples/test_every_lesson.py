"""What holds for every lesson's text, without running it."""

from __future__ import annotations

from pathlib import Path

import pytest

LESSONS = sorted((Path(__file__).parents[2] / "examples").glob("[0-9][0-9]_*.py"))


@pytest.mark.parametrize("file", LESSONS, ids=lambda file: file.stem)
def test_a_lesson_is_short_states_its_claim_and_ends_with_exercises(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    lesson, _, exercises = text.partition("# ## Exercises\n")
    assert len(lesson.splitlines()) <= 150
    assert text.startswith(f"# %% [markdown]\n# # {int(file.stem[:2])}. ")
    assert "**Claim: " in text.split("# %%")[1]
    assert "Hint: " in exercises
    assert (Path(__file__).with_name(f"test_lesson_{file.stem[:2]}.py")).exists()
