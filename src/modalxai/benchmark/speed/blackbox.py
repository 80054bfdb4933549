"""The model as other libraries get it: rows of zeros and ones in, scores out, nothing shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from modalxai.attribution.scales import on_scale
from modalxai.benchmark.speed.models import ABSENT
from modalxai.games.bank import take
from modalxai.model import EmotionModel
from modalxai.types import Inputs, Spans


class BlackBox:
    """A function of masks over the modalities, or over words and moments.

    Inputs are collated and their removed forms made once, beforehand; one call is one batch through
    the whole model. That is the most that a function of masks can be given without knowing what
    this library knows: that equal halves of two rows need not be encoded twice.

    Parameters
    ----------
    model
        In eval mode.
    samples
        The B samples.
    removal
        By modality.
    kinds
        By modality what its players are; a modality that is not named is one player.

    Attributes
    ----------
    players
        By modality, how many.
    labels
        L.
    calls, asked
        How often it was called, and with how many rows in all.
    """

    def __init__(
        self,
        model: EmotionModel,
        samples: Sequence[Mapping[str, Any]],
        removal: Mapping[str, str],
        kinds: Mapping[str, str] | None = None,
    ) -> None:
        self.model = model
        self.removal = dict(removal)
        self.count = len(samples)
        index = torch.arange(self.count, device=model.device)
        both: dict[str, Inputs] = {}
        for name in model.modalities:
            # Collated together, so that what is missing is padded as what is there.
            raws = [*(sample[name] for sample in samples), *[None] * self.count]
            made = model.encoder(name).collate(raws)
            both[name] = {key: value.to(model.device) for key, value in made.items()}
        self._whole: dict[str, Inputs] = {n: take(dict(one), index) for n, one in both.items()}
        self._gone: dict[str, Inputs] = {}
        self._units: dict[str, Spans] = {}
        for name in model.modalities:
            if kinds and name in kinds:
                encoder: Any = model.encoder(name)
                self._units[name] = encoder.units(self._whole[name], kinds[name])
            self._gone[name] = (
                take(dict(both[name]), index + self.count)
                if removal[name] == ABSENT
                else self._removed(name)
            )
        self.players = {
            name: self._units[name].start.shape[1] if name in self._units else 1
            for name in model.modalities
        }
        self.labels = len(model.labels)
        self.calls = self.asked = 0

    @property
    def on(self) -> Tensor:
        """Ones [B, U]."""
        return torch.ones(self.count, sum(self.players.values()))

    @property
    def off(self) -> Tensor:
        """Zeros [B, U]."""
        return torch.zeros_like(self.on)

    @property
    def rows(self) -> Tensor:
        """0..B-1: which sample each row of masks is about."""
        return torch.arange(self.count)

    def __call__(self, masks: Tensor, rows: Tensor | None = None) -> Tensor:
        """Centred log-ratios [n, L] of n coalitions [n, U], one row of the model each."""
        self.calls += 1
        self.asked += len(masks)
        about = torch.zeros(len(masks), dtype=torch.long) if rows is None else rows.long()
        about = about.expand(len(masks)).to(self.model.device)
        parts = torch.split(masks.bool().to(self.model.device), list(self.players.values()), dim=1)
        with torch.no_grad():
            features = {
                name: self.model.encoders[name](self._inputs(name, about, keep))
                for name, keep in zip(self.players, parts, strict=True)
            }
            raw = self.model.fusion(features).scores
        return on_scale(raw, self.model.labels, "clr", None).cpu()

    def array(self, masks: Any) -> Any:
        """The same of the first sample, for SHAP and shapiq: arrays in, arrays out."""
        return self(torch.as_tensor(masks)).double().numpy()

    def _inputs(self, name: str, about: Tensor, keep: Tensor) -> Inputs:
        """Inputs of one modality, a row for each mask [n, U_m]."""
        whole, gone = self._whole[name], self._gone[name]
        if name in self._units:
            # To remove all units is to remove the modality: also what no unit covers.
            none = ~keep.any(1)
            rows = take(dict(whole), about)
            units = take(self._units[name], about)
            encoder: Any = self.model.encoder(name)
            seeds = [0] * len(keep)
            whole = encoder.remove(rows, units, keep, self.removal[name], seeds)
            gone, about = take(dict(gone), about), torch.arange(len(keep), device=about.device)
        else:
            none = ~keep[:, 0]
        both = {key: torch.cat([whole[key], gone[key]]) for key in whole}
        rows_of: Inputs = take(both, about + none * len(next(iter(whole.values()))))
        return rows_of

    def _removed(self, name: str) -> Inputs:
        """Every sample with the modality wholly removed."""
        encoder: Any = self.model.encoder(name)
        inputs = self._whole[name]
        unit = encoder.units(inputs, encoder.kinds[0]).unit
        start = torch.zeros(self.count, 1, device=self.model.device)
        everything = Spans(start, torch.full_like(start, 1e9), unit)
        keep = torch.zeros_like(everything.mask)
        removed: Inputs = encoder.remove(
            inputs, everything, keep, self.removal[name], [0] * self.count
        )
        return removed
