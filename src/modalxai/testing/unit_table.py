"""`UnitTableGame`: a game of words and moments whose every score is set by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor

from modalxai import storage
from modalxai.errors import InputError
from modalxai.protocols import Division
from modalxai.types import Label, Spans, check_labels


class UnitTableGame:
    """A `modalxai.protocols.Game` read from a table, with several players in each modality.

    Parameters
    ----------
    values
        Raw scores, float [2**U, B, K], or [R, 2**U, B, K] for R draws, where U is the number of
        players of all modalities. Bit j of a row's number is set where player j is left; the
        players of the first modality have the lowest bits, then come those of the second.
    labels
        What the K columns mean.
    units
        By modality the number of its players, U_m, in order.
    mask
        By modality bool [B, U_m], False where a sample has no such player: its bit counts as unset
        in every coalition. A row of False is a modality that the sample lacks. Everything is real
        where a modality is not named.
    kind
        The name by which `divide` may ask for the players.
    sample_ids
        B names, ``"#0"``, ``"#1"``, ... where ``None``.

    Raises
    ------
    InputError
        Shapes that do not fit each other.

    Examples
    --------
    >>> from modalxai.types import labels
    >>> rows = torch.arange(8.0)[:, None, None]
    >>> game = UnitTableGame(rows, labels("v", kind="dimensional"), {"text": 2, "audio": 1})
    >>> every = {"text": torch.tensor([[True, False]]), "audio": torch.tensor([[True]])}
    >>> game.value(every).tolist()
    [[[5.0]]]
    """

    def __init__(
        self,
        values: Tensor,
        labels: Sequence[Label],
        units: Mapping[str, int],
        mask: Mapping[str, Tensor] | None = None,
        kind: str = "unit",
        sample_ids: Sequence[str] | None = None,
    ) -> None:
        check_labels(labels)
        table = values[None] if values.dim() == 3 else values
        samples = table.shape[2] if table.dim() == 4 else 0
        names = tuple(f"#{row}" for row in range(samples)) if sample_ids is None else sample_ids
        shape = (2 ** sum(units.values()), len(names), len(labels))
        fits = table.dim() == 4 and tuple(table.shape[1:]) == shape and table.is_floating_point()
        given = dict(mask or {})
        real = {
            name: given.pop(name, torch.ones(samples, count).bool())
            for name, count in units.items()
        }
        fits &= not given and min(units.values(), default=0) > 0
        fits &= all(
            one.dtype == torch.bool and tuple(one.shape) == (samples, units[name])
            for name, one in real.items()
        )
        if not fits:
            raise InputError(
                "a table that does not fit its game",
                expected=f"float values {list(shape)}, masks [{samples}, U] for {dict(units)}",
                got=f"{values.dtype} {list(values.shape)}, "
                f"masks { ({name: list(one.shape) for name, one in (real | given).items()}) }",
                mend="2**U rows, one row per sample and one column per label in each",
            )
        self.sample_ids = tuple(names)
        self.labels = tuple(labels)
        self.modalities = tuple(units)
        self.level = "input"
        self.kind = kind
        self._table = table
        self._units = dict(units)
        self._real = {name: one.to(table.device) for name, one in real.items()}

    @property
    def present(self) -> Tensor:
        """Bool [B, M], False where a sample has no player of a modality."""
        return torch.stack([self._real[name].any(1) for name in self.modalities], dim=1)

    @property
    def players(self) -> dict[str, Spans]:
        """By modality [B, U_m], one index each; a player that a sample lacks has no extent."""
        spans = {}
        for name, real in self._real.items():
            start = torch.arange(real.shape[1], device=real.device) * real.float()
            spans[name] = Spans(start, start + real.float(), "index")
        return spans

    @property
    def settings(self) -> dict[str, Any]:
        """What the game adds to a provenance."""
        return {
            "removal": dict.fromkeys(self.modalities, "table"),
            "background": None,
            "seed": 0,
            "versions": storage.versions(),
        }

    def divide(self, players: Mapping[str, str | Spans | Division[Any]]) -> UnitTableGame:
        """The game itself, whose modalities are divided already.

        Raises
        ------
        InputError
            Other players than the game's own.
        """
        own = self.players
        for name, asked in players.items():
            if isinstance(asked, Spans) and name in own:
                same = torch.equal(asked.start, own[name].start)
                same &= torch.equal(asked.end, own[name].end)
            else:
                same = name in own and asked == self.kind
            if not same:
                raise InputError(
                    f"a table cannot be divided further: {name!r}",
                    expected=f"{self.kind!r} or the game's own spans, for {list(own)}",
                    got=repr(asked) if isinstance(asked, str) else type(asked).__name__,
                    mend="make a table with one row per coalition of the smaller players",
                )
        return self

    def select(self, rows: Sequence[int]) -> UnitTableGame:
        """The same game of these samples."""
        at = torch.tensor(list(rows), dtype=torch.long, device=self._table.device)
        found = copy(self)
        found.sample_ids = tuple(self.sample_ids[row] for row in rows)
        found._table = self._table[:, :, at]
        found._real = {name: one[at] for name, one in self._real.items()}
        return found

    def value(self, keep: Mapping[str, Tensor]) -> Tensor:
        """Raw scores [R, ..., B, K]; ``keep`` by modality, bool [..., B, U_m].

        Raises
        ------
        InputError
            Other modalities than the game's, or masks that are not bool [..., B, U_m].
        """
        samples = len(self.sample_ids)
        fit = set(keep) == set(self.modalities) and all(
            keep[name].dtype == torch.bool and keep[name].shape[-2:] == (samples, count)
            for name, count in self._units.items()
        )
        if not fit:
            raise InputError(
                "masks that do not fit the game",
                expected=f"bool [..., {samples}, U] for {self._units}",
                got=str({name: f"{m.dtype} {list(m.shape)}" for name, m in keep.items()}),
                mend="build them from game.players",
            )
        rows = torch.zeros(samples, dtype=torch.long, device=self._table.device)
        bit = 0
        for name, count in self._units.items():
            left = keep[name].to(rows.device) & self._real[name]
            bits = 1 << torch.arange(bit, bit + count, device=rows.device)
            rows = rows + (left * bits).sum(-1)
            bit += count
        return self._table[:, rows, torch.arange(samples, device=rows.device)]
