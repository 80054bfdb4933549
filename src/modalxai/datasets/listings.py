"""Lists of samples in whatever form they come: csv, JSON lines, Parquet, Hugging Face datasets."""

from __future__ import annotations

import importlib
import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from modalxai import sound_files
from modalxai.datasets import tables
from modalxai.errors import DependencyError, InputError
from modalxai.types import Audio

FORMS = ".csv, .jsonl, .ndjson or .parquet"


@dataclass(frozen=True)
class Listing:
    """Columns and rows; sound that lies in the list itself is fetched on access.

    Parameters
    ----------
    name
        What to call the list in an error.
    header
        Names of the columns.
    rows
        For each row the place it is written in ("line 3") and its cells; ``None`` where empty.
    fetch
        Gives the audio cell of a row by its number; ``None`` if that column holds paths.
    """

    name: str
    header: list[str]
    rows: list[tuple[str, list[Any]]]
    fetch: Callable[[int], Any] | None = None


def read_listing(source: Any, audio: str | None, encoding: str) -> Listing:
    """A list of samples, its form told by the file's suffix, or by the object itself."""
    if isinstance(source, str | Path):
        path = Path(source)
        suffix = path.suffix.casefold()
        if suffix == ".parquet":
            return _parquet(path, audio)
        if suffix in (".jsonl", ".ndjson"):
            return _json_lines(path, encoding)
        return _csv(path, encoding)
    if hasattr(source, "column_names") and hasattr(source, "features") and hasattr(source, "cast"):
        return _hugging_face(source, audio)
    raise InputError(
        "no list of samples",
        expected=f"the path of a file ({FORMS}), or one split of a Hugging Face dataset",
        got=type(source).__name__,
        mend='choose a split: dataset["train"]; a streamed dataset must be downloaded first',
    )


def _csv(path: Path, encoding: str) -> Listing:
    text = tables.decode(tables.read_bytes(path), path.name, encoding)
    rows = tables.rows(text, path.name)
    if not rows:
        return Listing(path.name, [], [])
    header = rows[0][1]
    for line, cells in rows[1:]:
        if len(cells) != len(header):
            raise tables.width_error(path.name, line, cells, len(header))
    filled = [
        (f"line {line}", [cell if cell.strip() else None for cell in cells])
        for line, cells in rows[1:]
    ]
    return Listing(path.name, header, filled)


def _json_lines(path: Path, encoding: str) -> Listing:
    text = tables.decode(tables.read_bytes(path, "a file of JSON lines"), path.name, encoding)
    found: list[tuple[str, Mapping[str, Any]]] = []
    # Not splitlines: JSON text may hold other separators, U+2028 say, as they are.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            found.append((f"line {number}", _object(line, f"{path.name}, line {number}")))
    return Listing(path.name, *_filled(found))


def _object(line: str, place: str) -> Mapping[str, Any]:
    def unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        given = list(pairs)
        if len(dict(given)) < len(given):
            raise ValueError("a key that occurs twice")
        return dict(given)

    try:
        value = json.loads(line, object_pairs_hook=unique)
        if not isinstance(value, Mapping):
            raise ValueError(f"{type(value).__name__}, no object")
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{place}: not a row of JSON lines",
            expected='one object in a line: {"id": "u1", "text": "..."}',
            got=str(error),
            mend="write each sample as one object on a line of its own",
        ) from error
    return value


def _filled(
    found: Iterable[tuple[str, Mapping[str, Any]]],
) -> tuple[list[str], list[tuple[str, list[Any]]]]:
    rows = list(found)
    header = list(dict.fromkeys(key for _, row in rows for key in row))
    return header, [(place, [_blank(row.get(key)) for key in header]) for place, row in rows]


def _blank(cell: Any) -> Any:
    return None if isinstance(cell, str) and not cell.strip() else cell


def _parquet(path: Path, audio: str | None) -> Listing:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise DependencyError(
            "the package pyarrow is missing",
            expected="pyarrow, which reads Parquet files",
            got=str(error),
            mend='pip install "modalxai[data]"',
        ) from error
    kinds = importlib.import_module("pyarrow").types
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            kind = schema.field(audio).type if audio in schema.names else None
            told = (kinds.is_struct, kinds.is_binary, kinds.is_large_binary, kinds.is_list)
            inside = kind is not None and any(is_kind(kind) for is_kind in told)
            light = [name for name in schema.names if not (inside and name == audio)]
            rows = file.read(columns=light).to_pylist()
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    except Exception as error:  # pyarrow's own errors have no common base below Exception
        raise _unread(path, error) from error
    header, cells = _filled((f"row {i}", row) for i, row in enumerate(rows, 1))
    fetch = ParquetCells(path, str(audio), tuple(sizes)) if inside else None
    if inside:
        header, cells = [*header, str(audio)], [(place, [*row, None]) for place, row in cells]
    return Listing(path.name, header, cells, fetch)


def _unread(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path.name} cannot be read",
        expected="a Parquet file",
        got=" ".join(str(error).split())[:300] or type(error).__name__,
        mend="write it again",
    )


@dataclass(frozen=True)
class ParquetCells:
    """One column's cells, read group by group on access; picklable."""

    path: Path
    column: str
    sizes: tuple[int, ...]

    def __call__(self, number: int) -> Any:
        """The cell of one row, by its number from 0."""
        starts = [sum(self.sizes[:group]) for group in range(len(self.sizes))]
        group = bisect_right(starts, number) - 1
        try:
            with importlib.import_module("pyarrow.parquet").ParquetFile(self.path) as file:
                table = file.read_row_group(group, columns=[self.column])
            return table[self.column][number - starts[group]].as_py()
        except Exception as error:  # as in _parquet
            raise _unread(self.path, error) from error


def _hugging_face(source: Any, audio: str | None) -> Listing:
    features, header = source.features, list(source.column_names)
    inside = audio in header and getattr(features[audio], "dtype", None) != "string"
    plain = source.with_format(None)
    # Undecoded: the samples' bytes are decoded here, without the dataset's own decoder.
    if inside and hasattr(features[audio], "decode"):
        plain = plain.cast_column(audio, type(features[audio])(decode=False))
    columns = plain.remove_columns([audio]).to_dict() if inside else plain.to_dict()
    for name, values in columns.items():
        if hasattr(features[name], "int2str"):
            known = [None if value is None or value < 0 else value for value in values]
            columns[name] = [None if v is None else features[name].int2str(v) for v in known]
    filled = [
        (
            f"row {row + 1}",
            [_blank(columns[name][row]) if name in columns else None for name in header],
        )
        for row in range(len(source))
    ]
    fetch = HuggingFaceCells(plain.select_columns([audio]), str(audio)) if inside else None
    return Listing("dataset", header, filled, fetch)


@dataclass(frozen=True)
class HuggingFaceCells:
    """One column's cells, read from the dataset on access; picklable with it."""

    dataset: Any
    column: str

    def __call__(self, number: int) -> Any:
        """The cell of one row, by its number from 0."""
        return self.dataset[number][self.column]


def decoded(raw: bytes) -> Audio:
    """The bytes of a sound file as an `Audio`, or an InputError."""
    if not isinstance(raw, bytes):  # a text would be taken for a path, which may lead anywhere
        raise InputError(
            "the bytes of a recording that are none",
            expected="the bytes of a wav, flac, ogg or mp3 file",
            got=type(raw).__name__,
            mend='give a path as {"path": ...}',
        )
    samples, rate = sound_files.load(raw)
    return Audio(torch.from_numpy(samples), rate)
