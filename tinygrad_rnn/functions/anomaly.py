"""`detect_anomaly`: find the first NaN or infinity, forward and backward, and where it began."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..engine.primitives import Scattered
from ..engine.scope import recording
from ..engine.tensor import Primitive, Tensor

__all__ = ["detect_anomaly"]

_OPERATIONS = tuple(str(Path(__file__).parents[1] / floor) for floor in ("engine", "functions"))


def user_line() -> tuple[str, int]:
    """For a watcher: the file and line outside of these floors that called the operation."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OPERATIONS):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


class detect_anomaly:
    """Raise at the first operation that makes a NaN or an infinity inside a ``with`` block.

    Both passes are watched. The error names the operation, its scope and time step, the range of
    its operands, and the source line that recorded it (for the backward pass: the line of the
    forward operation whose rule it was, if that was recorded inside the block too).

    Raises
    ------
    FloatingPointError

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([800.0], requires_grad=True)
    >>> try:
    ...     with tr.detect_anomaly(), tr.step(3):
    ...         y = tr.exp(x)
    ... except FloatingPointError as error:
    ...     print(str(error).split(";")[0])
    in t=3: exp made inf at entry [0] of its output, shape (1,)
    """

    def __init__(self) -> None:
        self._lines: dict[int, tuple[str, int]] = {}

    def __enter__(self) -> detect_anomaly:
        self._before = recording.watcher
        self._quiet = np.errstate(all="ignore")  # the error says more than NumPy's warning
        self._quiet.__enter__()
        recording.watcher = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        recording.watcher = self._before
        self._quiet.__exit__(kind, error, traceback)

    def made(
        self, primitive: Primitive, arrays: Sequence[Any], _: Mapping[str, Any], out: Tensor
    ) -> None:
        """Called for each tensor as it is made; FloatingPointError if it is not finite."""
        self._lines[out.number] = user_line()
        bad = _first_bad(out.data)
        if bad is not None:
            place = f"in {out.scope.path}: " if out.scope else ""
            raise FloatingPointError(
                f"{place}{primitive.name} made {bad} of its output, shape {out.shape}; "
                f"{_ranges('input', arrays)}; recorded at {self._line(out)}"
            )

    def sent(self, tensor: Tensor, i: int, g: Any, message: Any) -> None:
        """Called for each message of a backward pass; FloatingPointError if it is not finite."""
        bad = _first_bad(message.values if isinstance(message, Scattered) else _value(message))
        if bad is not None:
            place = f"in {tensor.scope.path}: " if tensor.scope else ""
            assert tensor.primitive is not None
            raise FloatingPointError(
                f"{place}backward of {tensor.primitive.name} made {bad} of the gradient of its "
                f"input {i}, shape {tensor.inputs[i].shape}; {_ranges('gradient', [_value(g)])}; "
                f"{_ranges('input', tensor.arrays)}; recorded at {self._line(tensor)}"
            )

    def _line(self, tensor: Tensor) -> str:
        if tensor.number not in self._lines:
            return "a line outside of detect_anomaly()"
        file, number = self._lines[tensor.number]
        return f"{Path(file).name}:{number}: {linecache.getline(file, number).strip()}"


def _value(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def _first_bad(array: Any) -> str | None:
    finite = np.isfinite(array)
    if finite.all():
        return None
    index = np.unravel_index(int(np.argmin(finite)), finite.shape)
    value = np.asarray(array)[index]
    return f"{value} at entry {[int(i) for i in index]}"


def _ranges(word: str, arrays: Sequence[Any]) -> str:
    def span(array: Any) -> str:
        values = np.asarray(array)
        if values.dtype.kind not in "fiu" or not values.size:
            return f"is of {values.dtype}, shape {values.shape}"
        return f"in [{values.min():.4g}, {values.max():.4g}]"

    numbered = [f" {i}" if word == "input" else "" for i in range(len(arrays))]
    return ", ".join(f"{word}{n} {span(a)}" for n, a in zip(numbered, arrays, strict=True))
