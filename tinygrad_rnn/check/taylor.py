"""The Taylor test: how the error of Taylor's formula shrinks with the step.

It looks along one random direction through all inputs at once, so that a whole unrolled net costs a
handful of forward passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import Array
from .subject import subject, weighted

__all__ = ["Taylor", "taylor_test"]

_HALVINGS = 6
_FALLEN_SHORT = 0.2  # of the power of the step
_CLEAR = 1e3 * float(np.finfo(np.float64).eps)  # of the largest number: more than rounding


@dataclass(frozen=True)
class Taylor:
    """Remainders of Taylor's formula over halving steps. Truthy if they shrink as they should.

    What cannot be decided is not truthy: where rounding is so large that a wrong gradient could
    hide in it.

    Attributes
    ----------
    steps : array of shape (n,)
    remainders : array of shape (3, n)
        Of order 0, ``|f(x + hv) - f(x)|``; of order 1, less ``h ∇f·v``; of order 2, less
        ``h²/2 vᵀHv``.
    slopes : tuple of three floats
        How the remainders shrink: with the first, second and third power of the step if gradient
        and Hessian are right. NaN where a remainder is no more than rounding.
    decided : tuple of three booleans
        Whether a slope is known or, where it is NaN, the rounding is so small that a wrong
        derivative would stand clear of it: then the function is a polynomial of that degree.
    seed : int

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> wrong = tr.primitive("square", lambda x: x * x, lambda g, y, x: g * x)
    >>> result = tr.check.taylor_test(wrong, [0.5, 1.0])
    >>> bool(result), round(result.slopes[1])
    (False, 1)
    """

    steps: Array
    remainders: Array
    slopes: tuple[float, float, float]
    decided: tuple[bool, bool, bool]
    seed: int

    def __bool__(self) -> bool:
        return all(self.decided) and not self._wrong

    @property
    def _wrong(self) -> bool:
        return any(s < order - _FALLEN_SHORT for order, s in enumerate(self.slopes, 1))

    def __str__(self) -> str:
        verdict = "FAILED" if self._wrong else "passed" if self else "decided nothing"
        slopes = [
            f"{s:.2f}" if not np.isnan(s) else "rounding" if decided else "unknown"
            for s, decided in zip(self.slopes, self.decided, strict=True)
        ]
        numbers = zip(self.steps, *self.remainders, strict=True)
        table: list[Sequence[str]] = [("step", "order 0", "order 1", "order 2")]
        table += [[f"{x:.1e}" for x in row] for row in numbers]
        table += [("slope", *slopes), ("expected", "1", "2", "3")]
        lines = [f"taylor_test {verdict}, seed {self.seed}"]
        lines += ["".join(f"  {cell:<8}" for cell in row).rstrip() for row in table]
        return "\n".join(lines)

    __repr__ = __str__


def taylor_test(f: Callable[..., Any], *inputs: Any, seed: int = 0, step: float = 0.01) -> Taylor:
    """Do the remainders of Taylor's formula shrink with the powers 1, 2 and 3 of the step?

    A verdict on gradient and Hessian together that holds however long the sequence is, where a
    comparison of single entries drowns in rounding.

    Parameters
    ----------
    f : callable or Module
        As for `gradcheck`; several outputs are summed with random weights.
    *inputs : array_like or Tensor
    seed : int
        Of the direction and the weights.
    step : float
        The largest step, relative to a direction of length 1; it is halved six times.

    Returns
    -------
    Taylor
        Truthy if each slope is above 0.8, 1.8 and 2.8.

    Raises
    ------
    TypeError, ValueError, FloatingPointError
        As `gradcheck`.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> result = tr.check.taylor_test(lambda x: tr.exp(x), [0.3, -0.2])
    >>> bool(result), [round(slope) for slope in result.slopes]
    (True, [1, 2, 3])
    """
    function, rng = subject(f, inputs), np.random.default_rng(seed)
    weights = [rng.normal(size=out.shape) for out in function.call()]
    start = [leaf.data.astype(np.float64) for leaf in function.leaves.values()]
    direction = [rng.normal(size=x.shape) for x in start]
    direction = [v / np.sqrt(weighted(direction, direction)) for v in direction]
    value = function.combined([weights])

    def line(h: float) -> float:
        return float(value([x + h * v for x, v in zip(start, direction, strict=True)])[0])

    with function.at(start):
        along = weighted(function.gradient(weights).call(), direction)  # ∇f·v
        found = weighted(function.pulled(along), direction)  # vᵀHv
    slope, curvature = along.item(), found.item()
    steps = step / 2.0 ** np.arange(_HALVINGS + 1)
    here = line(0.0)
    change = np.array([line(h) - here for h in steps])
    remainders = np.abs([
        change, change - steps * slope, change - steps * slope - steps**2 / 2 * curvature
    ])  # fmt: skip
    rounding = _CLEAR * max(abs(here), float(np.abs(change).max()))
    # What the remainders would be like if the derivatives were wrong.
    scale = abs(step * slope), abs(step * slope), step**2 * max(abs(slope), abs(curvature))
    slopes = [_rate(steps, remainder, rounding) for remainder in remainders]
    decided = [
        not np.isnan(s) or bool((r <= rounding).all() and rounding <= 1e-3 * size)
        for s, r, size in zip(slopes, remainders, scale, strict=True)
    ]
    return Taylor(steps, remainders, tuple(slopes), tuple(decided), seed)  # type: ignore[arg-type]


def _rate(steps: Array, errors: Array, rounding: float) -> float:
    """The slope of log error against log step, of what stands clear of rounding."""
    clear = errors > rounding
    if clear.sum() < 2:
        return float("nan")
    return float(np.polyfit(np.log(steps[clear]), np.log(errors[clear]), 1)[0])
