"""The one place that reads a pickle: weights in no other form, once, and nothing but tensors."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from modalxai import plugins, storage
from modalxai.errors import CheckpointError

SOURCE, TARGET = "pytorch_model.bin", "model.safetensors"
INDEX = ".index.json"
"""After either name: which file of several holds which weight."""


def convert(name: str, folder: str | Path) -> Path:
    """Write the weights of a published folder again as ``model.safetensors`` beside them.

    SpeechT5, HanBERT, KoBERT and many other models exist only as ``pytorch_model.bin``, in one
    file or in several with an index. They are read by ``torch.load(weights_only=True)``, which
    rebuilds tensors and plain containers and refuses whatever else a pickle could run. Nothing
    that is there is changed.

    Parameters
    ----------
    name
        The encoder that is to load them, by its plugin name; it says which models are its own.
    folder
        The published folder.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    CheckpointError
        No such file, one that is there already, a pickle of more than tensors, or the model of
        another encoder.
    PluginError
        No encoder has the name.
    """
    folder = Path(folder)
    _check_model(name, folder)
    target = folder / TARGET
    for name in (TARGET, TARGET + INDEX):
        if (folder / name).exists():
            raise CheckpointError(
                f"{folder / name} is there already",
                expected=f"a folder without {name}",
                got="one that was converted before",
                mend="load the folder as it is, or take the file away first",
            )
    weights: dict[str, Tensor] = {}
    for source in _sources(folder):
        weights |= _read(source)
    storage.write_tensors(target, weights)
    return target


def _check_model(name: str, folder: Path) -> None:
    """Refuse the folder of another architecture, as far as its config tells."""
    encoder = plugins.load("encoders", name)
    family = getattr(encoder, "family", None)
    types = getattr(encoder, "model_types", None) if family is None else family.types
    if types is None:
        raise CheckpointError(
            f"{name} reads no model of transformers",
            expected="an encoder that does, such as hanbert, kobert or wav2vec2",
            got=name,
            mend="give the folder to the encoder as it is",
        )
    config = folder / "config.json"
    kind = storage.read_json(config).get("model_type") if config.is_file() else None
    if types and kind not in (None, *types):
        raise CheckpointError(
            f"{folder} is of another architecture",
            expected=f"model_type in {list(types)}, which {name} reads",
            got=repr(kind),
            mend="name the encoder that takes this model, or transformers-text for any other text",
        )


def _sources(folder: Path) -> list[Path]:
    """The one file, or those that the index names."""
    names, index = [SOURCE], folder / (SOURCE + INDEX)
    if index.is_file() and not (folder / SOURCE).is_file():
        with storage.reading(index):
            places = storage.read_json(index)["weight_map"].values()
            # Bare names: an index must not lead out of its folder.
            names = sorted({Path(place).name for place in places}) or names
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise CheckpointError(
            f"{folder} holds no {missing[0]}",
            expected=f"the folder of a model as it was published, with {SOURCE}",
            got="another folder, or none",
            mend="give the folder that was downloaded, or that the archive unpacks to",
        )
    return [folder / name for name in names]


def _read(source: Path) -> dict[str, Tensor]:
    try:
        weights = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader of broken files raises whatever it trips over
        raise CheckpointError(
            f"{source} is refused",
            expected="a pickle of tensors and nothing else",
            got=" ".join(str(error).split())[:300],
            mend="do not open it in any other way; get the file from its publisher",
        ) from error
    named = isinstance(weights, dict) and all(isinstance(name, str) for name in weights)
    if not named or not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(
            f"{source} holds something else than weights",
            expected="names and their tensors",
            got=type(weights).__name__,
            mend="save the model's state_dict",
        )
    return dict(weights)
