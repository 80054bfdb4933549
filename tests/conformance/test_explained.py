"""Any encoder and any fusion are explained alone as in a batch, completely."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from toys import MIXED

import modalxai as mx

ENCODERS, FUSIONS = mx.plugins.available("encoders"), mx.plugins.available("fusion")
# Every encoder once, every fusion with every partner's kind.
PAIRS = [(name, FUSIONS[place % len(FUSIONS)]) for place, name in enumerate(ENCODERS)]
PAIRS += [(name, fusion) for name in ("mel-cnn", "byte-text") for fusion in FUSIONS]


def _model(encoder: str, fusion: str) -> tuple[Any, list[dict[str, Any]]]:
    partner = "biosignal" if isinstance(tiny.raws(encoder)[0], str) else "byte-text"
    names = {"own": encoder, "other": partner}
    dims = {modality: tiny.encoder(name).dim for modality, name in names.items()}
    made = mx.plugins.create("fusion", fusion, dims=dims, labels=MIXED)
    model = mx.EmotionModel({m: tiny.encoder(name) for m, name in names.items()}, made)
    samples = [
        {"id": f"u{row}", **dict(zip(names, raws, strict=True))}
        for row, raws in enumerate(zip(*(tiny.raws(name) for name in names.values()), strict=True))
    ]
    return model, [*samples, {"id": "lacking", "own": None, "other": tiny.raws(partner)[1]}]


@pytest.mark.parametrize(("encoder", "fusion"), sorted(set(PAIRS)))
def test_a_pair_is_explained_alone_as_in_a_batch(encoder: str, fusion: str) -> None:
    model, samples = _model(encoder, fusion)
    whole = mx.explain(model, samples)
    alone = mx.Explanation.merge([mx.explain(model, sample) for sample in samples])
    torch.testing.assert_close(alone.draws, whole.draws, rtol=1e-5, atol=1e-5)
    shapley = whole.shapley()
    assert shapley.residual().abs().max() < 1e-5
    assert shapley.totals[3, :, 0].eq(0).all()
    assert not whole.present[3, 0]
    found = mx.attribution.FeatureDifference().attribute(model.game(samples))
    assert found.unit_gap().abs().max() < 1e-5
