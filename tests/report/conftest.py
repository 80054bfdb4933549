from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from modalxai.attribution import Explanation
from modalxai.types import Attribution, Audio, Label, Provenance, Spans, Targets, labels

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


@pytest.fixture
def found() -> Callable[..., Attribution]:
    """Attributions from hand-set totals [B, L, M]; ``units`` is {modality: (values, Spans)}."""

    def build(
        totals: object,
        names: Sequence[str] = ("anger", "joy"),
        modalities: tuple[str, ...] = ("text", "audio"),
        ids: Sequence[str] | None = None,
        present: object = None,
        units: dict[str, tuple[object, Spans]] | None = None,
        kind: str = "categorical",
        method: str = "owen",
    ) -> Attribution:
        phi = torch.as_tensor(np.asarray(totals, dtype=np.float64))
        samples = len(phi)
        reference = torch.zeros(phi.shape[:2], dtype=torch.float64)
        given = {} if units is None else units
        return Attribution(
            sample_ids=tuple(ids or (f"u{row}" for row in range(samples))),
            labels=tuple(Label(name, kind) for name in names),
            modalities=modalities,
            present=torch.ones(samples, len(modalities)).bool()
            if present is None
            else torch.as_tensor(present),
            totals=phi,
            units={name: torch.as_tensor(values) for name, (values, _) in given.items()},
            pairs={},
            se=torch.zeros_like(phi),
            mask={name: spans.mask for name, (_, spans) in given.items()},
            spans={name: spans for name, (_, spans) in given.items()},
            prediction=phi.sum(-1),
            reference=reference,
            provenance=Provenance(
                method, {}, "clr", dict.fromkeys(modalities, "absent"), "input", None, 0, {}
            ),
        )

    return build


def spans_of(
    edges: Sequence[tuple[float, float]], unit: str, names: Sequence[str] = (), hertz: object = None
) -> Spans:
    """One sample's spans, [1, T]."""
    places = torch.tensor(edges, dtype=torch.float32).reshape(-1, 2).T[:, None]
    low, high = (None, None) if hertz is None else torch.tensor(hertz).float().T[:, None]
    return Spans(places[0], places[1], unit, low, high, (tuple(names),) if names else ())


@pytest.fixture
def spans() -> Callable[..., Spans]:
    return spans_of


@pytest.fixture
def clip() -> Audio:
    """A second of a voice-like buzz whose pitch rises from 120 to 180 Hz, half a second of rest."""
    rate = 8000
    times = np.arange(rate) / rate
    phase = 2 * np.pi * np.cumsum(120 + 60 * times) / rate
    buzz = sum(np.sin(k * phase) / k for k in range(1, 12)) * 0.1
    return Audio(torch.from_numpy(np.concatenate([buzz, 0 * buzz[: rate // 2]])).float(), rate)
