"""`derive`: a cell's program for whole sequences, run in place of `unroll`.

A `Program` derives, proves and keeps one text for each shape and dtype it meets, and runs it as a
single operation of the ordinary graph.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import linecache
import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ..engine import Array, Scope, Tensor, operations, primitive
from ..engine.primitives import take
from ..nn.module import Module
from ..nn.unroll import as_state, choose, numbers_of, running_steps, scope_name
from .proof import prove
from .record import DeriveError, Step, record
from .rewrite import factor, regroup, side_by_side
from .schedule import schedule
from .surroundings import Place
from .text import write

__all__ = ["DeriveError", "Program", "derive"]

Target = Literal["numpy", "c"]
_count = itertools.count(1)


@dataclass
class _Made:
    """A text, and what it was made for."""

    title: str
    text: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    weights: list[Tensor]
    dtypes: list[Any]  # of the state
    places: list[Place]  # what was found in the cell: where it changes, the text is out of date

    def __post_init__(self) -> None:
        rule = functools.partial(_backward, self.title)
        name = f"▶ program of {self.title}"
        self.operation = primitive(name, _forward, rule, symbol="▶", joint=True)


class Program(Module):
    """The derived backpropagation through time of one cell; made by `derive`.

    Called like ``unroll(cell, ...)``; the outputs come stacked as one tensor (T, B, H), which
    indexes and iterates like a list of T tensors.

    Attributes
    ----------
    cell
        What was derived; its parameters are the program's.
    readout
        What was derived with it, to be run on every output, or None.
    target
        The language, "numpy" or "c".

    Raises
    ------
    ValueError
        For another target.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> program = tr.derive(tr.nn.LSTMCell(3, 5, rng=0))
    >>> outputs, (h, c) = program(np.ones((4, 2, 3)), lengths=[4, 1])
    >>> outputs.shape, h.shape
    ((4, 2, 5), (2, 5))
    """

    def __init__(self, cell: Any, readout: Any = None, target: Target = "numpy") -> None:
        if target not in get_args(Target):
            raise ValueError(f"target={target!r} was given to derive; expected 'numpy' or 'c'")
        self.cell = cell
        self.readout = readout
        self.target = target
        self.reached = [_reached(cell), _reached(readout)]  # so that parameters() finds them
        self._made: dict[Any, list[_Made]] = {}
        self._last: _Made | None = None

    def initial_state(self, batch: int) -> Any:
        """The cell's."""
        return self.cell.initial_state(batch)

    @property
    def source(self) -> str:
        """The program as text, of the last call, or before any call, of one for this cell.

        Raises
        ------
        DeriveError
            If no input size can be found that the cell takes, or there is a readout: call the
            program first.
        """
        if self._last is None:
            if self.readout is not None:
                raise DeriveError("a program with a readout has a text once it has been called")
            self._find(*self._example(), None, False, False)
        assert self._last is not None
        return self._last.text

    def __call__(
        self,
        xs: Any,
        state: Any = None,
        lengths: Any = None,
        reverse: bool = False,
        targets: Any = None,
    ) -> tuple[Tensor, Any]:
        """Run the cell over all steps.

        Parameters
        ----------
        xs, state, lengths, reverse
            As for `tinygrad_rnn.nn.unroll`.
        targets : array of shape (T, B, ...), optional
            What a readout takes at each step in addition to the output.

        Returns
        -------
        outputs : Tensor of shape (T, B, H)
        state : tensor or tuple of tensors

        Raises
        ------
        DeriveError
            If the cell cannot be derived; the message names the operation and its line.
        ValueError
            If shapes or lengths do not fit.
        RuntimeError
            Later, if a second derivative is asked for.
        """
        return self.__unroll__(xs, state, lengths, reverse, 0, targets)

    def __unroll__(
        self, xs: Any, state: Any, lengths: Any, reverse: bool, first_step: int, targets: Any = None
    ) -> tuple[Tensor, Any]:
        """What `tinygrad_rnn.nn.unroll` calls, and so every layer made of it."""
        if isinstance(xs, (list, tuple)) and xs and all(isinstance(x, Tensor) for x in xs):
            xs = operations["stack"](xs)
        elif not isinstance(xs, Tensor):
            xs = Tensor(xs)
        if xs.ndim < 2 or 0 in xs.shape[:2]:
            raise ValueError(
                f"a program was given inputs of shape {xs.shape}; expected (T, B, I) with at least "
                f"one step and one sequence"
            )
        T, batch = xs.shape[:2]
        running = None if lengths is None else running_steps(lengths, T, batch)
        if running is not None and running.all():
            running = None
        if running is not None:  # what lies past an end may be NaN: run a real input there
            xs = choose(running, xs, xs.data[:1])
        state = as_state(self.initial_state(batch) if state is None else state)
        several = isinstance(state, tuple)
        given = None if targets is None else np.asarray(targets)
        if given is not None and given.shape[:2] != (T, batch):
            raise ValueError(
                f"a program was given targets of shape {given.shape}; expected ({T}, {batch}, ...)"
            )
        made = self._find(xs.data, state, given, running is not None, xs.requires_grad)
        states = [
            s if s.dtype.char.lower() == d.char else s.astype(d)
            for s, d in zip(state if several else (state,), made.dtypes, strict=True)
        ]
        masks = [] if given is None else [given]
        masks += [] if running is None else [running[..., None]]
        last = first_step + T - 1
        name = scope_name(self.cell) + (f", steps {first_step} to {last}" if first_step else "")
        with Scope(name, owner=self.cell) as here:
            here.input, here.state_in = xs.number, numbers_of(state)
            outputs, finals = _run(made, xs, masks, states, reverse)
            after = tuple(finals) if several else finals[0]
            here.output, here.state_out = outputs.number, numbers_of(after)
        return outputs, after

    def _find(
        self, xs: Array, state: Any, targets: Array | None, masked: bool, wants_x: bool
    ) -> _Made:
        """The text for these shapes, derived now if there is none that fits the cell."""
        states = state if isinstance(state, tuple) else (state,)
        arrays = [xs[0], *(s.data for s in states), *(() if targets is None else (targets[0],))]
        # Complex numbers, in a complex step, run through the program of real ones.
        kinds = tuple((a.shape, a.dtype.char.lower()) for a in arrays)
        key = (kinds, isinstance(state, tuple), masked, wants_x)
        tried = self._made.setdefault(key, [])
        fits = (m for m in tried if not any(place.changed() for place in m.places))
        made = next(fits, None)
        if made is None:
            made = self._derive(xs, state, targets, masked, wants_x)
            tried.insert(0, made)
            del tried[4:]
        self._last = made
        return made

    def _derive(
        self, xs: Array, state: Any, targets: Array | None, masked: bool, wants_x: bool
    ) -> _Made:
        found = record(self.cell, self.readout, xs, state, targets, masked, wants_x)
        title = type(self.cell).__name__
        step = regroup(factor(found.step))
        if self.target == "c":
            from .c import compile  # with what they need of the system
            from .c import text as c_text

            printed = c_text.write(schedule(step, fused=True), title)
            text, plain = printed.text, functools.partial(_in_numpy, step, title)
            run = compile.Compiled(printed, title, plain)
            forward, backward = run.forward, run.backward
        else:
            text, forward, backward = _in_numpy(step, title)
        dtypes = [n.dtype for n in found.step.states]
        made = _Made(
            title, text, forward, backward, found.weights, dtypes, found.surroundings.places
        )
        prove(made.forward, made.backward, found, xs, targets, masked)
        return made

    def _example(self) -> tuple[Any, Any]:
        """An input and a state to derive from before any call: the first size that the cell takes.

        A batch of seven, so that no other length is mistaken for it.
        """
        state = as_state(self.initial_state(7))
        first = state[0] if isinstance(state, tuple) else state
        for w in self.parameters():
            x = np.zeros((1, 7, *w.shape[:1]), first.dtype)
            try:
                self.cell(Tensor(x[0]), state)
            except (ValueError, TypeError, IndexError):
                continue
            return x, state
        raise DeriveError(
            f"no input size was found that {type(self.cell).__name__} takes; call the program once"
        )

    def __getstate__(self) -> dict[str, Any]:
        # Texts are derived again where it arrives.
        return {**vars(self), "_made": {}, "_last": None}


def _in_numpy(step: Step, title: str) -> tuple[str, Callable[..., Any], Callable[..., Any]]:
    """The NumPy text of a step, and its two functions."""
    text, space = write(schedule(side_by_side(step)), title)
    # A file name of its own, so that profiles tell programs apart and tracebacks show lines.
    file = f"<program {next(_count)} of {title}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    exec(compile(text, file, "exec"), space)
    weakref.finalize(space["forward"], linecache.cache.pop, file, None)
    return text, space["forward"], space["backward"]


def _d_part(g: Any, y: Any, packed: Any, at: int, shape: tuple[int, ...], dtype: Any) -> Any:
    key = (slice(at, at + y.size),)
    return take.rules[0](g.reshape(-1).astype(packed.dtype), y, packed, key=key, repeats=False)


@primitive("getitem", rules=[_d_part], symbol="[ ]", view=True)
def _part(packed: Array, /, at: int, shape: tuple[int, ...], dtype: Any) -> Array:
    """What a program returns is one array, as the result of an operation is: a part of it."""
    part = packed[at : at + math.prod(shape)].reshape(shape)
    return part if packed.dtype.kind == "c" else part.astype(dtype, copy=False)


def _run(
    made: _Made, xs: Tensor, masks: list[Array], states: list[Tensor], reverse: bool
) -> tuple[Tensor, list[Tensor]]:
    """All steps, as one operation of the graph: outputs and last state."""
    inputs = (xs, *states, *made.weights)
    wanted = [x.requires_grad for x in inputs]
    kept = _Kept(made, masks, slice(None, None, -1 if reverse else 1), wanted)
    packed = made.operation(*inputs, kept=kept)
    found, at = [], 0
    for shape, dtype in kept.ends:
        found.append(_part(packed, at=at, shape=shape, dtype=dtype))
        at += math.prod(shape)
    return found[0], found[1:]


@dataclass(eq=False, repr=False)
class _Kept:
    """What the way back needs of one run."""

    made: _Made
    masks: list[Array]
    order: slice
    wanted: list[bool]
    arrays: tuple[Array, ...] = ()
    saved: Any = None
    ends: Sequence[tuple[tuple[int, ...], Any]] = ()


def _forward(*arrays: Array, kept: _Kept) -> Array:
    xs, *rest = kept.arrays = arrays
    order = kept.order
    if any(a.dtype.kind == "c" for a in arrays):  # a complex step moves one of them
        xs, *rest = (a.astype(complex) if a.dtype.kind == "f" else a for a in arrays)
    outputs, finals, kept.saved = kept.made.forward(
        xs[order], *(m[order] for m in kept.masks), *rest
    )
    ends = [outputs[order], *finals]
    kept.ends = [(end.shape, end.dtype) for end in ends]
    return np.concatenate([end.reshape(-1) for end in ends])


def _backward(title: str, g: Any, _: Any, *arrays: Any, kept: _Kept) -> tuple[Any, ...]:
    if isinstance(g, Tensor) or isinstance(arrays[0], Tensor):
        raise RuntimeError(
            f"the gradient of the program of {title} was to be recorded for a second "
            f"derivative; a program has the first only: use unroll(cell, ...)"
        )
    if [*map(id, arrays)] != [*map(id, kept.arrays)]:
        _forward(*arrays, kept=kept)  # another call has overwritten what this one kept
    pieces, at = [], 0
    for shape, _ in kept.ends:
        size = math.prod(shape)
        pieces.append(g[at : at + size].reshape(shape))
        at += size
    d_xs, *gradients = kept.made.backward(kept.saved, pieces[0][kept.order], *pieces[1:])
    found = [None if d_xs is None else d_xs[kept.order], *gradients[len(kept.masks) :]]
    return tuple(
        np.zeros(x.shape, x.dtype) if d is None and wants else d
        for x, d, wants in zip(arrays, found, kept.wanted, strict=True)
    )


def _reached(function: Any) -> dict[str, Any]:
    """The modules and tensors that a function refers to."""
    if inspect.ismethod(function):
        return {"self": function.__self__}
    if not inspect.isfunction(function):
        return {}
    used = inspect.getclosurevars(function)
    found = {**used.globals, **used.nonlocals}
    return {k: v for k, v in found.items() if isinstance(v, (Module, Tensor, list, tuple, dict))}


def derive(cell: Any, readout: Any = None, target: Target = "numpy") -> Program:
    r"""The program that one would have written by hand: the cell over all steps, and its gradient.

    One step is recorded, its gradient is asked of the engine as a graph, and both are printed as
    NumPy code for the whole sequence: what needs only the inputs is computed for all steps at
    once, the loop writes into arrays allocated before it, and each weight's gradient is one
    product after it. Nothing in it knows which cell it is.

    Parameters
    ----------
    cell : callable
        A cell as `tinygrad_rnn.nn.unroll` takes it, built from the operations. Whatever Python
        decides in it by looking at the data cannot be derived.
    readout : callable, optional
        ``readout(output)`` or, for a program called with ``targets=``, ``readout(output, target)``,
        of one step: what each sequence's output is turned into, such as its loss. It becomes part
        of the program, for all steps at once. A Module, or a function that refers to modules: their
        parameters are trained with the cell's.
    target : {"numpy", "c"}, default "numpy"
        What the program is printed as. C needs a compiler, see ``pip install tinygrad-rnn[c]``, and
        is several times as fast where arrays are small.

    Returns
    -------
    Program
        Used in place of ``unroll(cell, ...)``; ``program.source`` is its text.

    Raises
    ------
    DeriveError
        When the program is first called or printed, if the cell cannot be derived, or has no
        spelling in C, or there is no compiler.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> program = tr.derive(tr.nn.ElmanCell(3, 5, rng=0))
    >>> print("\n".join(line for line in program.source.splitlines() if "range" in line))
        for t in range(T):
        for t in reversed(range(T)):

    With a readout, the outputs are the losses of every step and sequence:

    >>> import numpy as np
    >>> scores = tr.nn.Linear(5, 2, rng=0)
    >>> def loss(h, target):
    ...     return -(target * tr.log_softmax(scores(h))).sum(axis=-1)
    >>> program = tr.derive(tr.nn.ElmanCell(3, 5, rng=0), readout=loss)
    >>> losses, h = program(np.ones((4, 1, 3)), targets=np.eye(2)[[[0], [1], [1], [0]]])
    >>> losses.shape
    (4, 1)
    """
    return Program(cell, readout, target)
