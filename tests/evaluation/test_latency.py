"""What is measured is what was asked; the clock itself is not tested."""

from __future__ import annotations

import time

import pytest
import torch

import modalxai as mx
from modalxai.errors import InputError
from modalxai.evaluation import latency


class Slow:
    """Predicts in a time that is known: as many milliseconds as the sample is tenths long."""

    def __init__(self) -> None:
        self.seen: list[dict] = []

    def predict(self, sample):
        self.seen.append(sample)
        if "audio" in sample:
            time.sleep(sample["audio"].waveform.shape[-1] / 1000 / 50)


def clip(seconds):
    return mx.Audio(torch.arange(round(1000 * seconds)) / 10_000, 1000)


def test_windows_cover_the_utterance_once_and_keep_the_rest_of_the_sample():
    model = Slow()
    found = latency(model, [{"id": "a", "audio": clip(2.3), "text": "x"}], warm_up=0)
    whole, *parts = model.seen
    assert [len(part["audio"].waveform) for part in parts] == [1000, 1300]
    assert torch.cat([part["audio"].waveform for part in parts]).equal(whole["audio"].waveform)
    assert all(part["text"] == "x" for part in parts)
    assert found.window == 1.0
    assert found.utterances == 1


def test_factors_are_time_over_length():
    samples = [{"id": str(i), "audio": clip(seconds)} for i, seconds in enumerate((1, 2, 3))]
    model = Slow()
    found = latency(model, samples)
    assert len(model.seen) == 2 + 3 + 6
    # Sleeping takes at least as long as it was told to.
    assert found.real_time_factor >= 0.02
    assert found.window_factor >= 0.02
    assert found.slowest >= found.seconds >= 0.04
    assert 0.02 <= found.window_seconds <= found.seconds + 1
    assert "real-time factor" in str(found)
    assert "windows of 1 s" in str(found)


def test_samples_without_sound_are_predicted_whole_only():
    found = latency(Slow(), [{"id": "a", "text": "x"}], warm_up=0)
    assert found.window != found.window
    assert "windows" not in str(found)


@pytest.mark.parametrize(("samples", "window"), [([], 1.0), ([{"id": "a"}], 0.0)])
def test_nothing_to_measure_is_refused(samples, window):
    with pytest.raises(InputError, match="nothing to measure"):
        latency(Slow(), samples, window)
