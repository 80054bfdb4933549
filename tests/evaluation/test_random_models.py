"""Random weights: maps must change, the model must not."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy, rankdata, spearmanr
from tests.evaluation.hand import one_map, random_game
from torch import nn
from toys import speech_model, speech_samples, vector_model, vector_samples

import modalxai as mx
from modalxai.attribution import FeatureDifference, GradCAM, ModalityShapley, Owen
from modalxai.errors import InputError
from modalxai.evaluation import complexity, randomisation, shuffled_labels, similarity
from modalxai.evaluation.maps import ranks
from modalxai.evaluation.random_models import shuffle_weights
from modalxai.testing import oracles
from modalxai.training import CachedEncoder

ITEMS = {"a": "item", "b": "item"}


def long_samples(count: int = 3) -> list[dict]:
    """Six vectors in each modality, so that a correlation means something."""
    draw = torch.Generator().manual_seed(1)
    return [
        {"id": f"u{row}"} | {name: torch.randn(6, 4, generator=draw) for name in "ab"}
        for row in range(count)
    ]


class Norms:
    """A map of the input alone: how long each vector is, whatever the weights."""

    def __init__(self, samples: list[dict]) -> None:
        self.samples = samples

    def attribute(self, game, labels=None):
        found = FeatureDifference().attribute(game, labels)
        units = {
            name: torch.stack([s[name].norm(dim=-1) for s in self.samples])[:, None]
            .expand(-1, len(found.labels), -1)
            .clone()
            for name in found.units
        }
        return replace(found, units=units)


# Random models.


def test_maps_of_random_models_are_others() -> None:
    model = vector_model().eval()
    found = randomisation(model, FeatureDifference(), long_samples(), repeats=20, removal="zero")
    assert found.similarity.shape == (1, 3, 5)
    assert found.mean_similarity.abs().max() < 0.5
    assert found.similarity.mean().abs() < 0.15
    assert {name.split(".")[0] for name in found.layers[0]} == {"encoders", "fusion"}


def test_a_map_of_the_input_alone_is_found_out() -> None:
    samples = long_samples()
    found = randomisation(vector_model().eval(), Norms(samples), samples, removal="zero")
    assert torch.allclose(found.similarity, torch.ones_like(found.similarity))
    assert torch.allclose(found.rise, torch.zeros_like(found.rise))


@pytest.mark.parametrize("layers", ["bottom-up", "top-down"])
def test_a_cascade_grows_layer_by_layer(layers) -> None:
    model = vector_model().eval()
    steps = randomisation(model, FeatureDifference(), long_samples(), layers=layers, removal="zero")
    assert len(steps.layers) == len(steps.similarity) == 4
    names = [name for run in steps.layers for name in run]
    own = [n for n, m in model.named_modules() if any(True for _ in m.parameters(recurse=False))]
    assert names == (own if layers == "bottom-up" else own[::-1])
    assert len(set(names)) == len(names)
    first = names[0].split(".")[0]
    assert first == ("encoders" if layers == "bottom-up" else "fusion")
    assert steps.similarity[0].nanmean() > steps.similarity[-1].nanmean() - 0.5


def test_the_weights_of_later_layers_are_the_models_own_until_their_turn() -> None:
    # An encoder's norms do not see the fusion: top-down, they change in the last steps alone.
    samples = long_samples()

    class Encoded(Norms):
        def attribute(self, game, labels=None):
            found = super().attribute(game, labels)
            units = {
                name: game.encode(name).values[..., 0][:, None].expand_as(found.units[name]).clone()
                for name in found.units
            }
            return replace(found, units=units)

    model = vector_model().eval()
    steps = randomisation(
        model, Encoded(samples), samples, layers="top-down", steps=100, removal="zero"
    )
    similar = steps.similarity.mean((1, 2))
    of_fusion = sum(run[0].startswith("fusion") for run in steps.layers)
    assert similar[:of_fusion].tolist() == pytest.approx([1.0] * of_fusion)
    assert similar[-1] < 0.9


def test_a_trained_model_loses_its_map_and_its_concentration() -> None:
    # One vector of six, at a random place, has a first value that decides; the rest is noise.
    draw = torch.Generator().manual_seed(2)
    samples = []
    for row in range(48):
        a = torch.randn(6, 4, generator=draw)
        a[:, 0] = 0
        joy = row % 2
        a[int(torch.randint(6, (1,), generator=draw)), 0] = 6.0 * joy - 3.0
        samples.append({"id": f"u{row}", "a": a, "labels": {"x": 1 - joy, "y": joy}})
    model = vector_model(1, found=mx.labels("x", "y"), dropout=0.0)
    batch = model.collate(samples)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(150):
        scores = model(batch).scores
        loss = nn.functional.cross_entropy(scores, batch["targets"][0].argmax(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05
    found = randomisation(model, Owen({"a": "item"}), samples[:8], repeats=8, removal="zero")
    assert found.complexity.mean() < 1.1
    assert found.rise.mean() > 0.3
    assert found.similarity.mean().abs() < 0.3


def test_modalities_are_too_few_for_a_correlation() -> None:
    found = randomisation(vector_model().eval(), ModalityShapley(), vector_samples(2))
    assert found.similarity.isnan().all()
    three = randomisation(vector_model(3).eval(), ModalityShapley(), vector_samples(2, "abc"))
    assert three.similarity.isfinite().any()


def test_speech() -> None:
    players = {"text": "word", "audio": "segment"}
    found = randomisation(
        speech_model().eval(),
        Owen(players),
        speech_samples(2, 0.3),
        removal={"text": "mask", "audio": "silence"},
        repeats=1,
    )
    assert found.similarity[0, 1].isfinite().all()
    assert found.similarity.nanmean() < 0.9


# No trace.


def test_the_model_is_left_as_it_was(tmp_path) -> None:
    model = vector_model().train()
    model.encoders["a"].requires_grad_(False)
    model.encoders["a"] = CachedEncoder(model.encoders["a"], tmp_path)
    before = copy.deepcopy(model.state_dict())
    parts = [id(module) for module in model.modules()]
    state = torch.random.get_rng_state()
    randomisation(model, GradCAM(), vector_samples(3), repeats=2)
    assert parts == [id(module) for module in model.modules()]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training
    assert all(weight.grad is None for weight in model.parameters())
    # Three rows of the model itself: nothing that a random encoder gave is kept.
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3


def test_the_same_seed_makes_the_same_models() -> None:
    model, samples = vector_model().eval(), long_samples()
    one, two, other = (
        randomisation(model, GradCAM(), samples, repeats=2, seed=seed) for seed in (3, 3, 4)
    )
    assert torch.equal(one.random_complexity, two.random_complexity)
    assert not torch.equal(one.random_complexity, other.random_complexity)


def test_shuffling_keeps_the_values_of_a_layers_own_weights() -> None:
    layer = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
    layer.extra = nn.Parameter(torch.arange(6.0).reshape(2, 3).T)  # not contiguous
    inside = copy.deepcopy(layer[0].weight)
    shuffle_weights(layer, torch.Generator().manual_seed(0))
    assert torch.equal(layer[0].weight, inside)
    assert layer.extra.flatten().sort().values.tolist() == [0, 1, 2, 3, 4, 5]
    assert layer.extra.flatten().tolist() != [0, 3, 1, 4, 2, 5]
    shuffle_weights(layer[0], torch.Generator().manual_seed(0))
    assert not torch.equal(layer[0].weight, inside)
    assert torch.equal(layer[0].weight.flatten().sort().values, inside.flatten().sort().values)


# Maps.


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_ranks_are_scipys(values) -> None:
    assert ranks(torch.tensor(values).double()).tolist() == rankdata(values).tolist()


def test_similarity_and_complexity_are_scipys() -> None:
    game, one = random_game(0)
    _, other = random_game(1)
    similar, spread = similarity(one, other), complexity(one)
    for row in range(3):
        real = {name: spans.mask[row] for name, spans in game.players.items()}
        for label in range(4):
            a, b = (
                torch.cat([each.units[n][row, label][real[n]] for n in real])
                for each in (one, other)
            )
            assert similar[row, label].item() == pytest.approx(spearmanr(a, b).statistic)
            assert spread[row, label].item() == pytest.approx(entropy(a.abs()))


def test_known_complexities() -> None:
    game = oracles.additive([0, 0, 0, 0]).game({"text": 2, "audio": 2})
    for values, expected in (([1, -1, 1, 1], 4.0), ([0, 0, 5, 0], 1.0), ([1, 1, 0, 0], 2.0)):
        found = complexity(one_map(game, values)).exp().item()
        assert found == pytest.approx(expected)
    assert complexity(one_map(game, [0] * 4)).isnan().all()
    assert similarity(one_map(game, [1] * 4), one_map(game, [1, 2, 3, 4])).isnan().all()
    more = oracles.additive([0] * 5).game({"text": 3, "audio": 2})
    with pytest.raises(InputError, match="different units"):
        similarity(one_map(game, [1] * 4), one_map(more, [1] * 5))


# Labels.


def test_labels_are_dealt_out_anew() -> None:
    samples = [{"id": f"u{i}", "labels": {"x": i}, "text": str(i)} for i in range(20)]
    samples[3].pop("labels")
    before = copy.deepcopy(samples)
    dealt = shuffled_labels(samples, seed=1)
    assert samples == before
    assert [one["id"] for one in dealt] == [one["id"] for one in samples]
    assert [one["text"] for one in dealt] == [one["text"] for one in samples]
    assert sum("labels" not in one for one in dealt) == 1
    values = [one["labels"]["x"] for one in dealt if "labels" in one]
    assert sorted(values) == sorted(set(range(20)) - {3})
    assert values != sorted(values)
    assert shuffled_labels(samples, seed=1) == dealt
    assert shuffled_labels(samples, seed=2) != dealt
    with pytest.raises(InputError, match="too few"):
        shuffled_labels(samples[:1])


def test_mistakes_are_named() -> None:
    model, samples = vector_model().eval(), vector_samples(2)
    for bad in ({"layers": "some"}, {"steps": 0}, {"repeats": 0}):
        with pytest.raises(InputError, match="randomisation"):
            randomisation(model, GradCAM(), samples, **bad)
    with pytest.raises(InputError, match="cannot be changed"):
        randomisation(nn.Linear(2, 2), GradCAM(), samples)
