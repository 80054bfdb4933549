"""Text models of transformers: made from a config, or loaded whole or not at all."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from modalxai import saved_settings
from modalxai.encoders.own_names import with_own_names
from modalxai.errors import CheckpointError, ModalxaiError
from modalxai.foreign_errors import cause, told
from modalxai.pretrained import require_safetensors

MEND_NAME = "check the name or path; a name needs a network, a gated one a login"


def make(config: Any) -> Any:
    """The bare encoder of a config, with random weights in float32; the config is copied."""
    from transformers import AutoModel

    build: Any = AutoModel.from_config
    return build(
        copy.deepcopy(config),
        trust_remote_code=False,
        dtype=torch.float32,
        **_without_pooler(config),
    )


def load_config(checkpoint: str | Path) -> Any:
    """The config of a folder or of a name on the hub; no code of the checkpoint is run.

    Raises
    ------
    CheckpointError
        There is none, or it cannot be read.
    """
    from transformers import AutoConfig

    with _loading(checkpoint, "a config.json of transformers"):
        config = AutoConfig.from_pretrained(str(checkpoint), trust_remote_code=False)
        saved_settings.check_depth(config.to_dict(), checkpoint)
    return config


def load_tokenizer(checkpoint: str | Path) -> Any:
    """The tokenizer beside the config.

    Raises
    ------
    CheckpointError
        There is none, or it cannot be read.
    """
    from transformers import AutoTokenizer

    mend = "save the tokenizer beside the weights: tokenizer.save_pretrained(folder)"
    with _loading(checkpoint, "a tokenizer", mend):
        tokenizer = AutoTokenizer.from_pretrained(str(checkpoint), trust_remote_code=False)
        # Where no file is found transformers makes up a tokenizer that knows no text.
        if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
            raise CheckpointError(
                f"{checkpoint}: holds no tokenizer",
                expected="tokenizer.json, or the vocabulary of its tokenizer",
                got=f"a vocabulary of {len(tokenizer)} special tokens",
                mend=mend,
            )
        if not isinstance(tokenizer.model_max_length, int | float):
            raise CheckpointError(
                f"{checkpoint}: the tokenizer has no length that is one",
                expected="model_max_length, a number of tokens",
                got=f"{tokenizer.model_max_length!r:.80}",
                mend=mend,
            )
    return tokenizer


def load_model(
    checkpoint: str | Path,
    config: Any,
    loader: Any = None,
    renames: Mapping[str, str] | None = None,
    spare: Collection[str] = (),
) -> Any:
    """The encoder's weights, float32, from safetensors only; a head's weights are left out.

    Parameters
    ----------
    checkpoint
        A folder, or a name on the hub.
    config
        Its config.
    loader
        The class of transformers that loads it, ``AutoModel`` by default.
    renames
        Regular expressions of a whole model's weights, to the names they have in ``loader``.
    spare
        Last parts of the names of weights that may be missing, and are 0 then.

    Raises
    ------
    CheckpointError
        No weights, a pickle, or weights that leave some of the encoder's parameters random.
    """
    from transformers import AutoModel

    loader = AutoModel if loader is None else loader
    require_safetensors(checkpoint)
    mend = "save the weights with the config they were trained with"
    # Forked, because what a file lacks is drawn at random before it can be refused.
    with torch.random.fork_rng(devices=[]), _loading(checkpoint, "weights that fit", mend):
        model, info = loader.from_pretrained(
            str(checkpoint),
            config=config,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            **({"key_mapping": dict(renames)} if renames else _without_pooler(config)),
        )
        model = with_own_names(model) if renames else model
    unused = {key for key in info["missing_keys"] if key.rpartition(".")[2] in spare}
    for key in unused:
        torch.nn.init.zeros_(model.get_parameter(key))
    if missing := sorted(set(info["missing_keys"]) - unused):
        raise CheckpointError(
            f"{checkpoint}: weights of the encoder are missing and would be random",
            expected=f"every weight of {type(model).__name__}",
            got=f"{len(missing)} missing: {missing[:8]}",
            mend=mend,
        )
    return model


def find(checkpoint: str | Path, *names: str) -> Path | None:
    """The first of some files that a folder or a name on the hub has, ``None`` if it has none."""
    from transformers.utils.hub import cached_file

    with _loading(checkpoint, f"one of {list(names)}"):
        for name in names:
            found = cached_file(str(checkpoint), name, _raise_exceptions_for_missing_entries=False)
            if found is not None:
                return Path(found)
    return None


def model_class(config: Any) -> Any:
    """The class that a config makes, ``None`` where transformers has none."""
    from transformers import MODEL_MAPPING

    found = MODEL_MAPPING.get(type(config), None)
    return found[0] if isinstance(found, tuple) else found


def _without_pooler(config: Any) -> dict[str, bool]:
    # We read the last layer; a pooler would be weights that never learn, which stops DDP.
    parameters = inspect.signature(model_class(config).__init__).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in parameters else {}


@contextmanager
def _loading(checkpoint: str | Path, what: str, mend: str = MEND_NAME) -> Iterator[None]:
    """Any failure of transformers or the hub as our own error, its cause kept."""
    try:
        yield
    except ModalxaiError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{checkpoint}: cannot be loaded",
            expected=what,
            got=told(error),
            mend=mend,
        ) from cause(error)
