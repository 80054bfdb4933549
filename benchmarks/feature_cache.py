"""What an epoch costs once features are kept: the second epoch against encoding again.

A frozen wav2vec 2.0 of the published base size (random weights) reads every clip once; a later
epoch looks the features up, in another order and in other batches, and encodes nothing. Forwards
are counted at the encoder. Seconds are CPU seconds of this process, which other programs disturb
less than the wall clock; collating is in both epochs, and timed by itself too.

Run: python benchmarks/feature_cache.py
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator

import torch
from torch import nn

import modalxai as mx
from modalxai.types import Audio

CLIPS = 24
SECONDS = 3.0
BATCH = 4
RATE = 16_000
EPOCHS = 3
LIMIT = 20.0


class Forwards:
    """Rows that an encoder has been given."""

    def __init__(self, encoder: nn.Module) -> None:
        self.rows = 0
        encoder.register_forward_pre_hook(self._count)

    def _count(self, _module: nn.Module, args: tuple[dict[str, torch.Tensor], ...]) -> None:
        self.rows += len(args[0]["waveform"])


def clips() -> list[Audio]:
    """Noise of 2 to 4 seconds: no two of one length."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.linspace(SECONDS - 1, SECONDS + 1, CLIPS) * RATE
    return [Audio(0.1 * torch.randn(int(n), generator=generator), RATE) for n in lengths]


def batches(epoch: int, data: list[Audio]) -> Iterator[list[Audio]]:
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(epoch)).tolist()
    for start in range(0, len(order), BATCH):
        yield [data[index] for index in order[start : start + BATCH]]


@torch.no_grad()
def run(encoder: nn.Module, epoch: int, data: list[Audio]) -> float:
    """CPU seconds of one epoch of features."""
    start = time.process_time()
    for batch in batches(epoch, data):
        encoder(encoder.collate(batch))
    return time.process_time() - start


def main() -> int:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    encoder = mx.plugins.create("encoders", "wav2vec2", trainable="none").eval()
    millions = sum(weight.numel() for weight in encoder.parameters()) / 1e6
    data = clips()
    forwards = Forwards(encoder)
    with tempfile.TemporaryDirectory() as folder:
        cached = mx.training.CachedEncoder(encoder, folder)
        first = run(cached, 0, data)
        encoded = forwards.rows
        later = [run(cached, epoch, data) for epoch in range(1, EPOCHS)]
        again = forwards.rows - encoded
    plain = run(encoder, 1, data)
    # Decoding, resampling and padding are the loader's work, with a cache or without.
    start = time.process_time()
    for batch in batches(1, data):
        encoder.collate(batch)
    collating = time.process_time() - start
    times = plain / max(later)
    print(f"wav2vec2 of the base size, {millions:.1f} M weights, frozen; {CLIPS} clips of 2 to 4 s")
    print(f"first epoch:        {first:6.2f} CPU s, {encoded} clips encoded, features written")
    for epoch, seconds in enumerate(later, 2):
        print(f"epoch {epoch}, cached:    {seconds:6.2f} CPU s")
    print(f"epoch 2, encoding:  {plain:6.2f} CPU s, of which collating {collating:.2f}")
    print(f"encoder forwards after the first epoch: {again} (limit 0)")
    print(f"CPU of encoding again / of a cached epoch: {times:.0f} (at least {LIMIT:.0f})")
    return int(again > 0 or encoded != CLIPS or times < LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
