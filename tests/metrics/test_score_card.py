from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from modalxai import metrics
from modalxai.datasets import random_split
from modalxai.errors import InputError
from modalxai.metrics import score_card
from modalxai.statistics import cluster_interval
from modalxai.types import Prediction, Targets, labels

KEMDY20 = {
    "neutral": 11060,
    "happy": 1171,
    "surprise": 156,
    "angry": 143,
    "sad": 121,
    "disgust": 60,
    "fear": 43,
}
"""Published counts after dropping ties (DAEM-ERC)."""
quick = partial(cluster_interval, repeats=200)


def _of(truth, said, names):
    """A prediction that says ``said`` and targets that hold ``truth``, both class numbers."""
    hot = torch.nn.functional.one_hot
    scores = hot(torch.as_tensor(said), len(names)).float()
    values = hot(torch.as_tensor(truth), len(names)).float()
    return Prediction(scores, labels(*names)), Targets(values, torch.ones_like(values).bool())


def _speakers(count, speakers=12):
    return [f"s{row % speakers}" for row in range(count)]


def test_always_neutral_on_kemdy20_is_said_to_be_at_chance():
    truth = np.repeat(np.arange(7), list(KEMDY20.values()))
    card = score_card(
        *_of(truth, np.zeros_like(truth), list(KEMDY20)),
        clusters=_speakers(len(truth), 80),
        interval=quick,
    )
    shown = str(card)
    lines = {line.split("  ")[1]: line for line in shown.splitlines() if line.startswith("  ")}
    assert "0.805" in lines["weighted F1"]
    assert "0.133" in lines["macro F1"]
    assert "at chance" in shown.splitlines()[0]
    assert "above chance" not in shown
    assert card.at_chance is True
    assert card.row("weighted F1").scores["model"].value == pytest.approx(0.805, abs=5e-4)
    assert card.row("weighted accuracy").scores["constant"].value == pytest.approx(0.867, abs=5e-4)
    gain = card.row("macro F1").gains["constant"]
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)


def test_a_card_of_a_leaking_split_says_so():
    prediction, targets = _of([0, 1] * 10, [0, 1] * 10, ["neutral", "joy"])
    pairs = [(f"u{row}", {"speaker": f"s{row % 5}"}) for row in range(20)]
    leaking = random_split(pairs, {"train": 1, "test": 1}, leak="papers")
    card = score_card(prediction, targets, leak=leaking.leak)
    assert f"too high: {leaking.leak}." in str(card)
    assert "random split" in str(card)
    assert "leak" not in str(score_card(prediction, targets, leak=""))


def test_scores_equal_scikit_learn_and_the_baselines_stand_beside():
    generator = np.random.default_rng(0)
    truth = generator.choice(3, 120, p=[0.6, 0.3, 0.1])
    said = np.where(generator.random(120) < 0.7, truth, generator.integers(0, 3, 120))
    text = np.where(generator.random(120) < 0.3, truth, generator.integers(0, 3, 120))
    prediction, targets = _of(truth, said, "abc")
    card = score_card(
        prediction,
        targets,
        baselines={"text alone": _of(truth, text, "abc")[0]},
        clusters=_speakers(120),
        interval=quick,
    )
    for name, guess in {"model": said, "text alone": text, "constant": np.zeros(120)}.items():
        assert card.row("macro F1").scores[name].value == pytest.approx(
            sk.f1_score(truth, guess, average="macro")
        )
        assert card.row("UAR").scores[name].value == pytest.approx(
            sk.balanced_accuracy_score(truth, guess)
        )
    row = card.row("UAR")
    assert row.gains["text alone"].value == pytest.approx(
        row.scores["model"].value - row.scores["text alone"].value
    )
    assert row.scores["model"].low < row.scores["model"].value < row.scores["model"].high
    assert card.verdicts[0].at_chance == {"model": False, "constant": True, "text alone": False}
    assert (card.confusion.counts == sk.confusion_matrix(truth, said)).all()
    assert card.confusion.classes == ("a", "b", "c")


def test_a_model_that_guesses_is_at_chance_and_one_that_knows_is_not():
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 3, 200)
    guess = score_card(*_of(truth, generator.permutation(truth), "abc"), interval=quick)
    assert guess.at_chance is True
    assert "samples as independent" in str(guess)
    assert score_card(*_of(truth, truth, "abc"), interval=quick).at_chance is False


def test_guessing_is_rarely_taken_for_knowing():
    generator = np.random.default_rng(3)
    truth = np.repeat([0, 1, 2], [40, 15, 5])
    alarms = 0
    for seed in range(100):
        guess = _of(truth, generator.permutation(truth), "abc")
        fixed = partial(cluster_interval, repeats=100, seed=seed)
        alarms += score_card(*guess, interval=fixed).at_chance is False
    assert alarms <= 8  # 2.5 are due


def test_intervals_are_those_of_the_cluster_bootstrap():
    generator = np.random.default_rng(2)
    truth, said = generator.integers(0, 2, 80), generator.integers(0, 2, 80)
    speakers = _speakers(80, 8)
    card = score_card(*_of(truth, said, "ab"), clusters=speakers, interval=quick)
    right = np.stack([truth == said, np.ones(80)], axis=1)
    want = quick(right, lambda sums: sums[..., :1] / sums[..., 1:], speakers)
    found = card.row("weighted accuracy").scores["model"]
    assert (found.low, found.high) == pytest.approx((want.low[0], want.high[0]))
    assert card.verdicts[0].clusters == 8


def test_intervals_of_few_speakers_stay_where_scores_can_lie():
    truth, said = [0, 1] * 9 + [0, 0], [0, 1] * 9 + [0, 1]
    card = score_card(*_of(truth, said, "ab"), clusters=_speakers(20, 5))
    for row in card.rows:
        model = row.scores["model"]
        assert 0 <= model.low < model.value < model.high <= 1, row
    assert card.row("weighted accuracy").scores["model"].high == 1


def test_unknown_and_tied_truth_has_no_part():
    prediction, targets = _of([0, 1, 1, 0, 1], [0, 1, 0, 1, 1], "ab")
    values, mask = targets.values.clone(), targets.mask.clone()
    values[2], values[3], mask[3] = torch.tensor([0.5, 0.5]), torch.nan, False
    card = score_card(prediction, Targets(values, mask), interval=quick)
    assert card.verdicts[0].n["model"] == 3
    assert card.row("weighted accuracy").scores["model"].value == 1


def _mixed(count=90, skill=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    names = labels("x", "y", kind="binary") + labels("valence", "arousal", kind="dimensional")
    values = torch.rand(count, 4, generator=generator)
    values[:, :2] = (values[:, :2] > 0.6).float()
    noise = torch.rand(count, 4, generator=generator)
    scores = skill * values + (1 - skill) * noise
    scores[:, :2] -= 0.5
    return Prediction(scores, names), Targets(values, torch.ones(count, 4, dtype=torch.bool))


def test_labels_sets_numbers_and_distances_equal_their_definitions():
    prediction, targets = _mixed(skill=0.6)
    mask = targets.mask.clone()
    mask[:5, 0] = mask[5:9, 2] = False
    card = score_card(prediction, Targets(targets.values, mask), interval=quick)
    truth, scores = targets.values.double().numpy(), prediction.scores.double().numpy()
    known = mask.numpy()

    def model(metric, target):
        return card.row(metric, target).scores["model"].value

    x = known[:, 0]
    assert model("F1", "x") == pytest.approx(sk.f1_score(truth[x, 0], scores[x, 0] > 0))
    assert model("balanced accuracy", "x") == pytest.approx(
        sk.balanced_accuracy_score(truth[x, 0], scores[x, 0] > 0)
    )
    assert model("exact match", "label set") == pytest.approx(
        metrics.exact_match(truth[:, :2], scores[:, :2] > 0, known[:, :2])
    )
    for average in ("macro", "weighted"):
        assert model(f"{average} F1", "label set") == pytest.approx(
            sk.f1_score(truth[x, :2], scores[x, :2] > 0, average=average)
        )
    assert model("CCC", "valence") == pytest.approx(
        metrics.ccc(truth[:, 2], scores[:, 2], known[:, 2])
    )
    assert model("RMSE", "valence") == pytest.approx(
        metrics.rmse(truth[:, 2], scores[:, 2], known[:, 2])
    )
    assert model("MSE", "distance") == pytest.approx(
        metrics.distance(truth[:, 2:], scores[:, 2:], known[:, 2:])
    )
    # Of errors less is better, and the gain over the constant still reads "how much better".
    row = card.row("MSE", "distance")
    assert not row.higher_is_better
    assert row.gains["constant"].value == pytest.approx(
        row.scores["constant"].value - row.scores["model"].value
    )
    spread = [truth[known[:, c], c].var() * known[:, c].sum() for c in (2, 3)]
    assert row.scores["constant"].value == pytest.approx(sum(spread) / known[:, 2:].sum())
    assert all(one.at_chance["constant"] is True for one in card.verdicts)
    assert all(one.at_chance["model"] is False for one in card.verdicts)


def test_numbers_and_sets_that_were_guessed_are_at_chance():
    card = score_card(*_mixed(skill=0.0, seed=2), interval=quick)
    assert {one.target for one in card.verdicts if one.at_chance["model"]} == {
        "x",
        "y",
        "label set",
        "valence",
        "arousal",
        "distance",
    }


def test_one_class_in_the_truth_cannot_be_judged():
    card = score_card(*_of([1, 1, 1], [1, 1, 1], "ab"), interval=quick)
    assert card.at_chance is None
    assert "not judged, the truth holds one class only" in str(card)


def test_a_baseline_is_compared_on_the_samples_it_has():
    truth = np.array([0, 1] * 20)
    said = truth.copy()
    said[:10] = 0  # half wrong, where the text is missing
    prediction, targets = _of(truth, said, "ab")
    text = _of(truth, truth, "ab")[0]
    text.scores[:10] = torch.nan
    card = score_card(prediction, targets, baselines={"text alone": text}, interval=quick)
    row = card.row("weighted accuracy")
    assert row.scores["model"].value == 35 / 40
    assert row.scores["text alone"].value == 1
    assert row.gains["text alone"].value == 0
    assert card.verdicts[0].n == {"model": 40, "constant": 40, "text alone": 30}


class _Model:
    """Adds what the words say to what the voice says; counts what it is shown."""

    def __init__(self, weights):
        self.weights, self.shown = weights, []

    def predict(self, samples):
        rows = []
        for index in range(len(samples)):
            sample = samples[index]
            self.shown.append((sample["id"], sample["text"], sample["audio"]))
            score = sum(w * (sample[m] or 0) for m, w in self.weights.items())
            rows.append([0.0, score])
        return Prediction(torch.tensor(rows), labels("no", "yes"))


def _samples(count=40):
    generator = np.random.default_rng(4)
    signs = generator.choice([-1, 1], count)
    return [
        {"id": f"u{row}", "text": float(sign), "audio": None if row % 4 == 0 else float(row + 1)}
        for row, sign in enumerate(signs)
    ]


def test_shuffling_ruins_the_modality_in_use_and_no_other():
    samples = _samples()
    model = _Model({"text": 1.0, "audio": 0.0})
    truth = [int(sample["text"] > 0) for sample in samples]
    found = metrics.baselines(model.predict, samples, ("text", "audio"))
    assert list(found) == ["text alone", "text shuffled", "audio alone", "audio shuffled"]
    assert torch.isnan(found["audio alone"].scores[::4]).all()
    assert not torch.isnan(found["audio alone"].scores[1::4]).any()
    targets = _of(truth, truth, ["no", "yes"])[1]
    card = score_card(model.predict(samples), targets, baselines=found, interval=quick)
    assert card.verdicts[0].at_chance == {
        "model": False,
        "constant": True,
        "text alone": False,
        "text shuffled": True,
        "audio alone": True,
        "audio shuffled": False,
    }
    assert samples == _samples()


def test_shuffled_samples_get_another_ones_value_whatever_their_order():
    samples = _samples()
    model = _Model({"text": 1.0})
    metrics.baselines(model.predict, samples, ("audio",), seed=5)
    shown = {name: audio for name, _, audio in model.shown}
    for sample in samples:
        if sample["audio"] is None:
            assert shown[sample["id"]] is None
        else:
            assert shown[sample["id"]] not in (None, sample["audio"])
    had = [sample["audio"] for sample in samples]
    assert sorted(filter(None, shown.values())) == sorted(filter(None, had))
    again = _Model({"text": 1.0})
    metrics.baselines(again.predict, samples[::-1], ("audio",), seed=5)
    assert {name: audio for name, _, audio in again.shown} == shown
    other = _Model({"text": 1.0})
    metrics.baselines(other.predict, samples, ("audio",), seed=6)
    assert {name: audio for name, _, audio in other.shown} != shown


def test_mistakes_are_named():
    prediction, targets = _of([0, 1, 1], [0, 1, 0], "ab")
    broken = Prediction(prediction.scores.clone(), prediction.labels)
    broken.scores[0, 0] = torch.nan
    nothing = Targets(targets.values, torch.zeros_like(targets.mask))
    for arguments, keywords, wrong in [
        ((broken, targets), {}, "not finite"),
        ((prediction, Targets(*(part[:2] for part in targets))), {}, "do not fit"),
        ((prediction, nothing), {}, "nothing to score"),
        ((prediction, targets), {"clusters": ["a"]}, "clusters"),
        ((prediction, targets), {"baselines": {"text": broken}}, "cannot stand"),
        ((prediction, targets), {"baselines": {"model": prediction}}, "cannot stand"),
    ]:
        with pytest.raises(InputError, match=wrong):
            score_card(*arguments, **keywords)
    with pytest.raises(InputError, match="nothing to shuffle"):
        metrics.baselines(_Model({}).predict, _samples(), ("video",))
    card = score_card(*_mixed(), interval=quick)
    with pytest.raises(InputError, match="2 rows of 'CCC'"):
        card.row("CCC")
    assert math.isclose(card.row("CCC", "valence").scores["model"].value, 1)
