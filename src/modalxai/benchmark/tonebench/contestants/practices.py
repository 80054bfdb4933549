"""What papers of the field print: masking deltas, SHAP over units, Grad-CAM shares, MM-SHAP."""

from __future__ import annotations

import torch
from torch import Tensor

from modalxai.attribution import GradCAM, ModalityAblation, UnitShapley
from modalxai.attribution.mm_shap import mm_shap
from modalxai.attribution.scales import Scale
from modalxai.benchmark.tonebench.contestant import Answer, Method
from modalxai.benchmark.tonebench.contestants.ours import DIVIDED
from modalxai.benchmark.tonebench.question import Question
from modalxai.types import Attribution


def masking_deltas(asked: Question) -> Answer:
    """Remove one modality, read the change of the predicted probability."""
    found = ModalityAblation(scale="probability").attribute(asked.game())
    return Answer(found.totals, residual=found.residual())


def gradcam_shares(asked: Question) -> Answer:
    """Grad-CAM of the raw logit at the encoders' outputs, summed, as shares of each sample."""
    found = GradCAM(scale="raw").attribute(asked.game())
    return Answer(_shares(found.totals), signed=False, maps=found)


def shap_over_units(asked: Question) -> Answer:
    """SHAP values of words and moments on the probability, their magnitudes added up."""
    return _added_up(asked, "probability")


def mm_shap_shares(asked: Question) -> Answer:
    """MM-SHAP (Parcalabescu & Frank 2023), exact instead of sampled."""
    found = _units(asked, "raw")
    return Answer(mm_shap(found), signed=False, maps=found)


def _added_up(asked: Question, scale: Scale) -> Answer:
    found = _units(asked, scale)
    sizes = [found.units[name].abs().sum(-1) for name in found.modalities]
    return Answer(torch.stack(sizes, -1), signed=False, maps=found)


def _units(asked: Question, scale: Scale) -> Attribution:
    players = {key: kind for key, kind in DIVIDED["players"].items() if key in asked.modalities}
    every = {name: "window" for name in asked.modalities if name not in players}
    return UnitShapley(players={**players, **every}, scale=scale).attribute(asked.game())


def _shares(totals: Tensor) -> Tensor:
    return totals / totals.sum(-1, keepdim=True).clamp(min=1e-12)


PRACTICES = (
    Method(
        "masking-delta",
        "practice",
        "change of the predicted probability when a modality is masked",
        "encode once with and without",
        masking_deltas,
    ),
    Method(
        "shap-over-units",
        "practice",
        "sum of |SHAP| of words and moments, on the probability",
        "2**words + 2**segments encodings",
        shap_over_units,
    ),
    Method(
        "grad-cam-share",
        "practice",
        "Grad-CAM of the logit at the encoders' outputs, averaged per label",
        "encode once, gradients of the fusion",
        gradcam_shares,
    ),
    Method(
        "mm-shap",
        "practice",
        "sum of |Shapley value| of words and moments, on the logit",
        "2**words + 2**segments encodings",
        mm_shap_shares,
    ),
)
