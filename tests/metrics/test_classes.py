from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from modalxai import metrics
from modalxai.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:sklearn")

pairs = st.integers(1, 40).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 4), min_size=n, max_size=n)] * 2)
)


@settings(max_examples=80, deadline=None)
@given(pairs)
def test_scores_equal_scikit_learn_also_where_classes_are_absent(pair):
    truth, said = pair
    assert metrics.weighted_f1(truth, said) == pytest.approx(
        sk.f1_score(truth, said, average="weighted", zero_division=0)
    )
    assert metrics.macro_f1(truth, said) == pytest.approx(
        sk.f1_score(truth, said, average="macro", zero_division=0)
    )
    assert metrics.uar(truth, said) == pytest.approx(sk.balanced_accuracy_score(truth, said))
    assert metrics.weighted_accuracy(truth, said) == pytest.approx(sk.accuracy_score(truth, said))
    found = metrics.confusion(truth, said, classes=range(5))
    assert (found.counts == sk.confusion_matrix(truth, said, labels=range(5))).all()
    each = sk.f1_score(truth, said, labels=range(5), average=None, zero_division=np.nan)
    assert list(metrics.class_f1(truth, said, classes=range(5)).values()) == pytest.approx(
        each.tolist(), nan_ok=True
    )


def test_a_class_that_is_said_and_never_true_counts_in_macro_f1_and_not_in_uar():
    truth, said = ["a", "a", "b", "b"], ["a", "c", "b", "b"]
    assert metrics.macro_f1(truth, said) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert metrics.uar(truth, said) == pytest.approx((0.5 + 1) / 2)
    assert metrics.class_f1(truth, said)["c"] == 0
    assert math.isnan(metrics.class_f1(truth, said, classes="abcd")["d"])


def test_masked_samples_count_nowhere_whatever_they_hold():
    truth, said = ["a", "b", "b", "zzz"], ["a", "b", "a", "b"]
    mask = [True, True, True, False]
    for score in (
        metrics.weighted_f1,
        metrics.macro_f1,
        metrics.uar,
        metrics.weighted_accuracy,
    ):
        assert score(truth, said, mask) == score(truth[:3], said[:3])
    assert metrics.confusion(truth, said, mask).counts.sum() == 3
    values = np.array([1.0, 2.0, 4.0, np.nan])
    guess = torch.tensor([1.5, 2.0, 3.0, float("nan")], dtype=torch.bfloat16)
    assert metrics.rmse(values, guess, mask) == pytest.approx(math.sqrt((0.25 + 1) / 3))
    assert metrics.ccc(values, guess, mask) == metrics.ccc(values[:3], guess[:3])


def test_names_numbers_tensors_and_arrays_give_one_answer():
    truth, said = [0, 1, 1, 2], [0, 1, 2, 2]
    want = metrics.macro_f1(truth, said)
    assert metrics.macro_f1(torch.tensor(truth), torch.tensor(said)) == want
    assert metrics.macro_f1(np.array(truth, dtype=float), np.array(said)) == want
    names = np.array(["x", "y", "z"])
    assert metrics.macro_f1(names[truth], names[said].tolist()) == want


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 30), st.integers(0, 10_000), st.floats(-50, 50))
def test_ccc_equals_its_formula(count, seed, shift):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=count)
    y = 0.5 * x + generator.normal(size=count)
    x, y = x + shift, y + shift
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    want = 2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert metrics.ccc(x, y) == pytest.approx(want, rel=1e-6, abs=1e-9)


def test_errors_of_numbers_equal_their_definitions():
    truth = np.array([[1.0, 2.0], [3.0, 4.0]])
    said = np.array([[1.0, 4.0], [2.0, np.nan]])
    mask = np.array([[True, True], [True, False]])
    assert metrics.distance(truth, said, mask) == pytest.approx((0 + 4 + 1) / 3)
    assert metrics.rmse(truth[:, 0], said[:, 0]) == pytest.approx(math.sqrt(0.5))
    assert metrics.ccc([1, 2, 3], [2, 2, 2]) == 0
    assert math.isnan(metrics.ccc([2, 2], [2, 2]))


def test_exact_match_wants_the_whole_set_and_full_annotation():
    truth = [[1, 0, 1], [0, 1, 0], [1, 1, 0]]
    said = [[1, 0, 1], [0, 1, 1], [1, 1, 0]]
    assert metrics.exact_match(truth, said) == pytest.approx(2 / 3)
    assert metrics.exact_match(truth, said) == sk.accuracy_score(truth, said)
    mask = np.ones((3, 3), dtype=bool)
    mask[0, 1] = False
    assert metrics.exact_match(truth, said, mask) == 0.5


@pytest.mark.parametrize(
    ("score", "arguments", "wrong"),
    [
        (metrics.macro_f1, ([0, 1], [0]), "do not fit"),
        (metrics.macro_f1, ([], []), "do not fit"),
        (metrics.macro_f1, ([0, 1], [0, 1], [False, False]), "do not fit"),
        (metrics.macro_f1, ([0, 1], [[0.1, 0.9], [0.3, 0.7]]), "do not fit"),
        (metrics.macro_f1, ([0, 1], [0.2, 0.7]), "no classes"),
        (metrics.macro_f1, (["a", None], ["a", "a"]), "no classes"),
        (metrics.macro_f1, ([0, 1], ["0", "1"]), "different types"),
        (metrics.macro_f1, (["a"], ["b"], None, ["a"]), "outside the set"),
        (metrics.macro_f1, ([0, 1], [0, 1], [1, 1]), "mask"),
        (metrics.ccc, ([1.0], [1.0]), "two numbers"),
        (metrics.ccc, ([1.0, 2.0], [1.0, np.nan]), "not finite"),
        (metrics.rmse, ([1.0, 2.0], [1.0]), "do not fit"),
        (metrics.exact_match, ([[0, 1]], [[0.2, 0.9]]), "no sets"),
        (metrics.exact_match, ([0, 1], [0, 1]), "no sets"),
    ],
)
def test_what_cannot_be_scored_is_refused(score, arguments, wrong):
    with pytest.raises(InputError, match=wrong):
        score(*arguments)
