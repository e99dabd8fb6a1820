"""`unroll`: run a cell over time. The only place that knows about steps, lengths and direction.

What runs all steps itself, such as a derived program, defines ``__unroll__(xs, state, lengths,
reverse, first_step)``: `unroll` hands it every argument as it was given and returns its result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine import Array, Tensor, scope, step, where

__all__ = ["unroll"]

State = Any  # a tensor or a tuple of tensors, as the cell has it


def unroll(
    cell: Any,
    xs: Any,
    state: State = None,
    lengths: Any = None,
    reverse: bool = False,
    first_step: int = 0,
) -> tuple[Any, State]:
    """Run a cell over the steps of a sequence, recording each under its own time step.

    Parameters
    ----------
    cell : callable
        ``cell(x, state) -> (output, state)``, with ``cell.initial_state(batch)``.
    xs : Tensor or array of shape (T, B, I), or sequence of T tensors (B, I)
        Time first.
    state : tensor or tuple of tensors, optional
        Where to start; ``cell.initial_state(B)`` by default. Detach a state that comes from an
        earlier sequence.
    lengths : array_like of B integers, optional
        How many steps each sequence of the batch really has, 1 to T. Past its end a sequence keeps
        its state, and its outputs are zero: every value and gradient is what running it alone
        gives.
    reverse : bool, default False
        Run from each sequence's last step to its first.
    first_step : int, default 0
        What the first step is numbered, for a sequence that goes on an earlier one.

    Returns
    -------
    outputs : list of T tensors
        Every step's output, in the order of the input whichever way the cell ran; ``tr.stack``
        makes (T, B, H) of it. A derived program returns them stacked already, as one tensor that
        indexes and iterates alike.
    state : tensor or tuple of tensors
        After each sequence's own last step (its first, if reversed).

    Raises
    ------
    ValueError
        If there are no steps or no sequences, or lengths do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> cell = tr.nn.ElmanCell(3, 5, rng=0)
    >>> outputs, h = tr.nn.unroll(cell, np.ones((4, 2, 3)), lengths=[4, 1])
    >>> len(outputs), h.shape, float(abs(outputs[3].data[1]).max())
    (4, (2, 5), 0.0)
    """
    if hasattr(type(cell), "__unroll__"):  # runs all steps itself
        found: tuple[Any, State] = cell.__unroll__(xs, state, lengths, reverse, first_step)
        return found
    if not isinstance(xs, Tensor) and not _is_sequence_of_tensors(xs):
        xs = Tensor(xs)
    if isinstance(xs, Tensor) and xs.ndim != 3:
        raise ValueError(
            f"unroll was given inputs of shape {xs.shape}; expected (T, B, I): steps, sequences, "
            f"features. A single sequence is a batch of one: x[:, None, :]"
        )
    T = len(xs)
    if T == 0:
        raise ValueError("unroll was given a sequence of no steps; it needs at least one")
    batch = xs[0].shape[0]
    if batch == 0:
        raise ValueError("unroll was given a batch of no sequences; it needs at least one")
    running = _running(lengths, T, batch)
    if state is None:
        state = cell.initial_state(batch)
    outputs: list[Any] = [None] * T
    with scope(_name(cell), owner=cell):
        for t in reversed(range(T)) if reverse else range(T):
            with step(first_step + t) as here:
                x = xs[t]
                here.input, here.state_in = x.number, _numbers(state)
                output, new_state = cell(x, state)
                if running is not None and not running[t].all():
                    output = _choose(running[t], output, 0.0)
                    new_state = _keep(running[t], new_state, state)
                here.output, here.state_out = output.number, _numbers(new_state)
                outputs[t], state = output, new_state
    return outputs, state


def _numbers(state: State) -> tuple[int, ...]:
    return tuple(s.number for s in (state if isinstance(state, tuple) else (state,)))


def _is_sequence_of_tensors(xs: Any) -> bool:
    return isinstance(xs, Sequence) and all(isinstance(x, Tensor) for x in xs)


def _running(lengths: Any, T: int, batch: int) -> Array | None:
    """Which sequences are still running at each step: booleans (T, B), or None for all."""
    if lengths is None:
        return None
    lengths = np.asarray(lengths.data if isinstance(lengths, Tensor) else lengths)
    if lengths.shape != (batch,) or lengths.dtype.kind not in "iu":
        raise ValueError(
            f"unroll was given lengths of shape {lengths.shape} and dtype {lengths.dtype}; "
            f"expected one integer for each of the {batch} sequences"
        )
    if lengths.min() < 1 or lengths.max() > T:
        raise ValueError(
            f"unroll was given lengths from {lengths.min()} to {lengths.max()}; "
            f"expected 1 to {T}, the number of steps. Leave empty sequences out of the batch"
        )
    running: Array = np.arange(T)[:, None] < lengths
    return running


def _choose(running: Array, new: Tensor, old: Any) -> Tensor:
    return where(running.reshape(-1, *[1] * (new.ndim - 1)), new, old)  # type: ignore[no-any-return]


def _keep(running: Array, new: State, old: State) -> State:
    """The new state for sequences that are running, the old one for those at their end."""
    if isinstance(new, Tensor):
        return _choose(running, new, old)
    return tuple(_choose(running, n, o) for n, o in zip(new, old, strict=True))


def _name(cell: Any) -> str:
    """``LSTMCell`` is drawn and reported as ``lstm``."""
    return type(cell).__name__.removesuffix("Cell").lower() or "cell"
