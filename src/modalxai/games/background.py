"""Other samples of the corpus: what stands for a modality under the removal "mean"."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from modalxai import masking
from modalxai.batching import Data, batches
from modalxai.errors import InputError
from modalxai.trace import no_trace

if TYPE_CHECKING:
    from modalxai.model import EmotionModel


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
            for batch in batches(model.collate, data, batch_size):
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
