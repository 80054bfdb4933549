from __future__ import annotations

import pytest
import torch
from toys import speech_samples

import modalxai as mx
from modalxai.errors import CheckpointError, InputError, PluginError
from modalxai.training import CachedEncoder

EMOTIONS = mx.labels("anger", "joy", "sad")
MIXED = EMOTIONS + mx.labels("tired", kind="binary") + mx.labels("valence", kind="dimensional")
VALENCE = mx.labels("arousal", kind="dimensional")
SMALL = {"dim": 8, "mels": 8, "channels": 8, "layers": 2, "strides": (2, 2), "heads": 2}


def audio(**settings):
    return mx.encoders.MelCnnEncoder(**SMALL | settings)


def text(**settings):
    return mx.encoders.ByteTextEncoder(**{"dim": 6, "layers": 1, "heads": 2} | settings)


def model(encoders, found=MIXED, fusion=mx.fusion.LateFusion, dropout=0.1, **settings):
    dims = {name: encoder.dim for name, encoder in encoders.items()}
    made = mx.EmotionModel(encoders, fusion(dims, found, **settings), dropout)
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return made


def test_a_regressors_encoder_moves_into_an_emotion_model(tmp_path):
    regressor = model({"audio": audio()}, VALENCE)
    regressor.save_pretrained(tmp_path)
    target = model({"audio": audio(), "text": text()})
    before = {key: value.clone() for key, value in target.state_dict().items()}
    report = target.load_encoder("audio", tmp_path)
    expected = regressor.encoders["audio"].state_dict()
    for key, value in target.state_dict().items():
        own = key.removeprefix("encoders.audio.")
        torch.testing.assert_close(value, expected[own] if own in expected else before[key])
    assert report.names == tuple(expected)
    assert report.values == sum(value.numel() for value in expected.values())
    assert report.folder == tmp_path / "encoders" / "audio"
    assert str(len(expected)) in str(report)
    assert str(tmp_path) in str(report)


def test_a_saved_encoder_loads_from_its_own_folder(tmp_path):
    saved = text()
    saved.save_pretrained(tmp_path)
    target = model({"words": text()})
    target.load_encoder("words", str(tmp_path))
    batch = target.collate([{"words": "참 잘했다"}])["words"]
    assert torch.equal(target.encoders["words"].eval()(batch).values, saved.eval()(batch).values)


def test_what_learns_and_what_is_cached_stays_so(tmp_path):
    saved = model({"audio": audio()})
    saved.save_pretrained(tmp_path)
    encoder = audio(trainable="none")
    target = model({"audio": encoder})
    target.load_encoder("audio", tmp_path)
    assert not any(weight.requires_grad for weight in encoder.parameters())
    cached = model({"audio": CachedEncoder(audio(trainable="none"), tmp_path / "cache")})
    cached.load_encoder("audio", tmp_path)
    batch = cached.collate(speech_samples(2))
    torch.testing.assert_close(
        cached.encode_one("audio", batch["audio"]).values,
        saved.eval().encode_one("audio", batch["audio"]).values,
    )


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"dim": 16}, "16"),
        ({"layers": 3, "strides": (2, 2, 1)}, "convolutions.2"),
        ({"strides": (2, 1)}, "stride"),  # the same shapes of weights
        ({"heads": 4}, "heads"),
        ({"normalize": True}, "normalize"),
        ({"hop": 0.02}, "hop=0.02"),
        ({"fmin": 100.0}, "fmin"),
    ],
)
def test_other_architectures_and_preprocessing_are_refused_with_the_difference(
    settings, says, tmp_path
):
    model({"audio": audio(**settings)}, VALENCE).save_pretrained(tmp_path)
    target = model({"audio": audio()})
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        target.load_encoder("audio", tmp_path)
    assert says in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_dropout_and_what_learns_may_differ(tmp_path):
    model({"audio": audio(dropout=0.5, trainable="none")}).save_pretrained(tmp_path)
    assert model({"audio": audio()}).load_encoder("audio", tmp_path).names


def test_wrong_folders_and_names_are_told(tmp_path):
    target = model({"audio": audio(), "text": text()})
    model({"audio": audio()}).save_pretrained(tmp_path / "a")
    with pytest.raises(InputError, match="unknown modality 'video'"):
        target.load_encoder("video", tmp_path / "a")
    with pytest.raises(CheckpointError, match="no modality 'text'"):
        target.load_encoder("text", tmp_path / "a")
    with pytest.raises(CheckpointError, match="missing"):
        target.load_encoder("audio", tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="mend:"):
        target.load_encoder("text", tmp_path / "a" / "encoders" / "audio")
    model({"audio": text()}).save_pretrained(tmp_path / "t")
    with pytest.raises(CheckpointError, match="byte-text"):
        target.load_encoder("audio", tmp_path / "t")


def test_other_vocabularies_are_told(tmp_path):
    from transformers import DistilBertConfig

    from modalxai.encoders.byte_tokenizer import byte_tokenizer

    def make(tokenizer):
        config = DistilBertConfig(
            vocab_size=len(tokenizer), dim=8, n_layers=1, n_heads=2, hidden_dim=8
        )
        return model({"text": mx.encoders.DistilBertEncoder(config, tokenizer)})

    saved = make(byte_tokenizer())
    saved.save_pretrained(tmp_path)
    assert make(byte_tokenizer()).load_encoder("text", tmp_path).names
    folder = tmp_path / "encoders" / "text" / "tokenizer.json"
    content = folder.read_text(encoding="utf-8")
    swapped = content.replace('"A"', '"\0"').replace('"B"', '"A"').replace('"\0"', '"B"')
    assert swapped != content
    folder.write_text(swapped, encoding="utf-8")
    with pytest.raises(CheckpointError, match="vocabulary"):
        make(byte_tokenizer()).load_encoder("text", tmp_path)


def unimodal(folder, found=MIXED, pool="first", **settings):
    for name, encoder in (("audio", audio()), ("text", text())):
        made = model({name: encoder}, found, pool="mean" if name == "audio" else pool, **settings)
        made.save_pretrained(folder / name)
    return {name: folder / name for name in ("audio", "text")}


def test_combined_scores_are_the_mean_of_the_unimodal_log_probabilities(tmp_path):
    folders = unimodal(tmp_path)
    combined = mx.EmotionModel.combine(folders)
    samples = speech_samples(4)
    alone = []
    for name, folder in folders.items():
        own = [{"id": sample["id"], name: sample[name]} for sample in samples]
        scores = mx.EmotionModel.from_pretrained(folder).predict(own).scores
        scores[:, :3] = scores[:, :3].log_softmax(1)
        alone.append(scores)
    found = combined.predict(samples).scores
    torch.testing.assert_close(found, sum(alone) / 2, rtol=0, atol=1e-6)
    assert combined.modalities == ("audio", "text")
    assert combined.labels == MIXED


def test_a_missing_modality_counts_what_its_own_model_learned(tmp_path):
    folders = unimodal(tmp_path)
    combined = mx.EmotionModel.combine({"text": folders["text"], "audio": folders["audio"]})
    sample = speech_samples(1)[0]
    lonely = mx.EmotionModel.from_pretrained(folders["audio"]).fusion
    constant = lonely.widen("audio", lonely.missing["audio"][None]).detach()
    words = mx.EmotionModel.from_pretrained(folders["text"]).predict({"text": sample["text"]})
    found = combined.predict(sample | {"audio": None}).scores
    torch.testing.assert_close(found, (words.scores + constant) / 2, rtol=0, atol=1e-6)


@pytest.mark.parametrize("combine", ["learned", {"audio": 0.8, "text": 0.2}])
def test_combined_models_are_whole_models(combine, tmp_path):
    folders = unimodal(tmp_path, combine="learned")
    combined = mx.EmotionModel.combine(folders, combine=combine, modality_dropout=0.3)
    assert combined.modality_dropout == 0.3
    combined.save_pretrained(tmp_path / "both")
    again = mx.EmotionModel.from_pretrained(tmp_path / "both")
    samples = speech_samples(3)
    assert torch.equal(again.predict(samples).scores, combined.predict(samples).scores)


def test_the_combined_model_has_seen_absence_only_if_both_have(tmp_path):
    folders = {}
    for name, encoder, dropout in (("audio", audio(), 0.2), ("text", text(), 0.0)):
        model({name: encoder}, dropout=dropout).save_pretrained(tmp_path / name)
        folders[name] = tmp_path / name
    assert mx.EmotionModel.combine(folders).modality_dropout == 0.0


def test_models_that_cannot_be_combined_are_told(tmp_path):
    folders = unimodal(tmp_path)
    shallow = model({"text": text()}, fusion=mx.fusion.ShallowFusion)
    shallow.save_pretrained(tmp_path / "shallow")
    with pytest.raises(CheckpointError, match='fusion "late"'):
        mx.EmotionModel.combine(folders | {"text": tmp_path / "shallow"})
    model({"text": text()}, EMOTIONS).save_pretrained(tmp_path / "fewer")
    with pytest.raises(CheckpointError, match="same labels"):
        mx.EmotionModel.combine(folders | {"text": tmp_path / "fewer"})
    model({"text": text()}, combine={"text": 0.5}).save_pretrained(tmp_path / "half")
    with pytest.raises(CheckpointError, match="counted once"):
        mx.EmotionModel.combine(folders | {"text": tmp_path / "half"})
    with pytest.raises(CheckpointError, match="'speech' alone"):
        mx.EmotionModel.combine({"speech": folders["audio"]})
    model({"audio": audio(), "text": text()}).save_pretrained(tmp_path / "both")
    with pytest.raises(CheckpointError, match="'audio' alone"):
        mx.EmotionModel.combine(folders | {"audio": tmp_path / "both"})
    with pytest.raises((CheckpointError, PluginError)):
        mx.EmotionModel.combine(folders | {"audio": tmp_path})
    with pytest.raises(InputError):
        mx.EmotionModel.combine({})
