"""Which manifest a run was made of, so that its report finds the recordings again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from modalxai.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from modalxai.datasets import ManifestCorpus
    from modalxai.types import Audio

NAME = "manifest.json"


class FromManifest(Mapping[str, "Audio"]):
    """Recordings by the ids of a manifest, each read when it is asked for."""

    def __init__(self, corpus: ManifestCorpus) -> None:
        ids, cells = corpus.column("id"), corpus.column("audio")
        self._corpus = corpus
        self._places = {name: place for place, name in enumerate(ids) if cells[place] is not None}

    def __getitem__(self, name: str) -> Audio:
        recording: Audio = self._corpus[self._places[name]]["audio"]
        return recording

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def remember(folder: Path, manifest: Path, columns: Sequence[str]) -> None:
    """Write down where a run's manifest lies, as seen from the run, and its columns' names."""
    from modalxai import storage

    try:
        where = os.path.relpath(manifest.resolve(), folder.resolve())
    except ValueError:  # on another drive
        where = str(manifest.resolve())
    record = {"manifest": Path(where).as_posix(), "columns": list(columns)}
    with suppress(CheckpointError):  # a finished run may lie where nobody may write
        if storage.read_json(folder / NAME) == record:
            return
    storage.write_json(folder / NAME, record)


def find(folder: Path, manifest: Path | None, columns: Sequence[str]) -> FromManifest:
    """The recordings of a run: of the manifest given, else of the one it was made of.

    Raises
    ------
    InputError
        No manifest is given or remembered, or it has no recordings.
    """
    from modalxai import storage
    from modalxai.datasets import ManifestCorpus
    from modalxai.datasets.checking import named_columns

    named = list(columns)
    if manifest is None:
        path = folder / NAME
        if not path.is_file():
            raise InputError(
                f"{folder} does not say where its recordings are",
                expected="a folder that modalxai explain wrote",
                got=f"no {NAME} in it",
                mend="name the manifest: --manifest corpus.csv --column audio=path",
            )
        record = storage.read_json(path)
        where, kept = record.get("manifest"), record.get("columns")
        if not isinstance(where, str) or not isinstance(kept, list):
            raise CheckpointError(
                f"{path} is damaged",
                expected="the path of a manifest, and its columns",
                got=repr(record)[:200],
                mend="name the manifest: --manifest corpus.csv",
            )
        manifest, named = folder / where, named or [str(one) for one in kept]
        if not manifest.is_file():
            raise InputError(
                "the manifest of this run is no longer where it was",
                expected=str(manifest),
                got="no such file",
                mend="say where it is: --manifest corpus.csv",
            )
    parts = named_columns(named)
    if parts.get("audio", "audio") is None:
        raise InputError(
            f"{manifest.name} has no recordings",
            expected="a column with their paths",
            got="audio= (none)",
            mend="leave --recordings out, or name the column: --column audio=path",
        )
    return FromManifest(ManifestCorpus(manifest, **parts))
