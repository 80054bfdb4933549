"""The players that an attribution has numbers for, and questions about sets of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modalxai.attribution.grid import OneSample, one_by_one
from modalxai.attribution.scales import SCALES, on_scale
from modalxai.errors import InputError
from modalxai.protocols import Game
from modalxai.types import Attribution, Spans


@dataclass(frozen=True, eq=False)
class Ranked:
    """One sample: n players of all ranked modalities, one after the other.

    A modality with units has one player for each; of a modality without, the whole is the player,
    and its total the value.

    Parameters
    ----------
    one
        The sample's game.
    values
        What each player contributes, float64 [L, n].
    whole, counts
        By modality that is ranked: whether it is a single player, and its number of real units.
    """

    one: OneSample
    values: Tensor
    whole: dict[str, bool]
    counts: dict[str, int]

    @property
    def players(self) -> int:
        """How many there are, n."""
        return self.values.shape[-1]

    def ask(self, keep: Tensor) -> tuple[Tensor, int]:
        """Scores of coalitions, and how many different ones the game was asked about.

        Parameters
        ----------
        keep
            Bool [..., n], True for what is left. Modalities that are not ranked stay.

        Returns
        -------
        tuple
            Float64 [..., L], the mean over the draws of a random removal; and a count.
        """
        if not self.players:
            return self._scores(keep.new_zeros(1, 0)).expand(*keep.shape[:-1], -1), 1
        distinct, place = torch.unique(keep.reshape(-1, self.players), dim=0, return_inverse=True)
        scores = self._scores(distinct)
        return scores[place].reshape(*keep.shape[:-1], scores.shape[-1]), len(distinct)

    def _scores(self, keep: Tensor) -> Tensor:
        """[C, n] to [C, L], in a single question."""
        game, spans = self.one.game, self.one.game.players
        masks, start = {}, 0
        for name in game.modalities:
            rows, units = spans[name].start.shape
            mask = torch.ones(len(keep), rows, units, dtype=torch.bool)
            if name in self.counts:
                stop = start + (1 if self.whole[name] else self.counts[name])
                # Broadcasts where the whole modality is one player.
                mask[:, self.one.row, self.one.real[name]] = keep[:, start:stop]
                start = stop
            masks[name] = mask.to(spans[name].start.device)
        raw = game.value(masks)
        found = on_scale(raw, game.labels, self.one.scale, self.one.rivals)
        return found[..., self.one.row, self.one.columns].double().mean(0).cpu()


def ranked(
    attribution: Attribution,
    game: Game,
    modalities: Sequence[str] | None = None,
    scale: str | None = None,
) -> Iterator[Ranked]:
    """Each sample of a game, with what an attribution says of its players.

    Parameters
    ----------
    attribution
        Of the same samples.
    game
        Divided into the units of the attribution.
    modalities
        Whose players are ranked, together; all of the attribution's for ``None``.
    scale
        Of the scores; the attribution's own for ``None``.

    Raises
    ------
    InputError
        Other samples, players or labels than the game's, or contributions that are not finite.
    """
    chosen = _checked(attribution, game, modalities)
    used = attribution.provenance.scale if scale is None else scale
    if used not in SCALES:
        raise InputError(
            "scores on an unknown scale",
            expected=f"one of {list(SCALES)}",
            got=repr(used),
            mend="pass scale=",
        )
    against = attribution.provenance.params.get("against", "rival")
    names = [label.name for label in attribution.labels]
    present = game.present.cpu()
    for row, one in enumerate(one_by_one(game, used, str(against), names)):
        parts, whole, counts = [], {}, {}
        for name in game.modalities:
            real = one.real[name]
            # A missing modality is no player, even where it is one span over everything.
            here = bool(present[row, game.modalities.index(name)]) and len(real) > 0
            if name not in chosen or not here:
                continue
            whole[name], counts[name] = name not in attribution.units, len(real)
            if whole[name]:
                place = attribution.modalities.index(name)
                parts.append(attribution.totals[row, :, place, None])
            else:
                parts.append(attribution.units[name][row][:, real.to(attribution.totals.device)])
        nothing = attribution.totals.new_zeros(len(names), 0)
        values = torch.cat([nothing, *parts], dim=-1).double().cpu()
        if not values.isfinite().all():
            raise InputError(
                f"sample {game.sample_ids[row]!r}: contributions that cannot be ranked",
                expected="finite numbers",
                got="NaN or infinity",
                mend="evaluate a method that knows every player's contribution",
            )
        yield Ranked(one, values, whole, counts)


def _checked(
    attribution: Attribution, game: Game, modalities: Sequence[str] | None
) -> tuple[str, ...]:
    """The modalities that are ranked."""
    if attribution.sample_ids != game.sample_ids:
        raise InputError(
            "an attribution of other samples than the game's",
            expected=str(list(game.sample_ids[:5])),
            got=str(list(attribution.sample_ids[:5])),
            mend="attribute and evaluate the same game",
        )
    asked = [modalities] if isinstance(modalities, str) else modalities
    chosen = tuple(attribution.modalities if asked is None else asked)
    unknown = [name for name in chosen if name not in attribution.modalities]
    if strange := [name for name in attribution.modalities if name not in game.modalities]:
        unknown = strange
    if unknown or not chosen:
        raise InputError(
            "a modality that cannot be ranked" if unknown else "no modality to rank",
            expected=f"some of {list(attribution.modalities)}, of the game's {game.modalities}",
            got=repr(unknown or chosen),
            mend="name modalities that the attribution and the game have",
        )
    players = game.players
    for name in chosen:
        if name in attribution.units and not _same(attribution.spans[name], players[name]):
            raise InputError(
                f"the game has other players than the attribution: {name!r}",
                expected=f"{attribution.spans[name].start.shape[-1]} units, at their places",
                got=f"{players[name].start.shape[-1]} players",
                mend="divide the game as the attributor did, game.divide({...}), or into the "
                "attribution's own spans, game.divide(attribution.spans)",
            )
    return chosen


def _same(one: Spans, other: Spans) -> bool:
    return (
        one.unit == other.unit
        and one.start.shape == other.start.shape
        and torch.equal(one.start.cpu(), other.start.cpu())
        and torch.equal(one.end.cpu(), other.end.cpu())
    )
