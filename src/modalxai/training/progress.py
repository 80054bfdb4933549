"""What a killed training run needs to go on: weights, optimiser and history, written by epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from modalxai import storage
from modalxai.errors import CheckpointError

RECORD = "progress.json"


@dataclass
class Progress:
    """The state of one `fit`, in memory and, with a folder, on disk.

    The record is written last, in one atomic step, and names the file of its epoch: a run that is
    killed while writing goes on from the epoch before.
    """

    folder: Path | None
    step: nn.Module
    optimizer: torch.optim.Optimizer
    settings: dict[str, Any]
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best: int = -1
    _best_weights: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def begin(
        cls,
        folder: str | Path | None,
        step: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: dict[str, Any],
    ) -> Self:
        """A new run, or the one that the folder holds.

        Raises
        ------
        CheckpointError
            The folder's run had other settings or another model.
        """
        made = cls(None if folder is None else Path(folder), step, optimizer, settings)
        made.settings = settings | {
            "learning": [f"{name} {list(one.shape)}" for name, one in made._weights().items()]
        }
        if made.folder is not None and (made.folder / RECORD).is_file():
            made._resume(made.folder)
        return made

    def keep(self, loss: float, score: float | None) -> None:
        """Note the end of an epoch, and write it."""
        epoch = len(self.losses)
        self.losses.append(loss)
        if score is not None:
            self.scores.append(score)
        self.best = max(range(len(self.scores)), key=self._rank) if self.scores else epoch
        if self.best == epoch:
            self._best_weights = {
                name: one.detach().cpu().clone() for name, one in self._weights().items()
            }
        if self.folder is not None:
            self._write(self.folder, epoch)

    def restore_best(self) -> None:
        """Give the model the weights of its best epoch."""
        if self._best_weights:
            self.step.load_state_dict(self._best_weights, strict=False)

    def _weights(self) -> dict[str, Tensor]:
        """What training changes: learning parameters, and buffers."""
        frozen = {name for name, one in self.step.named_parameters() if not one.requires_grad}
        return {
            name: one
            for name, one in self.step.state_dict().items()
            if name not in frozen and isinstance(one, Tensor)
        }

    def _rank(self, epoch: int) -> float:
        """A score that is no number is never the best."""
        score = self.scores[epoch]
        return -math.inf if math.isnan(score) else score

    def _write(self, folder: Path, epoch: int) -> None:
        state = self.optimizer.state_dict()["state"]
        moments = {
            f"{place}/{name}": torch.as_tensor(value)
            for place, values in state.items()
            for name, value in values.items()
        }
        written = {
            **{f"weights/{name}": one for name, one in self._weights().items()},
            **{f"optimizer/{name}": one for name, one in moments.items()},
        }
        storage.write_tensors(folder / _file(epoch), written)
        if self.best == epoch:
            storage.write_tensors(folder / _best(epoch), self._best_weights)
        record = {
            "settings": self.settings,
            "losses": self.losses,
            "scores": self.scores,
            "best": self.best,
        }
        storage.write_json(folder / RECORD, storage.sealed(record))
        needed = {_file(epoch), _best(self.best)}
        for path in folder.glob("*.safetensors"):
            if path.name.startswith(("epoch-", "best-")) and path.name not in needed:
                path.unlink()

    def _resume(self, folder: Path) -> None:
        record = storage.read_json(folder / RECORD)
        storage.check_seal(folder / RECORD, record)
        with storage.reading(folder / RECORD):
            found = record["settings"]
            losses, scores, best = record["losses"], record["scores"], int(record["best"])
        if found != self.settings:
            changed = [
                f"{name}: {found.get(name)!r}, now {value!r}"
                for name, value in self.settings.items()
                if found.get(name) != value
            ]
            raise CheckpointError(
                f"{folder} holds a training run with other settings",
                expected="the settings it began with",
                got="; ".join(changed)[:500] or "fewer settings",
                mend="give another folder, or delete this one",
            )
        tensors = storage.read_tensors(folder / _file(len(losses) - 1))
        weights = _under(tensors, "weights/")
        with storage.reading(folder / _file(len(losses) - 1)):
            self.step.load_state_dict(weights, strict=False)
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in _under(tensors, "optimizer/").items():
                place, name = key.split("/")
                state.setdefault(int(place), {})[name] = value
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self._best_weights = storage.read_tensors(folder / _best(best))
        self.losses, self.scores, self.best = list(losses), list(scores), best


def _file(epoch: int) -> str:
    return f"epoch-{epoch}.safetensors"


def _best(epoch: int) -> str:
    return f"best-{epoch}.safetensors"


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
