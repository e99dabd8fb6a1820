"""Checkpoints: everything that training goes on from, in one safetensors file.

The extra ``io`` brings the ``safetensors`` package. No pickle: a file from elsewhere can hold
wrong numbers, but it cannot run anything.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..nn import Module
from .files import replace_file
from .optimisers import Optimiser

__all__ = ["load", "save"]

_FORMAT = "tinygrad_rnn 1"


def save(
    path: str | os.PathLike[str],
    module: Module,
    optimiser: Optimiser | None = None,
    rng: np.random.Generator | None = None,
) -> None:
    """Write a module's parameters, and what else training needs to go on, into one file.

    The file is replaced as a whole: whatever happens on the way, it holds the old checkpoint or
    the new one.

    Parameters
    ----------
    path : path-like
        By custom ending in ``.safetensors``.
    module : Module
    optimiser : Optimiser, optional
        Its learning rate and all that it remembers.
    rng : numpy.random.Generator, optional
        Its state.

    Raises
    ------
    FileNotFoundError
        If the directory does not exist.
    ImportError
        If safetensors is not installed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import tinygrad_rnn as tr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tr.train.save(pathlib.Path(folder) / "cell.safetensors", tr.nn.ElmanCell(2, 3))
    ...     [file.name for file in pathlib.Path(folder).iterdir()]
    ['cell.safetensors']
    """
    to_bytes = _safetensors("safetensors.numpy").save
    arrays = {f"module.{name}": array for name, array in module.state_dict().items()}
    metadata = {"format": _FORMAT}
    if optimiser is not None:
        arrays |= _remembered(optimiser)
        metadata["optimiser"] = json.dumps([type(optimiser).__name__, optimiser.lr])
    if rng is not None:
        metadata["rng"] = json.dumps(rng.bit_generator.state)
    content = to_bytes({name: a.copy(order="C") for name, a in arrays.items()}, metadata)
    replace_file(path, content)


def load(
    path: str | os.PathLike[str],
    module: Module,
    optimiser: Optimiser | None = None,
    rng: np.random.Generator | None = None,
) -> None:
    """Take up a checkpoint that `save` wrote; training goes on bit for bit as it would have.

    Parameters
    ----------
    path : path-like
    module : Module
        Built as the one that was saved.
    optimiser : Optimiser, optional
        Of the same kind, over the same parameters.
    rng : numpy.random.Generator, optional

    Raises
    ------
    FileNotFoundError, ValueError
        With the reason, if the file is missing, truncated, foreign, or does not fit; nothing is
        changed.
    ImportError
        If safetensors is not installed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import tinygrad_rnn as tr
    >>> trained, fresh = tr.nn.ElmanCell(2, 3, rng=0), tr.nn.ElmanCell(2, 3, rng=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tr.train.save(pathlib.Path(folder) / "cell.safetensors", trained)
    ...     tr.train.load(pathlib.Path(folder) / "cell.safetensors", fresh)
    >>> bool((fresh.W_hh.data == trained.W_hh.data).all())
    True
    """
    safetensors = _safetensors("safetensors")
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"{source}: there is no such checkpoint")
    try:
        with safetensors.safe_open(source, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{source}: not a whole safetensors file: {error}") from None
    if metadata.get("format") != _FORMAT:
        raise ValueError(f"{source}: a safetensors file, but no checkpoint of tinygrad_rnn")

    state = {n.removeprefix("module."): a for n, a in arrays.items() if n.startswith("module.")}
    if optimiser is not None:
        kind, lr = json.loads(metadata.get("optimiser", "[null, 0]"))
        expected = _remembered(optimiser)
        fits = all(n in arrays and arrays[n].shape == a.shape for n, a in expected.items())
        if kind != type(optimiser).__name__ or not fits:
            raise ValueError(
                f"{source}: holds the state of {kind or 'no optimiser'}, which does not fit this "
                f"{type(optimiser).__name__} over {len(optimiser.parameters)} parameters"
            )
    generator = json.loads(metadata.get("rng", "null"))
    if rng is not None and (
        generator is None or generator["bit_generator"] != rng.bit_generator.state["bit_generator"]
    ):
        raise ValueError(f"{source}: holds no state for a {type(rng.bit_generator).__name__}")

    module.load_state_dict(state)
    if optimiser is not None:
        optimiser.lr = lr
        for name, array in expected.items():
            array[...] = arrays[name]
    if rng is not None:
        rng.bit_generator.state = generator


def _safetensors(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ImportError(
            "checkpoints need safetensors: python -m pip install safetensors, or the extra 'io'"
        ) from None


def _remembered(optimiser: Optimiser) -> dict[str, Any]:
    """What the optimiser keeps of each parameter: the arrays themselves, by name."""
    return {
        f"optimiser.{i}.{slot}": array
        for i, state in enumerate(optimiser.state)
        for slot, array in state.items()
    }
