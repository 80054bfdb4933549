"""Captum's methods through the adapter: the right axes and masks, and no trace."""

from __future__ import annotations

import random

import captum.attr
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toys import MIXED, vector_model, vector_samples

from modalxai.attribution import (
    CaptumMethod,
    FeatureDifference,
    HiResCAM,
    IntegratedGradients,
    ModalityShapley,
)
from modalxai.errors import InputError
from modalxai.testing import or_
from modalxai.types import Attribution

NAMES = ("InputXGradient", "Saliency", "IntegratedGradients", "GradientShap", "FeatureAblation")
EVERY = pytest.mark.parametrize("name", NAMES)


def close(one: Attribution, two: Attribution) -> None:
    torch.testing.assert_close(one.totals, two.totals, rtol=1e-4, atol=1e-5)
    for name in one.units:
        torch.testing.assert_close(one.units[name], two.units[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fusion", ["shallow", "late", "joint"])
def test_input_times_gradient_is_the_hires_cam(fusion: str) -> None:
    game = vector_model(2, fusion).eval().game(vector_samples(5, missing=True), removal="zero")
    found = CaptumMethod("InputXGradient").attribute(game)
    close(found, HiResCAM().attribute(game))
    assert found.reference.isnan().all()
    assert found.provenance.attributor == "captum"
    assert found.provenance.params == {"method": "InputXGradient", "settings": {}}


@pytest.mark.parametrize("fusion", ["shallow", "joint"])
def test_integrated_gradients_are_ours(fusion: str) -> None:
    game = vector_model(2, fusion).eval().game(vector_samples(4, missing=True), removal="zero")
    settings = {"n_steps": 16, "method": "gausslegendre"}
    found = CaptumMethod(captum.attr.IntegratedGradients, settings=settings).attribute(game)
    ours = IntegratedGradients(nodes=16).attribute(game)
    close(found, ours)
    torch.testing.assert_close(found.reference, ours.reference)
    torch.testing.assert_close(found.prediction, ours.prediction)
    assert found.residual().abs().max() < 1e-4


def test_saliency_is_the_sum_of_magnitudes() -> None:
    game = vector_model(2).eval().game(vector_samples(3))
    found = CaptumMethod("Saliency", scale="raw").attribute(game)
    features = {name: game.encode(name) for name in "ab"}
    leaf = features["a"].values.clone().requires_grad_()
    from dataclasses import replace

    scores = game.fuse({**features, "a": replace(features["a"], values=leaf)}).scores
    for column in range(len(MIXED)):
        (gradient,) = torch.autograd.grad(scores[:, column].sum(), leaf, retain_graph=True)
        expected = gradient.abs().sum(-1) * features["a"].mask
        torch.testing.assert_close(found.units["a"][:, column], expected)


def test_an_ablation_moves_one_whole_vector_at_a_time() -> None:
    game = vector_model(2).eval().game(vector_samples(4, missing=True), removal="zero")
    found = CaptumMethod("FeatureAblation", scale="raw").attribute(game)
    from dataclasses import replace

    features = {name: game.encode(name) for name in "ab"}
    full = game.fuse(features).scores
    for name in "ab":
        one = features[name]
        for at in range(one.values.shape[1]):
            moved = one.values.clone()
            moved[:, at] = torch.where(one.mask[:, at, None], game.reference(name)[:, at], 0)
            without = game.fuse({**features, name: replace(one, values=moved)}).scores
            expected = (full - without) * one.mask[:, at, None]
            torch.testing.assert_close(
                found.units[name][:, :, at], expected.detach(), rtol=1e-4, atol=1e-5
            )


def test_with_a_linear_head_all_that_have_a_reference_agree() -> None:
    game = vector_model(2, hidden=0).eval().game(vector_samples(4, missing=True), removal="zero")
    expected = FeatureDifference().attribute(game)
    for name in ("IntegratedGradients", "GradientShap", "FeatureAblation"):
        found = CaptumMethod(name).attribute(game)
        close(found, expected)
        assert found.residual().abs().max() < 1e-4
        torch.testing.assert_close(found.reference, ModalityShapley().attribute(game).reference)
        assert found.se.isnan().all() == (name == "GradientShap")


@EVERY
def test_a_sample_alone_gives_what_its_batch_gave(name: str) -> None:
    """The draws of GradientShap belong to the sample's id, not to its place."""
    model, samples = vector_model(2).eval(), vector_samples(5, missing=True)
    together = CaptumMethod(name).attribute(model.game(samples, removal="zero"))
    assert (together.totals != 0).any()
    for row in (0, 3):
        alone = CaptumMethod(name).attribute(model.game(samples[row], removal="zero"))
        torch.testing.assert_close(alone.totals[0], together.totals[row], rtol=1e-4, atol=1e-5)
    for modality in "ab":
        blank = ~together.mask[modality][:, None].expand(together.units[modality].shape)
        assert blank.any()
        assert (together.units[modality][blank] == 0).all()
    assert together.unit_gap().abs().max() < 1e-5


@EVERY
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_no_trace_is_left(name: str, mode: type) -> None:
    model, samples = vector_model(2).train(), vector_samples(3)

    def state() -> tuple:
        numbers = np.random.get_state()
        return random.getstate(), numbers[1].tolist(), numbers[2], torch.get_rng_state().tolist()

    before = state()
    with mode():
        found = CaptumMethod(name).attribute(model.game(samples, removal="zero"))
    assert state() == before
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert not found.totals.requires_grad
    expected = CaptumMethod(name).attribute(model.game(samples, removal="zero"))
    torch.testing.assert_close(found.totals, expected.totals)


def test_captum_alone_has_the_wrong_axes() -> None:
    """What the adapter is for: LayerGradCam averages over D, sums over T, and gives a map of D."""
    model, B, T, D = vector_model(1, hidden=0).eval(), 2, 5, 3

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Identity()

        def forward(self, values: Tensor) -> Tensor:
            return self.encoder(values).mean(1) @ model.fusion.maps["a"].weight.T

    whole = Whole()
    found = captum.attr.LayerGradCam(whole, whole.encoder).attribute(torch.randn(B, T, D), target=0)
    assert found.shape == (B, 1, D)


def test_deep_lift_is_refused_because_it_would_be_gradient_times_difference() -> None:
    """Measured: on a fusion that writes its nonlinearity as a function, DeepLift sees none."""
    model = vector_model(1).eval()
    game = model.game(vector_samples(1, "a"), removal="zero")

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fusion = model.fusion

        def forward(self, values: Tensor) -> Tensor:
            pooled = {"a": self.fusion.widen("a", values.mean(1))}
            return self.fusion.join(pooled).scores

    features, start = game.encode("a"), game.reference("a")
    found = captum.attr.DeepLift(Whole()).attribute(features.values, start, target=0)
    first_order = FeatureDifference("raw").attribute(game)
    torch.testing.assert_close(found.sum((1, 2)), first_order.totals[:, 0, 0])
    assert first_order.residual()[0, 0].abs() > 1e-3
    with pytest.raises(InputError, match="not offered"):
        CaptumMethod("DeepLift")


@pytest.mark.parametrize("method", ["Nonsense", captum.attr.LRP, None])
def test_other_methods_are_refused(method: object) -> None:
    with pytest.raises(InputError, match="not offered"):
        CaptumMethod(method)


def test_a_black_box_is_refused() -> None:
    with pytest.raises(InputError, match="encoders' outputs"):
        CaptumMethod().attribute(or_())
