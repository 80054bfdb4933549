"""Captum's gradient methods on the encoders' outputs, for the maps that ours give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from modalxai.attribution.scales import on_scale
from modalxai.games.bank import take
from modalxai.interop.optional import require
from modalxai.model import EmotionModel
from modalxai.types import Batch, Features

NODES = 16
"""Of the integral; Captum's default is 50."""


class Tapped(nn.Module):
    """A model whose encoder outputs pass through layers that Captum can look at.

    Captum's Grad-CAM averages gradients over every axis behind the second and sums over the second.
    Vectors lie as [B, T, D]; left so, it would average over their width and sum over time, which is
    no Grad-CAM. So each tap sees [B, D, T].

    Parameters
    ----------
    model, sample
        What is asked, about which sample.
    encoded
        The sample's features, if its owner encodes once and hands Captum the fusion alone; ``None``
        lets every row go through the encoders, as the documentation has it.
    """

    def __init__(
        self,
        model: EmotionModel,
        sample: Mapping[str, Any],
        encoded: Mapping[str, Features] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.taps = nn.ModuleDict({name: nn.Identity() for name in model.modalities})
        self._batch: Batch = model.collate([sample]).to(model.device)
        self._encoded = encoded

    def forward(self, copies: Tensor) -> Tensor:
        """Centred log-ratios [n, L] of n copies of the sample."""
        index = torch.zeros(len(copies), dtype=torch.long, device=self.model.device)
        features = {}
        for name, tap in self.taps.items():
            if self._encoded is None:
                with torch.no_grad():  # what a frozen encoder is
                    found = self.model.encode_one(name, take(dict(self._batch[name]), index))
            else:
                found = take(self._encoded[name], index)
            values = tap(found.values.transpose(1, 2)).transpose(1, 2)
            features[name] = Features(values, found.mask, found.spans)
        return on_scale(self.model.fusion(features).scores, self.model.labels, "clr", None)


def grad_cam(model: EmotionModel, sample: Mapping[str, Any], *, head: bool) -> Tensor:
    """Captum's `LayerGradCam` of all labels, its maps summed over time: [L, M].

    One call for each modality, whose batch has a row for each label.

    Parameters
    ----------
    model, sample
        What is asked, about which sample.
    head
        Encode once and give Captum the fusion alone.
    """
    encoded = _encoded(model, sample) if head else None
    tapped = Tapped(model, sample, encoded)
    every = torch.arange(len(model.labels), device=model.device)
    totals = []
    for tap in tapped.taps.values():
        explainer = require("captum.attr").LayerGradCam(tapped, tap)
        copies = torch.zeros(len(every), device=model.device)
        found: Tensor = explainer.attribute(copies, target=every, relu_attributions=True)
        totals.append(found.detach().sum((1, 2)))
    return torch.stack(totals, dim=-1).cpu()


def integrated_gradients(
    model: EmotionModel, sample: Mapping[str, Any], references: Sequence[Tensor]
) -> Tensor:
    """Captum's `IntegratedGradients` of the fusion, from references [D_m] to the encodings: [L, M].

    The encodings are computed once and given to Captum as inputs, which its documentation leaves to
    the user; given the whole model it would integrate from another input, along another path.
    """
    encoded = _encoded(model, sample)
    names = list(encoded)
    labels = len(model.labels)

    def scores(*values: Tensor) -> Tensor:
        index = torch.zeros(len(values[0]), dtype=torch.long, device=model.device)
        features = {}
        for name, value in zip(names, values, strict=True):
            found = take(encoded[name], index)
            # A view, because torch's FLOP counter refuses leaves.
            features[name] = Features(value.view_as(value), found.mask, found.spans)
        return on_scale(model.fusion(features).scores, model.labels, "clr", None)

    ends = tuple(encoded[name].values.expand(labels, -1, -1).clone() for name in names)
    starts = tuple(
        reference.to(end).expand_as(end).clone()
        for reference, end in zip(references, ends, strict=True)
    )
    found = (
        require("captum.attr")
        .IntegratedGradients(scores)
        .attribute(
            ends,
            baselines=starts,
            target=torch.arange(labels, device=model.device),
            n_steps=NODES,
            method="gausslegendre",
        )
    )
    return torch.stack([part.detach().sum((1, 2)) for part in found], dim=-1).cpu()


def _encoded(model: EmotionModel, sample: Mapping[str, Any]) -> dict[str, Features]:
    with torch.no_grad():
        return model.encode(model.collate([sample]).to(model.device))
