"""`unroll`: run a cell over time. The only place that knows about steps, lengths and direction.

What runs all steps itself, such as a derived program, defines ``__unroll__(xs, state, lengths,
reverse, first_step)``: `unroll` passes every argument on as given and returns its result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any
from weakref import WeakSet

import numpy as np

from ..engine import Array, Scope, Tensor, scope, step, where
from ..engine.scope import collector_paused, recording
from .checkpoint import Segment, parts

__all__ = ["unroll"]

State = Any  # a tensor or a tuple of tensors, as the cell has it


def unroll(
    cell: Any,
    xs: Any,
    state: State = None,
    lengths: Any = None,
    reverse: bool = False,
    first_step: int = 0,
    checkpoint: int | None = None,
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
        The number of steps in each sequence of the batch, 1 to T. Past its end a sequence keeps its
        state and its outputs are zero: every value and gradient is the same as if it ran alone,
        whatever the padding holds.
    reverse : bool, default False
        Run from each sequence's last step to its first.
    first_step : int, default 0
        The number of the first step, for a sequence that continues an earlier one.
    checkpoint : int, optional
        Keep only the state at every k-th step, beside the outputs, and record k steps at a time
        again when a backward pass comes to them: the memory of k steps and T / k states, for one
        more run of the cell. Gradients and pictures stay the same, to the last bit. The cell has to
        compute the same again: it draws no random numbers, and its parameters stay until the
        backward pass is done. The graph of a gradient, for second derivatives, keeps every step.

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
        If there are no steps or no sequences, or lengths or checkpoint do not fit.
    RuntimeError
        Later, if a step that was not kept would give another value now.
    TypeError
        If the cell returns anything but an output and a state like the one that it was given.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> cell = tr.nn.ElmanCell(3, 5, rng=0)
    >>> outputs, h = tr.nn.unroll(cell, np.ones((4, 2, 3)), lengths=[4, 1])
    >>> len(outputs), h.shape, float(abs(outputs[3].data[1]).max())
    (4, (2, 5), 0.0)
    """
    runs_itself = hasattr(type(cell), "__unroll__")
    if checkpoint is not None and (checkpoint < 1 or runs_itself):
        raise ValueError(
            f"unroll was given checkpoint={checkpoint} and a {type(cell).__name__}; expected the "
            f"number of steps to record at a time, 1 or more, and a cell that is run step by step"
        )
    if runs_itself:
        result: tuple[Any, State] = cell.__unroll__(xs, state, lengths, reverse, first_step)
        return result
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
    running = None if lengths is None else running_steps(lengths, T, batch)
    state = as_state(cell.initial_state(batch) if state is None else state)
    outputs: list[Any] = [None] * T
    at_hand: WeakSet[Segment] = WeakSet()
    order, k = range(T)[:: -1 if reverse else 1], checkpoint or T
    with scope(scope_name(cell), owner=cell), collector_paused():
        for steps in (order[i : i + k] for i in range(0, T, k)):
            run = partial(_run, cell, xs, state, running, steps, first_step)
            if checkpoint is None:
                _, found, state = run()
            else:
                found, after = Segment(run, at_hand).given()
                state = tuple(after) if isinstance(state, tuple) else after[0]
            for t, output in zip(steps, found, strict=True):
                outputs[t] = output
    return outputs, state


def _run(
    cell: Any, xs: Any, state: State, running: Array | None, steps: Iterable[int], first_step: int
) -> tuple[list[Scope], list[Tensor], State]:
    """Some of the steps in turn: their scopes, their outputs, and the state after them."""
    scopes, outputs = [], []
    for t in steps:
        with step(first_step + t) as here:
            x = xs[t]
            here.input, here.state_in = x.number, numbers_of(state)
            here_runs = None if running is None or running[t].all() else running[t]
            if here_runs is not None:  # padding may be NaN: feed a real input instead
                x = choose(here_runs, x, xs[0].data)
            output, new_state = _returned(cell, cell(x, state), state)
            if here_runs is not None:
                output = choose(here_runs, output, 0.0)
                new_state = _keep(here_runs, new_state, state)
            here.output, here.state_out = output.number, numbers_of(new_state)
            scopes.append(here)
            outputs.append(output)
            state = new_state
    return scopes, outputs, state


def as_state(state: State) -> State:
    """A state as cells take it, a tensor or a tuple of tensors, from arrays or a list too."""
    if isinstance(state, (tuple, list)):
        return tuple(s if isinstance(s, Tensor) else Tensor(s) for s in state)
    return state if isinstance(state, Tensor) else Tensor(state)


def _returned(cell: Any, result: Any, state: State) -> tuple[Tensor, State]:
    """What a cell returned, if it is an output and a state like the one that it was given."""
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], Tensor):
        before, after = parts(state), parts(result[1])
        alike = isinstance(result[1], tuple) == isinstance(state, tuple)
        if alike and len(before) == len(after) and all(map(_continues, before, after)):
            return result
    place = f"in {recording.scope.path}: " if recording.scope else ""
    raise TypeError(
        f"{place}{type(cell).__name__} was given {_words(state)} as its state and returned "
        f"{_words(result)}; a cell returns (output, state): a tensor, and a state of the form, "
        f"shapes and precision that it was given. One whose output is its state ends in "
        f"`return h, h`"
    )


def _continues(old: Tensor, new: Any) -> bool:
    """Whether the next step can take `new` for `old`: its shape, and no less precision."""
    return (
        isinstance(new, Tensor)
        and new.shape == old.shape
        and (new.dtype == old.dtype or np.can_cast(old.dtype, new.dtype))
    )


def _words(value: Any) -> str:
    """A result in words, such as ``(float64 (2, 5), float64 (2, 5))``."""
    if isinstance(value, tuple):
        return f"({', '.join(_words(part) for part in value)})"
    return f"{value.dtype} {value.shape}" if isinstance(value, Tensor) else type(value).__name__


def numbers_of(state: State) -> tuple[int, ...]:
    return tuple(part.number for part in parts(state))


def _is_sequence_of_tensors(xs: Any) -> bool:
    return isinstance(xs, Sequence) and all(isinstance(x, Tensor) for x in xs)


def running_steps(lengths: Any, T: int, batch: int) -> Array:
    """Which sequences are still running at each step: booleans (T, B)."""
    lengths = np.asarray(lengths.data if isinstance(lengths, Tensor) else lengths)
    if lengths.shape != (batch,) or lengths.dtype.kind not in "iu":
        raise ValueError(
            f"lengths of shape {lengths.shape} and dtype {lengths.dtype} were given; expected one "
            f"integer for each of the {batch} sequences"
        )
    if lengths.min() < 1 or lengths.max() > T:
        raise ValueError(
            f"lengths from {lengths.min()} to {lengths.max()} were given; expected 1 to {T}, the "
            f"number of steps. Leave empty sequences out of the batch"
        )
    running: Array = np.arange(T)[:, None] < lengths
    return running


def choose(running: Array, new: Tensor, old: Any) -> Tensor:
    """`new` where a sequence is still running, `old` past its end; `running` is (B,) or (T, B)."""
    if new.shape[: running.ndim] != running.shape:
        raise ValueError(
            f"unroll was given lengths for {running.shape[-1]} sequences, but a step has a tensor "
            f"of shape {new.shape}; inputs, outputs and states have a row for each sequence"
        )
    rows = running.reshape(*running.shape, *[1] * (new.ndim - running.ndim))
    return where(rows, new, old)  # type: ignore[no-any-return]


def _keep(running: Array, new: State, old: State) -> State:
    """The new state for sequences that are running, the old one for those at their end."""
    kept = tuple(choose(running, n, o) for n, o in zip(parts(new), parts(old), strict=True))
    return kept if isinstance(new, tuple) else kept[0]


def scope_name(cell: Any) -> str:
    """``LSTMCell`` is drawn and reported as ``lstm``."""
    return type(cell).__name__.removesuffix("Cell").lower() or "cell"
