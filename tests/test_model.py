import pickle
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import modalxai as mx
from modalxai import plugins
from modalxai.errors import CheckpointError, InputError, PluginError

LABELS = mx.labels("anger", "joy", "sad")


def _samples(count=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "id": f"u{index}",
            "audio": mx.Audio(torch.randn(8000 + 2000 * index, generator=generator) * 0.1, 16_000),
            "text": "참 잘했다" + " 정말" * index,
            "labels": {LABELS[index % 3].name: 1},
            "speaker": f"s{index % 2}",
        }
        for index in range(count)
    ]


def _model(dropout=0.1, labels=LABELS):
    torch.manual_seed(0)
    audio = mx.encoders.MelCnnEncoder(dim=16, mels=20, attention_layers=0)
    text = mx.encoders.ByteTextEncoder(dim=8, layers=1, heads=2)
    fusion = mx.fusion.ShallowFusion({"audio": 16, "text": 8}, labels, hidden=8)
    return mx.EmotionModel({"audio": audio, "text": text}, fusion, modality_dropout=dropout)


def test_the_model_is_fuse_of_encode():
    model = _model().eval()
    batch = model.collate(_samples())
    assert torch.equal(model(batch).scores, model.fuse(model.encode(batch)).scores)


def test_one_clip_is_a_row_of_its_batch_whatever_the_batch_size():
    model, samples = _model(), _samples(5)
    together = model.predict(samples).scores
    for size in (1, 2, 16):
        torch.testing.assert_close(
            model.predict(samples, batch_size=size).scores, together, rtol=1e-5, atol=1e-6
        )
    torch.testing.assert_close(
        model.predict(samples[3]).scores[0], together[3], rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(
        model.predict(model.collate(samples)).scores, together, rtol=1e-5, atol=1e-6
    )


def test_predict_leaves_no_trace():
    model = _model().train()
    model.encoders["text"].eval()
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    prediction = model.predict(_samples())
    assert not prediction.scores.requires_grad
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(model.predict(_samples()).scores, prediction.scores)


def test_modality_dropout_leaves_modalities_out_while_training_only():
    model = _model(dropout=0.5)
    features = model.encode(model.collate(_samples(4)))
    seen = []
    model.fusion.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model.train()
    for _ in range(100):
        model.fuse(features)
    left = torch.stack([one["audio"].mask.any(1) for one in seen]).float().mean()
    assert 0.4 < left < 0.6
    both = torch.stack([~one["audio"].mask.any(1) & ~one["text"].mask.any(1) for one in seen])
    assert 0.15 < both.float().mean() < 0.35
    assert all(one["audio"].values[~one["audio"].mask].eq(0).all() for one in seen)
    seen.clear()
    model.eval().fuse(features)
    assert seen[0]["audio"].mask.any(1).all()


def test_dropout_zero_draws_nothing():
    model = _model(dropout=0).train()
    features = model.eval().encode(model.collate(_samples()))
    model.train()
    model.fusion.eval()
    state = torch.get_rng_state()
    model.fuse(features)
    assert torch.equal(torch.get_rng_state(), state)


def test_frozen_parts_stay_in_eval_and_the_rest_trains():
    model = _model()
    model.encoders["text"].requires_grad_(False)
    model.train()
    assert not any(module.training for module in model.encoders["text"].modules())
    assert all(module.training for module in model.encoders["audio"].modules())
    assert model.fusion.dropout.training
    model.eval()
    assert not any(module.training for module in model.modules())


def test_collate_is_picklable_and_carries_no_weights():
    model = _model()
    dumped = pickle.dumps(model.collate)
    assert len(dumped) < 20_000
    batch = pickle.loads(dumped)(_samples())
    torch.testing.assert_close(model.predict(batch).scores, model.predict(_samples()).scores)


def test_collate_makes_targets_columns_and_ids_last():
    batch = _model().collate(_samples(2))
    assert list(batch) == ["audio", "text", "targets", "columns", "ids"]
    assert batch.targets.values.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert batch.targets.mask.all()
    assert batch.columns["speaker"] == ("s0", "s1")
    assert batch.columns["text"][0] == "참 잘했다"
    assert "audio" not in batch.columns


def test_labels_of_every_kind_and_what_is_not_annotated():
    labels = (
        LABELS
        + mx.labels("tired", "loud", kind="binary")
        + mx.labels("valence", kind="dimensional")
    )
    collate = _model(labels=labels).collate
    base = _samples(1)[0]

    def targets(given):
        found = collate([base | {"labels": given}]).targets
        return found.values[0].tolist(), found.mask[0].tolist()

    assert targets("joy") == ([0, 1, 0, 0, 0, 0], [True] * 3 + [False] * 3)
    assert targets(None) == ([0] * 6, [False] * 6)
    assert targets({"anger": 0.25, "sad": 0.75})[0][:3] == [0.25, 0, 0.75]
    assert targets({"tired": 1, "loud": None, "valence": 3.5}) == (
        [0, 0, 0, 1, 0, 3.5],
        [False, False, False, True, False, True],
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": {"fear": 1}}, "unknown label 'fear'"),
        ({"labels": {"anger": 1, "joy": 1}}, "do not sum to 1"),
        ({"labels": {"anger": 0}}, "do not sum to 1"),
        ({"labels": {"anger": float("nan")}}, "finite"),
        ({"labels": {"anger": "yes"}}, "finite"),
        ({"labels": {"tired": 1}}, "without a value"),
        ({"labels": {"tired": 2, "loud": 0}}, "out of range"),
        ({"labels": 3}, "wrong type"),
        ({"audio": None, "text": None}, "all modalities are missing"),
        ({"video": torch.zeros(3)}, "unknown modality 'video'"),
        ({"text": "  "}, "mend:"),
        ({"text": 5}, "mend:"),
        ({"audio": torch.zeros(16000)}, "sample rate"),
        ({"audio": mx.Audio(torch.zeros(16000))}, "sample rate"),
        ({"audio": mx.Audio(torch.zeros(16000), 0)}, "sample rate"),
        ({"audio": mx.Audio(torch.zeros(16000, dtype=torch.int16), 16_000)}, "integer samples"),
        ({"audio": mx.Audio(torch.full((16000,), 9000.0), 16_000)}, "full scale"),
        ({"audio": mx.Audio(torch.full((16000,), float("nan")), 16_000)}, "NaN"),
        ({"audio": mx.Audio(torch.full((16000,), float("inf")), 16_000)}, "NaN or infinite"),
        ({"audio": mx.Audio(torch.zeros(0), 16_000)}, "empty"),
        ({"audio": mx.Audio(torch.zeros(100), 16_000)}, "shorter than one frame"),
        ({"audio": mx.Audio(torch.zeros(2, 16000), 16_000)}, "several channels"),
        ({"audio": "no/such/file.wav"}, "cannot be read"),
    ],
)
def test_bad_samples_are_named_with_the_mend(change, says):
    labels = LABELS + mx.labels("tired", "loud", kind="binary")
    model = _model(labels=labels)
    good = {"id": "good", "audio": mx.Audio(torch.zeros(16000), 16_000), "text": "네"}
    with pytest.raises(InputError, match=says) as error:
        model.predict([good, good | {"id": "bad-one"} | change])
    assert "'bad-one'" in error.value.wrong
    assert error.value.mend


def test_duplicated_ids_empty_lists_and_bare_samples_are_refused():
    model = _model()
    with pytest.raises(InputError, match=r"share an id[\s\S]*u0"):
        model.predict([*_samples(1), *_samples(1)])
    with pytest.raises(InputError, match="nothing to predict"):
        model.predict([])
    with pytest.raises(InputError, match="nothing to collate"):
        model.collate([])
    with pytest.raises(InputError, match="not in a list"):
        model.collate(_samples()[0])
    with pytest.raises(InputError, match="no sample"):
        model.collate(["u1"])
    with pytest.raises(InputError, match="a batch without"):
        model({"audio": model.collate(_samples())["audio"]})


@pytest.mark.parametrize(
    "make",
    [
        lambda m: mx.EmotionModel({}, m.fusion),
        lambda m: mx.EmotionModel({"audio": m.encoders["audio"]}, m.fusion),
        lambda m: mx.EmotionModel(dict(m.encoders), m.fusion, modality_dropout=1.0),
        lambda m: mx.EmotionModel(
            {"ids": m.encoders["audio"], "text": m.encoders["text"]}, m.fusion
        ),
        lambda m: mx.EmotionModel(
            {"a.b": m.encoders["audio"], "text": m.encoders["text"]}, m.fusion
        ),
    ],
)
def test_models_that_do_not_fit_together_are_refused(make):
    with pytest.raises(InputError, match="mend:"):
        make(_model())


def test_a_saved_model_comes_back_exactly_with_its_preprocessing(tmp_path):
    model = _model()
    model.save_pretrained(tmp_path)
    state = torch.get_rng_state()
    again = mx.EmotionModel.from_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(again.predict(_samples()).scores, model.predict(_samples()).scores)
    assert again.modality_dropout == model.modality_dropout
    assert again.modalities == model.modalities
    assert not list(tmp_path.rglob("*.bin"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "encoders", "fusion"]


def test_a_model_of_a_plugin_that_is_gone_names_it_with_package_and_version(tmp_path):
    model = _model()
    model.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    text = config.read_text(encoding="utf-8")
    config.write_text(
        text.replace('"mel-cnn"', '"video-gru"').replace(
            '"package": "modalxai"', '"package": "acme"'
        )
    )
    with pytest.raises(PluginError, match="pip install acme==") as error:
        mx.EmotionModel.from_pretrained(tmp_path)
    assert "video-gru" in error.value.wrong


def test_what_no_plugin_offers_is_not_saved(tmp_path):
    model = _model()

    class Mine(type(model.fusion)):
        pass

    model.fusion.__class__ = Mine
    with pytest.raises(PluginError, match="register"):
        model.save_pretrained(tmp_path)
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize(
    "content",
    ["{}", '{"format": 9, "modalities": [], "modality_dropout": 0, "parts": {"fusion": {}}}'],
)
def test_a_config_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match="mend:"):
        mx.EmotionModel.from_pretrained(tmp_path)


def test_modality_names_cannot_leave_the_folder(tmp_path):
    model = _model()
    model.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(
        config.read_text()
        .replace('"audio"', '"../audio"')
        .replace("encoders/audio", "encoders/../audio")
    )
    with pytest.raises(CheckpointError, match="plain names"):
        mx.EmotionModel.from_pretrained(tmp_path)


def test_weights_load_strictly(tmp_path):
    model = _model()
    model.save_pretrained(tmp_path)
    (tmp_path / "fusion" / "model.safetensors").unlink()
    (tmp_path / "fusion" / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="pickle"):
        mx.EmotionModel.from_pretrained(tmp_path)


@dataclass
class _Collate:
    def __call__(self, raws):
        return {"x": torch.tensor([[0.0 if raw is None else raw] for raw in raws])}


class _Bad(nn.Module):
    """An encoder of plain numbers whose features come out wrong."""

    dim = 2

    def __init__(self, wrong):
        super().__init__()
        self.wrong = wrong
        self.collate = _Collate()

    def forward(self, inputs):
        count = len(inputs["x"])
        values = torch.zeros(count, 3, 5 if self.wrong == "width" else 2)
        mask = torch.ones(count, 2 if self.wrong == "mask" else 3)
        mask = mask if self.wrong == "type" else mask.bool()
        return mx.Features(values, mask, mx.Spans(values[..., 0], values[..., 0] + 1, "index"))


@pytest.mark.parametrize("wrong", ["width", "mask", "type"])
def test_an_encoder_that_returns_nonsense_is_caught(wrong):
    fusion = mx.fusion.ShallowFusion({"number": 2}, LABELS)
    model = mx.EmotionModel({"number": _Bad(wrong)}, fusion)
    with pytest.raises(InputError, match="mend the encoder"):
        model.predict([{"number": 1.0}])


def test_plugins_make_the_same_parts_as_classes():
    fusion = plugins.create("fusion", "shallow", dims={"audio": 16, "text": 8}, labels=LABELS)
    assert type(fusion) is mx.fusion.ShallowFusion


def test_what_a_part_keeps_in_eval_the_model_leaves_there():
    from transformers import Wav2Vec2Config

    small = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_kernel=(10, 3),
        conv_stride=(5, 2),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    encoder = mx.encoders.Wav2Vec2Encoder(small, trainable=1)
    fusion = mx.fusion.ShallowFusion({"audio": 16}, LABELS)
    mx.EmotionModel({"audio": encoder}, fusion).train()
    transformer = encoder.model.encoder
    assert not transformer.dropout.training  # before the frozen layers
    assert not transformer.layers[0].dropout.training
    assert transformer.layers[1].dropout.training
    assert fusion.dropout.training
