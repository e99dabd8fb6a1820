"""What kind of mistake it looks like: repairs, each with the sentence that is printed if it helps.

A sentence is printed only if the numbers confirm it to the tolerance that the claim itself failed:
the claim with this one thing repaired would have passed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from ..engine import Array
from .claim import Comparison

__all__ = ["diagnose"]

_CLEAR = 100.0  # an error of fewer times the tolerance shows no pattern
_SHOWN = 8


def _repairs(claimed: Array, right: Array, wrong: Array) -> Iterator[tuple[str, Array]]:
    """What may have happened to a gradient, and the gradient without it."""
    size = float(np.vdot(right, right))
    factor = float(np.vdot(right, claimed)) / size if size else 0.0
    if abs(factor + 1) < 1e-3:
        yield "the sign is flipped", -claimed
    elif abs(factor) > 1e-3:
        several = np.count_nonzero(right) > 1  # one number is in some ratio to any other
        if several or any(abs(f - round(f)) < 1e-6 for f in (factor, 1 / factor)):
            what = "a constant factor: " if several else ""
            yield f"{what}{factor:.6g} times what it should be", claimed / factor
    flipped = np.argwhere(wrong)
    first, count = flipped[0].tolist(), len(flipped)
    if count == 1:
        yield f"one entry, {first}, has the wrong sign", abs(claimed) * np.sign(right)
    elif count < np.count_nonzero(right):
        what = f"{count} of {right.size} entries have the wrong sign, the first at {first}"
        yield what, abs(claimed) * np.sign(right)
    if right.ndim >= 2:
        yield "the gradient is transposed", claimed.swapaxes(-1, -2)
    for axis in range(right.ndim):
        yield f"the gradient is reversed along axis {axis}", np.flip(claimed, axis)
    for blocks in (2, 3, 4):
        if right.ndim and not right.shape[-1] % blocks and right.shape[-1] != blocks:
            parts = np.split(claimed, blocks, axis=-1)
            for order in map(list, itertools.permutations(range(blocks))):
                if order != [2, 3, 0, 1]:  # that is two blocks
                    yield (
                        f"the {blocks} blocks of the last axis, such as gates, are in another "
                        f"order: {order} would be right",
                        np.concatenate([parts[i] for i in order], axis=-1),
                    )
    if right.size > 2:
        offset = float(np.mean(claimed - right))
        yield f"right but for a constant: {offset:+.6g} in every entry", claimed - offset


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
    claimed = np.asarray(comparison.variable.gradients[0], dtype=np.float64)
    right, allowed = comparison.numeric, comparison.allowed
    error, steps = np.abs(claimed - right), comparison.variable.steps
    if not np.isfinite(error).all() or not (error > _CLEAR * allowed).any():
        return []
    if not claimed.any():
        return ["the gradient is zero everywhere"]

    def passes(repaired: Array) -> bool:
        return repaired.shape == right.shape and bool((np.abs(repaired - right) <= allowed).all())

    wrong = np.asarray(error > allowed)
    located = _clearly(error, right, wrong)
    if located and isinstance(steps, Mapping) and (said := _over_time(claimed, wrong, steps)):
        return [said]
    if parts is not None and parts.ndim > right.ndim:
        lead = parts.ndim - right.ndim
        if any(passes(claimed - parts[i] + right) for i in np.ndindex(parts.shape[:lead])):
            return [f"not summed over the broadcast axis {', '.join(map(str, range(lead)))}"]
    fits = [what for what, repaired in _repairs(claimed, right, wrong) if passes(repaired)]
    return [", or ".join(fits)] if fits else _somewhere(wrong) if located else []


def _clearly(error: Array, right: Array, wrong: Array) -> bool:
    """Whether what is not wrong is far more right than what is."""
    size = np.abs(right) + 0.01 * np.abs(right).max(initial=0.0)
    relative = error / np.where(size, size, 1.0)
    return bool(relative[~wrong].max(initial=0.0) <= 1e-3 * relative[wrong].min())


def _somewhere(wrong: Array) -> list[str]:
    """All that is wrong lies at some indices of an axis, or at one entry."""
    if wrong.sum() == 1 and wrong.size > 1:
        return [f"one entry alone is wrong: {np.argwhere(wrong)[0].tolist()}"]
    for axis, length in enumerate(wrong.shape):
        where = np.unique(np.nonzero(wrong)[axis])
        if len(where) < length:
            more = f" and {len(where) - _SHOWN} more" if len(where) > _SHOWN else ""
            return [f"wrong only at {', '.join(map(str, where[:_SHOWN]))}{more} of axis {axis}"]
    return []


def _over_time(claimed: Array, wrong: Array, steps: Mapping[int, int]) -> str | None:
    """Right up to some step on the gradient's way back, and wrong at every step beyond it."""
    rows = [row for row in sorted(steps, key=lambda row: steps[row]) if row < len(wrong)]
    bad = np.asarray(wrong.reshape(len(wrong), -1).any(axis=1))
    for order, end, beyond in ((rows, "last", "before"), (rows[::-1], "first", "after")):
        count = int(bad[order].sum())
        if not 0 < count < len(order) or not bad[order[:count]].all():
            continue
        zero = not claimed[order[:count]].any()
        if count == len(order) - 1:
            return f"{'zero but' if zero else 'right only'} at the {end} step"
        what = "zero" if zero else "wrong"
        return f"{what} at every step {beyond} t={steps[order[count]]}, and right from there on"
    return None
