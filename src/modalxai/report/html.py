"""One self-contained page. The template escapes every text; nothing is fetched, nothing runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from modalxai.datasets.parts import LEAK
from modalxai.report import text
from modalxai.report.figures import COLOURS
from modalxai.report.figures.palette import AGAINST, FOR
from modalxai.report.lang import language
from modalxai.report.pictures import conflict_pictures, confusion_picture, shares_picture
from modalxai.report.recordings import Recordings, by_id, check_units
from modalxai.report.strata import sentence
from modalxai.report.svg import share
from modalxai.report.utterances import utterances
from modalxai.types import Attribution

if TYPE_CHECKING:
    from markupsafe import Markup

    from modalxai.report import Report
    from modalxai.report.changes import Change

LONGEST = 400
"""Characters of a transcript or column that are shown."""
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Characters that no page may hold."""
MOST_COLUMNS = 5
"""Further columns shown beside each utterance."""


def render(
    report: Report,
    changes: Sequence[Change] = (),
    recordings: Recordings | None = None,
    units: Mapping[str, Attribution] | None = None,
    progress: bool = False,
) -> str:
    """The page of a report, as text.

    Parameters
    ----------
    changes
        How its shares changed from an earlier one.
    recordings, units, progress
        See `modalxai.report.Report.html`.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": text.percent,
        "signed": text.signed,
        "plain": text.plain,
        "label": _label,
        "own": _own,
        "spoken": _spoken,
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
        "sides": (FOR, AGAINST),
    }
    source = files("modalxai.report").joinpath("template.html.j2").read_text(encoding="utf-8")
    ids = report.explanation.sample_ids
    heard, asked = by_id(recordings, ids), check_units(units, ids)
    context = _context(report) | _pictures(report, heard, asked, progress) | {"changes": changes}
    page = environment.from_string(source).render(context)
    return CONTROLS.sub("\ufffd", page)


def _pictures(
    report: Report, heard: Mapping[str, Any], units: Mapping[str, Attribution], progress: bool
) -> dict[str, Any]:
    """What is drawn: already markup, made of escaped texts by `modalxai.report.svg.inline`."""
    from markupsafe import Markup

    shares = {"svg": shares_picture(report)}
    confusion, maps = confusion_picture(report), conflict_pictures(report)
    shown = utterances(report, heard, units, progress)
    drawn = [
        (holder, key)
        for holders, keys in (
            ([shares, *maps, *([] if confusion is None else [confusion])], ("svg",)),
            (shown, ("balance", "picture")),
        )
        for holder in holders
        for key in keys
        if holder[key] is not None
    ]
    pictures, rules = share([holder[key] for holder, key in drawn])
    for (holder, key), picture in zip(drawn, pictures, strict=True):
        holder[key] = Markup(picture)
    return {
        "figure": shares["svg"],
        "confusion": confusion,
        "maps": maps,
        "utterances": shown,
        "drawn_from": "words and moments explained" if units else "a recording" if heard else "",
        "sounding": any(one["audio"] for one in shown),
        "drawn": Markup(rules),
    }


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
        "pairs": list(rows[0].interaction) if rows else [],
        "conflict": report.conflict(),
        "opposition": report.opposition(),
        "audit": report.audit(),
        "advice": report.advice(),
        "rows_are": sentence(report.by),
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


def _own(value: Any) -> Markup:
    """A name of the user's, kept apart from the page's direction and language."""
    return _apart(value, None)


def _spoken(value: Any) -> Markup:
    """A transcript: of an unknown language, unless its letters tell."""
    return _apart(value, "")


def _apart(value: Any, otherwise: str | None) -> Markup:
    from markupsafe import Markup

    said = _label(value)
    lang = language(said) or otherwise
    attribute = Markup("") if lang is None else Markup(' lang="{}"').format(lang)
    return Markup("<bdi{}>{}</bdi>").format(attribute, said)


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
