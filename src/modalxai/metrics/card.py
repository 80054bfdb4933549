"""The score card: every score with its interval, next to what needs no understanding to reach."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modalxai.errors import InputError
from modalxai.metrics.classes import Confusion

MODEL, CONSTANT = "model", "constant"


@dataclass(frozen=True)
class Estimate:
    """A score and its interval; NaN bounds where there is none."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.low):
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Row:
    """One score of everyone.

    Parameters
    ----------
    target, metric
        What was predicted, and how it is scored.
    higher_is_better
        False for errors.
    scores
        By predictor: ``"model"``, ``"constant"``, then each baseline.
    gains
        By baseline: how much better the model is, in the unit of the score, on the samples that
        the baseline judged. Paired, so that it is surer than two intervals side by side.
    """

    target: str
    metric: str
    higher_is_better: bool
    scores: Mapping[str, Estimate]
    gains: Mapping[str, Estimate]


@dataclass(frozen=True)
class Verdict:
    """Whether one target was predicted better than without looking.

    Parameters
    ----------
    target, metric
        What was judged, and by which score: UAR (balanced accuracy) for classes and CCC for
        numbers, which no constant can raise; for sets of labels and distances, which have no such
        score, exact match and MSE against the best constant.
    chance
        What a constant reaches.
    n
        Samples judged, by predictor.
    clusters
        How many clusters the intervals were resampled from.
    at_chance
        By predictor: True where the interval of score minus chance reaches down to 0, None where
        it could not be judged, for the ``reason``.
    """

    target: str
    metric: str
    chance: float
    n: Mapping[str, int]
    clusters: int
    at_chance: Mapping[str, bool | None]
    reason: str = ""


@dataclass(frozen=True)
class ScoreCard:
    """What `score_card` found; ``print`` it.

    Parameters
    ----------
    rows
        Every score of every target.
    verdicts
        One per target.
    confusion
        Of the model's categorical labels; ``None`` where it has none, or none is known.
    clustered
        Whether clusters were given; if not, samples were taken as independent.
    leak
        What the parts of the split share, `modalxai.datasets.Split.leak`; empty where nothing.
    """

    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]
    confusion: Confusion | None
    clustered: bool
    leak: str = ""

    @property
    def at_chance(self) -> bool | None:
        """True where all that was judged is at chance; None where nothing was judged."""
        judged = [one.at_chance[MODEL] for one in self.verdicts if one.at_chance[MODEL] is not None]
        return all(judged) if judged else None

    def row(self, metric: str, target: str | None = None) -> Row:
        """One row by its metric, and by its target where several have this metric.

        Raises
        ------
        InputError
            No such row, or several.
        """
        found = [one for one in self.rows if one.metric == metric and target in (None, one.target)]
        if len(found) != 1:
            raise InputError(
                f"{len(found) or 'no'} rows of {metric!r}",
                expected="one of " + str([(one.metric, one.target) for one in self.rows]),
                got=f"metric={metric!r}, target={target!r}",
                mend="name the metric, and the target where several have it",
            )
        return found[0]

    def __str__(self) -> str:
        blocks = [_block(verdict, self.rows) for verdict in self.verdicts]
        if not self.clustered:
            blocks.append("No clusters were given: the intervals take samples as independent.")
        if self.leak:
            blocks.append(f"The split may leak, so that scores on it are too high: {self.leak}.")
        return "\n\n".join(blocks)


def _block(verdict: Verdict, rows: Sequence[Row]) -> str:
    own = [row for row in rows if row.target == verdict.target]
    names = list(own[0].scores)
    gated = next(row for row in own if row.metric == verdict.metric)
    where = f"{verdict.n[MODEL]} samples, {verdict.clusters} clusters"
    said = {True: "at chance", False: "above chance", None: f"not judged, {verdict.reason}"}
    lines = [
        f"{verdict.target} ({where}): {said[verdict.at_chance[MODEL]]} "
        f"({verdict.metric} {gated.scores[MODEL].value:.3f}, a constant {verdict.chance:.3f})"
    ]
    table = [["", *names]]
    table += [[row.metric, *(str(row.scores[name]) for name in names)] for row in own]
    words = {True: "at chance", False: "above chance", None: "not judged"}
    table.append(["", *(words[verdict.at_chance[name]] for name in names)])
    widths = [max(len(line[place]) for line in table) for place in range(len(table[0]))]
    for line in table:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        lines.append(("  " + "  ".join(cells)).rstrip())
    return "\n".join(lines)
