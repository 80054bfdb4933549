"""`CallableGame`: any function of samples, asked about coalitions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from modalxai import storage
from modalxai.attribution import Explanation
from modalxai.attribution.grid import described
from modalxai.errors import InputError
from modalxai.games.answers import Outputs
from modalxai.games.asked import read_samples
from modalxai.games.bank import Bank
from modalxai.games.donors import Draws, Lenders, check_draws
from modalxai.games.edits import Edits, Part
from modalxai.games.function import Function
from modalxai.games.masks import check_keep
from modalxai.games.removal import MARGINAL
from modalxai.games.renderings import Renderings
from modalxai.games.replacing import RawRemoval, resolve_raw
from modalxai.protocols import Division, Samples
from modalxai.types import Label, Sample, Spans, Targets, check_labels
from modalxai.voice.segments import SegmentDivision
from modalxai.voice.words import WordDivision

KINDS: dict[str, Division[Any]] = {"word": WordDivision(), "segment": SegmentDivision()}
"""Divisions by name: the words of a text, half seconds of a recording."""


class CallableGame:
    """What would this function score if only these players were left?

    For any model that is a function of samples: an audio language model, an early fusion, a
    pipeline of scikit-learn. Attributors take it as they take the game of an `EmotionModel`, those
    that need gradients excepted. Each distinct coalition of a sample is scored once, whatever is
    asked and however often; there is nothing to factor, so V masks of one modality and W of
    another cost V * W rows. Everything here is on the CPU.

    The function is called without gradients, and the random generators are put back afterwards. If
    it is an ``nn.Module``, or a method of one, every submodule is in eval mode meanwhile and the
    game raises once the weights have changed; of other functions the state is the user's business:
    put the model inside into eval mode, and let the function depend on its samples alone.

    Parameters
    ----------
    fn
        n samples to scores [n, K]: a tensor, an array, nested lists, or a `Prediction`. Each sample
        is a copy of the user's mapping with removed modalities changed, so that one id occurs
        often: do not cache by it. The function is asked about samples without any modality, too:
        what does the model say when it is told nothing? `EmotionModel.predict` takes both, if it
        is given the very copies. What a function raises is not caught.
    samples
        One or more mappings, as for `EmotionModel.collate`: raw values, ``"id"``, ``"labels"`` and
        further columns. A modality that is ``None`` or has no key is missing, and no player.
    labels
        What the K columns mean.
    modalities
        Keys of the raw values that are removed, in order. Other keys reach the function unchanged.
    removal
        By modality, or one for all. ``"missing"`` (default) sets the key to ``None``. A pair of a
        name, for the provenance, and a constant raw value or a function raw -> raw:
        ``("empty", "")``, ``("silence", silenced)``. ``"marginal"`` lends each sample the raw
        values of ``draws`` others, all modalities from one; ``"marginal-independent"`` each
        modality from another.
    background
        Samples of the same corpus, for the marginal removals.
    draws
        R, how many donors a sample has; ``"all"`` takes every donor, and is exact for this
        background.
    seed
        A sample's donors come from it and the sample's id.
    batch_size
        Samples given to the function at once.
    outputs
        ``"logits"``, or ``"probabilities"``: then the logarithms of categorical columns and the
        log-odds of binary ones are the scores, which the scales clr, contrast, log-odds
        and probability cannot tell from the model's own logits. ``None`` means logits, and refuses
        what looks like probabilities.

    Raises
    ------
    RemovalError
        See `modalxai.games.replacing.resolve_raw`.
    InputError
        Samples or settings that cannot be used; the sample is named.

    Examples
    --------
    >>> import modalxai as mx
    >>> def fn(samples):
    ...     return [[2.0 * (s["text"] is not None) - (s["audio"] is not None)] for s in samples]
    >>> samples = [{"id": "u1", "text": "fine", "audio": "u1.wav"}]
    >>> score = mx.labels("valence", kind="dimensional")
    >>> game = mx.CallableGame(fn, samples, labels=score, modalities=("text", "audio"))
    >>> game.explain().shapley().totals.tolist()
    [[[2.0, -1.0]]]
    """

    def __init__(
        self,
        fn: Callable[[list[dict[str, Any]]], Any],
        samples: Sample | Samples | Iterable[Sample],
        *,
        labels: Sequence[Label],
        modalities: Sequence[str],
        removal: RawRemoval | Mapping[str, RawRemoval] | None = None,
        background: Sample | Samples | Iterable[Sample] | None = None,
        draws: Draws = 1,
        seed: int = 0,
        batch_size: int = 16,
        outputs: Outputs | None = None,
    ) -> None:
        check_labels(labels)
        self.labels = tuple(labels)
        self.level = "input"
        self._function = Function(fn, self.labels, batch_size, outputs)
        asked = read_samples(samples, self.labels, modalities)
        replacements = resolve_raw(asked.modalities, removal, background is not None)
        names = {name: one.name for name, one in replacements.items()}
        lent = [name for name, how in names.items() if how in MARGINAL]
        check_draws(draws, seed, bool(lent))
        self._seed = seed
        self._draws = draws
        self._divided: dict[str, str] = {}
        self._edits = Edits(asked, replacements)
        if background is not None and lent:
            known = read_samples(background, self.labels, asked.modalities)
            present = {name: [raw is not None for raw in known.raws(name)] for name in lent}
            lenders = Lenders(known.ids, present, names, draws, seed)
            self._edits = replace(self._edits, background=known, lenders=lenders)
        self._bank = Bank()  # shared by all divisions and selections

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """Names of the B samples."""
        return self._edits.asked.ids

    @property
    def modalities(self) -> tuple[str, ...]:
        """The M modalities, in order."""
        return self._edits.asked.modalities

    @property
    def targets(self) -> Targets:
        """What the samples' labels say, each [B, K]."""
        return self._edits.asked.targets

    @property
    def columns(self) -> dict[str, tuple[Any, ...]]:
        """Further columns of the samples, each of length B."""
        return dict(self._edits.asked.columns)

    @property
    def present(self) -> Tensor:
        """Bool [B, M], False where a sample lacks the modality."""
        return self._edits.present

    @property
    def players(self) -> dict[str, Spans]:
        """By modality, the spans [B, U_m] of its players."""
        return self._edits.players

    @property
    def settings(self) -> dict[str, Any]:
        """What this game adds to a result's provenance."""
        background = self._edits.background
        return {
            "removal": {name: one.name for name, one in self._edits.removal.items()},
            "background": None if background is None else background.digest(),
            "seed": self._seed,
            "versions": storage.versions(),
        }

    @property
    def enumerated(self) -> bool:
        """Whether the draws are all the donors there are."""
        return self._draws == "all"

    @property
    def joint(self) -> bool:
        """Whether every coalition costs a row of the function: it does."""
        return True

    @property
    def divided(self) -> dict[str, str]:
        """By divided modality, what its players are."""
        return dict(self._divided)

    def explain(self) -> Explanation:
        """The table of all coalitions of modalities, as `modalxai.explain` makes it of a model.

        Labels and columns of the samples travel along, for `modalxai.Report`.
        """
        return Explanation.of(self, self.targets, self.columns)

    def select(self, rows: Sequence[int]) -> CallableGame:
        """The same game of some of its samples; what has been scored stays scored."""
        game = copy(self)
        game._edits = self._edits.select(rows)
        return game

    def divide(self, players: Mapping[str, str | Spans | Division[Any]]) -> CallableGame:
        """The same game with players inside the raw values.

        When no player is left the modality is removed as a whole, when all are left the raw value
        is the user's own; anything between is rendered by the division.

        Parameters
        ----------
        players
            By modality a `Division`; ``"word"`` for texts and ``"segment"`` for recordings stand
            for `WordDivision` and `SegmentDivision` with their defaults.

        Raises
        ------
        InputError
            An unknown modality or kind, spans (nobody knows how to remove them from a raw value),
            a division that is not hashable, or a raw value that it cannot divide.
        """
        divided, described_as = dict(self._edits.divided), dict(self._divided)
        for name, asked in players.items():
            if name not in self.modalities:
                raise InputError(
                    f"unknown modality {name!r}",
                    expected=f"one of {list(self.modalities)}",
                    got=repr(name),
                    mend="use the names in modalities=",
                )
            division = KINDS.get(asked) if isinstance(asked, str) else asked
            if not isinstance(division, Division):
                raise InputError(
                    f"players of {name!r} that a black box cannot remove",
                    expected=f"one of {list(KINDS)}, or a Division",
                    got=repr(asked) if isinstance(asked, str) else type(asked).__name__,
                    mend="write a frozen dataclass with units(raw) and render(raw, keep)",
                )
            described_as[name] = described(asked)
            renderings = Renderings(division, name, self.sample_ids, self._edits.asked.raws(name))
            with self._function.watched():
                divided[name] = renderings, renderings.units()
        game = copy(self)
        game._divided = described_as
        game._edits = replace(self._edits, divided=divided)
        return game

    def value(self, keep: Mapping[str, Tensor]) -> Tensor:
        """Raw scores [R, ..., B, K] of coalitions, in float32 or wider.

        Parameters
        ----------
        keep
            By modality, bool [..., B, U_m], True for what is left; ``...`` broadcasts.

        Raises
        ------
        StaleGameError
            The function is a module whose weights have changed since the game was made.
        InputError
            A modality too many or too few, a mask of the wrong type or shape, or scores of the
            wrong shape, or that are not finite; the sample is named.
        """
        with self._function.watched():
            return self._value(keep)

    def _value(self, keep: Mapping[str, Tensor]) -> Tensor:
        units = self.players
        masks, lead = check_keep(
            keep, {name: (len(one.start), one.start.shape[1]) for name, one in units.items()}
        )
        count = len(self.sample_ids)
        shape = (*lead, count)
        if 0 in lead:
            return torch.zeros(1, *shape, len(self.labels))
        codes, patterns = [torch.arange(count).expand(shape)], []
        for place, (name, mask) in enumerate(masks.items()):
            # Padding players, and the players of a missing modality, count as kept.
            kept = mask.cpu() | ~units[name].mask | ~self.present[:, place, None]
            found, code = _distinct(kept)
            patterns.append(found.tolist())
            codes.append(code.expand(shape))
        # Broadcasting repeats most coalitions: from here on each one of a sample counts once.
        rows, inverse = _distinct(torch.stack(codes, -1))
        left = cache(lambda m, b, code: self._edits.left(self.modalities[m], b, patterns[m][code]))
        parts = [(b, [left(m, b, code) for m, code in enumerate(row)]) for b, *row in rows.tolist()]
        draws = max(len(drawn) for _, row in parts for drawn in row)
        keys = [
            (b, tuple(drawn[draw % len(drawn)] for drawn in row))
            for draw in range(draws)
            for b, row in parts
        ]
        self._score(list(dict.fromkeys(keys)))
        places = torch.tensor([self._bank.place(self._called(key)) for key in keys])
        scores: Tensor = self._bank.rows[places.reshape(draws, -1)[:, inverse]]
        # As many draws whatever is asked, or results of several games would not go together.
        lenders = self._edits.lenders
        return scores if lenders is None else scores.expand(lenders.draws, *scores.shape[1:])

    def _score(self, keys: Sequence[tuple[int, tuple[Part, ...]]]) -> None:
        """Put into the bank what is not there."""
        wanted = [key for key in keys if self._called(key) not in self._bank]
        if not wanted:
            return
        scores = self._function.scores(
            len(wanted),
            lambda row: self._edits.sample(*wanted[row]),
            lambda row: self._edits.name(*wanted[row]),
        )
        self._bank.add([self._called(key) for key in wanted], scores)

    def _called(self, key: tuple[int, tuple[Part, ...]]) -> Hashable:
        """By the sample's id, since places differ between selections."""
        b, parts = key
        return (self.sample_ids[b], parts)


def _distinct(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The different rows of [..., U], and the number of each one, [...]."""
    flat = rows.flatten(end_dim=-2)
    found, code = torch.unique(flat, dim=0, return_inverse=True)
    return found, code.reshape(rows.shape[:-1])
