"""What a run is of: its model, its settings and its data; others may not go on with its folder."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modalxai import storage
from modalxai.errors import CheckpointError
from modalxai.model import EmotionModel
from modalxai.paths import is_file
from modalxai.training.fingerprint import fingerprint

NAME = "run.json"
FORMAT = 1


def identity(
    model: EmotionModel, settings: Mapping[str, Any], samples: int | None, ids: list[str] | None
) -> dict[str, Any]:
    """The record of a run, as json can hold it.

    Parameters
    ----------
    settings
        Everything that decides a number, besides the model and the data.
    samples, ids
        How many there are, and their names where they are known without reading recordings.
    """
    named = None
    if ids is not None:
        named = hashlib.blake2b(json.dumps(ids).encode(), digest_size=16).hexdigest()
    record = {
        "format": FORMAT,
        "model": fingerprint(model).hex(),
        "modalities": list(model.modalities),
        "labels": [label.name for label in model.labels],
        "settings": dict(settings),
        "samples": samples,
        "ids": named,
        "versions": storage.versions(),
    }
    return storage.sealed(record)


def claim(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Begin a run in a folder, or go on with the same one; several processes may at once.

    Raises
    ------
    CheckpointError
        The folder holds another run, other files, or cannot be written to.
    """
    path = folder / NAME
    if not is_file(path):
        _begin(folder, wanted)
    found = storage.read_json(path)
    # Compared as json: tuples come back as lists.
    plain = json.loads(json.dumps(dict(wanted)))
    named = {*plain, *found} - {storage.SEAL}
    if differ := sorted(key for key in named if plain.get(key) != found.get(key)):
        shown = "; ".join(f"{key}: {found.get(key)!r} there" for key in differ)[:400]
        now = "; ".join(f"{key}: {plain.get(key)!r}" for key in differ)[:400]
        raise CheckpointError(
            f"{folder} holds another run, which differs in {', '.join(differ)}",
            expected=shown,
            got=now,
            mend="give another folder, or run with the model, settings and data of this one",
        )


def _begin(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Write the record unless another process was faster: a link is made once or not at all."""
    storage.require_folder(folder)
    try:
        strangers = sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))
    except OSError as error:
        raise _refused(folder, error) from error
    if strangers:
        if NAME in strangers:
            return
        raise CheckpointError(
            f"{folder} holds other files",
            expected="an empty folder, or one of explain_corpus",
            got=str(strangers[:5]),
            mend="give another folder: nothing of yours is overwritten",
        )
    name = None
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{NAME}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(dict(wanted), file, ensure_ascii=False, indent=2)
        os.chmod(name, 0o644)
        os.link(name, folder / NAME)
    except FileExistsError:
        pass
    except OSError as error:
        raise _refused(folder, error) from error
    finally:
        if name is not None:
            Path(name).unlink(missing_ok=True)


def _refused(folder: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"{folder} cannot be written to",
        expected="a folder of yours on a file system with links, on a disk with room",
        got=str(error)[:300],
        mend="make room, or give another folder",
    )
