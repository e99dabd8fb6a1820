"""Derivatives by numbers alone: the complex step, and differences that notice a kink.

Everything in this package that needs to know what a derivative *should* be asks `derivative`. It
knows nothing of graphs or rules: it is given a function of arrays, and a direction to move one of
them in.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..engine import Array

__all__ = ["Method", "Slope", "complex_slope", "derivative", "difference_slope"]

Method = Literal["complex step", "differences"]
# A function of arrays, real or complex, that returns a vector: one number for each cotangent.
Value = Callable[[Sequence[Any]], Array]

_TINY = 1e-30  # far below rounding: the square of the step is nothing beside any value
_EPS = float(np.finfo(np.float64).eps)
_SHRINKINGS = 5


@dataclass(frozen=True, slots=True)
class Slope:
    """Derivatives along one direction, one for each cotangent.

    Attributes
    ----------
    values : array of shape (K,)
    doubt : array of shape (K,)
        How far off they may be; at a kink, the distance between the one-sided derivatives.
    kink : array of K booleans
        Whether the function has a kink within the smallest step tried.
    """

    values: Array
    doubt: Array
    kink: Array


def moved(arrays: Sequence[Any], which: int, change: Array) -> list[Any]:
    """The arrays, with one of them moved, in double precision."""
    found = list(arrays)
    found[which] = np.asarray(arrays[which]).astype(np.float64) + change
    return found


def complex_slope(value: Value, arrays: Sequence[Any], which: int, direction: Array) -> Slope:
    """Im f(x + ih v) / h: no subtraction, so no rounding, and no step to choose.

    Squire and Trapp (1998), "Using complex variables to estimate derivatives of real functions".

    Raises
    ------
    TypeError
        If the function does not take complex numbers, or drops the imaginary part.
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        try:
            found = np.imag(value(moved(arrays, which, 1j * _TINY * direction))) / _TINY
        except np.exceptions.ComplexWarning as dropped:
            raise TypeError(str(dropped)) from None
    return Slope(found, np.zeros_like(found), np.zeros(found.shape, bool))


def difference_slope(value: Value, arrays: Sequence[Any], which: int, direction: Array) -> Slope:
    """Central differences over h, h/2 and h/4, extrapolated twice (Richardson).

    The step begins at ε^(1/5) max(1, |x|), where rounding and truncation are of one size, and
    shrinks while the function does not look smooth over it: on a smooth one, the difference
    between the one-sided slopes halves with the step. At a kink it stays.
    """
    x = np.asarray(arrays[which])
    largest = float(np.abs(direction).max(initial=0.0))
    here = value(moved(arrays, which, np.zeros(x.shape)))
    nothing = np.zeros_like(here)
    if not largest:
        return Slope(nothing, nothing, np.zeros(here.shape, bool))
    reach = float(np.abs(x[direction != 0]).max(initial=0.0))
    h = _EPS**0.2 * max(1.0, reach) / largest
    for _ in range(_SHRINKINGS):
        with np.errstate(all="ignore"):
            ends = [
                [value(moved(arrays, which, sign * step * direction)) for sign in (1, -1)]
                for step in (h, h / 2, h / 4)
            ]
            rough, slopes = [], []
            for (ahead, behind), step in zip(ends, (h, h / 2, h / 4), strict=True):
                slopes.append((ahead - behind) / (2 * step))
                rough.append((ahead - 2 * here + behind) / step)
            once = (4 * slopes[1] - slopes[0]) / 3, (4 * slopes[2] - slopes[1]) / 3
            found = (16 * once[1] - once[0]) / 15
            # All three are tiny on a smooth function, of order h³ and h⁴. The first two are as
            # large as the kink at a kink, the last is where the function itself jumps.
            jump = np.maximum.reduce([
                abs(rough[0] - 2 * rough[1]),
                abs(rough[1] - 2 * rough[2]),
                abs(slopes[0] - slopes[1] - 4 * (slopes[1] - slopes[2])),
            ])  # fmt: skip
            size = np.maximum.reduce([abs(part) for pair in ends for part in pair] + [abs(here)])
        rounding = 40 * _EPS * size / h
        doubt = abs(found - once[1]) + rounding
        kink = ~(jump <= 1e-7 * abs(found) + rounding)
        if not kink.any():
            break
        h /= 8
    gap = np.maximum.reduce([jump, *(abs(difference) for difference in rough)])
    return Slope(found, np.where(kink, gap + doubt, doubt), kink)


def derivative(
    value: Value, arrays: Sequence[Any], which: int, direction: Array, method: Method
) -> Slope:
    """The derivative of `value` along `direction` of the array number `which`."""
    slope = complex_slope if method == "complex step" else difference_slope
    return slope(value, arrays, which, np.asarray(direction, dtype=np.float64))
