from __future__ import annotations

import csv
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import modalxai as mx

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "korean_content_or_tone.py"
COLUMNS = ("path", "transcript", "emotion", "speaker", "part")


def run(folder: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "--data", str(folder), "--device", "cpu", *options],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(folder: Path, rows: list[tuple[object, ...]]) -> None:
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def lines(shown: str, half: str) -> list[list[str]]:
    """Cells of the table's lines of one half."""
    found = [re.split(r"\s{2,}", line.strip()) for line in shown.splitlines()]
    return [cells for cells in found if cells[0] == half and len(cells) > 2]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("korean_content_or_tone", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def toy_corpus(tmp_path: Path) -> Path:
    """Two speakers: in the plain half the pitch is the emotion, in the emotional half the words."""
    import soundfile

    rows = []
    time = np.arange(4800) / 16_000
    for speaker in ("ann", "ben"):
        for emotion, hertz in (("angry", 2000), ("sad", 200)):
            for turn in range(2):
                pitched, flat = f"{speaker}-{emotion}-{turn}.wav", f"{speaker}-{turn}.wav"
                soundfile.write(tmp_path / pitched, 0.1 * np.sin(2 * np.pi * hertz * time), 16_000)
                soundfile.write(tmp_path / flat, 0.1 * np.sin(2 * np.pi * 600 * time), 16_000)
                rows.append((pitched, f"문장 {turn}", emotion, speaker, "plain"))
                copy = f"{speaker}-{emotion}-{turn}-same.wav"
                (tmp_path / copy).write_bytes((tmp_path / flat).read_bytes())
                word = "화가 난다" if emotion == "angry" else "슬프다"
                rows.append((copy, f"{word} {turn}", emotion, speaker, "emotional"))
    write(tmp_path, rows)
    return tmp_path


def test_the_text_gets_the_evidence_where_the_words_decide_and_only_there(toy_corpus, tmp_path):
    shown = run(toy_corpus, "--seeds", "2", "--epochs", "40", "--html", str(tmp_path / "pages"))
    for seed, held_out in enumerate(("ann", "ben")):
        for half, words_decide in (("plain", False), ("emotional", True)):
            cells = lines(shown, half)[seed]
            assert cells[1:4] == [str(seed), held_out, "100 %"]
            share = int(cells[4].removesuffix(" %"))
            assert share > 70 if words_decide else share < 20
    assert "plain: 2 of 2 models have learnt" in shown
    gap = re.search(r"emotional - plain: \+(\d+) percentage points", shown)
    assert gap is not None
    assert int(gap[1]) >= 60
    assert len(list((tmp_path / "pages").glob("*.html"))) == 8


def test_a_model_that_has_not_learnt_is_reported_and_not_explained(toy_corpus, tmp_path):
    rows = [
        ("same.wav", "같은 말", emotion, speaker, half)
        for half in ("plain", "emotional")
        for speaker in ("ann", "ben")
        for emotion in ("angry", "sad")
    ]
    for index, row in enumerate(rows):  # one recording under many names: nothing to learn
        (tmp_path / f"{index}.wav").write_bytes((tmp_path / "ann-0.wav").read_bytes())
        rows[index] = (f"{index}.wav", *row[1:])
    write(tmp_path, rows)
    shown = run(tmp_path, "--seeds", "1", "--epochs", "2", "--html", str(tmp_path / "pages"))
    for half in ("plain", "emotional"):
        assert lines(shown, half)[0][3:] == ["50 %", "-", "50 %", "not learnt", "-"]
        assert f"{half}: 0 of 1 models have learnt" in shown
    assert "percentage points" not in shown
    assert not (tmp_path / "pages").exists()


def test_shares_are_a_ratio_of_mean_magnitudes_of_the_true_label(example):
    labels = ("angry", "happy", "sad")
    samples = [
        {"id": str(i), "text": f"말 {i}", "labels": {name: 1}}
        for i, name in enumerate(("sad", "angry", "sad"))
    ]
    explanation = mx.explain(example.build(labels), samples, removal="absent")
    # Angry's score under (), (audio), (text), (audio, text), for each sample; the others score 0.
    # On clr angry has two thirds of it, every other label minus one third.
    angry = torch.tensor([[0.0, 3, 0, 3], [0, 0, -6, -6], [0, 0, 0, 12]])
    draws = torch.zeros(1, 4, 3, 3)
    draws[0, :, :, 0] = angry.T
    made = replace(explanation, draws=draws, present=torch.ones(3, 2, dtype=torch.bool))
    # audio: 1, 0 and half of 4; text: 0, 4 and half of 4.
    assert example.shares(made) == pytest.approx({"audio": 3 / 9, "text": 6 / 9})


def test_real_recordings_of_one_speaker_are_held_out(speech_data, tmp_path):
    folder = speech_data / "korean_emotional_speech"
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # The first recording of each emotion by two speakers of each half.
    first: dict[tuple[str, str], tuple[object, ...]] = {}
    for row in rows:
        if row["speaker"] in ("ema", "emf", "nea", "neb"):
            cells = tuple(row[name] for name in COLUMNS)
            first.setdefault((row["speaker"], row["emotion"]), cells)
    # Copies, because a manifest reads no file outside its own folder.
    for path, *_ in first.values():
        (tmp_path / str(path)).parent.mkdir(exist_ok=True)
        shutil.copy(folder / str(path), tmp_path / str(path))
    write(tmp_path, list(first.values()))
    shown = run(tmp_path, "--seeds", "1", "--epochs", "2")
    for half, held_out in (("plain", "ema"), ("emotional", "nea")):
        (cells,) = lines(shown, half)
        assert cells[1:3] == ["0", held_out]
        assert cells[3] in ("0 %", "25 %", "50 %", "75 %", "100 %")  # four training recordings
