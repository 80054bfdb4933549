"""What a voice does, in numbers and in curves, to show beside an attribution."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from modalxai.types import Spans
from modalxai.voice import contours
from modalxai.voice.intensity import PERIOD
from modalxai.voice.tracking import Tracker
from modalxai.voice.world import Analysis, RawAudio, analyse, waveform_of

CLIPPED = 0.001
"""Share of the samples on plateaus at the peak from which on a clip is told to be clipped."""


@dataclass(frozen=True, eq=False)
class Prosody:
    """Descriptors of one clip. What cannot be measured is NaN, with the reason in ``notes``.

    Parameters
    ----------
    pitch_mean
        Hertz, geometric mean over the voiced frames whose pitch is no guess: not at the edge of a
        voiced stretch, and two trackers agree.
    pitch_sd, pitch_range
        Semitones, over the same frames: standard deviation, and from the 5th to the 95th
        percentile.
    voiced_share
        Of the active frames, 0 to 1. Active is what is neither a pause nor noise.
    rate
        Syllable nuclei per second of speech: voiced peaks of the intensity with a dip of 2 dB on
        either side (de Jong and Wempe 2009), over the seconds that are active. Pauses do not
        count, so it is the articulation rate, and it misses some ten percent of the syllables.
    intensity_mean, intensity_sd
        Decibels of full scale, and decibels, over the active frames.
    duration, speech_seconds
        Of the clip, and of its active frames.
    pitch, intensity, voiced
        Curves, [T]: hertz (0 where unvoiced), decibels of full scale, bool.
    spans
        Where each frame lies, seconds, [1, T].
    notes
        What to know before a number is believed.
    """

    pitch_mean: float
    pitch_sd: float
    pitch_range: float
    voiced_share: float
    rate: float
    intensity_mean: float
    intensity_sd: float
    duration: float
    speech_seconds: float
    pitch: Tensor
    intensity: Tensor
    voiced: Tensor
    spans: Spans
    notes: tuple[str, ...]


def measure(raw: RawAudio, tracker: Tracker | None = None) -> Prosody:
    """Describe a recording.

    Raises
    ------
    InputError
        See `modalxai.voice.analyse`.
    DependencyError
        pyworld is not installed.
    """
    analysis = analyse(raw, tracker)
    active, voiced = analysis.active, analysis.voiced
    sure = analysis.sure_pitch
    loud = analysis.intensity[active]
    return Prosody(
        pitch_mean=contours.pitch_mean(sure),
        pitch_sd=contours.pitch_spread(sure),
        pitch_range=contours.pitch_range(sure),
        voiced_share=float(voiced[active].mean()) if active.any() else math.nan,
        rate=contours.speaking_rate(analysis),
        intensity_mean=float(loud.mean()) if active.any() else math.nan,
        intensity_sd=contours.intensity_spread(analysis),
        duration=analysis.samples / analysis.sample_rate,
        speech_seconds=contours.speech_seconds(analysis),
        pitch=torch.from_numpy(analysis.pitch.copy()).float(),
        intensity=torch.from_numpy(analysis.intensity.copy()).float(),
        voiced=torch.from_numpy(voiced.copy()),
        spans=_spans(analysis),
        notes=(*notes(analysis), *_clipping(raw)),
    )


def notes(analysis: Analysis) -> tuple[str, ...]:
    """What keeps a clip's prosody from being measured or edited."""
    if not analysis.active.any():
        return ("silent: there is nothing to measure or to edit",)
    if not analysis.voiced.any():
        return ("no voiced frame: pitch and rate are not defined, their edits do nothing",)
    if not contours.syllables(analysis):
        return ("no syllable nucleus: the rate is not defined, its edit does nothing",)
    return ()


def _clipping(raw: RawAudio) -> tuple[str, ...]:
    clip = waveform_of(raw)[0]
    size = np.abs(clip)
    # Two equal samples at the peak are a plateau; a lone one is what every clip has.
    share = float(((clip[1:] == clip[:-1]) & (size[1:] == size.max())).mean())
    if share <= CLIPPED or clip.std() == 0:
        return ()
    return (f"clipped: {share:.1%} of the samples lie at the peak, intensity is not to be trusted",)


def _spans(analysis: Analysis) -> Spans:
    """Frames one period wide around their moments, ended by the clip."""
    moments = torch.arange(len(analysis.pitch), dtype=torch.float64) * PERIOD
    duration = analysis.samples / analysis.sample_rate
    start = (moments - PERIOD / 2).clamp(min=0)
    end = (moments + PERIOD / 2).clamp(max=duration)
    return Spans(start[None].float(), end[None].float(), "seconds")
