"""Functions that stay the same, and explanations that should."""

from __future__ import annotations

import copy

import pytest
import torch
from toys import Rows, speech_model, speech_samples, vector_model, vector_samples

import modalxai as mx
from modalxai import testing
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
from modalxai.errors import InputError, RemovalError
from modalxai.evaluation import Coordinates, reparametrisation_gap, reparametrised
from modalxai.games import Background
from modalxai.model import EmotionModel
from modalxai.training import CachedEncoder

ITEMS = {"a": "item", "b": "item"}
DEFAULTS = {
    "modality-shapley": ModalityShapley(),
    "modality-ablation": ModalityAblation(),
    "owen": Owen(ITEMS),
    "unit-shapley": UnitShapley(ITEMS),
    "feature-difference": FeatureDifference(),
    "integrated-gradients": IntegratedGradients(),
}
KINDS = pytest.mark.parametrize("kind", ["shift", "scale", "rotation"])
LARGE = ["fusion-transformer", "crossmodal-transformer", "meta-attention"]
FUSIONS = ["late", "shallow", *LARGE]


def shifted(width: int, seed: int = 0, size: float = 5.0) -> Coordinates:
    draw = torch.Generator().manual_seed(seed)
    matrix = torch.randn(width, width, generator=draw).double()
    offset = size * torch.randn(width, generator=draw).double()
    return Coordinates(matrix, torch.linalg.inv(matrix), offset)


def changed(model: EmotionModel) -> EmotionModel:
    return reparametrised(
        model, {name: shifted(width, 1) for name, width in model.fusion.dims.items()}
    )


def a_model(fusion: str) -> EmotionModel:
    """Vectors of width 4 and 4 into a built-in fusion with random weights."""
    model = vector_model(2)
    encoders = {name: model.encoders[name] for name in "ab"}
    dims = {name: encoder.dim for name, encoder in encoders.items()}
    small = {"width": 4} if fusion in LARGE else {}
    small |= {"heads": 2} if "transformer" in fusion else {}
    made = mx.plugins.create("fusion", fusion, dims=dims, labels=model.labels, **small)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            weight.add_(
                0.3 * torch.randn_like(weight) if weight.dim() < 2 or "missing" in name else 0
            )
    return EmotionModel(encoders, made).eval()


# The function stays the same.


@pytest.mark.parametrize("fusion", ["joint", *FUSIONS])
@pytest.mark.parametrize(
    "settings",
    [
        {"removal": "absent"},
        {"removal": "zero"},
        {"removal": {"a": "noise", "b": "absent"}, "draws": 2},
        {"removal": "absent", "level": "features"},
        {"removal": "marginal", "draws": 2},
    ],
    ids=str,
)
def test_every_coalition_scores_the_same(fusion, settings) -> None:
    samples = vector_samples(4, missing=True)
    if "marginal" in settings["removal"]:
        settings = settings | {"background": vector_samples(6)}
    model = vector_model(2, "joint").eval() if fusion == "joint" else a_model(fusion)
    mine = model.game(samples, **settings)
    other = changed(model).game(samples, **settings)
    if settings["removal"] == "zero" or settings.get("level") == "features":
        mine, other = mine.divide(ITEMS), other.divide(ITEMS)
    draw = torch.Generator().manual_seed(0)
    keep = {
        name: torch.rand(12, *spans.start.shape, generator=draw) < 0.5
        for name, spans in mine.players.items()
    }
    keep["a"][0], keep["b"][0] = False, False
    keep["a"][1], keep["b"][1] = True, False
    found, expected = other.value(keep), mine.value(keep)
    assert found.dtype == torch.float64
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
    # And yet the vectors are others.
    assert (other.encode("a").values - mine.encode("a").values).abs().max() > 1


def test_masks_and_padding_stay() -> None:
    samples = vector_samples(4, missing=True)
    model = vector_model().eval()
    mine, other = model.game(samples), changed(model).game(samples)
    for name in "ab":
        before, after = mine.encode(name), other.encode(name)
        assert torch.equal(before.mask, after.mask)
        assert torch.equal(before.spans.end, after.spans.end)
        assert bool(after.values[~after.mask].eq(0).all())
        assert bool(after.values[after.mask].ne(0).any())


def test_the_reference_moves_along() -> None:
    model = vector_model().eval()
    to = {name: shifted(width, 1) for name, width in model.fusion.dims.items()}
    for settings in ({}, {"removal": "zero"}):
        mine = model.game(vector_samples(3), **settings)
        other = reparametrised(model, to).game(vector_samples(3), **settings)
        for name in "ab":
            there = to[name].there(mine.reference(name).double())
            mask = mine.encode(name).mask
            if settings:
                there, back = there[mask], other.reference(name)[mask]
            else:
                back = other.reference(name)
            assert torch.allclose(there, back, atol=1e-4)


def test_coordinates_there_and_back() -> None:
    to = shifted(5)
    values = torch.randn(2, 3, 5).double()
    assert torch.allclose(to.back(to.there(values)), values)
    assert not torch.allclose(to.there(values), values)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_changed_fusion_keeps_the_promises_of_fusions(fusion) -> None:
    report = testing.check_fusion(changed(a_model(fusion)).fusion)
    # It is made to be looked through, and not to be saved.
    failed = {check.name for check in report.failures}
    assert failed <= {
        "it comes back from a folder",
        "a folder holds no pickle",
        "what does not fit is refused",
    }
    assert len(report) > 25


# The gap.


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("fusion", ["shallow", "joint"])
@KINDS
def test_default_methods_explain_the_function(name, fusion, kind) -> None:
    gap = reparametrisation_gap(
        vector_model(2, fusion).eval(),
        DEFAULTS[name],
        vector_samples(3, missing=True),
        removal="zero",
        kind=kind,
        shifts=20 if kind == "shift" else 4,
    )
    assert gap.attributor == name
    assert gap.shares.shape[1:] == (3, 5, 2)
    assert gap.score_gap < 1e-12
    assert gap.largest < 1e-9  # the goal is 1e-6
    assert gap.share_gap <= gap.largest
    assert gap.total_gap <= gap.largest
    assert (gap.unit_gap != gap.unit_gap) == (name in ("modality-shapley", "modality-ablation"))


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("fusion", ["late", *LARGE])
def test_default_methods_on_every_fusion(name, fusion) -> None:
    gap = reparametrisation_gap(
        a_model(fusion), DEFAULTS[name], vector_samples(2), removal="zero", shifts=2
    )
    assert gap.score_gap < 1e-12
    assert gap.largest < 1e-9


@pytest.mark.parametrize("name", ["modality-shapley", "feature-difference", "integrated-gradients"])
def test_the_vector_of_an_absent_modality_is_shifted_too(name) -> None:
    gap = reparametrisation_gap(
        vector_model().eval(), DEFAULTS[name], vector_samples(4, missing=True)
    )
    assert gap.largest < 1e-9


@pytest.mark.parametrize("name", ["owen", "unit-shapley"])
def test_masked_features_may_be_shifted(name) -> None:
    gap = reparametrisation_gap(
        vector_model().eval(), DEFAULTS[name], vector_samples(3), level="features", shifts=5
    )
    assert gap.largest < 1e-9


@pytest.mark.parametrize("name", ["modality-shapley", "feature-difference", "integrated-gradients"])
def test_against_the_mean_of_a_background(name) -> None:
    gap = reparametrisation_gap(
        vector_model().eval(),
        DEFAULTS[name],
        vector_samples(3),
        removal="mean",
        background=vector_samples(6),
    )
    assert gap.largest < 1e-9


@pytest.mark.parametrize("method", [GradCAM(), HiResCAM(), GradCAM(scale="raw")])
def test_published_maps_explain_how_the_model_is_written_down(method) -> None:
    gap = reparametrisation_gap(vector_model().eval(), method, vector_samples(4))
    assert gap.score_gap < 1e-12
    assert gap.share_gap > 0.3
    # Not one odd sample: the mean share of the first modality wanders by tens of per cent.
    mean = gap.shares[:, :, 0, 0].nanmean(1)
    assert (mean - mean[0]).abs().max() > 0.2


@pytest.mark.parametrize("kind", ["scale", "rotation"])
def test_published_maps_survive_linear_changes(kind) -> None:
    gap = reparametrisation_gap(vector_model().eval(), GradCAM(), vector_samples(4), kind=kind)
    assert gap.largest < 1e-9


def test_larger_shifts_move_shares_further() -> None:
    gaps = [
        reparametrisation_gap(
            vector_model().eval(), GradCAM(), vector_samples(4), size=size
        ).total_gap
        for size in (0.01, 0.1, 1)
    ]
    assert gaps[0] < gaps[1] < gaps[2]


def test_shares_and_gaps_are_what_they_are_said_to_be() -> None:
    gap = reparametrisation_gap(vector_model().eval(), HiResCAM(), vector_samples(3), shifts=3)
    shares = gap.totals.abs() / gap.totals.abs().sum(-1, keepdim=True)
    assert torch.equal(gap.shares, shares)
    assert gap.share_gap == (shares - shares[0]).abs().max().item()
    largest = gap.totals[0].abs().amax((0, 2))
    change = (gap.totals - gap.totals[0]).abs().amax((0, 1, 3))
    assert gap.total_gap == (change / largest).max().item()
    plain = HiResCAM().attribute(vector_model_again().game(vector_samples(3)))
    assert plain.totals.shape == gap.totals[0].shape


def vector_model_again() -> EmotionModel:
    return vector_model().eval()


def test_the_first_is_the_model_itself() -> None:
    model = vector_model().eval()
    gap = reparametrisation_gap(model, GradCAM(), vector_samples(3), shifts=1)
    own = GradCAM().attribute(model.game(vector_samples(3)))
    assert torch.allclose(gap.totals[0], own.totals.double(), atol=1e-4)


def test_a_share_that_appears_counts_as_whole() -> None:
    from modalxai.evaluation.reparametrisation import _share_gap

    shares = torch.tensor([[[[0.5, 0.5]]], [[[float("nan")] * 2]]])
    assert _share_gap(shares) == 1
    assert _share_gap(shares[:1]) == 0
    assert _share_gap(shares[1:]) != _share_gap(shares[1:])


def test_speech() -> None:
    model, samples = speech_model().eval(), speech_samples(2)
    players = {"text": "word", "audio": "segment"}
    for method in (Owen(players), FeatureDifference(), IntegratedGradients(nodes=4)):
        gap = reparametrisation_gap(
            model, method, samples, removal={"text": "mask", "audio": "silence"}, shifts=4
        )
        assert gap.largest < 1e-9
    assert reparametrisation_gap(model, GradCAM(), samples, shifts=4).share_gap > 0.1


# Costs and traces.


def test_shifts_cost_no_encoding() -> None:
    model, samples = vector_model().eval(), vector_samples(3)
    counts = []
    for shifts in (1, 6):
        with Rows(model) as rows:
            reparametrisation_gap(model, Owen(ITEMS), samples, removal="zero", shifts=shifts)
        counts.append(dict(rows.encoded))
    assert counts[0] == counts[1]
    assert counts[0]["a"] > 0


def test_too_little_memory_changes_nothing(monkeypatch) -> None:
    model, samples = vector_model().eval(), vector_samples(3)
    first = reparametrisation_gap(model, Owen(ITEMS), samples, removal="zero", shifts=2)
    monkeypatch.setattr("modalxai.evaluation.coordinates.MEMORY_BYTES", 0)
    with Rows(model) as rows:
        second = reparametrisation_gap(model, Owen(ITEMS), samples, removal="zero", shifts=2)
    assert torch.allclose(first.totals, second.totals, atol=1e-6)
    assert rows.encoded["a"] > 30


def test_the_model_is_left_as_it_was() -> None:
    model = vector_model().train()
    before = copy.deepcopy(model.state_dict())
    parts = [id(module) for module in model.modules()]
    state = torch.random.get_rng_state()
    fired = []
    model.fusion.register_forward_hook(lambda *_: fired.append(1))
    reparametrisation_gap(model, IntegratedGradients(), vector_samples(3), shifts=2)
    assert parts == [id(module) for module in model.modules()]
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(value.dtype == before[name].dtype for name, value in model.state_dict().items())
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_same_seed_makes_the_same_shifts() -> None:
    model, samples = vector_model().eval(), vector_samples(3)
    first, second, other = (
        reparametrisation_gap(model, GradCAM(), samples, shifts=3, seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(first.totals, second.totals)
    assert not torch.equal(first.totals, other.totals)


def test_a_feature_cache_may_be_inside(tmp_path) -> None:
    model = vector_model().eval()
    model.encoders["a"].requires_grad_(False)
    plain = reparametrisation_gap(model, GradCAM(), vector_samples(3), shifts=2)
    model.encoders["a"] = CachedEncoder(model.encoders["a"], tmp_path)
    cached = reparametrisation_gap(model, GradCAM(), vector_samples(3), shifts=2)
    assert torch.allclose(plain.totals, cached.totals, atol=1e-6)


# Mistakes.


def test_mistakes_are_named() -> None:
    model, samples = vector_model().eval(), vector_samples(3)
    for bad in ({"shifts": 0}, {"kind": "bend"}, {"size": 0.0}, {"shifts": True}):
        with pytest.raises(InputError, match="change of coordinates"):
            reparametrisation_gap(model, GradCAM(), samples, **bad)
    with pytest.raises(InputError, match="cannot be changed"):
        reparametrisation_gap(torch.nn.Linear(2, 2), GradCAM(), samples)
    with pytest.raises(RemovalError, match="does not offer"):
        reparametrisation_gap(model, GradCAM(), samples, removal="silence")
    ready = Background.of(model, samples)
    with pytest.raises(InputError, match="one model has encoded"):
        reparametrisation_gap(model, FeatureDifference(), samples, removal="mean", background=ready)


def test_coordinates_must_fit() -> None:
    model = vector_model().eval()
    for bad in ({"a": shifted(3)}, {"a": shifted(3), "b": shifted(3)}):
        with pytest.raises(InputError, match="coordinates that do not fit"):
            reparametrised(model, bad)


def test_a_changed_model_follows_the_weights_and_lets_gradients_through() -> None:
    model = vector_model(dropout=0.0)
    other, batch = changed(model), model.collate(vector_samples(3))
    first = other(batch).scores
    first.sum().backward()
    weight = model.encoders["a"].layer.weight
    assert weight.grad is not None  # the encoders are shared
    with torch.no_grad():
        weight.add_(1.0)
    assert not torch.allclose(other(batch).scores, first)


def test_data_that_change_are_noticed() -> None:
    class Shuffled(list):
        def __iter__(self):
            return reversed(list(super().__iter__()))

        def __getitem__(self, index):
            self.reads = getattr(self, "reads", 0) + 1
            return super().__getitem__(index if self.reads <= 3 else -1 - index)

    with pytest.raises(InputError, match="not the same each time"):
        reparametrisation_gap(
            vector_model().eval(), GradCAM(), Shuffled(vector_samples(3)), shifts=2
        )


def test_an_iterator_is_read_once() -> None:
    gap = reparametrisation_gap(vector_model().eval(), GradCAM(), iter(vector_samples(3)), shifts=2)
    assert gap.sample_ids == ("u0", "u1", "u2")
