"""The brute-force gold: against the definition, against modalxai, against rules that are known."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import modalxai as mx
from modalxai.datasets import tonebench as tb
from modalxai.datasets.tonebench.factorial import KINDS
from modalxai.errors import InputError
from modalxai.testing import oracle_models


def toy(count: int, modalities: tuple[str, ...] = ("audio", "text"), seed: int = 0):
    """Samples whose modalities are numbers, and a table of logits that a model reads from them."""
    table = np.random.default_rng(seed).normal(size=(*[count] * len(modalities), 3))
    samples = [{"id": f"s{i}", **dict.fromkeys(modalities, i), "labels": {}} for i in range(count)]

    def predict(asked):
        assert all(set(one) == {"id", *modalities} for one in asked)
        return np.array([table[tuple(one[name] for name in modalities)] for one in asked])

    return table - table.mean(-1, keepdims=True), samples, predict


def by_orders(clr, own: int, donors: list[int], count: int) -> np.ndarray:
    """Shapley values [K, M] of one sample from the orders of arrival, donors gone through."""

    def value(kept: set[int]) -> np.ndarray:
        ways = itertools.product(*([own] if m in kept else donors for m in range(count)))
        return np.mean([clr[way] for way in ways], axis=0)

    phi = np.zeros((clr.shape[-1], count))
    orders = list(itertools.permutations(range(count)))
    for order in orders:
        for place, m in enumerate(order):
            gain = value(set(order[: place + 1])) - value(set(order[:place]))
            phi[:, m] += gain / len(orders)
    return phi


@pytest.mark.parametrize("names", [("audio", "text"), ("audio", "text", "bio")])
@pytest.mark.parametrize("own_donors", [True, False])
def test_values_equal_the_definition(names: tuple[str, ...], own_donors: bool) -> None:
    clr, samples, predict = toy(5, names)
    explained, donors = (samples, None) if own_donors else (samples[:3], samples[3:])
    table = tb.factorial(
        predict, explained, names, donors=donors, labels=["a", "b", "c"], batch_size=7
    )
    lent = list(range(5)) if own_donors else [3, 4]
    found = table.shapley()
    for row in range(len(explained)):
        assert found[row] == pytest.approx(by_orders(clr, row, lent, len(names)), abs=1e-12)
    # Efficient, and centred over labels.
    assert found.sum(-1) == pytest.approx(table.values[-1] - table.values[0], abs=1e-12)
    assert found.sum(1) == pytest.approx(0, abs=1e-12)
    # Each mixture was asked for once.
    assert len({tuple(origin) for origin in table.origins.tolist()}) == len(table.origins)


def test_effects_are_the_functional_anova() -> None:
    clr, samples, predict = toy(6)
    table = tb.factorial(predict, samples, ("audio", "text"), labels=["a", "b", "c"])
    parts = table.dividends()
    grand = clr.mean((0, 1))
    audio, text = clr.mean(1) - grand, clr.mean(0) - grand
    both = np.array([clr[i, i] for i in range(6)]) - audio - text - grand
    assert parts["audio",] == pytest.approx(audio)
    assert parts["text",] == pytest.approx(text)
    assert parts["audio", "text"] == pytest.approx(both)
    # EMAP: the interaction is what an additive projection leaves (Hessel & Lee 2020).
    for one in (audio, text):
        assert one.mean(0) == pytest.approx(0, abs=1e-12)


def test_number_of_questions() -> None:
    _, samples, predict = toy(9)
    for explained, donors, asked in ((9, None, 81), (5, samples[5:], 5 + 2 * 5 * 4 + 16)):
        table = tb.factorial(
            predict, samples[:explained], ("audio", "text"), donors=donors, labels="abc"
        )
        assert len(table.scores) == asked


def test_types_are_those_of_science() -> None:
    """Tables whose type is known: the oracle table of the modality games."""
    known = {
        "additive": (0, 1, 2, 3),
        "conflict": (0, 2, -3, -0.5),
        "synergy": (0, 0, 0, 1),
        "redundancy": (0, 1, 1, 1),
        "suppression": (0, 1, 1, 0.2),
    }
    values = np.array(list(known.values())).T[:, :, None]
    empty = np.zeros((0, 2), dtype=np.int64)
    table = tb.Factorial(
        tuple(known), ("a",), ("audio", "text"), values, tuple(known), empty, np.zeros((0, 1))
    )
    assert [KINDS[kind] for kind in table.types()[:, 0, 0, 0]] == list(known)
    assert (table.types() == table.types()[..., :1]).all()


# --- against modalxai --------------------------------------------------------------------------


def small(family: tb.Family) -> mx.EmotionModel:
    """An untrained model with large weights, so that its modalities interact."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        parts = {
            "audio": mx.encoders.MelCnnEncoder(dim=8, channels=8, hop=0.032, heads=2, dropout=0),
            "text": mx.encoders.ByteTextEncoder(dim=8, layers=1, heads=2, dropout=0),
            "bio": mx.encoders.BiosignalEncoder(
                dim=8, channels=1, window=4.0, sample_rate=4.0, hidden=8, layers=2
            ),
        }
        encoders = {name: parts[name] for name in family.modalities}
        labels = mx.labels(*family.rule().labels)
        fusion = mx.fusion.ShallowFusion(dict.fromkeys(encoders, 8), labels, hidden=16)
        model = mx.EmotionModel(encoders, fusion)
        with torch.no_grad():
            for weight in model.fusion.parameters():
                weight *= 4
    return model.eval()


def crossed(name: str, count: int, donors: int):
    family = tb.FAMILIES[name]
    explained = [*family.corpus(count, speakers=range(3))]
    return family, explained, [*family.corpus(donors, crossed=True, speakers=range(3, 6))]


@pytest.mark.parametrize(("name", "count", "donors"), [("AND", 6, 9), ("BIO", 3, 4)])
def test_it_is_the_estimand_of_independent_marginal_removal(name, count, donors) -> None:
    family, explained, others = crossed(name, count, donors)
    model = small(family)
    table = tb.factorial(model.predict, explained, family.modalities, donors=others)
    explanation = mx.explain(
        model, explained, removal="marginal-independent", draws="all", background=others
    )
    theirs = explanation.shapley(scale="clr").totals.numpy()
    scale = np.abs(table.values).max()
    assert np.abs(table.shapley() - theirs).max() < 1e-5 * max(1, scale)
    # Not vacuous: there is an interaction, and joint donors answer another question.
    whole = table.dividends()[family.modalities[:2]]
    assert np.abs(whole).max() > 0.02
    joint = mx.explain(model, explained, removal="marginal", draws="all", background=others)
    assert np.abs(table.shapley() - joint.shapley(scale="clr").totals.numpy()).max() > 3e-4


def test_samples_that_are_their_own_donors_are_a_renamed_background() -> None:
    family, explained, _ = crossed("AND", 7, 1)
    model = small(family)
    table = tb.factorial(model.predict, explained, family.modalities)
    explanation = mx.explain(
        model,
        explained,
        removal="marginal-independent",
        draws="all",
        background=tb.renamed(explained),
    )
    theirs = explanation.shapley(scale="clr").totals.numpy()
    assert np.abs(table.shapley() - theirs).max() < 1e-5
    assert [one["id"] for one in explained] == list(table.sample_ids)


def test_shares_and_types_are_those_of_modalxai() -> None:
    family, explained, others = crossed("XOR", 16, 4)
    model = small(family)
    table = tb.factorial(model.predict, explained, family.modalities, donors=others)
    explanation = mx.explain(
        model, explained, removal="marginal-independent", draws="all", background=others
    )
    kinds = explanation.interaction_types(tolerance=0.05)
    assert (kinds.kinds.numpy() == table.types(0.05)).all()
    rows = table.shares()
    checked = 0
    for row in mx.Report(explanation, by="predicted", cluster="speaker").shares():
        gold = rows[row.label]
        if gold.reason is None:
            assert row.evidence == pytest.approx(gold.evidence, abs=1e-5)
            assert row.n == round(gold.frequency * 16)
            mine = np.array([gold.share[name] for name in family.modalities])
            assert mine.sum() == pytest.approx(1)
            if not any(math.isnan(share) for share in row.share.values()):
                assert row.share == pytest.approx(gold.share, abs=1e-5)
                checked += 1
    assert checked


# --- against the planted truth -----------------------------------------------------------------


def listener(rule: tb.Rule, family: tb.Family, samples):
    """A model that knows the rule: the log of the table in the cell of the mixture."""
    known = {(name, id(sample[name])): sample for sample in samples for name in family.modalities}

    def predict(asked):
        rows = []
        for one in asked:
            cell = []
            for factor, states in rule.factors.items():
                (teller,) = (name for name, told in family.channels.items() if factor in told)
                told = known[teller, id(one[teller])]
                column = f"{factor}_state" if factor in rule.signals else factor
                cell.append(states.index(told[column]))
            rows.append(np.log(rule.given[tuple(cell)]))
        return np.array(rows)

    return predict


@pytest.mark.parametrize("name", ["TONE", "SUM", "AND", "XOR", "PERCLASS", "SPUR", "LOCAL", "BIO"])
def test_of_a_model_that_knows_the_rule_it_is_the_planted_gold(name: str) -> None:
    family = tb.FAMILIES[name]
    rule = family.rule().crossed()
    samples = [*family.corpus(rule.weights.size, crossed=True)]  # every cell once
    table = tb.factorial(
        listener(rule, family, samples), samples, family.modalities, labels=rule.labels
    )
    planted = tb.gold(rule, removal="marginal", channels=family.channels)
    for label, row in table.shares().items():
        if planted[label].reason:
            assert row.reason
            continue
        assert row.share == pytest.approx(planted[label].share, abs=1e-9)
        assert row.evidence == pytest.approx(planted[label].evidence, abs=1e-9)
        assert row.interaction == pytest.approx(planted[label].interaction, abs=1e-9)
        assert row.interaction_share == pytest.approx(planted[label].interaction_share, abs=1e-9)
        assert row.dividends == pytest.approx(planted[label].dividends, abs=1e-9)
        assert row.frequency == pytest.approx(planted[label].frequency)
    means = tb.cell_means(table, rule, samples, family.channels)
    logs = np.log(rule.given)
    assert means == pytest.approx(logs - logs.mean(-1, keepdims=True))
    assert tb.accuracy(table, rule, samples, family.channels) == 1


TABLES = {
    "tone only": ([0, 0, 3, 3], (0.0, 1.5)),
    "and": ([0, 0, 0, 4], (1.5, 1.5)),
    "or": ([0, 4, 4, 4], (0.5, 0.5)),
    "xor": ([2, 0, 0, 2], (0.5, 0.5)),
    "conflict": ([0, 2, -3, -1], (1.0, -1.5)),
}
"""Logits of a label, against 0, by (no, word, tone, both), and its Shapley values in (yes, yes)."""


@pytest.mark.parametrize("name", TABLES)
def test_of_an_oracle_model_the_gold_is_its_truth_table(name: str) -> None:
    """Layer B: a lexicon, a detector of tones and a truth table, asked through collate and all."""
    logits, known = TABLES[name]
    reads = oracle_models.LexiconEncoder({"good": 1.0})
    hears = oracle_models.ToneEncoder({200: 10.0}, segment_seconds=0.1)
    fusion = oracle_models.CueFusion(
        {"text": 1, "audio": 1}, mx.labels("yes", "no"), [[float(one), 0.0] for one in logits]
    )
    model = mx.EmotionModel({"text": reads, "audio": hears}, fusion)
    samples = [
        {
            "id": f"{text}/{sounds}",
            "text": text,
            "audio": oracle_models.tones(0.3, [(0.1, 0.2, 200)] if sounds else []),
        }
        for text in ("a good one", "a bad one")
        for sounds in (True, False)
    ]
    table = tb.factorial(model.predict, samples, ("text", "audio"))
    # Half the donors have the cue; on clr of two labels half of each logit counts.
    assert table.shapley()[0, 0] / 0.5 == pytest.approx(
        [half_of(logits, 0), half_of(logits, 1)], abs=1e-5
    )
    assert table.shapley()[0, 0] == pytest.approx([one / 2 for one in known], abs=1e-5)
    explanation = mx.explain(
        model,
        samples,
        removal="marginal-independent",
        draws="all",
        background=tb.renamed(samples),
    )
    theirs = explanation.shapley(scale="clr").totals.numpy()
    assert table.shapley() == pytest.approx(theirs, abs=1e-5)


def half_of(v: list[float], m: int) -> float:
    """The Shapley value of one of two cues that are there, where "off" is a fair coin each."""
    both, mean = v[3], sum(v) / 4
    text, audio = (v[1] + v[3]) / 2, (v[2] + v[3]) / 2
    own, other = (text, audio) if m == 0 else (audio, text)
    return (own - mean + both - other) / 2


def test_no_evidence_has_no_share() -> None:
    _, samples, _ = toy(4)
    table = tb.factorial(
        lambda asked: np.tile([0.3, 0.1], (len(asked), 1)),
        samples,
        ("audio", "text"),
        labels=["a", "b"],
    )
    rows = table.shares()
    assert rows["a"].reason == "no modality evidence for this label"
    assert rows["b"].reason == "no sample belongs to this label"
    assert all(math.isnan(share) for row in rows.values() for share in row.share.values())
    assert (table.types() == KINDS.index("additive")).all()


def test_other_groupings() -> None:
    _, samples, predict = toy(4)
    table = tb.factorial(predict, samples, ("audio", "text"), labels=["a", "b", "c"])
    rows = table.shares(["a", "a", "b", "b"])
    phi = np.abs(table.shapley()[:2, 0])
    assert rows["a"].share["text"] == pytest.approx(phi[:, 1].sum() / phi.sum())
    assert rows["c"].reason
    for bad in (["a"], ["a", "b", "c", "d"]):
        with pytest.raises(InputError, match="group the samples"):
            table.shares(bad)


def test_what_cannot_be_mixed_is_refused() -> None:
    _, samples, predict = toy(4)
    ask = lambda *given, **more: tb.factorial(  # noqa: E731
        predict, *given, **{"labels": ["a", "b", "c"], **more}
    )
    for given, more in (
        (([], ("audio",)), {}),
        ((samples, ()), {}),
        ((samples, ("audio", "video")), {}),
        ((samples + samples, ("audio", "text")), {}),
        ((samples, ("audio", "text")), {"donors": samples}),
        ((samples, ("audio", "text")), {"donors": []}),
        (([{"audio": 1, "text": 1}], ("audio", "text")), {}),
    ):
        with pytest.raises(InputError, match="cannot be mixed"):
            ask(*given, **more)
    for more in ({"labels": ["a", "b"]}, {"labels": None}):
        with pytest.raises(InputError, match="make no table"):
            ask(samples, ("audio", "text"), **more)
    with pytest.raises(InputError, match="make no table"):
        tb.factorial(
            lambda asked: np.full((len(asked), 3), np.nan), samples, ("audio",), labels="abc"
        )
    many = [{"id": str(i), "audio": i, "text": i} for i in range(600)]
    with pytest.raises(InputError, match="more mixtures"):
        ask(many, ("audio", "text"))


def test_the_model_is_left_as_it_was() -> None:
    family, explained, _ = crossed("AND", 3, 1)
    model = small(family).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    sample = dict(explained[0])
    tb.factorial(model.predict, explained, family.modalities)
    assert model.training
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert sample.keys() == explained[0].keys()
    assert replace(family).name == "AND"
