"""Random sets of players: do their contributions add up to what their removal does?

Sensitivity-n (Ancona et al. 2018) asks for correlation, infidelity (Yeh et al. 2019) for equality.
Both share the removal with the explainer that is judged, and both are perfect for every additive
game: where players interact no map of single players can be, Shapley values included.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb

import torch
from torch import Tensor

from modalxai.audio import seed_for
from modalxai.errors import InputError
from modalxai.evaluation.measured import Measured
from modalxai.evaluation.ranked import Ranked, ranked
from modalxai.protocols import Game
from modalxai.types import Attribution

SIZES = (1, 2, 4, 8)
ROUNDING = 1e-6
"""Relative: what varies less, in float32 scores, does not vary."""


def sensitivity_n(
    attribution: Attribution,
    game: Game,
    sizes: Sequence[int] = SIZES,
    subsets: int = 100,
    modalities: Sequence[str] | None = None,
    scale: str | None = None,
    seed: int = 0,
) -> Measured:
    """Correlation of summed contributions with the change of the score, over sets of n players.

    ``corr_S(sum_{i in S} phi_i, v(N) - v(N without S))``, Pearson's, -1 to 1; 1 is best. It does
    not see a factor, nor one constant for all sets of a size.

    Parameters
    ----------
    attribution, game, modalities, scale
        See `modalxai.evaluation.deletion`.
    sizes
        The n, each from 1.
    subsets
        Random sets of each size; all of them where there are no more.
    seed
        A sample's own seed comes from it and the sample's id.

    Returns
    -------
    Measured
        Points are the sizes. NaN where nothing varies: more players than the sample has, all of
        them, or a game or map that is flat.

    Raises
    ------
    InputError
        See `modalxai.evaluation.deletion`; sizes or subsets out of range.
    """
    if not sizes or not all(_whole(size, 1) for size in sizes):
        raise InputError(
            "sizes of sets out of range",
            expected="whole numbers from 1",
            got=str(list(sizes)),
            mend=f"{SIZES} do for a dozen players",
        )
    _check_subsets(subsets)
    rows = []
    for name, one in zip(
        attribution.sample_ids, ranked(attribution, game, modalities, scale), strict=True
    ):
        sets = [_of_size(one.players, size, subsets, f"{size}/{name}", seed) for size in sizes]
        sums, changes, largest = _compared(one, torch.cat(sets))
        counts = [len(each) for each in sets]
        parts = zip(torch.split(sums, counts), torch.split(changes, counts), strict=True)
        rows.append(torch.stack([_pearson(a, b, largest) for a, b in parts], dim=-1))
    return _measured(
        "sensitivity-n", attribution, scale, tuple(float(n) for n in sizes), torch.stack(rows)
    )


def infidelity(
    attribution: Attribution,
    game: Game,
    subsets: int = 256,
    modalities: Sequence[str] | None = None,
    scale: str | None = None,
    seed: int = 0,
) -> Measured:
    """Mean squared difference of summed contributions and the change of the score.

    ``E_S (sum_{i in S} phi_i - (v(N) - v(N without S)))**2``, each player being in S with
    probability 1/2; in squared units of the scale, 0 is best. Yeh et al. perturb as they like;
    here S is removed as the game removes.

    Parameters
    ----------
    attribution, game, modalities, scale, seed
        See `sensitivity_n`.
    subsets
        Random sets; all 2**n of them where there are no more.

    Returns
    -------
    Measured
        One point, 0.5. NaN for a sample without players.
    """
    _check_subsets(subsets)
    rows = []
    for name, one in zip(
        attribution.sample_ids, ranked(attribution, game, modalities, scale), strict=True
    ):
        count = one.players
        if 2**count <= subsets:
            removed = (torch.arange(2**count)[:, None] >> torch.arange(count) & 1).bool()
        else:
            draw = torch.Generator().manual_seed(seed_for(f"infidelity/{name}", seed))
            removed = torch.rand(subsets, count, generator=draw) < 0.5
        sums, changes, _ = _compared(one, removed)
        rows.append((sums - changes).square().mean(0) if count else sums[0] * torch.nan)
    return _measured("infidelity", attribution, scale, (0.5,), torch.stack(rows)[..., None])


def _compared(one: Ranked, removed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Summed contributions and changes of the score, [C, L], of sets [C, n]; largest score [L]."""
    whole = torch.ones(1, one.players, dtype=torch.bool)
    scores, _ = one.ask(torch.cat([whole, ~removed]))
    return removed.double() @ one.values.T, scores[:1] - scores[1:], scores.abs().amax(0)


def _of_size(players: int, size: int, most: int, name: str, seed: int) -> Tensor:
    """Sets of ``size`` players, bool [C, n]: all of them, or ``most`` random ones."""
    if size > players:
        return torch.zeros(0, players, dtype=torch.bool)
    if comb(players, size) <= most:
        members = torch.tensor(list(combinations(range(players), size)))
    else:
        draw = torch.Generator().manual_seed(seed_for(f"sensitivity/{name}", seed))
        members = torch.rand(most, players, generator=draw).argsort(-1)[:, :size]
    return torch.zeros(len(members), players, dtype=torch.bool).scatter(1, members, True)


def _pearson(sums: Tensor, changes: Tensor, largest: Tensor) -> Tensor:
    """Correlation along C of [C, L]; NaN where either does not vary, beside its own magnitude."""
    if len(sums) < 2:
        return torch.full_like(largest, torch.nan)
    a, b = sums - sums.mean(0), changes - changes.mean(0)
    spread_a, spread_b = a.norm(dim=0), b.norm(dim=0)
    least = ROUNDING * len(sums) ** 0.5
    flat = (spread_a <= least * sums.abs().amax(0)) | (spread_b <= least * largest)
    found: Tensor = (
        ((a * b).sum(0) / (spread_a * spread_b)).clamp(-1, 1).masked_fill(flat, torch.nan)
    )
    return found


def _measured(
    measure: str,
    attribution: Attribution,
    scale: str | None,
    points: tuple[float, ...],
    values: Tensor,
) -> Measured:
    used = attribution.provenance.scale if scale is None else scale
    return Measured(measure, attribution.sample_ids, attribution.labels, used, points, values)


def _whole(number: object, least: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= least


def _check_subsets(subsets: int) -> None:
    if not _whole(subsets, 2):
        raise InputError(
            "subsets out of range",
            expected="a whole number from 2",
            got=repr(subsets),
            mend="100 or more",
        )
