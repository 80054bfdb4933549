"""S4 end to end in its quick form; its settings are the paper's, and so are the parts they make."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support import corpora, pretrained
from typer.testing import CliRunner

import modalxai as mx
from modalxai import plugins
from modalxai.cli import app
from modalxai.datasets import tonebench
from modalxai.datasets.ratings import EMOTIONS
from modalxai.datasets.tonebench.lexicon import lexicon
from modalxai.errors import CheckpointError, InputError, PluginError
from modalxai.protocols import Line
from modalxai.recipes import Options, run_recipe
from modalxai.recipes.speecht5 import data as data
from modalxai.recipes.speecht5 import models as models
from modalxai.recipes.speecht5 import recipe
from modalxai.recipes.speecht5 import results as results
from modalxai.recipes.speecht5 import vectors as vectors
from modalxai.recipes.speecht5 import words as words
from modalxai.recipes.speecht5.models import PUBLISHED, QUICK, TINY
from modalxai.recipes.synthetic_gold import gold_sets
from modalxai.training import EmotionLoss, fit
from modalxai.training.progress import Progress
from modalxai.types import Prediction

KOREAN = "wav2vec2-korean"
SMALLEST = replace(
    QUICK,
    parts=(24, 20),
    speech=replace(QUICK.speech, epochs=1),
    text=replace(QUICK.text, epochs=1),
    joint=replace(QUICK.joint, epochs=2),
    tokens=30,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Encoders with random weights, smaller than the tiny ones: what is trained does not matter."""
    place = tmp_path_factory.mktemp("checkpoints")
    for name, kind in (("speecht5-speech",) * 2, ("speecht5-text",) * 2, (KOREAN, "wav2vec2")):
        pretrained.make(kind, seed=len(name)).save_pretrained(place / name)
    return place


@pytest.fixture
def asked(folder, tmp_path):
    """Options of a run with these encoders."""
    return Options(tmp_path / "run", checkpoints=str(folder), quick=True, quiet=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One quick run, and what it returned."""
    options = Options(tmp_path_factory.mktemp("s4"), quick=True, quiet=True)
    return options, recipe.run(options)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)


# --- end to end -------------------------------------------------------------------------------


def test_the_quick_form_writes_everything(made):
    options, _ = made
    record = read(options.out / "metrics.json")
    assert record["run"]["recipe"] == "speecht5"
    found = record["metrics"]
    assert set(found) >= {"about", "scores", "constant", "best", "gains", "planted", "latency"}
    assert found["latency"]["window"] == 1.0
    assert found["latency"]["real_time_factor"] > 0
    assert "pre-trained here" in found["checkpoints"]["speecht5-speech"]
    for name in ("exact-match", "shares"):
        assert (options.out / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    page = (options.out / "report.html").read_text(encoding="utf-8").lower()
    assert all(name in page for name in (*EMOTIONS, "valence", "arousal", "planted", "marginal"))
    assert set(found["planted"]) == {*EMOTIONS, "valence", "arousal"}


def test_the_table_is_laid_out_as_the_papers(made):
    options, found = made
    rows = list(csv.DictReader((options.out / "results.csv").open(encoding="utf-8")))
    rows = [row for row in rows if row["table"] != "table"]  # each table may have its own head
    main = [row for row in rows if row["table"].startswith("Exact match (%)")]
    told = {(row["name"], row["metric"]): row["paper"] for row in main if row["paper"]}
    assert told == {
        ("VC only", "exact match"): "82.69 %", ("VC only", "distance"): ".07",
        ("TTS only", "exact match"): "79.81 %", ("TTS only", "distance"): ".12",
        ("Korean wav2vec 2.0", "exact match"): "84.53 %",
        ("Korean wav2vec 2.0", "distance"): ".178",
        ("both", "exact match"): "89.58 %", ("both", "distance"): ".068",
    }  # fmt: skip
    lines = [(row["group"], row["name"]) for row in main if row["metric"] == "exact match"]
    assert lines[:4] == [(results.ARMS["with"], results.NAMES[name]) for name in results.NAMES]
    assert lines[4:7] == [
        (results.ARMS["without"], name) for name in ("VC only", "TTS only", "both")
    ]
    assert lines[7][1] == "the commonest set, the mean values"
    # Without the task there is no distance.
    assert not [r for r in main if r["group"] == results.ARMS["without"] and r["metric"] != "exact match"]  # noqa: E501  # fmt: skip
    shown = next(r for r in main if r["name"] == "both" and r["metric"] == "exact match")
    assert float(shown["value"]) == 100 * found["scores"]["with"]["both"]["exact match"][0]
    titles = list(dict.fromkeys(row["table"].split(",")[0] for row in rows))
    assert titles[1:] == ["Better by", "Audio's share of each label"]


def test_departures_and_stand_ins_are_named(made):
    options, found = made
    assert "marginal removal, for which no modality has to be dropped" in found["about"]
    assert "No translator was asked for" in found["about"]
    assert "lexicon's own English words" in found["about"]
    assert "two copies of one architecture" in found["about"]
    record = read(options.out / "run.json")
    assert record["translator"] is None
    assert record["joint"]["epochs"] == 30


@pytest.mark.parametrize("where", ["mid-training", "in a stage"])
def test_a_killed_run_ends_as_one_that_was_never_killed(
    asked, folder, tmp_path, monkeypatch, where, unbroken
):
    calls = []

    def killing(real, after):
        def called(*args, **more):
            calls.append(real)
            if len(calls) == after:
                raise KeyboardInterrupt
            return real(*args, **more)

        return called

    with monkeypatch.context() as patch:
        if where == "mid-training":  # three models of one epoch, then one of two of the joint one
            real = Progress.keep
            patch.setattr(Progress, "keep", lambda *a: (real(*a), killing(lambda: None, 4)())[0])
        else:
            patch.setattr(results, "scored", killing(results.scored, 4))
        with pytest.raises(KeyboardInterrupt):
            recipe.run(asked, SMALLEST)
    trained = []
    monkeypatch.setattr(recipe, "fit", lambda *a, **k: (trained.append(k["folder"]), fit(*a, **k)))
    again = recipe.run(asked, SMALLEST)
    names = [one.parent.relative_to(asked.out / "stages").as_posix() for one in trained]
    assert "seed-0/with/vc" not in names
    assert ("seed-0/with/both" in names) == (where != "in a stage")
    assert comparable(again) == comparable(unbroken)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, folder):
    out = tmp_path_factory.mktemp("unbroken")
    return recipe.run(Options(out, checkpoints=str(folder), quick=True, quiet=True), SMALLEST)


def comparable(found):
    """All figures but the clock's."""
    return json.dumps({name: one for name, one in found.items() if name != "latency"}, default=str)


# --- real corpora -----------------------------------------------------------------------------

SAID = ("네 그래요.", "n/ 참 잘했다 3번.", "정말 좋다 c/", "왜 그래")


def kemdy(place, sessions=4):
    """Both corpora side by side: sessions of the same names, sets of one and two emotions."""
    draw = np.random.default_rng(0)
    emotions = ("neutral", "angry;happy", "sad", "neutral;disqust")
    first, second = {}, {}
    for number in range(1, sessions + 1):
        rows: dict[str, list] = {"F": [], "M": []}
        free = []
        for turn in range(4):
            scores = {"valence": draw.uniform(1, 5), "arousal": draw.uniform(1, 5)}
            sex = "FM"[turn % 2]
            rows[sex].append(
                corpora.kemdy19_row(
                    f"Sess{number:02}_script01_{sex}{turn:03}", emotions[turn], start=turn, **scores
                )
            )
            person = f"User{2 * number - turn % 2:03}{sex}"
            free.append(
                corpora.kemdy20_row(
                    f"Sess{number:02}_script01_{person}_{turn:03}",
                    emotions[turn],
                    start=turn,
                    **scores,
                )
            )
        first |= {(number, sex): lines for sex, lines in rows.items()}
        second[number] = free
    corpora.kemdy19(place / "KEMDy19", first)
    corpora.kemdy20(place / "KEMDy20_v1_1", second)
    for path in sorted(place.rglob("*.txt")):
        text = SAID[int(path.stem[-1])] + "\n"
        path.write_bytes(text.encode("cp949" if "KEMDy20" in str(path) else "utf-8"))
    return place


class Recorder:
    """A translator that sees two turns before and one after, and says how many it saw."""

    name = "recorder"
    batch_size = 1
    context = (2, 1)
    seen: list[Line] = []  # noqa: RUF012 # emptied by the test that reads it

    def __init__(self, target: str) -> None:
        self.settings = {"target": target}

    def translate(self, lines):
        self.seen.extend(lines)
        return [f"{len(line.before)} and {len(line.after)}" for line in lines]


def test_both_real_corpora_are_read_as_one(asked, tmp_path):
    options = replace(asked, data=kemdy(tmp_path / "corpora"), encoder_size="small")
    settings = replace(SMALLEST, parts=PUBLISHED.parts)
    found = recipe.run(options, settings)
    assert "KEMDy19 and KEMDy20" in found["about"]
    assert "lower half of its layers" in found["checkpoints"]["speecht5-text"]
    assert "nothing is translated" in found["about"]
    assert found["planted"] == {}
    assert found["best"] == {}
    assert "planted" not in (options.out / "results.md").read_text(encoding="utf-8")
    page = (options.out / "report.html").read_text(encoding="utf-8")
    assert "silence" in page
    assert "mask" in page


def test_sets_dimensions_and_speakers_of_the_real_corpora(tmp_path):
    place = kemdy(tmp_path)
    corpus = data.kemdy(place, (8, 2), 0, words.words_for(None, False), tmp_path / "cache")
    everything = [row for part in corpus.parts.values() for row in part]
    assert len(everything) == 32
    assert len({row["id"] for row in everything}) == 32
    assert Counter(row["corpus"] for row in everything) == {"KEMDy19": 16, "KEMDy20": 16}
    pair = next(row for row in everything if row["id"].endswith("_M001"))
    held = {name for name in EMOTIONS if pair["labels"][name] == 1}
    assert held == {"angry", "happy"}
    assert set(pair["labels"]) == {*EMOTIONS, "valence", "arousal"}
    assert {row["session"].split()[0] for row in everything} == {"KEMDy19", "KEMDy20"}
    for name in ("session", "dialogue", "speaker"):
        inside = [set(part.column(name)) for part in corpus.parts.values()]
        assert not set.intersection(*inside)
    tagged = [row for row in everything if "n/" in (row["raw_text"] or "")]
    assert tagged
    assert {row["english"] for row in tagged} == {"cham jalhaetda 3beon."}
    task = data.Task(corpus.parts["train"], ("text",), EMOTIONS, frozenset("abcdefghijklmnopqrstuvwxyz."))  # noqa: E501  # fmt: skip
    assert "cham jalhaetda three beon." in task.column("text")
    assert all(set(labels) == set(EMOTIONS) for labels in task.column("labels"))


def test_one_corpus_alone_is_used_and_said_and_none_is_refused(tmp_path):
    place = kemdy(tmp_path / "both")
    none = words.words_for(None, False)
    alone = data.kemdy(place / "KEMDy20_v1_1", (8, 2), 0, none, tmp_path)
    assert alone.name == "KEMDy20"
    assert sum(map(len, alone.parts.values())) == 16
    with pytest.raises(InputError, match="neither KEMDy19 nor KEMDy20"):
        data.kemdy(tmp_path / "both" / "KEMDy19" / "wav", (8, 2), 0, none, tmp_path)


def test_each_turn_is_translated_with_the_turns_around_it(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(plugins, "create", lambda group, name, **told: Recorder(**told))
        chosen = words.words_for('recorder {"target": "English"}', False)
    assert "2 turns before and 1 after" in chosen.said
    Recorder.seen.clear()
    corpus = data.kemdy(kemdy(tmp_path), (8, 2), 0, chosen, tmp_path / "cache")
    rows = [row for part in corpus.parts.values() for row in part]
    by_turn = {row["turn"]: row["english"] for row in rows}
    assert by_turn == {0: "0 and 1", 1: "1 and 1", 2: "2 and 1", 3: "2 and 0"}
    third = next(line for line in Recorder.seen if line.text == "정말 좋다")
    assert [line.text for line in third.before] == ["네 그래요.", "참 잘했다 3번."]
    asked_for = len(Recorder.seen)
    data.kemdy(tmp_path, (8, 2), 1, chosen, tmp_path / "cache")
    assert len(Recorder.seen) == asked_for  # kept on disk, whatever the split


# --- settings and what they make --------------------------------------------------------------


def test_the_published_settings():
    said = asdict(PUBLISHED)
    told = {
        "parts": (8, 2), "siamese": "architecture", "trainable": "all",
        "dimension_weight": 1 / 7, "width": 768, "dropout": 0.1,
    }  # fmt: skip
    assert {name: said[name] for name in told} == told
    assert PUBLISHED.joint.epochs == TINY.joint.epochs == QUICK.joint.epochs == 30
    for alone in (PUBLISHED.speech, PUBLISHED.text):
        assert (alone.epochs, alone.lr, alone.batch_size) == (10, 5e-5, 16)
    assert PUBLISHED.joint.lr == 1e-3
    assert recipe.ENCODERS == {
        "vc": ("audio", "speecht5-speech"),
        "tts": ("text", "speecht5-text"),
        "wav2vec2": ("audio", KOREAN),
    }
    labels = models.labels_for(True)
    assert [label.name for label in labels] == [*EMOTIONS, "valence", "arousal"]
    assert [label.kind for label in labels] == ["binary"] * 7 + ["dimensional"] * 2
    assert models.labels_for(False) == labels[:7]


def test_the_published_shapes():
    """SpeechT5's size: two vectors of 768, a linear head of seven classifiers and two values."""
    encoders = {name: vectors.Vectors(768) for name in ("audio", "text")}
    model = models.build(encoders, models.labels_for(True), PUBLISHED)
    assert type(model.fusion) is mx.fusion.MetaAttention
    assert model.modalities == ("audio", "text")
    assert model.fusion.maps["text"].weight.shape == (768, 768)
    assert model.fusion.head.weight.shape == (9, 768)
    assert model.fusion.pools == {"audio": "mean", "text": "mean"}
    assert model.fusion.dropout == 0.1
    assert model.modality_dropout == 0.0
    from transformers import SpeechT5Config

    config = SpeechT5Config()
    assert (config.hidden_size, config.encoder_layers) == (768, 12)


@pytest.fixture(scope="module")
def spied(tmp_path_factory, folder):
    """Every fit of a run: settings, loss, model, samples; with unusual rates."""
    out = tmp_path_factory.mktemp("spied")
    seen, real = {}, recipe.fit

    def spy(step, samples, collate, settings, **more):
        name = more["folder"].parent.relative_to(out / "run" / "stages").as_posix()
        weights = {n: w.clone() for n, w in step.named_parameters()}
        real(step, samples, collate, settings, **more)
        seen[name] = (settings, step.loss, step.model, samples, weights)

    options = Options(out / "run", checkpoints=str(folder), quick=True, quiet=True)
    settings = replace(
        SMALLEST,
        speech=replace(SMALLEST.speech, lr=1.5e-3),
        text=replace(SMALLEST.text, lr=3.5e-3),
        joint=replace(SMALLEST.joint, lr=2.5e-3),
        dimension_weight=0.5,
        seeds=2,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "fit", spy)
        found = recipe.run(options, settings)
    return options, settings, seen, found


def test_what_is_trained_is_what_the_settings_say(spied):
    """Rates, epochs, losses and labels of the fits that were really made."""
    options, settings, seen, found = spied
    assert set(seen) == {
        f"seed-{seed}/{arm}/{name}"
        for seed in (0, 1)
        for arm, names in recipe.MODELS.items()
        for name in names
    }
    for name, (used, loss, model, samples, _) in seen.items():
        joint = name.endswith("both")
        assert used.lr == (2.5e-3 if joint else 3.5e-3 if name.endswith("tts") else 1.5e-3)
        assert used.epochs == (2 if joint else 1)
        assert used.seed == int(name[5])
        assert isinstance(loss, EmotionLoss)
        assert loss.task_weights["dimensional"] == 0.5
        assert loss.task_weights["binary"] == 1.0
        assert loss.dimensional == {"mse": 1.0}
        assert loss.gamma == 0
        kinds = Counter(label.kind for label in model.labels)
        assert kinds == ({"binary": 7, "dimensional": 2} if "/with/" in name else {"binary": 7})
        assert model.modalities == (
            ("audio", "text") if joint else (recipe.ENCODERS[name.split("/")[2]][0],)
        )
        assert type(model.fusion) is mx.fusion.MetaAttention
        assert model.modality_dropout == 0.0
        assert len(samples) == 24
    assert found["gains"]["both against VC only"]["seeds"] == 2
    assert read(options.out / "run.json")["dimension_weight"] == 0.5
    with pytest.raises(CheckpointError, match="another run"):
        recipe.run(options, replace(settings, siamese="weights"))


def test_encoders_are_tuned_alone_and_then_frozen(spied):
    options, _, seen, _ = spied
    stages = options.out / "stages" / "seed-0" / "with"
    joint = mx.EmotionModel.from_pretrained(stages / "both" / "model")
    for name, modality in (("vc", "audio"), ("tts", "text")):
        _, _, model, _, before = seen[f"seed-0/with/{name}"]
        tuned = model.encoder(modality).state_dict()
        weight = next(n for n in before if "wrapped_encoder.layers.1" in n)
        assert not dict(model.named_parameters())[weight.removeprefix("model.")].equal(
            before[weight]
        )
        still = {n for n, one in model.named_parameters() if one.equal(before[f"model.{n}"])}
        front = {n for n in still if "prenet.feature_encoder" in n}
        # TINY tunes all but the convolutions of speech; a text encoder has none.
        assert bool(front) == (name == "vc")
        kept = joint.encoder(modality).state_dict()
        assert set(kept) == set(tuned)
        assert all(kept[key].equal(tuned[key]) for key in kept)
        assert not any(one.requires_grad for one in joint.encoder(modality).parameters())
    # What the joint fit trained had no encoder to change.
    _, _, heads, rows, _ = seen["seed-0/with/both"]
    assert not list(heads.encoders.parameters())
    assert rows[0]["audio"].shape == rows[0]["text"].shape == (32,)


def test_heads_on_vectors_are_the_whole_model(spied):
    options, settings, *_ = spied
    system = recipe.System(options, settings)
    test = system.task(0, "test", ("audio", "text"), "with")
    joint = system.joint(0, "with")
    encoders = {name: joint.encoder(name) for name in joint.modalities}
    rows = vectors.pooled(encoders, test, options.out / "again")
    heads = models.build(
        {name: vectors.Vectors(one.dim) for name, one in encoders.items()},
        joint.labels,
        settings,
    )
    heads.fusion.load_state_dict(joint.fusion.state_dict())
    whole = joint.predict(test).scores
    assert torch.allclose(heads.predict(rows).scores, whole, atol=1e-5)
    gone = [row | {"audio": None} for row in rows[:3]]
    silent = [dict(test[row]) | {"audio": None} for row in range(3)]
    assert torch.allclose(heads.predict(gone).scores, joint.predict(silent).scores, atol=1e-5)


def test_the_explanation_lends_every_utterance_what_all_others_say(spied):
    options, settings, *_ = spied
    report = recipe.System(options, settings).explain(0)
    explained = [report.explanation, *report.alternatives]
    assert [one.provenance.removal for one in explained] == [
        {"audio": "marginal", "text": "marginal"},
        {"audio": "mean", "text": "mean"},
        {"audio": "silence", "text": "mask"},
    ]
    assert [len(one.draws) for one in explained] == [24, 1, 1]  # the whole training part


def test_every_utterance_is_encoded_once_whatever_the_epochs(spied, tmp_path):
    options, settings, *_ = spied
    system = recipe.System(options, settings)
    train = system.task(0, "train", ("audio", "text"), "with")
    encoder = system.frozen(0, "vc", "with")
    rows = []
    encoder.register_forward_pre_hook(
        lambda _, args: rows.append(len(next(iter(args[0].values()))))
    )
    for _ in range(2):  # a second head, or a run that was killed
        vectors.pooled({"audio": encoder}, train, tmp_path)
    assert sum(rows) == len(train)


def test_siamese_twins_are_one_architecture_and_share_weights_if_asked(folder):
    def pair():
        speech = plugins.create(
            "encoders", "speecht5-speech", checkpoint=folder / "speecht5-speech"
        )
        return speech, plugins.create(
            "encoders", "speecht5-text", checkpoint=folder / "speecht5-text"
        )

    speech, text = pair()
    own = {name: one.clone() for name, one in text.state_dict().items()}
    models.siamese(speech, text, "architecture")
    assert all(one.equal(own[name]) for name, one in text.state_dict().items())
    models.siamese(speech, text, "weights")
    theirs = speech.model.wrapped_encoder.state_dict()
    ours = text.model.wrapped_encoder.state_dict()
    assert all(one.equal(ours[name]) for name, one in theirs.items())
    assert any(not one.equal(own[f"model.wrapped_encoder.{name}"]) for name, one in ours.items())
    prenet = [name for name in own if ".prenet." in name]
    assert prenet
    assert all(text.state_dict()[name].equal(own[name]) for name in prenet)
    from transformers import SpeechT5Config

    sizes = {**pretrained.SPEECHT5, "encoder_layers": 3}
    larger = plugins.create("encoders", "speecht5-text", config=SpeechT5Config(**sizes))
    with pytest.raises(CheckpointError, match="no siamese twins"):
        models.siamese(speech, larger, "architecture")


def test_the_run_starts_the_text_encoder_as_asked(asked, folder):
    system = recipe.System(asked, replace(SMALLEST, siamese="weights"))
    theirs = system.encoder("vc").model.wrapped_encoder.state_dict()
    ours = system.encoder("tts").model.wrapped_encoder.state_dict()
    assert all(one.equal(ours[name]) for name, one in theirs.items())
    assert "starts as a copy" in system.about()


def test_heads_start_at_the_means():
    model = models.build({"audio": vectors.Vectors(4)}, models.labels_for(True), TINY)
    models.start_at(model.fusion, [0.2, 0.0, 1.0, 0.5, 0.5, 0.5, 0.5, 2.5, 3.5])
    bias = model.fusion.head.bias.tolist()
    assert bias[0] == pytest.approx(np.log(0.25))
    assert bias[1] == pytest.approx(np.log(0.01 / 0.99))
    assert bias[2] == pytest.approx(-bias[1])
    assert bias[-2:] == [2.5, 3.5]


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({}, TINY),
        ({"quick": True}, QUICK),
        ({"checkpoints": "published"}, replace(PUBLISHED, parts=TINY.parts)),
        ({"seeds": 5}, replace(TINY, seeds=5)),
    ],
)
def test_what_is_asked_decides_the_settings(tmp_path, options, want):
    assert models.settings_for(Options(tmp_path, **options)) == want


def test_real_data_have_the_published_split(tmp_path):
    chosen = models.settings_for(Options(tmp_path, data=tmp_path, checkpoints="published"))
    assert chosen == PUBLISHED
    assert models.settings_for(Options(tmp_path, data=tmp_path)).parts == PUBLISHED.parts


# --- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("korean", "letters"),
    [
        ("참 잘했다.", "cham jalhaetda."),
        ("감사합니다", "gamsahapnida"),
        ("외워 봐요!", "oewo bwayo!"),
        ("닭 앉아 없다", "dak ana eopda"),
        ("빵 또 씨 찌", "ppang tto ssi jji"),
        ("OK 3번", "OK 3beon"),
    ],
)  # fmt: skip
def test_hangul_in_letters(korean, letters):
    assert words.romanise(korean) == letters


def test_what_the_vocabulary_cannot_hold_is_spelt_or_counted():
    known = frozenset("abcdefghijklmnopqrstuvwxyz .,'-")
    assert words.spell("It’s café 42 — “OK”…", known) == ("it's cafe four two - ok.", 2)
    assert words.spell("안녕", known) == (None, 2)
    assert words.spell(None, known) == (None, 0)
    assert words.spell("  a \n b ", known) == ("a b", 0)


def test_the_stand_in_translates_word_by_word_and_nothing_else():
    ko, en = lexicon("ko"), lexicon("en")
    translator = words.words_for(None, True).translator
    speech = tonebench.ToneBench(data.planted_rule(), 40, speakers=range(2))
    for row in range(40):
        said = speech.row(row)
        (english,) = translator.translate([Line(said["text"])])
        assert english.endswith(".")
        told = english.removesuffix(".").split()
        assert len(told) == len(said["text"].split())
        assert sum(word in en.contents[said["content"]] for word in told) == 1
        assert sum(word in en.fillers for word in told) == len(told) - 1
    assert len(set(translator.translate([Line(one) for one in ko.words]))) == len(en.words)
    with pytest.raises(InputError, match="does not hold"):
        translator.translate([Line("안녕.")])


def test_the_translator_is_an_option_of_this_recipe_alone(asked, tmp_path, monkeypatch):
    settings = '{"model": "m", "source": "Korean", "target": "English", "before": 4}'
    told = replace(asked, translator=f"openai-compatible {settings}")
    system = recipe.System(told, SMALLEST)
    assert system.words.translator.context == (4, 3)
    assert "4 turns before and 3 after" in system.words.said
    assert read(told.out / "run.json")["translator"] == told.translator
    with pytest.raises(CheckpointError, match="translator"):
        recipe.System(asked, SMALLEST)  # without it the figures are others
    elsewhere = replace(told, out=tmp_path / "elsewhere")
    with pytest.raises(InputError, match="only speecht5 takes one"):
        run_recipe("valence-arousal", elsewhere)
    assert not elsewhere.out.exists()
    given, written = [], tmp_path / "metrics.json"
    written.write_text("{}")
    monkeypatch.setattr("modalxai.recipes.run_recipe", lambda *one: given.append(one) or written)
    command = ["recipe", "s4", "--out", str(tmp_path), "--translator", told.translator]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert given == [("s4", Options(tmp_path, translator=told.translator))]


@pytest.mark.parametrize("asked", ["transformers {", "transformers [1]"])
def test_a_translator_that_cannot_be_read_is_refused(asked):
    with pytest.raises(InputError, match="json"):
        words.words_for(asked, False)


def test_the_endpoint_is_made_from_its_settings_and_an_unknown_one_is_refused():
    told = 'openai-compatible {"model": "m", "source": "Korean", "target": "English", "before": 4}'
    made = words.words_for(told, False)
    assert made.translator.context == (4, 3)
    assert "4 turns before and 3 after" in made.said
    with pytest.raises(PluginError):
        words.words_for("nobody {}", False)


# --- data and scores --------------------------------------------------------------------------


def test_the_planted_sets_have_several_emotions_and_shares_that_differ():
    sets, rule = data.planted_sets(), data.planted_rule()
    likely = sets.chance > 0.5
    assert likely.any(-1).all()  # nobody feels nothing
    assert likely.sum(-1).max() >= 3
    at = data.CONTENTS.index("blame"), data.TONES.index("sarcastic")
    assert {EMOTIONS[k] for k in np.flatnonzero(likely[at])} == {"angry", "disgust"}
    assert (np.abs(sets.chance - 0.5) > 0.35).all()  # no cell's set hangs by a thread
    corpus = data.synthetic((40, 20), 0, words.words_for(None, True), Path("unused"))
    assert not Path("unused").exists()
    shares = {name: one["audio"] for name, one in corpus.planted.items()}
    assert set(shares) == {*EMOTIONS, "valence", "arousal"}
    assert shares["surprise"] == pytest.approx(1)
    assert shares["fear"] == pytest.approx(0)
    assert 0.4 < shares["angry"] < 0.6
    lent = gold_sets(rule, sets, removal="marginal")
    assert {name: lent[name].audio for name in EMOTIONS} == pytest.approx(
        {name: shares[name] for name in EMOTIONS}
    )
    assert shares["valence"] < 0.3 < 0.7 < shares["arousal"]
    people = [set(part.column("speaker")) for part in corpus.parts.values()]
    assert not set.intersection(*people)
    assert rule.weights.min() == 1
    several = Counter(row["label"].count(";") for row in map(corpus.parts["train"].samples.row, range(40)))  # noqa: E501  # fmt: skip
    assert several[1] > 0


def test_log_odds_of_the_planted_sets_add():
    chance = data.planted_sets().chance
    odds = np.log(chance / (1 - chance))
    joined = odds - odds.mean(0, keepdims=True) - odds.mean(1, keepdims=True)
    assert np.allclose(joined + odds.mean((0, 1)), 0, atol=1e-9)


def test_the_best_match_is_that_of_an_exhaustive_search():
    rule, sets = data.planted_rule(), data.planted_sets()
    small = data.LabelSet(EMOTIONS[:3], sets.chance[:2, :, :3])
    two = replace(rule, contents=rule.contents[:2], given=rule.given[:2], weights=rule.weights[:2])
    found = data.best_match(two, small)
    every = list(product((0, 1), repeat=3))

    def chance(cell, one):
        return np.prod([p if held else 1 - p for p, held in zip(small.chance[cell], one, strict=True)])  # noqa: E501  # fmt: skip

    cells = list(product(range(2), range(4)))
    assert found["both"] == pytest.approx(
        np.mean([max(chance(cell, one) for one in every) for cell in cells])
    )
    for name, axis, size in (("text", 0, 2), ("audio", 1, 4)):
        told = [
            max(np.mean([chance(c, one) for c in cells if c[axis] == at]) for one in every)
            for at in range(size)
        ]
        assert found[name] == pytest.approx(np.mean(told))
    assert found["nothing"] < found["audio"] < found["both"]


def test_scores_are_those_of_the_definitions():
    labels = models.labels_for(True)
    told = [
        dict(zip(EMOTIONS, row, strict=True)) | {"valence": 2.0, "arousal": 4.0}
        for row in ([1, 0, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1])
    ]
    del told[2]["arousal"]
    scores = torch.full((3, 9), -2.0)
    scores[0, 0] = scores[1, 0] = scores[2, 6] = 1.0
    scores[:, 7], scores[:, 8] = 3.0, 4.5
    scores[:, 3] = -0.5  # likely at 0.38, and so not said
    found = results.scored(Prediction(scores, labels), told)
    assert found["exact match"] == pytest.approx(2 / 3)
    assert found["hits"].tolist() == [True, False, True]
    assert found["distance"] == pytest.approx((3 * 1 + 2 * 0.25) / 5)
    assert np.allclose(found["errors"], [0.625, 0.625, 1.0])
    bare = results.scored(Prediction(scores[:, :7], labels[:7]), told)
    assert np.isnan(bare["distance"])
    level = results.constant(labels, [told[0], told[0], told[1]], told)
    assert level["exact match"] == pytest.approx(1 / 3)
    assert level["set"] == "angry"
    assert level["distance"] == 0.0


def test_pairs_are_of_the_same_samples_and_speakers_are_flipped_whole():
    ours = [{"exact match": 0.75, "hits": [1, 1, 1, 0], "distance": 0.1}] * 2
    theirs = [{"exact match": 0.25, "hits": [0, 1, 0, 0], "distance": 0.3}] * 2
    found = results.paired(ours, theirs, [["a", "a", "b", "b"]] * 2)
    assert found["exact match"] == [0.5, 0.5]
    assert found["distance"] == pytest.approx([0.2, 0.2])
    assert found["better_in"] == found["seeds"] == 2
    assert found["p"] == pytest.approx(2 / 2**4)  # four speakers, two for each seed
    bare = results.paired(ours, [one | {"distance": np.nan} for one in theirs], [["a"] * 4] * 2)
    assert bare["distance"] == []


def test_a_joined_corpus_knows_its_columns(tmp_path):
    one = [{"id": "a", "session": "1", "dialogue": "1x", "text": "x"}]
    two = [{"id": "b", "session": "1", "dialogue": "1x", "text": None}]
    both = data.Together({"P": one, "Q": two})
    assert both.column("session") == ["P 1", "Q 1"]
    assert both.column("text") == ["x", None]
    assert both[1]["dialogue"] == "Q 1x"
    assert both[1]["corpus"] == "Q"
    with pytest.raises(InputError, match="no column"):
        both.column("nothing")


def test_vectors_are_not_saved_as_if_they_were_encoders(tmp_path):
    with pytest.raises(CheckpointError, match="vectors have no weights"):
        vectors.Vectors(3).save_pretrained(tmp_path)


# --- what it must show ------------------------------------------------------------------------


@pytest.mark.full
def test_the_full_form_shows_what_it_must(tmp_path):
    """Both encoders beat either, and what was planted comes back, in each of three corpora."""
    found = recipe.run(Options(tmp_path, quiet=True))
    for name in ("vc", "tts", "wav2vec2"):
        gain = found["gains"][f"both against {results.NAMES[name]}"]
        assert gain["better_in"] == gain["seeds"] == 3
        assert min(gain["exact match"]) > 0.05
        assert min(gain["distance"]) > 0.1
        assert gain["p"] < 0.05
    apart = {label: one["furthest"] for label, one in found["planted"].items()}
    assert set(apart) == {*EMOTIONS, "valence", "arousal"}
    assert all(one < 0.1 for one in apart.values()), apart  # false for NaN too


@pytest.mark.full
def test_two_processes_train_what_one_does(tmp_path):
    """Bit for bit, with the tiny checkpoints, each on one thread."""
    one, two = (
        recipe.run(Options(tmp_path / str(count), quick=True, quiet=True, workers=count), SMALLEST)
        for count in (1, 2)
    )
    assert comparable(one) == comparable(two)
