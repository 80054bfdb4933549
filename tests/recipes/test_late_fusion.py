"""S1 end to end in its quick form; its settings are the paper's, and so are the parts they make."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.support import corpora

import modalxai as mx
from modalxai import biosignals
from modalxai.biosignals import Series
from modalxai.datasets import tonebench
from modalxai.errors import CheckpointError
from modalxai.fusion import LateFusion
from modalxai.recipes import Options
from modalxai.recipes.checkpoints import Checkpoints
from modalxai.recipes.late_fusion import data as data
from modalxai.recipes.late_fusion import recipe
from modalxai.recipes.late_fusion import results as results
from modalxai.recipes.late_fusion.settings import (
    BODY,
    COMBINATIONS,
    PUBLISHED,
    SPLIT,
    TINY,
    Settings,
    settings_for,
    unimodal,
)
from modalxai.training import fit
from modalxai.training.progress import Progress

SHORT = {"dim": 16, "channels": 8, "kernels": (128, 8, 4), "strides": (64, 4, 2)}
SMALLEST = replace(
    TINY,
    samples=108,
    speakers=3,
    parts=(67, 33),
    donors=2,
    speech=SHORT,
    speech_training=replace(TINY.speech_training, epochs=1),
    body_training=replace(TINY.body_training, epochs=1, batch_size=16),
    text_training=replace(TINY.text_training, epochs=1),
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
    """One small run on synthetic speech, and what it returned."""
    options = Options(tmp_path_factory.mktemp("s1"), quick=True, quiet=True)
    return options, recipe.run(options, SMALLEST)


def read(path):
    return json.loads(path.read_text("utf-8"), parse_constant=lambda x: pytest.fail(x))


# --- end to end --------------------------------------------------------------------------------


def test_everything_is_written(made):
    options, figures = made
    for name in ("metrics.json", "results.md", "results.csv", "report.html", "report_five.html"):
        assert (options.out / name).stat().st_size > 100
    for name in ("scores", "shares-three", "shares-five"):
        assert (options.out / "figures" / f"{name}.png").stat().st_size > 1000
    record = read(options.out / "metrics.json")
    assert record["run"]["recipe"] == "late-fusion"
    assert record["run"]["combine"] == "mean"
    assert record["run"]["average"] == "macro"
    assert record["run"]["body_training"]["epochs"] == 1
    assert record["metrics"]["latency"]["utterances"] == recipe.LATENCY
    assert record["metrics"]["latency"]["real_time_factor"] > 0
    assert record["metrics"]["encoders"]["audio"] == "WaveformCnnEncoder"
    assert "kobert" in record["metrics"]["encoders"]
    assert "says what it says on average" in record["metrics"]["about"][0]
    assert set(figures["planted_error"]) == {"three", "five"}
    assert set(figures["dominant_changes"]["five"]) == {"marginal", "practice"}
    assert "baseline-dependent" in record["metrics"]["about"][-1]


def test_the_table_has_the_papers_lines_and_its_figures_apart(made):
    rows = list(csv.DictReader((made[0].out / "results.csv").open(encoding="utf-8")))
    mine = [row for row in rows if row["table"].startswith("Late fusion")]
    paper = {(row["name"], row["metric"]): row["paper"] for row in mine if row["paper"]}
    assert paper == {
        ("audio", "accuracy"): ".61",
        ("audio", "F1"): ".39",
        ("text", "accuracy"): ".41",
        ("text", "F1"): ".26",
        ("biosignals", "accuracy"): ".52",
        ("biosignals", "F1"): ".31",
        ("audio + text", "accuracy"): ".63",
        ("audio + text", "F1"): ".42",
        ("all", "accuracy"): ".70",
        ("all", "F1"): ".49",
    }
    names = list(dict.fromkeys(row["name"] for row in mine))
    assert names == [*COMBINATIONS, *SPLIT]
    scores = made[1]["scores"][0]
    assert {row["name"]: float(row["value"]) for row in mine if row["metric"] == "F1"} == {
        name: pytest.approx(scores[name]["F1"]) for name in names
    }
    shown = (made[0].out / "results.md").read_text("utf-8")
    assert "F1: macro average" in shown
    assert "one network for all biosignals" in shown
    assert "each biosignal by itself" in shown


def test_the_reports_say_what_they_must(made):
    three, five = (
        (made[0].out / name).read_text("utf-8") for name in ("report.html", "report_five.html")
    )
    for page in (three, five):
        assert "absent" in page
        assert "marginal" in page
        assert "silence" in page
        assert "planted" in page.lower()
    assert "bio" in three
    assert all(name in five for name in BODY)


def test_a_combination_is_the_mean_of_the_unimodal_log_probabilities(made):
    options, _ = made
    system = recipe.System(options, SMALLEST)
    test = system.corpus.test
    own = {
        name: mx.EmotionModel.from_pretrained(system.alone(name, 0))
        for name in ("audio", "text", "bio")
    }
    logs = {
        name: torch.log_softmax(model.predict(test.only(name)).scores, -1)
        for name, model in own.items()
    }
    said = {}
    for name, modalities in COMBINATIONS.items():
        mean = sum(logs[one] for one in modalities) / len(modalities)
        scores = recipe.predicted(system.combined(modalities), test)
        torch.testing.assert_close(scores, mean, rtol=1e-4, atol=1e-5)
        said[name] = mean.argmax(-1)
    labels = [label.name for label in system.corpus.labels]
    truth = torch.tensor([labels.index(next(iter(one))) for one in test.column("labels")])
    found = made[1]["scores"][0]
    for name, guess in said.items():
        assert found[name]["accuracy"] == pytest.approx(float((guess == truth).float().mean()))


@pytest.mark.parametrize("name", ["three", "five"])
def test_absent_is_the_marginal_removal_with_every_donor(made, name):
    options, _ = made
    system = recipe.System(options, SMALLEST)
    modalities = recipe.EXPLAINED[name]
    model = system.combined(modalities)
    test, train = (part.only(*modalities) for part in (system.corpus.test, system.corpus.train))
    few = [test[index] for index in range(6)]
    donors = [train[index] for index in range(len(train))]
    absent = mx.explain(model, few, removal="absent").shapley()
    lent = mx.explain(model, few, removal="marginal", background=donors, draws="all").shapley()
    assert len(absent.modalities) == len(modalities)
    assert absent.totals.abs().max() > 1e-3
    torch.testing.assert_close(absent.totals, lent.totals, rtol=1e-3, atol=2e-5)
    again = mx.attribution.Explanation.load(system.run.place(f"seed-0/explained-{name}") / "absent")
    assert len(again.scores) == 2 ** len(modalities)
    torch.testing.assert_close(
        again.shapley().totals[:6], absent.totals, rtol=1e-3, atol=2e-5
    )  # fmt: skip


def test_an_unnamed_removal_is_refused_as_nothing_was_trained_for_it(made):
    system = recipe.System(made[0], SMALLEST)
    model = system.combined(COMBINATIONS["all"])
    with pytest.raises(mx.errors.RemovalError, match="without modality dropout"):
        mx.explain(model, system.corpus.test)


def test_the_planted_shares_are_those_of_the_rule_for_the_same_removal(made):
    found = made[1]["planted"]
    rule = tonebench.bio()
    channels = {"audio": ["tone"], "text": ["content"], "bio": ["eda", "ecg", "temp"]}
    for label, row in tonebench.gold(rule, channels=channels, removal="marginal").items():
        assert found["three"][label] == pytest.approx(row.share)
    assert all(one["temp"] == pytest.approx(0, abs=1e-12) for one in found["five"].values())
    system = recipe.System(replace(made[0], out=made[0].out / "other"), SMALLEST)
    trained = replace(SMALLEST, modality_dropout=0.2)
    system.settings = trained
    told = system.planted("three")
    for label, row in tonebench.gold(rule, channels=channels).items():
        assert told[label] == pytest.approx(row.share)
    assert "Departure from the source" in system.about[0]


# --- killed ------------------------------------------------------------------------------------


def test_a_killed_run_goes_on_and_ends_the_same(made, tmp_path, monkeypatch):
    """Killed in an epoch, and again between stages."""
    options = replace(made[0], out=tmp_path)
    keep, calls = Progress.keep, []

    def killed(self, *args):
        calls.append(1)
        keep(self, *args)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "keep", killed)
    with pytest.raises(KeyboardInterrupt):
        recipe.run(options, SMALLEST)
    monkeypatch.undo()
    assert not (tmp_path / "metrics.json").exists()
    real, fits = recipe.mx.explain, []

    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    def counted(*args, **kwargs):
        fits.append(1)
        return fit(*args, **kwargs)

    monkeypatch.setattr(recipe, "fit", counted)
    monkeypatch.setattr(recipe.mx, "explain", stopped, raising=False)
    with pytest.raises(KeyboardInterrupt):
        recipe.run(options, SMALLEST)
    assert len(fits) == 4  # two of six were whole, the third goes on
    monkeypatch.setattr(recipe.mx, "explain", real, raising=False)
    figures = recipe.run(options, SMALLEST)
    assert len(fits) == 4
    for name in ("scores", "gains", "shares", "planted_error", "encoders"):
        assert json.dumps(figures[name]) == json.dumps(made[1][name]), name


def test_other_settings_are_another_run(made):
    with pytest.raises(CheckpointError, match="combine"):
        recipe.run(made[0], replace(SMALLEST, combine="learned"))


# --- the source's settings ---------------------------------------------------------------------


def test_the_published_settings_are_the_papers():
    assert Settings() == PUBLISHED
    assert PUBLISHED.parts == (80, 20)
    assert PUBLISHED.dealt == "random"
    assert (PUBLISHED.combine, PUBLISHED.average) == ("mean", "macro")
    assert PUBLISHED.modality_dropout == 0
    speech, body = PUBLISHED.training("audio"), PUBLISHED.training("bio")
    assert (speech.epochs, speech.lr, speech.batch_size) == (50, 1e-3, 32)
    assert (body.epochs, body.lr, body.batch_size) == (50, 1e-3, 4)
    assert speech.schedule == body.schedule == "constant"
    assert speech.optimizer == body.optimizer == "adam"
    assert PUBLISHED.training("ecg") == body
    assert PUBLISHED.training("text") == PUBLISHED.text_training
    assert PUBLISHED.body_layers == 3
    assert set(COMBINATIONS) == {"audio", "text", "biosignals", "audio + text", "all"}
    assert COMBINATIONS["all"] == ("audio", "text", "bio")
    assert SPLIT["all five"] == ("audio", "text", "ecg", "eda", "temp")
    assert results.PAPER.keys() == COMBINATIONS.keys()


def test_the_parts_made_from_them_have_their_shapes(tmp_path):
    labels = mx.labels(*"abcdefg")
    checkpoints = Checkpoints("tiny")
    scale = ([0.0] * 14, [1.0] * 14)
    body = unimodal("bio", PUBLISHED, checkpoints, labels, scale)
    layers = list(body.encoder("bio").layers)
    assert [tuple(layer.weight.shape) for layer in layers] == [(64, 28), (64, 64), (64, 64)]
    # ReLU, between the layers: with all weights 1 a negative sum is cut to 0.
    encoder = body.encoder("bio")
    with torch.no_grad():
        for layer in layers:
            layer.weight.fill_(1.0)
            layer.bias.fill_(-1e3)
    inputs = encoder.collate([biosignals.Biosignal(np.ones(14))])
    assert torch.equal(encoder.eval()(inputs).values, torch.full((1, 1, 64), -1e3))
    assert isinstance(body.fusion, LateFusion)
    assert body.modality_dropout == 0
    speech = unimodal("audio", PUBLISHED, checkpoints, labels).encoder("audio")
    assert [tuple(c.convolution.weight.shape) for c in speech.convolutions] == [
        (64, 1, 80),
        (64, 64, 10),
        (64, 64, 8),
        (64, 64, 4),
    ]
    text = unimodal("text", PUBLISHED, checkpoints, labels)
    assert type(text.encoder("text")).__name__ == "KoBertEncoder"
    assert text.fusion.pools == {"text": "first"}
    assert all(weight.requires_grad for weight in text.encoder("text").parameters())
    given = text.collate([{"id": "a", "text": "참 잘했다."}, {"id": "b", "text": "네"}])["text"]
    assert set(given) >= {"input_ids", "attention_mask"}


def test_the_optimiser_has_the_settings_rate_and_batches(tmp_path, monkeypatch):
    seen = {}

    def spied(step, samples, collate, settings, **kwargs):
        seen[kwargs["folder"].parent.name] = settings, len(samples), step.model.modalities
        raise InterruptedError

    monkeypatch.setattr(recipe, "fit", spied)
    system = recipe.System(Options(tmp_path, quick=True, quiet=True), SMALLEST)
    monkeypatch.setattr(system, "settings", replace(PUBLISHED, samples=108, speakers=3))
    system.corpora[0] = data.synthetic(SMALLEST, 0)
    for modality in ("audio", "bio", "eda"):
        with pytest.raises(InterruptedError):
            system.alone(modality, 0)
    assert seen["audio"] == (replace(PUBLISHED.speech_training, seed=0), 72, ("audio",))
    assert seen["bio"] == (replace(PUBLISHED.body_training, seed=0), 72, ("bio",))
    assert seen["eda"][2] == ("eda",)


def test_what_the_options_change(tmp_path):
    whole = settings_for(Options(tmp_path))
    assert whole == TINY
    assert settings_for(Options(tmp_path, checkpoints="published")) == PUBLISHED
    assert settings_for(Options(tmp_path, data=tmp_path)).dealt == "random"
    small = settings_for(Options(tmp_path, encoder_size="small"))
    assert small.speech["channels"] < whole.speech["channels"]
    labels = mx.labels("a", "b")
    tiny = Checkpoints("tiny", "small")
    speech = unimodal("audio", small, tiny, labels).encoder("audio")
    assert speech.convolutions[0].norm.weight.shape == (16,)
    half = unimodal("text", small, tiny, labels).encoder("text")
    assert half.model.config.num_hidden_layers == 1
    quick = settings_for(Options(tmp_path, quick=True))
    assert quick.samples < whole.samples
    assert quick.speech_training.epochs == 1


# --- data --------------------------------------------------------------------------------------


def test_the_features_are_the_sources():
    signals = {
        "ecg": Series(tonebench.biosignals.record("ecg", "uneven", *body()).values, 125.0),
        "eda": tonebench.biosignals.record("eda", "bump", *body()),
    }
    found = data.vectors(data.measured(signals))
    assert data.measured(signals)["ecg"].values.keys() == {"mean_rr", "sdnn", "rmssd", "nn50"}
    assert data.measured(signals)["temp"].values.keys() == {
        f"temperature_{name}" for name in ("mean", "variance", "slope", "intercept")
    }
    bands = list(data.measured(signals)["eda"].values)
    assert (bands[0], bands[-1]) == ("eda_0.05_0.1", "eda_2_5")
    whole = biosignals.summary(
        biosignals.heart_beats(signals["ecg"].values[0], 125.0), signals["eda"].values[0], 4.0
    )
    np.testing.assert_array_equal(found["bio"], whole.vector())
    assert np.isnan(found["temp"]).all()
    assert len(found["bio"]) == sum(len(found[name]) for name in BODY)


def body():
    return tonebench.biosignals.Body.of("s000"), np.random.default_rng(0)


def test_a_modality_sees_its_own_values_and_no_recording_but_its_own():
    corpus = data.synthetic(SMALLEST, 0)
    sample = corpus.train.only("bio")[0]
    assert sample["bio"] is not None
    assert not {"audio", "text", *BODY} & set(sample)
    assert {"speaker", "labels", "id"} <= set(sample)
    assert set(corpus.train.only("audio")[0]) & set(data.RAW) == {"audio"}
    assert not set(corpus.train.column("speaker")) & set(corpus.test.column("speaker"))
    assert len(corpus.train) == 2 * len(corpus.test) == 72
    # Training labels are shares of raters, test labels one rater's.
    assert len(corpus.train[0]["labels"]) == 7
    assert len(corpus.test[0]["labels"]) == 1
    resting = {id(row["speaker"]): row["bio"].baseline for row in corpus.test.rows}
    values = np.stack([row["bio"].values for row in corpus.test.rows])
    np.testing.assert_allclose(next(iter(resting.values()))[:9], values[:, :9].mean(0))


def kemdy19(folder):
    """Four sessions, two speakers each; half of the segments with a wristband."""
    emotions = ("happy", "angry", "sad", "neutral")
    files = {}
    for session in range(1, 5):
        scene = f"Sess{session:02}_impro01"
        ids = [f"{scene}_{sex}{turn:03}" for turn in range(1, 5) for sex in "FM"]
        rows = [
            corpora.kemdy19_row(name, emotions[at % 4], start=at) for at, name in enumerate(ids)
        ]
        files |= {(session, sex): rows for sex in "FM"}
    corpora.kemdy19(folder, files)
    generator = np.random.default_rng(0)
    for path in sorted(folder.glob("wav/**/*.wav")):
        noise = 0.1 * generator.standard_normal(8000)
        corpora.soundfile.write(path, noise, 16_000, subtype="PCM_16")
    for session in range(1, 5):
        for sex in "FM":
            tagged = [f"Sess{session:02}_impro01_{sex}{turn:03}" for turn in (1, 2)]
            for signal, level in (("EDA", 2), ("TEMP", 32)):
                content = [
                    f"{level + generator.random():.3f},x,10:00:00.000,{name}"
                    for name in tagged
                    for _ in range(40)
                ]
                place = f"{signal}/Session{session:02}/Original/Sess{session:02}{sex}.csv"
                corpora.lines(folder / place, content)
            content = []
            for name in tagged:
                ecg = tonebench.biosignals.record("ecg", "even", *body(), 8).values[0]
                content += [
                    f"{at * 0.008:.3f},{beat:.4f},10:00:00.000,{name}"
                    for at, beat in enumerate(ecg, len(content))
                ]
            place = f"ECG/Session{session:02}/Original/Sess{session:02}{sex}.csv"
            corpora.lines(folder / place, content)
    return folder


def test_the_real_corpus_runs_and_says_that_its_split_leaks(tmp_path):
    folder = tmp_path / "KEMDy19"
    folder.mkdir()
    options = Options(tmp_path / "run", data=kemdy19(folder), quick=True, quiet=True)
    chosen = replace(SMALLEST, dealt="random", parts=(80, 20))
    figures = recipe.run(options, chosen)
    assert (
        "planted" not in {key for key, value in figures.items() if value} or not figures["planted"]
    )
    assert "random split, as in the papers" in figures["about"][1]
    page = (options.out / "report.html").read_text("utf-8")
    assert "random split, as in the papers" in page
    assert math.isfinite(figures["scores"][0]["all"]["accuracy"])
    corpus = data.kemdy19(folder, chosen, 0)
    assert len(corpus.labels) == 7
    total = len(corpus.train) + len(corpus.test)
    assert len(corpus.test) == round(0.2 * total)
    # Half of the segments have no wristband: no features, not zeros.
    assert len(corpus.train.only("bio")) < len(corpus.train)
    assert np.isnan(corpus.train.only("eda").rows[0]["eda"].values).any()
    assert corpus.train.only("ecg").rows[0]["ecg"].values[0] == pytest.approx(850, abs=150)


def test_a_signal_that_nobody_has_is_named(tmp_path):
    corpus = data.synthetic(SMALLEST, 0)
    for row in corpus.train.rows:
        row["ecg"] = None
    with pytest.raises(mx.errors.InputError, match="no training utterance has the signal 'ecg'"):
        data.standards(corpus.train, "ecg")


# --- what it must show -------------------------------------------------------------------------


@pytest.mark.full
def test_the_planted_truth_comes_back_and_the_body_helps(tmp_path, monkeypatch):
    """A middle form; the full one comes nearer."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("modalxai.recipes.tiny.text.STEPS", 100)
    quicker = replace(TINY.body_training, batch_size=16, epochs=12)
    middle = replace(TINY, samples=540, speakers=15, parts=(73, 27), body_training=quicker)
    figures = recipe.run(Options(tmp_path / "run", quiet=True), middle)
    for name in recipe.EXPLAINED:
        for found in figures["planted_error"][name]:
            assert max(max(row.values()) for row in found.values()) < 0.10, (name, found)
    gain = figures["gains"][0]["audio + text"]
    assert gain["accuracy"]["low"] > 0
    assert gain["F1"]["low"] > 0
    # Sampled donors ask the same question; inputs that no model was trained on do not.
    for changes in figures["dominant_changes"].values():
        assert changes["marginal"] < 0.15 < changes["practice"]
    assert max(row["temp"] for row in figures["shares"]["five"].values()) < 0.05
