"""What the body does: electrocardiogram, skin conductance and skin temperature, made on the spot.

Raw signals, as a chest belt and a wristband give them, with one fact planted in each. Everything
else (resting pulse, level, drift, noise, where a bump lies) is drawn and tells nothing.

Sources: P. McSharry et al., IEEE Trans. Biomed. Eng. 50 (2003), table I, for the waves of a heart
beat as bells around the R peak; D. Alexander et al., J. Neurosci. Methods 146 (2005) for a skin
conductance response as the difference of two exponentials.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modalxai.audio import seed_for
from modalxai.biosignals import Series
from modalxai.errors import InputError

Array = NDArray[np.float64]

STATES: dict[str, tuple[str, ...]] = {
    "eda": ("calm", "bump"),
    "ecg": ("even", "uneven"),
    "temp": ("falling", "rising"),
}
"""By signal what it may show: a response of the skin, a heart rate that varies, a trend."""

RATES = {"eda": 4.0, "ecg": 125.0, "temp": 4.0}
"""Samples per second, by signal."""
SECONDS = 20.0
"""How long the body is watched around an utterance: a word is too short for a heart rate."""

WAVES = (
    (-0.17, 0.025, 0.12),
    (-0.026, 0.010, -0.12),
    (0.0, 0.012, 1.1),
    (0.026, 0.012, -0.25),
    (0.24, 0.040, 0.30),
)
"""P, Q, R, S and T: seconds from the R peak, width in seconds, millivolts."""
BREATH = 0.25
"""Hertz of breathing, with which the heart rate of a body at ease varies."""


@dataclass(frozen=True)
class Body:
    """Somebody at rest.

    Parameters
    ----------
    interval
        Seconds between two heart beats.
    conductance
        Of the skin, microsiemens.
    temperature
        Of the skin, degrees Celsius.
    """

    interval: float
    conductance: float
    temperature: float

    @classmethod
    def of(cls, speaker: str) -> Body:
        """The body of a speaker, the same in every corpus."""
        generator = np.random.default_rng(seed_for(speaker, 7042))
        pulse, sweat, warmth = generator.uniform(-1, 1, 3)
        return cls(
            interval=float(0.85 * np.exp(0.15 * pulse)),
            conductance=float(4 * np.exp(0.6 * sweat)),
            temperature=float(32.5 + 1.5 * warmth),
        )


def record(
    signal: str, state: str, body: Body, generator: np.random.Generator, seconds: float = SECONDS
) -> Series:
    """One signal of a body in a state, [1, S].

    Raises
    ------
    InputError
        No such signal or state, or too short a time.
    """
    if state not in STATES.get(signal, ()) or not 5 <= seconds < np.inf:
        raise InputError(
            "a signal that no body makes",
            expected=f"5 seconds or more of one of {STATES}",
            got=f"{signal!r}, {state!r}, {seconds!r} s",
            mend="use these names",
        )
    time = np.arange(round(seconds * RATES[signal])) / RATES[signal]
    on = state == STATES[signal][1]
    make = {"eda": _conductance, "ecg": _heart, "temp": _temperature}[signal]
    return Series(make(on, body, time, generator)[None], RATES[signal])


def _heart(uneven: bool, body: Body, time: Array, generator: np.random.Generator) -> Array:
    """Millivolts. Intervals vary by 9 ms, or by 60 with breathing and from beat to beat."""
    end = time[-1] + 1
    mean = body.interval * np.exp(0.06 * generator.standard_normal())
    depth, jitter = (0.07, 0.04) if uneven else (0.008, 0.007)
    depth, jitter = np.array([depth, jitter]) * np.exp(0.15 * generator.standard_normal(2))
    phase = generator.uniform(0, 2 * np.pi)
    peaks = [-1 - generator.uniform(0, mean)]
    while peaks[-1] < end:
        swing = depth * np.sin(2 * np.pi * BREATH * peaks[-1] + phase)
        interval = mean * (1 + swing + jitter * generator.standard_normal())
        peaks.append(peaks[-1] + max(0.55, interval))
    # One beat, and where in it each sample lies: from 0.3 s before its R peak on.
    beat = np.searchsorted(np.array(peaks) - 0.3, time, side="right") - 1
    since = time - np.array(peaks)[beat]
    wave = sum(height * np.exp(-0.5 * ((since - at) / width) ** 2) for at, width, height in WAVES)
    wander = 0.08 * np.sin(2 * np.pi * BREATH * time + generator.uniform(0, 2 * np.pi))
    gain = np.exp(0.2 * generator.standard_normal())
    return np.asarray(gain * wave + wander + 0.02 * generator.standard_normal(len(time)))


def _conductance(bump: bool, body: Body, time: Array, generator: np.random.Generator) -> Array:
    """Microsiemens: a level that drifts, and a response of half a microsiemens or none."""
    level = body.conductance * np.exp(0.1 * generator.standard_normal())
    drift = 0.01 * generator.standard_normal() * (time - time.mean())
    noise = 0.004 * generator.standard_normal(len(time))
    onset = generator.uniform(0.15, 0.55) * time[-1]
    size = 0.5 * np.exp(0.2 * generator.standard_normal())
    since = np.clip(time - onset, 0, None)
    response = np.exp(-since / 3.0) - np.exp(-since / 0.75)
    # Drawn in either state, so that what follows is the same.
    return np.asarray(level + drift + noise + bump * size * response / 0.4725)


def _temperature(rising: bool, body: Body, time: Array, generator: np.random.Generator) -> Array:
    """Degrees Celsius: a straight line up or down, and noise."""
    level = body.temperature + 0.3 * generator.standard_normal()
    slope = (1 if rising else -1) * 0.02 * np.exp(0.3 * generator.standard_normal())
    line = level + slope * (time - time.mean())
    return np.asarray(line + 0.01 * generator.standard_normal(len(time)))
