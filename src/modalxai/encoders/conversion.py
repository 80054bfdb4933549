"""The one place that reads a pickle: weights in no other form, once, and nothing but tensors."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from modalxai import storage
from modalxai.errors import CheckpointError

SOURCE, TARGET = "pytorch_model.bin", "model.safetensors"


def convert_hanbert(folder: str | Path) -> Path:
    """Write HanBERT's ``pytorch_model.bin`` again as ``model.safetensors`` beside it.

    The file is read by ``torch.load(weights_only=True)``, which rebuilds tensors and plain
    containers and refuses whatever else a pickle could run.

    Parameters
    ----------
    folder
        The published folder, with config.json.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    CheckpointError
        No such file, one that is there already, or a pickle of more than tensors.
    """
    source, target = Path(folder) / SOURCE, Path(folder) / TARGET
    if target.exists():
        raise CheckpointError(
            f"{target} is there already",
            expected=f"a folder without {TARGET}",
            got="one that was converted before",
            mend="load the folder as it is, or take the file away first",
        )
    if not source.is_file():
        raise CheckpointError(
            f"{folder} holds no {SOURCE}",
            expected="the folder of HanBERT as it was published",
            got="another folder, or none",
            mend="give the folder that the archive unpacks to",
        )
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
    if not named or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(
            f"{source} holds something else than weights",
            expected="names and their tensors",
            got=type(weights).__name__,
            mend="save the model's state_dict",
        )
    storage.write_tensors(target, weights)
    return target
