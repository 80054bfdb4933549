"""How close a sample of coalitions comes, at equal numbers of encoder forwards.

A model of two small transformers over 8 + 8 units and a fusion with a hidden layer, trained here
with masked units, so that removal is nothing new to it. The exact Shapley values of the 16 units
come from all 65,536 coalitions. Beside them `UnitShapley` with a budget, and paired KernelSHAP of
shapiq with leverage sampling (all sizes of coalitions equally likely), whose every coalition costs
one forward of each encoder. Medians over samples and labels of the relative error
``|phi - exact| / |exact|``, and how often the exact value lies within 1.96 standard errors.

Run: python benchmarks/grid_accuracy.py
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import modalxai as mx
from modalxai import masking
from modalxai.fusion import ShallowFusion
from modalxai.types import Features, Spans

UNITS, WIDTH, KINDS, CLASSES = 8, 24, 10, 4
LABELS = mx.labels(*(f"emotion {index}" for index in range(CLASSES)))
BUDGETS = (96, 128, 256)
SAMPLES = 6
REPEATS = 3
"""Draws of masks for each sample: values of one draw are right or wrong together."""
STEPS = 2500
PLAYERS = {"text": "unit", "audio": "unit"}


@dataclass(frozen=True)
class Tokens:
    """Rows of token numbers."""

    def __call__(self, raws: Sequence[Any]) -> dict[str, Tensor]:
        rows = [torch.zeros(0, dtype=torch.long) if raw is None else raw for raw in raws]
        values, mask = masking.pad(rows)
        return {"tokens": values, "mask": mask}


class TokenEncoder(nn.Module):
    """A transformer over tokens; a removed one becomes token 0."""

    removals, kinds = ("mask",), ("unit",)

    def __init__(self) -> None:
        super().__init__()
        self.dim, self.collate = WIDTH, Tokens()
        self.table = nn.Embedding(KINDS + 1, WIDTH)
        self.places = nn.Parameter(torch.randn(UNITS, WIDTH) * 0.1)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 48, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        mask = inputs["mask"]
        hidden = self.table(inputs["tokens"]) + self.places[: mask.shape[1]]
        hidden = self.layers(hidden, src_key_padding_mask=~masking.attendable(mask))
        return Features(masking.blank(hidden, mask), mask, self.units(inputs, "unit"))

    def units(self, inputs: dict[str, Tensor], kind: str) -> Spans:
        start = torch.arange(inputs["mask"].shape[1]).expand(inputs["mask"].shape).float()
        return Spans(start, start + inputs["mask"], "index")

    def remove(
        self, inputs: dict[str, Tensor], units: Spans, keep: Tensor, how: str, seed: object
    ) -> dict[str, Tensor]:
        places = torch.arange(inputs["mask"].shape[1])[None, :, None]
        inside = (places >= units.start[:, None]) & (places < units.end[:, None])
        gone = (inside & ~keep[:, None]).any(-1)
        return {**inputs, "tokens": inputs["tokens"].masked_fill(gone, 0)}


def drawn(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Texts, voices [N, 8] and emotions [N]: sums of token values, turned round by a negation."""
    text, audio = torch.randint(1, KINDS + 1, (2, count, UNITS), generator=generator)
    words = torch.stack([(text == token).sum(1) for token in (1, 2, 3, 4)], 1).float()
    tones = torch.stack([(audio == token).sum(1) for token in (1, 2, 3, 4)], 1).float()
    negated = (text == 5).any(1) ^ (audio == 5).any(1)
    evidence = words + 1.2 * tones + 1.5 * words * tones
    evidence[negated] = evidence[negated].flip(1)
    return text, audio, evidence.argmax(1)


def trained() -> mx.EmotionModel:
    torch.manual_seed(0)
    encoders = {"text": TokenEncoder(), "audio": TokenEncoder()}
    dims = dict.fromkeys(encoders, WIDTH)
    model = mx.EmotionModel(encoders, ShallowFusion(dims, LABELS, hidden=48), 0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    whole = torch.ones(256, UNITS, dtype=torch.bool)
    for _ in range(STEPS):
        text, audio, labels = drawn(256, generator)
        batch = {}
        for name, tokens in (("text", text), ("audio", audio)):
            rate = torch.rand(256, 1, generator=generator)
            rate[torch.rand(256, 1, generator=generator) < 0.5] = 0
            gone = torch.rand(256, UNITS, generator=generator) < rate
            batch[name] = {"tokens": tokens.masked_fill(gone, 0), "mask": whole}
        loss = nn.functional.cross_entropy(model(batch).scores, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    text, audio, labels = drawn(2000, torch.Generator().manual_seed(1))
    whole = torch.ones(2000, UNITS, dtype=torch.bool)
    with torch.no_grad():
        scores = model.eval()(
            {n: {"tokens": t, "mask": whole} for n, t in (("text", text), ("audio", audio))}
        ).scores
    print(f"held-out accuracy {(scores.argmax(1) == labels).float().mean():.3f}")
    return model


def kernel_shap(game: Any, budget: int, seed: int) -> np.ndarray:
    """Paired KernelSHAP with leverage sampling, [players, L]."""
    import shapiq

    found = []
    for label in LABELS:
        flat = mx.interop.FlatGame(game, labels=[label.name])
        estimator = shapiq.KernelSHAP(
            n=2 * UNITS,
            pairing_trick=True,
            sampling_weights=np.ones(2 * UNITS + 1),
            random_state=seed,
        )
        values = estimator.approximate(budget, mx.interop.to_shapiq(flat))
        found.append([values[(player,)] for player in range(2 * UNITS)])
    return np.array(found).T


def flat_values(found: mx.Attribution) -> np.ndarray:
    units = torch.cat([found.units["text"][0], found.units["audio"][0]], dim=-1)
    return units.T.double().numpy()


def main() -> int:
    warnings.filterwarnings("ignore")
    model = trained()
    text, audio, _ = drawn(SAMPLES, torch.Generator().manual_seed(2))
    samples = [{"id": f"u{i}", "text": text[i], "audio": audio[i]} for i in range(SAMPLES)]
    games = [model.game([sample], removal="mask").divide(PLAYERS) for sample in samples]
    exact = [flat_values(mx.attribution.UnitShapley().attribute(game)) for game in games]
    print(f"{'encoder forwards':>18}{'UnitShapley':>14}{'KernelSHAP':>13}{'|z| < 1.96':>13}")
    last = 1.0
    for budget in BUDGETS:
        ours, theirs, inside = [], [], []
        for number, (game, truth) in enumerate(zip(games, exact, strict=True)):
            size = np.linalg.norm(truth, axis=0)
            for repeat in range(REPEATS):
                drawn_masks = mx.attribution.UnitShapley(budget=budget, seed=10 * number + repeat)
                sampled = drawn_masks.attribute(game)
                values = flat_values(sampled)
                errors = torch.cat([sampled.unit_se[name][0] for name in PLAYERS], dim=-1)
                inside.append((np.abs(values - truth) < 1.96 * errors.T.numpy()).mean())
                ours.append(np.linalg.norm(values - truth, axis=0) / size)
            kernel = kernel_shap(game, budget // 2, number)
            theirs.append(np.linalg.norm(kernel - truth, axis=0) / size)
        last = float(np.median(ours))
        print(f"{budget:>18}{last:>14.3f}{np.median(theirs):>13.3f}{np.mean(inside):>13.2f}")
    return int(last > 0.05)


if __name__ == "__main__":
    raise SystemExit(main())
