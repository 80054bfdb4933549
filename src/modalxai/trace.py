"""Looking at a model without leaving a trace, and noticing that its weights have changed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

PROBES = 16
"""Values of each weight that are compared, besides its version counter."""


@contextmanager
def no_trace(model: nn.Module, gradients: bool = False) -> Iterator[None]:
    """Every submodule in eval, generators forked; all restored afterwards, also after an error.

    Parameters
    ----------
    gradients
        Leave the caller's gradient mode as it is; otherwise none are recorded.
    """
    modes = [(module, module.training) for module in model.modules()]
    # Untyped in torch. Asking an uninitialised CUDA for its state would initialise it.
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = list(range(torch.cuda.device_count())) if used else []
    python, numpy = random.getstate(), np.random.get_state()
    enabled = torch.is_grad_enabled() and gradients
    with torch.random.fork_rng(devices=devices), torch.set_grad_enabled(enabled):
        try:
            for module, _ in modes:
                # Set, not called: train() of some modules does more (adapters merge their weights).
                module.training = False
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            random.setstate(python)
            np.random.set_state(numpy)


class Fingerprint:
    """The state of a model's weights, as far as it can be told in a millisecond or two.

    Version counters notice every in-place change that autograd can see; a few values of each
    tensor are compared as well, for changes through ``.data``, which it cannot.
    """

    def __init__(self, model: nn.Module) -> None:
        self.marks, self.probes = _mark(model)

    def matches(self, model: nn.Module) -> bool:
        """Whether the weights are still the same."""
        marks, probes = _mark(model)
        return marks == self.marks and bool(torch.equal(probes, self.probes))


def _mark(model: nn.Module) -> tuple[list[tuple[int, int]], Tensor]:
    tensors = [*model.parameters(), *model.buffers()]
    # A tensor made in inference_mode keeps no version.
    marks = [(t.data_ptr(), -1 if t.is_inference() else t._version) for t in tensors]
    probes = []
    for tensor in tensors:
        flat = tensor.detach().reshape(-1)
        probes.append(flat[:: max(1, len(flat) // PROBES)][:PROBES].to(torch.float32))
    with torch.no_grad():
        joined = torch.cat([probe.nan_to_num() for probe in probes]) if probes else torch.empty(0)
    return marks, joined
