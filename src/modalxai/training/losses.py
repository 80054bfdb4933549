"""One loss over mixed kinds of labels, some of them missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalxai.errors import InputError
from modalxai.types import KINDS, LabelKind, Labels, Prediction, Targets, check_labels, columns

SHARE_TOLERANCE = 1e-2
"""How far class shares may miss a sum of 1: DeepSpeed rounds targets to bfloat16, .002 off."""


class EmotionLoss(nn.Module):
    """Cross-entropy, binary cross-entropy and squared error, each over what is annotated.

    Every kind of label gives one mean over its annotated samples (categorical) or cells (binary,
    dimensional) of the batch; the loss is their sum, weighted by ``task_weights``. What is not
    annotated has no part in it, whatever its target holds (NaN included), and gets no gradient.
    A batch with nothing annotated gives exactly 0, and zero gradients, so that every rank of a
    distributed run still takes part in the backward pass.

    The means are those of one rank: with DistributedDataParallel, whose ranks count equally, a
    rank with few annotations weighs as much as one with many.

    Parameters
    ----------
    labels
        The labels to expect. ``None`` accepts those of any prediction, and then
        ``class_weights`` are compared with the labels at the first call only.
    class_weights
        One positive weight per categorical label, in the order of the labels. As in PyTorch, the
        mean is divided by the sum of the weights of the true classes (for soft labels: by the
        sum of weight times share), so that only their ratios matter.
    label_smoothing
        Share, 0 to below 1, of every categorical target that is spread evenly over the classes.
    task_weights
        Weight, 0 or more, by kind of label; a kind that is not named weighs 1, and 0 leaves a
        kind out.
    check
        Look at the values of the targets, which makes the host wait for the device once per step.
        Graphs captured by torch.compile never look.

    Raises
    ------
    InputError
        A setting outside these ranges, or class weights that do not fit the labels.

    Examples
    --------
    >>> from modalxai.types import labels
    >>> loss = EmotionLoss()
    >>> prediction = Prediction(torch.zeros(1, 2), labels("anger", "joy"))
    >>> loss(prediction, Targets(torch.tensor([[1.0, 0.0]]), torch.ones(1, 2, dtype=torch.bool)))
    tensor(0.6931)
    """

    class_weights: Tensor | None

    def __init__(
        self,
        labels: Labels | None = None,
        class_weights: Sequence[float] | Tensor | None = None,
        label_smoothing: float = 0.0,
        task_weights: Mapping[str, float] | None = None,
        check: bool = True,
    ) -> None:
        super().__init__()
        self.labels = labels
        self.label_smoothing = _smoothing(label_smoothing)
        self.task_weights = _task_weights(task_weights or {})
        self.check = check
        # Not part of the state: a setting, not something learnt.
        self.register_buffer("class_weights", _class_weights(class_weights), persistent=False)
        if labels is not None:
            check_labels(labels)
            self._check_class_weights(labels)

    def forward(self, prediction: Prediction, targets: Targets) -> Tensor:
        """The loss of one batch.

        Parameters
        ----------
        prediction
            Raw scores [B, K], any float type; the loss is computed in float32 or wider, also
            under autocast.
        targets
            Values [B, K]: class shares that sum to 1 over the categorical columns, 0 to 1 for
            binary ones, any finite number for dimensional ones. Mask, bool [B, K]. The
            categorical columns of a sample are annotated all together or not at all.

        Returns
        -------
        Tensor
            A single number, [], 0 or more.

        Raises
        ------
        InputError
            Other labels than expected, shapes or types that do not fit, or (with ``check``)
            annotated values outside the ranges above; its ``index`` is the sample's row.
        """
        self._check_labels(prediction.labels)
        _check_shapes(prediction, targets)
        if self.check and not torch.compiler.is_compiling():
            check_values(prediction.labels, targets)
        wide = torch.promote_types(prediction.scores.dtype, torch.float32)
        with torch.autocast(prediction.scores.device.type, enabled=False):
            scores, values = prediction.scores.to(wide), targets.values.to(wide)
            # A sum over nothing: exactly 0, and a graph even where no kind adds to it.
            total = scores[:, :0].sum()
            for kind, weight in self.task_weights.items():
                found = columns(prediction.labels, kind)
                if not found or not weight:
                    continue
                cells = scores[:, found], values[:, found], targets.mask[:, found]
                if kind == "categorical":
                    part = categorical(*cells, self.class_weights, self.label_smoothing)
                else:
                    part = binary(*cells) if kind == "binary" else dimensional(*cells)
                total = total + weight * part
        return total

    def _check_labels(self, found: Labels) -> None:
        if self.labels is None:
            self._check_class_weights(found)
        elif found != self.labels:
            raise InputError(
                "the prediction has other labels than the loss",
                expected=str([label.name for label in self.labels]),
                got=str([label.name for label in found]),
                mend="make the loss with the labels of the model, or with none",
            )

    def _check_class_weights(self, found: Labels) -> None:
        names = [found[index].name for index in columns(found, "categorical")]
        if self.class_weights is not None and len(self.class_weights) != len(names):
            raise InputError(
                "the class weights do not fit the labels",
                expected=f"{len(names)} weights, for {names}",
                got=str(len(self.class_weights)),
                mend="give one weight per categorical label, in their order",
            )


def categorical(
    scores: Tensor,
    shares: Tensor,
    mask: Tensor,
    weights: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy with class shares, all [B, C], averaged over the annotated samples.

    ``torch.nn.functional.cross_entropy`` of the class numbers where the shares are one-hot, its
    weighted mean and its label smoothing included. PyTorch divides by the weights for class
    numbers but not for class shares; here the first rule holds for both.
    """
    known = mask.all(1)
    # Filled before the softmax: nothing, not even a NaN, reaches the sum or the gradient.
    scores, shares = scores.masked_fill(~known[:, None], 0), shares.masked_fill(~known[:, None], 0)
    weight = None if weights is None else weights.to(scores.dtype)
    losses = F.cross_entropy(
        scores, shares, weight=weight, label_smoothing=smoothing, reduction="none"
    )
    counts = known.to(scores.dtype) if weight is None else shares @ weight
    return _mean(losses.masked_fill(~known, 0), counts)


def binary(scores: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy with logits, all [B, C], averaged over the annotated cells."""
    scores, values = scores.masked_fill(~mask, 0), values.masked_fill(~mask, 0)
    losses = F.binary_cross_entropy_with_logits(scores, values, reduction="none")
    return _mean(losses.masked_fill(~mask, 0), mask.to(scores.dtype))


def dimensional(scores: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Squared error, all [B, C], averaged over the annotated cells."""
    errors = (scores - values).masked_fill(~mask, 0)
    return _mean(errors.square(), mask.to(scores.dtype))


def _mean(losses: Tensor, counts: Tensor) -> Tensor:
    count = counts.sum()
    return losses.sum() / torch.where(count > 0, count, 1)


def check_values(labels: Labels, targets: Targets) -> None:
    """Refuse annotated values that their kind of label cannot have.

    One look at the device; the rest happens only when something is wrong.

    Raises
    ------
    InputError
        Names the first faulty row, which is also its ``index``.
    """
    faults = _faults(labels, targets)
    wrong = torch.stack([fault.any() for fault, _, _ in faults])
    if not bool(wrong.any()):
        return
    fault, meaning, expected = faults[int(wrong.int().argmax())]
    row = int(fault.int().argmax())
    raise InputError(
        meaning,
        expected=expected,
        got=f"row {row}: values {targets.values[row].tolist()}, mask {targets.mask[row].tolist()}",
        mend="correct the labels of this sample, or set their mask to False",
        index=row,
    )


def _faults(labels: Labels, targets: Targets) -> list[tuple[Tensor, str, str]]:
    """Per rule: the rows that break it (bool [B]), what is wrong, what was expected."""
    classes, tags, numbers = (columns(labels, kind) for kind in KINDS)
    values, mask = targets.values.float(), targets.mask
    known, shares = mask[:, classes], values[:, classes]
    whole = known.all(1) & known.any(1)
    # Written so that NaN, which compares False, counts as a fault.
    fits = (shares >= 0).all(1) & ((shares.sum(1) - 1).abs() <= SHARE_TOLERANCE)
    between = (values[:, tags] >= 0) & (values[:, tags] <= 1)
    return [
        (
            known.any(1) & ~whole,
            "only some of a sample's categorical labels are annotated",
            "all of them or none",
        ),
        (whole & ~fits, "the class shares are no distribution", "0 or more each, 1 together"),
        ((mask[:, tags] & ~between).any(1), "a binary label is out of range", "0 to 1"),
        (
            (mask[:, numbers] & ~values[:, numbers].isfinite()).any(1),
            "a dimensional label is not finite",
            "a finite number",
        ),
    ]


def _check_shapes(prediction: Prediction, targets: Targets) -> None:
    scores, (values, mask) = prediction.scores, targets
    shape = [len(scores), len(prediction.labels)]
    for name, tensor in (("scores", scores), ("target values", values), ("target mask", mask)):
        if list(tensor.shape) != shape:
            raise InputError(
                f"the {name} do not fit the labels",
                expected=f"shape [B, K] = {shape}",
                got=str(list(tensor.shape)),
                mend="give one row per sample and one column per label",
            )
    if mask.dtype != torch.bool or not scores.is_floating_point():
        raise InputError(
            "scores or targets of a wrong type",
            expected="scores of a float type, mask of torch.bool",
            got=f"{scores.dtype}, {mask.dtype}",
            mend="write mask.bool(), True where a label is annotated",
        )


def _smoothing(label_smoothing: float) -> float:
    if not 0 <= label_smoothing < 1:
        raise InputError(
            "label smoothing out of range",
            expected="0 to below 1",
            got=repr(label_smoothing),
            mend="0.1 is usual, 0 turns it off",
        )
    return float(label_smoothing)


def _class_weights(weights: Sequence[float] | Tensor | None) -> Tensor | None:
    if weights is None:
        return None
    made = torch.as_tensor(weights, dtype=torch.float32).detach().clone()
    if made.dim() != 1 or not bool(((made > 0) & made.isfinite()).all()):
        raise InputError(
            "unusable class weights",
            expected="one positive finite number per categorical label",
            got=str(made.tolist()),
            mend="to leave samples out, set their mask to False",
        )
    return made


def _task_weights(weights: Mapping[str, float]) -> dict[LabelKind, float]:
    usable = all(math.isfinite(weight) and weight >= 0 for weight in weights.values())
    if not usable or not set(weights) <= set(KINDS):
        raise InputError(
            "unusable task weights",
            expected=f"finite numbers of 0 or more, by kind of label: {list(KINDS)}",
            got=str(dict(weights)),
            mend='write task_weights={"dimensional": 0.5}; kinds not named weigh 1',
        )
    return {kind: float(weights.get(kind, 1.0)) for kind in KINDS}
