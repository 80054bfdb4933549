"""S2 in its quick form, its published settings, and what it says of loss and recovery."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from tests.support import corpora

from modalxai.datasets import tonebench
from modalxai.datasets.transcribers import SimulatedTranscriber, corruption
from modalxai.errors import CheckpointError, InputError
from modalxai.recipes import Options, Run, memory
from modalxai.recipes.checkpoints import Checkpoints
from modalxai.recipes.consistency import analysis as analysis
from modalxai.recipes.consistency import conclusion as conclusion
from modalxai.recipes.consistency import data as data
from modalxai.recipes.consistency import models as models
from modalxai.recipes.consistency import recipe
from modalxai.recipes.consistency import tables as tables
from modalxai.recipes.consistency.models import SHALLOW, TRUE, fused, systems
from modalxai.recipes.consistency.settings import PUBLISHED, TINY, Recogniser, settings_for
from modalxai.recipes.workers import deal
from modalxai.stages import plain
from modalxai.training import ConsistencyObjective, fit

QUICK = replace(
    settings_for(Options("x", quick=True)), samples=60, explained_samples=60, most=60, spaced=2
)
SMALLEST = replace(QUICK, width=8, heads=2, baseline_width=8)
FIRST = "first recogniser"


@pytest.fixture(scope="module", autouse=True)
def tiny_checkpoints(tmp_path_factory):
    """The tiny checkpoints, hardly trained, in a cache of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("modalxai.recipes.tiny.text.STEPS", 2)
        patch.setattr("modalxai.recipes.tiny.speech.STEPS", 2)
        patch.setattr("modalxai.recipes.tiny.speech.CLIPS", 16)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One quick run, and what it returned."""
    options = Options(tmp_path_factory.mktemp("s2"), quick=True, quiet=True)
    return options, recipe.run(options, SMALLEST)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)


def study(out, settings=SMALLEST, options=None):
    """A run without its models."""
    options = options or Options(out, quick=True, quiet=True)
    talk = data.read(options.data, settings)
    maker = models.Maker(settings, Checkpoints(), talk.labels, talk.samples, talk.columns)
    return recipe.Study(Run("consistency", options, asdict(settings)), settings, talk, maker)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return study(tmp_path_factory.mktemp("study"))


# --- end to end -------------------------------------------------------------------------------


def test_the_quick_form_writes_everything(made):
    options, _ = made
    record = read(options.out / "metrics.json")
    assert record["run"]["recipe"] == "consistency"
    found = record["metrics"]
    assert set(found) >= {"rates", "scores", "recovery", "audio_share", "right", "latency"}
    assert found["latency"]["window"] == 1.0
    assert found["latency"]["real_time_factor"] > 0
    for name in ("confusions", "contributions"):
        assert (options.out / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    page = (options.out / "report.html").read_text(encoding="utf-8").lower()
    assert "planted" in page
    assert all(name in page for name in data.LABELS)
    assert "marginal" in page
    assert "random split, as in the papers" in page
    assert not list((options.out / "stages").rglob("training"))


def test_the_tables_are_laid_out_as_the_paper_s(made):
    options, _ = made
    rows = list(csv.DictReader((options.out / "results.csv").open(encoding="utf-8")))
    rows = [row for row in rows if row["table"] != "table"]
    told = [
        (row["group"], row["name"], row["paper"])
        for row in rows
        if row["metric"] == "weighted F1" and row["paper"]
    ]
    true = [(name, paper) for group, name, paper in told if group.endswith("on true text")]
    assert true == [
        ("Audio only, MFCC", ".3539"),
        ("Audio only, wav2vec 2.0", ".4326"),
        ("Text only, FastText", ".4116"),
        ("Text only, HanBERT", ".4463"),
        ("Shallow Fusion, MFCC + FastText", ".4364"),
        ("Shallow Fusion", ".4952"),
        ("Fusion Transformer", ".4906"),
        ("Multimodal Transformer", ".4893"),
    ]
    rest = [paper for group, _, paper in told if not group.endswith("on true text")]
    assert rest == [
        *(".4220", ".4313", ".4240", ".4674", ".4601", ".4670"),
        *(".4121", ".4281", ".4213", ".4550", ".4521", ".4572"),
    ]
    lost = [row["paper"] for row in rows if row["metric"] == "lost" and row["paper"]]
    back = [row["paper"] for row in rows if row["metric"] == "recovered" and row["paper"]]
    assert lost == ["7.3", "5.9", "6.5", "8.3", "6.2", "6.8"]
    assert back == ["4.6", "2.9", "4.3", "4.3", "2.4", "3.5"]
    rates = [row["paper"] for row in rows if row["metric"] in ("CER", "WER", "sWER")]
    assert rates == ["35.1", "63.8", "56.7", "56.1", "78.3", "73.8"]
    by_label = {
        (row["name"], row["metric"]): row["paper"]
        for row in rows
        if row["table"].startswith("Audio's share") and row["paper"]
    }
    assert by_label["dislike", analysis.GRAD_CAM] == "53.2"
    assert by_label["neutral", analysis.GRAD_CAM] == "51.9"
    assert by_label["sad", TRUE] == "48.8"
    assert by_label["sad", f"{FIRST}, plain"] == "34.1"


def test_every_model_is_scored_on_the_words_of_its_line(made):
    _, found = made
    keys = set(found["scores"])
    for one in systems(SMALLEST):
        assert f"{one.key}, tested on {one.words}" in keys
        both = one.words == TRUE and None not in (one.audio, one.text)
        assert (f"{one.key}, tested on {FIRST}" in keys) == (both or one.words == FIRST)
    assert len(systems(SMALLEST)) == 20


def test_what_departs_from_the_paper_is_said(made):
    _, found = made
    told = " ".join(found["departures"])
    for words in (
        "lambda 1, KL gold||recognised, stop-gradient none",
        "modality dropout 0.25",
        "no property of the model's function",
        "frozen",
        "simulated",
    ):
        assert words in told


def test_a_killed_run_goes_on_to_the_same_figures(tmp_path, monkeypatch):
    few = replace(SMALLEST, training=replace(SMALLEST.training, epochs=2))
    system = fused("shallow", FIRST, consistency=True)
    whole = study(tmp_path / "whole", few).stage(0, system)
    broken = study(tmp_path / "broken", few)
    times = []

    def dies(self, model, samples):
        times.append(1)
        if len(times) == 2:  # after the second epoch, before anything of it is written
            raise KeyboardInterrupt
        return score(self, model, samples)

    score = recipe.Study.score
    with monkeypatch.context() as patch:
        patch.setattr(recipe.Study, "score", dies)
        with pytest.raises(KeyboardInterrupt):
            broken.stage(0, system)
    assert list((tmp_path / "broken").rglob("epoch-0.safetensors"))
    seen = []
    monkeypatch.setattr(recipe.Study, "score", lambda *given: seen.append(1) or score(*given))
    assert study(tmp_path / "broken", few).stage(0, system) == whole
    assert len(seen) == 2  # one epoch's validation, and the test


def test_a_finished_run_says_the_same_again_and_trains_nothing(made, monkeypatch):
    options, found = made
    monkeypatch.setattr(recipe, "fit", None)
    monkeypatch.setattr(Checkpoints, "encoder", None)
    again = recipe.run(options, SMALLEST)
    assert json.dumps(plain(again)) == json.dumps(plain(found))
    assert set(again["checkpoints"]) == {"fasttext", "hanbert", "wav2vec2"}


@pytest.mark.slow
def test_other_processes_leave_what_this_one_would(made, tmp_path):
    """Bit for bit: the weights too."""
    options = replace(made[0], out=tmp_path)
    tasks = [(0, SHALLOW), (0, models.BASELINES[0])]
    deal(partial(recipe._elsewhere, options, SMALLEST), tasks, 2, threads=1)
    assert [recipe.Study.begin(options, SMALLEST).done(task) for task in tasks] == [True, True]
    for name in (SHALLOW.key, "audio-mfcc", "contributions"):
        here, there = (
            folder / "stages" / "seed-0" / name / "done.json" for folder in (made[0].out, tmp_path)
        )
        assert here.read_bytes() == there.read_bytes()
    place = f"stages/seed-0/{SHALLOW.key}/model"
    files = [path.relative_to(tmp_path) for path in (tmp_path / place).rglob("*.safetensors")]
    assert files
    assert all((made[0].out / one).read_bytes() == (tmp_path / one).read_bytes() for one in files)


def test_a_recogniser_s_answers_are_kept_in_the_run(tmp_path, monkeypatch):
    """Whoever reads the corpus again, another process or a resumed run, asks nobody."""
    asked = []

    class Cloud:
        name, settings, batch_size = "cloud", {}, 2

        def transcribe(self, recordings):
            asked.append(len(recordings))
            return ["참 잘했다"] * len(recordings)

    monkeypatch.setattr(data.plugins, "create", lambda *given, **settings: Cloud())
    few = replace(SMALLEST, samples=4, recognisers=(Recogniser("r", "cloud"),))
    options = Options(tmp_path, quick=True, quiet=True)
    first = recipe.Study.begin(options, few)
    times = len(asked)
    assert times
    again = recipe.Study.begin(options, few)
    assert len(asked) == times
    assert data.rates(first.talk, 1) == data.rates(again.talk, 1)


def test_other_settings_are_another_run(made):
    options, _ = made
    changes = (
        {"weight": 2.0},
        {"stop_gradient": "gold"},
        {"parts": (7, 2, 1)},
        {"width": 16},
        {"training": replace(SMALLEST.training, lr=1.0)},
        {"recognisers": SMALLEST.recognisers[:1]},
    )
    for change in changes:
        with pytest.raises(CheckpointError, match="holds another run"):
            Run("consistency", options, asdict(replace(SMALLEST, **change)))


# --- the published settings --------------------------------------------------------------------


def test_the_published_settings():
    training = PUBLISHED.training
    assert (training.optimizer, training.lr, training.epochs) == ("adam", 5e-5, 3)
    assert training.batch_size in (32, 64)
    assert training.batch_size > training.micro_batch  # gradients accumulate
    assert (training.schedule, training.weight_decay, training.clip) == ("constant", 0.0, None)
    assert PUBLISHED.dropped == ("fear", "contempt")
    assert PUBLISHED.parts == (8, 1, 1)
    assert PUBLISHED.seeds == TINY.seeds == 5
    assert (PUBLISHED.width, PUBLISHED.kernel, PUBLISHED.layers) == (768, 3, 1)
    assert (PUBLISHED.audio_trainable, PUBLISHED.text_trainable) == ("all", "all")
    assert (PUBLISHED.weight, PUBLISHED.direction) == (1.0, "gold||recognised")
    assert PUBLISHED.stop_gradient is None
    assert PUBLISHED.modality_dropout == TINY.modality_dropout == 0.0
    assert [one.options["cer"] for one in PUBLISHED.recognisers] == [0.351, 0.561]
    assert settings_for(Options("x", checkpoints="published")) == PUBLISHED
    assert settings_for(Options("x")) == TINY
    assert settings_for(Options("x", seeds=2)).seeds == 2
    same = ("kernel", "layers", "weight", "direction", "stop_gradient", "parts", "recognisers")
    assert all(getattr(TINY, name) == getattr(PUBLISHED, name) for name in same)


def test_the_published_fusions(small):
    maker = models.Maker(PUBLISHED, Checkpoints(), data.LABELS, [], {})
    dims = {"audio": 768, "text": 768}
    shallow = maker.fusion("shallow", dims)
    assert shallow.pools == {"audio": "mean", "text": "first"}
    assert {name: tuple(one.weight.shape) for name, one in shallow.maps.items()} == {
        "audio": (768, 768),
        "text": (768, 768),
    }
    assert tuple(shallow.head.weight.shape) == (6, 768)
    for name in ("fusion-transformer", "crossmodal-transformer"):
        fusion = maker.fusion(name, dims)
        for one in fusion.maps.values():
            assert isinstance(one, torch.nn.Conv1d)
            assert (one.in_channels, one.out_channels, one.kernel_size) == (768, 768, (3,))
    assert len(maker.fusion("fusion-transformer", dims).blocks) == 1
    crossed = maker.fusion("crossmodal-transformer", dims)
    for name, other in (("audio", "text"), ("text", "audio")):
        assert list(crossed.targets[name].crossings) == [other]  # each queries the other
        assert len(crossed.targets[name].crossings[other]) == 1


def test_the_baselines_have_a_convolution_and_a_transformer(small):
    for system in models.BASELINES:
        model = small.maker.model(system, 0)
        for name in model.modalities:
            found = [one for one in model.encoders[name].modules() if hasattr(one, "convolution")]
            (layers,) = [one for one in found if one.convolution]
            assert layers.entry.kernel_size == (3,)
            assert len(layers.blocks) == 1
    parts = [(one.audio, one.text, one.fusion) for one in models.BASELINES]
    assert parts == [
        ("mfcc", None, "late"),
        ("wav2vec2", None, "late"),
        (None, "fasttext", "late"),
        (None, "hanbert", "late"),
        ("mfcc", "fasttext", "shallow"),
    ]


def test_what_learns_is_what_the_settings_say(tmp_path):
    settings = replace(SMALLEST, audio_trainable="all", memory=0)
    tuned = study(tmp_path, settings).maker.model(fused("shallow"), 0)
    learning = {name for name, one in tuned.named_parameters() if one.requires_grad}
    assert any("feature_extractor" in name for name in learning)
    assert any(name.startswith("encoders.text") for name in learning)
    frozen = study(tmp_path / "b").maker.model(fused("shallow"), 0)
    learning = {name for name, one in frozen.named_parameters() if one.requires_grad}
    assert not any("encoders.audio.encoder." in name for name in learning)
    assert any(name.startswith("encoders.audio.sequence") for name in learning)
    assert any(name.startswith("encoders.text") for name in learning)


def test_the_objectives_are_what_the_settings_say(small, monkeypatch):
    asked = {}

    def seen(step, samples, collate, settings, **rest):
        asked.update(step=step, settings=settings, sample=samples[0], folder=rest["folder"])
        rest["folder"].mkdir(parents=True)
        return fit

    monkeypatch.setattr(recipe, "fit", seen)
    own = replace(
        PUBLISHED.training, epochs=SMALLEST.training.epochs, lr=SMALLEST.training.lr, seed=3
    )
    for system in (fused("shallow"), fused("shallow", FIRST), fused("shallow", FIRST, True)):
        model = small.maker.model(system, 3)
        small.train(model, system, 3, small.run.folder / "t")
        assert asked["settings"] == replace(small.settings.training, seed=3)
        assert (asked["settings"].lr, asked["settings"].seed) == (own.lr, 3)
        assert isinstance(asked["step"], ConsistencyObjective) == system.consistency
        row = next(one for one in small.talk.samples if one["id"] == asked["sample"]["id"])
        plain = system.words != TRUE and not system.consistency
        assert asked["sample"]["text"] == row["recognised_1" if plain else "text"]
    step = asked["step"]
    assert (step.weight, step.recognised) == (1.0, "recognised_1")
    assert step.divergence.direction == "gold||recognised"
    assert step.divergence.stop_gradient is None
    other = models.Maker(
        replace(SMALLEST, weight=0.5, direction="symmetric", stop_gradient="gold"),
        *(small.maker.checkpoints, small.talk.labels, small.talk.samples, small.talk.columns),
    ).objective(model, "recognised_2")
    assert (other.weight, other.recognised) == (0.5, "recognised_2")
    assert other.divergence.direction == "symmetric"
    assert other.divergence.stop_gradient == "gold"


def test_the_split_is_8_1_1_and_each_seed_has_its_own(small):
    parts = small.parts(0)
    assert [len(parts[name]) for name in recipe.PARTS] == [48, 6, 6]
    ids = [{one["id"] for one in parts[name]} for name in recipe.PARTS]
    assert len(set.union(*ids)) == 60
    assert {one["id"] for one in small.parts(1)["test"]} != ids[2]


# --- the data ----------------------------------------------------------------------------------


def test_the_planted_truth_is_mostly_in_the_words_and_dislike_in_the_voice():
    truth = tonebench.gold(data.scenes())
    assert [name for name, one in truth.items() if one.audio > 0.5] == ["dislike"]
    assert truth["sad"].text > 0.9
    assert tuple(truth) == data.LABELS


def test_synthetic_utterances_say_one_content_in_several_sentences():
    settings = replace(SMALLEST, samples=12, sentences=3)
    made = data.synthetic(settings)
    lexicon = data.lexicon("ko").contents
    for one in made:
        assert one["text"].count(".") == 3
        own = {word for word in lexicon[one["content"]] if word in one["text"]}
        assert own
        others = {word for name in lexicon for word in lexicon[name] if name != one["content"]}
        assert not others & set(one["text"].replace(".", "").split())
    assert [one["text"] for one in data.synthetic(settings)] == [one["text"] for one in made]
    other = data.synthetic(replace(settings, corpus_seed=1))
    assert [one["text"] for one in other] != [one["text"] for one in made]


def test_recognisers_reach_the_published_rates(tmp_path):
    talk = data.read(None, replace(SMALLEST, samples=300, clip_seconds=0.6))
    rates = data.rates(talk, 2)
    for name, cer in (("first recogniser", 0.351), ("second recogniser", 0.561)):
        assert rates[name]["CER"] == pytest.approx(cer, abs=0.01)
        assert rates[name]["WER"] > rates[name]["CER"]
    assert talk.columns == {FIRST: "recognised_1", "second recogniser": "recognised_2"}
    heard = [one["recognised_1"] for one in talk.samples]
    assert None not in heard
    assert all(one["recognised_1"] != one["text"] for one in talk.samples)


def test_what_a_recogniser_did_not_hear_is_a_missing_text(tmp_path, monkeypatch):
    monkeypatch.setattr(SimulatedTranscriber, "corrupt", lambda *given: [" "] * len(given[1]))
    deaf = (Recogniser("r", options={"cer": 0.1}),)
    talk = data.read(None, replace(SMALLEST, samples=4, recognisers=deaf))
    assert [one["recognised_1"] for one in talk.samples] == [None] * 4
    assert data.rates(talk, 1)["r"]["CER"] == 1.0


def test_common_syllables_stay_in_the_standard_and_differ_in_one_letter():
    said = "잘했다 훌륭하다 떠났다 위험하다 놀랍다"
    for seed in range(30):
        recogniser = SimulatedTranscriber(
            cer=0.3, seed=seed, hangul="common", deletions=0, insertions=0
        )
        heard = recogniser.corruption(said, "u").text
        assert all(len(one.encode("euc_kr")) == 2 for one in heard if one >= "가")
    for code in (0, 588, 5000, corruption.SYLLABLES - 1):
        for one in corruption._common(code):
            other = ord(one) - corruption.FIRST
            letters = [
                (x // 588, x // 28 % 21, x % 28)
                for x in (code, other)
            ]  # fmt: skip
            assert sum(a != b for a, b in zip(*letters, strict=True)) == 1
    found = [one for one in range(corruption.SYLLABLES) if not corruption._common(one)]
    assert not found
    with pytest.raises(InputError, match="common"):
        SimulatedTranscriber(cer=0.1, hangul="rare")


def frames(emotion, number):
    return {
        0: [
            corpora.entry(
                "1", f"참 잘했다 {number}.", 0, 24, multimodal=emotion, sound=emotion, text=emotion
            )
        ]
    }


@pytest.fixture(scope="module")
def aihub(tmp_path_factory):
    """Clips in the shape of the published corpus, two of them of emotions that are dropped."""
    pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("aihub")
    emotions = ["happy", "surprise", "angry", "sad", "dislike", "neutral"] * 4
    for number, emotion in enumerate([*emotions, "fear", "contempt"], 1):
        place = folder / f"clip_{number}"
        clip = corpora.aihub_clip(number, frames(emotion, number))
        corpora.write_clip(place / f"clip_{number}.json", clip)
        corpora.tone_mp4(place / f"clip_{number}.mp4", (300.0 + 20 * number,), seconds=1.0)
    return folder


def test_two_labels_of_the_published_corpus_are_dropped(aihub):
    talk = data.read(aihub, SMALLEST)
    assert set(talk.labels) == set(data.LABELS)
    assert len(talk.samples) == 24
    assert talk.rule is None
    assert {next(iter(one["labels"])) for one in talk.samples} == set(data.LABELS)
    assert all(one["audio"] is not None for one in talk.samples)
    kept = data.read(aihub, replace(SMALLEST, dropped=("fear",)))
    assert set(kept.labels) == {*data.LABELS, "contempt"}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """A folder like the Korean recordings'."""
    folder = tmp_path_factory.mktemp("manifest")
    draw = np.random.default_rng(0)
    lines = ["path,speaker,gender,transcript,emotion,part,duration_s"]
    for number in range(40):
        emotion = ("neutral", "happy", "sad", "angry")[number % 4]
        soundfile.write(folder / f"{number}.flac", 0.1 * draw.standard_normal(9600), 16_000)
        lines.append(
            f'{number}.flac,s{number % 5},female,"오늘 참, {emotion} {number}.",{emotion},plain,.6'
        )
    (folder / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_a_folder_with_a_manifest_runs_to_the_end(manifest, tmp_path):
    options = Options(tmp_path / "run", data=manifest, quick=True, quiet=True)
    found = recipe.run(options, SMALLEST)
    assert found["utterances"] == 40
    assert set(found["labels"]) == {"neutral", "happy", "sad", "angry"}
    assert found["planted_errors"] == {}
    assert not any("planted" in name for name in found["audio_share"])
    assert any("simulated" in one for one in found["departures"])
    assert (options.out / "report.html").is_file()


def test_a_folder_with_nothing_usable_is_a_plain_error(tmp_path):
    with pytest.raises(InputError, match="mend:"):
        data.read(tmp_path, SMALLEST)


# --- memory ------------------------------------------------------------------------------------


def test_what_is_kept_in_memory_changes_no_prediction(small):
    for system in (*models.BASELINES, fused("crossmodal-transformer")):
        model = small.maker.model(system, 0)
        for words in (TRUE, FIRST) if system.text else (TRUE,):
            view = small.view(small.parts(0)["test"], model, words)
            before = model.predict(view).scores
            alone = model.predict([view[0]]).scores
            torch.testing.assert_close(before[:1], alone, rtol=1e-4, atol=1e-5)
            copy = small.maker.model(system, 0)
            plain = memory.forget(copy)
            assert not any(isinstance(one, memory.Remembered) for one in plain.modules())
            torch.testing.assert_close(plain.predict(view).scores, before, rtol=1e-4, atol=1e-5)


def test_a_text_that_is_missing_is_missing_from_memory_too(small):
    model = small.maker.model(fused("shallow"), 0)
    sample = {**small.talk.samples[0], "text": None}
    before = model.predict([sample]).scores
    plain = memory.forget(small.maker.model(fused("shallow"), 0))
    torch.testing.assert_close(plain.predict([sample]).scores, before, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="not in memory"):
        model.predict([{**sample, "text": "처음"}])


# --- loss, recovery, contributions ---------------------------------------------------------------


def test_recovery_is_a_ratio_of_means_with_an_interval_over_seeds():
    found = analysis.recovery([0.9, 0.8, 0.85], [0.7, 0.7, 0.7], [0.8, 0.77, 0.8])
    assert found.lost == pytest.approx((0.2, 0.1, 0.15))
    assert found.recovered == pytest.approx((0.1, 0.07, 0.1))
    assert found.part == pytest.approx(0.27 / 0.45)
    assert found.low < found.part < found.high
    margins = np.array([0.1 - 0.1, 0.07 - 0.05, 0.1 - 0.075])
    spread = margins.std(ddof=1) / math.sqrt(3) * 4.302652730
    assert found.margin == pytest.approx(margins.mean())
    assert found.margin_low == pytest.approx(margins.mean() - spread, rel=1e-6)
    assert found.margin_high == pytest.approx(margins.mean() + spread, rel=1e-6)
    alone = analysis.recovery([0.9], [0.7], [0.8])
    assert alone.part == pytest.approx(0.5)
    assert math.isnan(alone.low)
    nothing_lost = analysis.recovery([0.6, 0.6], [0.7, 0.7], [0.65, 0.66])
    assert math.isnan(nothing_lost.part)
    assert nothing_lost.recovered == pytest.approx((-0.05, -0.04))


def test_contributions_of_a_model_that_only_listens_are_the_audio_s(small):
    model = memory.forget(small.maker.model(fused("shallow"), 0))
    with torch.no_grad():
        model.fusion.maps["text"].weight.zero_()
        model.fusion.maps["audio"].weight.mul_(50)
    parts = small.parts(0)
    found = analysis.contributions(model, parts["test"], list(parts["train"])[:10], 4)
    known = {one for sample in parts["test"] for one in sample["labels"]}
    for name in data.LABELS:
        if name not in known:
            assert math.isnan(found["shapley"][name])
            continue
        assert found["shapley"][name] == pytest.approx(1.0)
        assert found["grad-cam"][name] == pytest.approx(1.0) or math.isnan(found["grad-cam"][name])


def test_recalls_and_rank_correlation():
    counts = [[[2, 0], [1, 1]], [[0, 2], [0, 2]]]
    assert analysis.recalls(counts).tolist() == [0.5, 0.75]
    audio = {"a": [0.1, 0.3], "b": [0.4], "c": [0.9]}
    found = analysis.rank_correlation(audio, np.array([0.3, 0.2, 0.1]), ("a", "b", "c"))
    assert found["rho"] == pytest.approx(1.0)
    nothing = analysis.rank_correlation(audio, np.zeros(3), ("a", "b", "c"))
    assert math.isnan(nothing["rho"])


def test_papers_figures_are_never_results(made):
    _, found = made
    table = tables.rates_table("x", {"a": {"CER": 0.1, "WER": 0.2, "sWER": math.nan}})
    assert table.lines[0].values["CER"] == pytest.approx(10)
    assert table.lines[0].paper == {"CER": "35.1", "WER": "63.8", "sWER": "56.7"}
    every = json.dumps(found, default=str)
    assert ".4952" not in every


@pytest.mark.full
def test_the_loss_recovers_half_and_the_truth_comes_back(tmp_path, monkeypatch):
    """The full form, in two processes where there are two cores."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = Options(tmp_path / "run", quiet=True, workers=2)
    found = recipe.run(options)
    for by_fusion in found["recovery"].values():
        every = by_fusion[conclusion.ALL]
        assert len(every["lost"]) == 5
        assert np.mean(every["lost"]) > 0.05
        assert every["part"] > 0.5
        assert every["low"] > 0  # something comes back, whatever the seed
    errors = found["planted_errors"]
    assert set(errors) == set(data.LABELS)
    assert max(errors.values()) < 0.1
