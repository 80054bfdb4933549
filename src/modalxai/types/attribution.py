"""The result of an attributor, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from modalxai.errors import DependencyError, InputError
from modalxai.types import records
from modalxai.types.label import Labels
from modalxai.types.records import Provenance, require_mergeable
from modalxai.types.tensors import Spans

if TYPE_CHECKING:
    import pandas as pd

Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Attribution:
    """How much each modality, and each unit within it, contributed to each label.

    Parameters
    ----------
    sample_ids
        B names.
    labels
        The L explained labels.
    modalities
        M names, in the model's order.
    present
        Bool [B, M]: False where a sample lacks the modality; its totals are then exactly 0.
    totals
        Float [B, L, M], on ``provenance.scale``.
    units
        By modality, float [B, L, T_m], exactly 0 on padding. Empty where the players are the
        modalities themselves.
    pairs
        By pair of modalities, float [B, L, U_m, U_n].
    se
        Standard errors of ``totals``, [B, L, M]; 0 where the method is exact.
    mask, spans
        By modality, bool [B, T_m] and `Spans`, of ``units``.
    prediction, reference
        Float [B, L]: the score with everything present, and with everything removed. NaN where
        the method has no reference.
    provenance
        See `Provenance`.
    unit_se
        By modality, standard errors of ``units``, where the method draws a sample of coalitions;
        0 for what is exact. Empty where the method knows none.

    Raises
    ------
    InputError
        Fields whose shapes do not fit each other.
    """

    sample_ids: tuple[str, ...]
    labels: Labels
    modalities: tuple[str, ...]
    present: Tensor
    totals: Tensor
    units: Mapping[str, Tensor]
    pairs: Mapping[Pair, Tensor]
    se: Tensor
    mask: Mapping[str, Tensor]
    spans: Mapping[str, Spans]
    prediction: Tensor
    reference: Tensor
    provenance: Provenance
    unit_se: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        samples, labels, modalities = len(self.sample_ids), len(self.labels), len(self.modalities)
        shapes = {
            "present": (self.present, (samples, modalities)),
            "totals": (self.totals, (samples, labels, modalities)),
            "se": (self.se, (samples, labels, modalities)),
            "prediction": (self.prediction, (samples, labels)),
            "reference": (self.reference, (samples, labels)),
        }
        for name, units in self.units.items():
            length = self.mask[name].shape[-1]
            shapes[f"units[{name!r}]"] = (units, (samples, labels, length))
            shapes[f"mask[{name!r}]"] = (self.mask[name], (samples, length))
            shapes[f"spans[{name!r}]"] = (self.spans[name].start, (samples, length))
        for name, errors in self.unit_se.items():
            shapes[f"unit_se[{name!r}]"] = (errors, tuple(self.units[name].shape))
        for part, (found, expected) in shapes.items():
            if tuple(found.shape) != expected:
                raise InputError(
                    f"an Attribution whose {part} has the wrong shape",
                    expected=str(list(expected)),
                    got=str(list(found.shape)),
                    mend="B, L and M are the lengths of sample_ids, labels and modalities",
                )

    def residual(self) -> Tensor:
        """What the totals leave unexplained, [B, L]: prediction - reference - sum of totals.

        0 for Shapley and Owen values; for ablation minus the double-counted interaction; NaN
        for a method without a reference.
        """
        return self.prediction - self.reference - self.totals.sum(-1)

    def unit_gap(self) -> Tensor:
        """What the units leave of each total, [B, L, M]; NaN where there are no units."""
        gaps = [
            self.totals[..., index] - self.units[name].sum(-1)
            if name in self.units
            else torch.full_like(self.prediction, float("nan"))
            for index, name in enumerate(self.modalities)
        ]
        return torch.stack(gaps, dim=-1)

    def to_frame(self) -> pd.DataFrame:
        """A pandas table, one row per sample, label and modality.

        Raises
        ------
        DependencyError
            pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise DependencyError(
                "to_frame needs pandas",
                expected="pandas",
                got="not installed",
                mend="pip install pandas",
            ) from error
        shape = tuple(self.totals.shape)
        index = pd.MultiIndex.from_product(
            [range(shape[0]), [label.name for label in self.labels], self.modalities],
            names=["row", "label", "modality"],
        )
        frame = index.to_frame(index=False)
        frame.insert(0, "id", [self.sample_ids[row] for row in frame.pop("row")])
        columns = {
            "total": self.totals,
            "se": self.se,
            "present": self.present[:, None, :].expand(shape),
            "prediction": self.prediction[..., None].expand(shape),
            "reference": self.reference[..., None].expand(shape),
        }
        for name, values in columns.items():
            frame[name] = values.detach().cpu().reshape(-1).numpy()
        return frame

    def save(self, folder: str | Path) -> None:
        """Write ``attribution.json`` and ``attribution.safetensors`` into ``folder``."""
        tensors = {name: getattr(self, name) for name in _DENSE}
        for name in self.units:
            spans = self.spans[name]
            tensors |= {f"units/{name}": self.units[name], f"mask/{name}": self.mask[name]}
            tensors |= {
                f"spans/{name}/{edge}": value
                for edge in _SPAN_TENSORS
                if (value := getattr(spans, edge)) is not None
            }
        tensors |= {f"unit_se/{name}": errors for name, errors in self.unit_se.items()}
        for (first, second), values in self.pairs.items():
            tensors[f"pairs/{first}/{second}"] = values
        record = {
            "units": list(self.units),
            "pairs": [list(pair) for pair in self.pairs],
            "spans": {
                name: {"unit": spans.unit, "names": spans.names}
                for name, spans in self.spans.items()
            },
        }
        records.write(folder, "attribution", self, record, tensors)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        CheckpointError
            A file is missing or broken.
        """
        return records.read(folder, "attribution", cls._rebuilt)

    @classmethod
    def _rebuilt(
        cls, head: dict[str, Any], record: dict[str, Any], tensors: Mapping[str, Tensor]
    ) -> Self:
        dense: dict[str, Any] = {name: tensors[name] for name in _DENSE}
        spans = {}
        for name, kept in record["spans"].items():
            fields: dict[str, Any] = {
                edge: tensors[f"spans/{name}/{edge}"]
                for edge in _SPAN_TENSORS
                if f"spans/{name}/{edge}" in tensors
            }
            names = tuple(tuple(row) for row in kept["names"])
            spans[name] = Spans(unit=kept["unit"], names=names, **fields)
        return cls(
            **head,
            units={name: tensors[f"units/{name}"] for name in record["units"]},
            pairs={(a, b): tensors[f"pairs/{a}/{b}"] for a, b in record["pairs"]},
            mask={name: tensors[f"mask/{name}"] for name in record["units"]},
            spans=spans,
            unit_se={
                name: tensors[key]
                for name in record["units"]
                if (key := f"unit_se/{name}") in tensors
            },
            **dense,
        )

    @staticmethod
    def merge(parts: Sequence[Attribution]) -> Attribution:
        """One result from several of the same model, method and settings, samples joined.

        Raises
        ------
        InputError
            Nothing to merge, results that differ in more than their samples, or one sample twice.
        """
        first = require_mergeable(parts)
        units = {name: _join([part.units[name] for part in parts]) for name in first.units}
        merged: Attribution = replace(
            first,
            sample_ids=tuple(name for part in parts for name in part.sample_ids),
            units=units,
            mask={name: _join([part.mask[name] for part in parts]) for name in first.units},
            spans={name: _join_spans([part.spans[name] for part in parts]) for name in first.spans},
            pairs={
                pair: _join([part.pairs[pair] for part in parts], axes=2) for pair in first.pairs
            },
            unit_se={name: _join([part.unit_se[name] for part in parts]) for name in first.unit_se},
            **{name: torch.cat([getattr(part, name) for part in parts]) for name in _DENSE},
        )
        return merged


_DENSE = ("present", "totals", "se", "prediction", "reference")
_SPAN_TENSORS = ("start", "end", "low", "high")


def _join(parts: Sequence[Tensor], axes: int = 1) -> Tensor:
    """Concatenate along B after padding the last ``axes`` axes to the longest."""
    longest = [max(part.shape[-axis] for part in parts) for axis in range(1, axes + 1)]
    padded = []
    for part in parts:
        gaps = [
            gap for axis, size in enumerate(longest, 1) for gap in (0, size - part.shape[-axis])
        ]
        padded.append(torch.nn.functional.pad(part, gaps))
    return torch.cat(padded)


def _join_spans(parts: Sequence[Spans]) -> Spans:
    first = parts[0]
    names: tuple[tuple[str, ...], ...] = ()
    if any(part.names for part in parts):
        unknown: tuple[str, ...] = ()
        names = tuple(
            row for part in parts for row in part.names or (unknown,) * part.start.shape[0]
        )
    fields: dict[str, Any] = {
        edge: _join([getattr(part, edge) for part in parts])
        for edge in _SPAN_TENSORS
        if getattr(first, edge) is not None
    }
    return Spans(unit=first.unit, names=names, **fields)
