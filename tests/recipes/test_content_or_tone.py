"""S0 end to end in its quick form; what it counts, by hand; its settings, and what they make."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from tests.support import corpora

import modalxai as mx
from modalxai.attribution import Explanation
from modalxai.datasets import tonebench
from modalxai.datasets.tonebench.gold import posteriors
from modalxai.datasets.tonebench.lexicon import lexicon
from modalxai.errors import CheckpointError, DependencyError, InputError
from modalxai.recipes import Options, tiny
from modalxai.recipes.checkpoints import PUBLISHED as NAMES
from modalxai.recipes.checkpoints import Checkpoints
from modalxai.recipes.content_or_tone import analyses as analyses
from modalxai.recipes.content_or_tone import changes as changes
from modalxai.recipes.content_or_tone import comparisons as comparisons
from modalxai.recipes.content_or_tone import data as data
from modalxai.recipes.content_or_tone import models as models
from modalxai.recipes.content_or_tone import recipe
from modalxai.recipes.content_or_tone import results as results
from modalxai.recipes.content_or_tone import settings as settings_of
from modalxai.recipes.content_or_tone import synthetic as synthetic
from modalxai.recipes.content_or_tone.settings import EMOTIONS, PUBLISHED, Settings, settings_for
from modalxai.recipes.tiny import speech, vocabulary
from modalxai.recipes.tiny import text as written
from modalxai.report import Report
from modalxai.training.progress import Progress
from modalxai.types import Provenance, Targets


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Tiny encoders with random weights, as a folder of the user's."""
    from transformers import BertConfig, DistilBertConfig, Wav2Vec2Config

    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    english = vocabulary.wordpiece(lexicon("en").words, lowercase=True)
    korean = vocabulary.wordpiece(lexicon("ko").words, lowercase=False)
    made = {
        "wav2vec2": mx.encoders.Wav2Vec2Encoder(Wav2Vec2Config(**speech.WAV2VEC2)),
        "distilbert": mx.encoders.DistilBertEncoder(
            DistilBertConfig(vocab_size=len(english), **written.DISTILBERT), english
        ),
        "klue": mx.encoders.KlueEncoder(BertConfig(vocab_size=len(korean), **written.BERT), korean),
    }
    for name, encoder in made.items():
        encoder.save_pretrained(folder / name)
    return folder


def quick(options):
    """Settings smaller than the quick form's, two epochs long."""
    chosen = settings_for(options)
    return replace(
        chosen,
        training=replace(chosen.training, epochs=2),
        train=64,
        test=30,
        phrase=32,
        pictured=4,
        explained=2,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory, checkpoints):
    """One quick run, and what it returned."""
    options = Options(
        tmp_path_factory.mktemp("s0"), checkpoints=str(checkpoints), quick=True, quiet=True
    )
    return options, recipe.run(options, quick(options))


def read(path):
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)


def table(options):
    rows = csv.DictReader((options.out / "results.csv").open(encoding="utf-8"))
    return [row for row in rows if row["table"] != "table"]  # each table has its head


# --- end to end -------------------------------------------------------------------------------


def test_the_quick_form_writes_everything(made):
    options, _ = made
    record = read(options.out / "metrics.json")
    assert record["run"]["recipe"] == "content-or-tone"
    found = record["metrics"]
    assert set(found) == {
        "about", "scores", "shares", "masking", "words", "spectrogram", "prosody", "mismatch",
        "phrase", "situations", "humans", "bias", "slim", "latency", "checkpoints",
        "further seeds",
    }  # fmt: skip
    assert "Departure: modality dropout" in found["about"]
    assert "raters are simulated" in found["about"]
    assert found["latency"]["window"] == 1.0
    assert found["latency"]["real_time_factor"] > 0
    for name in ("f1-model", "shares", "masking", "words", "spectrogram", "prosody", "phrase"):
        assert (options.out / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG", name
    page = (options.out / "report.html").read_text(encoding="utf-8").lower()
    assert "planted" in page
    assert "marginal" in page
    assert (options.out / "report-noise.html").is_file()
    assert (options.out / "report-phrase.html").is_file()


def test_all_four_removals_are_in_the_table(made):
    options, found = made
    assert set(found["masking"]) == {
        "text: mask", "text: empty", "audio: silence", "audio: noise"
    }  # fmt: skip
    assert set(found["masking"]) <= {row["name"] for row in table(options)}


def test_the_tables_come_in_the_order_of_the_slides(made):
    options, _ = made
    titles = list(dict.fromkeys(row["table"] for row in table(options)))
    starts = [title.split(" on ")[0].split(",")[0].split(":")[0] for title in titles]
    assert starts[:4] == [
        "Emotion recognition", "Share of audio and text by emotion", "Masking", "Masking"
    ]  # fmt: skip
    assert any(title.startswith("참 잘했다. in four tones") for title in titles)
    assert any(title.startswith("Slimmer models") for title in titles)


def test_the_slides_figures_are_illustrations_and_never_results(made):
    options, _ = made
    rows = [row for row in table(options) if row["table"].startswith("Share of")]
    quoted = {row["name"]: row["paper"] for row in rows if row["paper"]}
    assert quoted == {"anger": "72 %", "sadness": "55 %", "joy": "40 %"}
    assert all("illustrations" in row["table"] for row in rows)


def test_both_models_are_scored_with_both_modalities_and_with_one(made):
    _, found = made
    assert list(found["scores"]) == ["wav2vec2+distilbert", "mel-cnn+distilbert"]
    for scores in found["scores"].values():
        assert list(scores) == ["all", "audio alone", "text alone"]


def test_owen_values_add_up(made):
    _, found = made
    assert found["words"]["gap"] < 1e-4
    assert found["words"]["residual"] < 1e-4
    units = found["words"]["samples"][0]["units"]
    assert set(units) == {"audio", "text"}


def test_a_killed_run_goes_on_and_ends_the_same(made, tmp_path, checkpoints, monkeypatch):
    _, whole = made
    options = Options(tmp_path / "run", checkpoints=str(checkpoints), quick=True, quiet=True)
    keep, kept = Progress.keep, []

    def killed(self, *told):
        keep(self, *told)
        kept.append(told)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "keep", killed)
        with pytest.raises(KeyboardInterrupt):  # within the first model's training
            recipe.run(options, quick(options))
    with monkeypatch.context() as patch:
        patch.setattr(comparisons, "mismatch", lambda report: [][0])
        with pytest.raises(IndexError):  # later, after other stages
            recipe.run(options, quick(options))
    again = recipe.run(options, quick(options))
    assert len(kept) == 1
    assert untimed(again) == untimed(whole)
    assert set(again["checkpoints"]) == {"wav2vec2", "distilbert", "klue"}


def untimed(found):
    """Without what a clock says."""
    kept = {name: one for name, one in found.items() if name != "latency"}
    rows = {
        name: {key: value for key, value in one.items() if key in ("macro F1", "parameters")}
        for name, one in kept.pop("slim")["models"].items()
    }
    return json.loads(json.dumps(kept | {"slim": rows}, default=str))


def test_other_settings_are_another_run(made):
    options, _ = made
    with pytest.raises(CheckpointError, match="another run"):
        recipe.System(options, replace(quick(options), modality_dropout=0.1))


# --- real corpora -----------------------------------------------------------------------------


def test_melds_csv_files_are_read_as_text(tmp_path, checkpoints):
    folder = tmp_path / "meld"
    folder.mkdir()
    sayings = {name: f"how very {name} this is" for name in EMOTIONS}
    rows = {
        part: [
            corpora.meld_row(dialogue, turn, sayings[name], name, speaker="Ross")
            for dialogue in range(count)
            for turn, name in enumerate(EMOTIONS)
        ]
        for part, count in (("train", 6), ("dev", 3))
    }
    corpora.meld(folder, rows)
    options = Options(
        tmp_path / "run", data=folder, checkpoints=str(checkpoints), quick=True, quiet=True
    )
    found = recipe.run(options)
    assert "scores are on dev" in found["about"]
    assert "hears nothing" in found["about"]
    assert list(found["scores"]) == ["distilbert"]
    assert set(found["masking"]) == {"text: mask", "text: empty"}
    assert "nobody annotated" in found["humans"]["skipped"]
    for name in ("prosody", "spectrogram", "mismatch", "bias", "phrase", "situations"):
        assert "skipped" in found[name], name
    assert read(options.out / "metrics.json")["metrics"]["scores"]


def test_a_manifest_is_read_by_encoders_that_learn_from_nothing(tmp_path):
    folder = tmp_path / "corpus"
    (folder / "audio").mkdir(parents=True)
    lines = ["path,speaker,transcript,emotion,part"]
    corpus = tonebench.ToneBench(tonebench.tone(2), 24, speakers=range(6))
    for index, sample in enumerate(corpus):
        path, speaker = f"audio/{index}.flac", f"v{index % 6}"
        soundfile.write(folder / path, sample["audio"].waveform.numpy(), 16_000)
        emotion = next(iter(sample["labels"]))
        half = "plain" if index % 6 < 3 else "emotional"
        lines.append(f"{path},{speaker},{sample['text']},{emotion},{half}")
        if index == 23:
            break
    (folder / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    options = Options(tmp_path / "run", data=folder, quick=True, quiet=True)
    chosen = settings_for(options)
    assert chosen.encoders == "mel-cnn+byte-text"
    system = recipe.System(options, chosen)
    heard = {
        part: {one["speaker"] for one in getattr(system.corpus, part)} for part in ("train", "test")
    }
    assert not heard["train"] & heard["test"]
    assert {one["part"] for one in system.corpus.test} == {"plain", "emotional"}
    found = recipe.run(options)
    assert set(found["masking"]) == {
        "text: mask", "text: empty", "audio: silence", "audio: noise"
    }  # fmt: skip
    assert found["spectrogram"]["by_emotion"]
    assert (options.out / "figures" / "spectrogram.png").is_file()
    assert "skipped" in found["phrase"]
    assert "skipped" in found["humans"]


def test_a_folder_that_is_no_corpus_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match="no corpus that this recipe reads"):
        settings_for(Options(tmp_path / "run", data=tmp_path))


# --- settings ---------------------------------------------------------------------------------


def test_the_published_settings():
    assert settings_for(Options("x", checkpoints="published")) == PUBLISHED == Settings()
    assert PUBLISHED.encoders == "wav2vec2+distilbert"
    assert PUBLISHED.alternative == "mel-cnn+distilbert"
    assert NAMES["wav2vec2"] == "facebook/wav2vec2-base"
    assert NAMES["distilbert"] == "distilbert-base-uncased"
    assert EMOTIONS == ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
    assert settings_of.TEXT_REMOVALS == ("mask", "empty")
    assert settings_of.AUDIO_REMOVALS == ("silence", "noise")
    assert PUBLISHED.trainable == {"audio": "all", "text": "all"}
    chosen = PUBLISHED.training
    assert (chosen.optimizer, chosen.lr, chosen.epochs, chosen.batch_size) == ("adamw", 2e-5, 5, 32)
    assert PUBLISHED.modality_dropout == 0.25
    assert (2000, 4000) in analyses.BANDS


def test_what_is_built_is_what_the_settings_say(checkpoints):
    source = Checkpoints(str(checkpoints), language="en")
    model = models.build("wav2vec2+distilbert", EMOTIONS, PUBLISHED, source)
    assert model.modalities == ("audio", "text")
    assert type(model.encoder("audio")).__name__ == "Wav2Vec2Encoder"
    assert type(model.encoder("text")).__name__ == "DistilBertEncoder"
    assert [label.name for label in model.labels] == list(EMOTIONS)
    assert all(label.kind == "categorical" for label in model.labels)
    assert model.fusion.hidden == PUBLISHED.hidden
    assert model.modality_dropout == PUBLISHED.modality_dropout
    assert any(w.requires_grad for w in model.encoder("audio").parameters())
    frozen = models.build("wav2vec2+distilbert", EMOTIONS, settings_of.TINY, source)
    for name in frozen.modalities:
        assert not any(w.requires_grad for w in frozen.encoder(name).parameters())
    other = models.build("mel-cnn+distilbert", EMOTIONS, settings_of.TINY, source, without="text")
    assert other.modalities == ("audio",)
    assert other.encoder("audio").dim == settings_of.TINY.scratch["mel-cnn"]["dim"]


def test_what_is_trained_is_what_the_settings_say(checkpoints, tmp_path, monkeypatch):
    seen = []

    def fit(step, samples, collate, settings, **told):
        seen.append((settings, len(samples), told["validate"]))

    monkeypatch.setattr(models, "fit", fit)
    options = Options(tmp_path, checkpoints=str(checkpoints), quick=True, quiet=True)
    system = recipe.System(options, quick(options))
    system.trained("model", system.settings.encoders)
    system.trained("alternative", str(system.settings.alternative))
    (first, count, validate), (second, *_) = seen
    assert first == system.settings.training
    assert second == system.settings.scratch_training
    assert count == system.settings.train
    assert validate is None
    dev = replace(system.corpus, dev=system.corpus.test[:5])
    system.trained("validated", system.settings.encoders, dev)
    assert 0 <= seen[-1][2]() <= 1


def test_without_modality_dropout_removals_are_those_of_the_masking(checkpoints, tmp_path):
    options = Options(tmp_path, checkpoints=str(checkpoints), quick=True, quiet=True)
    system = recipe.System(options, replace(quick(options), modality_dropout=0.0))
    assert system.removal == {"audio": "silence", "text": "mask"}
    assert "Departure" not in system.about()


def test_another_seed_has_other_voices_weights_and_an_order_of_its_own(
    checkpoints, tmp_path, monkeypatch
):
    chosen = replace(settings_of.TINY, train=40, test=20, seed=1)
    first, other = (synthetic.synthetic(replace(chosen, seed=seed)) for seed in (0, 1))
    voices = [{one["speaker"] for one in (*c.train, *c.test)} for c in (first, other)]
    assert not voices[0] & voices[1]
    assert [one["text"] for one in first.train] != [one["text"] for one in other.train]
    source = Checkpoints(str(checkpoints), language="en")
    made = [
        models.build("wav2vec2+distilbert", EMOTIONS, replace(chosen, seed=seed), source)
        for seed in (0, 1, 1)
    ]
    heads = [model.fusion.head.weight for model in made]
    assert not heads[0].equal(heads[1])
    assert heads[1].equal(heads[2])
    seen = []
    monkeypatch.setattr(models, "fit", lambda step, known, collate, how, **_: seen.append(how.seed))
    options = Options(tmp_path, checkpoints=str(checkpoints), quick=True, quiet=True)
    system = recipe.System(options, replace(quick(options), seed=7))
    system.trained("model", system.settings.encoders)
    assert seen == [7]


def test_further_seeds_stand_beside_the_first(checkpoints, tmp_path):
    options = Options(
        tmp_path / "run", checkpoints=str(checkpoints), quick=True, quiet=True, seeds=2
    )
    tiny_form = replace(quick(options), training=replace(quick(options).training, epochs=1))
    found = recipe.again(options, replace(tiny_form, seed=1))
    assert found["seed"] == 1
    assert set(found["shares"]) == set(EMOTIONS)
    assert (tmp_path / "run" / "seed-1" / "run.json").is_file()
    one = {
        label: {"share": {"audio": 0.5 + n / 10}, "planted": 0.4, "apart": 0.1 + n / 10}
        for n, label in enumerate(("anger", "joy"))
    }
    two = {label: {**row, "share": {"audio": 0.7}, "apart": 0.3} for label, row in one.items()}
    lines = results._seeds([one, two], "x").lines
    assert lines[0].values == {
        "audio": [0.5, 0.7], "audio, planted": 0.4,
        "points apart": [pytest.approx(10), pytest.approx(30)], "at most": pytest.approx(30),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["", "a+b+c", "+distilbert"])
def test_encoders_that_make_no_model_are_refused(name):
    with pytest.raises(InputError, match="make no model"):
        models.modalities(name)


# --- synthetic data ---------------------------------------------------------------------------


def test_every_emotion_of_meld_has_a_planted_share():
    rule = synthetic.seven()
    assert rule.labels == EMOTIONS
    shares = {name: one["audio"] for name, one in synthetic.shares_of(rule).items()}
    expected = {
        "anger": 0.438, "disgust": 0.542, "fear": 0.331, "joy": 0.367, "neutral": 0.415,
        "sadness": 0.214, "surprise": 0.839,
    }  # fmt: skip
    assert shares == pytest.approx(expected, abs=5e-4)
    assert [rule.labels[k] for k in rule.winners[rule.contents.index("praise")]] == [
        "joy", "surprise", "joy", "anger"
    ]  # fmt: skip


def test_the_biased_raters_hear_anger_in_sarcasm():
    rule = synthetic.seven()
    leaning = synthetic.biased(rule, 0.8)
    heard = rule.tones.index("sarcastic")
    assert leaning.given[2, heard, 0] == pytest.approx(0.8 + 0.2 * rule.given[2, heard, 0])
    others = [tone for tone in range(4) if tone != heard]
    assert (leaning.given[:, others] == rule.given[:, others]).all()
    told = synthetic.shares_of(leaning)
    assert told["anger"]["audio"] == pytest.approx(0.696, abs=5e-4)  # 0.438 before


def test_raters_say_what_is_likeliest_given_what_they_have():
    rule = synthetic.seven()
    sample = {"id": "x", "content": "praise", "tone": "sarcastic"}
    found = synthetic.rated(sample, rule, 0)
    assert found["heard_text"] == "joy"  # two of four tones
    assert found["heard_whole"] == "anger"
    loss = synthetic.rated(sample | {"content": "loss", "tone": "excited"}, rule, 0)
    assert (loss["heard_text"], loss["heard_audio"]) == ("sadness", "surprise")
    assert loss["heard_whole"] == "surprise"
    torn = {synthetic.rated(sample | {"id": str(n), "content": "blame"}, rule, 0)["heard_text"]
            for n in range(80)}  # fmt: skip
    assert torn == {"anger", "surprise", "disgust", "joy"}


def test_noise_is_as_loud_as_asked_and_belongs_to_the_sample():
    wave = torch.sin(torch.arange(16_000) / 8) * 0.1
    sample = {"id": "x", "audio": mx.Audio(wave, 16_000)}
    found = synthetic.noisy(sample, 6.0, 0)
    added = found["audio"].waveform - wave
    measured = 10 * math.log10(float(wave.square().mean() / added.square().mean()))
    assert measured == pytest.approx(6.0, abs=0.2)
    assert found["id"] == "x-noisy"
    assert found["audio"].waveform.equal(synthetic.noisy(sample, 6.0, 0)["audio"].waveform)
    assert not found["audio"].waveform.equal(
        synthetic.noisy(sample | {"id": "y"}, 6.0, 0)["audio"].waveform
    )
    assert sample["audio"].waveform is wave


def test_the_phrase_is_korean_in_four_tones_by_unseen_voices():
    chosen = replace(settings_of.TINY, phrase=16, phrase_speakers=2)
    corpus = synthetic.phrase_corpus(chosen)
    assert {one["text"] for one in corpus.test} == {"참 잘했다."}
    deserved = {one["tone"]: one["deserved"] for one in corpus.test}
    assert deserved == {"flat": "joy", "rising": "joy", "excited": "surprise", "sarcastic": "anger"}
    assert not {one["speaker"] for one in corpus.test} & {one["speaker"] for one in corpus.train}
    assert len({one["id"] for one in corpus.test}) == len(corpus.test) == 8


def test_test_speakers_are_new_and_half_of_the_test_part_is_noisy():
    corpus = synthetic.synthetic(replace(settings_of.TINY, train=40, test=20))
    assert not {one["speaker"] for one in corpus.test} & {one["speaker"] for one in corpus.train}
    assert [one["noise"] for one in corpus.test].count("noisy") == 20
    assert corpus.situations == ("noise", "voice", "length")


# --- by hand ----------------------------------------------------------------------------------


@pytest.fixture
def explained():
    """Two emotions, audio and text; [4, N, 2] scores are set by hand."""

    def build(rows, truth, removal="absent", **columns):
        scores = torch.zeros(1, 4, len(rows), 2, dtype=torch.float64)
        for n, (audio, text, both) in enumerate(rows):  # log-odds of joy against anger
            scores[0, :, n, 1] = torch.tensor([0.0, audio, text, both], dtype=torch.float64)
        values = torch.eye(2)[[("anger", "joy").index(name) for name in truth]]
        return Explanation(
            sample_ids=tuple(f"u{n}" for n in range(len(rows))),
            labels=mx.labels("anger", "joy"),
            modalities=("audio", "text"),
            present=torch.ones(len(rows), 2).bool(),
            draws=scores,
            targets=Targets(values, torch.ones(len(rows), 2).bool()),
            columns={name: tuple(column) for name, column in columns.items()},
            provenance=Provenance(
                "coalition-table", {}, "raw", {"audio": removal, "text": removal}, "input", None,
                0, {"modalxai": "0"},
            ),
        )  # fmt: skip

    return build


def chance(odds):
    return 1 / (1 + math.exp(-odds))


def test_the_masking_experiment_by_hand(explained):
    one = explained([(1, 2, 3), (-2, 1, -1)], ["joy", "anger"])
    found = analyses.masking(lambda removal: one, ("audio", "text"))
    # Joy is predicted first, anger second; without the audio only the words are left.
    without_audio = [chance(3) - chance(2), chance(1) - chance(-1)]
    without_text = [chance(3) - chance(1), chance(1) - chance(2)]
    assert found["audio: silence"]["change"] == pytest.approx(np.mean(without_audio))
    assert found["text: mask"]["change"] == pytest.approx(np.mean(without_text))
    assert found["text: mask"]["size"] == pytest.approx(np.mean(np.abs(without_text)))
    assert found["audio: silence"]["flips"] == 0.5
    assert found["text: mask"]["flips"] == 0.0
    assert found["audio: noise"]["by_emotion"]["anger"] == pytest.approx(without_audio[1])


def test_each_removal_is_asked_for_by_its_name(explained):
    asked = []
    one = explained([(1, 2, 3)], ["joy"])
    analyses.masking(lambda removal: asked.append(removal) or one, ("audio", "text"))
    assert asked == [
        {"audio": "silence", "text": "mask"}, {"audio": "noise", "text": "empty"}
    ]  # fmt: skip


def test_scores_and_shares_by_hand(explained):
    one = explained([(4, 2, 6), (1, -3, -2), (2, -2, 1)], ["joy", "joy", "joy"])
    scores = analyses.scores(one)
    assert scores["all"]["accuracy"] == pytest.approx(2 / 3)
    assert scores["all"]["by_emotion"] == {"anger": 0, "joy": pytest.approx(0.8)}
    assert scores["audio alone"]["accuracy"] == 1
    assert scores["text alone"]["accuracy"] == pytest.approx(1 / 3)
    # No interaction in the first two: each modality has its own log-odds.
    assert analyses.audio_share(one, np.array([0])) == pytest.approx(4 / 6)
    assert analyses.audio_share(one, np.array([0, 1])) == pytest.approx((4 + 1) / (6 + 4))
    assert math.isnan(analyses.audio_share(one, np.array([], dtype=int)))


def test_who_wins_where_words_and_voice_disagree(explained):
    rows = [(3, -1, 2), (3, -1, 2), (1, -3, -2), (2, 2, 4), (-2, -2, -4), (-1, -1, -2)]
    truth = ["joy", "anger", "anger", "joy", "anger", "joy"]
    report = Report(explained(rows, truth), cluster=None, repeats=20)
    found = comparisons.mismatch(report)
    assert found["groups"]["conflicting"]["n"] == 3
    assert found["groups"]["congruent"]["n"] == 3
    assert found["groups"]["conflicting"]["accuracy"] == pytest.approx(2 / 3)
    assert found["groups"]["congruent"]["accuracy"] == pytest.approx(2 / 3)
    assert found["overall"]["first_wins"] == 2
    wins = {one["label"]: (one["disagreeing"], one["first_wins"]) for one in found["by_emotion"]}
    assert wins == {"anger": (1, 0), "joy": (2, 2)}
    assert found["overall"]["strongest"][0]["audio"] == "joy"


def test_the_signal_that_serves_is_the_one_that_is_missed(explained):
    quiet = [(3, -0.5, 2.5), (-3, 0.5, -2.5)] * 12
    loud = [(-0.1, 2, 1.9), (0.1, -2, -1.9)] * 12
    one = explained(
        quiet + loud,
        ["joy", "anger"] * 24,
        noise=["clean"] * 24 + ["noisy"] * 24,
        few=["rare"] * 3 + ["usual"] * 45,
    )
    # A voice that shouts the words down, the wrong way.
    worse = explained([(-3, 1, -2), (3, -1, 2)] * 12, ["joy", "anger"] * 12, noise=["clean"] * 24)
    found = comparisons.situations(one, ["noise", "few"])
    assert found["noise"]["clean"]["serves"] == "audio"
    assert found["noise"]["clean"]["without audio"] == 0
    assert found["noise"]["noisy"]["audio share"] == pytest.approx(0.1 / 2.1)
    assert "rare" not in found["few"]
    assert found["noise"]["noisy"]["serves"] == "text"
    assert found["noise"]["clean"]["hurts"] == "none"
    assert comparisons.situations(worse, ["noise"])["noise"]["clean"]["hurts"] == "audio"


def test_the_phrase_is_told_tone_by_tone(explained):
    one = explained(
        [(1, 2, 3), (1, 2, 3), (-4, 2, -2), (-1, 2, 1), (-3, -1, -4)],
        ["joy", "joy", "anger", "anger", "anger"],
        tone=["flat", "flat", "sarcastic", "sarcastic", "sarcastic"],
        text=["참 잘했다."] * 5,
    )
    found = comparisons.phrase(one)
    flat, bitter = found["tones"]["flat"], found["tones"]["sarcastic"]
    assert (flat["right"], bitter["right"]) == (1.0, pytest.approx(2 / 3))
    assert flat["probabilities"][1] == pytest.approx(chance(3))
    assert (flat["disagreeing"], bitter["disagreeing"]) == (0, 2)
    assert bitter["audio_wins"] == 0.5  # of the two in which they disagree
    # On clr of two labels the log-odds are halved; for anger the voice speaks, the words do not.
    assert bitter["audio"] == pytest.approx((4 + 1 + 3) / 3 / 2)
    assert bitter["text"] == pytest.approx((-2 - 2 + 1) / 3 / 2)


def test_people_who_follow_the_planted_rule_agree_with_a_model_that_does():
    rule = synthetic.seven()
    corpus = tonebench.ToneBench(rule, 80, speakers=range(4), language="en")
    rows = [synthetic.rated(corpus.row(n), rule, 0) for n in range(80)]

    tables = np.log(posteriors(rule))  # [4, C, A, K]
    cells = [(rule.contents.index(r["content"]), rule.tones.index(r["tone"])) for r in rows]
    scores = np.stack([[tables[s][cell] for cell in cells] for s in range(4)])[None]
    listener = Explanation(
        sample_ids=tuple(r["id"] for r in rows),
        labels=mx.labels(*rule.labels),
        modalities=("audio", "text"),
        present=torch.ones(80, 2).bool(),
        draws=torch.as_tensor(scores),
        targets=Targets(
            torch.eye(7)[[rule.labels.index(r["rule_label"]) for r in rows]],
            torch.ones(80, 7).bool(),
        ),
        columns={name: tuple(r[name] for r in rows) for name in rows[0] if name != "labels"},
        provenance=Provenance("coalition-table", {}, "raw", {"audio": "absent", "text": "absent"},
                              "input", None, 0, {"modalxai": "0"}),
    )  # fmt: skip
    report = Report(listener, repeats=50)
    found = comparisons.humans(report, rule)
    assert found["alignment"]["decided"] > 5
    assert found["alignment"]["agreement"] > 0.8
    for label, one in found["weights"].items():
        if label == "surprise":  # which no words tell: no weight of theirs
            assert "no weight follows" in one["reason"]
        else:
            assert not one["reason"], label
            assert abs(one["apart"]) < 0.1, label
    assert "simulated" in found["raters"]


def test_a_line_of_shares_has_the_form_of_the_slides():
    shares = {
        "anger": {"share": {"audio": 0.72, "text": 0.28}, "reason": ""},
        "joy": {"share": {"audio": 0.4, "text": 0.6}, "reason": ""},
        "fear": {"share": {"audio": math.nan, "text": math.nan}, "reason": "no samples"},
    }
    assert results.share_lines(shares) == [
        "anger: audio 72 % / text 28 %",
        "joy: text 60 % / audio 40 %",
        "fear: no share (no samples)",
    ]


def test_a_map_is_shared_out_over_the_bands_and_drawn_in_seconds_and_hertz():
    torch.manual_seed(0)
    audio = mx.encoders.MelCnnEncoder(dim=16, channels=16, attention_layers=0, dropout=0.0)
    fusion = mx.fusion.ShallowFusion({"audio": 16}, mx.labels("anger", "joy"), hidden=0)
    model = mx.EmotionModel({"audio": audio}, fusion, modality_dropout=0.1).eval()
    corpus = tonebench.ToneBench(tonebench.tone(2), 4)
    samples = [{"id": str(n), "audio": corpus[n]["audio"]} for n in range(4)]
    found = analyses.spectrogram(model, samples, "absent")
    assert sum(found["even"]) == pytest.approx(1)
    for one in found["by_emotion"].values():
        assert sum(one["shares"]) == pytest.approx(1)
    figure = results.spectrogram_figure(found["maps"], samples, found["pictures"])
    first = figure.axes[0]
    assert (first.get_xlabel(), first.get_ylabel()) == ("seconds", "hertz")
    assert first.get_xlim() == pytest.approx((0, 1.2))
    assert first.get_ylim() == (0, 8000)


def test_a_shorter_model_has_fewer_layers_and_the_first_one_is_untouched(checkpoints):
    source = Checkpoints(str(checkpoints), language="en")
    model = models.build("wav2vec2+distilbert", EMOTIONS, settings_of.TINY, source)
    before = models.parameters(model)
    assert {name: models.layers_of(model, name) for name in model.modalities} == {
        "audio": 2, "text": 2
    }  # fmt: skip
    shorter = models.shortened(model, "text", 1)
    assert models.layers_of(shorter, "text") == 1
    assert models.parameters(shorter) < before == models.parameters(model)
    cnn = models.build("mel-cnn+byte-text", EMOTIONS, settings_of.TINY, source)
    assert models.layers_of(cnn, "audio") == models.layers_of(cnn, "text") == 0


def test_manifests_without_speakers_are_refused(tmp_path):
    (tmp_path / "manifest.csv").write_text("id,text,emotion\na,well,joy\n", encoding="utf-8")
    with pytest.raises(InputError, match="columns are missing"):
        data.manifest(tmp_path, settings_of.TINY)


def test_prosody_is_told_against_its_placebo(monkeypatch):
    pytest.importorskip("pyworld")
    torch.manual_seed(0)
    audio = mx.encoders.MelCnnEncoder(dim=16, channels=16, attention_layers=0, dropout=0.0)
    fusion = mx.fusion.ShallowFusion({"audio": 16}, mx.labels("anger", "joy"), hidden=0)
    model = mx.EmotionModel({"audio": audio}, fusion, modality_dropout=0.1).eval()
    corpus = tonebench.ToneBench(tonebench.tone(2), 2)
    samples = [{"id": str(n), "audio": corpus[n]["audio"]} for n in range(2)]
    usual = [one["audio"] for one in samples]
    found = analyses.prosody(model, samples, usual, "absent")
    method = mx.attribution.Prosody(
        division=mx.voice.ProsodyDivision(reference=mx.voice.Reference.of(usual))
    )
    game = model.game(samples, removal="absent")
    direct = method.attribute(game)
    best = direct.prediction.argmax(-1)
    sizes = direct.units["audio"][torch.arange(2), best].abs().mean(0)
    everyone = found["by_emotion"]["all"]
    assert everyone["n"] == 2
    assert everyone["size"] == pytest.approx(sizes.tolist(), abs=1e-6)
    assert found["players"][1] == "recording"
    effects = method.effects(game, doses=())
    assert everyone["effect"] == pytest.approx(
        effects.effect[torch.arange(2), best].mean(0).tolist(), abs=1e-6
    )
    assert ((everyone["believable"] >= 0) & (everyone["believable"] <= 1)).all()

    def gone(*_):
        raise DependencyError("no pyworld", expected="it", got="none", mend="install it")

    monkeypatch.setattr(mx.voice.Reference, "of", gone)
    assert "no pyworld" in analyses.prosody(model, samples, usual, "absent")["skipped"]


# --- what it must show ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def middle(tmp_path_factory):
    """The recipe's stages on less data than in the full form, with pre-trained tiny encoders."""
    folder = tmp_path_factory.mktemp("pre-trained")
    for name in ("wav2vec2", "distilbert"):
        tiny.make(name, folder, "en").rename(folder / name)
    options = Options(tmp_path_factory.mktemp("middle"), checkpoints=str(folder), quiet=True)
    chosen = settings_for(options)
    chosen = replace(chosen, train=1200, test=320, training=replace(chosen.training, epochs=20))
    system = recipe.System(options, chosen)
    return system, system.trained("model", chosen.encoders)


@pytest.mark.full
def test_the_full_form_shows_what_it_must(middle):
    system, model = middle
    shares = system.shares(system.report("model", model))
    assert set(shares) == set(EMOTIONS)
    for label, one in shares.items():
        assert one["apart"] <= 0.1, (label, one)
    found = analyses.contributions(model, system.some(48), system.corpus.rule, 512)
    # Where the voice alone decides, no word is stronger than another: 0.43 by chance.
    assert found["carrier_first"] > 0.55


@pytest.mark.full
def test_a_planted_bias_is_found_and_corrected(middle):
    system, model = middle
    found = changes.bias(system, model)
    anger = found["labels"]["anger"]
    assert anger["differs"]
    assert anger["before"] > anger["reference"] + 0.05
    assert abs(anger["after"] - anger["reference"]) < abs(anger["before"] - anger["reference"]) / 2
    assert found["scores"]["after"] > found["scores"]["before"] - 0.05
    page = (system.run.folder / "report-corrected.html").read_text(encoding="utf-8")
    assert "before" in page.lower()
