"""An encoder cut open at its time-frequency maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modalxai.protocols import Mapped, Stage, Staged
from modalxai.trace import no_trace
from modalxai.types import Features, Inputs

if TYPE_CHECKING:
    from modalxai.model import EmotionModel


def cut_open(model: EmotionModel, modality: str, inputs: Inputs) -> Stage | None:
    """The maps of one modality and what follows them; ``None`` where they have no hertz.

    What lies before the maps runs once and records no gradient; `Stage.rest` lets them flow.
    """
    encoder: Any = model.encoder(modality)
    encoder = getattr(encoder, "wrapped", encoder)  # a feature cache has no maps
    with no_trace(model):
        if isinstance(encoder, Mapped):
            maps = encoder.maps(inputs)
            blank = maps.values.new_zeros(maps.values.shape[-1])
        elif isinstance(encoder, Staged):
            maps, blank = encoder.stem(inputs), encoder.blank.detach()
        else:
            return None
    if maps.spans.low is None or maps.spans.high is None:
        return None

    def rest(changed: Features) -> Features:
        with no_trace(model, gradients=True):
            if isinstance(encoder, Mapped):
                return encoder.from_maps(changed, inputs)
            found: Features = encoder.tail(changed)
            return found

    return Stage(maps, blank, rest)
