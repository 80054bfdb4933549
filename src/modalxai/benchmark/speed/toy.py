"""A trained model of words and moments, small enough that every coalition can be asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modalxai import masking, storage
from modalxai.benchmark.speed.models import EMOTIONS
from modalxai.fusion import ShallowFusion
from modalxai.model import EmotionModel
from modalxai.types import Features, Inputs, Spans

UNITS, WIDTH = 10, 24
KINDS = len(EMOTIONS) + 3
NEGATION = len(EMOTIONS) + 1
STEPS, QUICK_STEPS = 2500, 200


@dataclass(frozen=True)
class Tokens:
    """Rows of token numbers, to inputs of `TokenEncoder`."""

    def __call__(self, raws: Sequence[Any]) -> dict[str, Tensor]:
        """``tokens`` and ``mask``, each [B, T]."""
        rows = [torch.zeros(0, dtype=torch.long) if raw is None else raw for raw in raws]
        values, mask = masking.pad(rows)
        return {"tokens": values, "mask": mask}


class TokenEncoder(nn.Module):
    """Two transformer layers over tokens; a removed one becomes token 0."""

    removals, kinds = ("mask",), ("unit",)

    def __init__(self) -> None:
        super().__init__()
        self.dim, self.collate = WIDTH, Tokens()
        self.table = nn.Embedding(KINDS + 1, WIDTH)
        self.places = nn.Parameter(torch.randn(UNITS, WIDTH) * 0.1)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 48, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, inputs: Inputs) -> Features:
        """Vectors [B, T, D]."""
        mask = inputs["mask"]
        hidden = self.table(inputs["tokens"]) + self.places[: mask.shape[1]]
        hidden = self.layers(hidden, src_key_padding_mask=~masking.attendable(mask))
        return Features(masking.blank(hidden, mask), mask, self.units(inputs, "unit"))

    def units(self, inputs: Inputs, kind: str) -> Spans:
        """Every token, [B, T]."""
        start = torch.arange(inputs["mask"].shape[1]).expand(inputs["mask"].shape).float()
        return Spans(start, start + inputs["mask"], "index")

    def remove(self, inputs: Inputs, units: Spans, keep: Tensor, how: str, seed: object) -> Inputs:
        """Token 0 in the place of what is not kept."""
        places = torch.arange(inputs["mask"].shape[1])[None, :, None]
        inside = (places >= units.start[:, None]) & (places < units.end[:, None])
        gone = (inside & ~keep[:, None]).any(-1)
        return {**inputs, "tokens": inputs["tokens"].masked_fill(gone, 0)}


def drawn(count: int, units: int, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Words, moments [N, units] and emotions [N].

    Tokens speak for an emotion, more so where words and moments agree (a product), and a negation
    among them turns all evidence round: terms of every order.
    """
    words, moments = torch.randint(1, KINDS + 1, (2, count, units), generator=draw)
    emotions = range(1, len(EMOTIONS) + 1)
    said = torch.stack([(words == token).sum(1) for token in emotions], 1).float()
    heard = torch.stack([(moments == token).sum(1) for token in emotions], 1).float()
    negated = (words == NEGATION).any(1) ^ (moments == NEGATION).any(1)
    evidence = said + 1.2 * heard + 1.5 * said * heard
    evidence[negated] = evidence[negated].flip(1)
    return words, moments, evidence.argmax(1)


def _made(seed: int) -> EmotionModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoders: dict[str, Any] = {"text": TokenEncoder(), "audio": TokenEncoder()}
        fusion = ShallowFusion(dict.fromkeys(encoders, WIDTH), EMOTIONS, hidden=64, dropout=0.0)
        return EmotionModel(encoders, fusion, 0.0)


def trained(steps: int = STEPS, seed: int = 0) -> EmotionModel:
    """The model, trained with masked units so that removal is nothing new to it."""
    draw = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        model = _made(seed)
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
        for step in range(steps):
            units = UNITS if step % 2 else UNITS - 2
            words, moments, emotions = drawn(256, units, draw)
            batch = {
                name: _masked(tokens, draw)
                for name, tokens in (("text", words), ("audio", moments))
            }
            loss = nn.functional.cross_entropy(model(batch).scores, emotions)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return model.eval().requires_grad_(False)


def accuracy(model: EmotionModel, seed: int = 1) -> float:
    """On 2,000 samples that it was not trained on, all units there."""
    words, moments, emotions = drawn(2000, UNITS - 2, torch.Generator().manual_seed(seed))
    whole = torch.ones_like(words, dtype=torch.bool)
    batch = {
        name: {"tokens": tokens, "mask": whole}
        for name, tokens in (("text", words), ("audio", moments))
    }
    with torch.no_grad():
        right = model(batch).scores.argmax(1) == emotions
    return float(right.float().mean())


def kept(place: Path, steps: int = STEPS, seed: int = 0) -> EmotionModel:
    """The trained model, from a file where there is one; a killed run trains it once."""
    if place.is_file():
        model = _made(seed)
        storage.load_weights(model, storage.read_tensors(place), str(place))
        return model.eval().requires_grad_(False)
    model = trained(steps, seed)
    storage.require_folder(place.parent)
    storage.write_tensors(place, model.state_dict())
    return model


def _masked(tokens: Tensor, draw: torch.Generator) -> dict[str, Tensor]:
    """Half of the rows whole, of the others any share of the units gone."""
    count = len(tokens)
    rate = torch.rand(count, 1, generator=draw)
    rate[torch.rand(count, 1, generator=draw) < 0.5] = 0
    gone = torch.rand(tokens.shape, generator=draw) < rate
    whole = torch.ones_like(gone)
    return {"tokens": tokens.masked_fill(gone, 0), "mask": whole}
