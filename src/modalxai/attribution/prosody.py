"""Which prosodic feature matters: pitch, rate and intensity, each against a placebo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from modalxai.attribution import indices
from modalxai.attribution.coalitions import draws_of, mean_over
from modalxai.attribution.content_tone import require_modality
from modalxai.attribution.grid import OneSample, one_by_one
from modalxai.attribution.masks import every
from modalxai.attribution.scales import Scale
from modalxai.attribution.units import Rows
from modalxai.protocols import Axiom, Game, Selectable
from modalxai.types import Attribution, Labels, Provenance, select
from modalxai.voice import Check, ProsodyDivision

PLAYERS = ProsodyDivision.names[2:]
"""The prosodic players: pitch level, pitch range, rate, intensity."""
DOSES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
BELIEVABLE = 2.0
"""An effect must be this many times its placebo's."""


@dataclass(frozen=True, eq=False)
class ProsodyEffects:
    """What neutralising each prosodic feature does, and how it grows with the dose.

    Axis letters: P prosodic players, D doses.

    Parameters
    ----------
    sample_ids, labels, players, doses
        B, L, P and D names or numbers.
    effect
        Float [B, L, P]: how much the score falls when the feature alone is made neutral, beyond
        what the resynthesis does by itself: ``v(placebo) - v(neutral)``.
    placebo
        Float [B, L]: what the resynthesis does, ``v(recording) - v(placebo)``.
    curve
        Float [B, L, P, D]: the score with the feature at a dose of its own deviation from
        neutral, less the score of the placebo (dose 1).
    present
        Bool [B], False where the sample has no voice; everything is 0 there.
    provenance
        See `Provenance`.
    """

    sample_ids: tuple[str, ...]
    labels: Labels
    players: tuple[str, ...]
    doses: tuple[float, ...]
    effect: Tensor
    placebo: Tensor
    curve: Tensor
    present: Tensor
    provenance: Provenance

    @property
    def ratio(self) -> Tensor:
        """``|effect + placebo| / |placebo|``, [B, L, P]: below 2 an effect is not to be believed.

        The effect of the whole edit, recording against neutral, over that of the placebo.
        """
        whole = (self.effect + self.placebo[..., None]).abs()
        return whole / self.placebo.abs()[..., None]

    @property
    def believable(self) -> Tensor:
        """Bool [B, L, P]: the edit does more than twice what its placebo does."""
        whole = (self.effect + self.placebo[..., None]).abs()
        return whole > BELIEVABLE * self.placebo.abs()[..., None]

    @property
    def slope(self) -> Tensor:
        """Elasticity [B, L, P]: the curve's slope at dose 1, between its neighbours."""
        at = self.doses.index(1.0)
        rise = self.curve[..., at + 1] - self.curve[..., at - 1]
        return rise / (self.doses[at + 1] - self.doses[at - 1])


@dataclass(frozen=True)
class Prosody:
    """Exact Shapley values of the prosodic features, by WORLD resynthesis.

    The other modalities stay as they are. What the voice adds, ``v(everything) - v(without the
    voice)``, is divided among six players: the prosodic ones share ``v(placebo) - v(all of them
    neutral)`` by Shapley values; ``"recording"`` has ``v(recording) - v(placebo)``, what taking
    the sound apart and together again does by itself; ``"words"`` has the rest, a voice with
    neutral prosody against none. Interventions, not masks: no prosodic feature can be absent.

    Each version of a recording is rendered and encoded once, whatever asks for it; nothing else is
    encoded.

    Parameters
    ----------
    audio
        The modality with the voice; the game must be one of samples.
    division
        What is neutral. Where no reference is given for pitch level or rate, the recording's own
        is neutral, and that player gets 0.
    scale, against
        See `modalxai.attribution.scales.on_scale`.
    """

    axioms: ClassVar[tuple[Axiom, ...]] = ("efficiency",)

    audio: str = "audio"
    division: ProsodyDivision = field(default_factory=ProsodyDivision)
    scale: Scale = "clr"
    against: str = "rival"

    def attribute(self, game: Game, labels: Sequence[str] | None = None) -> Attribution:
        """Units [B, L, 6] that sum to prediction - reference; the other modalities get 0.

        Raises
        ------
        InputError
            No such modality, no raw recordings, or one that cannot be rendered.
        DependencyError
            pyworld is not installed.
        """
        require_modality(game, self.audio)
        divided = game.divide({self.audio: self.division})
        chosen = select(game.labels, labels)
        spans = {self.audio: divided.players[self.audio]}
        rows = Rows(spans, len(chosen))
        shape = len(game.sample_ids), len(chosen)
        prediction, reference = torch.zeros(shape), torch.zeros(shape)
        errors, place = torch.zeros(*shape, len(game.modalities)), game.modalities.index(self.audio)
        provenance = self._provenance(game)
        enumerated = provenance.params.get("draws") == "all"
        asked = torch.cat([_resynthesised(every(len(PLAYERS)).keep), _PLACEBO[:1], _NOTHING])
        asked = _same_sounds(self.division, asked)
        for row, one in enumerate(one_by_one(divided, self.scale, self.against, labels)):
            if self.audio not in one.here:
                prediction[row] = reference[row] = self._draws(one, asked[:1])[:, 0].mean(0)
                continue
            draws = self._draws(one, asked)
            edited, recording, without = draws[:, :-2], draws[:, -2], draws[:, -1]
            values = [_players(*draw) for draw in zip(edited, recording, without, strict=True)]
            mean, error = mean_over(torch.stack(values), enumerated)
            rows.put(self.audio, row, one.real[self.audio], mean, error)
            errors[row, :, place] = mean_over(recording - without, enumerated)[1]
            prediction[row], reference[row] = recording.mean(0), without.mean(0)
        units = rows.values[self.audio].to(prediction)
        totals = torch.zeros(*shape, len(game.modalities))
        totals[..., place] = units.sum(-1)
        return Attribution(
            sample_ids=game.sample_ids,
            labels=tuple(game.labels[column] for column in chosen),
            modalities=game.modalities,
            present=game.present.cpu(),
            totals=totals,
            units={self.audio: units},
            pairs={},
            se=errors,
            mask={self.audio: spans[self.audio].mask.cpu()},
            spans={self.audio: spans[self.audio].to("cpu")},
            prediction=prediction,
            reference=reference,
            provenance=provenance,
            unit_se={self.audio: rows.se[self.audio].to(prediction)},
        )

    def effects(
        self,
        game: Game,
        labels: Sequence[str] | None = None,
        doses: Sequence[float] = DOSES,
    ) -> ProsodyEffects:
        """What each prosodic feature does alone, at several doses; see `ProsodyEffects`.

        Parameters
        ----------
        game, labels
            See `attribute`.
        doses
            Of the deviation from neutral; 0 and 1 are always among them.

        Raises
        ------
        InputError
            See `attribute`.
        """
        require_modality(game, self.audio)
        levels = tuple(sorted({0.0, 1.0, *doses}))
        shape = len(game.sample_ids), len(select(game.labels, labels))
        curve = torch.zeros(*shape, len(PLAYERS), len(levels))
        placebo = torch.zeros(shape)
        audible = [place for place, name in enumerate(PLAYERS) if name not in self.division.idle]
        for row in range(shape[0]):
            # Sample by sample, so that all doses of a recording share its analysis.
            alone, at = (game.select([row]), 0) if isinstance(game, Selectable) else (game, row)
            recording, resynthesis = self._versions(alone, at, labels, self.division, _PLACEBO)
            placebo[row] = recording - resynthesis
            for level, dose in enumerate(levels):
                if dose == 1 or not audible:
                    continue
                division = replace(self.division, dose=dose)
                found = self._versions(alone, at, labels, division, _one_gone(audible))
                curve[row, :, audible, level] = (found - resynthesis).T
        return ProsodyEffects(
            sample_ids=game.sample_ids,
            labels=tuple(game.labels[at] for at in select(game.labels, labels)),
            players=PLAYERS,
            doses=levels,
            effect=-curve[..., 0],
            placebo=placebo,
            curve=curve,
            present=game.present[:, game.modalities.index(self.audio)].cpu(),
            provenance=self._provenance(game),
        )

    def checks(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Check]]:
        """Manipulation checks: by sample id and removed player, did the edit do what it says?"""
        found: dict[str, dict[str, Check]] = {}
        for index, one in enumerate(samples):
            raw = one.get(self.audio)
            if raw is None:
                continue
            found[str(one.get("id", f"#{index}"))] = own = {}
            for place, name in enumerate(PLAYERS):
                keep = torch.ones(6, dtype=torch.bool)
                keep[[1, 2 + place]] = False
                own[name] = self.division.check(raw, keep)
        return found

    def _versions(
        self,
        game: Game,
        row: int,
        labels: Sequence[str] | None,
        division: ProsodyDivision,
        keep: Tensor,
    ) -> Tensor:
        """Values [V, L] of versions of one sample's voice, 0 where it has none."""
        divided = game.divide({self.audio: division})
        one = list(one_by_one(divided, self.scale, self.against, labels))[row]
        if self.audio not in one.here:
            return torch.zeros(len(keep), len(one.columns))
        return self._draws(one, _same_sounds(division, keep)).mean(0).float()

    def _draws(self, one: OneSample, keep: Tensor) -> Tensor:
        """Values [R, V, L] of versions of the voice, bool [V, 6], the other modalities kept."""
        masks = {
            name: keep if name == self.audio else torch.ones(1, len(one.real[name])).bool()
            for name in one.here
        }
        return one.values(masks).flatten(1, -2)

    def _provenance(self, game: Game) -> Provenance:
        everyone = {
            name: one.start.new_ones(one.start.shape).bool() for name, one in game.players.items()
        }
        draws = draws_of(game, game.value(everyone).shape[0])
        params: dict[str, Any] = {**draws, "division": repr(self.division)}
        if self.scale == "contrast":
            params["against"] = self.against
        return Provenance(
            attributor="prosody",
            params=params,
            scale=self.scale,
            level=game.level,
            **game.settings,
        )


def _players(edited: Tensor, recording: Tensor, without: Tensor) -> Tensor:
    """Values [L, 6] of one draw, from those of the edits [16, L], the recording and no voice."""
    flat, placebo = edited[0], edited[-1]
    ends = torch.stack([flat - without, recording - placebo], dim=-1)
    return torch.cat([ends, indices.shapley(edited)], dim=-1)


def _resynthesised(prosodic: Tensor) -> Tensor:
    """Masks [V, 6]: the words, no recording, and these prosodic players, bool [V, 4]."""
    on = torch.ones(len(prosodic), 1, dtype=torch.bool)
    return torch.cat([on, ~on, prosodic], dim=1)


def _one_gone(places: Sequence[int]) -> Tensor:
    """Each of some prosodic players removed by itself, bool [V, 6]."""
    return _resynthesised(~torch.eye(len(PLAYERS), dtype=torch.bool)[list(places)])


_PLACEBO = torch.cat([torch.ones(1, 6).bool(), _resynthesised(torch.ones(1, len(PLAYERS)).bool())])
"""The recording, and the same taken apart and put together again."""
_NOTHING = torch.zeros(1, 6, dtype=torch.bool)


def _same_sounds(division: ProsodyDivision, keep: Tensor) -> Tensor:
    """Masks of equal sounds made equal, those without the words left alone."""
    return torch.where(keep[:, :1], division.canonical(keep), keep)
