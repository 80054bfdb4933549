"""`CoalitionTable`: the scores of every coalition of modalities, and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from modalxai.attribution.indices import Players
from modalxai.attribution.scales import on_scale, rivals_of
from modalxai.attribution.terms import Terms
from modalxai.errors import InputError
from modalxai.protocols import Enumerated, Game
from modalxai.types import Attribution, Labels, Provenance, Targets, records, select
from modalxai.types.records import require_mergeable

MOST_MODALITIES = 12
Names = Sequence[str] | None
"""Of labels; every one for ``None``."""


@dataclass(frozen=True, eq=False)
class CoalitionTable:
    """Raw scores of all 2**M coalitions.

    Parameters
    ----------
    sample_ids
        N names.
    labels
        The K labels.
    modalities
        M names, in the model's order.
    present
        Bool [N, M], False where a sample lacks the modality.
    draws
        Float [R, 2**M, N, K], raw scores. Bit j of row i is set where modality j is present, so
        row 0 is the empty coalition and the last row the prediction. R is 1 unless the removal
        draws at random. Where ``provenance.params["draws"]`` is ``"all"`` these are all the donors
        of the background, and standard errors are 0.
    targets
        Annotated values and mask, each [N, K].
    columns
        Further columns of the samples, each of length N.
    provenance
        How the table came about; its ``scale`` is ``"raw"``.
    """

    sample_ids: tuple[str, ...]
    labels: Labels
    modalities: tuple[str, ...]
    present: Tensor
    draws: Tensor
    targets: Targets
    columns: Mapping[str, tuple[Any, ...]]
    provenance: Provenance

    def __post_init__(self) -> None:
        samples, labels, modalities = len(self.sample_ids), len(self.labels), len(self.modalities)
        draws = self.draws.shape[0] if self.draws.dim() else 0
        shapes = {
            "present": (self.present.shape, (samples, modalities)),
            "draws": (self.draws.shape, (draws, 1 << modalities, samples, labels)),
            "targets.values": (self.targets.values.shape, (samples, labels)),
            "targets.mask": (self.targets.mask.shape, (samples, labels)),
        }
        shapes |= {
            f"columns[{name!r}]": (torch.Size([len(values)]), (samples,))
            for name, values in self.columns.items()
        }
        for field, (found, expected) in shapes.items():
            if tuple(found) != expected or not draws:
                raise InputError(
                    f"an Explanation whose {field} has the wrong shape",
                    expected=str(list(expected)),
                    got=str(list(found)),
                    mend="N, K and M are the lengths of sample_ids, labels and modalities",
                )

    @classmethod
    def of(
        cls,
        game: Game,
        targets: Targets | None = None,
        columns: Mapping[str, tuple[Any, ...]] | None = None,
    ) -> Self:
        """Ask a game for all its coalitions of modalities.

        Raises
        ------
        InputError
            More than 12 modalities.
        """
        count, samples = len(game.modalities), len(game.sample_ids)
        if count > MOST_MODALITIES:
            raise InputError(
                "too many modalities for the exact table",
                expected=f"at most {MOST_MODALITIES}",
                got=str(count),
                mend="explain groups of them as one modality",
            )
        present, players = game.present, game.players
        rows = torch.arange(1 << count, device=present.device)
        keep = {
            name: (rows >> bit & 1)
            .bool()[:, None, None]
            .expand(-1, samples, players[name].start.shape[-1])
            for bit, name in enumerate(game.modalities)
        }
        draws = game.value(keep)
        if targets is None:
            blank = torch.zeros(samples, len(game.labels), device=draws.device)
            targets = Targets(blank, blank.bool())
        return cls(
            sample_ids=game.sample_ids,
            labels=game.labels,
            modalities=game.modalities,
            present=present,
            draws=draws,
            targets=targets,
            columns=dict(columns or {}),
            provenance=Provenance(
                attributor="coalition-table",
                params=draws_of(game, draws.shape[0]),
                scale="raw",
                level=game.level,
                **game.settings,
            ),
        )

    @property
    def scores(self) -> Tensor:
        """Raw scores [2**M, N, K], averaged over the draws."""
        return self.draws.mean(0)

    def select(self, rows: Sequence[int]) -> Self:
        """The table of some samples, by their places, in that order."""
        index = torch.tensor(list(rows), dtype=torch.long, device=self.draws.device)
        return replace(
            self,
            sample_ids=tuple(self.sample_ids[row] for row in rows),
            present=self.present[index],
            draws=self.draws[:, :, index],
            targets=Targets(self.targets.values[index], self.targets.mask[index]),
            columns={
                name: tuple(values[row] for row in rows) for name, values in self.columns.items()
            },
        )

    @property
    def coalitions(self) -> tuple[tuple[str, ...], ...]:
        """The modalities present in each row of `scores`."""
        return tuple(
            tuple(name for bit, name in enumerate(self.modalities) if row >> bit & 1)
            for row in range(1 << len(self.modalities))
        )

    @property
    def enumerated(self) -> bool:
        """Whether the draws are all there are, so that their mean has no error."""
        return self.provenance.params.get("draws") == "all"

    def values(self, scale: str | None = None, against: str = "rival") -> Tensor:
        """The table on a scale, [R, 2**M, N, K]; see `modalxai.attribution.scales.on_scale`."""
        rivals = rivals_of(self.scores[-1], self.labels, against)
        return on_scale(self.draws, self.labels, "clr" if scale is None else scale, rivals)

    def _values(self, scale: str | None, labels: Names, against: str) -> tuple[list[int], Tensor]:
        """The chosen columns, and the table of them on the scale, [2**M, R, N, L]."""
        chosen = select(self.labels, labels)
        return chosen, self.values(scale, against)[..., chosen].movedim(1, 0)

    def _attribution(
        self,
        drawn: Tensor,
        values: Tensor,
        chosen: Sequence[int],
        provenance: Provenance,
    ) -> Attribution:
        """A result from what each draw says, ``drawn`` [R, N, L, M], of the table ``values``."""
        # A modality that a sample lacks is no player: exactly 0, whatever rounding says.
        totals, error = mean_over(drawn.masked_fill(~self.present[:, None, :], 0), self.enumerated)
        return Attribution(
            sample_ids=self.sample_ids,
            labels=tuple(self.labels[column] for column in chosen),
            modalities=self.modalities,
            present=self.present,
            totals=totals,
            units={},
            pairs={},
            se=error,
            mask={},
            spans={},
            prediction=values[-1].mean(0),
            reference=values[0].mean(0),
            provenance=provenance,
        )

    def _by_coalition(
        self, terms: Mapping[Players, Tensor], chosen: Sequence[int], provenance: Provenance
    ) -> Terms:
        """A result from what each draw says of each coalition, [R, N, L]."""
        gone = [~self.present[:, players].all(1)[:, None] for players in map(list, terms)]
        drawn = [one.masked_fill(no, 0) for one, no in zip(terms.values(), gone, strict=True)]
        values, error = mean_over(torch.stack(drawn, dim=-1), self.enumerated)
        return Terms(
            sample_ids=self.sample_ids,
            labels=tuple(self.labels[column] for column in chosen),
            modalities=self.modalities,
            coalitions=tuple(tuple(self.modalities[m] for m in players) for players in terms),
            values=values,
            se=error,
            provenance=provenance,
        )

    def _provenance(
        self, attributor: str, scale: str | None, against: str, **params: Any
    ) -> Provenance:
        scale = "clr" if scale is None else scale
        contrast = {"against": against} if scale == "contrast" else {}
        settings = {**self.provenance.params, **params, **contrast}
        return replace(self.provenance, attributor=attributor, params=settings, scale=scale)

    def save(self, folder: str | Path) -> None:
        """Write ``explanation.json`` and ``explanation.safetensors`` into ``folder``.

        Raises
        ------
        InputError
            A column holds values that json cannot.
        """
        columns = {
            name: [records.plain(name, value) for value in values]
            for name, values in self.columns.items()
        }
        tensors = {
            "present": self.present,
            "draws": self.draws,
            "targets": self.targets.values,
            "annotated": self.targets.mask,
        }
        records.write(folder, "explanation", self, {"columns": columns}, tensors)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        CheckpointError
            A file is missing or broken.
        """
        return records.read(folder, "explanation", cls._rebuilt)

    @classmethod
    def _rebuilt(
        cls, head: dict[str, Any], record: dict[str, Any], tensors: Mapping[str, Tensor]
    ) -> Self:
        return cls(
            **head,
            present=tensors["present"],
            draws=tensors["draws"],
            targets=Targets(tensors["targets"], tensors["annotated"]),
            columns={name: records.frozen(values) for name, values in record["columns"].items()},
        )

    @classmethod
    def merge(cls, parts: Sequence[Self]) -> Self:
        """One table from several of the same model and settings, samples joined.

        Columns that not all parts have are filled with ``None``.

        Raises
        ------
        InputError
            Nothing to merge, tables that differ in more than their samples, or one sample twice.
        """
        first = require_mergeable(parts)
        if len(counts := {part.draws.shape[0] for part in parts}) > 1:
            raise InputError(
                "tables with different numbers of draws do not merge",
                expected="as many draws in each",
                got=str(sorted(counts)),
                mend="explain all samples with the same draws",
            )
        names = list(dict.fromkeys(name for part in parts for name in part.columns))
        columns = {
            name: tuple(
                value
                for part in parts
                for value in part.columns.get(name, (None,) * len(part.sample_ids))
            )
            for name in names
        }
        merged: Self = replace(
            first,
            sample_ids=tuple(name for part in parts for name in part.sample_ids),
            present=torch.cat([part.present for part in parts]),
            draws=torch.cat([part.draws for part in parts], dim=2),
            targets=Targets(
                torch.cat([part.targets.values for part in parts]),
                torch.cat([part.targets.mask for part in parts]),
            ),
            columns=columns,
        )
        return merged


def draws_of(game: Game, count: int) -> dict[str, Any]:
    """What a provenance says of the draws of a game, R of them: nothing where there is one."""
    if isinstance(game, Enumerated) and game.enumerated:
        return {"draws": "all"}
    return {"draws": count} if count > 1 else {}


def mean_over(drawn: Tensor, enumerated: bool = False) -> tuple[Tensor, Tensor]:
    """Mean over the draws [R, ...] and its standard error: 0 for one draw or all there are."""
    draws, mean = drawn.shape[0], drawn.mean(0)
    sampled = draws > 1 and not enumerated
    return mean, drawn.std(0) / draws**0.5 if sampled else torch.zeros_like(mean)
