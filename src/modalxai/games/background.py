"""Other samples of the corpus: their mean, and the donors that stand in for a removed modality."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from modalxai import masking
from modalxai.batching import Data, batches, in_halves
from modalxai.errors import InputError
from modalxai.games.bank import digest, join_rows
from modalxai.trace import no_trace
from modalxai.types import Features

if TYPE_CHECKING:
    from modalxai.model import EmotionModel


@dataclass(frozen=True, eq=False)
class Background:
    """What is known of a modality when nothing is known of this sample's.

    Parameters
    ----------
    means
        By modality float64 [D]: the mean over samples of each sample's mean vector.
    digest
        Of the samples' names and inputs, so that results with different backgrounds do not mix.
        It depends neither on their order nor on how they were batched.
    sample_ids
        Names of the N samples, so that none is its own donor.
    features
        By modality, the N samples encoded, for marginal removals; empty where only means are kept.
    """

    means: Mapping[str, Tensor]
    digest: str
    sample_ids: tuple[str, ...] = ()
    features: Mapping[str, Features] | None = None

    @classmethod
    def of(
        cls,
        model: EmotionModel,
        data: Data | Background,
        batch_size: int = 16,
        donors: bool = False,
    ) -> Background:
        """Encode the background once.

        Parameters
        ----------
        model
            Whose encoders.
        data
            Samples, or a background that is ready.
        batch_size
            Samples encoded at once.
        donors
            Keep every sample's features, in memory, for marginal removals.

        Raises
        ------
        InputError
            A modality that no sample of the background has, or a ready background without the
            features that donors need.
        """
        if isinstance(data, Background):
            if donors and data.features is None:
                raise InputError(
                    "a background without donors",
                    expected="the features of its samples",
                    got="their means only",
                    mend="make it with Background.of(model, samples, donors=True)",
                )
            return data
        sums = {name: torch.zeros(()) for name in model.modalities}
        counts = dict.fromkeys(model.modalities, 0)
        kept: dict[str, list[Features]] = {name: [] for name in model.modalities}
        ids: list[str] = []
        marks: list[bytes] = []
        with no_trace(model):
            for batch in batches(model.collate, data, batch_size):
                ids += batch.ids
                for row, sample_id in enumerate(batch.ids):
                    inputs = [digest(batch[name], row) for name in sorted(model.modalities)]
                    marks.append(repr(sample_id).encode() + b"".join(inputs))
                for encoded in in_halves(batch.to(model.device), model.encode):
                    for name, features in encoded.items():
                        means = masking.mean(features.values.double(), features.mask)
                        sums[name] = sums[name].to(means.device) + means.sum(0)
                        counts[name] += int(features.mask.any(1).sum())
                        if donors:
                            # Names would have to agree between rows, and nothing reads a donor's.
                            spans = replace(features.spans, names=())
                            kept[name].append(replace(features, spans=spans))
        if absent := [name for name, count in counts.items() if not count]:
            raise InputError(
                f"a background without any {absent}",
                expected="at least one sample that has the modality",
                got="none",
                mend="give a background with every modality in it",
            )
        return cls(
            {name: sums[name] / counts[name] for name in sums},
            hashlib.blake2b(b"".join(sorted(marks)), digest_size=8).hexdigest(),
            tuple(ids),
            {name: join_rows(parts) for name, parts in kept.items()} if donors else None,
        )
