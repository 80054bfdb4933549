from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from modalxai.encoders import DistilBertEncoder, TransformersTextEncoder, text_checkpoint
from modalxai.encoders.byte_tokenizer import SPECIAL, byte_tokenizer
from modalxai.errors import CheckpointError, InputError, RemovalError
from modalxai.types import Spans

KOREAN = "참 잘했다."
VOCABULARY = [*SPECIAL, "참", "잘", "##했", "##다", ".", "well", "done", ",", "very", "good"]
SMALL = {"vocab_size": 300, "max_position_embeddings": 32}
DISTILBERT = {**SMALL, "dim": 8, "hidden_dim": 16, "n_layers": 3, "n_heads": 2}
BERT = {
    **SMALL,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
}


def wordpiece() -> Any:
    from transformers import BertTokenizer

    vocabulary = {word: at for at, word in enumerate(VOCABULARY)}
    return BertTokenizer(vocab=vocabulary, do_lower_case=False)


@pytest.fixture
def distilbert(tmp_path: Path) -> Path:
    """A DistilBERT classifier, saved by transformers alone."""
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    DistilBertForSequenceClassification(DistilBertConfig(**DISTILBERT)).save_pretrained(tmp_path)
    wordpiece().save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A BERT pretrained for masked words, which has no pooler, saved by transformers alone."""
    from transformers import BertConfig, BertForMaskedLM

    BertForMaskedLM(BertConfig(**BERT)).save_pretrained(tmp_path)
    wordpiece().save_pretrained(tmp_path)
    return tmp_path


def small(**settings: Any) -> DistilBertEncoder:
    from transformers import DistilBertConfig

    return DistilBertEncoder.from_config(DistilBertConfig(**DISTILBERT), **settings)


def edit(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def reference(folder: Path, text: str) -> torch.Tensor:
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        hidden: torch.Tensor = AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state
    return hidden


def test_a_distilbert_checkpoint_gives_what_transformers_gives(distilbert: Path) -> None:
    encoder = DistilBertEncoder.from_pretrained(distilbert).eval()
    values = encoder(encoder.collate([KOREAN])).values
    torch.testing.assert_close(values, reference(distilbert, KOREAN))
    assert encoder.dim == 8


def test_a_bert_checkpoint_gives_what_transformers_gives(bert: Path) -> None:
    encoder = TransformersTextEncoder.from_pretrained(str(bert)).eval()
    values = encoder(encoder.collate([KOREAN, "well done , very good"])).values
    torch.testing.assert_close(values[:1, :7], reference(bert, KOREAN), atol=1e-5, rtol=1e-5)


def test_no_weight_is_left_that_never_learns(bert: Path) -> None:
    encoder = TransformersTextEncoder.from_pretrained(bert)
    features = encoder(encoder.collate(["well done"]))
    (features.values * torch.randn_like(features.values)).sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


def test_wordpiece_spans_and_words(distilbert: Path) -> None:
    encoder = DistilBertEncoder.from_pretrained(distilbert)
    inputs = encoder.collate([f" {KOREAN}  well"])
    text = f" {KOREAN}  well"
    pairs = list(zip(inputs["start"][0].tolist(), inputs["end"][0].tolist(), strict=True))
    assert [text[a:b] for a, b in pairs] == ["", "참", "잘", "했", "다", ".", "well", ""]
    assert inputs["word"][0].tolist() == [-1, 0, 1, 1, 1, 1, 2, -1]
    words = encoder.units(inputs, "word")
    assert (words.start.tolist(), words.end.tolist()) == ([[1, 3, 9]], [[2, 7, 13]])
    assert encoder.units(inputs, "token").mask.sum() == 6


def test_a_tokenizer_that_takes_syllables_apart_still_names_the_syllables() -> None:
    from transformers import BertTokenizer

    jamo = unicodedata.normalize("NFD", "참잘했다")
    words = [*VOCABULARY[:5], *sorted({*jamo, *(f"##{letter}" for letter in jamo)}), "."]
    vocabulary = {word: at for at, word in enumerate(words)}
    # What lower-casing BERTs do: NFD, then no accents.
    encoder = small(tokenizer=BertTokenizer(vocab=vocabulary, do_lower_case=True))
    inputs = encoder.collate([KOREAN])
    pairs = list(zip(inputs["start"][0].tolist(), inputs["end"][0].tolist(), strict=True))
    syllables = [letter for letter in KOREAN.replace(" ", "") for _ in decomposed(letter)]
    assert [KOREAN[a:b] for a, b in pairs[1:-1]] == syllables
    units = encoder.units(inputs, "token")
    assert units.start.tolist() == [[0, 2, 3, 4, 5]]
    left = encoder.remove(
        inputs, units, torch.tensor([[True, True, False, True, True]]), "empty", 0
    )
    assert left["attention_mask"].sum() == len(pairs) - len(decomposed("했"))


def decomposed(letter: str) -> str:
    return unicodedata.normalize("NFD", letter)


def test_a_word_goes_with_all_its_sub_tokens(distilbert: Path) -> None:
    encoder = DistilBertEncoder.from_pretrained(distilbert)
    inputs = encoder.collate([KOREAN])
    words = encoder.units(inputs, "word")
    keep = torch.tensor([[True, False]])
    masked = encoder.remove(inputs, words, keep, "mask", 0)
    assert masked["input_ids"].tolist() == [[2, 5, 4, 4, 4, 4, 3]]
    emptied = encoder.remove(inputs, words, keep, "empty", 0)
    assert emptied["input_ids"].tolist() == [[2, 5, 3, 0, 0, 0, 0]]
    assert emptied["special"].tolist() == [[True, False, True] + [False] * 4]


def test_a_span_that_ends_inside_a_token_removes_it(distilbert: Path) -> None:
    encoder = DistilBertEncoder.from_pretrained(distilbert)
    inputs = encoder.collate(["well done"])
    own = Spans(torch.tensor([[0.0, 6.0]]), torch.tensor([[1.0, 6.0]]), "characters")
    left = encoder.remove(inputs, own, torch.tensor([[False, False]]), "empty", 0)
    assert left["input_ids"].tolist() == [[2, VOCABULARY.index("done"), 3, 0]]


def test_padding_has_the_tokenizers_own_id_and_no_token_types() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.pad_token = "[UNK]"
    encoder = small(tokenizer=tokenizer)
    inputs = encoder.collate(["abc", "a", None])
    assert inputs["input_ids"][1].tolist()[3:] == [1, 1]
    assert (inputs["input_ids"][2] == 1).all()
    assert not any("type" in key for key in inputs)
    spans = encoder.units(inputs, "word")
    left = encoder.remove(inputs, spans, torch.zeros_like(spans.mask), "empty", 0)
    assert (left["input_ids"][~left["attention_mask"]] == 1).all()


def test_ids_at_padding_are_never_read() -> None:
    from transformers import RobertaConfig

    torch.manual_seed(0)
    encoder = TransformersTextEncoder(RobertaConfig(**BERT)).eval()
    inputs = dict(encoder.collate(["ab", "abcdef", None]))
    before = encoder(inputs).values
    inputs["input_ids"] = inputs["input_ids"].masked_fill(~inputs["attention_mask"], 7)
    assert torch.equal(encoder(inputs).values, before)


def test_the_default_is_distilbert_over_bytes() -> None:
    from transformers import DistilBertConfig

    torch.manual_seed(0)
    encoder = TransformersTextEncoder(DistilBertConfig(n_layers=1))
    assert encoder.dim == 768
    assert len(encoder.collate.tokenizer) == 261
    default = DistilBertEncoder()
    assert default.model.config.model_type == "distilbert"
    assert default(default.collate(["기쁨 and joy"])).values.shape[2] == 768


def test_a_model_of_transformers_is_used_as_it_is() -> None:
    from transformers import DistilBertConfig, DistilBertModel

    model = DistilBertModel(DistilBertConfig(**DISTILBERT))
    assert TransformersTextEncoder(model).model is model


def test_making_an_encoder_leaves_the_users_config_alone() -> None:
    from transformers import DistilBertConfig

    config = DistilBertConfig(**DISTILBERT)
    before = config.to_dict()
    TransformersTextEncoder(config)
    assert config.to_dict() == before


def test_it_comes_back_from_its_folder_exactly(tmp_path: Path) -> None:
    encoder = small(trainable=1, max_length=9, truncate=True).eval()
    encoder.save_pretrained(tmp_path / "new" / "folder")
    before = torch.random.get_rng_state()
    again = DistilBertEncoder.from_pretrained(tmp_path / "new" / "folder").eval()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (again.trainable, again.max_length, again.truncate) == (1, 9, True)
    inputs, repeated = encoder.collate([KOREAN]), again.collate([KOREAN])
    assert all(torch.equal(inputs[key], repeated[key]) for key in inputs)
    assert torch.equal(again(repeated).values, encoder(inputs).values)
    given = DistilBertEncoder.from_pretrained(tmp_path / "new" / "folder", "none", truncate=False)
    assert (given.trainable, given.max_length, given.truncate) == ("none", 9, False)


def test_a_saved_folder_is_one_that_transformers_loads(bert: Path, tmp_path: Path) -> None:
    encoder = TransformersTextEncoder.from_pretrained(bert).eval()
    encoder.save_pretrained(tmp_path / "ours")
    values = encoder(encoder.collate([KOREAN])).values
    torch.testing.assert_close(values, reference(tmp_path / "ours", KOREAN))


def learns(module: nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters())


@pytest.mark.parametrize(("trainable", "top"), [("none", 0), (0, 0), (1, 1), (3, 3)])
def test_top_layers_learn_and_the_rest_stays_in_eval(trainable: Any, top: int) -> None:
    encoder = small(trainable=trainable).train()
    layers = list(encoder.model.transformer.layer)
    assert [learns(layer) for layer in layers] == [False] * (3 - top) + [True] * top
    assert [layer.training for layer in layers] == [learns(layer) for layer in layers]
    assert not learns(encoder.model.embeddings)
    assert not encoder.model.embeddings.dropout.training


def test_all_means_all() -> None:
    encoder = small().train()
    assert all(p.requires_grad for p in encoder.parameters())
    assert all(module.training for module in encoder.modules())


def test_a_bert_has_numbered_layers_too(bert: Path) -> None:
    encoder = TransformersTextEncoder.from_pretrained(bert, trainable=2)
    assert [learns(layer) for layer in encoder.model.encoder.layer] == [False, True, True]


@pytest.mark.parametrize("trainable", ["some", 4, -1, True, 1.0])
def test_an_unknown_choice_of_layers_is_refused(trainable: Any) -> None:
    with pytest.raises(InputError, match="trainable"):
        small(trainable=trainable)


def test_a_model_without_numbered_layers_learns_whole_or_not_at_all() -> None:
    from transformers import AlbertConfig

    config = AlbertConfig(**BERT, embedding_size=8)
    assert not learns(TransformersTextEncoder(config, trainable="none"))
    with pytest.raises(InputError, match="not known by number") as caught:
        TransformersTextEncoder(config, trainable=1)
    assert "'none'" in caught.value.expected
    assert "'all'" in caught.value.expected


def test_a_long_text_is_refused_or_cut_as_asked() -> None:
    text = "a" * 31
    assert small().collate([text[:30]])["input_ids"].shape == (1, 32)
    with pytest.raises(InputError, match="too long") as caught:
        small().collate(["a", text])
    assert caught.value.index == 1
    cut = small(truncate=True, max_length=6).collate([text, "b"])
    assert cut["input_ids"].shape == (2, 6)
    assert cut["special"][0].tolist() == [True, False, False, False, False, True]
    with pytest.raises(InputError, match="too long"):
        small(max_length=6).collate([text])


def test_a_text_cut_down_to_its_spaces_is_left_alone() -> None:
    encoder = small(truncate=True, max_length=5)
    inputs = encoder.collate([" " * 9 + "a"])
    spans = encoder.units(inputs, "word")
    left = encoder.remove(inputs, spans, torch.zeros_like(spans.mask), "empty", 0)
    assert torch.equal(left["attention_mask"], inputs["attention_mask"])


def test_the_limit_of_a_roberta_is_its_positions_less_the_padding() -> None:
    from transformers import RobertaConfig

    encoder = TransformersTextEncoder(RobertaConfig(**BERT)).eval()
    assert encoder.collate.limit == 30
    encoder(encoder.collate(["a" * 28]))


@pytest.mark.parametrize("length", [2, 0, -1, 33, 5.0, True])
def test_a_length_out_of_range_is_refused(length: Any) -> None:
    with pytest.raises(InputError, match="max_length"):
        small(max_length=length)


def test_a_text_of_which_no_token_is_left_is_refused(distilbert: Path) -> None:
    encoder = DistilBertEncoder.from_pretrained(distilbert)
    with pytest.raises(InputError, match="without a single token"):
        encoder.collate(["​​"])


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(distilbert: Path) -> None:
    from transformers import DistilBertConfig

    with pytest.raises(InputError, match="more ids"):
        DistilBertEncoder(DistilBertConfig(**DISTILBERT | {"vocab_size": 260}))
    DistilBertEncoder(DistilBertConfig(**DISTILBERT | {"vocab_size": 261}))
    byte_tokenizer().save_pretrained(distilbert)
    (distilbert / "model.safetensors").unlink()
    DistilBertEncoder(DistilBertConfig(**DISTILBERT)).model.save_pretrained(distilbert)
    edit(distilbert, vocab_size=200)
    with pytest.raises(CheckpointError, match="more ids"):
        DistilBertEncoder.from_pretrained(distilbert)


def test_a_tokenizer_without_offsets_is_refused() -> None:
    with pytest.raises(InputError, match="without character offsets"):
        small(tokenizer=str.split)


def test_a_tokenizer_without_a_mask_token_can_only_delete() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.mask_token = None
    encoder = small(tokenizer=tokenizer)
    assert encoder.removals == ("empty",)
    inputs = encoder.collate([KOREAN])
    spans = encoder.units(inputs, "word")
    with pytest.raises(RemovalError, match="no mask token") as caught:
        encoder.remove(inputs, spans, spans.mask, "mask", 0)
    assert "empty" in caught.value.mend
    encoder.remove(inputs, spans, spans.mask, "empty", 0)


@pytest.mark.parametrize("config", [{"vocab_size": 5}, "distilbert", 3])
def test_what_is_no_config_is_refused(config: Any) -> None:
    with pytest.raises(InputError, match="not a model"):
        TransformersTextEncoder(config)


def test_a_config_of_another_kind_is_refused() -> None:
    from transformers import BertConfig, CLIPConfig, T5Config, Wav2Vec2Config

    for config in (Wav2Vec2Config(), T5Config(), CLIPConfig()):
        with pytest.raises(InputError, match="not a model"):
            TransformersTextEncoder(config)
    with pytest.raises(InputError, match="DistilBertEncoder"):
        DistilBertEncoder(BertConfig(**BERT))


def test_the_preset_refuses_another_checkpoint(bert: Path) -> None:
    with pytest.raises(CheckpointError, match="DistilBertEncoder") as caught:
        DistilBertEncoder.from_pretrained(bert)
    assert caught.value.got == "bert"


def test_a_speech_checkpoint_is_refused(tmp_path: Path) -> None:
    from transformers import Wav2Vec2Config

    Wav2Vec2Config().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="not a model for TransformersTextEncoder"):
        TransformersTextEncoder.from_pretrained(tmp_path)


def test_a_folder_without_weights_is_refused(distilbert: Path) -> None:
    (distilbert / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        DistilBertEncoder.from_pretrained(distilbert)


def test_a_pickle_is_never_read(distilbert: Path) -> None:
    (distilbert / "model.safetensors").rename(distilbert / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"no model\.safetensors") as caught:
        DistilBertEncoder.from_pretrained(distilbert)
    assert "pytorch_model.bin" in caught.value.got
    assert "modalxai convert distilbert" in caught.value.mend


def test_broken_weights_are_refused(distilbert: Path) -> None:
    (distilbert / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        DistilBertEncoder.from_pretrained(distilbert)


def test_a_folder_without_a_tokenizer_is_refused(distilbert: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (distilbert / name).unlink()
    with pytest.raises(CheckpointError, match="tokenizer") as caught:
        DistilBertEncoder.from_pretrained(distilbert)
    assert "tokenizer.save_pretrained" in caught.value.mend


def test_a_folder_without_a_config_is_refused(distilbert: Path) -> None:
    (distilbert / "config.json").unlink()
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        DistilBertEncoder.from_pretrained(distilbert)


def test_weights_that_would_be_random_are_refused_by_name(distilbert: Path) -> None:
    edit(distilbert, n_layers=4)
    with pytest.raises(CheckpointError, match="would be random") as caught:
        DistilBertEncoder.from_pretrained(distilbert)
    assert "transformer.layer.3.attention.k_lin" in caught.value.got


def test_weights_of_another_size_are_refused(distilbert: Path) -> None:
    edit(distilbert, hidden_dim=20)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        DistilBertEncoder.from_pretrained(distilbert)


def test_code_in_a_checkpoint_is_never_run(distilbert: Path) -> None:
    trap = distilbert / "trap.py"
    trap.write_text(f"open({str(distilbert / 'sprung')!r}, 'w')\n")
    edit(distilbert, model_type="own", auto_map={"AutoConfig": "trap.C", "AutoModel": "trap.M"})
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        TransformersTextEncoder.from_pretrained(distilbert)
    assert not (distilbert / "sprung").exists()


@pytest.mark.parametrize("name", ["no/such-name", "/no/such/folder", "no such name", ""])
def test_a_name_that_is_not_found_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        TransformersTextEncoder.from_pretrained(name)


def test_a_head_that_is_left_over_is_no_error(distilbert: Path) -> None:
    config = text_checkpoint.load_config(distilbert)
    model = text_checkpoint.load_model(distilbert, config)
    assert not any("classifier" in name for name, _ in model.named_parameters())


def test_half_precision_checkpoints_are_computed_in_float32(
    distilbert: Path, tmp_path: Path
) -> None:
    encoder = DistilBertEncoder.from_pretrained(distilbert)
    folder = tmp_path / "half"
    encoder.model.to(torch.bfloat16).save_pretrained(folder)
    shutil.copy(distilbert / "tokenizer.json", folder)
    shutil.copy(distilbert / "tokenizer_config.json", folder)
    again = DistilBertEncoder.from_pretrained(folder)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
