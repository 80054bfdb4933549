"""Games without a model: the score of every coalition is set by hand, so every answer is known."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modalxai.errors import InputError
from modalxai.testing.unit_table import UnitTableGame
from modalxai.types import Label, labels


class TableGame(UnitTableGame):
    """A `modalxai.protocols.Game` read from a table; its players are the modalities.

    Parameters
    ----------
    values
        Raw scores, float [2**M, B, K], or [R, 2**M, B, K] for R draws. Bit j of a row's number is
        set where modality j is left, so row 0 is the empty coalition and the last row the whole.
    labels
        What the K columns mean.
    modalities
        M names.
    present
        Bool [B, M], everything where ``None``. A modality that a sample lacks is no player: its bit
        counts as unset in every coalition.
    sample_ids
        B names, ``"#0"``, ``"#1"``, ... where ``None``.

    Raises
    ------
    InputError
        Shapes that do not fit each other.

    Examples
    --------
    >>> from modalxai.attribution import ModalityShapley
    >>> ModalityShapley().attribute(or_()).totals.tolist()
    [[[0.5, 0.5]]]
    """

    def __init__(
        self,
        values: Tensor,
        labels: Sequence[Label],
        modalities: Sequence[str],
        present: Tensor | None = None,
        sample_ids: Sequence[str] | None = None,
    ) -> None:
        if present is not None and present.shape[1:] != (len(modalities),):
            raise InputError(
                "a table that does not fit its game",
                expected=f"present [B, {len(modalities)}]",
                got=str(list(present.shape)),
                mend="one column per modality",
            )
        columns = () if present is None else present[..., None].unbind(1)
        here = dict(zip(modalities, columns, strict=False))
        super().__init__(values, labels, dict.fromkeys(modalities, 1), here, "modality", sample_ids)


def tone_only() -> TableGame:
    """Text says nothing: v(0), v(text), v(audio), v(both) = 0, 0, 1, 1."""
    return _known(0, 0, 1, 1)


def and_() -> TableGame:
    """Both are needed: 0, 0, 0, 1."""
    return _known(0, 0, 0, 1)


def or_() -> TableGame:
    """Either will do: 0, 1, 1, 1."""
    return _known(0, 1, 1, 1)


def xor() -> TableGame:
    """They cancel: 0, 1, 1, 0."""
    return _known(0, 1, 1, 0)


def xor_marginal() -> TableGame:
    """The same parity where "off" is a fair coin instead of 0: 0.5, 0.5, 0.5, 1."""
    return _known(0.5, 0.5, 0.5, 1)


def conflict() -> TableGame:
    """Text speaks for it by 2, audio against it by 3: 0, 2, -3, -1."""
    return _known(0, 2, -3, -1)


def _known(*scores: float) -> TableGame:
    values = torch.tensor(scores, dtype=torch.float32)[:, None, None]
    return TableGame(values, labels("score", kind="dimensional"), ("text", "audio"))
