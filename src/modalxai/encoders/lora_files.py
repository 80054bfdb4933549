"""A model with adapters on disk: the base model's own folder, and beside it peft's.

The folder is what it would be without adapters, and ``adapter`` in it is as peft writes it, so that
both can be read without this library::

    base = AutoModel.from_pretrained("folder")                   # without the adapters
    tuned = PeftModel.from_pretrained(base, "folder/adapter")    # with them
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modalxai import storage
from modalxai.encoders import lora
from modalxai.encoders.text_checkpoint import find
from modalxai.errors import CheckpointError, InputError

FOLDER = "adapter"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LOADED = "_hf_peft_config_loaded"
PREFIX = "base_model.model."
"""What peft's files put before a weight's name."""


def save(model: Any, folder: str | Path) -> None:
    """Write a model as transformers does, its adapters into ``adapter`` as peft does.

    Raises
    ------
    InputError
        Adapters that are merged into the weights, which would count twice.
    """
    if lora.found(model) is None:
        model.save_pretrained(str(folder))
        return
    layers = lora.adapted(model)
    if merged := [path for path, layer in layers.items() if layer.merged]:
        raise InputError(
            "adapters that are merged into the weights",
            expected="adapters beside the weights",
            got=f"{len(merged)} merged, {merged[0]} first",
            mend="call unmerge() on those layers before saving",
        )
    base = dict(_base(model.state_dict(), tuple(layers)))
    # Where add_adapter of transformers was used, this flag would leave the base model out.
    flag = vars(model).pop(LOADED, None)
    try:
        model.save_pretrained(str(folder), state_dict=base)
    finally:
        if flag is not None:
            setattr(model, LOADED, flag)
    ((name, config),) = model.peft_config.items()
    storage.write_json(Path(folder) / FOLDER / CONFIG, lora.plain(config))
    tensors = {_saved(key, name): value for key, value in lora.weights(model).items()}
    storage.write_tensors(Path(folder) / FOLDER / WEIGHTS, tensors)


def load(model: Any, checkpoint: str | Path) -> None:
    """Put the adapters that `save` wrote into their base model, strictly.

    Raises
    ------
    CheckpointError
        A file is missing, of another kind than `Lora` can tell, or does not fit the model.
    DependencyError
        peft is not installed.
    """
    lora.package()  # before the files are blamed
    place = Path(checkpoint) / FOLDER
    paths = [find(checkpoint, f"{FOLDER}/{name}") or place / name for name in (CONFIG, WEIGHTS)]
    record = storage.read_json(paths[0])
    with storage.reading(paths[0]):
        told = lora.read(record)
        # Forked, because what is drawn here is overwritten.
        with torch.random.fork_rng(devices=[]):
            lora.put(model, told)
    saved = storage.read_tensors(paths[1])
    (name,) = model.peft_config
    here = {_saved(key, name): weight for key, weight in lora.weights(model).items()}
    wrong = [f"{key} missing" for key in here if key not in saved]
    wrong += [f"{key} left over" for key in saved if key not in here]
    wrong += [
        f"{key} is {list(saved[key].shape)}, not {list(weight.shape)}"
        for key, weight in here.items()
        if key in saved and saved[key].shape != weight.shape
    ]
    if wrong:
        raise CheckpointError(
            f"{paths[1]} does not fit the model and {CONFIG}",
            expected=f"exactly the weights of {told}",
            got=f"{len(wrong)} differ: {wrong[:4]}",
            mend="take the files that were saved together",
        )
    with torch.no_grad():
        for key, weight in here.items():
            weight.copy_(saved[key])


def _base(state: Mapping[str, Tensor], paths: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    """The base model's weights, under the names that they have without adapters."""
    for name, value in state.items():
        path = next((path for path in paths if name.startswith(f"{path}.")), None)
        if path is None:
            yield name, value
        elif (rest := name.removeprefix(f"{path}.")).startswith("base_layer."):
            yield f"{path}.{rest.removeprefix('base_layer.')}", value


def _saved(name: str, adapter: str) -> str:
    """A weight's name in peft's files, where the set of adapters has no name."""
    return PREFIX + name.replace(f".{adapter}.", ".")
