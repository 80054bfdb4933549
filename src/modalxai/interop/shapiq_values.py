"""shapiq: our games for its approximators, and its interaction values as ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from modalxai.errors import InputError
from modalxai.interop.flat import FlatGame
from modalxai.interop.home import bring_home
from modalxai.interop.optional import require
from modalxai.types import Attribution

if TYPE_CHECKING:
    import shapiq


def to_shapiq(flat: FlatGame) -> shapiq.Game:
    """A flat game of one sample and one label, for shapiq::

        flat = mx.interop.FlatGame(game, samples="u1", labels="anger")
        found = shapiq.KernelSHAPIQ(n=len(flat.columns), index="k-SII", max_order=2)
        mx.interop.from_shapiq(found.approximate(512, mx.interop.to_shapiq(flat)), flat)

    It is centred: the empty coalition scores 0.

    Raises
    ------
    DependencyError
        shapiq is not installed.
    InputError
        Several samples or labels; shapiq knows one of each.
    """
    _require_one(flat)
    require("shapiq")
    import shapiq

    class PlayersGame(shapiq.Game):
        """A `FlatGame` as shapiq has it."""

        def value_function(self, coalitions: Any) -> Any:
            return flat(np.asarray(coalitions))[:, 0].astype(float)

    return PlayersGame(
        n_players=len(flat.columns),
        normalization_value=float(flat.reference[0, 0]),
        player_names=list(flat.names[0]),
    )


def from_shapiq(values: shapiq.InteractionValues, flat: FlatGame) -> Attribution:
    """What shapiq found about a flat game of one sample and one label.

    Values of single players become units and totals, those of two become pairs.

    Raises
    ------
    InputError
        Several samples or labels, another number of players, or values of three players or more,
        for which an `Attribution` has no room.
    """
    _require_one(flat)
    players = len(flat.columns)
    if values.n_players != players or values.max_order > 2:
        raise InputError(
            "interaction values that do not fit",
            expected=f"{players} players, orders 1 and 2",
            got=f"{values.n_players} players, up to order {values.max_order}",
            mend="ask with to_shapiq(flat), and max_order=2",
        )
    ones = torch.zeros(1, players, 1, dtype=torch.float64)
    pairs = torch.zeros(1, players, players, 1, dtype=torch.float64)
    for found, value in values.interactions.items():
        if len(found) == 1:
            ones[0, found[0], 0] = float(value)
        elif len(found) == 2:
            first, second = sorted(found)
            pairs[0, first, second, 0] = float(value)
    budget = values.estimation_budget
    return bring_home(
        flat,
        ones,
        "shapiq/" + values.index,
        exact=not values.estimated,
        params={
            "max_order": values.max_order,
            "budget": None if budget is None else int(budget),
        },
        pairs=pairs if values.max_order == 2 else None,
    )


def _require_one(flat: FlatGame) -> None:
    if len(flat.sample_ids) != 1 or len(flat.labels) != 1:
        raise InputError(
            "shapiq plays for one sample and one label",
            expected="a FlatGame of one of each",
            got=f"{len(flat.sample_ids)} samples, {len(flat.labels)} labels",
            mend='make it with FlatGame(game, samples="u1", labels="anger")',
        )
