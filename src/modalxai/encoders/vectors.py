"""`VectorEncoder`: vectors that were computed before, read from wherever they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modalxai import masking
from modalxai.errors import InputError, each
from modalxai.pretrained import Pretrained
from modalxai.types import Features, Inputs, Spans

RawVectors = Tensor | NDArray[Any]
"""[T, D], T >= 1; a memory map is read when a sample is collated."""


@dataclass(frozen=True)
class VectorCollate:
    """Vectors to a padded batch; weightless and picklable.

    Parameters
    ----------
    dim
        Width D that every vector must have.
    """

    dim: int

    def __call__(self, raws: Sequence[RawVectors | None]) -> dict[str, Tensor]:
        """Collate.

        Returns
        -------
        dict
            ``vectors`` [B, T, D], zero on padding, float16 where all rows are and float32 else;
            ``length`` int64 [B], 0 where they are missing.

        Raises
        ------
        InputError
            Of another shape, no numbers, or not finite; with its ``index``.
        """
        if not raws:
            raise InputError(
                "an empty batch",
                expected="the vectors of one sample or more",
                got="none",
                mend="give None where they are missing",
            )
        found = [row for row in each(raws, self._row) if row is not None]  # type: ignore[arg-type]  # mypy joins the union to object
        half = bool(found) and all(row.dtype == torch.float16 for row in found)
        kind = torch.float16 if half else torch.float32
        rows = iter(found)
        every = [
            torch.zeros(0, self.dim, dtype=kind) if raw is None else next(rows).to(kind)
            for raw in raws
        ]
        vectors, _ = masking.pad(every)
        return {"vectors": vectors, "length": torch.tensor([len(row) for row in every])}

    def _row(self, raw: RawVectors) -> Tensor:
        row = torch.from_numpy(np.array(raw)) if isinstance(raw, np.ndarray) else raw
        shape = tuple(getattr(row, "shape", ()))
        wrong = len(shape) != 2 or shape[0] < 1 or shape[1] != self.dim
        if wrong or not row.dtype.is_floating_point:
            raise InputError(
                "vectors that are none",
                expected=f"floats of shape [T, {self.dim}], T of 1 or more",
                got=f"{type(raw).__name__} {list(shape)}",
                mend="give the encoder's dim, or None where the vectors are missing",
            )
        # A sum is several times cheaper than a look at each number, and finite only if all are.
        if not bool(row.sum(dtype=torch.float64).isfinite()):
            raise InputError(
                "vectors that are not finite",
                expected="finite numbers",
                got=f"{int((~row.isfinite()).sum())} others; beyond 65,504 in float16",
                mend="compute them again, in float32",
            )
        return row.detach().cpu()


class VectorEncoder(Pretrained):
    """Hands on vectors that another program made: wav2vec 2.0 layers, openSMILE, video features.

    Nothing is encoded, so that explaining a stored corpus costs the fusion and the disk. What is
    not there any more cannot be removed from the input: use the removals of whole modalities
    (``"absent"``, ``"mean"``, ``"marginal"``), or level ``"features"``.

    Parameters
    ----------
    dim
        Width D of the vectors.
    rate
        Vectors per second, for spans in seconds; ``None``: spans are places.

    Raises
    ------
    InputError
        A width or a rate that is not above 0.
    """

    def __init__(self, dim: int = 768, rate: float | None = None) -> None:
        super().__init__()
        if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
            raise InputError(
                "a width that is none", expected="a whole number from 1", got=repr(dim), mend="768"
            )
        if rate is not None and not 0 < rate < float("inf"):
            raise InputError(
                "a rate that is none",
                expected="vectors per second, above 0, or None",
                got=repr(rate),
                mend="50 for wav2vec 2.0",
            )
        self.dim, self.rate = dim, rate
        self.collate = VectorCollate(dim)
        # Follows the model to its device and dtype, as weights would.
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""
        return {"dim": self.dim, "rate": self.rate}

    def forward(self, inputs: Inputs) -> Features:
        """Hand on.

        Parameters
        ----------
        inputs
            ``vectors`` [B, T, D] and ``length`` int [B].

        Returns
        -------
        Features
            Float [B, T, D] in the module's dtype, zero on padding.
        """
        values = inputs["vectors"].to(self.get_buffer("like").dtype)
        mask = masking.from_lengths(inputs["length"], values.shape[1])
        if values.requires_grad:  # padding is zero already, but nothing may learn from it
            values = masking.blank(values, mask)
        start = torch.arange(values.shape[1], device=values.device, dtype=torch.float32)
        step = 1.0 if self.rate is None else 1 / self.rate
        start = (start * step).expand(len(values), -1)
        end = torch.where(mask, start + step, start)
        spans = Spans(start, end, "index" if self.rate is None else "seconds")
        return Features(values, mask, spans)
