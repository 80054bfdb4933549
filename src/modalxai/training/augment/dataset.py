"""Samples augmented as they are read, the same in any worker and any order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator
from torch.utils.data import Dataset

from modalxai.audio import seed_for
from modalxai.datasets.columns import column as read_column
from modalxai.errors import InputError, ModalxaiError
from modalxai.protocols import Samples
from modalxai.types import RESERVED, Sample

Edit = Callable[[Any, Generator], Any]
"""From a raw value and a generator to a new one, of the same modality."""


@dataclass(frozen=True)
class Augment:
    """What is done to a sample: edits by modality, in order.

    Parameters
    ----------
    edits
        By the key of a modality, the edits of its values: ``{"audio": [FrequencyMask()], "text":
        [RandomSwap()]}``. What a sample lacks stays lacking; everything else, labels too, stays
        as it is.
    rate
        Probability, for each modality of each sample, that its edits are done.

    Raises
    ------
    InputError
        No edits, a key that is no modality, or a rate outside 0..1.
    """

    edits: Mapping[str, Sequence[Edit]]
    rate: float = 1.0

    def __post_init__(self) -> None:
        taken = [key for key in self.edits if key in RESERVED]
        if not self.edits or not all(self.edits.values()) or taken or not 0 <= self.rate <= 1:
            raise InputError(
                "an augmentation of nothing",
                expected="edits by modality, and a rate of 0 to 1",
                got=f"{dict(self.edits)}, rate={self.rate}",
                mend='write Augment({"audio": [FrequencyMask()], "text": [RandomSwap()]})',
            )

    def __call__(self, sample: Sample, seed: int, only: Sequence[str] | None = None) -> Any:
        """A changed copy.

        Parameters
        ----------
        sample
            One sample.
        seed
            What all random numbers come from.
        only
            Modalities to change; ``None``: all that have edits.
        """
        made = dict(sample)
        for modality, edits in self.edits.items():
            if made.get(modality) is None or (only is not None and modality not in only):
                continue
            # A generator of its own: what is done to the text must not move the audio's noise.
            generator = Generator().manual_seed(seed_for(modality, seed))
            if float(torch.rand((), generator=generator)) >= self.rate:
                continue
            for edit in edits:
                try:
                    made[modality] = edit(made[modality], generator)
                except ModalxaiError as error:
                    raise error.at(f"sample {sample.get('id')!r}, {modality}") from error
        return made


class PerEpoch(Dataset[Any]):
    """A dataset that knows which epoch is being read, in every worker."""

    def __init__(self) -> None:
        epoch = torch.zeros((), dtype=torch.int64)
        # Shared: workers that live longer than an epoch see it change.
        self._epoch: torch.Tensor = epoch.share_memory_()  # type: ignore[no-untyped-call]  # torch's

    @property
    def epoch(self) -> int:
        """Which epoch is being read."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next, before iterating over the loader."""
        self._epoch.fill_(epoch)


class Augmented(PerEpoch):
    """A dataset whose samples come augmented, anew in each epoch.

    Parameters
    ----------
    samples
        N samples with ids; read as lazily as they are.
    augment
        What is done to them.
    seed
        Of all that is random, together with a sample's id and the epoch.

    Examples
    --------
    Before every epoch::

        data = Augmented(train, Augment({"audio": [FrequencyMask()], "text": [RandomSwap()]}))
        loader = DataLoader(data, batch_size=16, shuffle=True, collate_fn=model.collate)
        for epoch in range(30):
            data.set_epoch(epoch)
            for batch in loader: ...
    """

    def __init__(self, samples: Samples, augment: Augment, *, seed: int = 0) -> None:
        super().__init__()
        self.samples, self.augment, self.seed = samples, augment, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        sample = self.samples[index]
        return self.augment(sample, seed_for(identity(sample), self.seed, self.epoch))

    def column(self, name: str) -> list[Any]:
        """One column as it was before augmentation."""
        return read_column(self.samples, name)


def identity(sample: Sample) -> str:
    """The sample's id, without which nothing random can belong to it.

    Raises
    ------
    InputError
        It has none.
    """
    name = sample.get("id")
    if name is None:
        raise InputError(
            "a sample without an id cannot be augmented",
            expected='a name under "id", which its random numbers belong to',
            got=f"keys {sorted(map(str, sample))}",
            mend='give each sample an "id"',
        )
    return str(name)
