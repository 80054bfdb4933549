from __future__ import annotations

import csv
import io
import pickle
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import corpora

from modalxai.datasets import MELD
from modalxai.datasets.meld import EMOTIONS, PUBLISHED
from modalxai.errors import InputError, ModalxaiError

row = corpora.meld_row
CLIP = "dia{}_utt{}.mp4".format


def found(corpus: MELD, outcome: str) -> list[tuple[str, str, str]]:
    return [(f.kind, f.subject, f.reason) for f in corpus.report.findings if f.outcome == outcome]


def test_a_sample_is_read_to_the_letter(tmp_path: Path) -> None:
    lines = [row(3, 1, "Oh my God, he’s lost it…", "sadness", "negative", "Phoebe")]
    corpora.meld(tmp_path, {"dev": lines}, {"dev": [CLIP(3, 1)]})
    corpus = MELD(tmp_path, "dev")
    assert dict(corpus._rows[0].cells) == {
        "id": "dev_dia3_utt1",
        "split": "dev",
        "dialogue": "dev_dia3",
        "turn": 1,
        "speaker": "Phoebe",
        "text": "Oh my God, he’s lost it…",
        "label": "sadness",
        "labels": {"sadness": 1},
        "sentiment": "negative",
        "season": "4",
        "episode": "7",
        "start": 1.0,
        "end": 2.5,
    }
    assert corpus._rows[0].recording == tmp_path / "dev/dev_splits_complete" / CLIP(3, 1)
    assert corpus.report.sound
    assert corpus.labels == EMOTIONS
    assert MELD(tmp_path, "dev", target="sentiment", audio=False)[0]["labels"] == {"negative": 1}


def test_ids_that_repeat_across_splits_stay_apart(tmp_path: Path) -> None:
    rows = {
        "train": [row(125, 4, "a", "joy", "positive")],
        "dev": [row(125, 4, "b", "anger", "negative")],
        "test": [row(125, 4, "c")],
    }
    corpus = MELD(corpora.meld(tmp_path, rows), audio=False)
    assert {s["id"]: (s["text"], *s["labels"]) for s in corpus} == {
        "train_dia125_utt4": ("a", "joy"),
        "dev_dia125_utt4": ("b", "anger"),
        "test_dia125_utt4": ("c", "neutral"),
    }
    assert corpus.context(0).following == ()


def test_leading_zeros_may_be_missing_and_a_number_may_be_skipped(tmp_path: Path) -> None:
    rows = [row(0, 0, start="0:12:32,632", end="00:12:34,28", number=7)]
    sample = MELD(corpora.meld(tmp_path, {"train": rows}), "train", audio=False)[0]
    assert (sample["start"], sample["end"]) == (752.632, 754.028)


def test_hours_are_hours(tmp_path: Path) -> None:
    rows = [row(0, 0, start="1:00:05,000", end="01:01:05,500")]
    sample = MELD(corpora.meld(tmp_path, {"train": rows}), "train", audio=False)[0]
    assert (sample["start"], sample["end"]) == (3605.0, 3665.5)


def test_an_utterance_without_length_is_noted(tmp_path: Path) -> None:
    rows = [row(155, 3, start="00:00:05,000", end="00:00:05,000"), row(1, 1, end="soon")]
    corpus = MELD(corpora.meld(tmp_path, {"test": rows}), "test", audio=False)
    assert len(corpus) == 2
    assert [(kind, subject.split()[0]) for kind, subject, _ in found(corpus, "noted")] == [
        ("time", "test_dia155_utt3"),
        ("time", "test_dia1_utt1"),
    ]
    assert corpus[1]["end"] is None


def broken_folder(folder: Path) -> Path:
    long = {"start": "00:00:00,000", "end": "00:05:05,000"}
    rows = {
        "train": [row(125, 3), row(0, 0), row(309, 0, start="00:00:00,000", end="00:00:41,040")],
        "dev": [row(110, 7), row(110, 6)],
        "test": [row(38, 4, **long), row(125, 3), row(2, 0), row(2, 1)],
    }
    clips = {
        "train": [CLIP(125, 3), CLIP(0, 0), CLIP(309, 0)],
        "dev": [CLIP(110, 6), CLIP(49, 5)],
        "test": [CLIP(38, 4), CLIP(125, 3), "._" + CLIP(125, 3)],
    }
    corpora.meld(folder, rows, clips)
    corpora.outline_mp4(folder / "test/output_repeated_splits_test" / CLIP(2, 1), cut=3)
    return folder


def test_broken_absent_and_wrongly_cut_clips_are_named(tmp_path: Path) -> None:
    corpus = MELD(broken_folder(tmp_path))
    assert found(corpus, "dropped") == [
        ("clip", "train_dia125_utt3", "published corrupt"),
        ("clip", "train_dia309_utt0", "cut wrongly, 41 s by the csv"),
        ("clip", "dev_dia110_utt7", "absent from the published archive"),
        ("clip", "test_dia38_utt4", "cut wrongly, 305 s by the csv"),
    ]
    assert found(corpus, "broken") == [
        ("clip", "test_dia2_utt0", "absent"),
        ("clip", "test_dia2_utt1", "broken off, or overwritten"),
    ]
    assert found(corpus, "noted") == [
        (
            "row",
            "train_dia309_utt0 (train_sent_emo.csv, line 4)",
            "its text holds a scene description too",
        ),
        ("clip without annotation", "dev dia49_utt5.mp4", "not used"),
        ("file that is no clip", "._dia125_utt3.mp4", "not used"),
    ]
    assert len(corpus) == 9
    heard = {r.cells["id"] for r in corpus._rows if r.recording}
    # The same numbers in another split are another clip, and whole.
    assert heard == {"train_dia0_utt0", "dev_dia110_utt6", "test_dia125_utt3"}
    assert corpus[0]["audio"] is None
    counts = {count.name: (count.found, count.published) for count in corpus.report.counts}
    assert counts["train rows"] == (3, 9989)
    assert counts["dev clips"] == (2, 1112)
    assert not corpus.report.complete


def test_rows_with_unusable_clips_may_be_dropped_but_stay_context(tmp_path: Path) -> None:
    corpus = MELD(broken_folder(tmp_path), broken="drop")
    assert corpus.column("id") == ["train_dia0_utt0", "dev_dia110_utt6", "test_dia125_utt3"]
    assert [turn.id for turn in corpus.context(1).following] == ["dev_dia110_utt7"]
    assert ("sample", "dev_dia110_utt7", "its clip cannot be used") in found(corpus, "dropped")


def test_an_absent_split_is_broken_and_absent_clips_are_refused(tmp_path: Path) -> None:
    corpora.meld(tmp_path, {"train": [row(0, 0)]})
    corpus = MELD(tmp_path, audio=False)
    assert [subject for _, subject, _ in found(corpus, "broken")] == [
        "dev_sent_emo.csv",
        "test_sent_emo.csv",
    ]
    with pytest.raises(InputError, match="no dev_sent_emo"):
        MELD(tmp_path, "dev")
    with pytest.raises(InputError, match=r"no clips of the train split[^$]*audio=False"):
        MELD(tmp_path, "train")
    with pytest.raises(InputError, match="unknown split"):
        MELD(tmp_path, "valid")  # type: ignore[arg-type]


def test_a_contradiction_is_left_out_and_mojibake_is_told(tmp_path: Path) -> None:
    rows = [row(0, 0, "x", "joy", "negative"), row(0, 1, "heâ€™s"), row(0, 2)]
    corpus = MELD(corpora.meld(tmp_path, {"dev": rows}), "dev", audio=False)
    assert corpus.column("turn") == [1, 2]
    assert [(kind, why) for kind, _, why in found(corpus, "broken")] == [
        ("row", "emotion joy contradicts sentiment negative"),
        ("text", "looks decoded in a wrong encoding"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("joy,positive", "joyful,positive", "line 3: unknown emotion 'joyful'"),
        ("joy,positive", "positive,joy", "line 3: unknown emotion 'positive'"),
        ("Emotion,Sentiment", "Sentiment,Emotion", "line 1: other columns"),
        ("Utterance,Speaker", "Speaker,Utterance", "line 1: other columns"),
        ("EndTime", "EndTime,Extra", "line 1: other columns"),
        (",3,1,4", ",3,0,4", "line 3: dev_dia3_utt0 occurs twice"),
        (",3,1,4", ",3,-1,4", "line 3: Utterance_ID is no number"),
        (",3,1,4", ",3,../1,4", "line 3: Utterance_ID is no number"),
        (",3,1,4", ",3,１,4", "line 3: Utterance_ID is no number"),
        (",3,1,4", ",3,4", "line 3: a row with 10 cells"),
    ],
)
def test_a_changed_csv_is_refused_by_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    lines = [row(3, 0), row(3, 1, "a, b", "joy", "positive")]
    path = corpora.meld(tmp_path, {"dev": lines}) / "dev_sent_emo.csv"
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=r"dev_sent_emo\.csv") as caught:
        MELD(tmp_path, "dev", audio=False)
    assert said in str(caught.value)


def test_another_encoding_is_refused_by_line(tmp_path: Path) -> None:
    path = corpora.meld(tmp_path, {"dev": [row(0, 0), row(0, 1, "he’s")]}) / "dev_sent_emo.csv"
    path.write_bytes(path.read_text(encoding="utf-8").encode("cp1252"))
    with pytest.raises(InputError, match="line 3: not UTF-8"):
        MELD(tmp_path, "dev", audio=False)


ORIGINAL = [
    row(d, u, text, emotion, sentiment, "Rachel", number=9 * d + u)
    for d, turns in enumerate(
        [
            [("Oh, no!", "surprise", "negative"), ("“Yes”, he said", "joy", "positive")],
            [("a", "anger", "negative"), ("b\nc", "fear", "negative"), ("d", "neutral", "neutral")],
            [("", "disgust", "negative"), ("네, 그래", "sadness", "negative")],
        ]
    )
    for u, (text, emotion, sentiment) in enumerate(turns)
]
TRUE = {f"train_dia{r[5]}_utt{r[6]}": str(r[3]) for r in ORIGINAL}


def written() -> bytes:
    text = io.StringIO()
    text.write(corpora.MELD_HEADER + "\r\n")
    csv.writer(text).writerows(ORIGINAL)
    return text.getvalue().encode()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """The file with lines cut, another encoding, further columns, swapped heads, huge fields."""
    raw = written()
    lines = raw.split(b"\r\n")
    at = draw(st.integers(0, len(lines) - 2))
    how = draw(st.sampled_from(["cut", "end", "encoding", "column", "heads", "huge", "delete"]))
    if how == "cut":
        lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
    elif how == "end":
        return raw[: draw(st.integers(0, len(raw)))]
    elif how == "encoding":
        code = draw(st.sampled_from(["utf-16", "cp949", "utf-8-sig", "cp1252"]))
        return raw.decode().encode(code, "replace")
    elif how == "column":
        cells = next(csv.reader([lines[at].decode()]))
        cells.insert(draw(st.integers(0, len(cells))), draw(st.sampled_from(["", "joy", "0"])))
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(cells)
        lines[at] = text.getvalue().encode()
    elif how == "heads":
        heads = lines[0].split(b",")
        one, two = draw(st.integers(0, 10)), draw(st.integers(0, 10))
        heads[one], heads[two] = heads[two], heads[one]
        lines[0] = b",".join(heads)
    elif how == "huge":
        lines[at] = lines[at].replace(b"Rachel", b"R" * draw(st.sampled_from([9_000, 140_000])))
    else:
        del lines[at]
    return b"\r\n".join(lines)


@given(mutated())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_mutated_file_never_gives_a_wrong_label(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "train_sent_emo.csv").write_bytes(raw)
    try:
        corpus = MELD(tmp_path, "train", audio=False)
    except ModalxaiError as error:
        named = "train_sent_emo.csv" in str(error) or "no rows" in str(error)
    else:
        named = True
        for name, label, labels in zip(*map(corpus.column, ("id", "label", "labels")), strict=True):
            assert TRUE[name] == label
            assert labels == {label: 1}
    assert named


def test_a_corpus_survives_pickling(tmp_path: Path) -> None:
    corpus = MELD(corpora.meld(tmp_path, {"dev": [row(0, 0), row(0, 1)]}), "dev", audio=False)
    assert list(pickle.loads(pickle.dumps(corpus))) == list(corpus)
    assert corpus.where(turn=1).column("id") == ["dev_dia0_utt1"]


def test_the_clip_is_read_on_access_and_checked_on_demand(tmp_path: Path) -> None:
    pytest.importorskip("av")
    corpora.meld(tmp_path, {"dev": [row(0, u) for u in range(3)]}, {"dev": [CLIP(0, 2)]})
    folder = tmp_path / "dev/dev_splits_complete"
    corpora.tone_mp4(folder / CLIP(0, 0))
    corpora.tone_mp4(folder / CLIP(0, 1), hertz=())
    corpora.spoil(folder / CLIP(0, 0), folder / CLIP(0, 2))
    corpus = MELD(tmp_path, "dev")
    audio = corpus[0]["audio"]
    assert (audio.sample_rate, audio.waveform.dim()) == (16_000, 1)
    assert audio.waveform.numel() == pytest.approx(16_000, abs=1_100)
    assert corpus[1]["audio"] is None
    with pytest.raises(InputError, match=r"dev_sent_emo\.csv, line 4: .*cannot be decoded"):
        corpus[2]
    assert corpus.report.sound
    report = corpus.check()
    assert [(f.kind, f.subject) for f in report.of("broken")] == [
        ("clip", "dev_dia0_utt1"),
        ("unreadable", "dev_dia0_utt2"),
    ]
    assert {c.name: c.found for c in report.counts}["audio read"] == 1


@pytest.fixture
def real(speech_data: Path) -> Path:
    folder = speech_data / "meld"
    if not folder.is_dir():
        pytest.skip("the MELD csv files are not here")
    return folder


@pytest.mark.parametrize(
    ("split", "rows", "dialogues"), [("train", 9989, 1038), ("dev", 1109, 114)]
)
def test_the_published_files_give_the_published_numbers(
    real: Path, split: str, rows: int, dialogues: int
) -> None:
    corpus = MELD(real, split, audio=False)  # type: ignore[arg-type]
    assert len(corpus) == rows
    assert len(set(corpus.column("dialogue"))) == dialogues
    assert corpus.report.complete
    assert corpus.report.sound
    with (real / f"{split}_sent_emo.csv").open(encoding="utf-8", newline="") as file:
        plain = list(csv.DictReader(file))
    assert corpus.column("text") == [line["Utterance"] for line in plain]
    assert corpus.column("label") == [line["Emotion"] for line in plain]
    assert None not in corpus.column("start") + corpus.column("end")
    if split == "train":
        expected = {name: PUBLISHED[f"train {name}"] for name in EMOTIONS}
        assert Counter(corpus.column("label")) == expected
        assert "train_dia60_utt0" not in corpus.column("id")
        assert sum("’" in text for text in corpus.column("text")) > 2500


def test_every_published_utterance_has_its_dialogue(real: Path) -> None:
    corpus = MELD(real, audio=False)
    order: dict[str, list[str]] = {}
    for name, dialogue in zip(corpus.column("id"), corpus.column("dialogue"), strict=True):
        order.setdefault(dialogue, []).append(name)
    turns = corpus.column("turn")
    for index, (name, dialogue) in enumerate(
        zip(corpus.column("id"), corpus.column("dialogue"), strict=True)
    ):
        around = corpus.context(index, before=50, after=50)
        names = [*(t.id for t in around.preceding), name, *(t.id for t in around.following)]
        assert names == order[dialogue]
    spoken = [turns[corpus.column("id").index(name)] for name in order["train_dia0"]]
    assert spoken == sorted(spoken)
