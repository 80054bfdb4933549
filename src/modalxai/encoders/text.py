"""Text encoders of transformers: any ``AutoModel`` encoder with its fast tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from modalxai import masking, storage
from modalxai.encoders import folders, lora_files, text_checkpoint, text_collate, text_units
from modalxai.encoders import layers as layering
from modalxai.encoders.byte_tokenizer import byte_tokenizer
from modalxai.encoders.layers import Layers
from modalxai.encoders.text_collate import TextCollate
from modalxai.encoders.tuning import TunedEncoder, Tuning, load_adapters
from modalxai.errors import CheckpointError, InputError, ModalxaiError, RemovalError
from modalxai.types import Features, Inputs, Spans

SETTINGS = "modalxai.json"


class TransformersTextEncoder(TunedEncoder):
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
        ``"none"``, ``"all"``, how many of the top layers learn, or adapters: ``"lora"``, or a
        `modalxai.encoders.Lora` with other settings than the usual ones.
    max_length
        The most tokens of a text, special ones counted; the model's own limit by default.
    truncate
        Cut longer texts, instead of an error.
    layers
        ``"last"`` layer, or all ``"weighted"`` by a learned softmax, see
        `modalxai.encoders.layers.LayerMix`.
    checkpointing
        Save memory in training: layers that learn are run again in the backward pass (gradient
        checkpointing). The gradients are the same.

    Raises
    ------
    DependencyError
        Adapters without peft.
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
        trainable: Tuning = "all",
        max_length: int | None = None,
        truncate: bool = False,
        layers: Layers = "last",
        checkpointing: bool = False,
    ) -> None:
        from transformers import PreTrainedModel

        super().__init__()
        config = self._default_config() if config is None else config
        ready = isinstance(config, PreTrainedModel)
        tokenizer = self._default_tokenizer() if tokenizer is None else tokenizer
        self._require_text(config.config if ready else config, InputError)
        text_collate.require_tokenizer(tokenizer, config.config if ready else config, InputError)
        self.model: Any = config if ready else self._make(config)
        self.dim = int(self.model.config.hidden_size)
        self.max_length, self.truncate = max_length, truncate
        limit = text_collate.limit(tokenizer, self._positions(), max_length)
        self.collate = TextCollate(tokenizer, limit, truncate)
        if tokenizer.mask_token_id is None:
            self.removals = ("empty",)
        self._require_layers(trainable)
        self.tune(self._found_layers(), trainable, layers, checkpointing)

    @classmethod
    def from_config(
        cls,
        config: Any,
        tokenizer: Any = None,
        trainable: Tuning = "all",
        max_length: int | None = None,
        truncate: bool = False,
        layers: Layers = "last",
        checkpointing: bool = False,
    ) -> Self:
        """Random weights from a config of transformers; see the class for the rest."""
        return cls(
            config, tokenizer, trainable, max_length, truncate, layers, checkpointing=checkpointing
        )

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path,
        trainable: Tuning | None = None,
        max_length: int | None = None,
        truncate: bool | None = None,
        layers: Layers | None = None,
        checkpointing: bool | None = None,
    ) -> Self:
        """Load a checkpoint and its tokenizer: safetensors only, no code from the checkpoint.

        Parameters
        ----------
        checkpoint
            A folder, or a name on the hub. Heads are left out.
        trainable, max_length, truncate, layers, checkpointing
            See the class; ``None`` is what `save_pretrained` wrote, else the class's default.
            Adapters that were saved are loaded whatever learns; ``"lora"`` trains them on.

        Raises
        ------
        CheckpointError
            Nothing there, no weights, no tokenizer, a pickle, no text encoder, or weights that
            leave some of the encoder's parameters random.
        DependencyError
            Adapters without peft.
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
                "checkpointing": checkpointing,
            },
        )

    @classmethod
    def _load(cls, checkpoint: str | Path, given: dict[str, Any], **parts: Any) -> Self:
        """The encoder of a checkpoint; ``parts`` are what a subclass's constructor also needs."""
        folders.check(checkpoint, cls)
        saved: dict[str, Any] = {}
        if (record := Path(checkpoint) / SETTINGS).is_file():
            saved |= storage.read_json(record)
        chosen = {name: saved[name] for name in given if name in saved}
        chosen |= {name: value for name, value in given.items() if value is not None}
        config = text_checkpoint.load_config(checkpoint)
        cls._require_text(config, CheckpointError)
        tokenizer = cls._load_tokenizer(checkpoint, config)
        text_collate.require_tokenizer(tokenizer, config, CheckpointError)
        model = cls._load_model(checkpoint, config)
        load_adapters(model, checkpoint, saved)
        encoder = cls(model, tokenizer, **chosen, **parts)
        if not saved:
            folders.check_padding(checkpoint, encoder.model, tokenizer)
        if encoder.mix is not None and "layer_weights" in saved:
            encoder.mix.restore(saved["layer_weights"], str(checkpoint))
        return encoder

    def save_pretrained(self, folder: str | Path) -> None:
        """Write transformers' own files, which it can load too, and our settings beside them.

        Adapters are written as peft does, into the folder ``adapter`` in it.
        """
        lora_files.save(self.model, folder)
        self.collate.tokenizer.save_pretrained(str(folder))
        own = {"max_length": self.max_length, "truncate": self.truncate}
        storage.write_json(Path(folder) / SETTINGS, own | self.tuning())

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

    def _forward(self) -> None:
        ids = torch.zeros(1, 2, dtype=torch.long, device=self.model.device)
        self._contextualise(ids, torch.ones_like(ids))

    def _positions(self) -> int | None:
        """The most tokens that the model has positions for; ``None`` where it has no limit."""
        return text_collate.positions(self.model)

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

    def _require_layers(self, trainable: Tuning) -> None:
        if isinstance(trainable, int) and not self._found_layers():
            raise InputError(
                f"the layers of {type(self.model).__name__} are not known by number",
                expected="trainable='none', trainable='all' or trainable='lora'",
                got=repr(trainable),
                mend="choose one of them, or set requires_grad on its parameters yourself",
            )

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
