"""Saving and loading of the parts that are ours: settings in json, weights in safetensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from modalxai import storage
from modalxai.errors import CheckpointError, ModalxaiError


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
        folder = Path(checkpoint)
        config = storage.read_json(folder / "config.json")
        weights = storage.read_tensors(folder / "model.safetensors")
        # Forked, because making the layers draws random weights that are overwritten at once.
        with torch.random.fork_rng(devices=[]):
            try:
                part = cls.from_settings(config)
            except ModalxaiError:
                raise
            except (TypeError, KeyError, ValueError, RuntimeError, AttributeError) as error:
                raise _other(folder, cls, str(error)) from error
        # A setting left to its default would load, and mean something else.
        if differing := sorted(set(config) ^ set(part.settings())):
            raise _other(folder, cls, f"settings missing or left over: {differing}")
        storage.load_weights(part, weights, str(folder))
        return part


def _other(folder: Path, cls: type, got: str) -> CheckpointError:
    return CheckpointError(
        f"{folder / 'config.json'} does not fit {cls.__name__}",
        expected="exactly the settings that its save_pretrained wrote",
        got=got,
        mend="load the folder with the class that saved it",
    )
