"""The trace of one reverse traversal: every message, in order, with its size.

`backprop` walks exactly as `backward` does, changes no ``.grad``, and keeps every message.
Pictures, the gradient of a shared weight step by step, and local gradient checks all read a
`Trace`; none of them has a traversal of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..engine.backprop import seed, walk
from ..engine.primitives import Scattered
from ..engine.tensor import Array, Tensor
from .transforms import grad

__all__ = ["Event", "Trace", "backprop"]


def tape(*outputs: Tensor, oldest: int = 0) -> list[Tensor]:
    """Every tensor that the outputs were computed from, they included, the youngest first.

    Tensors with a number below `oldest` are left out.
    """
    found: dict[int, Tensor] = {}
    waiting: list[Any] = list(outputs)
    while waiting:
        x = waiting.pop()
        if isinstance(x, Tensor) and x.number >= oldest and x.number not in found:
            found[x.number] = x = x.recorded()
            waiting.extend(x.inputs)
    return [found[number] for number in sorted(found, reverse=True)]


def norm_of(message: Any) -> float:
    """The Euclidean norm of an array or a message; right where squares overflow or underflow."""
    if type(message) is Scattered:
        message = message.dense() if message.repeats else message.values
    square = np.vdot(message, message).real
    if 1e-290 < square < math.inf:
        return math.sqrt(square)
    # Zero, not finite, or so small or large that its square is not a number any more: a gradient
    # of 1e-200 has vanished, but it is not zero.
    largest = float(np.abs(message).max(initial=0.0))
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    return largest * norm_of(message / largest)


@dataclass(slots=True)
class Event:
    """One message: `tensor`, whose gradient is complete, contributes to one of its inputs.

    Attributes
    ----------
    tensor : Tensor
        The consumer, whose primitive's rule was used.
    index : int
        Which of its inputs.
    norm : float
        The Euclidean norm of the message; may be infinite or NaN.
    total : float
        The norm of the input's running sum after it.
    message : ndarray, Scattered or None
        The message itself, if the trace keeps arrays.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor(3.0, requires_grad=True, name="x")
    >>> for event in tr.backprop(x * x).events:
    ...     print(event.input.name, event.index, event.norm, event.total)
    x 0 3.0 3.0
    x 1 3.0 6.0
    """

    tensor: Tensor
    index: int
    norm: float
    total: float
    message: Any = None

    @property
    def input(self) -> Tensor:
        """The tensor that received the message."""
        receiver: Tensor = self.tensor.inputs[self.index]
        return receiver


class Trace:
    """The record of a traversal. Made by `backprop`.

    Attributes
    ----------
    output : Tensor
        Where the traversal began.
    start : ndarray
        The gradient it began with.
    events : list of Event
        Every message, in the order of the traversal.
    tensors : list of Tensor
        Every tensor that has a gradient, in that order: the output first.
    measures : str
        What the sizes measure, for pictures.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([1.0, 2.0], requires_grad=True)
    >>> trace = tr.backprop((x * x + x).sum(), keep="arrays")
    >>> trace.gradient(x)
    array([3., 5.])
    >>> trace.contributions(x)
    [array([1., 1.]), array([1., 2.]), array([1., 2.])]
    """

    measures = "gradient"

    def __init__(self, output: Tensor, start: Array, keep: str) -> None:
        self.output = output
        self.start = start
        self.tensors: list[Tensor] = []
        self.keep = keep
        self.events: list[Event] = []
        self._received: dict[int, list[Event]] = {}
        self._gradients: dict[int, Array] = {}
        for tensor, g in walk(output, start, observe=self._observe):
            self.tensors.append(tensor)
            if keep == "arrays":
                self._gradients[tensor.number] = np.asarray(g)

    def _observe(self, tensor: Tensor, index: int, message: Any, total: Any) -> None:
        size = norm_of(message)
        sum_size = norm_of(total) if tensor.inputs[index].number in self._received else size
        kept = message if self.keep == "arrays" else None
        self._note(Event(tensor, index, size, sum_size, kept))

    def _note(self, event: Event) -> None:
        self.events.append(event)
        self._received.setdefault(event.input.number, []).append(event)

    def norm(self, tensor: Tensor) -> float | None:
        """The norm of a tensor's gradient; None if the traversal did not reach it."""
        if tensor.number == self.output.number:
            return norm_of(self.start)
        received = self.events_of(tensor)
        return received[-1].total if received else None

    def events_of(self, tensor: Tensor) -> list[Event]:
        """The messages that a tensor received, in order."""
        return self._received.get(tensor.number, [])

    def gradient(self, tensor: Tensor) -> Array:
        """A tensor's gradient, a read-only array of its shape.

        Raises
        ------
        ValueError
            If the trace kept norms only, or the traversal did not reach it.
        """
        self._need_arrays("gradient")
        if tensor.number not in self._gradients:
            raise ValueError(f"{self.output.describe()} does not depend on {tensor.describe()}")
        return self._gradients[tensor.number]

    def contributions(self, tensor: Tensor) -> list[Array]:
        """Every contribution to a tensor's gradient, in order; their sum is the gradient.

        Raises
        ------
        ValueError
            If the trace kept norms only.
        """
        self._need_arrays("contributions")
        found = [dense(event.message) for event in self.events_of(tensor)]
        for contribution in found:  # it may be a message to others too
            contribution.setflags(write=False)
        return found

    def by_step(self, tensor: Tensor) -> Array:
        """A shared weight's gradient step by step, of shape ``(T, *tensor.shape)``.

        Row k belongs to the k-th time step of the whole trace, in ascending order. The sum over
        the rows is the gradient. What is computed from the tensor before the first step, such as a
        product with all inputs at once, belongs to the steps that read it.

        Raises
        ------
        ValueError
            If the trace kept norms only, or if the tensor acts on the output outside of any step.

        Examples
        --------
        >>> import tinygrad_rnn as tr
        >>> w, h = tr.Tensor(0.5, requires_grad=True), tr.Tensor(1.0)
        >>> for t in range(3):
        ...     with tr.step(t):
        ...         h = w * h
        >>> tr.backprop(h, keep="arrays").by_step(w)
        array([0.25, 0.25, 0.25])
        """
        self._need_arrays("contributions")
        rows = {step: row for row, step in enumerate(self.steps)}
        found = np.zeros((len(rows), *tensor.shape), tensor.dtype)
        before = {tensor.number}  # what it is made into outside of time, for the steps to read
        for event in reversed(self.events):
            step = event.tensor.scope.step if event.tensor.scope else None
            if event.input.number not in before:
                continue
            if step is None:
                before.add(event.tensor.number)
            else:
                message = dense(event.message)
                if event.input is not tensor:
                    message = grad(event.input, [tensor], message)[0].data
                found[rows[step]] += message
        if self.output.number in before:
            raise ValueError(
                f"{tensor.describe()} acts on {self.output.describe()} outside of any time step "
                f"too, so its gradient is not a sum over steps; see contributions()"
            )
        return found

    @property
    def steps(self) -> list[int]:
        """The time steps that the traversal reached, ascending."""
        scopes = (tensor.scope for tensor in self.tensors)
        return sorted({s.step for s in scopes if s is not None and s.step is not None})

    def _need_arrays(self, asked: str) -> None:
        if self.keep != "arrays":
            raise ValueError(
                f"this trace kept norms only, so it has no {asked}; make it with "
                f"backprop(output, keep='arrays')"
            )

    def __repr__(self) -> str:
        return f"<trace of {len(self.events)} messages to {len(self.tensors)} tensors>"


def backprop(
    output: Tensor, gradient: Any = None, keep: Literal["norms", "arrays"] = "norms"
) -> Trace:
    """Walk backwards as `Tensor.backward` does and keep a record of it; no ``.grad`` changes.

    Parameters
    ----------
    output : Tensor
    gradient : array_like, optional
        The gradient of `output`, of its shape; 1 if it has a single entry.
    keep : {"norms", "arrays"}
        The size of every message, or the messages themselves too.

    Returns
    -------
    Trace

    Raises
    ------
    ValueError
        As `Tensor.backward`, and for an unknown `keep`.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([3.0, 4.0], requires_grad=True, name="x")
    >>> trace = tr.backprop((0.5 * x * x).sum())
    >>> [(event.tensor.primitive.name, event.norm) for event in trace.events_of(x)]
    [('multiply', 2.5), ('multiply', 2.5)]
    >>> trace.norm(x)
    5.0
    """
    if keep not in ("norms", "arrays"):
        raise ValueError(f"keep={keep!r} was given to backprop; expected 'norms' or 'arrays'")
    start = seed(output, gradient, "backprop")
    return Trace(output, start.data if isinstance(start, Tensor) else start, keep)


def dense(message: Any) -> Array:
    return message.dense() if isinstance(message, Scattered) else np.asarray(message)
