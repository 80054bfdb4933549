from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import corpora
from tests.support.mutations import changed

import modalxai as mx
from modalxai.annotations import annotate
from modalxai.biosignals import Beats, Series, read_e4
from modalxai.datasets import KEMDy20
from modalxai.datasets.ratings import EMOTIONS
from modalxai.errors import InputError, ModalxaiError

row = corpora.kemdy20_row
A, B, C = (f"Sess01_script01_User00{who}" for who in ("1F_001", "2M_001", "1F_002"))
TIE = corpora.votes(*["happy"] * 4, *["neutral"] * 4, "happy;neutral", "sad")


def made(folder: Path, *rows: list[object]) -> Path:
    return corpora.kemdy20(folder, {1: rows or [row(A, start=2), row(B, start=1)]})


def found(report: mx.datasets.CorpusReport, outcome: str) -> list[tuple[str, str, str]]:
    return [(f.kind, f.subject, f.reason) for f in report.findings if f.outcome == outcome]


def test_a_sample_is_read_to_the_letter(tmp_path: Path) -> None:
    made(
        tmp_path, row(A, "disqust", 2.5, 3.5, 7, corpora.votes("disqust", valence=2.5, arousal=3.5))
    )
    (tmp_path / f"wav/Session01/{A}.txt").write_bytes("n/ 참 잘했다+ c/\n".encode("cp949"))
    corpus = KEMDy20(tmp_path)
    sample = corpus[0]
    audio = sample.pop("audio")
    assert (audio.sample_rate, audio.waveform.shape) == (16_000, (1, 800))
    assert sample == {
        "id": A,
        "session": "Sess01",
        "scene": "script01",
        "dialogue": "Sess01_script01",
        "turn": 0,
        "speaker": "User001F",
        "text": "참 잘했다",
        "raw_text": "n/ 참 잘했다+ c/",
        "labels": {"disgust": 1},
        "valence": 2.5,
        "arousal": 3.5,
        "raters": (("disgust",),) * 10,
        "start": 7.0,
        "end": 8.0,
        "biosignals": {},
    }
    assert corpus.labels == EMOTIONS
    assert KEMDy20(tmp_path, text="raw").column("text") == ["n/ 참 잘했다+ c/"]
    assert corpus.report.sound
    assert not corpus.report.findings


def test_turns_follow_the_clock_and_topics_are_dialogues(tmp_path: Path) -> None:
    other = A.replace("script01", "script02")
    made(tmp_path, row(A, start=5), row(B, start=3), row(C, start=9), row(other, start=1))
    corpus = KEMDy20(tmp_path)
    assert corpus.column("id") == [B, A, C, other]
    assert corpus.column("turn") == [0, 1, 2, 0]
    assert [t.id for t in corpus.context(1).preceding] == [B]
    assert [t.id for t in corpus.context(1).following] == [C]
    assert corpus.context(3) == ((), ())


@pytest.mark.parametrize(
    ("ties", "labels"),
    [
        ("first", {"happy": 1}),
        ("multi", {name: int(name in ("happy", "neutral")) for name in EMOTIONS}),
        ("soft", {"happy": 0.45, "neutral": 0.45, "sad": 0.1}),
    ],
)
def test_ties_are_read_as_asked(tmp_path: Path, ties: str, labels: dict[str, float]) -> None:
    made(tmp_path, row(A, "happy;neutral", raters=TIE), row(B, "sad", start=1))
    corpus = KEMDy20(tmp_path, ties=ties)  # type: ignore[arg-type]
    given = corpus[0]["labels"]
    assert {k: v for k, v in given.items() if v or ties == "multi"} == pytest.approx(labels)
    kind = "binary" if ties == "multi" else "categorical"
    values, mask = annotate(mx.labels(*EMOTIONS, kind=kind), given)
    assert mask.all()
    assert values[EMOTIONS.index("happy")] == pytest.approx(labels["happy"])
    assert ("tie", f"{A} happy;neutral", f"read as {ties}") in found(corpus.report, "noted")
    assert corpus.column("label")[0] == ("happy" if ties == "first" else "happy;neutral")


def test_ties_are_dropped_by_default_and_stay_context(tmp_path: Path) -> None:
    made(tmp_path, row(A, "happy;neutral", raters=TIE), row(B, "sad", start=1))
    corpus = KEMDy20(tmp_path)
    assert corpus.column("id") == [B]
    assert found(corpus.report, "dropped") == [("tie", A, "more than one emotion")]
    assert [turn.id for turn in corpus.context(0).preceding] == [A]
    assert {c.name: c.found for c in corpus.report.counts}["segments"] == 2


def test_a_tie_of_five_with_the_odd_spelling(tmp_path: Path) -> None:
    five = ["angry", "neutral", "disqust", "fear", "sad"]
    made(tmp_path, row(A, ";".join(five), raters=corpora.votes(*five * 2)))
    corpus = KEMDy20(tmp_path, ties="soft")
    assert corpus[0]["labels"]["disgust"] == pytest.approx(0.2)
    assert "disqust" not in corpus[0]["labels"]
    assert not found(corpus.report, "broken")


def test_valence_and_arousal_join_the_labels_when_asked(tmp_path: Path) -> None:
    made(tmp_path, row(A, "sad", 1.5, 4))
    labels = mx.labels(*EMOTIONS) + mx.labels("valence", "arousal", kind="dimensional")
    values, mask = annotate(labels, KEMDy20(tmp_path, dimensions=True)[0]["labels"])
    assert mask.all()
    assert values[-2:].tolist() == [1.5, 4]


def test_the_second_header_row_says_which_is_valence(tmp_path: Path) -> None:
    made(tmp_path, row(A, "neutral", 1, 5, raters=corpora.votes("neutral", valence=1, arousal=5)))
    path = tmp_path / "annotation/Sess01_eval.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("Valence,Arousal", "Arousal,Valence"), encoding="utf-8")
    corpus = KEMDy20(tmp_path)
    assert (corpus[0]["valence"], corpus[0]["arousal"]) == (5, 1)
    assert [kind for kind, *_ in found(corpus.report, "repaired")] == ["header"]
    path.write_text(text.replace("Valence,Arousal", "Arousal,Valence", 1), encoding="utf-8")
    with pytest.raises(InputError, match=r"Sess01_eval\.csv, line 2: no telling which column"):
        KEMDy20(tmp_path)
    path.write_text(text.replace("Emotion,Valence,Arousal", ",,"), encoding="utf-8")
    assert KEMDy20(tmp_path)[0]["valence"] == 1
    assert found(KEMDy20(tmp_path).report, "noted")[0][0] == "header"


def test_transcripts_may_be_in_either_encoding(tmp_path: Path) -> None:
    made(tmp_path, row(A), row(B, start=1), row(C, start=2))
    # 짜 in cp949 is a valid character of UTF-8 too, a yen sign.
    (tmp_path / f"wav/Session01/{A}.txt").write_bytes("짜".encode("cp949"))
    (tmp_path / f"wav/Session01/{B}.txt").write_bytes("가나다라".encode())
    (tmp_path / f"wav/Session01/{C}.txt").write_bytes(b"\xff\xff\xff")
    corpus = KEMDy20(tmp_path)
    assert corpus.column("text") == ["짜", "가나다라", None]
    assert found(corpus.report, "repaired") == [("transcript", B, "read as utf-8, not cp949")]
    assert found(corpus.report, "broken") == [("transcript", C, "neither UTF-8 nor cp949")]


def test_silent_absent_and_unreadable_recordings(tmp_path: Path) -> None:
    names = [f"Sess01_script01_User001F_{i:03}" for i in range(5)]
    made(tmp_path, *(row(name, start=i) for i, name in enumerate(names)))
    place = tmp_path / "wav/Session01"
    corpora.wave(place / f"{names[0]}.wav", 0.0, 20_000)
    (place / f"{names[1]}.wav").unlink()
    (place / f"{names[2]}.wav").write_bytes(b"RIFF....")
    corpora.wave(place / f"{names[3]}.wav", 0.1, 0)
    (place / f"{names[3]}.txt").unlink()
    corpora.wave(place / "Sess01_script01_User001F_900.wav")
    corpus = KEMDy20(tmp_path)
    assert corpus.column("id") == [*names[:3], names[4]]
    assert [sample["audio"] is None for sample in corpus] == [True, True, True, False]
    assert found(corpus.report, "dropped") == [
        ("wav", names[0], "silent: every sample is zero"),
        ("sample", names[3], "neither audio nor text"),
    ]
    assert [(kind, name) for kind, name, _ in found(corpus.report, "broken")] == [
        ("wav", names[1]),
        ("wav", names[2]),
        ("transcript", names[3]),
        ("wav", names[3]),
    ]
    assert found(corpus.report, "noted") == [
        ("file without annotation", "Sess01_script01_User001F_900.wav", "not used")
    ]
    assert KEMDy20(tmp_path, broken="drop").column("id") == [names[4]]
    assert KEMDy20(tmp_path, audio=False)[4 - 1]["audio"] is None


def signals(folder: Path) -> None:
    """Ragged files: three fields inside segments, two outside; four and three for intervals."""
    clock = "2020-02-12 10:00:00"
    stem = "Sess01_script01_User001F"
    for name in ("EDA", "TEMP"):
        corpora.lines(
            folder / f"{name}/Session01/{stem}.csv",
            [
                f"1581500000.0,{clock}",
                f"4.0,{clock}",
                f"0.1,{clock}",
                f"0.2,{clock},{A}",
                f"0.3,{clock},{A}",
                f"0.4,{clock}",
                f"0.5,{clock},{B}",
                f"0.6,{clock},Sess07_{C.split('_', 1)[1]}",
                f"oops,{clock},Sess07_{C.split('_', 1)[1]}",
                "1,2,3,4,5",
                f"0.7,{clock},Sess07_{C.split('_', 1)[1]}",
            ],
        )
    corpora.lines(
        folder / f"IBI/Session01/{stem}.csv",
        [
            f"1581500000.0,IBI,{clock}",
            f"0.9,0.9,{clock}",
            f"1.7,0.8,{clock},{A}",
            f"9.9,8.2,{clock},{A}",
            f"10.8,0.9,{clock},{A}",
        ],
    )
    (folder / "IBI/Session01/Sess01_script01_User002M.csv").write_bytes(b"")


def test_signals_are_cut_by_their_tags(tmp_path: Path) -> None:
    made(tmp_path, row(A), row(B, start=1), row(C, start=2))
    signals(tmp_path)
    corpus = KEMDy20(tmp_path)
    first, second, third = (sample["biosignals"] for sample in corpus)
    assert set(first) == {"eda", "temp", "ibi"}
    assert isinstance(first["eda"], Series)
    np.testing.assert_array_equal(first["eda"].values, [[0.2, 0.3]])
    assert (first["eda"].rate, first["eda"].start) == (4.0, 1581500000.25)
    assert isinstance(first["ibi"], Beats)
    # The interval of 8.2 s is no heart beat.
    np.testing.assert_array_equal(first["ibi"].times, [1.7, 10.8])
    np.testing.assert_array_equal(first["ibi"].intervals, [0.8, 0.9])
    # The partner's segment in this file is not the partner's signal.
    assert second == {}
    # Tagged with another session's number; one value is no number, one line has five fields.
    np.testing.assert_array_equal(third["eda"].values, [[0.6, np.nan, np.nan, 0.7]])
    report = corpus.check()
    assert found(report, "repaired") == [
        (
            "signal",
            f"{folder}/Session01/Sess01_script01_User001F.csv",
            "tag of another session; its number is the file's now (1)",
        )
        for folder in ("EDA", "TEMP")
    ]
    counts = {count.name: (count.found, count.published) for count in report.counts}
    assert counts["eda segments"] == (2, 12715)
    assert counts["ibi segments"] == (1, 10204)
    assert counts["audio read"] == (3, 13452)
    noted = found(report, "noted")
    assert ("ibi", B, "not recorded") in noted
    assert any("tag of another person" in why for _, _, why in noted)
    assert any("value that is no number (1)" in why for _, _, why in noted)
    assert any("other than 2 or 3 fields (1)" in why for _, _, why in noted)
    assert any(why == "empty file" for _, _, why in noted)
    assert set(KEMDy20(tmp_path, biosignals=["temp"])[0]["biosignals"]) == {"temp"}
    assert list(pickle.loads(pickle.dumps(corpus))[0]["biosignals"]) == ["eda", "temp", "ibi"]


def test_a_real_wristband_file_is_cut_as_it_is_read(tmp_path: Path, speech_data: Path) -> None:
    """KEMDy20's files are those of the wristband with a time and a tag appended to its lines."""
    source = speech_data / "e4_sample/EDA.csv"
    if not source.is_file():
        pytest.skip("the sample of an Empatica E4 is not here")
    whole = read_e4(source)
    assert isinstance(whole, Series)
    tagged = [
        f"{line},10:00:00" + (f",{A}" if 102 <= row < 202 else "")
        for row, line in enumerate(source.read_text(encoding="utf-8").splitlines())
    ]
    made(tmp_path)
    corpora.lines(tmp_path / "EDA/Session01/Sess01_script01_User001F.csv", tagged)
    cut = KEMDy20(tmp_path, biosignals=["eda"])[1]["biosignals"]["eda"]
    np.testing.assert_array_equal(cut.values, whole.values[:, 100:200])
    assert (cut.rate, cut.start) == (whole.rate, whole.start + 100 / whole.rate)


def test_a_sample_reaches_a_model(tmp_path: Path) -> None:
    made(tmp_path, row(A), row(B, "sad", start=1))
    corpus = KEMDy20(tmp_path)
    encoders = {
        "audio": mx.plugins.create("encoders", "mel-cnn"),
        "text": mx.plugins.create("encoders", "byte-text"),
    }
    dims = {name: encoder.dim for name, encoder in encoders.items()}
    labels = mx.labels(*corpus.labels)
    fusion = mx.plugins.create("fusion", "shallow", dims=dims, labels=labels)
    batch = mx.EmotionModel(encoders, fusion).collate(list(corpus))
    assert torch.equal(batch["targets"][0].argmax(1), torch.tensor([6, 1]))
    assert batch.columns["speaker"] == ("User001F", "User002M")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder of KEMDy20"):
        KEMDy20(tmp_path)
    made(tmp_path)
    assert len(KEMDy20(tmp_path.parent / tmp_path.name)) == 2
    shutil.rmtree(tmp_path / "IBI")
    with pytest.raises(InputError, match=r"(?s)no folder IBI.*biosignals="):
        KEMDy20(tmp_path)
    assert len(KEMDy20(tmp_path, biosignals=())) == 2
    with pytest.raises(InputError, match="unknown ties"):
        KEMDy20(tmp_path, ties="mean")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown biosignals"):
        KEMDy20(tmp_path, biosignals=["ecg"])
    shutil.rmtree(tmp_path / "annotation")
    (tmp_path / "annotation").mkdir()
    with pytest.raises(InputError, match="no rating"):
        KEMDy20(tmp_path, biosignals=())


def test_rows_that_repeat_or_stray(tmp_path: Path) -> None:
    stray = A.replace("Sess01", "Sess02")
    made(tmp_path, row(A), row(A), row(B), row(B, "sad"), row(stray), row(C))
    corpus = KEMDy20(tmp_path)
    assert corpus.column("id") == [A, C]
    assert [why for _, _, why in found(corpus.report, "repaired")] == ["repeated; counted once"]
    assert [why for kind, _, why in found(corpus.report, "broken") if kind == "row"] == [
        "belongs to another session than its file",
        "repeated, and the rows differ",
    ]


def test_totals_that_are_not_what_the_raters_say_are_noted(tmp_path: Path) -> None:
    told = corpora.votes("sad")
    told[0] = ""
    made(tmp_path, row(A, "angry", 2.0, raters=told), row(B, "", start=1))
    corpus = KEMDy20(tmp_path)
    assert [(kind, name.split()[0]) for kind, name, _ in found(corpus.report, "noted")] == [
        ("rater", A),
        ("emotion", A),
        ("valence", A),
        ("file without annotation", f"{B}.txt"),
        ("file without annotation", f"{B}.wav"),
    ]
    assert corpus[0]["labels"] == {"angry": 1}
    assert [why for _, _, why in found(corpus.report, "dropped")] == ["no emotion"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("neutral,3,3,neutral", "neutrel,3,3,neutral", "line 3: unknown emotion 'neutrel'"),
        ("neutral,3,3,neutral", "neutral,6,3,neutral", "line 3: a valence or arousal"),
        ("neutral,3,3,neutral", "neutral,nan,3,neutral", "line 3: a valence or arousal"),
        ("neutral,3,3,neutral", "3,neutral,3,neutral", "line 3: unknown emotion '3'"),
        (A, "../../secret", "line 3: '../../secret' is no segment"),
        (A, A.replace("F", "X"), "is no segment"),
        ("Segment ID,Total Evaluation", "Total Evaluation,Segment ID", "line 1: other columns"),
        ("Numb,WAV, ,", "Numb,WAV,", "line 1: a row with 36 cells"),
        ("Numb,", "Numb,Segment ID,", "line 1: a row with 38 cells"),
        (",neutral,3,3,neutral", ",neutral,3,3,extra,neutral", "line 3: a row with 38 cells"),
        (" ,start,end, ,Emotion", f"0,0,1,{A},Emotion", "line 2: a segment where"),
        (
            "Emotion,Valence,Arousal,Emotion",
            "Valence,Emotion,Arousal,Emotion",
            "line 2: no telling",
        ),
        ("1,2,3," + A, '1,2,"3,' + A, "line 3: not a row of csv"),
    ],
)
def test_a_changed_file_is_refused_by_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = made(tmp_path, row(A, start=2)) / "annotation/Sess01_eval.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=r"Sess01_eval\.csv") as caught:
        KEMDy20(tmp_path)
    assert said in str(caught.value)


def test_annotations_in_cp949_are_read_and_told(tmp_path: Path) -> None:
    path = made(tmp_path) / "annotation/Sess01_eval.csv"
    path.write_bytes(path.read_bytes().replace(b"Numb", "번호".encode("cp949")))
    corpus = KEMDy20(tmp_path)
    assert len(corpus) == 2
    assert found(corpus.report, "repaired")[0][2] == "read as cp949, not utf-8"


TRUE = {A: ("happy", 4.0, 2.0), B: ("sad", 1.5, 3.0), C: ("neutral", 3.0, 3.0)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        row(name, word, v, a, i, corpora.votes(word, valence=v, arousal=a), i)
        for i, (name, (word, v, a)) in enumerate(TRUE.items())
    ]
    return made(tmp_path_factory.mktemp("kemdy20"), *rows)


@given(st.data())
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_mutated_file_never_gives_a_wrong_label(
    tmp_path: Path, whole: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "copy"
    if not folder.exists():
        shutil.copytree(whole, folder)
    raw = (whole / "annotation/Sess01_eval.csv").read_bytes()
    path = folder / "annotation/Sess01_eval.csv"
    path.write_bytes(data.draw(changed(raw)))
    try:
        corpus = KEMDy20(folder, ties="multi")
    except ModalxaiError as error:
        said = str(error)
    else:
        said = path.name
        columns = map(corpus.column, ("id", "label", "valence", "arousal"))
        for name, label, valence, arousal in zip(*columns, strict=True):
            assert TRUE[name] == (label, valence, arousal)
    assert path.name in said


def test_what_is_found_of_its_samples_can_be_kept(tmp_path: Path) -> None:
    """Ratings travel with the samples as a column; signals that nobody reads stay behind."""
    names = [f"Sess01_script01_User00{1 + i % 2}{'FM'[i % 2]}_{i:03}" for i in range(4)]
    rows = [corpora.kemdy20_row(name, ("happy", "sad")[i % 2]) for i, name in enumerate(names)]
    corpora.kemdy20(tmp_path / "corpus", {1: rows})
    tagged = ["1557000000.0,1557000000.0", "4.0,4.0", f"0.5,1557000000.0,{names[0]}"]
    stem = names[0].rpartition("_")[0]
    corpora.lines(tmp_path / f"corpus/EDA/Session01/{stem}.csv", tagged)
    corpus = KEMDy20(tmp_path / "corpus", ties="soft", audio=False)
    assert corpus[0]["biosignals"]["eda"].values.tolist() == [[0.5]]
    text = mx.plugins.create("encoders", "byte-text")
    fusion = mx.plugins.create(
        "fusion", "shallow", dims={"text": text.dim}, labels=mx.labels(*corpus.labels)
    )
    model = mx.EmotionModel({"text": text}, fusion, modality_dropout=0.1)
    explanation = mx.explain(model, corpus)
    assert "biosignals" not in explanation.columns
    explanation.save(tmp_path / "run")
    again = mx.Explanation.load(tmp_path / "run")
    assert again.columns == explanation.columns
    assert again.columns["raters"][0] == (("happy",),) * 10
