"""KEMDy19: 40 actors in pairs, scripted and improvised scenes, a wristband and a chest belt."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

from modalxai.datasets.findings import Notebook
from modalxai.datasets.kemdy import KEMDy, Segment
from modalxai.datasets.kemdy_options import Options
from modalxai.datasets.rating_files import read_ratings
from modalxai.datasets.ratings import Rating, Ties, repeated
from modalxai.datasets.segments import Signal, Tagged
from modalxai.errors import InputError

BAD_SCENES: Mapping[str, str] = {
    "Sess01_impro03": "conductance and temperature are missing",
    "Sess01_impro04": "conductance and temperature are missing",
    "Sess03_script04": "left out by published readers",
    "Sess06_script02": "left out by published readers",
    "Sess07_script02": "left out by published readers",
}
DOUBLED = ("Sess04_impro03_F031", "Sess04_impro03_M031")
"""Segments whose rows are published twice."""
MISNAMED = ("Session03_F_res.csv", "Sess03_impro02_M001", "Sess03_impro02_F001")
"""File, the id as written, and as meant."""
STRAY = {"Session09_F_res.csv": ("Sess09_script06_M001", "Sess09_impro01_M001")}
"""Rows that do not belong into their file."""


class KEMDy19(KEMDy):
    """KEMDy19 (Noh et al., Sensors 2021) as unpacked: ``annotation/ wav/ ECG/ EDA/ TEMP/``.

    Each annotation file rates one person in every turn, speaking or listening. A sample is an
    utterance with the rating and the signals of one of the two, named in the column ``"rated"``;
    ``"speaker"`` is who speaks. For the rest samples are those of `KEMDy20`, with ``"ecg"`` instead
    of ``"ibi"`` among the biosignals, all of them `Series`.

    Parameters
    ----------
    folder, ties, dimensions, text, audio, broken
        See `KEMDy20`.
    biosignals
        Which signals to read, among ``"eda"``, ``"temp"``, ``"ecg"``; all if left out.
    rated
        ``"speaker"``: what the one who speaks feels; ``"listener"``: what the other one feels
        meanwhile. Ids are the same, so that the two can be compared. Who listens here speaks in
        other samples: keep both together, ``split(by=("speaker", "rated"))``.
    bad_scenes
        Whether the five scenes that published readers leave out are dropped or kept.

    Raises
    ------
    InputError
        See `KEMDy20`.
    """

    name: ClassVar[str] = "KEMDy19"
    SIGNALS: ClassVar[Mapping[Signal, str]] = {"eda": "EDA", "temp": "TEMP", "ecg": "ECG"}
    PUBLISHED: ClassVar[Mapping[str, int]] = {
        "speaker rows": 10279,
        "listener rows": 10287,
        "transcripts": 10284,
        "sessions": 20,
        "speakers": 40,
    }
    encoding: ClassVar[Literal["utf-8", "cp949"]] = "utf-8"
    pattern: ClassVar[re.Pattern[str]] = re.compile(
        r"Sess(\d\d)_((?:script|impro)\d\d)_([FM])\d\d\d", re.ASCII
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
        bad_scenes: Literal["drop", "keep"] = "drop",
        rated: Literal["speaker", "listener"] = "speaker",
    ) -> None:
        for name, value, known in (
            ("bad_scenes", bad_scenes, ("drop", "keep")),
            ("rated", rated, ("speaker", "listener")),
        ):
            if value not in known:
                raise InputError(
                    f"unknown {name}",
                    expected=f"one of {list(known)}",
                    got=repr(value),
                    mend="choose one of the two",
                )
        self._drop_scenes = bad_scenes == "drop"
        self._listening = rated == "listener"
        self._open(folder, Options(ties, dimensions, text, audio, biosignals, broken))

    def _ratings(self, notes: Notebook, counts: dict[str, int]) -> list[Rating]:
        files = self._annotations(notes)
        told: list[Rating] = []
        counts |= {"speaker rows": 0, "listener rows": 0}
        for (session, sex), rows in sorted(files.items()):
            partner = files.get((session, _partner(sex)), [])
            for rating in _mended(rows, partner, notes):
                subject = f"{rating.segment} ({rating.place})"
                if not rating.segment.startswith(f"Sess{session}_"):
                    notes.broken("row", subject, "belongs to another session than its file")
                elif rating.segment in STRAY.get(rating.place.partition(",")[0], ()):
                    notes.dropped("row", subject, "known to stray into its file")
                else:
                    listening = rating.segment[-4] != sex
                    counts["listener rows" if listening else "speaker rows"] += 1
                    if listening != self._listening:
                        continue
                    if rating.segment in DOUBLED:
                        notes.dropped("row", subject, "known to be doubled")
                    else:
                        told.append(rating)
        return repeated(told, notes)

    def _annotations(self, notes: Notebook) -> dict[tuple[str, str], list[Rating]]:
        files: dict[tuple[str, str], list[Rating]] = {}
        folder = self.path / "annotation"
        for path in sorted(folder.glob("Session*_res.csv")):
            if parts := re.fullmatch(r"Session(\d\d)_([FM])_res\.csv", path.name):
                files[parts[1], parts[2]] = read_ratings(path, 9, self.pattern, notes)
        if not files:
            raise InputError(
                f"{folder}: no rating",
                expected="files Session01_F_res.csv to Session20_M_res.csv",
                got=str(sorted(path.name for path in folder.iterdir())[:8]),
                mend="give the folder that the corpus was unpacked into",
            )
        for session in sorted({session for session, _ in files}):
            for sex in "FM":
                if (session, sex) not in files:
                    notes.broken("annotation file", f"Session{session}_{sex}_res.csv", "absent")
        return files

    def _segment(self, name: str) -> Segment:
        session, scene, turn = name.split("_")
        return Segment(session, scene, session + turn[0])

    def _person(self, name: str) -> str:
        """Whose emotion and whose signals a sample has."""
        speaker = self._segment(name).speaker
        return speaker[:-1] + _partner(speaker[-1]) if self._listening else speaker

    def _further(self, name: str) -> dict[str, str]:
        return {"rated": self._person(name)}

    def _recording(self, name: str) -> Path:
        scene = name.rpartition("_")[0]
        return self.path / "wav" / f"Session{name[4:6]}" / scene / f"{name}.wav"

    def _bad(self, segment: Segment) -> str | None:
        if not self._drop_scenes:
            return None
        return BAD_SCENES.get(f"{segment.session}_{segment.scene}")

    def _tagged(self, signal: Signal, name: str) -> Tagged | None:
        stem = self._person(name)
        folder = self.path / self.SIGNALS[signal] / f"Session{name[4:6]}" / "Original"
        owner = _Owner(stem, self._listening)
        return self._cut(folder / f"{stem}.csv", signal, 3, None, owner)


class _Owner:
    """What a tag means in the file of one person, ``Sess01F``, who speaks or listens."""

    def __init__(self, stem: str, listening: bool) -> None:
        self._session, sex = stem[:-1], stem[-1]
        self._sex = _partner(sex) if listening else sex
        self._other = "tag of the person's own words" if listening else "tag of the partner"

    def __call__(self, tag: str) -> tuple[str | None, str]:
        parts = KEMDy19.pattern.fullmatch(tag)
        if parts is None:
            return None, "tag that is no segment"
        if parts[3] != self._sex:
            return None, f"{self._other}; not used"
        session, rest = tag.split("_", 1)
        if session != self._session:
            return f"{self._session}_{rest}", "tag of another session; its number is the file's now"
        return tag, ""


def _partner(sex: str) -> str:
    return "M" if sex == "F" else "F"


def _mended(rows: list[Rating], partner: list[Rating], notes: Notebook) -> list[Rating]:
    """The rows of one file, the one that is known to bear the partner's id renamed.

    If the partner's own row is there too, that is the one with the times that the partner's file
    gives; without those nobody can tell the two apart, and both are left out.
    """
    file, written, meant = MISNAMED
    if not rows or not rows[0].place.startswith(f"{file},"):
        return rows
    doubtful = [row for row in rows if row.segment == written]
    if not doubtful or any(row.segment == meant for row in rows):
        return rows
    times = {(row.start, row.end) for row in partner if row.segment == written}
    wrong = [row for row in doubtful if len(doubtful) == 1 or (row.start, row.end) not in times]
    if len(wrong) == 1:
        notes.repaired("row", f"{written} ({wrong[0].place})", f"known to mean {meant}")
        return [replace(row, segment=meant) if row is wrong[0] else row for row in rows]
    places = "; ".join(row.place for row in doubtful)
    notes.broken("row", f"{written} ({places})", f"one of them means {meant}, no telling which")
    return [row for row in rows if row.segment != written]
