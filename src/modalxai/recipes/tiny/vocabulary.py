"""Vocabularies of a few hundred to a few thousand pieces: the lexicon's words, and characters."""

from __future__ import annotations

import io
import string
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from modalxai.encoders.byte_tokenizer import SPECIAL
from modalxai.errors import DependencyError

LATIN = string.ascii_letters + string.digits + string.punctuation + "…“”‘’"
JAMO = "".join(
    chr(code)
    for first, last in ((0x1100, 0x1113), (0x1161, 0x1176), (0x11A8, 0x11C3))
    for code in range(first, last)
)
"""The letters that every Hangul syllable is composed of."""


def syllables() -> str:
    """The 2,350 Hangul syllables of KS X 1001, which nearly all Korean is written in."""
    every = (chr(code) for code in range(0xAC00, 0xD7A4))
    # The others of Unicode are spelt out, by eight bytes each.
    return "".join(one for one in every if len(one.encode("euc_kr")) == 2)


def wordpiece(words: Iterable[str], lowercase: bool) -> Any:
    """BERT's tokenizer: words whole, and characters to spell all others with.

    Parameters
    ----------
    words
        What is one piece.
    lowercase
        As in the uncased models, whose normaliser also takes Hangul apart into its letters.
    """
    from transformers import BertTokenizer

    characters = JAMO + LATIN.lower() if lowercase else syllables() + LATIN
    if lowercase:
        words = (unicodedata.normalize("NFD", word.lower()) for word in words)
    pieces = [*SPECIAL, *words, *characters, *(f"##{one}" for one in characters)]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return BertTokenizer(vocab=vocabulary, do_lower_case=lowercase)


def sentencepiece(lines: Sequence[str], size: int, **options: object) -> bytes:
    """A SentencePiece model whose special pieces are KoBERT's.

    Parameters
    ----------
    lines
        Texts to learn the pieces from.
    size
        The most pieces.
    **options
        Of SentencePiece's trainer, which refuses those it does not know.

    Raises
    ------
    DependencyError
        sentencepiece is not installed.
    """
    try:
        from sentencepiece import SentencePieceTrainer
    except ImportError as error:
        raise DependencyError(
            "sentencepiece is not installed",
            expected="sentencepiece, which learns KoBERT's kind of vocabulary",
            got=str(error),
            mend="pip install 'modalxai[text]'",
        ) from error
    settings: dict[str, object] = {
        "unk_id": 0,
        "pad_id": 1,
        "bos_id": 2,
        "eos_id": 3,
        "unk_piece": "[UNK]",
        "pad_piece": "[PAD]",
        "bos_piece": "[CLS]",
        "eos_piece": "[SEP]",
        "control_symbols": ["[MASK]"],
        "hard_vocab_limit": False,
        "minloglevel": 2,
    }
    written = io.BytesIO()
    train: Any = SentencePieceTrainer.train
    train(
        sentence_iterator=iter(lines), model_writer=written, vocab_size=size, **settings | options
    )
    return written.getvalue()
