"""Agreement with people: labels per modality, behavioural weights, rationales."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch

from modalxai.errors import InputError
from modalxai.report import (
    Ratings,
    Report,
    align_with_people,
    behavioural_weights,
    human_weights,
    model_ratings,
    plausibility,
    rank_agreement,
    weight_difference,
)
from modalxai.report.rationales import average_precision, marked, span_f1, strongest
from modalxai.statistics import cluster_interval
from modalxai.types import Spans, labels

PARTS = {"text": "words", "audio": "sound"}


@pytest.fixture
def torn(make):
    """Samples with human labels; the model goes by the named modality, or by neither."""

    def build(words, sound, whole, model, present=None, **options):
        sizes = {"text": (3, 1), "audio": (1, 3), "both": (2, 2), "none": (0, 0)}
        table = np.zeros((4, len(model), 2))
        for row, name in enumerate(model):
            text, audio = sizes[name]
            table[:, row, 1] = [0, text, audio, text + audio]
        explanation = make(table, words=words, sound=sound, whole=whole, present=present)
        return Report(explanation, truth=None, cluster=None, **({"repeats": 50} | options))

    return build


def test_agreement_is_counted_by_hand(torn):
    report = torn(
        words=["joy", "joy", "joy", "joy", "joy", "joy", "joy", None],
        sound=["anger", "anger", "anger", "anger", "anger", "joy", "fear", "joy"],
        whole=["joy", "anger", "anger", "joy", "anger", "joy", "anger", "joy"],
        model=["text", "audio", "text", "both", "audio", "text", "text", "text"],
    )
    found = align_with_people(report, "whole", PARTS)
    assert (found.n, found.conflicting, found.decided, found.unclear) == (7, 6, 5, 1)
    assert found.table == {"text": {"text": 1, "audio": 0}, "audio": {"text": 1, "audio": 2}}
    assert found.agreement == pytest.approx(3 / 4)
    expected = (1 * 2 + 3 * 2) / 16  # rows 1, 3; columns 2, 2
    assert found.kappa == pytest.approx((3 / 4 - expected) / (1 - expected))


def test_kappa_is_nought_for_a_habit_and_one_for_agreement(torn):
    words, sound = ["joy"] * 40, ["anger"] * 40
    whole = (["joy"] * 4 + ["anger"] * 6) * 4
    habit = align_with_people(torn(words, sound, whole, ["audio"] * 40), "whole", PARTS)
    assert habit.agreement == pytest.approx(0.6)
    assert habit.kappa == pytest.approx(0)
    followed = ["text" if label == "joy" else "audio" for label in whole]
    found = align_with_people(torn(words, sound, whole, followed), "whole", PARTS)
    assert found.kappa == pytest.approx(1)
    assert found.agreement_low == pytest.approx(1)
    one_sided = align_with_people(
        torn(words, sound, ["anger"] * 40, ["audio"] * 40), "whole", PARTS
    )
    assert one_sided.agreement == 1
    assert math.isnan(one_sided.kappa)
    assert "one modality is all" in one_sided.reason


def test_the_interval_of_kappa_holds_it(torn):
    generator = np.random.default_rng(0)
    whole = generator.choice(["joy", "anger"], size=80).tolist()
    followed = [
        ("text" if (label == "joy") == (generator.random() < 0.75) else "audio") for label in whole
    ]
    report = torn(["joy"] * 80, ["anger"] * 80, whole, followed, repeats=300)
    found = align_with_people(report, "whole", PARTS)
    assert 0 < found.kappa_low < found.kappa < found.kappa_high < 1
    assert found.agreement_low < found.agreement < found.agreement_high


def test_what_cannot_be_compared_is_left_out(torn):
    report = torn(
        words=["joy"] * 4, sound=["anger"] * 4, whole=["joy"] * 4,
        model=["none", "text", "text", "both"],
        present=[[True, True], [True, True], [False, True], [True, True]],
    )  # fmt: skip
    found = align_with_people(report, "whole", PARTS)
    assert (found.n, found.decided, found.unclear) == (3, 3, 2)
    nothing = align_with_people(
        torn(["joy"], ["joy"], ["joy"], ["text"]), "whole", {"text": "words", "audio": "sound"}
    )
    assert math.isnan(nothing.agreement)
    assert "no sample" in nothing.reason


def test_unknown_parts_are_refused(torn, make):
    report = torn(["joy"], ["joy"], ["joy"], ["text"])
    for parts in ({"text": "words"}, {"text": "words", "video": "sound"}):
        with pytest.raises(InputError, match="modalities"):
            align_with_people(report, "whole", parts)
    with pytest.raises(InputError, match="no column"):
        align_with_people(report, "nobody", PARTS)
    dims = make(np.zeros((4, 2, 1)), names=labels("valence", kind="dimensional"), words=["a", "b"],
                sound=["b", "a"], whole=["a", "b"])  # fmt: skip
    with pytest.raises(InputError, match="no predicted emotion"):
        align_with_people(Report(dims, truth=None, cluster=None), "whole", PARTS)


def test_human_weights_divide_between_those_that_agree_with_the_whole(torn):
    report = torn(
        words=["joy", "joy", "joy", "joy"],
        sound=["joy", "anger", "anger", None],
        whole=["joy", "joy", "fear", "joy"],
        model=["text"] * 4,
    )
    assert human_weights(report, "whole", PARTS, "audio") == {"u0": 0.5, "u1": 0.0}
    assert human_weights(report, "whole", PARTS, "text") == {"u0": 0.5, "u1": 1.0}
    with pytest.raises(InputError, match="did not label"):
        human_weights(report, "whole", PARTS, "video")


def test_rank_agreement_is_spearmans(corpus):
    from scipy.stats import spearmanr

    explanation = corpus(samples=80)
    report = Report(explanation, repeats=200)
    said = explanation.scores[-1].argmax(-1)
    phi = explanation.shapley().totals[range(80), said].abs()
    share = (phi[:, 1] / phi.sum(1)).numpy()
    weights = np.round(share + 0.1 * np.random.default_rng(0).normal(size=80), 1)
    given = dict(zip(explanation.sample_ids, weights.tolist(), strict=True))
    given["u3"] = None
    found = rank_agreement(report, "audio", given)
    keep = [row for row in range(80) if row != 3]
    assert found.rho == pytest.approx(float(spearmanr(share[keep], weights[keep])[0]))
    assert (found.n, found.left_out) == (79, 1)
    assert found.low < found.rho < found.high <= 1
    flat = rank_agreement(report, "audio", dict.fromkeys(given, 1.0))
    assert math.isnan(flat.rho)
    assert "never vary" in flat.reason
    for wrong in ({"u1": "much"}, {"u1": float("inf")}):
        with pytest.raises(InputError, match="weights"):
            rank_agreement(report, "audio", wrong)
    with pytest.raises(InputError, match="modality"):
        rank_agreement(report, "video", given)


def _factorial(generator, prosody, semantics, gain=0.0, noise=0.3, each=10):
    p, s = (np.tile(part, each) for part in ([0, 0, 1, 1], [0, 1, 0, 1]))
    p, s = p.astype(float), s.astype(float)
    values = 2 + prosody * p + semantics * s + gain * (2 * p - 1) * (2 * s - 1)
    return values + noise * generator.normal(size=len(p)), p, s


def test_behavioural_weights_equal_least_squares():
    generator = np.random.default_rng(0)
    values, p, s = _factorial(generator, 2.0, 1.0, 0.5)
    found = behavioural_weights(Ratings(values, p, s))
    a, b = (p - p.mean()) / p.std(), (s - s.mean()) / s.std()
    design = np.stack([np.ones_like(a), a, b, a * b], axis=1)
    _, first, second, product = np.linalg.lstsq(design, values, rcond=None)[0]
    assert found.prosody.value == pytest.approx(first)
    assert found.semantics.value == pytest.approx(second)
    assert found.congruency.value == pytest.approx(product)
    assert found.weight == pytest.approx(first / (first + second))
    assert found.low < found.weight < found.high
    assert found.prosody.low < first < found.prosody.high
    assert found.weight == pytest.approx(2 / 3, abs=0.06)
    assert found.ignored is None


def test_the_planted_weight_is_covered():
    hits, runs = 0, 200
    quick = partial(cluster_interval, repeats=199)
    generator = np.random.default_rng(1)
    for _ in range(runs):
        ratings = Ratings(*_factorial(generator, 3.0, 1.0, noise=1.0, each=8))
        found = behavioural_weights(ratings, interval=quick)
        hits += int(found.low <= 0.75 <= found.high)
    assert hits / runs > 0.9


def test_failing_to_ignore_the_words_is_their_coefficient():
    found = behavioural_weights(
        Ratings(*_factorial(np.random.default_rng(0), 2.0, 1.0)), attended="prosody"
    )
    assert found.ignored == found.semantics
    assert found.ignored.low > 0
    clean = behavioural_weights(
        Ratings(*_factorial(np.random.default_rng(0), 2.0, 0.0)), attended="prosody"
    )
    assert clean.ignored.low < 0 < clean.ignored.high
    with pytest.raises(InputError, match="channel"):
        behavioural_weights(Ratings(*_factorial(np.random.default_rng(0), 2, 1)), attended="both")


@pytest.mark.parametrize(
    ("prosody", "semantics", "reason"),
    [(3, -2, "opposite directions"), (-2, -1, "do not grow")],
)
def test_weights_without_a_meaning_are_no_numbers(prosody, semantics, reason):
    found = behavioural_weights(Ratings(*_factorial(np.random.default_rng(0), prosody, semantics)))
    assert math.isnan(found.weight)
    assert math.isnan(found.low)
    assert reason in found.reason


def test_a_design_that_confounds_both_has_no_weight():
    p = np.tile([0.0, 1.0], 10)
    found = behavioural_weights(Ratings(np.random.default_rng(0).normal(size=20), p, p))
    assert math.isnan(found.weight)
    assert "does not tell" in found.reason


def test_model_and_people_are_compared_on_the_same_stimuli():
    generator = np.random.default_rng(3)
    human, p, s = _factorial(generator, 3.0, 1.0, noise=0.2)
    model = _factorial(generator, 1.0, 1.0, noise=0.2)[0] * 5
    stimuli = [f"item{row:02d}" for row in range(len(p))]
    sides = Ratings(model, p, s, stimuli), Ratings(human, p, s, stimuli)
    found = weight_difference(*sides)
    each = [behavioural_weights(side).weight for side in sides]
    assert found.value == pytest.approx(each[0] - each[1])
    assert found.low < found.value < found.high < 0
    same = weight_difference(sides[0], sides[0])
    assert same.value == same.low == same.high == 0
    apart = weight_difference(Ratings(model, p, s), Ratings(model, p, s))
    assert apart.low < 0 < apart.high


def test_model_ratings_are_scores_of_a_coalition(corpus):
    explanation = corpus(samples=20)
    whole = model_ratings(explanation, "label1")
    clr = explanation.scores - explanation.scores.mean(-1, keepdim=True)
    np.testing.assert_allclose(whole, clr[3, :, 1])
    np.testing.assert_allclose(model_ratings(explanation, "label1", heard=["audio"]), clr[2, :, 1])
    np.testing.assert_allclose(model_ratings(explanation, "label1", heard=[]), clr[0, :, 1])
    with pytest.raises(InputError, match="modality"):
        model_ratings(explanation, "label1", heard=["video"])


@pytest.mark.parametrize(
    ("values", "prosody", "message"),
    [
        (np.ones(4), np.arange(4), "fit"),
        (np.ones(6), np.ones(6), "follows"),
        (np.full(6, np.nan), np.arange(6), "follows"),
        (np.ones(6), np.arange(5), "fit"),
    ],
)
def test_ratings_that_say_nothing_are_refused(values, prosody, message):
    with pytest.raises(InputError, match=message):
        Ratings(values, prosody, np.arange(len(values)) % 2)


def test_average_precision_equals_a_slow_oracle_with_ties():
    generator = np.random.default_rng(0)
    for _ in range(30):
        scores = generator.integers(4, size=9).astype(float)
        marks = generator.random(9) < 0.4
        if not marks.any():
            continue
        total, seen = 0.0, 0
        for level in sorted(set(scores), reverse=True):
            chosen = scores >= level
            hits = int((chosen & marks).sum())
            total += (hits - seen) / marks.sum() * hits / chosen.sum()
            seen = hits
        assert average_precision(scores, marks) == pytest.approx(total)


@pytest.mark.parametrize(
    ("said", "right", "expected"),
    [
        ("0110", "0110", 1.0),
        ("0100", "0110", 1.0),  # half of the union is enough
        ("1000", "0110", 0.0),
        ("1011", "0011", 2 / 3),  # one of two spans is right, all that are right are found
        ("0000", "0110", 0.0),
        ("1111", "1000", 0.0),
    ],
)
def test_span_f1_of_worked_examples(said, right, expected):
    masks = ([letter == "1" for letter in text] for text in (said, right))
    assert span_f1(*masks) == pytest.approx(expected)


def test_contributions_that_follow_the_rationale_are_plausible_and_noise_is_not():
    generator = np.random.default_rng(1)
    rationales, good, noise = [], [], []
    for _ in range(60):
        start = generator.integers(8)
        marks = [start <= place < start + 3 for place in range(12)]
        rationales.append(marks)
        good.append(np.array(marks) + 0.1 * generator.normal(size=12))
        noise.append(generator.normal(size=12))
    right = plausibility(good, rationales)
    assert right.auprc == pytest.approx(1)
    assert right.iou_f1 == pytest.approx(1)
    assert right.chance == pytest.approx(0.25)
    wrong = plausibility(noise, rationales)
    assert wrong.auprc_low < wrong.auprc < wrong.auprc_high < 0.6
    assert wrong.iou_f1 < 0.4


def test_texts_without_a_choice_are_left_out():
    found = plausibility(
        [[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]], [[True, True], [False, False], [True, False]]
    )
    assert (found.n, found.left_out, found.auprc) == (1, 2, 1.0)
    assert math.isnan(found.auprc_low)
    nothing = plausibility([[1.0]], [[True]])
    assert nothing.n == 0
    assert math.isnan(nothing.auprc)


def test_marks_follow_the_characters_of_the_words():
    spans = Spans(torch.tensor([[0.0, 4, 9, 0]]), torch.tensor([[3.0, 8, 12, 0]]), "characters")
    assert marked(spans, 0, [(4, 8)], 3).tolist() == [False, True, False]
    assert marked(spans, 0, [(0, 1), (6, 12)], 3).tolist() == [False, True, True]
    assert marked(spans, 0, [], 3).tolist() == [False] * 3
    assert strongest(np.array([1.0, 3.0, 2.0]), 0.34).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("contributions", "rationales", "message"),
    [
        ([], [], "fit"),
        ([[1.0]], [[True], [False]], "fit"),
        ([[1.0, 2.0]], [[True]], "text 0"),
        ([[1.0, 2.0]], [[1, 0]], "text 0"),
        ([[np.nan, 2.0]], [[True, False]], "finite"),
    ],
)
def test_rationales_that_do_not_fit_are_refused(contributions, rationales, message):
    with pytest.raises(InputError, match=message):
        plausibility(contributions, rationales)
