"""Captum's methods on the fusion of a game, with the right axes and masks."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modalxai.attribution.gradients.head import Head, placed
from modalxai.attribution.scales import Scale
from modalxai.audio import seed_for
from modalxai.errors import InputError
from modalxai.protocols import FactoredGame, Game, Selectable
from modalxai.types import Attribution

REFERRED = ("IntegratedGradients", "GradientShap", "FeatureAblation")
"""Methods that compare with the game's reference."""
METHODS = ("InputXGradient", "Saliency", *REFERRED)


@dataclass(frozen=True)
class CaptumMethod:
    """A method of Captum (Kokhlikyan et al. 2020) on what the encoders give to the fusion.

    Captum's own layer methods average and sum over the wrong axes of [B, T, D] and know no masks.
    Here the vectors are the inputs, D is summed, and padding is 0. Captum runs for one sample and
    label at a time: for a second opinion, not for speed.

    Parameters
    ----------
    method
        The name of one of Captum's classes, or the class: ``InputXGradient``, ``Saliency``
        (magnitudes of gradients), ``IntegratedGradients``, ``GradientShap`` or
        ``FeatureAblation`` (one vector at a time, all of D together). Not ``DeepLift``: it
        replaces the gradients of the modules that compute nonlinearities, and fusions compute
        them by functions, so it would give gradient times difference and say nothing.
    scale, against
        The score that is explained, see `modalxai.attribution.scales.on_scale`.
    settings
        For the class's ``attribute``, json values: ``{"n_steps": 50}``.

    Raises
    ------
    InputError
        A method that is not offered.
    """

    method: str = "IntegratedGradients"
    scale: Scale = "clr"
    against: str = "rival"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        asked: Any = self.method
        name = asked.__name__ if isinstance(asked, type) else asked
        if name not in METHODS:
            raise InputError(
                "a method of Captum that is not offered",
                expected=f"one of {list(METHODS)}",
                got=repr(name),
                mend="use IntegratedGradients or feature-difference in place of DeepLift",
            )
        object.__setattr__(self, "method", name)

    def attribute(self, game: Game, labels: Sequence[str] | None = None) -> Attribution:
        """Units [B, L, T_m], sums over D, and their sums.

        ``reference`` is the score at the game's reference for the methods that have one, NaN for
        the others; ``se`` is NaN where the method draws.

        Raises
        ------
        InputError
            A game without encoders' outputs, or one whose samples cannot be asked about singly.
        """
        if not (isinstance(game, FactoredGame) and isinstance(game, Selectable)):
            raise InputError(
                "Captum's methods need the encoders' outputs, sample by sample",
                expected="a game with encode, fuse and select, such as model.game(batch)",
                got=type(game).__name__,
                mend="use modality-shapley or modality-ablation on a black box",
            )
        rows = range(len(game.sample_ids))
        return Attribution.merge([self._one(game.select([row]), labels) for row in rows])

    def _one(self, game: Game, labels: Sequence[str] | None) -> Attribution:
        """The result of a game of one sample."""
        from captum import attr

        head = Head(game, labels, self.scale, self.against)
        names = tuple(head.features)
        with torch.no_grad():
            prediction = head.scores(head.features)

        def scores(*values: Tensor) -> Tensor:
            pairs = zip(names, values, strict=True)
            return head.scores({name: placed(head.features[name], one) for name, one in pairs})

        inputs = tuple(features.values for features in head.features.values())
        given: dict[str, Any] = dict(self.settings)
        reference = None
        if self.method in REFERRED:
            away = head.differences()
            pairs = zip(names, inputs, strict=True)
            given["baselines"] = tuple(one - away[name] for name, one in pairs)
            with torch.no_grad():
                reference = scores(*given["baselines"])
        if self.method == "FeatureAblation":
            given["feature_mask"] = _vectors(head)
        method = getattr(attr, self.method)(scores)
        # Inside the caller's inference_mode nothing would be recorded.
        with torch.inference_mode(False), torch.enable_grad(), _seeded(game, prediction.device):
            every = [
                method.attribute(
                    tuple(one.detach().requires_grad_() for one in inputs), target=column, **given
                )
                for column in range(prediction.shape[1])
            ]
        # An ablation moves a whole vector, and is written at each of its D values.
        whole = self.method == "FeatureAblation"
        units = {}
        for index, name in enumerate(names):
            found = torch.stack([label[index] for label in every], dim=1).detach()
            units[name] = (found[..., 0] if whole else found.sum(-1)).to(prediction.dtype)
        params = {"method": self.method, "against": self.against, "settings": dict(self.settings)}
        return head.attribution(
            "captum", params, units, prediction, reference, drawn=self.method == "GradientShap"
        )


def _vectors(head: Head) -> tuple[Tensor, ...]:
    """Captum's feature masks: one feature for each real vector, one for all padding."""
    masks, count = [], 1
    for features in head.features.values():
        real = features.mask.long()
        numbers = (real.cumsum(1) + count - 1) * real
        masks.append(numbers[..., None].expand_as(features.values))
        count += int(real.sum())
    return tuple(masks)


@contextmanager
def _seeded(game: Game, device: torch.device) -> Iterator[None]:
    """Every generator seeded by the sample's id, because Captum draws from the global ones."""
    seed = seed_for(game.sample_ids[0], game.settings["seed"])
    before, numbers = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
        finally:
            random.setstate(before)
            np.random.set_state(numbers)
