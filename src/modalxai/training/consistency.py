"""Training on true and recognised words at once, the audio encoded once for both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from modalxai.errors import InputError
from modalxai.training.divergence import ConsistencyLoss, Direction, Path
from modalxai.training.objective import Objective, targets_of
from modalxai.training.recognised import check_names
from modalxai.types import Batch, Features, Inputs, Prediction


class TwoStage(Protocol):
    """What the objective needs of a model: encode one modality, and fuse."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in order."""
        ...

    def encode_one(self, modality: str, inputs: Inputs) -> Features:
        """One modality's features."""
        ...

    def fuse(self, features: Mapping[str, Features]) -> Prediction:
        """Scores from features."""
        ...


class ConsistencyObjective(Objective):
    """``step(**batch)``: the loss on the true words plus a divergence from the recognised ones.

    ``loss(p_gold, targets) + weight * KL``: the consistency regularisation of seed system S2,
    whose source leaves the weight, the direction and any stop-gradient open. Both paths share the
    encodings of every other modality, and the fusion draws the same dropout (modality dropout
    included) for both, so that they differ by the words alone.

    Parameters
    ----------
    model
        An `EmotionModel`.
    loss
        Of the golden path, an `EmotionLoss` for example.
    weight
        What the divergence counts, 0 or more.
    direction, stop_gradient
        See `ConsistencyLoss`.
    text
        The modality whose input there is twice.
    recognised
        Key of its second input in the batch, see `ConsistencyCollate`.

    Raises
    ------
    InputError
        A setting outside these ranges, or a modality that the model does not have.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        weight: float = 1.0,
        direction: Direction = "gold||recognised",
        stop_gradient: Path | None = None,
        text: str = "text",
        recognised: str = "recognised",
    ) -> None:
        super().__init__(model, loss)
        if not 0 <= weight < math.inf:
            raise InputError(
                "the weight of the divergence is out of range",
                expected="a finite number of 0 or more",
                got=repr(weight),
                mend="1 is the default",
            )
        check_names(self._staged.modalities, text, recognised)
        self.weight = float(weight)
        self.divergence = ConsistencyLoss(direction, stop_gradient)
        self.text = text
        self.recognised = recognised

    def forward(self, **batch: Any) -> dict[str, Tensor]:
        """One batch, as keywords, with a second input of the text encoder among them.

        Returns
        -------
        dict
            ``"loss"`` [] and the raw ``"scores"`` [B, K] of the golden path.

        Raises
        ------
        InputError
            A modality, the recognised text or the targets are not there, or what the model or the
            loss refuse.
        """
        made, model = Batch(batch), self._staged
        targets = targets_of(made)
        if absent := [name for name in (*model.modalities, self.recognised) if name not in made]:
            raise InputError(
                f"a batch without {absent}",
                expected=f"inputs for {[*model.modalities, self.recognised]}",
                got=f"keys {list(made)}",
                mend="make batches with ConsistencyCollate(model.collate)",
            )
        features = {name: model.encode_one(name, made[name]) for name in model.modalities}
        other = features | {self.text: model.encode_one(self.text, made[self.recognised])}
        device = features[self.text].values.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            gold = model.fuse(features)
        # The generators are back where the golden path found them: the same draws again.
        recognised = model.fuse(other)
        loss = self.supervised(gold, targets, made)
        loss = loss + self.weight * self.divergence(gold, recognised)
        return {"loss": loss, "scores": gold.scores}

    @property
    def _staged(self) -> TwoStage:
        return cast(TwoStage, self.model)
