"""Which weights of an encoder learn; what is frozen stays in eval under ``train()``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self

from torch import nn

from modalxai.errors import InputError

Trainable = Literal["none", "all"] | int


class PartlyTrainable(nn.Module):
    """A module some of whose children may be frozen."""

    def train_only(
        self,
        trainable: Any,
        layers: Sequence[nn.Module],
        named: Mapping[str, Iterable[nn.Parameter]] | None = None,
    ) -> None:
        """Freeze by ``requires_grad``.

        Parameters
        ----------
        trainable
            ``"none"``, ``"all"``, how many of the top layers learn, or one of ``named``.
        layers
            The layers from bottom to top.
        named
            Further choices: by name the weights that learn, and no other.

        Raises
        ------
        InputError
            Anything else, or more layers than there are.
        """
        choices = {"none": (), "all": self.parameters(), **(named or {})}
        number = isinstance(trainable, int) and not isinstance(trainable, bool)
        if not (0 <= trainable <= len(layers) if number else trainable in tuple(choices)):
            raise InputError(
                "unknown choice of trainable layers",
                expected=f"{', '.join(map(repr, choices))} or a number of top layers from 0 to "
                f"{len(layers)}",
                got=repr(trainable),
                mend="write trainable='none', trainable='all' or trainable=2",
            )
        top = layers[len(layers) - trainable :] if number else ()
        learning = [weight for layer in top for weight in layer.parameters()]
        learning += () if number else choices[trainable]
        self.requires_grad_(False)
        for weight in learning:
            weight.requires_grad_(True)
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
