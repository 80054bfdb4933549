"""Saving and loading of the parts that are ours: settings in json, weights in safetensors.

And the question before every foreign checkpoint: does it have its weights in safetensors?
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from modalxai import saved_settings, storage
from modalxai.errors import CheckpointError, ModalxaiError
from modalxai.foreign_errors import cause, told
from modalxai.paths import possible

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLE = "pytorch_model.bin"
UNFIT = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What constructors raise over settings that nobody checked: an infinite window, say."""


class Pretrained(nn.Module, ABC):
    """A module that is rebuilt from its settings: ``config.json`` and ``model.safetensors``."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """A part with random weights from what `settings` returned."""
        return cls(**settings)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write settings and weights into ``folder``."""
        storage.write_json(Path(folder) / "config.json", self.settings())
        storage.write_tensors(Path(folder) / "model.safetensors", self.state_dict())

    @classmethod
    def from_pretrained(cls, checkpoint: str | Path) -> Self:
        """Rebuild from a folder that `save_pretrained` wrote; strict.

        Raises
        ------
        CheckpointError
            A file is missing or broken, or settings or weights do not fit this class.
        """
        folder = possible(checkpoint)
        config = storage.read_json(folder / "config.json")
        saved_settings.check(config, cls, folder / "config.json")
        weights = storage.read_tensors(folder / "model.safetensors")
        # Forked, because making the layers draws random weights that are overwritten at once.
        with torch.random.fork_rng(devices=[]):
            try:
                part = cls.from_settings(config)
            except ModalxaiError:
                raise
            except UNFIT as error:
                raise _other(folder, cls, str(error)) from error
        # A setting left to its default would load, and mean something else.
        own = json.loads(json.dumps(part.settings()))
        if differing := sorted(set(config) ^ set(own)):
            raise _other(folder, cls, f"settings missing or left over: {differing}")
        if differing := sorted(name for name in own if own[name] != config[name]):
            raise _other(folder, cls, f"settings that were taken otherwise: {differing}")
        storage.load_weights(part, weights, str(folder))
        return part


def require_safetensors(checkpoint: str | Path) -> None:
    """Refuse a folder, or a name on the Hugging Face Hub, that has its weights as a pickle only.

    Asked before transformers is: of a name without safetensors it would have a service on the
    network convert the pickle, in the user's name, and wait for it.

    Raises
    ------
    CheckpointError
        No ``model.safetensors``, whole or in parts.
    """
    folder = Path(checkpoint)
    if folder.is_dir():
        if not any((folder / name).is_file() for name in WEIGHTS):
            names = sorted(found.name for found in folder.iterdir())
            pickles = [name for name in names if Path(name).suffix in storage.PICKLES]
            raise CheckpointError(
                f"{folder}: holds no {WEIGHTS[0]}",
                expected="weights as safetensors",
                got=f"a pickle, {pickles}, which is never read" if pickles else str(names[:8]),
                mend=f"convert it once, where you trust it: modalxai convert ENCODER {folder}",
            )
        return
    from transformers.utils.hub import cached_file, has_file

    name = str(checkpoint)
    try:
        for file in WEIGHTS:
            if cached_file(name, file, _raise_exceptions_for_missing_entries=False):
                return
        pickled = has_file(name, PICKLE)
    except Exception as error:  # the hub's client raises whatever the network makes of it
        raise CheckpointError(
            f"{name}: cannot be loaded",
            expected="a name on the hub that can be reached, or a folder",
            got=told(error),
            mend="check the name or path; a name needs a network, a gated one a login",
        ) from cause(error)
    raise CheckpointError(
        f"{name}: the hub has no {WEIGHTS[0]} of it",
        expected="weights as safetensors",
        got=f"a pickle, {PICKLE}, which is never read" if pickled else "no weights, or no network",
        mend=f"download it (hf download {name} --local-dir FOLDER), then convert it once, where "
        "you trust it: modalxai convert ENCODER FOLDER",
    )


def _other(folder: Path, cls: type, got: str) -> CheckpointError:
    return CheckpointError(
        f"{folder / 'config.json'} does not fit {cls.__name__}",
        expected="exactly the settings that its save_pretrained wrote",
        got=got,
        mend="load the folder with the class that saved it",
    )
