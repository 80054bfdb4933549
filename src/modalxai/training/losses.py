"""One loss over mixed kinds of labels, some of them missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from modalxai.errors import InputError
from modalxai.training import terms
from modalxai.training.target_checks import check_shapes, check_values
from modalxai.training.uncertainty import LearnedWeights
from modalxai.types import KINDS, LabelKind, Labels, Prediction, Targets, check_labels, columns

Regression = Literal["mse", "ccc"]
REGRESSIONS = {"mse": terms.squared_error, "ccc": terms.discordance}


class EmotionLoss(nn.Module):
    """Cross-entropy, binary cross-entropy and regression, each over what is annotated.

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
        kind out. ``"learned"`` learns one weight per kind, see
        `modalxai.training.uncertainty.LearnedWeights`: it needs ``labels``, and an optimizer that
        holds the parameters of the loss too (those of an `Objective` are both).
    check
        Look at the values of the targets, which makes the host wait for the device once per step.
        Graphs captured by torch.compile never look.
    gamma
        Focus, 0 or more, of categorical and binary labels on what is not yet told well: the focal
        loss of Lin et al. (2017), 2 in the paper; 0 turns it off.
    dimensional
        ``"mse"``, the squared error; ``"ccc"``, one minus the concordance correlation coefficient
        of each label (see `modalxai.training.terms.discordance`), which is a property of a batch
        and wants large ones; or the weight of each, ``{"mse": 0.5, "ccc": 1.0}``.

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
        task_weights: Mapping[str, float] | Literal["learned"] | None = None,
        check: bool = True,
        gamma: float = 0.0,
        dimensional: Regression | Mapping[str, float] = "mse",
    ) -> None:
        super().__init__()
        self.labels = labels
        self.label_smoothing = _smoothing(label_smoothing)
        self.task_weights = _task_weights(task_weights)
        self.check = check
        self.gamma = _gamma(gamma)
        self.dimensional = _regressions(dimensional)
        # Not part of the state: a setting, not something learnt.
        self.register_buffer("class_weights", _class_weights(class_weights), persistent=False)
        if labels is not None:
            check_labels(labels)
            self._check_class_weights(labels)
        self.learned = None if task_weights != "learned" else LearnedWeights(_kinds(labels))

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
            A single number, [], 0 or more; of any sign with learned weights.

        Raises
        ------
        InputError
            Other labels than expected, shapes or types that do not fit, or (with ``check``)
            annotated values outside the ranges above; its ``index`` is the sample's row.
        """
        self._check_labels(prediction.labels)
        check_shapes(prediction, targets)
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
                mask = targets.mask[:, found]
                part = self._part(kind, scores[:, found], values[:, found], mask)
                if self.learned is not None:
                    part = self.learned(kind, part, mask.any())
                total = total + weight * part
        return total

    def _part(self, kind: LabelKind, scores: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        if kind == "categorical":
            return terms.categorical(
                scores, values, mask, self.class_weights, self.label_smoothing, self.gamma
            )
        if kind == "binary":
            return terms.binary(scores, values, mask, self.gamma)
        return torch.stack(
            [
                weight * REGRESSIONS[name](scores, values, mask)
                for name, weight in self.dimensional.items()
            ]
        ).sum()

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


def _smoothing(label_smoothing: float) -> float:
    if not 0 <= label_smoothing < 1:
        raise InputError(
            "label smoothing out of range",
            expected="0 to below 1",
            got=repr(label_smoothing),
            mend="0.1 is usual, 0 turns it off",
        )
    return float(label_smoothing)


def _gamma(gamma: float) -> float:
    if not 0 <= gamma < math.inf:
        raise InputError(
            "the focus of the focal loss is out of range",
            expected="a finite number of 0 or more",
            got=repr(gamma),
            mend="2 is usual, 0 turns it off",
        )
    return float(gamma)


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


def _task_weights(weights: Mapping[str, float] | str | None) -> dict[LabelKind, float]:
    given = {} if weights is None or weights == "learned" else weights
    if not isinstance(given, Mapping) or not _usable(given, KINDS):
        raise InputError(
            "unusable task weights",
            expected=f"'learned', or finite numbers of 0 or more by kind of label: {list(KINDS)}",
            got=repr(given if isinstance(given, str) else dict(given)),
            mend='write task_weights={"dimensional": 0.5}; kinds not named weigh 1',
        )
    return {kind: float(given.get(kind, 1.0)) for kind in KINDS}


def _regressions(asked: str | Mapping[str, float]) -> dict[str, float]:
    given = {asked: 1.0} if isinstance(asked, str) else dict(asked)
    if not any(given.values()) or not _usable(given, tuple(REGRESSIONS)):
        raise InputError(
            "unknown loss of dimensional labels",
            expected=f"one of {list(REGRESSIONS)}, or a weight of 0 or more for some of them",
            got=repr(asked),
            mend='write dimensional="ccc", or dimensional={"mse": 0.5, "ccc": 1.0}',
        )
    return {name: float(weight) for name, weight in given.items() if weight}


def _usable(weights: Mapping[str, float], names: Sequence[str]) -> bool:
    return set(weights) <= set(names) and all(
        math.isfinite(weight) and weight >= 0 for weight in weights.values()
    )


def _kinds(labels: Labels | None) -> list[LabelKind]:
    if labels is None:
        raise InputError(
            "learned task weights without labels",
            expected="the labels, so that each kind has its weight before training starts",
            got="labels=None",
            mend='write EmotionLoss(model.labels, task_weights="learned")',
        )
    return [kind for kind in KINDS if columns(labels, kind)]
