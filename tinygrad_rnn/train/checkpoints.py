"""Checkpoints: everything needed to continue training, in one safetensors file.

The extra ``io`` brings the ``safetensors`` package. No pickle: a file from elsewhere can hold
wrong numbers, but it cannot execute code. A checksum over names, numbers and metadata detects what
safetensors does not check, such as a flipped bit in a name.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Array
from ..nn import Module
from ..nn.module import fitted
from .files import replace_file
from .optimisers import Optimiser

__all__ = ["load", "read_about", "save"]

_FORMAT = "tinygrad_rnn 2"


def save(
    path: str | os.PathLike[str],
    module: Module,
    optimiser: Optimiser | None = None,
    rng: np.random.Generator | None = None,
    about: Any = None,
) -> None:
    """Write a module's parameters, and whatever else is needed to continue training, to a file.

    The file is replaced as a whole: even if the program is interrupted, it holds either the old
    checkpoint or the new one.

    Parameters
    ----------
    path : path-like
        Usually ends in ``.safetensors``.
    module : Module
    optimiser : Optimiser, optional
        Its learning rate and its state.
    rng : numpy.random.Generator, optional
        Its state.
    about : what JSON can hold, optional
        What it takes to build the module again and to use it: sizes, vocabulary, labels. See
        `read_about`.

    Raises
    ------
    FileNotFoundError, PermissionError, ValueError
        If no file can be written there (see `replace_file`), or the learning rate is no finite
        number.
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
    arrays = {name: a.copy(order="C") for name, a in _remembered(module, optimiser).items()}
    metadata = {"format": _FORMAT, "about": json.dumps(about)}
    if optimiser is not None:
        metadata["optimiser"] = json.dumps([type(optimiser).__name__, _rate(optimiser.lr)])
    if rng is not None:
        metadata["rng"] = json.dumps(rng.bit_generator.state, default=lambda a: a.tolist())
    metadata["checksum"] = _checksum(arrays, metadata)
    replace_file(path, to_bytes(arrays, metadata))


def read_about(path: str | os.PathLike[str]) -> Any:
    """What `save` was told in `about`, for building the module that the checkpoint is loaded into.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    FileNotFoundError, ValueError, ImportError
        As `load`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import tinygrad_rnn as tr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "cell.safetensors"
    ...     tr.train.save(file, tr.nn.ElmanCell(2, 3), about={"sizes": [2, 3]})
    ...     cell = tr.nn.ElmanCell(*tr.train.read_about(file)["sizes"])
    ...     tr.train.load(file, cell)
    """
    return json.loads(_read(Path(path))[1]["about"])


def load(
    path: str | os.PathLike[str],
    module: Module,
    optimiser: Optimiser | None = None,
    rng: np.random.Generator | None = None,
) -> None:
    """Load a checkpoint that `save` wrote; training continues bit for bit as it would have.

    Parameters
    ----------
    path : path-like
    module : Module
        Built as the one that was saved.
    optimiser : Optimiser, optional
        Of the same kind, over the same parameters.
    rng : numpy.random.Generator, optional
        Of the same kind.

    Raises
    ------
    FileNotFoundError, ValueError
        With the file and the reason, if it is missing, damaged, foreign, or does not fit; nothing
        is changed.
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
    source = Path(path)
    arrays, metadata = _read(source)
    expected = _remembered(module, optimiser)
    try:
        if optimiser is not None:
            kind, lr = json.loads(metadata.get("optimiser", "[null, 0]"))
            if kind != type(optimiser).__name__:
                raise ValueError(
                    f"the file holds the state of {kind or 'no optimiser'}, which does not fit "
                    f"this {type(optimiser).__name__}"
                )
            lr = _rate(lr)
        else:
            arrays = {n: a for n, a in arrays.items() if n.startswith("module.")}
        if rng is not None:
            generator = type(rng.bit_generator)()  # tried on this one first
            generator.state = json.loads(metadata.get("rng", "{}"))
        fitting = dict(fitted(arrays, expected, "the checkpoint does not fit"))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"{source}: {error or type(error).__name__}") from error

    module.load_state_dict({name: fitting[f"module.{name}"] for name in module.state_dict()})
    if optimiser is not None:
        optimiser.lr = lr
        for name, array in expected.items():
            if name.startswith("optimiser."):
                array[...] = fitting[name]
    if rng is not None:
        rng.bit_generator.state = generator.state


def _read(source: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and the metadata of a file whose checksum is right."""
    safetensors = _safetensors("safetensors")
    if not source.is_file():
        raise FileNotFoundError(f"{source}: there is no such checkpoint")
    try:
        with safetensors.safe_open(source, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise ValueError(f"{source}: a safetensors file, but no checkpoint of {_FORMAT}")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, TypeError, AttributeError) as error:
        raise ValueError(f"{source}: not a whole safetensors file of NumPy's: {error}") from None
    if metadata.pop("checksum", "") != _checksum(arrays, metadata):
        raise ValueError(f"{source}: the file is damaged: its checksum is not that of its content")
    return arrays, metadata


def _checksum(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
    """SHA-256 over everything that a checkpoint holds."""
    kinds = sorted((name, a.dtype.str, a.shape) for name, a in arrays.items())
    digest = hashlib.sha256(json.dumps([sorted(metadata.items()), kinds]).encode())
    for name in sorted(arrays):
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def _rate(lr: Any) -> float:
    if isinstance(lr, str) or lr is None or not math.isfinite(lr):
        raise ValueError(f"the learning rate is {lr!r}; expected a finite number")
    return float(lr)


def _remembered(module: Module, optimiser: Optimiser | None) -> dict[str, Array]:
    """Parameters and what the optimiser keeps of each: the arrays themselves, by name."""
    arrays = {f"module.{name}": array for name, array in module.state_dict().items()}
    for i, state in enumerate(optimiser.state if optimiser else ()):
        arrays |= {f"optimiser.{i}.{slot}": array for slot, array in state.items()}
    return arrays


def _safetensors(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ImportError(
            "checkpoints need safetensors: python -m pip install safetensors, or the extra 'io'"
        ) from None
