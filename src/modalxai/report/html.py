"""One self-contained page. The template escapes every text; nothing is fetched, nothing runs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from modalxai.datasets.parts import LEAK
from modalxai.report import text
from modalxai.report.columns import predicted, true_class
from modalxai.report.evidence import Evidence
from modalxai.report.figures import COLOURS, figure_summary
from modalxai.report.strata import sentence
from modalxai.types import columns

if TYPE_CHECKING:
    from modalxai.report import Report
    from modalxai.report.changes import Change

LONGEST = 400
"""Characters of a transcript or column that are shown."""
MOST_COLUMNS = 5
"""Further columns shown beside each utterance."""
_DOTS_PER_INCH = 200


def render(report: Report, changes: Sequence[Change] = ()) -> str:
    """The page of a report, as text, with how its shares changed from an earlier one."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": text.percent,
        "signed": text.signed,
        "plain": text.plain,
        "label": _label,
        "chance": text.chance,
        "points": text.points,
        "bits": text.bits,
    }
    environment.globals |= {
        "percent_range": text.percent_range,
        "points_range": text.points_range,
        "span": text.span,
        "standing": text.standing,
        "times": text.times,
        "isnan": np.isnan,
    }
    source = files("modalxai.report").joinpath("template.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(_context(report) | {"changes": changes})


def _context(report: Report) -> dict[str, Any]:
    rows, gate, explanation = report.shares(), report.chance(), report.explanation
    common = text.common_flags(rows)
    modalities = explanation.modalities
    return {
        "rows": rows,
        "gate": gate,
        "verdict": text.verdict(gate, report.leaks),
        "modalities": modalities,
        "colours": dict(zip(modalities, (COLOURS * len(modalities)), strict=False)),
        "common": [(flag, _meaning(flag)) for flag in common],
        "flags": [text.own_flags(row, common) for row in rows],
        "meanings": {flag: _meaning(flag) for row in rows for flag in text.own_flags(row, common)},
        "planted": [text.planted(row, modalities, report.gold) for row in rows]
        if report.gold
        else None,
        "grouped": any(row.group for row in rows),
        "figure": _data_uri(report),
        "figure_summary": figure_summary(rows, modalities),
        "pairs": list(rows[0].interaction) if rows else [],
        "conflict": report.conflict(),
        "opposition": report.opposition(),
        "audit": report.audit(),
        "advice": report.advice(),
        "rows_are": sentence(report.by),
        "utterances": _utterances(report),
        "columns": _shown_columns(explanation.columns),
        "ids": explanation.sample_ids,
        "transcripts": explanation.columns.get("text"),
        "provenance": _provenance(report),
        "level": f"{report.level:g}",
        "samples": len(explanation.sample_ids),
        "clusters": len(set(report.clusters)),
        "cluster": report.asked["cluster"],
        "alternatives": [dict(other.provenance.removal) for other in report.alternatives],
        "scale": report.scale,
    }


def _data_uri(report: Report) -> str:
    target = io.BytesIO()
    # Without the software's name, so that equal reports are equal files.
    report.figure().savefig(target, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(target.getvalue()).decode("ascii")


def _utterances(report: Report) -> list[dict[str, Any]]:
    """Some samples, drawn at random by the seed and not by how well they look."""
    explanation = report.explanation
    order = sorted(range(len(explanation.sample_ids)), key=lambda row: explanation.sample_ids[row])
    count = min(max(0, report.samples_shown), len(order))
    picks = np.random.default_rng(report.seed).choice(len(order), size=count, replace=False)
    evidence = Evidence.of(explanation, report.scale)
    result = explanation.shapley("probability")
    said, right = _explained(report, evidence), _truths(report)
    shown = []
    for row in sorted(order[int(pick)] for pick in picks):
        column = int(said[row])
        totals = dict(zip(explanation.modalities, evidence.totals[row, column], strict=True))
        shown.append(
            {
                "row": row,
                "label": explanation.labels[column].name,
                "truth": right[row],
                "evidence": {
                    name: float(total) if here else float("nan")
                    for (name, total), here in zip(
                        totals.items(), evidence.present[row], strict=True
                    )
                },
                "interaction": [float(values[row, column]) for values in evidence.pairs.values()],
                "net": float(sum(totals.values())),
                "unit": evidence.units[column],
                "before": float(result.reference[row, column]),
                "after": float(result.prediction[row, column]),
            }
        )
    return shown


def _explained(report: Report, evidence: Evidence) -> Any:
    """The column explained for each sample: the predicted class, else the largest evidence."""
    labels = report.explanation.labels
    if columns(labels, "categorical"):
        return predicted(report.explanation.scores[-1].numpy(), labels)
    return np.abs(evidence.totals).sum(-1).argmax(-1)


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


def _shown_columns(found: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    names = [name for name in found if name not in ("text", LEAK)][:MOST_COLUMNS]
    return {name: found[name] for name in names}


def _label(value: Any) -> str:
    """Any value as short printable text."""
    if value is None:
        return text.DASH
    whole = str(value)
    short = whole if len(whole) <= LONGEST else whole[:LONGEST] + " …"
    return "".join(c if c.isprintable() else " " for c in short)


def _provenance(report: Report) -> list[tuple[str, str]]:
    made = report.explanation.provenance
    removal = ", ".join(f"{name}: {how}" for name, how in made.removal.items())
    others = "; ".join(
        ", ".join(f"{name}: {how}" for name, how in other.provenance.removal.items())
        for other in report.alternatives
    )
    return [
        ("removal", removal or text.DASH),
        ("alternative removals", others or "none"),
        ("level", made.level),
        ("background", made.background or "none"),
        ("draws per coalition", str(report.explanation.draws.shape[0])),
        ("scale", report.scale),
        ("seed of the removal", str(made.seed)),
        ("truth", report.asked["truth"]),
        ("rows by", report.asked["by"]),
        ("clusters by", report.asked["cluster"]),
        ("resamples", f"{report.repeats}, seed {report.seed}, level {report.level:g}"),
        ("versions", ", ".join(f"{name} {number}" for name, number in made.versions.items())),
    ]


def _meaning(flag: str) -> str:
    return MEANINGS.get(flag, "")


MEANINGS = {
    "model at chance": "the model does no better than a constant: there is nothing to explain",
    "truth unknown": "whether the model is better than chance was not judged",
    "chance not judged": "too few clusters or classes to compare the model with a constant",
    "no evidence": "the contributions are too small to be divided",
    "mixed signs": "modalities pull in opposite directions: read the signed evidence, "
    "the share is of magnitudes only",
    "baseline-dependent": "another modality dominates in more than a tenth of the samples when "
    "they are removed in another way",
    "split may leak": "its parts share something, or nobody knows, as said above",
    "one removal": "only one way of removing was tried, so it is unknown whether the answer "
    "depends on it",
    "no clusters": "samples are treated as independent; if speakers repeat, intervals are too "
    "narrow",
    "few samples": "fewer than 30 samples",
    "missing modalities": "some samples lack a modality; means are over those that have it",
    "no samples": "no sample belongs to this row",
}
"""What each flag says, in one clause."""
