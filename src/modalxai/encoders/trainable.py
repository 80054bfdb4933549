"""Which weights of an encoder learn; what is frozen stays in eval under ``train()``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from torch import nn

from modalxai.errors import InputError

Trainable = Literal["none", "all"] | int


class PartlyTrainable(nn.Module):
    """A module some of whose children may be frozen."""

    def train_only(self, trainable: Trainable, layers: Sequence[nn.Module]) -> None:
        """Freeze by ``requires_grad``.

        Parameters
        ----------
        trainable
            ``"none"``, ``"all"``, or how many of the top layers learn.
        layers
            The layers from bottom to top.

        Raises
        ------
        InputError
            Anything else, or more layers than there are.
        """
        if trainable not in ("none", "all", *range(len(layers) + 1)) or isinstance(
            trainable, bool | float
        ):
            raise InputError(
                "unknown choice of trainable layers",
                expected=f"'none', 'all' or a number of top layers from 0 to {len(layers)}",
                got=repr(trainable),
                mend="write trainable='none', trainable='all' or trainable=2",
            )
        self.requires_grad_(trainable == "all")
        if isinstance(trainable, int) and trainable:
            for layer in layers[-trainable:]:
                layer.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Like ``nn.Module.train``, except that modules without a trainable weight stay in eval."""
        super().train(mode)
        if mode:
            settle(self)
        return self


def settle(module: nn.Module, learns: bool = True) -> None:
    """Put every child whose weights are all frozen into eval; the rest stays as it is."""
    for child in module.children():
        # A child without weights (dropout, an activation) follows its parent.
        weights = list(child.parameters())
        child_learns = any(weight.requires_grad for weight in weights) if weights else learns
        if not child_learns:  # only ever off: a part may keep more of itself in eval than this
            child.training = False
        settle(child, child_learns)
