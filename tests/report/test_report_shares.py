from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from modalxai.errors import InputError
from modalxai.report import Report
from modalxai.types import Provenance, labels


def _joy(explanation, **options):
    options = {"truth": None, "cluster": None} | options
    return next(row for row in Report(explanation, **options).shares() if row.label == "joy")


# v({}), v(T), v(A), v(TA): share of text, evidence of text and audio, interaction
GAMES = {
    "tone only": ((0, 0, 1, 1), 0.0, (0, 1), 0),
    "and": ((0, 0, 0, 1), 0.5, (0.5, 0.5), 1),
    "or": ((0, 1, 1, 1), 0.5, (0.5, 0.5), -1),
}


@pytest.mark.parametrize("name", ["tone only", "and", "or"])
def test_known_games_give_the_known_rows(game, name):
    values, share, evidence, interaction = GAMES[name]
    row = _joy(game(values, samples=4))
    assert row.n == row.clusters == 4
    assert row.share["text"] == pytest.approx(share, abs=1e-9)
    assert row.share["audio"] == pytest.approx(1 - share, abs=1e-9)
    assert list(row.evidence.values()) == pytest.approx(evidence, abs=1e-9)
    assert row.interaction["text", "audio"] == pytest.approx(interaction)
    assert row.residual == pytest.approx(0, abs=1e-9)
    assert row.mixed == 0
    assert row.net_share["text"] == pytest.approx(share, abs=1e-9)
    assert row.unit == "nats"


def test_conflict_keeps_its_signs_and_has_no_net_share(game):
    explanation = game((0, 2, -3, -1), samples=3)
    row = next(
        row
        for row in Report(explanation, truth=None, cluster=None).shares()
        if row.label == "anger"  # joy's clr is -1, so anger is predicted, with all signs turned
    )
    assert row.evidence == pytest.approx({"text": -2, "audio": 3})
    assert row.share == pytest.approx({"text": 0.4, "audio": 0.6})
    assert row.cancellation == pytest.approx(0.8)
    assert row.mixed == 1
    assert all(math.isnan(value) for value in row.net_share.values())
    assert "mixed signs" in row.flags


def test_null_game_is_not_divided_and_says_why(game):
    report = Report(game((0, 0.02, 0.02, 0.04), samples=40), truth=None, cluster=None)
    row = next(row for row in report.shares() if row.label == "joy")
    assert row.n == 40
    assert all(math.isnan(value) for value in (*row.share.values(), *row.low.values()))
    assert row.reason == "no modality evidence for this label"
    assert "no evidence" in row.flags
    line = next(line for line in report.table().splitlines() if line.startswith("joy"))
    assert "%" not in line
    assert "50" not in line
    assert "%" not in report.html()


def test_evidence_just_above_the_floor_is_divided(game):
    assert _joy(game((0, 0.02, 0.04, 0.06))).share["audio"] == pytest.approx(2 / 3)


def test_noise_of_random_removals_is_no_evidence(game):
    generator = np.random.default_rng(0)
    draws = np.zeros((16, 4, 5, 2))
    draws[:, 1:3, :, 1] = generator.normal(size=(16, 2, 1))
    explanation = game((0, 0, 0, 0), samples=5, draws=draws)
    row = _joy(explanation, truth={f"u{i}": "joy" for i in range(5)}, by="true")
    amount = explanation.shapley().totals[0, 1].abs().sum()
    assert amount > 0.05
    assert row.reason == "no modality evidence for this label"


def test_shares_are_a_ratio_of_means_and_equal_a_slow_oracle(corpus):
    explanation = corpus(samples=60, weight=0.4)
    rows = Report(explanation, repeats=50).shares()
    totals = explanation.shapley("clr").totals
    said = explanation.scores[-1].argmax(-1)
    for column, row in enumerate(rows):
        text = audio = signed = net = 0.0
        members = [i for i in range(60) if said[i] == column]
        for i in members:
            phi_text, phi_audio = (float(value) for value in totals[i, column])
            text, audio = text + abs(phi_text), audio + abs(phi_audio)
            signed, net = signed + phi_text, net + abs(phi_text + phi_audio)
        assert row.n == len(members)
        assert row.share["text"] == pytest.approx(text / (text + audio))
        assert row.evidence["text"] == pytest.approx(signed / len(members))
        assert row.cancellation == pytest.approx(1 - net / (text + audio))
        assert row.low["text"] < row.share["text"] < row.high["text"]


def test_ratio_of_means_is_not_the_mean_of_ratios(make):
    table = np.zeros((4, 2, 2))
    table[1:, 0, 1] = [2, 0, 2]  # text 1 nat
    table[1:, 1, 1] = [0, 6, 6]  # audio 3 nats
    assert _joy(make(table)).share["audio"] == pytest.approx(0.75)


def test_interval_equals_resampling_speakers_by_hand(corpus):
    explanation = corpus(samples=900, speakers=60)
    row = Report(explanation, repeats=200, seed=4).shares()[0]
    totals = explanation.shapley().totals[:, 0].abs().numpy()
    rows = np.flatnonzero(explanation.scores[-1].argmax(-1).numpy() == 0)
    speakers = explanation.columns["speaker"]
    names = sorted({speakers[i] for i in rows})
    drawn = np.random.default_rng(4).integers(len(names), size=(200, len(names)))
    shares = []
    for draw in drawn:
        chosen = [i for pick in draw for i in rows if speakers[i] == names[pick]]
        text, audio = totals[chosen].mean(0)
        shares.append(text / (text + audio))
    assert row.clusters == len(names) == 60  # fewer than 50 would be studentised
    tail = 0.02180179  # a mean of 60 clusters then gets Student's interval
    expected = np.quantile(shares, [tail, 1 - tail])
    assert [row.low["text"], row.high["text"]] == pytest.approx(expected.tolist(), rel=1e-4)


def test_samples_without_a_modality_are_skipped_by_its_mean(make):
    table = np.zeros((4, 4, 2))
    table[:, :2, 1] = np.array([0, 4, 4, 8])[:, None]  # text 2, audio 2
    table[:, 2:, 1] = np.array([0, 0, 4, 4])[:, None]  # audio 2, no text
    present = [[True, True], [True, True], [False, True], [False, True]]
    row = _joy(make(table, present=present))
    assert row.share == pytest.approx({"text": 0.5, "audio": 0.5})
    assert row.evidence == pytest.approx({"text": 2, "audio": 2})
    assert "missing modalities" in row.flags


def test_a_modality_that_no_sample_has_is_no_player(make):
    table = np.zeros((4, 3, 2))
    table[2:, :, 1] = 4
    row = _joy(make(table, present=[[False, True]] * 3))
    assert math.isnan(row.share["text"])
    assert row.share["audio"] == 1
    assert row.reason == ""


def test_rows_by_truth_explain_the_true_label(corpus):
    explanation = corpus(samples=40, skill=0.5)
    truth = explanation.targets.values.argmax(-1)
    for column, row in enumerate(Report(explanation, by="true", repeats=20).shares()):
        assert row.n == int((truth == column).sum())
        expected = explanation.shapley().totals[truth == column, column].mean(0)
        assert list(row.evidence.values()) == pytest.approx(expected.tolist())


def test_rows_by_correct_and_by_column_divide_the_predicted(corpus):
    explanation = corpus(samples=60, skill=0.5, family=["A", "B"] * 30)
    said = explanation.scores[-1].argmax(-1)
    right = said == explanation.targets.values.argmax(-1)
    rows = Report(explanation, by="correct", repeats=20).shares()
    assert {row.group for row in rows} == {"correct", "wrong"}
    assert sum(row.n for row in rows if row.group == "correct") == int(right.sum())
    rows = Report(explanation, by="family", repeats=20).shares()
    first = next(row for row in rows if (row.group, row.label) == ("A", "label1"))
    assert first.n == int((said[::2] == 1).sum())
    assert sum(row.n for row in rows) == 60


def test_binary_rows_are_the_positives_and_dimensional_rows_everyone(make):
    kinds = labels("sarcastic", kind="binary") + labels("valence", kind="dimensional")
    table = np.zeros((4, 6, 2))
    table[3, :, 0] = [3, 3, -3, -3, -3, 3]
    table[1, :, 1] = table[3, :, 1] = 0.01
    rows = Report(make(table, names=kinds), truth=None, cluster=None).shares()
    assert [row.n for row in rows] == [3, 6]
    assert [row.unit for row in rows] == ["nats", "score"]
    assert rows[1].share["text"] == 1  # a small unit is no lack of evidence


def test_a_single_sample_has_shares_without_an_interval(game):
    row = _joy(game((0, 1, 3, 4), truth=[1]), truth="labels")
    assert row.share == pytest.approx({"text": 0.25, "audio": 0.75})
    assert math.isnan(row.low["text"])
    assert row.reason == "no interval: one cluster only"
    assert {"chance not judged", "no clusters", "one removal", "few samples"} <= set(row.flags)


def test_a_label_without_samples_is_not_a_number(game):
    row = Report(game((0, 1, 3, 4)), truth=None, cluster=None).shares()[0]
    assert (row.label, row.n, row.reason) == ("anger", 0, "no sample in this row")
    assert math.isnan(row.share["text"])
    assert math.isnan(row.evidence["text"])


@pytest.mark.parametrize(("turned", "flagged"), [(1, False), (2, True)])
def test_baseline_dependence_is_a_flip_in_more_than_a_tenth(make, turned, flagged):
    table = np.zeros((4, 10, 2))
    table[:, :, 1] = np.array([0, 2, 4, 6])[:, None]
    other = table.copy()
    other[1:3, :turned] = other[[2, 1], :turned]  # text dominates there
    alternative = make(other, removal="mean")
    row = _joy(make(table), alternatives=[alternative])
    assert row.flips == pytest.approx(turned / 10)
    assert ("baseline-dependent" in row.flags) is flagged
    assert "one removal" not in row.flags


def test_alternatives_are_matched_by_id(make):
    generator = np.random.default_rng(0)
    table = generator.normal(size=(4, 12, 2))
    table[3, :, 1] += 5
    other = make(table, removal="mean")
    order = list(generator.permutation(12))
    mixed = replace(
        other,
        sample_ids=tuple(other.sample_ids[i] for i in order),
        draws=other.draws[:, :, order],
    )
    assert _joy(make(table), alternatives=[mixed]).flips == 0


def test_alternatives_must_be_of_the_same_model_and_samples(make):
    table = np.ones((4, 2, 2))
    explanation = make(table)
    other = make(table, removal="mean")
    wrong = {
        "same way": explanation,
        "other samples": replace(other, sample_ids=("u0", "x")),
        "other modalities": replace(other, modalities=("a", "b")),
        "another model": make(table * [1, 2], removal="mean"),
    }
    for message, alternative in wrong.items():
        with pytest.raises(InputError, match=message):
            Report(explanation, truth=None, cluster=None, alternatives=[alternative])


def test_order_of_samples_changes_nothing(corpus):
    explanation = corpus(samples=60)
    order = list(np.random.default_rng(1).permutation(60))
    mixed = replace(
        explanation,
        sample_ids=tuple(explanation.sample_ids[i] for i in order),
        draws=explanation.draws[:, :, order],
        targets=type(explanation.targets)(
            explanation.targets.values[order], explanation.targets.mask[order]
        ),
        columns={"speaker": tuple(explanation.columns["speaker"][i] for i in order)},
    )
    for cluster in ("speaker", None):
        straight = Report(explanation, repeats=50, cluster=cluster).shares()
        turned = Report(mixed, repeats=50, cluster=cluster).shares()
        for a, b in zip(straight, turned, strict=True):
            assert a.low == pytest.approx(b.low)
            assert a.share == pytest.approx(b.share)


def test_random_states_are_left_alone(corpus):
    np.random.seed(3)
    torch.manual_seed(3)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    report = Report(corpus(), repeats=20)
    report.html()
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


def test_three_modalities_and_another_scale(make):
    generator = np.random.default_rng(2)
    table = generator.normal(size=(8, 9, 3))
    explanation = make(
        table, names=("a", "b", "c"), modalities=("text", "audio", "bio"), speaker=list("sstuvwxyz")
    )
    for row in Report(explanation, truth=None, scale="probability").shares():
        if row.n:
            assert sum(row.share.values()) == pytest.approx(1)
            assert row.unit == "probability"
            assert len(row.interaction) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cluster": "dialogue"}, "dialogue"),
        ({"by": "gender"}, "gender"),
        ({"truth": "emotion"}, "emotion"),
        ({"cluster": {"x": 1}}, "knows none"),
        ({"cluster": {"u0": "s"}}, "have no cluster"),
        ({"truth": {"u0": "rage"}}, "sample 'u0'"),
        ({"by": "true", "truth": None}, "truth"),
        ({"scale": "logit"}, "scale"),
        ({"gold": {"rage": {"text": 1}}}, "label"),
        ({"gold": {"joy": {"video": 1}}}, "modality"),
    ],
)
def test_what_is_unknown_is_refused_and_named(game, options, message):
    explanation = game((0, 1, 1, 2), samples=2, speaker=["a", "b"])
    with pytest.raises(InputError, match=message) as caught:
        Report(explanation, **options)
    if set(options) & {"by", "cluster"} and isinstance(next(iter(options.values())), str):
        known = "speaker" if options.get("by") != "true" else "annotated"
        assert known in str(caught.value)


def test_scores_that_are_not_finite_name_the_sample(make):
    table = np.zeros((4, 3, 2))
    table[1, 2, 0] = np.nan
    with pytest.raises(InputError) as caught:
        Report(make(table), truth=None, cluster=None)
    assert "u2" in str(caught.value)


def test_float32_scores_lose_nothing_and_provenance_stays(corpus):
    explanation = corpus(samples=30)
    single = replace(explanation, draws=explanation.draws.float())
    for a, b in zip(
        Report(explanation, repeats=20).shares(),
        Report(single, repeats=20).shares(),
        strict=True,
    ):
        assert a.share == pytest.approx(b.share, rel=1e-5)
    assert isinstance(single.provenance, Provenance)
    assert single.draws.dtype == torch.float32
