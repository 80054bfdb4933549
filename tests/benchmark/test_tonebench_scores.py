"""Every score of the contest against numbers made by hand."""

import math

import numpy as np
import pytest

from modalxai.attribution.interaction_types import KINDS
from modalxai.benchmark.tonebench import scores, tables
from modalxai.benchmark.tonebench.claims import shown
from modalxai.benchmark.tonebench.pictures import beside_points, front
from modalxai.benchmark.tonebench.scores import Estimate
from modalxai.datasets.tonebench.factorial import KINDS as GOLD_KINDS


def error_of(found, gold, predicted, labels):
    terms = scores.share_terms(np.array(found), np.array(gold), np.array(predicted), labels)
    return float(scores.share_error(labels, len(gold[0]))(terms.sum(0))[0])


def test_a_share_is_the_ratio_of_means_and_its_error_is_in_points():
    # Label 0: magnitudes 3 + 1 against 1 + 3, a share of 1/2; the gold has 6 against 2, 3/4.
    found = [[3.0, -1.0], [1.0, 3.0], [-2.0, 2.0]]
    gold = [[4.0, 1.0], [-2.0, 1.0], [1.0, 1.0]]
    # Label 1: 1/2 and 1/2. Mean of 25 and 0 points.
    assert error_of(found, gold, [0, 0, 1], 2) == pytest.approx(12.5)


def test_the_true_answer_has_no_error_and_the_swapped_one_all_of_it():
    gold = [[2.0, 0.5], [-1.0, 0.5]]
    assert error_of(gold, gold, [0, 1], 2) == 0
    assert error_of([[5.0, 0.0]], [[0.0, 5.0]], [0], 1) == pytest.approx(100)


def test_labels_without_evidence_or_samples_do_not_count():
    # Label 1 has 0.04 nats of evidence, label 2 no sample: only label 0 counts.
    gold = [[3.0, 1.0], [0.02, 0.02]]
    assert error_of([[1.0, 1.0], [9.0, 0.0]], gold, [0, 1], 3) == pytest.approx(25)
    assert math.isnan(error_of([[1.0, 1.0]], [[0.02, 0.02]], [0], 1))


def test_an_answer_of_zeros_is_the_answer_of_one_who_knows_nothing():
    assert error_of([[0.0, 0.0]], [[3.0, 1.0]], [0], 1) == pytest.approx(25)


def test_three_modalities_count_the_points_that_lie_elsewhere():
    # Shares .5 .3 .2 against .2 .3 .5: thirty points have to move.
    assert error_of([[5.0, 3.0, 2.0]], [[2.0, 3.0, 5.0]], [0], 1) == pytest.approx(30)


def test_the_paired_difference_is_second_less_first():
    gold = np.array([[3.0, 1.0]])
    sides = [
        scores.share_terms(np.array([one]), gold, np.array([0]), 1)
        for one in ([3.0, 1.0], [1.0, 1.0])
    ]
    gap = scores.share_gap(sides[0].shape[1], 1, 2)
    assert gap(np.concatenate(sides, axis=1).sum(0))[0] == pytest.approx(25)
    assert gap(np.concatenate(sides[::-1], axis=1).sum(0))[0] == pytest.approx(-25)


def test_signs_are_asked_where_the_gold_has_one():
    gold = np.array([[1.0, -1.0], [0.04, -2.0]])
    found = np.array([[2.0, 1.0], [9.0, -0.1]])
    terms = scores.sign_terms(found, gold)
    assert terms.tolist() == [[1, 2], [1, 1]]
    assert scores.ratio(terms.sum(0))[0] == pytest.approx(2 / 3)
    # Nothing is no sign.
    assert scores.sign_terms(np.zeros((1, 2)), np.ones((1, 2))).tolist() == [[0, 2]]


def test_nats_and_leaks():
    terms = scores.nats_terms(np.array([[1.0, 2.0]]), np.array([[0.0, -1.0]]))
    assert terms.tolist() == [[2.0, 1.0]]
    assert scores.leak_terms(np.array([[1.0, -3.0]]), [1]).tolist() == [[3.0, 4.0]]
    assert np.isnan(scores.ratio(np.zeros(2))).all()


@pytest.mark.parametrize(
    ("a", "b", "j", "kind"),
    [
        (1.0, 1.0, 2.03, "additive"),
        (1.0, -2.0, -1.0, "additive"),
        (1.0, -2.0, 3.0, "conflict"),
        (0.0, 0.0, 1.0, "synergy"),
        (1.0, 1.0, 1.0, "redundancy"),
        (1.0, 2.0, 1.5, "suppression"),
        (1.0, 1.0, -3.0, "suppression"),
    ],
)
def test_types_of_interaction(a, b, j, kind):
    assert KINDS == GOLD_KINDS
    assert KINDS[int(scores.classify(a, b, j))] == kind


def test_the_second_writing_of_the_types_agrees_with_the_explanation():
    import torch

    from modalxai.attribution.interaction_types import find_types
    from modalxai.types import labels

    values = torch.randn(4, 500, 1, generator=torch.Generator().manual_seed(0))
    values[0] = 0  # [coalitions, N, L]
    found = find_types(
        values[None].double(),
        torch.full((500, 1), 0.05),
        None,
        tuple(map(str, range(500))),
        labels("joy", kind="binary"),
        ("audio", "text"),
        torch.ones(500, 2, dtype=torch.bool),
    )
    own = scores.classify(*(values[row, :, 0].double() for row in (1, 2, 3)))
    assert (torch.from_numpy(own) == found.kinds[:, 0, 0, 1]).all()


def test_the_confusion_matrix_counts_only_what_both_name():
    table = scores.confusion(np.array([0, 2, -1, 2]), np.array([0, 1, 1, -1]))
    assert table[0, 0] == 1
    assert table[1, 2] == 1
    assert table.sum() == 2


def record(seed, answers, gold, speakers=("a", "b"), predicted=None, family="SUM"):
    """What `compete` writes, of two labels and two modalities."""
    count = len(gold)
    made = {
        name: {
            "status": "answered",
            "why": "",
            "contributions": own,
            "signed": True,
            "nats": True,
            "residual": [0.5] * count,
            "kinds": [0] * count,
            "silent": [],
            "rows": 4 * count,
            "found": {},
        }
        for name, own in answers.items()
    }
    return {
        "family": family,
        "seed": seed,
        "labels": ["anger", "joy"],
        "modalities": ["audio", "text"],
        "dummies": ["text"],
        "speakers": [f"{seed}-{speakers[row % len(speakers)]}" for row in range(count)],
        "predicted": [row % 2 for row in range(count)] if predicted is None else predicted,
        "gold": gold,
        "kinds": [0] * count,
        "tracks": {"as in the gold": "same"},
        "answers": {"as in the gold": made},
        "reparametrisation": {},
    }


def contest(seeds=3, noise=0.0):
    """A perfect one, a bad one, and one as good as the perfect one up to rounding."""
    records = []
    for seed in range(seeds):
        draw = np.random.default_rng(seed)
        gold = draw.uniform(1, 2, (8, 2)) * [2.0, 1.0]
        answers = {
            "default": gold.tolist(),
            "swapped": gold[:, ::-1].tolist(),
            "alike": (gold * (1 + 1e-7)).tolist(),
            "noisy": (gold + noise * draw.standard_normal(gold.shape)).tolist(),
        }
        records.append(record(seed, answers, gold.tolist()))
    return records


def test_a_perfect_contestant_scores_nothing_and_a_planted_bad_one_scores_bad():
    found = {one.contestant: one for one in tables.lines(contest(), "default", lambda name: True)}
    assert found["default"].share_error.value == 0
    assert found["default"].nats_error.value == 0
    assert found["default"].signs.value == 1
    assert found["default"].kinds.value == 1
    assert found["default"].completeness.value == 0.5
    assert found["default"].rows == 4
    assert found["default"].printed == 2
    assert found["default"].against_default is None
    assert found["swapped"].share_error.value > 20
    assert found["swapped"].against_default.low > 0
    assert (found["default"].rank, found["alike"].rank) == (1, 1)
    assert found["swapped"].rank == 4
    assert 0.2 < found["default"].leak.value < 0.5


def test_ranks_tie_where_the_paired_interval_holds_nothing():
    found = {
        one.contestant: one for one in tables.lines(contest(noise=1e-5), "default", lambda n: True)
    }
    assert found["noisy"].rank == 1


def test_an_interval_over_seeds_holds_the_mean_of_the_seeds():
    records = contest(4)
    line = next(
        one
        for one in tables.lines(records, "default", lambda n: True)
        if one.contestant == "swapped"
    )
    each = [tables.lines([one], "default", lambda n: True)[1].share_error.value for one in records]
    assert line.share_error.value == pytest.approx(np.mean(each))
    assert line.share_error.low < np.mean(each) < line.share_error.high
    assert line.seeds == 4


def test_of_nothing_there_is_no_share_error_but_what_is_printed_is_counted():
    records = [one | {"family": "NULL"} for one in contest(2)]
    for one in records:
        one["answers"]["as in the gold"]["default"]["silent"] = ["anger", "joy"]
    found = {one.contestant: one for one in tables.lines(records, "default", lambda name: False)}
    assert found["default"].share_error is None
    assert (found["default"].printed, found["swapped"].printed) == (0, 2)


def test_who_cannot_answer_is_listed_and_not_scored():
    records = contest(2)
    for one in records:
        one["answers"]["as in the gold"]["alike"] = {"status": "not installed", "why": "pip"}
    found = {one.contestant: one for one in tables.lines(records, "default", lambda name: True)}
    assert found["alike"].status == "not installed"
    assert found["alike"].share_error is None
    assert found["alike"].rank is None


def test_the_spread_is_the_distance_between_removals():
    one = contest(1)[0]
    one["answers"]["absent"] = {"default": one["answers"]["as in the gold"]["swapped"]}
    own = one["answers"]["as in the gold"]["default"]["contributions"]
    shares = [
        np.abs(np.array(own)[rows]).sum(0) / np.abs(np.array(own)[rows]).sum()
        for rows in (slice(0, None, 2), slice(1, None, 2))
    ]
    expected = np.mean([100 * abs(share[0] - share[1]) for share in shares])
    assert tables.spreads([one], "default")["SUM"] == pytest.approx(expected)
    assert tables.spreads([one], "swapped") == {}


def test_the_front_holds_whom_nobody_beats_in_both():
    points = {"a": (1.0, 10.0), "b": (2.0, 5.0), "c": (2.0, 10.0), "d": (1.0, 10.0)}
    assert front(points) == ["a", "b", "d"]


def test_numbers_are_shown_with_their_intervals():
    assert shown(Estimate(1.234, 1.0, 1.5)) == "1.23 [1.00, 1.50]"
    assert shown(Estimate(0.5, math.nan, math.nan), 100) == "50.0"
    assert shown(Estimate.nothing()) == shown(None) == "–"


def test_a_claim_about_families_that_were_not_asked_stays_open():
    from types import SimpleNamespace

    from modalxai.benchmark.tonebench import claims
    from modalxai.benchmark.tonebench.tables import Line

    def line(family, error):
        exact = Estimate(error, error, error)
        return Line(claims.DEFAULT, family, "as in the gold", "same", "answered", share_error=exact)

    def small(*lines):
        return claims._small(SimpleNamespace(lines=lines))

    every = [line(name, 1.0) for name in claims.ADDING]
    assert small(*every).holds is True
    assert small(*every[:2]).holds is None
    assert small(line("SUM", 3.5)).holds is False
    assert "SUM not asked" in small().found


def test_names_in_a_picture_stand_beside_their_points_and_not_on_each_other():
    places = {"a": (1.0, 10.0), "b": (1.1, 10.0), "c": (1.2, 10.1), "far": (900.0, 10.0)}
    found = beside_points(places, line=0.1)
    assert found["far"][1] == pytest.approx(10.0)
    assert found["far"][0] > 900
    heights = np.log10([found[name][1] for name in "abc"])
    assert (np.diff(heights) >= 0.1 - 1e-9).all()
    assert heights[0] == pytest.approx(1)
    assert {found[name][0] for name in "abc"} == {found["a"][0]}
    assert found["a"][0] > 1.2


def test_no_interval_reaches_beyond_what_a_figure_can_be():
    parts = [np.array([[1.0, 1.0]] * 4), np.array([[1.0, 1.0]] * 3 + [[0.0, 1.0]])]
    speakers = [["a", "a", "b", "b"], ["c", "c", "d", "d"]]
    free = tables.interval(parts, scores.ratio, speakers, least=-np.inf)
    bound = tables.interval(parts, scores.ratio, speakers, 1)
    assert free.high > 1
    assert (bound.value, bound.low, bound.high) == (free.value, max(free.low, 0), 1)
