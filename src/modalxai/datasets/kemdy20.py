"""KEMDy20: 80 people in free talk, ten outside raters, a wristband."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar, Literal

from modalxai.datasets.findings import Notebook
from modalxai.datasets.kemdy import KEMDy, Segment
from modalxai.datasets.kemdy_options import Options
from modalxai.datasets.rating_files import read_ratings
from modalxai.datasets.ratings import Rating, Ties, repeated
from modalxai.datasets.segments import Signal, Tagged
from modalxai.errors import InputError


class KEMDy20(KEMDy):
    """KEMDy20 v1.1 (Noh & Jeong, ETRI) as unpacked: ``annotation/ wav/ EDA/ IBI/ TEMP/``.

    A sample is ``{"id", "session", "scene", "dialogue", "turn", "speaker", "text", "raw_text",
    "labels", "valence", "arousal", "raters", "start", "end", "audio", "biosignals"}``. ``"turn"``
    counts the dialogue's segments in the order of their times. ``"text"`` is cleaned of annotation
    tags, ``"raw_text"`` is as written. ``"raters"`` holds what each rater said, a tuple of emotions
    each. ``"audio"`` and ``"biosignals"`` are read on access: an `Audio`, ``None`` for wav files
    that are silent (ten are) or cannot be read; and a mapping with ``"eda"`` and ``"temp"``
    (`Series`, [1, S]) and ``"ibi"`` (`Beats`) where they were recorded.

    Parameters
    ----------
    folder
        The folder, or the one above it.
    ties
        What to do where several emotions got most votes (``happy;neutral``): ``"drop"`` the
        segment; take the ``"first"``; ``"multi"``: 0 or 1 for each emotion, in every sample;
        ``"soft"``: shares of the ten raters' votes, in every sample.
    dimensions
        Whether ``"labels"`` hold valence and arousal too, for a model with such labels.
    text
        ``"clean"`` or ``"raw"``.
    audio
        False leaves the wav files alone.
    biosignals
        Which signals to read, among ``"eda"``, ``"temp"``, ``"ibi"``; all if left out.
    broken
        What becomes of a segment whose wav file cannot be used: ``"missing"``: a sample without
        audio; ``"drop"``: no sample.

    Raises
    ------
    InputError
        Names file and line: folders that are missing, an annotation file that is cut or has other
        columns, an unknown emotion, a value outside 1..5.
    """

    name: ClassVar[str] = "KEMDy20"
    SIGNALS: ClassVar[Mapping[Signal, str]] = {"eda": "EDA", "temp": "TEMP", "ibi": "IBI"}
    PUBLISHED: ClassVar[Mapping[str, int]] = {
        "segments": 13462,
        "transcripts": 13462,
        "sessions": 40,
        "speakers": 80,
        "audio read": 13452,
        "eda segments": 12715,
        "temp segments": 12715,
        "ibi segments": 10204,
        # Segments of one emotion with all signals, by another reader.
        "neutral": 11060,
        "happy": 1171,
        "surprise": 156,
        "angry": 143,
        "sad": 121,
        "disgust": 60,
        "fear": 43,
    }
    encoding: ClassVar[Literal["utf-8", "cp949"]] = "cp949"
    pattern: ClassVar[re.Pattern[str]] = re.compile(
        r"Sess(\d\d)_(script\d\d)_(User\d\d\d[FM])_\d\d\d", re.ASCII
    )

    def __init__(
        self,
        folder: str | Path,
        *,
        ties: Ties = "drop",
        dimensions: bool = False,
        text: Literal["clean", "raw"] = "clean",
        audio: bool = True,
        biosignals: Collection[Signal] | None = None,
        broken: Literal["missing", "drop"] = "missing",
    ) -> None:
        self._open(folder, Options(ties, dimensions, text, audio, biosignals, broken))

    def _ratings(self, notes: Notebook, counts: dict[str, int]) -> list[Rating]:
        ratings: list[Rating] = []
        for path in sorted((self.path / "annotation").glob("Sess*_eval.csv")):
            session = path.name.partition("_")[0]
            for rating in read_ratings(path, 3, self.pattern, notes):
                if rating.segment.startswith(f"{session}_"):
                    ratings.append(rating)
                else:
                    subject = f"{rating.segment} ({rating.place})"
                    notes.broken("row", subject, "belongs to another session than its file")
        if not ratings:
            raise InputError(
                f"{self.path / 'annotation'}: no rating",
                expected="files Sess01_eval.csv to Sess40_eval.csv",
                got=str(sorted(p.name for p in (self.path / "annotation").iterdir())[:8]),
                mend="give the folder that the corpus was unpacked into",
            )
        kept = repeated(ratings, notes)
        counts["segments"] = len(kept)
        return kept

    def _segment(self, name: str) -> Segment:
        session, scene, speaker, _ = name.split("_")
        return Segment(session, scene, speaker)

    def _recording(self, name: str) -> Path:
        return self.path / "wav" / f"Session{name[4:6]}" / f"{name}.wav"

    def _tagged(self, signal: Signal, name: str) -> Tagged | None:
        stem = name.rpartition("_")[0]
        path = self.path / self.SIGNALS[signal] / f"Session{name[4:6]}" / f"{stem}.csv"
        # Intervals have one line of head and two numbers a line; the others two and one.
        width, head = (3, 1) if signal == "ibi" else (2, 2)
        return self._cut(path, signal, width, head, _Owner(stem))


class _Owner:
    """What a tag means in the file of one person and topic, ``Sess01_script01_User001F``."""

    def __init__(self, stem: str) -> None:
        self._session, self._rest = stem.split("_", 1)

    def __call__(self, tag: str) -> tuple[str | None, str]:
        if not KEMDy20.pattern.fullmatch(tag):
            return None, "tag that is no segment"
        session, rest = tag.split("_", 1)
        if not rest.startswith(f"{self._rest}_"):
            return None, "tag of another person or topic; not used"
        if session != self._session:
            return f"{self._session}_{rest}", "tag of another session; its number is the file's now"
        return tag, ""
