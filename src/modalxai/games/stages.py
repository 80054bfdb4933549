"""An encoder cut open: at its time-frequency maps, or before its second stage."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from modalxai.games.bank import Bank, digest, take
from modalxai.protocols import BLANK, Mapped, Stage, Staged
from modalxai.trace import no_trace
from modalxai.types import Features, Inputs

if TYPE_CHECKING:
    from modalxai.model import EmotionModel


class Stems:
    """First stages of a `Staged` encoder, one for each input whatever is blanked out in it.

    A removal that marks units of the stem leaves what lies before it alone, so that the second
    stage is all that a coalition costs: wav2vec2's convolutions run once for a recording.
    """

    def __init__(self) -> None:
        self._bank = Bank()

    def encode(self, encoder: Any, inputs: Inputs, keep: bool = False) -> Features | None:
        """What ``encoder(inputs)`` gives; ``None`` where there is nothing to save.

        That is where the encoder has no stages or does not mark units, where it looks features up
        (`modalxai.training.CachedEncoder`), and where somebody listens to its calls: hooks fire
        when the encoder itself is called.

        Parameters
        ----------
        encoder, inputs
            In eval mode.
        keep
            Also where no unit is marked, since the same inputs will be asked about with marks.
        """
        marks = inputs.get(BLANK)
        called = any(getattr(encoder, name, None) for name in _HOOKS)
        if not isinstance(encoder, Staged) or hasattr(encoder, "wrapped") or called:
            return None
        if marks is None or not (keep or bool(marks.any())):
            return None
        bare = {**inputs, BLANK: torch.zeros_like(marks)}
        names = [digest(bare, row) for row in range(len(marks))]
        if new := {name: row for row, name in enumerate(names) if name not in self._bank}:
            index = torch.tensor(list(new.values()), device=marks.device)
            self._bank.add(list(new), encoder.stem(take(bare, index)))
        places = [self._bank.place(name) for name in names]
        stem: Features = take(self._bank.rows, torch.tensor(places, device=marks.device))
        gone = (marks & stem.mask)[..., None]
        blanked = torch.where(gone, encoder.blank.to(stem.values), stem.values)
        found: Features = encoder.tail(replace(stem, values=blanked))
        return found


_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


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
