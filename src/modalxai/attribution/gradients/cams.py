"""Class activation maps on sequences of encoder vectors, in their published forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

from torch import Tensor

from modalxai.attribution.gradients.head import Head
from modalxai.attribution.scales import Scale
from modalxai.protocols import Axiom, Game
from modalxai.types import Attribution


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

    axioms: ClassVar[tuple[Axiom, ...]] = ("null player", "symmetry")

    scale: Scale = "clr"
    against: str = "rival"

    def attribute(self, game: Game, labels: Sequence[str] | None = None) -> Attribution:
        """Units [B, L, T_m] >= 0 and their sums; there is no reference, so residuals are NaN."""
        head = Head(game, labels, self.scale, self.against)

        def units(name: str, gradient: Tensor) -> Tensor:
            features = head.features[name]
            counts = features.mask.sum(-1).clamp(min=1)[:, None]
            alpha = gradient.masked_fill(~features.mask[..., None], 0).sum(-2) / counts
            return (alpha[..., None, :] * features.values.to(alpha.dtype)).sum(-1).relu()

        values = {name: features.values for name, features in head.features.items()}
        prediction, found = head.units(values, units)
        return head.attribution("grad-cam", asdict(self), found, prediction)


@dataclass(frozen=True)
class HiResCAM:
    """Gradient times vector, not averaged first (Draelos and Carin 2020), the published form.

    Unit ``sum_d g_td h_td``, signed. Where the gradient differs from vector to vector, Grad-CAM's
    mean lights up places that the model does not use; this does not. Exact for a linear head but
    for what its bias holds, and so, like Grad-CAM, changed by a constant moved between the head and
    an encoder: `FeatureDifference` is this map with a reference, and is not.

    Parameters
    ----------
    scale, against
        The score that is differentiated, see `modalxai.attribution.scales.on_scale`; the original
        differentiates the raw logit, ``scale="raw"``.
    """

    axioms: ClassVar[tuple[Axiom, ...]] = ("null player", "symmetry", "linearity")

    scale: Scale = "clr"
    against: str = "rival"

    def attribute(self, game: Game, labels: Sequence[str] | None = None) -> Attribution:
        """Units [B, L, T_m] and their sums; there is no reference, so residuals are NaN."""
        head = Head(game, labels, self.scale, self.against)

        def units(name: str, gradient: Tensor) -> Tensor:
            return (gradient * head.features[name].values.to(gradient.dtype)).sum(-1)

        values = {name: features.values for name, features in head.features.items()}
        prediction, found = head.units(values, units)
        return head.attribution("hires-cam", asdict(self), found, prediction)
