"""Is this a coalition? The masks that a game is asked with, checked before anything is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modalxai.errors import InputError

Players = Mapping[str, tuple[int, int]]
"""By modality the shape [B, U] of its players."""


def check_keep(keep: Any, players: Players) -> tuple[dict[str, Tensor], tuple[int, ...]]:
    """The masks in the game's order of modalities, and the coalition axes they broadcast to.

    Raises
    ------
    InputError
        A modality too many or too few, a mask that is not bool [..., B, U], or leading axes that
        do not broadcast.
    """
    if not isinstance(keep, Mapping) or set(keep) != set(players):
        raise InputError(
            "a coalition names other modalities than the game has",
            expected=str(list(players)),
            got=str(list(keep)) if isinstance(keep, Mapping) else type(keep).__name__,
            mend="give a mask for every modality",
        )
    checked = {name: check_mask(name, keep[name], shape) for name, shape in players.items()}
    try:
        lead = np.broadcast_shapes(*(mask.shape[:-2] for mask in checked.values()))
    except ValueError as error:
        raise InputError(
            "masks that do not broadcast",
            expected="leading axes that broadcast over the modalities",
            got=str({name: list(mask.shape) for name, mask in checked.items()}),
            mend="for a grid use [V, 1, B, U] and [1, W, B, U']",
        ) from error
    return checked, tuple(lead)


def check_mask(modality: str, keep: Any, shape: tuple[int, int]) -> Tensor:
    """One modality's mask.

    Raises
    ------
    InputError
        Not bool [..., B, U].
    """
    if isinstance(keep, Tensor) and keep.dtype == torch.bool and keep.shape[-2:] == shape:
        return keep
    raise bad_mask(modality, f"bool [..., {shape[0]}, {shape[1]}], True for what is left", keep)


def bad_mask(modality: str, expected: str, keep: Any) -> InputError:
    """What is raised for a mask that is none."""
    got = f"{keep.dtype} {list(keep.shape)}" if isinstance(keep, Tensor) else type(keep).__name__
    return InputError(
        f"a mask of the wrong type or shape for {modality!r}",
        expected=expected,
        got=got,
        mend="build it from game.players[modality]",
    )
