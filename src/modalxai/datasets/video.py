"""The sound of video clips, through PyAV or the ffmpeg program, whichever is installed."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modalxai.errors import DependencyError, InputError
from modalxai.sound_files import WIDTH, largest, require_room
from modalxai.types import Audio

_LEAD = 1.0
"""Seconds decoded before a stretch: the first frames after a jump are not exact."""


def read(path: str | Path, start: float | None = None, end: float | None = None) -> Audio | None:
    """The sound of a clip, mixed to one channel at its own rate; ``None`` where there is none.

    Parameters
    ----------
    path
        An mp4 file, or any other that ffmpeg reads.
    start, end
        A stretch in seconds; from the beginning, and to the end, if left out. Where the clip is
        shorter than that, so is the sound; beyond its end there is none.

    Raises
    ------
    DependencyError
        Neither PyAV nor the ffmpeg program is installed.
    InputError
        No such file, one that cannot be decoded, or sound of more than 1 GiB once decoded
        (``MODALXAI_LARGEST_AUDIO`` sets another limit, in bytes).
    """
    path = Path(path)
    _require(path)
    av = _pyav()
    return _read_pyav(av, path, start, end) if av else _read_program(_program(), path, start, end)


def frame_rate(path: str | Path) -> float | None:
    """Pictures per second as the file says, ``None`` if it does not; errors as in `read`."""
    path = Path(path)
    _require(path)
    if av := _pyav():
        try:
            with av.open(f"file:{path}") as container:
                streams = container.streams.video
                rate = streams[0].average_rate if streams else None
        except (av.error.FFmpegError, ValueError) as error:
            raise _undecodable(path, str(error)) from error
        return float(rate) if rate else None
    # Without an output ffmpeg says what is in the file, and ends with an error.
    said = _call([_program(), "-nostdin", "-hide_banner", "-i", f"file:{path}"])[2]
    found = re.search(r"Video:.*?([\d.]+) fps", said)
    return float(found[1]) if found else None


def fault(path: Path) -> str | None:
    """Why an mp4 file cannot be whole, told from its outline alone, without decoding.

    The file is a row of boxes, each with its size: one of them is the index (``moov``), and the
    last ends with the file. A download that broke off fails this.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            kinds, at = set(), 0
            while at < size:
                file.seek(at)
                head = file.read(16)
                length, kind = int.from_bytes(head[:4], "big"), head[4:8]
                if length == 1:
                    length = int.from_bytes(head[8:16], "big")
                if not at and kind != b"ftyp":
                    return "no mp4 file"
                kinds.add(kind)
                if length == 0 and len(head) >= 8:
                    break  # a last box of size 0 reaches to the end
                if length < 8 or len(head) < 8 or at + length > size:
                    return "broken off, or overwritten"
                at += length
    except OSError as error:
        return "absent" if isinstance(error, FileNotFoundError) else str(error)
    if not size:
        return "an empty file"
    return None if b"moov" in kinds else "no index (moov)"


def _require(path: Path) -> None:
    if not path.is_file():
        raise InputError(
            f"{path} cannot be read",
            expected="a video clip",
            got="no such file",
            mend="check the path",
        )


def _pyav() -> Any:
    try:
        return importlib.import_module("av")
    except ImportError:
        return None


def _program() -> str:
    found = shutil.which("ffmpeg")
    if found is None:
        raise DependencyError(
            "nothing is installed that reads the sound of video clips",
            expected="the package av, or the program ffmpeg",
            got="neither",
            mend='pip install "modalxai[video]", or install ffmpeg',
        )
    return found


def _undecodable(path: Path, why: str) -> InputError:
    return InputError(
        f"{path} cannot be decoded",
        expected="a whole video clip",
        got=why.strip()[:300] or "no reason given",
        mend="download the clip again, or leave it out",
    )


def _audio(samples: Any, rate: int) -> Audio | None:
    if not len(samples):
        return None
    # 16 bits on the way: only then does ffmpeg keep a mix of channels within full scale.
    return Audio(torch.from_numpy(samples.astype(np.float32) / 32768), rate)


def _read_pyav(av: Any, path: Path, start: float | None, end: float | None) -> Audio | None:
    pieces, first, held = [], None, 0
    try:
        with av.open(f"file:{path}") as container:
            if not container.streams.audio:
                return None
            stream = container.streams.audio[0]
            rate = int(stream.rate)
            mix = av.AudioResampler(format="s16", layout="mono", rate=rate)
            if start:
                container.seek(int(max(0.0, start - _LEAD) * 1_000_000))
            for frame in container.decode(stream):
                time = frame.time or 0.0
                if end is not None and time >= end:
                    break
                first = time if first is None else first
                more = [piece.to_ndarray()[0] for piece in mix.resample(frame)]
                held += WIDTH * sum(map(len, more))
                require_room(held, str(path))
                pieces += more
            pieces += [piece.to_ndarray()[0] for piece in mix.resample(None)]
    except InputError:
        raise
    except (av.error.FFmpegError, ValueError, MemoryError) as error:
        raise _undecodable(path, str(error)) from error
    samples = np.concatenate([*pieces, np.zeros(0, np.int16)])
    begin = 0 if start is None else max(0, round((start - (first or 0.0)) * rate))
    stop = len(samples) if end is None else max(begin, round((end - (first or 0.0)) * rate))
    return _audio(samples[begin:stop], rate)


def _read_program(program: str, path: Path, start: float | None, end: float | None) -> Audio | None:
    command = [program, "-nostdin", "-hide_banner", "-v", "error", "-xerror"]
    command += ["-ss", str(start)] if start else []
    command += ["-i", f"file:{path}"]
    command += ["-t", str(max(0.0, end - (start or 0.0)))] if end is not None else []
    # The au format: its head says the rate, and it may be written to a pipe.
    command += ["-map", "0:a:0", "-ac", "1", "-c:a", "pcm_s16be", "-f", "au"]
    # In 16 bits this is twice as much as may be: no more than that is decoded.
    command += ["-fs", str(largest()), "-"]
    code, out, said = _call(command)
    if code and "matches no streams" in said:
        return None
    if code or out[:4] != b".snd":
        raise _undecodable(path, said)
    require_room(len(out) // 2 * WIDTH, str(path))
    head, rate = int.from_bytes(out[4:8], "big"), int.from_bytes(out[16:20], "big")
    samples = np.frombuffer(out[head : head + (len(out) - head) // 2 * 2], ">i2")
    return _audio(samples, rate)


def _call(command: list[str]) -> tuple[int, bytes, str]:
    done = subprocess.run(command, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace")
