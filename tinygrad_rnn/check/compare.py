"""Comparing gradients with numbers, entry by entry or along random directions.

What is compared is a `Variable`: an array, and its gradient as claimed, for each of several
cotangents. Where the claim comes from (a traversal, a rule, somebody's own function) is not known
here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..engine import Array
from .numeric import Method, Slope, Value, complex_slope, derivative, difference_slope

__all__ = [
    "Comparison", "Entry", "Tolerance", "Variable", "along", "compare", "one_hot", "settle_method",
]  # fmt: skip

Verdict = Literal["right", "wrong", "inconclusive"]

_PROJECTIONS = 8
_SAMPLES = 32
_MORE_SAMPLES = 128  # once a projection has failed, to find an entry that is to blame


@dataclass(frozen=True, slots=True)
class Tolerance:
    """``|analytic - numeric| <= absolute + relative |numeric|``."""

    relative: float
    absolute: float


@dataclass(slots=True)
class Variable:
    """An array and what is claimed to be its gradient.

    Attributes
    ----------
    name : str
    array : ndarray
    gradients : sequence of arrays of its shape
        One for each cotangent.
    steps : int, dict or None
        The time step it belongs to, or that of each index of its first axis.
    """

    name: str
    array: Array = field(repr=False)
    gradients: Sequence[Array] = field(repr=False)
    steps: int | Mapping[int, int] | None = None

    def step_of(self, index: tuple[int, ...] | None) -> int | None:
        """The time step of an entry, if it is known."""
        if isinstance(self.steps, Mapping):
            return self.steps.get(index[0]) if index else None
        return self.steps


@dataclass(slots=True)
class Entry:
    """One comparison: an entry of a gradient, or a random direction through all of them.

    Attributes
    ----------
    variable : str
    index : tuple of int, or None for a random direction
    analytic, numeric, error, allowed : float
        The claim, the number it is held against, their distance, and what is allowed.
    doubt : float
        The part of `allowed` that is the numeric derivative's own uncertainty.
    verdict : {"right", "wrong", "inconclusive"}
    step : int or None
    """

    variable: str
    index: tuple[int, ...] | None
    analytic: float
    numeric: float
    error: float
    allowed: float
    doubt: float
    verdict: Verdict
    step: int | None = None

    @property
    def relative(self) -> float:
        """The error relative to the larger of the two numbers."""
        size = max(abs(self.analytic), abs(self.numeric))
        return self.error / size if size else 0.0

    @property
    def place(self) -> str:
        """Such as ``x[2, 3]``."""
        if self.index is None:
            return f"{self.variable} along a random direction"
        return (
            f"{self.variable}[{', '.join(map(str, self.index))}]" if self.index else self.variable
        )


@dataclass(slots=True)
class Comparison:
    """Everything compared of one variable.

    Attributes
    ----------
    variable : Variable
    method : {"complex step", "differences"}
    how : str
        Which entries were compared.
    entries : list of Entry
    numeric : list of arrays, or None
        The numeric gradient for each cotangent, if every entry was compared.
    """

    variable: Variable
    method: Method
    how: str
    entries: list[Entry] = field(default_factory=list, repr=False)
    numeric: list[Array] | None = field(default=None, repr=False)

    def having(self, verdict: Verdict) -> list[Entry]:
        """The entries with this verdict, the worst first."""
        return sorted((e for e in self.entries if e.verdict == verdict), key=lambda e: -e.error)

    @property
    def worst(self) -> float:
        """The largest error of what has been decided, relative to the largest number."""
        decided = [e for e in self.entries if e.verdict != "inconclusive"]
        largest = max((abs(e.numeric) for e in decided), default=0.0)
        return max((e.error for e in decided), default=0.0) / (largest or 1.0)


def one_hot(shape: tuple[int, ...], index: tuple[int, ...]) -> Array:
    """Zeros with a single one."""
    direction = np.zeros(shape)
    direction[index] = 1.0
    return direction


def settle_method(
    value: Value, variables: Sequence[Variable], method: Method, rng: np.random.Generator
) -> Method:
    """The complex step if the function takes it, differences otherwise.

    A function may compute with complex numbers and still not be analytic (an absolute value, a
    part cast to real): then the two ways disagree, and it is the complex step that is wrong if the
    gradient as claimed agrees with the differences.
    """
    if method == "differences":
        return method
    arrays = [v.array for v in variables]
    for which, variable in enumerate(variables):
        direction = rng.normal(size=variable.array.shape)
        try:
            exact = complex_slope(value, arrays, which, direction)
        except TypeError:
            return "differences"
        claimed = np.array([np.sum(g * direction) for g in variable.gradients])
        if _far(claimed, exact.values):
            checked = difference_slope(value, arrays, which, direction)
            if _far(exact.values, checked.values, checked.doubt):
                return "differences"
    return method


def _far(a: Array, b: Array, doubt: Any = 0.0) -> bool:
    return bool((abs(a - b) > 1e-6 * (abs(a) + abs(b)) + 10 * doubt).any())


def compare(
    value: Value,
    variables: Sequence[Variable],
    method: Method,
    rng: np.random.Generator,
    tolerance: Tolerance,
    every_entry: int = 256,
) -> list[Comparison]:
    """Hold every variable's gradients against numeric ones.

    Parameters
    ----------
    value : callable
        Of the variables' arrays, returning one number for each cotangent.
    variables : sequence of Variable
    method : {"complex step", "differences"}
    rng : numpy.random.Generator
        Draws directions, and entries where there are too many.
    tolerance : Tolerance
    every_entry : int
        Up to this size every entry is compared.
    """
    arrays = [v.array for v in variables]
    found = []
    for which, variable in enumerate(variables):
        shape, size = variable.array.shape, variable.array.size

        def look(
            index: tuple[int, ...] | None,
            direction: Array,
            which: int = which,
            variable: Variable = variable,
        ) -> tuple[Entry, Slope]:
            slope = derivative(value, arrays, which, direction, method)
            return _entry(variable, index, direction, slope, tolerance), slope

        if size <= every_entry:
            comparison = Comparison(variable, method, f"every entry ({size:,})")
            numeric = np.zeros((len(variable.gradients), *shape))
            for index in np.ndindex(shape):
                entry, slope = look(index, one_hot(shape, index))
                comparison.entries.append(entry)
                numeric[(slice(None), *index)] = slope.values
            comparison.numeric = list(numeric)
        else:
            comparison = Comparison(variable, method, "")
            for _ in range(_PROJECTIONS):
                comparison.entries.append(look(None, rng.normal(size=shape))[0])
            order, count = rng.permutation(size), 0
            while count < size:
                index = tuple(int(i) for i in np.unravel_index(order[count], shape))
                comparison.entries.append(look(index, one_hot(shape, index))[0])
                count += 1
                wrong = comparison.having("wrong")
                located = any(e.index is not None for e in wrong)
                if count >= (_MORE_SAMPLES if wrong and not located else _SAMPLES):
                    break
            comparison.how = f"{_PROJECTIONS} random directions, {count:,} of {size:,} entries"
        found.append(comparison)
    return found


def along(
    value: Value,
    variables: Sequence[Variable],
    which: int,
    method: Method,
    rng: np.random.Generator,
    tolerance: Tolerance,
) -> Entry:
    """One comparison that involves every entry of a variable: along a random direction."""
    direction = rng.normal(size=variables[which].array.shape)
    slope = derivative(value, [v.array for v in variables], which, direction, method)
    return _entry(variables[which], None, direction, slope, tolerance)


def _entry(
    variable: Variable,
    index: tuple[int, ...] | None,
    direction: Array,
    slope: Slope,
    tolerance: Tolerance,
) -> Entry:
    """The worst of the cotangents."""
    entries = []
    for k, gradient in enumerate(variable.gradients):
        if index is None:
            products = gradient * direction
            analytic, scale = float(products.sum()), float(np.abs(products).sum())
            absolute = tolerance.absolute * math.sqrt(direction.size)
        else:
            analytic, scale, absolute = float(gradient[index]), 0.0, tolerance.absolute
        numeric, doubt = float(slope.values[k]), float(slope.doubt[k])
        error = abs(analytic - numeric)
        allowed = absolute + tolerance.relative * max(abs(numeric), scale) + doubt
        verdict: Verdict = "right" if error <= allowed else "wrong"
        if slope.kink[k] and (verdict == "right" or not math.isfinite(numeric)):
            verdict = "inconclusive"
        step = variable.step_of(index)
        entries.append(
            Entry(variable.name, index, analytic, numeric, error, allowed, doubt, verdict, step)
        )
    rank = {"right": 0, "inconclusive": 1, "wrong": 2}
    return max(entries, key=lambda e: (rank[e.verdict], e.error / (e.allowed or 1.0)))
