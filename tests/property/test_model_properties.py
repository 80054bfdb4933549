"""Rows 7, 13, 20 and 22 to 25 of the property table: what holds of whole models and of corpora."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import vector_model, vector_samples

import modalxai as mx
from modalxai.attribution import (
    FeatureDifference,
    GradCAM,
    HiResCAM,
    IntegratedGradients,
    ModalityAblation,
    ModalityShapley,
    Owen,
    UnitShapley,
)
from modalxai.evaluation import randomisation, reparametrisation_gap
from modalxai.fusion import ShallowFusion
from modalxai.statistics import cluster_interval

ITEMS = {"a": "item", "b": "item"}
UNITS = (Owen(ITEMS), UnitShapley(ITEMS), FeatureDifference(), IntegratedGradients())
METHODS = (ModalityShapley(), ModalityAblation(), *UNITS)
QUICK = settings(deadline=None, max_examples=10)


def named(method: Any) -> str:
    return type(method).__name__


def values(found: mx.Attribution) -> torch.Tensor:
    """Everything that a result says, one after the other."""
    return torch.cat([found.totals.flatten(), *(part.flatten() for part in found.units.values())])


def close(found: mx.Attribution, expected: mx.Attribution, tolerance: float) -> None:
    one, other = values(found).double(), values(expected).double()
    assert (one - other).abs().max() < tolerance * max(1.0, float(other.abs().max()))


@pytest.mark.parametrize(
    ("method", "how"),
    # The mean replaces whole modalities at the level of inputs.
    [(m, how) for how in ("zero", "mean") for m in METHODS if how == "zero" or m not in UNITS[:2]],
)
def test_7_a_shift_that_the_head_absorbs_moves_nothing(method: Any, how: str) -> None:
    more = {"background": vector_samples(5)} if how == "mean" else {}
    gap = reparametrisation_gap(
        vector_model(2).eval(), method, vector_samples(2), removal=how, shifts=3, **more
    )
    assert gap.score_gap < 1e-12
    assert gap.largest < 1e-9


@pytest.mark.parametrize("method", [GradCAM(), HiResCAM()], ids=named)
def test_7_published_maps_fail_it(method: Any) -> None:
    gap = reparametrisation_gap(
        vector_model(2).eval(), method, vector_samples(3), removal="zero", shifts=5
    )
    assert gap.share_gap > 0.1


@QUICK
@given(seed=st.integers(0, 999))
def test_13_what_emap_leaves_is_the_interaction(seed: int) -> None:
    torch.manual_seed(seed)
    model, samples = vector_model(2, "joint"), vector_samples(5)
    others = [{**one, "id": f"d{at}"} for at, one in enumerate(vector_samples(4))]
    found = mx.explain(
        model, samples, removal="marginal-independent", background=others, draws="all"
    )
    left = found.emap().residual()
    (pair,) = found.interactions().pairs.values()
    assert (left - pair[..., 0, 0]).abs().max() < 2e-5 * max(1.0, float(found.scores.abs().max()))


@pytest.mark.parametrize("gain", [0.25, 3.0])
@pytest.mark.parametrize("how", ["silence", "learned-mask"])
def test_20_a_louder_voice_says_the_same(gain: float, how: str) -> None:
    """Every clip is brought to unit variance before anything is removed."""
    from transformers import Wav2Vec2Config

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(20, 16),
        conv_kernel=(20, 16),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    audio = mx.encoders.Wav2Vec2Encoder(config, trainable="none")
    model = mx.EmotionModel(
        {"audio": audio}, ShallowFusion({"audio": 16}, mx.labels("anger", "joy", "fear")), 0.1
    )
    wave = torch.randn(24_000) * torch.linspace(0.01, 0.2, 24_000)
    plain, loud = (
        model.game([{"id": "u", "audio": mx.Audio(wave * size, 16_000)}], removal=how)
        for size in (1.0, gain)
    )
    ask: tuple[Any, ...] = (
        ModalityShapley(),
        Owen({"audio": "segment"}),
        FeatureDifference(),
        IntegratedGradients(),
    )
    for method in ask:
        close(method.attribute(loud), method.attribute(plain), 1e-4)


@QUICK
@given(seed=st.integers(0, 999), size=st.sampled_from([0.0, 1e-4, 1e-2, 1.0]))
def test_22_next_to_no_evidence_is_nan_with_a_reason(seed: int, size: float) -> None:
    torch.manual_seed(seed)
    model = vector_model(2, found=mx.labels("x", "y", "z"))
    with torch.no_grad():
        for weight in model.fusion.parameters():
            weight.mul_(size)
    found = mx.explain(model, vector_samples(4), removal="zero").magnitude_shares()
    least = found.evidence > found.floor
    assert torch.equal(found.magnitude.isnan().all(-1), ~least)
    assert torch.equal(found.magnitude.isnan().any(-1), ~least)
    for row, reasons in enumerate(found.reasons):
        assert [reason == "" for reason in reasons] == least[row].tolist()
    if size == 0:
        assert found.magnitude.isnan().all()
        assert found.cancellation.isnan().all()


def test_23_errors_shrink_with_the_draws_and_intervals_cover() -> None:
    """Donors drawn without replacement, the truth being that of all of them."""
    torch.manual_seed(3)
    model = vector_model(2, "joint", found=mx.labels("x", "y", "z"))
    draw = torch.Generator().manual_seed(0)
    made = [
        {"id": f"d{at}", "a": torch.randn(2, 4, generator=draw), "b": torch.randn(2, 4)}
        for at in range(400)
    ]
    background = mx.games.Background.of(model, made, donors=True)
    sample = {"id": "u", "a": torch.randn(3, 4), "b": torch.randn(2, 4)}
    ask: dict[str, Any] = {"removal": "marginal", "background": background}
    truth = mx.explain(model, sample, draws="all", **ask).shapley().totals
    errors, inside = [], []
    for draws in (8, 32):
        se = []
        for seed in range(120):
            found = mx.explain(model, sample, draws=draws, seed=seed, **ask).shapley()
            se.append(found.se)
            quantile = {8: 2.365, 32: 2.040}[draws]  # Student's, draws - 1 degrees of freedom
            inside.append(((found.totals - truth).abs() <= quantile * found.se).float().mean())
        errors.append(float(torch.stack(se).square().mean().sqrt()))
    assert errors[1] / errors[0] == pytest.approx(0.5, abs=0.06)
    assert 0.92 < float(torch.stack(inside).mean()) < 0.98


@pytest.mark.parametrize("method", UNITS, ids=named)
def test_24_a_model_of_random_weights_has_other_maps(method: Any) -> None:
    torch.manual_seed(0)
    model = vector_model(2)
    draw = torch.Generator().manual_seed(0)
    samples = [
        {"id": f"u{i}", **{m: torch.randn(6, 4, generator=draw) for m in "ab"}} for i in range(3)
    ]
    found = randomisation(model, method, samples, removal="zero")
    assert found.similarity[-1].nanmean().abs() < 0.6


def test_24_shuffled_labels_get_no_evidence() -> None:
    """What the modalities say for labels dealt out at random is 0, inside its interval."""
    torch.manual_seed(0)
    model = vector_model(2, found=mx.labels("x", "y", "z"))
    draw = torch.Generator().manual_seed(1)
    samples = [
        {"id": f"u{i}", **{m: torch.randn(2, 4, generator=draw) for m in "ab"}} for i in range(60)
    ]
    totals = mx.explain(model, samples, removal="zero").shapley().totals.double()
    covered = []
    for seed in range(40):
        dealt = np.random.default_rng(seed).integers(0, 3, len(samples))
        own = totals[torch.arange(len(samples)), torch.from_numpy(dealt)]  # [N, M]
        for column in own.T.numpy():
            terms = np.stack([column, np.ones(len(column))], axis=1)
            found = cluster_interval(terms, lambda sums: sums[..., :1] / sums[..., 1:])
            covered.append(found.low[0] <= 0 <= found.high[0])
    assert np.mean(covered) > 0.85


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_25_inference_mode_autocast_and_compile(method: Any) -> None:
    torch.manual_seed(0)
    model, samples = vector_model(2), vector_samples(3)
    expected = method.attribute(model.game(samples, removal="zero"))
    if not isinstance(method, FeatureDifference | IntegratedGradients):
        with torch.inference_mode():
            close(method.attribute(model.game(samples, removal="zero")), expected, 1e-5)
    with torch.no_grad():
        close(method.attribute(model.game(samples, removal="zero")), expected, 1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = method.attribute(model.game(samples, removal="zero"))
    assert values(found).dtype == torch.float32
    close(found, expected, 5e-2)
    compiled = torch.compile(model, backend="eager")
    explained = mx.explain(compiled, samples, removal="zero")
    if isinstance(method, ModalityShapley):
        close(explained.shapley(), expected, 1e-5)
