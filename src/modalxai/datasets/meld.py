"""MELD: dialogues of a television series, seven emotions, three fixed parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from modalxai.datasets import video
from modalxai.datasets.corpus import Corpus, Row
from modalxai.datasets.findings import CorpusReport, Count, Notebook
from modalxai.datasets.meld_rows import EMOTIONS, SENTIMENTS, read_rows
from modalxai.errors import InputError
from modalxai.paths import possible

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
CLIPS = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
LONGEST = 30.0
"""Seconds: by the published csv three clips last longer, and all three are cut wrongly."""
KNOWN: Mapping[tuple[str, int, int], str] = {
    ("train", 125, 3): "published corrupt",
    ("dev", 110, 7): "absent from the published archive",
}
PUBLISHED: Mapping[str, int] = {
    "train rows": 9989,
    "dev rows": 1109,
    "test rows": 2610,
    "train dialogues": 1038,
    "dev dialogues": 114,
    "test dialogues": 280,
    "train clips": 9989,
    "dev clips": 1112,
    "test clips": 2615,
    "train neutral": 4710,
    "train joy": 1743,
    "train surprise": 1205,
    "train anger": 1109,
    "train sadness": 683,
    "train disgust": 271,
    "train fear": 268,
}


class MELD(Corpus):
    """MELD (Poria et al., ACL 2019) as downloaded: csv files and mp4 clips, in any subfolders.

    A sample is ``{"id", "split", "dialogue", "turn", "speaker", "text", "labels", "sentiment",
    "season", "episode", "start", "end", "audio"}``. ``"id"`` begins with the split, because the
    corpus's own numbers repeat across splits. ``"text"`` is as published, curly quotes and all.
    ``"labels"`` is ``{emotion: 1}``, or ``{sentiment: 1}``. ``"audio"`` is the clip's sound, one
    channel, read on access; ``None`` for clips known to be corrupt, absent or wrongly cut, and for
    clips without sound.

    Parameters
    ----------
    folder
        The folder that holds ``train_sent_emo.csv`` and so on, and ``train_splits`` and so on,
        directly or further down.
    split
        ``"train"``, ``"dev"`` or ``"test"``; all three if left out.
    target
        Whether the labels are emotions (seven) or sentiments (three).
    audio
        False reads the csv files alone.
    broken
        What becomes of a row whose clip cannot be used: ``"missing"``: a sample without audio;
        ``"drop"``: no sample.

    Raises
    ------
    InputError
        Names file and line: a csv file that is missing, cut, mis-encoded or of other columns, an
        unknown emotion, numbers that are none, a key that occurs twice; or clips that are asked for
        and not there.
    """

    name: ClassVar[str] = "MELD"

    def __init__(
        self,
        folder: str | Path,
        split: Split | None = None,
        *,
        target: Literal["emotion", "sentiment"] = "emotion",
        audio: bool = True,
        broken: Literal["missing", "drop"] = "missing",
    ) -> None:
        self.path = possible(folder)
        _choose("split", split, (None, *SPLITS))
        _choose("target", target, ("emotion", "sentiment"))
        _choose("broken", broken, ("missing", "drop"))
        self.labels = EMOTIONS if target == "emotion" else SENTIMENTS
        notes, counts = Notebook(), dict[str, int]()
        self._turns = []
        rows: list[Row] = []
        for part in SPLITS if split is None else (split,):
            path = self._table(part, split is None, notes)
            read = [] if path is None else read_rows(path, part, target, notes)
            turns = [row for row in read if row is not None]
            clips = self._clips(part, notes) if audio and turns else None
            if clips is not None:
                counts[f"{part} clips"] = len(clips)
            counts[f"{part} rows"] = len(read)
            counts[f"{part} dialogues"] = len({row.cells["dialogue"] for row in turns})
            if target == "emotion" and part == "train":
                found = Counter(row.cells["label"] for row in turns)
                counts |= {f"{part} {emotion}": found[emotion] for emotion in EMOTIONS}
            for row in turns:
                kept = row if clips is None else self._with_clip(row, clips, notes)
                self._turns.append(kept)
                if clips is None or kept.recording or broken == "missing":
                    rows.append(kept)
                else:
                    notes.dropped("sample", row.cells["id"], "its clip cannot be used")
            if clips:
                for name in sorted(clips):
                    notes.noted("clip without annotation", f"{part} {name}", "not used")
        self._rows = rows
        if not rows:
            raise _nothing(self.path, "no rows")
        self.report = CorpusReport(
            self.name,
            str(self.path),
            tuple(Count(name, number, PUBLISHED.get(name)) for name, number in counts.items()),
            tuple(notes.findings),
        )

    def _table(self, split: str, optional: bool, notes: Notebook) -> Path | None:
        """The csv file of one split, wherever it lies."""
        name = f"{split}_sent_emo.csv"
        found = sorted(self.path.rglob(name))
        if not found and optional and any(self.path.rglob("*_sent_emo.csv")):
            notes.broken("csv file", name, "absent")
            return None
        if len(found) != 1:
            raise InputError(
                f"{self.path}: {'no' if not found else 'more than one'} {name}",
                expected="one csv file for each split",
                got=str([str(path) for path in found]) if found else "none",
                mend="give the folder that MELD was unpacked into",
            )
        return found[0]

    def _clips(self, split: str, notes: Notebook) -> dict[str, Path]:
        """The clips of one split by name, wherever the folder with their name lies."""
        folders = [path for path in sorted(self.path.rglob(CLIPS[split])) if path.is_dir()]
        clips: dict[str, Path] = {}
        for path in (path for folder in folders for path in sorted(folder.rglob("*.mp4"))):
            # Archives made on a Mac hold a shadow of each file.
            if path.name.startswith("._"):
                notes.noted("file that is no clip", path.name, "not used")
            else:
                clips.setdefault(path.name, path)
        if not clips:
            raise InputError(
                f"{self.path}: no clips of the {split} split",
                expected=f"a folder {CLIPS[split]} with mp4 files, at any depth",
                got=f"{len(folders)} such folders, none with clips",
                mend="unpack the archive, or read the csv files alone: audio=False (--no-audio)",
            )
        return clips

    def _with_clip(self, row: Row, clips: dict[str, Path], notes: Notebook) -> Row:
        """The row with its clip, which is taken out of ``clips``, or without if that is broken."""
        cells = row.cells
        key = (cells["split"], int(cells["dialogue"].rpartition("dia")[2]), cells["turn"])
        path = clips.pop(f"dia{key[1]}_utt{key[2]}.mp4", None)
        start, end = cells["start"], cells["end"]
        wrong = None if path is None else video.fault(path)
        if key in KNOWN:
            notes.dropped("clip", cells["id"], KNOWN[key])
        elif start is not None and end is not None and end - start > LONGEST:
            notes.dropped("clip", cells["id"], f"cut wrongly, {end - start:.0f} s by the csv")
        elif path is None:
            notes.broken("clip", cells["id"], "absent")
        elif wrong:
            notes.broken("clip", cells["id"], wrong)
        else:
            return Row(row.place, cells, path)
        return row

    def _load(self, row: Row) -> dict[str, Any]:
        return {"audio": None if row.recording is None else video.read(row.recording)}

    def _inspect(self, row: Row, loaded: Mapping[str, Any], notes: Notebook) -> Iterator[str]:
        if row.recording is not None and loaded["audio"] is None:
            notes.broken("clip", row.cells["id"], "has no sound")
        yield from super()._inspect(row, loaded, notes)


def _choose(name: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        raise InputError(
            f"unknown {name}",
            expected=f"one of {list(known)}",
            got=repr(value),
            mend=f"choose a {name} that exists",
        )


def _nothing(path: Path, got: str) -> InputError:
    return InputError(
        f"{path}: no sample",
        expected="at least one row that can be used",
        got=got,
        mend="give the folder that MELD was unpacked into",
    )
