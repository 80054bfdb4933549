"""How wrong is a transcript? Character, word and spacing-free word error rates.

Texts are brought to Unicode's composed form (NFC) first: decomposed Korean looks the same and is
twice as long. Then they are cut as jiwer cuts them: the ends stripped; for words, runs of white
space count as one space. Case and punctuation count; remove them before, where they should not.
"""

from __future__ import annotations

import importlib
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np

from modalxai.errors import DependencyError, InputError
from modalxai.statistics import IntervalOf, cluster_interval, divide


@dataclass(frozen=True)
class ErrorRate:
    """An error rate over a corpus.

    Parameters
    ----------
    kind
        ``"CER"``, ``"WER"`` or ``"sWER"``.
    rate
        Errors divided by the length of the references. It can exceed 1. NaN where nothing was
        said in any reference.
    low, high
        Its interval over clusters; NaN where there is none, with the ``reason``.
    errors, length
        The least substitutions, deletions and insertions, and the characters or words of the
        references, both summed over utterances.
    n, empty
        Utterances, and those of them with an empty reference: everything heard there is an
        insertion, and adds to ``errors`` but not to ``length``.
    clusters
        How many clusters the interval was resampled from.
    versions
        Of the packages whose models had a part in it.
    """

    kind: str
    rate: float
    low: float
    high: float
    errors: int
    length: int
    n: int
    empty: int
    clusters: int
    reason: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        with_model = "".join(f", {name} {number}" for name, number in self.versions.items())
        return (
            f"{self.kind} {self.rate:.3f} [{self.low:.3f}, {self.high:.3f}], {self.errors} errors "
            f"of {self.length}, {self.n} utterances{with_model}"
        )


def cer(
    references: str | Sequence[str],
    hypotheses: str | Sequence[str],
    *,
    spaces: bool = True,
    clusters: Sequence[Any] | None = None,
    interval: IntervalOf = cluster_interval,
) -> ErrorRate:
    """Character error rate.

    Parameters
    ----------
    references, hypotheses
        What was said and what was heard: one text each, or one per utterance.
    spaces
        Whether spaces between words are characters, as in jiwer. Korean spacing is free in many
        places; False leaves it out.
    clusters
        Per utterance the name of its cluster (speaker), for the interval.
    interval
        What makes the interval; `functools.partial` of `modalxai.statistics.cluster_interval`
        sets its level, repeats and seed.

    Raises
    ------
    InputError
        Different numbers of texts, none, or something that is no text.
    """

    def cut(text: str) -> Sequence[str]:
        return text.strip() if spaces else "".join(text.split())

    return _rate("CER", *_pairs(references, hypotheses), cut, clusters, interval)


def wer(
    references: str | Sequence[str],
    hypotheses: str | Sequence[str],
    *,
    clusters: Sequence[Any] | None = None,
    interval: IntervalOf = cluster_interval,
) -> ErrorRate:
    """Word error rate; arguments as in `cer`."""
    return _rate("WER", *_pairs(references, hypotheses), _words, clusters, interval)


def swer(
    references: str | Sequence[str],
    hypotheses: str | Sequence[str],
    *,
    clusters: Sequence[Any] | None = None,
    interval: IntervalOf = cluster_interval,
) -> ErrorRate:
    """Word error rate after correcting the Korean spacing of both sides; arguments as in `cer`.

    kiwipiepy takes the spaces between Korean words out and puts its own in, so that texts which
    differ in their spacing alone have no errors; those between Latin words stay. Its version, and
    its model's, are in the result: another model spaces otherwise.

    Raises
    ------
    DependencyError
        kiwipiepy is missing.
    InputError
        As for `cer`.
    """
    said, heard = _pairs(references, hypotheses)
    kiwi = _kiwi()
    said, heard = ([_respaced(kiwi, text) for text in side] for side in (said, heard))
    versions = {name: version(name) for name in ("kiwipiepy", "kiwipiepy_model")}
    return _rate("sWER", said, heard, _words, clusters, interval, versions)


def edits(said: Sequence[Any], heard: Sequence[Any]) -> int:
    """The least substitutions, deletions and insertions between two sequences.

    Bit-parallel, one step per unit heard (Myers 1999, in the form of Hyyrö 2003), on Python's
    integers, which are as long as needed.
    """
    if not said:
        return len(heard)
    places: dict[Any, int] = {}
    for place, unit in enumerate(said):
        places[unit] = places.get(unit, 0) | 1 << place
    full, last = (1 << len(said)) - 1, 1 << (len(said) - 1)
    up, down, distance = full, 0, len(said)
    for unit in heard:
        match = places.get(unit, 0)
        diagonal = (((match & up) + up) ^ up) | match | down
        right_up, right_down = down | ~(diagonal | up) & full, up & diagonal
        distance += bool(right_up & last) - bool(right_down & last)
        right_up, right_down = (right_up << 1 | 1) & full, right_down << 1 & full
        up, down = right_down | ~(diagonal | right_up) & full, right_up & diagonal
    return distance


def _rate(
    kind: str,
    references: list[str],
    hypotheses: list[str],
    cut: Callable[[str], Sequence[str]],
    clusters: Sequence[Any] | None,
    interval: IntervalOf,
    versions: Mapping[str, str] | None = None,
) -> ErrorRate:
    said, heard = [cut(text) for text in references], [cut(text) for text in hypotheses]
    terms = np.array(
        [(edits(one, other), len(one)) for one, other in zip(said, heard, strict=True)], dtype=float
    )
    found = interval(
        terms,
        lambda sums: divide(sums[..., :1], sums[..., 1:]),
        list(range(len(said))) if clusters is None else clusters,
    )
    errors, length = (int(total) for total in terms.sum(0))
    return ErrorRate(
        kind=kind,
        rate=float(found.estimate[0]),
        # Few clusters have wide intervals, and no rate is below 0.
        low=float(np.maximum(found.low[0], 0)),
        high=float(found.high[0]),
        errors=errors,
        length=length,
        n=len(said),
        empty=sum(not one for one in said),
        clusters=found.clusters,
        reason=found.reason if length else "nothing was said in any reference",
        versions=dict(versions or {}),
    )


def _words(text: str) -> list[str]:
    return [word for word in re.sub(r"\s\s+", " ", text.strip()).split(" ") if word]


def _pairs(
    references: str | Sequence[str], hypotheses: str | Sequence[str]
) -> tuple[list[str], list[str]]:
    sides = [
        [texts] if isinstance(texts, str) else list(texts) for texts in (references, hypotheses)
    ]
    if len(sides[0]) != len(sides[1]) or not sides[0]:
        raise InputError(
            "references and hypotheses that do not fit",
            expected="one of each per utterance, and at least one",
            got=f"{len(sides[0])} and {len(sides[1])}",
            mend='give "" for an utterance in which nothing was heard',
        )
    for place, text in ((place, text) for side in sides for place, text in enumerate(side)):
        if not isinstance(text, str):
            raise InputError(
                f"utterance {place} is no text",
                expected="a string",
                got=repr(text)[:60],
                mend='give "" where nothing was said or heard, or leave the utterance out',
            )
    said, heard = ([unicodedata.normalize("NFC", text) for text in side] for side in sides)
    return said, heard


@cache
def _kiwi() -> Any:
    try:
        return importlib.import_module("kiwipiepy").Kiwi(num_workers=1)
    except ImportError as error:
        raise DependencyError(
            "Korean spacing cannot be corrected without kiwipiepy",
            expected="kiwipiepy and its model",
            got=str(error),
            mend="pip install 'modalxai[text]'",
        ) from error


def _respaced(kiwi: Any, text: str) -> str:
    # Reset: the result depends on the syllables, not on the spacing that was there. Spaces between
    # Latin words stay; without them no model could tell where the words were.
    return str(kiwi.space(text, reset_whitespace=True)).strip() if text.strip() else ""
