"""What results share: how they came about, their files, and which of them belong together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from modalxai import storage
from modalxai.errors import InputError
from modalxai.types.label import Label

Result = TypeVar("Result")


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


def write(
    folder: str | Path,
    name: str,
    result: Any,
    record: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
) -> None:
    """Write ``<name>.json`` and ``<name>.safetensors`` into ``folder``.

    Parameters
    ----------
    result
        Whose sample_ids, labels, modalities and provenance are written too.
    record
        What else of it is json.
    tensors
        Its tensors by name.
    """
    head = {
        "sample_ids": list(result.sample_ids),
        "labels": [asdict(label) for label in result.labels],
        "modalities": list(result.modalities),
        "provenance": asdict(result.provenance),
    }
    whole = storage.sealed(head | dict(record), tensors)
    storage.write_json(Path(folder) / f"{name}.json", whole)
    storage.write_tensors(Path(folder) / f"{name}.safetensors", tensors)


def read(
    folder: str | Path,
    name: str,
    build: Callable[[dict[str, Any], dict[str, Any], dict[str, Tensor]], Result],
) -> Result:
    """Read what `write` wrote; ``build`` gets the common fields, the record and the tensors.

    Raises
    ------
    CheckpointError
        A file is missing, broken, or not what was written.
    """
    path = Path(folder) / f"{name}.json"
    record = storage.read_json(path)
    tensors = storage.read_tensors(path.with_suffix(".safetensors"))
    with storage.reading(path):
        head = {
            "sample_ids": tuple(record["sample_ids"]),
            "labels": tuple(Label(**label) for label in record["labels"]),
            "modalities": tuple(record["modalities"]),
            "provenance": Provenance(**record["provenance"]),
        }
        found = build(head, record, tensors)
    storage.check_seal(path, record, tensors)
    return found


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


def frozen(value: Any) -> Any:
    """Lists, which json makes of tuples, as tuples again."""
    if isinstance(value, list):
        return tuple(map(frozen, value))
    if isinstance(value, dict):
        return {key: frozen(one) for key, one in value.items()}
    return value


def plain(column: str, value: Any) -> Any:
    """A value of a column as json can hold it.

    Raises
    ------
    InputError
        It cannot; names the column.
    """
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()  # a numpy or torch scalar
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        return [plain(column, one) for one in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(column, one) for key, one in value.items()}
    raise InputError(
        f"column {column!r} cannot be written",
        expected="text, numbers, booleans, None, or tuples and mappings of these",
        got=type(value).__name__,
        mend="leave the column out, or turn its values into text",
    )
