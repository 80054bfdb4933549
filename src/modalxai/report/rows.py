"""The rows of a report as a table of plain cells, for csv, Parquet and json."""

from __future__ import annotations

import csv
import importlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Any

from modalxai import storage
from modalxai.errors import DependencyError, InputError
from modalxai.report.shares import ShareRow
from modalxai.types import Attribution

FORMS = (".csv", ".json", ".parquet")


def flat(row: ShareRow) -> dict[str, Any]:
    """One row, a cell per number: ``share/audio``, ``interaction/audio+text``, flags joined.

    NaN is ``None``: an empty cell, never a number.
    """
    cells: dict[str, Any] = {}
    for name, value in asdict(row).items():
        if isinstance(value, Mapping):
            for key, one in value.items():
                cells[f"{name}/{'+'.join(key) if isinstance(key, tuple) else key}"] = one
        else:
            cells[name] = "; ".join(value) if isinstance(value, tuple) else value
    return {
        name: None if isinstance(value, float) and isnan(value) else value
        for name, value in cells.items()
    }


def sample_rows(found: Attribution) -> list[dict[str, Any]]:
    """A row for each sample, label and modality, as of `modalxai.types.Attribution.to_frame`."""
    totals, errors = found.totals.tolist(), found.se.tolist()
    present, scores = found.present.tolist(), found.prediction.tolist()
    empty = found.reference.tolist()
    return [
        {
            "id": name,
            "label": label.name,
            "modality": modality,
            "total": totals[row][column][place],
            "se": errors[row][column][place],
            "present": present[row][place],
            "prediction": scores[row][column],
            "reference": empty[row][column],
        }
        for row, name in enumerate(found.sample_ids)
        for column, label in enumerate(found.labels)
        for place, modality in enumerate(found.modalities)
    ]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as csv (UTF-8 with a header), json (a list of objects) or Parquet.

    Raises
    ------
    InputError
        Another ending.
    DependencyError
        Parquet without pyarrow.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    match path.suffix.lower():
        case ".csv":
            text = io.StringIO()
            writer = csv.DictWriter(text, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            storage.write_text(path, text.getvalue())
        case ".json":
            storage.write_text(path, json.dumps(list(rows), ensure_ascii=False, indent=2) + "\n")
        case ".parquet":
            try:
                arrow = importlib.import_module("pyarrow")
                parquet = importlib.import_module("pyarrow.parquet")
            except ImportError as error:
                raise DependencyError(
                    "the package pyarrow is missing",
                    expected="pyarrow, which writes Parquet files",
                    got=str(error),
                    mend="pip install 'modalxai[data]', or write a .csv",
                ) from error
            table = arrow.Table.from_pylist(
                [{name: row.get(name) for name in names} for row in rows]
            )
            storage.write_file(path, lambda target: parquet.write_table(table, target))
        case other:
            raise InputError(
                f"{path.name}: a table of no known kind",
                expected=f"one of {', '.join(FORMS)}",
                got=other or "no ending",
                mend="name the file shares.csv, say",
            )
