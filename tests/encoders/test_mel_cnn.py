from __future__ import annotations

import math
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modalxai import audio
from modalxai.blocks import SelfAttentionBlock, positions
from modalxai.encoders.mel_cnn import MelCnnEncoder
from modalxai.errors import CheckpointError, InputError, RemovalError
from modalxai.types import Audio, Inputs, Spans

RATE = 16_000
SMALL: dict[str, Any] = {"dim": 32, "channels": 24, "mels": 40}
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "no attention": {"attention_layers": 0},
    "deep attention": {"attention_layers": 3, "dim": 24},
    "wide mel, no deltas": {"mels": 128, "fmin": 100.0, "deltas": False, "strides": (1, 1, 2, 1)},
    "normalised, one layer": {"normalize": True, "layers": 1, "strides": (3,), "kernel": 3},
    "8 kHz": {"sample_rate": 8000, "fmax": 4000.0},
}


def make(**settings: Any) -> MelCnnEncoder:
    torch.manual_seed(0)
    return MelCnnEncoder(**SMALL | settings).eval()


def clip(samples: int, seed: int = 0) -> Audio:
    """Noise under a slow tremolo, so that no two stretches are alike."""
    generator = torch.Generator().manual_seed(seed)
    noise = 0.1 * torch.randn(samples, generator=generator)
    return Audio(noise * (1 + torch.sin(torch.arange(samples) / 900)), RATE)


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_a_clip_alone_is_its_row_of_a_batch(name: str) -> None:
    encoder = make(**VARIANTS[name])
    raws = [clip(6007, 1), None, clip(24_100, 2), clip(512, 3), clip(12_000, 4)]
    together = encoder(encoder.collate(raws))
    for row, raw in enumerate(raws):
        alone = encoder(encoder.collate([raw]))
        count = int(alone.mask.sum())
        assert int(together.mask[row].sum()) == count
        assert together.values[row, count:].abs().sum() == 0
        if raw is None:
            assert count == 0
            assert alone.values.abs().sum() == 0
            continue
        assert count >= 1
        assert relative(together.values[row, :count], alone.values[0, :count]) < 1e-5
        torch.testing.assert_close(together.spans.end[row, :count], alone.spans.end[0, :count])


@torch.no_grad()
def test_the_independence_test_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    from modalxai import masking

    encoder = make(attention_layers=0)
    short, long = clip(6007, 1), clip(24_100, 2)
    alone = encoder(encoder.collate([short])).values[0]
    monkeypatch.setattr(masking, "blank", lambda values, mask: values)
    together = encoder(encoder.collate([short, long])).values[0, : len(alone)]
    assert relative(together, alone) > 1e-3


def test_nothing_flows_to_padding_or_from_it() -> None:
    encoder = make()
    inputs = encoder.collate([clip(6007), None, clip(24_100)])
    waveform = inputs["waveform"].requires_grad_()
    features = encoder({**inputs, "waveform": waveform})
    features.values.square().sum().backward()
    assert waveform.grad is not None
    assert waveform.grad[0, :5000].abs().max() > 0
    assert waveform.grad[0, 6007:].abs().max() == 0
    assert waveform.grad[1].abs().max() == 0


@pytest.mark.parametrize("name", ["no attention", "wide mel, no deltas", "8 kHz"])
@torch.no_grad()
def test_one_sample_reaches_the_frames_that_see_it_and_no_other(name: str) -> None:
    encoder = make(**VARIANTS[name] | {"attention_layers": 0})
    rate = encoder.frames.sample_rate
    inputs = encoder.collate([Audio(clip(2 * rate).waveform, rate)])
    before = encoder(inputs).values[0]
    at = rate
    touched = inputs["waveform"].clone()
    touched[0, at] += 0.5
    changed = (encoder({**inputs, "waveform": touched}).values[0] - before).abs().amax(-1) > 0
    frames = encoder.frames
    start = frames.offset + torch.arange(len(before)) * frames.stride
    hop = encoder.hop if encoder.deltas else 0  # the difference looks one hop back
    # The window is zero at its first sample, so the very first sees nothing.
    sees = (start - hop < at) & (at < start + frames.field)
    assert changed.tolist() == sees.tolist()
    assert 0 < int(changed.sum()) < len(before)


@torch.no_grad()
def test_counts_and_spans_follow_from_the_length() -> None:
    encoder = make()
    for samples in (512, 513, 671, 672, 1151, 1152, 16_000, 16_001):
        features = encoder(encoder.collate([clip(samples)]))
        mels = (samples - 512) // 160 + 1
        count = math.ceil(math.ceil(mels / 2) / 2)
        assert features.mask.sum() == count == features.values.shape[1]
        start, end = features.spans.start[0], features.spans.end[0]
        assert start[0] >= 0
        assert end[-1] <= samples / RATE + 1e-6
        assert torch.equal(start[1:], end[:-1])
        centres = (256 + 640 * torch.arange(count)) / RATE
        assert bool(((start <= centres) & (centres < end)).all())


def test_loudness_and_pitch_are_kept() -> None:
    encoder = make()
    time = torch.arange(RATE) / RATE
    low, high = (0.3 * torch.sin(6.2832 * hertz * time) for hertz in (120, 240))
    inputs = encoder.collate([Audio(wave, RATE) for wave in (low, high, 0.1 * low)])
    values, _ = encoder.spectrogram(inputs)
    mels = values[:, :, : SMALL["mels"]].mean(1)
    assert mels[0].argmax() < mels[1].argmax()
    assert float(mels[0].max() - mels[2].max()) == pytest.approx(0.5 * 2, abs=0.01)
    assert values[..., SMALL["mels"] :].abs().max() < 0.1  # a steady tone does not change


def test_removal_touches_only_what_it_names() -> None:
    encoder = make(segment_seconds=0.1)
    inputs = encoder.collate([clip(8000, 1), None, clip(4000, 2)])
    before = {key: value.clone() for key, value in inputs.items()}
    for kind in ("segment", "frame"):
        units = encoder.units(inputs, kind)
        assert not units.mask[1].any()
        assert units.start[0, 0] == 0
        assert units.end[0].max().item() == pytest.approx(0.5)
        keep = torch.ones_like(units.mask)
        for how in encoder.removals:
            same = encoder.remove(inputs, units, keep, how, 0)
            assert all(torch.equal(same[key], before[key]) for key in before)
        keep[:, 1] = False
        silent = encoder.remove(inputs, units, keep, "silence", 0)
        first, last = (round(float(edge[0, 1]) * RATE) for edge in (units.start, units.end))
        assert silent["waveform"][0, first + 41 : last - 41].abs().max() == 0
        rest = torch.ones(8000, dtype=torch.bool)
        rest[first - 41 : last + 41] = False
        assert torch.equal(silent["waveform"][0, rest], before["waveform"][0, rest])
        assert torch.equal(silent["length"], before["length"])
        assert silent["waveform"][1].abs().max() == 0
    assert all(torch.equal(inputs[key], before[key]) for key in before)


def test_foreign_spans_and_seeds_per_row_work() -> None:
    encoder = make()
    inputs = encoder.collate([clip(8000, 1), clip(4000, 2)])
    words = Spans(
        torch.tensor([[0.05, 0.3], [0.1, 0.0]]), torch.tensor([[0.2, 0.9], [0.15, 0.0]]), "seconds"
    )
    keep = torch.zeros(2, 2, dtype=torch.bool)
    noisy = encoder.remove(inputs, words, keep, "noise", [5, 6])["waveform"]
    swapped: Inputs = {key: value.flip(0) for key, value in inputs.items()}
    spans = Spans(words.start.flip(0), words.end.flip(0), "seconds")
    other = encoder.remove(swapped, spans, keep, "noise", [6, 5])["waveform"]
    assert torch.equal(noisy, other.flip(0))
    assert not torch.equal(noisy, encoder.remove(inputs, words, keep, "noise", 7)["waveform"])


def test_wrong_removals_are_refused() -> None:
    encoder = make()
    inputs = encoder.collate([clip(8000)])
    units = encoder.units(inputs, "segment")
    keep = torch.ones_like(units.mask)
    with pytest.raises(RemovalError, match="unknown removal") as caught:
        encoder.remove(inputs, units, keep, "learned-mask", 0)
    assert "silence" in caught.value.expected
    with pytest.raises(RemovalError, match="unknown kind"):
        encoder.units(inputs, "word")
    characters = Spans(units.start, units.end, "characters")
    for wrong_units, wrong_keep, seed in [
        (units, keep.float(), 0),
        (units, keep[:, 1:], 0),
        (units, keep.expand(2, -1), 0),
        (units, None, 0),
        (units, keep, [1, 2]),
        (characters, keep, 0),
    ]:
        with pytest.raises(InputError):
            encoder.remove(inputs, wrong_units, wrong_keep, "silence", seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_saving_and_loading_is_exact(name: str, tmp_path: Path) -> None:
    encoder = make(**VARIANTS[name])
    encoder.save_pretrained(tmp_path)
    state = torch.get_rng_state()
    loaded = MelCnnEncoder.from_pretrained(tmp_path).eval()
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.settings() == encoder.settings()
    assert loaded.collate == encoder.collate
    raws = [Audio(clip(9000).waveform, encoder.frames.sample_rate), None]
    expected, found = (part(part.collate(raws)) for part in (encoder, loaded))
    assert torch.equal(found.values, expected.values)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        MelCnnEncoder.from_pretrained(tmp_path)
    make().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"width": 3}')
    with pytest.raises(CheckpointError):
        MelCnnEncoder.from_pretrained(tmp_path)


def test_the_collate_is_picklable_weightless_and_names_the_bad_row() -> None:
    collate = make().collate
    assert len(pickle.dumps(collate)) < 1000
    raws = [clip(9000), None]
    expected, found = collate(raws), pickle.loads(pickle.dumps(collate))(raws)
    assert expected.keys() == found.keys()
    assert torch.equal(expected["waveform"], found["waveform"])
    assert expected["length"].tolist() == [9000, 0]
    with pytest.raises(InputError, match="shorter than one frame") as caught:
        collate([None, clip(600), clip(511)])
    assert caught.value.index == 2
    with pytest.raises(InputError, match="empty batch"):
        collate([])


def test_frozen_layers_stay_in_eval_and_get_no_gradient() -> None:
    encoder = make(trainable=2).train()
    inputs = encoder.collate([clip(6000)])
    encoder(inputs).values.square().sum().backward()
    learning = {name for name, weight in encoder.named_parameters() if weight.grad is not None}
    assert learning
    assert all(name.startswith(("blocks.0", "convolutions.3")) for name in learning)
    assert [layer.training for layer in encoder.convolutions] == [False, False, False, True]
    frozen = make(trainable="none").train()
    assert not any(weight.requires_grad for weight in frozen.parameters())
    assert torch.equal(frozen(inputs).values, frozen.eval()(inputs).values)


@pytest.mark.parametrize(
    "settings",
    [
        {"strides": (2, 2)},
        {"kernel": 4},
        {"layers": 0, "strides": ()},
        {"fmax": 9000.0},
        {"fmin": -1.0},
        {"fmin": 8000.0},
        {"mels": 0},
        {"heads": 5},
        {"window": 0.0},
        {"hop": -0.01},
        {"segment_seconds": 0.0},
        {"trainable": 9},
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        make(**settings)


def test_the_largest_recipe_is_reachable_by_arguments() -> None:
    encoder = MelCnnEncoder(
        dim=768,
        mels=128,
        fmin=100.0,
        channels=128,
        strides=(1, 2, 2, 2),
        attention_layers=1,
        heads=8,
    )
    assert encoder.convolutions[0].convolution.weight.shape == (128, 256, 5)
    with torch.no_grad():
        assert encoder(encoder.collate([clip(6000)])).values.shape[-1] == 768


@torch.no_grad()
def test_a_block_attends_to_the_real_vectors_only() -> None:
    torch.manual_seed(0)
    block = SelfAttentionBlock(8, 2, 0.3).eval()
    values = torch.randn(3, 6, 8)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2, [False] * 6])
    found = block(values, mask)
    assert bool(found.isfinite().all())
    torch.testing.assert_close(found[1, :4], block(values[1:2, :4], mask[1:2, :4])[0])
    # The same by hand, head by head.
    normed = block.attention_norm(values[0])
    query, key, value = block.query_key_value(normed).chunk(3, dim=-1)
    heads = [
        (query[:, part] @ key[:, part].T / 2).softmax(-1) @ value[:, part]
        for part in (slice(0, 4), slice(4, 8))
    ]
    middle = values[0] + block.output(torch.cat(heads, dim=-1))
    expected = middle + block.feed(block.feed_norm(middle))
    torch.testing.assert_close(found[0], expected)


def test_positions_differ_and_do_not_depend_on_the_length() -> None:
    like = torch.zeros(1)
    assert positions(7, 5, like).shape == (7, 5)
    assert torch.equal(positions(7, 6, like), positions(20, 6, like)[:7])
    gaps = [float((a - b).norm()) for a, b in pairwise(positions(20, 6, like))]
    assert min(gaps) > 0.1


@torch.no_grad()
def test_real_recordings_encode(speech_data: Path) -> None:
    paths = sorted((speech_data / "korean_emotional_speech/audio").glob("*.flac"))[:3]
    encoder = make()
    inputs = encoder.collate([paths[0], str(paths[1]), audio.read(paths[2])])
    features = encoder(inputs)
    assert bool(features.values.isfinite().all())
    ends = features.spans.end.amax(1) * RATE
    assert bool((inputs["length"] - ends < 640).all())
    assert features.values[0, 3].std() > 0.1
