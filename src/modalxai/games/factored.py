"""`ModelGame`: an `EmotionModel` asked about coalitions, each part of it encoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from modalxai import masking, storage
from modalxai.attribution.grid import described
from modalxai.batching import Data
from modalxai.errors import InputError, RemovalError, StaleGameError
from modalxai.games.background import Background
from modalxai.games.bank import References
from modalxai.games.donors import Donors, Draws, check_draws
from modalxai.games.encodings import Encodings, check_bytes
from modalxai.games.grids import score
from modalxai.games.masks import bad_mask, check_keep, check_mask
from modalxai.games.players import check_spans, name_words, offered_units, whole_if_none
from modalxai.games.removal import MARGINAL, OUTPUT, needs_donors, resolve
from modalxai.games.source import Source
from modalxai.games.stages import cut_open
from modalxai.games.versions import Versions
from modalxai.games.whole import Whole
from modalxai.protocols import Division, Split, Stage
from modalxai.trace import Fingerprint, no_trace
from modalxai.types import Batch, Features, Labels, Prediction, Spans

if TYPE_CHECKING:
    from modalxai.model import EmotionModel


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
    raws
        By modality the B raw values, for players that lie inside them.
    draws
        How often a random removal is drawn (R); ``"all"`` takes every donor.
    seed
        Of everything drawn; each sample's own seed comes from it and the sample's id.
    max_bytes
        About how much memory encoded rows take: what one question needs of each modality, and what
        one call of the fusion reads. Larger questions are asked in parts, and the answer is the
        same. ``None`` for 1 GiB and 256 MiB.
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
        raws: Mapping[str, Sequence[Any]] | None = None,
        draws: Draws = 1,
        seed: int = 0,
        references: References | None = None,
        fingerprint: Fingerprint | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self._model = model
        batch = batch.to(model.device)
        self._columns = batch.columns
        self._removal = dict(removal)
        self._background = background
        self._draws = draws
        self._seed = seed
        self._max_bytes = max_bytes
        self._divided: dict[str, str] = {}
        self._fingerprint = fingerprint or Fingerprint(model)
        self._whole = Whole()
        self.level = level
        self.sample_ids = batch.ids
        shared = References() if references is None else references
        donors = None
        if background is not None and needs_donors(self._removal):
            donors = Donors(background, self._removal, draws, seed)
        self._encodings = {
            name: Encodings(
                Source(
                    model,
                    name,
                    batch[name],
                    self.sample_ids,
                    batch.columns.get(name) if raws is None else raws[name],
                    shared,
                    marking=level == "input" and how not in OUTPUT,
                ),
                how=how,
                outside=level == "features" or how in OUTPUT,
                mean=background.means[name] if background and how == "mean" else None,
                donors=donors if how in MARGINAL else None,
                draws=draws if isinstance(draws, int) else 1 if donors is None else donors.draws,
                seed=seed,
                max_bytes=max_bytes,
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
        raws: Mapping[str, Sequence[Any]] | None = None,
        draws: Draws = 1,
        seed: int = 0,
        references: References | None = None,
        fingerprint: Fingerprint | None = None,
        max_bytes: int | None = None,
    ) -> ModelGame:
        """Check the settings and make the game.

        Raises
        ------
        RemovalError
            See `modalxai.games.removal.resolve`.
        InputError
            An unknown level, draws or max_bytes below 1, or a batch that lacks a modality.
        """
        check_bytes(max_bytes)
        chosen = resolve(model, removal, level, background is not None)
        lent = needs_donors(chosen)
        check_draws(draws, seed, lent)
        if absent := [name for name in (*model.modalities, "ids") if name not in batch]:
            raise InputError(
                f"a batch without {absent}",
                expected=f"inputs for {list(model.modalities)}, and ids",
                got=f"keys {list(batch)}",
                mend="make batches with model.collate",
            )
        known = None if background is None else Background.of(model, background, donors=lent)
        return cls(
            model,
            batch,
            removal=chosen,
            level=level,
            background=known,
            raws=raws,
            draws=draws,
            seed=seed,
            references=references,
            fingerprint=fingerprint,
            max_bytes=max_bytes,
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
        return {
            "removal": dict(self._removal),
            # Whatever the removal: its mean may be what gradients are compared with.
            "background": self._background.digest if self._background else None,
            "seed": self._seed,
            "versions": storage.versions(),
        }

    @property
    def enumerated(self) -> bool:
        """Whether the draws are all the donors there are, and nothing else is drawn.

        Beside noise, which an encoder draws, "all" donors are a sample.
        """
        if self._draws != "all":
            return False
        with no_trace(self._model):
            return not any(encodings.random for encodings in self._encodings.values())

    @property
    def divided(self) -> dict[str, str]:
        """By divided modality, what its players are."""
        return dict(self._divided)

    @property
    def present(self) -> Tensor:
        """Bool [B, M], False where a sample lacks the modality."""
        return torch.stack([full.mask.any(1) for full in self._whole_encodings()], dim=1)

    @property
    def players(self) -> dict[str, Spans]:
        """By modality, the spans [B, U_m] of its players."""
        self._whole_encodings()
        return {name: found.units for name, found in self._encodings.items()}

    def select(self, rows: Sequence[int]) -> ModelGame:
        """The same game of some of its samples; what is encoded stays encoded."""
        self._whole_encodings()  # once, for all selections
        game = copy(self)
        game.sample_ids = tuple(self.sample_ids[row] for row in rows)
        game._columns = {
            name: tuple(values[row] for row in rows) for name, values in self._columns.items()
        }
        game._encodings = {name: e.select(rows) for name, e in self._encodings.items()}
        game._whole = self._whole.select(rows)
        return game

    def divide(self, players: Mapping[str, str | Spans | Division[Any]]) -> ModelGame:
        """The same game with a modality's words, segments or frames as players.

        Parameters
        ----------
        players
            By modality, a kind that its encoder offers, spans of your own, or a division of the
            raw value (pitch and rate; spoken words and prosody), which needs a game of samples.

        Raises
        ------
        RemovalError
            A removal that takes away whole modalities only.
        InputError
            An unknown modality or kind, spans in another unit or for other samples, or a division
            of raw values that the game does not have.
        """
        game = copy(self)
        game._encodings = dict(self._encodings)
        game._divided = dict(self._divided)
        for name, asked in players.items():
            self._require(name)
            game._divided[name] = described(asked)
            encodings = self._encodings[name]
            if isinstance(asked, Division):
                source = encodings.source
                versions = Versions(asked, self._model, name, source.sample_ids, source.raws)
                game._encodings[name] = encodings.divided(versions.units(), versions)
            else:
                game._encodings[name] = encodings.divided(self._units(name, asked))
        return game

    def _units(self, modality: str, asked: str | Spans) -> Spans:
        how = self._removal[modality]
        if how in MARGINAL or (self.level == "input" and how in OUTPUT):
            raise RemovalError(
                f"{how!r} removes {modality!r} as a whole, not its parts",
                expected="a removal at the encoder's input"
                + ("" if how in MARGINAL else ", or level='features'"),
                got=f"removal {how!r} at level {self.level!r}",
                mend='name one that the encoder offers, such as "mask" or "silence"',
            )
        if isinstance(asked, str):
            inputs = self._encodings[modality].source.inputs
            texts = self._columns.get(modality)
            with no_trace(self._model):
                found = offered_units(self._model.encoder(modality), modality, inputs, asked)
            found = whole_if_none(found, self.encode(modality))
            return self._removable(modality, name_words(found, texts))
        full = self.encode(modality)
        spans = check_spans(asked, modality, full.spans.unit, len(self.sample_ids))
        return self._removable(modality, whole_if_none(spans.to(self._model.device), full))

    def _removable(self, modality: str, spans: Spans) -> Spans:
        """Refuse tiles where vectors are masked: a vector holds all frequencies of its moment."""
        if self.level == "features" and spans.low is not None:
            raise RemovalError(
                f"tiles of {modality!r} cannot be removed from its encoder's output",
                expected="spans of time alone, or level='input'",
                got="spans with frequencies, level='features'",
                mend='divide into "segment" or "frame" units',
            )
        return spans

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
                return self._encodings[modality].source.full
            shape = self._players(modality)
            if check_mask(modality, keep, shape).dim() != 2:
                raise bad_mask(modality, f"bool {list(shape)}", keep)
            return self._encodings[modality].features(keep.to(self._model.device))

    def _whole_encodings(self) -> list[Features]:
        """Every modality with nothing removed; the weights are looked at once for all of them."""
        self._refuse_stale()
        with no_trace(self._model):
            return [self._encodings[name].source.full for name in self.modalities]

    def stage(self, modality: str) -> Stage | None:
        """One encoder cut open at its time-frequency maps, everything kept; ``None`` without any.

        See `modalxai.games.stages.cut_open`.

        Raises
        ------
        StaleGameError
            The weights have changed since the game was made.
        InputError
            An unknown modality.
        """
        self._require(modality)
        self._refuse_stale()
        return cut_open(self._model, modality, self._encodings[modality].source.inputs)

    def cost(self, modality: str) -> float:
        """Weights times vectors: about what encoding a row costs, up to a common factor."""
        weights = sum(p.numel() for p in self._model.encoders[modality].parameters())
        vectors = self.encode(modality).mask.sum(1).float().mean()
        return max(1.0, weights * float(vectors))

    def fuse(self, features: Mapping[str, Features]) -> Prediction:
        """The fusion alone, in eval mode; gradients flow if the caller records them.

        Of the encodings as they are, the scores are kept, without the graph: a table that is asked
        for afterwards joins the other coalitions only.

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
        full = {name: found.source.encoded for name, found in self._encodings.items()}
        self._whole.learn(prediction.scores, features, full)
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
                removed = [
                    _as_long_as(full, one) for one in self._encodings[modality].nothing_left()
                ]
            if all(torch.equal(one.mask, full.mask) for one in removed):
                return torch.stack([one.values for one in removed]).mean(0)
        if self._background is None:
            raise InputError(
                f"no reference for the vectors of {modality!r}",
                expected="a fusion with missing vectors, or a removal that keeps the units",
                got=f"removal {how!r}, {type(fusion).__name__}, no background",
                mend="pass background=samples of the same corpus",
            )
        return self._background.means[modality].to(self.encode(modality).values)

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
        with no_trace(self._model):
            shapes = {name: self._players(name) for name in self.modalities}
            checked, lead = check_keep(keep, shapes)
            masks = {name: mask.to(self._model.device) for name, mask in checked.items()}
            known, limit = self._whole.scores, self._max_bytes
            scores = score(self._model.fusion, self._encodings, masks, lead, known, limit)
        self._require_finite(scores)
        # As many draws whatever is asked, or batches of a corpus would not go together.
        draws = max(encodings.draws for encodings in self._encodings.values())
        return scores.expand(draws, *scores.shape[1:])

    def _players(self, modality: str) -> tuple[int, int]:
        samples, players = self._encodings[modality].units.start.shape
        return samples, players

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
            # Whoever follows gradients may fuse the samples several times over.
            bad = self.sample_ids[int((~rows).nonzero()[0]) % len(self.sample_ids)]
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


def _as_long_as(full: Features, other: Features) -> Features:
    """Features padded, or cut where they are padding, to the T of others."""
    length = full.mask.shape[1]
    if other.mask[:, length:].any():
        return other  # of other units
    return Features(
        masking.lengthen(other.values[:, :length], length),
        masking.lengthen(other.mask[:, :length], length),
        full.spans,
    )
