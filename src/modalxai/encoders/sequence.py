"""What may follow a front end, under the ``sequence`` option of the small encoders.

Every one turns vectors [B, T, D'] into [B, T, D]: as many vectors, in the same places, so that the
front end's spans stay true. None of them lets a row see its padding or its neighbours.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from modalxai import masking
from modalxai.blocks import SelfAttentionBlock, positions
from modalxai.errors import InputError

SequenceName = Literal["none", "cnn-transformer", "attention-gru"]
SEQUENCES: tuple[SequenceName, ...] = ("none", "cnn-transformer", "attention-gru")


class SequenceLayers(nn.Module):
    """A linear layer alone, or one of two stacks that published systems put there.

    Parameters
    ----------
    name
        ``"none"``: one linear layer, vector by vector. ``"cnn-transformer"``: a convolution of
        kernel 3 along time, positions, self-attention blocks. ``"attention-gru"``: a linear layer,
        positions, self-attention blocks, a gated recurrent unit from left to right.
    before, dim
        Widths D' and D.
    layers, heads
        Self-attention blocks, 1 or more, and their heads, which divide D. ``"none"`` has no blocks.
    dropout
        Probability from 0 to below 1, in training only.

    Raises
    ------
    InputError
        An unknown name, or a setting out of its range.
    """

    def __init__(
        self, name: str, before: int, dim: int, layers: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        if name not in SEQUENCES:
            raise InputError(
                "unknown sequence layers",
                expected=f"one of {list(SEQUENCES)}",
                got=repr(name),
                mend='write sequence="none" for the front end alone',
            )
        if before < 1 or dim < 1 or layers < 1 or not 0 <= dropout < 1:
            raise InputError(
                "a setting of the sequence layers out of its range",
                expected="widths and layers of 1 or more, dropout from 0 to below 1",
                got=f"before={before}, dim={dim}, layers={layers}, dropout={dropout}",
                mend="leave the default, or choose a value in the range",
            )
        self.dim = dim
        self.convolution = name == "cnn-transformer"
        self.entry: nn.Module
        if self.convolution:
            self.entry = nn.Conv1d(before, dim, kernel_size=3, padding=1)
        else:
            self.entry = nn.Linear(before, dim)
        self.blocks = nn.ModuleList(
            SelfAttentionBlock(dim, heads, dropout) for _ in range(0 if name == "none" else layers)
        )
        self.gru = nn.GRU(dim, dim, batch_first=True) if name == "attention-gru" else None
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)

    @property
    def layers(self) -> list[nn.Module]:
        """From bottom to top, for `PartlyTrainable.train_only`."""
        gru = [] if self.gru is None else [self.gru]
        return [self.entry, *self.blocks, *gru]

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Vectors [B, T, D'], real at the start of each row, to [B, T, D], 0 on padding."""
        # Blanked first: a convolution looks one vector beyond the end of a row.
        values = masking.blank(values.to(self.norm.weight.dtype), mask)
        if self.convolution:
            values = F.gelu(self.entry(values.transpose(1, 2)).transpose(1, 2))
        else:
            values = self.entry(values)
        if len(self.blocks):
            values = self.dropout(values)
            values = values + positions(values.shape[1], self.dim, values)
        for block in self.blocks:
            values = block(values, mask)
        if self.gru is not None:
            # Padding is on the right and the unit runs to the right: no real vector sees it, so
            # nothing need be packed. A backward unit would start in the padding.
            values = self.gru(masking.blank(values, mask))[0]
        return masking.blank(self.norm(values), mask)
