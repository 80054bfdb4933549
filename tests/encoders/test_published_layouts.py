"""Tiny checkpoints in the files of the published repositories, by the one way users load them.

Each folder is written by the real classes of transformers and by hand where today's version writes
other files than the published repository has: names of weights from before version 5, vocabularies
without a tokenizer.json, weights as a pickle only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.support import spm
from torch import Tensor
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    HubertConfig,
    HubertForCTC,
    HubertModel,
    RobertaConfig,
    RobertaForMaskedLM,
    SpeechT5Config,
    SpeechT5FeatureExtractor,
    SpeechT5ForSpeechToSpeech,
    SpeechT5ForTextToSpeech,
    SpeechT5Processor,
    SpeechT5Tokenizer,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2ForPreTraining,
    Wav2Vec2Processor,
    WavLMConfig,
    WavLMModel,
)
from typer.testing import CliRunner

from modalxai import plugins
from modalxai.cli import app
from modalxai.encoders.morphemes import Morpheme
from modalxai.errors import CheckpointError
from modalxai.types import Audio

RATE = 16_000
WIDTH: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
CONVOLUTIONS: dict[str, Any] = {
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
STABLE = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
SPEECHT5: dict[str, Any] = {
    **CONVOLUTIONS,
    "hidden_size": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 16,
    "speech_decoder_prenet_units": 8,
    "speech_decoder_postnet_units": 8,
    "speaker_embedding_dim": 8,
}
BERT = WIDTH | {"max_position_embeddings": 64}
WORDPIECE = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "참", "잘", "##했", "##다", "."]
ENGLISH = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "well", "done", "##s", "."]
ROLES = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


@dataclass(frozen=True)
class Layout:
    """A repository in small.

    Parameters
    ----------
    plugin
        The encoder that takes it.
    write
        Fills a folder and returns the model whose encoder is meant.
    encode
        What the original classes give for a raw value, [T, D]: of that model and its folder.
    raws
        What to encode.
    settings
        Further options of the plugin.
    pickled
        Whether the published weights are a pickle only.
    """

    plugin: str
    write: Callable[[Path], Any]
    encode: Callable[[Any, Path, Any], Tensor]
    raws: tuple[Any, ...]
    pickled: bool = False
    settings: tuple[tuple[str, Any], ...] = ()


def note(folder: Path, name: str, record: dict[str, Any]) -> None:
    (folder / name).write_text(json.dumps(record), encoding="utf-8")


def lines(folder: Path, name: str, rows: list[str]) -> None:
    (folder / name).write_text("\n".join(rows) + "\n", encoding="utf-8")


def as_published_before_5(folder: Path) -> None:
    """``weight_g`` and ``weight_v``, as the weights of weight norms were called then."""
    new = "parametrizations.weight.original"
    weights = {
        name.replace(f"{new}0", "weight_g").replace(f"{new}1", "weight_v"): value
        for name, value in load_file(folder / "model.safetensors").items()
    }
    normed = any("pos_conv_embed" in name for name in weights)
    assert any(name.endswith("weight_g") for name in weights) == normed
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")


def pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


# Speech.


def clip(samples: int, seed: int) -> Audio:
    generator = torch.Generator().manual_seed(seed)
    return Audio(0.1 * torch.randn(samples, generator=generator), RATE)


CLIPS = (clip(4007, 0), clip(9001, 1))
VOICE: dict[str, Any] = {"feature_size": 1, "padding_side": "right", "padding_value": 0}


def frames(extractor: Any) -> Callable[[Any, Path, Any], Tensor]:
    """The original's frames of one clip, prepared by its own feature extractor."""

    def encode(model: Any, folder: Path, raw: Audio) -> Tensor:
        prepare = extractor.from_pretrained(folder)
        given = prepare(raw.waveform.numpy(), sampling_rate=RATE, return_tensors="pt")
        found: Tensor = model(given["input_values"]).last_hidden_state[0]
        return found

    return encode


def kresnik(folder: Path) -> Any:
    """kresnik/wav2vec2-large-xlsr-korean: a recogniser of Korean letters with its processor."""
    config = Wav2Vec2Config(**WIDTH, **CONVOLUTIONS, **STABLE, vocab_size=12, pad_token_id=11)
    model = Wav2Vec2ForCTC(config)
    model.save_pretrained(folder)
    letters = ["|", "ㄱ", "ㅏ", "가", "나", "다", "라", "마", "바", "사", "[UNK]", "[PAD]"]
    note(folder, "vocab.json", {letter: index for index, letter in enumerate(letters)})
    tokenizer = Wav2Vec2CTCTokenizer(
        str(folder / "vocab.json"), unk_token="[UNK]", pad_token="[PAD]"
    )
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    return model.wav2vec2


def old_kresnik(folder: Path) -> Any:
    """The same as its repository has it: its own preprocessor file and the old names."""
    model = kresnik(folder)
    (folder / "processor_config.json").unlink()
    own = {
        "do_normalize": True,
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "return_attention_mask": True,
        "sampling_rate": RATE,
    }
    note(folder, "preprocessor_config.json", VOICE | own)
    as_published_before_5(folder)
    return model


def wav2vec2_base(folder: Path) -> Any:
    """facebook/wav2vec2-base: the model of pre-training, quantiser and all."""
    config = Wav2Vec2Config(
        **WIDTH,
        **CONVOLUTIONS,
        codevector_dim=8,
        proj_codevector_dim=8,
        num_codevectors_per_group=4,
    )
    model = Wav2Vec2ForPreTraining(config)
    model.save_pretrained(folder)
    # No feature_extractor_type: the file is older than that entry.
    own = {"do_normalize": True, "return_attention_mask": False, "sampling_rate": RATE}
    note(folder, "preprocessor_config.json", VOICE | own)
    as_published_before_5(folder)
    return model.wav2vec2


def hubert_base(folder: Path) -> Any:
    """facebook/hubert-base-ls960: the bare model."""
    model = HubertModel(HubertConfig(**WIDTH, **CONVOLUTIONS))
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(folder)
    as_published_before_5(folder)
    return model


def hubert_recogniser(folder: Path) -> Any:
    """facebook/hubert-large-ls960-ft."""
    model = HubertForCTC(HubertConfig(**WIDTH, **CONVOLUTIONS, **STABLE))
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    return model.hubert


def wavlm(folder: Path) -> Any:
    """microsoft/wavlm-base: the bare model, as a pickle; clips are not normalised."""
    model = WavLMModel(WavLMConfig(**WIDTH, **CONVOLUTIONS))
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True).save_pretrained(folder)
    as_published_before_5(folder)
    return model


def characters() -> list[spm.Piece]:
    """The 79 pieces of SpeechT5's SentencePiece model, special ones first."""
    special: list[spm.Piece] = [
        ("<s>", 0.0, spm.CONTROL),
        ("<pad>", 0.0, spm.CONTROL),
        ("</s>", 0.0, spm.CONTROL),
        ("<unk>", 0.0, spm.UNKNOWN),
    ]
    letters = "▁etaonihsrdlucmfwgy,pb.vk"
    others = [chr(0x3B1 + index) for index in range(75 - len(letters))]
    ranked = [(name, -1.0 - rank, spm.NORMAL) for rank, name in enumerate([*letters, *others])]
    return special + ranked


def speecht5(kind: Any) -> Callable[[Path], Any]:
    """microsoft/speecht5_vc and _tts: the whole model beside a SpeechT5Processor."""

    def write(folder: Path) -> Any:
        folder.mkdir(exist_ok=True)
        model = kind(SpeechT5Config(**SPEECHT5))
        model.save_pretrained(folder)
        (folder / "spm_char.model").write_bytes(spm.write(characters()))
        tokenizer = SpeechT5Tokenizer(str(folder / "spm_char.model"))
        tokenizer.add_tokens(["<mask>", "<ctc_blank>"])
        assert len(tokenizer) == model.config.vocab_size == 81
        SpeechT5Processor(SpeechT5FeatureExtractor(), tokenizer).save_pretrained(folder)
        return model.speecht5.encoder

    return write


def old_speecht5(kind: Any) -> Callable[[Path], Any]:
    """The same as the repositories have them: older files, names and saved tables, a pickle."""

    def write(folder: Path) -> Any:
        encoder = speecht5(kind)(folder)
        own = {
            "do_normalize": False,
            "feature_extractor_type": "SpeechT5FeatureExtractor",
            "processor_class": "SpeechT5Processor",
            "return_attention_mask": True,
            "sampling_rate": RATE,
        }
        (folder / "processor_config.json").unlink()
        note(folder, "preprocessor_config.json", VOICE | own)
        note(folder, "tokenizer_config.json", {"tokenizer_class": "SpeechT5Tokenizer"})
        note(folder, "special_tokens_map.json", {"pad_token": "<pad>", "unk_token": "<unk>"})
        note(folder, "added_tokens.json", {"<ctc_blank>": 80, "<mask>": 79})
        as_published_before_5(folder)
        weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
        # Computed tables, which were parameters or persistent then.
        table = "pos_sinusoidal_embed.weights"
        for name, value in encoder.named_buffers():
            if name.endswith((table, "encode_positions.pe")):
                weights[f"speecht5.encoder.{name}"] = value.clone()
        torch.save(weights, folder / "pytorch_model.bin")
        return encoder

    return write


# Text.


def tokens(model: Any, folder: Path, raw: str) -> Tensor:
    """The original's hidden states of one text, by the tokenizer that transformers finds there."""
    ids = AutoTokenizer.from_pretrained(folder)(raw, return_tensors="pt")["input_ids"]
    found: Tensor = model(ids).last_hidden_state[0]
    return found


def of_ids(*rows: list[int]) -> Callable[[Any, Path, Any], Tensor]:
    """The original's hidden states of ids that are known, for tokenizers that need code to run."""

    def encode(model: Any, folder: Path, raw: str) -> Tensor:
        found: Tensor = model(torch.tensor([dict(zip(KOREAN, rows, strict=True))[raw]]))
        return found.last_hidden_state[0]  # type: ignore[attr-defined, no-any-return]

    return encode


KOREAN = ("한국어 모델을 공유합니다.", "모델")
SPOKEN = ("참 잘했다.", "참")


def klue_bert(folder: Path) -> Any:
    """klue/bert-base: vocab.txt and a tokenizer_config.json without a class."""
    model = BertForMaskedLM(BertConfig(**BERT, vocab_size=32))
    model.save_pretrained(folder)
    lines(folder, "vocab.txt", WORDPIECE)
    own = {"do_lower_case": False, "tokenize_chinese_chars": True, "strip_accents": None}
    note(folder, "tokenizer_config.json", ROLES | own | {"model_max_length": 512})
    note(folder, "special_tokens_map.json", ROLES)
    return model.bert


def klue_roberta(folder: Path) -> Any:
    """klue/roberta: a RoBERTa whose tokenizer is BERT's, with [CLS] 0, [PAD] 1 and [SEP] 2."""
    model = RobertaForMaskedLM(RobertaConfig(**BERT, vocab_size=32, type_vocab_size=1))
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    note(folder, "config.json", config | {"tokenizer_class": "BertTokenizer"})
    order = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]", *WORDPIECE[5:]]
    lines(folder, "vocab.txt", order)
    roles = ROLES | {"bos_token": "[CLS]", "eos_token": "[SEP]"}
    own = {"do_lower_case": False, "do_basic_tokenize": True, "never_split": None}
    note(folder, "tokenizer_config.json", roles | own | {"tokenizer_class": "BertTokenizer"})
    note(folder, "special_tokens_map.json", roles)
    return model.roberta


def distilbert(folder: Path) -> Any:
    """distilbert-base-uncased: vocab.txt, and little beside it."""
    config = DistilBertConfig(
        vocab_size=32, dim=32, hidden_dim=48, n_layers=2, n_heads=4, max_position_embeddings=64
    )
    model = DistilBertForMaskedLM(config)
    model.save_pretrained(folder)
    lines(folder, "vocab.txt", ENGLISH)
    note(folder, "tokenizer_config.json", {"do_lower_case": True, "model_max_length": 512})
    return model.distilbert


def bert_uncased(folder: Path) -> Any:
    """bert-base-uncased: layer norms with the names of 2018, gamma and beta."""
    model = BertForMaskedLM(BertConfig(**BERT, vocab_size=32))
    model.save_pretrained(folder)
    weights = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in load_file(folder / "model.safetensors").items()
    }
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    lines(folder, "vocab.txt", ENGLISH)
    note(folder, "tokenizer_config.json", {"do_lower_case": True, "model_max_length": 512})
    return model.bert


def monologg(folder: Path) -> Any:
    """monologg/kobert: SentencePiece under its own name, vocab.txt, and code that is not run."""
    model = BertModel(BertConfig(**BERT, vocab_size=8002, pad_token_id=1))
    model.save_pretrained(folder)
    pieces = kobert_pieces()
    (folder / "tokenizer_78b3253a26.model").write_bytes(spm.write(pieces))
    lines(folder, "vocab.txt", [name for name, _, _ in pieces])
    (folder / "tokenization_kobert.py").write_text("raise SystemExit('code of a checkpoint ran')")
    own = {"do_lower_case": False, "max_len": 512}
    code = {"AutoTokenizer": ["tokenization_kobert.KoBertTokenizer", None]}
    note(folder, "tokenizer_config.json", ROLES | own | {"auto_map": code})
    pickle(folder)
    return model


def skt(folder: Path) -> Any:
    """skt/kobert-base-v1: spiece.model, and the name of a class that gives other ids."""
    model = BertModel(BertConfig(**BERT, vocab_size=8002, pad_token_id=1))
    model.save_pretrained(folder)
    (folder / "spiece.model").write_bytes(spm.write(kobert_pieces()))
    own = {"tokenizer_class": "XLNetTokenizer", "padding_side": "left", "keep_accents": False}
    note(folder, "tokenizer_config.json", ROLES | own)
    note(folder, "special_tokens_map.json", ROLES)
    pickle(folder)
    return model


def kobert_pieces() -> list[spm.Piece]:
    special = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    pieces: list[spm.Piece] = [(f"filler{index}", -20.0, spm.NORMAL) for index in range(8002)]
    for index, name in enumerate(special):
        pieces[index] = (name, 0.0, spm.CONTROL if index else spm.UNKNOWN)
    names = ["▁한국", "어", "▁모델", "을", "▁공유", "합니다", "."]
    for index, name in zip(KOBERT_IDS[1:-1], names, strict=True):
        pieces[index] = (name, -5.0, spm.NORMAL)
    return pieces


KOBERT_IDS = [2, 4958, 6855, 2046, 7088, 1050, 7843, 54, 3]
HANBERT = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "모델",
    "~~을",
    "~",
    "한국",
    "##어",
    "공유",
]


def hanbert(folder: Path) -> Any:
    """HanBert-54kN-torch: a BERT, a vocabulary of morphemes, and a pickle."""
    model = BertModel(BertConfig(**BERT, vocab_size=len(HANBERT)))
    model.save_pretrained(folder)
    lines(folder, "vocab_54k.txt", HANBERT)
    for name in ("libmoran4dnlp.so", "moran.db", "udict.txt", "uentity.txt"):
        (folder / name).write_bytes(b"not to be opened")
    pickle(folder)
    return model


def morphemes(text: str) -> list[Morpheme]:
    """Stands in for the library that is not free."""
    known = {
        KOREAN[0]: [("한국어", 0, 3), ("모델", 4, 6), ("~~을", 6, 7), ("공유", 8, 10)],
        KOREAN[1]: [("모델", 0, 2)],
    }
    return [Morpheme(*found) for found in known[text]]


CTC = Wav2Vec2FeatureExtractor
LAYOUTS = {
    "kresnik": Layout("wav2vec2", kresnik, frames(CTC), CLIPS),
    "kresnik, as published": Layout("wav2vec2", old_kresnik, frames(CTC), CLIPS, True),
    "wav2vec2-base": Layout("wav2vec2", wav2vec2_base, frames(CTC), CLIPS, True),
    "hubert-base": Layout("wav2vec2", hubert_base, frames(CTC), CLIPS, True),
    "hubert-large-ft": Layout("wav2vec2", hubert_recogniser, frames(CTC), CLIPS),
    "wavlm-base": Layout("wav2vec2", wavlm, frames(CTC), CLIPS, True),
    "speecht5-vc": Layout(
        "speecht5-speech",
        speecht5(SpeechT5ForSpeechToSpeech),
        frames(SpeechT5FeatureExtractor),
        CLIPS,
    ),
    "speecht5-vc, as published": Layout(
        "speecht5-speech",
        old_speecht5(SpeechT5ForSpeechToSpeech),
        frames(SpeechT5FeatureExtractor),
        CLIPS,
        True,
    ),
    "speecht5-tts": Layout(
        "speecht5-text", speecht5(SpeechT5ForTextToSpeech), tokens, ("well done.", "a")
    ),
    "speecht5-tts, as published": Layout(
        "speecht5-text", old_speecht5(SpeechT5ForTextToSpeech), tokens, ("well done.", "a"), True
    ),
    "klue-bert": Layout("klue", klue_bert, tokens, SPOKEN),
    "klue-roberta": Layout("klue", klue_roberta, tokens, SPOKEN),
    "distilbert": Layout("distilbert", distilbert, tokens, ("Wéll DONEs.", "well")),
    "bert-uncased": Layout(
        "transformers-text", bert_uncased, tokens, ("Wéll DONEs.", "well"), True
    ),
    "kobert, monologg": Layout("kobert", monologg, of_ids(KOBERT_IDS, [2, 2046, 3]), KOREAN, True),
    "kobert, skt": Layout("kobert", skt, of_ids(KOBERT_IDS, [2, 2046, 3]), KOREAN, True),
    "hanbert": Layout(
        "hanbert",
        hanbert,
        of_ids([2, 8, 9, 5, 6, 10, 3], [2, 5, 3]),
        KOREAN,
        True,
        (("analyser", morphemes),),
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
@torch.no_grad()
def test_a_folder_as_published_gives_what_its_own_classes_give(name: str, tmp_path: Path) -> None:
    layout, folder = LAYOUTS[name], tmp_path / "published"
    model = layout.write(folder).eval()
    if layout.pickled:
        with pytest.raises(CheckpointError, match="pickle") as caught:
            plugins.create("encoders", layout.plugin, checkpoint=folder, **dict(layout.settings))
        command = caught.value.mend.partition("modalxai ")[2].split()
        assert command == ["convert", layout.plugin, str(folder)]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    encoder = plugins.create(
        "encoders", layout.plugin, checkpoint=folder, **dict(layout.settings)
    ).eval()
    first, second = layout.raws
    features = encoder(encoder.collate([first, None, second]))
    for row, raw in ((0, first), (2, second)):
        expected = layout.encode(model, folder, raw)
        assert int(features.mask[row].sum()) == len(expected) > 0
        assert float(expected.std()) > 0.1
        torch.testing.assert_close(
            features.values[row, : len(expected)], expected, atol=1e-5, rtol=1e-5
        )
    assert not features.mask[1].any()
    # What the user has is still there, and what we write is loaded by the same name.
    encoder.save_pretrained(tmp_path / "ours")
    again = plugins.create(
        "encoders", layout.plugin, checkpoint=tmp_path / "ours", **dict(layout.settings)
    ).eval()
    assert torch.equal(again(again.collate([first, None, second])).values, features.values)
