"""A corpus whose references are shared: a thousand clips of two to eight seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

from modalxai.benchmark.speed.models import RATE, REPLACED, Shape, make, samples
from modalxai.benchmark.speed.rows import speech_flops, text_flops
from modalxai.games import explain
from modalxai.model import EmotionModel

SHORTEST, LONGEST = 2.0, 8.0
WORDS = "so that was not what I really meant to say at all to you back then".split()
BATCH = 16


class Lengths:
    """How often encoders are given a row of each length, while it is entered."""

    def __init__(self, model: EmotionModel) -> None:
        self.speech: Counter[int] = Counter()
        self.text: Counter[int] = Counter()
        self._model = model
        self._handles: list[Any] = []

    def __enter__(self) -> Lengths:
        for name, hook in (("audio", self._hear), ("text", self._read)):
            self._handles.append(self._model.encoders[name].register_forward_pre_hook(hook))
        return self

    def __exit__(self, *_error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _hear(self, _: object, args: tuple[Mapping[str, torch.Tensor], ...]) -> None:
        self.speech.update(args[0]["length"].tolist())

    def _read(self, _: object, args: tuple[Mapping[str, torch.Tensor], ...]) -> None:
        self.text.update(args[0]["attention_mask"].sum(1).tolist())

    def flops(self) -> int:
        """What these rows cost at the published sizes."""
        speech = sum(count * speech_flops(length) for length, count in self.speech.items())
        return speech + sum(count * text_flops(length) for length, count in self.text.items())


def measure(clips: int, seed: int = 0) -> dict[str, Any]:
    """Rows that explaining encodes, and their FLOPs, over those of predicting.

    Lengths are drawn evenly, to the sample; texts have 2 to 16 words. The rows are counted on tiny
    encoders and costed at the published sizes, length by length; the pooled fusion is left out.
    """
    draw = torch.Generator().manual_seed(seed)
    seconds = (SHORTEST + (LONGEST - SHORTEST) * torch.rand(clips, generator=draw)).tolist()
    words = torch.randint(2, len(WORDS) + 1, (clips,), generator=draw).tolist()
    corpus = samples(clips, seconds, seed=seed)
    for sample, count in zip(corpus, words, strict=True):
        sample["text"] = " ".join(WORDS[:count])
    model = make(Shape("tiny"), seed)
    with Lengths(model) as predicted:
        model.predict(corpus, batch_size=BATCH)
    with Lengths(model) as explained:
        explain(model, corpus, removal={m: REPLACED[m] for m in model.modalities}, batch_size=BATCH)
    lengths = {round(one * RATE) for one in seconds}
    return {
        "clips": clips,
        "lengths": len(lengths),
        "audio_rows": explained.speech.total(),
        "text_rows": explained.text.total(),
        "audio_rows_predicting": predicted.speech.total(),
        "text_rows_predicting": predicted.text.total(),
        "flops_ratio": explained.flops() / predicted.flops(),
    }
