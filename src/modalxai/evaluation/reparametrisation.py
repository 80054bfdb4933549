"""Is a share a property of the model's function, or of how it is written down?

Move a constant from the fusion into an encoder's output: the model predicts the same for every
sample, with every modality present or absent, and so an explanation of *the model* may not change.
Grad-CAM's shares do, by tens of per cent; those of every method that compares with a reference in
the same coordinates do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from modalxai.audio import seed_for
from modalxai.errors import InputError
from modalxai.evaluation.coordinates import Coordinates, Memory, plain, reparametrised
from modalxai.evaluation.models import Asked
from modalxai.protocols import Attributor, FactoredGame
from modalxai.types import Labels

Kind = Literal["shift", "scale", "rotation"]
KINDS = ("shift", "scale", "rotation")
LEAST = 1e-6
"""Contributions whose sum is a smaller part of the score than this are not divided into shares."""


@dataclass(frozen=True, eq=False)
class ReparametrisationGap:
    """One explanation of S + 1 models that compute the same.

    Parameters
    ----------
    attributor
        Plugin name of the method.
    kind
        What changed: ``"shift"``, ``"scale"`` or ``"rotation"``.
    sample_ids, labels, modalities
        B names, the L labels, the explained M modalities.
    shares
        Float64 [S + 1, B, L, M], in 0..1: ``|total_m| / sum |total|``, the first of the model as it
        is. NaN where there is nothing to divide.
    totals
        Float64 [S + 1, B, L, M].
    share_gap
        The largest change of a share; 1 where one appears or disappears. NaN if there never is one.
    total_gap, unit_gap
        The largest change of a total, and of a unit, as a part of the largest of that label. NaN
        for a method without units.
    score_gap
        The largest change of a score, as a part of the largest: what rounding does to the
        function itself. No gap can be told from 0 that is not far above it.
    """

    attributor: str
    kind: str
    sample_ids: tuple[str, ...]
    labels: Labels
    modalities: tuple[str, ...]
    shares: Tensor
    totals: Tensor
    share_gap: float
    total_gap: float
    unit_gap: float
    score_gap: float

    @property
    def largest(self) -> float:
        """The largest of the gaps in shares, totals and units."""
        gaps = torch.tensor([self.share_gap, self.total_gap, self.unit_gap], dtype=torch.float64)
        return float(gaps.nan_to_num(-torch.inf).max())


def reparametrisation_gap(
    model: nn.Module,
    attributor: Attributor,
    data: Any,
    *,
    shifts: int = 20,
    kind: Kind = "shift",
    size: float = 1.0,
    labels: Sequence[str] | None = None,
    removal: str | Mapping[str, str] | None = None,
    level: str = "input",
    background: Any = None,
    draws: Any = 1,
    seed: int = 0,
) -> ReparametrisationGap:
    """How far function-preserving changes of the encoders' outputs move an explanation.

    Each changed model is the same function: what is done to the vectors of every modality the
    fusion undoes first, a vector that stands for an absent modality moves along, and padding stays
    zero. What encoders give is computed once and kept as it is; everything behind it runs in
    float64, so that a gap is the method's and not that of rounding. The model is not changed.

    Parameters
    ----------
    model
        An `EmotionModel`.
    attributor
        Any that works on encoders and a fusion; not one that enters the encoder
        (spectrogram-grad-cam). It is run ``shifts + 1`` times; each input is encoded once, as long
        as the encodings fit into memory (`modalxai.evaluation.coordinates.MEMORY_BYTES`).
    data
        Samples or a batch.
    shifts
        S, how many random changes.
    kind
        ``"shift"``: adds a normal vector to all vectors of a modality. ``"scale"``: multiplies each
        dimension by a positive factor. ``"rotation"``: by a random orthogonal matrix. Even
        Grad-CAM survives the last two.
    size
        Of the change: a shift has this many root mean squares of the modality's values, a factor
        is e to this times a normal number.
    labels
        To explain; every one for ``None``.
    removal, level, background, draws
        Of the games, see `EmotionModel.game`; the background as samples.
    seed
        Of the changes, and of the games.

    Raises
    ------
    InputError
        A setting out of range, no model, or data that change from one reading to the next.

    Examples
    --------
    ::

        gap = mx.evaluation.reparametrisation_gap(model, mx.attribution.GradCAM(), samples)
        gap.shares[:, :, 0, 0]  # the first modality's share of the first label, shift by shift
    """
    whole = isinstance(shifts, int) and not isinstance(shifts, bool)
    if kind not in KINDS or not whole or shifts < 1 or not 0 < size < float("inf"):
        raise InputError(
            "a change of coordinates that is none",
            expected=f"a kind of {KINDS}, shifts from 1, a size above 0",
            got=f"{kind=}, {shifts=}, {size=}",
            mend="the defaults are a good test",
        )
    settings = {
        "removal": removal,
        "level": level,
        "background": background,
        "draws": draws,
        "seed": seed,
    }
    asked = Asked(model, attributor, data, labels, settings)
    start: Any = model
    memory = Memory()
    same = {name: plain(width) for name, width in start.fusion.dims.items()}
    base = reparametrised(model, same, memory)
    spread = _root_mean_squares(asked.game(base))
    found = [asked.attribute(base)]
    for at in range(shifts):
        changes = {
            name: _drawn(kind, width, size * spread[name], size, seed_for(f"{name}/{at}", seed))
            for name, width in start.fusion.dims.items()
        }
        found.append(asked.attribute(reparametrised(model, changes, memory)))
    first = found[0]
    totals = torch.stack([one.totals.double().cpu() for one in found])
    scores = torch.stack([one.prediction.double().cpu() for one in found])
    shares = _shares(totals, scores[0].abs())
    units = [
        _largest_change(
            torch.stack([one.units[name].double().cpu() for one in found]),
            torch.stack(
                [units.double().abs().amax((0, 2)).cpu() for units in first.units.values()]
            ),
        )
        for name in first.units
    ]
    largest = totals[0].abs().amax((0, 2))
    return ReparametrisationGap(
        attributor=first.provenance.attributor,
        kind=kind,
        sample_ids=first.sample_ids,
        labels=first.labels,
        modalities=first.modalities,
        shares=shares,
        totals=totals,
        share_gap=_share_gap(shares),
        total_gap=_largest_change(totals, largest[None]),
        unit_gap=max(units, default=float("nan")),
        score_gap=_largest_change(scores[..., None], scores[0].abs().amax(0)[None]),
    )


def _root_mean_squares(game: FactoredGame | Any) -> dict[str, float]:
    """By modality, over all values of all real vectors; 1 where there are none but zeros."""
    found = {}
    for name in game.modalities:
        features = game.encode(name)
        real = features.values[features.mask]
        size = float(real.double().square().mean().sqrt()) if real.numel() else 0.0
        found[name] = size or 1.0
    return found


def _drawn(kind: str, width: int, length: float, size: float, seed: int) -> Coordinates:
    draw = torch.Generator().manual_seed(seed)
    same = plain(width)
    if kind == "shift":
        offset = length * torch.randn(width, generator=draw, dtype=torch.float64)
        return Coordinates(same.matrix, same.inverse, offset)
    if kind == "scale":
        factors = (size * torch.randn(width, generator=draw, dtype=torch.float64)).exp()
        return Coordinates(factors.diag(), (1 / factors).diag(), same.offset)
    turned, _ = torch.linalg.qr(torch.randn(width, width, generator=draw, dtype=torch.float64))
    return Coordinates(turned, turned.T, same.offset)


def _shares(totals: Tensor, scores: Tensor) -> Tensor:
    """[S + 1, B, L, M]; NaN where the magnitudes are next to nothing beside the scores [B, L]."""
    amount = totals.abs().sum(-1, keepdim=True)
    floor = LEAST * scores.amax(0)[:, None]
    return (totals.abs() / amount).where((amount > floor) & (amount > 0), torch.nan)


def _share_gap(shares: Tensor) -> float:
    """The largest difference from the first; 1 where only one of the two is there."""
    there = ~shares.isnan()
    change = (shares - shares[0]).abs().nan_to_num(0)
    change = change.masked_fill(there != there[0], 1)
    return float(change.max()) if bool(there.any()) else float("nan")


def _largest_change(values: Tensor, largest: Tensor) -> float:
    """Largest difference of [S + 1, B, L, T] from the first, by the largest of each label.

    ``largest`` is [X, L], of which the maximum over X counts.
    """
    change = (values - values[0]).abs().amax((0, 1, 3))
    scale = largest.amax(0)
    part = (change / scale).masked_fill(change == 0, 0)  # nothing of nothing has not changed
    return float(part.max())
