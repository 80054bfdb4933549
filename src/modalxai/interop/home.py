"""What another library found about a `FlatGame`, as one of our results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from modalxai.errors import InputError
from modalxai.interop.flat import FlatGame
from modalxai.types import Attribution, Provenance


def bring_home(
    flat: FlatGame,
    values: Tensor | NDArray[Any],
    attributor: str,
    *,
    exact: bool,
    params: Mapping[str, Any] | None = None,
    pairs: Tensor | NDArray[Any] | None = None,
) -> Attribution:
    """An `Attribution` of the samples and labels of a flat game.

    A total is the sum of its modality's players. There are units where a modality is divided.

    Parameters
    ----------
    flat
        What was asked.
    values
        [B, U, L], what each player contributes; a player that a sample lacks counts as 0.
    attributor, params
        For the provenance: who found it, with which settings.
    exact
        Whether the method is. Of others, and of removals that are drawn, the standard errors are
        not known here, and are NaN.
    pairs
        [B, U, U, L], interactions of players i < j; what lies elsewhere is not read. Those within
        one modality lie above the diagonal of ``pairs[m, m]``.

    Raises
    ------
    InputError
        Values of another shape.
    """
    samples, players, labels = len(flat.sample_ids), len(flat.columns), len(flat.labels)
    _require("values", values, (samples, players, labels))
    modalities = flat.game.modalities
    found = torch.as_tensor(values).to(flat.prediction) * flat.real[..., None]
    # Where each player lies among the units of all modalities, padding included.
    widths = {name: flat.spans[name].start.shape[1] for name in modalities}
    starts = dict(zip(modalities, torch.tensor([0, *widths.values()]).cumsum(0), strict=False))
    places = [int(starts[name]) + unit for name, unit in flat.columns]
    dense = found.new_zeros(samples, labels, sum(widths.values()))
    dense[..., places] = found.movedim(1, -1)
    units = dict(zip(modalities, torch.split(dense, list(widths.values()), dim=-1), strict=True))
    totals = torch.stack([units[name].sum(-1) for name in modalities], dim=-1)
    divided = any(width > 1 for width in widths.values()) or any(
        any(spans.names) for spans in flat.spans.values()
    )
    kept = modalities if divided else ()
    known = exact and not flat.drawn
    against = {"against": flat.against} if flat.scale == "contrast" else {}
    return Attribution(
        sample_ids=flat.sample_ids,
        labels=flat.labels,
        modalities=modalities,
        present=flat.present,
        totals=totals,
        units={name: units[name] for name in kept},
        pairs={} if pairs is None else _pairs(flat, pairs, places, widths),
        se=torch.full_like(totals, 0 if known else torch.nan).masked_fill(
            ~flat.present[:, None], 0
        ),
        mask={
            name: flat.spans[name].mask & flat.present[:, [modalities.index(name)]] for name in kept
        },
        spans={name: flat.spans[name] for name in kept},
        prediction=flat.prediction,
        reference=flat.reference,
        provenance=Provenance(
            attributor=attributor,
            params=dict(params or {}) | against,
            scale=flat.scale,
            level=flat.game.level,
            **flat.game.settings,
        ),
    )


def _pairs(
    flat: FlatGame,
    pairs: Tensor | NDArray[Any],
    places: list[int],
    widths: Mapping[str, int],
) -> dict[tuple[str, str], Tensor]:
    samples, players, labels = len(flat.sample_ids), len(flat.columns), len(flat.labels)
    _require("pairs", pairs, (samples, players, players, labels))
    there = (flat.real[:, :, None] & flat.real[:, None]).triu(1)
    found = torch.as_tensor(pairs).to(flat.prediction) * there[..., None]
    every = sum(widths.values())
    dense = found.new_zeros(samples, labels, every, every)
    at = torch.tensor(places)
    dense[:, :, at[:, None], at] = found.movedim(-1, 1)
    sizes = list(widths.values())
    blocks = [torch.split(row, sizes, dim=-1) for row in torch.split(dense, sizes, dim=-2)]
    return {
        (first, second): blocks[m][n]
        for m, first in enumerate(widths)
        for n, second in enumerate(widths)
        if m < n or (m == n and widths[first] > 1)
    }


def _require(what: str, values: Any, shape: tuple[int, ...]) -> None:
    if tuple(values.shape) != shape:
        raise InputError(
            f"{what} that do not fit the game",
            expected=str(list(shape)) + ", samples, players and labels of the FlatGame",
            got=str(list(values.shape)),
            mend="bring home what was computed with this FlatGame",
        )
