"""Words and moments: error against the exact answer, at equal cost."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modalxai.attribution import UnitShapley
from modalxai.benchmark.speed import toy
from modalxai.benchmark.speed.peers import Peer, quiet
from modalxai.benchmark.speed.played import Known
from modalxai.errors import InputError
from modalxai.model import EmotionModel
from modalxai.statistics import cluster_interval, means

PLAYERS = {"text": "unit", "audio": "unit"}
OURS = "modalxai UnitShapley"
WANTED_ERROR = 0.05
LEAST_GAMES = 3
"""For an interval over them."""


def games(model: EmotionModel, units: int, count: int, seed: int = 2) -> list[Known]:
    """Every score of ``count`` samples with so many words and as many moments."""
    words, moments, _ = toy.drawn(count, units, torch.Generator().manual_seed(seed))
    found = []
    for row in range(count):
        sample = {"id": f"u{row}", "text": words[row], "audio": moments[row]}
        found.append(Known.of(model.game([sample], removal="mask").divide(PLAYERS)))
    return found


def ours(
    known: Sequence[Known],
    truths: Sequence[Tensor],
    budget: int,
    costs: Mapping[str, float],
    repeats: int,
) -> dict[str, Any] | None:
    """Our sampled grid within a budget of audio rows; ``None`` where the budget is refused.

    ``covered`` is how often the truth lies within 1.96 standard errors.
    """
    errors: list[list[float]] = []
    inside: list[bool] = []
    encoded: dict[str, list[int]] = {name: [] for name in costs}
    for game, truth in zip(known, truths, strict=True):
        errors.append([])
        for repeat in range(repeats):
            table = game.asked(costs)
            try:
                found = UnitShapley(budget=budget, seed=repeat).attribute(table)
            except InputError:
                return None
            values = torch.cat([found.units[name][0] for name in game.units], dim=-1)
            errors[-1] += relative(values, truth)
            spread = torch.cat([found.unit_se[name][0] for name in game.units], dim=-1)
            if bool((spread > 0).any()):
                inside += ((values - truth).abs() < 1.96 * spread).flatten().tolist()
            for name, count in table.encoded.items():
                encoded[name].append(count)
    rows = {name: statistics.mean(counts) for name, counts in encoded.items()}
    covered = {"covered": statistics.mean(inside)} if inside else {}
    return {**_medians(errors), **covered, **_spent(rows, costs)}


def theirs(
    peer: Peer,
    known: Sequence[Known],
    truths: Sequence[Tensor],
    budget: int,
    costs: Mapping[str, float],
    repeats: int,
) -> dict[str, Any]:
    """A peer within a budget of rows of the model, one row of every encoder each."""
    errors: list[list[float]] = []
    asked = []
    for number, (game, truth) in enumerate(zip(known, truths, strict=True)):
        errors.append([])
        for repeat in range(repeats):
            first = (number * repeats + repeat) % len(truth)
            box = game.masked(first)
            with quiet():
                values = peer.solve(box, budget, repeat)
            errors[-1] += relative(values, truth.roll(-first, dims=0)[: len(values)])
            asked.append(box.rows_asked)
    rows = dict.fromkeys(costs, float(statistics.mean(asked)))
    return {**_medians(errors), **_spent(rows, costs)}


def our_curve(
    known: Sequence[Known], budgets: Sequence[int], costs: Mapping[str, float], repeats: int
) -> list[dict[str, Any]]:
    """A row for each budget that `UnitShapley` accepts.

    Parameters
    ----------
    known
        Of each sample, every score.
    budgets
        Rows of the encoder that costs the most.
    costs
        By modality, FLOPs of encoding one row.
    repeats
        Draws of coalitions for each sample.
    """
    truths = [game.exact for game in known]
    head = {"units": _named(known), "contestant": OURS, "package": "modalxai"}
    rows = []
    for budget in budgets:
        if (found := ours(known, truths, budget, costs, repeats)) is not None:
            rows.append({**head, "estimand": "Shapley", "budget": budget, **found})
    return rows


def peer_curve(
    peer: Peer,
    known: Sequence[Known],
    budgets: Sequence[int],
    costs: Mapping[str, float],
    repeats: int,
) -> list[dict[str, Any]]:
    """A row for each budget, in rows of the model; one with a note where a method gives up."""
    truths = [game.exact for game in known]
    head: dict[str, Any] = {
        "units": _named(known),
        "contestant": peer.name,
        "package": peer.package,
        "estimand": peer.estimand,
    }
    if peer.installed is None:
        return [{**head, "note": "not installed"}]
    rows = []
    for budget in budgets:
        if budget < 2 * sum(known[0].units.values()):
            continue
        try:
            found = theirs(peer, known, truths, budget, costs, repeats)
        except (ValueError, RuntimeError, TypeError, IndexError) as error:
            found = {"note": f"{type(error).__name__}: {error}"}
        rows.append({**head, "budget": budget, **found})
    return rows


def _named(known: Sequence[Known]) -> str:
    return " + ".join(str(count) for count in known[0].units.values())


def relative(values: Tensor, truth: Tensor) -> list[float]:
    """Of each label ``|phi - exact| / |exact|``, Euclidean over the players."""
    apart = (values.double() - truth).norm(dim=-1)
    return [float(one) for one in apart / truth.norm(dim=-1)]


def _medians(errors: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Of everything, and of each game."""
    return {
        "error": statistics.median(one for game in errors for one in game),
        "by_game": [statistics.median(game) for game in errors],
    }


def _spent(rows: Mapping[str, float], costs: Mapping[str, float]) -> dict[str, Any]:
    return {
        "encoder_rows": sum(rows.values()),
        "encoder_flops": sum(rows[name] * costs[name] for name in rows),
    }


def cost_at(rows: Sequence[Mapping[str, Any]], wanted: float = WANTED_ERROR) -> tuple[float, bool]:
    """FLOPs of the encoders at which one contestant's error falls to ``wanted``.

    Read off its curve, straight between two budgets on logarithmic axes. Where it never falls so
    far, the cost of its largest budget, and False: it needs more than that.
    """
    found = sorted((row["encoder_flops"], row["error"]) for row in rows if "error" in row)
    before: tuple[float, float] | None = None
    for cost, error in found:
        if error <= wanted:
            if before is None or error <= 0:
                return cost, True
            share = math.log(before[1] / wanted) / math.log(before[1] / error)
            return before[0] * (cost / before[0]) ** share, True
        before = cost, error
    return (found[-1][0] if found else math.nan), False


def ratio_over_games(
    ours: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]
) -> tuple[float, float, float] | None:
    """What another method costs over ours at the wanted error: mean over games, 95 % interval.

    The mean is of logarithms, the interval Student's over the games. ``None`` where a curve was not
    kept game by game, or does not reach the wanted error in each of at least three games.
    """
    logs = []
    curves = [[row for row in rows if "error" in row] for rows in (ours, other)]
    counts = {len(row.get("by_game", ())) for rows in curves for row in rows}
    if len(counts) != 1 or (count := counts.pop()) < LEAST_GAMES:
        return None
    for game in range(count):
        found = [
            cost_at([{**row, "error": row["by_game"][game]} for row in rows]) for rows in curves
        ]
        if not all(reached for _, reached in found):
            return None
        logs.append(math.log(found[1][0] / found[0][0]))
    sums = np.array([[one, 1.0] for one in logs])
    made = cluster_interval(sums, means(1), method="jackknife")
    estimate, low, high = (math.exp(float(one[0])) for one in (made.estimate, made.low, made.high))
    return estimate, low, high
