"""Does reading keep ahead of training? A loader of two workers against a mel-cnn training step.

A manifest of 10,000 rows lists short flac recordings, as a corpus does: its cells are checked on
opening, a recording is read when its row is, and batches are collated in the workers. Three figures
decide: the loader's seconds per batch over a training step's, each by itself on the same two cores;
how long a loop that trains waits for its batches, both at once; and the memory of this process and
its workers, which must not grow with the rows that were read.

Run: python benchmarks/loader.py [--rows 10000]
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import psutil
import soundfile
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

import modalxai as mx
from modalxai.types import Batch

RATE = 16_000
FILES = 500
"""Different recordings; rows share them, so that the folder stays small."""
SECONDS = (1.0, 3.0)
BATCH = 16
WORKERS = 2
WARM, STEPS = 3, 12
GROWTH = 1.05
EMOTIONS = mx.labels("anger", "joy", "neutral", "sadness")
WORDS = "참 잘했다 what a lovely day it is again".split()


def write_corpus(folder: Path, rows: int) -> Path:
    """A csv file of so many rows, and the recordings it lists."""
    random = np.random.default_rng(0)
    for number in range(FILES):
        seconds = random.uniform(*SECONDS)
        time_axis = np.arange(int(seconds * RATE)) / RATE
        pitch = random.uniform(90, 250) * (1 + 0.1 * np.sin(2 * np.pi * 2 * time_axis))
        tone = sum(np.sin(2 * np.pi * k * np.cumsum(pitch) / RATE) / k for k in range(1, 9))
        noisy = 0.1 * tone + 0.005 * random.standard_normal(len(time_axis))
        soundfile.write(folder / f"clip{number}.flac", noisy, RATE)
    manifest = folder / "manifest.csv"
    with manifest.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "audio", "text", "label", "speaker"])
        for row in range(rows):
            said = " ".join(random.choice(WORDS, 8))
            emotion = EMOTIONS[row % len(EMOTIONS)].name
            table.writerow([f"u{row}", f"clip{row % FILES}.flac", said, emotion, f"s{row % 40}"])
    return manifest


def memory() -> float:
    """Megabytes of this process and its workers."""
    me = psutil.Process()
    return sum(one.memory_info().rss for one in (me, *me.children(recursive=True))) / 1e6


def loader(model: mx.EmotionModel, corpus: mx.datasets.ManifestCorpus) -> DataLoader[Batch]:
    return DataLoader(
        corpus, batch_size=BATCH, shuffle=True, num_workers=WORKERS, collate_fn=model.collate
    )


def read_all(batches: Iterable[Batch], marks: tuple[int, int]) -> tuple[float, dict[int, float]]:
    """Wall seconds per batch once the first has come, and the memory at two rows."""
    start, count, rows, found = 0.0, -1, 0, dict[int, float]()
    for batch in batches:
        count, rows = count + 1, rows + len(batch.ids)
        start = start or time.perf_counter()
        for mark in marks:
            if rows >= mark and mark not in found:
                found[mark] = memory()
    return (time.perf_counter() - start) / max(1, count), found


def train(model: mx.EmotionModel, batches: Iterator[Batch]) -> tuple[float, float]:
    """Median wall seconds of a training step, and of the wait for its batch."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    steps, waits = [], []
    for _ in range(WARM + STEPS):
        asked = time.perf_counter()
        batch = next(batches)
        start = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(model(batch).scores, batch.targets.values).backward()
        optimizer.step()
        steps.append(time.perf_counter() - start)
        waits.append(start - asked)
    return statistics.median(steps[WARM:]), statistics.median(waits[WARM:])


def main() -> int:
    arguments = argparse.ArgumentParser(description="Is the loader ahead of training?")
    arguments.add_argument("--rows", type=int, default=10_000)
    rows = max(1000, arguments.parse_args().rows)
    torch.manual_seed(0)
    audio = mx.plugins.create("encoders", "mel-cnn")
    fusion = mx.plugins.create("fusion", "shallow", dims={"audio": audio.dim}, labels=EMOTIONS)
    model = mx.EmotionModel({"audio": audio}, fusion, modality_dropout=0.1).train()
    with tempfile.TemporaryDirectory() as folder:
        manifest = write_corpus(Path(folder), rows)
        start = time.perf_counter()
        corpus = mx.datasets.ManifestCorpus(manifest)
        opened = time.perf_counter() - start
        marks = (1000, rows)
        per_batch, found = read_all(loader(model, corpus), marks)
        few = [model.collate([corpus[BATCH * b + i] for i in range(BATCH)]) for b in range(4)]
        step, _ = train(model, cycle(few))
        together, waited = train(model, iter(loader(model, corpus)))
    ratio, grown = per_batch / step, found[marks[1]] / found[marks[0]]
    print(f"{rows} rows opened in {opened:.2f} s; {BATCH} recordings of 1 to 3 s a batch")
    print(f"loader of {WORKERS} workers: {1000 * per_batch:6.1f} ms a batch")
    print(f"mel-cnn training step:  {1000 * step:6.1f} ms, {torch.get_num_threads()} threads")
    print(f"loader / step:          {ratio:6.2f} (below 1: the loader is ahead)")
    print(f"both at once:           {1000 * together:6.1f} ms a step, {1000 * waited:.1f} waited")
    for mark in marks:
        print(f"memory at row {mark:6}:  {found[mark]:6.0f} MB, workers included")
    print(f"grown by a factor of    {grown:6.3f} (limit {GROWTH})")
    return int(ratio >= 1 or waited > 0.1 * together or grown > GROWTH)


if __name__ == "__main__":
    raise SystemExit(main())
