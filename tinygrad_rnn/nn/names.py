"""The names that a cell's own code gives to what it computes: i, f, g, o, c, h.

`named_call` runs a cell once and watches its `__call__` line by line, so that derived programs
can use the letters of its equations. Nothing is renamed, and the watch ends with the call.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from ..engine import Tensor

__all__ = ["named_call"]


def named_call(function: Any, *arguments: Any) -> tuple[Any, dict[Tensor, str]]:
    """Call a cell, or any function or Module, and note the names of its local variables.

    Parameters
    ----------
    function : callable
    *arguments
        What it is called with, for a cell ``x`` and the state.

    Returns
    -------
    result
        What it returned.
    names : dict
        The local variable that each tensor was first bound to, arguments included. Empty when a
        debugger or a coverage tool is tracing already: that is left alone.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> cell = tr.nn.LSTMCell(3, 5, rng=0)
    >>> x = tr.Tensor(np.ones((1, 3)))
    >>> (h, (h, c)), names = tr.nn.named_call(cell, x, cell.initial_state(1))
    >>> names[c]
    'c'
    """
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    names: dict[Tensor, str] = {}

    def watch(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code is not code:
            return None
        if event in ("line", "return"):
            for name, value in frame.f_locals.items():
                several = isinstance(value, (tuple, list)) and len(value) > 1
                for k, part in enumerate(value if isinstance(value, (tuple, list)) else [value]):
                    # A tuple is unpacked on the next line, under better names.
                    if isinstance(part, Tensor) and not (several and part.primitive is None):
                        names.setdefault(part, f"{name}_{k}" if several else name)
        return watch

    if code is None or sys.gettrace() is not None:
        return function(*arguments), names
    sys.settrace(watch)
    try:
        return function(*arguments), names
    finally:
        sys.settrace(None)
