"""A model whose weights were renamed while they were read, free of that history."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def with_own_names(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights in a new model; the random generator moves.

    transformers keeps the ``key_mapping`` of a model that it loaded, and saves under the names it
    read. Versions 5.0 and 5.1 turn a replacement by nothing round wrongly: what they save has
    names that nobody can read again.
    """
    fresh: PreTrainedModel = type(model)(model.config)
    fresh.load_state_dict(model.state_dict())
    fresh.train(model.training)
    return fresh
