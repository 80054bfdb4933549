"""Comprehensiveness and sufficiency (DeYoung et al. 2020, ERASER): the strongest players at once.

Both share the removal with the explainer that is judged: they measure agreement of operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import torch
from torch import Tensor

from modalxai.errors import InputError
from modalxai.evaluation.flipping import tied_orders
from modalxai.evaluation.measured import Measured
from modalxai.evaluation.ranked import Ranked, ranked
from modalxai.protocols import Game
from modalxai.types import Attribution

FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Of the players, as in ERASER."""


def comprehensiveness(
    attribution: Attribution,
    game: Game,
    fractions: Sequence[float] = FRACTIONS,
    modalities: Sequence[str] | None = None,
    scale: str | None = None,
) -> Measured:
    """How much the score falls without the strongest players, ``v(N) - v(N without top)``.

    High where the explanation named all that mattered. ERASER's own is on ``"probability"`` and
    over words; its AOPC is `Measured.per_sample`, the mean over the fractions.

    Parameters
    ----------
    attribution, game, modalities, scale
        See `modalxai.evaluation.deletion`.
    fractions
        Parts of a sample's n players, each in (0, 1]: the strongest ``ceil(fraction * n)``, one at
        least, so that of ten words 1, 5 and 10 % are all one word.

    Raises
    ------
    InputError
        See `modalxai.evaluation.deletion`; or fractions out of range.
    """
    return _erased("comprehensiveness", attribution, game, fractions, modalities, scale)


def sufficiency(
    attribution: Attribution,
    game: Game,
    fractions: Sequence[float] = FRACTIONS,
    modalities: Sequence[str] | None = None,
    scale: str | None = None,
) -> Measured:
    """How much the score falls with the strongest players alone, ``v(N) - v(top)``.

    Low, or negative, where what the explanation named is enough. For the rest see
    `comprehensiveness`.
    """
    return _erased("sufficiency", attribution, game, fractions, modalities, scale)


def _erased(
    measure: str,
    attribution: Attribution,
    game: Game,
    fractions: Sequence[float],
    modalities: Sequence[str] | None,
    scale: str | None,
) -> Measured:
    points = tuple(fractions)
    if not points or not all(0 < one <= 1 for one in points):
        raise InputError(
            "fractions out of range",
            expected="numbers above 0 and up to 1",
            got=str(points),
            mend=f"ERASER's are {FRACTIONS}",
        )
    rows = [_sample(one, measure, points) for one in ranked(attribution, game, modalities, scale)]
    return Measured(
        measure=measure,
        sample_ids=attribution.sample_ids,
        labels=attribution.labels,
        scale=attribution.provenance.scale if scale is None else scale,
        points=points,
        values=torch.stack(rows),
    )


def _sample(one: Ranked, measure: str, points: Sequence[float]) -> Tensor:
    """[L, P]."""
    count, labels = one.players, len(one.values)
    if not count:
        return torch.full((labels, len(points)), torch.nan, dtype=torch.float64)
    # Rounded first: 0.07 * 100 is a little more than 7.
    sizes = torch.tensor([max(1, ceil(round(part * count, 9))) for part in points])
    rank = tied_orders(one.values).argsort(-1)[:, :, None]  # [2, L, 1, n]
    top = rank < sizes[:, None]  # [2, L, P, n]
    whole = torch.ones(2, labels, 1, count, dtype=torch.bool)
    kept = top if measure == "sufficiency" else ~top
    scores, _ = one.ask(torch.cat([whole, kept], dim=2))
    own = torch.arange(labels)
    mine = scores[:, own, :, own].mean(1)  # [L, 1 + P], mean over the directions of ties
    return mine[:, :1] - mine[:, 1:]
