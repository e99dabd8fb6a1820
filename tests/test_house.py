"""The house stands as designed: who imports whom, how large a floor may grow, a quick import."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "engine": set(),
    "functions": {"engine"},
    "nn": {"engine", "functions"},
    "train": {"engine", "functions", "nn"},
    "check": {"engine", "functions", "nn"},
    "derive": {"engine", "functions", "nn"},
    "torch": {"engine", "functions", "nn"},
}
# Lines of code that were promised to the reader. What is over is marked: it has to come down to the
# promise, and the mark to go; no number here is raised to what stands.
OVER = pytest.mark.xfail(reason="larger than promised")
LARGEST = [
    ("tinygrad_rnn/engine", 750),
    pytest.param("tinygrad_rnn", 4500, marks=OVER),
    pytest.param("tinygrad_rnn/torch", 300, marks=OVER),
    pytest.param("tinygrad_rnn/derive/c", 300, marks=OVER),
    pytest.param("viz", 2600, marks=OVER),
]
APART = ("tinygrad_rnn/torch", "tinygrad_rnn/derive/c")  # counted on its own


def imports(file: Path) -> set[str]:
    """The modules of ours that a file imports anywhere, as dotted names from the root."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = list(file.relative_to(ROOT).parts[:-1])
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("tinygrad_rnn", "viz")}


def test_floors_import_only_the_floors_below() -> None:
    for floor, allowed in MAY_IMPORT.items():
        for file in (ROOT / "tinygrad_rnn" / floor).rglob("*.py"):
            for name in imports(file):
                parts = name.split(".")
                assert parts[0] != "viz", f"{file} imports {name}"
                if len(parts) > 1 and parts[1] in MAY_IMPORT:
                    assert parts[1] in allowed | {floor}, f"{file} imports {name}"


@pytest.mark.parametrize("folder", ["tinygrad_rnn", "viz"])
def test_no_two_files_import_each_other(folder: str) -> None:
    files = {
        ".".join(f.relative_to(ROOT).with_suffix("").parts): f
        for f in (ROOT / folder).rglob("*.py")
        if f.name != "__init__.py"
    }
    waiting = {name: imports(f) & files.keys() for name, f in files.items()}
    while waiting:  # take away whatever imports nothing that is left; a circle remains
        free = {name for name, needs in waiting.items() if not needs & waiting.keys()}
        assert free, f"these import each other: {sorted(waiting)}"
        waiting = {name: needs for name, needs in waiting.items() if name not in free}


def code_lines(text: str) -> int:
    """Lines of code: without blank lines, comments and docstrings."""
    skip = {
        tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
        tokenize.ENDMARKER,
    }  # fmt: skip
    lines = {
        n
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in skip
        for n in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


@pytest.mark.parametrize(("folder", "most"), LARGEST)
def test_a_floor_can_be_read_in_one_sitting(folder: str, most: int) -> None:
    apart = [ROOT / other for other in APART if other != folder]
    files = (f for f in (ROOT / folder).rglob("*.py") if not {*f.parents} & {*apart})
    assert sum(code_lines(f.read_text(encoding="utf-8")) for f in files) <= most


def test_importing_needs_numpy_alone() -> None:
    script = (
        "import sys; before = set(sys.modules); import tinygrad_rnn;"
        "new = set(sys.modules) - before;"
        "from importlib.metadata import packages_distributions;"
        "print({name.split('.')[0] for name in new} & set(packages_distributions()))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ast.literal_eval(found.stdout) <= {"numpy", "tinygrad_rnn", "viz"}
