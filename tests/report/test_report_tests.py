"""p-values of rows, conflict by emotion, what follows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modalxai.report import Report
from modalxai.report.advice import LITTLE_SHARE
from modalxai.statistics import holm, sign_flip_test
from modalxai.types import labels


def test_p_values_are_those_of_the_samples_and_adjusted_over_rows(corpus):
    explanation = corpus(samples=150, weight=0.55, skill=1.0)
    rows = Report(explanation, repeats=20).shares()
    said = explanation.scores[-1].argmax(-1).numpy()
    speakers = np.array(explanation.columns["speaker"])
    for column, row in enumerate(rows):
        phi = explanation.shapley().totals[:, column].abs().numpy()[said == column]
        expected = sign_flip_test(phi[:, 0] - phi[:, 1], speakers[said == column].tolist())
        assert row.p["text", "audio"] == pytest.approx(float(expected.p[0]))
    raw = [row.p["text", "audio"] for row in rows]
    assert [row.p_holm["text", "audio"] for row in rows] == pytest.approx(holm(raw).tolist())
    assert max(raw) < 1


def test_equal_modalities_do_not_differ_and_unequal_ones_do(corpus):
    equal = Report(corpus(samples=240, weight=0.5), repeats=20).shares()
    apart = Report(corpus(samples=240, weight=0.8), repeats=20).shares()
    assert min(row.p_holm["text", "audio"] for row in equal) > 0.05
    assert max(row.p_holm["text", "audio"] for row in apart) < 0.01


def test_rows_without_shares_are_no_tests(game, corpus):
    row = Report(game((0, 0.01, 0.01, 0.02), samples=5), truth=None, cluster=None).shares()[1]
    assert math.isnan(row.p["text", "audio"])
    at_chance = Report(corpus(shuffle=True), repeats=50).shares()
    assert all(math.isnan(row.p_holm["text", "audio"]) for row in at_chance)


def test_five_modalities_are_tested_pair_by_pair(make):
    generator = np.random.default_rng(2)
    parts = np.concatenate(
        [np.zeros((1, 40, 3)), generator.normal(size=(4, 40, 3)), np.zeros((1, 40, 3))]
    )
    parts[1] *= 5
    table = np.stack([
        sum((parts[1 + bit] for bit in range(5) if row >> bit & 1), parts[0]) for row in range(32)
    ])  # fmt: skip
    present = np.ones((40, 5), dtype=bool)
    present[:20, 2] = False
    for row in range(32):
        table[row, :20] = table[row & ~4, :20]
    report = Report(
        make(table, names=("a", "b", "c"), modalities=tuple("vwxyz"), present=present,
             truth=generator.integers(3, size=40)),
        cluster=None, repeats=20,
    )  # fmt: skip
    for row in Report(report.explanation, truth=None, cluster=None, repeats=20).shares():
        assert len(row.p) == 10
        assert row.p_holm["v", "z"] < row.p_holm["w", "y"]
        assert row.share["z"] == 0
    assert len(report.opposition()) == 30
    assert {one.n for one in report.opposition() if "x" in one.pair} != {40}
    assert "What follows" in report.html()


def test_opposition_by_label_is_counted_by_hand(make):
    table = np.zeros((4, 6, 3))
    table[1, :4, 0] = 4  # text says a four times
    table[2, :3, 1] = [6, 2, 5]  # audio says b three times, and loses once
    table[2, 3, 0] = 1  # and a once
    table[3] = table[1] + table[2]
    table[3, 4:, 2] = 1
    report = Report(make(table, names=("a", "b", "c")), truth=None, cluster=None, repeats=50)
    a, b, c = report.opposition()
    assert (a.label, a.n, a.opposed, a.disagreeing, a.first_wins) == ("a", 2, 1, 1, 1)
    assert (b.n, b.opposed, b.disagreeing, b.first_wins) == (2, 2, 2, 0)
    assert (c.n, c.opposed, c.disagreeing) == (2, 0, 0)
    assert b.margin == pytest.approx(((4 - 6) + (4 - 5)) / 2)
    phi = report.explanation.shapley().totals[[0, 2], 1]
    expected = 1 - phi.sum(1).abs().sum() / phi.abs().sum()
    assert b.cancellation == pytest.approx(float(expected))
    assert b.win_share == 0
    assert math.isnan(b.low)  # one side always wins: nothing tells the spread
    assert math.isnan(c.win_share)
    assert "By label" in report.html()


def test_who_wins_has_an_interval_where_both_do(corpus):
    generator = np.random.default_rng(4)
    one = corpus(samples=200, skill=0.0, weight=0.5, seed=3)
    table = one.scores.numpy() + 0
    table[1] += generator.normal(size=table[1].shape)
    table[2] += generator.normal(size=table[2].shape)
    table[3] = table[1] + table[2]
    explanation = type(one)(**{**vars(one), "draws": one.draws * 0 + one.draws.new_tensor(table)})
    found = [o for o in Report(explanation, repeats=100).opposition() if o.disagreeing > 20]
    assert found
    for row in found:
        assert 0 <= row.low < row.win_share < row.high <= 1
        assert row.win_share == pytest.approx(row.first_wins / row.disagreeing)


def test_conflict_of_labels_without_classes_has_signs_only(make):
    kinds = labels("sarcastic", kind="binary") + labels("valence", kind="dimensional")
    table = np.zeros((4, 4, 2))
    table[1], table[2], table[3] = 2, -1, 1
    report = Report(make(table, names=kinds), truth=None, cluster=None)
    for one in report.opposition():
        assert (one.n, one.opposed, one.disagreeing) == (4, 4, 0)
        assert one.cancellation == pytest.approx(1 - 1 / 3)


def _verdicts(report):
    return {(one.label, one.modality): one.verdict for one in report.advice()}


def _planted(make, useless: float, samples: int = 400, seed: int = 0):
    """Audio decides; text is noise of the given size."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(3, size=samples)
    audio = 2.5 * np.eye(3)[truth] + 0.8 * generator.normal(size=(samples, 3))
    text = useless * generator.normal(size=(samples, 3))
    table = np.stack([0 * audio, text, audio, text + audio])
    speaker = [f"s{row % 40}" for row in range(samples)]
    return make(table, names=("a", "b", "c"), truth=truth, speaker=speaker)


def test_what_decides_is_kept_and_what_carries_nothing_is_dropped(make):
    found = _verdicts(Report(_planted(make, 0.05), repeats=300))
    for label in ("", "a", "b", "c"):
        assert found[label, "audio"] == "keep"
        assert found[label, "text"] == "drop"


def test_what_carries_much_and_helps_nothing_is_weighted(make):
    report = Report(_planted(make, 1.5), repeats=300)
    found = _verdicts(report)
    assert found["", "audio"] == "keep"
    assert found["", "text"] == "weight"
    why = next(one.why for one in report.advice() if (one.label, one.modality) == ("", "text"))
    assert "the model does better without it" in why
    assert "macro F1" in why
    assert "40 clusters" in why


def test_losses_in_advice_equal_f1_by_hand(make):
    report = Report(_planted(make, 1.5), repeats=50)
    table, truth = report.explanation.scores.numpy(), report.truth.values.argmax(-1)

    def f1(said, label):
        hits = ((said == label) & (truth == label)).sum()
        return 2 * hits / ((said == label).sum() + (truth == label).sum())

    with_it, without = table[3].argmax(-1), table[2].argmax(-1)
    why = {(one.label, one.modality): one.why for one in report.advice()}["b", "text"]
    assert f"F1 {f1(with_it, 1):.2f} with it and {f1(without, 1):.2f} without" in why
    whole = np.mean([f1(with_it, c) for c in range(3)])
    why = {(one.label, one.modality): one.why for one in report.advice()}["", "text"]
    assert f"macro F1 {whole:.2f} with it" in why


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 60}, "fewer than 30"),
        ({"shuffle": True}, "model at chance"),
        ({"truth": None}, "truth unknown"),
        ({"speakers": 1}, "one cluster only"),
    ],
)
def test_thin_evidence_is_called_so(corpus, options, message):
    report = Report(corpus(**({"samples": 150} | options)), repeats=100)
    rows = [one for one in report.advice() if one.label == "label0"]
    assert [(one.verdict, one.modality) for one in rows] == [("too thin to say", "")]
    assert message in rows[0].why
    assert message in report.html()


def test_a_baseline_dependent_row_and_one_by_outcome_are_too_thin(make):
    explanation = _planted(make, 0.05)
    table = explanation.scores.numpy().copy()
    table[[1, 2], :200] = table[[2, 1], :200]
    other = make(
        table, names=("a", "b", "c"), removal="mean", speaker=explanation.columns["speaker"]
    )
    report = Report(explanation, alternatives=[other], repeats=50)
    assert {one.verdict for one in report.advice()} == {"too thin to say"}
    assert "makes another modality dominant" in report.advice()[0].why
    by_outcome = [
        one for one in Report(explanation, by="correct", repeats=50).advice() if one.group
    ]
    assert {one.verdict for one in by_outcome} == {"too thin to say"}


def test_advice_for_other_labels_missing_modalities_and_one_modality(make):
    generator = np.random.default_rng(1)
    kinds = labels("sarcastic", kind="binary") + labels("valence", kind="dimensional")
    truth = np.stack([generator.integers(2, size=200), generator.normal(size=200)], axis=1)
    table = np.zeros((4, 200, 2))
    table[2] = 4 * truth - [2, 0]
    table[1] = 0.001
    table[3] = table[2] + table[1]
    present = np.ones((200, 2), dtype=bool)
    present[:50, 0] = False
    table[3, :50], table[1, :50] = table[2, :50], 0
    report = Report(
        make(table, names=kinds, truth=truth, present=present), cluster=None, repeats=99
    )
    found = _verdicts(report)
    assert found["sarcastic", "audio"] == found["valence", "audio"] == "keep"
    assert found["valence", "text"] == found["sarcastic", "text"] == "drop"
    why = {(one.label, one.modality): one.why for one in report.advice()}["valence", "text"]
    assert "CCC" in why
    assert "150 samples" in why
    single = make(table[[0, 2]], names=kinds, truth=truth, modalities=("audio",))
    found = _verdicts(Report(single, cluster=None, repeats=99))
    assert found == {("sarcastic", "audio"): "keep", ("valence", "audio"): "keep"}


def test_the_page_ends_with_what_follows_and_claims_no_causes(make):
    report = Report(_planted(make, 0.05), repeats=50)
    page = report.html()
    last = report.table().splitlines()[-1]
    assert last.startswith("- c, audio: keep (carries 9")
    end = page.rpartition("<section>")[2]
    assert "What follows" in end
    assert "no facts about people" in end
    assert "all categorical labels" in end
    assert not {"because", "caused", "proves"} & set(end.replace(".", " ").split())
    assert 0 < LITTLE_SHARE < 0.5
