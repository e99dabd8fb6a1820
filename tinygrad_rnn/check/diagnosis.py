"""What kind of mistake it looks like: a table of patterns, each a question and a sentence.

A sentence is said only if the numbers bear it out to the tolerance that the claim itself failed:
for a pattern that is a repair, the repaired claim would have passed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..engine import Array
from .claim import Comparison

__all__ = ["diagnose"]

_CLEAR = 100.0  # an error of fewer times the tolerance shows no pattern
_SHOWN = 8


@dataclass(frozen=True)
class _Case:
    """A wrong gradient, the right one, and what was allowed of each entry."""

    claimed: Array
    right: Array
    allowed: Array

    def mended_by(self, repaired: Array) -> bool:
        """Whether a repaired claim would pass."""
        return repaired.shape == self.right.shape and bool(
            (np.abs(repaired - self.right) <= self.allowed).all()
        )

    @property
    def wrong(self) -> Array:
        """The entries that are wrong; nothing if some of the others are not clearly right."""
        error, found = np.abs(self.claimed - self.right), self.failed
        size = np.abs(self.right) + 0.01 * np.abs(self.right).max(initial=0.0)
        relative = error / np.where(size, size, 1.0)
        if found.any() and (relative[~found] > 1e-3 * relative[found].min()).any():
            return np.zeros_like(found)
        return found

    @property
    def failed(self) -> Array:
        """The entries beyond their tolerance."""
        return np.asarray(np.abs(self.claimed - self.right) > self.allowed)


def _factor(case: _Case) -> str | None:
    claimed, right = case.claimed, case.right
    size = np.vdot(right, right)
    factor = float(np.vdot(right, claimed) / size) if size else 0.0
    if not abs(factor) > 1e-3 or not case.mended_by(claimed / factor):
        return None
    if case.mended_by(-claimed):
        return "the sign is flipped"
    lone = np.count_nonzero(right) == 1  # one number is in any ratio to another
    return f"{'' if lone else 'a constant factor: '}{factor:.6g} times what it should be"


def _signs(case: _Case) -> str | None:
    claimed, right = case.claimed, case.right
    flipped = np.argwhere(case.failed)
    if case.mended_by(-claimed) or not case.mended_by(abs(claimed) * np.sign(right)):
        return None
    first = ", ".join(map(str, flipped[0]))
    if len(flipped) == 1:
        return f"one entry, [{first}], has the wrong sign"
    return f"{len(flipped)} of {right.size} entries have the wrong sign, the first at [{first}]"


def _constant(case: _Case) -> str | None:
    offset = float(np.mean(case.claimed - case.right))
    if case.right.size > 2 and case.mended_by(case.claimed - offset):
        return f"right but for a constant: {offset:+.6g} in every entry"
    return None


def _transposed(case: _Case) -> str | None:
    if case.right.ndim >= 2 and case.mended_by(case.claimed.swapaxes(-1, -2)):
        return "the gradient is transposed"
    return None


def _reversed(case: _Case) -> str | None:
    for axis in range(case.right.ndim):
        if case.mended_by(np.flip(case.claimed, axis)):
            return f"the gradient is reversed along axis {axis}"
    return None


def _blocks(case: _Case) -> str | None:
    length = case.right.shape[-1] if case.right.ndim else 1
    for count in (2, 3, 4):
        if length % count or length == count:
            continue
        parts = np.split(case.claimed, count, axis=-1)
        for order in itertools.permutations(range(count)):
            if case.mended_by(np.concatenate([parts[i] for i in order], axis=-1)):
                return (
                    f"the {count} blocks of the last axis, such as gates, are in another order: "
                    f"{list(order)} would be right"
                )
    return None


def _somewhere(case: _Case) -> str | None:
    """All that is wrong lies at some indices of an axis, or at one entry."""
    wrong = case.wrong
    if wrong.sum() == 1 and wrong.size > 1:
        return f"one entry alone is wrong: [{', '.join(map(str, np.argwhere(wrong)[0]))}]"
    for axis, length in enumerate(wrong.shape):
        where = np.unique(np.nonzero(wrong)[axis])
        if 0 < len(where) < length:
            more = f" and {len(where) - _SHOWN} more" if len(where) > _SHOWN else ""
            return f"wrong only at {', '.join(map(str, where[:_SHOWN]))}{more} of axis {axis}"
    return None


_REPAIRS: Sequence[Callable[[_Case], str | None]] = (
    _factor, _signs, _transposed, _reversed, _blocks, _constant,
)  # fmt: skip


def diagnose(comparison: Comparison, parts: Array | None = None) -> list[str]:
    """What a wrong gradient looks like, in at most one sentence.

    Parameters
    ----------
    comparison : Comparison
    parts : ndarray, optional
        What the right gradient is the sum of, over leading axes: the messages to a broadcast input.

    Returns
    -------
    list of str
        Empty if it looks like nothing known; joined by "or" where several patterns fit.
    """
    if comparison.numeric is None or comparison.allowed is None or not comparison.having("wrong"):
        return []
    case = _Case(
        np.asarray(comparison.variable.gradients[0], dtype=np.float64),
        comparison.numeric[0],
        comparison.allowed[0],
    )
    error = np.abs(case.claimed - case.right)
    if not np.isfinite(error).all() or not (error > _CLEAR * case.allowed).any():
        return []
    if not case.claimed.any():
        return ["the gradient is zero everywhere"]
    steps = comparison.variable.steps
    if isinstance(steps, Mapping) and (sentence := _over_time(case, steps)):
        return [sentence]
    if parts is not None and parts.ndim > case.right.ndim:
        lead = tuple(range(parts.ndim - case.right.ndim))
        for index in np.ndindex(parts.shape[: len(lead)]):
            if case.mended_by(case.claimed - parts[index] + case.right):
                return [f"not summed over the broadcast axis {', '.join(map(str, lead))}"]
    fits = [sentence for pattern in _REPAIRS if (sentence := pattern(case))]
    return [", or ".join(fits)] if fits else [s for s in [_somewhere(case)] if s]


def _over_time(case: _Case, steps: Mapping[int, int]) -> str | None:
    """Right up to some step on the gradient's way back, and wrong at every step beyond it."""
    rows = [row for row in sorted(steps, key=lambda row: steps[row]) if row < len(case.right)]
    wrong = np.asarray(case.wrong.reshape(len(case.right), -1).any(axis=1))
    for order, end, beyond in ((rows, "last", "before"), (rows[::-1], "first", "after")):
        bad = wrong[order].tolist()
        count = bad.index(False) if False in bad else 0
        if not count or any(bad[count:]):
            continue
        empty = not case.claimed[order[:count]].any()
        if count == len(order) - 1:
            return f"{'zero but' if empty else 'right only'} at the {end} step"
        what = "zero" if empty else "wrong"
        return f"{what} at every step {beyond} t={steps[order[count]]}, and right from there on"
    return None
