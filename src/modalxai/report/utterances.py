"""The utterances that the page shows, drawn at random: numbers, pictures, words and sound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from modalxai.report import figures, text
from modalxai.report.columns import predicted, true_class
from modalxai.report.figures import reading
from modalxai.report.figures.fonts import short
from modalxai.report.figures.for_against import Weighed, weigh
from modalxai.report.figures.palette import tint
from modalxai.report.recordings import playable
from modalxai.report.svg import inline
from modalxai.types import Attribution, columns

if TYPE_CHECKING:
    from modalxai.report import Report

MOST_UNITS = 40
"""Players listed in a table; of more, the largest."""


def utterances(
    report: Report,
    recordings: Mapping[str, Any],
    units: Mapping[str, Attribution],
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Some samples, drawn at random by the seed and not by how well they look.

    Of the samples that have units, where there are any; else of those with a recording.
    """
    explanation, evidence = report.explanation, report.evidence
    ids = explanation.sample_ids
    rich = {name for one in units.values() for name in one.sample_ids} or {*recordings}
    order = sorted(
        (row for row in range(len(ids)) if not rich or ids[row] in rich), key=ids.__getitem__
    )
    count = min(max(0, report.samples_shown), len(order))
    picks = np.random.default_rng(report.seed).choice(len(order), size=count, replace=False)
    found, chances = explanation.shapley(report.scale), explanation.shapley("probability")
    said, right = explained(report), _truths(report)
    words = explanation.columns.get("text")
    shown = []
    rows: Iterable[int] = sorted(order[int(pick)] for pick in picks)
    if progress:
        from tqdm import tqdm

        rows = tqdm(rows, desc="draw utterances", unit="utterance", delay=2)
    for number, row in enumerate(rows):
        column, name = int(said[row]), ids[row]
        label = explanation.labels[column].name
        weighed = weigh(found, row)
        own = weighed[column]
        raw = recordings.get(name)  # read now, and once
        spoken = words[row] if words is not None and isinstance(words[row], str) else None
        shown.append(
            {
                "row": row,
                "label": label,
                "truth": right[row],
                "evidence": own.values,
                "interaction": [float(values[row, column]) for values in evidence.pairs.values()],
                "net": own.net,
                "unit": own.unit,
                "before": float(chances.reference[row, column]),
                "after": float(chances.prediction[row, column]),
                "weighed": weighed,
                "balance": inline(
                    figures.for_against(found, row),
                    f"balance{number}",
                    f"For and against each label: {short(name, 40)}",
                    "; ".join(_sentence(one) for one in weighed),
                ),
                "audio": None if raw is None else playable(raw),
                "picture": _picture(number, name, label, raw, units.values()),
                "results": [
                    _result(title, one, name, label, spoken)
                    for title, one in units.items()
                    if name in one.sample_ids
                ],
            }
        )
    return shown


def explained(report: Report) -> Any:
    """The column explained for each sample: the predicted class, else the largest evidence."""
    labels = report.explanation.labels
    if columns(labels, "categorical"):
        return predicted(report.explanation.scores[-1].numpy(), labels)
    return np.abs(report.evidence.totals).sum(-1).argmax(-1)


def _truths(report: Report) -> list[str]:
    labels, truth = report.explanation.labels, report.truth
    if truth is None:
        return [text.DASH] * len(report.explanation.sample_ids)
    if columns(labels, "categorical"):
        return [labels[c].name if c >= 0 else text.DASH for c in true_class(truth, labels).tolist()]
    return [
        ", ".join(
            f"{label.name} {value:g}"
            for label, value, is_known in zip(labels, values, known, strict=True)
            if is_known
        )
        or text.DASH
        for values, known in zip(truth.values, truth.known, strict=True)
    ]


def _sentence(one: Weighed) -> str:
    parts = ", ".join(f"{name} {text.signed(value)}" for name, value in one.values.items())
    return f"{one.label}: {parts}, net {text.signed(one.net)} {one.unit}"


def _picture(
    number: int, name: str, label: str, raw: Any, results: Sequence[Attribution] | Any
) -> str | None:
    """The recording and what its segments contribute; None where there is neither."""
    own = [
        one
        for one in results
        if name in one.sample_ids and label in {each.name for each in one.labels}
    ]
    parts = [part for one in own for part in reading.divisions(one, name, label)]
    if raw is None and not any(part.sort in ("moments", "players") for part in parts):
        return None
    kinds: Any = ("waveform", "moments", "spectrogram", "pitch", "intensity", "players")
    figure = figures.utterance({"id": name, "audio": raw}, own, label, panels=kinds)
    said = [part for part in parts if part.sort != "words"]
    return inline(
        figure,
        f"utterance{number}",
        f"The recording of {short(name, 40)}, and what its parts contribute to {short(label, 40)}",
        "Waveform, spectrogram, pitch and intensity over time. "
        + " ".join(f"{part.modality}: {len(part.units)} {part.sort}." for part in said)
        + (" Their numbers are in the tables below." if said else ""),
        "wide",
    )


def _result(
    title: str, found: Attribution, name: str, label: str, spoken: str | None
) -> dict[str, Any]:
    """What one method says of the words and moments of a sample."""
    if label not in {one.name for one in found.labels}:
        return {"title": title, "parts": [], "explained": False}
    parts = reading.divisions(found, name, label, spoken)
    whole = reading.largest(parts)
    return {
        "title": title,
        "explained": True,
        "method": found.provenance.attributor,
        "parts": [
            {
                "modality": part.modality,
                "sort": part.sort,
                "unit": part.unit,
                "all": len(part.units),
                "units": [
                    {
                        "name": one.name,
                        "value": one.value,
                        "start": one.start,
                        "end": one.end,
                        "low": one.low,
                        "high": one.high,
                        "tint": tint(one.value, whole),
                    }
                    for one in _largest(part)
                ],
            }
            for part in parts
        ],
    }


def _largest(part: reading.Division) -> list[reading.Unit]:
    """All words; of anything else the `MOST_UNITS` largest, in their own order."""
    units = list(part.units)
    if part.sort == "words" or len(units) <= MOST_UNITS:
        return units
    sizes = [abs(one.value) if isfinite(one.value) else -1.0 for one in units]
    kept = sorted(sorted(range(len(units)), key=lambda place: -sizes[place])[:MOST_UNITS])
    return [units[place] for place in kept]
