"""How something is said, and by whom: tones of voice and speakers, both as numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from modalxai.errors import InputError


@dataclass(frozen=True)
class Tone:
    """A way of speaking, relative to the speaker's own voice.

    The pitch at place u in 0..1 of the utterance is, in semitones above the speaker's base,
    ``level + slope * (u - 1/2) + swing * sin(2 pi (cycles * u + phase))``.

    Parameters
    ----------
    level, slope, swing
        Semitones.
    cycles, phase
        Waves of the swing over the utterance, and where it starts, in cycles.
    rate
        Speaking rate, 1 is ordinary: the speech lasts 1 / rate times as long.
    tilt
        Decibels per octave added above 500 Hz; positive is bright and pressed.
    swell
        Decibels by which the intensity rises from the first to the last word.
    breath
        Aspiration noise added, as a fraction of the voiced amplitude.
    creak
        0..1, how much weaker every second glottal pulse is.
    drawl
        How much longer than usual the last word is.
    """

    level: float = 0.0
    slope: float = 0.0
    swing: float = 0.0
    cycles: float = 1.0
    phase: float = 0.0
    rate: float = 1.0
    tilt: float = 0.0
    swell: float = 0.0
    breath: float = 0.0
    creak: float = 0.0
    drawl: float = 1.0

    def jittered(self, generator: np.random.Generator) -> Tone:
        """One rendering of the tone: nobody says anything twice in the same way."""
        level, slope, swing, rate, tilt, swell, creak, drawl = generator.standard_normal(8)
        return Tone(
            level=self.level + 0.4 * level,
            slope=self.slope + 0.6 * slope,
            swing=self.swing * np.exp(0.1 * swing),
            cycles=self.cycles,
            phase=self.phase,
            rate=self.rate * np.exp(0.04 * rate),
            tilt=self.tilt + 0.4 * tilt,
            swell=self.swell + 0.8 * swell,
            breath=self.breath,
            creak=float(np.clip(self.creak * np.exp(0.1 * creak), 0, 1)),
            drawl=self.drawl * np.exp(0.05 * drawl),
        )

    def stressed(self, factor: float) -> Tone:
        """The tone as one word alone would bear it: height, brightness and breath times a factor.

        Over a whole utterance a tone has time to be heard; on one word it must be stronger.
        """
        return replace(
            self,
            level=factor * self.level,
            tilt=factor * self.tilt,
            breath=factor * self.breath,
        )


TONES: dict[str, Tone] = {
    "flat": Tone(rate=0.95, tilt=-2),
    "rising": Tone(slope=13, swell=5, rate=1.1, tilt=1.5),
    "falling": Tone(slope=-13, swell=-7, rate=1.1, tilt=1),
    "excited": Tone(level=6, swing=4.5, cycles=2.5, rate=1.25, tilt=3),
    "weary": Tone(level=-4, slope=-2, rate=0.72, tilt=-4, swell=-4, breath=0.25),
    "sarcastic": Tone(swing=-5, rate=0.75, creak=0.6, drawl=1.7, tilt=1),
}
"""The tones of the benchmark, each the centre of a distribution (`Tone.jittered`)."""


@dataclass(frozen=True)
class Speaker:
    """A voice.

    Parameters
    ----------
    name
        Shown in the ``speaker`` column.
    pitch
        Base fundamental frequency, hertz.
    tract
        Factor on every formant; above 1 for a short vocal tract.
    breath, tilt
        As in `Tone`, the speaker's habit.
    """

    name: str
    pitch: float = 140.0
    tract: float = 1.0
    breath: float = 0.05
    tilt: float = 0.0

    @classmethod
    def numbered(cls, number: int) -> Speaker:
        """The voice with this number: the same in every corpus, whatever the corpus's seed.

        Even numbers are low voices with long tracts, odd numbers high ones with short tracts.

        Raises
        ------
        InputError
            The number is negative or not a whole number.
        """
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 0:
            raise InputError(
                "a speaker that has no number",
                expected="whole numbers from 0 on",
                got=repr(number),
                mend="write speakers=range(12), say",
            )
        generator = np.random.default_rng([7041, int(number)])
        high = int(number) % 2
        place, tract, breath, tilt = generator.uniform(-1, 1, 4)
        return cls(
            name=f"s{int(number):03d}",
            pitch=float((200 if high else 118) * np.exp(0.16 * place)),
            tract=float((1.1 if high else 0.97) * np.exp(0.05 * tract)),
            breath=float(0.05 + 0.03 * breath),
            tilt=float(tilt),
        )
