"""The pytest plugin: its fixture, marker, parametrisation and page, and what it costs others."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import tinygrad_rnn.check  # noqa: F401  here, as NumPy cannot be loaded twice in one process

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
    """Run pytest on a file, with the plugin even if it is not installed."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    installed = any(e.value == "pytest_tinygrad_rnn" for e in entry_points(group="pytest11"))

    def run(text: str, *options: str, alone: bool = False) -> pytest.RunResult:
        pytester.makepyfile(text)
        plugin = () if installed else ("-p", "pytest_tinygrad_rnn")
        how = pytester.runpytest_subprocess if alone else pytester.runpytest_inprocess
        return how(*plugin, *options)

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
        "square", lambda x: x * x, lambda g, y, x: g * 2 * (x.data if hasattr(x, "recorded") else x)
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


MARKED = """
    import pytest
    import tinygrad_rnn as tr

    {marker}
    class TestBoth:
        def test_one(self, gradcheck, n): gradcheck(lambda x: x ** n, [1.0, 2.0])
        def test_two(self, gradcheck, n): gradcheck(lambda x: x ** n, [1.0, 2.0])
"""


@pytest.mark.parametrize(
    ("argument", "passed"),
    [("n=(k for k in [1, 2])", 4), ("n=iter([1])", 2), ("n=5", 2), ("n=range(1, 4)", 6)],
)
def test_values_may_be_a_list_a_generator_or_one_alone(run, argument: str, passed: int) -> None:
    """A generator serves every test that the marker stands above."""
    result = run(MARKED.format(marker=f"@pytest.mark.gradcheck({argument})"))
    result.assert_outcomes(passed=passed)


def test_an_option_without_a_name_is_refused(run) -> None:
    result = run(MARKED.format(marker="@pytest.mark.gradcheck(2, n=[1])"))
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*gradcheck was given 2 without a name*order=2*"])


REPEATING = """
    import pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(item, nextitem):
        from _pytest.runner import runtestprotocol
        for _ in range(2):
            for report in runtestprotocol(item, nextitem=nextitem, log=False):
                item.ihook.pytest_runtest_logreport(report=report)
        return True
"""


def test_the_page_counts_what_failed_once_wherever_it_failed(
    run, pytester: pytest.Pytester
) -> None:
    """Not what was expected to fail; a repeated test once; a check in a set-up too."""
    pytester.makeconftest(REPEATING)
    run(
        BROKEN
        + """
    import pytest

    @pytest.mark.xfail
    def test_known(gradcheck):
        gradcheck(square, [5.0])

    @pytest.fixture
    def checked(gradcheck):
        gradcheck(square, [7.0])

    def test_in_a_fixture(checked): pass

    tries = []

    def test_passes_at_last(gradcheck):
        tries.append(1)
        if len(tries) == 1:
            gradcheck(square, [5.0])
    """,
        "--gradcheck-report=page.html",
    )
    page = (pytester.path / "page.html").read_text(encoding="utf-8")
    assert "2 failed." in page
    assert page.count("<h2>") == 2
    assert "::test_square</h2>" in page
    assert "::test_in_a_fixture</h2>" in page


@pytest.mark.parametrize("options", [["--collect-only"], ["-k", "nothing"], ["nowhere.py"]])
def test_a_run_without_tests_leaves_the_page(run, pytester: pytest.Pytester, options) -> None:
    (pytester.path / "page.html").write_text("the last run")
    run(BROKEN, "--gradcheck-report=page.html", *options)
    assert (pytester.path / "page.html").read_text() == "the last run"


def test_a_page_without_a_directory_is_refused_before_anything_runs(run) -> None:
    result = run(BROKEN, "--gradcheck-report=nowhere/page.html")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*there is no directory for it*"])


def test_a_run_that_does_not_use_it_does_not_import_the_framework(run) -> None:
    text = "import sys\ndef test(): assert not {'numpy', 'tinygrad_rnn'} & set(sys.modules)"
    result = run(text, alone=True)
    result.assert_outcomes(passed=1)


def test_the_plugin_is_registered_by_an_entry_point() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (target,) = project["entry-points"]["pytest11"].values()
    assert target in sys.modules or (ROOT / f"{target}.py").is_file()
