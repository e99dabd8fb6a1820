"""From a gradient's size to its place on a ramp and its text.

What lives here: the logarithmic scale, the four sizes that have no place on it (exactly zero, no
gradient, infinite, NaN), and numbers as text. Colours are in style.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["DECADES", "Form", "Scale", "decade", "fit", "form", "largest", "number", "subscript"]

Form = Literal["finite", "zero", "none", "infinite", "nan"]

DECADES = 12  # the longest scale; what is smaller is drawn at its foot

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SUBSCRIPTS = str.maketrans("-0123456789", "₋₀₁₂₃₄₅₆₇₈₉")


def form(value: float | None) -> Form:
    """Which of the five forms a size is drawn in.

    Examples
    --------
    >>> [form(v) for v in (0.5, 0.0, None, float("inf"), float("nan"))]
    ['finite', 'zero', 'none', 'infinite', 'nan']
    """
    if value is None:
        return "none"
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "infinite"
    return "zero" if value == 0 else "finite"


@dataclass(frozen=True)
class Scale:
    """A logarithmic scale between two powers of ten.

    Attributes
    ----------
    low, high : float
        Exponents of ten.
    floored : bool
        Whether smaller sizes exist, drawn at the foot.
    """

    low: float
    high: float
    floored: bool = False

    def position(self, value: float) -> float:
        """Where a positive, finite size lies: 0 at the foot, 1 at the top."""
        place = (math.log10(value) - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, place))

    def ticks(self) -> list[tuple[float, str]]:
        """Positions and texts of the decades: each, or every fourth on a long scale."""
        first, last = math.ceil(self.low), math.floor(self.high)
        every = 1 if last - first <= 6 else 2 if last - first <= 9 else 4
        shown = [k for k in range(last, first - 1, -1) if (last - k) % every == 0][::-1]
        texts = [decade(k) for k in shown]
        if self.floored and shown and shown[0] == self.low:
            texts[0] = f"≤ {texts[0]}"
        span = self.high - self.low
        return [((k - self.low) / span, text) for k, text in zip(shown, texts, strict=True)]


def fit(
    values: Iterable[float | None], vmin: float | None = None, vmax: float | None = None
) -> Scale:
    """The scale that holds these sizes, from whole decade to whole decade.

    Parameters
    ----------
    values : iterable of float or None
        Those with no place on a logarithmic scale do not count.
    vmin, vmax : float, optional
        The ends, for a scale that several pictures share.

    Returns
    -------
    Scale

    Raises
    ------
    ValueError
        If an end is not positive and finite, or they are the wrong way round.

    Examples
    --------
    >>> fit([0.05, 3.0, 0.0, None])
    Scale(low=-2, high=1, floored=False)
    """
    for name, end in (("vmin", vmin), ("vmax", vmax)):
        if (end is not None and form(end) != "finite") or (end is not None and end < 0):
            raise ValueError(f"{name}={end!r} was given; a log scale needs a positive number")
    if vmin is not None and vmax is not None and vmin >= vmax:
        raise ValueError(f"vmin={vmin!r} must be smaller than vmax={vmax!r}")
    sizes = [v for v in values if v is not None and 0 < v < math.inf]
    smallest = min(sizes, default=0.1)
    top = math.log10(vmax) if vmax is not None else math.ceil(math.log10(max(sizes, default=1.0)))
    foot = math.log10(vmin) if vmin is not None else math.floor(math.log10(smallest))
    if vmin is None:
        foot = min(max(foot, top - DECADES), top - 1)
    elif vmax is None:
        top = max(top, foot + 1)
    return Scale(foot, top, floored=math.log10(smallest) < foot)


def largest(values: Iterable[float | None]) -> float | None:
    """The largest of some sizes; NaN wins, then infinity.

    Examples
    --------
    >>> largest([1.0, None, 3.0]), largest([None]), largest([float("nan"), 9.0])
    (3.0, None, nan)
    """
    known = [value for value in values if value is not None]
    return max(known, key=lambda value: (form(value) == "nan", value), default=None)


def number(value: float | None) -> str:
    """A size as text: three significant digits that fit into a node.

    Examples
    --------
    >>> number(1.0), number(0.04567), number(1.63e-17), number(0.0), number(None)
    ('1', '0.0457', '1.6e−17', '0', '–')
    """
    kind = form(value)
    if kind != "finite":
        return {"none": "–", "zero": "0", "nan": "NaN", "infinite": "∞"}[kind]
    assert value is not None
    if 0.01 <= abs(value) < 999.5:
        return f"{value:.3g}".replace("-", "−")
    digits, _, exponent = f"{value:.1e}".partition("e")
    return f"{digits}e{int(exponent)}".replace("-", "−")


def decade(exponent: int) -> str:
    """A power of ten as text.

    Examples
    --------
    >>> decade(-3), decade(0), decade(1), decade(4)
    ('10⁻³', '1', '10', '10⁴')
    """
    if exponent in (0, 1):
        return str(10**exponent)
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"


def subscript(n: int) -> str:
    """A time step as an index: ``h`` + ``subscript(3)`` is h₃."""
    return str(n).translate(_SUBSCRIPTS)
