"""AI-Hub's multimodal video set: acted Korean scenes, labels for every channel by itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from modalxai.datasets import video
from modalxai.datasets.aihub_clips import CHANNELS, EMOTIONS, Channel, Utterance, read_clip
from modalxai.datasets.corpus import Corpus, Row
from modalxai.datasets.findings import CorpusReport, Count, Notebook
from modalxai.errors import InputError
from modalxai.paths import possible

FRAME_RATE = 30.0
"""Pictures per second, where a video does not say."""
PUBLISHED: Mapping[str, int] = {
    "utterances": 80121,
    "happy": 15706,
    "surprise": 11540,
    "angry": 7584,
    "sad": 7808,
    "dislike": 19012,
    "fear": 5571,
    "contempt": 2944,
    "neutral": 9956,
}
"""As a published study counts the utterances it used."""


class AIHubMultimodalVideo(Corpus):
    """AI-Hub "멀티모달 영상" (dataSetSn=58) as unpacked, in either layout.

    The layouts: ``라벨데이터/clip_13.json`` and ``원천데이터/0013.MP4``; or ``clip_5355/`` with
    ``clip_5355.json`` and ``clip_5355.mp4``. Files are found by the clip's number at any depth.

    A sample is one utterance: ``{"id", "clip", "dialogue", "turn", "speaker", "text", "labels",
    "valence", "arousal", "channel_labels", "channel_valence", "channel_arousal", "first_frame",
    "last_frame", "audio"}``. The ``channel_`` columns say what the annotators felt from
    ``"image"``, ``"sound"`` or ``"text"`` alone, and from all (``"multimodal"``); ``None`` where
    nobody said. ``"speaker"`` is a person within a clip: who plays in several clips is not told.
    ``"audio"`` is cut from the video on access; ``None`` where there is no sound.

    Parameters
    ----------
    folder
        The folder that the archives were unpacked into.
    target
        The channel whose emotion, valence and arousal are the sample's own.
    audio
        False leaves the videos alone.
    broken
        What becomes of an utterance whose video cannot be used: ``"missing"``: a sample without
        audio; ``"drop"``: no sample.

    Raises
    ------
    InputError
        No clips, or none that can be used. A clip whose annotation cannot be read is left out and
        named, with the line, in the report.
    """

    name: ClassVar[str] = "AIHubMultimodalVideo"

    def __init__(
        self,
        folder: str | Path,
        *,
        target: Channel = "multimodal",
        audio: bool = True,
        broken: Literal["missing", "drop"] = "missing",
    ) -> None:
        self.path = possible(folder)
        for name, value, known in (
            ("target", target, CHANNELS),
            ("broken", broken, ("missing", "drop")),
        ):
            if value not in known:
                raise InputError(
                    f"unknown {name}",
                    expected=f"one of {list(known)}",
                    got=repr(value),
                    mend=f"choose a {name} among them",
                )
        self.labels = EMOTIONS
        self._rates: dict[Path, float | None] = {}
        notes = Notebook()
        clips, videos = self._clips(notes), self._videos()
        self._turns: list[Row] = []
        self._rows: list[Row] = []
        for number, path in sorted(clips.items()):
            try:
                utterances = read_clip(path, notes)
            except InputError as error:
                notes.broken("clip file", error.wrong, f"{error.got}; the clip is left out")
                continue
            film = self._film(number, path, videos, notes) if audio and utterances else None
            self._turns += [
                _row(number, turn, utterance, target, path, film)
                for turn, utterance in enumerate(utterances)
            ]
        for row in self._turns:
            if row.recording or not audio or broken == "missing":
                self._rows.append(row)
            else:
                notes.dropped("sample", row.cells["id"], "its video cannot be used")
            if row.cells["label"] is None:
                notes.noted("label", row.cells["id"], f"no emotion by the {target} channel")
        if not self._rows:
            first = next((one for one in notes.findings if one.outcome == "broken"), None)
            raise InputError(
                f"{self.path}: no utterance",
                expected="clips with spoken words, clip_13.json say",
                got=f"{first.subject}: {first.reason}" if first else f"{len(clips)} clips",
                mend="give the folder that the archives were unpacked into",
            )
        self.report = self._told(notes, len(clips), len(videos))

    def _told(self, notes: Notebook, clips: int, videos: int) -> CorpusReport:
        found = Counter(row.cells["label"] for row in self._turns)
        counts = {"utterances": len(self._turns), **{word: found[word] for word in EMOTIONS}}
        told = [Count("clips", clips), Count("videos", videos)]
        told += [Count(name, n, PUBLISHED[name], exact=False) for name, n in counts.items()]
        return CorpusReport(self.name, str(self.path), tuple(told), tuple(notes.findings))

    def _clips(self, notes: Notebook) -> dict[int, Path]:
        """The annotation of each clip; a second file of one clip is used only if it is the same."""
        clips: dict[int, Path] = {}
        differing = set()
        for path in sorted(self.path.rglob("*")):
            parts = re.fullmatch(r"clip_([0-9]{1,9})\.json", path.name, re.IGNORECASE)
            if parts is None:
                continue
            number = int(parts[1])
            if number in clips and path.read_bytes() != clips[number].read_bytes():
                differing.add(number)
            elif number in clips:
                notes.noted("clip file", str(path.relative_to(self.path)), "there twice, the same")
            clips.setdefault(number, path)
        for number in sorted(differing):
            notes.broken("clip file", clips.pop(number).name, "two files of one clip differ")
        return clips

    def _videos(self) -> dict[int, list[Path]]:
        videos: dict[int, list[Path]] = {}
        for path in sorted(self.path.rglob("*")):
            name = re.fullmatch(r"(?:clip_)?([0-9]{1,9})\.mp4", path.name, re.IGNORECASE)
            if name:
                videos.setdefault(int(name[1]), []).append(path)
        return videos

    def _film(
        self, number: int, clip: Path, videos: Mapping[int, Sequence[Path]], notes: Notebook
    ) -> Path | None:
        found = videos.get(number, [])
        beside = [path for path in found if path.parent == clip.parent]
        found = beside if len(found) > 1 and beside else found
        if len(found) != 1:
            notes.broken("video", clip.stem, "absent" if not found else "more than one")
            return None
        if wrong := video.fault(found[0]):
            notes.broken("video", clip.stem, wrong)
            return None
        return found[0]

    def _load(self, row: Row) -> dict[str, Any]:
        if row.recording is None:
            return {"audio": None}
        if row.recording not in self._rates:
            self._rates[row.recording] = video.frame_rate(row.recording)
        rate = self._rates[row.recording] or FRAME_RATE
        first, last = row.cells["first_frame"], row.cells["last_frame"]
        return {"audio": video.read(row.recording, first / rate, max(last, first + 1) / rate)}

    def _inspect(self, row: Row, loaded: Mapping[str, Any], notes: Notebook) -> Iterator[str]:
        if row.recording is not None:
            if loaded["audio"] is None:
                notes.dropped("sound", row.cells["id"], "the video has none there")
            if self._rates[row.recording] is None:
                notes.noted("frame rate", row.cells["id"], f"not told; {FRAME_RATE:g} assumed")
        yield from super()._inspect(row, loaded, notes)


def _row(
    number: int, turn: int, said: Utterance, target: Channel, clip: Path, film: Path | None
) -> Row:
    own = said.opinions[target]
    name = f"clip_{number}"
    cells = {
        "id": f"{name}_{said.person}_{said.start}_{said.end}",
        "clip": number,
        "dialogue": name,
        "turn": turn,
        "speaker": f"{name}_person_{said.person}",
        "text": said.text,
        "label": own.emotion,
        "labels": {own.emotion: 1} if own.emotion else {},
        "valence": own.valence,
        "arousal": own.arousal,
        "channel_labels": {channel: one.emotion for channel, one in said.opinions.items()},
        "channel_valence": {channel: one.valence for channel, one in said.opinions.items()},
        "channel_arousal": {channel: one.arousal for channel, one in said.opinions.items()},
        "first_frame": said.start,
        "last_frame": said.end,
    }
    return Row(clip.name, cells, film)
