"""The nouns. Axis letters are explained once, in `modalxai.types.tensors`."""

from modalxai.types.attribution import Attribution
from modalxai.types.label import (
    KINDS,
    Label,
    LabelKind,
    Labels,
    check_labels,
    columns,
    labels,
    select,
)
from modalxai.types.records import Provenance
from modalxai.types.samples import RESERVED, Audio, Batch, Inputs, Sample, Targets
from modalxai.types.tensors import Features, Prediction, Spans, SpanUnit

__all__ = [
    "KINDS",
    "RESERVED",
    "Attribution",
    "Audio",
    "Batch",
    "Features",
    "Inputs",
    "Label",
    "LabelKind",
    "Labels",
    "Prediction",
    "Provenance",
    "Sample",
    "SpanUnit",
    "Spans",
    "Targets",
    "check_labels",
    "columns",
    "labels",
    "select",
]
