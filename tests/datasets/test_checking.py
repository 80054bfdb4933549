from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from tests.support import corpora
from typer.testing import CliRunner

from modalxai.cli import app
from modalxai.datasets import CorpusReport, Count, Finding
from modalxai.datasets.checking import CORPORA, check
from modalxai.datasets.meld import PUBLISHED

runner = CliRunner()
LINES = {
    "train": [corpora.meld_row(0, 0), corpora.meld_row(0, 1)],
    "dev": [corpora.meld_row(110, 7)],
    "test": [corpora.meld_row(0, 0)],
}


def run(*arguments: str | Path) -> tuple[int, str]:
    done = runner.invoke(app, ["datasets", "check", *map(str, arguments)])
    return done.exit_code, done.output


def test_a_part_is_incomplete_unless_it_is_meant_to_be(tmp_path: Path) -> None:
    corpora.meld(tmp_path, LINES)
    code, said = run("meld", tmp_path, "--no-audio")
    assert code == 1
    assert "  train rows             2  of 9989  DIFFERS\n" in said
    assert "broken: 0" in said
    assert run("MELD", tmp_path, "--no-audio", "--partial")[0] == 0


def test_a_whole_corpus_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpora.meld(tmp_path, LINES)
    counts = {count.name: count.found for count in check("meld", tmp_path, audio=False).counts}
    monkeypatch.setattr("modalxai.datasets.meld.PUBLISHED", {**PUBLISHED, **counts})
    code, said = run("meld", tmp_path, "--no-audio")
    assert (code, "DIFFERS" in said) == (0, False)


def test_what_is_broken_ends_with_1_and_is_named_in_json(tmp_path: Path) -> None:
    corpora.meld(tmp_path, LINES, {"train": ["dia0_utt0.mp4"], "dev": ["a.mp4"], "test": ["b.mp4"]})
    corpora.outline_mp4(tmp_path / "train/train_splits/dia0_utt0.mp4", cut=1)
    code, said = run("meld", tmp_path, "--json", "--partial")
    assert code == 1
    told = json.loads(said)
    assert told["sound"] is False
    assert [f["subject"] for f in told["findings"] if f["outcome"] == "broken"] == [
        "train_dia0_utt0",
        "train_dia0_utt1",
        "test_dia0_utt0",
    ]
    assert {"name": "dev clips", "found": 1, "published": 1112, "exact": True} in told["counts"]


@pytest.mark.parametrize("name", ["kemdy19", "kemdy20", "aihub"])
def test_every_corpus_can_be_checked(tmp_path: Path, name: str) -> None:
    if name == "kemdy20":
        tie = corpora.kemdy20_row("Sess01_script01_User001F_001", "happy;neutral")
        corpora.kemdy20(tmp_path, {1: [tie]})
    elif name == "kemdy19":
        rows = [corpora.kemdy19_row("Sess02_script01_F001")]
        corpora.kemdy19(tmp_path, {(2, "F"): rows, (2, "M"): rows})
    else:
        clip = corpora.aihub_clip(1, {1: [corpora.entry(multimodal="sad")]})
        corpora.write_clip(tmp_path / "clip_1/clip_1.json", clip)
    code, said = run(name, tmp_path, "--partial", "--no-audio")
    assert code == 0, said
    assert "broken: 0" in said


def test_a_manifest_is_checked_by_its_file(tmp_path: Path) -> None:
    corpora.wave(tmp_path / "a.wav")
    path = tmp_path / "m.csv"
    path.write_text("id,audio,text,label,speaker\nu1,a.wav,hi,joy,s1\n", encoding="utf-8")
    assert run("manifest", path)[0] == 0
    (tmp_path / "a.wav").write_bytes(b"torn")
    code, said = run("manifest", path)
    assert code == 1
    assert "unreadable (1)" in said


def test_a_manifest_of_other_columns_is_checked_by_naming_them(tmp_path: Path) -> None:
    corpora.wave(tmp_path / "a.wav")
    path = tmp_path / "m.csv"
    path.write_text("path,transcript,emotion,speaker\na.wav,hi,joy,s1\n", encoding="utf-8")
    named = [f"--column={one}" for one in ("id=", "audio=path", "text=transcript", "label=emotion")]
    assert run("manifest", path)[0] == 2
    code, said = run("manifest", path, *named)
    assert (code, "audio read  " in said) == (0, True), said
    # Without reading them, recordings that are torn are no matter; those that are absent are.
    (tmp_path / "a.wav").write_bytes(b"torn")
    assert run("manifest", path, *named)[0] == 1
    code, said = run("manifest", path, *named, "--no-audio")
    assert (code, "audio read" in said) == (0, False), said
    for wrong in ("--column=sound=path", "--column=path", "--column=id=path"):
        code, said = run("manifest", path, *named, wrong)
        assert (code, "names no column" in said) == (2, True)
    assert run("meld", tmp_path, "--column=id=path")[0] == 2


def test_a_standard_manifest_can_be_checked_without_reading_sound(tmp_path: Path) -> None:
    corpora.wave(tmp_path / "a.wav")
    path = tmp_path / "m.csv"
    path.write_text("id,audio,text,label,speaker\nu1,a.wav,hi,joy,s1\n", encoding="utf-8")
    code, said = run("manifest", path, "--no-audio")
    assert (code, "recordings  " in said) == (0, True), said


def test_what_cannot_be_opened_ends_with_2(tmp_path: Path) -> None:
    for name in (*CORPORA, "manifest", "iemocap"):
        code, said = run(name, tmp_path)
        assert code == 2, said
        assert "error: " in said
        assert "Traceback" not in said


def test_a_report_is_frozen_and_groups_its_findings() -> None:
    found = tuple(Finding("dropped", "clip", f"c{i}", "absent") for i in range(7))
    report = CorpusReport("X", "/x", (Count("rows", 3, 3), Count("joy", 1, 9, exact=False)), found)
    assert report.sound
    assert report.complete
    assert str(report).splitlines() == [
        "X in /x",
        "  rows        3  of 3",
        "  joy         1  (published 9, counted otherwise)",
        "broken: 0",
        "dropped: 7",
        "  clip (7): absent: c0, c1, c2, c3, c4, and 2 more",
        "repaired: 0",
        "noted: 0",
    ]
    with pytest.raises(FrozenInstanceError):
        report.corpus = "Y"  # type: ignore[misc]
    assert not CorpusReport("X", "/x", (), (Finding("broken", "a", "b", "c"),)).sound
    assert not CorpusReport("X", "/x", (Count("rows", 2, 3),), ()).complete
