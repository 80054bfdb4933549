"""Sound files: what is cut, flipped or lies about itself is refused, and else heard as it is."""

from __future__ import annotations

import contextlib
import io
import os
import random
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tests.support import corpora
from tests.support.fuzzing import Judge, spoilt
from toys import speech_model, speech_samples

import modalxai as mx
from modalxai import audio
from modalxai.datasets import video
from modalxai.errors import InputError

RATE = 8000
Judges = Callable[..., Judge]


def tone() -> np.ndarray:
    return 0.3 * np.sin(np.arange(1600) / 9) + 0.02 * np.random.default_rng(0).normal(size=1600)


def written(form: str, kind: str, channels: int = 1) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.stack([tone()] * channels, 1), RATE, kind, format=form)
    return file.getvalue()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """libmpg123 writes to standard error what it thinks of a file."""
    with open(os.devnull, "wb") as nowhere:
        kept = os.dup(2)
        sys.stderr.flush()
        os.dup2(nowhere.fileno(), 2)
        yield
        os.dup2(kept, 2)
        os.close(kept)


def parsed(raw: bytes) -> tuple[np.ndarray, int]:
    """Samples [C, S] and hertz of a plain wav file, told by its own bytes alone, or an error."""
    if raw[:4] != b"RIFF" or raw[8:12] != b"WAVE":
        raise ValueError("no wav")
    at, shape = 12, None
    while at + 8 <= len(raw):
        kind, size = struct.unpack_from("<4sI", raw, at)
        if kind == b"fmt ":
            shape = struct.unpack_from("<HHIIHH", raw, at + 8)
            if shape[0] == 0xFFFE:
                shape = (*struct.unpack_from("<H", raw, at + 32), *shape[1:])
        if kind == b"data":
            break
        at += 8 + size + size % 2
    form, channels, rate, speed, block, bits = shape or (0,) * 6
    if block != channels * bits // 8 or speed != rate * block or not channels:
        raise ValueError("a head that contradicts itself")
    body = raw[at + 8 :]
    if size < 0x7FFF0000 and size > len(body):
        raise ValueError("broken off")
    body = body[:size]
    body = body[: len(body) // block * block]
    if (form, bits) == (1, 16):
        found = np.frombuffer(body, "<i2") / 2.0**15
    elif (form, bits) == (1, 24):
        wide = np.zeros((len(body) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(body, np.uint8).reshape(-1, 3)
        found = wide.view("<i4")[:, 0] / 2.0**31
    elif (form, bits) == (1, 8):
        found = np.frombuffer(body, np.uint8) / 128.0 - 1
    elif (form, bits) == (1, 32):
        found = np.frombuffer(body, "<i4") / 2.0**31
    elif (form, bits) == (3, 32):
        found = np.frombuffer(body, "<f4")
    else:
        raise ValueError("a form that is not told here")
    return found.reshape(-1, channels).T, rate


@pytest.mark.parametrize(("kind", "channels"), [("PCM_16", 1), ("FLOAT", 1), ("PCM_24", 2)])
def test_wav(kind: str, channels: int, judge: Judges, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with judge("wav files", 90, tmp_path) as tries:
        for what, raw in spoilt(written("WAV", kind, channels), 96, 1):
            path.write_bytes(raw)

            def legal(found: mx.Audio, raw: bytes = raw) -> bool:
                samples, rate = parsed(raw)
                same = np.array_equal(found.waveform.numpy(), samples.astype(np.float32), True)
                return same and found.sample_rate == rate

            tries(f"{kind} {what}", lambda: audio.read(path), legal)


def test_flac(judge: Judges, tmp_path: Path) -> None:
    path, raw = tmp_path / "a.flac", written("FLAC", "PCM_16")
    whole = soundfile.read(io.BytesIO(raw), dtype="float32")[0]
    with judge("flac files", 140, tmp_path) as tries:
        for what, changed in spoilt(raw, 144, 2):
            path.write_bytes(changed)
            # Frames carry checksums: what is heard at all is every sample as it was. The rate is
            # in the head only, where the file's own word is all there is.
            tries(
                what,
                lambda: audio.read(path),
                lambda found: (
                    np.array_equal(found.waveform[0].numpy(), whole)
                    and found.sample_rate == soundfile.info(str(path)).samplerate
                ),
            )


@pytest.mark.parametrize(("form", "kind"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_ogg_and_mp3(form: str, kind: str, judge: Judges, tmp_path: Path) -> None:
    path = tmp_path / f"a.{form.lower()}"
    with judge("ogg and mp3 files", 48, tmp_path) as tries:
        for what, changed in spoilt(written(form, kind), 48, 3):
            path.write_bytes(changed)
            # These have no checksum of what they decode to: libsndfile is asked a second time.
            tries(
                f"{form} {what}",
                lambda: audio.read(path),
                lambda found: np.array_equal(
                    found.waveform.numpy(),
                    soundfile.read(path, dtype="float32", always_2d=True)[0].T,
                ),
            )


def test_mp4(judge: Judges, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    corpora.tone_mp4(path, (500.0,))
    raw = path.read_bytes()

    def again(found: mx.Audio | None) -> bool:
        with av.open(str(path)) as clip:
            if not clip.streams.audio:
                return found is None
            rate = clip.streams.audio[0].rate
            count = sum(frame.samples for frame in clip.decode(audio=0))
        if found is None:
            return not count
        fine = bool(torch.isfinite(found.waveform).all()) and found.waveform.abs().max() <= 1
        return fine and (found.sample_rate, found.waveform.shape[-1]) == (rate, count)

    with judge("mp4 clips", 60, tmp_path) as tries:
        for what, changed in spoilt(raw, 60, 4):
            path.write_bytes(changed)
            tries(what, lambda: video.read(path), again)


def test_claims_of_hours_are_refused_before_anything_is_decoded(
    judge: Judges, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    plain = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile, "read", lambda *a, **k: read.append(1) or plain(*a, **k)
    )
    raw = bytearray(written("FLAC", "PCM_16"))
    draw = random.Random(5)
    with judge("sound that claims hours", 12) as tries:
        for _ in range(12):
            # 36 bits at byte 21 say how many samples there are.
            claim = draw.randrange(1 << 29, 1 << 36)
            raw[21] = raw[21] & 0xF0 | claim >> 32
            raw[22:26] = (claim & 0xFFFFFFFF).to_bytes(4, "big")
            path = tmp_path / "a.flac"
            path.write_bytes(raw)
            tries(str(claim), lambda: audio.read(path))  # noqa: B023 # called at once
    assert not read


def test_bad_recordings_go_to_the_quarantine_and_harm_no_other(
    judge: Judges, tmp_path: Path
) -> None:
    model = speech_model().eval()
    good = [{**one, "id": f"good{row}"} for row, one in enumerate(speech_samples(3))]
    alone = mx.explain(model, good)
    flac, wav = written("FLAC", "PCM_16"), written("WAV", "PCM_16")
    bad = []
    for row, (what, raw) in enumerate(spoilt(flac, 30, 6)):
        if what.split()[0] in ("back", "head", "word", "flip", "twice"):
            continue  # may be whole still
        path = tmp_path / f"{row}.flac"
        path.write_bytes(raw)
        bad.append({"id": f"bad {what}", "audio": str(path), "text": "no"})
    for cut in range(0, len(wav), 250):
        path = tmp_path / f"cut{cut}.wav"
        path.write_bytes(wav[:cut])
        bad.append({"id": f"bad cut {cut}", "audio": str(path), "text": "no"})
    samples = [*bad[::2], good[0], *bad[1::2], *good[1:]]
    run = mx.explain_corpus(model, samples, tmp_path / "run", chunk=16)
    found = run.explanation()
    assert found.sample_ids == alone.sample_ids
    torch.testing.assert_close(found.draws, alone.draws)
    blamed = {one.id: one for one in run.quarantine()}
    with judge("recordings in a corpus run", 25) as tries:
        for one in bad:

            def blame(name: str = one["id"]) -> Any:
                error = blamed[name]
                assert error.reason
                raise InputError("in quarantine", expected="a", got=error.error, mend="b")

            tries(one["id"], blame)


def test_the_oracle_reads_what_is_whole() -> None:
    for kind, channels in (("PCM_16", 1), ("FLOAT", 2), ("PCM_24", 2), ("PCM_U8", 1)):
        samples, rate = parsed(written("WAV", kind, channels))
        assert (samples.shape, rate) == ((channels, 1600), RATE)
        np.testing.assert_allclose(samples[0], tone(), atol=0.01)
    for cut in (0, 11, 40, 60, 1000):
        with contextlib.suppress(ValueError, struct.error):
            parsed(written("WAV", "PCM_16")[:cut])
            raise AssertionError(cut)
