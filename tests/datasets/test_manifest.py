from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.mutations import changed

from modalxai.datasets import ManifestCorpus
from modalxai.errors import DependencyError, InputError, ModalxaiError

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


def test_paths_that_lead_out_of_the_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    soundfile.write(inner / "c.wav", np.full(800, 0.1, "float32"), 16_000)
    (folder / "inner2").mkdir()
    soundfile.write(folder / "inner2/c.wav", np.full(800, 0.1, "float32"), 16_000)
    for name in (
        "../a.wav",
        "../inner2/c.wav",
        str(folder / "a.wav"),
        "sub/../../a.wav",
        "/etc/passwd",
        "..",
    ):
        with pytest.raises(InputError, match=r"m\.csv, line 2: a path that leads out"):
            opened(inner, HEADER + f"u1,{name},hi,joy,s1,1\n")
    for name in ("c.wav", "./c.wav", "sub/../c.wav", str(inner / "c.wav")):
        assert opened(inner, HEADER + f"u1,{name},hi,joy,s1,1\n")[0]["audio"] is not None
    # Another root, named by the user, allows what lies in it.
    assert opened(inner, HEADER + "u1,inner/../a.wav,hi,joy,s1,1\n", root=folder)[0]["audio"]
    (inner / "link.wav").symlink_to(folder / "a.wav")
    assert opened(inner, HEADER + "u1,link.wav,hi,joy,s1,1\n")[0]["audio"] is not None


def test_another_encoding_is_read_when_named(folder: Path) -> None:
    raw = (HEADER + ROWS).encode("cp949")
    assert opened(folder, raw, encoding="cp949")[0]["text"] == "참, 잘했다."
    with pytest.raises(InputError, match="there is no encoding"):
        opened(folder, raw, encoding="cp9490")


RECORDS: list[dict[str, Any]] = [
    {"id": "u1", "audio": "a.wav", "text": "참, 잘했다.", "label": "joy", "speaker": "s1", "n": 1},
    {"id": "u2", "text": "missing\u2028sound", "label": {"anger": 0.25, "joy": 0.75}, "n": None},
    {"id": 3, "audio": "b.wav", "label": ["joy", "fear"], "speaker": "s1"},
    {"id": "u4", "text": "nobody", "audio": None, "label": None},
]


def expect(corpus: ManifestCorpus) -> None:
    """What every form but csv gives for the records."""
    assert [sample["audio"] is None for sample in corpus] == [False, True, False, True]
    assert corpus[2]["audio"].waveform.mean() == pytest.approx(0.2, abs=1e-3)
    assert corpus.column("id") == ["u1", "u2", "3", "u4"]
    assert corpus.column("text") == ["참, 잘했다.", "missing\u2028sound", None, "nobody"]
    assert corpus.column("speaker") == ["s1", None, "s1", None]


def test_json_lines(folder: Path) -> None:
    path = folder / "m.jsonl"
    content = "\n\n".join(json.dumps(one, ensure_ascii=False) for one in RECORDS)
    path.write_text(content, encoding="utf-8")
    corpus = ManifestCorpus(path)
    expect(corpus)
    assert corpus.labels == ("anger", "fear", "joy")
    assert [sample["labels"] for sample in corpus] == [
        {"joy": 1},
        {"anger": 0.25, "joy": 0.75},
        {"anger": 0, "fear": 1, "joy": 1},
        {},
    ]
    assert corpus.column("n") == [1, None, None, None]
    expect(pickle.loads(pickle.dumps(corpus)))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "u9", "text": "x"', "line 5: not a row of JSON lines"),
        ('["u9"]', "line 5: not a row of JSON lines"),
        ('{"id": "u9", "id": "u8", "text": "x"}', "line 5: not a row of JSON lines"),
        ('{"id": "u9", "text": 5}', "line 5: a text that is none"),
        ('{"id": "u9", "text": "x", "label": 5}', "line 5: a label that is none"),
        ('{"id": "u9", "text": "x", "label": [5]}', "line 5: a label that is none"),
        ('{"id": "u1", "text": "x"}', "line 5: id 'u1' occurs twice"),
        ('{"id": null, "text": "x"}', "line 5: a row without an id"),
        ('{"id": "u9"}', "line 5: neither audio nor text"),
        ('{"id": "u9", "audio": "../x.wav"}', "line 5: a path that leads out"),
        ('{"id": "u9", "audio": "x.wav"}', "line 5: 1 recordings are missing"),
    ],
)
def test_bad_json_lines_are_refused_by_line(folder: Path, line: str, said: str) -> None:
    path = folder / "m.jsonl"
    lines = [json.dumps(one, ensure_ascii=False) for one in RECORDS]
    path.write_text("\n".join([*lines, line]), encoding="utf-8")
    with pytest.raises(InputError, match=r"m\.jsonl") as caught:
        ManifestCorpus(path)
    assert said in str(caught.value)


SIMPLE = [
    {**one, "id": str(one["id"]), "label": name}
    for one, name in zip(RECORDS, ("joy", "anger", "fear", None), strict=True)
]


@pytest.mark.parametrize("inside", [False, True])
def test_parquet(folder: Path, inside: bool) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{**one, "audio": one.get("audio")} for one in SIMPLE]
    for one in rows if inside else []:
        name = one["audio"]
        one["audio"] = {"bytes": (folder / name).read_bytes(), "path": name} if name else None
    parquet.write_table(pa.Table.from_pylist(rows), folder / "m.parquet", row_group_size=3)
    corpus = ManifestCorpus(folder / "m.parquet")
    expect(corpus)
    assert [sample["labels"] for sample in corpus] == [{"joy": 1}, {"anger": 1}, {"fear": 1}, {}]
    expect(pickle.loads(pickle.dumps(corpus)))
    assert corpus.where(speaker="s1")[1]["audio"].waveform.mean() == pytest.approx(0.2, abs=1e-3)
    (folder / "bad.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(InputError, match=r"bad\.parquet cannot be read"):
        ManifestCorpus(folder / "bad.parquet")
    with pytest.raises(InputError, match=r"none\.parquet cannot be read"):
        ManifestCorpus(folder / "none.parquet")


def test_parquet_without_pyarrow_is_a_plain_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DependencyError, match=r"modalxai\[data\]"):
        ManifestCorpus(folder / "m.parquet")


def test_hugging_face_datasets(folder: Path) -> None:
    hub = pytest.importorskip("datasets")
    names = ["anger", "fear", "joy"]
    columns = {key: [one.get(key) for one in SIMPLE] for key in ("id", "text", "speaker")}
    codes = [None if one["label"] is None else names.index(str(one["label"])) for one in SIMPLE]
    paths = [one.get("audio") for one in SIMPLE]
    plain = {"id": hub.Value("string"), "text": hub.Value("string"), "speaker": hub.Value("string")}
    features = hub.Features(
        {**plain, "label": hub.ClassLabel(names=names), "audio": hub.Value("string")}
    )
    dataset = hub.Dataset.from_dict({**columns, "label": codes, "audio": paths}, features=features)
    corpus = ManifestCorpus(dataset, root=folder)
    expect(corpus)
    assert [sample["labels"] for sample in corpus] == [{"joy": 1}, {"anger": 1}, {"fear": 1}, {}]
    sound = [{"bytes": (folder / p).read_bytes(), "path": p} if p else None for p in paths]
    stored = {"bytes": hub.Value("binary"), "path": hub.Value("string")}
    features = hub.Features({**features, "audio": stored})
    data = {**columns, "label": codes, "audio": sound}
    dataset = hub.Dataset.from_dict(data, features=features).cast_column("audio", hub.Audio())
    corpus = ManifestCorpus(dataset)
    expect(corpus)
    expect(pickle.loads(pickle.dumps(corpus)))
    with pytest.raises(InputError, match="no list of samples"):
        ManifestCorpus(hub.DatasetDict({"train": dataset}))


def test_samples_with_arrays_inside_json_lines(folder: Path) -> None:
    one = {"id": "u1", "audio": {"array": [0.0, 0.5], "sampling_rate": 8000}, "text": None}
    bad = {"id": "u2", "audio": 5}
    path = folder / "m.jsonl"
    path.write_text(json.dumps(one) + "\n" + json.dumps(bad), encoding="utf-8")
    corpus = ManifestCorpus(path, label=None, speaker=None)
    assert corpus[0]["audio"].sample_rate == 8000
    assert corpus[0]["audio"].waveform.tolist() == [0.0, 0.5]
    with pytest.raises(InputError, match=r"m\.jsonl, line 2: audio that is no recording"):
        corpus[1]


def test_a_manifest_has_dialogues_and_a_report(folder: Path) -> None:
    content = "id,text,dialogue,turn\nx,c,d1,10\ny,a,d1,9\nz,b,d2,1\n"
    corpus = opened(folder, content, audio=None, label=None, speaker=None)
    assert [turn.text for turn in corpus.context(0).preceding] == ["a"]
    assert corpus.context(2) == ((), ())
    corpus = opened(folder, HEADER + ROWS)
    (folder / "b.wav").write_bytes(b"no sound")
    report = corpus.check()
    assert [(f.kind, f.subject) for f in report.of("broken")] == [("unreadable", "u3")]
    with pytest.raises(InputError, match="no turns to look up"):
        corpus.context(0)


MOODS = {"u1": "joy", "u2": "anger", "u3": "joy", "u4": "anger"}


@given(st.data(), st.booleans())
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_mutated_manifest_never_gives_a_wrong_label(
    tmp_path: Path, data: st.DataObject, lines: bool
) -> None:
    """Where the labels are named, a cut one is no label."""
    path = tmp_path / ("m.jsonl" if lines else "m.csv")
    if lines:
        rows = [{"id": name, "text": "참, 잘했다", "label": mood} for name, mood in MOODS.items()]
        raw = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        at = data.draw(st.integers(0, len(raw) - 1))
        spoilt = [raw[:at], raw[:at] + raw[at + 1 :], raw.decode().encode("utf-16"), raw * 2]
        path.write_bytes(data.draw(st.sampled_from(spoilt)))
    else:
        rows = [f'{name},"참, 잘했다",{mood}\r\n' for name, mood in MOODS.items()]
        raw = ("id,text,label\r\n" + "".join(rows)).encode()
        path.write_bytes(data.draw(changed(raw, header=1, swaps=False)))
    try:
        corpus = ManifestCorpus(path, audio=None, speaker=None, labels=["joy", "anger"])
    except ModalxaiError as error:
        said = str(error)
    else:
        said = path.name
        for sample in corpus:
            # Where an id lost a letter it is another's; every other one has its own label, or none.
            if sample["id"] in MOODS:
                assert sample["labels"] in ({}, {MOODS[sample["id"]]: 1})
    assert path.name in said
