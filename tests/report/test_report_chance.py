from __future__ import annotations

import math

import numpy as np
import pytest

from modalxai.report import Report
from modalxai.types import labels


def _recall(right, said):
    """UAR and macro F1 straight from their definitions."""
    recalls, scores = [], []
    for name in sorted(set(right)):
        hits = sum(r == s == name for r, s in zip(right, said, strict=True))
        recalls.append(hits / right.count(name))
        scores.append(2 * hits / (right.count(name) + said.count(name)))
    return sum(recalls) / len(recalls), sum(scores) / len(scores)


def test_scores_equal_their_definitions(corpus):
    explanation = corpus(samples=50, skill=0.6, weight=0.9)
    skill = Report(explanation, repeats=50).chance().of("label1")
    right = explanation.targets.values.argmax(-1).tolist()
    rows = {"model": 3, "text": 1, "audio": 2}
    for name, row in rows.items():
        said = explanation.scores[row].argmax(-1).tolist()
        uar, macro = _recall(right, said)
        score = skill.model if name == "model" else skill.alone[name]
        assert score.value == pytest.approx(uar)
        assert score.others["macro F1"] == pytest.approx(macro)
        accuracy = sum(r == s for r, s in zip(right, said, strict=True)) / 50
        assert score.others["accuracy"] == pytest.approx(accuracy)
    assert skill.chance == pytest.approx(1 / 3)
    most = max(set(right), key=right.count)
    assert skill.constant["accuracy"] == pytest.approx(right.count(most) / 50)
    assert skill.metric == "UAR"


def test_a_model_that_learnt_is_above_chance_and_a_shuffled_truth_is_at_chance(corpus):
    assert Report(corpus(), repeats=200).chance().at_chance is False
    assert Report(corpus(shuffle=True), repeats=200).chance().at_chance is True


def test_a_constant_predictor_is_at_chance_however_accurate(make):
    truth = [0] * 95 + [1] * 5
    table = np.zeros((4, 100, 2))
    table[3, :, 0] = 3
    gate = Report(make(table, truth=truth), cluster=None, repeats=100).chance()
    skill = gate.skills[0]
    assert skill.model.others["accuracy"] == 0.95
    assert skill.model.value == 0.5
    assert gate.at_chance is True


def test_at_chance_prints_no_percentage_anywhere(corpus):
    gold = {"label0": {"text": 0.3, "audio": 0.7}}
    report = Report(corpus(shuffle=True), repeats=100, gold=gold)
    for row in report.shares():
        assert all(
            math.isnan(value)
            for part in (row.share, row.low, row.high, row.net_share)
            for value in part.values()
        )
        assert row.reason == "model at chance"
        assert "model at chance" in row.flags
        assert not math.isnan(row.evidence["text"])
    for page in (report.table(), report.html()):
        assert "at chance" in page
        assert "%" not in page
    texts = [text.get_text() for axes in report.figure().axes for text in axes.texts]
    assert "model at chance" in texts
    assert not [text for text in texts if "%" in text]


def test_a_modality_that_alone_is_at_chance_is_named(corpus):
    report = Report(corpus(weight=1.0), repeats=100)
    skill = report.chance().skills[0]
    assert skill.alone["text"].at_chance is True
    assert skill.alone["audio"].at_chance is False
    assert "Alone at chance: text." in report.table()


def test_unknown_truth_is_not_judged_and_said(corpus):
    for report in (Report(corpus(), truth=None), Report(corpus(truth=None))):
        assert report.chance().at_chance is None
        assert report.chance().reason == "truth unknown"
        assert "truth unknown" in report.shares()[0].flags
        assert "Truth unknown" in report.table()


def test_truth_may_be_a_column_or_a_mapping(corpus):
    plain = corpus(samples=40)
    names = [f"label{column}" for column in plain.targets.values.argmax(-1).tolist()]
    column = corpus(samples=40, truth=None, emotion=names)
    expected = Report(plain, repeats=50).chance().skills[0]
    by_id = {**dict(zip(plain.sample_ids, names, strict=True)), "another": "label0"}
    for report in (
        Report(column, truth="emotion", repeats=50),
        Report(column, truth=by_id, repeats=50),
    ):
        assert report.chance().skills[0] == expected


def test_samples_without_truth_are_left_out(corpus):
    explanation = corpus(samples=40, truth=None)
    report = Report(explanation, truth={"u1": "label0", "u2": "label1", "u3": None}, repeats=50)
    assert report.chance().skills[0].model.n == 2


def test_one_class_or_one_cluster_is_not_judged(corpus):
    one_class = Report(corpus(samples=30, truth=[0] * 30), repeats=50)
    assert one_class.chance().at_chance is None
    assert "one class" in one_class.table()
    one_speaker = Report(corpus(samples=30, speakers=1), repeats=50)
    assert one_speaker.chance().at_chance is None
    assert "chance not judged" in one_speaker.shares()[0].flags
    assert not math.isnan(one_speaker.shares()[0].share["text"])


def test_samples_that_lack_a_modality_do_not_judge_it_alone(corpus):
    present = np.ones((30, 2), dtype=bool)
    present[:10, 0] = False
    skill = Report(corpus(samples=30, present=present), repeats=50).chance().skills[0]
    assert (skill.model.n, skill.alone["text"].n, skill.alone["audio"].n) == (30, 20, 30)


def test_binary_and_dimensional_labels_have_their_own_gates(make):
    generator = np.random.default_rng(1)
    kinds = (
        labels("sarcastic", kind="binary")
        + labels("valence", kind="dimensional")
        + labels("arousal", kind="dimensional")
    )
    truth = np.stack(
        [generator.integers(2, size=60), generator.normal(size=60), generator.normal(size=60)],
        axis=1,
    )
    table = np.zeros((4, 60, 3))
    said = truth + 0.3 * generator.normal(size=truth.shape)
    said[:, 0] -= 0.5
    said[:, 2] = generator.permutation(said[:, 2])
    table[3] = said
    report = Report(make(table, names=kinds, truth=truth), cluster=None, repeats=300)
    gate = report.chance()
    assert [skill.metric for skill in gate.skills] == ["balanced accuracy", "CCC", "CCC"]
    assert [skill.at_chance for skill in gate.skills] == [False, False, True]
    assert gate.at_chance is False
    x, y = truth[:, 1], said[:, 1]
    ccc = 2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert gate.of("valence").model.value == pytest.approx(ccc)
    assert gate.of("valence").model.others["Pearson"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert [math.isnan(row.share["text"]) for row in report.shares()] == [False, False, True]


def test_the_interval_is_paired_with_chance_in_each_resample(corpus):
    explanation = corpus(samples=180, skill=0.8, speakers=60)
    skill = Report(explanation, repeats=100, seed=2).chance().skills[0]
    right = explanation.targets.values.argmax(-1).tolist()
    said = explanation.scores[-1].argmax(-1).tolist()
    speakers = explanation.columns["speaker"]
    names = sorted(set(speakers))
    gains = []
    for draw in np.random.default_rng(2).integers(60, size=(100, 60)):
        rows = [i for pick in draw for i in range(180) if speakers[i] == names[pick]]
        uar, _ = _recall([right[i] for i in rows], [said[i] for i in rows])
        gains.append(uar - 1 / len({right[i] for i in rows}))
    tail = 0.02180179  # a mean of 60 clusters then gets Student's interval
    expected = np.quantile(gains, [tail, 1 - tail]).tolist()
    assert [skill.model.low, skill.model.high] == pytest.approx(expected, rel=1e-4)
