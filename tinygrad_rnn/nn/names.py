"""The names that a cell's own code gives to what it computes: i, f, g, o, c, h.

`named_call` runs a cell once and watches its `__call__` line by line, so that pictures and derived
programs can use the letters of its equations. Nothing is renamed and nothing stays watched.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from ..engine import Tensor

__all__ = ["local_names", "named_call"]


def named_call(cell: Any, x: Any, state: Any) -> tuple[Any, Any, dict[Tensor, str]]:
    """Call ``cell(x, state)`` and note the names of its local variables.

    Returns
    -------
    output, state
        As the cell returned them.
    names : dict
        The local variable that each tensor was first bound to, inputs included. Empty when a
        debugger or a coverage tool is tracing already: that is left alone.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> cell = tr.nn.LSTMCell(3, 5, rng=0)
    >>> x = tr.Tensor(np.ones((1, 3)))
    >>> h, (h, c), names = tr.nn.named_call(cell, x, cell.initial_state(1))
    >>> names[c]
    'c'
    """
    (output, new_state), names = watched(cell, x, state)
    return output, new_state, names


def watched(function: Any, *arguments: Any) -> tuple[Any, dict[Tensor, str]]:
    """Call a function or a Module, and note the names of its local variables, as `named_call`."""
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


def local_names(cell: Any, x: Any, state: Any) -> list[str | None]:
    """The local variable's name, or None, of every operation recorded by one call, in order.

    Operations that neither the output nor the state depends on are left out, as they are from any
    graph.

    Parameters
    ----------
    cell : callable
    x, state
        What one step of it takes, as for `named_call`.

    Returns
    -------
    list of str or None

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> cell = tr.nn.ElmanCell(3, 5, rng=0)
    >>> tr.nn.local_names(cell, tr.Tensor(np.ones((1, 3))), cell.initial_state(1))
    [None, None, None, None, 'h']
    """
    first = Tensor(0).number
    output, new_state, names = named_call(cell, x, state)
    parts = new_state if isinstance(new_state, tuple) else (new_state,)
    found: dict[int, Tensor] = {}
    waiting = [output, *parts]
    while waiting:
        tensor = waiting.pop()
        if isinstance(tensor, Tensor) and tensor.primitive and tensor.number > first:
            waiting += () if tensor.number in found else tensor.inputs
            found[tensor.number] = tensor
    return [names.get(found[number]) for number in sorted(found)]
