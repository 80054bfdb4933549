from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support import spm
from torch import Tensor
from transformers import (
    SpeechT5Config,
    SpeechT5FeatureExtractor,
    SpeechT5ForSpeechToSpeech,
    SpeechT5ForSpeechToText,
    SpeechT5ForTextToSpeech,
)
from transformers.models.speecht5.modeling_speecht5 import (
    SpeechT5EncoderWithSpeechPrenet,
    SpeechT5EncoderWithTextPrenet,
)

from modalxai import masking, plugins
from modalxai.encoders import SpeechT5SpeechEncoder, SpeechT5TextEncoder
from modalxai.encoders.speecht5 import BLANK, character_tokenizer, speecht5_tokenizer
from modalxai.errors import CheckpointError, DependencyError, InputError, RemovalError
from modalxai.types import Audio, Features, Spans

RATE = 16_000
TINY: dict[str, Any] = {
    "hidden_size": 32,
    "encoder_layers": 3,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 16,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "speech_decoder_prenet_units": 8,
    "speech_decoder_postnet_units": 8,
    "speaker_embedding_dim": 8,
    "max_text_positions": 40,
}
TEXT = "Well done, it is very good!"


def clip(samples: int, seed: int = 0) -> Audio:
    generator = torch.Generator().manual_seed(seed)
    noise = 0.1 * torch.randn(samples, generator=generator)
    return Audio(noise * (1 + torch.sin(torch.arange(samples) / 900)), RATE)


def speech(norm: str = "group", **settings: Any) -> SpeechT5SpeechEncoder:
    config = SpeechT5Config(**TINY, feat_extract_norm=norm, conv_bias=norm == "layer")
    return SpeechT5SpeechEncoder.from_config(config, **settings).eval()


def text(**settings: Any) -> SpeechT5TextEncoder:
    return SpeechT5TextEncoder.from_config(SpeechT5Config(**TINY), **settings).eval()


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


# Speech.


@pytest.mark.parametrize("norm", ["group", "layer"])
@torch.no_grad()
def test_one_clip_is_what_transformers_gives(norm: str) -> None:
    encoder = speech(norm)
    wave = clip(9001).waveform
    theirs = SpeechT5FeatureExtractor()(audio=wave.numpy(), sampling_rate=RATE, return_tensors="pt")
    expected = encoder.model(theirs["input_values"]).last_hidden_state
    features = encoder(encoder.collate([Audio(wave, RATE)]))
    assert features.values.shape == expected.shape
    assert relative(features.values, expected) < 1e-5
    start, end = features.spans.start[0], features.spans.end[0]
    torch.testing.assert_close((start + end) / 2 * RATE, 320.0 * torch.arange(len(start)) + 200)


@pytest.mark.parametrize("norm", ["group", "layer"])
@torch.no_grad()
def test_a_clip_alone_is_its_row_of_a_batch(norm: str) -> None:
    encoder = speech(norm)
    raws = [clip(6007, 1), None, clip(24_100, 2), clip(400, 3), clip(6007, 4)]
    together = encoder(encoder.collate(raws))
    for row, raw in enumerate(raws):
        alone = encoder(encoder.collate([raw]))
        count = int(alone.mask.sum())
        assert int(together.mask[row].sum()) == count
        assert together.values[row, count:].abs().sum() == 0
        if raw is not None:
            assert count == (len(raw.waveform) - 400) // 320 + 1
            assert relative(together.values[row, :count], alone.values[0, :count]) < 1e-5


@torch.no_grad()
def test_a_padded_run_of_transformers_is_wrong() -> None:
    encoder = speech()
    inputs = encoder.collate([clip(6007, 1), clip(24_100, 2)])
    seen = masking.from_lengths(inputs["length"], 24_100).long()
    padded = encoder.model(inputs["waveform"], attention_mask=seen).last_hidden_state
    alone = encoder(encoder.collate([clip(6007, 1)])).values[0]
    assert relative(padded[0, : len(alone)], alone) > 0.01


def test_nothing_flows_to_padding_or_from_it() -> None:
    encoder = speech()
    inputs = encoder.collate([clip(6007), None, clip(12_100)])
    waveform = inputs["waveform"].requires_grad_()
    encoder({**inputs, "waveform": waveform}).values[..., 0].sum().backward()
    assert waveform.grad is not None
    assert waveform.grad[0, :5000].abs().max() > 0
    assert waveform.grad[0, 6007:].abs().max() == 0
    assert waveform.grad[1].abs().max() == 0


def test_forward_is_tail_of_stem() -> None:
    encoder = speech()
    inputs = encoder.collate([clip(6007), None])
    stem = encoder.stem(inputs)
    before = stem.values.clone()
    staged = encoder.tail(Features(stem.values, stem.mask, stem.spans))
    assert torch.equal(staged.values, encoder(inputs).values)
    assert torch.equal(stem.values, before)
    assert encoder.blank.shape == (32,)


@torch.no_grad()
def test_the_learned_mask_is_what_transformers_puts_in_place() -> None:
    encoder = speech()
    inputs = encoder.collate([clip(9001)])
    units = Spans(torch.tensor([[0.1]]), torch.tensor([[0.2]]), "seconds")
    keep = torch.zeros(1, 1, dtype=torch.bool)
    masked = encoder.remove(inputs, units, keep, "learned-mask", 0)
    hidden, _ = encoder.model.prenet(inputs["waveform"], mask_time_indices=masked["blank"].clone())
    expected = encoder.model.wrapped_encoder(hidden).last_hidden_state
    assert relative(encoder(masked).values, expected) < 1e-5
    assert masked["blank"].sum() == 5
    silent = encoder.remove(inputs, units, keep, "silence", 0)
    assert silent["waveform"][0, 1800:3000].abs().sum() == 0
    with pytest.raises(RemovalError, match="learned-mask"):
        encoder.remove(inputs, units, keep, "shuffle", 0)


@pytest.mark.parametrize("whole", [SpeechT5ForSpeechToSpeech, SpeechT5ForSpeechToText])
@torch.no_grad()
def test_a_published_checkpoint_gives_its_encoder(tmp_path: Path, whole: Any) -> None:
    model = whole(SpeechT5Config(**TINY)).eval()
    model.save_pretrained(tmp_path)
    SpeechT5FeatureExtractor(do_normalize=True).save_pretrained(tmp_path)
    # Published checkpoints also hold tables that transformers now computes.
    weights = load_file(tmp_path / "model.safetensors")
    weights["speecht5.encoder.prenet.pos_sinusoidal_embed.weights"] = torch.zeros(3, 32)
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    before = torch.random.get_rng_state()
    encoder = plugins.create("encoders", "speecht5-speech", checkpoint=tmp_path).eval()
    assert torch.equal(torch.random.get_rng_state(), before)
    inputs = encoder.collate([clip(6007)])
    assert abs(float(inputs["waveform"].std()) - 1) < 1e-3
    expected = model.speecht5.encoder(inputs["waveform"]).last_hidden_state
    assert relative(encoder(inputs).values, expected) < 1e-5


@torch.no_grad()
def test_speech_comes_back_from_its_folder_exactly(tmp_path: Path) -> None:
    encoder = speech(trainable=1, segment_seconds=0.25, layers="weighted")
    assert encoder.mix is not None
    encoder.mix.weights.copy_(torch.tensor([0.3, -1.0, 2.0, 0.1]))
    encoder.save_pretrained(tmp_path)
    again = SpeechT5SpeechEncoder.from_pretrained(tmp_path).eval()
    inputs = encoder.collate([clip(6007), None])
    assert torch.equal(again(inputs).values, encoder(inputs).values)
    assert (again.trainable, again.segment_seconds, again.layers) == (1, 0.25, "weighted")
    assert not again.collate.normalize
    assert isinstance(SpeechT5EncoderWithSpeechPrenet.from_pretrained(tmp_path), torch.nn.Module)


def test_a_checkpoint_without_a_mask_vector_offers_no_learned_mask(tmp_path: Path) -> None:
    SpeechT5ForSpeechToSpeech(SpeechT5Config(**TINY)).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["speecht5.encoder.prenet.masked_spec_embed"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    assert SpeechT5SpeechEncoder.from_pretrained(tmp_path).removals == ("silence", "noise")


def test_wrong_models_are_refused(tmp_path: Path) -> None:
    from transformers import Wav2Vec2Config

    SpeechT5ForTextToSpeech(SpeechT5Config(**TINY)).save_pretrained(tmp_path / "tts")
    with pytest.raises(CheckpointError, match="does not hold the encoder's weights"):
        SpeechT5SpeechEncoder.from_pretrained(tmp_path / "tts")
    character_tokenizer().save_pretrained(tmp_path / "vc")
    SpeechT5ForSpeechToSpeech(SpeechT5Config(**TINY)).save_pretrained(tmp_path / "vc")
    with pytest.raises(CheckpointError, match="would be random"):
        SpeechT5TextEncoder.from_pretrained(tmp_path / "vc")
    with pytest.raises(CheckpointError, match="another architecture"):
        SpeechT5SpeechEncoder(Wav2Vec2Config())
    with pytest.raises(InputError, match="SpeechT5TextEncoder"):
        SpeechT5TextEncoder(Wav2Vec2Config())
    with pytest.raises(CheckpointError, match="not the encoder alone"):
        SpeechT5SpeechEncoder(SpeechT5ForSpeechToSpeech(SpeechT5Config(**TINY)))
    with pytest.raises(InputError, match="not the encoder alone"):
        SpeechT5TextEncoder(SpeechT5ForTextToSpeech(SpeechT5Config(**TINY)))
    (tmp_path / "vc" / "model.safetensors").unlink()
    torch.save({}, tmp_path / "vc" / "pytorch_model.bin")
    for kind in (SpeechT5SpeechEncoder, SpeechT5TextEncoder):
        with pytest.raises(CheckpointError, match=r"safetensors"):
            kind.from_pretrained(tmp_path / "vc")


@pytest.mark.parametrize("make", [speech, text])
def test_top_layers_learn_and_the_rest_stays_in_eval(make: Any) -> None:
    encoder = make(trainable=2).train()
    inside = encoder.model.wrapped_encoder
    learning = {name for name, value in encoder.named_parameters() if value.requires_grad}
    assert learning
    assert all(name.startswith("model.wrapped_encoder.layers.") for name in learning)
    assert [layer.training for layer in inside.layers] == [False, True, True]
    assert not inside.dropout.training
    frozen = make(trainable="none", layers="weighted").train()
    learning = {name for name, value in frozen.named_parameters() if value.requires_grad}
    assert learning == {"mix.weights"}


@pytest.mark.parametrize("make", [speech, text])
def test_no_weight_is_left_that_never_learns(make: Any) -> None:
    encoder = make().train()
    raw = clip(9001) if make is speech else TEXT
    features = encoder(encoder.collate([raw]))
    (features.values * torch.randn_like(features.values)).sum().backward()
    left = [name for name, p in encoder.named_parameters() if p.grad is None]
    # The learned mask is used where something is removed.
    assert left in ([], ["model.prenet.masked_spec_embed"])


@torch.no_grad()
def test_siamese_encoders_start_alike_and_part() -> None:
    first = speech()
    second = copy.deepcopy(first)
    inputs = first.collate([clip(6007)])
    assert torch.equal(first(inputs).values, second(inputs).values)
    second.model.wrapped_encoder.layers[0].layer_norm.weight.add_(1)
    assert not torch.equal(first(inputs).values, second(inputs).values)
    words = text()
    words.model.wrapped_encoder.load_state_dict(first.model.wrapped_encoder.state_dict())
    assert torch.equal(
        words.model.wrapped_encoder.layers[2].layer_norm.weight,
        first.model.wrapped_encoder.layers[2].layer_norm.weight,
    )


@pytest.mark.parametrize("make", [speech, text])
@torch.no_grad()
def test_weighted_layers_are_a_mean_of_all_hidden_states(make: Any) -> None:
    encoder = make(layers="weighted")
    inputs = encoder.collate([clip(6007) if make is speech else TEXT])
    given = inputs["waveform" if make is speech else "input_ids"]
    states = encoder.model(given, output_hidden_states=True).hidden_states
    assert len(states) == 4
    assert relative(encoder(inputs).values, torch.stack(states).mean(0)) < 1e-5


# Text.


@torch.no_grad()
def test_a_text_is_what_transformers_gives_whatever_shares_its_batch() -> None:
    encoder = text()
    raws = [TEXT, None, "a", TEXT + " Very good"]
    inputs = encoder.collate(raws)
    together = encoder(inputs)
    for row, raw in enumerate(raws):
        count = int(inputs["attention_mask"][row].sum())
        assert together.values[row, count:].abs().sum() == 0
        if raw is not None:
            alone = encoder.model(inputs["input_ids"][row : row + 1, :count]).last_hidden_state
            assert relative(together.values[row, :count], alone[0]) < 1e-5
    changed = {**inputs, "input_ids": inputs["input_ids"].masked_fill(~inputs["attention_mask"], 9)}
    assert torch.equal(encoder(changed).values, together.values)


def test_words_and_characters_are_its_units() -> None:
    encoder = text()
    inputs = encoder.collate(["It is  good.", None])
    words = encoder.units(inputs, "word")
    assert (words.start[0].tolist(), words.end[0].tolist()) == ([0, 3, 7], [2, 5, 12])
    keep = torch.tensor([[True, False, True]] * 2)
    mask_id = encoder.collate.tokenizer.mask_token_id
    masked = encoder.remove(inputs, words, keep, "mask", 0)["input_ids"]
    changed = (masked != inputs["input_ids"])[0].nonzero().flatten().tolist()
    assert changed == [4, 5]
    assert masked[0, [4, 5]].tolist() == [mask_id] * 2
    emptied = encoder.remove(inputs, words, keep, "empty", 0)
    assert emptied["attention_mask"].sum() == inputs["attention_mask"].sum() - 2
    assert encoder.units(inputs, "token").mask[0].sum() == 11


@pytest.mark.parametrize(
    ("raw", "found"), [("참 잘했다.", "참"), ("well 안녕", "안녕"), ("a = b€", "=€")]
)
def test_what_the_vocabulary_cannot_hold_is_an_error_with_the_mend(raw: str, found: str) -> None:
    with pytest.raises(InputError, match="cannot hold") as caught:
        text().collate(["fine", None, raw])
    assert caught.value.index == 2
    assert found in caught.value.got
    assert "romanise" in caught.value.mend
    assert "translate" in caught.value.mend


def test_the_limit_is_max_text_positions() -> None:
    encoder = text()
    encoder(encoder.collate(["a" * 38]))
    with pytest.raises(InputError, match="too long") as caught:
        encoder.collate(["a" * 39])
    assert "40" in caught.value.expected
    cut = text(truncate=True).collate(["a" * 60])
    assert cut["input_ids"].shape == (1, 40)
    assert cut["input_ids"][0, -1] == 2
    with pytest.raises(InputError, match="max_length"):
        text(max_length=41)


# The ids that transformers' own tests tell of the published vocabulary.
KNOWN = dict(enumerate("▁etaonihsrdlucmfwgy,pb.vk", 4)) | {29: "'", 30: "I", 32: "T", 73: "é"}
SENTENCES = {
    "This is a test": [4, 32, 11, 10, 12, 4, 10, 12, 4, 7, 4, 6, 5, 12, 6],
    "I was born in, and this is falsé.": [
        *(4, 30, 4, 20, 7, 12, 4, 25, 8, 13, 9, 4, 10, 9, 23, 4, 7, 9, 14, 4, 6, 11, 10, 12),
        *(4, 10, 12, 4, 19, 7, 15, 12, 73, 26),
    ],
}


@pytest.fixture
def tts(tmp_path: Path) -> Path:
    """A text-to-speech checkpoint with the published files, tiny."""
    model = SpeechT5ForTextToSpeech(SpeechT5Config(**TINY))
    model.save_pretrained(tmp_path)
    pieces: list[spm.Piece] = [
        ("<s>", 0.0, spm.CONTROL),
        ("<pad>", 0.0, spm.CONTROL),
        ("</s>", 0.0, spm.CONTROL),
        ("<unk>", 0.0, spm.UNKNOWN),
        *(
            (KNOWN.get(index, chr(0x3B1 + index)), -float(index), spm.NORMAL)
            for index in range(4, 79)
        ),
    ]
    (tmp_path / "spm_char.model").write_bytes(spm.write(pieces))
    (tmp_path / "added_tokens.json").write_text(json.dumps({BLANK: 80, "<mask>": 79}))
    return tmp_path


@torch.no_grad()
def test_a_text_checkpoint_gives_its_encoder_and_the_published_ids(tts: Path) -> None:
    weights = load_file(tts / "model.safetensors")
    weights["speecht5.encoder.prenet.encode_positions.pe"] = torch.zeros(1, 3, 32)
    save_file(weights, tts / "model.safetensors", {"format": "pt"})
    encoder = plugins.create("encoders", "speecht5-text", checkpoint=tts).eval()
    for raw, ids in SENTENCES.items():
        assert encoder.collate([raw])["input_ids"].tolist() == [[*ids, 2]]
    assert encoder.collate.tokenizer.mask_token_id == 79
    inputs = encoder.collate([*SENTENCES, None])
    model = SpeechT5ForTextToSpeech.from_pretrained(tts).eval()
    expected = model.speecht5.encoder(inputs["input_ids"][1:2]).last_hidden_state
    assert relative(encoder(inputs).values[1], expected[0]) < 1e-5
    with pytest.raises(InputError, match="cannot hold") as caught:
        encoder.collate(["in 92000"])
    assert "numbers as words" in caught.value.mend


@torch.no_grad()
def test_text_comes_back_without_sentencepiece(
    tts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    encoder = SpeechT5TextEncoder.from_pretrained(tts, trainable=1, layers="weighted").eval()
    encoder.save_pretrained(tmp_path / "ours")
    # The encoder's own names, and not those of the model that it was cut from.
    saved = load_file(tmp_path / "ours" / "model.safetensors")
    assert {name.split(".")[0] for name in saved} == {"prenet", "wrapped_encoder"}
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    again = SpeechT5TextEncoder.from_pretrained(tmp_path / "ours").eval()
    inputs = again.collate(["This is a test", None])
    assert torch.equal(again(inputs).values, encoder(inputs).values)
    assert (again.trainable, again.layers, again.removals) == (1, "weighted", encoder.removals)
    collate = pickle.loads(pickle.dumps(again.collate))
    assert torch.equal(collate(["This is a test", None])["input_ids"], inputs["input_ids"])
    assert isinstance(
        SpeechT5EncoderWithTextPrenet.from_pretrained(tmp_path / "ours"), torch.nn.Module
    )
    with pytest.raises(DependencyError, match="sentencepiece"):
        SpeechT5TextEncoder.from_pretrained(tts)


def test_vocabularies_that_do_not_fit_are_refused(tts: Path) -> None:
    model, added = tts / "spm_char.model", tts / "added_tokens.json"
    assert len(speecht5_tokenizer(model, None, 81)) == 81
    assert speecht5_tokenizer(model, None, 79).mask_token_id is None
    added.write_text(json.dumps({"<mask>": 90}))
    with pytest.raises(CheckpointError, match="does not fit the vocabulary"):
        SpeechT5TextEncoder.from_pretrained(tts)
    added.unlink()
    model.write_bytes(spm.train(["This is a test of words"], 40))
    with pytest.raises(CheckpointError, match="special tokens are missing"):
        SpeechT5TextEncoder.from_pretrained(tts)
    names = {"unk_piece": "<unk>", "pad_piece": "<pad>", "bos_piece": "<s>", "eos_piece": "</s>"}
    lines = ["This is a test of words", "this is  THIS"] * 9
    model.write_bytes(
        spm.train(lines, 40, model_type="char", normalization_rule_name="nmt_nfkc_cf", **names)
    )
    with pytest.raises(CheckpointError, match="of a kind that is not supported"):
        SpeechT5TextEncoder.from_pretrained(tts)


def test_the_default_vocabulary_has_the_published_size() -> None:
    tokenizer = character_tokenizer()
    assert len(tokenizer) == 81
    assert max(tokenizer.get_vocab().values()) == 80
    assert tokenizer("Hi!")["input_ids"][-1] == tokenizer.eos_token_id == 2


@pytest.mark.parametrize("name", ["speecht5-speech", "speecht5-text"])
@torch.no_grad()
def test_the_name_alone_is_enough_and_is_the_published_size(name: str) -> None:
    encoder = plugins.create("encoders", name).eval()
    assert (encoder.dim, len(encoder.model.wrapped_encoder.layers)) == (768, 12)
    raws: list[Any] = [clip(4000), None] if name == "speecht5-speech" else [TEXT, None]
    inputs = encoder.collate(raws)
    given = inputs["waveform" if name == "speecht5-speech" else "input_ids"][:1]
    expected = encoder.model(given).last_hidden_state
    assert relative(encoder(inputs).values[:1], expected) < 1e-5
