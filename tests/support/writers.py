"""Tiny checkpoints of transformers that write text, with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tests.support import spm
from tests.support.pretrained import SPEECH, SPEECHT5, STABLE

LETTERS = "abcdefghij"
LINES = ("the quick brown fox", "나는 오늘 학교에 간다", "well done my friend", "밥 먹었어?")
SMALL: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
}
ENDS: dict[str, Any] = {
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
CTC: dict[str, tuple[str, dict[str, Any]]] = {
    "wav2vec2": ("Wav2Vec2", SPEECH),
    "wav2vec2-stable": ("Wav2Vec2", {**SPEECH, **STABLE}),
    "hubert-stable": ("Hubert", {**SPEECH, **STABLE}),
    "wavlm-stable": ("WavLM", {**SPEECH, **STABLE}),
}
SPEECH_WRITERS = ("moonshine", "speech-encoder-decoder", "speech_to_text", "speecht5", "whisper")


def ctc(folder: Path, kind: str = "wav2vec2-stable", seed: int = 0) -> Path:
    """A CTC model over ten letters and a space."""
    name, sizes = CTC[kind]
    tokens = ["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS]
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    config = getattr(transformers, f"{name}Config")(**sizes, vocab_size=len(tokens), pad_token_id=0)
    torch.manual_seed(seed)
    model = getattr(transformers, f"{name}ForCTC")(config)
    torch.nn.init.normal_(model.lm_head.weight, std=2.0)
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask="stable" in kind).save_pretrained(
        folder
    )
    return folder


def speech_writer(folder: Path, kind: str) -> Path:
    """An encoder-decoder over ten letters and a space."""
    tokenizer = _letters()
    size = len(tokenizer)
    extractor: Any = transformers.Wav2Vec2FeatureExtractor()
    torch.manual_seed(0)
    model: Any
    if kind == "whisper":
        config: Any = transformers.WhisperConfig(
            **SMALL,
            **ENDS,
            vocab_size=size,
            max_target_positions=24,
            suppress_tokens=None,
            begin_suppress_tokens=None,
        )
        model = transformers.WhisperForConditionalGeneration(config)
        extractor = transformers.WhisperFeatureExtractor()
    elif kind == "speecht5":
        config = transformers.SpeechT5Config(**SPEECHT5, **ENDS, vocab_size=size)
        model = transformers.SpeechT5ForSpeechToText(config)
        extractor = transformers.SpeechT5FeatureExtractor()
    elif kind == "moonshine":
        config = transformers.MoonshineConfig(
            **ENDS,
            vocab_size=size,
            hidden_size=16,
            intermediate_size=16,
            encoder_num_hidden_layers=1,
            decoder_num_hidden_layers=1,
            encoder_num_attention_heads=2,
            decoder_num_attention_heads=2,
            max_position_embeddings=24,
        )
        model = transformers.MoonshineForConditionalGeneration(config)
    elif kind == "speech_to_text":
        config = transformers.Speech2TextConfig(
            **SMALL, **ENDS, vocab_size=size, max_target_positions=24, conv_channels=16
        )
        model = transformers.Speech2TextForConditionalGeneration(config)
        extractor = transformers.Speech2TextFeatureExtractor()
    else:
        decoder = transformers.GPT2Config(
            vocab_size=size,
            n_positions=24,
            n_embd=32,
            n_layer=1,
            n_head=2,
            add_cross_attention=True,
            is_decoder=True,
        )
        model = transformers.SpeechEncoderDecoderModel(
            encoder=transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**SPEECH)),
            decoder=transformers.GPT2LMHeadModel(decoder),
        )
        for name, value in ENDS.items():
            setattr(model.config, name, value)
            setattr(model.generation_config, name, value)
    _save(model, tokenizer, folder)
    extractor.save_pretrained(folder)
    return folder


def translator(folder: Path, kind: str) -> Path:
    """A translation model whose vocabulary comes from `LINES`."""
    folder.mkdir(exist_ok=True)
    ends: dict[str, Any] = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    letters = sorted(set("".join(LINES)) - {" "})
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    name, size = "M2M100", 0
    tokenizer: Any
    if kind in ("marian", "m2m100"):
        raw = spm.train(
            LINES,
            80,
            pad_id=-1,
            bos_id=-1,
            eos_id=1,
            unk_piece="<unk>",
            eos_piece="</s>",
            control_symbols=[],
        )
        (folder / "source.spm").write_bytes(raw)
        (folder / "target.spm").write_bytes(raw)
        pieces = ["▁", *letters]
    if kind == "marian":
        name, size = "Marian", len(pieces) + 3
        _words(folder, ["</s>", "<unk>", *pieces, "<pad>"])
        files = [str(folder / file) for file in ("source.spm", "target.spm", "vocab.json")]
        tokenizer = transformers.MarianTokenizer(*files)
        ends = {"pad_token_id": size - 1, "eos_token_id": 0, "forced_eos_token_id": 0}
        ends["decoder_start_token_id"] = size - 1
    elif kind == "m2m100":
        _words(folder, [*special, *pieces])
        files = [str(folder / file) for file in ("vocab.json", "source.spm")]
        tokenizer = transformers.M2M100Tokenizer(*files)
        size = len(special) + len(pieces) + 108  # its languages, and eight made-up words
    elif kind == "nllb":
        found = {token: i for i, token in enumerate([*special, "▁", *letters])}
        tokenizer = transformers.NllbTokenizer(vocab=found, merges=[])
    else:
        name = "MBart"
        scored = [(token, -1.0) for token in [*special, "▁", *letters]]
        tokenizer = transformers.MBart50Tokenizer(vocab=scored, src_lang="ko_KR", tgt_lang="en_XX")
    config = getattr(transformers, f"{name}Config")(
        **SMALL,
        **({"decoder_start_token_id": 2} | ends),
        vocab_size=size or len(tokenizer),
        max_position_embeddings=32,
    )
    torch.manual_seed(0)
    kinds = {"Marian": "MarianMTModel"}
    model = getattr(transformers, kinds.get(name, f"{name}ForConditionalGeneration"))(config)
    _save(model, tokenizer, folder)
    return folder


def _words(folder: Path, tokens: list[str]) -> None:
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.4)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _letters() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokens = ["<pad>", "<s>", "</s>", "<unk>", *LETTERS, " "]
    made = Tokenizer(models.WordLevel({t: i for i, t in enumerate(tokens)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.decoder = decoders.Fuse()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )
