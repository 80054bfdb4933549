"""Encoders around a model of transformers: what of it learns, and how its layers are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import nn

from modalxai.encoders import layers as layering
from modalxai.encoders import lora, lora_files
from modalxai.encoders.layers import Layers
from modalxai.encoders.lora import Lora
from modalxai.encoders.trainable import PartlyTrainable, Trainable
from modalxai.errors import InputError

Tuning = Trainable | Literal["lora"] | Lora
"""Which weights learn: none, all, those of the top layers, or adapters beside frozen weights."""


class TunedEncoder(PartlyTrainable):
    """An encoder around ``model``, which is a model of transformers."""

    model: Any

    def tune(
        self,
        layers: Sequence[nn.Module],
        trainable: Any,
        mixing: Layers,
        checkpointing: bool,
        named: Mapping[str, Iterable[nn.Parameter]] | None = None,
    ) -> None:
        """Choose what learns, once the model is there.

        Parameters
        ----------
        layers
            The transformer's, from bottom to top; none where they are not known one by one.
        trainable
            See `Tuning`; or one of ``named``.
        mixing
            Which hidden states the encoder gives.
        checkpointing
            Whether layers that learn are run again in the backward pass, instead of kept.
        named
            Further choices of what learns, by name.

        Raises
        ------
        DependencyError
            Adapters without peft.
        InputError
            An unknown choice, or one that the model does not offer.
        """
        self.mix = layering.make(mixing, len(layers))
        self.layers: Layers = mixing
        if trainable == "lora" or isinstance(trainable, Lora):
            here = lora.found(self.model)
            if here is None:
                asked = trainable if isinstance(trainable, Lora) else Lora()
                lora.inject(self.model, asked, self._probe)
            elif isinstance(trainable, Lora):
                lora.require(here, trainable)
            trainable = "lora"
        self.lora = lora.found(self.model)
        self.trainable: Any = trainable
        self.checkpointing = checkpointing
        _checkpoint(self.model, checkpointing)
        adapters = () if self.lora is None else lora.weights(self.model).values()
        self.train_only(trainable, layers, {**(named or {}), "lora": adapters})
        if self.mix is not None:
            self.mix.requires_grad_(True)

    def tuning(self) -> dict[str, Any]:
        """The choices, as json holds them; those of the adapters lie in a folder of their own."""
        choices: dict[str, Any] = {
            "trainable": self.trainable,
            "layers": self.layers,
            "checkpointing": self.checkpointing,
            "lora": self.lora is not None,
        }
        if self.mix is not None:
            choices["layer_weights"] = self.mix.weights.tolist()
        return choices

    def _forward(self) -> None:
        """Run the model once, on anything."""
        raise NotImplementedError

    def _probe(self) -> None:
        self.model.eval()
        self._forward()


def load_adapters(model: Any, checkpoint: str | Path, saved: Mapping[str, Any]) -> None:
    """Put the adapters of a checkpoint in place, if `TunedEncoder.tuning` says there are any.

    Raises
    ------
    CheckpointError
        They are not there, or do not fit.
    DependencyError
        peft is not installed.
    """
    if saved.get("lora"):
        lora_files.load(model, checkpoint)


def _checkpoint(model: Any, wanted: bool) -> None:
    if not isinstance(wanted, bool):
        raise InputError(
            "checkpointing is a switch",
            expected="True or False",
            got=repr(wanted),
            mend="write checkpointing=True to save memory",
        )
    if not wanted:
        return
    if not model.supports_gradient_checkpointing:
        raise InputError(
            f"{type(model).__name__} cannot be run layer by layer again",
            expected="a model with gradient checkpointing",
            got="checkpointing=True",
            mend="leave checkpointing out, and make the batches smaller",
        )
    # Its name since transformers 5.
    enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
    enable({"use_reentrant": False})
    # What that way needs no longer: a hook that makes all inputs ask for a gradient.
    model.disable_input_require_grads()
