"""Numbers by coalition: dividends and interactions of every order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from modalxai.errors import InputError
from modalxai.types import Labels, Provenance


@dataclass(frozen=True, eq=False)
class Terms:
    """What each coalition of modalities contributes beyond its parts.

    Parameters
    ----------
    sample_ids, labels, modalities
        N names, the L explained labels, M names.
    coalitions
        C sets of modalities, each in the model's order.
    values
        Float [N, L, C], exactly 0 where a sample lacks one of the modalities.
    se
        Standard errors of ``values``; 0 where the removal is not random.
    provenance
        See `modalxai.types.Provenance`.
    """

    sample_ids: tuple[str, ...]
    labels: Labels
    modalities: tuple[str, ...]
    coalitions: tuple[tuple[str, ...], ...]
    values: Tensor
    se: Tensor
    provenance: Provenance

    def of(self, *modalities: str) -> Tensor:
        """The term of one coalition, [N, L]; the order of the names does not matter.

        Raises
        ------
        InputError
            A coalition that has no term here.
        """
        asked = tuple(name for name in self.modalities if name in modalities)
        if asked not in self.coalitions or len(asked) != len(modalities):
            raise InputError(
                "no such coalition",
                expected=f"some of {list(self.modalities)}, up to the order that was asked for",
                got=repr(modalities),
                mend="see .coalitions",
            )
        return self.values[..., self.coalitions.index(asked)]

    def order_shares(self) -> Tensor:
        """How much is of order 1, 2, ..., M, [N, L, M] in 0..1; NaN where nothing changes.

        ``sum_{|S|=k} |m(S)| / sum_{|S|>=1} |m(S)|``, of dividends; what a model of order 2 leaves
        out is in the columns from the third on.
        """
        amounts = [self._amount([size]) for size in range(1, len(self.modalities) + 1)]
        return torch.stack(amounts, dim=-1) / self._whole()[..., None]

    def interaction_share(self) -> Tensor:
        """How much is not of single modalities, [N, L] in 0..1; NaN where nothing changes.

        ``sum_{|S|>=2} |m(S)| / sum_{|S|>=1} |m(S)|``. It depends on the scale.
        """
        return self._amount(range(2, len(self.modalities) + 1)) / self._whole()

    def _whole(self) -> Tensor:
        whole = self._amount(range(1, len(self.modalities) + 1))
        return whole.masked_fill(whole == 0, torch.nan)

    def _amount(self, sizes: Iterable[int]) -> Tensor:
        chosen = [c for c, names in enumerate(self.coalitions) if len(names) in set(sizes)]
        return self.values[..., chosen].abs().sum(-1)
