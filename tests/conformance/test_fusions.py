"""Every built-in fusion, and every pair of an encoder and a fusion, keeps its promises."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from tests.support.counting import Conforms
from toys import MIXED

import modalxai as mx
from modalxai import plugins, testing

SMALL: dict[str, dict[str, Any]] = {
    "crossmodal-transformer": {"width": 4, "heads": 2},
    "fusion-transformer": {"width": 4, "heads": 2},
    "late": {"combine": "learned"},
    "meta-attention": {"width": 4},
    "shallow": {"hidden": 6},
}
FUSIONS = plugins.available("fusion")
LEAST, LEAST_OF_A_PAIR = 28, 18


def _fusion(name: str, dims: dict[str, int]) -> Any:
    return plugins.create("fusion", name, dims=dims, labels=MIXED, **SMALL.get(name, {}))


def _model(fusion: str, names: dict[str, str]) -> Any:
    encoders = {modality: tiny.encoder(name) for modality, name in names.items()}
    dims = {modality: encoder.dim for modality, encoder in encoders.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return mx.EmotionModel(encoders, _fusion(fusion, dims))


def _samples(names: dict[str, str]) -> list[dict[str, Any]]:
    return [
        dict(zip(names, raws, strict=True))
        for raws in zip(*(tiny.raws(name) for name in names.values()), strict=True)
    ]


def _dims(count: int) -> dict[str, int]:
    """Out of alphabetical order, and of different widths."""
    widths = {"text": 3, "audio": 5, "signal": 4, "face": 3, "eyes": 2}
    return dict(list(widths.items())[:count])


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("modalities", [1, 2, 3])
def test_a_fusion_conforms(name: str, modalities: int, conforms: Conforms) -> None:
    conforms(testing.check_fusion(_fusion(name, _dims(modalities))), LEAST)


@pytest.mark.parametrize("name", ["late", "meta-attention"])
def test_more_modalities_than_all_subsets_of_conform(name: str, conforms: Conforms) -> None:
    conforms(testing.check_fusion(_fusion(name, _dims(5))), LEAST)


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("encoder", plugins.available("encoders"))
def test_a_pair_conforms(encoder: str, name: str, conforms: Conforms) -> None:
    partner = "biosignal" if isinstance(tiny.raws(encoder)[0], str) else "byte-text"
    names = {"own": encoder, "other": partner}
    conforms(testing.check_pair(_model(name, names), _samples(names)), LEAST_OF_A_PAIR)


@pytest.mark.parametrize("name", FUSIONS)
def test_three_modalities_conform(name: str, conforms: Conforms) -> None:
    names = {"voice": "mel-cnn", "text": "byte-text", "body": "biosignal"}
    conforms(testing.check_pair(_model(name, names), _samples(names)), LEAST_OF_A_PAIR)


def test_how_many_checks_a_run_makes() -> None:
    pairs = len(plugins.available("encoders")) * len(FUSIONS) * LEAST_OF_A_PAIR
    encoders = len(tiny.ENCODERS) * 35
    fusions = len(FUSIONS) * (3 * LEAST + LEAST_OF_A_PAIR)
    assert pairs + encoders + fusions >= 2400
