"""Colours: two themes, a perceptually even ramp each, and what makes text on them readable.

The ramps are straight lines in OKLCH; dark is large on a light page, bright is large on a dark
one, so that a vanishing gradient fades into the page. scale.py decides what a colour means.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

__all__ = ["FONT", "THEMES", "Theme", "contrast", "ink", "theme"]

FONT = "Helvetica,Arial,sans-serif"
_LEVELS = 255  # a colour is one of 256: enough for the eye, and few enough to be remembered


@dataclass(frozen=True)
class Theme:
    """One set of colours; `bad` is for infinite and NaN."""

    name: str
    page: str
    text: str
    muted: str
    box: str
    box_line: str
    lane: str
    lane_line: str
    node_line: str
    bad: str
    ramp: str  # eleven colours, the smallest size's first

    def colour(self, position: float) -> str:
        """The ramp's colour at a position from 0 to 1."""
        return _ramp_colour(self.ramp, round(position * _LEVELS))

    def stroke(self, position: float) -> str:
        """The same for a line, moved towards the text colour until it stands out from the page."""
        return _stroke(self, round(position * _LEVELS))


# name page text muted box box_line lane lane_line node_line bad
_COLOURS = (
    "light #ffffff #1b2430 #5b6675 #f6f8fa #d5dbe3 #fbfaf5 #e6e2d0 #8b96a5 #b3400a",
    "dark #0f141b #e8edf3 #9aa6b5 #161d26 #2b3541 #181b1e #33352f #6b7786 #e0561f",
)
_RAMPS = (
    "#f0f5ca #cfe4b2 #a8d39f #7dc29c #51b09c #219b9d #00849b #006d97 #00548f #003b81 #132270",
    "#35325a #394377 #375793 #306ea1 #2c86ab #189fb2 #25b7b0 #58cc9f #96dc87 #cce88b #f9f39b",
)
THEMES = {
    colours.split()[0]: Theme(*[*colours.split(), ramp])
    for colours, ramp in zip(_COLOURS, _RAMPS, strict=True)
}


def theme(name: str) -> Theme:
    """The theme of a name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in THEMES:
        raise ValueError(f"theme={name!r} was given; there are {' and '.join(map(repr, THEMES))}")
    return THEMES[name]


def contrast(a: str, b: str) -> float:
    """WCAG contrast of two colours, from 1 to 21.

    Examples
    --------
    >>> contrast("#000000", "#ffffff")
    21.0
    """
    lighter, darker = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@lru_cache(maxsize=1024)
def ink(fill: str) -> str:
    """Black or white, whichever is easier to read on `fill` (always above 4.5:1)."""
    return max("#000000", "#ffffff", key=lambda colour: contrast(colour, fill))


@lru_cache(maxsize=1024)
def _ramp_colour(ramp: str, level: int) -> str:
    stops = ramp.split()
    place = level / _LEVELS * (len(stops) - 1)
    i = min(int(place), len(stops) - 2)
    return _mix(stops[i], stops[i + 1], place - i)


@lru_cache(maxsize=1024)
def _stroke(theme: Theme, level: int) -> str:
    fill = _ramp_colour(theme.ramp, level)
    share = 0.0
    while contrast(colour := _mix(fill, theme.text, share), theme.page) < 1.65:
        share += 0.02
    return colour


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _mix(a: str, b: str, share: float) -> str:
    parts = (round(x + (y - x) * share) for x, y in zip(_rgb(a), _rgb(b), strict=True))
    return "#" + "".join(f"{part:02x}" for part in parts)


def _luminance(colour: str) -> float:
    parts = (c / 255 for c in _rgb(colour))
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
