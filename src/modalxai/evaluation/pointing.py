"""Does a map point at what is known to decide: the planted word, the half second that matters?

Against a known truth, and so evidence of the method only as far as the model really uses what was
planted; see that it does before its explanations are judged.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from modalxai.errors import InputError
from modalxai.types import Attribution, Spans, select

HALF = 0.5
"""Of a unit, or of a true span, that must overlap for the unit to be a true one."""


@dataclass(frozen=True, eq=False)
class Localisation:
    """One modality's map beside the truth, sample by sample.

    A unit is true where half of it or more lies in a true span, or half of a true span or more
    lies in it.

    Parameters
    ----------
    sample_ids
        B names.
    label, modality
        What was explained.
    pointing
        Float64 [B], 0..1: pointing game, whether the unit with the largest contribution is a true
        one; the part of them that is, where several share the largest.
    auc
        Float64 [B], 0..1: the probability that a true unit contributes more than another one, ties
        counted half. 0.5 is chance.
    iou
        Float64 [B], 0..1: intersection over union of the true units and the map's strongest units,
        as many as are true.
    onset_error
        Float64 [B]: where the map's event starts, minus where the nearest true span starts; in
        milliseconds for seconds, else in the unit of the spans. The event is the run of those
        strongest units around the largest. It cannot be smaller than the units are.

    Notes
    -----
    All are NaN for a sample without the modality or without a true unit; AUC also where every unit
    is true.
    """

    sample_ids: tuple[str, ...]
    label: str
    modality: str
    pointing: Tensor
    auc: Tensor
    iou: Tensor
    onset_error: Tensor

    @property
    def means(self) -> dict[str, float]:
        """Mean of each over the samples where it is defined; of the onset's magnitude."""
        found = {
            "pointing": self.pointing,
            "auc": self.auc,
            "iou": self.iou,
            "onset_error": self.onset_error.abs(),
        }
        return {name: float(values.nanmean()) for name, values in found.items()}


def localisation(
    attribution: Attribution, truth: Spans, label: str, modality: str | None = None
) -> Localisation:
    """Compare the units of one modality with spans that are known to decide.

    Parameters
    ----------
    attribution
        With units.
    truth
        [B, X]: X true spans of each sample, padding without extent, in the unit of the
        modality's spans (characters for words, seconds for sound).
    label
        Whose contributions; the larger, the more they speak for it.
    modality
        Whose units; may be left out where one modality's spans have the truth's unit.

    Raises
    ------
    InputError
        An unknown label or modality, truth in another unit or for other samples, or contributions
        that are not finite.
    """
    column = select(attribution.labels, [label])[0]
    name = _modality(attribution, truth, modality)
    spans = attribution.spans[name]
    rows = len(attribution.sample_ids)
    found = torch.full((4, rows), torch.nan, dtype=torch.float64)
    for row in range(rows):
        real = (attribution.mask[name][row] & spans.mask[row]).cpu()
        values = attribution.units[name][row, column].double().cpu()[real]
        start, end = (edge[row].double().cpu()[real] for edge in (spans.start, spans.end))
        known = truth.mask[row].cpu()
        first, last = (edge[row].double().cpu()[known] for edge in (truth.start, truth.end))
        if not values.isfinite().all():
            raise InputError(
                f"sample {attribution.sample_ids[row]!r}: contributions that cannot be ranked",
                expected="finite numbers",
                got="NaN or infinity",
                mend="evaluate a method that knows every unit's contribution",
            )
        right = _true_units(start, end, first, last)
        if right.any():
            found[:, row] = torch.stack(
                [
                    right[values == values.max()].double().mean(),
                    _auc(values, right),
                    _iou(_strongest(values, int(right.sum())), right),
                    _onset(values, int(right.sum()), start, end, first),
                ]
            )
    found[3] *= 1000 if spans.unit == "seconds" else 1
    return Localisation(attribution.sample_ids, label, name, *found)


def _modality(attribution: Attribution, truth: Spans, modality: str | None) -> str:
    fits = [
        name
        for name in attribution.units
        if modality in (None, name)
        and attribution.spans[name].unit == truth.unit
        and len(truth.start) == len(attribution.sample_ids)
    ]
    if len(fits) != 1:
        raise InputError(
            "truth that does not fit the units of one modality",
            expected=f"{len(attribution.sample_ids)} rows, in the unit of one of "
            f"{ {name: attribution.spans[name].unit for name in attribution.units} }",
            got=f"{len(truth.start)} rows in {truth.unit}, {modality=}",
            mend="name the modality, and give its truth in its unit",
        )
    return fits[0]


def _true_units(start: Tensor, end: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Bool [T], of units [T] and true spans [X] that do not overlap each other."""
    shared = torch.minimum(end[:, None], last) - torch.maximum(start[:, None], first)
    shared = shared.clamp(min=0)
    # A little less than half is half: seconds are float32.
    half = HALF - 1e-6
    mostly_inside = shared.sum(1) >= half * (end - start)
    holds_most = (shared >= half * (last - first)).any(1)
    return mostly_inside | holds_most


def _auc(values: Tensor, right: Tensor) -> Tensor:
    """Mann-Whitney."""
    gap = values[right][:, None] - values[~right]
    return ((gap > 0).double() + (gap == 0).double() / 2).mean()  # NaN of nothing


def _strongest(values: Tensor, count: int) -> Tensor:
    """Bool [T]: the largest ``count`` values; of equal ones the earlier."""
    found = torch.zeros_like(values, dtype=torch.bool)
    found[values.argsort(descending=True, stable=True)[:count]] = True
    return found


def _iou(one: Tensor, other: Tensor) -> Tensor:
    return (one & other).sum().double() / (one | other).sum()


def _onset(values: Tensor, count: int, start: Tensor, end: Tensor, first: Tensor) -> Tensor:
    """Start of the run of strong units around the largest, minus the nearest true start."""
    strong = _strongest(values, count)
    at = int(values.argmax())
    begin, reach = start[at], True
    while reach:
        # Units may overlap, as frames do, or leave gaps that are rounding.
        joined = strong & (start < begin) & (end >= begin - 1e-6)
        reach = bool(joined.any())
        begin = start[joined].min() if reach else begin
    gaps = begin - first
    return gaps[gaps.abs().argmin()]
