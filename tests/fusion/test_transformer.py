from __future__ import annotations

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
    slow_convolution,
    slow_linear,
    slow_norm,
    slow_pool,
    slow_self_block,
)
from toys import MIXED

import modalxai as mx
from modalxai import testing
from modalxai.fusion import FusionTransformer

SMALL = {"width": 8, "heads": 2}
SETTINGS = [{}, {"layers": 2, "kernel": 5}, {"pool": "last"}, {"kernel": 1}]
each_setting = pytest.mark.parametrize("settings", SETTINGS, ids=str)
each_names = pytest.mark.parametrize("names", ["a", "ab", "abc"])


def _make(dims, **settings):
    return FusionTransformer(dims, MIXED, **SMALL | settings)


def _slow(fusion, features, row):
    joined = []
    for name in fusion.dims:
        sequence = real_sequence(fusion, features[name], name, row)
        if fusion.projection == "convolution":
            sequence = slow_convolution(fusion.maps[name], sequence)
        joined += sequence
    for block in fusion.blocks:
        joined = slow_self_block(block, joined)
    joined = [None if vector is None else slow_norm(fusion.norm, vector) for vector in joined]
    return slow_linear(fusion.head.weight, fusion.head.bias, slow_pool(fusion.pool, joined))


@each_setting
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


def test_an_identity_is_self_attention_over_the_bare_concatenation():
    dims = {"audio": 8, "text": 8}
    fusion = prepared(_make(dims, projection="identity"))
    draw = torch.Generator().manual_seed(0)
    features = {}
    for name, length in (("audio", 5), ("text", 3)):
        mask = torch.ones(2, length, dtype=torch.bool)
        mask[1, 2:] = False
        values = torch.randn(2, length, 8, generator=draw)
        edge = torch.zeros(2, length)
        features[name] = mx.Features(values, mask, mx.Spans(edge, edge + 1, "index"))
    seen = []
    fusion.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        scores = fusion(features).scores
        for row in range(2):
            torch.testing.assert_close(scores[row], _slow(fusion, features, row), **CLOSE)
    joined = torch.cat([features["audio"].values, features["text"].values], dim=1)
    assert torch.equal(seen[0][0], joined[0])
    assert "maps" not in str(list(fusion.state_dict()))


def test_published_sizes_give_576_vectors_of_768():
    fusion = FusionTransformer(
        {"audio": 768, "text": 768}, MIXED, width=768, projection="identity"
    ).eval()
    features = {}
    for name, length in (("audio", 512), ("text", 64)):
        edge, mask = torch.zeros(1, length), torch.ones(1, length, dtype=torch.bool)
        values = torch.randn(1, length, 768)
        features[name] = mx.Features(values, mask, mx.Spans(edge, edge + 1, "index"))
    shapes = []
    fusion.norm.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape)))
    with torch.no_grad():
        assert fusion(features).scores.shape == (1, len(MIXED))
    assert shapes == [(1, 576, 768)]


def test_vectors_of_one_modality_answer_to_the_other():
    fusion, features = prepared(_make(dims_of("ab"), pool="last")), features_of("ab")
    before = fusion(features).scores
    features["a"].values[0, 2] += 1  # the pooled vector is b's
    after = fusion(features).scores
    assert (after[0] - before[0]).abs().max() > 1e-3
    assert torch.equal(after[1:], before[1:])


def test_defaults_and_an_identity_conform(conforms):
    conforms(testing.check_fusion(FusionTransformer(dims_of("ab"), MIXED)), 28)
    same = {"b": 5, "a": 5}
    fusion = FusionTransformer(same, MIXED, width=5, heads=1, projection="identity")
    conforms(testing.check_fusion(fusion), 28)


def test_it_drops_in_training_only():
    drops_in_training_only(_make(dims_of("ab"), dropout=0.5), "ab")


def test_its_attention_is_counted():
    # 2 products (q k, weights v), 2 FLOP each, 4 rows, (5 + 3)^2 pairs, width 8.
    assert attention_flops(_make(dims_of("ab")).eval(), "ab") == 2 * 2 * 4 * 8 * 8 * 8


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"width": 9},
        {"heads": 0},
        {"heads": 3},
        {"kernel": 2},
        {"kernel": 0},
        {"layers": 0},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"pool": "max"},
        {"projection": "linear"},
        {"projection": "identity"},
        {"projection": "identity", "dims": {"a": 8, "b": 4}},
        {"dims": {}},
        {"dims": {"a": 0}},
        {"labels": ()},
    ],
    ids=str,
)
def test_a_bad_setting_is_refused_with_the_mend(wrong):
    with pytest.raises(mx.ModalxaiError, match="mend:"):
        FusionTransformer(**{"dims": dims_of("ab"), "labels": MIXED} | SMALL | wrong)
