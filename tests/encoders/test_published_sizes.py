"""Hidden states at the published sizes: random weights, the original class beside the adapter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    HubertConfig,
    HubertModel,
    RobertaConfig,
    RobertaModel,
    SpeechT5Config,
    SpeechT5FeatureExtractor,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)
from transformers.initialization import no_init_weights
from transformers.models.speecht5.modeling_speecht5 import (
    SpeechT5EncoderWithSpeechPrenet,
    SpeechT5EncoderWithTextPrenet,
)

from modalxai import plugins
from modalxai.types import Audio

RATE = 16_000
XLSR: dict[str, Any] = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
}
# klue/roberta-large, as its config.json says it.
KLUE_LARGE: dict[str, Any] = {
    "vocab_size": 32_000,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
}
SPEECH: dict[str, tuple[str, Any, Any, float]] = {
    # The plugin's name, config and class of transformers, and millions of weights.
    "wav2vec2-base": ("wav2vec2", Wav2Vec2Config(), Wav2Vec2Model, 94.4),
    "wav2vec2-large-xlsr": ("wav2vec2", Wav2Vec2Config(**XLSR), Wav2Vec2Model, 315.4),
    "hubert-base": ("wav2vec2", HubertConfig(), HubertModel, 94.4),
    "wavlm-base": ("wav2vec2", WavLMConfig(), WavLMModel, 94.4),
    "speecht5-vc": ("speecht5-speech", SpeechT5Config(), SpeechT5EncoderWithSpeechPrenet, 94.4),
}
TEXT: dict[str, tuple[str, Any, Any, float]] = {
    "speecht5-tts": ("speecht5-text", SpeechT5Config(), SpeechT5EncoderWithTextPrenet, 85.1),
    "distilbert-base": ("distilbert", DistilBertConfig(), DistilBertModel, 66.4),
    "klue-bert-base": ("klue", BertConfig(vocab_size=32_000), BertModel, 110.0),
    "klue-roberta-large": ("klue", RobertaConfig(**KLUE_LARGE), RobertaModel, 335.6),
    "kobert": ("kobert", BertConfig(vocab_size=8002, pad_token_id=1), BertModel, 91.6),
    "hanbert": ("hanbert", BertConfig(vocab_size=54_000), BertModel, 126.9),
}


def marked(table: dict[str, Any]) -> list[Any]:
    """The names; the two of 300 million weights take longer than ten seconds on a busy machine."""
    slow = pytest.mark.slow
    return [pytest.param(name, marks=[slow] if "large" in name else []) for name in table]


def original(kind: Any, encoder: nn.Module) -> Any:
    """The class of transformers by itself, with the adapter's weights and nobody's code of ours."""
    more = {"add_pooling_layer": False} if kind in (BertModel, RobertaModel) else {}
    model: Any = encoder.model
    with no_init_weights():
        made = kind(type(model.config)(**model.config.to_diff_dict()), **more)
    # Assigned, not copied: two large models at once would not fit a small machine.
    made.load_state_dict(model.state_dict(), strict=True, assign=True)
    return made.eval()


def check_size(encoder: nn.Module, millions: float) -> None:
    assert sum(weight.numel() for weight in encoder.parameters()) / 1e6 == pytest.approx(
        millions, abs=0.06
    )


def close(found: Tensor, expected: Tensor) -> None:
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", marked(SPEECH))
@torch.no_grad()
def test_frames_are_those_of_the_original_class(name: str) -> None:
    plugin, config, kind, millions = SPEECH[name]
    encoder = plugins.create("encoders", plugin, config=config).eval()
    check_size(encoder, millions)
    model = original(kind, encoder)
    assert encoder.dim == config.hidden_size
    waves = [0.1 * torch.randn(samples) for samples in (4007, 9001)]
    features = encoder(encoder.collate([Audio(waves[0], RATE), None, Audio(waves[1], RATE)]))
    prepare = Wav2Vec2FeatureExtractor if plugin == "wav2vec2" else SpeechT5FeatureExtractor
    for row, wave in ((0, waves[0]), (2, waves[1])):
        given = prepare()(wave.numpy(), sampling_rate=RATE, return_tensors="pt")["input_values"]
        expected = model(given).last_hidden_state[0]
        assert int(features.mask[row].sum()) == len(expected) == (len(wave) - 400) // 320 + 1
        close(features.values[row, : len(expected)], expected)
    assert features.values[1].abs().sum() == 0


@pytest.mark.parametrize("name", marked(TEXT))
@torch.no_grad()
def test_tokens_are_those_of_the_original_class(name: str) -> None:
    plugin, config, kind, millions = TEXT[name]
    encoder = plugins.create("encoders", plugin, config=config).eval()
    check_size(encoder, millions)
    model = original(kind, encoder)
    assert encoder.dim == config.hidden_size
    inputs = dict(encoder.collate(["well done", None, "not at all what it was, is it"]))
    # Ids of the whole table, its last row too, which the built-in tokenizer never gives.
    ids = torch.randint(5, config.vocab_size, inputs["input_ids"].shape)
    ids[:, 1] = config.vocab_size - 1
    inputs["input_ids"] = torch.where(inputs["attention_mask"], ids, inputs["input_ids"])
    features = encoder(inputs)
    for row in (0, 2):
        count = int(inputs["attention_mask"][row].sum())
        expected = model(inputs["input_ids"][row : row + 1, :count]).last_hidden_state[0]
        close(features.values[row, :count], expected)
    assert features.values[1].abs().sum() == 0
