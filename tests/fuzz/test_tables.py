"""Lists of samples and annotations: what is read is what Python's own readers read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tests.support import corpora
from tests.support.fuzzing import ODD, Judge, odd_json, spoilt

from modalxai.biosignals import read_e4
from modalxai.datasets import MELD, AIHubMultimodalVideo, KEMDy19, KEMDy20, ManifestCorpus

Judges = Callable[..., Judge]
ROWS = [
    {"id": "u1", "audio": "a.wav", "text": "참 잘했다.", "label": "joy", "speaker": "s1"},
    {"id": "u2", "audio": "b.wav", "text": 'so, "well"', "label": "anger", "speaker": "s2"},
    {"id": "u3", "audio": "", "text": "no sound", "label": "joy", "speaker": "s1"},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", np.full(400, 0.25), 8000)
    return tmp_path


def table() -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(ROWS[0]))
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue().encode()


def odd_tables(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """What spreadsheets, editors and attackers make of a csv file."""
    text = raw.decode()
    for encoding in ("utf-16", "utf-32", "cp949", "utf-8-sig", "utf-7"):
        yield encoding, text.encode(encoding)
    lines = text.split("\r\n")
    yield "no header", "\r\n".join(lines[1:]).encode()
    yield "header only", lines[0].encode()
    yield "old line ends", text.replace("\r\n", "\r").encode()
    yield "semicolons", text.replace(",", ";").encode()
    yield "tabs", text.replace(",", "\t").encode()
    yield "an open quote", text.replace("참", '"참').encode()
    yield "a huge cell", text.replace("참", "x" * 300_000).encode()
    yield "a thousand columns", "\r\n".join(line + ",x" * 1000 for line in lines if line).encode()
    for name in lines[0].split(","):
        yield f"{name} twice", text.replace("speaker", name, 1).encode()
        yield f"{name} not there", text.replace(name, "other", 1).encode()
        yield f"{name} with a space", text.replace(name, f"{name} ", 1).encode()
    for cell in ("../a.wav", "/etc/hostname", "a.wav\0", "C:\\a.wav", "~/a.wav", ".", "a.wav/x",
                 "a" * 5000, "\\\\host\\a.wav", "con", "file:///a.wav", "\udcff"):  # fmt: skip
        yield f"audio {cell[:20]!r}", text.replace("a.wav", cell, 1).encode("utf-8", "replace")
    for cell in ("u2", "", " ", "\0", "x" * 1000, "=1+1"):
        yield f"id {cell[:20]!r}", text.replace("u1", cell, 1).encode()
    for cell in ("\0", "\x1b[2J", "\u202e", "\ufffe", "", '""'):
        yield f"text {cell!r}", text.replace("참 잘했다.", cell, 1).encode()


def same(corpus: ManifestCorpus, raw: bytes) -> bool:
    """Whether a corpus holds what the csv module reads."""
    read = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True))
    samples = list(corpus)
    for row, sample in zip(read, samples, strict=True):
        told = {name: value if value.strip() else None for name, value in row.items()}
        assert sample["id"] == told["id"]
        assert sample["text"] == told["text"]
        assert sample["speaker"] == told["speaker"]
        assert sample["labels"] == ({told["label"]: 1} if told["label"] else {})
        assert (sample["audio"] is None) == (told["audio"] is None)
    return True


def test_csv(judge: Judges, folder: Path) -> None:
    path = folder / "manifest.csv"
    spoiled = [*spoilt(table(), 96, 11), *odd_tables(table())]
    with judge("csv manifests", 130, folder) as tries:
        for what, raw in spoiled:
            path.write_bytes(raw)

            def use() -> ManifestCorpus:
                corpus = ManifestCorpus(path)
                list(corpus)
                return corpus

            tries(what, use, lambda corpus, raw=raw: same(corpus, raw))


def test_json_lines(judge: Judges, folder: Path) -> None:
    path = folder / "manifest.jsonl"
    full = [dict(row, extra={"a": [1, 2.5]}, label={"joy": 0.5, "anger": 0.5}) for row in ROWS[:2]]
    lines = [json.dumps(row, ensure_ascii=False) for row in full]

    def use() -> list[dict[str, Any]]:
        return [dict(sample) for sample in ManifestCorpus(path)]

    def legal(samples: list[dict[str, Any]], text: str) -> bool:
        read = [json.loads(line) for line in text.split("\n") if line.strip()]
        for row, sample in zip(read, samples, strict=True):
            blank = {k: None if isinstance(v, str) and not v.strip() else v for k, v in row.items()}
            assert sample["id"] == str(blank.get("id"))
            assert isinstance(blank.get("text"), str | None)
            assert sample["text"] == blank.get("text")
            assert isinstance(sample["speaker"], str | None)
            assert all(isinstance(name, str) for name in sample["labels"])
        return True

    with judge("JSON lines", 150, folder) as tries:
        for what, text in odd_json(full[0], 84, 12):
            whole = f"{text}\n{lines[1]}"
            path.write_bytes(whole.encode("utf-8", "surrogatepass"))
            tries(what, use, lambda found, whole=whole: legal(found, whole))
        for what, raw in spoilt("\n".join(lines).encode(), 72, 13):
            path.write_bytes(raw)
            tries(what, use, lambda found, raw=raw: legal(found, raw.decode("utf-8-sig")))


def test_parquet(judge: Judges, folder: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = folder / "manifest.parquet"
    sound = [{"bytes": (folder / "a.wav").read_bytes(), "path": None}] * 2
    rows = {"id": ["u1", "u2"], "text": ["참", "no"], "label": ["joy", "anger"], "audio": sound}
    parquet.write_table(arrow.table(rows), path)
    raw = path.read_bytes()

    def use() -> list[Any]:
        return list(ManifestCorpus(path, speaker=None))

    def legal(samples: list[Any]) -> bool:
        # pyarrow reads the same cells; Parquet has no checksum of them that it asks for.
        for row, sample in zip(parquet.read_table(path).to_pylist(), samples, strict=True):
            assert sample["id"] == row["id"]
            assert sample["text"] == row["text"] or not row["text"].strip()
        return True

    with judge("Parquet manifests", 84, folder) as tries:
        for what, changed in spoilt(raw, 72, 14):
            path.write_bytes(changed)
            tries(what, use, legal)
        for where in (
            "../a.wav",
            "/etc/hostname",
            "nowhere.wav",
            "a\0.wav",
            "",
            ".",
            "manifest.parquet",
        ):
            cells = [{"bytes": None, "path": where}, sound[0]]
            parquet.write_table(arrow.table({**rows, "audio": cells}), path)
            tries(f"a path inside: {where!r}", use)
        for odd in (
            ["x", "y"],
            [1, 2],
            [[1], [2]],
            [{"array": [[1.0]], "sampling_rate": 8}] * 2,
            [b"x"] * 2,
        ):
            parquet.write_table(arrow.table({**rows, "audio": odd}), path)

            def heard() -> Any:
                from modalxai import audio

                return [audio.prepare(sample["audio"], 8000) for sample in use()]

            tries(f"audio {odd!r:.30}", heard)


def test_values_of_rows(judge: Judges, folder: Path) -> None:
    """Every odd value in every column of a list in memory's own form."""
    path = folder / "rows.jsonl"
    with judge("odd cells", 80, folder) as tries:
        for column in ("audio", "text", "label", "speaker"):
            for value in ODD:
                path.write_text(json.dumps(dict(ROWS[0], **{column: value})), encoding="utf-8")

                def use() -> Any:
                    (sample,) = ManifestCorpus(path)
                    return sample

                def legal(sample: Any, column: str = column, value: Any = value) -> bool:
                    if column == "audio":
                        return value is None or not str(value).strip()
                    blank = isinstance(value, str) and not value.strip()
                    if column == "label":
                        return all(isinstance(name, str) for name in sample["labels"])
                    return sample[column] == (None if blank else value)

                tries(f"{column} {value!r:.40}", use, legal)


def said(raw: bytes, key: int | tuple[int, ...], value: int) -> dict[Any, str]:
    """Which label the csv module finds beside each name."""
    rows = csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True)
    keys = key if isinstance(key, tuple) else (key,)
    return {
        tuple(cells[at].strip() for at in keys): cells[value].strip().casefold()
        for cells in rows
        if len(cells) > max(*keys, value)
    }


def test_meld(judge: Judges, tmp_path: Path) -> None:
    rows = [
        corpora.meld_row(0, turn, "Hey, you!", word)
        for turn, word in enumerate(("joy", "anger", "fear"))
    ]
    folder = corpora.meld(tmp_path, {"dev": rows})
    path = folder / "dev_sent_emo.csv"
    with judge("MELD", 48, folder) as tries:
        for what, raw in spoilt(path.read_bytes(), 48, 15):
            path.write_bytes(raw)

            def legal(corpus: MELD, raw: bytes = raw) -> bool:
                found = said(raw, (5, 6), 3)
                return all(
                    found[str(dialogue), str(turn)] == label
                    for dialogue, turn, label in zip(
                        *map(corpus.column, ("dialogue", "turn", "label")), strict=True
                    )
                )

            tries(what, lambda: MELD(folder, "dev", audio=False), legal)


@pytest.mark.parametrize("kind", ["19", "20"])
def test_kemdy(kind: str, judge: Judges, tmp_path: Path) -> None:
    name = "Sess01_script01_User002M_00{}" if kind == "20" else "Sess01_script01_M00{}"
    words = ("happy", "sad", "angry")
    if kind == "20":
        rows = [corpora.kemdy20_row(name.format(n), word) for n, word in enumerate(words)]
        folder, made = corpora.kemdy20(tmp_path / "k", {1: rows}), KEMDy20
        path, at = folder / "annotation/Sess01_eval.csv", 3
    else:
        rows = [corpora.kemdy19_row(name.format(n), word) for n, word in enumerate(words)]
        folder, made = corpora.kemdy19(tmp_path / "k", {(1, "M"): rows}), KEMDy19
        path, at = folder / "annotation/Session01_M_res.csv", 9
    assert len(made(folder)) == 3
    raw = path.read_bytes()
    with judge(f"KEMDy{kind}", 48, folder) as tries:
        for what, changed in spoilt(raw, 48, 16):
            path.write_bytes(changed)

            def legal(corpus: Any, raw: bytes = changed) -> bool:
                # Those that one byte made another text are cp949, as the corpus may be.
                try:
                    found = said(raw, at, at + 1)
                except UnicodeDecodeError:
                    found = said(raw.decode("cp949").encode(), at, at + 1)
                return all(
                    found[(name,)] == label
                    for name, label in zip(*map(corpus.column, ("id", "label")), strict=True)
                )

            tries(what, lambda: made(folder), legal)


def test_ai_hub(judge: Judges, tmp_path: Path) -> None:
    word = {"image": "neutral", "sound": "angry", "text": "happy", "multimodal": "angry"}
    clip = corpora.aihub_clip(13, {10: [corpora.entry("1", "참 잘했다.", 10, 40, **word)]})
    path = tmp_path / "라벨데이터/clip_13.json"
    corpora.write_clip(path, clip)
    corpora.outline_mp4(tmp_path / "원천데이터/0013.MP4")

    def use() -> Any:
        return AIHubMultimodalVideo(tmp_path, audio=False)

    def legal(corpus: Any) -> bool:
        inner = json.loads(path.read_bytes())["data"]
        (person,) = [one for frame in inner.values() for one in frame.values()]
        for sample in corpus:
            assert sample["text"] == person["text"]["script"]
            if sample["labels"]:  # nothing where nobody said a word that can be read
                assert list(sample["labels"]) == [person["emotion"]["multimodal"]["emotion"]]
            assert sample["speaker"].endswith(str(person["person_id"]))
        return True

    with judge("AI-Hub", 60, tmp_path) as tries:
        for what, text in odd_json(clip, 70, 17):
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
            tries(what, use, legal)


def test_wristbands(judge: Judges, tmp_path: Path) -> None:
    path, raw = tmp_path / "EDA.csv", b"1557000000.0\r\n4.0\r\n" + b"0.25\r\n0.5\r\n" * 20

    def legal(found: Any, raw: bytes) -> bool:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        lines = [line for line in text.split("\n") if line.strip()]
        numbers = np.array([float(line) for line in lines[2:]])
        assert found.rate == float(lines[1])
        return bool(np.array_equal(found.values[0], numbers, equal_nan=True))

    with judge("signals of a wristband", 60, tmp_path) as tries:
        for what, changed in spoilt(raw, 60, 18):
            path.write_bytes(changed)
            tries(what, lambda: read_e4(path), lambda found, raw=changed: legal(found, raw))
