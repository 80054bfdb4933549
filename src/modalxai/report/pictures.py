"""The pictures of a page that are about all utterances, each beside its numbers."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from modalxai.metrics import Confusion, confusion
from modalxai.report import figures
from modalxai.report.columns import predicted, true_class
from modalxai.report.figures.conflict_map import draw, points, quadrants
from modalxai.report.figures.shares import figure_summary
from modalxai.report.svg import inline
from modalxai.report.utterances import explained
from modalxai.types import columns

if TYPE_CHECKING:
    from modalxai.report import Report

MOST_MAPS = 3
"""Pairs of modalities whose map is drawn."""


def shares_picture(report: Report) -> str:
    """Shares and signed evidence."""
    return inline(
        report.figure(),
        "shares",
        "Shares of the evidence, and the evidence with its sign",
        figure_summary(report.shares(), report.explanation.modalities),
        "wide",
    )


def confusion_picture(report: Report) -> dict[str, Any] | None:
    """The confusion matrix, and what it holds; None where the truth or the class is unknown."""
    found = _confusion(report)
    if found is None:
        return None
    hits = found.counts.diagonal().tolist()
    said = ", ".join(
        f"{name} {hit} of {whole}"
        for name, hit, whole in zip(found.classes, hits, found.counts.sum(1).tolist(), strict=True)
    )
    drawn = figures.confusion(found)
    return {
        "svg": inline(drawn, "confusion", "Confusion matrix", f"Right: {said}."),
        "width": round(96 * drawn.get_figwidth()),
        "classes": found.classes,
        "counts": found.counts.tolist(),
        "rates": found.rates().tolist(),
    }


def _confusion(report: Report) -> Confusion | None:
    explanation, truth = report.explanation, report.truth
    labels = explanation.labels
    if truth is None or not columns(labels, "categorical"):
        return None
    right = true_class(truth, labels)
    known = right >= 0
    if not known.any():
        return None
    said = predicted(explanation.scores[-1].numpy(), labels)
    names = [label.name for label in labels]
    return confusion(
        [names[int(one)] for one in right[known]],
        [names[int(one)] for one in said[known]],
        classes=[names[column] for column in columns(labels, "categorical")],
    )


def conflict_pictures(report: Report) -> list[dict[str, Any]]:
    """A map for each pair of modalities, the first `MOST_MAPS`, with its counts."""
    found, said = report.explanation.shapley(report.scale), explained(report)
    maps = []
    for number, pair in enumerate(combinations(found.modalities, 2)):
        if number == MOST_MAPS:
            break
        placed = points(found, pair, said=said)
        where, names = placed.quadrant(), quadrants(pair)
        rows = [
            (
                found.labels[column].name,
                [int(((where == place) & (said == column)).sum()) for place in range(len(names))],
            )
            for column in sorted({int(one) for one in said})
        ]
        sums = [sum(counts[place] for _, counts in rows) for place in range(len(names))]
        told = ", ".join(f"{name} {count}" for name, count in zip(names, sums, strict=True))
        maps.append(
            {
                "svg": inline(
                    draw(found, placed),
                    f"map{number}",
                    f"Evidence of {pair[0]} against evidence of {pair[1]}",
                    f"Utterances by quadrant: {told}.",
                ),
                "pair": pair,
                "quadrants": names,
                "rows": rows,
            }
        )
    return maps
