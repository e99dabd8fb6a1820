"""Derivatives from values alone: the complex step, and differences that notice a kink.

Everything in this package that needs to know what a derivative *should* be calls `derivative`. It
knows nothing about graphs or rules: it takes a function of arrays, and a direction to move one of
them in. The formulas below see such a function along a line only, h -> f(x + hv).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..engine import Array

__all__ = ["Method", "Slope", "Value", "derivative"]

Method = Literal["complex step", "differences"]
# A function of arrays, real or complex, that returns a vector: one number for each cotangent.
Value = Callable[[Sequence[Any]], Array]

_TINY = 1e-30  # far below rounding: the square of the step is nothing beside any value
_SHRINKINGS = 5


@dataclass(frozen=True, slots=True)
class Slope:
    """Derivatives along one direction, one for each cotangent.

    Attributes
    ----------
    values : array of shape (K,)
    doubt : array of shape (K,)
        How far off they may be.
    gap : array of shape (K,)
        At a kink, the distance between the one-sided derivatives; infinite where the function
        jumps or is not finite.
    kink : array of K booleans
        Whether the function has a kink within the smallest step tried.
    """

    values: Array
    doubt: Array
    gap: Array
    kink: Array


def derivative(
    value: Value,
    arrays: Sequence[Any],
    which: int,
    direction: Array,
    method: Method,
    size: float = 0.0,
) -> Slope:
    """The derivative of `value` along `direction` of the array number `which`.

    Values are taken to be rounded as numbers of `size` are, if they are not larger themselves.

    Raises
    ------
    TypeError
        If the method is the complex step, and the function does not take complex numbers or drops
        their imaginary part.
    """
    direction = np.asarray(direction, dtype=np.float64)
    start = np.asarray(arrays[which]).astype(np.float64)
    before, after = list(arrays[:which]), list(arrays[which + 1 :])

    def line(h: Any) -> Array:
        return value([*before, start + h * direction, *after])

    with np.errstate(all="ignore"), warnings.catch_warnings():
        if method == "complex step":
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            try:
                # Squire and Trapp (1998), "Using complex variables to estimate derivatives of real
                # functions": no subtraction, so no rounding, and no step to choose.
                return _exactly(np.imag(line(1j * _TINY)) / _TINY)
            except np.exceptions.ComplexWarning as dropped:
                raise TypeError(str(dropped)) from None
        return _differences(functools.cache(line), start, direction, size)


def _exactly(values: Array) -> Slope:
    nothing = np.zeros(values.shape)
    return Slope(values, nothing, nothing, np.zeros(values.shape, bool))


def _differences(
    line: Callable[[Any], Array], start: Array, direction: Array, size: float
) -> Slope:
    """Differences with the first step over which the function looks smooth.

    The step begins at ε^(1/5) max(1, |x|), where rounding and truncation are of one size, and
    shrinks; a last try is of the size of the smallest entry.
    """
    here = line(0.0)
    moving = direction != 0
    if not moving.any():
        return _exactly(np.zeros(here.shape))
    eps = float(np.finfo(here.dtype).eps) if here.dtype.kind == "f" else 2.0**-52
    sizes = np.abs(start[moving])
    first = eps**0.2 * max(1.0, float(sizes.max())) / float(np.abs(direction).max())
    for k in range(_SHRINKINGS + 1):
        slope = _extrapolated(line, here, first / 8**k, eps, size)
        if not slope.kink.any():
            return slope
    own = sizes[sizes > 0] / np.abs(direction[moving][sizes > 0])
    if own.size:  # too small a step for rounding, but for numbers that are themselves tiny
        last = _extrapolated(line, here, eps**0.2 * float(own.min()), eps, size)
        if not last.kink.any() and (last.doubt <= 1e-6 * abs(last.values)).all():
            return last
    return slope


def _extrapolated(
    line: Callable[[Any], Array], here: Array, h: float, eps: float, size: float
) -> Slope:
    """Central differences over h, h/2 and h/4, extrapolated twice (Richardson).

    On a smooth function the distance between the one-sided slopes halves with the step. At a kink
    it stays.
    """
    steps = (h, h / 2, h / 4)
    slopes = [(line(step) - line(-step)) / (2 * step) for step in steps]
    rough = [(line(step) - 2 * here + line(-step)) / step for step in steps]
    once = (4 * slopes[1] - slopes[0]) / 3, (4 * slopes[2] - slopes[1]) / 3
    found = (16 * once[1] - once[0]) / 15
    # All three are tiny on a smooth function, of order h³ and h⁴. The first two are as large as
    # the kink at a kink, the last is where the function itself jumps.
    jump = np.maximum.reduce([
        abs(rough[0] - 2 * rough[1]),
        abs(rough[1] - 2 * rough[2]),
        abs(slopes[0] - slopes[1] - 4 * (slopes[1] - slopes[2])),
    ])  # fmt: skip
    sizes = np.maximum.reduce([abs(line(sign * step)) for step in steps for sign in (0, 1, -1)])
    rounding = 40 * eps * np.maximum(sizes, size) / h
    kink = ~(jump <= max(1e-7, eps**0.6) * abs(found) + rounding)
    gap = np.maximum.reduce([jump, *(abs(difference) for difference in rough)])
    # Where the function itself jumps, its slopes grow as the step shrinks.
    growth = np.maximum(abs(slopes[2] - slopes[0]), abs(rough[2] - rough[0]))
    gap = np.where(growth <= 1.2 * (abs(slopes[0]) + abs(rough[0])), gap, np.inf)
    return Slope(found, abs(found - once[1]) + rounding, np.where(kink, gap, 0.0), kink)
