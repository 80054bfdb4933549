"""Tiny wav2vec 2.0 and SpeechT5 encoders, pre-trained to tell what a frame of speech sounds like.

From random weights a model learns no tone of voice in a few seconds of fine-tuning. These have
learnt, by regression from every output vector, the log-mel, the pitch and its course of babble;
spans of frames are masked meanwhile, as in wav2vec 2.0, so that the mask vector is a learned one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from modalxai.encoders import SpeechT5SpeechEncoder, Wav2Vec2Encoder
from modalxai.recipes.tiny import babble
from modalxai.types import Audio

CLIPS, BATCH = 320, 8
STEPS = 500
RATE = 5e-3
MEL_WEIGHT = 0.3
"""Of each mel band in the loss; speech and the four numbers of prosody weigh 1 each."""
FRONT: dict[str, Any] = {
    "hidden_size": 64,
    "conv_dim": (16, 16, 32, 32, 32, 48, 48),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "mask_time_length": 5,
    # A model this small has nothing to spare for dropout.
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "feat_proj_dropout": 0.0,
}
WAV2VEC2: dict[str, Any] = FRONT | {
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "layerdrop": 0.0,
}
LAYER_NORM = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
SPEECHT5: dict[str, Any] = FRONT | {
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "encoder_layerdrop": 0.0,
    "positional_dropout": 0.0,
}
"""Of the text encoder too, so that one can start from the transformer of the other."""


def write_wav2vec2(folder: Path, language: str) -> None:
    """With a group norm in its front end, like wav2vec2-base; the language says nothing."""
    from transformers import Wav2Vec2Config

    _write(folder, Wav2Vec2Encoder(Wav2Vec2Config(**WAV2VEC2)))


def write_wav2vec2_layer_norm(folder: Path, language: str) -> None:
    """With layer norms everywhere, like wav2vec2-large-lv60 and XLSR."""
    from transformers import Wav2Vec2Config

    _write(folder, Wav2Vec2Encoder(Wav2Vec2Config(**WAV2VEC2 | LAYER_NORM)))


def write_speecht5(folder: Path, language: str) -> None:
    """SpeechT5's encoder with its speech prenet."""
    from transformers import SpeechT5Config

    _write(folder, SpeechT5SpeechEncoder(SpeechT5Config(**SPEECHT5)))


def _write(folder: Path, encoder: Wav2Vec2Encoder) -> None:
    import transformers

    pretrain(encoder)
    # Fine-tuning is short: masks in it have to be asked for, spec_augment=True.
    encoder.model.config.apply_spec_augment = False
    encoder.model.save_pretrained(folder)
    extractor: Any = getattr(transformers, encoder.family.extractor)
    extractor(do_normalize=encoder.collate.normalize).save_pretrained(folder)


def pretrain(encoder: Wav2Vec2Encoder) -> None:
    """Train in place on babble; random numbers are torch's and those of its seed."""
    generator = np.random.default_rng([900, torch.initial_seed() % 2**32])
    spoken = babble.clips(CLIPS, generator)
    values, defined = babble.targets(spoken, encoder.frames)
    inputs = encoder.collate([Audio(torch.from_numpy(one.waveform), 16_000) for one in spoken])
    weights = torch.ones(values.shape[-1])
    weights[: babble.MELS] = MEL_WEIGHT
    weights = weights * defined
    head = nn.Linear(encoder.dim, values.shape[-1])
    parts = nn.ModuleList([encoder, head]).train()
    optimizer = torch.optim.AdamW(parts.parameters(), lr=RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=STEPS, pct_start=0.15
    )
    for _ in range(STEPS):
        rows = torch.randperm(CLIPS)[:BATCH]
        told = head(encoder({name: value[rows] for name, value in inputs.items()}).values)
        loss = ((told - values[rows]).square() * weights[rows]).sum() / weights[rows].sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        optimizer.step()
        schedule.step()
