"""An explanation as a Parquet table: one row per sample, readable without modalxai, and back.

Columns: ``id``; the columns of the samples, as they are where Parquet has a type for them and as
json text elsewhere; ``predicted``, the label that wins; ``evidence/<label>/<modality>``, exact
Shapley values on clr (log-odds of binary labels, raw for dimensional ones); and, for reading back,
``scores`` [R * 2**M * K], ``present`` [M], ``targets`` and ``annotated`` [K] as lists. What all
samples share is json in the table's metadata.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from modalxai import storage
from modalxai.attribution import Explanation
from modalxai.errors import CheckpointError, DependencyError, InputError
from modalxai.types import Label, Provenance, Targets, columns, records

KEY = b"modalxai"
"""Of the table's metadata."""
OWN = ("id", "predicted", "scores", "present", "targets", "annotated")
"""Names of columns that a sample's column cannot have."""


def write(path: Path, explanation: Explanation) -> None:
    """Write one table in one atomic step.

    Raises
    ------
    InputError
        A column of the samples has the name of one of ours.
    DependencyError
        pyarrow is not installed.
    """
    arrow = _pyarrow("pyarrow")
    if clash := [name for name in explanation.columns if name in OWN or "/" in name]:
        raise InputError(
            "columns of the samples that cannot be told from ours",
            expected=f"names without '/', none of {list(OWN)}",
            got=str(clash),
            mend="rename them in the samples",
        )
    arrays: dict[str, Any] = {"id": arrow.array(explanation.sample_ids, arrow.string())}
    coded = []
    for name, values in explanation.columns.items():
        arrays[name], as_json = _column(arrow, name, values)
        coded += [name] * as_json
    arrays["predicted"] = arrow.array(winners(explanation), arrow.string())
    arrays |= {name: arrow.array(found) for name, found in evidence(explanation).items()}
    tensors = {
        "scores": explanation.draws.permute(2, 0, 1, 3).flatten(1),
        "present": explanation.present,
        "targets": explanation.targets.values,
        "annotated": explanation.targets.mask,
    }
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().numpy()
        values = arrow.array(flat.reshape(-1))
        arrays[name] = arrow.FixedSizeListArray.from_arrays(values, flat.shape[1])
    head = {
        "labels": [asdict(label) for label in explanation.labels],
        "modalities": list(explanation.modalities),
        "provenance": asdict(explanation.provenance),
        "draws": explanation.draws.shape[0],
        "json": coded,
        "columns": list(explanation.columns),
    }
    table = arrow.table(arrays)
    head = storage.sealed(head | {"content": _content(table)})
    table = table.replace_schema_metadata({KEY: json.dumps(head, sort_keys=True).encode()})
    parquet = _pyarrow("pyarrow.parquet")
    storage.write_file(path, lambda target: parquet.write_table(table, target))


def read(path: Path) -> Explanation:
    """Read what `write` wrote.

    Raises
    ------
    CheckpointError
        A file that is broken, or of another kind.
    """
    table = _opened(path, "read_table")
    with storage.reading(path):
        head = json.loads((table.schema.metadata or {})[KEY])
        labels = tuple(Label(**label) for label in head["labels"])
        count, modalities = table.num_rows, len(head["modalities"])

        def tensor(name: str) -> torch.Tensor:
            flat = table.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False)
            return torch.from_numpy(np.array(flat)).reshape(
                count, table.schema.field(name).type.list_size
            )

        draws = tensor("scores").reshape(count, head["draws"], 1 << modalities, len(labels))
        given = {name: table.column(name).to_pylist() for name in head["columns"]}
        found = Explanation(
            sample_ids=tuple(table.column("id").to_pylist()),
            labels=labels,
            modalities=tuple(head["modalities"]),
            present=tensor("present").bool(),
            draws=draws.permute(1, 2, 0, 3).contiguous(),
            targets=Targets(tensor("targets"), tensor("annotated").bool()),
            columns={
                name: tuple(map(_decoded, values) if name in head["json"] else values)
                for name, values in given.items()
            },
            provenance=Provenance(**head["provenance"]),
        )
    storage.check_seal(path, head | {"content": _content(table)})
    return found


def count_rows(path: Path) -> int:
    """How many samples a table holds; reads its footer only."""
    return int(_opened(path, "read_metadata").num_rows)


def require() -> None:
    """Refuse early, before anything was computed, where pyarrow is missing."""
    _pyarrow("pyarrow.parquet")


def _opened(path: Path, how: str) -> Any:
    parquet = _pyarrow("pyarrow.parquet")
    try:
        return getattr(parquet, how)(path)
    except Exception as error:  # pyarrow's own errors have no common base below Exception
        raise CheckpointError(
            f"{path} cannot be read",
            expected="a Parquet file that explain_corpus wrote",
            got=f"{type(error).__name__}: {error}"[:300],
            mend="delete it and run again: only this part is done anew",
        ) from error


def _content(table: Any) -> str:
    """A digest of every value of a table: pages of Parquet can be spoilt and still decode."""
    state = hashlib.blake2b(digest_size=16)
    for name, column in zip(table.column_names, table.itercolumns(), strict=True):
        lists = hasattr(column.type, "list_size")
        flat = column.combine_chunks().flatten() if lists else column
        if lists or str(flat.type) == "double":
            values = np.ascontiguousarray(flat.to_numpy(zero_copy_only=False))
            state.update(f"{name} {values.dtype} {values.shape}".encode())
            state.update(values.data)
        else:
            state.update(json.dumps([name, flat.to_pylist()]).encode())
    return state.hexdigest()


def evidence(explanation: Explanation) -> dict[str, NDArray[np.float64]]:
    """Exact Shapley values [N] by ``evidence/<label>/<modality>``."""
    found = explanation.shapley()
    totals = found.totals.cpu().double().numpy()
    return {
        f"evidence/{label.name}/{modality}": totals[:, k, m]
        for k, label in enumerate(found.labels)
        for m, modality in enumerate(found.modalities)
    }


def winners(explanation: Explanation) -> list[str | None]:
    """The categorical label with the highest score of each sample, None without such labels."""
    chosen = columns(explanation.labels, "categorical")
    if not chosen:
        return [None] * len(explanation.sample_ids)
    places = explanation.scores[-1][:, chosen].argmax(-1).tolist()
    return [explanation.labels[chosen[place]].name for place in places]


def _column(arrow: Any, name: str, values: Sequence[Any]) -> tuple[Any, bool]:
    """An array, and whether it is json text: Parquet columns hold values of one type."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    kinds = {type(value) for value in plain if value is not None}
    types = {str: arrow.string(), bool: arrow.bool_(), int: arrow.int64(), float: arrow.float64()}
    if not kinds:
        return arrow.nulls(len(plain), arrow.string()), False
    if len(kinds) == 1 and (kind := next(iter(kinds))) in types:
        try:
            return arrow.array(plain, types[kind]), False
        except (OverflowError, ValueError, UnicodeError):
            pass  # a whole number above 64 bits, half a surrogate pair: json can
    return arrow.array(
        [json.dumps(records.plain(name, value)) for value in plain], arrow.string()
    ), True


def _decoded(text: str) -> Any:
    return records.frozen(json.loads(text))


def _pyarrow(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DependencyError(
            "the package pyarrow is missing",
            expected="pyarrow, which reads and writes Parquet files",
            got=str(error),
            mend="pip install 'modalxai[data]'",
        ) from error
