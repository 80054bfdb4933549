"""Real recordings, listened to by numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from modalxai import audio
from modalxai.types import Audio
from modalxai.voice import (
    ContentToneDivision,
    Edit,
    Reference,
    analyse,
    check_edit,
    check_hum,
    likeness,
    resynthesise,
)

SECONDS = 2.5


@pytest.fixture(params=["ema00001", "emf00003", "ned00001"])
def clip(request: pytest.FixtureRequest, speech_data: Path) -> Audio:
    path = speech_data / "korean_emotional_speech" / "audio" / f"{request.param}.flac"
    raw = audio.read(path)
    return Audio(raw.waveform[0, 8000 : 8000 + round(SECONDS * raw.sample_rate)], raw.sample_rate)


def test_a_neutral_voice_is_neutral_and_says_the_same(clip: Audio) -> None:
    neutral = Edit(0, 0, 0, 0, Reference(pitch=190, rate=4.5))
    sound = resynthesise(clip, neutral)
    check = check_edit(clip, sound, neutral)
    assert check.passed, check.flags
    assert check["pitch range"].after < max(0.05 * check["pitch range"].before, 0.3)
    assert likeness(analyse(clip), analyse(sound)) > 0.9


@pytest.mark.parametrize("way", ["hum", "low-pass"])
def test_a_voice_without_words_keeps_its_tune(clip: Audio, way: str) -> None:
    division = ContentToneDivision(way)  # type: ignore[arg-type]
    sound = division.render(clip, torch.tensor([False, True]))
    check = check_hum(clip, sound)
    assert check.passed, check.flags
    assert check["spectrum"].after < 0.5


def test_the_placebo_changes_nothing_that_is_measured(clip: Audio) -> None:
    sound = resynthesise(clip)
    check = check_edit(clip, sound, Edit())
    assert check.passed, check.flags
    before, after = analyse(clip), analyse(sound)
    assert likeness(before, after) > 0.93
    active = before.active
    assert np.corrcoef(before.intensity[active], after.intensity[active])[0, 1] > 0.995
