"""The encoders of SpeechT5: of voice conversion for speech, of text-to-speech for text.

Both are one transformer behind different front ends ("prenets"), in one space since pre-training.

Siamese initialisation is two copies of one architecture that start from the same weights and are
tuned apart: ``copy.deepcopy(encoder)`` for two encoders of a kind. For a speech and a text encoder
that start from one transformer::

    text.model.wrapped_encoder.load_state_dict(speech.model.wrapped_encoder.state_dict())

References
----------
Ao et al. (2022), SpeechT5: Unified-Modal Encoder-Decoder Pre-Training for Spoken Language
Processing.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from modalxai import masking, storage
from modalxai.encoders import sentencepieces, text_checkpoint
from modalxai.encoders.layers import Layers
from modalxai.encoders.speech_checkpoints import Family, check
from modalxai.encoders.text import TransformersTextEncoder
from modalxai.encoders.text_collate import TextCollate, Tokens
from modalxai.encoders.tuning import Tuning
from modalxai.encoders.wav2vec2 import Wav2Vec2Encoder
from modalxai.errors import CheckpointError, InputError, ModalxaiError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

RENAMES = {r"^speecht5\.encoder\.": ""}
SPECIAL = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
MASK, BLANK = "<mask>", "<ctc_blank>"
TEMPLATE = "$A </s>"


def _speech_model() -> Any:
    from transformers.models.speecht5.modeling_speecht5 import SpeechT5EncoderWithSpeechPrenet

    return SpeechT5EncoderWithSpeechPrenet


def _text_model() -> Any:
    from transformers.models.speecht5.modeling_speecht5 import SpeechT5EncoderWithTextPrenet

    return SpeechT5EncoderWithTextPrenet


SPEECH = Family(
    "SpeechT5 voice conversion",
    ("speecht5",),
    _speech_model,
    "SpeechT5FeatureExtractor",
    normalize=False,
    renames=RENAMES,
)


class SpeechT5SpeechEncoder(Wav2Vec2Encoder):
    """SpeechT5's encoder with its speech prenet: one vector every 20 ms.

    Takes voice conversion and recognition checkpoints (microsoft/speecht5_vc, speecht5_asr), the
    encoder's own folder, or a config; the rest of the model is left out. The prenet is a wav2vec
    2.0 front end with a group norm, so a row of a batch is what the clip gives alone for the
    reason told there. Clips are not standardised unless ``normalize=True``, as in pre-training.

    Parameters
    ----------
    config
        A ``SpeechT5Config``, for random weights, the published size by default; or a
        ``SpeechT5EncoderWithSpeechPrenet``, which is taken over.
    trainable, normalize, segment_seconds, sample_rate, layers, checkpointing, spec_augment
        See `Wav2Vec2Encoder`; ``normalize=None`` means no.

    Raises
    ------
    CheckpointError
        A model of another type.
    InputError
        Impossible settings.

    References
    ----------
    Ao et al. (2022), SpeechT5, section 2.1.
    """

    family = SPEECH

    @property
    def _prenet(self) -> Any:
        return self.model.prenet

    @property
    def _extractor(self) -> nn.Module:
        extractor: nn.Module = self.model.prenet.feature_encoder
        return extractor

    @property
    def _transformer(self) -> Any:
        return self.model.wrapped_encoder

    def _contextualise(self, values: Tensor, mask: Tensor) -> Tensor:
        values = values + self._prenet.pos_conv_embed(values)
        # 1 is padding here: the table of positions counts what is not.
        values = values + self._prenet.pos_sinusoidal_embed((~mask).long())
        hidden: Tensor = self._transformer(
            values, attention_mask=masking.attendable(mask)
        ).last_hidden_state
        return hidden

    @classmethod
    def _make(cls, found: PretrainedConfig | PreTrainedModel | None) -> Any:
        from transformers import PreTrainedModel, SpeechT5Config

        ready = isinstance(found, PreTrainedModel)
        config: Any = SpeechT5Config() if found is None else getattr(found, "config", found)
        check(config, type(config).__name__, cls.family)
        if ready and not isinstance(found, _speech_model()):
            raise CheckpointError(
                f"{type(found).__name__} is not the encoder alone",
                expected="SpeechT5EncoderWithSpeechPrenet",
                got=type(found).__name__,
                mend="give model.speecht5.encoder of a voice conversion model",
            )
        model: Any = found if ready else _random(_speech_model(), config)
        model.wrapped_encoder.layerdrop = 0.0
        return model


@dataclass(frozen=True, eq=False)
class CharacterCollate(TextCollate):
    """Texts to characters; what the vocabulary cannot hold is an error, never an unknown."""

    def _tokens(self, text: str, options: dict[str, Any]) -> Tokens:
        ids, offsets, special = super()._tokens(text, options)
        unknown = self.tokenizer.unk_token_id
        wrong = [text[a:b] for index, (a, b) in zip(ids, offsets, strict=True) if index == unknown]
        if wrong:
            raise InputError(
                "a text that SpeechT5's vocabulary cannot hold",
                expected="Latin letters and common punctuation",
                got=repr("".join(wrong)[:20]),
                mend="romanise the text or translate it to English first; write numbers as words",
            )
        return ids, offsets, special


class SpeechT5TextEncoder(TransformersTextEncoder):
    """SpeechT5's encoder with its text prenet: one vector per character, </s> at the end.

    Takes text-to-speech checkpoints (microsoft/speecht5_tts), the encoder's own folder, or a
    config; the rest of the model is left out. The vocabulary holds 81 characters of English:
    Korean, and digits in the published one, are refused, with the mend. A space stays when the
    words beside it are removed.

    From its name alone it has random weights, and a vocabulary of letters, digits and punctuation.

    Parameters
    ----------
    config
        A ``SpeechT5Config``, for random weights, the published size by default; or a
        ``SpeechT5EncoderWithTextPrenet``, which is used as it is.
    tokenizer
        A fast tokenizer of transformers with an unknown token; see `speecht5_tokenizer`.
    trainable, max_length, truncate, layers, checkpointing
        See `TransformersTextEncoder`; the limit is ``max_text_positions`` of the config.

    Raises
    ------
    InputError
        A model of another type, a tokenizer that does not fit, or a setting out of its range.

    References
    ----------
    Ao et al. (2022), SpeechT5, section 2.1.
    """

    layer_paths = ("wrapped_encoder.layers",)

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

        if isinstance(config, PreTrainedModel) and not isinstance(config, _text_model()):
            raise InputError(
                f"{type(config).__name__} is not the encoder alone",
                expected="SpeechT5EncoderWithTextPrenet",
                got=type(config).__name__,
                mend="give model.speecht5.encoder of a text-to-speech model",
            )
        super().__init__(config, tokenizer, trainable, max_length, truncate, layers, checkpointing)
        self.model.wrapped_encoder.layerdrop = 0.0  # see Wav2Vec2Encoder
        plain = self.collate
        self.collate = CharacterCollate(plain.tokenizer, plain.limit, plain.truncate)

    def train(self, mode: bool = True) -> Self:
        """Like ``nn.Module.train``; what is frozen stays in eval."""
        super().train(mode)
        if self.trainable != "all":
            # It has no weights of its own, but sits before the frozen bottom of the transformer.
            self.model.wrapped_encoder.dropout.eval()
        return self

    @classmethod
    def _default_config(cls) -> Any:
        from transformers import SpeechT5Config

        return SpeechT5Config()

    @classmethod
    def _default_tokenizer(cls) -> Any:
        return character_tokenizer()

    @classmethod
    def _require_text(cls, config: Any, error: type[ModalxaiError]) -> None:
        if getattr(config, "model_type", None) != "speecht5":
            raise error(
                f"not a model for {cls.__name__}",
                expected="speecht5",
                got=str(getattr(config, "model_type", type(config).__name__)),
                mend="choose another checkpoint, or the encoder that takes this one",
            )

    @classmethod
    def _make(cls, config: Any) -> Any:
        return _random(_text_model(), config)

    @classmethod
    def _load_model(cls, checkpoint: str | Path, config: Any) -> Any:
        return text_checkpoint.load_model(checkpoint, config, _text_model(), RENAMES)

    @classmethod
    def _load_tokenizer(cls, checkpoint: str | Path, config: Any) -> Any:
        model = text_checkpoint.find(checkpoint, "spm_char.model")
        if model is None:
            return text_checkpoint.load_tokenizer(checkpoint)
        added = text_checkpoint.find(checkpoint, "added_tokens.json")
        return speecht5_tokenizer(model, added, config.vocab_size)

    def _contextualise(self, ids: Tensor, seen: Tensor) -> Tensor:
        hidden: Tensor = self.model(ids, attention_mask=seen).last_hidden_state
        return hidden

    def _positions(self) -> int | None:
        most: int = self.model.config.max_text_positions
        return most


def speecht5_tokenizer(model: Path, added: Path | None, size: int) -> Any:
    """SpeechT5's tokenizer from its files.

    Parameters
    ----------
    model
        ``spm_char.model``, a SentencePiece model of characters.
    added
        ``added_tokens.json``, the names and ids of ``<mask>`` and ``<ctc_blank>``; where there is
        none they follow the characters, in this order, as far as the model has ids for them.
    size
        The model's number of ids.

    Raises
    ------
    CheckpointError
        No such model, or added tokens that do not follow the characters.
    """
    pieces = sentencepieces.read(model)
    count = len(pieces.names)
    names = [MASK, BLANK][: max(0, size - count)]
    if added is not None:
        found = storage.read_json(added)
        names = sorted(found, key=lambda name: int(found[name]))
        if [int(found[name]) for name in names] != list(range(count, count + len(names))):
            raise CheckpointError(
                f"{added} does not fit the vocabulary",
                expected=f"ids from {count} on",
                got=str(found),
                mend="take the files that were published together",
            )
    special = SPECIAL | ({"mask_token": MASK} if MASK in names else {})
    extra = [name for name in names if name != MASK]
    pieces = pieces.extended(names)
    made = sentencepieces.tokenizer(pieces, special, TEMPLATE, extra=extra)
    sentencepieces.check(made, pieces, " This is  a test.")
    return made


def character_tokenizer() -> Any:
    """A tokenizer of 81 ids like SpeechT5's, built in code: for random weights only."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    characters = sentencepieces.MARK + letters + letters.upper() + "0123456789" + ".,?!'\"-:;()/"
    names = (*SPECIAL.values(), *characters[: 79 - len(SPECIAL)], MASK, BLANK)
    pieces = sentencepieces.Pieces(
        names, (0.0,) * len(names), names.index("<unk>"), None, "the built-in vocabulary"
    )
    special = SPECIAL | {"mask_token": MASK}
    return sentencepieces.tokenizer(pieces, special, TEMPLATE, extra=[BLANK])


def _random(kind: Any, config: Any) -> Any:
    """A model with random weights in float32; the config is copied."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        return kind(copy.deepcopy(config))
    finally:
        torch.set_default_dtype(before)
