"""Maps of units compared: how alike they are, and how concentrated."""

from __future__ import annotations

import torch
from torch import Tensor

from modalxai.errors import InputError
from modalxai.types import Attribution


def similarity(one: Attribution, other: Attribution) -> Tensor:
    """Spearman's correlation of two maps of the same samples, float64 [B, L].

    Raises
    ------
    InputError
        Maps with different units.
    """
    found = [
        torch.stack([_spearman(a, b) for a, b in zip(*pair, strict=True)])
        for pair in zip(_maps(one), _maps(other), strict=True)
    ]
    return torch.stack(found)


def complexity(attribution: Attribution) -> Tensor:
    """Entropy of ``|phi| / sum |phi|`` over a sample's units, nats [B, L]; NaN for a map of zeros.

    Complexity after Bhatt et al. 2020: 0 where one unit has everything, log n where all have as
    much.
    """
    found = []
    for values in _maps(attribution):
        part = values.abs() / values.abs().sum(-1, keepdim=True)
        entropy = torch.special.entr(part).sum(-1)
        found.append(entropy if values.shape[-1] else entropy * torch.nan)
    return torch.stack(found)


def _maps(attribution: Attribution) -> list[Tensor]:
    """Each sample's contributions, float64 [L, n]: of units, or else of modalities."""
    rows = []
    for row in range(len(attribution.sample_ids)):
        if attribution.units:
            parts = [
                units[row][:, attribution.mask[name][row]]
                for name, units in attribution.units.items()
            ]
            rows.append(torch.cat(parts, dim=-1).double().cpu())
        else:
            here = attribution.totals[row][:, attribution.present[row]]
            rows.append(here.double().cpu())
    return rows


def _spearman(one: Tensor, other: Tensor) -> Tensor:
    if one.shape != other.shape:
        raise InputError(
            "maps with different units",
            expected=f"{len(one)} units",
            got=str(len(other)),
            mend="compare maps over words or segments, which no weight decides",
        )
    nothing = torch.tensor(torch.nan, dtype=torch.float64)
    if len(one) < 3:
        return nothing
    a, b = ranks(one), ranks(other)
    a, b = a - a.mean(), b - b.mean()
    spread = a.norm() * b.norm()
    return nothing if spread == 0 else (a * b).sum() / spread


def ranks(values: Tensor) -> Tensor:
    """Ranks from 1, float64 [n]; equal values share the mean of theirs."""
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    shared: Tensor = (last - (counts - 1) / 2)[place]
    return shared
