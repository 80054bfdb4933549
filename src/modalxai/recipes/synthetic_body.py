"""What a wristband measures in synthetic speech: signals with gaps, unrelated to any emotion."""

from __future__ import annotations

from typing import Any

import numpy as np

from modalxai.biosignals import Beats, Series

SECONDS = 8.0
RATE = 4.0
"""Samples per second of conductance and temperature, as an Empatica E4 has it."""
RECORDED, BEATS_RECORDED = 0.94, 0.76
"""How many segments have the signals at all, as in KEMDy20 (12,715 and 10,204 of 13,462)."""
DROPOUT = 0.15
"""Chance that a heart beat was not seen."""
SHAPES = 3
"""Courses of the temperature: rising, falling, a bump."""


def body(generator: np.random.Generator) -> dict[str, Any]:
    """``"eda"`` and ``"temp"``, `Series` [1, S], and ``"ibi"``, `Beats`; what is lost is absent."""
    worn, seen = generator.random(2)
    found: dict[str, Any] = {}
    if worn < RECORDED:
        found = {"eda": _conductance(generator), "temp": _temperature(generator)}
    if seen < BEATS_RECORDED:
        found["ibi"] = _beats(generator)
    return found


def _conductance(generator: np.random.Generator) -> Series:
    """Microsiemens: a level, slow waves, and a stretch without contact."""
    time = np.arange(round(SECONDS * RATE)) / RATE
    phase, level = generator.random(), generator.uniform(0.5, 4)
    values = level * (1 + 0.1 * np.sin(2 * np.pi * (0.15 * time + phase)))
    start, length = generator.integers(len(time)), generator.integers(len(time) // 3)
    values[start : start + length] = np.nan
    return Series(values[None], RATE)


def _temperature(generator: np.random.Generator) -> Series:
    """Degrees Celsius: one of three courses."""
    u = np.linspace(0, 1, round(SECONDS * RATE))
    courses = (u, 1 - u, np.sin(np.pi * u))
    course = courses[int(generator.integers(SHAPES))]
    values = generator.uniform(31, 35) + 0.3 * course + 0.02 * generator.standard_normal(len(u))
    return Series(values[None], RATE)


def _beats(generator: np.random.Generator) -> Beats:
    """Intervals around the person's own, some of them lost."""
    count = int(SECONDS / 0.6)
    intervals = generator.uniform(0.6, 1.0) * np.exp(0.04 * generator.standard_normal(count))
    times = np.cumsum(intervals)
    held = (times < SECONDS) & (generator.random(count) >= DROPOUT)
    return Beats(times[held], intervals[held])
