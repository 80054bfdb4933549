"""Colours and shapes that readers with any colour vision tell apart, and how well they contrast."""

from __future__ import annotations

from math import isfinite

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe & Ito (2008): told apart by readers with any colour vision, and in grey."""
SHAPES = ("o", "s", "^", "D", "v", "P", "X")
"""Markers; seven beside six colours, so that 42 labels all look different."""
INK = "#1d2733"
"""Letters, axes and whiskers."""
SOFT, PAPER = "#5a6775", "#ffffff"
FAINT = "#c9d1da"
"""Grids and frames."""
FOR, AGAINST = "#1b7837", "#762a83"
"""Green for a label, purple against it (ColorBrewer's PRGn, safe for any colour vision)."""
STRONGEST = 0.55
"""How far the strongest tint goes from white, so that ink stays readable on it."""
READABLE = 4.5
"""The least contrast of letters (WCAG 2.2, level AA)."""


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours ``#rrggbb``, 1 to 21, as WCAG 2.2 defines it."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def letters_on(colour: str) -> str:
    """White, or black where white could not be read on the colour."""
    return PAPER if contrast(PAPER, colour) >= READABLE else "#000000"


def tint(value: float, largest: float) -> str:
    """A background for ink: white at 0, greener the more for, more purple the more against."""
    if not isfinite(value) or not isfinite(largest) or largest <= 0:
        return PAPER
    side = FOR if value > 0 else AGAINST
    part = STRONGEST * min(1.0, abs(value) / largest)
    mixed = (
        round(white + part * (full - white))
        for white, full in zip(_channels(PAPER), _channels(side), strict=True)
    )
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))


def _luminance(colour: str) -> float:
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in _channels(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
