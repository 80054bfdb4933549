"""Paths stay in their folder, archives stay packed, sound stays within a limit."""

from __future__ import annotations

import ast
import io
import json
import ntpath
import os
import posixpath
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tests.safety.test_code import calls, imports
from tests.support import corpora

from modalxai import audio, sound_files
from modalxai.datasets import ManifestCorpus, tables, video
from modalxai.encoders.conversion import convert
from modalxai.errors import CheckpointError, InputError, ModalxaiError

OUT = (
    "../secret.wav", "a/../../secret.wav", "./../secret.wav", "/etc/passwd", "//etc/passwd", "..",
    "../corpus-twin/secret.wav", "a/../../corpus-twin/secret.wav", "a\0.wav", "../secret.wav\0.wav",
)  # fmt: skip
LOST = (
    "C:\\secret.wav", "..\\secret.wav", "\\\\host\\share\\secret.wav", "~/secret.wav", "$HOME/x",
    "file:///etc/passwd", "http://a.example/x.wav", "%2e%2e/secret.wav", "‥/secret.wav", ".", "/.",
    "x" * 5000, "CON", "a.wav/../b.wav/",
)  # fmt: skip
"""No way out here, and no recording either."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus beside recordings that it may not reach."""
    place = tmp_path / "corpus"
    for at in (place, tmp_path, tmp_path / "corpus-twin"):
        at.mkdir(exist_ok=True)
        soundfile.write(at / "secret.wav", np.zeros(400), 8000)
    soundfile.write(place / "a.wav", np.zeros(400), 8000)
    return place


@pytest.mark.parametrize("path", [*OUT, *LOST])
@pytest.mark.parametrize("form", ["csv", "jsonl", "a path inside a cell", "parquet"])
def test_a_manifest_reaches_nothing_beside_its_folder(form: str, path: str, folder: Path) -> None:
    if form == "csv":
        (folder / "m.csv").write_text(f'id,audio,text\nu1,"{path}",so\n', encoding="utf-8")
    elif form == "parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        cells = {"id": ["u1"], "audio": [{"bytes": None, "path": path}], "text": ["so"]}
        parquet.write_table(arrow.table(cells), folder / "m.parquet")
    else:
        cell: Any = path if form == "jsonl" else {"path": path}
        row = json.dumps({"id": "u1", "audio": cell, "text": "so"})
        (folder / "m.jsonl").write_text(row + "\n", encoding="utf-8")
    (listed,) = [one for one in folder.iterdir() if one.stem == "m"]

    def read() -> Any:
        corpus = ManifestCorpus(listed, label=None, speaker=None)
        return corpus[0]

    with pytest.raises(InputError) as caught:
        read()
    if path in OUT:
        assert "leads out" in caught.value.wrong


def test_the_bytes_of_a_cell_are_no_path(folder: Path) -> None:
    for path in (folder.parent / "secret.wav", "../secret.wav", folder / "a.wav", ""):
        row = {"id": "u1", "audio": {"bytes": str(path), "path": "a.wav"}, "text": "so"}
        (folder / "m.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
        with pytest.raises(InputError, match="bytes"):
            ManifestCorpus(folder / "m.jsonl", label=None, speaker=None)[0]


def test_what_lies_inside_is_read_however_it_is_written(folder: Path) -> None:
    for cell in ("a.wav", "./a.wav", "b/../a.wav", str(folder / "a.wav")):
        row = json.dumps({"id": "u1", "audio": {"path": cell}, "text": "so"})
        (folder / "m.jsonl").write_text(row)
        assert ManifestCorpus(folder / "m.jsonl", label=None, speaker=None)[0]["audio"] is not None


def test_links_in_the_folder_are_the_users_own(folder: Path, tmp_path: Path) -> None:
    """Nothing is unpacked, so that no archive can have put them there."""
    (folder / "linked.wav").symlink_to(tmp_path / "secret.wav")
    (folder / "ring.wav").symlink_to(folder / "ring.wav")
    (folder / "m.csv").write_text("id,audio,text\nu1,linked.wav,so\n")
    assert ManifestCorpus(folder / "m.csv", label=None, speaker=None)[0]["audio"] is not None
    (folder / "m.csv").write_text("id,audio,text\nu1,ring.wav,so\n")
    with pytest.raises(InputError, match="missing"):
        ManifestCorpus(folder / "m.csv", label=None, speaker=None)


class Windows:
    """What of the os module `tables.inside` uses, as it is on Windows."""

    path = ntpath


@pytest.mark.parametrize(
    "name",
    [
        "D:\\secret.wav", "..\\secret.wav", "C:\\corpus\\..\\x.wav", "\\\\host\\share\\x.wav",
        "\\x.wav", "C:\\corpus-twin\\x.wav", "a\\..\\..\\x.wav", "../x.wav", "d:x.wav",
    ],
)  # fmt: skip
def test_drives_and_backslashes_of_windows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "os", Windows)
    with pytest.raises(InputError, match="leads out"):
        tables.inside(Path("C:\\corpus"), name, "m.csv, line 2")
    monkeypatch.setattr(tables, "os", os)
    assert os.path is posixpath or os.name == "nt"


def test_an_index_of_weights_stays_in_its_folder(tmp_path: Path) -> None:
    """Of several files, also where an index names links or absolute paths."""
    place = tmp_path / "model"
    place.mkdir()
    torch.save({"a": torch.zeros(1)}, tmp_path / "secret.bin")
    for name in (
        "../secret.bin",
        str(tmp_path / "secret.bin"),
        "..",
        "",
        "\0",
        "a/../../secret.bin",
    ):
        index = {"weight_map": {"a": name}}
        (place / "pytorch_model.bin.index.json").write_text(json.dumps(index))
        with pytest.raises(CheckpointError):
            convert("transformers-text", place)
        assert not (place / "model.safetensors").exists()


def test_names_of_modalities_are_no_paths(tmp_path: Path) -> None:
    from toys import speech_model

    import modalxai as mx

    speech_model().save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    record = json.loads(path.read_text())
    for name in ("../audio", "/audio", "..", "audio/../audio", "a\0"):
        parts = dict(record["parts"])
        parts[f"encoders/{name}"] = parts["encoders/audio"]
        path.write_text(json.dumps(record | {"modalities": [name, "text"], "parts": parts}))
        with pytest.raises(CheckpointError, match="modalities"):
            mx.EmotionModel.from_pretrained(tmp_path / "model")


def test_no_archive_is_ever_unpacked() -> None:
    """So there are no members that could leave their folder, and no zip bombs."""
    packers = {"zipfile", "tarfile", "gzip", "bz2", "lzma", "zlib", "zipimport", "rarfile", "py7zr"}
    assert not [(file, name) for file, name in imports() if name.split(".")[0] in packers]
    words = ("unpack_archive", "extractall", "decompress", "ZipFile", "TarFile")
    assert not [(file, name) for file, name, _ in calls() if name.split(".")[-1] in words]
    # pandas and numpy unpack by themselves what is given to these.
    readers = ("read_csv", "read_pickle", "read_excel", "genfromtxt", "loadtxt")
    assert not [(file, name) for file, name, _ in calls() if name.split(".")[-1] in readers]
    # Programs that are started get their arguments as a list, through no shell.
    starts = [(file, node) for file, name, node in calls() if name.startswith("subprocess.")]
    assert {file for file, _ in starts} <= {
        "src/modalxai/datasets/video.py",
        "src/modalxai/datasets/tonebench/espeak.py",
    }
    for _, node in starts:
        assert not isinstance(node.args[0], ast.Constant | ast.JoinedStr)


# --- sound -------------------------------------------------------------------------------------


def quiet_hours(path: Path, seconds: int, form: str = "FLAC") -> None:
    """Silence, which packs a thousandfold."""
    soundfile.write(path, np.zeros(seconds * 8000, np.int16), 8000, format=form)


@pytest.mark.parametrize("form", ["FLAC", "OGG", "WAV", "MP3"])
def test_sound_that_unpacks_to_more_than_the_limit_is_refused(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a.{form.lower()}"
    quiet_hours(path, 60, form)
    need = 60 * 8000 * 4
    monkeypatch.setenv(sound_files.VARIABLE, str(need // 2))
    for read in (lambda: audio.read(path), lambda: sound_files.load(path.read_bytes())):
        with pytest.raises(InputError, match="too large once decoded") as caught:
            read()
        assert str(need // 2) in caught.value.expected
        assert sound_files.VARIABLE in caught.value.mend
    monkeypatch.setenv(sound_files.VARIABLE, str(need + 8000 * 4))
    assert audio.read(path).waveform.shape[-1] >= 60 * 8000
    monkeypatch.delenv(sound_files.VARIABLE)
    assert audio.read(path).waveform.shape[-1] >= 60 * 8000


def test_the_mend_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet_hours(tmp_path / "a.flac", 10)
    monkeypatch.setenv(sound_files.VARIABLE, "1000")
    with pytest.raises(InputError) as caught:
        audio.read(tmp_path / "a.flac")
    name, _, value = caught.value.mend.rpartition("export ")[2].partition("=")
    monkeypatch.setenv(name, value)
    assert audio.read(tmp_path / "a.flac").waveform.shape == (1, 80_000)


@pytest.mark.parametrize("value", ["many", "-1", "1e9", "1.5", "٣", "0x10"])
def test_a_limit_that_is_none_is_told(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet_hours(tmp_path / "a.wav", 1, "WAV")
    monkeypatch.setenv(sound_files.VARIABLE, value)
    with pytest.raises(InputError, match="no limit"):
        audio.read(tmp_path / "a.wav")


def test_the_limit_is_hours_of_speech() -> None:
    assert sound_files.largest() == sound_files.LARGEST
    assert sound_files.LARGEST / 4 / 16_000 / 3600 > 4


def test_the_sound_of_a_clip_has_the_same_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    corpora.tone_mp4(tmp_path / "a.mp4", (440.0, 880.0))
    whole = video.read(tmp_path / "a.mp4")
    assert whole is not None
    monkeypatch.setenv(sound_files.VARIABLE, "64000")
    with pytest.raises(InputError, match="too large once decoded"):
        video.read(tmp_path / "a.mp4")


def test_a_cut_recording_is_no_shorter_recording(tmp_path: Path) -> None:
    for form, kind in (("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "PCM_24"), ("FLAC", "PCM_16")):
        file = io.BytesIO()
        # Several of flac's frames of 4096 samples, so that it is cut between and inside them.
        soundfile.write(file, np.sin(np.arange(20_000) / 9) / 2, 8000, kind, format=form)
        raw = file.getvalue()
        for end in range(0, len(raw), max(1, len(raw) // 40)):
            (tmp_path / "a").write_bytes(raw[:end])
            with pytest.raises(ModalxaiError):
                audio.read(tmp_path / "a")


@pytest.mark.parametrize("form", ["FLAC", "MP3"])
def test_a_decoder_that_stops_early_is_not_believed(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some versions of libsndfile do, without an error."""
    quiet_hours(tmp_path / "a", 1, form)
    whole = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *a, **k: whole(*a, **k)[:400])
    if form == "MP3":  # its length is an estimate
        assert audio.read(tmp_path / "a").waveform.shape[-1] == 400
    else:
        with pytest.raises(InputError, match="broken off"):
            audio.read(tmp_path / "a")


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFF000])
def test_sound_that_was_streamed_has_no_length_and_is_read(size: int, tmp_path: Path) -> None:
    """Programs that write to a pipe cannot go back to the head."""
    file = io.BytesIO()
    soundfile.write(file, np.full(400, 0.25), 8000, "PCM_16", format="WAV")
    raw = bytearray(file.getvalue())
    raw[4:8] = raw[40:44] = size.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(raw)
    if size:
        assert audio.read(tmp_path / "a.wav").waveform.shape == (1, 400)
    else:  # libsndfile takes 0 at its word, and finds no sound
        with pytest.raises(InputError, match="its head is wrong"):
            audio.read(tmp_path / "a.wav")
        raw[4:8] = (8).to_bytes(4, "little")  # but here it looks for itself
        (tmp_path / "a.wav").write_bytes(raw)
        assert audio.read(tmp_path / "a.wav").waveform.shape == (1, 400)


@pytest.mark.parametrize("after", [b"", b"LIST\4\0\0\0INFO"])
def test_a_recording_that_is_empty_is_told_from_one_that_was_streamed(
    after: bytes, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 8000, "PCM_16")
    with (tmp_path / "a.wav").open("ab") as file:
        file.write(after)
    assert audio.read(tmp_path / "a.wav").waveform.shape == (1, 0)


def test_flac_that_was_streamed_is_refused_by_its_reason(tmp_path: Path) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.full(4000, 0.25), 8000, format="FLAC")
    raw = bytearray(file.getvalue())
    raw[21] &= 0xF0  # 36 bits: how many samples there are
    raw[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(raw)
    with pytest.raises(InputError, match="its head is wrong") as caught:
        audio.read(tmp_path / "a.flac")
    assert "length" in caught.value.expected


@pytest.mark.parametrize("kind", ["GSM610", "G721_32", "NMS_ADPCM_16", "ULAW", "IMA_ADPCM"])
def test_recordings_of_telephones_are_read(kind: str, tmp_path: Path) -> None:
    """Some of their codecs cannot be sought in."""
    tone = np.sin(np.arange(8000) / 9) / 2
    try:
        soundfile.write(tmp_path / "a.wav", tone, 8000, kind)
    except (ValueError, soundfile.SoundFileError):
        pytest.skip(f"this libsndfile writes no {kind}")
    wanted, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    for source in (tmp_path / "a.wav", (tmp_path / "a.wav").read_bytes()):
        np.testing.assert_array_equal(sound_files.load(source)[0][0], wanted)


def test_a_rate_that_was_changed_is_noticed(tmp_path: Path) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.full(400, 0.25), 8000, "PCM_16", format="WAV")
    raw = bytearray(file.getvalue())
    raw[24:28] = (16_000).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(raw)
    with pytest.raises(InputError, match="its head is wrong"):
        audio.read(tmp_path / "a.wav")
