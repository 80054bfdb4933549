"""One row of features per file: written whole or not at all, checked when read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modalxai import masking, storage
from modalxai.errors import CheckpointError
from modalxai.training.fingerprint import raw_bytes
from modalxai.types import Features, Spans

ABOUT = "about"


@dataclass(frozen=True)
class Row:
    """One sample's features without padding.

    ``tensors`` holds ``values`` [T, D], ``mask``, ``start`` and ``end`` [T], and ``low`` and
    ``high`` where the spans have them.
    """

    tensors: dict[str, Tensor]
    unit: str
    names: tuple[str, ...] = ()


def split(features: Features) -> list[Row]:
    """The rows of a batch, on the CPU, each as long as what is real in it."""
    spans = features.spans
    columns = {"values": features.values, "mask": features.mask}
    columns |= {"start": spans.start, "end": spans.end, "low": spans.low, "high": spans.high}  # type: ignore[dict-item]
    found = {key: value.detach().cpu() for key, value in columns.items() if value is not None}
    rows = []
    for index in range(len(features.mask)):
        used = (found["mask"][index] | (found["end"] > found["start"])[index]).nonzero()
        length = int(used[-1]) + 1 if len(used) else 0
        names = tuple(spans.names[index]) if spans.names else ()
        # Cloned, so that a kept row does not keep its whole batch.
        row = {key: value[index, :length].clone() for key, value in found.items()}
        rows.append(Row(row, spans.unit, names))
    return rows


def join(rows: Sequence[Row]) -> Features:
    """Rows to a batch, padded to the longest."""
    keys = list(rows[0].tensors)
    padded = {key: masking.pad([row.tensors[key] for row in rows])[0] for key in keys}
    names = tuple(row.names for row in rows) if any(row.names for row in rows) else ()
    spans = Spans(
        padded["start"],
        padded["end"],
        rows[0].unit,  # type: ignore[arg-type]  # a string in the file
        padded.get("low"),
        padded.get("high"),
        names,
    )
    return Features(padded["values"], padded["mask"], spans)


def write(path: Path, key: str, row: Row) -> None:
    """Write one row in one atomic step; several processes may write the same one."""
    about = {"key": key, "unit": row.unit, "names": row.names, "digest": _digest(row.tensors)}
    text = torch.tensor(list(json.dumps(about).encode()), dtype=torch.uint8)
    storage.write_tensors(path, row.tensors | {ABOUT: text})


def read(path: Path, key: str) -> Row | None:
    """One row, memory-mapped; ``None`` where there is no file.

    Raises
    ------
    CheckpointError
        The file is broken, or is not what was written under this key.
    """
    if not path.is_file():
        return None
    tensors = storage.read_tensors(path)
    about = _about(tensors.pop(ABOUT, None))
    if about.get("key") != key or about.get("digest") != _digest(tensors):
        raise CheckpointError(
            f"{path} is damaged",
            expected="the features that were written under this name",
            got="others",
            mend="delete the file; it is encoded again",
        )
    return Row(tensors, about["unit"], tuple(about["names"]))


def _about(found: Tensor | None) -> dict[str, Any]:
    try:
        about = json.loads(b"" if found is None else bytes(found.tolist()))
    except (UnicodeDecodeError, ValueError, TypeError):
        return {}
    return about if isinstance(about, dict) else {}


def _digest(tensors: dict[str, Tensor]) -> str:
    state = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        state.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        state.update(raw_bytes(tensors[name]))
    return state.hexdigest()
