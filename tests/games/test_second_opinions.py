"""Captum, SHAP and brute force, asked about the same real model: equal numbers, counted calls."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import MIXED, speech_model, speech_samples

import modalxai as mx
from modalxai.attribution.scales import on_scale, rivals_of
from modalxai.model import EmotionModel

CLOSE = {"rtol": 0, "atol": 1e-5}
REMOVALS = [
    {"audio": "absent", "text": "absent"},
    {"audio": "silence", "text": "mask"},
    {"audio": "mean", "text": "empty"},
]


class BlackBox:
    """The whole model as others see it: a mask over two players in, one label's score out."""

    def __init__(
        self, model: EmotionModel, sample: dict, removal: dict, scale: str, label: int
    ) -> None:
        self.model, self.sample = model.eval(), sample
        self.removal, self.scale, self.label = removal, scale, label
        self.background = speech_samples(4)
        self.calls = 0

    def __call__(self, mask: Tensor) -> Tensor:
        """Bool-like [N, 2] to [N]; every row is a call of the model, from its raw inputs."""
        return torch.cat([self.one(row) for row in mask])

    def one(self, row: Tensor) -> Tensor:
        self.calls += 1
        batch = self.model.collate([self.sample])
        features = {}
        with torch.no_grad():
            for kept, name in zip(row, self.model.modalities, strict=True):
                encoder, how = self.model.encoders[name], self.removal[name]
                full = encoder(batch[name])
                if bool(kept):
                    features[name] = full
                elif how == "absent":
                    features[name] = type(full)(
                        full.values * 0, torch.zeros_like(full.mask), full.spans
                    )
                elif how == "mean":
                    rows = [
                        self.model.encoders[name](self.model.collate([other])[name]).values[0]
                        for other in self.background
                    ]
                    mean = torch.stack([one.mean(0) for one in rows]).mean(0)
                    features[name] = type(full)(mean.expand_as(full.values), full.mask, full.spans)
                else:
                    units = encoder.units(batch[name], encoder.kinds[0])
                    nothing = torch.zeros_like(units.mask)
                    features[name] = encoder(encoder.remove(batch[name], units, nothing, how, 0))
            scores = self.model.fusion(features).scores
        whole = self.model.predict(self.sample).scores
        rivals = rivals_of(whole, MIXED, "rival")
        return on_scale(scores, MIXED, self.scale, rivals)[:, self.label]


@pytest.fixture(scope="module")
def model() -> EmotionModel:
    torch.manual_seed(1)
    return speech_model("joint")  # its modalities interact strongly


def ours(model: EmotionModel, box: BlackBox) -> mx.Explanation:
    return mx.explain(model, box.sample, removal=box.removal, background=box.background)


CASES = [
    pytest.param(removal, scale, label, id=f"{removal['audio']}-{removal['text']}-{scale}-{label}")
    for removal in REMOVALS
    for scale, label in (("clr", 0), ("probability", 2), ("log-odds", 1), ("raw", 4))
]


@pytest.mark.parametrize(("removal", "scale", "label"), CASES)
def test_captums_shapley_values_are_ours(
    model: EmotionModel, removal: dict, scale: str, label: int
) -> None:
    from captum.attr import FeatureAblation, ShapleyValues

    box = BlackBox(model, speech_samples(2)[1], removal, scale, label)
    on, off = torch.ones(1, 2), torch.zeros(1, 2)
    theirs = ShapleyValues(box).attribute(on, baselines=off)
    calls = box.calls
    explanation = ours(model, box)
    torch.testing.assert_close(theirs.float(), explanation.shapley(scale).totals[:, label], **CLOSE)
    assert explanation.shapley(scale).totals[:, label].abs().max() > 1e-3
    assert calls == 5  # one whole, and two orders of two
    box.calls = 0
    theirs = FeatureAblation(box).attribute(on, baselines=off)
    torch.testing.assert_close(
        theirs.float(), explanation.ablation(scale).totals[:, label], **CLOSE
    )
    assert box.calls == 3


@pytest.mark.parametrize(("removal", "scale", "label"), CASES)
def test_shaps_exact_values_are_ours(
    model: EmotionModel, removal: dict, scale: str, label: int
) -> None:
    import shap

    box = BlackBox(model, speech_samples(2)[1], removal, scale, label)

    def masker(mask: np.ndarray, x: np.ndarray) -> np.ndarray:
        return (x * mask)[None]

    def f(masks: np.ndarray) -> np.ndarray:
        return box(torch.from_numpy(masks) > 0).numpy()

    theirs = shap.explainers.Exact(f, masker)(np.ones((1, 2)))
    assert box.calls == 4
    found = ours(model, box).shapley(scale)
    torch.testing.assert_close(
        torch.from_numpy(theirs.values).float(), found.totals[:, label], **CLOSE
    )
    assert theirs.base_values[0] == pytest.approx(found.reference[0, label].item(), abs=1e-5)


@pytest.mark.parametrize(("removal", "scale", "label"), CASES)
def test_brute_force_over_all_orders_is_ours(
    model: EmotionModel, removal: dict, scale: str, label: int
) -> None:
    box = BlackBox(model, speech_samples(2)[1], removal, scale, label)
    phi = torch.zeros(2)
    for order in permutations(range(2)):
        kept = torch.zeros(2)
        for player in order:
            before = box.one(kept)[0]
            kept[player] = 1
            phi[player] += (box.one(kept)[0] - before) / 2
    explanation = ours(model, box)
    torch.testing.assert_close(explanation.shapley(scale).totals[0, label], phi, **CLOSE)
    corners = [[1, 1], [1, 0], [0, 1], [0, 0]]
    both, audio, text, none = (box.one(torch.tensor(corner))[0] for corner in corners)
    pair = explanation.interactions(scale).pairs["audio", "text"][0, label, 0, 0]
    torch.testing.assert_close(pair, both - audio - text + none, **CLOSE)


def test_five_modalities_cost_captum_601_calls_and_us_one_encoding_each() -> None:
    from captum.attr import ShapleyValues
    from toys import Rows, vector_model, vector_samples

    model, samples = vector_model(5, "joint").eval(), vector_samples(1, "abcde")
    game = model.game(samples)
    calls = 0

    def f(mask: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        keep = {name: mask[:, [i]].bool() for i, name in enumerate("abcde")}
        return game.value(keep)[0, :, 4]  # dimensional: raw is its scale

    theirs = ShapleyValues(f).attribute(torch.ones(1, 5), baselines=torch.zeros(1, 5))
    assert calls == 601
    with Rows(model) as rows:
        found = mx.explain(model, samples).shapley()
    assert rows.encoded == dict.fromkeys("abcde", 1)
    torch.testing.assert_close(theirs.float(), found.totals[:, 4], **CLOSE)


def test_integrated_gradients_of_a_linear_head_are_its_feature_difference() -> None:
    from captum.attr import IntegratedGradients
    from toys import vector_model, vector_samples

    from modalxai.attribution import FeatureDifference

    model, samples = vector_model(2, hidden=0).eval(), vector_samples(1)
    game = model.game(samples, removal="zero")
    features = {name: game.encode(name) for name in "ab"}
    nothing = torch.zeros(1, 1).bool()
    starts = tuple(game.encode(name, nothing).values for name in "ab")

    def f(*values: Tensor) -> Tensor:
        moved = {}
        for name, value in zip("ab", values, strict=True):
            one = features[name]
            rows = len(value) // len(one.mask)
            moved[name] = type(one)(value, one.mask.repeat(rows, 1), one.spans)
        return model.fuse(moved).scores[:, 4]

    method: Callable[..., tuple[Tensor, ...]] = IntegratedGradients(f).attribute
    theirs = method(tuple(features[name].values for name in "ab"), baselines=starts, n_steps=4)
    found = FeatureDifference("raw").attribute(game)
    for name, value in zip("ab", theirs, strict=True):
        torch.testing.assert_close(value.sum(-1).float(), found.units[name][:, 4], **CLOSE)
