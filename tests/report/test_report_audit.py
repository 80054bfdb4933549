from __future__ import annotations

import math

import numpy as np
import pytest

from modalxai.errors import InputError
from modalxai.report import Report, audit
from modalxai.types import labels


def _table(generator, samples=50):
    parts = generator.normal(size=(2, samples, 3))
    return np.stack([0 * parts[0], parts[0], parts[1], parts[0] + parts[1]])


def test_the_empty_coalition_is_described_by_hand(make):
    table = _table(np.random.default_rng(0))
    table[0] = np.log([0.5, 0.25, 0.25])
    explanation = make(table, names=("a", "b", "c"), truth=[0, 0, 1, 2, 2] * 10)
    (found,) = Report(explanation, cluster=None, repeats=20).audit().emptiness
    assert found.target == "categorical labels"
    assert found.entropy == pytest.approx(1.5)
    assert found.most == pytest.approx(math.log2(3))
    p, prior = [0.5, 0.25, 0.25], [0.4, 0.2, 0.4]
    expected = sum(a * math.log2(a / b) for a, b in zip(p, prior, strict=True))
    assert found.divergence == pytest.approx(expected)
    assert found.says == ("a", pytest.approx(0.5))
    given = {"a": 0.5, "b": 0.25, "c": 0.25}
    same = Report(explanation, cluster=None, repeats=20, prior=given).audit().emptiness[0]
    assert same.divergence == pytest.approx(0, abs=1e-12)


def test_a_prior_that_excludes_what_the_model_says_is_infinitely_far(make):
    explanation = make(_table(np.random.default_rng(0)), names=("a", "b", "c"), truth=[0, 1] * 25)
    report = Report(explanation, cluster=None, repeats=20)
    assert report.audit().emptiness[0].divergence == math.inf
    assert "infinitely many bits from the prior" in report.html()


def test_an_unknown_prior_is_no_number(make):
    explanation = make(_table(np.random.default_rng(0)), names=("a", "b", "c"))
    report = Report(explanation, truth=None, cluster=None, repeats=20)
    assert math.isnan(report.audit().emptiness[0].divergence)
    assert "prior unknown" in report.html()
    assert report.audit().alone == {}


def test_binary_labels_are_audited_each_and_dimensional_ones_have_no_entropy(make):
    kinds = labels("sarcastic", kind="binary") + labels("valence", kind="dimensional")
    table = np.zeros((4, 8, 2))
    table[0, :, 0] = np.log(3)  # p = 0.75
    table[1:, :, 0] = 4
    table[3, :, 1] = 1
    truth = np.stack([[1, 0] * 4, np.arange(8)], axis=1)
    (found,) = Report(make(table, names=kinds, truth=truth), cluster=None).audit().emptiness
    assert found.target == "sarcastic"
    p = 0.75
    assert found.entropy == pytest.approx(-p * math.log2(p) - (1 - p) * math.log2(1 - p))
    assert found.divergence == pytest.approx(1 - found.entropy)


def test_agreement_over_three_removals_equals_a_slow_oracle(make):
    generator = np.random.default_rng(3)
    base = _table(generator, 80)
    tables = [base, base.copy(), base.copy()]
    for other in tables[1:]:
        other[1:3] += 0.4 * generator.normal(size=other[1:3].shape)
    removals = ("absent", "mean", "marginal")
    parts = [
        make(table, names=("a", "b", "c"), removal=how)
        for table, how in zip(tables, removals, strict=True)
    ]
    found = audit(parts, truth=None)
    assert found.removals == removals
    assert found.enough
    (agreement,) = found.agreement
    said = base[3].argmax(-1)
    points, flips = [], []
    for i in range(80):
        shares = []
        for part in parts:
            phi = [abs(float(x)) for x in part.shapley().totals[i, said[i]]]
            shares.append(phi[0] / sum(phi))
        points.append(100 * (max(shares) - min(shares)))
        flips.append(len({share > 0.5 for share in shares}) > 1)
    assert agreement.n + agreement.unclear == 80
    assert agreement.n == 80
    assert agreement.spread == pytest.approx(np.mean(points))
    assert agreement.spread_90 == pytest.approx(np.quantile(points, 0.9))
    assert agreement.flips == pytest.approx(np.mean(flips))
    assert agreement.baseline_dependent == (np.mean(flips) > 0.1)
    report = Report(parts[0], truth=None, cluster=None, alternatives=parts[1:], repeats=20)
    assert report.audit().agreement == found.agreement
    assert found.sentences()[0] in report.html().replace("&#39;", "'")


@pytest.mark.parametrize(("turned", "stamped"), [(5, False), (6, True)])
def test_the_stamp_is_set_above_a_tenth(make, turned, stamped):
    table = np.zeros((4, 50, 2))
    table[:, :, 1] = np.array([0, 2, 4, 6])[:, None]
    other = table.copy()
    other[1:3, :turned] = other[[2, 1], :turned]
    found = audit([make(table), make(other, removal="mean")], truth=None)
    assert found.agreement[0].flips == pytest.approx(turned / 50)
    assert found.agreement[0].baseline_dependent is stamped
    assert found.sentences()[-1].startswith("baseline-dependent") is stamped


def test_fewer_than_three_removals_are_called_too_few(make):
    table = _table(np.random.default_rng(1))
    first, second = make(table, names="abc"), make(table, names="abc", removal="mean")
    one, two = audit([first], truth=None), audit([first, second], truth=None)
    assert not one.enough
    assert one.agreement == ()
    assert "Only 1 removal of the 3" in one.sentences()[0]
    assert "Only 2 removals of the 3" in two.sentences()[0]
    assert two.agreement[0].flips == 0
    three = audit([first, second, make(table, names="abc", removal="x")], truth=None)
    assert not any("Only" in said for said in three.sentences())
    assert "Only 1 removal of the 3" in Report(first, truth=None, cluster=None).html()


def test_rounding_and_missing_modalities_are_no_flips(make):
    table = np.zeros((4, 4, 2))
    table[:, :, 1] = np.array([0, 2, 2, 4])[:, None]
    table[:, 3, 1] = [0, 0, 4, 4]
    other = table.copy()
    other[1, :3, 1] += 1e-7
    present = [[True, True]] * 3 + [[False, True]]
    found = audit(
        [make(table, present=present), make(other, present=present, removal="mean")], truth=None
    )
    assert found.agreement[0].n == 3  # one modality has all of it, whatever the removal
    assert found.agreement[0].flips == 0


def test_samples_without_evidence_are_counted_apart(make):
    table = np.zeros((4, 10, 2))
    table[:, :6, 1] = np.array([0, 2, 4, 6])[:, None]
    (found,) = audit([make(table), make(table, removal="mean")], truth=None).agreement
    assert (found.n, found.unclear) == (6, 4)
    nothing = audit([make(0 * table), make(0 * table, removal="mean")], truth=None)
    assert nothing.agreement[0].n == 0
    assert math.isnan(nothing.agreement[0].spread)
    assert "No evidence to compare" in nothing.sentences()[-1]


def test_accuracy_alone_is_that_of_the_single_coalitions(corpus):
    explanation = corpus(samples=60, skill=0.8)
    truth = explanation.targets.values.argmax(-1)
    alone = Report(explanation, repeats=20).audit().alone["categorical labels"]
    for name, row in (("text", 1), ("audio", 2), ("everything", 3)):
        expected = (explanation.scores[row].argmax(-1) == truth).double().mean()
        assert alone[name] == pytest.approx(float(expected))


@pytest.mark.parametrize(
    "prior", [{"a": 1.0}, {"a": 0.5, "b": 0.4, "c": 0.4}, {"rage": 1.0}, {"a": -1, "b": 1, "c": 1}]
)
def test_a_prior_that_is_none_is_refused(make, prior):
    explanation = make(_table(np.random.default_rng(0)), names=("a", "b", "c"))
    with pytest.raises(InputError, match="prior"):
        Report(explanation, truth=None, cluster=None, prior=prior)
    with pytest.raises(InputError, match="prior"):
        audit([explanation], prior=prior)
    with pytest.raises(InputError, match="nothing to audit"):
        audit([])
