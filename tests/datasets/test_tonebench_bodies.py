"""Rules with more than two channels: their truth, and the signals in which it is planted."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from modalxai import biosignals as features
from modalxai.datasets.tonebench import (
    FAMILIES,
    STATES,
    Rule,
    ToneBench,
    additive,
    bio,
    conflict,
    emotions,
    gold,
    parity,
    redundant,
    witnesses,
)
from modalxai.datasets.tonebench.biosignals import Body, record
from modalxai.datasets.tonebench.gold import on_scale, posteriors, shapley
from modalxai.errors import InputError

BODY = ("eda", "ecg", "temp")
THREE = {"audio": ["tone"], "text": ["content"], "bio": list(BODY)}
FIVE = {"audio": ["tone"], "text": ["content"], **{name: [name] for name in BODY}}


def drawn(seed: int, signals: int = 2) -> Rule:
    """A rule without any structure."""
    generator = np.random.default_rng(seed)
    chosen = {name: STATES[name] for name in BODY[:signals]}
    cells = (2, 3, *[2] * signals)
    return Rule(
        "ANY",
        ("praise", "blame"),
        ("flat", "rising", "weary"),
        ("a", "b", "c"),
        generator.dirichlet(np.ones(3), cells) * 0.94 + 0.02,
        generator.integers(1, 9, cells),
        chosen,
    )


# --- truth -------------------------------------------------------------------------------------


def by_hand(rule: Rule, channels: dict, label: str, by: str, removal: str) -> dict:
    """The same truth in plain Python, by going through every order of arrival."""
    factors, names = list(rule.factors), list(channels)
    cells = [cell for cell in np.ndindex(rule.weights.shape) if rule.weights[cell]]
    weight = {cell: float(rule.weights[cell] / rule.weights.sum()) for cell in cells}
    K, k = len(rule.labels), rule.labels.index(label)

    def clr(chances: list[float]) -> list[float]:
        logs = [math.log(chance) for chance in chances]
        return [log - sum(logs) / K for log in logs]

    def score(seen: tuple[str, ...], cell: tuple[int, ...]) -> float:
        known = [factors.index(factor) for name in seen for factor in channels[name]]
        if removal == "marginal":
            total = 0.0
            for donor in cells:
                mixed = tuple(cell[f] if f in known else donor[f] for f in range(len(factors)))
                total += weight[donor] * clr([float(rule.given[mixed][j]) for j in range(K)])[k]
            return total
        agree = [one for one in cells if all(one[f] == cell[f] for f in known)]
        whole = sum(weight[one] for one in agree)
        return clr(
            [sum(weight[one] * rule.given[one][j] for one in agree) / whole for j in range(K)]
        )[k]

    magnitude, signed, frequency = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0), 0.0
    for cell in cells:
        phi = dict.fromkeys(names, 0.0)
        orders = list(itertools.permutations(names))
        for order in orders:
            for place, name in enumerate(order):
                gain = score(order[: place + 1], cell) - score(order[:place], cell)
                phi[name] += gain / len(orders)
        belongs = float(rule.given[cell][k])
        if by == "predicted":
            belongs = float(rule.given[cell].argmax() == k)
        frequency += weight[cell] * belongs
        for name in names:
            magnitude[name] += weight[cell] * belongs * abs(phi[name])
            signed[name] += weight[cell] * belongs * phi[name]
    total = sum(magnitude.values())
    return {
        "share": {name: value / total for name, value in magnitude.items()},
        "evidence": {name: value / frequency for name, value in signed.items()},
        "frequency": frequency,
    }


GROUPED = {"audio": ["tone"], "rest": ["content", "eda", "ecg"]}


@pytest.mark.parametrize("removal", ["absent", "marginal"])
@pytest.mark.parametrize("by", ["predicted", "true"])
@pytest.mark.parametrize("channels", [None, GROUPED], ids=["each", "grouped"])
def test_the_truth_of_many_channels_equals_brute_force(channels, by, removal) -> None:
    rule = drawn(3)
    told = channels or {"audio": ["tone"], "text": ["content"], "eda": ["eda"], "ecg": ["ecg"]}
    for label, row in gold(rule, by, channels=channels, removal=removal).items():
        hand = by_hand(rule, told, label, by, removal)
        assert row.share == pytest.approx(hand["share"], abs=1e-12)
        assert row.evidence == pytest.approx(hand["evidence"], abs=1e-12)
        assert row.frequency == pytest.approx(hand["frequency"], abs=1e-12)


def two_channels(rule: Rule, by: str, scale: str, voice: str, cells: Rule) -> dict:
    """What the table of two channels gives, written out for two."""
    joint = rule.joint
    mass = joint[:, :, None] * rule.given
    with np.errstate(invalid="ignore"):
        tone = (mass.sum(0) / joint.sum(0)[:, None])[None]
        content = (mass.sum(1) / joint.sum(1)[:, None])[:, None]
    seen = [mass.sum((0, 1)), rule.given if voice == "words" else tone, content, rule.given]
    none, audio, text, both = (on_scale(np.broadcast_to(x, mass.shape), scale) for x in seen)
    joined = both - audio - text + none
    values = {"audio": audio - none + joined / 2, "text": text - none + joined / 2}
    best = rule.given >= rule.given.max(-1, keepdims=True) - 1e-9
    belongs = best / best.sum(-1, keepdims=True) if by == "predicted" else cells.given
    counted = cells.joint[:, :, None] * belongs
    frequency = counted.sum((0, 1))

    def mean(table):
        total = np.where(counted > 0, counted * table, 0).sum((0, 1))
        return total / np.where(frequency > 0, frequency, np.nan)

    sizes = {name: mean(np.abs(value)) for name, value in values.items()}
    alone = mean(np.abs(audio - none)) + mean(np.abs(text - none))
    size = mean(np.abs(joined))
    total, parts = sizes["audio"] + sizes["text"], alone + size
    return {
        "audio": sizes["audio"] / np.where(total > 0, total, np.nan),
        "text_evidence": mean(values["text"]),
        "interaction": mean(joined),
        "interaction_share": size / np.where(parts > 0, parts, np.nan),
        "frequency": frequency,
    }


@pytest.mark.parametrize("scale", ["clr", "log-odds", "probability"])
@pytest.mark.parametrize("voice", ["babble", "words"])
@pytest.mark.parametrize("by", ["predicted", "true"])
def test_two_channels_come_out_to_the_last_bit(by, voice, scale) -> None:
    rules = [(made(), None) for made in FAMILIES.values() if made().given.ndim == 3]
    for rule, on in [*rules, (additive(0.4, 2), conflict())]:
        exact = two_channels(rule, by, scale, voice, on or rule)
        for k, row in enumerate(gold(rule, by, scale, on=on, voice=voice).values()):
            for name, values in exact.items():
                if not row.reason:
                    assert getattr(row, name) == values[k], (rule.family, name)


def test_parity_is_all_of_order_three_and_a_third_each() -> None:
    for removal in ("absent", "marginal"):
        for row in gold(parity(), removal=removal).values():
            assert row.share == pytest.approx(dict.fromkeys(("audio", "text", "eda"), 1 / 3))
            assert row.interaction_share == pytest.approx(1)
            pairs = [value for names, value in row.dividends.items() if len(names) == 2]
            assert pairs == pytest.approx([0, 0, 0], abs=1e-12)
            assert row.dividends["audio", "text", "eda"] == pytest.approx(row.interaction)
    alone = posteriors(parity())[[1, 2, 3, 4, 5, 6]]
    assert np.allclose(alone, 0.5)


@pytest.mark.parametrize("removal", ["absent", "marginal"])
def test_the_body_decides_and_the_temperature_does_not(removal) -> None:
    rows = gold(bio(), channels=FIVE, removal=removal)
    assert len(rows) == 7
    for row in rows.values():
        assert row.share["temp"] < 1e-12
        assert row.interaction_share < 1e-9
        assert sum(row.share.values()) == pytest.approx(1)
    most = {label: max(row.share, key=row.share.get) for label, row in rows.items()}
    expected = {
        "surprise": "audio",
        "sad": "text",
        "happy": "text",
        "fear": "eda",
        "disgust": "ecg",
    }
    assert {label: most[label] for label in expected} == expected
    assert rows["angry"].share["text"] > 0.35
    assert rows["angry"].share["eda"] > 0.35
    three = gold(bio(), channels=THREE, removal=removal)
    assert all(
        row.share["bio"] > 0.6 for label, row in three.items() if label in ("fear", "disgust")
    )


@pytest.mark.parametrize("channels", [THREE, FIVE], ids=["three", "five"])
def test_a_late_fusion_of_witnesses_is_the_bayesian_with_the_same_shares(channels) -> None:
    rule = bio()
    tables = posteriors(rule, channels=channels)
    M = len(channels)
    fused = sum(on_scale(tables[1 << m]) for m in range(M)) / M
    assert (fused.argmax(-1) == rule.winners).all()
    for removal in ("absent", "marginal"):
        rows = gold(rule, channels=channels, removal=removal)
        own = {}
        for m, name in enumerate(channels):
            said = on_scale(tables[1 << m]) / M
            nothing = on_scale(tables[0]) / M
            if removal == "marginal":
                nothing = (rule.joint[..., None] * said).sum(tuple(range(5)), keepdims=True)
            own[name] = said - nothing
        for k, (label, row) in enumerate(rows.items()):
            mass = rule.joint * (rule.winners == rule.labels.index(label))
            sizes = {name: (mass * np.abs(phi[..., k])).sum() for name, phi in own.items()}
            total = sum(sizes.values())
            assert row.share == pytest.approx({name: one / total for name, one in sizes.items()})
            assert row.evidence == pytest.approx(
                {name: M * (mass * phi[..., k]).sum() / mass.sum() for name, phi in own.items()}
            )


def test_what_the_body_adds_to_words_and_voice() -> None:
    rule = bio()
    tables = posteriors(rule, channels=THREE)
    right = [float((rule.joint * table.max(-1)).sum()) for table in tables]
    audio, text, both, body, everything = (right[row] for row in (1, 2, 3, 4, 7))
    assert max(audio, text) < both < everything
    assert body < everything
    assert everything - both > 0.15


def test_a_factor_that_nobody_tells_is_averaged_over() -> None:
    rule = drawn(5, signals=1)
    without = {"audio": ["tone"], "text": ["content"]}
    joint = rule.joint[..., None]
    summed = (joint * rule.given).sum(2) / joint.sum(2)
    smaller = replace(rule, given=summed, weights=rule.weights.sum(2), signals={})
    for label, row in gold(rule, channels=without).items():
        assert row.share == pytest.approx(gold(smaller)[label].share)


def test_shuffled_and_unrelated_rules_keep_their_signals() -> None:
    other = bio().shuffled(1)
    assert {name: set(states) for name, states in other.signals.items()} == {
        name: set(states) for name, states in STATES.items()
    }
    assert [row.share for row in gold(other).values()] == [
        pytest.approx(row.share) for row in gold(bio()).values()
    ]
    assert all(row.reason for row in gold(bio().unrelated(), "true").values())
    assert bio().crossed().joint.max() == pytest.approx(1 / bio().weights.size)


def test_truths_that_do_not_exist_are_refused() -> None:
    for wrong, said in (
        ({"channels": {"audio": ["pulse"]}}, "do not fit the rule"),
        ({"channels": {}}, "do not fit the rule"),
        ({"removal": "silence"}, "unknown removal"),
        ({"removal": "marginal", "channels": {"audio": ["tone"]}}, "never occurs"),
        ({"removal": "marginal", "voice": "words"}, "never occurs"),
    ):
        with pytest.raises(InputError, match=said):
            gold(bio(), **wrong)
    with pytest.raises(InputError, match="praise in rising"):
        gold(redundant(), removal="marginal")
    with pytest.raises(InputError, match="different signals"):
        gold(bio(), on=replace(bio(), signals=swapped()))


def swapped() -> dict[str, tuple[str, ...]]:
    return {name: states[::-1] for name, states in STATES.items()}


def test_broken_rules_with_signals_are_refused() -> None:
    for change in (
        {"signals": {"eda": STATES["eda"]}},
        {"signals": {**STATES, "tone": ("a", "b")}},
        {"signals": {**STATES, "eda": ("calm", "calm")}},
        {"weights": bio().weights[..., 0]},
    ):
        with pytest.raises(InputError, match="rule BIO"):
            replace(bio(), **change)
    even = {"praise": {"*": 1}, "blame": {"*": 1}}
    for tones in (
        {"flat": {"joy": 2, "*": 1}, "weary": {"*": 1}},
        {"flat": {"joy": 0, "*": 1}, "weary": {"joy": 2, "*": 1}},
        {"flat": {"joy": 1}, "weary": {"joy": 1}},
    ):
        with pytest.raises(InputError, match="witnesses"):
            witnesses("W", ("joy", "fear"), {"content": even, "tone": tones})
    with pytest.raises(InputError, match="noise"):
        parity(epsilon=0)


# --- signals -----------------------------------------------------------------------------------


def recordings(signal: str, state: str, count: int = 40):
    bodies = [Body.of(f"s{number:03d}") for number in range(8)]
    return [
        record(signal, state, bodies[seed % 8], np.random.default_rng([seed, 1]))
        for seed in range(count)
    ]


def heart(series) -> np.ndarray:
    return features.hrv(features.heart_beats(series.values[0], series.rate)).vector()


def test_the_rhythm_of_the_heart_is_planted_and_nothing_else_in_it() -> None:
    even, uneven = (np.stack([heart(x) for x in recordings("ecg", s)]) for s in STATES["ecg"])
    rmssd, sdnn, mean = (features.FEATURES.index(x) for x in ("rmssd", "sdnn", "mean_rr"))
    for column in (rmssd, sdnn):
        assert even[:, column].max() < 25 < uneven[:, column].min()
    # The same bodies at rest: only the variability differs.
    assert abs(even[:, mean].mean() - uneven[:, mean].mean()) < 15
    assert np.isfinite(even).all()
    assert np.isfinite(uneven).all()


def test_beats_are_found_where_they_were_put() -> None:
    for series, body in zip(recordings("ecg", "even", 8), range(8), strict=True):
        peaks = features.r_peaks(series.values[0], series.rate)
        expected = 20 / Body.of(f"s{body:03d}").interval
        assert abs(len(peaks) - expected) < 0.25 * expected
        heights = series.values[0][peaks]
        assert heights.min() > 0.6 * np.median(heights)


def test_the_bump_and_the_trend_are_planted() -> None:
    calm, bump = (
        np.stack(
            [features.eda_spectrum(x.values[0], x.rate).vector() for x in recordings("eda", s)]
        )
        for s in STATES["eda"]
    )
    assert calm[:, :3].sum(1).max() < 0.1 * bump[:, :3].sum(1).min()
    falling, rising = (
        np.stack(
            [features.temperature(x.values[0], x.rate).vector() for x in recordings("temp", s)]
        )
        for s in STATES["temp"]
    )
    assert falling[:, 2].max() < 0 < rising[:, 2].min()
    assert abs(falling[:, 0].mean() - rising[:, 0].mean()) < 1e-6


@pytest.mark.parametrize(
    ("signal", "state", "seconds"), [("pulse", "even", 20), ("ecg", "calm", 20), ("ecg", "even", 2)]
)
def test_signals_that_no_body_makes_are_refused(signal, state, seconds) -> None:
    with pytest.raises(InputError, match="no body makes"):
        record(signal, state, Body.of("s000"), np.random.default_rng(0), seconds)


# --- corpus ------------------------------------------------------------------------------------


def test_a_sample_has_raw_signals_and_says_what_is_planted() -> None:
    corpus = ToneBench(bio(), 40, speakers=range(2))
    again = ToneBench(bio(), 90, speakers=range(2), cache=True)
    for index in (39, 2, 39):
        sample, other = corpus[index], again[index]
        assert set(sample["biosignals"]) == set(BODY)
        for name, series in sample["biosignals"].items():
            assert sample[f"{name}_state"] in STATES[name]
            assert series.values.shape == (1, round(20 * series.rate))
            assert np.array_equal(series.values, other["biosignals"][name].values)
    assert corpus.column("eda_state") == [corpus.row(index)["eda_state"] for index in range(40)]
    assert "biosignals" not in ToneBench(emotions(), 4)[0]
    with pytest.raises(InputError, match="no column 'biosignals'"):
        corpus.column("biosignals")


def test_large_rules_come_in_balanced_blocks_of_one_speaker_each() -> None:
    rule = bio()
    corpus = ToneBench(rule, 36 * 20, speakers=range(20), soft=True)
    rows = [corpus.row(index) for index in range(len(corpus))]
    assert set(Counter(row["speaker"] for row in rows).values()) == {36}
    for factor, states in rule.factors.items():
        axes = tuple(a for a, name in enumerate(rule.factors) if name != factor)
        expected = rule.joint.sum(axes) * len(rows)
        key = factor if factor in ("content", "tone") else f"{factor}_state"
        counts = Counter(row[key] for row in rows)
        for state, mean in zip(states, expected, strict=True):
            assert abs(counts[state] - mean) < 4 * math.sqrt(mean)
    # Contents come first in the table, so that a block has them almost exactly.
    contents = Counter(row["content"] for row in rows[:36])
    for content, share in zip(rule.contents, rule.joint.sum((1, 2, 3, 4)), strict=True):
        assert abs(contents[content] - 36 * share) <= 1
    assert len({tuple(row["content"] for row in rows[at : at + 36]) for at in (0, 36, 72)}) == 3


def test_the_body_is_not_heard() -> None:
    rule = bio()
    one, two = (ToneBench(each, 6, seed=4) for each in (rule, replace(rule, signals=swapped())))
    for a, b in zip(one, two, strict=True):
        assert a["eda_state"] != b["eda_state"]
        assert a["text"] == b["text"]
        assert torch.equal(a["audio"].waveform, b["audio"].waveform)
        assert not np.array_equal(a["biosignals"]["eda"].values, b["biosignals"]["eda"].values)


def test_no_signal_tells_about_another() -> None:
    corpus = ToneBench(bio(), 60, speakers=[3])
    body, drawn = Body.of("s003"), []
    for index in range(60):
        row = corpus[index]
        eda, temp = (row["biosignals"][name].values[0] for name in ("eda", "temp"))
        drawn.append((math.log(eda[0] / body.conductance), temp.mean() - body.temperature))
    assert abs(np.corrcoef(np.array(drawn).T)[0, 1]) < 0.5


def test_signals_without_a_recording_are_refused() -> None:
    other = {**STATES, "eda": ("calm", "storm")}
    with pytest.raises(InputError, match="no body makes"):
        ToneBench(replace(bio(), signals=other), 4)


def test_values_sum_to_the_score_for_every_channel_set() -> None:
    for channels in (THREE, FIVE, {"everything": [*bio().factors]}):
        values, interaction = shapley(bio(), channels=channels)
        tables = on_scale(posteriors(bio(), channels=channels))
        assert np.allclose(sum(values.values()), tables[-1] - tables[0])
        assert np.abs(interaction).max() < 1e-9
