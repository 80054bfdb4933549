"""Checkpoints, vocabularies, layers and widths that do not fit: each named, with its mend."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support import spm
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    ElectraConfig,
    RobertaConfig,
    RobertaForMaskedLM,
    SpeechT5Config,
    Wav2Vec2Config,
)

from modalxai import explain, labels, plugins
from modalxai.biosignals import Biosignal, standards
from modalxai.encoders import ByteTextEncoder, TransformersTextEncoder
from modalxai.encoders.byte_tokenizer import byte_tokenizer
from modalxai.errors import CheckpointError, InputError, ModalxaiError, RemovalError
from modalxai.model import EmotionModel
from modalxai.training import CachedEncoder

WIDTH: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
VOICE: dict[str, Any] = {
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
SPEECHT5: dict[str, Any] = {
    **VOICE,
    "hidden_size": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
}
BERT = WIDTH | {"vocab_size": 300, "max_position_embeddings": 64}
SMALL: dict[str, dict[str, Any]] = {
    "biosignal": {"dim": 16},
    "byte-text": {"dim": 16},
    "distilbert": {
        "config": DistilBertConfig(vocab_size=300, dim=32, hidden_dim=48, n_layers=2, n_heads=4)
    },
    "fasttext": {"dim": 16, "buckets": 50},
    "hanbert": {"config": BertConfig(**BERT)},
    "klue": {"config": RobertaConfig(**BERT)},
    "kobert": {"config": BertConfig(**BERT, pad_token_id=1)},
    "mel-cnn": {"dim": 16},
    "mfcc": {"dim": 16},
    "speecht5-speech": {"config": SpeechT5Config(**SPEECHT5)},
    "speecht5-text": {"config": SpeechT5Config(**SPEECHT5)},
    "transformers-text": {"config": ElectraConfig(**BERT, embedding_size=32)},
    "wav2vec2": {"config": Wav2Vec2Config(**WIDTH, **VOICE)},
    "waveform-cnn": {"dim": 16},
}
# A BERT is a BERT: which of these encoders reads it decides nothing but its tokenizer.
KIN = {
    "hanbert": {"kobert"},
    "klue": {"hanbert", "kobert"},
    "transformers-text": {"distilbert", "hanbert", "klue", "kobert"},
}


def made(name: str, **settings: Any) -> Any:
    return plugins.create("encoders", name, **SMALL[name] | settings)


def told(caught: pytest.ExceptionInfo[ModalxaiError]) -> ModalxaiError:
    """An error whose four parts all say something."""
    error = caught.value
    assert all((error.wrong, error.expected, error.got, error.mend))
    return error


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every encoder, saved."""
    root = tmp_path_factory.mktemp("encoders")
    for name in SMALL:
        made(name).save_pretrained(root / name)
    return root


def test_every_encoder_is_tried() -> None:
    # "sequence" holds the folder of another encoder, "vectors" no weights: see their own tests.
    assert sorted([*SMALL, "sequence", "vectors"]) == [
        name
        for name in plugins.available("encoders")
        if plugins.inspect("encoders", name).package == "modalxai"
    ]


@pytest.mark.parametrize("name", SMALL)
def test_a_checkpoint_of_another_architecture_is_refused(name: str, folders: Path) -> None:
    for other in SMALL:
        if other == name or other in KIN.get(name, ()):
            plugins.create("encoders", name, checkpoint=folders / other)
            continue
        with pytest.raises(CheckpointError) as caught:
            plugins.create("encoders", name, checkpoint=folders / other)
        error = told(caught)
        # What came is named: the folder, the model's type, or the class that it is not for.
        kind = json.loads((folders / other / "config.json").read_text()).get("model_type")
        assert str(folders / other) in error.wrong or error.got == kind
        assert any(word in error.mend for word in ("load", "choose", "take", "save")), error.mend


@pytest.mark.parametrize("name", [n for n in SMALL if "config" in SMALL[n]])
def test_a_config_without_an_architecture_says_what_to_add(name: str, folders: Path) -> None:
    with pytest.raises(CheckpointError, match="names no architecture") as caught:
        plugins.create("encoders", name, checkpoint=folders / "mel-cnn")
    assert "the encoder that saved it" in told(caught).mend


def test_an_old_bert_loads_once_its_config_says_that_it_is_one(tmp_path: Path) -> None:
    BertForMaskedLM(BertConfig(**BERT)).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["model_type"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="names no architecture") as caught:
        plugins.create("encoders", "hanbert", checkpoint=tmp_path)
    entry = told(caught).mend.partition("add ")[2]
    added = json.loads("{" + entry + "}")
    (tmp_path / "config.json").write_text(json.dumps(config | added))
    assert plugins.create("encoders", "hanbert", checkpoint=tmp_path).dim == 32


# Vocabularies.


@pytest.mark.parametrize(
    "name", ["distilbert", "hanbert", "klue", "kobert", "speecht5-text", "transformers-text"]
)
def test_a_tokenizer_of_more_ids_than_the_model_is_refused(name: str) -> None:
    config = SMALL[name]["config"]
    small = type(config)(**config.to_diff_dict() | {"vocab_size": 60})
    with pytest.raises(InputError, match="more ids than the model") as caught:
        plugins.create("encoders", name, config=small)
    error = told(caught)
    assert "below 60" in error.expected
    assert "tokenizer that belongs to the model" in error.mend


def test_a_tokenizer_whose_padding_the_model_counts_as_text_is_refused(tmp_path: Path) -> None:
    from transformers import BertTokenizer

    # klue/roberta with the vocabulary of klue/bert: as many ids, other meanings.
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "참", "잘"]
    tokenizer = BertTokenizer(vocab={name: index for index, name in enumerate(names)})
    RobertaForMaskedLM(RobertaConfig(**BERT)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="padding") as caught:
        plugins.create("encoders", "klue", checkpoint=tmp_path)
    error = told(caught)
    assert ("1" in error.expected, "0" in error.got) == (True, True)
    assert "tokenizer" in error.mend


def kobert(folder: Path, size: int, order: list[str] | None = None) -> Path:
    BertForMaskedLM(BertConfig(**BERT | {"vocab_size": size}, pad_token_id=1)).save_pretrained(
        folder
    )
    special = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    pieces: list[spm.Piece] = [
        (name, 0.0, spm.CONTROL if index else spm.UNKNOWN) for index, name in enumerate(special)
    ]
    pieces += [(f"▁{chr(0xAC00 + index)}", -5.0, spm.NORMAL) for index in range(45)]
    (folder / "spiece.model").write_bytes(spm.write(pieces))
    if order is not None:
        (folder / "vocab.txt").write_text("\n".join([*special, *order]) + "\n", encoding="utf-8")
    return folder


def test_an_order_of_other_pieces_than_kobert_has_is_refused(tmp_path: Path) -> None:
    syllables = [f"▁{chr(0xAC00 + index)}" for index in range(45)]
    folder = kobert(tmp_path, 50, syllables[::-1])
    encoder = plugins.create("encoders", "kobert", checkpoint=folder)
    assert encoder.collate([chr(0xAC00)])["input_ids"].tolist() == [[2, 49, 3]]
    # One piece of the model missing is no other vocabulary.
    kobert(tmp_path, 50, ["unused", *syllables[1:]])
    plugins.create("encoders", "kobert", checkpoint=folder)
    kobert(tmp_path, 50, [f"▁{chr(0xB000 + index)}" for index in range(45)])
    with pytest.raises(CheckpointError, match="not the order of") as caught:
        plugins.create("encoders", "kobert", checkpoint=folder)
    error = told(caught)
    assert "45 of 50" in error.got
    assert "published together" in error.mend


def test_kobert_with_more_pieces_than_its_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="more ids than the model") as caught:
        plugins.create("encoders", "kobert", checkpoint=kobert(tmp_path, 40))
    assert "ids up to 49" in told(caught).got


# A mask that is not there.


def test_a_model_without_a_mask_token_is_not_asked_to_mask() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.mask_token = None
    config = BertConfig(**BERT)
    text = TransformersTextEncoder.from_config(config, tokenizer)
    fusion = plugins.create("fusion", "shallow", dims={"text": 32}, labels=labels("anger", "joy"))
    model = EmotionModel({"text": text}, fusion)
    samples = [{"id": "a", "text": "well done"}]
    with pytest.raises(RemovalError) as caught:
        explain(model, samples, removal={"text": "mask"})
    assert "empty" in told(caught).expected + told(caught).mend
    assert explain(model, samples, removal={"text": "empty"}).scores.isfinite().all()


# Layers that are not there.


@pytest.mark.parametrize("name", sorted(set(SMALL) - {"byte-text"}))
@pytest.mark.parametrize("trainable", [99, -1, "top", 1.0, True])
def test_an_unknown_number_of_layers_is_refused(name: str, trainable: Any) -> None:
    with pytest.raises(InputError, match="trainable") as caught:
        made(name, trainable=trainable)
    assert repr(trainable) in told(caught).got


@pytest.mark.parametrize("name", ["kobert", "speecht5-speech", "speecht5-text", "wav2vec2"])
@pytest.mark.parametrize("layers", ["first", 7, "all"])
def test_an_unknown_choice_of_hidden_states_is_refused(name: str, layers: Any) -> None:
    with pytest.raises(InputError, match="layers") as caught:
        made(name, layers=layers)
    assert "weighted" in told(caught).expected


# Widths.


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ("2 4\na 1 2 3 4\nb 1 2 3\n", "line 3"),
        ("2 4\na 1 2 3 4 5\nb 1 2 3 4 5\n", "more than the 4 numbers"),
    ],
)
def test_word_vectors_of_another_width_are_refused(content: str, got: str, tmp_path: Path) -> None:
    (tmp_path / "a.vec").write_text(content)
    with pytest.raises(CheckpointError, match="fastText") as caught:
        plugins.create("encoders", "fasttext", checkpoint=tmp_path / "a.vec")
    assert got in told(caught).got


def test_a_word_of_word_vectors_may_hold_spaces_and_be_a_number(tmp_path: Path) -> None:
    (tmp_path / "a.vec").write_text("3 2\n. . . 1 2\n7 1 2\npage 3 1 2\n")
    encoder = plugins.create("encoders", "fasttext", checkpoint=tmp_path / "a.vec")
    assert list(encoder.collate.index) == ["page 3", "7", ". . ."]


@pytest.mark.parametrize(
    "signal",
    [
        Biosignal([1.0, 2.0]),
        Biosignal([1.0] * 15),
        Biosignal([[1.0] * 14]),
        Biosignal([1.0] * 14, baseline=[1.0] * 3),
    ],
)
def test_features_of_the_body_of_another_width_are_refused(signal: Biosignal) -> None:
    with pytest.raises(InputError, match="wrong shape") as caught:
        made("biosignal").collate([None, signal])
    error = told(caught)
    assert error.index == 1
    assert "14" in error.expected
    assert "channels=" in error.mend


@pytest.mark.parametrize("rows", [[], [[1.0, 2.0], [1.0]], [[[1.0, 2.0]]]])
def test_standards_of_rows_of_different_widths_are_refused(rows: Any) -> None:
    with pytest.raises(InputError, match="widths") as caught:
        standards(rows)
    assert "summary" in told(caught).mend


@pytest.mark.parametrize("fusion", plugins.available("fusion"))
@pytest.mark.parametrize("wrap", [lambda encoder, folder: encoder, CachedEncoder])
def test_a_fusion_of_another_width_than_its_encoders_is_refused(
    fusion: str, wrap: Callable[[Any, Path], Any], tmp_path: Path
) -> None:
    text = wrap(ByteTextEncoder(dim=8, heads=2, layers=1).requires_grad_(False), tmp_path)
    made = plugins.create("fusion", fusion, dims={"text": 12}, labels=labels("anger", "joy"))
    with pytest.raises(InputError, match="does not fit the encoders") as caught:
        EmotionModel({"text": text}, made)
    assert "encoder.dim" in told(caught).mend
    with pytest.raises(InputError, match="'text'") as caught:
        made({"text": text(text.collate(["well", None]))})
    assert "12" in told(caught).expected


def test_kept_features_of_another_width_are_encoded_again(tmp_path: Path) -> None:
    def cached(width: int) -> CachedEncoder:
        torch.manual_seed(0)
        encoder = ByteTextEncoder(dim=width, heads=2, layers=1).requires_grad_(False)
        return CachedEncoder(encoder, tmp_path)

    for width in (8, 12, 8):
        one = cached(width)
        assert one(one.collate(["well"])).values.shape[-1] == width
    files = sorted(tmp_path.rglob("*.safetensors"))
    assert len(files) == 2
    # One put in the other's place is noticed, and not read.
    content = [file.read_bytes() for file in files]
    for file, other in zip(files, reversed(content), strict=True):
        file.write_bytes(other)
    one = cached(8)
    with pytest.warns(UserWarning, match="encoded again"):
        assert one(one.collate(["well"])).values.shape[-1] == 8
