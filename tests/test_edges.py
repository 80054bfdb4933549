"""Where a careful reader found a wrong number or a bare error; each stays mended."""

import json
import math
import shutil

import pytest
import torch
from torch.utils.data import IterableDataset

import modalxai as mx
from modalxai.types import Provenance, Targets

LABELS = mx.labels("anger", "joy", "sad")


def _samples(count, seconds=0.3):
    generator = torch.Generator().manual_seed(count)
    return [
        {
            "id": f"u{index}",
            "audio": mx.Audio(
                0.1 * torch.randn(int(16_000 * seconds), generator=generator), 16_000
            ),
            "text": "참 잘했다" + " 네" * index,
            "labels": {LABELS[index % 3].name: 1},
            "speaker": f"s{index % 2}",
        }
        for index in range(count)
    ]


def _model(fusion="shallow", labels=LABELS, **options):
    torch.manual_seed(0)
    audio = mx.encoders.MelCnnEncoder(dim=16, mels=20, channels=16, attention_layers=1, heads=2)
    text = mx.encoders.ByteTextEncoder(dim=8, layers=1, heads=2)
    made = mx.plugins.create(
        "fusion", fusion, dims={"audio": 16, "text": 8}, labels=labels, **options
    )
    return mx.EmotionModel({"audio": audio, "text": text}, made)


def _explained(audio, text):
    """A binary label whose evidence is ``audio`` and ``text``, sample by sample."""
    a, t = torch.tensor(audio), torch.tensor(text)
    ones = torch.ones(len(a), 1)
    removal = {"audio": "absent", "text": "absent"}
    return mx.Explanation(
        sample_ids=tuple(map(str, range(len(a)))),
        labels=mx.labels("tired", kind="binary"),
        modalities=("audio", "text"),
        present=torch.ones(len(a), 2, dtype=torch.bool),
        draws=torch.stack([torch.zeros(len(a)), a, t, a + t])[None, ..., None],
        targets=Targets(ones, ones.bool()),
        columns={},
        provenance=Provenance("coalition-table", {}, "raw", removal, "input", None, 0, {}),
    )


def test_a_modality_that_is_ignored_takes_no_side():
    model = _model("late", combine={"audio": 1.0, "text": 0.0})
    conflict = mx.explain(model, _samples(6)).conflict()
    assert not conflict.disagree.any()
    assert conflict.leading[:, 1].eq(-1).all()
    assert conflict.leading[:, 0].ge(0).all()


@pytest.mark.parametrize(
    ("audio", "text"), [([1.03, -1.0] * 50, [1.0, -1.029] * 50), ([1.0] * 100, [-0.04] * 100)]
)
def test_net_shares_are_shares_or_nothing(audio, text):
    row = mx.Report(_explained(audio, text), by="true", cluster=None).shares()[0]
    assert all(math.isnan(share) for share in row.net_share.values())


def test_net_shares_are_given_where_signs_agree():
    row = mx.Report(_explained([3.0] * 40, [1.0] * 40), by="true", cluster=None, truth="labels")
    assert row.shares()[0].evidence == {"audio": 3.0, "text": 1.0}


def test_a_config_without_a_setting_is_refused(tmp_path):
    mx.encoders.MelCnnEncoder(hop=0.016, fmin=300.0).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["hop"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(mx.ModalxaiError, match="hop"):
        mx.encoders.MelCnnEncoder.from_pretrained(tmp_path)


def test_an_explanation_with_the_tensors_of_another_is_refused(tmp_path):
    model = _model()
    mx.explain(model, _samples(5)).save(tmp_path / "a")
    mx.explain(model, _samples(3)).save(tmp_path / "b")
    shutil.copy(tmp_path / "a" / "explanation.safetensors", tmp_path / "b")
    with pytest.raises(mx.ModalxaiError, match="wrong shape"):
        mx.Explanation.load(tmp_path / "b")


@pytest.mark.parametrize("key", ["sample_ids", "labels", "columns", "provenance"])
def test_a_record_that_lacks_an_entry_is_named(tmp_path, key):
    mx.explain(_model(), _samples(2)).save(tmp_path)
    path = tmp_path / "explanation.json"
    record = json.loads(path.read_text())
    del record[key]
    path.write_text(json.dumps(record))
    with pytest.raises(mx.ModalxaiError, match=key):
        mx.Explanation.load(tmp_path)


@pytest.mark.parametrize("key", ["plugin", "package"])
def test_a_part_that_does_not_say_its_plugin_is_named(tmp_path, key):
    _model().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    record = json.loads(path.read_text())
    del record["parts"]["fusion"][key]
    path.write_text(json.dumps(record))
    with pytest.raises(mx.ModalxaiError, match=key):
        mx.EmotionModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["valence", "tired"])
def test_the_bare_name_of_a_label_that_is_no_class_is_no_annotation(name):
    labels = LABELS + mx.labels("valence", kind="dimensional") + mx.labels("tired", kind="binary")
    with pytest.raises(mx.ModalxaiError, match="bare name"):
        _model(labels=labels).collate([{**_samples(1)[0], "labels": name}])


@pytest.mark.parametrize("value", [float("nan"), 7.0])
def test_the_truth_of_a_report_is_checked_like_labels(value):
    explanation = mx.explain(_model(), _samples(4))
    with pytest.raises(mx.ModalxaiError, match="'u0'"):
        mx.Report(explanation, truth={"u0": {"anger": value}, "u1": "joy"})


@pytest.mark.parametrize("removal", [["mask", "silence"], 5])
def test_removals_of_a_wrong_type_are_refused(removal):
    with pytest.raises(mx.ModalxaiError, match="wrong type"):
        mx.explain(_model(), _samples(1), removal=removal)


def test_predict_reads_what_explain_reads():
    model, samples = _model(), _samples(4)
    scores = model.predict(samples).scores
    loader = torch.utils.data.DataLoader(samples, batch_size=3, collate_fn=model.collate)
    for data in (dict(model.collate(samples)), iter(samples), loader):
        torch.testing.assert_close(model.predict(data).scores, scores, rtol=1e-5, atol=1e-6)
    for size in (0, -1, 2.0):
        with pytest.raises(mx.ModalxaiError, match="batch_size"):
            model.predict(samples, batch_size=size)
    with pytest.raises(mx.ModalxaiError, match="one batch"):
        model.game(loader)


def test_an_iterable_dataset_with_a_length_is_iterated():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(_samples(2))

        def __len__(self):
            return 2

    assert mx.explain(_model(), Stream()).sample_ids == ("u0", "u1")


@pytest.mark.parametrize(
    "audio",
    [
        mx.Audio(torch.zeros(4000), 16_000, channel=3),
        mx.Audio(torch.zeros(0, 16_000), 16_000, channel="mean"),
        mx.Audio(torch.zeros(4000), 16),
        mx.Audio(torch.zeros(4000), 44_099),
    ],
)
def test_recordings_that_cannot_be_what_they_say_are_refused(audio):
    with pytest.raises(mx.ModalxaiError, match="'x'"):
        _model().collate([{"id": "x", "audio": audio, "text": "네"}])


@pytest.mark.parametrize(
    "make",
    [
        lambda: mx.fusion.LateFusion({"a": 3}, LABELS, combine={"a": float("nan")}),
        lambda: mx.fusion.ShallowFusion({"a": 3}, LABELS, hidden=-1),
        lambda: mx.fusion.ShallowFusion({"a": 3}, LABELS, dropout=2.0),
        lambda: mx.fusion.ShallowFusion({"a": 3}, ["anger", "joy"]),
        lambda: mx.encoders.MelCnnEncoder(attention_layers=-1),
        lambda: mx.encoders.MelCnnEncoder(dim=0),
        lambda: mx.explain(_model(), _samples(1), seed="a"),
    ],
)
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(mx.ModalxaiError, match="mend:"):
        make()


def test_spans_that_are_not_finite_are_refused():
    game = _model().game(_samples(2), removal={"text": "mask", "audio": "silence"})
    nowhere = torch.full((2, 1), float("nan"))
    with pytest.raises(mx.ModalxaiError, match="not finite"):
        game.divide({"text": mx.Spans(nowhere, nowhere, "characters")})


def test_the_reference_of_a_random_removal_is_the_mean_over_its_draws():
    model, samples = _model(), _samples(2)
    removal = {"text": "mask", "audio": "noise"}
    game = model.game(samples, removal=removal, draws=3)
    nothing = torch.zeros(2, 1, dtype=torch.bool)
    one = [model.game(samples, removal=removal, draws=1, seed=0).encode("audio", nothing).values]
    assert not torch.allclose(game.reference("audio"), one[0])
    assert game.reference("audio").shape == one[0].shape


def test_writing_where_a_file_stands_is_a_plain_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(mx.ModalxaiError, match="cannot be written"):
        _model().save_pretrained(tmp_path / "file")


def test_an_objective_is_unwrapped_as_it_stands_in_ddp():
    model, samples = _model(), _samples(2)
    step = mx.training.Objective(model, mx.training.EmotionLoss())
    assert torch.equal(mx.explain(step, samples).draws, mx.explain(model, samples).draws)


def test_the_forward_exports():
    model = _model().eval()
    batch = model.collate(_samples(2))
    inputs = mx.Batch({name: batch[name] for name in model.modalities})
    exported = torch.export.export(model, (inputs,))
    scores = exported.module()(inputs).scores
    torch.testing.assert_close(scores, model(inputs).scores)
