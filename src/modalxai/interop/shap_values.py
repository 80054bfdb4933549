"""SHAP: our results as `shap.Explanation`, and its explainers on our players."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from modalxai.attribution.scales import Scale
from modalxai.interop.flat import FlatGame, called
from modalxai.interop.home import bring_home
from modalxai.interop.optional import require
from modalxai.protocols import Game
from modalxai.types import Attribution

if TYPE_CHECKING:
    import shap


def to_shap(attribution: Attribution) -> shap.Explanation:
    """One of our results for the plots of SHAP.

    Returns
    -------
    shap.Explanation
        Values [B, U, L], base values [B, L] (the reference) and data [B, U], the players' names;
        output names are the labels, so that ``explanation[0, :, "anger"]`` works. Players are the
        units of all modalities side by side, or the modalities where there are none. Padding is 0
        and has no name. Interactions are left out.

    Raises
    ------
    DependencyError
        shap is not installed.
    """
    package = require("shap")
    values: list[Tensor] = []
    names: list[list[tuple[str, ...]]] = []
    for place, modality in enumerate(attribution.modalities):
        if modality not in attribution.units:
            values.append(attribution.totals[..., place : place + 1])
            names.append([(modality,)] * len(attribution.sample_ids))
            continue
        units, spans = attribution.units[modality], attribution.spans[modality]
        values.append(units)
        names.append(
            [
                tuple(
                    called(spans, modality, row, unit) if there else ""
                    for unit, there in enumerate(mask)
                )
                for row, mask in enumerate(attribution.mask[modality].tolist())
            ]
        )
    data = [sum(rows, ()) for rows in zip(*names, strict=True)]
    return package.Explanation(
        values=torch.cat(values, -1).movedim(1, -1).detach().cpu().numpy(),
        base_values=attribution.reference.detach().cpu().numpy(),
        data=np.array(data, dtype=object),
        instance_names=list(attribution.sample_ids),
        feature_names=list(data[0]) if len(set(data)) == 1 else None,
        output_names=[label.name for label in attribution.labels],
    )


def from_shap(
    found: shap.Explanation, flat: FlatGame, attributor: str, *, exact: bool
) -> Attribution:
    """What an explainer of SHAP found about a `FlatGame` of one sample.

    A `FlatGame` is a model of masks, with zeros for a background::

        flat = mx.interop.FlatGame(game, samples="u1")
        found = shap.explainers.Permutation(flat, flat.off.numpy())(flat.on.numpy())
        mx.interop.from_shap(found, flat, "permutation", exact=False)

    Parameters
    ----------
    found
        Values [1, U, L], or [1, U] of one label. Also what ``Exact`` finds with ``interactions=2``
        for a flat game of one label, [1, U, U]: Shapley-Taylor interactions (STII), whose totals
        and pairs together sum to prediction - reference.
    flat
        What was asked.
    attributor
        Name of the method, for the provenance: ``"shap/"`` and it.
    exact
        Whether the method is; the standard errors of others are NaN.

    Raises
    ------
    InputError
        Values of another shape.
    """
    name = f"shap/{attributor}"
    values = torch.as_tensor(np.asarray(found.values))
    players = len(flat.columns)
    if len(flat.labels) == 1 and values.dim() == 2:
        values = values[..., None]
    if len(flat.labels) > 1 or values.shape[-1] != players or players == 1:
        return bring_home(flat, values, name, exact=exact)
    # SHAP halves each interaction between its two players.
    ones = values.diagonal(dim1=1, dim2=2)[..., None]
    return bring_home(flat, ones, name, exact=exact, pairs=2 * values[..., None])


def exact_shap(
    game: Game, labels: list[str] | None = None, scale: Scale = "clr", against: str = "rival"
) -> Attribution:
    """SHAP's exact explainer on the players of a game, sample by sample, all labels at once.

    It asks for all 2**U coalitions. Of modalities `ModalityShapley` finds the same.

    Raises
    ------
    DependencyError
        shap is not installed.
    InputError
        An unknown label or scale.
    """
    package = require("shap")
    parts = []
    for name in game.sample_ids:
        flat = FlatGame(game, samples=name, labels=labels, scale=scale, against=against)
        explainer: Any = package.explainers.Exact(flat, flat.off.numpy())
        found = explainer(flat.on.numpy(), max_evals=1 << len(flat.columns))
        parts.append(from_shap(found, flat, "exact", exact=True))
    return Attribution.merge(parts)
