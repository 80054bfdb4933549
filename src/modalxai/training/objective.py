"""Model and loss as one module, so that whatever wraps it sees a single forward."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from modalxai.errors import InputError, ModalxaiError
from modalxai.types import Batch, Prediction, Targets


class Objective(nn.Module):
    """``step(**batch)`` gives the loss of a batch and its scores.

    DistributedDataParallel, Accelerate and the transformers Trainer prepare what goes in and
    synchronise what comes out of one ``forward``. A loss that is computed outside of it, or a
    model entered through another method, escapes them.

    Parameters
    ----------
    model
        Takes a `modalxai.Batch`, returns a `modalxai.Prediction`.
    loss
        Takes the prediction and its `Targets`, returns a single number, [].

    Examples
    --------
    ::

        step = DistributedDataParallel(Objective(model, EmotionLoss()))
        for batch in loader:
            step(**batch.to(device))["loss"].backward()
    """

    accepts_loss_kwargs = False
    """Told to the Trainer, which else takes ``**batch`` as leave to add ``num_items_in_batch``, and
    leaves the division by the accumulated steps to the model."""

    def __init__(self, model: nn.Module, loss: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, **batch: Any) -> dict[str, Tensor]:
        """One batch, as keywords: an `Inputs` per modality, ``targets``, ``columns``, ``ids``.

        Parameters
        ----------
        **batch
            The entries of a `Batch`; ``targets`` is a `Targets`, or its two tensors in a tuple or
            list, which is what wrappers leave of it.

        Returns
        -------
        dict
            ``"loss"`` [] and the raw ``"scores"`` [B, K].

        Raises
        ------
        InputError
            No usable ``targets``, or what the model or the loss refuse; a fault in the targets of
            one sample names the sample.
        """
        made = Batch(batch)
        targets = targets_of(made)
        prediction = self.model(made)
        return {"loss": self.supervised(prediction, targets, made), "scores": prediction.scores}

    def supervised(self, prediction: Prediction, targets: Targets, batch: Batch) -> Tensor:
        """The loss, []; what it refuses in the targets of one sample names the sample."""
        try:
            loss: Tensor = self.loss(prediction, targets)
        except ModalxaiError as error:
            ids = batch.get("ids", ())
            # torch's DataParallel hands every replica all the ids; then no row can be named.
            if error.index is None or len(ids) != len(prediction.scores):
                raise
            raise error.at(f"sample {ids[error.index]!r}", error.index) from error
        return loss


def targets_of(batch: Batch) -> Targets:
    """The targets of a batch, whatever wrappers left of their type.

    Raises
    ------
    InputError
        None there, or not two tensors.
    """
    if "targets" not in batch:
        raise InputError(
            "the batch has no targets",
            expected='an entry "targets": values and mask, each [B, K]',
            got=f"a batch of {list(batch)}",
            mend="call step(**model.collate(samples)) with samples that carry labels",
        )
    found = batch["targets"]
    pair = isinstance(found, tuple | list) and len(found) == 2
    if not pair or not all(isinstance(part, Tensor) for part in found):
        raise InputError(
            "the batch has unusable targets",
            expected="Targets(values, mask): two tensors, each [B, K]",
            got=type(found).__name__,
            mend="use what model.collate made, or modalxai.types.Targets",
        )
    return Targets(*found)
