"""What raters said of a segment of the KEMDy corpora, and the labels that it makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from modalxai.datasets.findings import Notebook

EMOTIONS = ("angry", "sad", "happy", "disgust", "fear", "surprise", "neutral")
Ties = Literal["drop", "first", "multi", "soft"]
TIES: tuple[Ties, ...] = get_args(Ties)


@dataclass(frozen=True)
class Rating:
    """One row: what the raters said of one segment.

    Parameters
    ----------
    place, segment
        File and line; the segment's id as written.
    emotions
        The total evaluation, more than one where it ties, in the order written.
    votes
        Each rater's emotions; () where a rater gave none.
    valence, arousal
        Means over the raters, 1..5.
    start, end
        Seconds in the session's recording.
    """

    place: str
    segment: str
    emotions: tuple[str, ...]
    votes: tuple[tuple[str, ...], ...]
    valence: float | None
    arousal: float | None
    start: float | None
    end: float | None

    def labels(self, ties: Ties) -> dict[str, float] | None:
        """The emotions as labels, ``None`` for a tie under ``"drop"``.

        ``"first"``: the first one written. ``"multi"``: 0 or 1 for every emotion. ``"soft"``: the
        share of the raters' votes; a rater who names two gives each a half.
        """
        if ties == "multi":
            return {emotion: int(emotion in self.emotions) for emotion in EMOTIONS}
        if ties == "soft":
            told = [vote for vote in self.votes if vote] or [self.emotions]
            shares = dict.fromkeys(EMOTIONS, 0.0)
            for vote in told:
                for emotion in vote:
                    shares[emotion] += 1 / len(vote) / len(told)
            return shares
        return {self.emotions[0]: 1} if ties == "first" or len(self.emotions) == 1 else None


def repeated(ratings: Sequence[Rating], notes: Notebook) -> list[Rating]:
    """Rows of one segment once: equal rows are merged, contradicting ones all left out."""
    groups: dict[str, list[Rating]] = {}
    for rating in ratings:
        groups.setdefault(rating.segment, []).append(rating)
    kept = []
    for segment, rows in groups.items():
        if len(rows) > 1:
            places = "; ".join(row.place for row in rows)
            if len({(row.emotions, row.votes, row.valence, row.arousal) for row in rows}) > 1:
                notes.broken("row", f"{segment} ({places})", "repeated, and the rows differ")
                continue
            notes.repaired("row", f"{segment} ({places})", "repeated; counted once")
        kept.append(rows[0])
    return kept


def counted(ratings: Sequence[Rating]) -> Mapping[str, int]:
    """Segments of each emotion, those that tie left out."""
    return Counter(rating.emotions[0] for rating in ratings if len(rating.emotions) == 1)
