"""Voices whose pitch, rate, intensity and words are known, because they were made here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from modalxai.datasets.tonebench import phones
from modalxai.datasets.tonebench.synthesis import SAMPLE_RATE, Utterance, speak
from modalxai.datasets.tonebench.voices import Speaker, Tone
from modalxai.types import Audio

TEXT = "나는 기분이"
VOWELS = 5
MOVED = Tone(slope=6, swing=2.5, cycles=1.5, swell=6)
"""A tone in which pitch and intensity move."""


@dataclass(frozen=True)
class Voice:
    """A recording and what is known about it."""

    raw: Audio
    truth: Utterance

    def pitch(self, frames: int) -> NDArray[np.float64]:
        """Hertz at every 5 ms."""
        places = (np.arange(frames) * 0.005 * SAMPLE_RATE).astype(int)
        return self.truth.pitch[np.minimum(places, len(self.truth.pitch) - 1)]

    def spoken(self, frames: int, margin: float = 0.0) -> NDArray[np.bool_]:
        """Which frames lie inside a word, ``margin`` seconds away from its ends."""
        times = np.arange(frames) * 0.005
        inside = np.zeros(frames, dtype=bool)
        for start, end in self.truth.words:
            inside |= (times >= start + margin) & (times <= end - margin)
        return inside


@lru_cache(maxsize=8)
def voice(speaker: int = 0, tone: Tone = MOVED, seconds: float = 1.8, seed: int = 3) -> Voice:
    words = [phones.sounds(phones.spell(word)) for word in TEXT.split()]
    generator = np.random.default_rng(seed)
    truth = speak(words, tone, Speaker.numbered(speaker), generator, seconds)
    return Voice(Audio(truth.waveform, SAMPLE_RATE), truth)
