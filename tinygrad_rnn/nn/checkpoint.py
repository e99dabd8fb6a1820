"""Steps that are not kept, but recorded again when a walk comes to them.

With ``unroll(..., checkpoint=k)`` only what every k-th step starts from is kept, and what the
caller holds: `Forgotten` tensors, which have a value and a number but no history. A walk asks them
for it, by `Tensor.recorded`; then their `Segment` runs its k steps once more and gives every tensor
the number that it had. So whatever reads a record, a backward pass, a trace or a gradient check,
meets the same record as without checkpoints, one segment at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import numpy as np

from ..engine import Scope, Tensor
from ..engine.scope import recording
from ..functions.trace import tape
from .module import Module

__all__: list[str] = []


class Segment:
    """Successive steps of one sequence: run by `given`, and again when a walk comes to them.

    Parameters
    ----------
    run : callable
        ``run()`` runs the steps, and returns their scopes, their outputs and the state after them.
    at_hand : WeakSet of Segment
        The one of the sequence whose record is at hand.

    Attributes
    ----------
    ends : dict of int to Tensor
        The outputs and the state at the end by number, while their record is at hand.
    """

    def __init__(self, run: Callable[[], Any], at_hand: WeakSet[Segment]) -> None:
        self.run, self.at_hand = run, at_hand
        self.sequence, self.enabled = recording.scope, recording.enabled
        cell = self.sequence.owner if self.sequence else None
        weights = cell.parameters() if isinstance(cell, Module) else []
        self.weights = [(w, w.data) for w in weights]
        self.steps: list[Scope] = []
        self.ends: dict[int, Tensor] = {}

    def record(self) -> dict[int, Tensor]:
        """Run the steps where they were first run; every tensor gets the number that it had."""
        while self.at_hand:
            self.at_hand.pop().ends = {}
        self.at_hand.add(self)
        outside, oldest = (recording.scope, recording.enabled), Tensor(0.0).number
        recording.scope, recording.enabled = self.sequence, self.enabled
        try:
            steps, outputs, state = self.run()
        finally:
            recording.scope, recording.enabled = outside
        if self.steps:
            known = dict(zip(_numbers(steps), _numbers(self.steps), strict=True))
            number = 0
            for x in tape(*outputs, *parts(state), oldest=oldest):
                # The youngest is an end. Below an end is a number for each tensor that led to it.
                x.number = number = known.get(x.number, number - 1)
            for step, before in zip(steps, self.steps, strict=True):
                vars(step).update(vars(before))
        self.steps = steps
        self.ends = ends = {x.number: x for x in (*outputs, *parts(state))}
        return ends

    def given(self) -> tuple[list[Tensor], list[Tensor]]:
        """Run the steps for the first time: the outputs, and the state's parts, as forgotten."""
        given = {number: _forgotten(x, self) for number, x in self.record().items()}
        last = self.steps[-1].state_out or ()
        return [given[step.output or 0] for step in self.steps], [given[n] for n in last]


class Forgotten(Tensor):
    """What a step gave, without its history."""

    __slots__ = ("segment",)
    segment: Segment

    def recorded(self) -> Tensor:
        """The same tensor in a record of its step.

        Raises
        ------
        RuntimeError
            If the step gives another value than it did.
        """
        found = (self.segment.ends or self.segment.record()).get(self.number, self)
        changed = [w.describe() for w, data in self.segment.weights if w.data is not data]
        if changed or found is self or not np.array_equal(found.data, self.data, equal_nan=True):
            why = f"{changed[0]}, has new data" if changed else "it draws random numbers or changed"
            raise RuntimeError(
                f"{self.describe()}, was not kept, and its cell would compute something else now: "
                f"{why}. Call backward before that, or unroll without checkpoint"
            )
        found.name = self.name
        return found

    def __getattr__(self, name: str) -> Any:
        if name in ("inputs", "arrays", "kwargs"):  # left empty: the history
            return getattr(self.recorded(), name)
        raise AttributeError(f"a Tensor has no attribute {name!r}")


def _forgotten(x: Tensor, segment: Segment) -> Tensor:
    if x.primitive is None or isinstance(x, Forgotten):
        return x
    new = Forgotten.__new__(Forgotten)
    for name in ("_data", "_grad", "name", "number", "primitive", "requires_grad", "scope"):
        setattr(new, name, getattr(x, name))
    new.segment = segment
    return new


def parts(state: Any) -> tuple[Any, ...]:
    """A state as a tuple of tensors."""
    return state if isinstance(state, tuple) else (state,)


def _numbers(steps: list[Any]) -> list[int]:
    return [n for s in steps for n in (s.input, *s.state_in, s.output, *s.state_out)]
