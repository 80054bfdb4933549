"""The settings of the published systems, reached through public arguments: the shapes they give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import BertConfig, Wav2Vec2Config

from modalxai import labels, plugins
from modalxai.biosignals import FEATURES, Biosignal, summary
from modalxai.encoders import FastTextEncoder, MelCnnEncoder
from modalxai.errors import InputError
from modalxai.types import Audio

RATE = 16_000
S3: dict[str, Any] = {
    "dim": 768,
    "mels": 128,
    "fmin": 100.0,
    "fmax": 8000.0,
    "channels": (128, 256, 512),
    "strides": (1, 1, 1, 1),
    "heads": 12,
    "max_frames": 512,
}


def clip(seconds: float, seed: int = 0) -> Audio:
    generator = torch.Generator().manual_seed(seed)
    return Audio(0.1 * torch.randn(round(seconds * RATE), generator=generator), RATE)


def small(**settings: Any) -> MelCnnEncoder:
    torch.manual_seed(0)
    return MelCnnEncoder(**{"dim": 24, "mels": 40, "channels": 16, "heads": 4} | settings).eval()


# Valence and arousal pre-training: 128 mels and their change, [2, 512, 128] to [512, 768].


@pytest.mark.parametrize("depth", [1, 7])
@torch.no_grad()
def test_the_arousal_regressor_reads_2_512_128_and_gives_512_768(depth: int) -> None:
    encoder = plugins.create("encoders", "mel-cnn", **S3, attention_layers=depth).eval()
    inputs = encoder.collate([clip(7.0), clip(2.0, 1)])
    values, counts = encoder.spectrogram(inputs)
    assert values.unflatten(-1, (2, 128)).shape == (2, 512, 2, 128)
    assert counts.tolist() == [512, (2 * RATE - 512) // 160 + 1]
    widths = [tuple(one.convolution.weight.shape) for one in encoder.convolutions]
    assert widths == [(128, 256, 5), (256, 128, 5), (512, 256, 5), (768, 512, 5)]
    assert len(encoder.blocks) == depth
    features = encoder(inputs)
    assert features.values.shape == (2, 512, 768)
    assert features.mask.sum(1).tolist() == counts.tolist()
    # The second channel is the first difference of the first.
    mel, change = values.unflatten(-1, (2, 128)).unbind(2)
    torch.testing.assert_close(change[0, 1:], mel[0].diff(dim=0))
    low, high = encoder.filters.nonzero()[[0, -1], 0] * RATE / 512
    assert 100 <= low < high <= 8000


@torch.no_grad()
def test_a_long_clip_is_cut_after_its_frames_and_a_short_one_is_not() -> None:
    cut, whole = small(max_frames=50, strides=(1, 1, 1, 1)), small(strides=(1, 1, 1, 1))
    long = clip(2.0)
    kept = 49 * 160 + 512
    features = cut(cut.collate([long]))
    assert features.mask.sum() == 50
    assert features.spans.end.max() <= kept / RATE
    head = whole(whole.collate([Audio(long.waveform[:kept], RATE)]))
    assert torch.equal(features.values, head.values)
    short = clip(0.3, 2)
    assert torch.equal(cut.collate([short])["waveform"], whole.collate([short])["waveform"])


def bands_by_hand(encoder: MelCnnEncoder, frame: Tensor, orders: int) -> Tensor:
    """One frame's bands through the convolutions, band by band."""
    values = frame.reshape(orders, -1)
    for layer in encoder.convolutions:
        weight, bias = layer.convolution.weight, layer.convolution.bias
        reach, stride = weight.shape[2] // 2, layer.stride
        padded = torch.nn.functional.pad(values, (reach, reach))
        places = range(0, values.shape[1], stride)
        columns = [
            (weight * padded[None, :, at : at + weight.shape[2]]).sum((1, 2)) + bias
            for at in places
        ]
        normed = [layer.norm(column) for column in columns]
        values = torch.nn.functional.gelu(torch.stack(normed, 1))
    return values.mean(1)


@pytest.mark.parametrize("deltas", [True, False])
@torch.no_grad()
def test_kernels_along_the_mel_axis_see_the_bands_of_one_frame(deltas: bool) -> None:
    encoder = small(axis="mel", deltas=deltas, attention_layers=0, strides=(2, 1, 2, 1))
    inputs = encoder.collate([clip(0.3), clip(0.2, 1), None])
    values, counts = encoder.spectrogram(inputs)
    features = encoder(inputs)
    assert features.values.shape == (3, int(counts.max()), 24)
    assert features.mask.sum(1).tolist() == [*counts.tolist()[:2], 0]
    orders = 2 if deltas else 1
    assert encoder.convolutions[0].convolution.in_channels == orders
    from modalxai.blocks import positions

    where = positions(values.shape[1], 24, values)
    for row, at in ((0, 0), (0, 9), (1, 3)):
        expected = encoder.norm(bands_by_hand(encoder, values[row, at], orders) + where[at])
        torch.testing.assert_close(features.values[row, at], expected, atol=1e-5, rtol=1e-5)
    alone = encoder(encoder.collate([clip(0.2, 1)])).values[0]
    torch.testing.assert_close(features.values[1, : len(alone)], alone, atol=1e-5, rtol=1e-5)
    # Windows are 32 ms, one every 10 ms.
    centres = (features.spans.start[0, 1:3] + features.spans.end[0, 1:3]) / 2
    torch.testing.assert_close(centres.diff(), torch.tensor([0.01]))


def test_the_mel_axis_learns_saves_and_comes_back(tmp_path: Any) -> None:
    encoder = small(axis="mel", channels=(8, 12, 16), max_frames=30)
    inputs = encoder.collate([clip(0.5), None])
    encoder(inputs).values.square().sum().backward()
    assert [name for name, weight in encoder.named_parameters() if weight.grad is None] == []
    encoder.save_pretrained(tmp_path)
    again = MelCnnEncoder.from_pretrained(tmp_path).eval()
    assert torch.equal(again(again.collate([clip(0.5), None])).values, encoder(inputs).values)
    assert again.collate == encoder.collate
    remade = encoder.from_maps(encoder.maps(inputs), inputs).values
    torch.testing.assert_close(remade, encoder(inputs).values, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"axis": "frequency"},
        {"channels": (8, 8)},
        {"channels": (8, 8, 0)},
        {"channels": 0},
        {"max_frames": 0},
        {"max_frames": 2.5},
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        small(**settings)
    assert caught.value.mend


# Speech + text + biosignals: raw waveform to 1-D convolutions; three layers for all biosignals.


@torch.no_grad()
def test_the_body_is_one_network_of_three_layers_over_all_features() -> None:
    encoder = plugins.create("encoders", "biosignal", hidden=32, dim=16).eval()
    shapes = [tuple(layer.weight.shape) for layer in encoder.layers]
    # Each feature goes in beside whether it is known.
    assert shapes == [(32, 2 * len(FEATURES)), (32, 32), (16, 32)]
    vector = summary(skin=30 + 0.01 * np.arange(240)).vector()
    assert encoder(encoder.collate([Biosignal(vector), None])).values.shape == (2, 1, 16)


@pytest.mark.parametrize("sequence", ["none", "cnn-transformer", "attention-gru"])
@torch.no_grad()
def test_every_small_front_end_takes_every_sequence(sequence: str) -> None:
    parts = {
        "mfcc": {"coefficients": 40, "deltas": 2},
        "waveform-cnn": {},
        "fasttext": {"buckets": 99},
    }
    for name, settings in parts.items():
        encoder = plugins.create(
            "encoders", name, dim=24, sequence=sequence, sequence_layers=2, **settings
        ).eval()
        raw: Any = "참 잘했다" if name == "fasttext" else clip(0.5)
        features = encoder(encoder.collate([raw, None]))
        assert features.values.shape[::2] == (2, 24)
        stacked = encoder.sequence
        assert len(stacked.blocks) == (0 if sequence == "none" else 2)
        assert (stacked.gru is not None) == (sequence == "attention-gru")
        assert stacked.convolution == (sequence == "cnn-transformer")
        if stacked.convolution:
            assert stacked.entry.kernel_size == (3,)


# Consistency regularisation: CNN + transformer over the vectors of one modality.


def tiny(name: str) -> Any:
    width = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 48,
    }
    if name == "wav2vec2":
        config: Any = Wav2Vec2Config(
            **width,
            conv_dim=(16,) * 7,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4,
        )
    else:
        config = BertConfig(**width, vocab_size=300, max_position_embeddings=64)
    return plugins.create("encoders", name, config=config)


@pytest.mark.parametrize("name", ["mfcc", "wav2vec2", "fasttext", "hanbert"])
def test_one_modality_under_a_convolution_and_a_transformer(name: str) -> None:
    encoder = (
        tiny(name)
        if name in ("wav2vec2", "hanbert")
        else plugins.create("encoders", name, dim=32, **({"buckets": 99} if "fast" in name else {}))
    )
    emotions = labels("happy", "surprise", "angry", "sad", "dislike", "neutral")
    fusion = plugins.create(
        "fusion", "fusion-transformer", dims={"one": encoder.dim}, labels=emotions, kernel=3
    )
    raw: Any = "참 잘했다" if name in ("fasttext", "hanbert") else clip(0.5)
    scores = fusion({"one": encoder(encoder.collate([raw, None]))}).scores
    assert scores.shape == (2, 6)
    assert bool(scores.isfinite().all())


def test_shallow_fusion_of_mfcc_and_fasttext() -> None:
    audio, text = (
        plugins.create("encoders", "mfcc", dim=32),
        FastTextEncoder(dim=24, buckets=99),
    )
    fusion = plugins.create(
        "fusion", "shallow", dims={"audio": 32, "text": 24}, labels=labels("happy", "sad")
    )
    features = {
        "audio": audio(audio.collate([clip(0.5), None])),
        "text": text(text.collate([None, "참"])),
    }
    assert fusion(features).scores.shape == (2, 2)
