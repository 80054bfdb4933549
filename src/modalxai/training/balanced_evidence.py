"""Training against bias: a penalty on shares that stray from what is wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from modalxai import masking
from modalxai.attribution import indices
from modalxai.attribution.scales import on_scale
from modalxai.attribution.shares import NO_EVIDENCE
from modalxai.errors import InputError
from modalxai.training.objective import Objective, targets_of
from modalxai.types import Batch, Features, Label, Labels, Prediction, Targets, select

MOST_MODALITIES = 6
"""Beyond this the 2**M fusions of every step cost more than they should."""


class Fused(Protocol):
    """What the objective needs of a model: encode, fuse, and the fusion by itself."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in order."""
        ...

    @property
    def labels(self) -> Labels:
        """What the columns of the scores mean."""
        ...

    @property
    def fusion(self) -> nn.Module:
        """From features to a prediction, without modality dropout."""
        ...

    def encode(self, batch: Mapping[str, Any]) -> dict[str, Features]:
        """Every modality's features."""
        ...

    def fuse(self, features: Mapping[str, Features]) -> Prediction:
        """Scores from features."""
        ...


class BalancedEvidence(Objective):
    """``step(**batch)``: the loss plus ``weight`` times how far shares are from their targets.

    Each modality is encoded once; the fusion scores all 2**M coalitions of the batch, a removed
    modality being absent, as under modality dropout. Exact Shapley values on clr (a binary label's
    log-odds, a dimensional label's value) of the samples truly of a label give its shares, a ratio
    of means as in `modalxai.report.Report`, and the penalty is ``sum_c sum_m (share - target)**2``.
    All of it has a gradient, into the encoders too. A label of which the batch holds no sample, or
    no more evidence than 0.05, adds nothing.

    A balanced share is no better model by itself: look at the skill of both, and at both reports
    (`modalxai.report.compare`).

    Parameters
    ----------
    model
        An `EmotionModel` of at most six modalities; trained with modality dropout, or removed
        modalities are new to it.
    loss
        An `EmotionLoss` for example.
    shares
        By label, the wanted share of every modality; each label's sum to 1. Labels that are not
        named are free, and may drift when others are pushed hard: name those that are to stay.
    weight
        What the penalty counts, 0 or more.

    Raises
    ------
    InputError
        Unknown labels or modalities, shares that do not sum to 1, a weight out of range, or too
        many modalities.

    Examples
    --------
    ::

        even = {"anger": {"audio": 0.5, "text": 0.5}}
        step = BalancedEvidence(model, EmotionLoss(), even, weight=2.0)
        for batch in loader:
            step(**batch)["loss"].backward()
    """

    wanted: Tensor

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        shares: Mapping[str, Mapping[str, float]],
        weight: float = 1.0,
    ) -> None:
        super().__init__(model, loss)
        if not 0 <= weight < math.inf:
            raise InputError(
                "the weight of the penalty is out of range",
                expected="a finite number of 0 or more",
                got=repr(weight),
                mend="1 is the default",
            )
        fused = self._fused
        if len(fused.modalities) > MOST_MODALITIES:
            raise InputError(
                "too many modalities to score every coalition at every step",
                expected=f"at most {MOST_MODALITIES}",
                got=str(len(fused.modalities)),
                mend="train with modality dropout instead",
            )
        self.columns = select(fused.labels, list(shares))
        for name, parts in shares.items():
            fits = set(parts) == set(fused.modalities) and abs(sum(parts.values()) - 1) < 1e-6
            if not fits or min(parts.values()) < 0:
                raise InputError(
                    f"the wanted shares of {name!r} do not divide a whole",
                    expected=f"parts of 0 or more of {list(fused.modalities)} that sum to 1",
                    got=str(dict(parts)),
                    mend="give every modality its part",
                )
        rows = [[shares[name][one] for one in fused.modalities] for name in shares]
        self.weight = float(weight)
        # A setting, not something learnt: no part of the state.
        self.register_buffer("wanted", torch.tensor(rows), persistent=False)

    def forward(self, **batch: Any) -> dict[str, Tensor]:
        """One batch, as keywords.

        Returns
        -------
        dict
            ``"loss"`` [], the raw ``"scores"`` [B, K], and ``"imbalance"`` [], the penalty before
            its weight, without gradient.

        Raises
        ------
        InputError
            As for `Objective`.
        """
        made = Batch(batch)
        targets = targets_of(made)
        features = self._fused.encode(made)
        prediction = self._fused.fuse(features)
        imbalance = self.imbalance(features, targets)
        loss = self.supervised(prediction, targets, made) + self.weight * imbalance
        return {"loss": loss, "scores": prediction.scores, "imbalance": imbalance.detach()}

    def imbalance(self, features: Mapping[str, Features], targets: Targets) -> Tensor:
        """Squared distance of this batch's shares from those wanted, [], 0 or more."""
        labels, names = self._fused.labels, self._fused.modalities
        rows = []
        for coalition in range(1 << len(names)):
            heard = {
                name: features[name] if coalition >> bit & 1 else _absent(features[name])
                for bit, name in enumerate(names)
            }
            rows.append(cast(Prediction, self._fused.fusion(heard)).scores)
        values = on_scale(torch.stack(rows), labels, "clr")[..., self.columns]
        present = torch.stack([features[name].mask.any(1) for name in names], dim=-1)  # [B, M]
        magnitudes = indices.shapley(values).abs() * present[:, None]  # [B, L, M]
        members = torch.stack([_members(targets, column, labels) for column in self.columns], -1)
        counted = members[..., None] & present[:, None]
        means = (magnitudes * counted).sum(0) / counted.sum(0).clamp(min=1)  # [L, M]
        amount = means.sum(-1, keepdim=True)
        # Next to no evidence is divided by chance, and its gradient is as large as it is useless.
        evident = amount > NO_EVIDENCE
        shares = means / torch.where(evident, amount, 1.0)
        return (((shares - self.wanted) ** 2) * evident).sum()

    @property
    def _fused(self) -> Fused:
        return cast(Fused, self.model)


def _absent(features: Features) -> Features:
    mask = torch.zeros_like(features.mask)
    return replace(features, values=masking.blank(features.values, mask), mask=mask)


def _members(targets: Targets, column: int, labels: tuple[Label, ...]) -> Tensor:
    """Which samples a label's share is of, bool [B]: truly of it, or all that are annotated."""
    known = targets.mask[:, column]
    if labels[column].kind == "dimensional":
        return known
    return known & (torch.nan_to_num(targets.values[:, column]) > 0.5)
