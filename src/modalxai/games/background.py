"""Other samples of the corpus: what stands for a modality under the removal "mean"."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from modalxai import masking
from modalxai.errors import InputError
from modalxai.protocols import Samples
from modalxai.trace import no_trace
from modalxai.types import Batch, Sample

if TYPE_CHECKING:
    from modalxai.model import EmotionModel

Data = Batch | Sample | Samples | Iterable[Batch]
"""What can be explained: a batch, a sample, samples (a list or a Dataset), a loader of batches."""


@dataclass(frozen=True, eq=False)
class Background:
    """What is known of a modality when nothing is known of this sample's.

    Parameters
    ----------
    means
        By modality [D]: the mean over samples of each sample's mean vector.
    digest
        Of the means, so that results with different backgrounds do not mix.
    """

    means: Mapping[str, Tensor]
    digest: str

    @classmethod
    def of(cls, model: EmotionModel, data: Data | Background, batch_size: int = 16) -> Background:
        """Encode the background once.

        Raises
        ------
        InputError
            A modality that no sample of the background has.
        """
        if isinstance(data, Background):
            return data
        sums = {name: torch.zeros(()) for name in model.modalities}
        counts = dict.fromkeys(model.modalities, 0)
        with no_trace(model):
            for batch in batches(model, data, batch_size):
                for name, features in model.encode(batch.to(model.device)).items():
                    means = masking.mean(features.values.double(), features.mask)
                    sums[name] = sums[name].to(means.device) + means.sum(0)
                    counts[name] += int(features.mask.any(1).sum())
        if absent := [name for name, count in counts.items() if not count]:
            raise InputError(
                f"a background without any {absent}",
                expected="at least one sample that has the modality",
                got="none",
                mend="give a background with every modality in it",
            )
        average = {name: (sums[name] / counts[name]).float() for name in sums}
        joined = torch.cat([average[name] for name in sorted(average)]).cpu().numpy().tobytes()
        return cls(average, hashlib.blake2b(joined, digest_size=8).hexdigest())


def batches(model: EmotionModel, data: Data, batch_size: int) -> Iterator[Batch]:
    """Any `Data` as batches; samples without an id get their place in the whole as one.

    Raises
    ------
    InputError
        A batch size below 1, or data that is none.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(
            "batch_size out of range",
            expected="a whole number from 1",
            got=repr(batch_size),
            mend="16 is a good start; the result does not depend on it",
        )
    if isinstance(data, Mapping):
        whole = isinstance(data, Batch) or "ids" in data
        yield Batch(data) if whole else model.collate([_named(data, 0)])
        return
    pending: list[Sample] = []
    for index, item in enumerate(_items(data)):
        if isinstance(item, Batch) or (isinstance(item, Mapping) and "ids" in item):
            yield Batch(item)
            continue
        pending.append(_named(item, index))
        if len(pending) == batch_size:
            yield model.collate(pending)
            pending = []
    if pending:
        yield model.collate(pending)


def _items(data: Any) -> Iterator[Any]:
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        # A map-style Dataset need not stop its own iteration, so it is indexed.
        return (data[index] for index in range(len(data)))
    if not isinstance(data, Iterable):
        raise InputError(
            "data that cannot be read",
            expected="a sample, samples, a batch or a loader",
            got=type(data).__name__,
            mend="give a list of samples, for example",
        )
    return iter(data)


def _named(sample: Any, index: int) -> Sample:
    if isinstance(sample, Mapping) and sample.get("id") is None:
        return {**sample, "id": f"#{index}"}
    return cast("Sample", sample)
