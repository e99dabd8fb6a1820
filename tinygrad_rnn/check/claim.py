"""Claims, and how they are settled: a function of arrays, its gradients, and where in a net it is.

A whole net makes a claim, and so do each of its recorded operations and a gradient written by hand.
All claims are settled here in the same way: by a complex step, which is exact to rounding, or by
differences where the complex step cannot be trusted.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from ..engine import Array, Primitive, Tensor
from .numeric import Method, Slope, Value, derivative

__all__ = [
    "Claim", "Comparison", "Entry", "Variable", "excuse", "nearby", "one_hot",
    "place_of", "settle", "settle_one",
]  # fmt: skip

Verdict = Literal["right", "inconclusive", "wrong"]
_VERDICTS: tuple[Verdict, ...] = get_args(Verdict)  # the better first
_NOT_FINITE = "not finite around this point"

_PROJECTIONS = 8
_SAMPLES = 32
_MORE_SAMPLES = 128  # once a projection has failed, to find an entry that is to blame
_ROUNDING = 30.0  # what rounding may do to an entry, in units of ε times the largest
_DOUBLE = float(np.finfo(np.float64).eps)


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
    noise : float
        What rounding elsewhere may add to the gradient, in units of the rounding error ε.
    input : int or None
        For an operation, which of its inputs it is; -1 is the gradient of its output.
    """

    name: str
    array: Array = field(repr=False)
    gradients: Sequence[Array] = field(repr=False)
    steps: int | Mapping[int, int] | None = None
    noise: float = 0.0
    input: int | None = None

    @property
    def unit(self) -> float:
        """The size of its largest entry, or 1."""
        return max(1.0, float(np.abs(self.array).max(initial=0.0)))

    def step_of(self, index: tuple[int, ...] | None) -> int | None:
        """The time step of an entry, if it is known."""
        if isinstance(self.steps, Mapping):
            return self.steps.get(index[0]) if index else None
        return self.steps


@dataclass(slots=True)
class Claim:
    """That these are the gradients of this function.

    Attributes
    ----------
    value : callable
        Of the variables' arrays, returning one number for each cotangent.
    variables : sequence of Variable
    dtype : dtype
        The precision that the gradients were computed in.
    size : float
        That of the numbers that `value` adds up, which may cancel.
    analytic : bool
        Whether a complex step may be tried.
    node : Tensor or None
        The recorded operation it is about, by its output; None for a whole function.
    order : int
        For an operation, 1 if it is about its rules, 2 if about their derivatives.
    """

    value: Value
    variables: Sequence[Variable]
    dtype: Any
    size: float = 0.0
    analytic: bool = True
    node: Tensor | None = None
    order: int = 1

    @property
    def eps(self) -> float:
        """The rounding error of its precision."""
        return float(np.finfo(self.dtype).eps)

    def slope(self, which: int, direction: Array, method: Method) -> Slope:
        """The numeric derivative along a direction of one of its variables."""
        arrays = [variable.array for variable in self.variables]
        return derivative(self.value, arrays, which, direction, method, self.size)


@dataclass(slots=True)
class Entry:
    """One comparison: an entry of a gradient, or a random direction through all of them.

    Attributes
    ----------
    variable : str
    index : tuple of int, or None for a random direction
    analytic, numeric, error, allowed : float
        The claim, the number it is compared with, their distance, and what is allowed.
    verdict : {"right", "wrong", "inconclusive"}
    why : str
        Why it is inconclusive.
    step : int or None
    """

    variable: str
    index: tuple[int, ...] | None
    analytic: float
    numeric: float
    error: float
    allowed: float
    verdict: Verdict
    why: str = ""
    step: int | None = None

    @property
    def place(self) -> str:
        """Such as ``x[2, 3]``."""
        if self.index is None:
            return f"{self.variable} along a random direction"
        return f"{self.variable}{list(self.index)}" if self.index else self.variable

    def __str__(self) -> str:
        where = self.place if self.step is None else f"{self.place} (t={self.step})"
        if self.verdict == "inconclusive":
            return f"inconclusive, {self.why} at {where}"
        numbers = f"{self.analytic:.9g} instead of {self.numeric:.9g}"
        return f"{where}: {numbers}, off by {self.error:.3g} > {self.allowed:.1e}"


@dataclass(slots=True, repr=False)
class Comparison:
    """One of a claim's gradients, compared with numeric derivatives.

    Attributes
    ----------
    claim : Claim
    variable : Variable
    method : {"complex step", "differences"}
    how : str
        Which entries were compared.
    entries : list of Entry
    numeric, allowed : array or None
        The numeric gradient for the first cotangent, and how far off the claim may be, if every
        entry was compared.
    diagnosis : list of str
        What kind of mistake it looks like.
    """

    claim: Claim
    variable: Variable
    method: Method
    how: str
    entries: list[Entry] = field(default_factory=list)
    numeric: Array | None = None
    allowed: Array | None = None
    diagnosis: list[str] = field(default_factory=list)

    def having(self, verdict: Verdict) -> list[Entry]:
        """The entries with this verdict, the worst first."""
        return sorted((e for e in self.entries if e.verdict == verdict), key=lambda e: -e.error)

    @property
    def decided(self) -> list[Entry]:
        """The entries that are right or wrong."""
        return [e for e in self.entries if e.verdict != "inconclusive"]

    @property
    def size(self) -> float:
        """That of the largest number that something was compared with; 1 if all are zero."""
        return max((abs(e.numeric) for e in self.decided), default=0.0) or 1.0

    @property
    def worst(self) -> float:
        """The largest error of what has been decided, relative to the largest number."""
        return max((e.error for e in self.decided), default=0.0) / self.size

    @property
    def input(self) -> int | None:
        """Which of the operation's inputs; the gradient of its output is -1."""
        return self.variable.input

    @property
    def op(self) -> str:
        """The operation's name; empty for a whole function."""
        return self.primitive.name if self.primitive else ""

    @property
    def step(self) -> int | None:
        """The time step that the operation was recorded in."""
        return self.variable.step_of(None)

    @property
    def path(self) -> str:
        """The scope that the operation was recorded in, such as ``lstm / t=3 / candidate``."""
        scope = self.claim.node.scope if self.claim.node is not None else None
        return scope.path if scope else ""

    @property
    def primitive(self) -> Primitive | None:
        """The operation; None for a whole function."""
        return self.claim.node.primitive if self.claim.node is not None else None

    def __str__(self) -> str:
        if self.claim.node is None or self.input is None:
            return self.variable.name
        if self.claim.order == 1:
            return place_of(self.claim.node, self.input)
        of = "the gradient" if self.input == -1 else f"input {self.input}"
        place = f", {self.path}" if self.path else ""
        return f"{self.op}: the derivative of its rules with respect to {of}{place}"

    __repr__ = __str__


def place_of(node: Tensor, input: int) -> str:
    """Such as ``tanh, input 0, lstm / t=3 / candidate``."""
    assert node.primitive is not None
    return f"{node.primitive.name}, input {input}{f', {node.scope.path}' if node.scope else ''}"


def one_hot(shape: tuple[int, ...], index: tuple[int, ...]) -> Array:
    """Zeros with a single one."""
    direction = np.zeros(shape)
    direction[index] = 1.0
    return direction


def _glance(claim: Claim, which: int, rng: np.random.Generator) -> Comparison:
    """Compare one gradient along a random direction, which involves every entry.

    Differences are taken in any case. The complex step counts only where it agrees with them: a
    function may take complex numbers and still not be analytic (an absolute value, a real part).
    """
    variable = claim.variables[which]
    found = Comparison(claim, variable, "differences", "a random direction")
    direction = rng.normal(size=variable.array.shape)
    slope = claim.slope(which, direction, "differences")
    if claim.analytic and not slope.kink.any():
        with contextlib.suppress(TypeError):  # the function does not take complex numbers
            exact = claim.slope(which, direction, "complex step")
            near = 10 * slope.doubt + 1e-6 * (abs(exact.values) + abs(slope.values))
            if (abs(exact.values - slope.values) <= near).all():
                found.method, slope = "complex step", exact
    _judge(found, None, direction, slope)
    return found


def settle(claim: Claim, rng: np.random.Generator) -> list[Comparison]:
    """Compare each gradient with a numeric one; see `settle_one`."""
    return [settle_one(claim, i, rng) for i in range(len(claim.variables))]


def nearby(arrays: Sequence[Array], rng: np.random.Generator) -> list[Array]:
    """The arrays moved a little, in double precision: where a claim is looked at again."""
    return [x + 1e-3 * rng.normal(size=x.shape) for x in arrays]


def excuse(compared: Sequence[Comparison], nearby: Sequence[Comparison]) -> None:
    """Call inconclusive what is wrong, if the gradients at a point nearby are right."""
    if any(c.having("wrong") for c in nearby) or not all(c.decided for c in nearby):
        return
    for entry in (e for c in compared for e in c.having("wrong")):
        entry.verdict, entry.why = "inconclusive", "not wrong at a point nearby"


def settle_one(
    claim: Claim, which: int, rng: np.random.Generator, every_entry: int = 256, brief: bool = False
) -> Comparison:
    """Compare one gradient with a numeric one.

    Parameters
    ----------
    claim : Claim
    which : int
        Which of its variables.
    rng : numpy.random.Generator
        Draws directions, and entries where there are too many.
    every_entry : int
        Up to this size every entry is compared.
    brief : bool
        Leave it at one random direction, if that is right.
    """
    found = _glance(claim, which, rng)
    if brief and found.having("right"):
        return found
    shape, size = found.variable.array.shape, found.variable.array.size

    def look(index: tuple[int, ...] | None, direction: Array) -> tuple[float, float]:
        return _judge(found, index, direction, claim.slope(which, direction, found.method))

    if size <= every_entry:
        found.entries.clear()
        found.how = f"every entry ({size:,})"
        found.numeric, found.allowed = np.zeros(shape), np.zeros(shape)
        for index in np.ndindex(shape):
            found.numeric[index], found.allowed[index] = look(index, one_hot(shape, index))
        return found
    for _ in range(_PROJECTIONS - 1):
        look(None, rng.normal(size=shape))
    undecided = any(e.verdict != "right" for e in found.entries)
    for count, flat in enumerate(rng.permutation(size)[:_MORE_SAMPLES], 1):
        index = tuple(int(i) for i in np.unravel_index(flat, shape))
        look(index, one_hot(shape, index))
        located = any(e.index is not None for e in found.having("wrong"))
        if count >= _SAMPLES and (located or not undecided):
            break
    found.how = f"{_PROJECTIONS} random directions, {count:,} of {size:,} entries"
    return found


def _judge(
    found: Comparison, index: tuple[int, ...] | None, direction: Array, slope: Slope
) -> tuple[float, float]:
    """Note the worst of the cotangents; of the first, the numeric derivative and what is allowed.

    ``|analytic - numeric| <= absolute + relative |numeric|``, where the absolute part follows the
    size of what is compared.
    """
    variable, eps = found.variable, found.claim.eps
    # A complex step is exact; extrapolated differences are so to about 1e-10 of the values.
    relative = max(eps**0.6, 0.0 if found.method == "complex step" else 1e-7)
    largest = np.array([np.abs(g).max(initial=0.0) for g in variable.gradients], np.float64)
    # The numeric derivative is rounded as the value is, a unit of the input.
    absolute = (
        eps * (_ROUNDING * largest + variable.noise)
        + _DOUBLE * _ROUNDING * found.claim.size / variable.unit
    )
    if index is None:
        products = np.array([np.ravel(g * direction) for g in variable.gradients])
        analytic, scale = products.sum(axis=1), np.abs(products).sum(axis=1)
        absolute *= math.sqrt(direction.size)
    else:
        analytic = np.array([g[index] for g in variable.gradients], np.float64)
        scale = np.zeros(len(analytic))
    error = np.abs(analytic - slope.values)
    # At a kink, between the one-sided derivatives. Its gap may be infinite.
    allowed = absolute + relative * np.maximum(np.abs(slope.values), scale) + slope.doubt
    allowed = np.where(slope.kink, allowed + 0.51 * slope.gap, allowed)
    # Along a random direction several kinks may hide each other.
    hidden = (error <= allowed) | ~np.isfinite(slope.gap) | (index is None)
    finite = np.isfinite(slope.values)
    rank = np.where(error <= allowed, 0, 2)
    rank[(slope.kink & hidden) | ~finite] = 1
    k = int(np.lexsort((error / np.where(allowed, allowed, 1.0), rank))[-1])
    verdict = _VERDICTS[rank[k]]
    why = "" if rank[k] != 1 else "kink within the step" if finite[k] else _NOT_FINITE
    claimed, numeric, off, most = (float(x[k]) for x in (analytic, slope.values, error, allowed))
    step = variable.step_of(index)
    found.entries.append(
        Entry(variable.name, index, claimed, numeric, off, most, verdict, why, step)
    )
    return float(slope.values[0]), float(allowed[0])
