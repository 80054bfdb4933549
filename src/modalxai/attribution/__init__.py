"""Methods: what each modality, and each unit within it, contributes to a label's score."""

from modalxai.attribution.conflict import Conflict
from modalxai.attribution.gradients import FeatureDifference, GradCAM
from modalxai.attribution.modality import ModalityAblation, ModalityShapley
from modalxai.attribution.scales import SCALES, Scale, on_scale
from modalxai.attribution.table import Explanation

__all__ = [
    "SCALES",
    "Conflict",
    "Explanation",
    "FeatureDifference",
    "GradCAM",
    "ModalityAblation",
    "ModalityShapley",
    "Scale",
    "on_scale",
]
