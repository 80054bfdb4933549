"""Methods: what each modality, and each unit within it, contributes to a label's score."""

from modalxai.attribution.captum_methods import CaptumMethod
from modalxai.attribution.conflict import Conflict
from modalxai.attribution.content_tone import ContentTone, content, tone
from modalxai.attribution.gradients import (
    FeatureDifference,
    GradCAM,
    HiResCAM,
    IntegratedGradients,
)
from modalxai.attribution.interaction_types import InteractionTypes
from modalxai.attribution.intershap import InterSHAP
from modalxai.attribution.mm_shap import mm_shap
from modalxai.attribution.modality import ModalityAblation, ModalityShapley
from modalxai.attribution.owen import Owen
from modalxai.attribution.prosody import Prosody, ProsodyEffects
from modalxai.attribution.scales import SCALES, Scale, on_scale
from modalxai.attribution.shares import Shares, Sides
from modalxai.attribution.spectrogram import SpectrogramGradCAM
from modalxai.attribution.spectrogram_image import SpectrogramImage
from modalxai.attribution.table import Explanation
from modalxai.attribution.terms import Terms
from modalxai.attribution.unit_shapley import UnitShapley

modalxai_api = 1
"""See `modalxai.plugins.API`."""

__all__ = [
    "SCALES",
    "CaptumMethod",
    "Conflict",
    "ContentTone",
    "Explanation",
    "FeatureDifference",
    "GradCAM",
    "HiResCAM",
    "IntegratedGradients",
    "InterSHAP",
    "InteractionTypes",
    "ModalityAblation",
    "ModalityShapley",
    "Owen",
    "Prosody",
    "ProsodyEffects",
    "Scale",
    "Shares",
    "Sides",
    "SpectrogramGradCAM",
    "SpectrogramImage",
    "Terms",
    "UnitShapley",
    "content",
    "mm_shap",
    "on_scale",
    "tone",
]
