"""What fusions of whole sequences share: one width, the stand-in for an absent one, pooling."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from modalxai import masking
from modalxai.errors import InputError
from modalxai.pretrained import Pretrained
from modalxai.types import Features, Label, Prediction, check_labels

SequencePool = Literal["mean", "last"]


def last(values: Tensor, mask: Tensor) -> Tensor:
    """The last real vector, [B, T, D] to [B, D]; the first one of a row without any."""
    # The running count of real vectors reaches its maximum at the last of them; argmax takes the
    # first of equal values.
    index = mask.long().cumsum(1).argmax(1)
    return values[torch.arange(len(values), device=values.device), index]


POOLS = {"mean": masking.mean, "last": last}


def require_all(dims: Mapping[str, int], features: Mapping[str, Features]) -> None:
    """Refuse features of other modalities than the fusion was made for.

    Raises
    ------
    InputError
        A modality too many or too few.
    """
    if set(features) != set(dims):
        raise InputError(
            "other modalities than the fusion was made for",
            expected=str(sorted(dims)),
            got=str(sorted(features)),
            mend="give a row of False in the mask for what is missing, never a missing key",
        )


class SequenceFusion(Pretrained):
    """Every vector of every modality, brought to one width by a convolution along time.

    Subclasses implement `join`. An absent modality is a sequence of one vector, ``missing[m]``,
    so attention always has something real to look at.

    Parameters
    ----------
    dims
        Width D of each modality, in order.
    labels
        What the columns of the scores mean.
    width
        Width W that every modality is brought to.
    kernel
        Vectors that the convolution sees, an odd number. Beyond a sample's own vectors, and in
        place of removed ones, it sees zeros.
    layers
        Transformer layers, 1 or more.
    heads
        Attention heads, a divisor of ``width``.
    pool
        ``"mean"`` over the real vectors, or the ``"last"`` of them.
    dropout
        Probability from 0 to below 1, in training only.

    Attributes
    ----------
    missing : nn.ParameterDict
        By modality [D_m], learned: the one vector of an absent modality.

    Raises
    ------
    InputError
        A setting out of its range.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        labels: Sequence[Label],
        width: int,
        kernel: int,
        layers: int,
        heads: int,
        pool: SequencePool,
        dropout: float,
    ) -> None:
        super().__init__()
        check_labels(labels)
        self.dims = dict(dims)
        self.labels = tuple(labels)
        self.width, self.kernel, self.layers, self.heads = width, kernel, layers, heads
        self.pool = pool
        self.dropout = dropout
        if not dims or min(dims.values()) < 1 or pool not in POOLS:
            raise InputError(
                "a fusion that does not know what to read, or how to pool it",
                expected=f"a width for each modality, and a pool of {list(POOLS)}",
                got=f"dims={self.dims}, pool={pool!r}",
                mend='write dims={"audio": 768, "text": 768}, pool="mean", for example',
            )
        if (
            heads < 1
            or width < 1
            or width % heads
            or kernel < 1
            or kernel % 2 == 0
            or layers < 1
            or not 0 <= dropout < 1
        ):
            raise InputError(
                "a setting of the fusion out of its range",
                expected="width a multiple of heads, an odd kernel, layers of 1 or more, "
                "dropout from 0 to below 1",
                got=f"{width=}, {heads=}, {kernel=}, {layers=}, {dropout=}",
                mend="leave the default, or choose a value in the range",
            )
        self.maps = nn.ModuleDict(
            {name: nn.Conv1d(dim, width, kernel, padding=kernel // 2) for name, dim in dims.items()}
        )
        self.missing = nn.ParameterDict({name: torch.zeros(dim) for name, dim in dims.items()})

    def project(self, modality: str, features: Features) -> Features:
        """One modality, values [B, T, D_m], at the common width, [B, T, W].

        Its mask is that of ``features``, except that an absent modality has its first position
        set: there stands what its ``missing`` vector became.

        Raises
        ------
        InputError
            An unknown modality, or features of another width.
        """
        if modality not in self.dims or features.values.shape[-1] != self.dims[modality]:
            raise InputError(
                f"features that the fusion cannot read: {modality!r}",
                expected=f"one of {self.dims} (modality: width)",
                got=f"width {features.values.shape[-1]}",
                mend="make the fusion with the encoders' names and dims",
            )
        mask = masking.attendable(features.mask)
        # Blank before the convolution, so that it sees no padding, and after it, because a clip's
        # last vectors reach beyond its end.
        values = masking.blank(features.values, features.mask)
        stand_in = (mask & ~features.mask)[..., None]
        values = torch.where(stand_in, self.missing[modality], values)
        values = self.place(self.maps[modality](values.transpose(1, 2)).transpose(1, 2))
        return replace(features, values=masking.blank(values, mask), mask=mask)

    def place(self, values: Tensor) -> Tensor:
        """[B, T, W] with positions added, in a fusion that has them."""
        return values

    @abstractmethod
    def join(self, projected: Mapping[str, Features]) -> Prediction:
        """Scores [B, K] from every modality's projection."""

    def forward(self, features: Mapping[str, Features]) -> Prediction:
        """Scores [B, K] from every modality's features.

        Raises
        ------
        InputError
            A modality too many or too few, or of another width.
        """
        require_all(self.dims, features)
        return self.join({name: self.project(name, features[name]) for name in self.dims})

    def pooled(self, values: Tensor, mask: Tensor) -> Tensor:
        """One vector per sample, [B, T, W] to [B, W]."""
        return POOLS[self.pool](values, mask)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""
        return {
            # Pairs: a json object has no order, and the order of the modalities means something.
            "dims": [[name, width] for name, width in self.dims.items()],
            "labels": [asdict(label) for label in self.labels],
            "width": self.width,
            "kernel": self.kernel,
            "layers": self.layers,
            "heads": self.heads,
            "pool": self.pool,
            "dropout": self.dropout,
        }

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """A fusion with random weights from what `settings` returned."""
        labels = [Label(**label) for label in settings["labels"]]
        return cls(**settings | {"dims": dict(settings["dims"]), "labels": labels})
