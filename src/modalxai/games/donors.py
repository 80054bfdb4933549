"""Marginal removal: which samples of the background lend what a sample has lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Literal

import torch

from modalxai.audio import seed_for
from modalxai.errors import InputError
from modalxai.games.background import Background
from modalxai.games.removal import INDEPENDENT, JOINT
from modalxai.types import Features

Draws = int | Literal["all"]
"""How many donors a sample has; ``"all"`` for every one there is."""


class Lenders:
    """R donors for every sample, the same ones whatever coalition is asked for.

    Common random numbers: with one donor the coalitions are a coherent game of their own, whose
    Shapley values are efficient, and their mean over the donors is the answer. No sample is its
    own donor. Modalities under "marginal" take theirs from one and the same sample (interventional
    SHAP); those under "marginal-independent" each from another (its interaction is the residual of
    EMAP, Hessel & Lee 2020).

    Parameters
    ----------
    sample_ids
        Names of the N samples of the background.
    present
        By modality, which of them have it, N booleans.
    removal
        By modality.
    draws
        R, drawn without replacement; or ``"all"``: every donor, or every combination of donors
        of independent modalities, which is exact for this background.
    seed
        A sample's donors come from it and the sample's id.

    Raises
    ------
    InputError
        Fewer donors than draws, or for ``"all"`` a sample that is its own background, or a
        background none of whose samples can lend all that is to be lent together.
    """

    def __init__(
        self,
        sample_ids: Sequence[str],
        present: Mapping[str, Sequence[bool]],
        removal: Mapping[str, str],
        draws: Draws,
        seed: int,
    ) -> None:
        self._sample_ids = tuple(sample_ids)
        self._seed = seed
        self._draws = draws
        joint = [name for name, how in removal.items() if how == JOINT]
        # Each group of modalities draws together: a name for its seed, and who can lend it all.
        groups = {name: [name] for name, how in removal.items() if how == INDEPENDENT}
        groups |= {"": joint} if joint else {}
        self._group = {member: key for key, members in groups.items() for member in members}
        self._usable = {
            key: [at for at in range(len(sample_ids)) if all(present[m][at] for m in members)]
            for key, members in groups.items()
        }
        if draws == "all" and (empty := [groups[k] for k, at in self._usable.items() if not at]):
            raise InputError(
                f"a background that cannot lend {empty[0]}",
                expected="a sample that has all of them",
                got="none",
                mend="give a larger background",
            )

    def __contains__(self, modality: str) -> bool:
        return modality in self._group

    @property
    def draws(self) -> int:
        """R."""
        if self._draws == "all":
            return prod(len(usable) for usable in self._usable.values())
        return self._draws

    def of(self, modality: str, sample_id: str) -> list[int]:
        """The places in the background of one sample's R donors."""
        key = self._group[modality]
        usable = self._usable[key]
        if self._draws == "all":
            if sample_id in self._sample_ids:
                raise InputError(
                    f"sample {sample_id!r} is in its own background",
                    expected="other samples, for draws='all'",
                    got="the sample itself",
                    mend="give other samples, or a number of draws: no sample is its own donor",
                )
            return self._combined(key)
        others = [at for at in usable if self._sample_ids[at] != sample_id]
        if len(others) < self._draws:
            raise InputError(
                f"too few donors for sample {sample_id!r}",
                expected=f"{self._draws} other samples that have {modality!r}",
                got=str(len(others)),
                mend="give a larger background, or fewer draws",
            )
        # By id, not by place: the order of the background's samples changes no one's donors.
        others.sort(key=lambda at: self._sample_ids[at])
        generator = torch.Generator().manual_seed(seed_for(f"donors/{key}/{sample_id}", self._seed))
        picks = torch.randperm(len(others), generator=generator)[: self._draws]
        return [others[pick] for pick in picks.tolist()]

    def _combined(self, key: str) -> list[int]:
        """One group's part of every combination of donors."""
        keys = list(self._usable)
        step = prod(len(self._usable[later]) for later in keys[keys.index(key) + 1 :])
        usable = self._usable[key]
        return [usable[draw // step % len(usable)] for draw in range(self.draws)]


class Donors(Lenders):
    """Lenders whose features are known.

    Parameters
    ----------
    background
        Encoded samples.
    removal, draws, seed
        See `Lenders`.
    """

    def __init__(
        self, background: Background, removal: Mapping[str, str], draws: Draws, seed: int
    ) -> None:
        # Background.of(donors=True) has made them.
        self._features = background.features or {}
        present = {name: one.mask.any(1).tolist() for name, one in self._features.items()}
        super().__init__(background.sample_ids, present, removal, draws, seed)

    def features(self, modality: str) -> Features:
        """All samples of the background, [N, T, D]."""
        return self._features[modality]


def check_draws(draws: object, seed: object, lent: bool) -> None:
    """Refuse draws that are none, and a seed that is none.

    Parameters
    ----------
    draws, seed
        See `Lenders`.
    lent
        Whether anything is lent, so that ``"all"`` has a meaning.

    Raises
    ------
    InputError
        Draws below 1, or a seed that is no whole number.
    """
    whole = isinstance(draws, int) and not isinstance(draws, bool) and draws >= 1
    if not whole and not (draws == "all" and lent):
        raise InputError(
            "draws out of range",
            expected="a whole number from 1, or 'all' donors of a marginal removal",
            got=repr(draws),
            mend="1 for constant removals, tens for random ones",
        )
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(
            "a seed that is none", expected="a whole number", got=repr(seed), mend="0, say"
        )
