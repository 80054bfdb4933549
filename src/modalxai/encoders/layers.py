"""Learned weighting of all layers: one softmax over the hidden states of a transformer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from modalxai.errors import CheckpointError, InputError

Layers = Literal["last", "weighted"]


class LayerMix(nn.Module):
    """Hidden states [N, B, T, D] to their weighted mean [B, T, D]; the weights are a softmax.

    At the start every state counts alike. The weights learn even where the encoder is frozen.

    Parameters
    ----------
    count
        Number N of states: what enters the first layer, and what each layer gives.

    References
    ----------
    Yang et al. (2021), SUPERB, section 3.1: "weighted-sum the hidden states of all layers".
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(count))

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """The weighted mean of ``states``, from bottom to top."""
        shares = self.weights.softmax(0)
        first, *rest = (share * state for share, state in zip(shares, states, strict=True))
        mixed: Tensor = sum(rest, first)
        return mixed

    def restore(self, weights: Sequence[float], place: str) -> None:
        """Put saved weights in place, or a CheckpointError where their number is another."""
        if len(weights) != len(self.weights):
            raise CheckpointError(
                f"{place}: layer_weights do not fit the model",
                expected=f"{len(self.weights)} numbers",
                got=f"{len(weights)}",
                mend="load the folder with the weights it was saved with",
            )
        with torch.no_grad():
            self.weights.copy_(torch.tensor(weights))


def make(choice: Layers, count: int) -> LayerMix | None:
    """The mix for ``"weighted"``, ``None`` for ``"last"``.

    Parameters
    ----------
    choice
        Which hidden states the encoder gives.
    count
        Number of layers; 0 where they are not known one by one.

    Raises
    ------
    InputError
        Another choice, or layers that are not known one by one.
    """
    if choice == "last":
        return None
    if choice != "weighted" or not count:
        raise InputError(
            "unknown choice of layers" if count else "layers that are not known one by one",
            expected="'last' or 'weighted'" if count else "'last'",
            got=repr(choice),
            mend="write layers='last'",
        )
    return LayerMix(count + 1)


def run(mix: LayerMix | None, layers: Sequence[nn.Module], forward: Callable[[], Tensor]) -> Tensor:
    """The last hidden state that ``forward`` gives, or the mix of all of them.

    The states are what enters each layer, and the last hidden state: those which transformers
    gives for ``output_hidden_states``, also where only a whole model collects them. (For wav2vec
    2.0 with stable layer norm, version 5 gives the last state before the final norm, version 4
    after it; it is after it here.)
    """
    if mix is None:
        return forward()
    with _entering(layers) as states:
        last = forward()
    mixed: Tensor = mix([*states, last])
    return mixed


@contextmanager
def _entering(layers: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    states: list[Tensor] = []

    def note(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        states.append(args[0] if args else named["hidden_states"])

    hooks = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in layers]
    try:
        yield states
    finally:
        # Before the backward pass, in which checkpointing runs the layers again.
        for hook in hooks:
            hook.remove()
