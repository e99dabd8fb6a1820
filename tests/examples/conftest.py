"""Running a lesson as the program it is, in an empty folder, and keeping what it computed."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """``lesson("01_store")`` runs that lesson and returns its variables by name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    return lambda name: runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
