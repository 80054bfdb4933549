from __future__ import annotations

import json
import math
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import corpora
from tests.support.corpora import aihub_clip, entry

from modalxai.datasets import AIHubMultimodalVideo
from modalxai.datasets.aihub_clips import EMOTIONS
from modalxai.errors import InputError, ModalxaiError

SPOKEN = {"image": "neutral", "sound": "angry", "text": "happy", "multimodal": "angry"}
HEARD = entry("1", "참 잘했다.", 10, 40, **SPOKEN)
QUIET = entry("2", None, image="sad")


def found(corpus: AIHubMultimodalVideo, outcome: str) -> list[tuple[str, str, str]]:
    return [(f.kind, f.subject, f.reason) for f in corpus.report.findings if f.outcome == outcome]


def layout_one(folder: Path, number: int, clip: dict[str, Any], encoding: str = "utf-8") -> Path:
    corpora.write_clip(folder / f"라벨데이터/clip_{number}.json", clip, encoding)
    corpora.outline_mp4(folder / f"원천데이터/{number:04}.MP4")
    return folder


def layout_two(folder: Path, number: int, clip: dict[str, Any], suffix: str = "mp4") -> Path:
    place = folder / f"5201-5600/clip_{number}"
    corpora.write_clip(place / f"clip_{number}.json", clip)
    corpora.outline_mp4(place / f"clip_{number}.{suffix}")
    return folder


def silent(folder: Path, *entries: dict[str, Any]) -> AIHubMultimodalVideo:
    """A corpus of one clip, each entry on a frame of its own, without video."""
    layout_one(folder, 1, aihub_clip(1, {i: [one] for i, one in enumerate(entries)}))
    return AIHubMultimodalVideo(folder, audio=False)


def test_a_sample_is_read_to_the_letter(tmp_path: Path) -> None:
    # Sparse frames, string numbers, one silent person, the utterance on every frame it lasts.
    clip = aihub_clip(13, {9: [QUIET], 10: [HEARD, QUIET], 25: [HEARD], 40: [QUIET, HEARD]})
    corpus = AIHubMultimodalVideo(layout_one(tmp_path, 13, clip))
    (row,) = corpus._rows
    assert row.recording == tmp_path / "원천데이터/0013.MP4"
    assert row.cells == {
        "id": "clip_13_1_10_40",
        "clip": 13,
        "dialogue": "clip_13",
        "turn": 0,
        "speaker": "clip_13_person_1",
        "text": "참 잘했다.",
        "label": "angry",
        "labels": {"angry": 1},
        "valence": 5.0,
        "arousal": 5.0,
        "channel_labels": SPOKEN,
        "channel_valence": dict.fromkeys(SPOKEN, 5.0),
        "channel_arousal": dict.fromkeys(SPOKEN, 5.0),
        "first_frame": 10,
        "last_frame": 40,
    }
    assert corpus.labels == EMOTIONS
    assert not corpus.report.findings


@pytest.mark.parametrize("channel", list(SPOKEN))
def test_each_channel_may_be_the_target(tmp_path: Path, channel: Any) -> None:
    layout_one(tmp_path, 13, aihub_clip(13, {10: [HEARD]}))
    corpus = AIHubMultimodalVideo(tmp_path, target=channel, audio=False)
    assert corpus[0]["labels"] == {SPOKEN[channel]: 1}


def test_both_layouts_and_both_spellings_of_the_suffix(tmp_path: Path) -> None:
    for number, suffix in ((5355, "mp4"), (5356, "MP4")):
        layout_two(tmp_path, number, aihub_clip(number, {10: [HEARD]}), suffix)
    layout_one(tmp_path, 13, aihub_clip(13, {10: [HEARD]}))
    corpus = AIHubMultimodalVideo(tmp_path)
    assert corpus.column("clip") == [13, 5355, 5356]
    assert all(row.recording for row in corpus._rows)
    assert corpus.report.sound


def test_folder_names_may_be_decomposed(tmp_path: Path) -> None:
    place = tmp_path / unicodedata.normalize("NFD", "라벨데이터")
    script = unicodedata.normalize("NFD", "참 잘했다.")
    clip = aihub_clip(13, {10: [entry("1", script, 10, 40, **SPOKEN)]})
    corpora.write_clip(place / "clip_13.json", clip)
    corpus = AIHubMultimodalVideo(tmp_path, audio=False)
    assert corpus.column("text") == ["참 잘했다."]


def test_turns_are_told_by_person_and_frames(tmp_path: Path) -> None:
    first = entry("1", "네", "3", "9", multimodal="sad")
    again = entry("1", "네", "30", "39", multimodal="sad")
    other = entry("2", "네", 3, 9, multimodal="fear")
    # Keys are strings: "10" comes before "3" for a computer.
    clip = aihub_clip(1, {30: [again], 3: [first, other], 5: [first], 10: [other]})
    corpus = AIHubMultimodalVideo(layout_one(tmp_path, 1, clip), audio=False)
    assert corpus.column("id") == ["clip_1_1_3_9", "clip_1_2_3_9", "clip_1_1_30_39"]
    assert corpus.column("label") == ["sad", "fear", "sad"]
    assert [turn.speaker for turn in corpus.context(2).preceding] == [
        "clip_1_person_1",
        "clip_1_person_2",
    ]


def test_cp949_files_are_read_and_told(tmp_path: Path) -> None:
    layout_one(tmp_path, 13, aihub_clip(13, {10: [HEARD]}), "cp949")
    corpus = AIHubMultimodalVideo(tmp_path)
    assert corpus.column("text") == ["참 잘했다."]
    assert found(corpus, "repaired") == [("encoding", "clip_13.json", "read as cp949, not utf-8")]


def test_frames_that_disagree(tmp_path: Path) -> None:
    def told(image: str | None, sound: str, valence: float) -> dict[str, Any]:
        one = entry("1", "네", 0, 9, image=image, sound=sound, multimodal="sad")
        one["emotion"]["multimodal"]["valence"] = valence
        return one

    corpus = silent(
        tmp_path,
        told("sad", "fear", 1),
        told("sad", "angry", 2),
        told("null", "fear", 3),
        told("happy", "angry", 6),
    )
    sample = corpus[0]
    assert sample["channel_labels"] == {
        "multimodal": "sad",
        "image": "sad",
        "sound": None,
        "text": None,
    }
    assert sample["valence"] == 3
    assert [(kind, why) for kind, _, why in found(corpus, "noted")] == [
        ("image emotion", "frames disagree; the most frequent counts"),
        ("sound emotion", "frames disagree; a draw: none counts"),
    ]


def test_no_emotion_is_no_label(tmp_path: Path) -> None:
    corpus = silent(tmp_path, entry("1", "네", 0, 9, multimodal=None, image="sad"))
    assert corpus[0]["labels"] == {}
    assert found(corpus, "noted")[0][2] == "no emotion by the multimodal channel"


def test_utterances_without_frames_are_left_out_and_named(tmp_path: Path) -> None:
    nobody = entry("", "네", 0, 9, multimodal="sad")
    corpus = silent(
        tmp_path,
        entry("1", "네", "", "9", multimodal="sad"),
        entry("1", "네", 9, 3, multimodal="sad"),
        nobody,
        entry("1", "네", 0, 9, multimodal="fear"),
    )
    assert corpus.column("label") == ["fear"]
    assert [why for _, _, why in found(corpus, "broken")] == [
        "first or last frame is no number",
        "ends before it starts",
        "no person_id",
    ]
    assert found(corpus, "broken")[0][1] == 'clip_1.json, data["0"]["1"]'


def test_videos_that_cannot_be_used(tmp_path: Path) -> None:
    for number in (1, 2, 3, 4):
        layout_two(tmp_path, number, aihub_clip(number, {10: [HEARD]}))
    (tmp_path / "5201-5600/clip_1/clip_1.mp4").unlink()
    corpora.outline_mp4(tmp_path / "5201-5600/clip_2/clip_2.mp4", cut=2)
    corpora.outline_mp4(tmp_path / "5201-5600/clip_3/0003.mp4")
    corpora.outline_mp4(tmp_path / "elsewhere/0004.mp4")  # the one beside the json counts
    corpus = AIHubMultimodalVideo(tmp_path)
    assert found(corpus, "broken") == [
        ("video", "clip_1", "absent"),
        ("video", "clip_2", "broken off, or overwritten"),
        ("video", "clip_3", "more than one"),
    ]
    assert len(corpus) == 4
    assert corpus[0]["audio"] is None
    dropped = AIHubMultimodalVideo(tmp_path, broken="drop")
    assert dropped.column("clip") == [4]
    assert [name for _, name, _ in found(dropped, "dropped")] == [
        f"clip_{number}_1_10_40" for number in (1, 2, 3)
    ]


def test_two_files_of_one_clip(tmp_path: Path) -> None:
    clip = aihub_clip(7, {10: [HEARD]})
    layout_two(layout_one(tmp_path, 7, clip), 7, clip)
    layout_one(tmp_path, 8, aihub_clip(8, {10: [HEARD]}))
    layout_two(tmp_path, 8, aihub_clip(8, {11: [HEARD]}))
    corpus = AIHubMultimodalVideo(tmp_path, audio=False)
    assert corpus.column("clip") == [7]
    assert found(corpus, "noted")[0][2] == "there twice, the same"
    assert found(corpus, "broken")[0][2] == "two files of one clip differ"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"clip_id": "1",\n"data": {"1": ', "clip_1.json, line 2: not json"),
        ("[]", "clip_1.json, the file"),
        ('{"clip_id": "1"}', "clip_1.json, data"),
        ('{"data": {"x": {}}}', "clip_1.json, data['x']"),
        ('{"data": {"1": []}}', 'clip_1.json, data["1"]'),
        ('{"data": {"1": {"1": 5}}}', 'clip_1.json, data["1"]["1"]'),
        ('{"data": {"1": {}, "1": {}}}', "clip_1.json, '1'"),
        ("[" * 100_000, "clip_1.json, line 1: not json"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_left_out(
    tmp_path: Path, content: str, said: str
) -> None:
    layout_one(tmp_path, 2, aihub_clip(2, {10: [HEARD]}))
    (tmp_path / "라벨데이터/clip_1.json").write_text(content, encoding="utf-8")
    corpus = AIHubMultimodalVideo(tmp_path, audio=False)
    assert corpus.column("clip") == [2]
    ((kind, where, _),) = found(corpus, "broken")
    assert kind == "clip file"
    assert said in where
    (tmp_path / "라벨데이터/clip_2.json").unlink()
    with pytest.raises(InputError, match="no utterance") as caught:
        AIHubMultimodalVideo(tmp_path, audio=False)
    assert said in str(caught.value)


def test_an_unknown_emotion_leaves_the_clip_out(tmp_path: Path) -> None:
    layout_one(tmp_path, 2, aihub_clip(2, {10: [HEARD]}))
    layout_one(tmp_path, 1, aihub_clip(1, {10: [entry("1", "네", 0, 9, sound="joyful")]}))
    corpus = AIHubMultimodalVideo(tmp_path, audio=False)
    assert corpus.column("clip") == [2]
    assert 'clip_1.json, data["10"]["1"].emotion.sound' in found(corpus, "broken")[0][1]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no utterance"):
        AIHubMultimodalVideo(tmp_path)
    with pytest.raises(InputError, match="unknown target"):
        AIHubMultimodalVideo(tmp_path, target="voice")  # type: ignore[arg-type]


CLIP = aihub_clip(1, {4: [HEARD], 10: [HEARD, QUIET], 12: [entry("2", "네", 12, 20, **SPOKEN)]})


@given(st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_mutated_file_never_gives_a_wrong_label(tmp_path: Path, data: st.DataObject) -> None:
    raw = json.dumps(CLIP, ensure_ascii=False)
    how = data.draw(st.sampled_from(["cut", "encoding", "delete", "key", "huge"]))
    at = data.draw(st.integers(0, len(raw) - 1))
    coding = "utf-8"
    if how == "cut":
        raw = raw[:at]
    elif how == "encoding":
        coding = data.draw(st.sampled_from(["cp949", "utf-16", "utf-8-sig", "shift_jis"]))
    elif how == "delete":
        raw = raw[:at] + raw[at + data.draw(st.integers(1, 30)) :]
    elif how == "key":
        old = data.draw(st.sampled_from(["person_id", "script", "emotion", "data", "text"]))
        raw = raw.replace(f'"{old}"', '"else"', data.draw(st.integers(1, 3)))
    else:
        raw = raw.replace("참", "참" * 100_000)
    folder = layout_one(tmp_path, 1, CLIP)
    path = folder / "라벨데이터/clip_1.json"
    path.write_bytes(raw.encode(coding, "replace"))
    try:
        corpus = AIHubMultimodalVideo(folder, audio=False)
    except ModalxaiError as error:
        said = str(error)
    else:
        said = path.name
        assert set(corpus.column("label")) <= {"angry", None}
    assert path.name in said or how in ("delete", "key", "cut")


def test_the_sound_of_an_utterance_is_cut_by_frames(tmp_path: Path) -> None:
    pytest.importorskip("av")
    entries = [entry("1", "네", 25 * i + 2, str(25 * i + 23), sound="sad") for i in range(2)]
    late = entry("1", "끝", 900, 950, sound="sad")
    clip = aihub_clip(1, {i: [one] for i, one in enumerate([*entries, late])})
    layout_one(tmp_path, 1, clip)
    corpora.tone_mp4(tmp_path / "원천데이터/0001.MP4", (500.0, 2000.0), fps=25)
    layout_one(tmp_path, 2, aihub_clip(2, {0: entries[:1]}))
    corpora.tone_mp4(tmp_path / "원천데이터/0002.MP4", ())
    corpus = AIHubMultimodalVideo(tmp_path, target="sound")
    for index, hertz in enumerate((500, 2000)):
        audio = corpus[index]["audio"]
        assert audio.waveform.numel() == pytest.approx(21 / 25 * 16_000, abs=2)
        spectrum = torch.fft.rfft(audio.waveform).abs()
        assert float(spectrum.argmax()) / audio.waveform.numel() * 16_000 == pytest.approx(
            hertz, abs=5
        )
    assert corpus[2]["audio"] is None
    assert corpus[3]["audio"] is None
    report = corpus.check()
    assert [f.subject for f in report.of("dropped")] == ["clip_1_1_900_950", "clip_2_1_2_23"]
    assert report.sound
    assert {c.name: c.found for c in report.counts}["audio read"] == 2
    assert not math.isnan(corpus[0]["valence"])
