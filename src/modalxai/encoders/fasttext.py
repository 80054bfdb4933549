"""One vector per word, from a table of words and hashed n-grams (fastText)."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalxai import masking
from modalxai.encoders import fasttext_files, text_units
from modalxai.encoders.sequence import SequenceLayers, SequenceName
from modalxai.encoders.trainable import PartlyTrainable, Trainable
from modalxai.errors import InputError, each
from modalxai.pretrained import Pretrained
from modalxai.types import Features, Inputs, Spans

PAD, MASK, BEGIN, UNKNOWN, WORD = range(5)
Korean = Literal["syllable", "jamo"]

_INITIAL = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_MEDIAL = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_FINAL = "eㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"


def jamo(text: str) -> str:
    """Every Korean syllable as its three letters, ``"e"`` for a final that is not there.

    Three letters for each, so that an n-gram of letters never straddles two readings.

    References
    ----------
    Park et al. (2018), Subword-level Word Vector Representations for Korean, section 3.1.

    Examples
    --------
    >>> jamo("해달 x")
    'ㅎㅐeㄷㅏㄹ x'
    """
    letters = []
    for character in text:
        place = ord(character) - 0xAC00
        if 0 <= place < 11_172:
            initial, rest = divmod(place, 588)
            medial, final = divmod(rest, 28)
            letters += [_INITIAL[initial], _MEDIAL[medial], _FINAL[final]]
        else:
            letters.append(character)
    return "".join(letters)


@dataclass(frozen=True)
class FastTextCollate:
    """Texts to rows of the table; holds no weights.

    Parameters
    ----------
    index
        The row of every word.
    words
        Rows before the first bucket.
    buckets, shortest, longest
        How many buckets, and the characters of an n-gram.
    korean, lowercase
        How a word is written before it is looked up.
    """

    index: Mapping[str, int]
    words: int
    buckets: int
    shortest: int
    longest: int
    korean: Korean
    lowercase: bool

    def __call__(self, raws: Sequence[str | None]) -> Inputs:
        """Collate.

        Returns
        -------
        Inputs
            The tensors of `modalxai.encoders.text_units`, [B, T]; ``first`` and ``count`` int64
            [B, T], which stretch of ``rows`` int64 [B, N] is each token's. ``None`` is a missing
            text.

        Raises
        ------
        InputError
            No string, or a blank one; ``index`` is its row.
        """
        found = each(raws, self._row)
        inputs = dict(text_units.pad_rows(found, PAD))
        none = torch.zeros(0, dtype=torch.long)
        for key in ("first", "count", "rows"):
            inputs[key] = masking.pad([none if row is None else row[key] for row in found])[0]
        return inputs

    def _row(self, raw: str) -> dict[str, Tensor]:
        text = text_units.check(raw)
        places = [place for start, end in _words(text) for place in self._tokens(text, start, end)]
        bags = [self.rows(text[start:end]) for start, end in places]
        ids = [BEGIN, *(WORD if bag else UNKNOWN for bag in bags)]
        row = text_units.row(text, ids, [(0, 0), *places], [True, *[False] * len(places)])
        count = torch.tensor([0, *map(len, bags)])
        return {
            **row,
            "first": count.cumsum(0) - count,
            "count": count,
            "rows": torch.tensor([at for bag in bags for at in bag], dtype=torch.long),
        }

    def rows(self, word: str) -> tuple[int, ...]:
        """Rows of the table whose mean is the word's vector: its own, and those of its n-grams.

        Empty for an unknown word where there are no n-grams.
        """
        form = self._form(word)
        own = (self.index[form],) if form in self.index else ()
        ngrams = fasttext_files.buckets(form, self.shortest, self.longest, self.buckets)
        return own + tuple(self.words + bucket for bucket in ngrams)

    def _form(self, word: str) -> str:
        # Composed first: a Mac writes Korean as loose letters, which no vocabulary holds.
        form = unicodedata.normalize("NFC", word)
        form = form.lower() if self.lowercase else form
        return jamo(form) if self.korean == "jamo" else form

    def _tokens(self, text: str, start: int, end: int) -> list[tuple[int, int]]:
        """A whole word if the vocabulary has it, else without the marks at its ends."""
        first, last = start, end
        if self._form(text[start:end]) not in self.index:
            while first < end and _is_mark(text[first]):
                first += 1
            while last > first and _is_mark(text[last - 1]):
                last -= 1
        inner = [(first, last)] if last > first else []
        before = [(at, at + 1) for at in range(start, first)]
        return [*before, *inner, *((at, at + 1) for at in range(last, end))]


def _words(text: str) -> list[tuple[int, int]]:
    indices = text_units.words(text)
    starts = [at for at, word in enumerate(indices) if word >= 0 and indices[:at][-1:] != [word]]
    return [(at, at + len(text[at:].split(maxsplit=1)[0])) for at in starts]


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"


class FastTextEncoder(PartlyTrainable, Pretrained):
    """Words, one vector each, as the mean of the table's rows for the word and its n-grams.

    From its name alone it is a small random table of n-grams, which training fills; the file of a
    published model comes in by `from_pretrained`. The first vector is a begin mark, which no
    removal touches, so that a text with everything removed is not a missing one. A word is what
    lies between whitespace; one that the vocabulary lacks is looked up without the punctuation at
    its ends, and each mark by itself. Unknown words have the vectors of their n-grams; in a table
    without n-grams (``.vec``) they share one learned vector.

    Parameters
    ----------
    dim
        Width D of the vectors.
    width
        Width W of the table.
    vocabulary
        The words, in the order of the table's rows.
    buckets
        Rows for n-grams after those of the words; 0 for none.
    shortest, longest
        Characters of an n-gram, the marks ``<`` and ``>`` around a word counted.
    korean
        ``"jamo"`` writes each syllable as three letters before anything is looked up, for tables
        made so (see `jamo`); ``"syllable"`` leaves text as it is.
    lowercase
        Whether words are lowercased, for tables made so.
    sequence, sequence_layers, heads
        What follows, see `modalxai.encoders.sequence`.
    dropout
        Probability from 0 to below 1, in training only.
    trainable
        ``"none"``, ``"all"``, or how many top layers learn; the table is the lowest. 1 keeps a
        published table as it is and trains the linear layer after it.

    Raises
    ------
    InputError
        Settings that do not fit one another.

    References
    ----------
    Bojanowski et al. (2017), Enriching Word Vectors with Subword Information.
    """

    removals: tuple[str, ...] = text_units.REMOVALS
    kinds: tuple[str, ...] = ("word", "token")

    def __init__(
        self,
        dim: int = 128,
        width: int = 64,
        vocabulary: Sequence[str] = (),
        buckets: int = 16_384,
        shortest: int = 3,
        longest: int = 6,
        korean: Korean = "syllable",
        lowercase: bool = False,
        sequence: SequenceName = "none",
        sequence_layers: int = 1,
        heads: int = 4,
        dropout: float = 0.1,
        trainable: Trainable = "all",
    ) -> None:
        super().__init__()
        # Read back by `settings`: every argument, under its own name.
        self._settings = {
            name: value for name, value in locals().items() if name not in ("self", "__class__")
        } | {"vocabulary": list(vocabulary)}
        _check(width, vocabulary, buckets, shortest, longest, korean)
        self.dim = dim
        self.words = _Words(len(vocabulary) + buckets, width)
        self.sequence = SequenceLayers(sequence, width, dim, sequence_layers, heads, dropout)
        # Reversed, so that the first of two equal words (after a repair of bad bytes) counts.
        index = {word: at for at, word in reversed(list(enumerate(vocabulary)))}
        self.collate = FastTextCollate(
            index, len(vocabulary), buckets, shortest, longest, korean, lowercase
        )
        self.train_only(trainable, [self.words, *self.sequence.layers])

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""
        return dict(self._settings)

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path,
        limit: int | None = None,
        dim: int | None = None,
        korean: Korean | None = None,
        lowercase: bool | None = None,
        sequence: SequenceName | None = None,
        trainable: Trainable | None = None,
    ) -> Self:
        """Load a ``.vec`` or ``.bin`` file of fastText, or a folder that `save_pretrained` wrote.

        Parameters
        ----------
        checkpoint
            The file, or the folder.
        limit
            How many words of a ``.vec`` file are read, the most frequent first.
        dim, korean, lowercase, sequence, trainable
            For a file, see the class; ``None`` is the class's default. A folder says all of it.

        Raises
        ------
        CheckpointError
            Nothing there, another format, or a quantised or pruned model.
        InputError
            An option for a folder.
        """
        options = {
            name: value
            for name, value in (
                ("dim", dim),
                ("korean", korean),
                ("lowercase", lowercase),
                ("sequence", sequence),
                ("trainable", trainable),
            )
            if value is not None
        }
        if not Path(checkpoint).is_file():
            if options or limit is not None:
                raise InputError(
                    "options for a saved encoder, or for a file that is not there",
                    expected="a file of word vectors, or a folder alone",
                    got=f"{checkpoint} and {sorted(options)}",
                    mend="check the path; the settings of a folder are in its config.json",
                )
            return super().from_pretrained(checkpoint)
        found = fasttext_files.read(checkpoint, limit)
        encoder = cls.from_settings(
            {
                "width": found.table.shape[1],
                "vocabulary": found.words,
                "buckets": len(found.table) - len(found.words) if found.longest else 0,
                "shortest": found.shortest,
                "longest": found.longest,
                **options,
            }
        )
        with torch.no_grad():
            encoder.words.table.copy_(found.table[: len(encoder.words.table)])
        return encoder

    def forward(self, inputs: Inputs) -> Features:
        """Tokens [B, T] to vectors [B, T, D], the first of each row its begin mark."""
        mask = inputs["attention_mask"]
        values = self.sequence(self.words(inputs), mask)
        return Features(values, mask, text_units.spans(inputs))

    def units(self, inputs: Inputs, kind: str) -> Spans:
        """The units of each text, [B, U] in characters: ``"word"``, or ``"token"``.

        A token is a word without the punctuation at its ends, or one such mark.

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

        ``"mask"`` puts a learned vector in place of each token, ``"empty"`` deletes them; the begin
        mark stays. Nothing is drawn, so ``seed`` is not used.

        Raises
        ------
        RemovalError
            An unknown ``how``.
        InputError
            ``keep`` or ``units`` of the wrong type, shape or unit.
        """
        tokens = {key: value for key, value in inputs.items() if key != "rows"}
        left = text_units.remove(tokens, units, keep, how, self.removals, MASK, PAD)
        return {**left, "rows": inputs["rows"]}


class _Words(nn.Module):
    """The table, and the vectors of what is in no table."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        # As fastText starts its own: small, and the smaller the wider.
        self.table = nn.Parameter(torch.empty(rows, width).uniform_(-1 / width, 1 / width))
        self.marks = nn.Parameter(torch.empty(WORD, width).uniform_(-1 / width, 1 / width))

    def forward(self, inputs: Inputs) -> Tensor:
        """Tokens [B, T] to vectors [B, T, W]."""
        ids = inputs["input_ids"]
        count = torch.where(ids == WORD, inputs["count"], 0).flatten()
        # All bags one after another, each from where it begins in its own row of the batch.
        size = inputs["rows"].shape[1]
        begin = inputs["first"] + size * torch.arange(len(ids), device=ids.device)[:, None]
        offset = count.cumsum(0) - count
        step = torch.arange(int(count.sum()), device=ids.device)
        place = step + (begin.flatten() - offset).repeat_interleave(count)
        bags = F.embedding_bag(inputs["rows"].flatten()[place], self.table, offset, mode="mean")
        vectors = bags.reshape(*ids.shape, -1)
        marks = F.embedding(ids.clamp(max=WORD - 1), self.marks)
        return torch.where((ids == WORD)[..., None], vectors, marks)


def _check(
    width: int,
    vocabulary: Sequence[str],
    buckets: int,
    shortest: int,
    longest: int,
    korean: str,
) -> None:
    ngrams = buckets == 0 or (buckets > 0 and 1 <= shortest <= longest)
    if width < 1 or not ngrams or isinstance(vocabulary, str) or not (buckets or len(vocabulary)):
        raise InputError(
            "an impossible table",
            expected="width of 1 or more, a list of words or buckets or both, and with buckets "
            "1 <= shortest <= longest",
            got=f"width={width}, {len(vocabulary)} words, buckets={buckets}, "
            f"shortest={shortest}, longest={longest}",
            mend="write buckets=16384, shortest=3, longest=6, or load a file",
        )
    if korean not in ("syllable", "jamo"):
        raise InputError(
            "unknown way to write Korean",
            expected="'syllable' or 'jamo'",
            got=repr(korean),
            mend='write korean="syllable" unless the table was made of letters',
        )
