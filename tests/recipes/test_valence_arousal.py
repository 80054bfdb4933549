"""S3 end to end in its quick form; its settings are the paper's, and so are the parts they make."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from tests.support import corpora

import modalxai as mx
from modalxai.datasets import tonebench
from modalxai.errors import CheckpointError
from modalxai.recipes import Options
from modalxai.recipes.valence_arousal import data as data
from modalxai.recipes.valence_arousal import models as models
from modalxai.recipes.valence_arousal import recipe
from modalxai.recipes.valence_arousal import results as results
from modalxai.recipes.valence_arousal import statistics as selection
from modalxai.recipes.valence_arousal.models import PUBLISHED, QUICK, TINY, Settings
from modalxai.training import fit
from modalxai.training.progress import Progress

SMALLEST = replace(
    QUICK,
    parts=(44, 44, 44),
    fewest=3,
    bodies=12,
    clusters=(2,),
    arousal_depths=(1,),
    pairs=((1, 1),),
    few_labels=11,
    seeds=1,
    regression=replace(QUICK.regression, lr=1.5e-3),
    emotion=replace(QUICK.emotion, lr=2.5e-3),
    few=replace(QUICK.few, lr=3.5e-3, epochs=1),
)


@pytest.fixture(scope="module", autouse=True)
def tiny_kobert(tmp_path_factory):
    """The tiny checkpoint, hardly trained, in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("modalxai.recipes.tiny.text.STEPS", 3)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One quick run, and what it returned."""
    options = Options(tmp_path_factory.mktemp("s3"), quick=True, quiet=True)
    return options, recipe.run(options)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)


# --- end to end -------------------------------------------------------------------------------


def test_the_quick_form_writes_everything(made):
    options, _ = made
    record = read(options.out / "metrics.json")
    assert record["run"]["recipe"] == "valence-arousal"
    found = record["metrics"]
    assert set(found) >= {"selection", "regression", "emotion", "few_labels", "latency", "chosen"}
    assert found["latency"]["window"] == 1.0
    assert found["latency"]["real_time_factor"] > 0
    for name in ("rmse", "shares", "confusion-2-1"):
        assert (options.out / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    page = (options.out / "report.html").read_text(encoding="utf-8").lower()
    assert "planted" in page
    assert all(name in page for name in ("angry", "sad", "happy", "surprise", "neutral"))
    assert "marginal" in page


def test_the_tables_are_laid_out_as_the_slides(made):
    options, _ = made
    lines = list(csv.DictReader((options.out / "results.csv").open(encoding="utf-8")))
    rows = [row for row in lines if row["table"] != "table"]  # each table may have a head
    titles = list(dict.fromkeys(row["table"] for row in rows))
    assert [title.split(",")[0].split(" on ")[0] for title in titles] == [
        "Does it differ between emotions? synthetic speech",
        "Biosignals",
        "Courses of the skin temperature",
        "Regressors",
        "Emotions by depths (audio",
        "Recall of each label by depths",
        "Part of all samples said to be each label",
        "22 clips with an emotion label",
        "Audio's share of each emotion",
    ]
    tests = [row["name"] for row in rows if row["group"] == "arousal"]
    assert len({name for name in tests if name.startswith("normality of")}) == 5
    for name in ("equal variances (Bartlett)", "equal variances (Levene)"):
        assert name in tests
    assert "equal means (Welch's ANOVA)" in tests
    told = [row for row in rows if row["group"] == "arousal, pairs" and row["paper"]]
    assert {(row["name"], row["paper"]) for row in told} == {
        ("angry - happy (Games-Howell)", ".98")
    }
    assert sum(row["name"] == "transfer" and row["metric"] == "macro F1" for row in rows) == 2


def test_the_papers_figures_stand_beside_their_own_lines():
    one = {"recall": {}, "said": {}, "weighted_f1": 0.5, "macro_f1": 0.5}
    found = {str(pair): one | {"depths": list(pair)} for pair in PUBLISHED.pairs}
    scores, recalls, _ = results.emotion_tables(found, ["happy", "neutral", "sad"], "x")
    assert [line.name for line in scores.lines] == ["(6, 6)", "(7, 6)", "(7, 5)"]
    assert [line.paper["weighted F1"] for line in scores.lines] == ["87.5 %", "87.6 %", "86.9 %"]
    assert recalls.lines[2].paper == {"neutral": "91 %", "happy": "84 %", "sad": "60 %"}
    regression = results.regression_table(
        {
            f"{dimension}{depth}": {"dimension": dimension, "depth": depth, "rmse": 1, "ccc": 0}
            for dimension, depth in (("arousal", 6), ("arousal", 7), ("valence", 5))
        },
        "x",
    )
    assert [line.paper.get("RMSE") for line in regression.lines] == [None, ".206", ".432"]


def test_departures_are_named(made):
    _, found = made
    assert "modality dropout 0.3" in found["about"]
    assert "disgust, fear" in found["about"]
    assert found["emotions"]["kept"] == ("angry", "sad", "happy", "surprise", "neutral")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The smallest run, with what every `fit` was given."""
    out, seen = tmp_path_factory.mktemp("unbroken"), {}

    def spy(step, samples, collate, settings, **more):
        name = more["folder"].parent.relative_to(out / "stages").as_posix()
        seen[name] = (settings, step.loss, len(samples), step.model)
        return fit(step, samples, collate, settings, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "fit", spy)
        return out, recipe.run(Options(out, quick=True, quiet=True), SMALLEST), seen


def test_a_killed_run_ends_as_one_that_was_never_killed(tmp_path, monkeypatch, unbroken):
    options = Options(tmp_path / "broken", quick=True, quiet=True)
    real, kept = Progress.keep, []

    def keep(self, loss, score):
        real(self, loss, score)
        kept.append(loss)
        if len(kept) == 5:  # after the first of two epochs of the emotion model
            raise KeyboardInterrupt

    def scored(*args, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "keep", keep)
        with pytest.raises(KeyboardInterrupt):
            recipe.run(options, SMALLEST)
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "confusion", scored)
        with pytest.raises(KeyboardInterrupt):
            recipe.run(options, SMALLEST)
    assert not (options.out / "metrics.json").exists()
    trained = []
    monkeypatch.setattr(recipe, "fit", lambda *a, **k: (trained.append(k["folder"]), fit(*a, **k)))
    again = recipe.run(options, SMALLEST)
    names = [folder.parent.relative_to(options.out / "stages").as_posix() for folder in trained]
    assert names == ["few-labels/seed-0/from-scratch", "few-labels/seed-0/transfer"]
    assert comparable(again) == comparable(unbroken[1])


def comparable(found):
    """All figures but the clock's, NaN alike."""
    return json.dumps({name: one for name, one in found.items() if name != "latency"}, default=str)


def kemdy(folder):
    """Six sessions in the shape of KEMDy20, four emotions in each."""
    draw = np.random.default_rng(0)
    sessions = {}
    for number in range(1, 7):
        rows = []
        for turn in range(8):
            emotion = ("neutral", "happy", "sad", "neutral;happy")[turn % 4]
            person = f"User{2 * number - turn % 2:03}{'MF'[turn % 2]}"
            rows.append(
                corpora.kemdy20_row(
                    f"Sess{number:02}_script{1 + turn // 4:02}_{person}_{turn:03}",
                    emotion,
                    valence=round(draw.uniform(1, 5), 1),
                    arousal=round(draw.uniform(1, 5), 1),
                    start=float(turn),
                )
            )
        sessions[number] = rows
    return corpora.kemdy20(folder, sessions)


def test_a_folder_of_kemdy20_is_read_split_and_reported(tmp_path):
    (tmp_path / "KEMDy20_v1_1").mkdir()
    folder = kemdy(tmp_path / "KEMDy20_v1_1")
    options = Options(tmp_path / "out", data=folder, quick=True, quiet=True)
    settings = replace(SMALLEST, parts=PUBLISHED.parts, fewest=2)
    found = recipe.run(options, settings)
    assert "KEMDy20" in found["about"]
    assert found["emotions"]["kept"] == ("sad", "happy", "neutral")
    assert found["emotions"]["counts"]["neutral"] == 12  # ties are left out
    assert found["planted"] == {}
    assert found["selection"]["bodies"]["gaps"]["eda"]["recorded"] == 0
    assert "not tested" in " ".join(found["selection"]["words"])
    assert "planted" not in (options.out / "results.md").read_text(encoding="utf-8")
    corpus = data.kemdy20(folder, PUBLISHED.parts, 2, 0)
    people = [set(corpus.parts[name].column("speaker")) for name in data.PARTS]
    assert all(people)
    assert len(set.union(*people)) == sum(map(len, people))


@pytest.mark.full
def test_the_full_form_shows_what_it_must(tmp_path):
    """The planted truth within ten points, every label said, transfer better on few labels."""
    found = recipe.run(Options(tmp_path, quiet=True))
    apart = {label: one["apart"] for label, one in found["planted"].items()}
    assert set(apart) == {"angry", "sad", "happy", "surprise", "neutral"}
    assert all(one < 0.1 for one in apart.values()), apart  # false for NaN too
    assert all(min(one["said"].values()) > 0.05 for one in found["emotion"].values())
    few = found["few_labels"]
    assert few["better_in"] == few["seeds"] == 6
    assert few["gain"] > 0.1
    assert few["p"] < 0.05


@pytest.mark.full
@pytest.mark.parametrize("seed", [1, 2])
def test_the_planted_truth_comes_back_on_other_corpora(tmp_path, seed):
    """Other speakers, other draws, other first weights; one of the three pairs of depths."""
    settings = replace(
        TINY,
        arousal_depths=(7,),
        valence_depths=(5,),
        pairs=((7, 5),),
        regression=replace(TINY.regression, seed=seed),
        emotion=replace(TINY.emotion, seed=seed),
        seed=seed,
    )
    system = recipe.System(Options(tmp_path, quiet=True), settings)
    system.each(recipe.System.regress, {"arousal-7": ("arousal", 7), "valence-5": ("valence", 5)})
    scores = system.recognise((7, 5))
    assert min(scores["said"].values()) > 0.05
    apart = {label: one["apart"] for label, one in system.explain((7, 5))[1].items()}
    assert len(apart) == 5
    assert all(one < 0.1 for one in apart.values()), apart


@pytest.mark.full
def test_two_processes_train_what_one_does(tmp_path):
    """Bit for bit, each on one thread."""
    one, two = (
        recipe.run(Options(tmp_path / str(count), quick=True, quiet=True, workers=count), SMALLEST)
        for count in (1, 2)
    )
    assert comparable(one) == comparable(two)


# --- settings and what they make --------------------------------------------------------------


def test_the_published_settings():
    said = asdict(PUBLISHED)
    told = {
        "mels": 128, "fmin": 100.0, "fmax": 8000.0, "frames": 512, "tokens": 64, "width": 768,
        "pairs": ((6, 6), (7, 6), (7, 5)), "fewest": 100, "modality_dropout": 0.0, "rare_below": 1,
    }  # fmt: skip
    assert {name: said[name] for name in told} == told
    assert len(PUBLISHED.strides) == 4
    assert set(PUBLISHED.strides) == {1}
    assert PUBLISHED.channels[0] == 128
    assert 7 in PUBLISHED.arousal_depths
    assert 5 in PUBLISHED.valence_depths
    assert len(PUBLISHED.arousal_depths) > 2
    assert 5 in PUBLISHED.clusters
    assert PUBLISHED.regression.lr == 1e-4
    assert PUBLISHED.emotion.lr == 5e-5
    # The narrow ones keep what costs nothing.
    kept = ("mels", "fmin", "fmax", "frames", "tokens", "pairs", "fewest")
    assert {name: said[name] for name in kept} == {name: asdict(TINY)[name] for name in kept}


def kobert(width=32):
    from transformers import BertConfig

    config = BertConfig(
        vocab_size=300, hidden_size=width, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=32, pad_token_id=1,
    )  # fmt: skip
    return mx.encoders.KoBertEncoder(config, max_length=PUBLISHED.tokens, truncate=True)


def test_the_published_shapes():
    """[2, 512, 128] to [512, 768], 64 tokens to [64, 768], 576 vectors into self-attention."""
    audio = models.audio_block(PUBLISHED, 1)
    text = models.text_block(PUBLISHED, 1, kobert(768))
    model = models.emotion_model(PUBLISHED, audio, text, ("a", "b", "c", "d", "e")).eval()
    widths = [one.convolution.weight.shape for one in audio.convolutions]
    assert [(shape[1], shape[0]) for shape in widths] == [
        (2 * 128, 128), (128, 256), (256, 512), (512, 768)
    ]  # fmt: skip
    assert {one.convolution.weight.dim() for one in audio.convolutions} == {3}  # 1-D kernels
    seen = {}
    model.fusion.blocks[0].register_forward_pre_hook(
        lambda _, args: seen.update(values=args[0], mask=args[1])
    )
    sample = {"audio": mx.Audio(0.1 * torch.randn(100_000), 16_000), "text": "참 잘했다 " * 20}
    batch = model.collate([sample])
    with torch.no_grad():
        spectrogram, counts = audio.spectrogram(batch["audio"])
        found = model.encode(batch)
        scores = model.fuse(found).scores
    assert spectrogram.shape == (1, 512, 2 * 128)
    assert counts.tolist() == [512]
    assert {name: audio.settings()[name] for name in ("mels", "fmin", "fmax", "max_frames")} == {
        "mels": 128, "fmin": 100.0, "fmax": 8000.0, "max_frames": 512
    }  # fmt: skip
    assert torch.allclose(spectrogram[:, 1:, 128:], spectrogram[:, :, :128].diff(dim=1))
    assert found["audio"].values.shape == (1, 512, 768)
    assert found["text"].values.shape == (1, 64, 768)
    together = torch.cat([found["audio"].values, found["text"].values], 1)
    assert together.shape == (1, 576, 768)
    assert seen["values"].equal(together)  # nothing between the blocks and self-attention
    assert seen["mask"].all()
    assert scores.shape == (1, 5)


def test_kernels_along_the_mel_axis_keep_the_shape():
    wide = replace(QUICK, hop=0.02, axis="mel")
    audio = models.audio_block(wide, 1)
    assert [one.convolution.weight.shape[1] for one in audio.convolutions] == [2, 16, 16, 16]
    found = audio(audio.collate([mx.Audio(0.1 * torch.randn(16_000), 16_000)]))
    assert found.values.shape == (1, 49, 16)
    assert QUICK.axis == PUBLISHED.axis == "time"


@pytest.mark.parametrize("depth", [5, 7])
def test_the_blocks_have_the_depth_and_the_layers_of_the_paper(depth):
    audio = models.audio_block(TINY, depth)
    text = models.text_block(TINY, depth, kobert())
    assert len(audio.convolutions) == 4
    assert len(audio.blocks) == len(text.sequence.blocks) == depth
    assert isinstance(text.sequence.gru, torch.nn.GRU)
    assert len(text.encoder.model.encoder.layer) == 0  # embeddings alone
    assert text.collate.tokenizer.pad_token_id == 1  # KoBERT's own
    padded = text.collate(["참", "참 잘했다"])["input_ids"]
    assert padded[0, -1] == 1
    assert (len(text.collate(["참 잘했다 " * 30])["input_ids"][0])) == 64


def test_a_regressor_starts_at_the_mean_and_its_block_is_the_emotion_models():
    block = models.audio_block(QUICK, 2)
    made = models.regressor("audio", block, "arousal", 3.25)
    assert made.labels == mx.labels("arousal", kind="dimensional")
    assert made.fusion.heads["audio"].bias.tolist() == [3.25]
    assert made.modality_dropout == 0


def test_what_is_trained_is_what_the_settings_say(unbroken):
    """Losses, learning rates and epochs of the fits that were really made."""
    out, found, seen = unbroken
    assert {name: (one[0].lr, one[0].epochs) for name, one in seen.items()} == {
        "arousal-1": (1.5e-3, 2),
        "valence-1": (1.5e-3, 2),
        "emotion-1-1": (2.5e-3, 2),
        "few-labels/seed-0/from-scratch": (3.5e-3, 1),
        "few-labels/seed-0/transfer": (3.5e-3, 1),
    }
    assert seen["arousal-1"][1].dimensional == {"mse": 1.0}
    assert list(seen["arousal-1"][3].encoders) == ["audio"]
    assert list(seen["valence-1"][3].encoders) == ["text"]
    # Few labels for the emotion, all clips for the dimensions; both arms alike.
    assert seen["few-labels/seed-0/transfer"][2] == 11
    assert seen["few-labels/seed-0/from-scratch"][2] == 11
    assert seen["arousal-1"][2] == found["regression"]["arousal-1"]["clips"] == 44
    assert read(out / "run.json")["regression"]["lr"] == 1.5e-3


@pytest.mark.parametrize(
    ("name", "value"), [("mels", 64), ("pairs", ((1, 2),)), ("parts", (44, 44, 88))]
)
def test_a_changed_setting_is_another_run(unbroken, name, value):
    with pytest.raises(CheckpointError, match=name):
        recipe.run(Options(unbroken[0], quick=True, quiet=True), replace(SMALLEST, **{name: value}))


def test_transfer_brings_the_regressors_weights_and_scratch_does_not(made):
    options, _ = made
    system = recipe.System(options, models.settings_for(options))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        moved = system.emotion_model((2, 1), transfer=True)
        torch.manual_seed(5)
        fresh = system.emotion_model((2, 1), transfer=False)
    for modality, source in (("audio", "arousal-2"), ("text", "valence-1")):
        saved = mx.EmotionModel.from_pretrained(system.run.place(source) / "model")
        weights = saved.encoder(modality).state_dict()
        for name, one in moved.encoder(modality).state_dict().items():
            assert one.equal(weights[name])
        assert any(
            not one.equal(weights[name])
            for name, one in fresh.encoder(modality).state_dict().items()
        )
    # Everything else starts alike.
    for name, one in moved.fusion.state_dict().items():
        assert one.equal(fresh.fusion.state_dict()[name])


def test_rare_labels_get_copies_by_halves(made):
    options, _ = made
    system = recipe.System(options, models.settings_for(options))
    train = system.task("train")
    copies = system.augmented(train)
    truth = train.truth
    most = max(truth.count(name) for name in set(truth))
    rare = [name for name in truth if truth.count(name) < most]
    changed = copies.column("augmented")
    for kind in ("audio", "text", "audio+text"):
        assert changed.count(kind) == pytest.approx(0.5 * len(rare), abs=3)
    added = [copies.column("labels")[row] for row, kind in enumerate(changed) if kind]
    assert not any(truth.count(next(iter(one))) == most for one in added)
    edits = copies.augment.edits
    assert [type(one).__name__ for one in edits["audio"]] == ["FrequencyMask", "NoiseFrequencyMask"]
    assert [type(one).__name__ for one in edits["text"]] == ["RandomSwap", "RandomDeletion"]
    assert (edits["audio"][0].mels, edits["audio"][0].fmin, edits["audio"][0].fmax) == (
        128, 100, 8000
    )  # fmt: skip
    # Copies differ from epoch to epoch, and training tells them the epoch.
    place = changed.index("audio")
    first = copies[place]["audio"].waveform
    copies.set_epoch(1)
    assert not torch.equal(first, copies[place]["audio"].waveform)


def test_training_tells_augmented_samples_the_epoch(made):
    options, _ = made
    system = recipe.System(options, models.settings_for(options))
    samples = system.augmented(system.task("train").few(11, 0))
    told = []
    samples.set_epoch = told.append
    model = system.emotion_model((2, 1), transfer=False)
    step = mx.training.Objective(model, mx.training.EmotionLoss())
    fit(step, samples, model.collate, mx.training.FitSettings(epochs=3, batch_size=64))
    assert told == [0, 1, 2]


@pytest.mark.parametrize(
    ("asked", "want"),
    [
        ({}, TINY),
        ({"quick": True}, QUICK),
        ({"checkpoints": "published"}, replace(PUBLISHED, parts=TINY.parts)),
        ({"seeds": 3}, replace(TINY, seeds=3)),
        (
            {"encoder_size": "small"},
            replace(
                TINY, arousal_depths=(3, 4), valence_depths=(3,), pairs=((3, 3), (4, 3))
            ),
        ),
    ],
)  # fmt: skip
def test_what_is_asked_decides_the_settings(tmp_path, asked, want):
    assert models.settings_for(Options(tmp_path, **asked)) == want


def test_real_data_are_split_by_the_papers_sizes(tmp_path):
    chosen = models.settings_for(Options(tmp_path, data=tmp_path, checkpoints="published"))
    assert chosen == PUBLISHED
    assert models.settings_for(Options(tmp_path, data=tmp_path)).parts == PUBLISHED.parts


# --- data and tests ---------------------------------------------------------------------------


def test_the_planted_rule_keeps_five_emotions_whose_truth_differs():
    corpus = data.synthetic((880, 440, 440), 100, 0)
    assert corpus.emotions == ("angry", "sad", "happy", "surprise", "neutral")
    assert 0 < corpus.counts["fear"] < 100
    assert corpus.counts["neutral"] == max(corpus.counts.values())
    shares = {name: one["audio"] for name, one in corpus.planted.items()}
    assert shares["surprise"] > 0.8
    assert all(0.3 < shares[name] < 0.6 for name in ("angry", "sad", "happy", "neutral"))
    assert max(shares.values()) - min(shares.values()) > 0.4  # no constant is within ten points
    people = [set(corpus.parts[name].column("speaker")) for name in data.PARTS]
    assert len(set.union(*people)) == sum(map(len, people))
    whole = tonebench.gold(data.planted_rule())  # with the two that are left out
    assert {name: whole[name].audio for name in shares} == pytest.approx(shares, abs=0.03)


def test_a_text_task_reads_no_recording_and_a_dimension_keeps_rare_emotions():
    corpus = data.synthetic((88, 44, 44), 3, 0)
    samples = corpus.parts["train"]
    task = data.Task(samples, ["text"], ["valence"])
    assert len(task) == 88
    assert not samples._recorded
    assert set(task[0]) == {"id", "speaker", "text", "labels"}
    assert task.truth == samples.column("valence")
    emotions = data.Task(samples, recipe.BOTH, corpus.emotions)
    kept = [name for name in samples.column("label") if name in corpus.emotions]
    assert emotions.truth == kept
    few = emotions.few(20, 1)
    assert len(few) == 20
    assert set(few.rows) < set(emotions.rows)
    assert all(few.truth.count(name) >= min(2, kept.count(name)) for name in set(kept))
    assert few.rows != emotions.few(20, 2).rows


class Columns:
    """Samples that are columns alone."""

    def __init__(self, **columns):
        self.columns = columns

    def __len__(self):
        return len(self.columns["label"])

    def __getitem__(self, row):
        return {name: values[row] for name, values in self.columns.items()}

    def column(self, name):
        return self.columns[name]


def test_selection_says_what_the_tests_say():
    draw = np.random.default_rng(0)
    names = ["angry"] * 60 + ["happy"] * 60 + ["sad"] * 60
    arousal = [*draw.normal(3, 0.5, 120), *draw.normal(2, 0.5, 60)]
    samples = Columns(label=names, arousal=arousal, valence=draw.normal(3, 0.5, 180).tolist())
    found = selection.dimension_tests(samples, ("angry", "happy", "sad"))
    assert found["arousal"]["differs"]
    assert not found["valence"]["differs"]
    p = {(one["first"], one["second"]): one["p"] for one in found["arousal"]["pairs"]}
    assert p["angry", "happy"] > 0.05 > p["angry", "sad"]
    bodies = {"untested": ["x"]}
    first, second, third = selection.words(found, bodies)
    assert first.startswith("arousal differs")
    assert first.endswith("not between angry/happy")
    assert second == "valence does not differ between emotions (Welch's ANOVA)"
    assert "not tested (x)" in third
    from scipy import stats

    groups = [np.array(arousal)[place : place + 60] for place in (0, 60, 120)]
    rows = {name: (statistic, p) for name, statistic, p in found["arousal"]["tests"]}
    assert rows["equal variances (Bartlett)"] == pytest.approx(tuple(stats.bartlett(*groups)))
    assert rows["equal variances (Levene)"] == pytest.approx(
        tuple(stats.levene(*groups, center="mean"))
    )
    assert rows["normality of sad (shapiro)"] == pytest.approx(tuple(stats.shapiro(groups[2])))


def test_a_measure_that_cannot_be_tested_is_said_to_be_untested():
    names = ["angry", "angry", "happy", "happy"]
    samples = Columns(label=names, arousal=[3.0] * 4, valence=[1.0, None, 2.0, 3.0])
    found = selection.dimension_tests(samples, ("angry", "happy"))
    assert found["arousal"]["differs"] is None
    assert found["arousal"]["untested"]
    assert "not tested" in selection.words(found, {"untested": ["y"]})[0]


def test_courses_of_a_temperature_that_follow_the_emotion_are_found():
    from modalxai.biosignals import Beats, Series

    u = np.linspace(0, 1, 32)
    draw = np.random.default_rng(0)
    names = [("angry", "happy")[row % 2] for row in range(40)]

    def temp(row):
        course = u if names[row] == "angry" else np.sin(np.pi * u)
        values = 33 + course + 0.02 * draw.standard_normal(32)
        values[5:9] = np.nan
        return Series(values[None], 4.0)

    beats = Beats(np.array([1.0, 2.0, 4.0]), np.array([1.0, 1.0, 1.0]))
    bodies = [{"temp": temp(row)} | ({"ibi": beats} if row < 10 else {}) for row in range(40)]
    samples = Columns(label=names, biosignals=bodies)
    found = selection.body_tests(samples, ("angry", "happy"), 40, (2, 3), 0)
    assert found["chosen"]["silhouette"] == 2
    assert found["association"]["v"] > 0.9
    assert found["gaps"]["temp"] == {"recorded": 1.0, "lost": 4 / 32}
    assert found["gaps"]["ibi"]["recorded"] == 0.25
    assert found["gaps"]["ibi"]["lost"] == pytest.approx(1 / 4)
    assert math.isnan(found["gaps"]["eda"]["lost"])
    said = selection.words({}, found)
    assert "go with the emotion" in said[0]
    half = selection.body_tests(samples, ("angry", "happy"), 20, (2,), 0)
    assert half["looked_at"] == 20


def test_every_label_is_counted_and_the_choice_is_by_macro_f1(made):
    _, found = made
    (one,) = found["emotion"].values()
    counts = np.array(one["confusion"])
    kept = found["emotions"]["kept"]
    assert sum(one["said"].values()) == pytest.approx(1)
    for place, name in enumerate(kept):
        assert one["said"][name] == pytest.approx(counts[:, place].sum() / counts.sum())
        assert one["recall"][name] == pytest.approx(counts[place, place] / counts[place].sum())
    scores = {
        "6-6": {"depths": [6, 6], "dev_macro_f1": 0.5, "dev_weighted_f1": 0.9},
        "7-5": {"depths": [7, 5], "dev_macro_f1": 0.6, "dev_weighted_f1": 0.8},
    }
    assert recipe.best_of(scores) == (7, 5)


def test_the_tags_of_a_transcript_never_reach_the_model(tmp_path):
    folder = kemdy(tmp_path)
    for path in (folder / "wav").rglob("*.txt"):
        path.write_bytes("b/ 네 n/ 그래* c/ 요+ 음/ l/ N/ u/\n".encode("cp949"))
    corpus = data.kemdy20(folder, PUBLISHED.parts, 2, 0)
    for part in corpus.parts.values():
        texts = data.Task(part, recipe.BOTH, corpus.emotions).column("text")
        assert set(texts) == {"네 그래 요 음"}


def test_the_tokens_of_a_run_are_kobert_s(made):
    options, _ = made
    system = recipe.System(options, models.settings_for(options))
    text = system.block("text", 1)
    assert isinstance(text.encoder, mx.encoders.KoBertEncoder)
    assert text.collate.tokenizer.pad_token_id == 1
    assert (text.collate.limit, text.collate.truncate) == (64, True)


def test_settings_are_frozen():
    with pytest.raises(AttributeError):
        Settings().width = 3
