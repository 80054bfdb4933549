"""Content or tone: the transcript, the words in the voice, and how they are said, as players."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from modalxai.attribution import indices
from modalxai.attribution.coalitions import mean_over
from modalxai.attribution.grid import OneSample, one_by_one
from modalxai.attribution.masks import every
from modalxai.attribution.scales import Scale
from modalxai.attribution.table import Explanation
from modalxai.attribution.units import Rows, joint
from modalxai.errors import InputError
from modalxai.protocols import Axiom, Game
from modalxai.types import Attribution
from modalxai.voice import ContentToneDivision


@dataclass(frozen=True)
class ContentTone:
    """Exact Shapley values of transcript, spoken words and prosody.

    An audio stream carries the words too, so its share is no share of the tone. Here the voice is
    two players: without prosody the same words are said flatly, without words the same melody is
    hummed. Without both, the modality is removed as the game says. Any further modality is one
    more player.

    ``units`` of the voice are [spoken words, prosody]; `content` and `tone` add them up with the
    transcript. ``pairs`` hold Shapley interactions: transcript with spoken words (below 0 where
    the voice repeats what the text says), transcript with prosody and spoken words with prosody
    (the channels of sarcasm).

    Both edited voices are resynthesised and the recording is not, so what a resynthesis does by
    itself is shared by both players of the voice: compare with the placebo of `Prosody`.

    Costs two encodings of rendered voices for a sample, and none of the text, besides those of
    the modality game.

    Parameters
    ----------
    audio
        The modality with the voice; the game must be one of samples.
    division
        How a voice loses its words and its prosody.
    scale, against
        See `modalxai.attribution.scales.on_scale`.
    """

    axioms: ClassVar[tuple[Axiom, ...]] = ("efficiency",)

    audio: str = "audio"
    division: ContentToneDivision = field(default_factory=ContentToneDivision)
    scale: Scale = "clr"
    against: str = "rival"

    def attribute(self, game: Game, labels: Sequence[str] | None = None) -> Attribution:
        """Totals [B, L, M] that sum to prediction - reference; units of the voice [B, L, 2].

        Raises
        ------
        InputError
            No such modality, no raw recordings, or one that cannot be rendered.
        DependencyError
            pyworld is not installed.
        """
        require_modality(game, self.audio)
        divided = game.divide({self.audio: self.division})
        modal = Explanation.of(divided)
        headline = modal.shapley(self.scale, labels, self.against)
        spans, shape = divided.players, headline.prediction.shape
        rows = Rows(spans, shape[1])
        names = divided.modalities
        pairs = {
            (first, second): torch.zeros(
                *shape, *(spans[name].start.shape[-1] for name in (first, second))
            )
            for place, first in enumerate(names)
            for second in names[place:]
            if first != second or first == self.audio
        }
        totals, errors = torch.zeros_like(headline.totals), torch.zeros_like(headline.se)
        for row, one in enumerate(one_by_one(divided, self.scale, self.against, labels)):
            draws = one.values({name: every(len(one.real[name])).keep for name in one.here})
            values = torch.stack([indices.shapley(joint(draw)) for draw in draws])
            places = _places(one)
            for name, own in places.items():
                parts = values[..., own]
                rows.put(name, row, one.real[name], *mean_over(parts, modal.enumerated))
                total, error = mean_over(parts.sum(-1), modal.enumerated)
                totals[row, :, names.index(name)] = total.to(totals)
                errors[row, :, names.index(name)] = error.to(errors)
            _interact(pairs, row, one, joint(draws.mean(0)), places)
        return replace(
            headline,
            totals=totals,
            se=errors,
            units={self.audio: rows.values[self.audio].to(totals)},
            unit_se={self.audio: rows.se[self.audio].to(totals)},
            pairs={pair: table.to(totals) for pair, table in pairs.items()},
            mask={self.audio: spans[self.audio].mask},
            spans={self.audio: spans[self.audio]},
            provenance=replace(
                headline.provenance,
                attributor="content-tone",
                params={**headline.provenance.params, "division": repr(self.division)},
            ),
        )


def content(attribution: Attribution, audio: str = "audio", text: str = "text") -> Tensor:
    """Evidence of the words, [B, L]: of the transcript and of the spoken words."""
    words = attribution.units[audio][..., 0]
    if text in attribution.modalities:
        words = words + attribution.totals[..., attribution.modalities.index(text)]
    return words


def tone(attribution: Attribution, audio: str = "audio") -> Tensor:
    """Evidence of how the words are said, [B, L]."""
    return attribution.units[audio][..., 1]


def require_modality(game: Game, name: str) -> None:
    """Refuse a modality that the game does not have."""
    if name not in game.modalities:
        raise InputError(
            f"no modality {name!r} to divide",
            expected=f"one of {list(game.modalities)}",
            got=repr(name),
            mend=f"name the one with the voice, {game.modalities[0]!r} say",
        )


def _places(one: OneSample) -> dict[str, slice]:
    """Where each modality's players stand in the joint game."""
    places, start = {}, 0
    for name in one.here:
        places[name] = slice(start, start + len(one.real[name]))
        start = places[name].stop
    return places


def _interact(
    pairs: dict[tuple[str, str], Tensor],
    row: int,
    one: OneSample,
    table: Tensor,
    places: dict[str, slice],
) -> None:
    for (first, second), found in pairs.items():
        if first not in places or second not in places:
            continue
        for a, i in enumerate(range(places[first].start, places[first].stop)):
            for b, j in enumerate(range(places[second].start, places[second].stop)):
                if i != j:
                    value = indices.shapley_interaction(table, (min(i, j), max(i, j)))
                    found[row, :, one.real[first][a], one.real[second][b]] = value.to(found)
