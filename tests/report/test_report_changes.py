"""Before and after, bias against a reference, several training seeds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from modalxai.errors import InputError
from modalxai.report import Report, compare, find_bias, over_seeds


def _shares(report, label, rows=None):
    row = next(row for row in report.shares() if row.label == label)
    return row.share


def test_a_report_does_not_differ_from_itself(corpus):
    report = Report(corpus(samples=200), repeats=100)
    for change in compare(report, report):
        assert change.difference == pytest.approx(0)
        assert change.low == pytest.approx(0)
        assert change.p == 1
        assert not change.differs


def test_a_change_is_the_difference_of_the_shares_and_is_found(corpus):
    before = Report(corpus(samples=200, weight=0.8), repeats=200)
    after = Report(corpus(samples=200, weight=0.5), repeats=200)
    changes = compare(before, after)
    assert [(one.label, one.modality) for one in changes[:2]] == [
        ("label0", "text"),
        ("label0", "audio"),
    ]
    for one in changes:
        expected = (
            _shares(after, one.label)[one.modality] - _shares(before, one.label)[one.modality]
        )
        assert one.difference == pytest.approx(expected)
        assert one.low < one.difference < one.high
        assert one.differs
        assert one.p_holm >= one.p
    text, audio = changes[:2]
    assert text.difference == pytest.approx(-audio.difference)
    assert text.p == pytest.approx(audio.p)
    page = after.html(before=before)
    assert "Before and after" in page
    assert f"{100 * text.difference:+.0f}" in page
    assert "Before and after" not in after.html()


def test_the_interval_of_a_change_is_paired_by_speaker(corpus):
    # Equal samples with a little noise: what speakers share cancels.
    first = corpus(samples=240, speakers=60, skill=1.0)
    noise = np.random.default_rng(5).normal(size=tuple(first.draws.shape)) * 0.02
    noise[:, [0, 3]] = 0
    second = replace(first, draws=first.draws + first.draws.new_tensor(noise))
    before, after = Report(first, repeats=300), Report(second, repeats=300)
    row = before.shares()[0]
    change = compare(before, after)[0]
    assert change.high - change.low < 0.3 * (row.high["text"] - row.low["text"])
    strangers = replace(
        second,
        columns={"speaker": tuple(f"x{name}" for name in second.columns["speaker"])},
        sample_ids=tuple(f"x{name}" for name in second.sample_ids),
    )
    apart = compare(before, Report(strangers, repeats=300))[0]
    assert apart.difference == pytest.approx(change.difference)
    assert apart.high - apart.low > 2 * (change.high - change.low)


def test_holm_counts_every_row_once(corpus):
    before = Report(corpus(samples=100, weight=0.52, seed=1), repeats=400)
    after = Report(corpus(samples=100, weight=0.5, seed=2), repeats=400)
    changes = compare(before, after)
    raw = sorted(one.p for one in changes[::2])
    assert min(one.p_holm for one in changes) == pytest.approx(min(1, 3 * raw[0]))


def test_rows_without_shares_give_reasons_and_no_numbers(corpus, game):
    before = Report(corpus(samples=120, shuffle=True), repeats=50)
    after = Report(corpus(samples=120), repeats=50)
    for one in compare(before, after):
        assert one.reason == "reference: model at chance"
        assert math.isnan(one.difference)
        assert math.isnan(one.p_holm)
        assert not one.differs
    for one in compare(after, before):
        assert one.reason == "model at chance"


@pytest.mark.parametrize(
    ("options", "message"),
    [({"scale": "probability"}, "scale"), ({"by": "true"}, "rows")],
)
def test_reports_made_in_different_ways_do_not_compare(corpus, options, message):
    explanation = corpus(samples=40)
    with pytest.raises(InputError, match=message):
        compare(Report(explanation, repeats=20), Report(explanation, repeats=20, **options))
    with pytest.raises(InputError, match=message):
        over_seeds([Report(explanation, repeats=20), Report(explanation, repeats=20, **options)])


def test_another_removal_or_another_cluster_does_not_compare(corpus):
    explanation = corpus(samples=40)
    report = Report(explanation, repeats=20)
    with pytest.raises(InputError, match="removal"):
        compare(report, Report(corpus(samples=40, removal="mean"), repeats=20))
    turned = replace(explanation, columns={"speaker": explanation.columns["speaker"][::-1]})
    with pytest.raises(InputError, match="another cluster"):
        compare(report, Report(turned, repeats=20))


def _leaning(make, weights, samples=360, seed=0, skill=3.0, noise=0.4):
    """A model that hears class c with weight ``weights[c]`` in its audio."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(3, size=samples)
    own, weight = skill * np.eye(3)[truth], np.array(weights)[truth][:, None]
    audio = weight * own + noise * generator.normal(size=own.shape)
    text = (1 - weight) * own + noise * generator.normal(size=own.shape)
    return make(
        np.stack([0 * own, text, audio, text + audio]), names=("anger", "joy", "fear"), truth=truth,
        speaker=[f"s{row % 30}" for row in range(samples)],
    )  # fmt: skip


@pytest.fixture
def leaning(make):
    return lambda weights, **options: Report(_leaning(make, weights, **options), repeats=200)


def test_bias_against_the_corpus_finds_the_leaning_label(leaning):
    changes = find_bias(leaning((0.9, 0.5, 0.5)))
    found = {(one.label, one.modality): one for one in changes}
    assert found["anger", "audio"].differs
    assert found["anger", "audio"].difference > 0.15
    assert found["anger", "text"].difference < -0.15
    fair = find_bias(leaning((0.5, 0.5, 0.5), seed=4))
    assert not any(one.differs for one in fair)


def test_the_corpus_share_is_that_of_all_samples_predicted_labels(leaning):
    report = leaning((0.9, 0.5, 0.5))
    said = report.explanation.scores[-1].argmax(-1)
    phi = report.explanation.shapley().totals[range(len(said)), said].abs().mean(0)
    one = find_bias(report)[1]
    assert one.reference == pytest.approx(float(phi[1] / phi.sum()))


def test_bias_against_people_tests_only_the_labels_they_weighted(leaning):
    report = leaning((0.7, 0.5, 0.5))
    own = {name: round(value, 3) for name, value in _shares(report, "joy").items()}
    people = {"anger": {"text": 0.9, "audio": 0.1}, "joy": own}
    changes = find_bias(report, people)
    assert {one.label for one in changes} == {"anger", "joy"}
    verdicts = {(one.label, one.modality): one.differs for one in changes}
    assert verdicts["anger", "audio"]
    assert not verdicts["joy", "audio"]
    anger = changes[0]
    assert anger.difference == pytest.approx(anger.share - 0.9)
    row = report.shares()[0]
    assert anger.low == pytest.approx(row.low["text"] - 0.9)


def test_bias_against_another_model_is_a_comparison(leaning):
    first, second = leaning((0.5, 0.5, 0.5)), leaning((0.8, 0.5, 0.5), seed=1)
    assert find_bias(second, first) == compare(first, second)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("humans", "reference"),
        ({"rage": {"text": 1.0}}, "label"),
        ({"joy": {"video": 1.0}}, "weights"),
        ({"joy": {"text": 1.4}}, "weights"),
    ],
)
def test_references_that_are_none_are_refused(leaning, reference, message):
    with pytest.raises(InputError, match=message):
        find_bias(leaning((0.5, 0.5, 0.5), samples=60), reference)


def test_shares_over_seeds_are_means_with_wider_intervals(make):
    reports = [
        Report(_leaning(make, (w, 0.5, 0.5), seed=0), repeats=50) for w in (0.5, 0.6, 0.7, 0.8)
    ]
    row = over_seeds(reports)[0]
    each = [report.shares()[0].share["audio"] for report in reports]
    assert (row.label, row.seeds, row.clusters) == ("anger", 4, 30)
    assert row.share["audio"] == pytest.approx(np.mean(each))
    assert row.by_seed["audio"] == pytest.approx(tuple(each))
    single = reports[0].shares()[0]
    assert row.high["audio"] - row.low["audio"] > 3 * (single.high["audio"] - single.low["audio"])


def test_seeds_without_shares_have_no_part_and_are_counted(make, corpus):
    good = [Report(_leaning(make, (0.5, 0.5, 0.5), seed=seed), repeats=50) for seed in range(2)]
    generator = np.random.default_rng(9)
    one = _leaning(make, (0.5, 0.5, 0.5), seed=3)
    shuffled = replace(one, draws=one.draws[:, :, generator.permutation(360)])
    rows = over_seeds([*good, Report(shuffled, repeats=50)])
    assert rows[0].seeds == 2
    assert math.isnan(rows[0].by_seed["audio"][2])
    rows = over_seeds([good[0], Report(shuffled, repeats=50)])
    assert rows[0].seeds == 1
    assert math.isnan(rows[0].low["audio"])
    assert rows[0].reason == "fewer than two seeds have shares in this row"
    with pytest.raises(InputError, match="several"):
        over_seeds(good[:1])
