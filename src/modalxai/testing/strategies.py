"""Hypothesis strategies: lengths, masks, features, batches, games; they need ``hypothesis``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from hypothesis import strategies as st
from torch import Tensor

from modalxai import masking
from modalxai.testing.fusion_case import LABELS, placed
from modalxai.testing.unit_table import UnitTableGame
from modalxai.types import Audio, Features, Labels

Raw = TypeVar("Raw")


def lengths(rows: int = 4, longest: int = 8, shortest: int = 0) -> st.SearchStrategy[list[int]]:
    """One to ``rows`` lengths from ``shortest`` to ``longest``; 0 is a missing row."""
    return st.lists(st.integers(shortest, longest), min_size=1, max_size=rows)


@st.composite
def masks(
    draw: st.DrawFn, rows: int = 4, longest: int = 8, holes: bool = True, padding: int = 3
) -> Tensor:
    """Masks, bool [B, T]: real vectors first, then padding; with ``holes`` some are removed.

    ``padding`` is how much longer than its longest row a mask may be.
    """
    found = draw(lengths(rows, longest))
    size = max(1, *found) + draw(st.integers(0, padding))
    mask = masking.from_lengths(torch.tensor(found), size)
    if not holes:
        return mask
    flags = st.lists(st.booleans(), min_size=mask.numel(), max_size=mask.numel())
    return mask & torch.tensor(draw(flags)).reshape(mask.shape)


@st.composite
def features(draw: st.DrawFn, dims: Mapping[str, int], rows: int = 4) -> dict[str, Features]:
    """Features of every modality in ``dims``, one number of rows for all, any of them missing."""
    count = draw(st.integers(1, rows))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    found = {}
    for name, width in dims.items():
        mask = draw(masks(rows=rows))
        rest = masking.from_lengths(torch.zeros(count, dtype=torch.long), mask.shape[1])
        mask = torch.cat([mask, rest])[:count]
        values = torch.randn(*mask.shape, width, generator=generator)
        found[name] = placed(masking.blank(values, mask), mask)
    return found


@st.composite
def recordings(
    draw: st.DrawFn, shortest: float = 0.05, longest: float = 0.4, sample_rate: int = 16_000
) -> Audio:
    """Recordings of noise, of any length between two, in seconds."""
    samples = draw(st.integers(int(shortest * sample_rate), int(longest * sample_rate)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return Audio(0.1 * torch.randn(samples, generator=generator), sample_rate)


def texts(alphabet: str = "abc xyz, 참잘했다.!", longest: int = 20) -> st.SearchStrategy[str]:
    """Texts of an alphabet that are not blank."""
    return st.text(alphabet, min_size=1, max_size=longest).filter(lambda text: bool(text.strip()))


def batches(
    raws: st.SearchStrategy[Raw], rows: int = 4, missing: bool = True
) -> st.SearchStrategy[Sequence[Raw | None]]:
    """One to ``rows`` raw values, any of them ``None`` where ``missing``."""
    one: st.SearchStrategy[Any] = st.none() | raws if missing else raws
    return st.lists(one, min_size=1, max_size=rows)


@st.composite
def games(
    draw: st.DrawFn,
    modalities: Sequence[str] = ("audio", "text"),
    found: Labels = LABELS,
    samples: int = 3,
    units: int = 3,
) -> UnitTableGame:
    """Games read from random tables: one to ``units`` players each, any of them missing."""
    sizes = {name: draw(st.integers(1, units)) for name in modalities}
    count = draw(st.integers(1, samples))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    table = torch.randn(2 ** sum(sizes.values()), count, len(found), generator=generator)
    flags = {
        name: st.lists(st.booleans(), min_size=count * size, max_size=count * size)
        for name, size in sizes.items()
    }
    real = {
        name: torch.tensor(draw(flags[name])).reshape(count, size) for name, size in sizes.items()
    }
    return UnitTableGame(table, found, sizes, real)
