"""Can a long run be trusted: kills, memory, time, processes, and the speed of a stored corpus?

- 20 times two processes explain a corpus of 2,000 utterances and are killed (SIGKILL) at a random
  moment; what is left is gone on with, and compared with a run that nobody disturbed.
- Peak memory and CPU time of 1,000, 3,000 and 10,000 utterances, and the exponent fitted to time.
- Utterances per second of two single-threaded processes over one.
- Explanations per minute of a corpus of vectors on disk: 150 x 768 and 24 x 768 in float16 per
  utterance, pooled head, two modalities, 7 labels, two processes.

Run: python benchmarks/corpus_run.py [kills|growth|processes|vectors ...], on an idle machine
"""

from __future__ import annotations

import json
import math
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

import modalxai as mx
from modalxai.corpus_run import CorpusRun, parquet

KILLS = 20
UTTERANCES = 2_000
SIZES = (1_000, 3_000, 10_000)
CHUNK = 20
STORED = 4_000
EMOTIONS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")


class Clips(Dataset[dict[str, Any]]):
    """Noise of .3 to .5 seconds and a few words, made when asked for."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> dict[str, Any]:
        draw = torch.Generator().manual_seed(place)
        noise = 0.1 * torch.randn(4800 + 16 * (place * 7 % 200), generator=draw)
        words = "참 잘했다 " * (1 + place % 3)
        return {"id": f"u{place}", "audio": mx.Audio(noise, 16_000), "text": words}


class Stored(Dataset[dict[str, Any]]):
    """Vectors in two files, mapped into memory."""

    def __init__(self, folder: Path) -> None:
        self.audio = np.load(folder / "audio.npy", mmap_mode="r")
        self.text = np.load(folder / "text.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self.audio)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {"id": f"u{place}", "audio": self.audio[place], "text": self.text[place]}


def store(folder: Path) -> None:
    """Write the vectors."""
    generator = np.random.default_rng(0)
    for name, units in (("audio", 150), ("text", 24)):
        shape = (STORED, units, 768)
        file = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float16, shape)
        for place in range(STORED):
            file[place] = generator.standard_normal(shape[1:])
        file.flush()


def model(kind: str) -> mx.EmotionModel:
    torch.manual_seed(0)
    parts = {
        "clips": lambda: {
            "audio": mx.plugins.create("encoders", "mel-cnn", dim=16, mels=16, channels=8, heads=2),
            "text": mx.plugins.create("encoders", "byte-text", dim=16, layers=1, heads=2),
        },
        "stored": lambda: {name: mx.encoders.VectorEncoder(768) for name in ("audio", "text")},
    }[kind]()
    dims = {name: part.dim for name, part in parts.items()}
    labels = mx.labels(*EMOTIONS)
    fusion = mx.plugins.create("fusion", "shallow", dims=dims, labels=labels)
    return mx.EmotionModel(parts, fusion=fusion, modality_dropout=0.1)


def work(kind: str, count: int, data: str, out: str, number: int, of: int) -> None:
    """One process: explain its share, and print what it cost."""
    torch.set_num_threads(1)
    made = model(kind)
    corpus: Any = Clips(count) if kind == "clips" else Stored(Path(data))
    chunk, batch = (CHUNK, 16) if kind == "clips" else (1_000, 64)
    mx.explain_corpus(made, [corpus[0]], f"{out}-first-{number}")  # what is imported on first use
    print("ready", flush=True)
    before, began = time.process_time(), time.perf_counter()
    mx.explain_corpus(made, corpus, out, chunk=chunk, batch_size=batch, shard=(number, of))
    print(
        json.dumps(
            {
                "cpu": time.process_time() - before,
                "wall": time.perf_counter() - began,
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


def start(kind: str, count: int, data: Path, out: Path, number: int, of: int) -> Any:
    given = [kind, str(count), str(data), str(out), str(number), str(of)]
    return subprocess.Popen(
        [sys.executable, __file__, "work", *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def ended(process: Any) -> dict[str, float]:
    said, wrong = process.communicate()
    if process.returncode:
        raise RuntimeError(wrong)
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def both(kind: str, count: int, data: Path, out: Path) -> list[dict[str, float]]:
    """Two processes to their end."""
    return [ended(one) for one in [start(kind, count, data, out, n, 2) for n in (0, 1)]]


def content(folder: Path) -> list[Any]:
    """Every number of every part."""
    found = []
    for path in CorpusRun(folder).parts:
        part = parquet.read(path)
        found.append((path.name, part.sample_ids, part.draws.numpy().tobytes(), part.provenance))
    return found


def kills(folder: Path) -> None:
    seconds = both("clips", UTTERANCES, folder, folder / "whole")[0]["wall"]
    moments, done = random.Random(0), []
    for _ in range(KILLS):
        running = [start("clips", UTTERANCES, folder, folder / "killed", n, 2) for n in (0, 1)]
        for one in running:
            one.stdout.readline()  # it is loaded, and begins
        time.sleep(moments.uniform(0, seconds / 5))
        for one in running:
            one.kill()
            one.communicate()
        made = (folder / "killed" / "run.json").exists()
        done.append(len(CorpusRun(folder / "killed").parts) if made else 0)
    both("clips", UTTERANCES, folder, folder / "killed")
    same = content(folder / "whole") == content(folder / "killed")
    ids = [name for _, names, _, _ in content(folder / "killed") for name in names]
    print(f"{KILLS} kills of two processes, parts finished after each: {done}")
    print(
        f"then finished: {len(ids)} utterances, {len(set(ids))} different, "
        f"content equal to an undisturbed run's: {same}"
    )


def growth(folder: Path) -> None:
    rows = []
    for count in SIZES:
        found = ended(start("clips", count, folder, folder / f"{count}", 0, 1))
        rows.append((count, found["cpu"], found["peak"]))
        print(f"{count:6} utterances: {found['cpu']:6.1f} CPU s, peak {found['peak']:.0f} MB")
    slope = np.polyfit([math.log(row[0]) for row in rows], [math.log(row[1]) for row in rows], 1)[0]
    print(f"time grows with exponent {slope:.3f} (wanted .95 to 1.05)")
    print(f"peak memory, most over least: {rows[-1][2] / rows[0][2]:.3f} (wanted at most 1.10)")


def processes(folder: Path) -> None:
    one = ended(start("clips", UTTERANCES, folder, folder / "one", 0, 1))["wall"]
    two = max(found["wall"] for found in both("clips", UTTERANCES, folder, folder / "two"))
    print(f"{UTTERANCES} utterances: one process {one:.1f} s, two {two:.1f} s")
    print(f"throughput of two over one: {one / two:.2f} (wanted at least 1.7)")


def vectors(folder: Path) -> None:
    store(folder)
    size = sum((folder / name).stat().st_size for name in ("audio.npy", "text.npy"))
    for name in ("the files just written", "read again"):
        shutil.rmtree(folder / "stored", ignore_errors=True)
        found = both("stored", STORED, folder, folder / "stored")
        wall = max(one["wall"] for one in found)
        cpu = sum(one["cpu"] for one in found)
        print(
            f"{name}: {60 * STORED / wall:,.0f} explanations a minute (wanted 50,000), "
            f"{size / wall / 1e6:.0f} MB/s, {1000 * cpu / STORED:.2f} ms of CPU each"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        kind, count, data, out, number, of = sys.argv[2:]
        work(kind, int(count), data, out, int(number), int(of))
        raise SystemExit
    asked = sys.argv[1:] or ["kills", "growth", "processes", "vectors"]
    for name in asked:
        print(f"-- {name}")
        with tempfile.TemporaryDirectory() as temporary:
            {"kills": kills, "growth": growth, "processes": processes, "vectors": vectors}[name](
                Path(temporary)
            )
