"""Captum's methods, each in its best public configuration for "what did each modality contribute?"

Perturbation methods switch modalities of whole models, a label's score being the clr averaged over
donors; gradient methods start at the encoders' outputs, with the axes that they average and sum
over put right. (Captum's own layer methods take the layer as it comes, [B, T, D], and average over
the wrong ones.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from modalxai.attribution.scales import on_scale
from modalxai.audio import seed_for
from modalxai.benchmark.tonebench.contestant import Answer, Method
from modalxai.benchmark.tonebench.contestants.controls import as_map
from modalxai.benchmark.tonebench.question import Question
from modalxai.benchmark.tonebench.whole import WholeModel
from modalxai.trace import no_trace
from modalxai.types import Features

PERMUTATIONS = 25
KERNEL_SAMPLES = 50
STEPS = 50
"""Captum's own defaults, but for KernelShap, whose 25 are too few by any account."""


def feature_ablation(asked: Question) -> Answer:
    """One modality off at a time, all labels at once."""
    from captum.attr import FeatureAblation

    whole = WholeModel(asked)
    found = FeatureAblation(whole).attribute(
        whole.on,
        baselines=whole.off,
        additional_forward_args=(whole.rows,),
        perturbations_per_eval=whole.players,
    )
    return _perturbed(asked, whole, found)


def shapley_values(asked: Question) -> Answer:
    """All permutations, all labels at once."""
    from captum.attr import ShapleyValues

    whole = WholeModel(asked)
    found = ShapleyValues(whole).attribute(
        whole.on,
        baselines=whole.off,
        additional_forward_args=(whole.rows,),
        perturbations_per_eval=2 * whole.players,
    )
    return _perturbed(asked, whole, found)


def shapley_sampling(asked: Question) -> Answer:
    """25 permutations drawn, all labels at once."""
    from captum.attr import ShapleyValueSampling

    whole = WholeModel(asked)
    with _seeded(asked):
        found = ShapleyValueSampling(whole).attribute(
            whole.on,
            baselines=whole.off,
            additional_forward_args=(whole.rows,),
            n_samples=PERMUTATIONS,
            perturbations_per_eval=8,
        )
    return _perturbed(asked, whole, found)


def kernel_shap(asked: Question) -> Answer:
    """A surrogate for each sample and its predicted label, 50 coalitions drawn."""
    from captum.attr import KernelShap

    whole = WholeModel(asked)
    method, rows = KernelShap(whole), []
    with _seeded(asked):
        for row, label in enumerate(asked.predicted.tolist()):
            one = slice(row, row + 1)
            rows.append(
                method.attribute(
                    whole.on[one],
                    baselines=whole.off[one],
                    target=label,
                    additional_forward_args=(torch.tensor([row]),),
                    n_samples=KERNEL_SAMPLES,
                    perturbations_per_eval=KERNEL_SAMPLES,
                )
            )
    found = asked.spread(torch.cat(rows).detach())
    return Answer(found, nats=True, residual=_residual(whole, found))


def integrated_gradients(asked: Question) -> Answer:
    """From the game's reference vectors to the encoders' outputs, 50 steps, D summed."""
    from captum.attr import IntegratedGradients

    seam = _Seam(asked)
    starts = tuple(
        features.values - away
        for features, away in zip(seam.features.values(), seam.differences(), strict=True)
    )
    with torch.enable_grad():
        found = IntegratedGradients(seam.scores).attribute(
            seam.values,
            baselines=starts,
            target=asked.predicted,
            additional_forward_args=seam.rows,
            n_steps=STEPS,
            internal_batch_size=8 * len(asked.samples),
        )
    return seam.answer([one.detach().sum(-1).float() for one in found], "captum-ig", signed=True)


def layer_gradcam(asked: Question) -> Answer:
    """Grad-CAM of each encoder's output, channels in the place where Captum looks for them."""
    from captum.attr import LayerGradCam

    seam = _Seam(asked)
    parts = []
    with torch.enable_grad():
        for layer in seam.layers:
            map_ = LayerGradCam(seam.scores, layer).attribute(
                seam.values,
                target=asked.predicted,
                additional_forward_args=seam.rows,
                relu_attributions=True,
            )
            parts.append(map_.detach()[:, 0].float())
    return seam.answer(parts, "captum-layer-gradcam", signed=False)


class _Seam:
    """The fusion as a function of the encoders' outputs, for Captum's gradient methods."""

    def __init__(self, asked: Question) -> None:
        self.asked, self.game = asked, asked.game()
        self.features = {name: self.game.encode(name) for name in asked.modalities}
        self.values = tuple(one.values.detach() for one in self.features.values())
        self.rows = (torch.arange(len(asked.samples)),)
        self.layers = [nn.Identity() for _ in asked.modalities]

    def differences(self) -> list[Tensor]:
        """How far each vector lies from the reference, 0 on padding."""
        found = []
        for name, one in self.features.items():
            away = one.values - self.game.reference(name)
            found.append(away.masked_fill(~one.mask[..., None], 0))
        return found

    def scores(self, *given: Tensor) -> Tensor:
        """Clr scores [n, K] of vectors [n, T, D] of each modality, and which samples they are."""
        *values, rows = given
        placed = {}
        for value, layer, (name, one) in zip(
            values, self.layers, self.features.items(), strict=True
        ):
            turned = layer(value.transpose(1, 2)).transpose(1, 2)
            mask = one.mask[rows]
            spans = type(one.spans)(one.spans.start[rows], one.spans.end[rows], one.spans.unit)
            placed[name] = Features(turned, mask, spans)
        with no_trace(self.asked.model, gradients=True):
            prediction = self.asked.model.fuse(placed)
        return on_scale(prediction.scores, prediction.labels, "clr", None)

    def answer(self, units: list[Tensor], name: str, signed: bool) -> Answer:
        """Values [N, T] of every vector for the predicted label."""
        dense = {
            key: self.asked.spread(value).nan_to_num(0)
            for key, value in zip(self.features, units, strict=True)
        }
        where = {
            key: Features(
                one.values,
                one.mask,
                type(one.spans)(one.spans.start, one.spans.end, one.spans.unit),
            )
            for key, one in self.features.items()
        }
        maps = as_map(self.asked, where, dense, name)
        at = torch.arange(len(self.asked.samples)), self.asked.predicted
        return Answer(self.asked.spread(maps.totals[at]), signed=signed, maps=maps)


def _perturbed(asked: Question, whole: WholeModel, found: Tensor) -> Answer:
    """[N, K, M], or [N * K, M] as `FeatureAblation` has it."""
    values = found.detach().reshape(len(asked.samples), -1, whole.players).float()
    return Answer(values, nats=True, residual=_residual(whole, values))


def _residual(whole: WholeModel, values: Tensor) -> Tensor:
    """What is left of the game; the two ends cost no row, the library has asked for them."""
    before = whole.asked.rows.remembered
    ends = whole(whole.on, whole.rows) - whole(whole.off, whole.rows)
    whole.asked.rows.remembered = before
    return ends - values.sum(-1)


@contextmanager
def _seeded(asked: Question) -> Iterator[None]:
    """Captum draws from the global generators."""
    import numpy as np

    before: Any = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            seed = seed_for("captum", asked.seed)
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            yield
        finally:
            np.random.set_state(before)


_ROWS = "rows of whole models, one for each donor"
CAPTUM = tuple(
    Method(name, "Captum", question, cost, method, "captum")
    for name, question, cost, method in (
        ("captum/FeatureAblation", "what is lost without the modality", _ROWS, feature_ablation),
        ("captum/ShapleyValues", "Shapley values of the modalities", _ROWS, shapley_values),
        (
            "captum/ShapleyValueSampling",
            "Shapley values of the modalities, permutations drawn",
            _ROWS,
            shapley_sampling,
        ),
        ("captum/KernelShap", "Shapley values, coalitions drawn", _ROWS, kernel_shap),
        (
            "captum/IntegratedGradients",
            "integrated gradients at the encoders' outputs",
            "encode once, 50 gradients of the fusion",
            integrated_gradients,
        ),
        (
            "captum/LayerGradCam",
            "Grad-CAM at the encoders' outputs",
            "encode once, a gradient of the fusion for each modality",
            layer_gradcam,
        ),
    )
)
