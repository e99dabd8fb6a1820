"""A lesson runs once, as the program it is; all tests of its file share what it left behind."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
import viz
from tests.cells import TARGETS
from tinygrad_rnn import nn

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass
class Lesson:
    """A lesson that has run: its file, its variables, what it printed, the folder it wrote into."""

    file: Path
    variables: dict[str, Any]
    printed: str
    folder: Path

    def __getitem__(self, name: str) -> Any:
        return self.variables[name]

    def written(self) -> set[str]:
        return {path.name for path in (self.folder / self.file.stem).iterdir()}


def run(text: str, file: Path, folder: Path) -> tuple[dict[str, Any], str]:
    """The variables and the printed text of a program that runs as ``python file`` would."""
    variables: dict[str, Any] = {"__name__": "__main__", "__file__": str(file)}
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as said:
        patch.chdir(folder)
        patch.setenv("MPLBACKEND", "Agg")
        patch.setattr(sys, "argv", [str(file)])
        exec(compile(text, str(file), "exec"), variables)
    return variables, said.getvalue()


def code_cells(text: str) -> list[str]:
    """The code cells of a program in percent format."""
    parts = re.split(r"^# %%(.*)\n", text, flags=re.M)[1:]
    kinds_and_cells = zip(parts[::2], parts[1::2], strict=True)
    return [cell for kind, cell in kinds_and_cells if "[markdown]" not in kind]


@pytest.fixture(scope="module")
def lesson(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lesson:
    """The lesson whose number ends the test file's name."""
    (file,) = EXAMPLES.glob(f"{request.module.__name__[-2:]}_*.py")
    folder = tmp_path_factory.mktemp(file.stem)
    return Lesson(file, *run(file.read_text(encoding="utf-8"), file, folder), folder)


@pytest.fixture
def solve(lesson: Lesson, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """``solve()`` runs each exercise after its lesson: as it stands it fails, solved it passes.

    An exercise is a cell behind the lesson's heading "Exercises", commented out, with ``...``
    where the reader has to write; the cells of ``solutions/NN_name.py`` are the answers, in the
    same order, and hold every ``assert`` of the exercise as it stands. Both run in the lesson's
    own variables, as in a notebook; what they change is put back.
    """
    values = dict(lesson.variables)
    parameters = {
        id(p): (p, p.data)
        for value in values.values()
        if isinstance(value, tr.Tensor | nn.Module)
        for p in ([value] if isinstance(value, tr.Tensor) else value.parameters())
    }

    def put_back() -> None:
        lesson.variables.clear()
        lesson.variables.update(values)
        for parameter, data in parameters.values():
            if parameter.data is not data:
                parameter.data = data

    def solve() -> None:
        text = lesson.file.read_text(encoding="utf-8").partition("# ## Exercises\n")[2]
        given = [re.sub(r"^# ?", "", cell, flags=re.M) for cell in code_cells(text)]
        file = EXAMPLES / "solutions" / lesson.file.name
        solved = code_cells(file.read_text(encoding="utf-8"))
        assert len(given) == len(solved) == len(re.findall(r"^# \d\. ", text, re.M)) >= 2
        for before, after in zip(given, solved, strict=True):
            with pytest.raises(Exception):  # noqa: B017, PT011  any: it is only half written
                exec(compile(before, "exercise", "exec"), lesson.variables)
            put_back()
            assert checks(before)
            assert checks(before) <= checks(after)
            exec(compile(after, str(file), "exec"), lesson.variables)
            put_back()

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        yield solve
        put_back()


def checks(cell: str) -> set[str]:
    """The ``assert`` statements of a cell."""
    return {ast.unparse(node) for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Assert)}


@pytest.fixture
def check_cell() -> Callable[..., None]:
    """``check_cell(cell, inputs)``: what every lesson's own cell is held to."""
    return sound


def sound(cell: Any, inputs: int) -> None:
    """Right to second order, drawn at three levels, and, as a program, the same to rounding."""
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(3, 2, inputs))
    first = nn.unroll(cell, xs)[1]  # a state that is nowhere zero
    state = [
        part.data + rng.normal(size=part.shape) / 3
        for part in (first if isinstance(first, tuple) else (first,))
    ]

    def run(xs: Any, *parts: Any) -> Any:
        return nn.unroll(cell, xs, parts if isinstance(first, tuple) else parts[0])

    report = tr.check.gradgradcheck(run, xs, *state)
    assert report
    assert not report.inconclusive
    loss = (tr.stack(run(xs, *state)[0]) ** 2).sum()
    trace = tr.backprop(loss)
    norms = {t.number: trace.norm(t) for t in trace.tensors}
    for level in ("op", "scope", "cell"):
        picture = viz.draw(loss, level=level)
        assert picture.level == level
        shown = [node for node in picture.nodes if node.tensor in norms]
        assert {node.step for node in shown} >= {0, 1, 2}
        assert all(node.value == norms[node.tensor] for node in shown)
    expected = tr.stack(nn.unroll(cell, xs)[0])
    for target in TARGETS:
        program = tr.derive(cell, target=target)
        assert tr.check.gradcheck(program, xs)
        np.testing.assert_allclose(program(xs)[0].data, expected.data, rtol=1e-12, atol=1e-14)
