"""Augmentation: samples changed a little each time they are read, labels as they are.

Every random number comes from a generator that belongs to the sample's id and the epoch, so the
result is the same with any number of loader workers and in any order, and no global state is
touched. Edits return new values; the user's own stay as they are. Axis letter: S audio samples.
"""

from modalxai.training.augment.audio import (
    AudioEdit,
    FrequencyMask,
    Gain,
    Noise,
    NoiseFrequencyMask,
    Reverb,
    Speed,
    TimeMask,
)
from modalxai.training.augment.dataset import Augment, Augmented
from modalxai.training.augment.rare import HALVES, Oversampled
from modalxai.training.augment.text import (
    RandomDeletion,
    RandomInsertion,
    RandomSwap,
    SynonymReplacement,
)

__all__ = [
    "HALVES",
    "AudioEdit",
    "Augment",
    "Augmented",
    "FrequencyMask",
    "Gain",
    "Noise",
    "NoiseFrequencyMask",
    "Oversampled",
    "RandomDeletion",
    "RandomInsertion",
    "RandomSwap",
    "Reverb",
    "Speed",
    "SynonymReplacement",
    "TimeMask",
]
