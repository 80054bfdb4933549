from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest
import torch
from tests.support import corpora

from modalxai.datasets import video
from modalxai.errors import DependencyError, InputError
from modalxai.types import Audio

HERTZ = (500.0, 1000.0, 2000.0)


def backends() -> list[str]:
    return ["pyav", *(["program"] if shutil.which("ffmpeg") else [])]


@pytest.fixture(params=backends())
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip("av")
    if request.param == "program":
        monkeypatch.setattr(video, "_pyav", lambda: None)
    return str(request.param)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("av")
    path = tmp_path_factory.mktemp("clip") / "dia0_utt0.mp4"
    corpora.tone_mp4(path, HERTZ)
    return path


def pitch(audio: Audio) -> float:
    spectrum = torch.fft.rfft(audio.waveform * torch.hann_window(audio.waveform.numel())).abs()
    return float(spectrum.argmax()) * audio.sample_rate / audio.waveform.numel()  # type: ignore[operator]


def test_the_whole_sound_of_a_clip(backend: str, clip: Path) -> None:
    audio = video.read(clip)
    assert audio is not None
    assert audio.sample_rate == 16_000
    assert audio.waveform.shape[0] == pytest.approx(48_000, abs=1_100)
    assert audio.waveform.dtype == torch.float32
    assert float(audio.waveform.abs().max()) == pytest.approx(0.5, abs=0.1)
    assert video.frame_rate(clip) == 25


@pytest.mark.parametrize("second", [0, 1, 2])
def test_a_stretch_holds_its_own_tone(backend: str, clip: Path, second: int) -> None:
    audio = video.read(clip, second + 0.1, second + 0.9)
    assert audio is not None
    assert audio.waveform.shape[0] == pytest.approx(12_800, abs=2)
    assert pitch(audio) == pytest.approx(HERTZ[second], abs=5)


def test_a_stretch_equals_the_same_part_of_the_whole(backend: str, clip: Path) -> None:
    whole, part = video.read(clip), video.read(clip, 1.6, 2.4)
    assert whole is not None
    assert part is not None
    expected = whole.waveform[round(1.6 * 16_000) :][: part.waveform.shape[0]]
    torch.testing.assert_close(part.waveform, expected, atol=1e-3, rtol=0)


def test_no_sound_and_beyond_the_end_are_none(backend: str, clip: Path, tmp_path: Path) -> None:
    silent = tmp_path / "silent.mp4"
    corpora.tone_mp4(silent, ())
    assert video.read(silent) is None
    assert video.frame_rate(silent) == 25
    assert video.read(clip, 100, 101) is None
    late = video.read(clip, 2.5, 100)
    assert late is not None
    assert late.waveform.shape[0] == pytest.approx(8_000, abs=1_100)


def test_what_cannot_be_decoded_is_named(backend: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no clip at all, only words" * 100)
    with pytest.raises(InputError, match=r"a\.mp4 cannot be decoded"):
        video.read(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=r"b\.mp4 cannot be read"):
        video.read(tmp_path / "b.mp4")


def test_neither_installed_is_a_plain_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpora.outline_mp4(tmp_path / "a.mp4")
    monkeypatch.setattr(video, "_pyav", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    for call in (video.read, video.frame_rate):
        with pytest.raises(DependencyError, match=r"modalxai\[video\]"):
            call(tmp_path / "a.mp4")


FAKE = """#!{python}
import struct, sys
place = sys.argv[sys.argv.index("-i") + 1]
if sys.argv[-1] != "-":
    sys.exit("  Stream #0:0: Video: h264, yuv420p, 64x64, 29.97 fps, 30 tbr")
if "mute" in place:
    sys.exit("Stream map '0:a:0' matches no streams.")
if "torn" in place:
    sys.exit("Invalid data found when processing input")
sys.stdout.buffer.write(b".snd" + struct.pack(">5I", 24, 0xFFFFFFFF, 3, 8000, 1))
sys.stdout.buffer.write(struct.pack(">3h", 0, 16384, -32768))
"""


def test_what_the_program_writes_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(FAKE.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(video, "_pyav", lambda: None)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for name in ("good", "mute", "torn"):
        corpora.outline_mp4(tmp_path / f"{name}.mp4")
    audio = video.read(tmp_path / "good.mp4")
    assert audio is not None
    assert audio.sample_rate == 8000
    assert audio.waveform.tolist() == [0, 0.5, -1]
    assert video.read(tmp_path / "mute.mp4") is None
    assert video.frame_rate(tmp_path / "good.mp4") == 29.97
    with pytest.raises(InputError, match=r"(?s)torn\.mp4 cannot be decoded.*Invalid data"):
        video.read(tmp_path / "torn.mp4")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"words that are no clip", "no mp4 file"),
        (b"\0\0\0\x08ftyp\0\0\0\x08mdat", "no index (moov)"),
        (b"\0\0\0\x08ftyp\0\0\0\x08moov\0\0\0\x09mdat", "broken off, or overwritten"),
        (b"\0\0\0\x08ftyp\0\0\0\x08moov\0\0", "broken off, or overwritten"),
        (b"\0\0\0\x08ftyp\0\0\0\x03moov", "broken off, or overwritten"),
        (b"\0\0\0\x08ftyp\0\0\0\x08moov\0\0\0\0mdat12", None),
        (b"\0\0\0\x08ftyp\0\0\0\x01moov\0\0\0\0\0\0\0\x10", None),
        (b"\0\0\0\x08ftyp\0\0\0\x08moov", None),
    ],
)
def test_the_outline_of_a_file_tells_a_broken_download(
    tmp_path: Path, content: bytes, said: str | None
) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    assert video.fault(tmp_path / "a.mp4") == said


def test_a_cut_clip_has_a_fault_wherever_it_is_cut(clip: Path, tmp_path: Path) -> None:
    assert video.fault(clip) is None
    assert video.fault(tmp_path / "none.mp4") == "absent"
    whole = clip.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        (tmp_path / "cut.mp4").write_bytes(whole[: int(share * len(whole))])
        assert video.fault(tmp_path / "cut.mp4") is not None
