"""The README is true: its example prints what it says, and what it points to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tinygrad_rnn as tr

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


def test_its_lines_run_a_main_job_that_is_there_and_the_tests() -> None:
    """They are run by .ci/run, which reads them out of the README."""
    main, tests, apart = (block.strip() for block in blocks(""))
    for line in (main, apart):
        assert (ROOT / line.split()[-1]).is_file()
    assert tests.endswith("&& python -m pytest")
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_changes_and_the_citation_know_the_version() -> None:
    assert f"## {tr.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {tr.__version__}\n" in citation
