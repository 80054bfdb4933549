"""`FlatGame`: a game as other libraries see one, rows of zeros and ones in, scores out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from modalxai.attribution.scales import Scale, check_scale, on_scale, rivals_of
from modalxai.errors import InputError
from modalxai.protocols import Game, Selectable
from modalxai.types import Spans, select

Masks = TypeVar("Masks", Tensor, NDArray[Any])


class FlatGame:
    """The players of all modalities side by side, and a label's score as a function of them.

    Call it with rows of zeros and ones, 1 for a player that is left. Columns are the players of the
    first modality, then those of the second, and so on, without those that no sample has.

    Parameters
    ----------
    game
        Any of our games, divided or not.
    samples
        Ids of the samples to ask about, all for ``None``.
    labels
        Names of the labels to score, all for ``None``.
    scale, against
        What a score is, see `modalxai.attribution.scales.on_scale`. Draws are averaged on it.

    Raises
    ------
    InputError
        An unknown sample, label or scale.

    Examples
    --------
    >>> from modalxai.testing import or_
    >>> FlatGame(or_())(torch.tensor([[0, 0], [0, 1], [1, 1]])).tolist()
    [[0.0], [1.0], [1.0]]
    """

    def __init__(
        self,
        game: Game,
        *,
        samples: str | Sequence[str] | None = None,
        labels: str | Sequence[str] | None = None,
        scale: Scale = "clr",
        against: str = "rival",
    ) -> None:
        check_scale(scale)
        self.game = game
        self.scale = scale
        self.against = against
        self._chosen = select(game.labels, [labels] if isinstance(labels, str) else labels)
        self.labels = tuple(game.labels[column] for column in self._chosen)
        self._rows = _rows(game, samples)
        self.sample_ids = tuple(game.sample_ids[row] for row in self._rows)
        spans = game.players
        here = game.present[self._rows]
        real = {
            name: spans[name].mask[self._rows] & here[:, place, None]
            for place, name in enumerate(game.modalities)
        }
        self.columns = [
            (name, unit)
            for name, there in real.items()
            for unit in there.any(0).nonzero().flatten().tolist()
        ]
        """Modality and unit of each of the U players."""
        self.present = here
        self.real = torch.stack([real[name][:, unit] for name, unit in self.columns], dim=1)
        """Bool [B, U], whether each sample has that player."""
        self.spans = {name: _chosen(one, self._rows) for name, one in spans.items()}
        """By modality, the players [B, U_m] that the columns are."""
        whole, empty = self._ends(True), self._ends(False)
        self._rivals = rivals_of(whole.mean(0), game.labels, against)
        self.drawn = len(empty) > 1
        """Whether the removal is drawn."""
        self.prediction = self._scored(whole)
        """Float [B, L], everything left."""
        self.reference = self._scored(empty)
        """Float [B, L], everything removed."""

    @property
    def names(self) -> list[tuple[str, ...]]:
        """Of each sample, what its U players are called; empty where it has none."""
        return [
            tuple(
                called(self.spans[name], name, row, unit) if there else ""
                for (name, unit), there in zip(self.columns, real, strict=True)
            )
            for row, real in enumerate(self.real.tolist())
        ]

    @property
    def on(self) -> Tensor:
        """Float [B, U], a one for each player: the inputs of Captum and SHAP."""
        return torch.ones(len(self._rows), len(self.columns))

    @property
    def off(self) -> Tensor:
        """Float [B, U] of zeros: their baselines."""
        return torch.zeros_like(self.on)

    @property
    def rows(self) -> Tensor:
        """Integer [B], 0..B-1: which sample each row of masks is about."""
        return torch.arange(len(self._rows))

    def __call__(self, masks: Masks, rows: Tensor | Sequence[int] | None = None) -> Masks:
        """Scores [n, L] of n coalitions; an array for an array, a tensor for a tensor.

        Parameters
        ----------
        masks
            [n, U], zeros and ones or booleans.
        rows
            n integers, the sample that each mask is about; may be left out of one sample's game.

        Raises
        ------
        InputError
            Another shape, values between 0 and 1, or no ``rows`` where there are several samples.
        """
        given = torch.as_tensor(masks)
        if given.dim() != 2 or given.shape[1] != len(self.columns):
            raise InputError(
                "masks of the wrong shape",
                expected=f"[n, {len(self.columns)}], one column per player",
                got=str(list(given.shape)),
                mend="see flat.names for the players",
            )
        if not ((given == 0) | (given == 1)).all():
            raise InputError(
                "players that are neither left nor removed",
                expected="zeros and ones",
                got=f"values from {given.min():.3g} to {given.max():.3g}",
                mend="use a method that switches players, not one that follows gradients",
            )
        about = self._about(len(given), rows)
        kept = given.bool().to(self.present.device)
        scores = self.prediction.new_zeros(len(given), len(self.labels))
        for sample in sorted(set(about.tolist())):
            mine = (about == sample).nonzero().flatten().to(kept.device)
            raw = self._raw_of(sample, kept[mine])
            found = on_scale(raw, self.game.labels, self.scale, self._rivals[[sample]])
            scores[mine] = found.mean(0)[:, 0, self._chosen].to(scores)
        if isinstance(masks, Tensor):
            return scores.to(masks.device)
        return scores.cpu().numpy()

    def _about(self, count: int, rows: Tensor | Sequence[int] | None) -> Tensor:
        samples = len(self._rows)
        if rows is None and samples == 1:
            return torch.zeros(count, dtype=torch.long)
        about = None if rows is None else torch.as_tensor(rows).cpu().long()
        if about is not None and not about.dim():
            about = about.expand(count)  # Captum's KernelShap names the sample once
        if about is None or tuple(about.shape) != (count,) or not _within(about, samples):
            raise InputError(
                "nobody knows which samples the masks are about",
                expected=f"rows: {count} integers from 0 to {samples - 1}",
                got="nothing" if about is None else f"{list(about.shape)}, or others",
                mend="pass flat.rows along (Captum: additional_forward_args=flat.rows), "
                "or make a FlatGame of one sample",
            )
        return about

    def _raw_of(self, sample: int, kept: Tensor) -> Tensor:
        """Raw scores [R, n, 1, K] of coalitions, bool [n, U], of one sample."""
        row = self._rows[sample]
        if isinstance(self.game, Selectable):
            return self._ask(self.game.select([row]), [0], kept[:, None])
        return self._ask(self.game, [row], kept[:, None])[:, :, [row]]

    def _ends(self, left: bool) -> Tensor:
        """Raw scores [R, B, K] with everything left, or nothing."""
        kept = torch.full((1, *self.real.shape), left, device=self.present.device)
        return self._ask(self.game, self._rows, kept)[:, 0, self._rows]

    def _ask(self, game: Game, rows: Sequence[int], kept: Tensor) -> Tensor:
        """Raw scores [R, n, B, K]; ``kept`` bool [n, B', U] of some of the game's samples."""
        keep = {}
        for name, spans in game.players.items():
            mask = kept.new_ones(len(kept), *spans.start.shape)
            for place, (modality, unit) in enumerate(self.columns):
                # A game of one sample may have fewer players: others have longer texts.
                if modality == name and unit < mask.shape[-1]:
                    mask[:, rows, unit] = kept[..., place]
            keep[name] = mask
        return game.value(keep)

    def _scored(self, raw: Tensor) -> Tensor:
        """Raw scores [R, B, K] on the scale, [B, L]."""
        values = on_scale(raw, self.game.labels, self.scale, self._rivals)
        return values.mean(0)[:, self._chosen]


def _rows(game: Game, samples: str | Sequence[str] | None) -> list[int]:
    if samples is None:
        return list(range(len(game.sample_ids)))
    asked = [samples] if isinstance(samples, str) else list(samples)
    unknown = [name for name in asked if name not in game.sample_ids]
    if unknown or not asked or len(set(asked)) < len(asked):
        raise InputError(
            "samples that the game cannot be asked about",
            expected=f"some of {list(game.sample_ids)[:5]}, ..., each once",
            got=repr(unknown or asked),
            mend="use the ids in game.sample_ids",
        )
    return [game.sample_ids.index(name) for name in asked]


def _chosen(spans: Spans, rows: Sequence[int]) -> Spans:
    low, high = (None if edge is None else edge[rows] for edge in (spans.low, spans.high))
    names = tuple(spans.names[row] for row in rows) if spans.names else ()
    return Spans(spans.start[rows], spans.end[rows], spans.unit, low, high, names)


def _within(rows: Tensor, samples: int) -> bool:
    return bool(((rows >= 0) & (rows < samples)).all())


def called(spans: Spans, modality: str, row: int, unit: int) -> str:
    """A modality, or a unit of it by number and, where it has one, by name."""
    names = spans.names[row] if spans.names else ()
    if spans.start.shape[1] == 1 and not names:
        return modality
    return f"{modality}[{unit}]" + (f" {names[unit]}" if unit < len(names) else "")
