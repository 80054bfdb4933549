"""Batches with a second text: what a recogniser heard, beside what was said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from modalxai.errors import InputError, ModalxaiError
from modalxai.protocols import Collate
from modalxai.types import RESERVED, Batch, Sample


class CollateSamples(Protocol):
    """What is wrapped: a model's collate."""

    @property
    def collates(self) -> Mapping[str, Collate[Any]]:
        """The encoders' collates, by modality."""
        ...

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Collate B samples."""
        ...


@dataclass(frozen=True)
class ConsistencyCollate:
    """A model's collate, plus the recognised text as a second input of the text encoder.

    Picklable and weightless like what it wraps.

    Parameters
    ----------
    collate
        ``model.collate``.
    text
        The modality whose encoder reads the recognised text too.
    recognised
        Key of the recognised text in a sample, and of its input in the batch. ``None`` or no key
        is a missing text.

    Raises
    ------
    InputError
        ``text`` is no modality, or ``recognised`` is one already.
    """

    collate: CollateSamples
    text: str = "text"
    recognised: str = "recognised"

    def __post_init__(self) -> None:
        check_names(tuple(self.collate.collates), self.text, self.recognised)

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Collate B samples.

        Raises
        ------
        InputError
            What the wrapped collate refuses, or a recognised text that cannot be used.
        """
        batch = self.collate(samples)
        raws = [sample.get(self.recognised) for sample in samples]
        try:
            inputs = dict(self.collate.collates[self.text](raws))
        except ModalxaiError as error:
            place = "a sample" if error.index is None else f"sample {batch.ids[error.index]!r}"
            raise error.at(f"{place}, {self.recognised}") from error
        # After the modalities and before the rest: wrappers read the batch size off the first
        # entry, and the ids come last.
        made = Batch({name: batch[name] for name in self.collate.collates})
        made[self.recognised] = inputs
        made.update({name: value for name, value in batch.items() if name not in made})
        return made


def check_names(modalities: tuple[str, ...], text: str, recognised: str) -> None:
    """Refuse a text that is no modality, or a second one that takes the name of another entry."""
    if text not in modalities or recognised in (*modalities, *RESERVED):
        raise InputError(
            "a recognised text that does not fit the model",
            expected=f"text one of {list(modalities)}, recognised another name",
            got=f"text={text!r}, recognised={recognised!r}",
            mend='write text="text", recognised="recognised", for example',
        )
