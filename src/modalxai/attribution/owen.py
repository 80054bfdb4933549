"""Owen values: words and moments whose sums are the modalities' own Shapley values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from modalxai.attribution import indices
from modalxai.attribution.coalitions import mean_over
from modalxai.attribution.grid import OneSample, Players, corners, one_by_one, players_of
from modalxai.attribution.masks import Masks
from modalxai.attribution.scales import Scale
from modalxai.attribution.table import Explanation
from modalxai.attribution.units import (
    BUDGET,
    Rows,
    check_budget,
    divided_modalities,
    masks_for,
    pairs_of,
    quotient_weights,
    sampled,
)
from modalxai.errors import InputError
from modalxai.protocols import AXIOMS, Axiom, Game
from modalxai.types import Attribution


@dataclass(frozen=True)
class Owen:
    """Owen values (Owen 1977), the modalities being the unions.

    ``psi_i = sum_Q sum_T [q!(M-q-1)!/M!] [t!(n-t-1)!/n!] (v(Q + T + i) - v(Q + T))`` for player i
    of a modality with n players, Q running over the other modalities and T over its fellows. The
    values of a modality's players sum to the modality's Shapley value, so a map of words adds up
    to the headline; values of the flat game do not, and grow with the number of players.

    Other modalities are there or not as a whole, so n players cost 2**n encodings of their own
    modality and nothing of the others.

    Parameters
    ----------
    players
        By modality, what its players are: a kind that the encoder offers (``"word"``,
        ``"segment"``), spans, or a division of the raw value. Empty for a game that is divided
        already.
    scale, against
        See `modalxai.attribution.scales.on_scale`.
    budget
        Encoder rows for a sample, and for each draw where parts are removed at random, counted in
        rows of the modality that costs the most. Exact where all coalitions fit, otherwise a
        sample of them, see `modalxai.attribution.regression`;
        standard errors are then in ``unit_se``.
    pairs
        Also the interaction of each player of one modality with each of another, whose sums are
        the modalities' Shapley interactions. It needs every coalition of both together.
    seed
        Of the sample of coalitions; a sample's own seed comes from it and the sample's id.
    """

    axioms: ClassVar[tuple[Axiom, ...]] = AXIOMS

    players: Players = field(default_factory=dict)
    scale: Scale = "clr"
    against: str = "rival"
    budget: int = BUDGET
    pairs: bool = False
    seed: int = 0

    def attribute(self, game: Game, labels: Sequence[str] | None = None) -> Attribution:
        """Units [B, L, U_m] that sum to totals, which sum to prediction - reference.

        Raises
        ------
        InputError
            No players, a budget that would give noise, or pairs of more players than the budget
            has room for.
        """
        check_budget(self.budget)
        divided = game.divide(dict(self.players)) if self.players else game
        names = divided_modalities(divided, self.players)
        modal = Explanation.of(divided)
        headline = modal.shapley(self.scale, labels, self.against)
        spans = {name: divided.players[name] for name in names}
        rows = Rows(spans, len(headline.labels))
        crossed = pairs_of(divided, names, len(headline.labels)) if self.pairs else {}
        for row, one in enumerate(one_by_one(divided, self.scale, self.against, labels)):
            here = [name for name in names if name in one.here]
            masks = masks_for(one, here, self.budget, self.seed)
            for name in here:
                rows.put(
                    name, row, one.real[name], *_values(one, name, masks[name], modal.enumerated)
                )
            for (first, second), table in crossed.items():
                if first in here and second in here:
                    places = one.real[first][:, None], one.real[second]
                    table[row][:, *places] = _interactions(one, first, second, masks)
        device, dtype = headline.totals.device, headline.totals.dtype
        params: dict[str, object] = {
            "players": players_of(divided, self.players),
            "budget": self.budget,
            "pairs": self.pairs,
            "mask_seed": self.seed,
        }
        return replace(
            headline,
            units={name: rows.values[name].to(device, dtype) for name in names},
            unit_se={name: rows.se[name].to(device, dtype) for name in names},
            pairs={pair: table.to(device, dtype) for pair, table in crossed.items()},
            mask={name: one.mask for name, one in spans.items()},
            spans=spans,
            provenance=replace(
                headline.provenance,
                attributor="owen",
                params={**headline.provenance.params, **params},
            ),
        )


def _values(one: OneSample, name: str, masks: Masks, enumerated: bool) -> tuple[Tensor, Tensor]:
    """Owen values and standard errors of one modality's players, each [L, n]."""
    keep = {
        other: masks.keep if other == name else corners(len(one.real[other])) for other in one.here
    }
    averaged = _averaged(one.values(keep), [one.here.index(name)])
    if masks.exact:
        return mean_over(torch.stack([indices.shapley(draw) for draw in averaged]), enumerated)
    return sampled([masks], averaged, enumerated)[0]


def _averaged(values: Tensor, apart: Sequence[int]) -> Tensor:
    """[R, V_1, ..., V_M, L] to [R, V_k, (V_l,) L], averaged over the other modalities' corners."""
    count = values.dim() - 2
    kept = [1 + axis for axis in apart]
    rest = [1 + axis for axis in range(count) if axis not in apart]
    ordered = values.permute(0, *kept, *rest, count + 1)
    weights = quotient_weights(len(rest), len(apart))
    weighted = ordered * weights[..., None]
    return weighted.sum(tuple(range(1 + len(kept), 1 + count))) if rest else weighted


def _interactions(one: OneSample, first: str, second: str, masks: Mapping[str, Masks]) -> Tensor:
    """Shapley's operator along both modalities' players, [L, n, n']."""
    if not (masks[first].exact and masks[second].exact):
        players = {name: len(one.real[name]) for name in (first, second)}
        raise InputError(
            "pairs of too many players",
            expected=f"a budget of {sum(2**count for count in players.values())} for {players}",
            got="fewer",
            mend="raise the budget, divide into fewer players, or leave pairs out",
        )
    keep = {
        other: masks[other].keep if other in (first, second) else corners(len(one.real[other]))
        for other in one.here
    }
    at = [one.here.index(first), one.here.index(second)]
    averaged = _averaged(one.values(keep), at).mean(0)  # [V, V', L]
    along = indices.shapley(averaged)  # [V', L, n]
    return indices.shapley(along)
