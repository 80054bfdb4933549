from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
FAST = {
    "train_your_own_loop.py": ["--epochs", "1", "--samples", "72", "--device", "cpu"],
}
"""Settings under which an example takes seconds."""
NEED_DATA = {"korean_content_or_tone.py"}
"""Examples on real recordings, with tests of their own."""


def run(name: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *options],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=900,
        check=False,
    )


def test_every_example_is_run_here_or_needs_data():
    assert {path.name for path in EXAMPLES.glob("*.py")} - NEED_DATA == set(FAST)


@pytest.mark.parametrize("name", sorted(FAST))
def test_example_says_its_options(name, tmp_path):
    shown = run(name, tmp_path, "--help")
    assert shown.returncode == 0, shown.stderr
    assert all(option in shown.stdout for option in FAST[name] if option.startswith("--"))


def test_the_loop_prints_progress_accuracy_and_a_row_per_emotion_twice_the_same(tmp_path):
    name = "train_your_own_loop.py"
    done, again = (run(name, tmp_path, *FAST[name]) for _ in range(2))
    assert done.returncode == 0, done.stderr
    assert "epoch 1/1" in done.stderr
    found = re.search(r"accuracy on speakers it has never heard: (\d\.\d\d)", done.stdout)
    assert found is not None
    assert 0 <= float(found[1]) <= 1
    for label in ("anger", "joy", "sadness", "fear", "surprise", "neutral"):
        assert any(line.startswith(label) for line in done.stdout.splitlines())
    assert again.stdout == done.stdout
    assert not list(tmp_path.iterdir())
