"""Tiny encoders of every architecture of transformers, with random weights."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    AlbertConfig,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    GPT2Config,
    HubertConfig,
    RobertaConfig,
    SpeechT5Config,
    Wav2Vec2Config,
    WavLMConfig,
)

from modalxai.encoders import (
    DistilBertEncoder,
    HanBertEncoder,
    KlueEncoder,
    KoBertEncoder,
    SpeechT5SpeechEncoder,
    SpeechT5TextEncoder,
    TransformersTextEncoder,
    Wav2Vec2Encoder,
)
from modalxai.types import Audio

CONVOLUTIONS: dict[str, Any] = {
    "hidden_size": 32,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
SPEECH = {
    **CONVOLUTIONS,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
STABLE = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
SPEECHT5 = {
    **CONVOLUTIONS,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 16,
    "speech_decoder_prenet_units": 8,
    "speech_decoder_postnet_units": 8,
    "max_text_positions": 40,
}
TEXT: dict[str, Any] = {"vocab_size": 300, "max_position_embeddings": 40}
BERT = {
    **TEXT,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
DISTILBERT = {**TEXT, "dim": 8, "hidden_dim": 16, "n_layers": 2, "n_heads": 2}
GPT2 = {"vocab_size": 300, "n_positions": 40, "n_embd": 8, "n_layer": 2, "n_head": 2}

SPEECH_KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "wav2vec2": (Wav2Vec2Encoder, Wav2Vec2Config, SPEECH),
    "wav2vec2-stable": (Wav2Vec2Encoder, Wav2Vec2Config, {**SPEECH, **STABLE}),
    "hubert": (Wav2Vec2Encoder, HubertConfig, SPEECH),
    "wavlm": (Wav2Vec2Encoder, WavLMConfig, SPEECH),
    "speecht5-speech": (SpeechT5SpeechEncoder, SpeechT5Config, SPEECHT5),
}
TEXT_KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "speecht5-text": (SpeechT5TextEncoder, SpeechT5Config, SPEECHT5),
    "distilbert": (DistilBertEncoder, DistilBertConfig, DISTILBERT),
    "klue": (KlueEncoder, RobertaConfig, BERT),
    "kobert": (KoBertEncoder, BertConfig, {**BERT, "pad_token_id": 1}),
    "hanbert": (HanBertEncoder, BertConfig, BERT),
    "electra": (TransformersTextEncoder, ElectraConfig, {**BERT, "embedding_size": 8}),
    "deberta": (TransformersTextEncoder, DebertaV2Config, BERT),
    "albert": (TransformersTextEncoder, AlbertConfig, {**BERT, "embedding_size": 8}),
    "gpt2": (TransformersTextEncoder, GPT2Config, GPT2),
}
KINDS = {**SPEECH_KINDS, **TEXT_KINDS}


def make(kind: str, seed: int = 0, more: dict[str, Any] | None = None, **settings: Any) -> Any:
    """The same weights for the same seed; ``more`` are settings of the config."""
    encoder, config, sizes = KINDS[kind]
    torch.manual_seed(seed)
    return encoder.from_config(config(**sizes, **(more or {})), **settings)


def raws(kind: str) -> list[Any]:
    """Two values of unlike lengths, and a missing one."""
    if kind in TEXT_KINDS:
        return ["Well done.", None, "It is good, it is"]
    return [clip(9000), None, clip(6011, seed=1)]


def clip(samples: int, seed: int = 0) -> Audio:
    generator = torch.Generator().manual_seed(seed)
    noise = 0.1 * torch.randn(samples, generator=generator)
    return Audio(noise * (1 + torch.sin(torch.arange(samples) / 900)), 16_000)


def train(encoder: Any, inputs: Any, steps: int = 2) -> None:
    """A few steps of gradient descent on what learns."""
    learning = [weight for weight in encoder.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.3)
    encoder.train()
    for _ in range(steps):
        optimizer.zero_grad()
        values = encoder(inputs).values
        (values * torch.linspace(-1, 1, values.shape[-1])).sum().backward()
        optimizer.step()
