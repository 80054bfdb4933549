"""What explaining costs, beside Captum's ShapleyValues and SHAP's exact explainer, in one run.

wav2vec2-base and DistilBERT sizes, random weights, 3 s of audio, 7 labels. Captum and SHAP get the
model as a black box over two players and explain one label; we answer for all labels, and with the
same table for ablation, interactions and conflict as well.

Run: python benchmarks/explanation_cost.py
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import modalxai as mx
from modalxai import masking
from modalxai.attribution import Explanation, GradCAM
from modalxai.encoders import DistilBertEncoder, Wav2Vec2Encoder
from modalxai.fusion import ShallowFusion
from modalxai.types import Audio

EMOTIONS = mx.labels("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
REMOVALS = {
    "absent": {"audio": "absent", "text": "absent"},
    "silence + mask": {"audio": "silence", "text": "mask"},
}


def make() -> mx.EmotionModel:
    torch.manual_seed(0)
    audio, text = Wav2Vec2Encoder(), DistilBertEncoder()
    pools = {"audio": "mean", "text": "first"}
    fusion = ShallowFusion({"audio": audio.dim, "text": text.dim}, EMOTIONS, pool=pools)
    return mx.EmotionModel({"audio": audio, "text": text}, fusion).eval()


SAMPLE = {
    "id": "u0",
    "audio": Audio(
        torch.randn(3 * 16_000, generator=torch.Generator().manual_seed(0)) * 0.1, 16_000
    ),
    "text": "that was not what I meant",
}


class BlackBox:
    """A mask over (audio, text) in, clr of one label out; each row is one call of the model."""

    def __init__(self, model: mx.EmotionModel, removal: dict[str, str]) -> None:
        self.model, self.removal = model, removal
        self.batch = model.collate([SAMPLE])

    def __call__(self, masks: Tensor) -> Tensor:
        return torch.cat([self.one(row) for row in masks])

    def one(self, row: Tensor) -> Tensor:
        features = {}
        for kept, name in zip(row.tolist(), self.model.modalities, strict=True):
            encoder, how, inputs = self.model.encoders[name], self.removal[name], self.batch[name]
            if not kept and how != "absent":
                units = encoder.units(inputs, encoder.kinds[0])
                nothing = torch.zeros_like(units.mask)
                inputs = encoder.remove(inputs, units, nothing, how, 0)
            features[name] = encoder(inputs)
            if not kept and how == "absent":
                gone = torch.zeros_like(features[name].mask)
                values = masking.blank(features[name].values, gone)
                features[name] = type(features[name])(values, gone, features[name].spans)
        scores: Tensor = self.model.fusion(features).scores
        return scores[:, 0] - scores.mean(-1)


def predict(model: mx.EmotionModel, removal: dict[str, str]) -> Tensor:
    batch = model.collate([SAMPLE])
    with torch.no_grad():
        scores: Tensor = model(batch).scores
    return scores


def ours(model: mx.EmotionModel, removal: dict[str, str]) -> Tensor:
    explanation = Explanation.of(model.game(SAMPLE, removal=removal))
    explanation.ablation(), explanation.interactions(), explanation.conflict()
    return explanation.shapley().totals[0, 0]


def ours_and_grad_cam(model: mx.EmotionModel, removal: dict[str, str]) -> Tensor:
    game = model.game(SAMPLE, removal=removal)
    explanation = Explanation.of(game)
    explanation.ablation(), explanation.interactions(), explanation.conflict()
    GradCAM().attribute(game)
    return explanation.shapley().totals[0, 0]


def captum(model: mx.EmotionModel, removal: dict[str, str]) -> Tensor:
    from captum.attr import ShapleyValues

    with torch.no_grad():
        found = ShapleyValues(BlackBox(model, removal)).attribute(
            torch.ones(1, 2), baselines=torch.zeros(1, 2)
        )
    return found[0]


def shap(model: mx.EmotionModel, removal: dict[str, str]) -> Tensor:
    from shap.explainers import Exact

    box = BlackBox(model, removal)

    def f(masks: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return box(torch.from_numpy(masks)).numpy()

    explainer = Exact(f, lambda mask, x: (x * mask)[None])
    return torch.from_numpy(explainer(np.ones((1, 2)), silent=True).values[0])


@dataclass
class Cost:
    flops: int
    rows: int
    wall: float
    cpu: float
    values: Tensor


@contextmanager
def countable() -> Iterator[FlopCounterMode]:
    """The counter sees nothing of the fused inference path, nor of some attention kernels."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def measure(
    call: Callable[[mx.EmotionModel, dict[str, str]], Tensor],
    model: mx.EmotionModel,
    removal: dict[str, str],
) -> Cost:
    rows = 0

    def count(_: object, args: tuple[dict[str, Tensor], ...]) -> None:
        nonlocal rows
        rows += len(next(iter(args[0].values())))

    handles = [encoder.register_forward_pre_hook(count) for encoder in model.encoders.values()]
    with countable() as counter:
        wall, cpu = time.perf_counter(), time.process_time()
        values = call(model, removal)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    for handle in handles:
        handle.remove()
    return Cost(counter.get_total_flops(), rows, wall, cpu, values)


METHODS = {
    "one plain prediction": predict,
    "modalxai, all labels": ours,
    "modalxai + Grad-CAM, all labels": ours_and_grad_cam,
    "SHAP Exact, one label": shap,
    "Captum ShapleyValues, one label": captum,
}


def main() -> int:
    import captum.attr  # noqa: F401  # timed below, without their imports
    import shap  # noqa: F401

    model = make()
    predict(model, {})  # the first call of a model is slower
    worst = 0.0
    for title, removal in REMOVALS.items():
        costs = {name: measure(call, model, removal) for name, call in METHODS.items()}
        base = costs["one plain prediction"]
        print(f"\nremoval {title}; one prediction: {base.flops / 1e9:.1f} GFLOP, {base.wall:.2f} s")
        print(f"{'':34}{'FLOPs':>9}{'rows':>6}{'wall':>8}{'CPU':>8}")
        for name, cost in costs.items():
            print(
                f"{name:34}{cost.flops / base.flops:>8.4f}x{cost.rows:>6}"
                f"{cost.wall / base.wall:>7.2f}x{cost.cpu / base.cpu:>7.2f}x"
            )
        answers = [cost.values.double() for cost in list(costs.values())[1:]]
        worst = max(worst, *(float((one - answers[0]).abs().max()) for one in answers))
    print(f"\nlargest difference between the Shapley values of the three: {worst:.1e}")
    return int(worst > 1e-5)


if __name__ == "__main__":
    raise SystemExit(main())
