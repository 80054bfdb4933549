"""Tiny folders in the exact shape of the published corpora, quirks on demand."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

MELD_HEADER = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,"
    "StartTime,EndTime"
)


def outline_mp4(path: Path, cut: int = 0) -> None:
    """A file with the outline of an mp4, without content; ``cut`` bytes are lost at its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    boxes = b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\0\x08moov" + b"\0\0\0\x18mdat" + bytes(16)
    path.write_bytes(boxes[: len(boxes) - cut])


def tone_mp4(
    path: Path, hertz: Sequence[float] = (440.0,), seconds: float = 1.0, fps: int = 25
) -> None:
    """A clip with one tone after the other, ``seconds`` each; no tones, no sound. Needs PyAV."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        video: Any = container.add_stream("mpeg4", rate=Fraction(fps))
        # Both streams before the first packet: the head of the file names them.
        sound: Any = container.add_stream("aac", rate=16_000, layout="mono") if hertz else None
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        for _ in range(round(max(1, len(hertz)) * seconds * fps)):
            picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        if hertz:
            time = np.arange(round(seconds * 16_000)) / 16_000
            wave = np.concatenate([0.5 * np.sin(2 * np.pi * f * time) for f in hertz])
            for at in range(0, len(wave), 1024):
                piece = wave[None, at : at + 1024].astype(np.float32)
                frame = av.AudioFrame.from_ndarray(piece, "fltp", "mono")
                frame.sample_rate, frame.pts, frame.time_base = 16_000, at, Fraction(1, 16_000)
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))


def spoil(clip: Path, copy: Path) -> None:
    """A copy of a clip whose outline is whole and whose content is not."""
    raw = clip.read_bytes()
    at = raw.index(b"mdat") + 4
    size = int.from_bytes(raw[at - 8 : at - 4], "big") - 8
    copy.write_bytes(raw[:at] + b"\xff" * size + raw[at + size :])


# --- MELD --------------------------------------------------------------------------------------


def meld_row(
    dialogue: int,
    turn: int,
    text: str = "What?",
    emotion: str = "neutral",
    sentiment: str = "neutral",
    speaker: str = "Ross",
    start: str = "00:00:01,000",
    end: str = "00:00:02,500",
    number: int = 1,
) -> list[object]:
    return [number, text, speaker, emotion, sentiment, dialogue, turn, 4, 7, start, end]


def meld(
    folder: Path,
    rows: Mapping[str, Iterable[Sequence[object]]],
    clips: Mapping[str, Iterable[str]] | None = None,
) -> Path:
    """Csv files as published (CRLF, no byte order mark) and clips in the folders of MELD.Raw."""
    leaves = {
        "train": "train/train_splits",
        "dev": "dev/dev_splits_complete",
        "test": "test/output_repeated_splits_test",
    }
    for split, lines in rows.items():
        text = io.StringIO()
        text.write(MELD_HEADER + "\r\n")
        csv.writer(text).writerows(lines)
        (folder / f"{split}_sent_emo.csv").write_bytes(text.getvalue().encode())
    for split, names in (clips or {}).items():
        (folder / leaves[split]).mkdir(parents=True, exist_ok=True)
        for name in names:
            outline_mp4(folder / leaves[split] / name)
    return folder


# --- KEMDy -------------------------------------------------------------------------------------


def wave(path: Path, value: float = 0.25, samples: int = 800) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(samples, value, "float32"), 16_000, subtype="PCM_16")


def votes(*emotions: str, valence: float = 3, arousal: float = 3) -> list[str]:
    """The 30 cells of ten raters; the last emotion given fills up to ten."""
    told = [*emotions, *[emotions[-1]] * (10 - len(emotions))]
    return [cell for emotion in told for cell in (emotion, f"{valence:g}", f"{arousal:g}")]


def _heads() -> list[str]:
    return [f"Eval{number:02}{sex}" for number, sex in enumerate("FMMFMFFMFM", 1)]


def write_csv(path: Path, lines: Iterable[Sequence[object]], encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    path.write_bytes(text.getvalue().encode(encoding))


KEMDY20_HEAD = [
    ["Numb", "WAV", " ", "Segment ID", "Total Evaluation", " ", " "]
    + [cell for head in _heads() for cell in (head, " ", " ")],
    [" ", "start", "end", " ", "Emotion", "Valence", "Arousal"]
    + ["Emotion", "Valence", "Arousal"] * 10,
]
KEMDY19_HEAD = [
    ["Numb", "Wav", "", "ECG", "", "E4-EDA", "", "E4-TEMP", "", "Segment ID"]
    + ["Total Evaluation", "", ""]
    + [cell for head in _heads() for cell in (head, "", "")],
    ["", *["start", "end"] * 4, "", "Emotion", "Valence", "Arousal"]
    + ["Emotion", "Valence", "Arousal"] * 10,
]


def kemdy20_row(
    segment: str,
    emotion: str = "neutral",
    valence: float = 3.0,
    arousal: float = 3.0,
    start: float = 0.0,
    raters: Sequence[str] | None = None,
    number: int = 1,
) -> list[object]:
    told = votes(emotion.split(";")[0]) if raters is None else list(raters)
    return [number, start, start + 1, segment, emotion, f"{valence:g}", f"{arousal:g}", *told]


def kemdy19_row(
    segment: str,
    emotion: str = "neutral",
    valence: float = 3.0,
    arousal: float = 3.0,
    start: float = 0.0,
    raters: Sequence[str] | None = None,
    number: int = 1,
) -> list[object]:
    told = votes(emotion.split(";")[0]) if raters is None else list(raters)
    times = [start, start + 1] * 4
    return [number, *times, segment, emotion, f"{valence:g}", f"{arousal:g}", *told]


def kemdy20_segment(
    folder: Path, segment: str, text: str = "네 그래요.", value: float = 0.25
) -> None:
    """Wav and transcript (cp949) of one segment, flat in its session's folder."""
    place = folder / "wav" / f"Session{segment[4:6]}"
    wave(place / f"{segment}.wav", value)
    (place / f"{segment}.txt").write_bytes((text + "\n").encode("cp949"))


def kemdy19_segment(
    folder: Path, segment: str, text: str = "네 그래요.", value: float = 0.25
) -> None:
    """Wav and transcript (UTF-8) of one segment, in the folder of its scene."""
    scene = segment.rpartition("_")[0]
    place = folder / "wav" / f"Session{segment[4:6]}" / scene
    wave(place / f"{segment}.wav", value)
    (place / f"{segment}.txt").write_bytes((text + "\n").encode())


def kemdy20(folder: Path, sessions: Mapping[int, Iterable[Sequence[object]]]) -> Path:
    """Annotation, wav and transcript of every row; empty folders of the signals."""
    for session, lines in sessions.items():
        kept = list(lines)
        write_csv(folder / f"annotation/Sess{session:02}_eval.csv", [*KEMDY20_HEAD, *kept])
        for line in kept:
            kemdy20_segment(folder, str(line[3]))
    for signal in ("EDA", "TEMP", "IBI"):
        (folder / signal).mkdir(exist_ok=True)
    return folder


def kemdy19(folder: Path, files: Mapping[tuple[int, str], Iterable[Sequence[object]]]) -> Path:
    """Annotation by session and sex, wav and transcript of every row of the speaker's sex."""
    for (session, sex), lines in files.items():
        kept = list(lines)
        name = f"annotation/Session{session:02}_{sex}_res.csv"
        write_csv(folder / name, [*KEMDY19_HEAD, *kept])
        for line in kept:
            kemdy19_segment(folder, str(line[9]))
    for signal in ("EDA", "TEMP", "ECG"):
        (folder / signal).mkdir(exist_ok=True)
    return folder


def lines(path: Path, content: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in content), encoding="utf-8")


# --- AI-Hub ------------------------------------------------------------------------------------


def opinion(emotion: str | None, valence: float = 5, arousal: float = 5) -> dict[str, Any]:
    return {"emotion": emotion, "valence": valence, "arousal": arousal}


def entry(
    person: str = "1",
    script: str | None = "참 잘했다.",
    start: int | str = 0,
    end: int | str = 25,
    **emotion: str | None,
) -> dict[str, Any]:
    """One person in one frame; without a script the person is silent."""
    found: dict[str, Any] = {
        "person_id": person,
        "label": "person",
        "xtl": "1",
        "ytl": "2",
        "xbr": "3",
        "ybr": "4",
        "position": "stand",
        "predicate": "look",
        "emotion": {name: opinion(word) for name, word in emotion.items()},
    }
    if script is not None:
        found["text"] = {
            "script": script,
            "script_start": start,
            "script_end": end,
            "strategy": "s",
            "intent": "i",
            "morpheme": "m",
        }
    return found


def aihub_clip(number: int, frames: Mapping[int, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    data = {
        str(frame): {str(i): {**one, "frame": str(frame)} for i, one in enumerate(people, 1)}
        for frame, people in frames.items()
    }
    return {"clip_id": str(number), "nr_frame": str(max(frames, default=0)), "data": data}


def write_clip(path: Path, clip: Mapping[str, Any], encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(clip, ensure_ascii=False).encode(encoding))
