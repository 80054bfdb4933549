"""`SequenceEncoder`: any encoder, followed by layers over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch

from modalxai import plugins, saved_settings, storage
from modalxai.encoders.sequence import SequenceLayers, SequenceName
from modalxai.encoders.trainable import PartlyTrainable, settle
from modalxai.errors import CheckpointError
from modalxai.protocols import Collate, Encoder
from modalxai.types import Features, Inputs


class SequenceEncoder(PartlyTrainable):
    """An encoder whose vectors pass through layers over time of their own.

    The layers that published systems put behind a pre-trained model: a convolution and a
    transformer over wav2vec 2.0 or HanBERT vectors; self-attention and a gated recurrent unit over
    KoBERT embeddings (with `shorten` to its embeddings). The small encoders have the same layers
    as their ``sequence`` option.

    What the encoder offers beside `Encoder` is offered too, units and removals. Which weights of
    it learn is its own ``trainable``; the layers behind it always learn.

    Parameters
    ----------
    encoder
        Any encoder; ``None`` for a `ByteTextEncoder`.
    sequence, sequence_layers, heads, dropout
        See `modalxai.encoders.sequence.SequenceLayers`.
    dim
        Width D of the vectors, the encoder's own for ``None``.

    Raises
    ------
    InputError
        A setting out of its range.
    """

    def __init__(
        self,
        encoder: Encoder[Any] | None = None,
        sequence: SequenceName = "cnn-transformer",
        sequence_layers: int = 1,
        heads: int = 4,
        dropout: float = 0.1,
        dim: int | None = None,
    ) -> None:
        super().__init__()
        if encoder is None:
            from modalxai.encoders.byte_text import ByteTextEncoder

            encoder = ByteTextEncoder()
        self.encoder: Any = encoder
        self.dim = encoder.dim if dim is None else dim
        self.sequence = SequenceLayers(
            sequence, encoder.dim, self.dim, sequence_layers, heads, dropout
        )
        self._settings = {
            "sequence": sequence,
            "sequence_layers": sequence_layers,
            "heads": heads,
            "dropout": dropout,
            "dim": self.dim,
        }
        settle(self)

    @property
    def collate(self) -> Collate[Any]:
        """The encoder's own."""
        found: Collate[Any] = self.encoder.collate
        return found

    @property
    def removals(self) -> tuple[str, ...]:
        """The encoder's own; an encoder that removes nothing has none."""
        return tuple(_offered(self.encoder, "removals"))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The encoder's own."""
        return tuple(_offered(self.encoder, "kinds"))

    @property
    def units(self) -> Any:
        """The encoder's own method, see `modalxai.protocols.Removable`."""
        return _offered(self.encoder, "units")

    @property
    def remove(self) -> Any:
        """The encoder's own method, see `modalxai.protocols.Removable`."""
        return _offered(self.encoder, "remove")

    def forward(self, inputs: Inputs) -> Features:
        """Values [B, T, D], at the encoder's places."""
        found: Features = self.encoder(inputs)
        return Features(self.sequence(found.values, found.mask), found.mask, found.spans)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the layers, and the encoder into the folder ``encoder`` in it.

        Raises
        ------
        PluginError
            An encoder that no plugin offers, so that nobody could rebuild it.
        """
        maker = plugins.origin(self.encoder)
        self.encoder.save_pretrained(Path(folder) / "encoder")
        storage.write_json(Path(folder) / "config.json", {"encoder": maker.name, **self._settings})
        storage.write_tensors(Path(folder) / "model.safetensors", self.sequence.state_dict())

    @classmethod
    def from_pretrained(cls, checkpoint: str | Path) -> Self:
        """Rebuild from a folder that `save_pretrained` wrote; strict.

        Raises
        ------
        CheckpointError
            A file is missing or broken, or does not fit.
        PluginError
            The encoder's plugin is not installed.
        """
        folder = Path(checkpoint)
        config = storage.read_json(folder / "config.json")
        weights = storage.read_tensors(folder / "model.safetensors")
        expected = {"encoder", "sequence", "sequence_layers", "heads", "dropout", "dim"}
        if set(config) != expected:
            raise CheckpointError(
                f"{folder / 'config.json'} does not fit {cls.__name__}",
                expected=f"exactly the settings {sorted(expected)}",
                got=str(sorted(config)),
                mend="load the folder with the class that saved it",
            )
        saved_settings.check(config, cls, folder / "config.json")
        name = str(config.pop("encoder"))
        encoder = plugins.create("encoders", name, checkpoint=folder / "encoder")
        # Forked, because the layers draw random weights that are overwritten at once.
        with torch.random.fork_rng(devices=[]):
            made = cls(encoder, **config)
        storage.load_weights(made.sequence, weights, str(folder))
        return made


def _offered(encoder: object, name: str) -> Any:
    # An AttributeError is what makes this encoder no Removable where the inner one is none.
    return getattr(encoder, name)
