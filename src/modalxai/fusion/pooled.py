"""What fusions of one vector per modality share: pooling, and what stands for an absent one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from modalxai import masking
from modalxai.errors import InputError
from modalxai.pretrained import Pretrained
from modalxai.types import Features, Label, Prediction, check_labels

Pool = Literal["mean", "first"]
POOLS = {"mean": masking.mean, "first": masking.first}


class PooledFusion(Pretrained):
    """One vector per modality, absent ones replaced by a learned vector.

    Subclasses implement `widen` (once per encoding) and `join` (once per coalition).

    Parameters
    ----------
    dims
        Width D of each modality, in order.
    labels
        What the columns of the scores mean.
    pool
        ``"mean"`` over the real vectors or the ``"first"`` vector; one for all modalities, or one
        for each by name.

    Attributes
    ----------
    missing : nn.ParameterDict
        By modality [D_m], learned: stands for the pooled vector of an absent modality.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        labels: Sequence[Label],
        pool: Pool | Mapping[str, Pool] = "mean",
    ) -> None:
        super().__init__()
        check_labels(labels)
        self.dims = dict(dims)
        self.labels = tuple(labels)
        pools = dict.fromkeys(dims, pool) if isinstance(pool, str) else dict(pool)
        if not dims or set(pools) != set(dims) or not set(pools.values()) <= set(POOLS):
            raise InputError(
                "a fusion that does not know how to pool its modalities",
                expected=f"a width for each modality, and one of {list(POOLS)} for each",
                got=f"dims={dict(dims)}, pool={pool!r}",
                mend='write dims={"audio": 768, "text": 768}, pool="mean", for example',
            )
        self.pools = pools
        self.missing = nn.ParameterDict({name: torch.zeros(dim) for name, dim in dims.items()})

    def pooled(self, modality: str, features: Features) -> Tensor:
        """One vector per sample, [B, D_m]; ``missing[modality]`` on rows without any."""
        if modality not in self.dims or features.values.shape[-1] != self.dims[modality]:
            raise InputError(
                f"features that the fusion cannot read: {modality!r}",
                expected=f"one of {self.dims} (modality: width)",
                got=f"width {features.values.shape[-1]}",
                mend="make the fusion with the encoders' names and dims",
            )
        pool = POOLS[self.pools[modality]]
        return pool(features.values, features.mask, self.missing[modality])

    def project(self, modality: str, features: Features) -> Tensor:
        """Pool and widen one encoding, [B, ...]; all that does not depend on the others."""
        return self.widen(modality, self.pooled(modality, features))

    @abstractmethod
    def widen(self, modality: str, pooled: Tensor) -> Tensor:
        """[B, D_m] to what `join` reads."""

    @abstractmethod
    def join(self, projected: Mapping[str, Tensor]) -> Prediction:
        """Scores [B, K] from every modality's projection."""

    def forward(self, features: Mapping[str, Features]) -> Prediction:
        """Scores [B, K] from every modality's features.

        Raises
        ------
        InputError
            A modality too many or too few, or of another width.
        """
        if set(features) != set(self.dims):
            raise InputError(
                "other modalities than the fusion was made for",
                expected=str(sorted(self.dims)),
                got=str(sorted(features)),
                mend="give a row of False in the mask for what is missing, never a missing key",
            )
        return self.join({name: self.project(name, features[name]) for name in self.dims})

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""
        return {
            # Pairs: a json object has no order, and the order of the modalities means something.
            "dims": [[name, width] for name, width in self.dims.items()],
            "labels": [asdict(label) for label in self.labels],
            "pool": self.pools,
        }

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """A fusion with random weights from what `settings` returned."""
        labels = [Label(**label) for label in settings["labels"]]
        return cls(**settings | {"dims": dict(settings["dims"]), "labels": labels})
