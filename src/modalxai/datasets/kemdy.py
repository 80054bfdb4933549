"""What KEMDy19 and KEMDy20 share: ratings, transcripts with tags, wav files, tagged biosignals."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from modalxai.datasets import tables, transcripts
from modalxai.datasets.corpus import Corpus, Row
from modalxai.datasets.findings import CorpusReport, Count, Notebook
from modalxai.datasets.kemdy_options import Options
from modalxai.datasets.ratings import EMOTIONS, Rating, counted
from modalxai.datasets.segments import Signal, Tagged, read_tagged
from modalxai.errors import InputError, ModalxaiError
from modalxai.paths import possible


class Segment(NamedTuple):
    """What a segment's id says."""

    session: str
    scene: str
    speaker: str


class KEMDy(Corpus):
    """The reader of both corpora; a subclass knows its files and ids."""

    SIGNALS: ClassVar[Mapping[Signal, str]]
    """The folder of each signal."""
    PUBLISHED: ClassVar[Mapping[str, int]]
    encoding: ClassVar[Literal["utf-8", "cp949"]]
    """Of the transcripts."""
    pattern: ClassVar[re.Pattern[str]]
    """Of a segment's id."""

    def _open(self, folder: str | Path, options: Options) -> None:
        self.path = self._root(possible(folder))
        options.check(self.SIGNALS)
        self.labels = EMOTIONS
        self._options = options
        self._signals = tuple(self.SIGNALS if options.biosignals is None else options.biosignals)
        self._files: dict[Path, Tagged] = {}
        self._check_folders()
        notes, counts = Notebook(), dict[str, int]()
        ratings = self._ratings(notes, counts)
        self._turns = self._rows_of(ratings, notes)
        self._rows = [
            row
            for row, rating in zip(self._turns, self._sorted(ratings), strict=True)
            if self._kept(row, rating, notes)
        ]
        if not self._rows:
            raise InputError(
                f"{self.path}: no sample is left",
                expected="segments with an emotion",
                got=f"{len(ratings)} segments, all left out",
                mend='choose ties="multi" or "soft", or broken="missing"',
            )
        self._strangers(notes, counts)
        counts["sessions"] = len({self._segment(rating.segment).session for rating in ratings})
        counts["speakers"] = len({self._segment(rating.segment).speaker for rating in ratings})
        found = counted(ratings)
        told = [Count(name, number, self.PUBLISHED.get(name)) for name, number in counts.items()]
        told += [
            Count(emotion, found.get(emotion, 0), self.PUBLISHED.get(emotion), exact=False)
            for emotion in EMOTIONS
        ]
        self.report = CorpusReport(self.name, str(self.path), tuple(told), tuple(notes.findings))

    @abstractmethod
    def _ratings(self, notes: Notebook, counts: dict[str, int]) -> list[Rating]:
        """Every segment's rating, once."""

    @abstractmethod
    def _segment(self, name: str) -> Segment:
        """What an id says."""

    @abstractmethod
    def _recording(self, name: str) -> Path:
        """The wav file of a segment; its transcript lies beside it."""

    @abstractmethod
    def _tagged(self, signal: Signal, name: str) -> Tagged | None:
        """The file that holds a segment's signal, cut; ``None`` if there is no such file."""

    def _further(self, name: str) -> dict[str, str]:
        """Columns that one of the corpora has, by a segment's id."""
        return {}

    def _bad(self, segment: Segment) -> str | None:
        """Why a scene is known to be unusable."""
        return None

    def _root(self, folder: Path) -> Path:
        found = [folder, *sorted(folder.glob("*"))] if folder.is_dir() else []
        found = [path for path in found if (path / "annotation").is_dir()]
        if not found or (found[0] != folder and len(found) > 1):
            raise InputError(
                f"{folder} is no folder of {self.name}",
                expected="a folder with the subfolders annotation and wav",
                got=f"{len(found)} such folders in it" if found else "no folder annotation",
                mend="give the folder that the corpus was unpacked into",
            )
        return found[0]

    def _check_folders(self) -> None:
        wanted = [self.SIGNALS[signal] for signal in self._signals]
        absent = [name for name in ("wav", *wanted) if not (self.path / name).is_dir()]
        if absent:
            raise InputError(
                f"{self.path}: no folder {', '.join(absent)}",
                expected=f"the folders wav, {', '.join(wanted)}",
                got=str(sorted(path.name for path in self.path.iterdir())[:12]),
                mend=f"unpack it, or name the signals to read: biosignals={list(self.SIGNALS)}",
            )

    def _sorted(self, ratings: Sequence[Rating]) -> list[Rating]:
        """By dialogue, and in it by time; ids where no time is written."""

        def order(rating: Rating) -> tuple[Any, ...]:
            where = self._segment(rating.segment)
            start = float("inf") if rating.start is None else rating.start
            return where.session, where.scene, start, rating.segment

        return sorted(ratings, key=order)

    def _rows_of(self, ratings: Sequence[Rating], notes: Notebook) -> list[Row]:
        rows: list[Row] = []
        turns: dict[str, int] = {}
        for rating in self._sorted(ratings):
            where = self._segment(rating.segment)
            dialogue = f"{where.session}_{where.scene}"
            turns[dialogue] = turns.get(dialogue, -1) + 1
            path = self._recording(rating.segment)
            raw = self._transcript(path.with_suffix(".txt"), rating.segment, notes)
            said = raw if self._options.text == "raw" or raw is None else transcripts.clean(raw)
            labels: dict[str, float] | None = rating.labels(self._options.ties)
            if labels is not None and self._options.dimensions:
                values = {"valence": rating.valence, "arousal": rating.arousal}
                labels |= {name: value for name, value in values.items() if value is not None}
            cells = {
                "id": rating.segment,
                "session": where.session,
                "scene": where.scene,
                "dialogue": dialogue,
                "turn": turns[dialogue],
                "speaker": where.speaker,
                **self._further(rating.segment),
                "text": said or None,
                "raw_text": raw,
                "label": ";".join(rating.emotions),
                "labels": labels,
                "valence": rating.valence,
                "arousal": rating.arousal,
                "raters": rating.votes,
                "start": rating.start,
                "end": rating.end,
            }
            if self._options.ties == "first":
                cells["label"] = rating.emotions[0]
            usable = self._options.audio and self._usable(path, rating.segment, notes)
            rows.append(Row(rating.place, cells, path if usable else None))
        return rows

    def _kept(self, row: Row, rating: Rating, notes: Notebook) -> bool:
        name, tie = row.cells["id"], ";".join(rating.emotions)
        if reason := self._bad(self._segment(name)):
            notes.dropped("scene known to be bad", name, reason)
            return False
        if row.cells["labels"] is None:
            notes.dropped("tie", name, "more than one emotion")
            return False
        if len(rating.emotions) > 1:
            notes.noted("tie", f"{name} {tie}", f"read as {self._options.ties}")
        unheard = self._options.audio and row.recording is None
        if unheard and self._options.broken == "drop":
            notes.dropped("sample", name, "its recording cannot be used")
            return False
        if row.recording is None and row.cells["text"] is None:
            notes.dropped("sample", name, "neither audio nor text")
            return False
        return True

    def _transcript(self, path: Path, name: str, notes: Notebook) -> str | None:
        if not path.is_file():
            notes.broken("transcript", name, "absent")
            return None
        try:
            text, encoding = tables.decode_korean(path.read_bytes(), path.name, self.encoding)
        except (OSError, ModalxaiError):
            notes.broken("transcript", name, "neither UTF-8 nor cp949")
            return None
        if encoding != self.encoding and not text.isascii():
            notes.repaired("transcript", name, f"read as {encoding}, not {self.encoding}")
        if not text.strip():
            notes.noted("transcript", name, "empty")
        return transcripts.normalise(text) or None

    def _usable(self, path: Path, name: str, notes: Notebook) -> bool:
        wrong = wav_fault(path)
        if wrong == "silent":
            notes.dropped("wav", name, "silent: every sample is zero")
        elif wrong:
            notes.broken("wav", name, wrong)
        return wrong is None

    def _strangers(self, notes: Notebook, counts: dict[str, int]) -> None:
        """Recordings and transcripts that no row names."""
        known = {row.cells["id"] for row in self._turns}
        files = [path for path in (self.path / "wav").rglob("*") if path.suffix in (".wav", ".txt")]
        counts["transcripts"] = sum(path.suffix == ".txt" for path in files)
        for path in sorted(files):
            if path.stem not in known:
                notes.noted("file without annotation", path.name, "not used")

    def _load(self, row: Row) -> dict[str, Any]:
        signals = {}
        for signal in self._signals:
            file = self._tagged(signal, row.cells["id"])
            if file is not None and row.cells["id"] in file.signals:
                signals[signal] = file.signals[row.cells["id"]]
        return {**super()._load(row), "biosignals": signals}

    def _cut(
        self, path: Path, signal: Signal, width: int, head: int | None, owner: Any
    ) -> Tagged | None:
        """One file, read once: a corpus's segments take a few dozen megabytes in all."""
        if path not in self._files:
            if not path.is_file():
                return None
            self._files[path] = read_tagged(path, signal, width, head, owner)
        return self._files[path]

    def _inspect(self, row: Row, loaded: Mapping[str, Any], notes: Notebook) -> Iterator[str]:
        yield from super()._inspect(row, loaded, notes)
        for signal in self._signals:
            if signal in loaded["biosignals"]:
                yield f"{signal} segments"
            else:
                notes.noted(signal, row.cells["id"], "not recorded")

    def _present(self, present: Mapping[str, int]) -> Iterator[Count]:
        names = (["audio read"] if self._options.audio else []) + [
            f"{signal} segments" for signal in self._signals
        ]
        return (Count(name, present.get(name, 0), self.PUBLISHED.get(name)) for name in names)

    def check(self) -> CorpusReport:
        """Read everything once; what was odd in the files of the signals comes last."""
        report = super().check()
        notes = Notebook(list(report.findings))
        for path, file in self._files.items():
            name = str(path.relative_to(self.path))
            for note in file.notes:
                notes.noted("signal", name, note)
            for repair in file.repairs:
                notes.repaired("signal", name, repair)
        return replace(report, findings=tuple(notes.findings))

    def __getstate__(self) -> dict[str, Any]:
        # What was read so far is not sent to loader workers.
        return {**self.__dict__, "_files": {}}


def wav_fault(path: Path) -> str | None:
    """Why a wav file cannot be used: absent, unreadable, empty or silent.

    It is read up to its first sample that is not zero.
    """
    import soundfile

    if not path.is_file():
        return "absent"
    try:
        with soundfile.SoundFile(str(path)) as file:
            if not file.frames:
                return "empty"
            loud = any(block.any() for block in file.blocks(blocksize=8192, dtype="float32"))
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        return f"unreadable: {error}".replace(str(path.parent), "")
    return None if loud else "silent"
