"""Numbers as text, and the plain table. NaN is a dash, never a number."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from math import isinf, isnan

from modalxai.report.shares import ShareRow
from modalxai.report.skill import ChanceGate, Score, Skill

DASH = "–"
LEAKY = "The split may leak, so that scores on it are too high:"


def percent(value: float) -> str:
    """``0.72`` as ``72 %``."""
    return DASH if isnan(value) else f"{100 * value:.0f} %"


def percent_range(low: float, high: float) -> str:
    """``[64, 80]``, or nothing where there is no interval."""
    return "" if isnan(low) or isnan(high) else f"[{100 * low:.0f}, {100 * high:.0f}]"


def signed(value: float) -> str:
    """``+2.10``; what rounds to nothing has no sign."""
    if isnan(value):
        return DASH
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text


def plain(value: float) -> str:
    """``0.82``."""
    return DASH if isnan(value) else f"{abs(value) if round(value, 2) == 0 else value:.2f}"


def span(low: float, high: float) -> str:
    """``[+0.10, +0.30]``, or nothing where there is no interval."""
    return "" if isnan(low) or isnan(high) else f"[{signed(low)}, {signed(high)}]"


def chance(p: float) -> str:
    """A p-value: ``0.03``, ``< 0.001``."""
    if isnan(p):
        return DASH
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def points(value: float) -> str:
    """A difference of shares in percentage points, ``+12``."""
    if isnan(value):
        return DASH
    return f"{100 * value:+.0f}" if round(100 * value) else "0"


def points_range(low: float, high: float) -> str:
    """``[+3, +21]``, or nothing where there is no interval."""
    return "" if isnan(low) or isnan(high) else f"[{points(low)}, {points(high)}]"


def bits(value: float) -> str:
    """Bits; a divergence may be infinite."""
    return "infinitely many" if isinf(value) else plain(value)


def times(part: float, n: int) -> str:
    """A part of n samples as a count, ``3 of 20``."""
    return DASH if isnan(part) else f"{round(part * n)} of {n}"


def common_flags(rows: Sequence[ShareRow]) -> tuple[str, ...]:
    """The flags that every row carries, which are said once."""
    return tuple(f for f in rows[0].flags if all(f in row.flags for row in rows)) if rows else ()


def own_flags(row: ShareRow, common: Sequence[str]) -> tuple[str, ...]:
    """The flags of a row that not every row carries."""
    return tuple(flag for flag in row.flags if flag not in common)


def verdict(gate: ChanceGate, leaks: Sequence[str] = ()) -> list[str]:
    """What the chance gate found, one sentence per predicted thing, and what the splits leak."""
    said = [_sentence(skill) for skill in gate.skills]
    if not gate.skills:
        said = ["Truth unknown: whether the model is better than chance was not judged."]
    return [*said, *(f"{LEAKY} {clause}." for leak in leaks for clause in leak.split(". "))]


def _sentence(skill: Skill) -> str:
    score = (
        f"{skill.metric} {plain(skill.model.value)} against {plain(skill.chance)} for a constant, "
        f"difference {signed(skill.model.value - skill.chance)} "
        f"{span(skill.model.low, skill.model.high)}".rstrip()
    )
    counts = f"{skill.model.n} samples, {skill.clusters} clusters"
    if skill.at_chance is None:
        return f"Chance was not judged for {skill.target} ({skill.reason}): {score}, {counts}."
    if skill.at_chance:
        return (
            f"The model is at chance on {skill.target}, so its evidence is not divided into "
            f"shares: {score}, {counts}."
        )
    weak = [name for name, alone in skill.alone.items() if alone.at_chance]
    alone = f" Alone at chance: {', '.join(weak)}." if weak else ""
    return f"The model is better than chance on {skill.target}: {score}, {counts}.{alone}"


def standing(score: Score) -> str:
    """Where one predictor stands."""
    return {True: "at chance", False: "above chance", None: "not judged"}[score.at_chance]


def text_table(
    rows: Sequence[ShareRow],
    gate: ChanceGate,
    modalities: Sequence[str],
    gold: Mapping[str, Mapping[str, float]],
    heading: str,
    leaks: Sequence[str] = (),
) -> str:
    """The report as plain text; ``gold`` is printed beside the shares of rows that have some."""
    common = common_flags(rows)
    grouped = any(row.group for row in rows)
    header = ["label", *(["group"] if grouped else []), "n", "clusters", *modalities]
    header += ["planted"] if gold else []
    header += [f"{name} (signed)" for name in modalities]
    header += ["interaction", "cancellation", "unit", "flags"]
    lines = [header]
    for row in rows:
        cells = [row.label, *([row.group] if grouped else []), str(row.n), str(row.clusters)]
        cells += [
            f"{percent(row.share[name])} {percent_range(row.low[name], row.high[name])}".strip()
            for name in modalities
        ]
        cells += [planted(row, modalities, gold)] if gold else []
        cells += [signed(row.evidence[name]) for name in modalities]
        cells += [" ".join(signed(value) for value in row.interaction.values()) or DASH]
        cells += [plain(row.cancellation), row.unit]
        notes = [*own_flags(row, common), *([] if row.reason in ("", *common) else [row.reason])]
        cells.append("; ".join(dict.fromkeys(notes)))
        lines.append([one_line(cell) for cell in cells])
    widths = [max(_width(line[place]) for line in lines) for place in range(len(header))]
    numbers = range(1 + grouped, len(header) - 2)
    body = [
        "  ".join(
            _pad(cell, width, place in numbers)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    notes = [f"All rows: {', '.join(common)}."] if common else []
    return "\n".join([heading, "", *body, "", *notes, *map(one_line, verdict(gate, leaks))])


def planted(
    row: ShareRow, modalities: Sequence[str], gold: Mapping[str, Mapping[str, float]]
) -> str:
    """The planted shares of a row, in the order of the modalities."""
    shares = gold.get(row.label)
    if shares is None or all(isnan(value) for value in row.share.values()):
        return DASH
    return " / ".join(percent(shares.get(name, float("nan"))) for name in modalities)


def one_line(cell: str) -> str:
    """Text without line breaks or control characters."""
    return "".join(c if c.isprintable() else " " for c in cell)


def _width(cell: str) -> int:
    """Columns on a terminal: Korean letters take two, combining marks none."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in cell)
    return len(cell) + wide - sum(unicodedata.combining(c) > 0 for c in cell)


def _pad(cell: str, width: int, right: bool) -> str:
    gap = " " * (width - _width(cell))
    return gap + cell if right else cell + gap
