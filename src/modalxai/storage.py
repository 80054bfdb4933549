"""Our own files: safetensors for tensors, json for the rest; written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from modalxai.errors import CheckpointError, ModalxaiError
from modalxai.paths import is_file, possible

SEAL = "digest"
"""Of a record: the entry that tells whether it is what was written."""
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write one json object in one atomic step."""
    try:
        raw = json.dumps(record, ensure_ascii=False, indent=2).encode()
    except UnicodeEncodeError:  # half a surrogate pair: json can write it, UTF-8 cannot
        raw = json.dumps(record, indent=2).encode()
    write_file(path, lambda target: target.write_bytes(raw + b"\n"))


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 in one atomic step; half a surrogate pair becomes a question mark."""
    raw = text.encode("utf-8", "replace")
    write_file(path, lambda target: target.write_bytes(raw))


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write one safetensors file in one atomic step."""
    # Cloned, because safetensors refuses tensors that share memory (views, tied weights).
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    write_file(path, lambda target: save_file(plain, target))


def read_json(path: Path) -> dict[str, Any]:
    """One json object, or a CheckpointError that names the file."""
    if not is_file(path):
        raise CheckpointError(
            f"{path.name} is missing from {path.parent}",
            expected="a folder written by save_pretrained or save",
            got=_listing(path.parent),
            mend="give the folder itself, or write it again",
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_each_once)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read",
            expected="json in UTF-8",
            got=str(error)[:300],
            mend="write it again",
        ) from error
    if not isinstance(record, dict):
        raise CheckpointError(
            f"{path} cannot be read",
            expected="a json object",
            got=type(record).__name__,
            mend="write it again",
        )
    return record


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of json; of two values under one name nobody knows which is meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"a key that occurs twice: {max(names, key=names.count)!r:.80}")
    return found


def sealed(
    record: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
) -> dict[str, Any]:
    """A record with a digest of itself, and of the tensors that are written beside it.

    A changed letter of a json file, or one bit of a tensor, can leave both readable and mean
    another number. `check_seal` tells.
    """
    plain = {name: value for name, value in record.items() if name != SEAL}
    return {**plain, SEAL: _digest(plain, tensors)}


def check_seal(
    path: Path, record: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
) -> None:
    """Refuse a record, or tensors, that are not what `sealed` saw.

    Raises
    ------
    CheckpointError
        The digest is missing, or that of something else.
    """
    plain = {name: value for name, value in record.items() if name != SEAL}
    try:
        whole = record.get(SEAL) == _digest(plain, tensors)
    except RecursionError:  # nested too deep to be written again
        whole = False
    if not whole:
        raise CheckpointError(
            f"{path} is damaged, or was edited",
            expected="exactly what was written, together with its tensors",
            got=f"another {SEAL}" if SEAL in record else f"no {SEAL}",
            mend="take the files that were written together, or make them anew",
        )


def _digest(record: Mapping[str, Any], tensors: Mapping[str, Tensor] | None) -> str:
    # There and back: as json reads it, tuples are lists and every name a string.
    plain = json.loads(json.dumps(record))
    state = hashlib.blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=16)
    for name, value in sorted((tensors or {}).items()):
        value = value.detach().cpu().contiguous()
        about = f"{name} {value.dtype} {tuple(value.shape)}"
        state.update(about.encode("utf-8", "backslashreplace"))
        state.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """One safetensors file, on the CPU, or a CheckpointError that names the file."""
    if not is_file(path):
        near = sorted(possible(path.parent).glob("*"))
        pickles = [found.name for found in near if found.suffix in PICKLES]
        raise CheckpointError(
            f"{path.parent} holds no {path.name}",
            expected="weights as safetensors",
            got=f"a pickle, {pickles}, which is never read" if pickles else _listing(path.parent),
            mend="save the weights as safetensors (save_pretrained does)",
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read",
            expected="a safetensors file",
            got=str(error),
            mend="write or download it again",
        ) from error


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], place: str) -> None:
    """Load strictly: the same names, the same shapes, nothing missing, nothing left over.

    Raises
    ------
    CheckpointError
        Names every parameter that differs.
    """
    state = module.state_dict()
    wrong = [f"{name} missing" for name in state if name not in weights]
    wrong += [f"{name} left over" for name in weights if name not in state]
    wrong += [
        f"{name} is {list(weights[name].shape)}, not {list(value.shape)}"
        for name, value in state.items()
        if name in weights and isinstance(value, Tensor) and weights[name].shape != value.shape
    ]
    if wrong:
        raise CheckpointError(
            f"{place}: the weights do not fit {type(module).__name__}",
            expected="exactly its parameters and buffers",
            got="; ".join(wrong[:8]) + (f"; and {len(wrong) - 8} more" if len(wrong) > 8 else ""),
            mend="load them with the settings they were saved with",
        )
    module.load_state_dict(dict(weights), strict=True)


def require_folder(folder: Path) -> None:
    """Make a folder, with its parents, unless it is there.

    Raises
    ------
    CheckpointError
        It cannot be made: a file has its name, say.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be written to",
            expected="a folder, or a place for one",
            got=str(error),
            mend="give another folder",
        ) from error


def write_file(path: Path, writer: Callable[[Path], object]) -> None:
    """Let ``writer`` write a file beside ``path``, and put it there in one atomic step.

    Raises
    ------
    CheckpointError
        The disk is full, or the folder may not be written to. Whatever was at ``path`` is there
        still.
    """
    require_folder(possible(path).parent)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        writer(Path(temporary))
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink(missing_ok=True)
        if not isinstance(error, OSError | SafetensorError):
            raise
        raise CheckpointError(
            f"{path} cannot be written",
            expected="a folder that may be written to, on a disk with room",
            got=str(error)[:300],
            mend="make room or give another folder, and do it again: nothing else was touched",
        ) from error


def _listing(folder: Path) -> str:
    try:
        names = sorted(path.name for path in folder.iterdir())
    except PermissionError:
        return f"{folder!s:.200}, which may not be read"
    except (OSError, ValueError):
        return f"no folder {folder!s:.200}"
    return f"a folder with {names[:8]}" if names else "an empty folder"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a record lacks or holds too much becomes a CheckpointError that names the file."""
    try:
        yield
    except ModalxaiError as error:
        raise CheckpointError(
            f"{path}: {error.wrong}", expected=error.expected, got=error.got, mend="write it again"
        ) from error
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not what it should be",
            expected="the record that save wrote, and the tensors written with it",
            got=f"{type(error).__name__}: {error}",
            mend="write it again",
        ) from error


def versions() -> dict[str, str]:
    """The versions that decide a number: of modalxai and torch."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("modalxai")
    except PackageNotFoundError:
        own = "unknown"
    return {"modalxai": own, "torch": str(torch.__version__)}
