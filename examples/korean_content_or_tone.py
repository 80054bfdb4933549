"""Does a model listen to the words or to the voice? Real Korean speech, of two kinds.

In the ``plain`` half of the corpus the same sentences are spoken in every emotion, so that the
words carry no evidence and a right explanation must say so. In the ``emotional`` half each sentence
has one emotion: the words alone suffice, and the voice may help.

For each half and seed, one speaker is held out, a model is trained on the others, and the evidence
for the true label is divided between text and audio. The speakers it was trained on show what the
model has learnt; the held-out speaker shows what of it carries over to a new voice.

Run it with ``python examples/korean_content_or_tone.py --data FOLDER``, where FOLDER holds a
``manifest.csv`` with the columns path, transcript, emotion, speaker and part. For a corpus of your
own, change `read` and `HALVES`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

import modalxai as mx
from modalxai.datasets import ManifestCorpus

HALVES = ("plain", "emotional")
"""Values of the column ``part``."""
LEARNT = 0.9
"""The training accuracy below which there is nothing to explain."""

Samples = list[dict[str, Any]]


@dataclass(frozen=True)
class Run:
    """One trained model; a share is NaN where the model was not explained."""

    half: str
    seed: int
    held_out: str
    seen_accuracy: float
    seen_share: float
    unseen_accuracy: float
    unseen_gate: str
    unseen_share: float


def read(folder: Path) -> ManifestCorpus:
    """The corpus: which column of the manifest is what. The rest travels with the samples."""
    return ManifestCorpus(
        folder / "manifest.csv", id=None, audio="path", text="transcript", label="emotion"
    )


def build(labels: tuple[str, ...]) -> mx.EmotionModel:
    """Two small encoders and a fusion, all from random weights."""
    # Convolutions alone: at this size attention over the audio takes longer to learn.
    audio = mx.plugins.create("encoders", "mel-cnn", dim=64, channels=64, attention_layers=0)
    text = mx.plugins.create("encoders", "byte-text", dim=64)
    fusion = mx.plugins.create(
        "fusion",
        "shallow",
        dims={"audio": audio.dim, "text": text.dim},
        labels=mx.labels(*labels),
        hidden=128,
    )
    # Dropping each modality now and then teaches the model what "absent" means.
    return mx.EmotionModel({"audio": audio, "text": text}, fusion=fusion, modality_dropout=0.2)


def train(model: mx.EmotionModel, samples: Samples, epochs: int, title: str) -> None:
    """A plain PyTorch loop; the same settings for both halves."""
    step = mx.training.Objective(model, mx.training.EmotionLoss())
    loader = DataLoader(samples, batch_size=4, shuffle=True, collate_fn=model.collate)
    # On so few recordings a higher rate stays at chance for long: batches of 4 are noisy.
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    model.train()
    bar = tqdm(range(epochs), desc=title, unit="epoch")
    for _ in bar:
        total = 0.0
        for batch in loader:
            optimizer.zero_grad()
            loss = step(**batch.to(model.device))["loss"]
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch.ids)
        bar.set_postfix(loss=f"{total / len(samples):.3f}")


def accuracy(model: mx.EmotionModel, samples: Samples) -> float:
    """Part of the samples whose highest score is their label's."""
    names = [label.name for label in model.labels]
    best = model.predict(samples).scores.argmax(1).tolist()
    return sum(names[i] in one["labels"] for i, one in zip(best, samples, strict=True)) / len(best)


def shares(explanation: mx.Explanation) -> dict[str, float]:
    """Each modality's magnitude share of the true label's evidence: a ratio of means, on clr."""
    evidence = explanation.shapley(scale="clr").totals.abs()  # [sample, label, modality]
    true = explanation.targets.values.argmax(1)
    means = evidence.take_along_dim(true[:, None, None], 1).mean((0, 1))
    return dict(zip(explanation.modalities, (means / means.sum()).tolist(), strict=True))


def run(corpus: ManifestCorpus, half: str, seed: int, options: argparse.Namespace) -> Run:
    """Hold out one speaker, train on the others, explain both."""
    torch.manual_seed(seed)
    everyone = sorted(set(corpus.where(part=half).column("speaker")))
    held_out = everyone[seed % len(everyone)]
    others = [name for name in everyone if name != held_out]
    # Lists, so that each recording is read once and not once per epoch.
    seen = list(corpus.where(part=half, speaker=others))
    unseen = list(corpus.where(part=half, speaker=held_out))

    model = build(corpus.labels).to(options.device)
    train(model, seen, options.epochs, f"{half}, seed {seed}, without {held_out}")
    scores = accuracy(model, seen), accuracy(model, unseen)
    if scores[0] < LEARNT:
        nothing = float("nan")
        return Run(half, seed, held_out, scores[0], nothing, scores[1], "not learnt", nothing)

    # Every combination of audio and text, each encoded once; "absent" is what dropout has taught.
    explained = {
        "seen": mx.explain(model, seen, removal="absent"),
        "unseen": mx.explain(model, unseen, removal="absent"),
    }
    # One held-out voice: the gate asks whether the model does better than a constant over its
    # sentences. It says nothing about yet other voices.
    reports = {
        "seen": mx.Report(explained["seen"], by="true", cluster="speaker"),
        "unseen": mx.Report(explained["unseen"], by="true", cluster="text"),
    }
    if options.html:
        for name, report in reports.items():
            report.save_html(options.html / f"{half}-seed{seed}-{name}.html")
    at_chance = reports["unseen"].chance().at_chance
    gate = {True: "at chance", False: "above chance", None: "not judged"}[at_chance]
    return Run(
        half=half,
        seed=seed,
        held_out=held_out,
        seen_accuracy=scores[0],
        seen_share=shares(explained["seen"])["text"],
        unseen_accuracy=scores[1],
        unseen_gate=gate,
        unseen_share=shares(explained["unseen"])["text"] if at_chance is False else float("nan"),
    )


def percent(value: float) -> str:
    """``"64 %"``, or a dash where there is none."""
    return "-" if value != value else f"{100 * value:.0f} %"


def row(*cells: object) -> str:
    """One line of the table."""
    widths = (10, 5, 9, 9, 9, 9, 13, 9)
    return " ".join(f"{cell!s:>{width}}" for cell, width in zip(cells, widths, strict=True))


def show(runs: list[Run]) -> None:
    """A line per model, then mean and range of the text's share over the seeds."""
    print("\nText's share of the evidence for the true label (removal absent, scale clr);")
    print("the rest is the voice's. A dash: not explained.\n")
    print(row("", "", "held-out", "training speakers:", "", "held-out speaker:", "", ""))
    print(row("half", "seed", "speaker", "accuracy", "text", "accuracy", "gate", "text"))
    for one in runs:
        print(
            row(
                one.half,
                one.seed,
                one.held_out,
                percent(one.seen_accuracy),
                percent(one.seen_share),
                percent(one.unseen_accuracy),
                one.unseen_gate,
                percent(one.unseen_share),
            )
        )
    print()
    means = {}
    for half in HALVES:
        of_half = [one for one in runs if one.half == half]
        found = [one.seen_share for one in of_half if one.unseen_gate != "not learnt"]
        line = f"{half}: {len(found)} of {len(of_half)} models have learnt"
        if found:
            means[half] = sum(found) / len(found)
            line += f"; text's share, training speakers: mean {percent(means[half])}"
            line += f", range {percent(min(found))} to {percent(max(found))}"
        print(line)
    if len(means) == len(HALVES):
        gap = 100 * (means["emotional"] - means["plain"])
        print(f"emotional - plain: {gap:+.0f} percentage points")


def main() -> None:
    """Train and explain one model per half and seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--seeds", type=int, default=5, help="models per half")
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--html", type=Path, help="folder for a page per model and speaker group")
    parser.add_argument(
        "--threads", type=int, default=1, help="of the CPU; more are slower where cores are shared"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    corpus = read(options.data)
    show([run(corpus, half, seed, options) for half in HALVES for seed in range(options.seeds)])


if __name__ == "__main__":
    main()
