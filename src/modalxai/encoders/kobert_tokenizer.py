"""KoBERT's tokenizer as it was published: SentencePiece itself, and characters for every token."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from modalxai.encoders.morphemes import align
from modalxai.encoders.sentencepieces import MARK, read
from modalxai.errors import CheckpointError

SPECIAL = ("[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]")
MODEL, ORDER = "spiece.model", "vocab.txt"


class KoBertTokenizer:
    """What `TextCollate` needs of a tokenizer, by SentencePiece.

    The fast tokenizers of transformers were not enough: they break ties (the halves of "ㅋㅋㅋ") in
    another way, and have no place for the rule that "1," is "1" and ",".

    Special tokens that are spelt out in a text are text.

    Parameters
    ----------
    model
        The SentencePiece model.
    order
        ``vocab.txt``, a piece per line in the order of the ids, where it differs from the model's.

    Raises
    ------
    DependencyError
        sentencepiece is not installed.
    CheckpointError
        No such model, or special tokens that are missing.

    References
    ----------
    SKTBrain/KoBERT and monologg/KoBERT-Transformers, ``_tokenize``.
    """

    is_fast = True
    """It knows the characters of its tokens, which is what the name of transformers stands for."""

    def __init__(self, model: Path, order: Path | None = None) -> None:
        pieces = read(model)
        names: Sequence[str] = pieces.names
        if order is not None:
            names = [line.strip() for line in order.read_text(encoding="utf-8").splitlines()]
        self.processor, self.proto = pieces.processor, model.read_bytes()
        self.ids = {name: index for index, name in enumerate(names)}
        self.names = tuple(names)
        if missing := [name for name in SPECIAL if name not in self.ids]:
            raise CheckpointError(
                f"{order or model}: special tokens are missing",
                expected=str(list(SPECIAL)),
                got=f"no {missing}",
                mend="take the vocabulary that belongs to the model",
            )
        strange = [name for name in pieces.names if name not in self.ids]
        if len(strange) > len(pieces.names) / 10:  # each would be read as unknown
            raise CheckpointError(
                f"{order} is not the order of {model}",
                expected="the pieces of the SentencePiece model, one a line",
                got=f"{len(strange)} of {len(pieces.names)} are not in it, such as {strange[:3]}",
                mend="take the two files that were published together",
            )
        ids = (self.ids[name] for name in SPECIAL)
        self.unk_token_id, self.pad_token_id, self.cls_token_id, self.sep_token_id, _ = ids
        self.mask_token_id = self.ids["[MASK]"]

    def __call__(
        self,
        text: str,
        truncation: bool = False,
        max_length: int | None = None,
        return_offsets_mapping: bool = True,
        return_special_tokens_mask: bool = True,
        return_token_type_ids: bool = False,
        return_attention_mask: bool = False,
        verbose: bool = False,
    ) -> dict[str, list[Any]]:
        """Ids, characters and which tokens are special: ``[CLS] ... [SEP]``, cut where asked."""
        found = self.pieces(text)
        if truncation and max_length is not None:
            found = found[: max_length - 2]
        ids = [self.ids.get(name, self.unk_token_id) for name, _, _ in found]
        return {
            "input_ids": [self.cls_token_id, *ids, self.sep_token_id],
            "offset_mapping": [(0, 0), *((start, end) for _, start, end in found), (0, 0)],
            "special_tokens_mask": [1, *[0] * len(found), 1],
        }

    def pieces(self, text: str) -> list[tuple[str, int, int]]:
        """The pieces of a text, and their characters in it."""
        names = self._cut(_prepare(text))
        letters, origins = self._letters(text)
        # A lone mark is the space before a word, and shares the word's characters.
        surfaces = [name.removeprefix(MARK) for name in names]
        full = [index for index, found in enumerate(surfaces) if found]
        if not full or not letters:
            return []
        spans = dict(zip(full, align(letters, [surfaces[index] for index in full]), strict=True))
        found = []
        for index, name in enumerate(names):
            start, end = spans[next((at for at in full if at >= index), full[-1])]
            found.append((name, origins[start][0], origins[end - 1][1]))
        return found

    def get_vocab(self) -> dict[str, int]:
        """Pieces to ids."""
        return dict(self.ids)

    def num_special_tokens_to_add(self) -> int:
        """[CLS] and [SEP]."""
        return 2

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the SentencePiece model and the order of its pieces."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / MODEL).write_bytes(self.proto)
        (Path(folder) / ORDER).write_text("\n".join(self.names) + "\n", encoding="utf-8")

    def _cut(self, text: str) -> list[str]:
        found: list[str] = []
        for piece in self.processor.encode(text, out_type=str):
            if len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit():
                again = self.processor.encode(piece[:-1].replace(MARK, ""), out_type=str)
                if piece[0] != MARK and again[0][0] == MARK:
                    again = again[1:] if len(again[0]) == 1 else [again[0][1:], *again[1:]]
                found += [*again, ","]
            else:
                found.append(piece)
        return found

    def _letters(self, text: str) -> tuple[str, list[tuple[int, int]]]:
        """The text as SentencePiece normalises it, and each letter's characters in the raw text."""
        from tokenizers import PreTokenizedString, Regex

        whole = PreTokenizedString(text)
        whole.normalize(self._normalizer.normalize)
        whole.split(lambda _, part: part.split(Regex(r"[\s\S]"), "isolated"))
        parts = whole.get_splits(offset_referential="original", offset_type="char")
        starts = [span[0] for _, span, _ in parts] + [len(text)]
        spans = []
        for index, (_, (start, end), _) in enumerate(parts):
            # A letter that was composed of several is given the first's place only.
            rest = text[end : max(end, starts[index + 1])]
            joined = rest.split()[0] if rest and not rest[0].isspace() else ""
            spans.append((start, end + len(joined)))
        return "".join(part for part, _, _ in parts), spans

    @cached_property
    def _normalizer(self) -> Any:
        from tokenizers import normalizers

        steps = ("Nmt", "NFKD", "StripAccents", "NFC")
        return normalizers.Sequence([getattr(normalizers, step)() for step in steps])

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_normalizer"}


def _prepare(text: str) -> str:
    """The text as the published tokenizers give it to SentencePiece."""
    text = " ".join(text.strip().split()).replace("``", '"').replace("''", '"')
    return "".join(
        letter
        for letter in unicodedata.normalize("NFKD", text)
        if not unicodedata.combining(letter)
    )
