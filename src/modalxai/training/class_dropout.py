"""Training against bias: leave a modality out more often where the model leans on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from modalxai import masking
from modalxai.errors import InputError
from modalxai.training.balanced_evidence import Fused
from modalxai.training.objective import Objective, targets_of
from modalxai.types import Batch, Features, Targets, select


class ClassModalityDropout(Objective):
    """``step(**batch)``: while training, modalities of a label's samples are left out.

    On top of the model's own modality dropout, each sample truly of a label loses each modality
    with that label's probability, so that the others must learn to tell the label alone. A sample
    keeps at least one: the last one it has is never taken. Only labels that are categorical or
    binary have samples.

    Parameters
    ----------
    model
        An `EmotionModel`.
    loss
        An `EmotionLoss` for example.
    drop
        By label and modality, a probability in 0..1: ``{"anger": {"audio": 0.5}}``.

    Raises
    ------
    InputError
        Unknown labels or modalities, a dimensional label, or what is no probability.
    """

    drop: Tensor

    def __init__(
        self, model: nn.Module, loss: nn.Module, drop: Mapping[str, Mapping[str, float]]
    ) -> None:
        super().__init__(model, loss)
        labels, names = self._fused.labels, self._fused.modalities
        self.columns = select(labels, list(drop))
        odd = [
            labels[column].name for column in self.columns if labels[column].kind == "dimensional"
        ]
        wrong = {
            name: dict(parts)
            for name, parts in drop.items()
            if set(parts) - set(names) or not all(0 <= p <= 1 for p in parts.values())
        }
        if odd or wrong:
            raise InputError(
                "a dropout per class that cannot be",
                expected=f"classes, and probabilities in 0..1 of {list(names)}",
                got=str(wrong or odd),
                mend='for example {"anger": {"audio": 0.5}}',
            )
        rows = [[drop[label].get(name, 0.0) for name in names] for label in drop]
        self.register_buffer("drop", torch.tensor(rows), persistent=False)

    def forward(self, **batch: Any) -> dict[str, Tensor]:
        """One batch, as keywords; see `Objective`."""
        made = Batch(batch)
        targets = targets_of(made)
        features = self._fused.encode(made)
        if self.training:
            features = self._drop(features, targets)
        prediction = self._fused.fuse(features)
        return {"loss": self.supervised(prediction, targets, made), "scores": prediction.scores}

    def _drop(self, features: Mapping[str, Features], targets: Targets) -> dict[str, Features]:
        names = self._fused.modalities
        truth = torch.nan_to_num(targets.values[:, self.columns])
        members = (targets.mask[:, self.columns] & (truth > 0.5)).to(self.drop.dtype)  # [B, L]
        # Of several labels (binary ones) the most demanding counts.
        chance = (members[..., None] * self.drop).amax(1)  # [B, M]
        present = torch.stack([features[name].mask.any(1) for name in names], dim=-1)
        kept = present & (torch.rand_like(chance) >= chance)
        none = ~kept.any(1, keepdim=True)
        # One of those it has stays, drawn at random.
        draws = torch.rand_like(chance).masked_fill(~present, -1)
        last = draws == draws.amax(1, keepdim=True)
        kept = kept | (none & last)
        dropped = {}
        for place, name in enumerate(names):
            one = features[name]
            mask = one.mask & kept[:, place, None]
            dropped[name] = replace(one, values=masking.blank(one.values, mask), mask=mask)
        return dropped

    @property
    def _fused(self) -> Fused:
        return cast(Fused, self.model)
