"""The demo: train on synthetic speech whose truth is planted, explain new speakers, report.

Everything is made on the spot; nothing is downloaded. What decides each emotion (the tone, the
words, both, or sarcasm) is known, so the measured shares can be held against the truth.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch.utils.data import DataLoader

import modalxai as mx
from modalxai import storage
from modalxai.datasets import tonebench
from modalxai.errors import InputError
from modalxai.report import Report

TRAINING_CLIPS, TEST_CLIPS = 2400, 480
EPOCHS = 20
DONORS = 16
BATCH_SIZE = 32
COLUMNS = ("id", "audio", "text", "label", "speaker")


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What the demo found.

    Parameters
    ----------
    report
        The explanation of held-out speakers; ``report.gold`` holds the planted truth.
    path
        The page.
    errors
        By emotion, |measured - planted| of the audio's share, 0..1; NaN where the report gives
        no share.
    model, clips
        Where the model was saved, and the manifest of some held-out recordings; None where only
        the page was asked for.
    """

    report: Report
    path: Path
    errors: dict[str, float]
    model: Path | None = None
    clips: Path | None = None


def run(
    out: str | Path,
    seed: int = 0,
    rules: str = "plain",
    labels: str = "true",
    quiet: bool = False,
) -> DemoResult:
    """Train, explain, write the page and print the table.

    Parameters
    ----------
    out
        The page to write; or a folder for ``report.html``, and for the model (``model/``) and a
        recording of each held-out speaker (``clips.csv``) to go on with.
    seed
        Of the recordings, the speakers and the weights.
    rules
        ``"plain"``, or ``"shuffled"``: the same structure planted under other names, so that
        another emotion lies in the tone.
    labels
        ``"true"``, or ``"shuffled"``: labels drawn at random, so that there is nothing to learn.
    quiet
        Print nothing, show no progress.

    Raises
    ------
    InputError
        Unknown rules or labels.
    """
    for name, given, known in (("rules", rules, "plain"), ("labels", labels, "true")):
        if given not in (known, "shuffled"):
            raise InputError(
                f"unknown {name}",
                expected=f"{known!r} or 'shuffled'",
                got=repr(given),
                mend="choose one of them",
            )
    rule = tonebench.emotions() if rules == "plain" else tonebench.emotions().shuffled(seed)
    planted = {
        label: {"audio": truth.audio, "text": truth.text}
        for label, truth in tonebench.gold(rule).items()
    }
    if labels == "shuffled":
        rule, planted = rule.unrelated(), {}
    # Raters who agree nine times in ten; shuffled labels are one rater's, and mean nothing.
    raters = labels == "true"
    first = 100 * seed  # no two seeds share a speaker
    seen = tonebench.ToneBench(
        rule, TRAINING_CLIPS, speakers=range(first, first + 20), seed=seed, soft=raters, cache=True
    )
    unseen = tonebench.ToneBench(
        rule, TEST_CLIPS, speakers=range(first + 50, first + 74), seed=seed, cache=True
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(mx.labels(*rule.labels))
        train(model, seen, quiet)
    explanation = mx.explain(model, unseen, batch_size=BATCH_SIZE, progress=not quiet)
    background = [seen[index] for index in range(0, TRAINING_CLIPS, 10)]
    # Two other meanings of "without", so that the report can say whether the answer hangs on it.
    others = [
        mx.explain(
            model,
            unseen,
            removal=removal,
            background=background,
            draws=draws,
            batch_size=BATCH_SIZE,
            progress=not quiet,
        )
        for removal, draws in (("mean", 1), ("marginal", DONORS))
    ]
    report = Report(explanation, cluster="speaker", alternatives=others, gold=planted)
    only = Path(out).suffix == ".html"
    path = Path(out) if only else Path(out) / "report.html"
    report.save_html(path)
    saved, clips = (None, None) if only else keep(Path(out), model, unseen)
    if not quiet:
        print(report.table())
        print(f"\nwritten: {path}")
        if not only:
            print(f"next: modalxai explain {saved} {clips} --out {Path(out) / 'run'}")
    errors = {
        row.label: abs(row.share["audio"] - planted[row.label]["audio"])
        for row in report.shares()
        if row.label in planted
    }
    return DemoResult(report, path, errors, saved, clips)


def keep(folder: Path, model: mx.EmotionModel, samples: Any) -> tuple[Path, Path]:
    """Save the model, and one recording of each speaker with its row in a manifest."""
    first: dict[str, Any] = {}
    for sample in samples:
        first.setdefault(sample["speaker"], sample)
    rows = []
    for sample in first.values():
        name = f"clips/{sample['id']}.wav"
        (label,) = sample["labels"]
        rows.append([sample["id"], name, sample["text"], label, sample["speaker"]])
        recording, wav = sample["audio"], io.BytesIO()
        soundfile.write(wav, recording.waveform.numpy(), recording.sample_rate, format="WAV")
        storage.write_file(folder / name, partial(Path.write_bytes, data=wav.getvalue()))
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([COLUMNS, *rows])
    storage.write_text(folder / "clips.csv", table.getvalue())
    model.save_pretrained(folder / "model")
    return folder / "model", folder / "clips.csv"


def build(labels: tuple[mx.Label, ...]) -> mx.EmotionModel:
    """A small model: log-mels, bytes, one hidden layer."""
    audio = mx.encoders.MelCnnEncoder(
        dim=64, channels=64, hop=0.016, strides=(2, 2, 1, 1), dropout=0.0
    )
    text = mx.encoders.ByteTextEncoder(dim=32, layers=1, dropout=0.0)
    fusion = mx.fusion.ShallowFusion({"audio": 64, "text": 32}, labels, hidden=128)
    return mx.EmotionModel({"audio": audio, "text": text}, fusion, modality_dropout=0.25)


def train(model: mx.EmotionModel, samples: Any, quiet: bool = False) -> None:
    """A plain PyTorch loop."""
    loader = DataLoader(samples, BATCH_SIZE, shuffle=True, collate_fn=model.collate)
    step = mx.training.Objective(model, mx.training.EmotionLoss())
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 2e-3, total_steps=EPOCHS * len(loader)
    )
    model.train()
    epochs: Iterable[int] = range(EPOCHS)
    if not quiet:
        from tqdm import tqdm

        epochs = tqdm(epochs, desc="training", unit="epoch", delay=0)
    for _ in epochs:
        for batch in loader:
            optimizer.zero_grad()
            step(**batch)["loss"].backward()
            optimizer.step()
            schedule.step()
