"""Truncated backpropagation through time (Williams and Peng 1990), for streams of any length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..engine import Tensor
from ..nn import unroll

__all__ = ["detached", "truncated_bptt"]


def detached(state: Any) -> Any:
    """A state without its history: gradients end here. A tensor, or a tuple of them.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> h = tr.Tensor([1.0], requires_grad=True) * 2.0
    >>> tr.train.detached((h, h))[0].requires_grad
    False
    """
    if isinstance(state, Tensor):
        return state.detach()
    return tuple(detached(part) for part in state)


def truncated_bptt(
    cell: Any, xs: Any, k1: int, k2: int | None = None, state: Any = None
) -> Iterator[tuple[range, list[Tensor]]]:
    """Go through a stream `k1` steps at a time, with gradients that reach back `k2` steps.

    For each stretch of `k1` new steps, the cell is run from `k2` steps before the stretch's end,
    starting from the state remembered there, which is cut off from its history. Take the loss of
    the new steps, call `backward`, and let the optimiser step before asking for the next stretch;
    steps that are run again use the new parameters.

    Parameters
    ----------
    cell : cell
    xs : Tensor or array of shape (T, B, I)
    k1 : int
        New steps in a stretch.
    k2 : int, optional
        How far back the gradient reaches, at least `k1`, which is the default.
    state : state of the cell, optional
        Where the stream begins.

    Yields
    ------
    steps : range
        The new steps.
    outputs : list of Tensors
        The outputs at these steps.

    Raises
    ------
    ValueError
        If not 1 <= k1 <= k2.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> cell = tr.nn.ElmanCell(1, 2, rng=0)
    >>> for steps, outputs in tr.train.truncated_bptt(cell, np.ones((5, 1, 1)), k1=2, k2=3):
    ...     tr.stack(outputs).sum().backward()
    ...     print(steps, tr.backprop(outputs[-1], np.ones((1, 2))).steps)
    range(0, 2) [0, 1]
    range(2, 4) [1, 2, 3]
    range(4, 5) [2, 3, 4]
    """
    k2 = k1 if k2 is None else k2
    if not 1 <= k1 <= k2:
        raise ValueError(f"k1={k1}, k2={k2} were given to truncated_bptt; expected 1 <= k1 <= k2")
    T = len(xs)
    start, begun = 0, state
    for first in range(0, T, k1):
        end = min(first + k1, T)
        following = max(start, min(end + k1, T) - k2)  # where the next run starts
        outputs: list[Tensor] = []
        running = begun
        for a, b in ((start, following), (following, end)):
            if a < b:
                more, running = unroll(cell, xs[a:b], running, first_step=a)
                outputs += more
            if b == following:
                begun = detached(running) if b > 0 else running
        yield range(first, end), outputs[first - start :]
        start = following
