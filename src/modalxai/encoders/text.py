"""Text encoders of transformers: any ``AutoModel`` encoder with its fast tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from modalxai import masking, storage
from modalxai.encoders import layers as layering
from modalxai.encoders import text_checkpoint, text_units
from modalxai.encoders.byte_tokenizer import byte_tokenizer
from modalxai.encoders.layers import Layers
from modalxai.encoders.trainable import PartlyTrainable, Trainable
from modalxai.errors import CheckpointError, InputError, ModalxaiError, RemovalError, each
from modalxai.types import Features, Inputs, Spans

SETTINGS = "modalxai.json"

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


class TransformersTextEncoder(PartlyTrainable):
    """A text encoder of transformers (BERT, RoBERTa, ELECTRA, KLUE, ...).

    Every token gives a vector, special ones too; with most tokenizers the first is [CLS]. The spans
    of special tokens have no extent.

    Parameters
    ----------
    config
        A config of transformers, for random weights (``DistilBertConfig()`` by default), or a model
        of transformers, which is used as it is.
    tokenizer
        A fast tokenizer of transformers; by default bytes, which need no download.
    trainable
        ``"none"``, ``"all"``, or how many of the top layers learn.
    max_length
        The most tokens of a text, special ones counted; the model's own limit by default.
    truncate
        Cut longer texts, instead of an error.
    layers
        ``"last"`` layer, or all ``"weighted"`` by a learned softmax, see
        `modalxai.encoders.layers.LayerMix`.

    Raises
    ------
    InputError
        No text encoder, a tokenizer that is not fast or has more ids than the model, or a setting
        out of its range.
    """

    removals: tuple[str, ...] = text_units.REMOVALS
    kinds: tuple[str, ...] = ("word", "token")
    model_types: tuple[str, ...] = ()
    """The architectures a preset takes; empty for any."""
    layer_paths: tuple[str, ...] = ("transformer.layer", "encoder.layer")
    """Where a model may keep its layers."""

    def __init__(
        self,
        config: Any = None,
        tokenizer: Any = None,
        trainable: Trainable = "all",
        max_length: int | None = None,
        truncate: bool = False,
        layers: Layers = "last",
    ) -> None:
        from transformers import PreTrainedModel

        super().__init__()
        config = self._default_config() if config is None else config
        ready = isinstance(config, PreTrainedModel)
        tokenizer = self._default_tokenizer() if tokenizer is None else tokenizer
        self._require_text(config.config if ready else config, InputError)
        _require_tokenizer(tokenizer, config.config if ready else config, InputError)
        self.model: Any = config if ready else self._make(config)
        self.dim = int(self.model.config.hidden_size)
        self.trainable, self.max_length, self.truncate = trainable, max_length, truncate
        self.collate = TextCollate(tokenizer, self._limit(tokenizer), truncate)
        if tokenizer.mask_token_id is None:
            self.removals = ("empty",)
        self.layers = layers
        self.mix = layering.make(layers, len(self._found_layers()))
        self.train_only(trainable, self._layers())
        if self.mix is not None:
            self.mix.requires_grad_(True)

    @classmethod
    def from_config(
        cls,
        config: Any,
        tokenizer: Any = None,
        trainable: Trainable = "all",
        max_length: int | None = None,
        truncate: bool = False,
        layers: Layers = "last",
    ) -> Self:
        """Random weights from a config of transformers; see the class for the rest."""
        return cls(config, tokenizer, trainable, max_length, truncate, layers)

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path,
        trainable: Trainable | None = None,
        max_length: int | None = None,
        truncate: bool | None = None,
        layers: Layers | None = None,
    ) -> Self:
        """Load a checkpoint and its tokenizer: safetensors only, no code from the checkpoint.

        Parameters
        ----------
        checkpoint
            A folder, or a name on the hub. Heads are left out.
        trainable, max_length, truncate, layers
            See the class; ``None`` is what `save_pretrained` wrote, else the class's default.

        Raises
        ------
        CheckpointError
            Nothing there, no weights, no tokenizer, a pickle, no text encoder, or weights that
            leave some of the encoder's parameters random.
        InputError
            A setting out of its range.
        """
        return cls._load(
            checkpoint,
            {
                "trainable": trainable,
                "max_length": max_length,
                "truncate": truncate,
                "layers": layers,
            },
        )

    @classmethod
    def _load(cls, checkpoint: str | Path, given: dict[str, Any], **parts: Any) -> Self:
        """The encoder of a checkpoint; ``parts`` are what a subclass's constructor also needs."""
        saved: dict[str, Any] = {}
        if (record := Path(checkpoint) / SETTINGS).is_file():
            saved |= storage.read_json(record)
        chosen = {name: saved[name] for name in given if name in saved}
        chosen |= {name: value for name, value in given.items() if value is not None}
        config = text_checkpoint.load_config(checkpoint)
        cls._require_text(config, CheckpointError)
        tokenizer = cls._load_tokenizer(checkpoint, config)
        _require_tokenizer(tokenizer, config, CheckpointError)
        encoder = cls(cls._load_model(checkpoint, config), tokenizer, **chosen, **parts)
        if encoder.mix is not None and "layer_weights" in saved:
            encoder.mix.restore(saved["layer_weights"], str(checkpoint))
        return encoder

    def save_pretrained(self, folder: str | Path) -> None:
        """Write transformers' own files, which it can load too, and our settings beside them."""
        self.model.save_pretrained(str(folder))
        self.collate.tokenizer.save_pretrained(str(folder))
        storage.write_json(Path(folder) / SETTINGS, self._settings())

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "trainable": self.trainable,
            "max_length": self.max_length,
            "truncate": self.truncate,
            "layers": self.layers,
        }
        if self.mix is not None:
            settings["layer_weights"] = self.mix.weights.tolist()
        return settings

    def forward(self, inputs: Inputs) -> Features:
        """Tokens [B, T] to vectors [B, T, D], special tokens' included."""
        mask = inputs["attention_mask"]
        seen = masking.attendable(mask).long()
        hidden = layering.run(
            self.mix, self._found_layers(), lambda: self._contextualise(inputs["input_ids"], seen)
        )
        return Features(masking.blank(hidden, mask), mask, text_units.spans(inputs))

    def units(self, inputs: Inputs, kind: str) -> Spans:
        """The units of each text, [B, U] in characters.

        ``"word"`` is a whitespace-delimited word, its sub-tokens joined; ``"token"`` every token
        that is not special. Tokens that share a character are one unit.

        Raises
        ------
        RemovalError
            An unknown ``kind``.
        """
        return text_units.units(inputs, kind, self.kinds)

    def remove(
        self, inputs: Inputs, units: Spans, keep: Tensor, how: str, seed: int | Sequence[int] = 0
    ) -> Inputs:
        """The input without some units, see `modalxai.encoders.text_units.remove`.

        ``"mask"`` puts the mask token in place of every token, ``"empty"`` deletes the tokens;
        special tokens stay. A tokenizer that adds none (GPT-2's) leaves nothing of an emptied
        text, which then reads as missing. Nothing is drawn, so ``seed`` is not used.

        Raises
        ------
        RemovalError
            An unknown ``how``, or ``"mask"`` where the tokenizer has no mask token.
        InputError
            ``keep`` or ``units`` of the wrong type, shape or unit.
        """
        tokenizer = self.collate.tokenizer
        if how == "mask" and tokenizer.mask_token_id is None:
            raise RemovalError(
                "this tokenizer has no mask token",
                expected=f"one of {list(self.removals)}",
                got="'mask'",
                mend="choose 'empty'",
            )
        mask_id, pad_id = int(tokenizer.mask_token_id or 0), self.collate.pad_id
        return text_units.remove(inputs, units, keep, how, self.removals, mask_id, pad_id)

    # What a preset may make in another way.

    @classmethod
    def _default_config(cls) -> Any:
        from transformers import DistilBertConfig

        return DistilBertConfig()

    @classmethod
    def _default_tokenizer(cls) -> Any:
        return byte_tokenizer()

    @classmethod
    def _make(cls, config: Any) -> Any:
        return text_checkpoint.make(config)

    @classmethod
    def _load_tokenizer(cls, checkpoint: str | Path, config: Any) -> Any:
        return text_checkpoint.load_tokenizer(checkpoint)

    @classmethod
    def _load_model(cls, checkpoint: str | Path, config: Any) -> Any:
        return text_checkpoint.load_model(checkpoint, config)

    def _contextualise(self, ids: Tensor, seen: Tensor) -> Tensor:
        """Ids and the attention mask, both int [B, T], to the last hidden state [B, T, D]."""
        hidden: Tensor = self.model(input_ids=ids, attention_mask=seen).last_hidden_state
        return hidden

    def _positions(self) -> int | None:
        """The most tokens that the model has positions for; ``None`` where it has no limit."""
        return _positions(self.model)

    @classmethod
    def _require_text(cls, config: Any, error: type[ModalxaiError]) -> None:
        kind = getattr(config, "model_type", type(config).__name__)
        made = text_checkpoint.model_class(config)
        reads = getattr(made, "main_input_name", None)
        whole = reads == "input_ids" and not config.is_encoder_decoder and not config.sub_configs
        if not whole or (cls.model_types and kind not in cls.model_types):
            raise error(
                f"not a model for {cls.__name__}",
                expected=" or ".join(cls.model_types) or "a text encoder, such as BERT",
                got=str(kind),
                mend="choose another checkpoint, or the encoder that takes this one",
            )

    def _limit(self, tokenizer: Any) -> int | None:
        """The most tokens of a text."""
        most = self._positions()
        asked = self.max_length
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

    def _layers(self) -> Sequence[nn.Module]:
        layers = self._found_layers()
        if not layers and self.trainable not in ("none", "all"):
            raise InputError(
                f"the layers of {type(self.model).__name__} are not known by number",
                expected="trainable='none' or trainable='all'",
                got=repr(self.trainable),
                mend="choose one of the two, or set requires_grad on its parameters yourself",
            )
        return layers

    def _found_layers(self) -> list[nn.Module]:
        """The layers from bottom to top; none where they are not known by number."""
        for path in self.layer_paths:
            try:
                return list(self.model.get_submodule(path).children())
            except AttributeError:
                continue
        return []


class DistilBertEncoder(TransformersTextEncoder):
    """`TransformersTextEncoder` for DistilBERT checkpoints; its first vector is [CLS].

    References
    ----------
    Sanh et al. (2019), DistilBERT, a distilled version of BERT, arXiv:1910.01108.
    """

    model_types = ("distilbert",)


def _require_tokenizer(tokenizer: Any, config: Any, error: type[ModalxaiError]) -> None:
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


def _positions(model: nn.Module) -> int | None:
    """The most tokens that a model has positions for; ``None`` where it has no limit."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            # RoBERTa counts positions from padding_idx + 1, so its table is longer than its limit.
            used = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - used
    limit: int | None = getattr(model.config, "max_position_embeddings", None)
    return limit
