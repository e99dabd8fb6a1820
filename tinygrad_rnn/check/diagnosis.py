"""What kind of mistake it looks like: a table of patterns, each a question and a sentence.

A pattern is tried on the gradient as claimed and the numeric one, both whole arrays. It returns its
sentence if the claim is explained by it, and None otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import numpy as np

from ..engine import Array

__all__ = ["diagnose"]

_CLOSE = 1e-5  # relative to the largest entry: a pattern explains, it need not be exact


def _explains(repaired: Array, claimed: Array, right: Array) -> bool:
    """Whether a repair of the claim is right, and by far closer than the claim itself."""
    if repaired.shape != right.shape:
        return False
    allowed = _CLOSE * np.abs(right).max(initial=1e-300)
    if claimed.shape == right.shape:
        allowed = min(allowed, 0.01 * np.abs(claimed - right).max(initial=0.0))
    return bool((np.abs(repaired - right) <= allowed).all())


def _nothing(claimed: Array, right: Array) -> str | None:
    if not claimed.any() and right.any():
        return "the gradient is zero everywhere: no gradient flows here"
    return None


def _factor(claimed: Array, right: Array) -> str | None:
    size = np.vdot(right, right)
    if not size:
        return None
    factor = float(np.vdot(right, claimed) / size)
    if not abs(factor) > 1e-3 or not _explains(claimed / factor, claimed, right):
        return None
    if abs(factor + 1) < _CLOSE:
        return "the sign is flipped"
    return f"a constant factor: {factor:.6g} times what it should be"


def _signs(claimed: Array, right: Array) -> str | None:
    flipped = np.argwhere(claimed * right < 0)
    if not len(flipped) or not _explains(abs(claimed) * np.sign(right), claimed, right):
        return None
    first = ", ".join(map(str, flipped[0]))
    if len(flipped) == 1:
        return f"one entry, [{first}], has the wrong sign"
    return f"{len(flipped)} of {right.size} entries have the wrong sign, the first at [{first}]"


def _constant(claimed: Array, right: Array) -> str | None:
    offset = float(np.mean(claimed - right)) if claimed.shape == right.shape else 0.0
    if right.size > 2 and _explains(claimed - offset, claimed, right):
        return f"right but for a constant: {offset:+.6g} in every entry"
    return None


def _transposed(claimed: Array, right: Array) -> str | None:
    if right.ndim >= 2 and _explains(claimed.swapaxes(-1, -2), claimed, right):
        return "the gradient is transposed"
    return None


def _reversed(claimed: Array, right: Array) -> str | None:
    for axis in range(right.ndim):
        if _explains(np.flip(claimed, axis), claimed, right):
            return f"the gradient is reversed along axis {axis}"
    return None


def _blocks(claimed: Array, right: Array) -> str | None:
    if not right.ndim:
        return None
    for count in (2, 3, 4):
        if right.shape[-1] % count or right.shape[-1] == count > 2:
            continue
        parts = np.split(claimed, count, axis=-1)
        for order in itertools.permutations(range(count)):
            repaired = np.concatenate([parts[i] for i in order], axis=-1)
            if _explains(repaired, claimed, right):
                return (
                    f"the {count} blocks of the last axis, such as gates, are in another order: "
                    f"{list(order)} would be right"
                )
    return None


def _somewhere(claimed: Array, right: Array) -> str | None:
    """All that is wrong lies at one index of an axis, or at one entry."""
    if claimed.shape != right.shape:
        return None
    error = abs(claimed - right)
    bad = error > 1e-3 * error.max(initial=0.0)
    if bad.sum() == 1 and right.size > 1:
        return f"one entry alone is wrong: [{', '.join(map(str, np.argwhere(bad)[0]))}]"
    for axis, length in enumerate(right.shape):
        where = np.unique(np.nonzero(bad)[axis])
        if 0 < len(where) < length and length > 1:
            return f"wrong only at {', '.join(map(str, where[:8]))} of axis {axis}"
    return None


Pattern = Callable[[Array, Array], str | None]
_PATTERNS: tuple[Pattern, ...] = (
    _nothing, _factor, _signs, _transposed, _reversed, _blocks, _constant, _somewhere,
)  # fmt: skip


def diagnose(
    claimed: Array, right: Array, steps: Mapping[int, int] | None = None, parts: Array | None = None
) -> list[str]:
    """Sentences for the patterns that explain a wrong gradient, the most telling first.

    Parameters
    ----------
    claimed, right : ndarray
    steps : mapping, optional
        The time step of each index of the first axis.
    parts : ndarray, optional
        What `right` is the sum of, over leading axes: the broadcast input's own messages.

    Examples
    --------
    >>> import numpy as np
    >>> diagnose(np.array([-1.0, -2.0]), np.array([1.0, 2.0]))
    ['the sign is flipped']
    """
    if steps and (sentence := _over_time(claimed, right, steps)):
        return [sentence]
    if parts is not None and parts.shape != right.shape:
        lead = tuple(range(parts.ndim - right.ndim))
        for index in np.ndindex(parts.shape[: len(lead)]):
            if lead and _explains(right + claimed - parts[index], claimed, right):
                return [f"not summed over the broadcast axis {', '.join(map(str, lead))}"]
    for pattern in _PATTERNS:
        if sentence := pattern(claimed, right):
            return [sentence]
    return []


def _over_time(claimed: Array, right: Array, steps: Mapping[int, int]) -> str | None:
    """Right up to some step on the gradient's way back, and wrong at every step beyond it."""
    if claimed.shape != right.shape or len(steps) < 2:
        return None
    scale = np.abs(right).max(initial=0.0)
    rows = sorted(steps, key=lambda row: steps[row])
    for order, end, beyond in ((rows, "last", "before"), (rows[::-1], "first", "after")):
        wrong = [np.abs(claimed[r] - right[r]).max(initial=0.0) > _CLOSE * scale for r in order]
        count = wrong.index(False) if False in wrong else 0
        if not count or any(wrong[count:]):
            continue
        empty = not claimed[order[:count]].any()
        if count == len(order) - 1:
            if empty:
                return f"zero but at the {end} step: the gradient does not flow through time"
            return f"right only at the {end} step: what comes through the other steps is missing"
        what = "zero" if empty else "wrong"
        return f"{what} at every step {beyond} t={steps[order[count]]}, and right from there on"
    return None
