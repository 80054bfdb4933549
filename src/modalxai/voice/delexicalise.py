"""The voice without its words: pitch, intensity and timing stay, the vocal tract stands still."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from modalxai.types import Audio
from modalxai.voice.intensity import impose
from modalxai.voice.world import Analysis, RawAudio, levelled, waveform_of

ORDER = 4
"""Of the Butterworth low-pass; it runs forwards and backwards, so 48 decibels per octave."""


def hum(analysis: Analysis) -> Analysis:
    """The analysis of a hum with the same pitch, intensity and timing.

    Every frame gets one spectral envelope, the geometric mean over the voiced frames (over all,
    without any), and one aperiodicity. Voiceless sounds become a breath of the same envelope.
    """
    frames = analysis.sure if analysis.sure.any() else np.ones_like(analysis.sure)
    shape = np.exp(np.log(analysis.envelope[frames]).mean(0))
    power = analysis.envelope.mean(1, keepdims=True)
    still = np.broadcast_to(analysis.aperiodicity[frames].mean(0), analysis.aperiodicity.shape)
    return replace(analysis, envelope=power * (shape / shape.mean()), aperiodicity=still)


def low_pass(raw: RawAudio, analysis: Analysis, cutoff: float) -> Audio:
    """The recording below ``cutoff`` hertz, with the intensity contour and level it had.

    The words go with the formants. A pitch above the cutoff goes with them.
    """
    from scipy.signal import butter, sosfiltfilt

    clip, rate = waveform_of(raw)
    sections = butter(ORDER, cutoff, fs=rate, output="sos")
    filtered = sosfiltfilt(sections, clip - clip.mean())
    shaped = levelled(impose(filtered, rate, analysis.intensity), analysis.level)
    return Audio(torch.from_numpy(shaped.astype(np.float32)), rate)
