from __future__ import annotations

import numpy as np
import pytest

from modalxai.errors import InputError
from modalxai.report import Report
from modalxai.types import labels


def _rows(explanation, **options):
    return Report(explanation, **({"repeats": 20} | options)).shares()


def test_rows_are_divided_by_several_columns_and_count_by_hand(corpus):
    generator = np.random.default_rng(0)
    noise = generator.choice(["clean", "street"], size=90).tolist()
    context = generator.choice(["home", "work"], size=90).tolist()
    explanation = corpus(samples=90, skill=0.8, noise=noise, context=context)
    said = explanation.scores[-1].argmax(-1).tolist()
    speakers = explanation.columns["speaker"]
    rows = _rows(explanation, by=("predicted", "noise", "context"))
    assert sum(row.n for row in rows) == 90
    for row in rows:
        members = [
            i for i in range(90)
            if f"{noise[i]}, {context[i]}" == row.group and said[i] == int(row.label[-1])
        ]  # fmt: skip
        assert row.n == len(members)
        assert row.clusters == len({speakers[i] for i in members})
        phi = explanation.shapley().totals[members, int(row.label[-1])].abs().mean(0)
        assert row.share["text"] == pytest.approx(float(phi[0] / phi.sum()))
    assert [row.group for row in rows[:3]] == ["clean, home"] * 3


def test_rows_by_truth_are_divided_too(corpus):
    explanation = corpus(samples=60, skill=0.5, family=["A", "B"] * 30)
    truth = explanation.targets.values.argmax(-1).tolist()
    for name in ("true", "truth"):
        rows = _rows(explanation, by=(name, "family"))
        assert sum(row.n for row in rows) == 60
        for row in rows:
            start = 0 if row.group == "A" else 1
            assert row.n == sum(truth[i] == int(row.label[-1]) for i in range(start, 60, 2))


def test_right_and_wrong_divide_true_rows_and_columns(corpus):
    explanation = corpus(samples=60, skill=0.3, family=["A", "B"] * 30)
    right = (explanation.scores[-1].argmax(-1) == explanation.targets.values.argmax(-1)).tolist()
    rows = _rows(explanation, by=("true", "correct", "family"))
    assert sum(row.n for row in rows if row.group == "correct, B") == sum(right[1::2])
    assert sum(row.n for row in rows if row.group == "wrong, A") == 30 - sum(right[::2])


def test_numbers_keep_their_order_and_unknown_comes_last(corpus):
    level = ([5, 10, None, -5] * 15)[:60]
    rows = _rows(corpus(samples=60, snr=level), by="snr")
    assert list(dict.fromkeys(row.group for row in rows)) == ["-5", "5", "10", "unknown"]


def test_a_mapping_divides_and_the_page_says_by_what(corpus):
    explanation = corpus(samples=40)
    report = Report(
        explanation, by=("true", dict.fromkeys(explanation.sample_ids, "x")), repeats=20
    )
    assert {row.group for row in report.shares()} == {"x"}
    assert "Rows are true labels, by a mapping." in report.html()
    assert report.asked["by"] == "true, a mapping"


def test_binary_and_dimensional_labels_are_divided(make):
    kinds = labels("sarcastic", kind="binary") + labels("valence", kind="dimensional")
    table = np.zeros((4, 6, 2))
    table[3, :, 0] = [3, 3, -3, -3, -3, 3]
    table[1, :, 1] = table[3, :, 1] = 1
    explanation = make(table, names=kinds, truth=np.ones((6, 2)), room=["a", "b"] * 3)
    rows = _rows(explanation, by="room", cluster=None)
    assert [(row.group, row.label, row.n) for row in rows] == [
        ("a", "sarcastic", 1), ("a", "valence", 3), ("b", "sarcastic", 2), ("b", "valence", 3),
    ]  # fmt: skip
    rows = _rows(explanation, by="correct", cluster=None)
    assert [(row.group, row.label) for row in rows] == [("correct", "sarcastic")]


@pytest.mark.parametrize(
    ("by", "message"),
    [((), "nothing"), (("predicted", "true"), "both"), (("predicted", "room"), "room")],
)
def test_rows_that_cannot_be_made_are_refused(corpus, by, message):
    with pytest.raises(InputError, match=message):
        Report(corpus(samples=10), by=by)
