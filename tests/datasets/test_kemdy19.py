from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import corpora
from tests.support.mutations import changed

from modalxai.datasets import CorpusReport, KEMDy19
from modalxai.datasets.kemdy19 import BAD_SCENES, DOUBLED
from modalxai.errors import InputError, ModalxaiError

row = corpora.kemdy19_row
F1, F2, M1 = (f"Sess02_impro01_{who}" for who in ("F001", "F002", "M001"))


def found(report: CorpusReport, outcome: str) -> list[tuple[str, str, str]]:
    return [(f.kind, f.subject, f.reason) for f in report.findings if f.outcome == outcome]


def counts(report: CorpusReport) -> dict[str, tuple[int, int | None]]:
    return {count.name: (count.found, count.published) for count in report.counts}


def made(folder: Path) -> Path:
    """Each file rates its own person in every turn, whoever speaks."""
    woman = [row(F1, "happy", start=0), row(M1, "sad", start=2), row(F2, "fear", start=4)]
    man = [row(F1, "angry", start=0), row(M1, "surprise", start=2), row(F2, "neutral", start=4)]
    return corpora.kemdy19(folder, {(2, "F"): woman, (2, "M"): man})


def test_the_speaker_is_rated_by_the_file_of_the_speaker(tmp_path: Path) -> None:
    corpus = KEMDy19(made(tmp_path))
    assert [(s["id"], *s["labels"]) for s in corpus] == [
        (F1, "happy"),
        (M1, "surprise"),
        (F2, "fear"),
    ]
    first = corpus[0]
    assert {
        key: first[key] for key in ("session", "scene", "dialogue", "turn", "speaker", "start")
    } == {
        "session": "Sess02",
        "scene": "impro01",
        "dialogue": "Sess02_impro01",
        "turn": 0,
        "speaker": "Sess02F",
        "start": 0.0,
    }
    assert first["text"] == "네 그래요."
    assert corpus.column("speaker") == ["Sess02F", "Sess02M", "Sess02F"]
    assert [turn.id for turn in corpus.context(1).following] == [F2]
    told = counts(corpus.report)
    assert told["speaker rows"] == (3, 10279)
    assert told["listener rows"] == (3, 10287)
    assert told["transcripts"] == (3, 10284)
    assert corpus.report.sound
    assert not corpus.report.findings


def test_the_listener_is_rated_by_the_file_of_the_listener(tmp_path: Path) -> None:
    folder = made(tmp_path)
    raters = corpora.votes(*["fear"] * 3, "sad")
    woman = [row(F1, "happy", start=0), row(M1, "sad", start=2, raters=raters)]
    corpora.write_csv(folder / "annotation/Session02_F_res.csv", [*corpora.KEMDY19_HEAD, *woman])
    listening = KEMDy19(folder, rated="listener")
    assert [(s["id"], s["speaker"], s["rated"], *s["labels"]) for s in listening] == [
        (F1, "Sess02F", "Sess02M", "angry"),
        (M1, "Sess02M", "Sess02F", "sad"),
        (F2, "Sess02F", "Sess02M", "neutral"),
    ]
    assert KEMDy19(folder).column("rated") == ["Sess02F", "Sess02M"]
    soft = KEMDy19(folder, rated="listener", ties="soft")
    assert soft[1]["labels"] == pytest.approx(
        dict.fromkeys(corpus_emotions(), 0.0) | {"fear": 0.3, "sad": 0.7}
    )
    # Both count the rows of the published files alike.
    for corpus in (listening, KEMDy19(folder)):
        told = counts(corpus.report)
        assert (told["speaker rows"][0], told["listener rows"][0]) == (2, 3)
    with pytest.raises(InputError, match="unknown rated"):
        KEMDy19(folder, rated="both")  # type: ignore[arg-type]


def corpus_emotions() -> tuple[str, ...]:
    return ("angry", "sad", "happy", "disgust", "fear", "surprise", "neutral")


def test_the_listeners_signals_are_the_listeners_own(tmp_path: Path) -> None:
    made(tmp_path)
    wristband(tmp_path, "EDA")
    corpus = KEMDy19(tmp_path, rated="listener", biosignals=["eda"])
    first, partner, last = (sample["biosignals"] for sample in corpus)
    # While the man speaks the woman listens, and her file has his tag.
    np.testing.assert_array_equal(partner["eda"].values, [[0.4]])
    assert first == last == {}
    name = "EDA/Session02/Original/Sess02F.csv"
    own = ("signal", name, "tag of the person's own words; not used (2)")
    assert own in found(corpus.check(), "noted")


def test_a_transcript_in_cp949_is_read_and_told(tmp_path: Path) -> None:
    made(tmp_path)
    path = tmp_path / f"wav/Session02/Sess02_impro01/{F1}.txt"
    # The bytes of 짜 are a yen sign in UTF-8.
    for written, said in (("참 N/ 잘했다", "참 잘했다"), ("짜", "짜")):
        path.write_bytes(written.encode("cp949"))
        corpus = KEMDy19(tmp_path)
        assert corpus[0]["text"] == said
        assert found(corpus.report, "repaired") == [("transcript", F1, "read as cp949, not utf-8")]


def test_bad_scenes_are_dropped_and_told_unless_asked_for(tmp_path: Path) -> None:
    for session in {int(scene[4:6]) for scene in BAD_SCENES}:
        scenes = [scene for scene in BAD_SCENES if int(scene[4:6]) == session]
        woman = [row(f"{scene}_F001") for scene in (*scenes, f"Sess{session:02}_script01")]
        man = [row(f"{scene}_M001") for scene in scenes]
        corpora.kemdy19(tmp_path, {(session, "F"): woman, (session, "M"): man})
    corpus = KEMDy19(tmp_path)
    assert not {name.rpartition("_")[0] for name in corpus.column("id")} & set(BAD_SCENES)
    dropped = {name.rpartition("_")[0] for _, name, _ in found(corpus.report, "dropped")}
    assert dropped == set(BAD_SCENES)
    assert len(found(corpus.report, "dropped")) == 2 * len(BAD_SCENES)
    kept = KEMDy19(tmp_path, bad_scenes="keep")
    assert {name.rpartition("_")[0] for name in kept.column("id")} > dropped
    with pytest.raises(InputError, match="unknown bad_scenes"):
        KEMDy19(tmp_path, bad_scenes="some")  # type: ignore[arg-type]


def test_doubled_rows_are_dropped(tmp_path: Path) -> None:
    ours, theirs = DOUBLED
    files = {
        (4, "F"): [row(ours), row(ours, "sad"), row("Sess04_impro03_F030")],
        (4, "M"): [row(theirs), row("Sess04_impro03_M030")],
    }
    corpus = KEMDy19(corpora.kemdy19(tmp_path, files))
    assert set(corpus.column("id")) == {"Sess04_impro03_F030", "Sess04_impro03_M030"}
    assert {name.split()[0] for _, name, _ in found(corpus.report, "dropped")} == set(DOUBLED)
    assert counts(corpus.report)["speaker rows"][0] == 5


WRITTEN, MEANT = "Sess03_impro02_M001", "Sess03_impro02_F001"


def third(folder: Path, *woman: list[object], man: float = 3) -> KEMDy19:
    files = {(3, "F"): woman, (3, "M"): [row(WRITTEN, "sad", start=man)]}
    corpora.kemdy19(folder, files)
    corpora.kemdy19_segment(folder, MEANT)
    return KEMDy19(folder)


def test_the_row_with_the_partners_id_gets_its_own(tmp_path: Path) -> None:
    corpus = third(tmp_path, row(WRITTEN, "happy", start=1))
    assert dict(zip(corpus.column("id"), corpus.column("label"), strict=True)) == {
        MEANT: "happy",
        WRITTEN: "sad",
    }
    assert [why for _, _, why in found(corpus.report, "repaired")] == [f"known to mean {MEANT}"]


def test_beside_the_partners_own_row_the_times_decide(tmp_path: Path) -> None:
    corpus = third(tmp_path, row(WRITTEN, "fear", start=3), row(WRITTEN, "happy", start=1))
    assert corpus.column("label") == ["happy", "sad"]
    corpus = third(tmp_path, row(WRITTEN, "fear", start=8), row(WRITTEN, "happy", start=1))
    assert corpus.column("id") == [WRITTEN]
    assert "no telling which" in found(corpus.report, "broken")[0][2]
    corpus = third(tmp_path, row(WRITTEN, "fear", start=3), row(MEANT, "angry", start=1))
    assert corpus.column("label") == ["angry", "sad"]
    assert not found(corpus.report, "repaired")


def test_stray_rows_are_dropped(tmp_path: Path) -> None:
    strays = ["Sess09_script06_M001", "Sess09_impro01_M001"]
    woman = [row("Sess09_script01_F001"), *(row(name, "fear") for name in strays)]
    man = [row(name, "sad") for name in strays]
    corpus = KEMDy19(corpora.kemdy19(tmp_path, {(9, "F"): woman, (9, "M"): man}))
    assert sorted(corpus.column("label")) == ["neutral", "sad", "sad"]
    assert [(name.split()[0], why) for _, name, why in found(corpus.report, "dropped")] == [
        (name, "known to stray into its file") for name in strays
    ]


def test_an_absent_partner_file_and_a_foreign_session_are_broken(tmp_path: Path) -> None:
    rows = [row("Sess05_script01_M001"), row("Sess06_script01_M001")]
    corpus = KEMDy19(corpora.kemdy19(tmp_path, {(5, "M"): rows}))
    assert corpus.column("id") == ["Sess05_script01_M001"]
    assert [(kind, name.split()[0]) for kind, name, _ in found(corpus.report, "broken")] == [
        ("annotation file", "Session05_F_res.csv"),
        ("row", "Sess06_script01_M001"),
    ]


def wristband(folder: Path, signal: str, head: tuple[str, ...] = ()) -> None:
    """Four fields inside segments, three outside; the partner's segments are there too."""
    content = [
        *head,
        "0.1,x,10:00:00.000",
        f"0.2,x,10:00:00.250,{F1}",
        f"0.3,x,10:00:00.500,{F1}",
        f"0.4,x,10:00:00.750,{M1}",
        f"0.5,x,10:00:01.000,{F2}",
    ]
    corpora.lines(folder / f"{signal}/Session02/Original/Sess02F.csv", content)


def belt(folder: Path, order: str, step: float = 0.004, sex: str = "F", name: str = F1) -> None:
    content = []
    for index in range(50):
        time, beat = f"{index * step:.4f}", f"{np.sin(index / 5):.4f}"
        first, second = (time, beat) if order == "time first" else (beat, time)
        tag = f",{name}" if 10 <= index < 30 else ""
        content.append(f"{first},{second},10:00:00.000{tag}")
    corpora.lines(folder / f"ECG/Session02/Original/Sess02{sex}.csv", content)


def test_a_persons_file_serves_that_person_only(tmp_path: Path) -> None:
    made(tmp_path)
    wristband(tmp_path, "EDA")
    wristband(tmp_path, "TEMP", head=("1557000000.00", "2.0"))
    corpus = KEMDy19(tmp_path)
    first, partner, last = (sample["biosignals"] for sample in corpus)
    np.testing.assert_array_equal(first["eda"].values, [[0.2, 0.3]])
    assert (first["eda"].rate, first["eda"].start) == (4.0, 0.25)
    np.testing.assert_array_equal(last["eda"].values, [[0.5]])
    assert partner == {}
    # With a head, the rate and the clock are the file's.
    assert (first["temp"].rate, first["temp"].start) == (2.0, 1557000000.5)
    report = corpus.check()
    assert ("signal", "EDA/Session02/Original/Sess02F.csv", "tag of the partner; not used (1)") in (
        found(report, "noted")
    )
    assert counts(report)["eda segments"] == (2, None)


def test_column_names_are_no_measurement(tmp_path: Path) -> None:
    made(tmp_path)
    wristband(tmp_path, "EDA", head=("value,period,time",))
    assert KEMDy19(tmp_path)[0]["biosignals"]["eda"].start == 0.25


@pytest.mark.parametrize("order", ["time first", "time second"])
@pytest.mark.parametrize(("step", "rate"), [(0.004, 250), (0.002, 500), (4, 250), (1, 250)])
def test_the_columns_of_the_electrocardiogram_are_told_apart(
    tmp_path: Path, order: str, step: float, rate: float
) -> None:
    belt(made(tmp_path), order, step)
    corpus = KEMDy19(tmp_path, biosignals=["ecg"])
    ecg = corpus[0]["biosignals"]["ecg"]
    np.testing.assert_allclose(ecg.values, np.sin(np.arange(10, 30) / 5)[None], atol=1e-4)
    assert (ecg.rate, ecg.start) == (rate, 10 / rate)
    told = any("250 Hz assumed" in why for _, _, why in found(corpus.check(), "noted"))
    assert told == (step == 1)


@pytest.mark.parametrize("columns", [(0, 0), (1, 2)])
def test_columns_that_cannot_be_told_apart_are_an_error(
    tmp_path: Path, columns: tuple[int, int]
) -> None:
    made(tmp_path)
    content = [f"{i * columns[0]},{i * columns[1]},10:00:00,{F1}" for i in range(9)]
    corpora.lines(tmp_path / "ECG/Session02/Original/Sess02F.csv", content)
    corpus = KEMDy19(tmp_path, biosignals=["ecg"])
    with pytest.raises(InputError, match=r"Session02_F_res\.csv, line 3: Sess02F\.csv: no telling"):
        corpus[0]
    assert [kind for kind, *_ in found(corpus.check(), "broken")] == ["unreadable"] * 2


def test_unequal_tags_of_one_segment_are_not_mixed(tmp_path: Path) -> None:
    made(tmp_path)
    content = [f"0.1,x,t,{F1}", f"0.2,x,t,Sess07{F1[6:]}", "0.3,x,t", f"0.4,x,t,{F1}"]
    corpora.lines(tmp_path / "EDA/Session02/Original/Sess02F.csv", content)
    corpus = KEMDy19(tmp_path, biosignals=["eda"])
    values = corpus[0]["biosignals"]["eda"].values
    np.testing.assert_array_equal(values, [[0.1, np.nan, np.nan, 0.4]])
    noted = [why for kind, _, why in found(corpus.check(), "noted") if kind == "signal"]
    assert noted == [
        "tag of another session beside the right one; left out (1)",
        f"{F1} lies in pieces; NaN between them",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("E4-TEMP,,Segment ID", "E4-TEMP,Segment ID,", "line 1: other columns"),
        (F1, "Sess02_impro01_X001", "line 3: 'Sess02_impro01_X001' is no segment"),
        (f"{F1},happy", f"{F1},joy", "line 3: unknown emotion 'joy'"),
        (f"{F1},happy", f"{F1},", "dropped"),
    ],
)
def test_a_changed_file_is_refused_by_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = made(tmp_path) / "annotation/Session02_F_res.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    if said == "dropped":
        assert KEMDy19(tmp_path).column("id") == [M1, F2]
        return
    with pytest.raises(InputError, match=r"Session02_F_res\.csv") as caught:
        KEMDy19(tmp_path)
    assert said in str(caught.value)


@given(st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_mutated_file_never_gives_a_wrong_label(tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "copy"
    path = folder / "annotation/Session02_F_res.csv"
    if not folder.exists():
        made(folder)
        (tmp_path / "whole.csv").write_bytes(path.read_bytes())
    path.write_bytes(data.draw(changed((tmp_path / "whole.csv").read_bytes())))
    true = {
        "speaker": {F1: "happy", M1: "surprise", F2: "fear"},
        "listener": {F1: "angry", M1: "sad", F2: "neutral"},
    }
    for rated, labels in true.items():
        try:
            corpus = KEMDy19(folder, rated=rated)  # type: ignore[arg-type]
        except ModalxaiError as error:
            said = str(error)
        else:
            said = path.name
            for name, label in zip(corpus.column("id"), corpus.column("label"), strict=True):
                assert labels[name] == label
        assert path.name in said
