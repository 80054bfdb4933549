"""SpecAugment: where the masks lie, who decides them, and when there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tests.support.pretrained import clip, make, raws
from torch import Tensor
from transformers import Wav2Vec2Model
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

import modalxai as mx
from modalxai import masking
from modalxai.encoders import Wav2Vec2Encoder
from modalxai.encoders.spec_augment import Axis, SpecAugment, spans
from modalxai.errors import InputError

SPEECH = ["wav2vec2", "wav2vec2-stable", "hubert", "wavlm", "speecht5-speech"]
STILL = {"hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
STILL |= {"feat_proj_dropout": 0.0}
MUCH = {**STILL, "mask_time_prob": 0.4, "mask_time_length": 3}


def runs(row: list[bool]) -> list[tuple[int, int]]:
    """First and one past the last of each unbroken run of True."""
    edges = [i for i in range(len(row) + 1) if (i and row[i - 1]) != (i < len(row) and row[i])]
    return list(zip(edges[::2], edges[1::2], strict=True))


axes = st.builds(Axis, st.floats(0.01, 1), st.integers(1, 8), st.integers(0, 3))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), axes, st.integers(0, 99))
@settings(max_examples=200, deadline=None)
def test_spans_lie_inside_and_are_as_many_as_asked(
    lengths: list[int], axis: Axis, seed: int
) -> None:
    torch.manual_seed(seed)
    mask = spans(torch.tensor(lengths), 40, axis)
    assert mask.shape == (len(lengths), 40)
    for row, length in zip(mask.tolist(), lengths, strict=True):
        found = runs(row)
        assert all(stop - start >= axis.span and stop <= length for start, stop in found)
        most = int(axis.share * length / axis.span + 1)
        most = min(max(most, axis.least), length // axis.span)
        least = min(max(most - 1, axis.least), length // axis.span)
        # Spans that overlap make fewer marks, and no fewer than one span and a place for each.
        assert sum(row) <= most * axis.span
        assert sum(row) >= (axis.span + least - 1 if least else 0)


@pytest.mark.parametrize(("share", "span", "least"), [(0.065, 10, 2), (0.3, 4, 0), (0.9, 5, 1)])
def test_they_are_spread_as_in_transformers(share: float, span: int, least: int) -> None:
    count, length = 4000, 37
    torch.manual_seed(0)
    ours = spans(torch.full((count,), length), length, Axis(share, span, least)).double()
    np.random.seed(0)  # what transformers draws from
    theirs = torch.cat(
        [
            torch.from_numpy(_compute_mask_indices((1, length), share, span, min_masks=least))
            for _ in range(count)
        ]
    ).double()
    # Every place is masked as often, and every number of masked places is as frequent.
    error = 4.5 * (0.25 * 2 / count) ** 0.5
    assert (ours.mean(0) - theirs.mean(0)).abs().max() < error
    numbers = [
        torch.bincount(mask.sum(1).long(), minlength=length + 1) / count for mask in (ours, theirs)
    ]
    assert (numbers[0] - numbers[1]).abs().max() < error


@given(st.lists(st.integers(0, 30), min_size=2, max_size=5), axes, st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_neither_padding_nor_neighbours_decide(lengths: list[int], axis: Axis, seed: int) -> None:
    torch.manual_seed(seed)
    mask = spans(torch.tensor(lengths), 30, axis)
    torch.manual_seed(seed)
    padded = spans(torch.tensor(lengths), 57, axis)
    assert torch.equal(padded[:, :30], mask)
    assert not padded[:, 30:].any()
    torch.manual_seed(seed)
    others = spans(torch.tensor([*reversed(lengths[1:]), lengths[-1]]), 30, axis)
    assert torch.equal(others[-1], mask[-1])


@pytest.mark.parametrize("kind", SPEECH)
def test_training_with_masks_is_transformers_with_those_masks(kind: str) -> None:
    encoder = make(kind, more=MUCH).train()
    inputs = encoder.collate([clip(9000)])
    counts = encoder.frames.counts(inputs["length"])
    torch.manual_seed(5)
    mask = spans(counts, int(counts), Axis(0.4, 3, 2))
    assert 0 < mask.sum() < mask.numel()
    torch.manual_seed(5)
    found = encoder(inputs).values
    # transformers masks where it is told, and draws nothing then.
    model = encoder.model.eval()
    if kind == "speecht5-speech":
        hidden, _ = model.prenet(inputs["waveform"], mask_time_indices=mask)
        expected = model.wrapped_encoder(hidden).last_hidden_state
    else:
        expected = model(inputs["waveform"], mask_time_indices=mask).last_hidden_state
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def entering(encoder: Any, inputs: Any) -> Tensor:
    """What enters the transformer."""
    seen: list[Tensor] = []
    hook = encoder._transformer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    encoder(inputs)
    hook.remove()
    return seen[0].detach().clone()


def test_channels_are_zeroed_for_whole_rows() -> None:
    more = {**STILL, "mask_time_prob": 0.0, "mask_feature_prob": 0.4, "mask_feature_length": 4}
    encoder = make("wav2vec2", more=more).train()
    inputs = encoder.collate(raws("wav2vec2"))
    stem = encoder.stem(inputs)
    torch.manual_seed(3)
    gone = spans(torch.full((3,), 32), 32, Axis(0.4, 4, 0))
    torch.manual_seed(3)
    expected = masking.blank(stem.values.masked_fill(gone[:, None], 0), stem.mask)
    assert gone.any()
    assert torch.equal(entering(encoder, inputs), expected)


@pytest.mark.parametrize("kind", SPEECH)
def test_frames_of_a_padded_batch_become_the_mask_vector(kind: str) -> None:
    encoder = make(kind, more=MUCH).train()
    inputs = encoder.collate(raws(kind))
    stem = encoder.stem(inputs)
    torch.manual_seed(3)
    gone = spans(stem.mask.sum(1), stem.mask.shape[1], Axis(0.4, 3, 2))
    assert gone[0].any()
    assert not gone[1].any()
    assert gone[2].any()
    assert not (gone & ~stem.mask).any()
    torch.manual_seed(3)
    expected = torch.where(gone[..., None], encoder.blank, stem.values)
    with torch.no_grad():
        values = encoder._masks(stem.values, stem.mask, encoder.blank)
    assert torch.equal(values, expected)


def test_torchs_seed_alone_decides() -> None:
    encoder = make("wav2vec2", more=MUCH).train()
    inputs = encoder.collate(raws("wav2vec2"))
    before = np.random.get_state()
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(encoder(inputs).values)
    after = np.random.get_state()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    ("trainable", "masked"),
    [("all", True), ("transformer", True), (1, True), ("lora", True), ("none", False)],
)
def test_only_a_transformer_that_learns_is_masked(trainable: Any, masked: bool) -> None:
    encoder = make("wav2vec2", more=MUCH, trainable=trainable, layers="weighted")
    inputs = encoder.collate(raws("wav2vec2"))
    plain = masking.blank(encoder.stem(inputs).values, encoder.stem(inputs).mask)
    assert torch.equal(entering(encoder.eval(), inputs), plain)
    encoder.train()
    assert torch.equal(entering(encoder, inputs), plain) != masked


def test_predicting_and_explaining_are_not_masked() -> None:
    scores = []
    for spec_augment in (True, False):
        audio = make("wav2vec2", more=MUCH, spec_augment=spec_augment)
        torch.manual_seed(0)
        fusion = mx.plugins.create(
            "fusion", "shallow", dims={"audio": audio.dim}, labels=mx.labels("anger", "joy")
        )
        model = mx.EmotionModel({"audio": audio}, fusion=fusion).train()
        samples = [{"id": "a", "audio": clip(7000)}]
        scores.append(model.predict(samples).scores)
        explained = mx.explain(model, samples).scores[1]
        torch.testing.assert_close(explained, scores[-1], rtol=0, atol=1e-6)
    assert torch.equal(*scores)


@pytest.mark.parametrize("samples", [400, 720, 1500])
def test_short_and_missing_clips_stay_finite(samples: int) -> None:
    encoder = make("wav2vec2", more={"mask_time_prob": 1.0, "mask_feature_prob": 1.0}).train()
    values = encoder(encoder.collate([clip(samples), None])).values
    values.square().sum().backward()
    assert values.isfinite().all()
    assert not values[1].any()
    for weight in encoder.parameters():
        assert weight.grad is not None
        assert weight.grad.isfinite().all()


def test_the_config_decides_unless_the_user_does(tmp_path: Path) -> None:
    def masks(encoder: Any) -> bool:
        return encoder._masks is not None

    off = {"apply_spec_augment": False}
    never = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}
    assert masks(make("wav2vec2"))
    assert not masks(make("wav2vec2", more=off))
    assert masks(make("wav2vec2", more=off, spec_augment=True))
    assert not masks(make("wav2vec2", spec_augment=False))
    assert not masks(make("wav2vec2", more=never))
    with pytest.raises(InputError, match="spec_augment=True without masks") as caught:
        make("wav2vec2", more=never, spec_augment=True)
    assert "mask_time_prob" in caught.value.expected
    with pytest.raises(InputError, match="spec_augment is a switch"):
        make("wav2vec2", spec_augment=0.05)
    for chosen in (None, True, False):
        make("wav2vec2", spec_augment=chosen).save_pretrained(tmp_path)
        again = Wav2Vec2Encoder.from_pretrained(tmp_path)
        assert again.spec_augment is chosen
        assert masks(again) == (chosen is not False)
    assert masks(Wav2Vec2Encoder.from_pretrained(tmp_path, spec_augment=True))


def test_a_checkpoint_without_a_learned_vector_is_not_masked(tmp_path: Path) -> None:
    encoder = make("wav2vec2", more=MUCH)
    encoder.model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["masked_spec_embed"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    assert isinstance(Wav2Vec2Model.from_pretrained(tmp_path), Wav2Vec2Model)
    again = Wav2Vec2Encoder.from_pretrained(tmp_path).train()
    inputs = again.collate(raws("wav2vec2"))
    stem = again.stem(inputs)
    assert torch.equal(entering(again, inputs), masking.blank(stem.values, stem.mask))
    with pytest.raises(InputError, match="without masks"):
        Wav2Vec2Encoder.from_pretrained(tmp_path, spec_augment=True)


def test_nothing_to_mask_says_so() -> None:
    config = make("wav2vec2", more={"mask_time_prob": 0.0}).model.config
    assert SpecAugment.of(config, None) is None
