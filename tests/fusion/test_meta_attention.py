from __future__ import annotations

import math

import pytest
import torch
from fusions import (
    CLOSE,
    GAMES,
    dims_of,
    drops_in_training_only,
    features_of,
    prepared,
    real_sequence,
    slow_linear,
    slow_pool,
)
from toys import MIXED

import modalxai as mx
from modalxai import testing
from modalxai.fusion import MetaAttention

each_names = pytest.mark.parametrize("names", ["a", "ab", "abc"])


def _make(dims, **settings):
    return MetaAttention(dims, MIXED, **{"width": 6} | settings)


def _slow(fusion, features, row):
    vectors, weights = [], []
    for name in fusion.dims:
        pooled = slow_pool("mean", real_sequence(fusion, features[name], name, row))
        vector = slow_linear(fusion.maps[name].weight, fusion.maps[name].bias, pooled)
        hidden = slow_linear(fusion.key.weight, fusion.key.bias, vector).tanh()
        vectors.append(vector)
        weights.append(math.exp(float((fusion.query.weight[0] * hidden).sum())))
    weights = [weight / sum(weights) for weight in weights]
    mixed = sum(weight * vector for weight, vector in zip(weights, vectors, strict=True))
    return slow_linear(fusion.head.weight, fusion.head.bias, mixed), weights


@each_names
@pytest.mark.parametrize("pool", ["mean", "first"])
def test_it_conforms(names, pool, conforms):
    conforms(testing.check_fusion(_make(dims_of(names), pool=pool)), 28)


@pytest.mark.parametrize("check", GAMES, ids=lambda check: check.__name__)
def test_it_can_be_explained(check):
    check(_make)


@each_names
@pytest.mark.parametrize("padding", [0, 3])
def test_scores_and_weights_are_those_of_the_formulas(names, padding):
    fusion, features = prepared(_make(dims_of(names))), features_of(names, padding)
    with torch.no_grad():
        scores, weights = fusion(features).scores, fusion.weights(features)
        for row in range(4):
            expected, mixture = _slow(fusion, features, row)
            torch.testing.assert_close(scores[row], expected, **CLOSE)
            torch.testing.assert_close(weights[row], torch.tensor(mixture), **CLOSE)


@each_names
def test_weights_sum_to_one_and_differ_between_samples(names):
    fusion, features = prepared(_make(dims_of(names))), features_of(names)
    weights = fusion.weights(features)
    assert weights.shape == (4, len(names))
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(4))
    assert len(names) == 1 or weights[:, 0].std() > 0.01


def test_a_modality_with_all_the_weight_decides_alone():
    fusion, features = prepared(_make(dims_of("ab"))), features_of("ab")
    with torch.no_grad():
        fusion.key.weight.copy_(torch.eye(6))
        fusion.maps["a"].bias[0], fusion.maps["b"].bias[0] = 100.0, -100.0
        fusion.query.weight.zero_()[0, 0] = 50.0
    torch.testing.assert_close(fusion.weights(features)[:, 0], torch.ones(4))
    before = fusion(features).scores
    features["b"].values.mul_(-1)
    torch.testing.assert_close(fusion(features).scores, before)
    features["a"].values.mul_(-1)
    assert (fusion(features).scores[0] - before[0]).abs().max() > 1e-3


def test_absent_modalities_keep_the_weight_of_their_missing_vector():
    fusion, features = prepared(_make(dims_of("abc"))), features_of("abc")
    weights = fusion.weights(features)
    assert (weights[2, 0], weights[3, 1], weights[0, 2]) > (0, 0, 0)
    with torch.no_grad():
        fusion.missing["a"].add_(1.0)
    changed = fusion.weights(features)
    assert (changed[2] - weights[2]).abs().max() > 1e-3
    assert torch.equal(changed[[0, 1, 3]], weights[[0, 1, 3]])


def test_weights_refuse_other_modalities():
    with pytest.raises(mx.ModalxaiError, match="mend:"):
        _make(dims_of("ab")).weights(features_of("a"))


def test_defaults_and_a_pool_for_each_conform(conforms):
    conforms(testing.check_fusion(MetaAttention(dims_of("ab"), MIXED)), 28)
    pools = {"c": "mean", "a": "first", "b": "mean"}
    fusion = _make({"c": 4, "a": 5, "b": 3}, pool=pools, dropout=0.2)
    conforms(testing.check_fusion(fusion), 28)


def test_it_drops_in_training_only():
    drops_in_training_only(_make(dims_of("ab"), dropout=0.5), "ab")


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"pool": "max"},
        {"pool": {"a": "mean"}},
        {"dims": {}},
        {"labels": ()},
    ],
    ids=str,
)
def test_a_bad_setting_is_refused_with_the_mend(wrong):
    with pytest.raises(mx.ModalxaiError, match="mend:"):
        MetaAttention(**{"dims": dims_of("ab"), "labels": MIXED} | wrong)
