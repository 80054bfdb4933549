"""Attributors that follow gradients from a label's score back to the encoders' output vectors.

No gradient enters an encoder: all labels cost one encoding and one small backward pass each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modalxai import masking
from modalxai.attribution.scales import Scale, on_scale, rivals_of
from modalxai.errors import InputError
from modalxai.protocols import FactoredGame, Game
from modalxai.types import Attribution, Features, Provenance, select


@dataclass(frozen=True)
class GradCAM:
    """Grad-CAM on the sequence of encoder vectors (Selvaraju et al. 2017), the published form.

    ``alpha_d = mean_t g_td``, unit ``relu(sum_d alpha_d h_td)``, total the sum of units, with g the
    gradient of the label's score and t over real vectors. Kept because papers report it; its shares
    are not a property of the model: moving a constant from the head's bias into an encoder's output
    changes them and no prediction. `FeatureDifference` does not have this flaw.

    Parameters
    ----------
    scale, against
        The score that is differentiated, see `modalxai.attribution.scales.on_scale`; the original
        differentiates the raw logit, ``scale="raw"``.
    """

    scale: Scale = "clr"
    against: str = "rival"

    def attribute(self, game: Game, labels: Sequence[str] | None = None) -> Attribution:
        """Units [B, L, T_m] >= 0 and their sums; there is no reference, so residuals are NaN."""
        found = _differentiate(game, labels, self.scale, self.against)
        units = {}
        for name, features in found.features.items():
            values = features.values.to(found.prediction.dtype)
            units[name] = torch.stack(
                [
                    (masking.mean(gradient[name], features.mask)[:, None] * values).sum(-1)
                    for gradient in found.gradients
                ],
                dim=1,
            ).relu()
        return found.attribution("grad-cam", asdict(self), units)


@dataclass(frozen=True)
class FeatureDifference:
    """Gradient times the difference from the removed encoding, summed over time.

    ``R_t = sum_d g_td (h_td - h0_td)``: the first-order term of the ablation delta, and unchanged
    by any constant moved between an encoder and the head. Exact for a linear head.

    h0 is the removed encoding where its units match, the fusion's ``missing`` vector under
    "absent", the background's mean under "mean".

    Parameters
    ----------
    scale, against
        The score that is differentiated, see `modalxai.attribution.scales.on_scale`.
    """

    scale: Scale = "clr"
    against: str = "rival"

    def attribute(self, game: Game, labels: Sequence[str] | None = None) -> Attribution:
        """Units [B, L, T_m] and their sums; the residual is what is not linear in the head."""
        found = _differentiate(game, labels, self.scale, self.against)
        units = {}
        for name, features in found.features.items():
            difference = (features.values - found.game.reference(name)).to(found.prediction.dtype)
            difference = masking.blank(difference, features.mask)
            units[name] = torch.stack(
                [(g[name] * difference).sum(-1) for g in found.gradients], dim=1
            )
        nothing = {
            name: torch.zeros_like(spans.start, dtype=torch.bool)
            for name, spans in game.players.items()
        }
        empty = on_scale(game.value(nothing), game.labels, self.scale, found.rivals)
        reference = empty.mean(0)[:, found.chosen]
        result = found.attribution("feature-difference", asdict(self), units)
        return replace(result, reference=reference)


@dataclass(frozen=True, eq=False)
class _Derivatives:
    """One pass through the fusion and the gradient of each chosen label, [B, T, D] by modality."""

    game: FactoredGame
    chosen: list[int]
    rivals: Tensor
    features: Mapping[str, Features]
    prediction: Tensor
    gradients: list[dict[str, Tensor]]

    def attribution(
        self, name: str, params: dict[str, object], units: dict[str, Tensor]
    ) -> Attribution:
        scale = str(params.pop("scale"))
        if scale != "contrast":
            params.pop("against")
        units = {
            key: value.masked_fill(~self.features[key].mask[:, None, :], 0)
            for key, value in units.items()
        }
        totals = torch.stack([units[key].sum(-1) for key in self.game.modalities], dim=-1)
        return Attribution(
            sample_ids=self.game.sample_ids,
            labels=tuple(self.game.labels[column] for column in self.chosen),
            modalities=self.game.modalities,
            present=self.game.present,
            totals=totals,
            units=units,
            pairs={},
            se=torch.zeros_like(totals),
            mask={key: features.mask for key, features in self.features.items()},
            spans={key: features.spans for key, features in self.features.items()},
            prediction=self.prediction,
            reference=torch.full_like(self.prediction, float("nan")),
            provenance=Provenance(
                attributor=name,
                params=params,
                scale=scale,
                level=self.game.level,
                **self.game.settings,
            ),
        )


def _differentiate(
    game: Game, labels: Sequence[str] | None, scale: str, against: str
) -> _Derivatives:
    if not isinstance(game, FactoredGame):
        raise InputError(
            "gradients need the encoders' outputs",
            expected="a game with encode and fuse, such as model.game(batch)",
            got=type(game).__name__,
            mend="use modality-shapley or modality-ablation on a black box",
        )
    chosen = select(game.labels, labels)
    features, leaves = {}, []
    # Inside the caller's inference_mode nothing would be recorded, and every gradient be 0.
    with torch.inference_mode(False), torch.enable_grad():
        for name in game.modalities:
            encoded = pytree.tree_map(_recordable, game.encode(name))
            leaf = encoded.values.detach().requires_grad_()
            leaves.append(leaf)
            # The fusion sees a view: torch's module tracker (its FLOP counter) refuses leaves.
            features[name] = replace(encoded, values=leaf.view_as(leaf))
        scores = game.fuse(features).scores
        rivals = rivals_of(scores.detach(), game.labels, against)
        values = on_scale(scores, game.labels, scale, rivals)[:, chosen]
        # Rows do not see each other, so the sum over the batch gives every row its own gradient.
        sums = values.sum(0).unbind()
    gradients = []
    for index, value in enumerate(sums):
        last = index + 1 == len(sums)
        found: Sequence[Tensor | None] = [None] * len(leaves)
        if values.requires_grad:  # else the fusion reads none of the features
            found = torch.autograd.grad(value, leaves, retain_graph=not last, allow_unused=True)
        gradients.append(
            {
                name: torch.zeros_like(leaf) if gradient is None else gradient
                for name, leaf, gradient in zip(features, leaves, found, strict=True)
            }
        )
        gradients[-1] = {name: g.to(values.dtype) for name, g in gradients[-1].items()}
    detached = {name: replace(f, values=f.values.detach()) for name, f in features.items()}
    return _Derivatives(game, chosen, rivals, detached, values.detach(), gradients)


def _recordable(tensor: Tensor) -> Tensor:
    """A tensor made in inference_mode cannot be saved for a backward pass; its copy can."""
    return tensor.clone() if tensor.is_inference() else tensor
