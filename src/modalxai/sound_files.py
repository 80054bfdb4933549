"""Sound files read whole or refused: broken off, contradicting themselves, too large to hold."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from modalxai.errors import InputError

LARGEST = 1 << 30
"""Bytes that one file may be once decoded: 4.6 hours at 16 kHz, 77 minutes of 44.1 kHz stereo."""
VARIABLE = "MODALXAI_LARGEST_AUDIO"
"""The environment variable that sets another limit, in bytes, for this process and its workers."""
WIDTH = 4
"""Bytes of a decoded sample, float32."""
UNKNOWN = 0x7FFF_0000
"""Sizes from here on are written where sound was streamed and its length not known."""
UNMEASURED = (1 << 63) - 1
"""What libsndfile says of the length of a flac file that was streamed; soundfile reads none."""
CHUNKS = 1000
"""So many parts of a wav file are looked at: the sound comes after a few."""
PLAIN = (1, 3, 0xFFFE)
"""Formats of wav whose blocks are whole samples: integers, floats, either with a longer head."""


def load(source: str | Path | bytes, name: str = "the sound") -> tuple[NDArray[np.float32], int]:
    """Samples [C, S], full scale 1.0, and hertz of a wav, flac, ogg or mp3 file or its bytes.

    libsndfile reads a wav file that was cut as a shorter one, and believes a head that contradicts
    itself; neither is heard here. A small file that claims, or holds, more than `largest` bytes of
    sound is refused before anything is decoded.

    Parameters
    ----------
    source
        A path, or the content of a file.
    name
        What to call it in an error, if it is no path.

    Raises
    ------
    InputError
        No such file, one that libsndfile cannot read, or one as above.
    """
    import soundfile

    called = name if isinstance(source, bytes) else str(source)
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
            if wrong := _wav_fault(file):
                raise _refused(called, *wrong)
            file.seek(0)
            opened = soundfile.SoundFile(file if isinstance(source, bytes) else str(source))
            with opened as sound:
                if sound.frames == UNMEASURED:
                    raise _refused(called, "the length of its sound in its head", "none")
                require_room(sound.frames * sound.channels * WIDTH, called)
                if sound.seekable():  # GSM and G.721, of telephones, are not
                    sound.seek(0)  # as soundfile.read does: mp3 starts otherwise without it
                samples = sound.read(sound.frames, dtype="float32", always_2d=True)
                # Of an mp3 file without a table of contents the length is an estimate.
                if len(samples) < sound.frames and sound.format != "MP3":
                    raise _refused(
                        called, f"{sound.frames} samples, as its head says", str(len(samples))
                    )
                return samples.T.copy(), int(sound.samplerate)
    except InputError:
        raise
    except (soundfile.SoundFileError, OSError, TypeError, ValueError, MemoryError) as error:
        inside = isinstance(source, bytes)
        raise InputError(
            f"{called} cannot be {'decoded' if inside else 'read'}",
            expected=f"{'the bytes of ' if inside else ''}a wav, flac, ogg or mp3 file",
            # Without the place in memory that libsndfile's whole message names.
            got=getattr(error, "error_string", str(error)) or type(error).__name__,
            mend="write the sound again" if inside else "check the path, or convert it to wav",
        ) from error


def largest() -> int:
    """Bytes that one file may be once decoded.

    Raises
    ------
    InputError
        The environment variable holds no number of bytes.
    """
    given = os.environ.get(VARIABLE, "").strip()
    if given and not (given.isascii() and given.isdecimal()):
        raise InputError(
            f"{VARIABLE} is no limit",
            expected="a number of bytes",
            got=repr(given),
            mend=f"export {VARIABLE}=4000000000, say, or leave it unset for {LARGEST}",
        )
    return int(given) if given else LARGEST


def require_room(size: int, name: str) -> None:
    """Refuse sound of so many bytes, decoded, where that is more than `largest`."""
    if size > (most := largest()):
        raise InputError(
            f"{name} is too large once decoded",
            expected=f"at most {most} bytes",
            got=f"{size} bytes",
            mend=f"cut it into utterances; if it is what it should be, export {VARIABLE}={size}",
        )


def _refused(name: str, expected: str, got: str) -> InputError:
    return InputError(
        f"{name} is broken off, or its head is wrong",
        expected=expected,
        got=got,
        mend="copy or download it again, or write it anew from its source",
    )


def _wav_fault(file: BinaryIO) -> tuple[str, str] | None:
    """What a wav file says and what it holds, where the two differ; ``None`` for other files."""
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    end = file.seek(0, os.SEEK_END)
    for kind, at, size in islice(_chunks(file, end), CHUNKS):
        if kind == b"fmt " and size >= 16:
            file.seek(at)
            shape, channels, rate, speed, block, bits = struct.unpack("<HHIIHH", file.read(16))
            wanted = channels * -(-bits // 8), rate * block
            if shape in PLAIN and (block, speed) != wanted:
                return (
                    f"{wanted[0]} bytes a block and {wanted[1]} a second, for {channels} channels "
                    f"of {bits} bits at {rate} Hz",
                    f"{block} and {speed}",
                )
        elif kind == b"data":
            file.seek(at)
            # libsndfile takes 0 at its word, and the sound for chunks, but where the whole is 8.
            streamed = size == 0 and head[4:8] != b"\x08\0\0\0" and not _named(file.read(4))
            lost = streamed or (0 < size < UNKNOWN and at + size > end)
            return (f"{size} bytes of sound", f"{end - at}") if lost else None
    return None


def _named(name: bytes) -> bool:
    """Whether a chunk could be called so, or nothing is there."""
    return all(32 <= letter < 127 for letter in name)


def _chunks(file: BinaryIO, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and size of every chunk of a wav file, as it says."""
    at = 12
    while at + 8 <= end:
        file.seek(at)
        kind, size = struct.unpack("<4sI", file.read(8))
        yield kind, at + 8, size
        at += 8 + size + size % 2
