from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from toys import MIXED, JointFusion, VectorEncoder, randomize, vector_model, vector_samples

from modalxai import masking
from modalxai.attribution import (
    Explanation,
    FeatureDifference,
    GradCAM,
    HiResCAM,
    IntegratedGradients,
    ModalityAblation,
    ModalityShapley,
)
from modalxai.attribution.scales import on_scale, rivals_of
from modalxai.errors import InputError
from modalxai.fusion import LateFusion, ShallowFusion
from modalxai.model import EmotionModel
from modalxai.testing import or_
from modalxai.types import Attribution, Features

KINDS = {
    "grad-cam": GradCAM,
    "hires-cam": HiResCAM,
    "feature-difference": FeatureDifference,
}
EVERY = pytest.mark.parametrize("method", [*KINDS.values(), IntegratedGradients])
MARGIN = 1e-5


def slow(
    model: EmotionModel, samples: list[dict], scale: str, kind: str, removal: str = "absent"
) -> dict[str, Tensor]:
    """The gradient methods, one sample, label and vector at a time, in plain loops."""
    game = model.eval().game(samples, removal=removal)
    units = {name: torch.zeros(len(samples), len(MIXED), 8) for name in model.modalities}
    for row, sample in enumerate(samples):
        batch = model.collate([sample])
        features = model.encode(batch)
        leaves = {name: f.values.detach().requires_grad_() for name, f in features.items()}
        moved = {name: replace(f, values=leaves[name]) for name, f in features.items()}
        scores = model.fusion(moved).scores
        rivals = rivals_of(scores.detach(), MIXED, "rival")
        values = on_scale(scores, MIXED, scale, rivals)
        for k in range(len(MIXED)):
            gradients = torch.autograd.grad(
                values[0, k], list(leaves.values()), retain_graph=True, allow_unused=True
            )
            for (name, h), g in zip(leaves.items(), gradients, strict=True):
                real = [t for t in range(h.shape[1]) if features[name].mask[0, t]]
                for t in real:
                    if kind == "grad-cam":
                        alpha = sum(g[0, u] for u in real) / len(real)
                        found = max(0.0, (alpha * h[0, t]).sum().item())
                    elif kind == "hires-cam":
                        found = (g[0, t] * h[0, t]).sum().item()
                    elif removal == "absent":
                        found = (g[0, t] * (h[0, t] - model.fusion.missing[name])).sum().item()
                    else:
                        keep = torch.zeros(len(samples), 1).bool()
                        away = game.encode(name, keep).values[row, t]
                        found = (g[0, t] * (h[0, t] - away)).sum().item()
                    units[name][row, k, t] = found
    return units


@pytest.mark.parametrize("scale", ["clr", "contrast", "log-odds", "probability", "raw"])
@pytest.mark.parametrize("kind", KINDS)
def test_units_are_the_slow_formula(kind: str, scale: str) -> None:
    model, samples = vector_model(3), vector_samples(5, "abc", missing=True)
    found = KINDS[kind](scale).attribute(model.eval().game(samples))
    expected = slow(model, samples, scale, kind)
    for index, name in enumerate(model.modalities):
        length = found.units[name].shape[-1]
        torch.testing.assert_close(
            found.units[name], expected[name][..., :length].detach(), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(found.totals[..., index], found.units[name].sum(-1))
    assert found.unit_gap().abs().max() < MARGIN
    assert found.provenance.attributor == kind
    assert found.provenance.scale == scale


@pytest.mark.parametrize("fusion", ["shallow", "joint"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_removed_encoding_is_the_reference_where_its_units_match(
    kind: str, fusion: str
) -> None:
    """With joint attention, the gradient differs from vector to vector, too."""
    model, samples = vector_model(2, fusion), vector_samples(4, missing=True)
    found = KINDS[kind]().attribute(model.eval().game(samples, removal="zero"))
    expected = slow(model, samples, "clr", kind, removal="zero")
    for name in model.modalities:
        length = found.units[name].shape[-1]
        torch.testing.assert_close(
            found.units[name], expected[name][..., :length].detach(), rtol=1e-4, atol=1e-5
        )


def test_the_background_mean_is_the_reference_under_mean() -> None:
    model, samples = vector_model(2, hidden=0).eval(), vector_samples(4)
    others = vector_samples(6)
    game = model.game(samples, removal="mean", background=others)
    with torch.no_grad():
        features = model.encode(model.collate(others))
    for name in model.modalities:
        means = [
            f[m].mean(0) for f, m in zip(features[name].values, features[name].mask, strict=True)
        ]
        torch.testing.assert_close(game.reference(name), torch.stack(means).mean(0))
    found = FeatureDifference().attribute(game)
    torch.testing.assert_close(
        found.totals, ModalityAblation().attribute(game).totals, rtol=0, atol=MARGIN
    )


@pytest.mark.parametrize("removal", ["absent", "zero"])
def test_with_a_linear_head_feature_difference_is_exact(removal: str) -> None:
    """Closed form W (mean h - mean h0), which is then ablation and Shapley value as well."""
    model = vector_model(3, hidden=0).eval()
    samples = vector_samples(5, "abc", missing=True)
    game = model.game(samples, removal=removal)
    found = FeatureDifference("raw").attribute(game)
    for index, name in enumerate(model.modalities):
        features = game.encode(name)
        keep = torch.zeros(len(samples), 1).bool()
        away = (
            model.fusion.missing[name]
            if removal == "absent"
            else masking.mean(game.encode(name, keep).values, features.mask)
        )
        gap = masking.mean(features.values, features.mask) - away
        closed = gap @ model.fusion.maps[name].weight.T * features.mask.any(1)[:, None]
        torch.testing.assert_close(found.totals[..., index], closed.detach(), rtol=0, atol=MARGIN)
    assert found.residual().abs().max() < MARGIN
    for other in (ModalityShapley("raw"), ModalityAblation("raw")):
        torch.testing.assert_close(found.totals, other.attribute(game).totals, rtol=0, atol=MARGIN)
    clr = FeatureDifference().attribute(game)
    torch.testing.assert_close(
        clr.totals, ModalityShapley().attribute(game).totals, rtol=0, atol=MARGIN
    )


def test_with_a_linear_head_grad_cam_is_its_closed_form() -> None:
    model, samples = vector_model(2, hidden=0).eval(), vector_samples(4)
    game = model.game(samples)
    found = GradCAM("raw").attribute(game)
    for name in model.modalities:
        features, weight = game.encode(name), model.fusion.maps[name].weight
        # The gradient of a mean over T vectors is W / T at each, so alpha is W / T.
        counts = features.mask.sum(1)[:, None, None]
        closed = (torch.einsum("kd,btd->bkt", weight, features.values) / counts).relu()
        torch.testing.assert_close(
            found.units[name],
            masking.blank(closed.transpose(1, 2), features.mask).transpose(1, 2).detach(),
        )


def test_the_first_order_term_approaches_the_ablation_as_the_difference_shrinks() -> None:
    model, samples = vector_model(2).eval(), vector_samples(4)
    gaps = []
    for size in (1.0, 0.1):
        with torch.no_grad():
            for name in model.modalities:
                model.encoders[name].layer.weight.mul_(size)
                features = model.encode(model.collate(samples))[name]
                centre = masking.mean(features.values, features.mask).mean(0)
                model.fusion.missing[name].copy_(centre)
        game = model.game(samples)
        found = FeatureDifference().attribute(game)
        ablation = ModalityAblation().attribute(game).totals
        gaps.append(((found.totals - ablation).norm() / ablation.norm()).item())
    assert gaps[1] < 0.3 * gaps[0]


class Shifted(nn.Module):
    """An encoder that adds a constant to every real vector."""

    def __init__(self, encoder: nn.Module, constant: Tensor) -> None:
        super().__init__()
        self.inner, self.constant = encoder, constant
        self.dim, self.collate = encoder.dim, encoder.collate
        self.removals, self.kinds = encoder.removals, encoder.kinds
        self.units, self.remove = encoder.units, encoder.remove

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        features = self.inner(inputs)
        values = masking.blank(features.values + self.constant, features.mask)
        return replace(features, values=values)


def shifted(model: EmotionModel, size: float) -> EmotionModel:
    """The same function of the same inputs: a constant moved from the head into the encoders."""
    other = copy.deepcopy(model)
    encoders = {}
    with torch.no_grad():
        for name in model.modalities:
            constant = torch.randn_like(other.fusion.missing[name]) * size
            encoders[name] = Shifted(other.encoders[name], constant)
            other.fusion.missing[name] += constant
            if isinstance(other.fusion, ShallowFusion):
                other.fusion.bias -= other.fusion.maps[name].weight @ constant
            else:
                head = other.fusion.heads[name]
                head.bias -= head.weight @ constant
    return EmotionModel(encoders, other.fusion).eval()


@pytest.mark.parametrize("fusion", ["shallow", "late"])
@pytest.mark.parametrize("removal", ["absent", "zero"])
def test_moving_a_constant_into_the_encoder_changes_grad_cam_and_nothing_else(
    fusion: str, removal: str
) -> None:
    """science.md 0.2: why Grad-CAM's shares are not a property of the model's function."""
    model, samples = vector_model(2, fusion).double().eval(), vector_samples(6)
    for sample in samples:
        sample.update({name: sample[name].double() for name in "ab"})
    other = shifted(model, size=1.0)

    def ask(asked: EmotionModel, method: object) -> Attribution:
        return method.attribute(asked.game(samples, removal=removal))

    for method in (ModalityShapley(), ModalityAblation(), FeatureDifference()):
        one, two = ask(model, method), ask(other, method)
        torch.testing.assert_close(one.prediction, two.prediction, rtol=0, atol=1e-9)
        torch.testing.assert_close(one.totals, two.totals, rtol=0, atol=1e-6)
    one, two = ask(model, GradCAM()), ask(other, GradCAM())
    share_one, share_two = (
        found.totals.abs().sum(0) / found.totals.abs().sum((0, 2))[:, None] for found in (one, two)
    )
    assert (share_one - share_two).abs().max() > 0.01
    assert ((one.totals - two.totals).norm() / one.totals.norm()) > 0.01


def test_late_fusion_does_not_interact_on_clr() -> None:
    for combine in ("mean", "learned", {"a": 0.2, "b": 0.5, "c": 0.3}):
        model = vector_model(3, "late", combine=combine).eval()
        game = model.game(vector_samples(6, "abc", missing=True))
        explanation = Explanation.of(game)
        for pair in explanation.interactions().pairs.values():
            assert pair.abs().max() < 1e-6
        shapley = explanation.shapley().totals
        for other in (explanation.ablation(), explanation.sufficiency()):
            torch.testing.assert_close(other.totals, shapley, rtol=0, atol=2e-6)
        found = FeatureDifference().attribute(game)
        torch.testing.assert_close(found.totals, shapley, rtol=0, atol=2e-6)
        assert explanation.interactions("probability").pairs["a", "b"].abs().max() > 1e-3


@EVERY
def test_padding_and_missing_modalities_get_exactly_zero(method: type) -> None:
    model, samples = vector_model(2).eval(), vector_samples(6, missing=True)
    found = method().attribute(model.game(samples))
    for name in model.modalities:
        blank = ~found.mask[name][:, None].expand(found.units[name].shape)
        assert blank.any()
        assert (found.units[name][blank] == 0).all()
    gone = ~found.present[:, None].expand(found.totals.shape)
    assert gone.any()
    assert (found.totals[gone] == 0).all()


@EVERY
def test_a_row_of_a_batch_is_what_the_sample_gives_alone(method: type) -> None:
    model, samples = vector_model(2).eval(), vector_samples(5, missing=True)
    together = method().attribute(model.game(samples))
    for row, sample in enumerate(samples):
        alone = method().attribute(model.game(sample))
        torch.testing.assert_close(alone.totals[0], together.totals[row], rtol=1e-5, atol=1e-6)
        for name in model.modalities:
            units = together.units[name][row, :, : alone.units[name].shape[-1]]
            torch.testing.assert_close(alone.units[name][0], units, rtol=1e-5, atol=1e-6)


@EVERY
def test_an_ignored_modality_gets_exactly_nothing(method: type) -> None:
    class Deaf(JointFusion):
        def forward(self, features: dict[str, Features]):
            return super().forward(features | {"b": replace(features["a"])})

    model = EmotionModel(
        {"a": VectorEncoder(), "b": VectorEncoder()}, Deaf({"a": 3, "b": 3}, MIXED)
    )
    randomize(model)
    samples = vector_samples(4)
    found = method().attribute(model.eval().game(samples, removal="mean", background=samples))
    assert (found.totals[..., 1] == 0).all()
    assert (found.totals[..., 0] != 0).any()


@EVERY
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_gradient_mode_does_not_matter(method: type, mode: type) -> None:
    model, samples = vector_model(2).eval(), vector_samples(4)
    expected = method().attribute(model.game(samples)).totals
    with mode():
        game = model.game(samples)
        found = method().attribute(game)
        assert torch.is_grad_enabled() == (mode is torch.enable_grad)
    assert torch.equal(found.totals, expected)
    assert not found.totals.requires_grad
    assert torch.equal(method().attribute(game).totals, expected)  # made in there, asked out here


@EVERY
def test_autocast_does_not_touch_the_arithmetic(method: type) -> None:
    model, samples = vector_model(2, hidden=0).eval(), vector_samples(4)
    game = model.game(samples)
    game.encode("a"), game.encode("b")
    with torch.autocast("cpu", torch.bfloat16):
        found = method().attribute(game)
    assert found.totals.dtype == torch.float32
    assert found.units["a"].dtype == torch.float32
    assert found.unit_gap().abs().max() < MARGIN


def test_frozen_models_are_differentiated_too_and_stay_frozen() -> None:
    model, samples = vector_model(2).eval(), vector_samples(3)
    expected = GradCAM().attribute(model.game(samples)).totals
    model.requires_grad_(False)
    assert torch.equal(GradCAM().attribute(model.game(samples)).totals, expected)
    assert not any(p.requires_grad for p in model.parameters())


def test_no_gradient_enters_an_encoder_or_is_left_in_the_fusion() -> None:
    model, samples = vector_model(2).eval(), vector_samples(3)
    touched = []
    for encoder in model.encoders.values():
        encoder.layer.weight.register_hook(lambda _: touched.append(1))
    for method in (GradCAM, HiResCAM, FeatureDifference, IntegratedGradients):
        method().attribute(model.game(samples, removal="zero"))
    assert not touched
    assert all(p.grad is None for p in model.parameters())


@EVERY
def test_all_labels_come_from_one_encoding(method: type) -> None:
    model, samples = vector_model(2).eval(), vector_samples(4)
    calls = []
    for encoder in model.encoders.values():
        encoder.register_forward_hook(lambda *_: calls.append(1))
    game = model.game(samples)
    every = method().attribute(game)
    assert len(calls) == 2
    some = method().attribute(game, ["valence", "anger"])
    assert len(calls) == 2
    torch.testing.assert_close(some.totals, every.totals[:, [4, 0]])


def test_the_reference_is_averaged_over_draws_on_the_scale() -> None:
    model, samples = vector_model(2).eval(), vector_samples(3)
    game = model.game(samples, removal="noise", draws=6)
    found = FeatureDifference("probability").attribute(game)
    explanation = Explanation.of(game)
    torch.testing.assert_close(found.reference, explanation.shapley("probability").reference)
    torch.testing.assert_close(found.prediction, explanation.shapley("probability").prediction)


def test_over_draws_a_linear_head_is_still_explained_exactly() -> None:
    model, samples = vector_model(2, hidden=0).eval(), vector_samples(3, missing=True)
    game = model.game(samples, removal="noise", draws=5)
    found = FeatureDifference().attribute(game)
    assert found.residual().abs().max() < MARGIN
    torch.testing.assert_close(
        found.totals, Explanation.of(game).shapley().totals, rtol=0, atol=MARGIN
    )


def test_grad_cam_has_no_reference_and_no_residual() -> None:
    model = vector_model(2).eval()
    found = GradCAM().attribute(model.game(vector_samples(3)))
    assert found.reference.isnan().all()
    assert found.residual().isnan().all()
    for units in found.units.values():
        assert (units >= 0).all()


def test_settings_are_kept_and_the_rival_only_where_it_is_used() -> None:
    model = vector_model(2).eval()
    game = model.game(vector_samples(3))
    one = FeatureDifference("contrast", against="joy").attribute(game)
    assert one.provenance.params == {"against": "joy"}
    assert FeatureDifference("clr").attribute(game).provenance.params == {}
    torch.testing.assert_close(one.totals[:, 1], torch.zeros(3, 2))


@EVERY
def test_a_black_box_has_no_gradients(method: type) -> None:
    with pytest.raises(InputError, match="gradients need"):
        method().attribute(or_())


def test_without_a_reference_there_is_an_error_and_no_number() -> None:
    model = vector_model(2, "joint").eval()
    game = model.game(vector_samples(3), removal="absent")
    with pytest.raises(InputError, match="no reference"):
        FeatureDifference().attribute(game)


@EVERY
def test_scores_that_are_not_finite_name_the_sample(method: type) -> None:
    model, samples = vector_model(2).eval(), vector_samples(3)
    samples[1]["a"] = samples[1]["a"] * float("nan")
    with pytest.raises(InputError, match="'u1'"):
        method().attribute(model.game(samples))


def test_late_fusion_without_classes_is_exact_too() -> None:
    found = tuple(label for label in MIXED if label.kind != "categorical")
    model = vector_model(2, "late", found).eval()
    game = model.game(vector_samples(4))
    torch.testing.assert_close(
        FeatureDifference().attribute(game).totals,
        ModalityShapley().attribute(game).totals,
        rtol=0,
        atol=2e-6,
    )
    assert isinstance(model.fusion, LateFusion)
