"""Checkpoints of transformers that write text: loaded whole, told apart, not stopped early."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from modalxai.datasets import chosen
from modalxai.encoders import text_checkpoint

SPARE = ("masked_spec_embed",)
"""Weights that are used in training only, and that fine-tuned checkpoints may lack."""
UNSAID = (None, 20)
"""``max_length`` of a generation config that says nothing: 20 tokens cut most sentences."""
POSITIONS = (
    "max_target_positions",
    "max_text_positions",
    "max_position_embeddings",
    "n_positions",
)


def load(checkpoint: str | Path, config: Any, loader: Any, device: str) -> tuple[Any, Any]:
    """A model in eval mode, float32, on ``device``, and its tokenizer; no code of theirs is run.

    Raises
    ------
    CheckpointError
        Whatever is wrong with the checkpoint.
    InputError
        No such device.
    """
    place = chosen.device(device)
    tokenizer = text_checkpoint.load_tokenizer(checkpoint)
    model = text_checkpoint.load_model(checkpoint, config, loader, spare=SPARE)
    return model.eval().to(place), tokenizer


def digest(model: Any, *parts: Any) -> str:
    """Hash of a model's weights and settings, of its generation config and of other json values."""
    # Here, because it brings all of training along.
    from modalxai.training.fingerprint import fingerprint

    generation = getattr(model, "generation_config", None)
    settings = {} if generation is None else generation.to_dict()
    settings.pop("transformers_version", None)
    state = hashlib.blake2b(fingerprint(model), digest_size=16)
    state.update(json.dumps([settings, *parts], sort_keys=True, default=str).encode())
    return state.hexdigest()


def words(tokenizer: Any) -> list[Any]:
    """What tells one tokenizer from another."""
    kind = type(tokenizer)
    return [kind.__name__, sorted(tokenizer.get_vocab().items()), tokenizer.special_tokens_map]


def positions(config: Any) -> int | None:
    """How many tokens a model can read or write, ``None`` where its config does not say."""
    for part in (config, getattr(config, "decoder", None)):
        for name in POSITIONS:
            if isinstance(found := getattr(part, name, None), int):
                return found
    return None


def limit(model: Any, most: int | None) -> dict[str, int]:
    """How long an answer may be: ``most`` new tokens, or as long as the model can write.

    What the checkpoint itself says stays, if it says anything.
    """
    if most is not None:
        return {"max_new_tokens": most}
    if getattr(model.generation_config, "max_length", None) not in UNSAID:
        return {}
    return {"max_length": positions(model.config) or 512}
