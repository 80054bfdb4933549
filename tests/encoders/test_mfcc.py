from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
import torch
from torch import Tensor

from modalxai import audio
from modalxai.encoders.mfcc import MfccEncoder
from modalxai.errors import InputError, RemovalError
from modalxai.types import Audio

RATE = 16_000
VARIANTS: dict[str, dict[str, Any]] = {
    "alone": {},
    "cnn-transformer": {"sequence": "cnn-transformer", "sequence_layers": 2},
    "attention-gru": {"sequence": "attention-gru"},
    "no deltas, normalised": {"deltas": 0, "normalize": True},
}


def make(**settings: Any) -> MfccEncoder:
    torch.manual_seed(0)
    return MfccEncoder(**{"dim": 16, "coefficients": 13, "mels": 40} | settings).eval()


def clip(samples: int, seed: int = 0) -> Audio:
    """Noise under a slow tremolo, so that no two stretches are alike."""
    noise = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))
    return Audio(noise * (1 + torch.sin(torch.arange(samples) / 900)), RATE)


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def slope_by_hand(values: np.ndarray) -> np.ndarray:
    """The regression slope over five frames, the ends held: sum of n * c[t + n] over sum of n^2."""
    last = len(values) - 1
    rows = [
        sum(n * values[min(max(at + n, 0), last)] for n in (-2, -1, 0, 1, 2)) / 10
        for at in range(len(values))
    ]
    return np.stack(rows)


def test_coefficients_and_changes_equal_those_written_from_the_definition() -> None:
    encoder = make()
    inputs = encoder.collate([clip(8000, 1), clip(3000, 2)])
    found, mask = encoder.cepstra(inputs)
    mel = audio.log_mel(
        inputs["waveform"], encoder.get_buffer("window"), 160, encoder.get_buffer("filters")
    )
    for row in range(2):
        count = int(mask[row].sum())
        scaled = 2 + mel[row, :count].double().numpy() / 2
        plain = scipy.fft.dct(scaled, type=2, norm="ortho", axis=1)[:, :13]
        first = slope_by_hand(plain)
        expected = np.concatenate([plain, first, slope_by_hand(first)], axis=1)
        np.testing.assert_allclose(found[row, :count].numpy(), expected, atol=1e-4)
        assert found[row, count:].abs().sum() == 0


def test_a_louder_clip_differs_in_the_zeroth_coefficient_only() -> None:
    encoder = make(deltas=0)
    loud = Audio(0.5 * torch.randn(4000), RATE)  # far above the floor in every band
    found, _ = encoder.cepstra(encoder.collate([loud, Audio(0.1 * loud.waveform, RATE)]))
    change = found[0] - found[1]
    # A tenth of the amplitude is 2 in log10 power, 1 on this scale, times the root of 40 bands.
    torch.testing.assert_close(
        change[:, 0], torch.full_like(change[:, 0], 40**0.5), atol=2e-2, rtol=0
    )
    assert change[:, 1:].abs().max() < 2e-2


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_a_clip_alone_is_its_row_of_a_batch(name: str) -> None:
    encoder = make(**VARIANTS[name])
    raws = [clip(6007, 1), None, clip(24_100, 2), clip(512, 3), clip(700, 4)]
    together = encoder(encoder.collate(raws))
    for row, raw in enumerate(raws):
        alone = encoder(encoder.collate([raw]))
        count = int(alone.mask.sum())
        assert int(together.mask[row].sum()) == count
        assert together.values[row, count:].abs().sum() == 0
        if raw is None:
            assert count == 0
            continue
        assert count == (len(raw.waveform) - 512) // 160 + 1
        assert relative(together.values[row, :count], alone.values[0, :count]) < 1e-5
        torch.testing.assert_close(together.spans.end[row, :count], alone.spans.end[0, :count])


@torch.no_grad()
def test_the_independence_test_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    from modalxai.encoders import mfcc

    encoder = make()
    alone = encoder(encoder.collate([clip(6007)])).values[0]
    monkeypatch.setattr(mfcc, "_hold", lambda values, counts: values)
    together = encoder(encoder.collate([clip(6007), clip(24_100)])).values[0, : len(alone)]
    assert relative(together, alone) > 1e-3


@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_flows_to_padding_or_from_it(name: str) -> None:
    encoder = make(**VARIANTS[name])
    inputs = encoder.collate([clip(6007), None, clip(24_100)])
    waveform = inputs["waveform"].requires_grad_()
    values = encoder({**inputs, "waveform": waveform}).values
    (values * torch.randn_like(values)).sum().backward()
    assert waveform.grad is not None
    assert waveform.grad[0, :5000].abs().max() > 0
    assert waveform.grad[0, 6007:].abs().max() == 0
    assert waveform.grad[1].abs().max() == 0


@torch.no_grad()
def test_only_the_gru_looks_back_to_the_beginning() -> None:
    """The plain stack is local, and the recurrent unit runs from left to right."""
    reach = {}
    for name in ("none", "attention-gru"):
        encoder = make(sequence=name, deltas=0)
        sequence = encoder.sequence
        sequence.blocks = torch.nn.ModuleList()  # attention sees everything by design
        values, mask = torch.randn(1, 9, 13), torch.ones(1, 9, dtype=torch.bool)
        touched = values.clone()
        touched[0, 4] += 1
        changed = (sequence(touched, mask) - sequence(values, mask)).abs().amax(-1)[0] > 0
        reach[name] = changed.tolist()
    assert reach == {
        "none": [at == 4 for at in range(9)],
        "attention-gru": [at >= 4 for at in range(9)],
    }


def test_removed_frames_are_silent_and_unknown_names_are_refused() -> None:
    encoder = make(segment_seconds=0.1)
    inputs = encoder.collate([clip(8000), None])
    units = encoder.units(inputs, "segment")
    keep = torch.ones_like(units.mask)
    keep[:, 2] = False
    silent = encoder.remove(inputs, units, keep, "silence", 0)
    values, mask = encoder.cepstra(silent)
    quiet = values[0, :, 0] < -1.9 * 40**0.5  # the floor, in all 40 bands
    inside = (encoder.forward(inputs).spans.start[0] > 0.22) & (
        encoder.forward(inputs).spans.end[0] < 0.28
    )
    assert bool(quiet[inside].all())
    assert not bool(quiet[mask[0] & (torch.arange(len(quiet)) < 15)].any())
    with pytest.raises(RemovalError, match="unknown removal"):
        encoder.remove(inputs, units, keep, "mask", 0)
    with pytest.raises(RemovalError, match="unknown kind"):
        encoder.units(inputs, "word")


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_saving_and_loading_is_exact(name: str, tmp_path: Path) -> None:
    encoder = make(**VARIANTS[name])
    encoder.save_pretrained(tmp_path)
    loaded = MfccEncoder.from_pretrained(tmp_path).eval()
    assert loaded.settings() == encoder.settings()
    assert pickle.loads(pickle.dumps(loaded.collate)) == encoder.collate
    inputs = encoder.collate([clip(9000), None])
    assert torch.equal(loaded(inputs).values, encoder(inputs).values)


def test_every_weight_learns_and_frozen_ones_stay_in_eval() -> None:
    encoder = make(sequence="cnn-transformer").train()
    values = encoder(encoder.collate([clip(6000)])).values
    (values * torch.randn_like(values)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    frozen = make(sequence="cnn-transformer", trainable="none").train()
    assert not any(weight.requires_grad for weight in frozen.parameters())
    inputs = frozen.collate([clip(6000)])
    assert torch.equal(frozen(inputs).values, frozen.eval()(inputs).values)


@pytest.mark.parametrize(
    "settings",
    [
        {"coefficients": 41},
        {"coefficients": 0},
        {"deltas": 3},
        {"deltas": True},
        {"fmax": 9000.0},
        {"fmin": 8000.0},
        {"hop": 0.0},
        {"window": -1.0},
        {"segment_seconds": 0.0},
        {"sequence": "gru"},
        {"trainable": 2},
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        make(**settings)


@torch.no_grad()
def test_real_recordings_encode(speech_data: Path) -> None:
    path = sorted((speech_data / "korean_emotional_speech/audio").glob("*.flac"))[0]
    encoder = MfccEncoder(sequence="cnn-transformer").eval()
    features = encoder(encoder.collate([path]))
    assert bool(features.values.isfinite().all())
    assert features.values[0, 3].std() > 0.1
