"""What composing costs: a training step through EmotionModel against the same modules by hand.

Both steps run in turns, so that whatever else the machine does hits both; the figure is the median
of the ratios of neighbours, in CPU time, which other programs disturb less than the wall clock.

Run: python benchmarks/training_overhead.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

import modalxai as mx
from modalxai.encoders import ByteTextEncoder, MelCnnEncoder
from modalxai.fusion import ShallowFusion
from modalxai.types import Audio, Batch

PAIRS = 100
LIMIT = 1.02
EMOTIONS = mx.labels("anger", "joy", "neutral", "sadness")


def make(modality_dropout: float) -> mx.EmotionModel:
    torch.manual_seed(0)
    audio, text = MelCnnEncoder(), ByteTextEncoder()
    fusion = ShallowFusion({"audio": audio.dim, "text": text.dim}, EMOTIONS)
    return mx.EmotionModel({"audio": audio, "text": text}, fusion, modality_dropout).train()


def make_batch(model: mx.EmotionModel, count: int = 8) -> Batch:
    return model.collate(
        [
            {
                "id": index,
                "audio": Audio(torch.randn(16_000 + 2_000 * index) * 0.1, 16_000),
                "text": "what a lovely day " * (1 + index % 3),
                "labels": EMOTIONS[index % 4].name,
            }
            for index in range(count)
        ]
    )


def through_the_model(model: mx.EmotionModel, batch: Batch) -> Callable[[], Tensor]:
    return lambda: model(batch).scores


def by_hand(model: mx.EmotionModel, batch: Batch) -> Callable[[], Tensor]:
    audio, text, fusion = model.encoders["audio"], model.encoders["text"], model.fusion

    def forward() -> Tensor:
        found: Tensor = fusion({"audio": audio(batch["audio"]), "text": text(batch["text"])}).scores
        return found

    return forward


def stepper(
    model: mx.EmotionModel, forward: Callable[[], Tensor], batch: Batch
) -> Callable[[], float]:
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    targets = batch.targets.values

    def step() -> float:
        start = time.process_time()
        optimizer.zero_grad()
        F.cross_entropy(forward(), targets).backward()
        optimizer.step()
        return time.process_time() - start

    return step


def compare(modality_dropout: float) -> tuple[float, float]:
    """The median ratio, and the seconds of a step by hand."""
    model = make(modality_dropout)
    batch = make_batch(model)
    ours = stepper(model, through_the_model(model, batch), batch)
    theirs = stepper(model, by_hand(model, batch), batch)
    for _ in range(5):
        ours(), theirs()
    ratios, seconds = [], []
    for pair in range(PAIRS):
        # Each goes first as often as the other.
        first, second = (ours, theirs) if pair % 2 else (theirs, ours)
        one, two = first(), second()
        mine, hand = (one, two) if pair % 2 else (two, one)
        ratios.append(mine / hand)
        seconds.append(hand)
    return statistics.median(ratios), statistics.median(seconds)


def main() -> int:
    torch.set_num_threads(1)
    plain, seconds = compare(0.0)
    dropped, _ = compare(0.1)
    print(f"one training step by hand: {1000 * seconds:.1f} ms (mel-cnn, byte-text, 8 samples)")
    print(f"through EmotionModel:                   {plain:.4f} of it (limit {LIMIT})")
    print(f"with modality dropout, which is extra:  {dropped:.4f} of it")
    return int(plain > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
