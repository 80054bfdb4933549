"""`VectorGame`: encoders' outputs and a fusion written down, so that every answer is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, cast

import torch
from torch import Tensor

from modalxai import masking, storage
from modalxai.errors import InputError
from modalxai.protocols import Division, Stage
from modalxai.types import Features, Labels, Prediction, Spans, check_labels, columns

KIND = "vector"
"""By which `VectorGame.divide` makes every vector a player."""
Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class VectorGame:
    """A `modalxai.protocols.StagedGame` without a model.

    ``z = bias + sum_m p_m W_m + sum_mn p_m A_mn p_n``, where p_m [D] is the mean of the real
    vectors of modality m, and ``absent[m]`` where there is none. A removed vector is replaced by
    ``absent[m]``. Bilinear, so the Shapley values are known: see `shapley`.

    Parameters
    ----------
    features
        By modality what its encoder gave: values [B, T, D], mask and spans [B, T].
    labels
        What the K columns mean.
    weights
        By modality W_m, [D, K].
    bias
        [K].
    absent
        By modality h0, [D].
    crossed
        By pair of modalities A_mn, [D, D', K].
    maps
        By modality the time-frequency maps that its encoder made its vectors of,
        values [B, T * F, D], time before frequency: a vector is the mean of its F cells.
    shift
        By modality [D]: ``sum_m p_m shift_m`` is added to every categorical logit, which changes
        no probability.
    kinds
        By divided modality the name of its players.
    sample_ids
        B names, ``"#0"``, ``"#1"``, ... where empty.

    Raises
    ------
    InputError
        Parts whose modalities or widths do not fit each other.
    """

    features: Mapping[str, Features]
    labels: Labels
    weights: Mapping[str, Tensor]
    bias: Tensor
    absent: Mapping[str, Tensor]
    crossed: Mapping[Pair, Tensor]
    maps: Mapping[str, Features]
    shift: Mapping[str, Tensor]
    kinds: Mapping[str, str]
    sample_ids: tuple[str, ...]

    @classmethod
    def make(
        cls,
        features: Mapping[str, Features],
        labels: Labels,
        weights: Mapping[str, Tensor],
        bias: Tensor,
        absent: Mapping[str, Tensor],
        crossed: Mapping[Pair, Tensor] | None = None,
        maps: Mapping[str, Features] | None = None,
        shift: Mapping[str, Tensor] | None = None,
    ) -> VectorGame:
        """A game whose players are the modalities."""
        check_labels(labels)
        count = len(next(iter(features.values())).mask)
        names = tuple(f"#{row}" for row in range(count))
        widths = {name: one.values.shape[-1] for name, one in features.items()}
        fits = all(
            set(part) == set(widths) and all(len(part[name]) == widths[name] for name in widths)
            for part in (weights, absent, *([shift] if shift else []))
        ) and all(one.shape[-1] == len(labels) for one in (bias, *weights.values()))
        if not fits:
            raise InputError(
                "parts of a game that do not fit each other",
                expected=f"for each of {widths} weights [D, {len(labels)}] and h0 [D]",
                got=f"weights { ({n: list(w.shape) for n, w in weights.items()}) }, "
                f"absent { ({n: list(h.shape) for n, h in absent.items()}) }",
                mend="one row per number of a vector, one column per label",
            )
        parts = dict(crossed or {}), dict(maps or {}), dict(shift or {})
        return cls(dict(features), labels, dict(weights), bias, dict(absent), *parts, {}, names)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names, in order."""
        return tuple(self.features)

    @property
    def present(self) -> Tensor:
        """Bool [B, M]."""
        return torch.stack([one.mask.any(1) for one in self.features.values()], dim=1)

    @property
    def level(self) -> str:
        """Nothing is encoded again."""
        return "features"

    @property
    def players(self) -> dict[str, Spans]:
        """By modality [B, 1], or [B, T] where it is divided."""
        found = {}
        for name, one in self.features.items():
            start = one.spans.start * one.mask
            end = one.spans.end * one.mask
            if name not in self.kinds:
                first = torch.where(one.mask, start, torch.inf).amin(1, keepdim=True)
                here = one.mask.any(1, keepdim=True)
                start, end = first.masked_fill(~here, 0), end.amax(1, keepdim=True)
            found[name] = Spans(start, end, one.spans.unit)
        return found

    @property
    def divided(self) -> Mapping[str, str]:
        """By divided modality what its players are."""
        return self.kinds

    @property
    def settings(self) -> dict[str, Any]:
        """What the game adds to a provenance."""
        return {
            "removal": dict.fromkeys(self.modalities, "vectors"),
            "background": None,
            "seed": 0,
            "versions": storage.versions(),
        }

    def divide(self, players: Mapping[str, str | Spans | Division[Any]]) -> VectorGame:
        """The same game, whose players in these modalities are the vectors.

        Raises
        ------
        InputError
            Other players than ``"vector"``.
        """
        wrong = [name for name, one in players.items() if name not in self.features or one != KIND]
        if wrong:
            raise InputError(
                f"vectors cannot be divided further: {wrong}",
                expected=f"{KIND!r} for any of {list(self.features)}",
                got=str({name: type(players[name]).__name__ for name in wrong}),
                mend="ask about vectors, or give a game of a real model",
            )
        return replace(self, kinds={**self.kinds, **cast("Mapping[str, str]", players)})

    def select(self, rows: Sequence[int]) -> VectorGame:
        """The same game of these samples."""
        at = torch.tensor(list(rows), dtype=torch.long)

        def taken(parts: Mapping[str, Features]) -> dict[str, Features]:
            return {
                name: Features(
                    one.values[at],
                    one.mask[at],
                    replace(
                        one.spans,
                        start=one.spans.start[at],
                        end=one.spans.end[at],
                        low=None if one.spans.low is None else one.spans.low[at],
                        high=None if one.spans.high is None else one.spans.high[at],
                    ),
                )
                for name, one in parts.items()
            }

        return replace(
            self,
            features=taken(self.features),
            maps=taken(self.maps),
            sample_ids=tuple(self.sample_ids[row] for row in rows),
        )

    def value(self, keep: Mapping[str, Tensor]) -> Tensor:
        """Raw scores [1, ..., B, K]; ``keep`` by modality, bool [..., B, U_m]."""
        pooled = {}
        for name, one in self.features.items():
            left = keep[name] if name in self.kinds else keep[name].expand(
                *keep[name].shape[:-1], one.mask.shape[1]
            )  # fmt: skip
            values = torch.where(left[..., None], one.values, self.absent[name].to(one.values))
            weight = one.mask[..., None].to(values.dtype)
            mean = (values * weight).sum(-2) / weight.sum(-2).clamp(min=1)
            here = one.mask.any(1)[:, None]
            pooled[name] = torch.where(here, mean, self.absent[name].to(mean))
        return self._scores(pooled)[None]

    def encode(self, modality: str, keep: Tensor | None = None) -> Features:
        """One modality encoded, removed vectors replaced; the tensors are the game's own."""
        one = self.features[modality]
        if keep is None:
            return one
        values = torch.where(keep[..., None], one.values, self.absent[modality].to(one.values))
        return replace(one, values=masking.blank(values, one.mask))

    def reference(self, modality: str) -> Tensor:
        """What a removed vector becomes, [D]."""
        return self.absent[modality]

    def fuse(self, features: Mapping[str, Features]) -> Prediction:
        """Raw scores [N, K]."""
        pooled = {
            name: masking.mean(one.values, one.mask, self.absent[name].to(one.values))
            for name, one in features.items()
        }
        return Prediction(self._scores(pooled), self.labels)

    def stage(self, modality: str) -> Stage | None:
        """One encoder at its time-frequency maps; ``None`` if it has none."""
        if modality not in self.maps:
            return None
        vectors = self.features[modality]

        def rest(maps: Features) -> Features:
            cells = torch.unflatten(maps.values, 1, (vectors.mask.shape[1], -1))
            return replace(vectors, values=masking.blank(cells.mean(2), vectors.mask))

        return Stage(self.maps[modality], self.absent[modality], rest)

    def shapley(self) -> Tensor:
        """Shapley values of the modalities' raw scores, [B, K, M], of the formula above.

        ``(p_m - h0_m) W_m`` and, of each pair, ``(p_m - h0_m) A_mn (p_n + h0_n) / 2``. What is
        shifted is not in it: on every scale but the raw one it has no share.
        """
        pooled = {
            name: masking.mean(one.values, one.mask, self.absent[name].to(one.values))
            for name, one in self.features.items()
        }
        away = {name: pooled[name] - self.absent[name] for name in pooled}
        found = {name: away[name] @ self.weights[name] for name in pooled}
        for (first, second), table in self.crossed.items():
            for own, other, turned in (
                (first, second, table),
                (second, first, table.transpose(0, 1)),
            ):
                between = (pooled[other] + self.absent[other]) / 2
                part = torch.einsum("bi,bj,ijk->bk", away[own], between, turned)
                found[own] = found[own] + part
        return torch.stack(list(found.values()), dim=-1)

    def _scores(self, pooled: Mapping[str, Tensor]) -> Tensor:
        """Means [..., D] to raw scores [..., K]."""
        score = self.bias
        added = score.new_zeros(())
        for name in self.features:
            score = score + pooled[name] @ self.weights[name]
            if self.shift:
                added = added + pooled[name] @ self.shift[name]
        for (first, second), table in self.crossed.items():
            crossed = torch.einsum("...i,...j,ijk->...k", pooled[first], pooled[second], table)
            score = score + crossed
        sorts = torch.zeros_like(self.bias)
        sorts[columns(self.labels, "categorical")] = 1
        return score + added[..., None] * sorts


def random_vectors(
    labels: Labels,
    widths: Mapping[str, int] | None = None,
    samples: int = 4,
    seed: int = 0,
    interaction: float = 0.5,
    bands: int = 2,
) -> VectorGame:
    """A random game; the second sample lacks the last modality, the third the first one.

    Parameters
    ----------
    labels
        What the columns mean.
    widths
        Width of each modality, in order. The first one has time-frequency maps.
    samples, seed
        How many samples, and what their vectors are drawn from.
    interaction
        The size of what pairs of modalities say together; 0 makes the game linear.
    bands
        Cells of a vector, F.
    """
    dims = dict(widths or {"audio": 3, "text": 2})
    draw = torch.Generator().manual_seed(seed)
    features, maps = {}, {}
    for place, (name, width) in enumerate(dims.items()):
        gone = {1: len(dims) - 1, 2: 0}
        lengths = [
            0 if len(dims) > 1 and gone.get(row) == place else 2 + (row + place) % 3
            for row in range(samples)
        ]
        cells = torch.randn(samples, max(lengths), bands, width, generator=draw)
        mask = masking.from_lengths(torch.tensor(lengths), max(lengths))
        cells = masking.blank(cells, mask)
        spans = _spans(mask)
        features[name] = Features(cells.mean(2), mask, spans)
        if not place:
            maps[name] = Features(
                cells.flatten(1, 2), mask.repeat_interleave(bands, 1), _tiles(spans, bands)
            )

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    weights = {name: noise(width, len(labels)) for name, width in dims.items()}
    absent = {name: 0.3 * noise(width) for name, width in dims.items()}
    crossed = {
        (a, b): interaction * noise(dims[a], dims[b], len(labels)) for a, b in combinations(dims, 2)
    }
    return VectorGame.make(features, labels, weights, noise(len(labels)), absent, crossed, maps)


def _spans(mask: Tensor) -> Spans:
    """A tenth of a second each."""
    start = torch.arange(mask.shape[1]) * 0.1 * mask
    return Spans(start, start + 0.1 * mask, "seconds")


def _tiles(spans: Spans, bands: int) -> Spans:
    """Each span once per band of a thousand hertz."""
    start, end = (edge.repeat_interleave(bands, 1) for edge in (spans.start, spans.end))
    low = (torch.arange(bands) * 1000.0).repeat(spans.start.shape[1]).expand(start.shape)
    real = (end > start).to(low.dtype)
    return Spans(start, end, "seconds", low * real, (low + 1000) * real)
