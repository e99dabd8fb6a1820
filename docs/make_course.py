"""The course: a page for each lesson, and the list of them. Nothing here imports the package.

A lesson is any ``examples/NN_name.py``, so a new one is on the site without a line here.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

LESSONS = "[0-9][0-9]_*.py"
# What the playground is to show first for a lesson.
LIVE = {
    "01_memory": "cell=elman&inputs=1&steps=12",
    "02_backprop_through_time": "cell=elman&level=op",
    "03_elman_and_jordan": "cell=jordan&loss=every",
    "05_lstm_by_hand": "size=1&inputs=3+4+2+1+3+-1",
    "06_lstm_in_full": "cell=peephole&steps=3",
    "07_slot_filling": "inputs=leave+Taipei+on+Monday&loss=every&task=travel",
    "08_vanishing_and_exploding": "cell=elman&nonlinearity=identity&size=1&steps=100&scale=1.01",
    "09_error_surface": "cell=elman&nonlinearity=identity&size=1&steps=100&scale=1.05&inputs=1",
    "10_clipping": "cell=elman&nonlinearity=relu&steps=40&scale=1.6&clip=1",
    "11_not_the_sigmoids_fault": "cell=elman&nonlinearity=relu&steps=40",
    "12_check_your_own_cell": "cell=own",
    "14_from_graph_to_program": "cell=gru&level=op&steps=2",
    "15_a_real_corpus": "cell=gru&steps=6&size=16&task=travel",
}
NOTEBOOK = '<a href="../notebooks/{}.ipynb" download>This lesson as a notebook</a>'
PLAYGROUND = ' · <a href="../playground/index.html#{}">Try it in the playground</a>'
ANSWER = "<details><summary>Answer</summary>\n\n```python\n{}\n```\n\n</details>"


def write_course(examples: Path, folder: Path, notebooks: Path) -> None:
    """Copy `examples` into `folder`, its lessons as notebooks, with a page that lists them.

    A file that would not change is left alone, so that Sphinx does not run it again. The notebooks
    to be handed out, which are the same without links into the site, go to a folder of their own.
    """
    import jupytext
    from nbformat.v4 import new_code_cell, new_markdown_cell

    lessons = sorted(examples.glob(LESSONS))
    shutil.copytree(
        examples,
        folder,
        dirs_exist_ok=True,
        ignore=lambda _, names: [n for n in names if re.match(r"\d\d_\w+\.py|__pycache__", n)],
    )
    notebooks.mkdir(parents=True, exist_ok=True)
    for where in (folder, notebooks):
        expected = {where / f"{lesson.stem}.ipynb" for lesson in lessons}
        for gone in set(where.glob("[0-9][0-9]_*.ipynb")) - expected:
            gone.unlink()
    for lesson in lessons:
        notebook = jupytext.read(lesson)
        solutions = jupytext.read(examples / "solutions" / lesson.name)
        answers = iter([cell.source for cell in solutions.cells if cell.cell_type == "code"])
        # Without this, only figures made through pyplot would be shown.
        cells = [new_code_cell("%matplotlib inline", metadata={"tags": ["remove-cell"]})]
        for cell in notebook.cells:
            cells.append(cell)
            if cell.cell_type == "markdown":
                cell.source = _to_notebooks(cell.source)
            elif re.fullmatch(r"(#.*\n?)+", cell.source):  # an exercise
                cells.append(new_markdown_cell(ANSWER.format(next(answers))))
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        links = NOTEBOOK.format(lesson.stem)
        if lesson.stem in LIVE:
            links += PLAYGROUND.format(LIVE[lesson.stem].replace("&", "&amp;"))
        linked = [*cells[:2], new_markdown_cell(links), *cells[2:]]  # below title and claim
        for where, notebook.cells in ((notebooks, cells), (folder, linked)):
            for i, cell in enumerate(notebook.cells):
                cell.id = f"cell-{i}"  # the same at every build
            _write(where / f"{lesson.stem}.ipynb", jupytext.writes(notebook, fmt="ipynb"))
    contents = _to_notebooks(course_page(examples))
    listed = "".join(f"{lesson.stem}\n" for lesson in lessons)
    _write(folder / "index.md", f"{contents}\n:::{{toctree}}\n:hidden:\n\n{listed}:::\n")


def _to_notebooks(text: str) -> str:
    """Links from lesson to lesson lead to notebooks on the site, to programs elsewhere."""
    return re.sub(r"\]\((\d\d_\w+)\.py", r"](\1.ipynb", text)


def course_page(examples: Path) -> str:
    """The text of ``examples/README.md``: every lesson with its title, claim and thumbnail.

    The title is a lesson's first heading; the claim stands in bold and begins with "Claim:".

    Raises
    ------
    ValueError
        If a lesson has no title or states no claim.
    """
    rows = []
    for lesson in sorted(examples.glob(LESSONS)):
        text = re.sub(r"^# ?", "", lesson.read_text(encoding="utf-8"), flags=re.M)
        title = re.search(r"^# (.+)$", text, re.M)
        claim = re.search(r"\*\*Claim: (.+?)\*\*", text, re.S)
        if title is None or claim is None:
            raise ValueError(f"{lesson.name} needs a heading and, in bold, its **Claim: ...**")
        words = " ".join(claim[1].split())
        picture = f"thumbnails/{lesson.stem}.png"
        picture = f"![]({picture})" if (examples / picture).exists() else ""
        words = words[0].upper() + words[1:]
        rows.append(f"| {picture} | [{title[1]}]({lesson.name}) | {words} |")
    return COURSE + "\n".join(rows) + "\n"


COURSE = """# The course

Each lesson states a claim, tests it with as little code as possible, prints the numbers, draws the
pictures, and ends with two exercises. An exercise fails until you have solved it; the answers are
in `solutions/`. A lesson is a program, and also a notebook in percent format:

```sh
python examples/01_memory.py               # prints the numbers, writes its pictures to 01_memory/
jupytext --to ipynb examples/01_memory.py  # makes the notebook (pip install jupytext)
```

The site runs every lesson as a notebook when it is built, and a lesson that fails stops the build.
Each of its pages links to the notebook, with the answers folded away: save it in `examples/` of a
clone, where the lessons' data is. `slot_filling.py` is a tagger made of the same parts, with an
option for everything.

| | lesson | claim |
|---|---|---|
"""


def _write(file: Path, text: str) -> None:
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
