"""Korean text encoders: KLUE, KoBERT and HanBERT."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from modalxai.encoders import text_checkpoint
from modalxai.encoders.byte_tokenizer import byte_tokenizer
from modalxai.encoders.kobert_tokenizer import KoBertTokenizer
from modalxai.encoders.layers import Layers
from modalxai.encoders.morphemes import Moran, MorphemeAnalyser, surface
from modalxai.encoders.text import TransformersTextEncoder
from modalxai.encoders.text_collate import TextCollate, Tokens
from modalxai.encoders.tuning import Tuning
from modalxai.errors import CheckpointError, DependencyError, InputError

LIBRARY = "MODALXAI_HANBERT_LIBRARY"
"""The environment variable that names libmoran4dnlp.so."""

BERT_SPECIAL = {
    "unk_token": "[UNK]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
TEMPLATE = "[CLS] $A [SEP]"


class KlueEncoder(TransformersTextEncoder):
    """`TransformersTextEncoder` for klue/bert-base and klue/roberta: the Korean default.

    Its tokenizer is an ordinary one and its weights are safetensors. From its name alone it is a
    BERT of that size with random weights, over bytes.

    References
    ----------
    Park et al. (2021), KLUE: Korean Language Understanding Evaluation, arXiv:2105.09680.
    """

    model_types = ("bert", "roberta")

    @classmethod
    def _default_config(cls) -> Any:
        from transformers import BertConfig

        return BertConfig(vocab_size=32_000)


class KoBertEncoder(TransformersTextEncoder):
    """`TransformersTextEncoder` for KoBERT (monologg/kobert, skt/kobert-base-v1) and DistilKoBERT.

    The vocabulary is a SentencePiece model, alone or with a ``vocab.txt`` that orders it: [UNK] 0,
    [PAD] 1, [CLS] 2, [SEP] 3. We make the tokenizer from it, since the checkpoints bring code of
    their own, which is never run, and the classes they name give other ids. Texts are padded on the
    right, and token types are never given. From its name alone it has random weights, over bytes.

    Raises
    ------
    DependencyError
        A SentencePiece model without the package that reads it.

    References
    ----------
    SKTBrain, KoBERT; monologg, KoBERT-Transformers.
    """

    model_types = ("bert", "distilbert")

    @classmethod
    def _default_config(cls) -> Any:
        from transformers import BertConfig

        return BertConfig(vocab_size=8002, pad_token_id=1)

    @classmethod
    def _default_tokenizer(cls) -> Any:
        return byte_tokenizer(("[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"))

    @classmethod
    def _load_tokenizer(cls, checkpoint: str | Path, config: Any) -> Any:
        names: tuple[str, ...] = ("tokenizer_78b3253a26.model", "spiece.model")
        if (folder := Path(checkpoint)).is_dir():
            names = tuple(
                sorted(found.name for found in folder.iterdir() if found.suffix in _SUFFIXES)
            )
        model = text_checkpoint.find(checkpoint, *names)
        if model is None:
            made = text_checkpoint.load_tokenizer(checkpoint)
        else:
            made = KoBertTokenizer(model, text_checkpoint.find(checkpoint, "vocab.txt"))
        ids = [getattr(made, f"{role}_token_id") for role in ("unk", "pad", "cls", "sep")]
        if ids != [0, 1, 2, 3]:
            raise CheckpointError(
                f"{checkpoint}: not the vocabulary of KoBERT",
                expected="[UNK], [PAD], [CLS], [SEP] as 0, 1, 2, 3",
                got=str(ids),
                mend="take transformers-text for a checkpoint with a tokenizer of its own",
            )
        return made


_SUFFIXES = (".model", ".spm")


@dataclass(frozen=True, eq=False)
class HanBertCollate(TextCollate):
    """Texts to morphemes to pieces of them.

    Parameters
    ----------
    analyser
        Cuts a text into morphemes.
    """

    analyser: MorphemeAnalyser

    def _tokens(self, text: str, options: dict[str, Any]) -> Tokens:
        morphemes = list(self.analyser(text))
        wrong = [m for m in morphemes if not 0 <= m.start < m.end <= len(text) or not m.form]
        if wrong or not morphemes:
            raise InputError(
                "morphemes that do not lie in the text",
                expected=f"one or more, within its {len(text)} characters",
                got=repr([tuple(morpheme) for morpheme in wrong[:3]]),
                mend="mend the analyser, or give None where the text is missing",
            )
        tokens = self.tokenizer(
            [morpheme.form for morpheme in morphemes], is_split_into_words=True, **options
        )
        offsets: list[tuple[int, int]] = []
        for index, (start, end) in zip(tokens.word_ids(), tokens["offset_mapping"], strict=True):
            if index is None:
                offsets.append((0, 0))
                continue
            form, first, last = morphemes[index]
            marks = len(form) - len(surface(form))
            if last - first == len(form) - marks:
                # A piece of the morpheme: the marks are no characters of the text.
                first, last = first + max(0, start - marks), first + max(1, end - marks)
            offsets.append((first, last))
        special = [bool(flag) for flag in tokens["special_tokens_mask"]]
        return tokens["input_ids"], offsets, special


class HanBertEncoder(TransformersTextEncoder):
    """`TransformersTextEncoder` for HanBERT-54k, from a folder that its user has.

    The model is a BERT; its vocabulary is of morphemes, which a shared library finds that is not
    free: see `modalxai.encoders.morphemes.Moran` for what could not be checked without it. Its
    weights are published as a pickle only, which is never read here: ``modalxai convert hanbert
    FOLDER`` turns it into safetensors once. A library runs code, so none is taken from a
    checkpoint's folder: name it, or set ``MODALXAI_HANBERT_LIBRARY``.

    From its name alone it has random weights, over bytes, and needs no library.

    Parameters
    ----------
    config, tokenizer, trainable, max_length, truncate, layers, checkpointing
        See `TransformersTextEncoder`; the tokenizer is given morphemes, see `hanbert_tokenizer`.
    analyser
        Cuts a text into morphemes: a picklable callable, or the path of ``libmoran4dnlp.so``.
        By default the library that ``MODALXAI_HANBERT_LIBRARY`` names, where one is needed.

    Raises
    ------
    DependencyError
        Morphemes are needed, and there is no analyser; or its library is not there.

    References
    ----------
    TwoBlock AI, HanBert-54k-N; monologg, HanBert-Transformers.
    """

    model_types = ("bert",)

    def __init__(
        self,
        config: Any = None,
        tokenizer: Any = None,
        trainable: Tuning = "all",
        max_length: int | None = None,
        truncate: bool = False,
        layers: Layers = "last",
        checkpointing: bool = False,
        analyser: MorphemeAnalyser | str | Path | None = None,
    ) -> None:
        super().__init__(config, tokenizer, trainable, max_length, truncate, layers, checkpointing)
        plain = self.collate
        # Without a step that finds words, a tokenizer has to be given morphemes.
        needed = plain.tokenizer.backend_tokenizer.pre_tokenizer is None
        found = analyser if analyser is not None or not needed else os.environ.get(LIBRARY)
        if found is not None:
            made = Moran(found) if isinstance(found, str | Path) else found
            self.collate = HanBertCollate(plain.tokenizer, plain.limit, plain.truncate, made)
        elif needed:
            raise DependencyError(
                "a vocabulary of morphemes without a morpheme analyser",
                expected="libmoran4dnlp.so, which comes with HanBERT and runs on Linux",
                got="no analyser",
                mend=f"give its path, analyser='.../libmoran4dnlp.so', or set {LIBRARY}",
            )

    @classmethod
    def _default_config(cls) -> Any:
        from transformers import BertConfig

        return BertConfig(vocab_size=54_000)

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path,
        trainable: Tuning | None = None,
        max_length: int | None = None,
        truncate: bool | None = None,
        layers: Layers | None = None,
        checkpointing: bool | None = None,
        analyser: MorphemeAnalyser | str | Path | None = None,
    ) -> Self:
        """Load the published folder, converted, or one that `save_pretrained` wrote.

        Parameters
        ----------
        checkpoint
            A folder with config.json, model.safetensors and vocab_54k.txt.
        trainable, max_length, truncate, layers, checkpointing
            See `TransformersTextEncoder.from_pretrained`.
        analyser
            See the class.

        Raises
        ------
        CheckpointError
            See `TransformersTextEncoder.from_pretrained`; also weights that are not converted yet.
        DependencyError
            No analyser.
        """
        given = {
            "trainable": trainable,
            "max_length": max_length,
            "truncate": truncate,
            "layers": layers,
            "checkpointing": checkpointing,
        }
        return cls._load(checkpoint, given, analyser=analyser)

    @classmethod
    def _load_tokenizer(cls, checkpoint: str | Path, config: Any) -> Any:
        vocabulary = Path(checkpoint) / "vocab_54k.txt"
        if vocabulary.is_file():
            return hanbert_tokenizer(vocabulary)
        return text_checkpoint.load_tokenizer(checkpoint)


def hanbert_tokenizer(vocabulary: Path) -> Any:
    """HanBERT's WordPiece over morphemes, marks and all; a morpheme is given to it whole.

    Parameters
    ----------
    vocabulary
        ``vocab_54k.txt``, a piece per line.

    Raises
    ------
    CheckpointError
        A special token is not in the vocabulary.
    """
    from tokenizers import Tokenizer, models, processors
    from transformers import PreTrainedTokenizerFast

    lines = vocabulary.read_text(encoding="utf-8").splitlines()
    ids = {line.strip(): index for index, line in enumerate(lines)}
    if missing := sorted(set(BERT_SPECIAL.values()) - set(ids)):
        raise CheckpointError(
            f"{vocabulary}: special tokens are missing",
            expected=str(sorted(BERT_SPECIAL.values())),
            got=f"no {missing}",
            mend="take the vocabulary that belongs to the model",
        )
    made = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=200))
    made.post_processor = processors.TemplateProcessing(
        single=TEMPLATE, special_tokens=[(name, ids[name]) for name in ("[CLS]", "[SEP]")]
    )
    wrap: Any = PreTrainedTokenizerFast
    return wrap(tokenizer_object=made, padding_side="right", **BERT_SPECIAL)
