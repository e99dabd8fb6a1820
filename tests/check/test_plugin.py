"""The pytest plugin: its fixture, marker, parametrisation and page, and what it costs others."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]

BROKEN = """
    import numpy as np
    import tinygrad_rnn as tr

    square = tr.primitive("square", lambda x: x * x, lambda g, y, x: g * x)

    def test_square(gradcheck):
        gradcheck(square, [1.0, 2.0])
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run pytest on a file in a process of its own, with the plugin even if not installed."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    installed = any(e.value == "pytest_tinygrad_rnn" for e in entry_points(group="pytest11"))

    def run(text: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(text)
        plugin = () if installed else ("-p", "pytest_tinygrad_rnn")
        return pytester.runpytest_subprocess(*plugin, *options)

    return run


def test_a_failure_names_the_culprit_and_shows_no_traceback(run) -> None:
    result = run(BROKEN)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*a rule is wrong: square, input 0", "*constant factor: 0.5*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*gradcheck(square*")


def test_the_marker_gives_options(run) -> None:
    """A rule that hides from the record is right at order 1 and wrong at order 2."""
    text = """
    import numpy as np, pytest
    import tinygrad_rnn as tr

    square = tr.primitive(
        "square", lambda x: x * x, lambda g, y, x: g * 2 * (x.data if hasattr(x, "walked") else x)
    )

    def test_first(gradcheck):
        gradcheck(square, [1.0, 2.0])

    @pytest.mark.gradcheck(order=2)
    def test_second(gradcheck):
        gradcheck(square, [1.0, 2.0])
    """
    result = run(text, "--strict-markers")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*square: the derivative of its rules with respect to input 0*"])


def test_one_line_runs_cells_times_lengths_times_directions(run) -> None:
    text = """
    import numpy as np, pytest
    from tinygrad_rnn import nn

    @pytest.mark.gradcheck(
        cell=[nn.ElmanCell, nn.GRUCell], length=[1, 4], reverse=[False, True], seed=3
    )
    def test_cell(gradcheck, cell, length, reverse):
        net = cell(2, 3, rng=0)
        report = gradcheck(lambda xs: nn.unroll(net, xs, reverse=reverse), np.ones((length, 1, 2)))
        assert "seed 3" in str(report)
    """
    result = run(text, "-v")
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["*test_cell*GRUCell*"])


def test_all_failures_come_together_in_one_page(run, pytester: pytest.Pytester) -> None:
    run(BROKEN + "\n    def test_again(gradcheck):\n        gradcheck(square, [5.0])\n",
        "--gradcheck-report=page.html").assert_outcomes(failed=2)  # fmt: skip
    page = (pytester.path / "page.html").read_text(encoding="utf-8")
    balance: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "p", "html"):
                balance.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if tag not in ("p", "html"):
                assert balance.pop() == tag

    Reader().feed(page)
    assert balance == []
    assert page.count("a rule is wrong: square, input 0") == 2
    assert "::test_again" in page


def test_a_page_without_a_directory_is_refused_before_anything_runs(run) -> None:
    result = run(BROKEN, "--gradcheck-report=nowhere/page.html")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*there is no directory for it*"])


def test_a_run_that_does_not_use_it_does_not_import_the_framework(run) -> None:
    result = run("import sys\ndef test(): assert not {'numpy', 'tinygrad_rnn'} & set(sys.modules)")
    result.assert_outcomes(passed=1)


def test_the_plugin_is_registered_by_an_entry_point() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (target,) = project["entry-points"]["pytest11"].values()
    assert target in sys.modules or (ROOT / f"{target}.py").is_file()
