from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile

from modalxai.datasets import ManifestCorpus
from modalxai.errors import InputError

KOREAN = Path("/nowhere")
for parent in Path(__file__).resolve().parents:
    if (parent / "shared/data/korean_emotional_speech/manifest.csv").is_file():
        KOREAN = parent / "shared/data/korean_emotional_speech/manifest.csv"

HEADER = "id,audio,text,label,speaker,scene\n"
ROWS = 'u1,a.wav,"참, 잘했다.",joy,s1,1\nu2,,missing sound,anger,s2,2\nu3,b.wav,,joy,s1,2\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(("a.wav", "b.wav")):
        soundfile.write(tmp_path / name, np.full(800, 0.1 * (index + 1), "float32"), 16_000)
    return tmp_path


def opened(folder: Path, content: str | bytes, **options: object) -> ManifestCorpus:
    path = folder / "m.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return ManifestCorpus(path, **options)  # type: ignore[arg-type]


def refusal(folder: Path, content: str | bytes, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        opened(folder, content, **options)
    return str(caught.value)


def test_samples_hold_every_column(folder: Path) -> None:
    corpus = opened(folder, HEADER + ROWS)
    first, second, third = (corpus[index] for index in range(3))
    audio = first.pop("audio")
    assert audio.sample_rate == 16_000
    assert audio.waveform.shape == (1, 800)
    assert first == {
        "id": "u1",
        "text": "참, 잘했다.",
        "labels": {"joy": 1},
        "speaker": "s1",
        "scene": "1",
    }
    assert second["audio"] is None
    assert third["text"] is None
    assert third["audio"].waveform.mean() == pytest.approx(0.2, abs=1e-3)
    assert corpus.labels == ("anger", "joy")
    assert len(corpus) == 3
    with pytest.raises(IndexError):
        corpus[3]


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(folder: Path) -> None:
    plain = opened(folder, HEADER + ROWS)
    other = opened(folder, b"\xef\xbb\xbf" + (HEADER + ROWS).replace("\n", "\r\n").encode())
    for name in ("id", "text", "label", "scene"):
        assert other.column(name) == plain.column(name)


def test_recordings_are_read_on_access_only(folder: Path) -> None:
    corpus = opened(folder, HEADER + ROWS)
    (folder / "b.wav").write_bytes(b"no sound")
    assert corpus[0]["id"] == "u1"
    with pytest.raises(InputError, match=r"m\.csv, line 4: .*b\.wav cannot be read"):
        corpus[2]


def test_where_selects_by_value_or_values(folder: Path) -> None:
    corpus = opened(folder, HEADER + ROWS)
    assert corpus.where(speaker="s1").column("id") == ["u1", "u3"]
    assert corpus.where(label=["anger", "joy"], scene="2").column("id") == ["u2", "u3"]
    assert corpus.where(audio=None).column("id") == ["u2"]
    assert corpus.where(label="joy").labels == corpus.labels
    with pytest.raises(InputError, match="no row with speaker = 's9'"):
        corpus.where(speaker="s9")
    with pytest.raises(InputError, match="no column 'sex'"):
        corpus.where(sex="female")
    with pytest.raises(InputError, match="no row is left"):
        corpus.where(speaker="s2", scene="1")


def test_a_corpus_survives_pickling(folder: Path) -> None:
    corpus = opened(folder, HEADER + ROWS)
    assert pickle.loads(pickle.dumps(corpus))[1] == corpus[1]


def test_columns_may_have_other_names_or_be_absent(folder: Path) -> None:
    corpus = opened(
        folder,
        "path,words,emotion\na.wav,hi,joy\n,ho,\n",
        id=None,
        audio="path",
        text="words",
        label="emotion",
        speaker=None,
    )
    assert corpus.column("id") == ["a.wav", "line 3"]
    assert corpus[1] == {
        "id": "line 3",
        "audio": None,
        "text": "ho",
        "labels": {},
        "speaker": None,
    }


def test_root_is_where_the_paths_start(folder: Path) -> None:
    (folder / "lists").mkdir()
    path = folder / "lists/m.csv"
    path.write_text(HEADER + ROWS, encoding="utf-8")
    with pytest.raises(InputError, match="2 recordings are missing"):
        ManifestCorpus(path)
    assert ManifestCorpus(path, root=folder)[0]["audio"] is not None


def test_the_given_order_of_labels_is_kept(folder: Path) -> None:
    corpus = opened(folder, HEADER + ROWS, labels=["joy", "fear", "anger"])
    assert corpus.labels == ("joy", "fear", "anger")


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("", {}, "no rows"),
        (HEADER, {}, "no rows"),
        (HEADER + ROWS, {"speaker": "who"}, "column 'who' is missing"),
        (HEADER + ROWS, {"speaker": "text"}, "one column plays two parts"),
        (HEADER + ROWS, {"text": "scene"}, "columns that cannot be told apart"),
        (HEADER + ROWS, {"labels": ["joy"]}, "line 3: label 'anger' is outside the set"),
        (HEADER + ROWS + "u1,,again,joy,s1,1\n", {}, "line 5: id 'u1' occurs twice"),
        (HEADER + ROWS + "u4,,well, yes,joy,s1,1\n", {}, "line 5: a row with 7 cells"),
        (HEADER + ROWS + "u4,,short\n", {}, "line 5: a row with 3 cells"),
        (HEADER + ROWS + "u4, ,,joy,s1,1\n", {}, "line 5: neither audio nor text"),
        (HEADER + ROWS + ",,hello,joy,s1,1\n", {}, "line 5: a row without an id"),
        (HEADER + ROWS + "\nu4,lost.wav,,joy,s1,1\n", {}, "line 6: 1 recordings are missing"),
        (HEADER + ROWS + 'u4,,"a "b" c",joy,s1,1\n', {}, "line 5: not a row of csv"),
        (HEADER + 'u1,,"two\nlines",joy,s1,1\nu1,,x,joy,s1,1\n', {}, "line 4: id 'u1'"),
        (HEADER.replace("scene", "labels") + ROWS, {}, "columns that cannot be told apart"),
        (HEADER.replace("scene", "targets") + ROWS, {}, "columns that cannot be told apart"),
        (HEADER.replace("scene", "id") + ROWS, {}, "columns that cannot be told apart"),
        (HEADER.replace("scene", " ") + ROWS, {}, "columns that cannot be told apart"),
        ((HEADER + ROWS).encode("cp949"), {}, "line 2: not UTF-8"),
    ],
)
def test_a_bad_file_is_refused_by_line_and_mend(
    folder: Path, content: str | bytes, options: dict[str, object], said: str
) -> None:
    message = refusal(folder, content, **options)
    assert "m.csv" in message
    assert said in message
    assert "mend: " in message


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        ManifestCorpus(tmp_path / "none.csv")


@pytest.mark.skipif(not KOREAN.is_file(), reason="the Korean recordings are not here")
def test_the_korean_recordings_open() -> None:
    corpus = ManifestCorpus(KOREAN, id=None, audio="path", text="transcript", label="emotion")
    assert len(corpus) == 160
    assert corpus.labels == ("angry", "happy", "neutral", "sad")
    plain = corpus.where(part="plain")
    assert set(plain.column("speaker")) == {"ema", "emb", "emf"}
    sample = plain[0]
    assert sample["audio"].sample_rate == 16_000
    assert sample["gender"] == "female"
    assert sample["audio"].waveform.shape[-1] / 16_000 == pytest.approx(
        float(sample["duration_s"]), abs=2e-3
    )
