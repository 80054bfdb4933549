"""Tiny text encoders, each with the kind of tokenizer that the published one has.

They are pre-trained to say, from the vector of every token, which word of the lexicon stands
there: its own pieces tell it, or, where a word is masked, its neighbours. As words of like meaning
keep company in a language, two words of one content stand in every sentence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalxai.datasets.tonebench.lexicon import lexicon
from modalxai.encoders import (
    DistilBertEncoder,
    KlueEncoder,
    KoBertEncoder,
    SpeechT5TextEncoder,
    TransformersTextEncoder,
)
from modalxai.encoders.kobert_tokenizer import MODEL, KoBertTokenizer
from modalxai.recipes.tiny import vocabulary
from modalxai.recipes.tiny.speech import SPEECHT5
from modalxai.types import Spans

BATCH = 16
STEPS, SPELT_STEPS = 200, 600
"""Over words, and over characters, whose words have to be read first."""
RATE = 3e-3
MASKED = 0.2
"""How often a word is masked."""
FILLERS = (1, 3)
"""How many words without content a sentence has: from, and to + 1."""
BERT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
DISTILBERT: dict[str, Any] = {
    "dim": 64,
    "hidden_dim": 128,
    "n_layers": 2,
    "n_heads": 4,
    "dropout": 0.0,
    "attention_dropout": 0.0,
}


def write_distilbert(folder: Path, language: str) -> None:
    """DistilBERT with WordPiece, uncased."""
    from transformers import DistilBertConfig

    tokenizer = vocabulary.wordpiece(lexicon(language).words, lowercase=True)
    config = DistilBertConfig(vocab_size=len(tokenizer), **DISTILBERT)
    _write(folder, DistilBertEncoder(config, tokenizer), language, STEPS)


def write_bert(folder: Path, language: str) -> None:
    """BERT with WordPiece, cased, like klue/bert-base."""
    from transformers import BertConfig

    tokenizer = vocabulary.wordpiece(lexicon(language).words, lowercase=False)
    config = BertConfig(vocab_size=len(tokenizer), **BERT)
    _write(folder, KlueEncoder(config, tokenizer), language, STEPS)


def write_kobert(folder: Path, language: str) -> None:
    """BERT with KoBERT's SentencePiece."""
    from transformers import BertConfig

    words = lexicon(language).words
    characters = vocabulary.syllables() + vocabulary.LATIN
    proto = vocabulary.sentencepiece(
        # A piece has to stand in more than one form of a word.
        [f"{word}{mark}" for word in words for mark in ("", ".", ",", "?", "!")],
        # The model's own mark and special pieces come on top.
        len(characters) + 2 * len(words) + 20,
        required_chars=characters,
    )
    (folder / MODEL).write_bytes(proto)
    tokenizer = KoBertTokenizer(folder / MODEL)
    config = BertConfig(vocab_size=len(tokenizer.names), pad_token_id=1, **BERT)
    _write(folder, KoBertEncoder(config, tokenizer), language, STEPS)


def write_speecht5(folder: Path, language: str) -> None:
    """SpeechT5's encoder with its text prenet; its characters are English, so its words are."""
    from transformers import SpeechT5Config

    _write(folder, SpeechT5TextEncoder(SpeechT5Config(**SPEECHT5)), "en", SPELT_STEPS)


def _write(folder: Path, encoder: TransformersTextEncoder, language: str, steps: int) -> None:
    pretrain(encoder, language, steps)
    encoder.model.save_pretrained(folder)
    encoder.collate.tokenizer.save_pretrained(folder)


def sentences(count: int, language: str, generator: np.random.Generator) -> list[list[str]]:
    """The words of sentences: two of one content, and fillers, in any order."""
    words = lexicon(language)
    contents = list(words.contents.values())
    made = []
    for _ in range(count):
        content = contents[generator.integers(len(contents))]
        drawn = [
            *generator.choice(content, 2, replace=False),
            *generator.choice(words.fillers, generator.integers(*FILLERS), replace=False),
        ]
        made.append([str(word) for word in generator.permutation(drawn)])
    return made


def pretrain(encoder: TransformersTextEncoder, language: str, steps: int) -> None:
    """Train in place; random numbers are torch's and those of its seed."""
    generator = np.random.default_rng([901, torch.initial_seed() % 2**32])
    index = {word: at for at, word in enumerate(lexicon(language).words)}
    head = nn.Linear(encoder.dim, len(index))
    parts = nn.ModuleList([encoder, head]).train()
    optimizer = torch.optim.AdamW(parts.parameters(), lr=RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(steps):
        spoken = sentences(BATCH, language, generator)
        inputs = encoder.collate([" ".join(words) + "." for words in spoken])
        units = encoder.units(inputs, "word")
        keep = torch.rand(units.start.shape) >= MASKED
        features = encoder(encoder.remove(inputs, units, keep, "mask"))
        row, token, word = _within(features.spans, units)
        truth = torch.tensor(
            [index[spoken[i][j]] for i, j in zip(row.tolist(), word.tolist(), strict=True)]
        )
        loss: Any = F.cross_entropy(head(features.values[row, token]), truth)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def _within(tokens: Spans, words: Spans) -> tuple[Tensor, Tensor, Tensor]:
    """Row, token and word of every token [B, T] that lies in a word [B, U]."""
    inside = tokens.start[..., None] >= words.start[:, None]
    inside &= tokens.end[..., None] <= words.end[:, None]
    # Special tokens and padding have no extent.
    row, token, word = torch.where(inside & (tokens.end > tokens.start)[..., None])
    return row, token, word
