"""Looking at a model without leaving a trace, and noticing that its weights have changed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from modalxai import sharding

PROBES = 16
"""Values of each weight that are compared, besides its version counter."""


@contextmanager
def no_trace(model: nn.Module, gradients: bool = False) -> Iterator[None]:
    """Every submodule in eval, generators forked; all restored afterwards, also after an error.

    Of a model that FSDP2 has sharded, the weights are whole meanwhile, see
    `modalxai.sharding.gathered`: its ranks must enter together.

    Parameters
    ----------
    gradients
        Leave the caller's gradient mode as it is; otherwise none are recorded.
    """
    modes = [(module, module.training) for module in sharding.modules_of(model)]
    # Untyped in torch. Asking an uninitialised CUDA for its state would initialise it.
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = list(range(torch.cuda.device_count())) if used else []
    python, numpy = random.getstate(), np.random.get_state()
    enabled = torch.is_grad_enabled() and gradients
    caching, cudnn = torch.is_autocast_cache_enabled(), torch.backends.cudnn.enabled
    with (
        sharding.gathered(model),
        torch.random.fork_rng(devices=devices),
        torch.set_grad_enabled(enabled),
    ):
        try:
            # Before torch 2.11 a weight cast here, without gradients, is what training reads next.
            torch.set_autocast_cache_enabled(False)
            if enabled and any(isinstance(module, nn.RNNBase) for module, _ in modes):
                # In eval mode cuDNN's recurrent layers keep nothing for a backward pass.
                torch.backends.cudnn.enabled = False
            for module, _ in modes:
                # Set, not called: train() of some modules does more (adapters merge their weights).
                if module.training:
                    module.training = False
            yield
        finally:
            for module, mode in modes:
                if module.training != mode:
                    module.training = mode
            torch.set_autocast_cache_enabled(caching)
            if torch.backends.cudnn.enabled != cudnn:  # torch lets users forbid to set it
                torch.backends.cudnn.enabled = cudnn
            random.setstate(python)
            np.random.set_state(numpy)


class Fingerprint:
    """The state of a model's weights, as far as it can be told in a millisecond or two.

    Version counters notice every in-place change that autograd can see; a few values of each
    tensor are compared as well, for changes through ``.data``, which it cannot.
    """

    def __init__(self, model: nn.Module) -> None:
        tensors = _tensors(model)
        self._marks = _marks(tensors)
        # Views, so that a look costs one concatenation per kind of tensor and not one per tensor.
        self._views: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for tensor in tensors:
            # Over the storage, because a weight that is not contiguous has no flat view.
            steps = zip(tensor.shape, tensor.stride(), strict=True)
            extent = 1 + sum((size - 1) * step for size, step in steps) if tensor.numel() else 0
            few = tensor.detach().as_strided((min(PROBES, extent),), (max(1, extent // PROBES),))
            self._views.setdefault((tensor.dtype, tensor.device), []).append(few)
        self._probes = self._look()

    def matches(self, model: nn.Module) -> bool:
        """Whether the weights are still the same."""
        return self._marks == _marks(_tensors(model)) and all(
            torch.equal(now, then) for now, then in zip(self._look(), self._probes, strict=True)
        )

    def _look(self) -> list[Tensor]:
        with torch.no_grad():
            joined = [torch.cat(views) for views in self._views.values()]
        return [found.nan_to_num() if found.is_floating_point() else found for found in joined]


def _tensors(model: nn.Module) -> list[Tensor]:
    """Every parameter and buffer once; of sharded ones the share of this rank."""
    modules = sharding.modules_of(model)
    sharding.reshard(modules)
    held: list[Tensor] = [
        t for module in modules for t in module._parameters.values() if t is not None
    ]
    held += [t for module in modules for t in module._buffers.values() if t is not None]
    return [sharding.share(one) for one in {id(tensor): tensor for tensor in held}.values()]


def _marks(tensors: list[Tensor]) -> list[tuple[int, int]]:
    # A tensor made in inference_mode keeps no version.
    return [(t.data_ptr(), -1 if t.is_inference() else t._version) for t in tensors]
