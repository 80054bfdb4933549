"""What a model would score with one modality only, or with someone else's.

Each is the answer of the same model to edited samples, to be put next to its score. Where a
modality is shuffled every sample gets another sample's, so that it keeps its look and loses its
meaning: a model whose score survives that does not use the modality.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from modalxai.audio import seed_for
from modalxai.errors import InputError
from modalxai.types import Prediction, Sample

Predict = Callable[[Any], Prediction]
"""From samples to one row of scores for each: ``model.predict``."""


def baselines(
    predict: Predict, samples: Sequence[Sample], modalities: Sequence[str], *, seed: int = 0
) -> dict[str, Prediction]:
    """Predictions with each modality alone, and with each shuffled among the samples.

    Parameters
    ----------
    predict
        ``model.predict``, or anything that scores samples.
    samples
        B mappings with ids, anything with a length and numbers; read once per baseline.
    modalities
        Their keys.
    seed
        Which sample gets whose: it depends on the seed and the ids, not on the order.

    Returns
    -------
    dict
        ``"text alone"`` (not for one modality), where a row is NaN if the sample has no text;
        ``"text shuffled"``, where a sample without text stays as it is.

    Raises
    ------
    InputError
        No modality, or one that fewer than two samples have.
    """
    names, here = _look(samples, modalities)
    found = {}
    for modality in modalities:
        rows = here[modality]
        if len(modalities) > 1:
            others = {other: None for other in modalities if other != modality}
            only = [_Edit(row, others) for row in rows]
            scored = predict(_Edited(samples, only))
            scores = scored.scores.new_full((len(samples), scored.scores.shape[1]), torch.nan)
            scores[rows] = scored.scores
            found[f"{modality} alone"] = Prediction(scores, scored.labels)
        order = sorted(rows, key=lambda row: seed_for(names[row], seed))
        donor = dict(zip(order, [*order[1:], *order[:1]], strict=True))
        edits = [
            _Edit(row, {modality: donor[row]} if row in donor else {})
            for row in range(len(samples))
        ]
        found[f"{modality} shuffled"] = predict(_Edited(samples, edits))
    return found


@dataclass(frozen=True)
class _Edit:
    """Sample ``row`` with some modalities from another row, or gone (``None``)."""

    row: int
    donors: Mapping[str, int | None]


class _Edited(torch.utils.data.Dataset[dict[str, Any]]):
    """Samples edited as they are read, so that a corpus need not fit into memory."""

    def __init__(self, samples: Sequence[Sample], edits: Sequence[_Edit]) -> None:
        self.samples, self.edits = samples, edits

    def __len__(self) -> int:
        return len(self.edits)

    def __getitem__(self, index: int) -> dict[str, Any]:
        edit = self.edits[index]
        sample = dict(self.samples[edit.row])
        for modality, row in edit.donors.items():
            sample[modality] = None if row is None else self.samples[row][modality]
        return sample


def _look(
    samples: Sequence[Sample], modalities: Sequence[str]
) -> tuple[list[str], dict[str, list[int]]]:
    names, here = [], {modality: list[int]() for modality in modalities}
    for row in range(len(samples)):
        sample = samples[row]
        names.append(str(sample.get("id", f"#{row}")))
        for modality in modalities:
            if sample.get(modality) is not None:
                here[modality].append(row)
    few = [modality for modality in modalities if len(here[modality]) < 2]
    if few or not here:
        raise InputError(
            "nothing to shuffle",
            expected="modalities that two samples or more have",
            got=f"{few or list(modalities)} in {len(names)} samples",
            mend="name the modalities as the samples do",
        )
    return names, here
