"""Integrated gradients: closed forms, completeness, and Captum's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from captum.attr import IntegratedGradients as Captum
from torch import Tensor, nn
from toys import MIXED, VectorEncoder, randomize, vector_model, vector_samples

from modalxai import masking
from modalxai.attribution import (
    Explanation,
    FeatureDifference,
    IntegratedGradients,
    ModalityShapley,
)
from modalxai.attribution.gradients.integrated import unit_nodes
from modalxai.errors import InputError
from modalxai.model import EmotionModel
from modalxai.types import Features, Label, Prediction, Spans, labels


class Vectors(nn.Module):
    """An encoder that gives what it gets; a removed vector is 0."""

    removals, kinds = ("zero",), ("item",)

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = VectorEncoder(width, width)
        self.dim, self.collate = width, self.inner.collate
        self.units, self.remove = self.inner.units, self.inner.remove

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        mask = inputs["mask"]
        return replace(self.inner(inputs), values=masking.blank(inputs["values"], mask))


class Head(nn.Module):
    """Scores of one vector per modality, by a function of one's own."""

    def __init__(self, function: object, count: int = 2) -> None:
        super().__init__()
        self.dims, self.function = {"a": 4, "b": 4}, function
        self.labels: tuple[Label, ...] = labels(*"vw"[:count], kind="dimensional")

    def forward(self, features: dict[str, Features]) -> Prediction:
        pooled = [masking.mean(features[name].values, features[name].mask) for name in self.dims]
        return Prediction(self.function(*pooled), self.labels)


def game_of(function: object, count: int = 2, samples: int = 5) -> object:
    model = EmotionModel({"a": Vectors(4), "b": Vectors(4)}, Head(function, count)).double().eval()
    made = vector_samples(samples)
    for sample in made:
        sample.update({name: sample[name].double() for name in "ab"})
    return model.game(made, removal="zero")


def test_nodes_and_weights_integrate_polynomials_exactly() -> None:
    for count in (1, 3, 8):
        points, weights = unit_nodes(count)
        for power in range(2 * count):
            integral = sum(w * x**power for x, w in zip(points, weights, strict=True))
            assert integral == pytest.approx(1 / (power + 1), abs=1e-14)


@pytest.mark.parametrize(("nodes", "most"), [(4, 1e-3), (8, 2e-7), (16, 1e-13)])
def test_completeness_on_a_tanh_head(nodes: int, most: float) -> None:
    """Science 2.7's figures: each doubling squares the error, and 16 nodes are exact."""
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(8, 6, generator=draw).double() * 0.45
    out = torch.randn(6, 2, generator=draw)

    def head(a: Tensor, b: Tensor) -> Tensor:
        return torch.tanh(torch.cat([a, b], 1) @ hidden) @ out.double()

    found = IntegratedGradients(nodes=nodes, scale="raw").attribute(game_of(head))
    assert (found.prediction - found.reference).abs().max() > 0.1
    assert found.residual().abs().max() < most
    print(f"\n{nodes} nodes: completeness error {found.residual().abs().max():.0e}")


def test_one_node_leaves_a_residual_that_says_so() -> None:
    found = IntegratedGradients(nodes=1, scale="raw").attribute(
        game_of(lambda a, b: torch.tanh(3 * a[:, :2] + b[:, :2]))
    )
    assert found.residual().abs().max() > 1e-3


def test_on_a_bilinear_head_the_totals_are_the_shapley_values() -> None:
    """Science 3, property 14; the difference alone gives each modality the whole product."""
    draw = torch.Generator().manual_seed(1)
    weight = torch.randn(2, 4, 4, generator=draw).double()

    def head(a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("bi,kij,bj->bk", a, weight, b) + a[:, :2] - 2 * b[:, 2:]

    game = game_of(head)
    found = IntegratedGradients(nodes=2, scale="raw").attribute(game)
    shapley = ModalityShapley("raw").attribute(game)
    torch.testing.assert_close(found.totals, shapley.totals, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.reference, shapley.reference, rtol=0, atol=1e-9)
    first_order = FeatureDifference("raw").attribute(game)
    assert (first_order.totals - shapley.totals).abs().max() > 0.1


@pytest.mark.parametrize("removal", ["absent", "zero"])
def test_with_a_linear_head_it_is_the_feature_difference(removal: str) -> None:
    model = vector_model(3, hidden=0).eval()
    game = model.game(vector_samples(5, "abc", missing=True), removal=removal)
    found = IntegratedGradients(nodes=1).attribute(game)
    other = FeatureDifference().attribute(game)
    torch.testing.assert_close(found.totals, other.totals, rtol=1e-5, atol=1e-5)
    for name in game.modalities:
        torch.testing.assert_close(found.units[name], other.units[name], rtol=1e-5, atol=1e-5)


def captum(game: object, label: int, nodes: int) -> dict[str, Tensor]:
    """Captum's, on the raw scores of the fusion, with masks and axes by hand."""
    names = game.modalities
    features = {name: game.encode(name) for name in names}

    def forward(*values: Tensor) -> Tensor:
        count = len(values[0]) // len(features[names[0]].mask)
        placed = {
            name: Features(
                value,
                features[name].mask.repeat(count, 1),
                Spans(*(torch.zeros(value.shape[:2]),) * 2, "index"),
            )
            for name, value in zip(names, values, strict=True)
        }
        return game.fuse(placed).scores

    starts = tuple(
        torch.where(f.mask[..., None], game.reference(name).expand_as(f.values), f.values)
        for name, f in features.items()
    )
    found = Captum(forward).attribute(
        tuple(f.values for f in features.values()),
        starts,
        target=label,
        n_steps=nodes,
        method="gausslegendre",
    )
    return dict(zip(names, (one.sum(-1) for one in found), strict=True))


@pytest.mark.parametrize("fusion", ["shallow", "late", "joint"])
@pytest.mark.parametrize("removal", ["absent", "zero"])
def test_captum_gives_the_same(fusion: str, removal: str) -> None:
    if (fusion, removal) == ("joint", "absent"):
        pytest.skip("no missing vectors")
    model = vector_model(2, fusion).eval()
    game = model.game(vector_samples(5, missing=True), removal=removal)
    found = IntegratedGradients(nodes=12, scale="raw").attribute(game)
    for column in range(len(MIXED)):
        expected = captum(game, column, 12)
        for name in game.modalities:
            torch.testing.assert_close(
                found.units[name][:, column], expected[name].detach(), rtol=1e-4, atol=1e-5
            )


def test_the_reference_of_a_pooling_fusion_is_the_empty_coalition() -> None:
    for removal in ("absent", "zero"):
        game = vector_model(2).eval().game(vector_samples(5, missing=True), removal=removal)
        found = IntegratedGradients().attribute(game)
        empty = Explanation.of(game).shapley()
        torch.testing.assert_close(found.reference, empty.reference)
        torch.testing.assert_close(found.prediction, empty.prediction)
        assert found.residual().abs().max() < 1e-4


def test_the_reference_of_a_fusion_of_sequences_keeps_the_lengths() -> None:
    """An absent modality is one vector there; h0 is that vector at every real place."""
    from modalxai.fusion import FusionTransformer

    fusion = FusionTransformer({"a": 4, "b": 4}, MIXED, width=8, heads=2)
    model = EmotionModel({"a": VectorEncoder(4, 4), "b": VectorEncoder(4, 4)}, fusion, 0.1)
    randomize(model)
    game = model.eval().game(vector_samples(4))
    found = IntegratedGradients(scale="raw").attribute(game)
    at_start = {
        name: replace(
            one,
            values=torch.where(one.mask[..., None], game.reference(name), one.values).detach(),
        )
        for name, one in ((name, game.encode(name)) for name in "ab")
    }
    torch.testing.assert_close(found.reference, game.fuse(at_start).scores.detach())
    empty = Explanation.of(game).shapley("raw").reference
    assert (found.reference - empty).abs().max() > 1e-3


def test_the_rival_is_the_predictions_along_the_whole_path() -> None:
    game = vector_model(2).eval().game(vector_samples(6))
    found = IntegratedGradients(scale="contrast").attribute(game)
    assert found.residual().abs().max() < 1e-4
    torch.testing.assert_close(
        found.prediction, Explanation.of(game).shapley("contrast").prediction
    )
    assert found.provenance.params == {"nodes": 16, "against": "rival"}


@pytest.mark.parametrize("nodes", [0, -1, 2.0, True, "8"])
def test_impossible_nodes_are_refused(nodes: object) -> None:
    with pytest.raises(InputError, match="nodes of a quadrature"):
        IntegratedGradients(nodes=nodes)


def test_scores_that_are_not_finite_on_the_path_name_their_sample() -> None:
    """Fine at both ends of the path, and not between; nodes are rows of their own there."""

    def head(a: Tensor, b: Tensor) -> Tensor:
        size = a[:, :2].abs().sum(1, keepdim=True)
        between = (size > 0.2 * longest) & (size < 0.9 * longest)
        return torch.where(between, torch.nan, size + b[:, :2])

    longest = torch.inf
    game = game_of(head, samples=3)
    game.encode("a"), game.encode("b")
    sizes = masking.mean(game.encode("a").values, game.encode("a").mask)[:, :2].abs().sum(1)
    row = int(sizes.argmax())
    assert sizes.sort().values[-2] < 0.9 * sizes.max()
    game = game.select([row, *(other for other in range(3) if sizes[other] < 0.2 * sizes.max())])
    longest = sizes.max().item()
    with pytest.raises(InputError, match=f"'u{row}'"):
        IntegratedGradients(nodes=9, scale="raw").attribute(game)


@pytest.mark.parametrize("method", [IntegratedGradients(nodes=3), FeatureDifference()])
def test_padding_is_never_moved(method: object, monkeypatch: pytest.MonkeyPatch) -> None:
    model = vector_model(2, "joint").eval()
    game = model.game(vector_samples(5, missing=True), removal="noise")
    seen, fuse = [], model.fusion.forward

    def spy(features: dict[str, Features]) -> Prediction:
        padded = [one for one in features.values() if not one.mask.all()]
        seen.extend(one.values[~one.mask].abs().max().item() for one in padded)
        return fuse(features)

    monkeypatch.setattr(model.fusion, "forward", spy)
    monkeypatch.setattr(type(game), "reference", lambda self, name: torch.ones(1))
    method.attribute(game)
    assert seen
    assert max(seen) == 0
