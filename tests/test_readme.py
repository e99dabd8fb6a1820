"""The README is true: its example prints what it says, and what it points to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = re.sub(r"<!--.*?-->", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.S)
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)


def blocks(language: str) -> list[str]:
    """The code blocks in a language; "" for those without one."""
    return [text for name, text in BLOCKS if name == language]


def test_the_page_on_own_operations_prints_what_it_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (ROOT / "docs" / "how-to" / "operation.md").read_text(encoding="utf-8")
    code, printed = re.findall(r"^```\w+\n(.*?)^```$", page, re.M | re.S)
    exec(compile(code, "operation.md", "exec"), {})
    assert capsys.readouterr().out == printed


def test_the_example_prints_and_draws_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [code], [printed] = blocks("python"), blocks("text")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == printed
    assert [file.name for file in tmp_path.iterdir()] == re.findall(r'"(\w+\.svg)"', code)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
def test_what_it_points_to_is_there(link: str) -> None:
    assert (ROOT / link).exists()


def test_its_commands_are_those_that_ci_runs_and_the_main_job_is_there() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace("--quiet ", "").splitlines()
    install, main, tests = (block.strip() for block in blocks(""))
    assert install in script
    assert (ROOT / main.split()[1]).is_file()
    assert tests in script
