from __future__ import annotations

import math

import pytest
import torch
from fusions import (
    CLOSE,
    GAMES,
    attention_flops,
    dims_of,
    drops_in_training_only,
    features_of,
    prepared,
    real_sequence,
    slow_attention,
    slow_convolution,
    slow_feed,
    slow_linear,
    slow_norm,
    slow_pool,
    slow_self_block,
)
from toys import MIXED

import modalxai as mx
from modalxai import testing
from modalxai.fusion import CrossmodalTransformer

SMALL = {"width": 8, "heads": 2}
SETTINGS = [{}, {"layers": 2, "self_layers": 2, "kernel": 1}, {"pool": "mean"}, {"self_layers": 0}]
each_setting = pytest.mark.parametrize("settings", SETTINGS, ids=str)
each_names = pytest.mark.parametrize("names", ["a", "ab", "abc"])


def _make(dims, **settings):
    return CrossmodalTransformer(dims, MIXED, **SMALL | settings)


def _slow_position(t, width):
    """PE[t, 2j] = sin(t / 10000^(2j/d)), PE[t, 2j + 1] = cos of the same."""
    waves = []
    for j in range(width // 2):
        angle = t / 10_000 ** (2 * j / width)
        waves += [math.sin(angle), math.cos(angle)]
    return torch.tensor(waves)


def _slow_crossing(block, target, source):
    """Equation 4: Y = CM(LN(Z), LN(S)) + LN(Z); Z' = f(LN(Y)) + LN(Y); CM is equation 1."""
    width = len(target[0])
    normed = [slow_norm(block.target_norm, vector) for vector in target]
    seen = [slow_norm(block.source_norm, vector) for vector in source]
    weight, bias = block.key_value.weight, block.key_value.bias
    queries = [slow_linear(block.query.weight, block.query.bias, vector) for vector in normed]
    keys = [slow_linear(weight[:width], bias[:width], vector) for vector in seen]
    values = [slow_linear(weight[width:], bias[width:], vector) for vector in seen]
    out = []
    for vector, mixed in zip(
        normed, slow_attention(queries, keys, values, block.heads), strict=True
    ):
        middle = slow_linear(block.output.weight, block.output.bias, mixed) + vector
        middle = slow_norm(block.feed_norm, middle)
        out.append(slow_feed(block.feed, torch.relu, middle) + middle)
    return out


def _slow(fusion, features, row):
    start = {}
    for name in fusion.dims:
        sequence = real_sequence(fusion, features[name], name, row)
        sequence = slow_convolution(fusion.maps[name], sequence)
        start[name] = [
            vector + _slow_position(t, fusion.width)
            for t, vector in enumerate(sequence)
            if vector is not None
        ]
    pooled = []
    for target in fusion.dims:
        part = fusion.targets[target]
        adapted = []
        for source in fusion.dims:
            if source == target:
                continue
            sequence = start[target]
            for block in part.crossings[source]:
                sequence = _slow_crossing(block, sequence, start[source])
            adapted.append(sequence)
        sequence = start[target]
        if adapted:
            sequence = [torch.cat(vectors) for vectors in zip(*adapted, strict=True)]
        for block in part.blocks:
            sequence = slow_self_block(block, sequence)
        pooled.append(slow_pool(fusion.pool, [slow_norm(part.norm, vector) for vector in sequence]))
    joined = torch.cat(pooled)
    joined = joined + slow_feed(fusion.perceptron, torch.relu, joined)
    return slow_linear(fusion.head.weight, fusion.head.bias, joined)


@pytest.mark.parametrize("settings", SETTINGS[1:3], ids=str)
@each_names
def test_it_conforms(names, settings, conforms):
    conforms(testing.check_fusion(_make(dims_of(names), **settings)), 28)


@pytest.mark.parametrize("check", GAMES, ids=lambda check: check.__name__)
def test_it_can_be_explained(check):
    check(_make)


@each_setting
@each_names
@pytest.mark.parametrize("padding", [0, 3])
def test_scores_are_those_of_the_formulas(settings, names, padding):
    fusion = prepared(_make(dims_of(names), **settings))
    features = features_of(names, padding)
    with torch.no_grad():
        scores = fusion(features).scores
        for row in range(4):
            torch.testing.assert_close(scores[row], _slow(fusion, features, row), **CLOSE)


def test_each_modality_queries_each_other_one_and_never_itself():
    fusion = _make(dims_of("abc"))
    pairs = {(target, source) for target in "abc" for source in fusion.targets[target].crossings}
    assert pairs == {(t, s) for t in "abc" for s in "abc" if t != s}
    asked = []
    for target in "abc":
        for source in fusion.targets[target].crossings:
            block = fusion.targets[target].crossings[source][0]
            block.register_forward_pre_hook(
                lambda _, args: asked.append((args[0].shape[1], args[1].shape[1]))
            )
    fusion(features_of("abc"))
    lengths = {"a": 5, "b": 3, "c": 6}
    assert sorted(asked) == sorted((lengths[t], lengths[s]) for t, s in pairs)


def test_later_layers_see_the_low_level_source():
    fusion = _make(dims_of("ab"), layers=3)
    seen = []
    for block in fusion.targets["a"].crossings["b"]:
        block.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    features = features_of("ab")
    fusion(features)
    expected = fusion.project("b", features["b"]).values
    assert len(seen) == 3
    assert all(torch.equal(source, expected) for source in seen)


def test_the_order_of_a_source_matters():
    fusion, features = prepared(_make(dims_of("ab"), kernel=1)), features_of("ab")
    before = fusion(features).scores
    features["b"].values[1, :2] = features["b"].values[1, :2].flip(0)  # the last one stays
    assert (fusion(features).scores[1] - before[1]).abs().max() > 1e-3


def test_defaults_need_only_dims_and_labels():
    fusion = CrossmodalTransformer(dims_of("ab"), MIXED).eval()
    assert fusion(features_of("ab")).scores.isfinite().all()


def test_it_drops_in_training_only():
    drops_in_training_only(_make(dims_of("ab"), dropout=0.5), "ab")


def test_its_attention_is_counted():
    # 2 products, 2 FLOP each, 4 rows, width 8: a (5) and b (3) ask each other, then themselves.
    expected = 2 * 2 * 4 * 8 * (5 * 3 + 3 * 5 + 5 * 5 + 3 * 3)
    assert attention_flops(_make(dims_of("ab")).eval(), "ab") == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"width": 9},
        {"heads": 0},
        {"heads": 3},
        {"kernel": 4},
        {"layers": 0},
        {"self_layers": -1},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"pool": "first"},
        {"dims": {}},
        {"dims": {"a": 0}},
        {"labels": ()},
    ],
    ids=str,
)
def test_a_bad_setting_is_refused_with_the_mend(wrong):
    with pytest.raises(mx.ModalxaiError, match="mend:"):
        CrossmodalTransformer(**{"dims": dims_of("ab"), "labels": MIXED} | SMALL | wrong)
