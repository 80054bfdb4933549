"""Counterfactual voices: pitch, rate and intensity scaled towards neutral, or away from it.

Every edit works on the analysis, so that any set of edits costs one analysis and one synthesis.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from modalxai.errors import InputError
from modalxai.types import Audio
from modalxai.voice.contours import pitch_mean, speaking_rate
from modalxai.voice.tracking import Tracker
from modalxai.voice.world import Analysis, RawAudio, analyse, synthesise

Array = NDArray[np.float64]

LARGEST_DOSE = 4.0
"""Beyond it nothing sounds like a voice."""
LONGEST = 4.0
"""Factor by which a clip may become longer or shorter."""
LOWEST, HIGHEST = 30.0, 1600.0
"""Hertz beyond which no frame is moved."""
FADE = 8
"""Frames over which a change of the intensity dies away inside a pause; 40 ms."""


@dataclass(frozen=True)
class Reference:
    """What is neutral.

    Parameters
    ----------
    pitch
        Hertz of the neutral pitch level, the speaker's usual one say. ``None``: the utterance's
        own, so that its level cannot be changed.
    rate
        Syllable nuclei per second of speech of the neutral speaking rate. ``None``: the
        utterance's own, so that its rate cannot be changed.

    Raises
    ------
    InputError
        A value that no voice has.
    """

    pitch: float | None = None
    rate: float | None = None

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("pitch", self.pitch, 40, 800),
            ("rate", self.rate, 0.5, 15),
        ):
            if value is not None and not low <= value <= high:
                raise InputError(
                    f"a neutral {name} that no voice has",
                    expected=f"{low} to {high} ({'hertz' if name == 'pitch' else 'per second'})",
                    got=repr(value),
                    mend="leave it out, or take Reference.of(recordings)",
                )

    @classmethod
    def of(cls, recordings: Iterable[RawAudio], tracker: Tracker | None = None) -> Reference:
        """The means over recordings, one speaker's or a whole corpus's, each counted once.

        Geometric means of the clips' pitch levels and speaking rates. Clips without a voice do
        not count.

        Raises
        ------
        InputError
            No recording has a voice in it.
        """
        found = [analyse(recording, tracker) for recording in recordings]
        pitches = [pitch_mean(analysis.sure_pitch) for analysis in found if analysis.voiced.any()]
        rates = [rate for analysis in found if not math.isnan(rate := speaking_rate(analysis))]
        if not pitches or not rates:
            raise InputError(
                "no voice to take a reference from",
                expected="one recording or more with voiced syllables",
                got=f"{len(found)} recordings without",
                mend="give recordings of speech",
            )
        return cls(float(np.exp(np.log(pitches).mean())), float(np.exp(np.log(rates).mean())))


@dataclass(frozen=True)
class Edit:
    """By how much each property differs from neutral, as a multiple of what it was.

    1 is as recorded, 0 is neutral, 2 is twice as far from neutral; all on logarithmic scales
    (semitones, decibels).

    Parameters
    ----------
    pitch_level
        Of the mean pitch; neutral is ``reference.pitch``.
    pitch_range
        Of the pitch's deviation from the utterance's mean; neutral is monotone.
    rate
        Of the speaking rate; neutral is ``reference.rate``. Words and pauses stretch alike.
    intensity
        Of the intensity's deviation from its mean over the active frames; neutral is even. The
        clip's root mean square stays: encoders that normalise each clip (``do_normalize``) cannot
        hear a gain over everything, so only the contour is edited.
    reference
        What is neutral.

    Raises
    ------
    InputError
        A dose that is not a number from 0 to `LARGEST_DOSE`.
    """

    pitch_level: float = 1.0
    pitch_range: float = 1.0
    rate: float = 1.0
    intensity: float = 1.0
    reference: Reference = Reference()

    def __post_init__(self) -> None:
        for field in fields(self)[:4]:
            check_dose(getattr(self, field.name), field.name)


def check_dose(dose: float, name: str) -> None:
    """Refuse what is not a number from 0 to `LARGEST_DOSE`."""
    if not isinstance(dose, int | float) or not 0 <= dose <= LARGEST_DOSE:
        raise InputError(
            f"an impossible dose of {name}",
            expected=f"a number from 0 (neutral) over 1 (as recorded) to {LARGEST_DOSE:g}",
            got=repr(dose),
            mend="give 0, 0.25, 0.5, 1.5 or 2, say",
        )


def resynthesise(raw: RawAudio, edit: Edit | None = None, tracker: Tracker | None = None) -> Audio:
    """A recording taken apart, edited and put together again.

    Without an edit this is the placebo: what the tool alone does to the sound.

    Raises
    ------
    InputError
        See `analyse` and `apply`.
    DependencyError
        pyworld is not installed.
    """
    return synthesise(apply(analyse(raw, tracker), edit or Edit()))


def apply(analysis: Analysis, edit: Edit) -> Analysis:
    """The analysis of the edited voice.

    Pitch and rate of a clip without voiced frames stay as they are.

    Raises
    ------
    InputError
        The rate would change by a factor beyond `LONGEST`.
    """
    edited = replace(
        analysis, pitch=_pitch(analysis, edit), intensity=_intensity(analysis, edit.intensity)
    )
    return _stretched(edited, stretch(analysis, edit))


def stretch(analysis: Analysis, edit: Edit) -> float:
    """The factor by which the edit lengthens the clip.

    Raises
    ------
    InputError
        It lies beyond `LONGEST`.
    """
    own, neutral = speaking_rate(analysis), edit.reference.rate
    if neutral is None or math.isnan(own):
        return 1.0
    # The rate becomes neutral * (own / neutral) ** dose.
    factor = float((own / neutral) ** (1 - edit.rate))
    if not 1 / LONGEST <= factor <= LONGEST:
        raise InputError(
            "a speaking rate too far from the reference",
            expected=f"a clip at most {LONGEST:g} times as long or as short",
            got=f"{own:.2f} nuclei per second, {neutral:.2f} for reference, a factor {factor:.2f}",
            mend="check the clip for speech, or the reference",
        )
    return factor


def _pitch(analysis: Analysis, edit: Edit) -> Array:
    voiced = analysis.voiced
    pitch = np.zeros_like(analysis.pitch)
    if not voiced.any():
        return pitch
    mean = pitch_mean(analysis.sure_pitch)
    neutral = mean if edit.reference.pitch is None else edit.reference.pitch
    level = neutral * (mean / neutral) ** edit.pitch_level
    moved = level * (analysis.pitch[voiced] / mean) ** edit.pitch_range
    pitch[voiced] = np.clip(moved, LOWEST, HIGHEST)
    return pitch


def _intensity(analysis: Analysis, dose: float) -> Array:
    from scipy.ndimage import distance_transform_edt

    active, intensity = analysis.active, analysis.intensity
    if not active.any():
        return intensity
    change = (dose - 1) * (intensity - intensity[active].mean())
    # A pause keeps its noise; the change of the nearest speech dies away inside it.
    distance, nearest = distance_transform_edt(~active, return_indices=True)
    return np.asarray(intensity + change[nearest[0]] * np.clip(1 - distance / FADE, 0, 1))


def _stretched(analysis: Analysis, factor: float) -> Analysis:
    if factor == 1:
        return analysis
    frames = len(analysis.pitch)
    count = round((frames - 1) * factor) + 1
    places = np.minimum(np.arange(count) / factor, frames - 1)
    before = np.minimum(places.astype(int), max(frames - 2, 0))
    after = np.minimum(before + 1, frames - 1)
    share = places - before
    nearest = np.where(share < 0.5, before, after)

    def between(values: Array) -> Array:
        weight = share.reshape(-1, *[1] * (values.ndim - 1))
        return np.asarray((1 - weight) * values[before] + weight * values[after])

    # Between a voiced and an unvoiced frame there is no pitch to interpolate.
    inside = (analysis.pitch[before] > 0) & (analysis.pitch[after] > 0)
    glide = np.exp(between(np.log(np.maximum(analysis.pitch, LOWEST))))
    return replace(
        analysis,
        pitch=np.where(inside, glide, analysis.pitch[nearest]),
        sure=analysis.sure[nearest],
        envelope=np.exp(between(np.log(analysis.envelope))),
        aperiodicity=between(analysis.aperiodicity),
        intensity=between(analysis.intensity),
        active=analysis.active[nearest],
        samples=round(analysis.samples * factor),
    )
