from __future__ import annotations

import importlib.util
import json
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
SMALL = ["--epochs", "1", "--samples", "48"]
FRAMEWORKS = {
    "accelerate_loop.py": [*SMALL, "--out", "accelerate"],
    "lightning_module.py": SMALL,
    "transformers_trainer.py": [*SMALL, "--out", "trainer"],
}
"""The same training in other people's loops; they are run in one process, one after the other."""
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
    assert {path.name for path in EXAMPLES.glob("*.py")} - NEED_DATA == {*FAST, *FRAMEWORKS}


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


ONE_PROCESS = """
import json, runpy, sys
for path, options in json.loads(sys.argv[1]):
    print(f"== {path}", flush=True)
    sys.argv = [path, *options]
    runpy.run_path(path, run_name="__main__")
"""


@pytest.fixture(scope="module")
def framework_runs(tmp_path_factory):
    if importlib.util.find_spec("lightning") is None:
        pytest.skip("needs lightning")
    folder = tmp_path_factory.mktemp("frameworks")
    runs = [(str(EXAMPLES / name), options) for name, options in FRAMEWORKS.items()]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ONE_PROCESS, json.dumps(runs)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parts = re.split(r"^== .*/(\S+)$", done.stdout, flags=re.MULTILINE)
    return folder, dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", sorted(FRAMEWORKS))
def test_a_framework_trains_and_explains(name, framework_runs):
    _, printed = framework_runs
    assert "Contribution of each modality" in printed[name]
    for label in ("anger", "joy", "sadness", "fear", "surprise", "neutral"):
        assert any(line.startswith(label) for line in printed[name].splitlines())
    assert len((EXAMPLES / name).read_text("utf-8").splitlines()) <= 60


def test_a_framework_changes_no_number(framework_runs):
    _, printed = framework_runs
    tables = {
        name: text[text.index("Contribution of each modality") :] for name, text in printed.items()
    }
    assert tables["accelerate_loop.py"] == tables["lightning_module.py"]
    assert tables["accelerate_loop.py"] == _by_hand()


def test_what_a_framework_saves_can_be_loaded(framework_runs):
    import modalxai as mx

    folder, printed = framework_runs
    model = mx.EmotionModel.from_pretrained(folder / "accelerate")
    assert mx.EmotionModel.from_pretrained(folder / "trainer" / "model").labels == model.labels
    assert re.search(r"speakers it has never heard: \d\.\d{3}", printed["transformers_trainer.py"])
    assert {path.name for path in folder.iterdir()} == {"accelerate", "trainer"}


def _by_hand() -> str:
    """The same training in plain PyTorch."""
    import torch
    from torch.utils.data import DataLoader

    import modalxai as mx
    from modalxai.datasets import tonebench

    torch.manual_seed(0)
    rule = tonebench.emotions()
    seen = tonebench.ToneBench(rule, 48, speakers=range(8), cache=True)
    unseen = tonebench.ToneBench(rule, 16, speakers=range(8, 12), cache=True)
    size = {"dim": 32, "channels": 32, "layers": 2, "strides": (2, 2)}
    audio = mx.plugins.create("encoders", "mel-cnn", **size)
    text = mx.plugins.create("encoders", "byte-text", dim=32)
    dims = {"audio": audio.dim, "text": text.dim}
    fusion = mx.plugins.create("fusion", "shallow", dims=dims, labels=mx.labels(*rule.labels))
    model = mx.EmotionModel({"audio": audio, "text": text}, fusion, modality_dropout=0.15)
    loss = mx.training.EmotionLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    model.train()
    for batch in DataLoader(seen, 32, shuffle=True, collate_fn=model.collate):
        optimizer.zero_grad()
        loss(model(batch), batch.targets).backward()
        optimizer.step()
    return mx.Report(mx.explain(model, unseen), cluster="speaker").table() + "\n"
