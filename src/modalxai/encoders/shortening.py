"""Fewer layers of a pre-trained model: smaller, faster, and nothing to download anew."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from modalxai.encoders.tuning import TunedEncoder
from modalxai.errors import InputError

Tuned = TypeVar("Tuned", bound=TunedEncoder)

PATHS = ("transformer.layer", "encoder.layer", "encoder.layers", "wrapped_encoder.layers")
"""Where models of transformers keep their layers."""
COUNTS = ("num_hidden_layers", "n_layers", "encoder_layers")
"""What configs of transformers call their number of layers."""


def shorten(encoder: Tuned, layers: int) -> Tuned:
    """Keep the lowest layers of an encoder's transformer, and drop those above, in place.

    What is left is saved and loaded as a model of its own. 0 layers leave the embeddings of a
    text, or the frames of a recording before the transformer.

    Parameters
    ----------
    encoder
        An encoder around a model of transformers, whose settings are kept.
    layers
        How many to keep, from 0.

    Raises
    ------
    InputError
        More layers than there are, adapters or a weighting of all layers (choose them after), or
        layers that are not known by number.
    """
    stack = _stack(encoder.model)
    name = next((one for one in COUNTS if hasattr(encoder.model.config, one)), None)
    if stack is None or name is None:
        raise InputError(
            f"the layers of {type(encoder.model).__name__} are not known by number",
            expected="an encoder with numbered layers",
            got=type(encoder).__name__,
            mend="choose a smaller checkpoint",
        )
    whole = isinstance(layers, int) and not isinstance(layers, bool)
    if not whole or not 0 <= layers <= len(stack):
        raise InputError(
            "layers out of range",
            expected=f"a whole number from 0 to {len(stack)}",
            got=repr(layers),
            mend="keep fewer",
        )
    if encoder.lora is not None or encoder.mix is not None:
        raise InputError(
            "an encoder that is made for all its layers",
            expected="no adapters and layers='last'",
            got=f"lora={encoder.lora!r}, layers={encoder.layers!r}",
            mend="load it plainly, shorten and save it, and load it again with them",
        )
    above = list(stack)[layers:]
    del stack[layers:]
    try:
        _probe(encoder)
    except (UnboundLocalError, TypeError, RuntimeError, AttributeError) as error:
        stack.extend(above)
        raise InputError(
            f"{type(encoder.model).__name__} does not run with {layers} layers",
            expected="as many as its positions and masks need",
            got=f"{type(error).__name__}: {error}",
            mend="keep one more",
        ) from error
    setattr(encoder.model.config, name, layers)
    if isinstance(encoder.trainable, int) and not isinstance(encoder.trainable, bool):
        encoder.trainable = min(encoder.trainable, layers)
    return encoder


def _probe(encoder: TunedEncoder) -> None:
    modes = [(module, module.training) for module in encoder.modules()]
    try:
        with torch.no_grad():
            encoder._probe()
    finally:
        for module, mode in modes:
            module.training = mode


def _stack(model: nn.Module) -> nn.ModuleList | None:
    """The list that holds the layers."""
    for path in PATHS:
        try:
            found = model.get_submodule(path)
        except AttributeError:
            continue
        if isinstance(found, nn.ModuleList):
            return found
    return None
