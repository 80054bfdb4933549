"""Games without a model: the score of every coalition is set by hand, so every answer is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from modalxai import storage
from modalxai.errors import InputError
from modalxai.types import Label, Spans, check_labels, labels


class TableGame:
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
        check_labels(labels)
        table = values[None] if values.dim() == 3 else values
        samples = table.shape[2] if table.dim() == 4 else 0
        names = tuple(f"#{row}" for row in range(samples)) if sample_ids is None else sample_ids
        shape = (2 ** len(modalities), len(names), len(labels))
        here = torch.ones(samples, len(modalities)).bool() if present is None else present
        fits = tuple(table.shape[1:]) == shape and tuple(here.shape) == (samples, len(modalities))
        if not (fits and table.dim() == 4 and table.is_floating_point()):
            raise InputError(
                "a table that does not fit its game",
                expected=f"float values {list(shape)}, present [{samples}, {len(modalities)}]",
                got=f"{values.dtype} {list(values.shape)}, present {list(here.shape)}",
                mend="2**M rows, one row per sample and one column per label in each",
            )
        self.sample_ids = tuple(names)
        self.labels = tuple(labels)
        self.modalities = tuple(modalities)
        self.present = here.to(table.device)
        self.level = "input"
        self._table = table

    @property
    def players(self) -> dict[str, Spans]:
        """By modality, one player per sample, [B, 1]."""
        start = torch.zeros(len(self.sample_ids), 1, device=self._table.device)
        return {name: Spans(start, start + 1, "index") for name in self.modalities}

    @property
    def settings(self) -> dict[str, Any]:
        """What the game adds to a provenance."""
        return {
            "removal": dict.fromkeys(self.modalities, "table"),
            "background": None,
            "seed": 0,
            "versions": storage.versions(),
        }

    def divide(self, players: Mapping[str, str | Spans]) -> TableGame:
        """Refused: the table knows nothing smaller than a modality.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            "a table of modalities cannot be divided",
            expected="the modalities as players",
            got=str(list(players)),
            mend="make a table with one row per coalition of the smaller players",
        )

    def value(self, keep: Mapping[str, Tensor]) -> Tensor:
        """Raw scores [R, ..., B, K]; ``keep`` by modality, bool [..., B, 1].

        Raises
        ------
        InputError
            Other modalities than the game's, or masks that are not bool [..., B, 1].
        """
        masks = [keep.get(name) for name in self.modalities]
        shape = (len(self.sample_ids), 1)
        fit = [m is not None and m.dtype == torch.bool and m.shape[-2:] == shape for m in masks]
        if set(keep) != set(self.modalities) or not all(fit):
            raise InputError(
                "masks that do not fit the game",
                expected=f"bool [..., {shape[0]}, 1] for each of {list(self.modalities)}",
                got=str({name: list(mask.shape) for name, mask in keep.items()}),
                mend="build them from game.players",
            )
        here = self.present.unbind(1)
        bits = [
            (keep[name][..., 0].to(here[0].device) & here[bit]).long() << bit
            for bit, name in enumerate(self.modalities)
        ]
        rows = sum(bits[1:], bits[0])
        return self._table[:, rows, torch.arange(shape[0], device=rows.device)]


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
