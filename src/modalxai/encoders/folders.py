"""What a folder must hold before transformers is asked to load it, told with the mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modalxai import plugins, storage
from modalxai.encoders.conversion import INDEX, SOURCE, TARGET
from modalxai.errors import CheckpointError, PluginError


def check(checkpoint: str | Path, encoder: type) -> None:
    """Refuse a folder that transformers could not load, where we know what its owner should do.

    Parameters
    ----------
    checkpoint
        A folder; a name on the hub passes, as only safetensors are asked of it.
    encoder
        The class that is to load it.

    Raises
    ------
    CheckpointError
        Weights that are a pickle only; or a config.json that names no architecture, such as that
        of an encoder that is not of transformers.
    """
    folder = Path(checkpoint)
    found = [name for name in (SOURCE, SOURCE + INDEX) if (folder / name).is_file()]
    if found and not any(folder.glob("*.safetensors")):
        raise CheckpointError(
            f"{folder} holds no {TARGET}",
            expected="weights as safetensors",
            got=f"a pickle, {found}, which is never read",
            mend=f"turn it into safetensors once: modalxai convert {_plugin(encoder)} {folder}",
        )
    config = folder / "config.json"
    if config.is_file() and "model_type" not in storage.read_json(config):
        raise CheckpointError(
            f"{folder} cannot be loaded: its config.json names no architecture",
            expected="a config.json of transformers, with model_type",
            got="settings of another kind, or of a time before model_type",
            mend="load it with the encoder that saved it; to an old BERT's config.json (HanBERT's) "
            'add "model_type": "bert"',
        )


def check_padding(checkpoint: str | Path, model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer whose padding is text to a model that tells padding by its id.

    RoBERTa and its kin count positions over what is not padding. The vocabularies of klue/bert and
    klue/roberta are of one size, so nothing else would tell them apart.

    Raises
    ------
    CheckpointError
        The two ids differ.
    """
    own = tokenizer.pad_token_id
    for name, module in model.named_modules():
        index = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and None not in (index, own) and index != own:
            raise CheckpointError(
                f"{checkpoint}: the tokenizer's padding is a token of text to the model",
                expected=f"{index} for padding, which the model's positions leave out",
                got=f"{own}, {tokenizer.pad_token!r}",
                mend="take the tokenizer that was published with the model",
            )


def _plugin(encoder: type) -> str:
    """The plugin's name of a class, or of the nearest base that has one."""
    for cls in encoder.__mro__:
        try:
            return plugins.origin(cls).name
        except PluginError:
            continue
    return "transformers-text"
