"""What every part promises, encoder, fusion or whole model: it is a well-behaved module."""

from __future__ import annotations

import copy
import random
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modalxai.storage import PICKLES
from modalxai.testing.compare import (
    cast,
    clone,
    equal,
    mapped,
    require_equal,
    require_finite,
    require_near,
)
from modalxai.testing.conformance import NotApplicable, promise, require

NOISE = 0.2
"""Noise added to a copy's weights, relative to each tensor's own size."""
FLOAT64, BFLOAT16, CUDA = 1e-4, 0.5, 0.02
"""How much may differ in another precision. In bfloat16 even right networks with random weights
lose much: a quarter in the seven convolutions of wav2vec 2.0; what is unlike it differs by 1.4."""


class PartCase(ABC):
    """A part and what to feed it. Everything is done to copies: the part itself stays as it is."""

    original: Any

    @cached_property
    def part(self) -> Any:
        """A copy in eval, every weight a little off, so that nothing is right by being zero."""
        part = copy.deepcopy(self.original).eval()
        draw = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in part.parameters():
                size = float(weight.float().square().mean().sqrt()) if weight.numel() else 0.0
                noise = torch.randn(weight.shape, generator=draw).to(weight)
                weight.add_(noise * NOISE * (size or 0.5))
        return part

    @abstractmethod
    def make_inputs(self) -> Any:
        """A batch with something missing in it, a pytree."""

    @abstractmethod
    def others(self) -> Any:
        """Another batch."""

    @abstractmethod
    def nothing(self) -> Any:
        """A batch in which everything is missing."""

    def call(self, part: Any, inputs: Any) -> Any:
        """What a part gives for a batch, a pytree."""
        return part(inputs)

    @abstractmethod
    def result(self, output: Any) -> Tensor:
        """The numbers of an output, float [B, ...]."""

    @abstractmethod
    def facts(self, part: Any) -> Any:
        """Whatever else must come back from a folder, for `equal`."""

    @cached_property
    def _inputs(self) -> Any:
        return self.make_inputs()

    def inputs(self) -> Any:
        """That batch, other tensors at every call."""
        return clone(self._inputs)

    @cached_property
    def output(self) -> Any:
        """What the part gives for that batch, kept."""
        return self.outputs()

    def outputs(self, inputs: Any | None = None) -> Any:
        """What the part gives in eval, without gradients."""
        with torch.no_grad():
            return self.call(self.part, self.inputs() if inputs is None else inputs)


def modes(part: nn.Module) -> dict[str, bool]:
    """Of every submodule, whether it is in training."""
    return {name: module.training for name, module in part.named_modules()}


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name) / "part"


@promise("implement __deepcopy__, or keep nothing in the part that cannot be copied")
def it_can_be_copied(case: PartCase) -> None:
    """``copy.deepcopy``: siamese encoders, averaged weights, and this kit need it."""
    again = copy.deepcopy(case.original)
    own = {weight.data_ptr() for weight in case.original.parameters() if weight.numel()}
    shared = [n for n, w in again.named_parameters() if w.numel() and w.data_ptr() in own]
    require(not shared, f"a copy shares the memory of {shared[:4]}")
    require_equal(again.state_dict(), case.original.state_dict(), "a copy's weights")


@promise("let train() set every submodule that is asked for eval, and nothing turn it back")
def eval_reaches_every_module(case: PartCase) -> None:
    """After ``eval()`` no submodule is in training, whatever was before."""
    part = copy.deepcopy(case.part)
    part.train()
    part.eval()
    left = [name or "the part itself" for name, training in modes(part).items() if training]
    require(not left, f"still in training after eval(): {left[:4]}")


@promise("never call train() or eval() in forward")
def a_forward_leaves_the_modes(case: PartCase) -> None:
    """Neither in training nor in eval does a forward change a submodule's mode."""
    for training in (True, False):
        part = copy.deepcopy(case.part).train(training)
        before = modes(part)
        case.call(part, case.inputs())
        changed = [name for name, mode in modes(part).items() if mode != before[name]]
        require(not changed, f"its mode changed: {changed[:4]}")


@promise(
    "keep nothing from one forward to the next; update buffers in training only",
    needs=[a_forward_leaves_the_modes],
)
def nothing_is_kept_between_forwards(case: PartCase) -> None:
    """A batch gives the same before and after another one, and no buffer changes in eval."""
    part = copy.deepcopy(case.part)
    before = clone(dict(part.state_dict()))
    found = []
    with torch.no_grad():
        for batch in (case.inputs(), case.others(), case.inputs()):
            torch.manual_seed(0)
            found.append(case.call(part, batch))
    changed = [name for name, value in part.state_dict().items() if not equal(value, before[name])]
    require(not changed, f"changed by a forward in eval: {changed[:4]}")
    require_equal(found[2], found[0], "the same batch again, after another one")


@promise(
    "make dropout and every other draw depend on self.training",
    needs=[nothing_is_kept_between_forwards],
)
def eval_is_deterministic(case: PartCase) -> None:
    """The same batch twice gives the same to the bit."""
    require_equal(case.outputs(), case.outputs(), "the same batch again")


@promise(
    "draw nothing in eval; a generator of its own, seeded, for what must be drawn",
    needs=[eval_is_deterministic],
)
def a_forward_draws_nothing(case: PartCase) -> None:
    """In eval the global generators of torch, numpy and Python stay where they are."""
    inputs, before = case.inputs(), generators()
    case.outputs(inputs)
    require(equal(generators(), before), "a forward in eval moved a global random generator")


@promise("write to a copy: values.clone(), masked_fill instead of masked_fill_")
def the_inputs_are_not_modified(case: PartCase) -> None:
    """A forward leaves what it was given, in eval and in training."""
    for training in (False, True):
        inputs = case.inputs()
        before = clone(inputs)
        with torch.no_grad():
            case.call(copy.deepcopy(case.part).train(training), inputs)
        require_equal(inputs, before, "the inputs after a forward")


@promise("use masked_fill or torch.where before, not after, what is undefined on nothing")
def gradients_are_finite(case: PartCase) -> None:
    """With something missing, and with everything missing, no weight's gradient is NaN."""
    for inputs in (case.inputs(), case.nothing()):
        part = copy.deepcopy(case.part)
        result = case.result(case.call(part, inputs))
        if not result.requires_grad:
            raise NotApplicable("no weight learns")
        torch.autograd.backward(result.pow(2).sum())
        wrong = [
            name
            for name, weight in part.named_parameters()
            if weight.grad is not None and not bool(weight.grad.isfinite().all())
        ]
        require(not wrong, f"NaN or infinite gradients: {wrong[:4]}")


@promise("register every weight: nn.Parameter, register_buffer, nn.ModuleList")
def its_state_dict_is_all_of_it(case: PartCase) -> None:
    """Loaded into a copy whose weights are others, it restores every output to the bit."""
    again = copy.deepcopy(case.part)
    state = again.state_dict()
    if not state:
        raise NotApplicable("it has no weights")
    hidden = [name for name, _ in again.named_parameters() if name not in state]
    require(not hidden, f"parameters that are not in the state_dict: {hidden[:4]}")
    kept = clone(dict(state))
    with torch.no_grad():
        for value in state.values():
            if isinstance(value, Tensor) and value.is_floating_point():
                value.add_(1)
        other = case.call(again, case.inputs())
        again.load_state_dict(kept, strict=True)
        found = case.call(again, case.inputs())
    differs = not equal(case.result(other), case.result(case.output))
    require(differs, "with other weights in its state_dict the output is the same")
    require_equal(found, case.output, "the output after load_state_dict")


@promise("save every argument of the constructor, and the preprocessing, beside the weights")
def it_comes_back_from_a_folder(case: PartCase) -> None:
    """``from_pretrained`` of what ``save_pretrained`` wrote: settings, outputs, to the bit."""
    with _folder() as folder:
        case.part.save_pretrained(folder)
        again = type(case.part).from_pretrained(folder).eval()
    here, there = case.facts(case.part), case.facts(again)
    wrong = [name for name in here if not equal(here[name], there.get(name))]
    require(not wrong, f"not what was saved: {wrong}")
    with torch.no_grad():
        found = case.call(again, case.inputs())
    require_equal(found, case.output, "the output of what was saved")


@promise(
    "build layers under torch.random.fork_rng in from_pretrained, as mx's Pretrained does",
    needs=[it_comes_back_from_a_folder],
)
def loading_draws_nothing(case: PartCase) -> None:
    """Saving and loading leave the global generators where they are."""
    before = generators()
    with _folder() as folder:
        case.part.save_pretrained(folder)
        type(case.part).from_pretrained(folder)
    require(equal(generators(), before), "a global random generator moved")


@promise("write tensors with safetensors and the rest as json")
def a_folder_holds_no_pickle(case: PartCase) -> None:
    """No file that it saves could run code when it is read."""
    with _folder() as folder:
        case.part.save_pretrained(folder)
        found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        require(bool(found), "save_pretrained wrote nothing")
        wrong = [path.name for path in found if path.suffix in PICKLES or _is_pickle(path)]
    require(not wrong, f"pickles: {wrong}")


@promise("make new tensors with the dtype of a weight or of an input, never torch.float32")
def float64_agrees(case: PartCase) -> None:
    """In double precision it gives double precision, and what float32 gives."""
    with torch.no_grad():
        output = case.call(copy.deepcopy(case.part).double(), cast(case.inputs(), torch.float64))
    found = case.result(output)
    require(found.dtype == torch.float64, f"weights in float64 give {found.dtype}")
    require_near(found, case.result(case.output), "float64 beside float32", FLOAT64)


@promise("compare and add in one dtype: values.to(weight.dtype) where autocast has mixed them")
def bfloat16_autocast_agrees(case: PartCase) -> None:
    """Under autocast in bfloat16 it gives, roughly, what float32 gives."""
    with torch.autocast("cpu", torch.bfloat16):
        found = case.result(case.outputs())
    require_finite(found, "bfloat16")
    require_near(found, case.result(case.output), "bfloat16 beside float32", BFLOAT16)


@promise("make new tensors on the device of a weight or of an input")
def cuda_agrees(case: PartCase) -> None:
    """On a GPU its output lies there, and is what the CPU gives."""
    if not torch.cuda.is_available():
        raise NotApplicable("needs a CUDA device")
    inputs = mapped(case.inputs(), lambda leaf: leaf.cuda())
    with torch.no_grad():
        found = case.result(case.call(copy.deepcopy(case.part).cuda(), inputs))
    require(found.is_cuda, f"its weights on cuda, its output on {found.device}")
    require_near(found.cpu(), case.result(case.output), "cuda beside the CPU", CUDA)


def _is_pickle(path: Path) -> bool:
    """By its content: a pickle starts with its protocol and ends in a stop, torch's are zips."""
    if path.suffix == ".safetensors":  # starts with a length, which may be any number
        return False
    content = path.read_bytes()
    protocol = content[:1] == b"\x80" and content[1:2] in b"\x02\x03\x04\x05"
    return content[:4] == b"PK\x03\x04" or (protocol and content[-1:] == b".")


def generators() -> tuple[Any, ...]:
    """The state of every global random generator on the CPU."""
    name, keys, *rest = np.random.get_state()
    return torch.get_rng_state(), name, keys, *rest, random.getstate()


BEHAVIOUR = (
    eval_reaches_every_module,
    a_forward_leaves_the_modes,
    the_inputs_are_not_modified,
    nothing_is_kept_between_forwards,
    eval_is_deterministic,
    a_forward_draws_nothing,
)
"""What can be told without knowing what the numbers mean."""
PRECISION = (float64_agrees, bfloat16_autocast_agrees, cuda_agrees)
FILES = (
    its_state_dict_is_all_of_it,
    it_comes_back_from_a_folder,
    loading_draws_nothing,
    a_folder_holds_no_pickle,
)
