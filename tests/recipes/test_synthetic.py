"""Added annotations follow their tables, and their golds follow from nothing but enumeration."""

from __future__ import annotations

import math
import pickle
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modalxai as mx
from modalxai.biosignals import Beats, Series
from modalxai.datasets import tonebench
from modalxai.errors import InputError
from modalxai.recipes.synthetic import (
    Annotated,
    Dimension,
    LabelSet,
    arousal,
    reweighted,
    valence,
)
from modalxai.recipes.synthetic_gold import gold_dimension, gold_sets

RULE = tonebench.emotions()
CELLS = (len(RULE.contents), len(RULE.tones))
PARTS = tonebench.redundant()  # many of its cells never occur


def corpus(n=80, rule=RULE, **options):
    return tonebench.ToneBench(rule, n, speakers=range(3), **options)


def random_rule(seed, contents=2, tones=3, labels=3):
    draw = np.random.default_rng(seed)
    given = draw.uniform(0.05, 1, (contents, tones, labels))
    return tonebench.Rule(
        "R", RULE.contents[:contents], RULE.tones[:tones], RULE.labels[:labels],
        given / given.sum(-1, keepdims=True), draw.integers(1, 6, (contents, tones)),
    )  # fmt: skip


def enumerated(rule, table, link, counts):
    """Shares, signed evidence and interaction of one column, by loops over cells."""
    cells = list(product(range(len(rule.contents)), range(len(rule.tones))))
    weight = {cell: int(rule.weights[cell]) for cell in cells}

    def told(known):
        rows = [one for one in cells if known(one)]
        return sum(weight[r] * table[r] for r in rows) / sum(weight[r] for r in rows)

    none, signed, sizes, joined, mass = told(lambda _: True), [0.0, 0.0], [0.0, 0.0], 0.0, 0.0
    for c, a in cells:
        v = [link(none), link(told(lambda x, a=a: x[1] == a)),
             link(told(lambda x, c=c: x[0] == c)), link(table[c, a])]  # fmt: skip
        phi = [
            0.5 * (v[1] - v[0]) + 0.5 * (v[3] - v[2]),
            0.5 * (v[2] - v[0]) + 0.5 * (v[3] - v[1]),
        ]
        here = counts(c, a) * weight[c, a]
        mass += here
        joined += here * (v[3] - v[2] - v[1] + v[0])
        for m in (0, 1):
            signed[m] += here * phi[m]
            sizes[m] += here * abs(phi[m])
    share = sizes[0] / sum(sizes)
    return share, [one / mass for one in signed], joined / mass, mass


# --- dimensions -------------------------------------------------------------------------------


def test_the_mean_of_a_dimension_is_that_of_rounded_and_cut_opinions():
    one = Dimension("d", np.array([[0.2, 3.0, 4.9]]), spread=1.1, raters=4)
    for place, centre in enumerate((0.2, 3.0, 4.9)):
        grid = np.linspace(-9, 15, 480_001)
        density = np.exp(-0.5 * ((grid - centre) / 1.1) ** 2)
        slow = (np.clip(np.rint(grid), 1, 5) * density).sum() / density.sum()
        assert one.expected[0, place] == pytest.approx(slow, abs=1e-4)
        draw = np.random.default_rng(place)
        values = [one.draw(0, place, draw) for _ in range(4000)]
        assert np.mean(values) == pytest.approx(slow, abs=0.04)
        assert set(np.round(np.array(values) * 4, 6) % 1) == {0.0}
        assert 1 <= min(values) <= max(values) <= 5


@pytest.mark.parametrize("seed", range(4))
def test_the_gold_of_a_dimension_is_what_loops_over_cells_find(seed):
    rule = random_rule(seed, 3, 4)
    made = Dimension("d", np.random.default_rng(seed + 9).uniform(1, 5, (3, 4)))
    truth = gold_dimension(rule, made)
    share, signed, joined, _ = enumerated(rule, made.expected, float, lambda c, a: 1)
    assert truth.audio == pytest.approx(share)
    assert truth.text == pytest.approx(1 - share)
    assert [truth.audio_evidence, truth.text_evidence] == pytest.approx(signed)
    assert truth.interaction == pytest.approx(joined)
    assert truth.frequency == pytest.approx(1)


def test_a_dimension_of_one_channel_is_that_channels_and_a_flat_one_is_nobodys():
    tones = np.broadcast_to(np.arange(1.0, 1 + CELLS[1]), CELLS)
    contents = np.broadcast_to(np.arange(1.0, 1 + CELLS[0])[:, None], CELLS)
    assert gold_dimension(RULE, Dimension("d", tones)).audio == pytest.approx(1)
    assert gold_dimension(RULE, Dimension("d", contents)).text == pytest.approx(1)
    heard = gold_dimension(RULE, Dimension("d", contents), voice="words")
    assert heard.audio == pytest.approx(0.5)  # both channels say it: half each
    flat = gold_dimension(RULE, Dimension("d", np.full(CELLS, 3.0)))
    assert math.isnan(flat.audio)
    assert "no modality evidence" in flat.reason


def test_valence_lies_in_the_words_and_arousal_in_the_voice():
    assert gold_dimension(RULE, valence(RULE)).text > 0.75
    assert gold_dimension(RULE, arousal(RULE)).audio > 0.75
    # Every tone differs in arousal and every content in valence, so that both can be learnt.
    assert len(set(arousal(RULE).expected[0].round(2))) == CELLS[1]
    assert len(set(valence(RULE).expected[:, 0].round(2))) == CELLS[0]


# --- sets -------------------------------------------------------------------------------------


def sigmoid_odds(p):
    return math.log(p / (1 - p))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by", ["predicted", "true"])
def test_the_gold_of_sets_is_what_loops_over_cells_find(seed, by):
    rule = random_rule(seed, 3, 4)
    chance = np.random.default_rng(seed + 70).uniform(0.05, 0.95, (3, 4, 2))
    found = gold_sets(rule, LabelSet(("a", "b"), chance), by)
    for k, name in enumerate(("a", "b")):
        table = chance[..., k]

        def counts(c, a, table=table):
            return float(table[c, a] > 0.5) if by == "predicted" else table[c, a]

        share, signed, joined, mass = enumerated(rule, table, sigmoid_odds, counts)
        assert found[name].audio == pytest.approx(share)
        assert found[name].audio_evidence == pytest.approx(signed[0])
        assert found[name].interaction == pytest.approx(joined)
        assert found[name].frequency == pytest.approx(mass / rule.weights.sum())


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_one_of_two_labels_has_the_truth_of_a_set_with_that_label(seed):
    """Two classes are one binary label: the library's own gold, on log-odds, is the oracle."""
    rule = random_rule(seed, 2, 3, 2)
    own = tonebench.gold(rule, "true", "log-odds")[rule.labels[0]]
    found = gold_sets(rule, LabelSet(rule.labels[:1], rule.given[..., :1]), "true")
    (truth,) = found.values()
    assert truth.audio == pytest.approx(own.audio, nan_ok=True)
    assert truth.interaction_share == pytest.approx(own.interaction_share, nan_ok=True)
    assert truth.audio_evidence == pytest.approx(own.audio_evidence)
    assert truth.frequency == pytest.approx(own.frequency)


def lent(rule, table, link, counts):
    """The audio's share under marginal removal, by loops over utterances and donors."""
    cells = list(product(range(len(rule.contents)), range(len(rule.tones))))
    weight = {cell: int(rule.weights[cell]) / int(rule.weights.sum()) for cell in cells}
    sizes = [0.0, 0.0]
    for c, a in cells:
        v = [
            sum(weight[x, y] * link(table[where(x, y)]) for x, y in cells)
            for where in (
                lambda x, y: (x, y),
                lambda x, y, a=a: (x, a),
                lambda x, y, c=c: (c, y),
                lambda x, y, c=c, a=a: (c, a),
            )
        ]
        here = counts(c, a) * weight[c, a]
        sizes[0] += here * abs(0.5 * (v[1] - v[0]) + 0.5 * (v[3] - v[2]))
        sizes[1] += here * abs(0.5 * (v[2] - v[0]) + 0.5 * (v[3] - v[1]))
    return sizes[0] / sum(sizes)


@pytest.mark.parametrize("seed", range(3))
def test_the_marginal_gold_is_what_loops_over_donors_find(seed):
    rule = random_rule(seed, 3, 4)
    chance = np.random.default_rng(seed + 70).uniform(0.05, 0.95, (3, 4, 1))
    found = gold_sets(rule, LabelSet(("a",), chance), removal="marginal")["a"]
    table = chance[..., 0]
    likely = lent(rule, table, sigmoid_odds, lambda c, a: float(table[c, a] > 0.5))
    assert found.audio == pytest.approx(likely)
    made = Dimension("d", np.random.default_rng(seed + 9).uniform(1, 5, (3, 4)))
    truth = gold_dimension(rule, made, removal="marginal")
    assert truth.audio == pytest.approx(lent(rule, made.expected, float, lambda c, a: 1))


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_the_marginal_gold_of_two_classes_is_the_librarys_own(seed):
    rule = random_rule(seed, 2, 3, 2)
    own = tonebench.gold(rule, "true", "log-odds", removal="marginal")[rule.labels[0]]
    sets = LabelSet(rule.labels[:1], rule.given[..., :1])
    (truth,) = gold_sets(rule, sets, "true", removal="marginal").values()
    assert truth.audio == pytest.approx(own.audio, nan_ok=True)
    assert truth.interaction == pytest.approx(own.interaction)


def test_a_label_that_is_never_likely_has_no_predicted_share():
    found = gold_sets(RULE, LabelSet(("a",), np.full((*CELLS, 1), 0.1)))["a"]
    assert math.isnan(found.audio)
    assert "no sample" in found.reason


# --- frequencies ------------------------------------------------------------------------------


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_frequencies_of_labels_change_no_share_on_clr(seed):
    rule = random_rule(seed)
    factors = np.random.default_rng(seed).uniform(0.3, 3, 3)
    often = reweighted(rule, dict(zip(rule.labels, factors.tolist(), strict=True)))
    want = tonebench.gold(rule, "true", on=rule)
    got = tonebench.gold(often, "true", on=rule)
    for name in rule.labels:
        assert got[name].audio == pytest.approx(want[name].audio, abs=1e-4)


def test_a_dropped_label_leaves_what_is_left_of_each_cell():
    rule = random_rule(3, 2, 2)
    first, *others = rule.labels
    left = reweighted(rule, {first: 0.0})
    assert left.labels == tuple(others)
    for c, a in product(range(2), range(2)):
        rest = rule.given[c, a, 1:]
        assert left.given[c, a].tolist() == pytest.approx((rest / rest.sum()).tolist())
        assert left.weights[c, a] / left.weights[0, 0] == pytest.approx(
            rule.weights[c, a] * rest.sum() / rule.weights[0, 0] / rule.given[0, 0, 1:].sum(),
            rel=1e-5,
        )


# --- the corpus -------------------------------------------------------------------------------


def test_columns_are_those_of_the_samples_and_belong_to_ids():
    data = Annotated(corpus(), (valence(RULE), arousal(RULE)), bodies=True)
    longer = Annotated(corpus(160), (valence(RULE), arousal(RULE)), bodies=True)
    sample = data[7]
    assert {"valence", "arousal", "biosignals", "audio", "speaker", "text"} <= set(sample)
    assert "label" not in sample
    for name in ("id", "valence", "arousal", "labels", "text"):
        assert data.column(name)[7] == sample[name] == longer[7][name]
    assert data.column("label")[7] in sample["labels"]
    assert longer.column("valence")[:80] == data.column("valence")
    again = pickle.loads(pickle.dumps(data))
    assert again.column("arousal") == data.column("arousal")


def test_what_is_kept_is_what_would_be_made_anew():
    kept, fresh = (Annotated(corpus(), bodies=True, cache=cache) for cache in (True, False))
    for _ in range(2):
        assert kept[3]["audio"].waveform.equal(fresh[3]["audio"].waveform)
        assert kept[3]["words"] == fresh[3]["words"]
        assert set(kept[3]["biosignals"]) == set(fresh[3]["biosignals"])
    assert kept[3]["audio"] is kept[3]["audio"]
    assert fresh[3]["audio"] is not fresh[3]["audio"]


def test_what_is_handed_out_can_be_changed_without_harm():
    data = Annotated(corpus(), (valence(RULE),))
    row = data.row(0)
    row["labels"]["x"] = 1
    row["valence"] = 9
    assert "x" not in data.row(0)["labels"]
    assert data.row(0)["valence"] != 9


def test_values_follow_their_cells():
    data = Annotated(corpus(4000), (valence(RULE), arousal(RULE)))
    rows = [data.row(index) for index in range(4000)]
    for made in data.dimensions:
        for c, a in product(range(CELLS[0]), range(CELLS[1])):
            here = [
                row[made.name]
                for row in rows
                if (row["content"], row["tone"]) == (RULE.contents[c], RULE.tones[a])
            ]
            assert np.mean(here) == pytest.approx(made.expected[c, a], abs=0.1)
    # Two dimensions of a sample are drawn apart: what is left beside the cell is unrelated.
    cells = [(RULE.contents.index(row["content"]), RULE.tones.index(row["tone"])) for row in rows]
    left = [
        [row[made.name] - made.expected[cell] for row, cell in zip(rows, cells, strict=True)]
        for made in data.dimensions
    ]
    assert abs(np.corrcoef(left)[0, 1]) < 0.06


def test_sets_follow_their_chances_and_a_model_can_learn_them():
    chance = np.full((*CELLS, 2), 0.2)
    chance[0, :, 0], chance[:, 1, 1] = 0.9, 0.8
    data = Annotated(
        corpus(2000),
        (valence(RULE),),
        LabelSet(("angry", "happy"), chance),
        dimensions_in_labels=True,
    )
    rows = [data.row(index) for index in range(2000)]
    here = [row["labels"]["angry"] for row in rows if row["content"] == RULE.contents[0]]
    assert np.mean(here) == pytest.approx(0.9, abs=0.05)
    assert {row["label"] for row in rows} == {"", "angry", "happy", "angry;happy"}
    assert rows[0]["labels"]["valence"] == rows[0]["valence"]
    labels = mx.labels("angry", "happy", kind="binary") + mx.labels("valence", kind="dimensional")
    audio = mx.plugins.create("encoders", "mel-cnn", dim=8, mels=16, channels=8)
    fusion = mx.plugins.create("fusion", "late", dims={"audio": 8}, labels=labels)
    values, mask = mx.EmotionModel({"audio": audio}, fusion).collate([data[0], data[1]])["targets"]
    assert mask.all()
    assert values[0].tolist() == pytest.approx([*rows[0]["labels"].values()])


def test_bodies_have_gaps_and_know_nothing_of_the_emotion():
    data = Annotated(corpus(300), bodies=True)
    bodies = [data.body(index) for index in range(300)]
    worn = np.mean(["temp" in one for one in bodies])
    assert 0.88 < worn < 1
    assert 0.6 < np.mean(["ibi" in one for one in bodies]) < 0.9
    whole = [one for one in bodies if len(one) == 3]
    assert all(isinstance(one["eda"], Series) and isinstance(one["ibi"], Beats) for one in whole)
    assert any(np.isnan(one["eda"].values).any() for one in whole)
    assert any(one["ibi"].gaps() for one in whole)
    temperature = [one["temp"].values.mean() for one in whole]
    assert 30 < min(temperature) < max(temperature) < 36


def test_the_global_generators_are_left_alone():
    before = np.random.get_state()[1].copy()
    data = Annotated(corpus(), (valence(RULE),), bodies=True)
    data.column("valence")
    data.body(0)
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Dimension("d", np.full(CELLS, np.nan)),
        lambda: Dimension("d", np.zeros(3)),
        lambda: Dimension("d", np.zeros(CELLS), spread=0),
        lambda: Dimension("d", np.zeros(CELLS), raters=0),
        lambda: LabelSet(("a", "a"), np.full((*CELLS, 2), 0.5)),
        lambda: LabelSet(("a",), np.full((*CELLS, 1), 1.0)),
        lambda: LabelSet(("a",), np.full(CELLS, 0.5)),
        lambda: Annotated(corpus(), (Dimension("d", np.zeros((2, 2))),)),
        lambda: Annotated(corpus(), (), LabelSet(("a",), np.full((2, 2, 1), 0.5))),
        lambda: Annotated(corpus()).column("valence"),
        lambda: reweighted(RULE, {"boredom": 2}),
        lambda: reweighted(RULE, {"anger": -1}),
        lambda: reweighted(RULE, dict.fromkeys(RULE.labels[1:], 0)),
        lambda: gold_sets(RULE, LabelSet(("a",), np.full((*CELLS, 1), 0.5)), "said"),
        lambda: gold_sets(RULE, LabelSet(("a",), np.full((*CELLS, 1), 0.5)), scale="clr"),
        lambda: gold_dimension(RULE, valence(RULE), voice="whisper"),
        lambda: gold_dimension(RULE, valence(RULE), removal="mean"),
        lambda: gold_dimension(RULE, valence(RULE), voice="words", removal="marginal"),
        lambda: gold_dimension(PARTS, valence(PARTS), removal="marginal"),
        lambda: gold_dimension(random_rule(0), valence(RULE)),
    ],
)
def test_bad_tables_are_plain_errors(make):
    with pytest.raises(InputError, match="mend:"):
        make()


def test_no_sample_beyond_the_end():
    with pytest.raises(IndexError):
        Annotated(corpus(4)).row(4)
