"""`ModelGame`: an `EmotionModel` asked about coalitions, each part of it encoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from modalxai import storage
from modalxai.batching import Data
from modalxai.errors import InputError, RemovalError, StaleGameError
from modalxai.games.background import Background
from modalxai.games.bank import References, row_bytes, take
from modalxai.games.encodings import Encodings
from modalxai.games.players import check_spans, name_words, offered_units
from modalxai.games.removal import OUTPUT, resolve
from modalxai.protocols import Split
from modalxai.trace import Fingerprint, no_trace
from modalxai.types import Batch, Features, Labels, Prediction, Spans

if TYPE_CHECKING:
    from modalxai.model import EmotionModel

JOIN_BYTES = 1 << 28
"""Bytes of gathered rows that one call of the fusion may read."""


class ModelGame:
    """What would the model score if only these players were left?

    Each distinct input is encoded once, whatever is asked and however often: V masks of one
    modality and W of another cost V + W encodings and V * W joins. Leaves no trace in the model.

    Make one with `EmotionModel.game`.

    Parameters
    ----------
    model, batch
        What to ask, about which samples.
    removal
        By modality, resolved by `modalxai.games.removal.resolve`.
    level
        ``"input"`` (removed and encoded again) or ``"features"`` (encoder outputs masked).
    background
        For the removal "mean".
    draws
        How often a random removal is drawn (R).
    seed
        Of everything drawn; each sample's own seed comes from it and the sample's id.
    references
        Shared between the games of a corpus.
    fingerprint
        State of the weights that the shared references belong to.
    """

    def __init__(
        self,
        model: EmotionModel,
        batch: Batch,
        *,
        removal: Mapping[str, str],
        level: str,
        background: Background | None = None,
        draws: int = 1,
        seed: int = 0,
        references: References | None = None,
        fingerprint: Fingerprint | None = None,
    ) -> None:
        self._model = model
        self._batch = batch.to(model.device)
        self._removal = dict(removal)
        self._background = background
        self._seed = seed
        self._fingerprint = fingerprint or Fingerprint(model)
        self.level = level
        self.sample_ids = self._batch.ids
        shared = References() if references is None else references
        self._encodings = {
            name: Encodings(
                model,
                name,
                self._batch[name],
                self.sample_ids,
                how=how,
                outside=level == "features" or how in OUTPUT,
                mean=background.means[name] if background and how == "mean" else None,
                draws=draws,
                seed=seed,
                references=shared,
            )
            for name, how in self._removal.items()
        }

    @classmethod
    def make(
        cls,
        model: EmotionModel,
        batch: Batch,
        *,
        removal: str | Mapping[str, str] | None = None,
        level: str = "input",
        background: Data | Background | None = None,
        draws: int = 1,
        seed: int = 0,
        references: References | None = None,
        fingerprint: Fingerprint | None = None,
    ) -> ModelGame:
        """Check the settings and make the game.

        Raises
        ------
        RemovalError
            See `modalxai.games.removal.resolve`.
        InputError
            An unknown level, draws below 1, or a batch that lacks a modality.
        """
        chosen = resolve(model, removal, level, background is not None)
        if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
            raise InputError(
                "draws out of range",
                expected="a whole number from 1",
                got=repr(draws),
                mend="1 for constant removals, tens for random ones",
            )
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise InputError(
                "a seed that is none", expected="a whole number", got=repr(seed), mend="0, say"
            )
        if absent := [name for name in (*model.modalities, "ids") if name not in batch]:
            raise InputError(
                f"a batch without {absent}",
                expected=f"inputs for {list(model.modalities)}, and ids",
                got=f"keys {list(batch)}",
                mend="make batches with model.collate",
            )
        known = None if background is None else Background.of(model, background)
        return cls(
            model,
            batch,
            removal=chosen,
            level=level,
            background=known,
            draws=draws,
            seed=seed,
            references=references,
            fingerprint=fingerprint,
        )

    @property
    def labels(self) -> Labels:
        """The model's labels."""
        return self._model.labels

    @property
    def modalities(self) -> tuple[str, ...]:
        """The model's modalities, in order."""
        return self._model.modalities

    @property
    def settings(self) -> dict[str, Any]:
        """What this game adds to a result's provenance."""
        used = self._background is not None and "mean" in self._removal.values()
        return {
            "removal": dict(self._removal),
            "background": self._background.digest if used and self._background else None,
            "seed": self._seed,
            "versions": storage.versions(),
        }

    @property
    def present(self) -> Tensor:
        """Bool [B, M], False where a sample lacks the modality."""
        return torch.stack([self.encode(name).mask.any(1) for name in self.modalities], dim=1)

    @property
    def players(self) -> dict[str, Spans]:
        """By modality, the spans [B, U_m] of its players."""
        for name in self.modalities:
            self.encode(name)
        return {name: found.units for name, found in self._encodings.items()}

    def divide(self, players: Mapping[str, str | Spans]) -> ModelGame:
        """The same game with a modality's words, segments or frames as players.

        Parameters
        ----------
        players
            By modality, a kind that its encoder offers or spans of your own.

        Raises
        ------
        RemovalError
            A removal that takes away whole modalities only.
        InputError
            An unknown modality or kind, or spans in another unit or for other samples.
        """
        game = copy(self)
        game._encodings = dict(self._encodings)
        for name, asked in players.items():
            units = self._units(name, asked)
            game._encodings[name] = self._encodings[name].divided(units)
        return game

    def _units(self, modality: str, asked: str | Spans) -> Spans:
        self._require(modality)
        if self.level == "input" and self._removal[modality] in OUTPUT:
            raise RemovalError(
                f"{self._removal[modality]!r} removes {modality!r} as a whole, not its parts",
                expected="a removal at the encoder's input, or level='features'",
                got=f"removal {self._removal[modality]!r} at level 'input'",
                mend='name one that the encoder offers, such as "mask" or "silence"',
            )
        if isinstance(asked, str):
            inputs, texts = self._batch[modality], self._batch.columns.get(modality)
            with no_trace(self._model):
                found = offered_units(self._model.encoder(modality), modality, inputs, asked)
            return name_words(found, texts)
        unit = self.encode(modality).spans.unit
        return check_spans(asked, modality, unit, len(self.sample_ids)).to(self._model.device)

    def encode(self, modality: str, keep: Tensor | None = None) -> Features:
        """One modality's features [B, T, D]; ``keep`` bool [B, U_m], everything for ``None``.

        Raises
        ------
        StaleGameError
            The weights have changed since the game was made.
        InputError
            An unknown modality, or a mask of the wrong type or shape.
        """
        self._require(modality)
        self._refuse_stale()
        with no_trace(self._model):
            if keep is None:
                return self._encodings[modality].full
            if self._checked(modality, keep).dim() != 2:
                raise _bad_keep(modality, "bool [B, U]", keep)
            return self._encodings[modality].features(keep.to(self._model.device))

    def fuse(self, features: Mapping[str, Features]) -> Prediction:
        """The fusion alone, in eval mode; gradients flow if the caller records them.

        Raises
        ------
        StaleGameError
            The weights have changed since the game was made.
        InputError
            Scores that are not finite.
        """
        self._refuse_stale()
        with no_trace(self._model, gradients=True):
            prediction = self._model.fuse(features)
        self._require_finite(prediction.scores)
        return prediction

    def reference(self, modality: str) -> Tensor:
        """h0, broadcastable to [B, T, D]: what the vectors are compared with.

        The fusion's ``missing`` vector under "absent", the background's mean under "mean", the
        removed encoding otherwise where its units match (the mean over its draws), else the
        background's mean.

        Raises
        ------
        InputError
            None of these is to be had.
        """
        self._require(modality)
        how, fusion = self._removal[modality], self._model.fusion
        if how == "absent" and isinstance(fusion, Split):
            return fusion.missing[modality].detach()
        if how not in OUTPUT:
            full = self.encode(modality)
            with no_trace(self._model):
                removed = self._encodings[modality].nothing_left()
            if all(torch.equal(one.mask, full.mask) for one in removed):
                return torch.stack([one.values for one in removed]).mean(0)
        if self._background is None:
            raise InputError(
                f"no reference for the vectors of {modality!r}",
                expected="a fusion with missing vectors, or a removal that keeps the units",
                got=f"removal {how!r}, {type(fusion).__name__}, no background",
                mend="pass background=samples of the same corpus",
            )
        return self._background.means[modality].to(self._model.device)

    def value(self, keep: Mapping[str, Tensor]) -> Tensor:
        """Raw scores [R, ..., B, K] of coalitions, in float32 or wider.

        Parameters
        ----------
        keep
            By modality, bool [..., B, U_m], True for what is left; ``...`` broadcasts.

        Raises
        ------
        StaleGameError
            The weights have changed since the game was made.
        InputError
            A modality too many or too few, a mask of the wrong type or shape, or scores that are
            not finite.
        """
        self._refuse_stale()
        if not isinstance(keep, Mapping) or set(keep) != set(self.modalities):
            raise InputError(
                "a coalition names other modalities than the model has",
                expected=str(list(self.modalities)),
                got=str(list(keep)) if isinstance(keep, Mapping) else type(keep).__name__,
                mend="give a mask for every modality",
            )
        checked = {name: self._checked(name, keep[name]) for name in self.modalities}
        try:
            lead = np.broadcast_shapes(*(mask.shape[:-2] for mask in checked.values()))
        except ValueError as error:
            raise InputError(
                "masks that do not broadcast",
                expected="leading axes that broadcast over the modalities",
                got=str({name: list(mask.shape) for name, mask in checked.items()}),
                mend="for a grid use [V, 1, B, U] and [1, W, B, U']",
            ) from error
        with no_trace(self._model):
            places = {name: self._encodings[name].place(mask) for name, mask in checked.items()}
            draws = max(place.shape[0] for place in places.values())
            shape = (draws, *lead, len(self.sample_ids))
            scores = self._join(
                {name: _spread(place, shape).reshape(-1) for name, place in places.items()}
            )
        scores = scores.reshape(*shape, len(self.labels))
        self._require_finite(scores)
        return scores

    def _join(self, places: dict[str, Tensor]) -> Tensor:
        """Scores [N, K] of rows of the banks, in bounded chunks."""
        fusion = self._model.fusion
        rows = {name: self._encodings[name].rows for name in places}
        size = max(1, JOIN_BYTES // max(1, sum(row_bytes(bank) for bank in rows.values())))
        count = len(next(iter(places.values())))
        scores = [next(iter(places.values())).new_zeros(0, len(self.labels), dtype=torch.float32)]
        for start in range(0, count, size):
            chosen = {
                name: take(rows[name], at[start : start + size]) for name, at in places.items()
            }
            joined = fusion.join(chosen) if isinstance(fusion, Split) else fusion(chosen)
            scores.append(joined.scores.to(torch.promote_types(joined.scores.dtype, torch.float32)))
        return torch.cat(scores)

    def _checked(self, modality: str, keep: Any) -> Tensor:
        with no_trace(self._model):
            shape = self._encodings[modality].units.start.shape
        if not isinstance(keep, Tensor) or keep.dtype != torch.bool or keep.shape[-2:] != shape:
            raise _bad_keep(modality, f"bool [..., {shape[0]}, {shape[1]}]", keep)
        return keep.to(self._model.device)

    def _require(self, modality: str) -> None:
        if modality not in self.modalities:
            raise InputError(
                f"unknown modality {modality!r}",
                expected=f"one of {list(self.modalities)}",
                got=repr(modality),
                mend="use the model's names",
            )

    def _require_finite(self, scores: Tensor) -> None:
        finite = torch.isfinite(scores)
        if not finite.all():
            rows = finite.movedim(-2, 0).flatten(1).all(1)
            bad = self.sample_ids[int((~rows).nonzero()[0])]
            raise InputError(
                f"sample {bad!r}: the model returned scores that are not finite",
                expected="finite scores for every coalition",
                got="NaN or infinity",
                mend="check the model's weights, and its precision",
            )

    def _refuse_stale(self) -> None:
        if not self._fingerprint.matches(self._model):
            raise StaleGameError(
                "the model's weights have changed since this game was made",
                expected="the weights it was made with",
                got="others",
                mend="make a new game with model.game(...) after each training step",
            )


def _bad_keep(modality: str, expected: str, keep: Any) -> InputError:
    got = f"{keep.dtype} {list(keep.shape)}" if isinstance(keep, Tensor) else type(keep).__name__
    return InputError(
        f"a mask of the wrong type or shape for {modality!r}",
        expected=f"{expected}, True for what is left",
        got=got,
        mend="build it from game.players[modality]",
    )


def _spread(place: Tensor, shape: Sequence[int]) -> Tensor:
    """[R_m, ..., B] to [R, ..., B], coalition axes aligned from the right."""
    lead = (1,) * (len(shape) - place.dim())
    aligned = place.reshape(place.shape[0], *lead, *place.shape[1:])
    return aligned.expand(*shape)
