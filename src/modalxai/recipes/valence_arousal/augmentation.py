"""Copies of samples with rare labels, changed in their audio, their text, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modalxai.recipes.valence_arousal.data import Task
from modalxai.recipes.valence_arousal.models import Settings
from modalxai.training import augment


def oversampled(train: Task, emotions: Sequence[str], settings: Settings) -> Any:
    """The samples and, of rare labels, copies: half from audio, half from text, half from both.

    Parameters
    ----------
    train
        Samples with an emotion each.
    emotions
        Those that are kept.
    settings
        Which labels are rare, the bands that masks are made of, and the seed.
    """
    truth = train.truth
    most = max(truth.count(name) for name in set(truth))
    rare = [name for name in emotions if 0 < truth.count(name) < settings.rare_below * most]
    if not rare:
        return train
    bands: dict[str, Any] = {"mels": settings.mels, "fmin": settings.fmin, "fmax": settings.fmax}
    edits = augment.Augment(
        {
            "audio": [augment.FrequencyMask(**bands), augment.NoiseFrequencyMask(**bands)],
            "text": [augment.RandomSwap(), augment.RandomDeletion()],
        }
    )
    return augment.Oversampled(train, edits, rare=rare, added=augment.HALVES, seed=settings.seed)
