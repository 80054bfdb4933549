"""MM-SHAP: the share of a modality among the magnitudes of its tokens' Shapley values."""

from __future__ import annotations

import torch
from torch import Tensor

from modalxai.errors import InputError
from modalxai.types import Attribution


def mm_shap(attribution: Attribution) -> Tensor:
    """MM-SHAP shares [B, L, M] in 0..1 (Parcalabescu & Frank 2023, equation 3).

    ``sum_i |phi_i|`` over a modality's players, divided by that over all players. It does not
    cancel signs, grows with the number of players and with the noise of each, so it is kept for
    comparison with published figures only. NaN where every value is 0.

    Parameters
    ----------
    attribution
        Of `UnitShapley` with every modality divided.

    Raises
    ------
    InputError
        A modality without units.
    """
    missing = [name for name in attribution.modalities if name not in attribution.units]
    if missing:
        raise InputError(
            f"no units of {missing}",
            expected="values of words and moments of every modality",
            got=f"units of {list(attribution.units)}",
            mend="divide every modality: UnitShapley(players={...})",
        )
    magnitudes = torch.stack(
        [attribution.units[name].abs().sum(-1) for name in attribution.modalities], dim=-1
    )
    whole = magnitudes.sum(-1, keepdim=True)
    return magnitudes / whole.masked_fill(whole == 0, torch.nan)
