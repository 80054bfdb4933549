"""What the contest must show, checked against what was found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from modalxai.benchmark.tonebench.contestants import DEFAULT
from modalxai.benchmark.tonebench.results import Results
from modalxai.benchmark.tonebench.scores import Estimate
from modalxai.benchmark.tonebench.tables import EQUAL, Line

SMALL = 3.0
"""Points of share that the default may be off where evidence adds."""
ADDING = ("SUM", "PERCLASS", "CONFLICT")
SIGNS = 0.98
CHANCE = 0.5
WORDS = "owen"
"""Who is asked for words and moments."""


@dataclass(frozen=True)
class Claim:
    """One claim.

    Parameters
    ----------
    text
        What is claimed.
    holds
        ``None`` where the run did not ask.
    found
        What was found.
    """

    text: str
    holds: bool | None
    found: str


def claims(results: Results) -> list[Claim]:
    """All of them, in order."""
    return [_best(results), _small(results), _silent(results), _signs(results), *_maps(results)]


def _best(results: Results) -> Claim:
    text = (
        f"no contestant has a smaller share error than {DEFAULT} beyond the interval, "
        "removal as in the gold"
    )
    same = [one for one in results.lines if one.track == "same" and one.against_default is not None]
    beaten = [
        f"{one.family}: {one.contestant} {shown(one.against_default)}"
        for one in same
        if one.against_default is not None and one.against_default.high < -EQUAL
    ]
    families = len({one.family for one in same})
    found = "; ".join(beaten) or f"{len(same)} comparisons in {families} families, none smaller"
    return Claim(text, not beaten if same else None, found)


def _small(results: Results) -> Claim:
    text = (
        f"{DEFAULT} is at most {SMALL:g} points off in {', '.join(ADDING)}, removal as in the gold"
    )
    own = [
        one
        for one in _default(results, "same")
        if one.family in ADDING and one.share_error is not None
    ]
    holds = all(one.share_error is not None and one.share_error.value <= SMALL for one in own)
    found = [f"{one.family} {shown(one.share_error)}" for one in own]
    found += [f"{name} not asked" for name in ADDING if name not in {one.family for one in own}]
    # A family without a model that counts leaves it open, unless another has settled it.
    return Claim(text, None if holds and len(own) < len(ADDING) else holds, "; ".join(found))


def _silent(results: Results) -> Claim:
    own = [one for one in _default(results) if one.family == "NULL" and one.printed is not None]
    found = "; ".join(f"{one.removal}: {one.printed:.1f} labels with a share" for one in own)
    holds = all(one.printed == 0 for one in own)
    text = f'{DEFAULT} answers NULL with "no evidence"'
    return Claim(text, holds if own else None, found or "not asked")


def _signs(results: Results) -> Claim:
    own = [one for one in _default(results, "same") if one.family == "CONFLICT"]
    known = [one for one in own if one.signs is not None]
    holds = all(one.signs is not None and one.signs.value >= SIGNS for one in known)
    found = "; ".join(f"{shown(one.signs, 100)} %" for one in known)
    text = (
        f"{DEFAULT} has at least {SIGNS:.0%} of the signs in CONFLICT right, removal as in the gold"
    )
    return Claim(text, holds if known else None, found or "not asked")


def _maps(results: Results) -> Iterator[Claim]:
    for family in ("LOCAL", "SPUR"):
        own = [
            one
            for one in results.lines
            if one.family == family and one.contestant == WORDS and one.found is not None
        ]
        found, holds = [], True
        for one in own:
            for modality, auc in (one.found or {}).items():
                pointed = (one.pointed or {})[modality]
                holds = holds and auc.low > CHANCE
                found.append(
                    f"{modality} ({one.removal}): AUC {shown(auc)}, "
                    f"largest unit right {shown(pointed, 100)} %"
                )
        text = f"{WORDS} finds the words and moments that decide in {family}: AUC above {CHANCE}"
        yield Claim(text, holds if own else None, "; ".join(found) or "not asked")


def _default(results: Results, track: str | None = None) -> list[Line]:
    return [
        one
        for one in results.lines
        if one.contestant == DEFAULT and (track is None or one.track == track)
    ]


def shown(found: Estimate | None, factor: float = 1.0, digits: int | None = None) -> str:
    """A number with its interval; a dash for nothing."""
    if found is None or found.value != found.value:
        return "–"
    values = [factor * one for one in (found.value, found.low, found.high)]
    places = digits if digits is not None else 1 if max(map(abs, values)) >= 10 else 2
    # Rounded first, and 0 added: no minus before zero.
    value, low, high = (f"{round(one, places) + 0.0:.{places}f}" for one in values)
    return value if "nan" in (low, high) else f"{value} [{low}, {high}]"
