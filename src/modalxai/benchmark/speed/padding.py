"""What it costs that no clip hangs on its neighbours: the exact front end beside a padded one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modalxai.benchmark.speed import counting
from modalxai.benchmark.speed.models import RATE, SPEECH, Size
from modalxai.encoders import Wav2Vec2Encoder

CLIPS, SHORTEST, LONGEST = 16, 2.0, 8.0
LAYERS = 1
"""Of the timed transformer, which has 12 in the published size. It runs on the same padded frames
on both paths, so that fewer layers make the paths look more unlike, not less."""


def measure(pairs: int, seed: int = 0, size: Size = "base") -> dict[str, Any]:
    """Time of a batch of 16 clips of 2 to 8 s, over the usual padded run.

    The usual run is the model of transformers on clips padded to the longest, without an attention
    mask, as its documentation wants it where the front end has a group norm.
    """
    from transformers import Wav2Vec2Config

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = Wav2Vec2Config(**(SPEECH[size] | {"num_hidden_layers": LAYERS}))
        encoder = Wav2Vec2Encoder(config).eval().requires_grad_(False)
    draw = torch.Generator().manual_seed(seed)
    seconds = SHORTEST + (LONGEST - SHORTEST) * torch.rand(CLIPS, generator=draw)
    lengths = (seconds * RATE).long().tolist()
    clips = [0.1 * torch.randn(length, generator=draw) for length in lengths]
    inputs = _collated(encoder, clips)
    alone = _collated(encoder, clips[:1])

    def exact() -> Tensor:
        found: Tensor = encoder(inputs).values
        return found

    def padded() -> Tensor:
        found: Tensor = encoder.model(inputs["waveform"]).last_hidden_state
        return found

    answers: dict[str, Tensor] = {}
    with torch.no_grad(), counting.one_thread():
        one = encoder(alone).values[0]
        ratio = counting.paired(
            lambda: answers.update(ours=exact()), lambda: answers.update(theirs=padded()), pairs
        )
    ours, theirs = answers["ours"][0, : len(one)], answers["theirs"][0, : len(one)]
    return {
        "clips": CLIPS,
        "layers": LAYERS,
        "size": size,
        "seconds": sum(lengths) / RATE,
        "padded_seconds": CLIPS * max(lengths) / RATE,
        "time_ratio": ratio.middle,
        "time_low": ratio.low,
        "time_high": ratio.high,
        "padded_cpu_seconds": ratio.seconds,
        "pairs": ratio.pairs,
        "changed_by_neighbours": _change(ours, one),
        "changed_by_padding": _change(theirs, one),
    }


def _collated(encoder: Wav2Vec2Encoder, clips: list[Tensor]) -> dict[str, Tensor]:
    from modalxai.types import Audio

    found: dict[str, Tensor] = encoder.collate([Audio(clip, RATE) for clip in clips])
    return found


def _change(found: Tensor, alone: Tensor) -> float:
    """How far a clip's vectors are from those it has alone, relative."""
    return float((found - alone).norm() / alone.norm())
