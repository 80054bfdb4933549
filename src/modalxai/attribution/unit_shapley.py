"""Shapley values of words and moments as equals, whatever modality they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from modalxai.attribution import indices
from modalxai.attribution.coalitions import mean_over
from modalxai.attribution.grid import OneSample, Players, one_by_one, players_of
from modalxai.attribution.masks import Masks
from modalxai.attribution.scales import Scale
from modalxai.attribution.table import Explanation
from modalxai.attribution.units import (
    BUDGET,
    Rows,
    check_budget,
    divided_modalities,
    joint,
    joint_masks,
    masks_for,
    pairs_of,
    sampled,
    sums_of,
)
from modalxai.errors import InputError
from modalxai.protocols import AXIOMS, Axiom, Game, Joint
from modalxai.types import Attribution

MOST_SCORES = 1 << 25
"""Numbers in a grid, coalitions times draws times labels: 256 MB. A larger one is made smaller."""


@dataclass(frozen=True)
class UnitShapley:
    """Shapley values of the flat game in which every word and every moment is a player.

    Their sums are not the modalities' Shapley values, and a modality with more players gets more:
    an OR over 2 words and 8 moments gives them 0.20 and 0.80, where Owen's values give 0.5 each.
    Use `Owen` for the headline; this is what MM-SHAP adds up, see `mm_shap`.

    Coalitions of all modalities are crossed, so V + W encodings give V * W of them. Where those
    would be more than memory has room for, less of the budget is used. A black box
    (`modalxai.CallableGame`) shares nothing between coalitions; its are drawn of all players
    together, and the budget counts the rows of the function.

    Parameters
    ----------
    players
        By modality, what its players are: a kind that the encoder offers (``"word"``,
        ``"segment"``), spans, or a division of the raw value; an undivided modality is one player.
        Empty for a game that is divided already.
    scale, against
        See `modalxai.attribution.scales.on_scale`.
    budget
        Encoder rows for a sample, and for each draw where parts are removed at random, counted in
        rows of the modality that costs the most. Exact where all coalitions fit, otherwise a
        sample of them, see `modalxai.attribution.regression`;
        standard errors are then in ``se`` and ``unit_se``.
    pairs
        Also the Shapley interaction index of each player of one modality with each of another.
        It needs every coalition.
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
        """Units [B, L, U_m], and their sums as totals, which sum to prediction - reference.

        Raises
        ------
        InputError
            No players, a budget that would give noise, or pairs where not all coalitions fit.
        """
        check_budget(self.budget)
        divided = game.divide(dict(self.players)) if self.players else game
        names = divided_modalities(divided, self.players)
        modal = Explanation.of(divided)
        headline = modal.shapley(self.scale, labels, self.against)
        cells = MOST_SCORES // (len(modal.draws) * len(game.labels))
        every = divided.players
        rows = Rows(every, len(headline.labels))
        crossed = pairs_of(divided, names, len(headline.labels)) if self.pairs else {}
        totals, errors = torch.zeros_like(headline.totals), torch.zeros_like(headline.se)
        for row, one in enumerate(one_by_one(divided, self.scale, self.against, labels)):
            masks, table = self._asked(one, cells)
            exact = all(mask.exact for mask in masks)
            sizes = [len(one.real[name]) for name in one.here]
            find = _exact if exact else sampled
            units, sums = find(masks, table, modal.enumerated, sizes)
            values, spread = (torch.split(part, sizes, -1) for part in units)
            players = dict(zip(one.here, zip(values, spread, strict=True), strict=True))
            for place, name in enumerate(divided.modalities):
                if name in one.here:
                    rows.put(name, row, one.real[name], *players[name])
                    at = one.here.index(name)
                    totals[row, :, place] = sums[0][:, at].to(totals)
                    errors[row, :, place] = sums[1][:, at].to(errors)
            for (first, second), pair in crossed.items():
                if first in one.here and second in one.here:
                    places = one.real[first][:, None], one.real[second]
                    pair[row][:, *places] = _interactions(one, table, first, second, exact)
        params: dict[str, object] = {
            "players": players_of(divided, self.players),
            "budget": self.budget,
            "pairs": self.pairs,
            "mask_seed": self.seed,
        }
        return replace(
            headline,
            totals=totals,
            se=errors,
            units={name: rows.values[name].to(totals) for name in names},
            unit_se={name: rows.se[name].to(totals) for name in names},
            pairs={key: pair.to(totals) for key, pair in crossed.items()},
            mask={name: every[name].mask for name in names},
            spans={name: every[name] for name in names},
            provenance=replace(
                headline.provenance,
                attributor="unit-shapley",
                params={**headline.provenance.params, **params},
            ),
        )

    def _asked(self, one: OneSample, cells: int) -> tuple[list[Masks], Tensor]:
        """Masks, of each modality or of all together, and their values [R, V_1, ..., L]."""
        if isinstance(one.game, Joint) and one.game.joint:
            masks = joint_masks(one, self.budget, self.seed)
            parts = torch.split(masks.keep, [len(one.real[name]) for name in one.here], -1)
            return [masks], one.listed(dict(zip(one.here, parts, strict=True)))
        crossed = masks_for(one, one.here, self.budget, self.seed, cells, by="kernel")
        keep = {name: mask.keep for name, mask in crossed.items()}
        return [crossed[name] for name in one.here], one.values(keep)


def _exact(
    masks: Sequence[Masks], table: Tensor, enumerated: bool, parts: Sequence[int]
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """What `sampled` gives, of every coalition."""
    values = torch.stack([indices.shapley(joint(draw)) for draw in table])
    sums = sums_of(values, parts)
    return mean_over(values, enumerated), mean_over(sums, enumerated)


def _interactions(one: OneSample, table: Tensor, first: str, second: str, exact: bool) -> Tensor:
    """Shapley interaction index of every two players of two modalities, [L, n, n']."""
    if not exact:
        raise InputError(
            "pairs of too many players",
            expected="a budget for every coalition, and as many as memory has room for",
            got="a sample of them",
            mend="raise the budget, divide into fewer players, or ask owen for pairs",
        )
    starts, count = {}, 0
    for name in one.here:
        starts[name] = count
        count += len(one.real[name])
    flat = joint(table.mean(0))
    columns = [
        torch.stack(
            [
                indices.shapley_interaction(flat, (starts[first] + i, starts[second] + j))
                for j in range(len(one.real[second]))
            ],
            dim=-1,
        )
        for i in range(len(one.real[first]))
    ]
    return torch.stack(columns, dim=-2)
