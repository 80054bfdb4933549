"""Gates: open for a model that knows the rule, closed for one that does not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modalxai.datasets import tonebench as tb
from modalxai.errors import InputError

NAMES = ("audio", "text")


def answering(name: str, wrong: int = 0):
    """A family's crossed samples, and the table of a model that errs in so many mixtures."""
    family = tb.FAMILIES[name]
    rule = family.rule()
    corpus = family.corpus(rule.weights.size, crossed=True)
    # No sound is needed: a sample's modalities are its own row.
    rows = [corpus.row(index) for index in range(len(corpus))]
    samples = [row | dict.fromkeys(NAMES, index) for index, row in enumerate(rows)]
    asked_before = [0]

    def predict(asked):
        scores = np.zeros((len(asked), len(rule.labels)))
        for at, one in enumerate(asked):
            content = rule.contents.index(rows[one["text"]]["content"])
            tone = rule.tones.index(rows[one["audio"]]["tone"])
            right = rule.winners[content, tone]
            asked_before[0] += 1
            scores[at, (right + (asked_before[0] <= wrong)) % len(rule.labels)] = 5
        return scores

    return family, tb.factorial(predict, samples, NAMES, labels=rule.labels), samples


def good(modality: str) -> tb.Probe:
    return tb.Probe(modality, 0.17, 0.14, 0.2, 1 / 6, 300, 12)


def test_a_model_that_knows_the_rule_passes() -> None:
    for name in ("XOR", "AND", "SUM", "PERCLASS", "SARC"):
        family, table, samples = answering(name)
        found = tb.gate(family, table, samples)
        assert found.passed
        assert found.accuracy == 1
        assert found.why == ""


def test_a_model_that_errs_once_too_often_does_not() -> None:
    few, many = answering("XOR", 2), answering("XOR", 4)  # of 256
    assert tb.gate(*few).passed
    found = tb.gate(*many)
    assert not found.passed
    assert found.accuracy == pytest.approx(1 - 4 / 256)
    assert "0.9844 below 0.99" in found.why


def test_cells_count_alike_however_often_they_were_asked_about() -> None:
    family, table, samples = answering("XOR")
    rule = family.rule()
    only = tb.Factorial(
        table.sample_ids,
        table.labels,
        table.modalities,
        table.values,
        table.pool_ids,
        np.concatenate([table.origins, table.origins[:1].repeat(100, 0)]),
        np.concatenate([table.scores, np.roll(table.scores[:1], 1, axis=-1).repeat(100, 0)]),
    )
    found = tb.accuracy(only, rule, samples, family.channels)
    (first,) = {samples[only.origins[0, 0]]["tone"]}
    assert first in rule.tones
    # One cell of 16 is wrong in 100 of its 116 mixtures.
    assert found == pytest.approx(1 - 100 / 116 / 16)


def test_an_irrelevant_modality_needs_a_probe_at_chance() -> None:
    family, table, samples = answering("TONE")
    assert tb.gate(family, table, samples).why == "no probe of text"
    assert tb.gate(family, table, samples, [good("text")]).passed
    leaking = tb.Probe("text", 0.3, 0.24, 0.36, 1 / 6, 300, 12)
    found = tb.gate(family, table, samples, [leaking])
    assert not found.passed
    assert "text tells the label" in found.why
    # Too few samples prove nothing.
    assert not tb.Probe("text", 0.17, 0.02, 0.4, 1 / 6, 20, 5).passed


def test_nothing_is_asked_where_the_rule_decides_nothing() -> None:
    family, table, samples = answering("NULL")
    found = tb.gate(family, table, samples, [good("audio"), good("text")])
    assert found.passed
    assert math.isnan(found.accuracy)
    family, table, samples = answering("REDUND", 4)
    # Only cells that agree count: 16 mixtures of 256, none of which is wrong but the first ones.
    agreeing = sum(
        samples[a]["tone"]
        == dict(zip(family.rule().contents, family.rule().tones, strict=True))[
            samples[t]["content"]
        ]
        for a, t in table.origins[:4].tolist()
    )
    assert tb.gate(family, table, samples).accuracy == pytest.approx(1 - agreeing / 64)


def test_the_swap_test_says_which_channel_is_followed() -> None:
    family = tb.FAMILIES["REDUND"]
    rule = family.rule()
    corpus = family.corpus(16, crossed=True)
    rows = [corpus.row(index) for index in range(16)]
    samples = [row | dict.fromkeys(NAMES, index) for index, row in enumerate(rows)]

    def predict(asked):
        own = [rule.tones.index(rows[one["audio"]]["tone"]) for one in asked]
        return np.eye(4)[own]

    table = tb.factorial(predict, samples, NAMES, labels=rule.labels)
    assert tb.followed(table, rule, samples, family.channels) == {"audio": 1, "text": 0}
    assert tb.accuracy(table, rule, samples, family.channels) == 1


def test_a_table_of_another_rule_is_refused() -> None:
    family, table, samples = answering("XOR")
    with pytest.raises(InputError, match="not about this rule"):
        tb.gate(tb.FAMILIES["PERCLASS"], table, samples)
    with pytest.raises(InputError, match="not about this rule"):
        tb.gate(family, table, samples[1:])
    both = {"audio": ("tone", "content"), "text": ("content",)}
    with pytest.raises(InputError, match="told by 2 modalities"):
        tb.accuracy(table, family.rule(), samples, both)


# --- probes ------------------------------------------------------------------------------------


def vectors(leak: float, n: int = 480, seed: int = 0):
    """Features of 12 speakers, each with a place of its own, and labels that they tell or not."""
    generator = np.random.default_rng(seed)
    speakers = np.arange(n) % 12
    labels = np.arange(n) // 12 % 4
    own = generator.normal(size=(12, 6))[speakers]
    told = np.eye(6)[labels]
    features = own + generator.normal(size=(n, 6)) + leak * told
    names = [f"label {label}" for label in labels]
    return features, names, [f"s{speaker}" for speaker in speakers]


def test_a_probe_finds_what_is_told_and_nothing_else() -> None:
    quiet = [tb.probe(*vectors(0, seed=seed), "text") for seed in range(6)]
    assert sum(one.passed for one in quiet) >= 5
    assert np.mean([one.accuracy for one in quiet]) == pytest.approx(0.25, abs=0.04)
    for one in quiet:
        assert one.low < one.accuracy < one.high
        assert (one.chance, one.n, one.clusters) == (0.25, 480, 12)
    leaking = tb.probe(*vectors(1.5), "text")
    assert not leaking.passed
    assert leaking.accuracy > 0.4
    assert tb.probe(*vectors(8), "text").accuracy > 0.98


def test_a_probe_hears_speakers_it_has_not_heard() -> None:
    """A speaker's own label is no knowledge: memory of voices must not count."""
    generator = np.random.default_rng(1)
    speakers = np.arange(480) % 12
    features = np.eye(12)[speakers] * 5 + 0.1 * generator.normal(size=(480, 12))
    labels = [f"label {speaker % 4}" for speaker in speakers]
    found = tb.probe(features, labels, [f"s{speaker:02d}" for speaker in speakers], "audio")
    assert found.accuracy < 0.5


def test_constant_features_are_at_chance() -> None:
    features, names, speakers = vectors(0)
    found = tb.probe(np.ones_like(features), names, speakers, "text")
    assert found.accuracy <= 0.26


def test_a_probe_is_the_regression_that_scikit_learn_makes() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    from modalxai.datasets.tonebench.gates import _logistic

    features, names, _ = vectors(1.5)
    y = np.array([sorted(set(names)).index(name) for name in names])
    mine = _logistic(features, y, 4)
    theirs = linear.LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(features, y)
    wanted = theirs.coef_.T
    assert mine[:-1] == pytest.approx(wanted - wanted.mean(-1, keepdims=True), abs=2e-3)


def test_impossible_probes_are_refused() -> None:
    features, names, speakers = vectors(0, 48)
    for bad in (
        (features[:-1], names, speakers),
        (features * np.nan, names, speakers),
        (features, ["one"] * 48, speakers),
        (features, names, ["s0"] * 48),
        (features[:, 0], names, speakers),
    ):
        with pytest.raises(InputError, match="probe that cannot be made"):
            tb.probe(*bad, "text")
