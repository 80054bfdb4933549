from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from modalxai.attribution import Explanation
from modalxai.types import Label, Provenance, Targets, labels

Make = Callable[..., Explanation]


@pytest.fixture
def make() -> Make:
    """Explanations from hand-set scores: ``table`` is [2**M, N, K], raw."""

    def build(
        table: object,
        names: Sequence[str] | tuple[Label, ...] = ("anger", "joy"),
        modalities: tuple[str, ...] = ("text", "audio"),
        truth: object = None,
        present: object = None,
        removal: str = "absent",
        draws: object = None,
        **columns: Sequence[object],
    ) -> Explanation:
        scores = torch.as_tensor(np.asarray(table, dtype=np.float64))[None]
        scores = scores if draws is None else torch.as_tensor(np.asarray(draws))
        _, _, samples, width = scores.shape
        meaning = (
            tuple(names) if isinstance(names[0], Label) else labels(*(str(name) for name in names))
        )
        values, mask = torch.zeros(samples, width), torch.zeros(samples, width).bool()
        if truth is not None:
            found = np.asarray(truth)
            mask = torch.ones(samples, width).bool()
            values = torch.as_tensor(np.eye(width)[found] if found.ndim == 1 else found)
        return Explanation(
            sample_ids=tuple(f"u{row}" for row in range(samples)),
            labels=meaning,
            modalities=modalities,
            present=torch.ones(samples, len(modalities)).bool()
            if present is None
            else torch.as_tensor(present),
            draws=scores,
            targets=Targets(values, mask),
            columns={name: tuple(column) for name, column in columns.items()},
            provenance=Provenance(
                "coalition-table", {}, "raw", dict.fromkeys(modalities, removal), "input",
                None, 0, {"modalxai": "0"},
            ),
        )  # fmt: skip

    return build


@pytest.fixture
def game(make: Make) -> Make:
    """The same game for every sample: log-odds of joy in the coalitions {}, T, A, TA."""

    def build(values: Sequence[float], samples: int = 1, **options: object) -> Explanation:
        # clr of two labels is half their difference: double it, and v is the clr of joy.
        table = np.zeros((len(values), samples, 2))
        table[..., 1] = 2 * np.asarray(values, dtype=float)[:, None]
        return make(table, **options)

    return build


@pytest.fixture
def corpus(make: Make) -> Make:
    """Speakers, labels and evidence drawn at random; ``skill`` ties the scores to the truth."""

    def build(
        samples: int = 120,
        classes: int = 3,
        seed: int = 0,
        skill: float = 3.0,
        speakers: int = 24,
        shuffle: bool = False,
        weight: float = 0.7,
        **options: object,
    ) -> Explanation:
        generator = np.random.default_rng(seed)
        truth = generator.integers(classes, size=samples)
        own = skill * np.eye(classes)[truth]
        text = (1 - weight) * own + 0.3 * generator.normal(size=own.shape)
        audio = weight * own + 0.3 * generator.normal(size=own.shape)
        table = np.stack([0 * own, text, audio, text + audio])
        options.setdefault("names", [f"label{name}" for name in range(classes)])
        options.setdefault("truth", generator.permutation(truth) if shuffle else truth)
        options.setdefault("speaker", [f"s{row % speakers}" for row in range(samples)])
        return make(table, **options)

    return build
