"""What decides an encoder's output besides its input: code, settings, weights."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

PROBES = 16
"""Values of each tensor that `mark` compares."""
PLAIN = (bool, int, float, complex, str, bytes, type(None))
# What may differ between an encoder and its copy, loaded or in training; and the hooks.
PASSING = {*vars(nn.Module()), "trainable", "_is_hf_initialized", "_post_init_done"}
# How it trains changes no output.
PASSING |= {"checkpointing", "gradient_checkpointing", "spec_augment"}
PASSING |= {"_is_fsdp_managed_module", "_fsdp_use_orig_params"}
PASSING |= {"_name_or_path", "_commit_hash", "architectures", "transformers_version", "model_type"}


def describe(encoder: nn.Module) -> str:
    """Everything but the weights: classes and plain settings of every module, preprocessing.

    Configs of transformers count as settings. Folders, memory addresses and whether it trains do
    not, and tuples are told like lists, so that a copy and a reloaded encoder are told alike.
    """
    lines, configs = [], {}
    for place, module in encoder.named_modules():
        lines.append(f"{place} {type(module).__module__}.{type(module).__qualname__}")
        config = vars(module).get("config")
        if hasattr(config, "to_dict"):
            configs[id(config)] = config
        if config is None or not hasattr(module, "save_pretrained"):
            # A whole model of transformers is told by its config; the rest is where it came from.
            lines += [f"{place} {line}" for line in _plain(vars(module))]
    lines += [line for config in configs.values() for line in _plain(vars(config))]
    lines.append(preprocessing(encoder))
    return "\n".join(lines)


def preprocessing(encoder: nn.Module) -> str:
    """The encoder's collate in words, without folders and memory addresses."""
    words = repr(getattr(encoder, "collate", None))
    return re.sub(r"name_or_path='[^']*'|0x[0-9a-f]+", "", words)


def fingerprint(encoder: nn.Module) -> bytes:
    """Hash of an encoder: `describe`, versions of its packages, all parameters and buffers.

    Adapters are modules with parameters, and so are a part of it. Reads every weight: about .4 s
    for 95 million on one core.
    """
    state = hashlib.blake2b(describe(encoder).encode(), digest_size=16)
    packages = {type(module).__module__.partition(".")[0] for module in encoder.modules()}
    state.update(repr(sorted((name, _version(name)) for name in packages)).encode())
    for name, tensor in _tensors(encoder):
        state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        state.update(raw_bytes(tensor))
    return state.digest()


def mark(encoder: nn.Module) -> Any:
    """A sign of the same state in a millisecond or two, to be compared within one process.

    Version counters notice each in-place change that autograd can see; for changes through
    ``.data``, which it cannot, a few values of each tensor are compared.
    """
    probes, marks = [], []
    with torch.no_grad():
        for _, tensor in _tensors(encoder):
            flat = tensor.detach().reshape(-1)
            probes.append(flat[:: max(1, len(flat) // PROBES)][:PROBES].to(torch.float64))
            version = None if tensor.is_inference() else tensor._version
            marks.append((tensor.data_ptr(), version, tensor.dtype, tensor.device))
        joined = torch.cat(probes).nan_to_num().tolist() if probes else []
    return describe(encoder), marks, joined


def raw_bytes(tensor: Tensor) -> Any:
    """A tensor's values as bytes, whatever its type; copied only if it is not in order."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def _tensors(encoder: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from encoder.named_parameters()
    yield from encoder.named_buffers()


def _plain(attributes: Mapping[str, Any]) -> Iterator[str]:
    for name, value in sorted(attributes.items()):
        if name in PASSING or not _is_plain(value):
            continue
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            yield from (f"{name}.{line}" for line in _plain(value))
        else:
            yield f"{name}={json.dumps(value, default=_word)}"


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return isinstance(value, (*PLAIN, torch.dtype))


def _word(value: object) -> str:
    return str(value).removeprefix("torch.")


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""
