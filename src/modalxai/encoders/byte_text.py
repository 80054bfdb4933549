"""UTF-8 bytes into a small transformer: any language, nothing to download."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from modalxai import masking
from modalxai.blocks import SelfAttentionBlock, positions
from modalxai.encoders import text_units
from modalxai.errors import InputError, each
from modalxai.pretrained import Pretrained
from modalxai.types import Features, Inputs, Spans

PAD, MASK, FIRST_BYTE, BEGIN = 0, 1, 2, 258
VOCABULARY = 259


@dataclass(frozen=True)
class ByteCollate:
    """Texts to bytes; holds no weights.

    Parameters
    ----------
    max_bytes
        The longest text, in UTF-8 bytes.
    """

    max_bytes: int

    def __call__(self, raws: Sequence[str | None]) -> Inputs:
        """Tensors [B, T] of `modalxai.encoders.text_units`; ``None`` is a missing text.

        Raises
        ------
        InputError
            No string, a blank one, or one that is too long; ``index`` is its row.
        """
        return text_units.pad_rows(each(raws, self._row), PAD)

    def _row(self, raw: str) -> dict[str, Tensor]:
        text = text_units.check(raw)
        characters = [character.encode("utf-8") for character in text]
        found = [byte for character in characters for byte in character]
        if len(found) > self.max_bytes:
            raise InputError(
                "a text that is too long",
                expected=f"at most {self.max_bytes} bytes of UTF-8",
                got=str(len(found)),
                mend="shorten it, or make the encoder with a larger max_bytes",
            )
        places = [(at, at + 1) for at, character in enumerate(characters) for _ in character]
        ids = [BEGIN, *(FIRST_BYTE + byte for byte in found)]
        return text_units.row(text, ids, [(0, 0), *places], [True, *[False] * len(found)])


class ByteTextEncoder(Pretrained):
    """A pre-norm transformer over UTF-8 bytes.

    The first vector is a begin mark, which no removal touches, so that a text with everything
    removed is not a missing one. Every further vector is one byte; its span is its character.

    Parameters
    ----------
    dim
        Width D of the vectors, a multiple of ``heads``.
    layers
        Transformer layers, 1 or more.
    heads
        Attention heads.
    max_bytes
        The longest text it takes, in bytes; a Korean syllable has three.
    dropout
        Probability from 0 to below 1, in training only.

    Raises
    ------
    InputError
        A setting out of its range.
    """

    removals: tuple[str, ...] = text_units.REMOVALS
    kinds: tuple[str, ...] = ("word", "byte")

    def __init__(
        self,
        dim: int = 64,
        layers: int = 2,
        heads: int = 4,
        max_bytes: int = 1024,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if layers < 1 or max_bytes < 1 or not 0 <= dropout < 1:
            raise InputError(
                "a setting of the byte encoder out of its range",
                expected="layers and max_bytes of 1 or more, dropout from 0 to below 1",
                got=f"layers={layers}, max_bytes={max_bytes}, dropout={dropout}",
                mend="leave the default, or choose a value in the range",
            )
        self.dim = dim
        self.collate = ByteCollate(max_bytes)
        self._settings = {
            "dim": dim,
            "layers": layers,
            "heads": heads,
            "max_bytes": max_bytes,
            "dropout": dropout,
        }
        self.layers = nn.ModuleList(SelfAttentionBlock(dim, heads, dropout) for _ in range(layers))
        self.bytes = nn.Embedding(VOCABULARY, dim, padding_idx=PAD)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(self._settings)

    def forward(self, inputs: Inputs) -> Features:
        """Bytes [B, T] to vectors [B, T, D], the first of each row its begin mark."""
        mask = inputs["attention_mask"]
        vectors = self.bytes(inputs["input_ids"])
        vectors = self.dropout(vectors + positions(vectors.shape[1], self.dim, vectors))
        for layer in self.layers:
            vectors = layer(vectors, mask)
        return Features(masking.blank(self.norm(vectors), mask), mask, text_units.spans(inputs))

    def units(self, inputs: Inputs, kind: str) -> Spans:
        """The units of each text, [B, U] in characters.

        ``"word"`` is a whitespace-delimited word. ``"byte"`` is one character's bytes: half a
        character cannot be removed.

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

        ``"mask"`` puts the mask id in place of every byte, ``"empty"`` deletes the bytes; the begin
        mark stays. Nothing is drawn, so ``seed`` is not used.

        Raises
        ------
        RemovalError
            An unknown ``how``.
        InputError
            ``keep`` or ``units`` of the wrong type, shape or unit.
        """
        return text_units.remove(inputs, units, keep, how, self.removals, MASK, PAD)
