from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modalxai.encoders.waveform_cnn import WaveformCnnEncoder
from modalxai.errors import CheckpointError, InputError, RemovalError
from modalxai.types import Audio, Spans

RATE = 16_000
VARIANTS: dict[str, dict[str, Any]] = {
    "alone": {},
    "cnn-transformer": {"sequence": "cnn-transformer", "sequence_layers": 2},
    "attention-gru": {"sequence": "attention-gru"},
    "normalised, two layers": {"normalize": True, "kernels": (400, 3), "strides": (160, 2)},
}


def make(**settings: Any) -> WaveformCnnEncoder:
    torch.manual_seed(0)
    return WaveformCnnEncoder(**{"dim": 16, "channels": 8} | settings).eval()


def clip(samples: int, seed: int = 0) -> Audio:
    """Noise under a slow tremolo, so that no two stretches are alike."""
    noise = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))
    return Audio(noise * (1 + torch.sin(torch.arange(samples) / 900)), RATE)


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_a_clip_alone_is_its_row_of_a_batch(name: str) -> None:
    encoder = make(**VARIANTS[name])
    raws = [clip(6007, 1), None, clip(24_100, 2), clip(encoder.frames.field, 3)]
    together = encoder(encoder.collate(raws))
    for row, raw in enumerate(raws):
        alone = encoder(encoder.collate([raw]))
        count = int(alone.mask.sum())
        assert int(together.mask[row].sum()) == count
        assert together.values[row, count:].abs().sum() == 0
        if raw is None:
            assert count == 0
            assert alone.values.shape == (1, 1, encoder.dim)
            continue
        assert count >= 1
        assert relative(together.values[row, :count], alone.values[0, :count]) < 1e-5
        torch.testing.assert_close(together.spans.end[row, :count], alone.spans.end[0, :count])


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
def test_one_sample_reaches_the_frames_that_see_it_and_no_other() -> None:
    encoder = make()
    inputs = encoder.collate([clip(8000)])
    before = encoder(inputs).values[0]
    touched = inputs["waveform"].clone()
    touched[0, 4000] += 0.5
    changed = (encoder({**inputs, "waveform": touched}).values[0] - before).abs().amax(-1) > 0
    start = torch.arange(len(before)) * encoder.frames.stride
    sees = (start <= 4000) & (start + encoder.frames.field > 4000)
    assert changed.tolist() == sees.tolist()
    assert 0 < int(changed.sum()) < len(before)


@torch.no_grad()
def test_counts_and_spans_follow_from_the_convolutions() -> None:
    encoder = make()
    for samples in (505, 824, 825, 16_000):
        values = torch.zeros(1, 1, samples)
        for layer in encoder.convolutions:
            values = layer(values)
        features = encoder(encoder.collate([clip(samples)]))
        assert features.mask.sum() == values.shape[-1] == (samples - 505) // 320 + 1
        start, end = features.spans.start[0], features.spans.end[0]
        centres = (252.5 + 320 * torch.arange(len(start))) / RATE
        assert bool(((start <= centres) & (centres < end)).all())
        assert torch.equal(start[1:], end[:-1])


@torch.no_grad()
def test_loudness_reaches_the_vectors_unless_it_is_normalised_away() -> None:
    loud = clip(4000)
    quiet = Audio(0.1 * loud.waveform, RATE)
    for normalize in (False, True):
        encoder = make(normalize=normalize)
        values = encoder(encoder.collate([loud, quiet])).values
        assert (relative(values[1], values[0]) < 1e-3) == normalize


@torch.no_grad()
def test_removal_silences_the_unit_and_nothing_else() -> None:
    encoder = make(segment_seconds=0.1)
    inputs = encoder.collate([clip(8000, 1), None])
    before = inputs["waveform"].clone()
    for kind in ("segment", "frame"):
        units = encoder.units(inputs, kind)
        keep = torch.ones_like(units.mask)
        keep[:, 1] = False
        silent = encoder.remove(inputs, units, keep, "silence", 0)["waveform"]
        first, last = (round(float(edge[0, 1]) * RATE) for edge in (units.start, units.end))
        assert silent[0, first + 41 : last - 41].abs().max() == 0
        assert torch.equal(silent[0, last + 41 :], before[0, last + 41 :])
    foreign = Spans(torch.tensor([[0.05], [0.1]]), torch.tensor([[0.2], [0.3]]), "seconds")
    noisy = encoder.remove(inputs, foreign, torch.zeros(2, 1, dtype=torch.bool), "noise", [5, 6])
    assert not torch.equal(noisy["waveform"][0, 800:3200], before[0, 800:3200])
    assert noisy["waveform"][1].abs().max() == 0
    assert torch.equal(inputs["waveform"], before)
    with pytest.raises(RemovalError, match="unknown removal"):
        encoder.remove(inputs, foreign, torch.zeros(2, 1, dtype=torch.bool), "mask", 0)


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_saving_and_loading_is_exact(name: str, tmp_path: Path) -> None:
    encoder = make(**VARIANTS[name])
    encoder.save_pretrained(tmp_path)
    loaded = WaveformCnnEncoder.from_pretrained(tmp_path).eval()
    assert loaded.settings() == encoder.settings()
    assert pickle.loads(pickle.dumps(loaded.collate)) == encoder.collate
    inputs = encoder.collate([clip(9000), None])
    assert torch.equal(loaded(inputs).values, encoder(inputs).values)


def test_the_weights_of_another_stack_are_refused(tmp_path: Path) -> None:
    make().save_pretrained(tmp_path / "one")
    make(sequence="attention-gru").save_pretrained(tmp_path / "two")
    (tmp_path / "one" / "model.safetensors").replace(tmp_path / "two" / "model.safetensors")
    with pytest.raises(CheckpointError, match="do not fit"):
        WaveformCnnEncoder.from_pretrained(tmp_path / "two")


def test_every_weight_learns_and_frozen_ones_do_not() -> None:
    encoder = make(sequence="attention-gru").train()
    values = encoder(encoder.collate([clip(6000)])).values
    (values * torch.randn_like(values)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    frozen = make(trainable=1).train()
    learning = {name for name, weight in frozen.named_parameters() if weight.requires_grad}
    assert learning == {"sequence.entry.weight", "sequence.entry.bias"}


@pytest.mark.parametrize(
    "settings",
    [
        {"kernels": (80, 3)},
        {"kernels": (), "strides": ()},
        {"strides": (5, 4, 4, 0)},
        {"channels": 0},
        {"sequence": "lstm"},
        {"sequence": "attention-gru", "heads": 3},
        {"sequence_layers": 0},
        {"dropout": 1.0},
        {"dim": 0},
        {"segment_seconds": 0.0},
        {"trainable": 9},
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        make(**settings)


def test_a_clip_shorter_than_a_frame_is_named() -> None:
    with pytest.raises(InputError, match="shorter than one frame") as caught:
        make().collate([None, clip(600), clip(504)])
    assert caught.value.index == 2
