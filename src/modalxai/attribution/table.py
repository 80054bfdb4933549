"""`Explanation`: the scores of every coalition of modalities, from which all else follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from modalxai import storage
from modalxai.attribution import indices
from modalxai.attribution.conflict import Conflict, find_conflict
from modalxai.attribution.scales import on_scale, rivals_of
from modalxai.errors import InputError
from modalxai.protocols import Game
from modalxai.types import Attribution, Label, Labels, Provenance, Targets, select
from modalxai.types.attribution import require_mergeable

MOST_MODALITIES = 12


@dataclass(frozen=True, eq=False)
class Explanation:
    """Raw scores of all 2**M coalitions, and the arithmetic on them.

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
        draws at random.
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
                params={"draws": draws.shape[0]} if draws.shape[0] > 1 else {},
                scale="raw",
                level=game.level,
                **game.settings,
            ),
        )

    @property
    def scores(self) -> Tensor:
        """Raw scores [2**M, N, K], averaged over the draws."""
        return self.draws.mean(0)

    @property
    def coalitions(self) -> tuple[tuple[str, ...], ...]:
        """The modalities present in each row of `scores`."""
        return tuple(
            tuple(name for bit, name in enumerate(self.modalities) if row >> bit & 1)
            for row in range(1 << len(self.modalities))
        )

    def values(self, scale: str | None = None, against: str = "rival") -> Tensor:
        """The table on a scale, [R, 2**M, N, K]; see `modalxai.attribution.scales.on_scale`."""
        rivals = rivals_of(self.scores[-1], self.labels, against)
        return on_scale(self.draws, self.labels, "clr" if scale is None else scale, rivals)

    def shapley(
        self,
        scale: str | None = None,
        labels: Sequence[str] | None = None,
        against: str = "rival",
    ) -> Attribution:
        """Exact Shapley values of the modalities; totals sum to prediction - reference.

        Parameters
        ----------
        scale
            ``"clr"`` (default), ``"contrast"``, ``"log-odds"``, ``"probability"`` or ``"raw"``.
        labels
            Names of the labels to explain, every one for ``None``.
        against
            With ``"contrast"``: ``"rival"`` (the best other label of each sample) or a label.
        """
        return self._totals("modality-shapley", indices.shapley, scale, labels, against)

    def ablation(
        self,
        scale: str | None = None,
        labels: Sequence[str] | None = None,
        against: str = "rival",
    ) -> Attribution:
        """Necessity, ``v(N) - v(N without m)``; the residual is minus the interaction for M = 2."""
        return self._totals("modality-ablation", indices.necessity, scale, labels, against)

    def sufficiency(
        self,
        scale: str | None = None,
        labels: Sequence[str] | None = None,
        against: str = "rival",
    ) -> Attribution:
        """What each modality achieves alone, ``v({m}) - v({})``."""
        return self._totals("modality-sufficiency", indices.sufficiency, scale, labels, against)

    def interactions(
        self,
        scale: str | None = None,
        labels: Sequence[str] | None = None,
        against: str = "rival",
    ) -> Attribution:
        """Pairwise Shapley interactions, ``pairs[m, n]`` [N, L, 1, 1].

        ``totals`` are the first-order part of 2-SII, ``phi_i - 1/2 sum_j SII_ij``, so that totals
        and pairs together sum to prediction - reference, and the residual is the sum of pairs.
        Their sign depends on the scale, and a negative one is not by itself redundancy.
        """
        result = self._totals("interactions", _order_one, scale, labels, against)
        chosen = select(self.labels, labels)
        values = self.values(scale, against)[..., chosen]
        pairs = {}
        for (i, j), value in indices.pair_interactions(values.movedim(1, 0)).items():
            both = (self.present[:, i] & self.present[:, j])[:, None]
            pairs[self.modalities[i], self.modalities[j]] = (value.mean(0) * both)[..., None, None]
        return replace(result, pairs=pairs)

    def conflict(self) -> Conflict:
        """Do the modalities disagree, and which one wins? See `Conflict`."""
        return find_conflict(
            self.values("clr"),
            self.draws,
            self.sample_ids,
            self.labels,
            self.modalities,
            self.present,
        )

    def _totals(
        self,
        name: str,
        index: Callable[[Tensor], Tensor],
        scale: str | None,
        labels: Sequence[str] | None,
        against: str,
    ) -> Attribution:
        chosen = select(self.labels, labels)
        values = self.values(scale, against)[..., chosen]
        # A modality that a sample lacks is no player: exactly 0, whatever rounding says.
        totals = index(values.movedim(1, 0)).masked_fill(~self.present[:, None, :], 0)
        count = totals.shape[0]
        spread = totals.std(0) / count**0.5 if count > 1 else torch.zeros_like(totals[0])
        scale = "clr" if scale is None else scale
        return Attribution(
            sample_ids=self.sample_ids,
            labels=tuple(self.labels[column] for column in chosen),
            modalities=self.modalities,
            present=self.present,
            totals=totals.mean(0),
            units={},
            pairs={},
            se=spread,
            mask={},
            spans={},
            prediction=values[:, -1].mean(0),
            reference=values[:, 0].mean(0),
            provenance=replace(
                self.provenance,
                attributor=name,
                params={
                    **self.provenance.params,
                    **({"against": against} if scale == "contrast" else {}),
                },
                scale=scale,
            ),
        )

    def save(self, folder: str | Path) -> None:
        """Write ``explanation.json`` and ``explanation.safetensors`` into ``folder``.

        Raises
        ------
        InputError
            A column holds values that json cannot.
        """
        record = {
            "sample_ids": list(self.sample_ids),
            "labels": [asdict(label) for label in self.labels],
            "modalities": list(self.modalities),
            "columns": {
                name: [_plain(name, v) for v in values] for name, values in self.columns.items()
            },
            "provenance": asdict(self.provenance),
        }
        tensors = {
            "present": self.present,
            "draws": self.draws,
            "targets": self.targets.values,
            "annotated": self.targets.mask,
        }
        storage.write_json(Path(folder) / "explanation.json", record)
        storage.write_tensors(Path(folder) / "explanation.safetensors", tensors)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        CheckpointError
            A file is missing or broken.
        """
        path = Path(folder) / "explanation.json"
        record = storage.read_json(path)
        tensors = storage.read_tensors(path.with_suffix(".safetensors"))
        with storage.reading(path):
            return cls(
                sample_ids=tuple(record["sample_ids"]),
                labels=tuple(Label(**label) for label in record["labels"]),
                modalities=tuple(record["modalities"]),
                present=tensors["present"],
                draws=tensors["draws"],
                targets=Targets(tensors["targets"], tensors["annotated"]),
                columns={name: tuple(values) for name, values in record["columns"].items()},
                provenance=Provenance(**record["provenance"]),
            )

    @staticmethod
    def merge(parts: Sequence[Explanation]) -> Explanation:
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
        merged: Explanation = replace(
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


def _order_one(values: Tensor) -> Tensor:
    main = indices.shapley(values)
    for (i, j), interaction in indices.pair_interactions(values).items():
        main[..., i] -= interaction / 2
        main[..., j] -= interaction / 2
    return main


def _plain(column: str, value: Any) -> Any:
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()  # a numpy or torch scalar
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise InputError(
        f"column {column!r} cannot be written",
        expected="text, numbers, booleans or None",
        got=type(value).__name__,
        mend="leave the column out, or turn its values into text",
    )
