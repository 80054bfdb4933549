"""The result of an attributor, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from modalxai import storage
from modalxai.errors import DependencyError, InputError
from modalxai.types.label import Label, Labels
from modalxai.types.tensors import Spans

if TYPE_CHECKING:
    import pandas as pd

Pair = tuple[str, str]


@dataclass(frozen=True)
class Provenance:
    """Everything a number depends on besides model and samples; unlike things refuse to merge.

    Parameters
    ----------
    attributor
        Plugin name of the method.
    params
        Its settings, as json values.
    scale
        What a unit of the result is, see `modalxai.attribution.scales`.
    removal
        How each modality was removed.
    level
        ``"input"`` (removed and re-encoded) or ``"features"`` (encoder outputs masked).
    background
        Digest of the background that means and donors came from; ``None`` without one.
    seed
        Of everything drawn.
    versions
        Of the packages that decide a number.
    """

    attributor: str
    params: Mapping[str, Any]
    scale: str
    removal: Mapping[str, str]
    level: str
    background: str | None
    seed: int
    versions: Mapping[str, str]


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
        for field, (found, expected) in shapes.items():
            if tuple(found.shape) != expected:
                raise InputError(
                    f"an Attribution whose {field} has the wrong shape",
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
                f"spans/{name}/{field}": value
                for field in _SPAN_TENSORS
                if (value := getattr(spans, field)) is not None
            }
        for (first, second), values in self.pairs.items():
            tensors[f"pairs/{first}/{second}"] = values
        record = {
            "sample_ids": list(self.sample_ids),
            "labels": [asdict(label) for label in self.labels],
            "modalities": list(self.modalities),
            "units": list(self.units),
            "pairs": [list(pair) for pair in self.pairs],
            "spans": {
                name: {"unit": spans.unit, "names": spans.names}
                for name, spans in self.spans.items()
            },
            "provenance": asdict(self.provenance),
        }
        storage.write_json(Path(folder) / "attribution.json", record)
        storage.write_tensors(Path(folder) / "attribution.safetensors", tensors)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        CheckpointError
            A file is missing or broken.
        """
        path = Path(folder) / "attribution.json"
        record = storage.read_json(path)
        tensors = storage.read_tensors(path.with_suffix(".safetensors"))
        with storage.reading(path):
            return cls._rebuilt(record, tensors)

    @classmethod
    def _rebuilt(cls, record: dict[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        spans = {}
        for name, kept in record["spans"].items():
            fields: dict[str, Any] = {
                field: tensors[f"spans/{name}/{field}"]
                for field in _SPAN_TENSORS
                if f"spans/{name}/{field}" in tensors
            }
            names = tuple(tuple(row) for row in kept["names"])
            spans[name] = Spans(unit=kept["unit"], names=names, **fields)
        return cls(
            sample_ids=tuple(record["sample_ids"]),
            labels=tuple(Label(**label) for label in record["labels"]),
            modalities=tuple(record["modalities"]),
            units={name: tensors[f"units/{name}"] for name in record["units"]},
            pairs={(a, b): tensors[f"pairs/{a}/{b}"] for a, b in record["pairs"]},
            mask={name: tensors[f"mask/{name}"] for name in record["units"]},
            spans=spans,
            provenance=Provenance(**record["provenance"]),
            **{name: tensors[name] for name in _DENSE},
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
            **{name: torch.cat([getattr(part, name) for part in parts]) for name in _DENSE},
        )
        return merged


_DENSE = ("present", "totals", "se", "prediction", "reference")
_SPAN_TENSORS = ("start", "end", "low", "high")


def require_mergeable(parts: Sequence[Any]) -> Any:
    """The first part, once all are known to agree in labels, modalities and provenance."""
    mend = "merge results of one model, one method and the same settings"
    if not parts:
        raise InputError("nothing to merge", expected="one result or more", got="none", mend=mend)
    for part in parts[1:]:
        for field in ("labels", "modalities", "provenance"):
            if getattr(part, field) != getattr(parts[0], field):
                raise InputError(
                    f"results with different {field} do not merge",
                    expected=str(getattr(parts[0], field)),
                    got=str(getattr(part, field)),
                    mend=mend,
                )
    ids = [name for part in parts for name in part.sample_ids]
    if len(set(ids)) < len(ids):
        twice = sorted({name for name in ids if ids.count(name) > 1})
        raise InputError(
            "a sample occurs twice", expected="different ids", got=str(twice[:5]), mend=mend
        )
    return parts[0]


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
        field: _join([getattr(part, field) for part in parts])
        for field in _SPAN_TENSORS
        if getattr(first, field) is not None
    }
    return Spans(unit=first.unit, names=names, **fields)
