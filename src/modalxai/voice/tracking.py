"""The pitch of a voice, found by one tracker and believed where another agrees.

Sources: Harvest, M. Morise, Interspeech 2017, 2321-2325; DIO, M. Morise, H. Kawahara, H. Katayose,
AES 35th conference (2009); StoneMask belongs to WORLD.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from modalxai.errors import InputError
from modalxai.voice import library
from modalxai.voice.intensity import PERIOD

Array = NDArray[np.float64]

EDGE = 3
"""Frames at either end of a voiced stretch where any tracker guesses; 15 ms."""
AGREED = 1.0
"""Semitones within which two trackers agree."""


@dataclass(frozen=True)
class Tracker:
    """How the pitch is found.

    Parameters
    ----------
    method
        ``"harvest"``, the more robust and by far the slowest step of all, or ``"dio"`` (refined by
        StoneMask), some thirty times as fast, with more octave errors.
    floor, ceiling
        Hertz between which a pitch is looked for.

    Raises
    ------
    InputError
        Another method, or no range of pitches.
    """

    method: Literal["harvest", "dio"] = "harvest"
    floor: float = 60.0
    ceiling: float = 800.0

    def __post_init__(self) -> None:
        if self.method not in ("harvest", "dio"):
            raise InputError(
                "an unknown way to find the pitch",
                expected="'harvest' or 'dio'",
                got=repr(self.method),
                mend="choose one of the two",
            )
        if not 40 <= self.floor < self.ceiling <= 2000:
            raise InputError(
                "no range of pitches",
                expected="40 <= floor < ceiling <= 2000 hertz",
                got=f"floor={self.floor!r}, ceiling={self.ceiling!r}",
                mend="leave the defaults, 60 and 800, unless the voice is known",
            )


def track(signal: Array, rate: int, tracker: Tracker) -> tuple[Array, NDArray[np.bool_]]:
    """The pitch of a signal [S], hertz, 0 where there is none, [T]; and where DIO agrees, bool [T].

    DIO takes a thirtieth of Harvest's time, and errs elsewhere. Its own pitch has no second opinion
    and counts as agreed.
    """
    world = library.pyworld()
    limits = {"f0_floor": tracker.floor, "f0_ceil": tracker.ceiling, "frame_period": PERIOD * 1000}
    coarse, times = world.dio(signal, rate, **limits)
    second = np.asarray(world.stonemask(signal, coarse, times, rate))
    if tracker.method == "dio":
        return second, second > 0
    pitch = np.asarray(world.harvest(signal, rate, **limits)[0])
    heard = (pitch > 0) & (second > 0)
    apart = 12 * np.abs(np.log2(np.where(heard, pitch, 1)) - np.log2(np.where(heard, second, 1)))
    return pitch, heard & (apart < AGREED)


def steady(voiced: NDArray[np.bool_], agreed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Bool [T]: voiced frames that are agreed on and no edge of a voiced stretch.

    All voiced frames, where none is.
    """
    inner = voiced & agreed
    for step in range(1, EDGE + 1):
        inner[step:] &= voiced[:-step]
        inner[:-step] &= voiced[step:]
    return inner if inner.any() else voiced
