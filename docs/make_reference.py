"""The reference: a page for each floor, made from the packages.

A public name is one in ``__all__`` of the file that defines it, so a new function is on the site
without a line here, and a new file without a heading here stops the build.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import tinygrad_rnn
import viz

# The pages of the reference: title, the package that users import from, and, under each heading,
# the module that defines the names.
FLOORS: dict[str, tuple[str, ModuleType, dict[str, str]]] = {
    "engine": (
        "The engine",
        tinygrad_rnn,
        {
            "Tensors and primitives": "engine.tensor",
            "Gradients": "engine.backprop",
            "Scopes and time steps": "engine.scope",
        },
    ),
    "operations": (
        "Operations",
        tinygrad_rnn,
        {
            "What the engine needs": "engine.primitives",
            "Functions of one number or two": "functions.elementwise",
            "Functions of all entries along an axis": "functions.reductions",
            "Composed of primitives": "functions.composed",
            "Rearranging and selecting": "functions.shapes",
        },
    ),
    "functions": (
        "Traces, and derivatives of functions",
        tinygrad_rnn,
        {
            "The trace of a traversal": "functions.trace",
            "Which loss reaches which step": "functions.influence",
            "The first NaN or infinity": "functions.anomaly",
            "Derivatives of functions": "functions.transforms",
        },
    ),
    "nn": (
        "Cells and time",
        tinygrad_rnn.nn,
        {
            "Cells": "nn.cells",
            "Time": "nn.unroll",
            "Linear recurrences": "nn.scan",
            "Nets of cells": "nn.recurrent",
            "Layers": "nn.layers",
            "Losses": "nn.losses",
            "Modules": "nn.module",
            "Starting values": "nn.initialisers",
            "Weights to and from PyTorch": "nn.interchange",
            "Names of local variables": "nn.names",
        },
    ),
    "train": (
        "Training",
        tinygrad_rnn.train,
        {
            "Optimisers": "train.optimisers",
            "Clipping": "train.clip",
            "Truncated backpropagation": "train.truncated",
            "Learning rates": "train.schedules",
            "Checkpoints": "train.checkpoints",
            "Batches of sequences": "train.batches",
            "Many runs": "train.sweep",
            "Files": "train.files",
        },
    ),
    "check": (
        "Checking gradients",
        tinygrad_rnn.check,
        {
            "Gradient checks": "check.gradcheck",
            "Their report": "check.report",
            "Gradients written by hand": "check.handwritten",
            "The Taylor test": "check.taylor",
        },
    ),
    "derive": ("From a step to a program", tinygrad_rnn, {"Programs": "derive.program"}),
    "viz": (
        "Pictures",
        viz,
        {
            "Graphs": "viz.draw",
            "Tables over time": "viz.matrix",
            "The player": "viz.player",
            "Films": "viz.film",
            "Pictures as objects": "viz.picture",
            "Players as objects": "viz.page",
            "Plots": "viz.plots",
            "Before a long run": "viz.render",
        },
    ),
}

# What has no docstring: types and values.
PLAIN = {
    "Array": "Type: a NumPy array of any dtype.",
    "Rule": "Type: a derivative rule, ``rule(g, y, *inputs, **kwargs)``.",
    "Seed": "Type: what makes a generator; one to go on with, a number, or None for a fresh one.",
    "operations": "Every operation by its name, as a dict; `+` and the like are looked up here.",
}


def write_reference(folder: Path) -> None:
    """Write a page for each floor, with an entry for every public name.

    Raises
    ------
    ValueError
        If a public name is on no page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = {f"{p.__name__}.{name}" for _, p, _ in FLOORS.values() for name in _public(p)}
    for page, (title, package, modules) in FLOORS.items():
        lines = [*_title(title, "="), f".. currentmodule:: {package.__name__}", ""]
        for heading, module in modules.items():
            entries = dict(_entries(package, module))
            missing -= {f"{package.__name__}.{name}" for name in entries}
            lines += _title(heading, "-")
            lines += [".. autosummary::", "   :nosignatures:", ""]
            lines += [f"   {name}" for name in entries if name not in PLAIN] + [""]
            for name, value in entries.items():
                lines += _entry(name, value)
        (folder / f"{page}.rst").write_text("\n".join(lines), encoding="utf-8")
    if missing:
        raise ValueError(f"no page has {sorted(missing)}: add their module to FLOORS")
    lines = [
        *_title("Reference", "="),
        "Every public name, with an example that the tests run; ``help(tr.tanh)`` says the same.",
        *["", ".. toctree::", "   :maxdepth: 2", ""],
        *[f"   {page}" for page in FLOORS],
    ]
    (folder / "index.rst").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _public(package: ModuleType) -> set[str]:
    names = getattr(package, "__all__", None) or dir(package)
    return {n for n in names if n[0] != "_" and not inspect.ismodule(getattr(package, n))}


def _entries(package: ModuleType, module: str) -> Iterator[tuple[str, Any]]:
    """The names to write about, as one reaches them from the package, and what they name."""
    path = module if module.startswith("viz.") else f"tinygrad_rnn.{module}"
    found = importlib.import_module(path)
    for name in found.__all__:
        # A name may cover a primitive by a function that calls it; the function is what users get.
        if name in _public(package) and getattr(found, name) is getattr(package, name):
            yield name, getattr(package, name)


def _title(text: str, line: str) -> list[str]:
    return [text, line * len(text), ""]


def _entry(name: str, value: Any) -> list[str]:
    if inspect.isclass(value):
        return [f".. autoclass:: {name}", "   :members:", "   :special-members: __call__", ""]
    if name in PLAIN:
        return [f".. py:data:: {name}", "", f"   {PLAIN[name]}", ""]
    return [f".. autofunction:: {name}", ""]
