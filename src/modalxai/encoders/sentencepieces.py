"""A SentencePiece model as a fast tokenizer, which knows the characters of every token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modalxai.errors import CheckpointError, DependencyError

MARK = "▁"


@dataclass(frozen=True)
class Pieces:
    """A vocabulary in the order of its ids.

    Parameters
    ----------
    names, scores
        The pieces and their log-probabilities.
    unknown
        The id of what is not in the vocabulary.
    processor
        SentencePiece's own tokenizer, the authority.
    place
        The file, for messages.
    """

    names: tuple[str, ...]
    scores: tuple[float, ...]
    unknown: int
    processor: Any
    place: str

    def extended(self, names: Sequence[str]) -> Pieces:
        """With further ids at the end, which only special tokens have."""
        return replace(
            self, names=self.names + tuple(names), scores=self.scores + (0.0,) * len(names)
        )


def read(path: Path) -> Pieces:
    """Read a ``.model`` or ``.spm`` file.

    Raises
    ------
    DependencyError
        sentencepiece is not installed.
    CheckpointError
        Not a SentencePiece model.
    """
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise DependencyError(
            "sentencepiece is not installed",
            expected="sentencepiece, which reads this vocabulary",
            got=str(error),
            mend="pip install 'modalxai[text]'",
        ) from error
    try:
        processor = SentencePieceProcessor(model_proto=path.read_bytes())
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} cannot be read",
            expected="a SentencePiece model",
            got=f"{type(error).__name__}: {error}",
            mend="copy or download it again",
        ) from error
    ids = range(processor.get_piece_size())
    return Pieces(
        tuple(processor.id_to_piece(index) for index in ids),
        tuple(processor.get_score(index) for index in ids),
        processor.unk_id(),
        processor,
        str(path),
    )


def tokenizer(
    pieces: Pieces,
    special: Mapping[str, str],
    template: str,
    extra: Sequence[str] = (),
) -> Any:
    """A fast tokenizer of transformers over the pieces of a unigram or character model.

    Text is normalised as SentencePiece's ``nmt_nfkc`` does (compatible forms made one, control
    characters out, runs of whitespace one space), but by the tokenizers library, which keeps track
    of the characters. The model file's own compiled table is not used: the library runs it on
    single characters, so that letters taken apart would never come together again.

    Parameters
    ----------
    pieces
        What `read` gave.
    special
        Roles of transformers (``"cls_token"``, ...) to their pieces.
    template
        Where they go, such as ``"[CLS] $A [SEP]"``.
    extra
        Pieces that are no text and have no role.

    Raises
    ------
    CheckpointError
        A special token is not in the vocabulary.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {name: index for index, name in enumerate(pieces.names)}
    if missing := sorted(set(special.values()) - set(ids)):
        raise CheckpointError(
            f"{pieces.place}: special tokens are missing",
            expected=str(sorted(special.values())),
            got=f"no {missing}",
            mend="take the vocabulary that belongs to the model",
        )
    made = Tokenizer(
        models.Unigram(list(zip(pieces.names, pieces.scores, strict=True)), pieces.unknown, False)
    )
    made.normalizer = normalizers.Sequence(
        [
            normalizers.Nmt(),
            normalizers.NFKC(),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
        ]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="always")
    used = [name for name in special.values() if name in template.split()]
    made.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(name, ids[name]) for name in used]
    )
    wrap: Any = PreTrainedTokenizerFast
    return wrap(
        tokenizer_object=made,
        padding_side="right",
        additional_special_tokens=list(extra) or None,
        **special,
    )


def check(made: Any, pieces: Pieces, probe: str) -> None:
    """Refuse a model that is cut in another way than SentencePiece itself cuts it.

    Parameters
    ----------
    made
        What `tokenizer` gave.
    pieces
        What `read` gave.
    probe
        A text to compare.

    Raises
    ------
    CheckpointError
        The pieces differ: no unigram or character model, or another normalisation.
    """
    wanted = pieces.processor.encode(probe, out_type=str)
    ids = {name: index for index, name in enumerate(pieces.names)}
    expected = [ids.get(name, pieces.unknown) for name in wanted]
    got = made(probe, add_special_tokens=False)["input_ids"]
    if got != expected:
        raise CheckpointError(
            f"{pieces.place} is of a kind that is not supported",
            expected="a unigram or character model with NFKC normalisation, which cuts "
            f"{probe!r} into {wanted}",
            got=str([pieces.names[index] for index in got]),
            mend="take the vocabulary that was published with the model",
        )
