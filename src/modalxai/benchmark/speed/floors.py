"""What the table must show, one line each: measured, wanted, held."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from modalxai.benchmark.speed.modality import TABLE, TABLE_AND_CAM, ratio_of
from modalxai.benchmark.speed.units import OURS, cost_at, ratio_over_games

BASE = {"size": "base", "modalities": 2}
SAME = 1e-4
"""Relative difference up to which two answers are one, in float32."""


@dataclass(frozen=True)
class Floor:
    """One promise.

    Parameters
    ----------
    what
        Of which cost.
    measured, wanted
        NaN where it was not measured.
    most
        Whether ``wanted`` is the most it may be, rather than the least.
    note
        How it was measured, or why not.
    """

    what: str
    measured: float
    wanted: float
    most: bool = True
    note: str = ""

    @property
    def held(self) -> bool | None:
        """``None`` where it was not measured."""
        if math.isnan(self.measured):
            return None
        return self.measured <= self.wanted if self.most else self.measured >= self.wanted

    def row(self) -> dict[str, Any]:
        """As columns of a table."""
        return {**asdict(self), "held": self.held}


def floors(results: Mapping[str, Any]) -> list[Floor]:
    """Every promise, from the results of a run."""
    return [*_modality(results), *_shared(results), *_units(results), *_padding(results)]


def _grown(results: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    """One curve; nothing where it was not measured."""
    growth = results["growth"]
    return growth[name] if growth else []


def _modality(results: Mapping[str, Any]) -> list[Floor]:
    rows = results["modality"]
    found = []
    for fusion, removal, name, wanted in (
        ("pooled", "absent", TABLE, 1.05),
        ("transformer", "absent", TABLE, 1.25),
        ("pooled", "absent", TABLE_AND_CAM, 1.05),
        ("transformer", "absent", TABLE_AND_CAM, 1.8),
        ("wide transformer", "absent", TABLE, 1.25),
        ("wide transformer", "absent", TABLE_AND_CAM, 1.8),
        ("pooled", "replaced", TABLE, 2.05),
    ):
        cell = {**BASE, "fusion": fusion, "removal": removal}
        what = "table of all indices, scales and labels"
        what += " + Grad-CAM of all labels" if name == TABLE_AND_CAM else ""
        how = {"absent": "absent", "replaced": "mask + silence"}[removal]
        where = f"{what}, {fusion} fusion, {how}"
        found.append(
            Floor(f"FLOPs / predicting: {where}", ratio_of(rows, name, "flops_ratio", **cell),
                  wanted, note="M = 2, 7 labels, wav2vec2-base + DistilBERT, clip of 3 s")
        )  # fmt: skip
        if removal == "absent":
            time = ratio_of(rows, name, "time_ratio", **cell)
            found.append(
                Floor(
                    f"time / predicting: {where}",
                    time,
                    wanted + 0.1,
                    note=_spread(rows, name, cell),
                )
            )
    for name, count, wanted in (
        ("SHAP Exact", 2, 4), ("SHAP Exact", 5, 32),
        ("Captum ShapleyValues", 2, 5), ("Captum ShapleyValues", 5, 601),
    ):  # fmt: skip
        cell = {"size": "small", "modalities": count, "fusion": "pooled", "removal": "replaced",
                "batch": 1, "seconds": 3.0}  # fmt: skip
        rows_each = ratio_of(rows, name, "encoder_rows", **cell) / count
        ratio = ratio_of(rows, name, "flops_ratio", **cell)
        told = f"{ratio:.2f} x the FLOPs of predicting (small encoders, mask + silence)"
        found.append(
            Floor(
                f"{name}, M = {count}: runs of the whole model",
                rows_each,
                wanted,
                most=False,
                note="" if math.isnan(ratio) else told,
            )
        )
    exact = [
        row["error"] for row in rows
        if row.get("exact") and row.get("error") is not None
        and row.get("estimand") != "Owen, nested"
    ]  # fmt: skip
    found.append(
        Floor(
            "largest relative difference of any exact answer from ours",
            max(exact, default=math.nan),
            SAME,
            note=f"{len(exact)} answers of all packages, on the same models and inputs",
        )
    )
    return found


def _spread(rows: Sequence[Mapping[str, Any]], name: str, cell: Mapping[str, Any]) -> str:
    low, high = (ratio_of(rows, name, key, **cell) for key in ("time_low", "time_high"))
    if math.isnan(low):
        return ""
    return f"median of pairs in CPU time, {low:.2f} to {high:.2f}"


def _shared(results: Mapping[str, Any]) -> list[Floor]:
    corpus = _grown(results, "corpus")
    if not corpus:
        return [Floor("FLOPs / predicting: a corpus with shared references", math.nan, 1.3)]
    found = corpus[-1]
    return [
        Floor(
            f"FLOPs / predicting: {found['clips']} clips of 2 to 8 s, mask + silence, "
            "shared references",
            found["flops_ratio"],
            1.3,
            note=f"{found['audio_rows']} audio rows and {found['text_rows']} text rows encoded, "
            f"{found['lengths']} different lengths; FLOPs at the published sizes",
        )
    ]


def _units(results: Mapping[str, Any]) -> list[Floor]:
    found = []
    real = [row for row in _grown(results, "players") if row["x"] == 10]
    found.append(
        Floor(
            "encoder rows, exact Shapley values of 10 words + 10 segments, all labels",
            real[0]["encoder_rows"] if real and real[0]["exact"] else math.nan,
            2048,
            note="counted on tiny encoders; 2,097,152 for a function of masks",
        )
    )
    for units in ("8 + 8", "10 + 10"):
        rows = [row for row in results["units"] if row["units"] == units]
        here = [row for row in rows if not row.get("recorded")]
        found.append(_against(f"the best peer / ours at 5 % error, {units} players", here))
        if len(here) < len(rows):
            what = f"the best peer, newest shapiq recorded, / ours at 5 % error, {units} players"
            found.append(_against(what, rows))
    found.append(
        Floor(
            "seconds a clip on a GPU, exact 10 + 10 players, wav2vec2-base, pooled fusion",
            results.get("gpu") or math.nan,
            1,
            note="median of three" if results.get("gpu") else "no GPU in this run",
        )
    )
    return found


def _against(what: str, rows: Sequence[Mapping[str, Any]]) -> Floor:
    """The cheapest peer's cost over ours."""
    what = f"encoder FLOPs of {what}"
    ours, ok = cost_at([row for row in rows if row["contestant"] == OURS])
    if not ok:
        return Floor(what, math.nan, 10, most=False)
    best, name, reached = best_peer(rows)
    note = f"best peer: {name}" + ("" if reached else ", which needs more than its most")
    mine, other = ([row for row in rows if row["contestant"] == one] for one in (OURS, name))
    if (over := ratio_over_games(mine, other)) is not None:
        mean, low, high = over
        count = len(mine[0]["by_game"])
        note += f"; mean over {count} games {mean:.1f}, 95 % interval {low:.1f} to {high:.1f}"
    return Floor(what, best / ours, 10, most=False, note=note)


def best_peer(rows: Sequence[Mapping[str, Any]]) -> tuple[float, str, bool]:
    """FLOPs at 5 % error of the cheapest other method of Shapley values; whether it got there."""
    costs = []
    for name in dict.fromkeys(row["contestant"] for row in rows):
        mine = [row for row in rows if row["contestant"] == name and "error" in row]
        if not mine or name == OURS or mine[0].get("estimand", "Shapley") != "Shapley":
            continue
        cost, reached = cost_at(mine)
        costs.append((not reached, cost, name))
    if not costs:
        return math.nan, "none is installed", False
    missed, cost, name = min(costs)
    return cost, name, not missed


def _padding(results: Mapping[str, Any]) -> list[Floor]:
    found = results["padding"]
    if not found:
        return [Floor("time / padded run: exact group-norm path", math.nan, 1.3)]
    return [
        Floor(
            f"time / padded run: exact group-norm path, {found['clips']} clips of 2 to 8 s",
            found["time_ratio"],
            1.3,
            note=f"median of {found['pairs']} pairs in CPU time, {found['time_low']:.2f} to "
            f"{found['time_high']:.2f}; a clip changes by "
            f"{found['changed_by_neighbours']:.0e}, padded by {found['changed_by_padding']:.2f}",
        )
    ]
