"""What the playground's page runs: its form goes in, pictures and sentences come out.

The form becomes the program that one would write by hand, and all that is shown comes from running
that text: "Copy the Python" gives what is seen.
"""

from __future__ import annotations

import ast
import html
import json
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

import tinygrad_rnn as tr
import viz
from tinygrad_rnn import nn, train

Form = dict[str, str]

DEFAULTS: Form = {
    "cell": "lstm", "nonlinearity": "tanh", "steps": "5", "size": "4", "scale": "1",
    "forget_bias": "0", "inputs": "", "loss": "last", "clip": "", "level": "auto",
    "show": "gradient", "theme": "light", "code": "", "task": "recall",
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
        lines += [
            "norm = np.sqrt(sum(trace.norm(p) ** 2 for p in cell.parameters()))",
            f"factor = min(1.0, {threshold(form)} / norm)  # clipping scales every gradient by it",
            "trace = tr.backprop(loss, factor)",
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


def threshold(form: Form) -> float:
    """Above which norm gradients are clipped: infinity if they are not."""
    found = number(form["clip"] or "inf")
    if found is None or not found > 0:
        raise FormError(f"{form['clip']!r} was given as the clip threshold; give a number above 0")
    return found


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
    """The main picture, what is said of it, and its program."""
    answer: dict[str, Any] = {"unused": CELLS[form["cell"]][2]}
    try:
        answer["python"] = text = program(form)
        found = run(text)
        picture = found["picture"]
        answer["svg"] = picture.svg
    except Exception as error:
        return answer | {"error": complaint(error, form)}
    answer["said"] = picture.description
    if "norm" in found:
        factor = found["factor"]
        fired = f"clipped: everything times {factor:.3g}" if factor < 1 else "not clipped"
        answer["said"] += f" ‖∇‖ of all weights is {found['norm']:.3g}: {fired}."
    return answer


def beside(form: Form) -> dict[str, Any]:
    """The smaller pictures: the triangle of influence, and each step's part in each weight."""
    try:
        found = run(program(form))
    except Exception:
        return {}  # `show` says why
    drawn: dict[str, Callable[..., viz.Picture]] = {
        "influence": partial(viz.influence, found["losses"]),
        "contributions": partial(viz.contributions, found["loss"], names=found["cell"]),
    }
    answer = {}
    for name, draw in drawn.items():
        try:
            answer[name] = draw(theme=form["theme"]).svg
        except ValueError as error:  # one step has neither
            answer[name] = f"<p>{html.escape(str(error))}</p>"
    return answer


def gradients(form: Form) -> dict[str, Any]:
    """The loss and every number in the weights' gradients, for the comparison with CPython."""
    found = run(program(form))
    weights = found["cell"].named_parameters()
    found["loss"].backward(found.get("factor"))
    numbers = {name: weight.grad.tolist() for name, weight in weights.items()}
    return {"loss": float(found["loss"].data)} | numbers


def check(form: Form) -> dict[str, Any]:
    """The report of a gradient check of the cell over the form's steps, at most five."""
    try:
        found = run(program(form | {"steps": str(min(5, int(form["steps"]))), "inputs": ""}))
        cell, xs = found["cell"], found["xs"]
        report = tr.check.gradcheck(lambda xs: tr.nn.unroll(cell, xs), xs, raise_exception=False)
    except Exception as error:
        return {"error": complaint(error, form)}
    return {"report": str(report), "passed": bool(report)}


# --- training -------------------------------------------------------------------------------------

Batch = tuple[np.ndarray, Callable[[list[tr.Tensor]], tr.Tensor]]  # inputs; scores to loss
COUNT, BATCHES, EVERY = 16, 200, 5  # sequences in a batch, batches in all, and for each picture
WORDS = ("arrive", "leave", "please", "on", "Monday", "Friday", "Taipei", "Prague", "Lima")


def recall(steps: int, rng: np.random.Generator) -> Batch:
    """Say at the end which sign was seen first, with noise between."""
    signs = rng.choice([-1.0, 1.0], size=(COUNT, 1))
    xs = 0.3 * rng.normal(size=(steps, COUNT, 2))
    xs[:, :, 0] = 0
    xs[0, :, :1] = signs
    return xs, lambda scores: nn.mse(scores[-1], signs, reduction="mean")


def adding(steps: int, rng: np.random.Generator) -> Batch:
    """Add the two numbers that are marked, one in each half (Hochreiter and Schmidhuber 1997)."""
    xs = np.zeros((steps, COUNT, 2))
    xs[:, :, 0] = rng.random((steps, COUNT))
    for n in range(COUNT):
        xs[[rng.integers(max(steps // 2, 1)), rng.integers(steps // 2, steps)], n, 1] = 1
    total = (xs[:, :, 0] * xs[:, :, 1]).sum(axis=0)[:, None]
    return xs, lambda scores: nn.mse(scores[-1], total, reduction="mean")


def travel(steps: int, rng: np.random.Generator) -> Batch:
    """Tag each word; whether the city at the end is where one arrives or leaves stands in front."""
    words = np.full((max(steps, 2), COUNT), WORDS.index("please"))
    words[0] = rng.integers(2, size=COUNT)
    words[-1] = rng.integers(6, 9, size=COUNT)
    tags = np.zeros_like(words)  # 1: destination, 2: departure, 3: day
    tags[-1] = 1 + words[0]
    if steps >= 4:
        words[1], words[2], tags[2] = WORDS.index("on"), rng.integers(4, 6, size=COUNT), 3

    def loss(scores: list[tr.Tensor]) -> tr.Tensor:
        return nn.cross_entropy(tr.concatenate(scores), tags.ravel(), reduction="mean")

    return np.eye(len(WORDS))[words], loss


# What makes a batch, and how many numbers go in and come out.
TASKS = {"recall": (recall, 2, 1), "adding": (adding, 2, 1), "travel": (travel, len(WORDS), 4)}


def training(form: Form) -> Iterator[dict[str, Any]]:
    """Train the form's cell; after each batch what to show, now and then with a picture."""
    task, width, outputs_wanted = TASKS[form["task"]]
    rng, steps, size = np.random.default_rng(0), int(form["steps"]), int(form["size"])
    code = form["code"] if form["cell"] == "own" else ""
    made = cell_lines(form, width, size, float(form["scale"]))
    cell = run("\n".join([code, "import numpy as np, tinygrad_rnn as tr", *made]))["cell"]
    output, _ = cell(tr.Tensor(np.zeros((1, width))), cell.initial_state(1))
    head = nn.Linear(output.shape[-1], outputs_wanted, rng=1)
    optimiser = train.Adam([*cell.parameters(), *head.parameters()], lr=0.02)
    most = threshold(form)
    losses, norms, clipped = [], [], []
    shown, _ = task(steps, np.random.default_rng(1))
    for batch in range(BATCHES + 1):
        answer: dict[str, Any] = {}
        if batch % EVERY == 0:
            outputs, _ = nn.unroll(cell, shown[:, :1])
            options = {"level": form["level"], "show": form["show"], "theme": form["theme"]}
            trace, title = tr.backprop(head(outputs[-1]).sum()), f"After {batch} batches"
            ends = {"vmin": 1e-6, "vmax": 10.0}  # one scale for the whole film
            picture = viz.draw(trace, names=head, title=title, **options, **ends)
            answer = {"svg": picture.svg, "said": f"{title}: {picture.description}"}
        xs, loss_of = task(steps, rng)
        outputs, _ = nn.unroll(cell, xs)
        loss = loss_of([head(output) for output in outputs])
        optimiser.zero_grad()
        loss.backward()
        norms.append(train.clip_grad_norm(optimiser.parameters, most))
        clipped.append(norms[-1] > most)
        losses.append(float(loss.data))
        optimiser.step()
        yield answer | {"curve": curve(losses, norms, clipped)}


def curve(losses: Sequence[float], norms: Sequence[float], clipped: Sequence[bool]) -> str:
    """The loss against the batches as SVG; below, where a clip fired and where the cliffs are."""
    with np.errstate(all="ignore"):
        heights = np.log10(np.maximum(losses, 1e-6))
    heights = np.nan_to_num(heights, nan=2, posinf=2)
    low, high = np.floor(heights.min()), np.ceil(heights.max() + 1e-9)
    ys = 10 + 80 * (high - heights) / max(high - low, 1)
    line = " ".join(f"{45 + 2.7 * i:.1f},{y:.1f}" for i, y in enumerate(ys))
    marks = ""
    for i, norm in enumerate(norms):
        x = 45 + 2.7 * i
        if i > 5 and not norm < 10 * np.median(norms[max(0, i - 20) : i]):
            tip = f"batch {i}: a cliff, ‖∇‖ = {norm:.3g}"
            marks += f'<path class="cliff" d="M{x:.1f} 94l4 8h-8z"><title>{tip}</title></path>'
        if clipped[i]:
            tip = f"batch {i}: clipped, ‖∇‖ = {norm:.3g}"
            marks += f'<path class="clip" d="M{x:.1f} 104v8"><title>{tip}</title></path>'
    ticks = "".join(
        f'<text x="40" y="{y}" text-anchor="end">{10.0**at:g}</text>'
        for at, y in ((high, 14), (low, 94))
    )
    words = f"loss {losses[-1]:.3g} after {len(losses)} batches"
    if any(clipped):
        words += f"; clipped {sum(clipped)} times (ticks)"
    words += "; ▲ a cliff" if "cliff" in marks else ""
    return (
        f'<svg viewBox="0 0 600 130" role="img" aria-label="{words}"><polyline points="{line}"/>'
        f'{marks}{ticks}<text x="45" y="126">{words}</text></svg>'
    )


running: Iterator[dict[str, Any]] = iter(())


def begin(form: Form) -> dict[str, Any]:
    """Begin to train; returns what to show first."""
    global running
    running = training(form)
    return go_on(form)


def go_on(form: Form) -> dict[str, Any]:
    """Train on for one batch; an empty answer at the end."""
    try:
        with np.errstate(all="ignore"):
            return next(running, {})
    except Exception as error:
        return {"error": complaint(error, form)}


def start(layout: Any) -> dict[str, Any]:
    """Draw with the page's Graphviz; returns what the page calls, each from JSON to JSON."""
    viz.render.run = lambda dot, kind: layout(dot, kind).encode()  # type: ignore[attr-defined]

    def of_json(function: Any) -> Any:
        return lambda text: json.dumps(function(json.loads(text)))

    functions = (show, beside, gradients, check, begin, go_on)
    return {function.__name__: of_json(function) for function in functions}
