"""Did an edit do what it says, and nothing else? Measured on the sound, not on the analysis."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalxai.errors import InputError
from modalxai.types import Audio
from modalxai.voice import contours
from modalxai.voice.descriptors import notes
from modalxai.voice.edits import LONGEST, Edit, apply, stretch
from modalxai.voice.tracking import EDGE, Tracker
from modalxai.voice.world import Analysis, RawAudio, analyse, waveform_of

Array = NDArray[np.float64]

TOLERANCE = 0.05
"""Of the larger of the value before and the value wanted."""
RESOLUTION = {"pitch level": 0.0, "pitch range": 0.3, "rate": 0.0, "intensity": 0.3}
"""Semitones and decibels below which a tracker's own noise hides a difference in spread."""
ALIKE, UNLIKE = 0.95, 0.6
"""Correlation from which on two contours are the same, and below which two spectra differ."""
HISS = 35.0
"""Decibels below a hum at which noise is laid under it: trackers miss the pitch of a sound that
ends at a few hundred hertz, where its upper bands hold nothing but rounding errors."""
BANDS = 20
"""Bands, equally wide on the mel scale, in which spectra are compared."""


@dataclass(frozen=True)
class Measured:
    """One property of a voice before and after.

    Parameters
    ----------
    name
        The property.
    before, wanted, after
        Its value in the recording, as the edit wants it, and as it is in the new sound.
    passed
        Whether ``after`` is within the tolerance of ``wanted``; False where it is NaN.
    """

    name: str
    before: float
    wanted: float
    after: float
    passed: bool


@dataclass(frozen=True)
class Check:
    """A manipulation check.

    Parameters
    ----------
    measured
        Per property.
    notes
        What to know before the check is believed: a silent clip, one without voice.
    """

    measured: tuple[Measured, ...]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether everything is as wanted, and there is nothing to note."""
        return all(one.passed for one in self.measured) and not self.notes

    @property
    def flags(self) -> tuple[str, ...]:
        """The notes, and a line for each property that is not as wanted."""
        failed = (one for one in self.measured if not one.passed)
        return self.notes + tuple(
            f"{one.name}: not defined"
            if math.isnan(one.wanted)
            else f"{one.name}: wanted {one.wanted:.4g}, got {one.after:.4g}"
            for one in failed
        )

    def __getitem__(self, name: str) -> Measured:
        """The property of this name."""
        for one in self.measured:
            if one.name == name:
                return one
        names = [one.name for one in self.measured]
        raise InputError(
            "a property that was not measured",
            expected=str(names),
            got=repr(name),
            mend="choose one of them",
        )


def check_edit(
    before: RawAudio, after: RawAudio, edit: Edit, tracker: Tracker | None = None
) -> Check:
    """Whether ``after`` is ``before`` with this edit, to 5 % in every property.

    Pitch is compared over frames where it is sure in both (level in hertz, range as the standard
    deviation in semitones), intensity over the frames active in the recording (standard deviation
    in decibels). The rate is the recording's, over `tempo`: the words are the same, so only
    their time can have changed. The duration must be exact.

    Raises
    ------
    InputError
        See `modalxai.voice.analyse`, or an edit that the recording does not allow.
    """
    source = analyse(before, tracker)
    planned = apply(source, edit)
    achieved = analyse(after, tracker)
    plain = apply(source, replace(edit, pitch_level=1.0, pitch_range=1.0, intensity=1.0))
    sure = planned.sure & _fitted(achieved.sure, planned)
    voices = [one[sure] for one in (plain.pitch, planned.pitch, _fitted(achieved.pitch, planned))]
    loudness = _fitted(achieved.intensity, planned)
    own = contours.speaking_rate(source)
    return Check(
        (
            _compared("pitch level", [contours.pitch_mean(one) for one in voices]),
            _compared("pitch range", [contours.pitch_spread(one) for one in voices]),
            _compared("rate", [own, own / stretch(source, edit), own / tempo(source, achieved)]),
            _compared(
                "intensity",
                [
                    _spread(one, planned.active)
                    for one in (plain.intensity, planned.intensity, loudness)
                ],
            ),
            _same_length(source, planned, achieved),
        ),
        notes(source),
    )


def check_hum(before: RawAudio, after: RawAudio, tracker: Tracker | None = None) -> Check:
    """Whether ``after`` has the pitch and intensity of ``before``, and not its words.

    Correlations with the recording: of the logarithm of pitch over frames where it is sure in
    both, of intensity over active frames (each at least 0.95), and of the moving part of the
    spectral envelope over active frames (at most 0.6: a low-pass filter leaves the lowest
    formant). Whether words can still be understood is for a recogniser to say.
    """
    source, achieved = analyse(before, tracker), analyse(_hissed(after), tracker)
    words = likeness(source, analyse(after, tracker))
    sure = source.sure & _fitted(achieved.sure, source)
    pitches = [one[sure] for one in (source.pitch, _fitted(achieved.pitch, source))]
    loud = [one[source.active] for one in (source.intensity, _fitted(achieved.intensity, source))]
    pitch = _correlation(*(contours.semitones(one) for one in pitches))
    intensity = _correlation(*loud)
    return Check(
        (
            Measured("pitch contour", 1.0, 1.0, pitch, pitch >= ALIKE),
            Measured("intensity contour", 1.0, 1.0, intensity, intensity >= ALIKE),
            Measured("spectrum", 1.0, 0.0, words, words <= UNLIKE),
        ),
        notes(source),
    )


def likeness(first: Analysis, second: Analysis) -> float:
    """Correlation of how the spectral envelopes of two analyses move, -1 to 1.

    Decibels in 20 mel bands up to 8 kHz, each frame and then each band without its mean, over the
    active frames of the first; a second of another length is read at the same share of its time.
    NaN where nothing moves.
    """
    moving = _bands(first)[first.active], _fitted(_bands(second), first)[first.active]
    return _correlation(*(one - one.mean(0) for one in moving))


def tempo(first: Analysis, second: Analysis) -> float:
    """How much longer the second is in saying the same, found by laying their spectra together.

    The factor, in steps of 1 %, at which the envelopes move most alike. NaN without speech.
    """
    if not first.active.any():
        return math.nan
    here, there = _bands(first)[first.active], _bands(second)
    here = here - here.mean(0)
    moments = np.flatnonzero(first.active)
    most = math.log(LONGEST * (1 + 2 * TOLERANCE))
    factors = np.exp(np.linspace(-most, most, 2 * round(most / 0.01) + 1))
    places = np.round(moments * factors[:, None]).astype(int)
    alike = [
        # Where the second has ended already, it cannot be the same.
        _correlation(here, one - one.mean(0)) if last < len(there) + EDGE else -1.0
        for last, one in ((place[-1], there[np.minimum(place, len(there) - 1)]) for place in places)
    ]
    return math.nan if np.isnan(alike).any() else float(factors[int(np.argmax(alike))])


def _hissed(raw: RawAudio) -> Audio:
    """The same with a hiss that is always the same."""
    clip, rate = waveform_of(raw)
    hiss = np.random.default_rng(0).standard_normal(len(clip))
    return Audio(clip + 10 ** (-HISS / 20) * float(clip.std()) * hiss, rate)


def _bands(analysis: Analysis) -> Array:
    """Decibels [T, 20] in mel bands, each frame without its mean."""
    bins = analysis.envelope.shape[1]
    top = 2595 * math.log10(1 + min(8000.0, analysis.sample_rate / 2) / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 1) / 2595) - 1)
    first = np.minimum(np.round(edges / analysis.highest * (bins - 1)).astype(int), bins - 1)
    totals = np.pad(np.cumsum(analysis.envelope, axis=1), ((0, 0), (1, 0)))
    last = np.maximum(first[1:], first[:-1] + 1)
    levels = 10 * np.log10((totals[:, last] - totals[:, first[:-1]]) / (last - first[:-1]) + 1e-20)
    return np.asarray(levels - levels.mean(1, keepdims=True))


def _fitted(values: NDArray[Any], like: Analysis) -> NDArray[Any]:
    """Frames [T', ...] read at the moments of another analysis, [T, ...]."""
    frames = len(like.pitch)
    places = np.round(np.linspace(0, len(values) - 1, frames)).astype(int)
    return np.asarray(values[places])


def _spread(intensity: Array, active: NDArray[np.bool_]) -> float:
    return float(intensity[active].std()) if active.any() else math.nan


def _compared(name: str, values: list[float]) -> Measured:
    before, wanted, after = values
    slack = TOLERANCE * max(before, wanted) + RESOLUTION[name]
    return Measured(name, before, wanted, after, abs(after - wanted) <= slack)


def _same_length(before: Analysis, planned: Analysis, after: Analysis) -> Measured:
    first, wanted, found = (one.samples / one.sample_rate for one in (before, planned, after))
    return Measured("duration", first, wanted, found, planned.samples == after.samples)


def _correlation(first: Array, second: Array) -> float:
    if len(first) < 2 or float(first.std()) == 0 or second.std() == 0:
        return math.nan
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])
