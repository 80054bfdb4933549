"""Every built-in encoder at its smallest; those over transformers from checkpoints saved here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tests.support import spm

from modalxai import encoders, plugins
from modalxai.encoders.byte_tokenizer import SPECIAL, byte_tokenizer
from modalxai.encoders.morphemes import Morpheme
from modalxai.encoders.speecht5 import character_tokenizer
from modalxai.testing import examples

RECORDINGS = examples.recordings()
TEXTS = examples.texts()
LATIN = examples.latin_texts()
VECTORS = tuple(
    torch.randn(length, 3, generator=torch.Generator().manual_seed(length)) for length in (5, 9, 2)
)
WAVEFORM: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
SPEECHT5: dict[str, Any] = {
    "hidden_size": 16,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 16,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "speech_decoder_prenet_units": 8,
    "speech_decoder_postnet_units": 8,
    "speaker_embedding_dim": 8,
    "max_text_positions": 40,
}
BERT: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 48,
}
DISTILBERT: dict[str, Any] = {
    "vocab_size": 300,
    "dim": 8,
    "hidden_dim": 16,
    "n_layers": 2,
    "n_heads": 2,
    "max_position_embeddings": 48,
}
SMALL_MEL: dict[str, Any] = {
    "dim": 8,
    "mels": 8,
    "channels": 8,
    "layers": 2,
    "strides": (2, 2),
    "heads": 2,
    "segment_seconds": 0.1,
}


def words(text: str) -> list[Morpheme]:
    """A morpheme analyser that knows nothing: words as they are."""
    found, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        found.append(Morpheme(word, at, at + len(word)))
        at += len(word)
    return found


def _wordpiece() -> Any:
    from transformers import BertTokenizer

    pieces = [*SPECIAL, "참", "잘", "##했", "##다", ".", "well", "##l", "a", ",", "no", "day", "w"]
    return BertTokenizer(vocab={piece: at for at, piece in enumerate(pieces)}, do_lower_case=False)


def _wav2vec2(folder: Path, **settings: Any) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    Wav2Vec2ForCTC(Wav2Vec2Config(**WAVEFORM | settings)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)


def _speecht5_speech(folder: Path) -> None:
    from transformers import SpeechT5Config, SpeechT5FeatureExtractor, SpeechT5ForSpeechToSpeech

    SpeechT5ForSpeechToSpeech(SpeechT5Config(**SPEECHT5)).save_pretrained(folder)
    SpeechT5FeatureExtractor().save_pretrained(folder)


def _speecht5_text(folder: Path) -> None:
    from transformers import SpeechT5Config, SpeechT5ForTextToSpeech

    SpeechT5ForTextToSpeech(SpeechT5Config(**SPEECHT5)).save_pretrained(folder)
    character_tokenizer().save_pretrained(folder)


def _distilbert(folder: Path) -> None:
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    DistilBertForSequenceClassification(DistilBertConfig(**DISTILBERT)).save_pretrained(folder)
    _wordpiece().save_pretrained(folder)


def _bert(folder: Path, **settings: Any) -> None:
    from transformers import BertConfig, BertForMaskedLM

    BertForMaskedLM(BertConfig(**BERT | settings)).save_pretrained(folder)


def _klue(folder: Path) -> None:
    _bert(folder)
    byte_tokenizer().save_pretrained(folder)


def _kobert(folder: Path) -> None:
    _bert(folder, pad_token_id=1)
    (folder / "spiece.model").write_bytes(spm.train([*TEXTS, *LATIN] * 20, 60))


def _hanbert(folder: Path) -> None:
    _bert(folder)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "참", "잘했다.", "what", "a", "no"]
    (folder / "vocab_54k.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")


def _electra(folder: Path) -> None:
    from transformers import ElectraConfig, ElectraModel

    ElectraModel(ElectraConfig(**BERT, embedding_size=4)).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)


def _loaded(name: str, write: Callable[[Path], None], **options: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        return plugins.create("encoders", name, checkpoint=folder, **options)


def _group(**options: Any) -> Any:
    return _loaded("wav2vec2", _wav2vec2, **options)


def _layer(folder: Path) -> None:
    _wav2vec2(folder, feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True)


def _biosignal(**settings: Any) -> Any:
    return encoders.BiosignalEncoder(dim=8, hidden=8, **settings)


# By plugin name, and a variant after a colon: what makes it, and raw values it takes.
ENCODERS: dict[str, tuple[Callable[[], Any], tuple[Any, ...]]] = {
    "biosignal": (
        lambda: _biosignal(channels=2, window=2.0, sample_rate=4.0),
        examples.signals(),
    ),
    "biosignal: features": (_biosignal, examples.vectors()),
    "byte-text": (lambda: encoders.ByteTextEncoder(dim=8, layers=1, heads=2), TEXTS),
    "distilbert": (lambda: _loaded("distilbert", _distilbert), TEXTS),
    "fasttext": (
        lambda: encoders.FastTextEncoder(dim=8, width=6, buckets=97, sequence="attention-gru"),
        TEXTS,
    ),
    "hanbert": (lambda: _loaded("hanbert", _klue), TEXTS),
    "hanbert: morphemes": (lambda: _loaded("hanbert", _hanbert, analyser=words), TEXTS),
    "klue": (lambda: _loaded("klue", _klue), TEXTS),
    "kobert": (lambda: _loaded("kobert", _kobert), TEXTS),
    "mel-cnn": (lambda: encoders.MelCnnEncoder(**SMALL_MEL), RECORDINGS),
    "mfcc": (
        lambda: encoders.MfccEncoder(dim=8, coefficients=6, mels=8, segment_seconds=0.1),
        RECORDINGS,
    ),
    "mfcc: attention-gru": (
        lambda: encoders.MfccEncoder(8, 6, mels=8, sequence="attention-gru", heads=2),
        RECORDINGS,
    ),
    "sequence": (
        lambda: encoders.SequenceEncoder(
            encoders.ByteTextEncoder(dim=8, layers=1, heads=2), "attention-gru", heads=2, dim=6
        ),
        TEXTS,
    ),
    "sequence: over wav2vec2": (lambda: encoders.SequenceEncoder(_group(), heads=2), RECORDINGS),
    "speecht5-speech": (lambda: _loaded("speecht5-speech", _speecht5_speech), RECORDINGS),
    "speecht5-text": (lambda: _loaded("speecht5-text", _speecht5_text), LATIN),
    "transformers-text": (lambda: _loaded("transformers-text", _electra), TEXTS),
    "transformers-text: weighted": (
        lambda: _loaded("transformers-text", _electra, layers="weighted", trainable=1),
        TEXTS,
    ),
    "vectors": (lambda: encoders.VectorEncoder(3), VECTORS),
    "wav2vec2": (_group, RECORDINGS),
    "wav2vec2: layer norm": (lambda: _loaded("wav2vec2", _layer), RECORDINGS),
    "wav2vec2: frozen": (lambda: _group(trainable="none", layers="weighted"), RECORDINGS),
    "waveform-cnn": (
        lambda: encoders.WaveformCnnEncoder(
            8, channels=4, sequence="cnn-transformer", heads=2, segment_seconds=0.1
        ),
        RECORDINGS,
    ),
}


@cache
def encoder(name: str) -> Any:
    """The encoder of that name, made once: the checks work on copies."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ENCODERS[name][0]().eval()


def raws(name: str) -> tuple[Any, ...]:
    """Three raw values for it."""
    return ENCODERS[name][1]
