"""One right fusion, and others that are wrong in one way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from toys import MIXED

from modalxai import masking
from modalxai.fusion import ShallowFusion
from modalxai.types import Features, Prediction


class RightFusion(ShallowFusion):
    """A shallow one."""

    def __init__(self, dims: Any = None, labels: Any = MIXED, **settings: Any) -> None:
        dims = dims or {"text": 3, "audio": 5}
        super().__init__(dims, labels, **{"hidden": 4, "dropout": 0.0} | settings)


class PoolsPadding(RightFusion):
    def pooled(self, modality: str, features: Features) -> Tensor:
        features = replace(features, values=masking.blank(features.values, features.mask))
        real = super().pooled(modality, features)
        return torch.where(features.mask.any(1)[:, None], features.values.mean(1), real)


class MultipliesByTheMask(RightFusion):
    def pooled(self, modality: str, features: Features) -> Tensor:
        super().pooled(modality, features)  # refuses what does not fit
        total = (features.values * features.mask[..., None]).sum(1)
        count = features.mask.sum(1, keepdim=True)
        return torch.where(count > 0, total / count.clamp(min=1), self.missing[modality])


class NormalisesOverRows(RightFusion):
    def join(self, projected: Mapping[str, Tensor]) -> Prediction:
        found = super().join(projected)
        return replace(found, scores=found.scores - found.scores.mean(0))


class NaNWithoutModalities(RightFusion):
    def pooled(self, modality: str, features: Features) -> Tensor:
        values = masking.blank(features.values, features.mask)
        return values.sum(1) / features.mask.sum(1, keepdim=True)


class OrderOfTheDict(RightFusion):
    def forward(self, features: Mapping[str, Features]) -> Prediction:
        super().forward(features)  # refuses what does not fit
        return self.join({name: self.project(name, one) for name, one in features.items()})

    def join(self, projected: Mapping[str, Tensor]) -> Prediction:
        found = super().join(projected)
        return replace(found, scores=found.scores + next(iter(projected.values()))[:, :1])


class OtherJoin(RightFusion):
    def forward(self, features: Mapping[str, Features]) -> Prediction:
        found = super().forward(features)
        return replace(found, scores=found.scores * 2)


class DeafToOne(RightFusion):
    def join(self, projected: Mapping[str, Tensor]) -> Prediction:
        return super().join({n: p * (n != "audio") for n, p in projected.items()})


class UnusedWeights(RightFusion):
    def __init__(self, dims: Any = None, labels: Any = MIXED, **settings: Any) -> None:
        super().__init__(dims, labels, **settings)
        self.extra = nn.Linear(2, 2)


class TakesAnything(RightFusion):
    def forward(self, features: Mapping[str, Features]) -> Prediction:
        return super().forward({name: features[name] for name in self.dims if name in features})


class AbsentIsZero(RightFusion):
    def pooled(self, modality: str, features: Features) -> Tensor:
        found = super().pooled(modality, features)
        return torch.where(features.mask.any(1)[:, None], found, 0 * found)


class ForgetsTheOrder(RightFusion):
    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Any:
        return super().from_settings(settings | {"dims": sorted(settings["dims"])})


class OtherLabels(RightFusion):
    def join(self, projected: Mapping[str, Tensor]) -> Prediction:
        return replace(super().join(projected), labels=tuple(self.labels[::-1]))


class DropoutOfAFusionInEval(RightFusion):
    def join(self, projected: Mapping[str, Tensor]) -> Prediction:
        found = super().join(projected)
        return replace(found, scores=F.dropout(found.scores, 0.5, training=True))


class ProjectsColumns(RightFusion):
    def project(self, modality: str, features: Features) -> Tensor:
        return super().project(modality, features).T

    def join(self, projected: Mapping[str, Tensor]) -> Prediction:
        return super().join({name: one.T for name, one in projected.items()})


class JoinsByTheFirstRow(RightFusion):
    """Its projection depends on the padding, which join takes back by the first row's."""

    def project(self, modality: str, features: Features) -> Any:
        own = super().project(modality, features)
        length = torch.full((len(own),), float(features.mask.shape[1]), dtype=own.dtype)
        return {"own": own + length[:, None] / 8, "length": length}

    def join(self, projected: Mapping[str, Any]) -> Prediction:
        return super().join({n: p["own"] - p["length"][0] / 8 for n, p in projected.items()})
