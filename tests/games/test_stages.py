"""What lies before a learned mask is run once, however many coalitions are asked about."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from toys import VectorEncoder

import modalxai as mx
from modalxai.attribution import Owen, UnitShapley
from modalxai.fusion import ShallowFusion
from modalxai.training import CachedEncoder

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
LABELS = mx.labels("anger", "joy")


def speech() -> Any:
    """wav2vec2 with a learned mask, tiny."""
    from transformers import Wav2Vec2Config

    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(20, 16),
        conv_kernel=(20, 16),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        mask_time_prob=0.05,
    )
    torch.manual_seed(0)
    encoder = mx.encoders.Wav2Vec2Encoder(config, trainable="none")
    with torch.no_grad():
        encoder.model.masked_spec_embed.normal_()
    return encoder


def model_of(audio: Any) -> mx.EmotionModel:
    torch.manual_seed(1)
    encoders = {"audio": audio, "text": VectorEncoder(4, 3)}
    dims = {name: encoder.dim for name, encoder in encoders.items()}
    return mx.EmotionModel(encoders, ShallowFusion(dims, LABELS), 0.1)


def clips() -> list[dict[str, Any]]:
    draw = torch.Generator().manual_seed(0)
    lengths = (20_000, 12_000, 27_000)
    samples: list[dict[str, Any]] = [
        {
            "id": f"u{i}",
            "audio": mx.Audio(torch.randn(length, generator=draw) * 0.1, 16_000),
            "text": torch.randn(2, 4, generator=draw),
        }
        for i, length in enumerate(lengths)
    ]
    return [*samples, {"id": "silent", "audio": None, "text": torch.randn(2, 4, generator=draw)}]


class Convolved:
    """Rows that reach the convolutions."""

    def __init__(self, encoder: Any) -> None:
        self.rows = 0
        first = encoder.model.feature_extractor.conv_layers[0]
        self.handle = first.register_forward_pre_hook(self._count)

    def _count(self, _module: Any, args: tuple[torch.Tensor, ...]) -> None:
        self.rows += len(args[0])


@pytest.mark.parametrize("method", [Owen, UnitShapley])
def test_learned_masks_convolve_each_recording_once(method: Any) -> None:
    audio = speech()
    model, samples = model_of(audio), clips()
    removal = {"audio": "learned-mask", "text": "absent"}
    ask = method({"audio": "segment"})
    convolved = Convolved(audio)
    found = ask.attribute(model.game(samples, removal=removal))
    assert convolved.rows == 3
    convolved.handle.remove()
    # Who listens to the encoder's calls hears of every one, and the numbers are the same.
    heard = []
    handle = audio.register_forward_hook(lambda *_: heard.append(1))
    plain = ask.attribute(model.game(samples, removal=removal))
    handle.remove()
    assert heard
    for name in found.units:
        torch.testing.assert_close(found.units[name], plain.units[name], **CLOSE)
    torch.testing.assert_close(found.totals, plain.totals, **CLOSE)
    assert found.units["audio"].abs().max() > 1e-3


def test_other_removals_convolve_what_they_change() -> None:
    audio = speech()
    model, samples = model_of(audio), clips()[:1]
    convolved = Convolved(audio)
    game = model.game(samples, removal={"audio": "silence", "text": "absent"})
    found = Owen({"audio": "segment"}).attribute(game)
    assert convolved.rows == 2 ** int(found.mask["audio"].sum())
    convolved.handle.remove()


def test_kept_features_are_looked_up(tmp_path: Any) -> None:
    """A cache knows the features of masked recordings, too; its stem would not ask it."""
    audio = speech()
    samples = clips()[:2]
    removal = {"audio": "learned-mask", "text": "absent"}
    ask = Owen({"audio": "segment"})
    expected = ask.attribute(model_of(audio).game(samples, removal=removal))
    cached = model_of(CachedEncoder(audio, tmp_path))
    found = ask.attribute(cached.game(samples, removal=removal))
    torch.testing.assert_close(found.units["audio"], expected.units["audio"], **CLOSE)
    convolved = Convolved(audio)
    ask.attribute(cached.game(samples, removal=removal))
    assert convolved.rows == 0
    convolved.handle.remove()
