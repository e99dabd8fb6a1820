"""What the playground's page runs: its form goes in, pictures and sentences come out.

The form becomes the program that one would write by hand, and all that is shown comes from running
that text: "Copy the Python" gives what is seen.
"""

from __future__ import annotations

import ast
import json
import re
import traceback
from typing import Any

import numpy as np

import tinygrad_rnn as tr
import viz

Form = dict[str, str]

DEFAULTS: Form = {
    "cell": "lstm", "nonlinearity": "tanh", "steps": "5", "size": "4", "scale": "1",
    "forget_bias": "0", "inputs": "", "loss": "last", "clip": "", "level": "auto",
    "show": "gradient", "theme": "light", "code": "",
}  # fmt: skip
# Each cell's class, the weights that feed its state back, and the controls that it has no use for.
CELLS = {
    "elman": ("ElmanCell", "W_hh", ("forget_bias",)),
    "jordan": ("JordanCell", "W_yh", ("forget_bias",)),
    "lstm": ("LSTMCell", "W_hh", ("nonlinearity",)),
    "peephole": ("PeepholeLSTMCell", "W_hh", ("nonlinearity",)),
    "gru": ("GRUCell", "W_hh", ("nonlinearity", "forget_bias")),
    "own": ("", "W_hh", ("nonlinearity", "forget_bias")),
}
NAME = "your program"  # in tracebacks


class FormError(ValueError):
    """A sentence for the person at the form."""


def program(form: Form) -> str:
    """The Python that draws what the form describes."""
    steps, size, scale = int(form["steps"]), int(form["size"]), float(form["scale"])
    entries = [entry for entry in re.split(r"[,;\s]+", form["inputs"]) if entry]
    numbers = [number(entry) for entry in entries]
    labels = ""
    if not entries:
        width = 2
        inputs = [f"xs = np.random.default_rng(1).normal(size=({steps}, 1, 2))"]
    elif all(n is not None for n in numbers):
        width = 1
        values = [*numbers, *[0.0] * steps][:steps]
        inputs = [f"xs = np.array({values}).reshape(-1, 1, 1)"]
    else:
        width, labels = 3, ", labels=words"
        words = [entries[t % len(entries)] for t in range(steps)]
        inputs = [
            f"words = {words}",
            "vocabulary = sorted(set(words))",
            "E = np.random.default_rng(1).normal(size=(len(vocabulary), 3))",
            'E = tr.Tensor(E, requires_grad=True, name="E")',
            "xs = [E[np.array([vocabulary.index(word)])] for word in words]",
        ]
    lines = [
        "import numpy as np", "import tinygrad_rnn as tr", "import viz", "",
        *cell_lines(form, width, size, scale), *inputs, "",
        "outputs, state = tr.nn.unroll(cell, xs)",
        "losses = [(output**2).sum() for output in outputs]",
        "loss = losses[-1]" if form["loss"] == "last" else "loss = sum(losses[1:], losses[0])",
        "trace = tr.backprop(loss)",
    ]  # fmt: skip
    if form["clip"]:
        threshold = number(form["clip"])
        if threshold is None or not threshold > 0:
            raise FormError(
                f"{form['clip']!r} was given as the clip threshold; give a number above 0"
            )
        lines += [
            "norm = np.sqrt(sum(trace.norm(p) ** 2 for p in cell.parameters()))",
            f"trace = tr.backprop(loss, min(1.0, {threshold} / norm))  # clipping scales all of it",
        ]
    options = f'level="{form["level"]}", show="{form["show"]}", theme="{form["theme"]}"{labels}'
    lines += [f"picture = viz.draw(trace, {options})"]
    own = form["code"].rstrip() + "\n\n\n" if form["cell"] == "own" else ""
    return own + "\n".join(lines) + "\n"


def cell_lines(form: Form, width: int, size: int, scale: float) -> list[str]:
    """The lines that make the cell and scale the weights that feed its state back."""
    name, W, unused = CELLS[form["cell"]]
    if form["cell"] == "own":
        classes = [n for n in ast.parse(form["code"], NAME).body if isinstance(n, ast.ClassDef)]
        if not classes:
            raise FormError("Write a class for the cell; the last class in the text is taken.")
        lines = [f"cell = {classes[-1].name}({width}, {size})"]
    else:
        arguments = f"{width}, {size}" + f", {size}" * (form["cell"] == "jordan")
        if "nonlinearity" not in unused:
            chosen = form["nonlinearity"]
            chosen = "lambda x: x" if chosen == "identity" else f'"{chosen}"'
            arguments += f", nonlinearity={chosen}"
        if "forget_bias" not in unused:
            arguments += f", forget_bias={float(form['forget_bias'])}"
        lines = [f"cell = tr.nn.{name}({arguments}, rng=0)"]
    if form["cell"] == "elman":  # the largest of its eigenvalues is the scale
        radius = f"max(abs(np.linalg.eigvals(cell.{W}.data)))"
        lines.append(f"cell.{W}.data = cell.{W}.data * ({scale} / {radius})")
    elif scale != 1:
        lines.append(f"cell.{W}.data = cell.{W}.data * {scale}")
    return lines


def number(text: str) -> float | None:
    """The number that a text is, if it is one."""
    try:
        return float(text)
    except ValueError:
        return None


def run(text: str) -> dict[str, Any]:
    """Run a program; returns its variables."""
    found: dict[str, Any] = {"__name__": "playground_program"}
    with np.errstate(all="ignore"):
        exec(compile(text, NAME, "exec"), found)
    return found


def complaint(error: Exception, form: Form) -> str:
    """What went wrong, and in which line of one's own cell."""
    if isinstance(error, FormError):
        return str(error)
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == NAME]
    if isinstance(error, SyntaxError) and error.filename == NAME:
        lines.append(error.lineno)
    own = [line for line in lines if line and line <= len(form["code"].splitlines())]
    place = f"Line {own[-1]}: " if own and form["cell"] == "own" else ""
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{place}{type(error).__name__}: {said}"


def show(form: Form) -> dict[str, Any]:
    """The main picture, what is said of it, its program, and the numbers behind it."""
    answer: dict[str, Any] = {"unused": CELLS[form["cell"]][2]}
    try:
        answer["python"] = text = program(form)
        found = run(text)
        picture, trace = found["picture"], found["trace"]
        answer["svg"] = picture.svg
    except Exception as error:
        return answer | {"error": complaint(error, form)}
    weights = found["cell"].named_parameters().items()
    answer["said"] = picture.description
    answer["numbers"] = {
        "loss": float(found["loss"].data),
        "weights": {name: trace.norm(weight) for name, weight in weights},
        "outputs": [trace.norm(output) for output in found["outputs"]],
    }
    if "norm" in found:
        factor = min(1.0, float(form["clip"]) / found["norm"])
        fired = f"clipped: everything times {factor:.3g}" if factor < 1 else "not clipped"
        answer["said"] += f" ‖∇‖ of all weights is {found['norm']:.3g}: {fired}."
    return answer


def beside(form: Form) -> dict[str, Any]:
    """The smaller pictures: the triangle of influence, and each step's part in each weight."""
    try:
        found = run(program(form))
        options = {"theme": form["theme"]}
        return {
            "influence": viz.influence(found["losses"], **options).svg,
            "contributions": viz.contributions(found["loss"], names=found["cell"], **options).svg,
        }
    except Exception as error:
        return {"error": complaint(error, form)}


def check(form: Form) -> dict[str, Any]:
    """The report of a gradient check of the cell over the form's steps, at most five."""
    try:
        found = run(program(form | {"steps": str(min(5, int(form["steps"]))), "inputs": ""}))
        cell, xs = found["cell"], found["xs"]
        report = tr.check.gradcheck(lambda xs: tr.nn.unroll(cell, xs), xs, raise_exception=False)
    except Exception as error:
        return {"error": complaint(error, form)}
    return {"report": str(report), "passed": bool(report)}


def start(layout: Any) -> dict[str, Any]:
    """Draw with the page's Graphviz; returns what the page calls, each from JSON to JSON."""
    viz.render.run = lambda dot, kind: layout(dot, kind).encode()  # type: ignore[attr-defined]

    def of_json(function: Any) -> Any:
        return lambda text: json.dumps(function(json.loads(text)))

    return {function.__name__: of_json(function) for function in (show, beside, check)}
