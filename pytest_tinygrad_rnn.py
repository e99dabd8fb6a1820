"""The pytest plugin of tinygrad_rnn: gradient checks whose failures name the culprit.

It stands outside the package so that a test run that does not use it pays for this small file
alone: the framework is imported when the fixture is first used.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

_HTML = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Gradient checks</title>
<meta name="viewport" content="width=device-width">
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }}
body {{ max-width: 70rem; margin: 2rem auto; padding: 0 1rem }}
div.gradcheck {{ overflow-x: auto }}
table {{ border-collapse: collapse; font: 13px/1.4 ui-monospace, monospace }}
th, td {{ text-align: left; padding: 0 1.2em 0 0; white-space: pre }}
</style>
<h1>Gradient checks</h1><p>{count} failed.</p>{body}</html>
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--gradcheck-report=FILE.html``."""
    parser.getgroup("gradcheck").addoption(
        "--gradcheck-report",
        metavar="FILE.html",
        help="collect the failures of all gradient checks in one page",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "gradcheck(order=..., seed=..., argument=[...]): options of the gradcheck fixture; a list "
        "for one of the test's own arguments runs the test for each of its values",
    )
    path = config.getoption("--gradcheck-report")
    if path is not None and not Path(path).parent.is_dir():
        raise pytest.UsageError(f"--gradcheck-report={path}: there is no directory for it")
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Page(path))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``@pytest.mark.gradcheck(cell=[...], length=[...])``: every combination, in one line."""
    for marker in metafunc.definition.iter_markers("gradcheck"):
        for name, values in marker.kwargs.items():
            if name in metafunc.fixturenames:
                if isinstance(values, Iterator):  # it could be read once: keep what it gives
                    values = cast(dict[str, Any], marker.kwargs)[name] = list(values)
                elif not isinstance(values, list | tuple | range):
                    values = [values]
                ids = [getattr(value, "__name__", None) for value in values]
                metafunc.parametrize(name, values, ids=ids if all(ids) else None)


@pytest.fixture
def gradcheck(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """``gradcheck(f, *inputs)``: `tinygrad_rnn.check.gradcheck`, failing the test if it fails.

    Options come from the call, then from the test's ``@pytest.mark.gradcheck(order=2)``.
    """
    from tinygrad_rnn import check

    properties = request.node.user_properties  # of an earlier try, if the test is repeated
    properties[:] = [entry for entry in properties if entry[0] != "gradcheck"]
    marked: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("gradcheck"))):
        if marker.args:
            pytest.fail(
                f"the marker gradcheck was given {marker.args[0]!r} without a name; give options "
                f"by name, such as @pytest.mark.gradcheck(order=2)",
                pytrace=False,
            )
        marked |= {k: v for k, v in marker.kwargs.items() if k not in request.fixturenames}

    def run(f: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        report = check.gradcheck(f, *inputs, **(marked | options | {"raise_exception": False}))
        if not report:
            if request.config.getoption("--gradcheck-report"):
                properties.append(("gradcheck", report._repr_html_()))
            pytest.fail(str(report), pytrace=False)
        return report

    return run


class _Page:
    """Collects failed checks, which travel with a test's reports, from other processes too."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.found: dict[str, list[str]] | None = None  # by test; None if no test has run

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.found = {} if self.found is None else self.found
        if report.when == "setup":  # a repeated test counts as it ends
            self.found.pop(report.nodeid, None)
        if report.failed:  # and one that was expected to fail does not count
            failed = [str(value) for key, value in report.user_properties if key == "gradcheck"]
            self.found[report.nodeid] = failed

    def pytest_sessionfinish(self) -> None:
        if self.found is None:
            return
        from tinygrad_rnn.train import replace_file

        failed = [(name, report) for name, reports in self.found.items() for report in reports]
        body = "".join(f"<h2>{html.escape(name)}</h2>{report}" for name, report in failed)
        replace_file(self.path, _HTML.format(count=len(failed) or "None", body=body).encode())
