"""Weights that FSDP2 has shared out among processes, whole for as long as a model is asked."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_SHARD = "_modalxai_shard"
"""On a gathered weight: the share that it was gathered from."""
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Every weight whole on every rank; does nothing for a model that is not sharded.

    Encoders and the fusion are called as often as the samples of a rank need, and ranks whose
    samples lack different modalities need different numbers of calls. FSDP gathers weights at each
    call, so that such ranks would wait for each other for ever. Therefore weights are gathered
    here, once and together, and FSDP's own hooks are off meanwhile. Nothing is shared out inside:
    ranks may do different things there, and leave at different times.

    The weights are those that the optimizer updates, in their own precision, whatever the
    ``MixedPrecisionPolicy``. There must be memory for all of them.

    Parameters
    ----------
    model
        Sharded by ``torch.distributed.fsdp.fully_shard``, or not at all; where a module around it
        was (an `Objective`), that one. All its ranks must enter.
    """
    modules = modules_of(model)
    if _fsdp() is None or not (sharded(modules) or any(map(_has_shares, modules))):
        yield
        return
    whole: dict[int, Any] = {}
    replaced: list[tuple[dict[str, Any], str, Any]] = []
    kinds = [(one, type(one)) for one in sharded(modules)]
    hooks = [vars(one)[name] for one, _ in kinds for name in _HOOKS]
    before = [dict(found) for found in hooks]
    try:
        for found in hooks:
            for key in [key for key, hook in found.items() if _of_fsdp(hook)]:
                del found[key]
        reshard(modules)
        for one, kind in kinds:
            # Named and saved as what it is: FSDP puts a class of its own in front.
            one.__class__ = kind.__mro__[kind.__mro__.index(_fsdp().FSDPModule) + 1]
        for module in modules:
            for held in (module._parameters, module._buffers):
                for name, tensor in list(held.items()):
                    if tensor is not None and is_share(tensor):
                        if id(tensor) not in whole:  # tied weights stay tied
                            whole[id(tensor)] = _gather(tensor)
                        replaced.append((held, name, tensor))
                        held[name] = whole[id(tensor)]
        yield
    finally:
        for held, name, tensor in replaced:
            held[name] = tensor
        for one, kind in kinds:
            one.__class__ = kind
        for found, then in zip(hooks, before, strict=True):
            now = dict(found)
            found.clear()
            # In their old order; a hook that somebody removed or added meanwhile stays so.
            found.update({k: v for k, v in then.items() if k in now or _of_fsdp(v)} | now)


def modules_of(model: nn.Module) -> list[nn.Module]:
    """Every module once. ``model.modules()`` makes their names as well, which takes far longer."""
    found: dict[int, nn.Module] = {}
    left = [model]
    while left:
        module = left.pop()
        if id(module) not in found:
            found[id(module)] = module
            left += [child for child in module._modules.values() if child is not None]
    return list(found.values())


def sharded(modules: Iterable[nn.Module]) -> list[Any]:
    """Those modules that ``fully_shard`` was applied to."""
    kind = getattr(_fsdp(), "FSDPModule", None)
    return [] if kind is None else [one for one in modules if isinstance(one, kind)]


def reshard(modules: Iterable[nn.Module]) -> None:
    """Let go of weights that FSDP holds gathered, as it may between forward and backward.

    It gathers them again when it needs them; no rank waits for another here.
    """
    for module in sharded(modules):
        module.reshard()


def is_share(tensor: Tensor) -> bool:
    """Whether it is a rank's share of a tensor (a ``DTensor``)."""
    return hasattr(tensor, "full_tensor")


def _has_shares(module: nn.Module) -> bool:
    """Of FSDP: what ``parallelize_module`` has split must stay so, as its hooks expect it."""
    if "_is_fsdp_managed_module" not in vars(module):
        return False
    return any(one is not None and is_share(one) for one in module._parameters.values())


def share(tensor: Tensor) -> Tensor:
    """What this rank has of a tensor, also of one that was gathered; any other one as it is."""
    found: Any = getattr(tensor, _SHARD, tensor)
    if not is_share(found):
        return tensor
    with torch.no_grad():  # so it is the very tensor, and no view with a history
        local: Tensor = found.to_local()
        return local


def _fsdp() -> Any:
    """The module, which whoever has sharded a model has imported; otherwise ``None``."""
    return sys.modules.get("torch.distributed.fsdp")


def _gather(tensor: Any) -> Any:
    with torch.no_grad():
        full = tensor.full_tensor().detach()
    if isinstance(tensor, nn.Parameter):
        full = nn.Parameter(full, requires_grad=tensor.requires_grad)
    setattr(full, _SHARD, tensor)
    return full


def _of_fsdp(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("torch.distributed.fsdp.")
