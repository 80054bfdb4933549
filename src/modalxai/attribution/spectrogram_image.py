"""A map over cells of time and frequency as a picture with even axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor

from modalxai.errors import InputError
from modalxai.types import Attribution

Resampling = Literal["cells", "display", "area"]
RESAMPLINGS = ("cells", "display", "area")


@dataclass(frozen=True, eq=False)
class SpectrogramImage:
    """One sample's and one label's cells on a grid.

    Parameters
    ----------
    values
        Float [F, T], low frequencies and early moments first.
    hertz, seconds
        Edges of the rows, [F + 1], and of the columns, [T + 1].
    """

    values: Tensor
    hertz: Tensor
    seconds: Tensor

    @classmethod
    def of(
        cls,
        found: Attribution,
        label: str,
        *,
        sample: str | int = 0,
        modality: str | None = None,
        resampling: Resampling = "cells",
        size: tuple[int, int] = (128, 256),
    ) -> Self:
        """Lay out the units of a result whose spans have hertz.

        Parameters
        ----------
        found
            Of `modalxai.attribution.SpectrogramGradCAM`, or any whose cells form a grid.
        label
            Which of its labels.
        sample
            An id, or a row.
        modality
            Whose cells; the first modality's that has them for ``None``.
        resampling
            ``"cells"`` leaves them as they are: rows evenly spaced on the encoder's own scale.
            The others give ``size`` pixels, even in hertz and seconds. ``"display"`` interpolates
            between the centres of cells (half-pixel centres, no shift). ``"area"`` shares each
            cell out over the pixels it covers: any sum over a region stays what it was.
        size
            Rows and columns, F and T.

        Raises
        ------
        InputError
            An unknown label, sample, modality or resampling, or units that are no grid.
        """
        names = [one.name for one in found.labels]
        with_hertz = [name for name in found.units if found.spans[name].low is not None]
        rows = list(found.sample_ids)
        row = rows[sample] if isinstance(sample, int) and 0 <= sample < len(rows) else sample
        modality = modality or next(iter(with_hertz), "")
        for what, asked, offered in (
            ("label", label, names),
            ("sample", row, rows),
            ("modality with hertz", modality, with_hertz),
            ("resampling", resampling, list(RESAMPLINGS)),
        ):
            if asked not in offered:
                raise InputError(
                    f"unknown {what}",
                    expected=f"one of {offered}",
                    got=repr(asked),
                    mend="name one that the result has",
                )
        cells = _grid(found, rows.index(str(row)), names.index(label), modality)
        image = cls(*cells)
        return image if resampling == "cells" else image.resampled(size, resampling == "area")

    def resampled(self, size: tuple[int, int], area: bool) -> Self:
        """``size`` pixels [F, T] even in hertz and seconds; see `of`."""
        hertz, seconds = (
            torch.linspace(edges[0].item(), edges[-1].item(), count + 1, dtype=torch.float64)
            for edges, count in zip((self.hertz, self.seconds), size, strict=True)
        )
        weights = _shares if area else _between
        up = weights(self.hertz, hertz)
        across = weights(self.seconds, seconds)
        values = up @ self.values.double() @ across.T
        return type(self)(values.to(self.values.dtype), hertz, seconds)


def _grid(
    found: Attribution, row: int, column: int, modality: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Values [F, T] and the edges of rows and columns, float64."""
    real = found.mask[modality][row].cpu()
    spans = found.spans[modality]
    start, end, low, high = (
        edge[row].detach().cpu()[real].double()
        for edge in (spans.start, spans.end, spans.low, spans.high)
        if edge is not None
    )
    bands = int((start == start[:1]).sum())
    whole = bands > 0 and len(start) % bands == 0
    if whole:
        start, end, low, high = (edge.reshape(-1, bands) for edge in (start, end, low, high))
        same = (start == start[:, :1]) & (end == end[:, :1]) & (low == low[:1]) & (high == high[:1])
        whole = bool(same.all()) and bool((low.diff() > 0).all())
    if not whole:
        raise InputError(
            f"the units of {modality!r} in sample {found.sample_ids[row]!r} are no grid",
            expected="cells of equal bands at every moment, low ones first",
            got=f"{int(real.sum())} cells",
            mend="use the result of spectrogram-grad-cam; a missing recording has no picture",
        )
    values = found.units[modality][row, column].detach().cpu()[real].reshape(-1, bands)
    hertz = torch.cat([low[0], high[0, -1:]])
    seconds = torch.cat([start[:, 0], end[-1:, 0]])
    return values.T, hertz, seconds


def _shares(cells: Tensor, pixels: Tensor) -> Tensor:
    """Which share of each cell lies in each pixel, [pixels, cells]; the columns sum to 1."""
    top = torch.minimum(pixels[1:, None], cells[None, 1:])
    bottom = torch.maximum(pixels[:-1, None], cells[None, :-1])
    return (top - bottom).clamp(min=0) / cells.diff()


def _between(cells: Tensor, pixels: Tensor) -> Tensor:
    """Linear interpolation from the cells' centres to the pixels', [pixels, cells]."""
    centres, wanted = ((edges[1:] + edges[:-1]) / 2 for edges in (cells, pixels))
    if len(centres) == 1:
        return torch.ones(len(wanted), 1, dtype=cells.dtype)
    wanted = wanted.clamp(centres[0], centres[-1])
    right = torch.searchsorted(centres, wanted).clamp(1, len(centres) - 1)
    share = (wanted - centres[right - 1]) / (centres[right] - centres[right - 1])
    weights = torch.zeros(len(wanted), len(centres), dtype=cells.dtype)
    weights.scatter_(1, (right - 1)[:, None], (1 - share)[:, None])
    return weights.scatter_(1, right[:, None], share[:, None])
