"""Texts to tokens: what a tokenizer of transformers must offer, and how long a text may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from modalxai.encoders import text_units
from modalxai.errors import InputError, ModalxaiError, each
from modalxai.types import Inputs

Tokens = tuple[list[int], list[tuple[int, int]], list[bool]]
"""Ids, characters in the text, and whether a token stands for no text; one of each per token."""


@dataclass(frozen=True, eq=False)
class TextCollate:
    """Texts to tokens; holds a tokenizer and no weights. The text is not normalised by us.

    Parameters
    ----------
    tokenizer
        A fast tokenizer of transformers.
    limit
        The most tokens of a text, special ones counted; ``None`` for no limit.
    truncate
        Cut what is longer, instead of an error.
    """

    tokenizer: Any
    limit: int | None
    truncate: bool

    def __call__(self, raws: Sequence[str | None]) -> Inputs:
        """Tensors [B, T] of `modalxai.encoders.text_units`; ``None`` is a missing text.

        Raises
        ------
        InputError
            No string, a blank one, or one that is too long; ``index`` is its row.
        """
        return text_units.pad_rows(each(raws, self._row), self.pad_id)

    @property
    def pad_id(self) -> int:
        """The tokenizer's padding id, 0 where it has none (padding is masked all the same)."""
        return int(self.tokenizer.pad_token_id or 0)

    def _row(self, raw: str) -> dict[str, Tensor]:
        text = text_units.check(raw)
        cut = self.truncate and self.limit is not None
        # Token type ids are never asked for: some tokenizers give wrong ones (KoBERT's).
        options = {
            "truncation": cut,
            "max_length": self.limit if cut else None,
            "return_offsets_mapping": True,
            "return_special_tokens_mask": True,
            "return_token_type_ids": False,
            "return_attention_mask": False,
            "verbose": False,
        }
        ids, offsets, special = self._tokens(text, options)
        if self.limit is not None and len(ids) > self.limit:
            raise InputError(
                "a text that is too long",
                expected=f"at most {self.limit} tokens, special ones counted",
                got=str(len(ids)),
                mend="shorten it, or make the encoder with truncate=True",
            )
        return text_units.row(text, ids, offsets, special)

    def _tokens(self, text: str, options: dict[str, Any]) -> Tokens:
        """The tokens of a checked text, for encoders whose tokenizer needs more than the text."""
        tokens = self.tokenizer(text, **options)
        special = [bool(flag) for flag in tokens["special_tokens_mask"]]
        return tokens["input_ids"], tokens["offset_mapping"], special


def require_tokenizer(tokenizer: Any, config: Any, error: type[ModalxaiError]) -> None:
    """Refuse a tokenizer that is not fast, or has more ids than the model.

    Raises
    ------
    ModalxaiError
        As ``error``.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise error(
            "a tokenizer without character offsets",
            expected="a fast tokenizer of transformers",
            got=type(tokenizer).__name__,
            mend="convert it to tokenizer.json, or load it with PreTrainedTokenizerFast",
        )
    highest = max(tokenizer.get_vocab().values())
    if highest >= config.vocab_size:
        raise error(
            "the tokenizer has more ids than the model",
            expected=f"ids below {config.vocab_size}",
            got=f"ids up to {highest}",
            mend="take the tokenizer that belongs to the model, or a config with this vocab_size",
        )


def limit(tokenizer: Any, most: int | None, asked: int | None) -> int | None:
    """The most tokens of a text.

    Parameters
    ----------
    tokenizer
        Adds special tokens, for which there must be room.
    most
        What the model has positions for; ``None`` where it has no limit.
    asked
        The user's own limit; ``None`` for the model's.

    Raises
    ------
    InputError
        A limit that leaves no token, or has no position.
    """
    if asked is None:
        return most
    least = int(tokenizer.num_special_tokens_to_add()) + 1
    whole = isinstance(asked, int) and not isinstance(asked, bool)
    if not whole or asked < least or (most is not None and asked > most):
        raise InputError(
            "max_length out of its range",
            expected=f"a whole number from {least} to {most or 'any'}",
            got=repr(asked),
            mend="leave it out for the model's own limit",
        )
    return asked


def positions(model: nn.Module) -> int | None:
    """The most tokens that a model has positions for; ``None`` where it has no limit."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            # RoBERTa counts positions from padding_idx + 1, so its table is longer than its limit.
            used = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - used
    limit: int | None = getattr(model.config, "max_position_embeddings", None)
    return limit
