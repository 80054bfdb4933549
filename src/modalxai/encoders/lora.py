"""Low-rank adapters (LoRA) in the layers of a transformer, through peft.

They are injected into the model, which keeps its class and the paths of its modules, so that
whatever is known about it (its layers, its front end) stays true; a wrapper around it, peft's
``get_peft_model``, would keep neither.

References
----------
Hu et al. (2022), LoRA: Low-Rank Adaptation of Large Language Models.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from modalxai.errors import DependencyError, InputError

ATTENTION = (("q_proj", "v_proj"), ("q_lin", "v_lin"), ("query", "value"))
"""What models call the projections to queries and to values, where peft does not know it."""
UNCALLED = {"wavlm": ("intermediate_dense", "output_dense")}
"""Its attention reads weights and calls no layer, so the linear layers after it take over."""

READ = {"r", "lora_alpha", "lora_dropout", "target_modules"}
# Where it came from; and what peft sets by the kind of layer.
PASSING = {"base_model_name_or_path", "revision", "peft_version", "auto_mapping", "task_type"}
PASSING |= {"inference_mode", "fan_in_fan_out"}


@dataclass(frozen=True)
class Lora:
    """Adapters W + (alpha / rank) B A beside frozen weights W; B starts at zero.

    Parameters
    ----------
    rank
        Rows of A [rank, D_in] and columns of B [D_out, rank].
    alpha
        Strength; positive.
    dropout
        Probability, in [0, 1), with which A's inputs are dropped while training.
    targets
        Names of the linear layers, the last part of their path or more of it. By default the
        projections to queries and values of the attention, as in the paper; WavLM's attention
        calls no layer, so there it is the two feed-forward layers.

    Raises
    ------
    InputError
        A value out of its range.

    Examples
    --------
    >>> Lora(rank=4, targets=("q_proj", "k_proj"))
    Lora(rank=4, alpha=16.0, dropout=0.0, targets=('q_proj', 'k_proj'))
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: Sequence[str] | None = None

    def __post_init__(self) -> None:
        names = self.targets
        listed = isinstance(names, Sequence) and not isinstance(names, str)
        fits = {
            "rank": _number(self.rank) and isinstance(self.rank, int) and self.rank >= 1,
            "alpha": _number(self.alpha) and 0 < self.alpha < math.inf,
            "dropout": _number(self.dropout) and 0 <= self.dropout < 1,
            "targets": names is None
            or (listed and bool(names) and all(isinstance(name, str) and name for name in names)),
        }
        if wrong := [name for name, good in fits.items() if not good]:
            raise InputError(
                f"Lora: {' and '.join(wrong)} out of range",
                expected="a rank of 1 or more, alpha > 0, dropout in [0, 1), names of layers",
                got=", ".join(f"{name}={getattr(self, name)!r}" for name in wrong),
                mend="Lora() has the usual values",
            )
        if names is not None:
            object.__setattr__(self, "targets", tuple(names))


def inject(model: Any, lora: Lora, forward: Callable[[], object]) -> None:
    """Put new adapters into a model of transformers; it computes what it did before.

    A's are drawn from torch's generator, like any new weight.

    Parameters
    ----------
    model
        Changed in place; only if nothing is wrong.
    lora
        Which adapters.
    forward
        Runs the model once: an adapter in a layer that is not called would never learn.

    Raises
    ------
    DependencyError
        peft is not installed.
    InputError
        No linear layer has such a name, or the model never calls it.
    """
    targets = tuple(lora.targets or _attention(model))
    chosen = _linear(model, targets)
    if idle := sorted(set(chosen) - _called(chosen, forward)):
        raise InputError(
            "layers that the model never calls cannot have adapters",
            expected="targets that are called in a forward pass",
            got=f"{len(idle)} that are not, {idle[0]} first",
            mend="name other linear layers, trainable=Lora(targets=(...)), or none for the default",
        )
    put(model, Lora(lora.rank, lora.alpha, lora.dropout, targets))


def found(model: Any) -> Lora | None:
    """The adapters that a model has, ``None`` if it has none.

    Raises
    ------
    InputError
        Several sets, or another kind than `Lora` can tell.
    """
    configs: Mapping[str, Any] = getattr(model, "peft_config", None) or {}
    if not configs:
        return None
    if len(configs) > 1:
        raise InputError(
            "a model with several sets of adapters",
            expected="one",
            got=str(sorted(configs)),
            mend="merge all but one of them into the base model",
        )
    (config,) = configs.values()
    return read(plain(config))


def require(here: Lora, asked: Lora) -> None:
    """Refuse adapters that were asked for where others are already.

    Raises
    ------
    InputError
        They differ.
    """
    same = asdict(asked) | ({"targets": here.targets} if asked.targets is None else {})
    if set(same.pop("targets")) != set(here.targets or ()) or any(
        getattr(here, name) != value for name, value in same.items()
    ):
        raise InputError(
            "the model already has other adapters",
            expected=repr(here),
            got=repr(asked),
            mend="write trainable='lora' to train these, or give a model without adapters",
        )


def weights(model: Any) -> dict[str, nn.Parameter]:
    """The adapters' weights by name."""
    return {
        f"{path}.{name}": weight
        for path, layer in adapted(model).items()
        for name, weight in layer.named_parameters()
        if not name.startswith("base_layer.")
    }


def put(model: Any, lora: Lora) -> None:
    """Put adapters of known targets into a model, in place.

    Raises
    ------
    DependencyError
        peft is not installed.
    InputError
        A target that names no linear layer.
    """
    layers = _linear(model, lora.targets or ()).values()
    peft = package()
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets or ()),
        fan_in_fan_out=not any(isinstance(layer, nn.Linear) for layer in layers),
    )
    peft.inject_adapter_in_model(config, model)


def read(record: Mapping[str, Any]) -> Lora:
    """What peft's config tells, where `Lora` can tell all of it.

    Raises
    ------
    DependencyError
        peft is not installed.
    InputError
        Another kind of adapters.
    """
    usual = plain(package().LoraConfig())
    odd = [
        f"{name}={value!r}"
        for name, value in sorted(record.items())
        if name not in READ | PASSING and value != usual.get(name) and (value or name in usual)
    ]
    names = record["target_modules"]
    if odd or not isinstance(names, list):
        raise InputError(
            "adapters of another kind",
            expected="plain LoRA: rank, alpha, dropout and a list of targets",
            got=", ".join(odd) or f"target_modules={names!r}",
            mend="merge them into the base model, with peft",
        )
    return Lora(record["r"], record["lora_alpha"], record["lora_dropout"], sorted(names))


def plain(config: Any) -> dict[str, Any]:
    """A config of peft as json holds it."""
    record: dict[str, Any] = json.loads(json.dumps(config.to_dict(), default=sorted))
    return record


def adapted(model: Any) -> dict[str, Any]:
    """The layers that have adapters, by path."""
    kind = package().tuners.lora.LoraLayer
    return {path: layer for path, layer in model.named_modules() if isinstance(layer, kind)}


def package() -> Any:
    """The package peft.

    Raises
    ------
    DependencyError
        It is not installed, or does not load.
    """
    try:
        # By name, because its own types do not pass a strict check.
        return importlib.import_module("peft")
    except ImportError as error:
        raise DependencyError(
            "LoRA needs peft, which is not installed or does not fit transformers",
            expected="peft 0.18 or newer",
            got=str(error),
            mend="pip install 'modalxai[lora]'",
        ) from error


def _attention(model: Any) -> Sequence[str]:
    """The default targets of an architecture."""
    kind = model.config.model_type
    known = package().utils.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(kind, ())
    candidates = [UNCALLED.get(kind, ()), () if isinstance(known, str) else known, *ATTENTION]
    last = {path.rpartition(".")[2] for path, layer in model.named_modules() if _is_linear(layer)}
    for names in candidates:
        if names and set(names) <= last:
            return tuple(names)
    raise InputError(
        f"the attention of {type(model).__name__} is not known by the names of its layers",
        expected="linear layers for queries and values",
        got=f"linear layers named {sorted(last)[:12]}",
        mend="name some: trainable=Lora(targets=('...',))",
    )


def _linear(model: Any, targets: Sequence[str]) -> dict[str, nn.Module]:
    """The layers that targets name, each of them linear."""
    named = {
        target: {
            path: layer
            for path, layer in model.named_modules()
            if path == target or path.endswith(f".{target}")
        }
        for target in targets
    }
    wrong = [
        target
        for target, layers in named.items()
        if not layers or not all(map(_is_linear, layers.values()))
    ]
    if wrong:
        last = {p.rpartition(".")[2] for p, layer in model.named_modules() if _is_linear(layer)}
        raise InputError(
            f"targets that name no linear layer of {type(model).__name__}",
            expected=f"among {sorted(last)}",
            got=str(wrong),
            mend="leave targets out for the projections of the attention",
        )
    return {path: layer for layers in named.values() for path, layer in layers.items()}


def _is_linear(layer: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D  # GPT-2's name for a linear layer

    return isinstance(layer, nn.Linear | Conv1D)


def _called(layers: Mapping[str, nn.Module], forward: Callable[[], object]) -> set[str]:
    """Which layers a forward pass calls."""
    called: set[str] = set()

    def note(path: str) -> Callable[..., None]:
        return lambda *_: called.add(path)

    hooks = [layer.register_forward_hook(note(path)) for path, layer in layers.items()]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return called


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
