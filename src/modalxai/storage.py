"""Our own files: safetensors for tensors, json for the rest; written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from modalxai.errors import CheckpointError, ModalxaiError

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write one json object in one atomic step."""
    text = json.dumps(record, ensure_ascii=False, indent=2) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 in one atomic step."""
    write_file(path, lambda target: target.write_text(text, encoding="utf-8", newline=""))


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write one safetensors file in one atomic step."""
    # Cloned, because safetensors refuses tensors that share memory (views, tied weights).
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    write_file(path, lambda target: save_file(plain, target))


def read_json(path: Path) -> dict[str, Any]:
    """One json object, or a CheckpointError that names the file."""
    if not path.is_file():
        raise CheckpointError(
            f"{path.name} is missing from {path.parent}",
            expected="a folder written by save_pretrained or save",
            got=_listing(path.parent),
            mend="give the folder itself, or write it again",
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"{path} cannot be read",
            expected="json in UTF-8",
            got=str(error),
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


def read_tensors(path: Path) -> dict[str, Tensor]:
    """One safetensors file, on the CPU, or a CheckpointError that names the file."""
    if not path.is_file():
        pickles = [found.name for found in sorted(path.parent.glob("*")) if found.suffix in PICKLES]
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
    """Let ``writer`` write a file beside ``path``, and put it there in one atomic step."""
    require_folder(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        writer(Path(temporary))
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _listing(folder: Path) -> str:
    if not folder.is_dir():
        return f"no folder {folder}"
    names = sorted(path.name for path in folder.iterdir())
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
    except (KeyError, TypeError, ValueError, AttributeError) as error:
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
