"""A frozen encoder's outputs on disk, so that every clip is encoded once."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any, NoReturn, Self

import torch
from torch import Tensor, nn

from modalxai.errors import CheckpointError, InputError
from modalxai.protocols import Collate, Encoder, Removable, Staged
from modalxai.training import feature_files as files
from modalxai.training.fingerprint import fingerprint, mark, raw_bytes
from modalxai.types import Features, Inputs


class CachedEncoder(nn.Module):
    """An encoder that looks its features up, and encodes only what it has not seen.

    Goes wherever an encoder goes: into an `EmotionModel`, with any fusion. What the wrapped
    encoder offers beside `Encoder` (`Removable`, `Staged`), this one offers too. It is always in
    eval mode, and its features carry no gradient.

    Each row has a file of its own, named by a hash of everything that decides its features: the
    collated input without its padding; the encoder's class, settings, preprocessing, packages,
    weights and buffers (adapters included); the kind of device, autocast and the precision of
    matrix products. Anything else is another name, so that nothing stale is ever read; what was
    written for an earlier state stays until the folder is deleted. Files are written in one
    step, so that several processes may share a folder, and carry a checksum: one that is damaged
    is named in a warning and encoded again.

    A row comes back exactly as it was first encoded. The neighbours it then had are not part of
    the name, since no encoder depends on them beyond rounding (design contract 2).

    Between two calls a change of weights is noticed by the tensors' version counters and by
    comparing some values of each. A change through ``.data`` of single values can escape both.

    Parameters
    ----------
    encoder
        Any encoder, without a trainable weight.
    folder
        Where the files lie; made if it is not there.
    write
        Whether new rows are written. Set ``write = False`` before explaining a model at input
        level, which encodes many inputs that nobody will ask for again.

    Raises
    ------
    InputError
        An encoder with trainable weights, which would go stale with every step.

    Examples
    --------
    ::

        audio = mx.plugins.create("encoders", "wav2vec2", checkpoint=..., trainable="none")
        audio = mx.training.CachedEncoder(audio, "cache/")
    """

    def __init__(
        self, encoder: Encoder[Any] | nn.Module, folder: str | Path, write: bool = True
    ) -> None:
        super().__init__()
        self.encoder: Any = encoder
        self.folder = Path(folder)
        self.write = write
        self._check_frozen()
        if isinstance(encoder, Removable):
            self.units, self.remove = encoder.units, encoder.remove
        if isinstance(encoder, Staged):
            self.stem, self.tail = encoder.stem, encoder.tail
        self._mark: Any = None
        self._print = b""
        self.eval()

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        return int(self.encoder.dim)

    @property
    def wrapped(self) -> Any:
        """The encoder itself, which is what a saved model holds."""
        return self.encoder

    @property
    def collate(self) -> Collate[Any]:
        """The wrapped encoder's."""
        found: Collate[Any] = self.encoder.collate
        return found

    @property
    def removals(self) -> tuple[str, ...]:
        """The wrapped encoder's, if it has any."""
        found: tuple[str, ...] = self.encoder.removals
        return found

    @property
    def kinds(self) -> tuple[str, ...]:
        """The wrapped encoder's, if it has any."""
        found: tuple[str, ...] = self.encoder.kinds
        return found

    @property
    def blank(self) -> Tensor:
        """The wrapped encoder's, if it has stages."""
        found: Tensor = self.encoder.blank
        return found

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, whatever ``mode`` says: what is kept must not be drawn."""
        return super().train(False)

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the wrapped encoder; the features stay where they are."""
        self.encoder.save_pretrained(folder)

    @classmethod
    def from_pretrained(cls, checkpoint: str | Path) -> NoReturn:
        """Refuse: what `save_pretrained` wrote is the wrapped encoder.

        Raises
        ------
        CheckpointError
            Always.
        """
        raise CheckpointError(
            f"{checkpoint} holds no cache",
            expected="the wrapped encoder's class to load it",
            got=cls.__name__,
            mend="write CachedEncoder(Wav2Vec2Encoder.from_pretrained(folder), cache_folder)",
        )

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # reads files
    def forward(self, inputs: Inputs) -> Features:
        """The features of every row, looked up or encoded.

        Raises
        ------
        InputError
            The encoder has trainable weights by now, or the input wants a gradient.
        """
        self._check_frozen()
        if any(value.requires_grad for value in inputs.values()):
            raise InputError(
                "kept features have no gradient",
                expected="an input that wants none",
                got="requires_grad",
                mend="call the wrapped encoder: cached.encoder(inputs)",
            )
        device = next(iter(inputs.values())).device
        keys = self._keys(inputs, device)
        rows = {key: self._read(key) for key in dict.fromkeys(keys)}
        if new := [key for key, row in rows.items() if row is None]:
            chosen = torch.tensor([keys.index(key) for key in new], device=device)
            for module in self.encoder.modules():
                module.training = False
            with torch.no_grad():
                encoded = self.encoder({name: value[chosen] for name, value in inputs.items()})
            for key, fresh in zip(new, files.split(encoded), strict=True):
                rows[key] = fresh
                if self.write:
                    files.write(self._path(key), key, fresh)
        return files.join([row for key in keys if (row := rows[key]) is not None]).to(device)

    def _keys(self, inputs: Inputs, device: torch.device) -> list[str]:
        now = mark(self.encoder)
        if now != self._mark:
            self._mark, self._print = now, fingerprint(self.encoder)
            missing = self.encoder.collate([None])
            self._padding = {name: value[0].cpu() for name, value in missing.items()}
        autocast = torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type)
        way = f"{device.type} {autocast} {torch.get_float32_matmul_precision()}"
        state = self._print + way.encode()
        inputs = {name: value.cpu() for name, value in sorted(inputs.items())}
        count = len(next(iter(inputs.values())))
        return [self._key(state, inputs, row) for row in range(count)]

    def _key(self, state: bytes, inputs: Inputs, row: int) -> str:
        """Hash of one row without its padding.

        Padding is what a missing value is filled with, at the end of axis 1. A mask or a length
        in the row tells it from content of the same value; where there is neither, the encoder
        cannot tell them apart any more than this can.
        """
        key = hashlib.blake2b(state, digest_size=20)
        for name, values in inputs.items():
            real = values[row]
            fill = self._padding.get(name)
            if fill is not None and _trims(real, fill):
                used = (real != fill[0]).reshape(len(real), -1).any(1).nonzero()
                real = real[: int(used[-1]) + 1 if len(used) else 0]
            key.update(f"{name} {real.dtype} {tuple(real.shape)}".encode())
            key.update(raw_bytes(real))
        return key.hexdigest()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"

    def _read(self, key: str) -> files.Row | None:
        try:
            return files.read(self._path(key), key)
        except CheckpointError as error:
            warnings.warn(f"{error.wrong}; it is encoded again", stacklevel=3)
            return None

    def _check_frozen(self) -> None:
        learns = [name for name, weight in self.encoder.named_parameters() if weight.requires_grad]
        if learns:
            raise InputError(
                "a cache for an encoder that learns",
                expected="no trainable weight, in the encoder or its adapters",
                got=f"{len(learns)} trainable, {learns[0]} first",
                mend="make it with trainable='none', or call encoder.requires_grad_(False)",
            )


def _trims(real: Tensor, fill: Tensor) -> bool:
    """Whether a row has an axis that may be padded, and padding to compare it with."""
    both = bool(real.numel() and fill.numel() and real.dim())
    return both and fill.shape[1:] == real.shape[1:]
