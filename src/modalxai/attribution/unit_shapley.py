"""Shapley values of words and moments as equals, whatever modality they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from modalxai.attribution import indices
from modalxai.attribution.grid import OneSample, Players, described, one_by_one
from modalxai.attribution.masks import Masks
from modalxai.attribution.regression import estimate
from modalxai.attribution.scales import Scale
from modalxai.attribution.table import Explanation
from modalxai.attribution.units import (
    BUDGET,
    Rows,
    check_budget,
    divided_modalities,
    joint,
    masks_for,
    over_draws,
    pairs_of,
)
from modalxai.errors import InputError
from modalxai.protocols import Game
from modalxai.types import Attribution

MOST_EXACT = 22
"""Players of all modalities together up to which all their coalitions are joined."""


@dataclass(frozen=True)
class UnitShapley:
    """Shapley values of the flat game in which every word and every moment is a player.

    Their sums are not the modalities' Shapley values, and a modality with more players gets more:
    an OR over 2 words and 8 moments gives them 0.20 and 0.80, where Owen's values give 0.5 each.
    Use `Owen` for the headline; this is what MM-SHAP adds up, see `mm_shap`.

    Coalitions of all modalities are crossed, so V + W encodings give V * W of them.

    Parameters
    ----------
    players
        By modality, what its players are: a kind that the encoder offers (``"word"``,
        ``"segment"``), spans, or a division of the raw value; an undivided modality is one player.
        Empty for a game that is divided already.
    scale, against
        See `modalxai.attribution.scales.on_scale`.
    budget
        Encoder rows for a sample, counted in rows of the modality that costs the most. Exact
        where all coalitions fit, otherwise a sample of them, see
        `modalxai.attribution.regression`; standard errors are then in ``se`` and ``unit_se``.
    pairs
        Also the Shapley interaction index of each player of one modality with each of another.
        It needs every coalition.
    seed
        Of the sample of coalitions; a sample's own seed comes from it and the sample's id.
    """

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
        headline = Explanation.of(divided).shapley(self.scale, labels, self.against)
        every = divided.players
        rows = Rows(every, len(headline.labels))
        crossed = pairs_of(divided, names, len(headline.labels)) if self.pairs else {}
        totals, errors = torch.zeros_like(headline.totals), torch.zeros_like(headline.se)
        for row, one in enumerate(one_by_one(divided, self.scale, self.against, labels)):
            masks = masks_for(one, one.here, self.budget, self.seed)
            exact = all(mask.exact for mask in masks.values())
            count = sum(len(one.real[name]) for name in one.here)
            if exact and count > MOST_EXACT:
                raise InputError(
                    f"{count} players are too many for all their coalitions",
                    expected=f"at most {MOST_EXACT}",
                    got=f"a budget of {self.budget} encoder rows",
                    mend="lower the budget, so that a sample of them is taken",
                )
            table = one.values({name: mask.keep for name, mask in masks.items()})
            players, sums = _exact(one, table) if exact else _sampled(one, table, masks)
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
            "players": {name: described(asked) for name, asked in self.players.items()},
            "budget": self.budget,
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


Found = tuple[dict[str, tuple[Tensor, Tensor]], tuple[Tensor, Tensor]]
"""By modality values and standard errors [L, n], and those of the sums [L, M]."""


def _exact(one: OneSample, table: Tensor) -> Found:
    values = [indices.shapley(joint(draw)) for draw in table]
    return _split(one, values, [torch.zeros_like(value) for value in values])


def _sampled(one: OneSample, table: Tensor, masks: Mapping[str, Masks]) -> Found:
    found = [estimate([masks[name] for name in one.here], draw.numpy()) for draw in table]
    players = [torch.from_numpy(each.values).T for each in found]
    errors = [torch.from_numpy(each.se).T for each in found]
    sums = [torch.from_numpy(each.total_se).T for each in found]
    return _split(one, players, errors, sums)


def _split(
    one: OneSample,
    values: Sequence[Tensor],
    errors: Sequence[Tensor],
    sum_errors: Sequence[Tensor] | None = None,
) -> Found:
    sizes = [len(one.real[name]) for name in one.here]
    added = [
        torch.stack([part.sum(-1) for part in torch.split(value, sizes, dim=-1)], dim=-1)
        for value in values
    ]
    mean, se = over_draws(values, errors)
    parts = zip(one.here, torch.split(mean, sizes, -1), torch.split(se, sizes, -1), strict=True)
    nothing = [torch.zeros_like(each) for each in added]
    sums = over_draws(added, nothing if sum_errors is None else sum_errors)
    return {name: (value, error) for name, value, error in parts}, sums


def _interactions(one: OneSample, table: Tensor, first: str, second: str, exact: bool) -> Tensor:
    """Shapley interaction index of every two players of two modalities, [L, n, n']."""
    if not exact:
        raise InputError(
            "pairs of too many players",
            expected="a budget for every coalition",
            got="a sample of them",
            mend="raise the budget, divide into fewer players, or leave pairs out",
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
