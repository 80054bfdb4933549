"""The encoders, which learn once what there is to hear and to read, as pre-trained ones have.

A voice that babbles carries the tone and nothing else, so a recording fits every text: all families
and seeds train on the same recordings, made and encoded once; what differs is the rule, the draw,
the fusion, and who is explained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import modalxai as mx
from modalxai import masking, storage
from modalxai.benchmark.tonebench.settings import Settings
from modalxai.datasets.tonebench import CONTENTS, FAMILIES, MARKS, TONES
from modalxai.games.bank import join_rows, take
from modalxai.model import EmotionModel
from modalxai.protocols import Encoder
from modalxai.trace import no_trace
from modalxai.training import EmotionLoss, FitSettings, Objective, fit
from modalxai.types import Features, Inputs, Labels, Spans

TEACHING_RATE, TEACHING_BATCH = 2e-3, 32
RATE, BATCH = 3e-3, 64
HEARD = range(9000, 9240)
"""Speakers of the recordings."""
UNHEARD, PROBED = 8, 32
LANGUAGES = ("ko", "en")
SOURCES = {"TONE": 1.0, "SPUR": 0.6, "LOCAL": 0.15}
"""Families whose recordings there are, as parts of `Settings.clips`: every tone, every fault of a
recording, a tone on one word among flat ones."""
SEED = 0


def voices(seed: int, probed: bool = False) -> range:
    """Numbers of the speakers who are explained, or probed: no seed shares any with another."""
    first = 100 * seed + (UNHEARD if probed else 0)
    return range(first, first + (PROBED if probed else UNHEARD))


def language(seed: int) -> str:
    """Korean and English in turn."""
    return LANGUAGES[seed % 2]


def hearing(settings: Settings, segment_seconds: float = 0.3) -> mx.encoders.MelCnnEncoder:
    """The encoder of voices, untrained."""
    return mx.encoders.MelCnnEncoder(
        dim=settings.dim,
        hop=0.016,
        channels=settings.channels,
        dropout=0.0,
        segment_seconds=segment_seconds,
    )


def reading(settings: Settings) -> mx.encoders.ByteTextEncoder:
    """The encoder of texts, untrained."""
    return mx.encoders.ByteTextEncoder(dim=settings.dim, layers=1, dropout=0.0)


def recordings(settings: Settings) -> list[dict[str, Any]]:
    """Clips of every kind in both languages, with ``"source"``, ``"tone"`` and ``"mark"``."""
    found: list[dict[str, Any]] = []
    for source, part in SOURCES.items():
        for spoken in LANGUAGES:
            corpus = FAMILIES[source].corpus(
                max(1, round(part * settings.clips / 2)),
                speakers=HEARD,
                seed=SEED,
                language=spoken,
                cache=False,
            )
            for row in range(len(corpus)):
                one = corpus[row]
                found.append(
                    {"source": source, "mark": "none"}
                    | {key: one[key] for key in ("audio", "tone", "mark") if key in one}
                    | {"id": f"{spoken}-{one['id']}"}
                )
    return found


def transcripts(settings: Settings) -> list[dict[str, Any]]:
    """Texts of every content in both languages, short and longer; nothing is synthesised."""
    found = []
    for source in ("CONTENT", "LOCAL"):
        for written in LANGUAGES:
            corpus = FAMILIES[source].corpus(
                settings.clips // 2, speakers=HEARD, seed=SEED, language=written
            )
            for row in range(len(corpus)):
                one = corpus.row(row)
                found.append(
                    {"id": f"{written}-{one['id']}", "text": one["text"], "content": one["content"]}
                )
    return found


def teach_hearing(settings: Settings, folder: Path) -> None:
    """Train the encoder of voices on every tone and fault; keep it, and what it makes of clips."""
    clips = recordings(settings)
    marks = [name for name in MARKS if name != "none"]
    samples = [
        {
            "id": one["id"],
            "audio": one["audio"],
            "labels": {one["tone"]: 1, **{name: int(name == one["mark"]) for name in marks}},
        }
        for one in clips
    ]
    labels = (*mx.labels(*TONES), *mx.labels(*marks, kind="binary"))
    model = _taught("audio", hearing, labels, samples, settings, folder)
    features = encoded(model, "audio", [one["audio"] for one in clips])
    storage.write_tensors(
        folder / "clips.safetensors",
        {
            "values": features.values,
            "mask": features.mask,
            "start": features.spans.start,
            "end": features.spans.end,
        },
    )
    kinds = [[one["source"], one["tone"], one["mark"]] for one in clips]
    storage.write_json(folder / "clips.json", {"kinds": kinds})


def teach_reading(settings: Settings, folder: Path) -> None:
    """Train the encoder of texts on every content, and keep it."""
    samples = [
        {"id": one["id"], "text": one["text"], "labels": {one["content"]: 1}}
        for one in transcripts(settings)
    ]
    _taught("text", reading, mx.labels(*CONTENTS), samples, settings, folder)


def _taught(
    modality: str,
    make: Any,
    labels: Labels,
    samples: Sequence[Any],
    settings: Settings,
    folder: Path,
) -> EmotionModel:
    """A model of one modality."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        head = mx.fusion.ShallowFusion({modality: settings.dim}, labels, hidden=64)
        model = EmotionModel({modality: make(settings)}, head, 0.0)
    chosen = settings.teacher_epochs, SEED, folder / "fit", TEACHING_RATE, TEACHING_BATCH
    train(model, samples, *chosen)
    model.save_pretrained(folder / "model")
    return model


def train(
    model: EmotionModel,
    samples: Sequence[Any],
    epochs: int,
    seed: int,
    folder: Path,
    rate: float = RATE,
    batch_size: int = BATCH,
) -> None:
    """`modalxai.training.fit`, as everything here is trained; in eval mode afterwards."""
    chosen = FitSettings(
        epochs=epochs,
        lr=rate,
        batch_size=batch_size,
        optimizer="adamw",
        weight_decay=1e-2,
        schedule="cosine",
        seed=seed,
    )
    fit(Objective(model, EmotionLoss()), samples, model.collate, chosen, folder=folder)
    model.eval()


def encoded(model: EmotionModel, modality: str, raws: Sequence[Any]) -> Features:
    """Everything encoded, [N, T, D], without gradients."""
    parts, encoder = [], model.encoder(modality)
    with no_trace(model):
        for start in range(0, len(raws), BATCH):
            found = encoder(encoder.collate(raws[start : start + BATCH]))
            spans = Spans(found.spans.start, found.spans.end, found.spans.unit)
            parts.append(Features(found.values, found.mask, spans))
    whole: Features = join_rows(parts)
    return whole


def pooled(model: EmotionModel, modality: str, raws: Sequence[Any]) -> Tensor:
    """Mean vectors [N, D] of one modality, for a probe."""
    found = encoded(model, modality, raws)
    return masking.mean(found.values, found.mask)


@dataclass(frozen=True, eq=False)
class Clips:
    """What the encoder of voices makes of a seed's recordings.

    Parameters
    ----------
    features
        [C, T, D] of C clips.
    kinds
        Source, tone and mark of each.
    """

    features: Features
    kinds: tuple[tuple[str, str, str], ...]

    @classmethod
    def load(cls, folder: Path) -> Clips:
        """What `teach_hearing` has kept."""
        held = storage.read_tensors(folder / "clips.safetensors")
        record = storage.read_json(folder / "clips.json")
        spans = Spans(held["start"], held["end"], "seconds")
        kinds = tuple((str(a), str(b), str(c)) for a, b, c in record["kinds"])
        return cls(Features(held["values"], held["mask"], spans), kinds)

    def drawn(
        self, source: str, samples: Sequence[Mapping[str, Any]], generator: np.random.Generator
    ) -> list[int]:
        """For each sample a clip of its tone and mark."""
        places: dict[tuple[str, str, str], list[int]] = {}
        for row, kind in enumerate(self.kinds):
            places.setdefault(kind, []).append(row)
        return [
            int(generator.choice(places[source, one["tone"], one.get("mark", "none")]))
            for one in samples
        ]


class Stored(nn.Module):
    """An encoder that has encoded everything it will be asked for; a raw value is a row's number.

    Parameters
    ----------
    features
        [C, T, D].
    """

    def __init__(self, features: Features) -> None:
        super().__init__()
        self._features, self.dim = features, features.values.shape[-1]
        self.collate = _rows

    def forward(self, inputs: Inputs) -> Features:
        """The rows that are asked for."""
        found: Features = take(self._features, inputs["row"])
        return found

    def save_pretrained(self, folder: str | Path) -> None:
        """Nobody saves it: what it stands for is saved."""
        raise NotImplementedError


def _rows(raws: Sequence[int | None]) -> Inputs:
    return {"row": torch.tensor([0 if raw is None else raw for raw in raws])}


def loaded(folder: Path, modality: str) -> Encoder[Any]:
    """A taught encoder."""
    return EmotionModel.from_pretrained(folder / "model").encoder(modality)
