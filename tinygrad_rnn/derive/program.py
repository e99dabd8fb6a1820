"""`derive`: a cell's program for whole sequences, run in place of `unroll`.

A `Program` derives, compiles and keeps one text for each shape and dtype it meets, and runs it as a
single operation of the ordinary graph.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import Tensor, operations, primitive
from ..engine.primitives import take
from ..nn.module import Module
from ..nn.unroll import choose, running_steps
from .graph import DeriveError, modules_of, record, regroup, tensors_of
from .source import write

__all__ = ["DeriveError", "Program", "derive"]


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

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> program = tr.derive(tr.nn.LSTMCell(3, 5, rng=0))
    >>> outputs, (h, c) = program(np.ones((4, 2, 3)), lengths=[4, 1])
    >>> outputs.shape, h.shape
    ((4, 2, 5), (2, 5))
    """

    def __init__(self, cell: Any, readout: Any = None) -> None:
        self.cell = cell
        self.readout = readout
        self.readout_parts = modules_of(readout)  # so that their parameters are the program's too
        self._compiled: dict[Any, Any] = {}
        self._last: Any = None  # what was asked for last

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
        if not self._compiled:
            if self.readout is not None:
                raise DeriveError("a program with a readout has a text once it has been called")
            self._compile(*self._example(), False, False, list(tensors_of(self.cell).values()))
        text: str = self._compiled[self._last][0]
        return text

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
            What a readout takes at each step besides the output.

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
        if running is not None:  # as `unroll` does: a real input stands past an end
            xs = choose(running, xs, xs.data[:1])
        if state is None:
            state = self.initial_state(batch)
        several = isinstance(state, tuple)
        states = [
            s if isinstance(s, Tensor) else Tensor(s) for s in (state if several else [state])
        ]
        weights = list(tensors_of(self.cell, self.readout_parts).values())
        given = None if targets is None else np.asarray(targets)
        if given is not None and given.shape[:2] != (T, batch):
            raise ValueError(
                f"a program was given targets of shape {given.shape}; expected ({T}, {batch}, ...)"
            )
        _, forward, backward = self._compile(
            xs.data[0], state, xs.requires_grad, running is not None, weights,
            None if given is None else given[0],
        )  # fmt: skip
        kept: dict[str, Any] = {}
        masks = [] if given is None else [given]
        masks += [] if running is None else [running[..., None]]
        order = slice(None, None, -1 if reverse else 1)

        def run(*arrays: Any) -> Any:
            xs, *rest = kept["arrays"] = arrays
            if any(a.dtype.kind == "c" for a in arrays):  # a complex step moves one of them
                xs, *rest = (a.astype(complex) if a.dtype.kind == "f" else a for a in arrays)
            outputs, finals, kept["saved"] = forward(xs[order], *(m[order] for m in masks), *rest)
            kept["shape"] = outputs.shape
            return np.concatenate([outputs[order].reshape(-1), *(f.reshape(-1) for f in finals)])

        def rule(g: Any, _: Any, xs: Any, *rest: Any) -> tuple[Any, ...]:
            if isinstance(g, Tensor) or isinstance(xs, Tensor):
                raise RuntimeError(
                    f"the gradient of the program of {type(self.cell).__name__} was to be recorded "
                    f"for a second derivative; a program has the first only: use unroll(cell, ...)"
                )
            if any(a is not b for a, b in zip((xs, *rest), kept["arrays"], strict=True)):
                run(xs, *rest)  # somebody has run it elsewhere in between
            d_ys = g[: int(np.prod(kept["shape"]))].reshape(kept["shape"])[order]
            d_finals, at = [], d_ys.size
            for s in states:
                d_finals.append(g[at : at + s.size].reshape(s.shape))
                at += s.size
            d_xs, *gradients = backward(kept["saved"], d_ys, *d_finals)
            found = [None if d_xs is None else d_xs[order], *gradients[len(masks) :]]
            return tuple(
                np.zeros(x.shape, x.dtype) if d is None and wants else d
                for x, d, wants in zip([xs, *rest], found, wanted, strict=True)
            )

        name = f"▶ program of {type(self.cell).__name__}"
        wanted = [x.requires_grad for x in (xs, *states, *weights)]
        packed = primitive(name, run, rule, symbol="▶", joint=True)(xs, *states, *weights)
        outputs = _part(packed, at=0, shape=kept["shape"])
        finals, at = [], outputs.size
        for s in states:
            finals.append(_part(packed, at=at, shape=s.shape))
            at += s.size
        return outputs, tuple(finals) if several else finals[0]

    def __unroll__(
        self, xs: Any, state: Any, lengths: Any, reverse: bool, first_step: int
    ) -> tuple[Tensor, Any]:
        return self(xs, state, lengths, reverse)

    def _compile(
        self,
        x: Any,
        state: Any,
        wants_x: bool,
        masked: bool,
        weights: list[Tensor],
        target: Any = None,
    ) -> Any:
        parts = state if isinstance(state, tuple) else (state,)
        each = () if target is None else (target,)
        trained = tuple(w.requires_grad for w in weights)
        # Complex numbers, in a complex step, run through the program of real ones.
        kinds = tuple((a.shape, a.dtype.char.lower()) for a in (x, *parts, *weights, *each))
        key = (kinds, trained, wants_x, masked)
        if key not in self._compiled:
            step = record(self.cell, x, state, wants_x, masked, self.readout, target)
            step = regroup(step)
            source = write(step, type(self.cell).__name__)
            found: dict[str, Any] = dict(source.functions)
            exec(compile(source.text, f"<program of {type(self.cell).__name__}>", "exec"), found)
            self._compiled[key] = (source.text, found["forward"], found["backward"])
        self._last = key
        return self._compiled[key]

    def _example(self) -> tuple[Any, Any]:
        """An input and a state to derive from before any call: the first size that the cell takes.

        A batch of seven, so that no other length is taken for it.
        """
        state = self.initial_state(7)
        first = state[0] if isinstance(state, tuple) else state
        for w in tensors_of(self.cell).values():
            x = np.zeros((7, *w.shape[:1]), first.dtype)
            try:
                self.cell(Tensor(x), state)
            except (ValueError, TypeError, IndexError):
                continue
            return x, state
        raise DeriveError(
            f"no input size was found that {type(self.cell).__name__} takes; call the program once"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_compiled": {}}  # texts are derived again where it arrives


# What a program returns is one array, as the result of an operation is; this is a part of it.
_part = primitive(
    "getitem",
    lambda packed, at, shape: packed[at : at + math.prod(shape)].reshape(shape),
    lambda g, y, packed, at, shape: take.rules[0](
        g.reshape(-1), y, packed, key=(slice(at, at + y.size),), repeats=False
    ),
    symbol="[ ]",
)


def derive(cell: Any, readout: Any = None) -> Program:
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

    Returns
    -------
    Program
        Used in place of ``unroll(cell, ...)``; ``program.source`` is its text.

    Raises
    ------
    DeriveError
        When the program is first called or printed, if the cell cannot be derived.

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
    return Program(cell, readout)
