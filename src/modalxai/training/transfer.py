"""Weights from one saved model into another: one encoder, or whole unimodal models."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from modalxai import plugins, storage
from modalxai.errors import CheckpointError
from modalxai.fusion import LateFusion
from modalxai.training.cache import CachedEncoder
from modalxai.training.fingerprint import describe

if TYPE_CHECKING:
    from modalxai.fusion.late import Combine

# Settings in which two encoders may differ and still share their weights; so may any dropout.
OWN = {"p", "inplace", "segment_seconds", "mask_time_prob", "mask_feature_prob"}
OWN |= {"_attn_implementation_internal", "id2label", "label2id", "problem_type"}
# How weights were stored: they are read in float32, and older transformers keep no record of it.
OWN |= {"dtype"}


@dataclass(frozen=True)
class Loaded:
    """What `EmotionModel.load_encoder` loaded.

    Parameters
    ----------
    modality
        Whose encoder it was loaded into.
    folder
        Where it came from.
    names
        Of every parameter and buffer; all of the encoder's were loaded, from all of the folder's.
    values
        How many numbers they hold.
    """

    modality: str
    folder: Path
    names: tuple[str, ...]
    values: int

    def __str__(self) -> str:
        return (
            f"{self.modality}: {len(self.names)} tensors ({self.values} values) from {self.folder}"
        )


def load_encoder(modality: str, encoder: nn.Module, folder: str | Path) -> Loaded:
    """Load an encoder's weights, strictly; whether they learn is left as it is.

    Parameters
    ----------
    modality
        Its name in the model, and in the saved one.
    encoder
        What to load into.
    folder
        A saved model, or a saved encoder.

    Raises
    ------
    CheckpointError
        Nothing there, another architecture, or other settings that decide what the weights mean
        (preprocessing, strides, heads, ...), each difference named. Nothing is loaded then.
    """
    target: Any = encoder.encoder if isinstance(encoder, CachedEncoder) else encoder
    place = _part(modality, target, Path(folder))
    source = type(target).from_pretrained(place)
    if different := list(_differences(_described(source), _described(target))):
        raise CheckpointError(
            f"{place} holds another {type(target).__name__}",
            expected=f"the settings of the encoder of {modality!r}",
            got="; ".join(different[:8]),
            mend="make the model's encoder with the settings of the saved one",
        )
    weights: dict[str, Tensor] = source.state_dict()
    storage.load_weights(target, weights, str(place))
    count = sum(weight.numel() for weight in weights.values())
    return Loaded(modality, place, tuple(weights), count)


def late_fusion(
    fusions: Mapping[str, Any], combine: Combine | Mapping[str, float] = "mean"
) -> LateFusion:
    """One late fusion with the heads and missing vectors of unimodal ones, by modality.

    Raises
    ------
    CheckpointError
        A model of other modalities, other labels, or without a late fusion's head.
    """
    first = next(iter(fusions), None)
    for name, fusion in fusions.items():
        if list(fusion.dims) != [name]:
            raise _unfit(name, f"a model of {name!r} alone", f"one of {list(fusion.dims)}", "")
        whole = type(fusion) is LateFusion and bool((fusion.weights == 1).all())
        if not whole:
            raise _unfit(
                name,
                "a model with the fusion 'late', its head counted once",
                f"{type(fusion).__name__}({getattr(fusion, 'combine', '')})",
                'train the unimodal model with the fusion "late"',
            )
        if tuple(fusion.labels) != tuple(fusions[str(first)].labels):
            raise _unfit(
                name,
                f"the labels of {first!r}, {[label.name for label in fusions[str(first)].labels]}",
                str([label.name for label in fusion.labels]),
                "train the unimodal models with the same labels, in the same order",
            )
    made = LateFusion(
        {name: fusion.dims[name] for name, fusion in fusions.items()},
        fusions[str(first)].labels if fusions else (),
        {name: fusion.pools[name] for name, fusion in fusions.items()},
        combine,
    )
    # The preference is between modalities, so it is the new fusion's own.
    state = {key: value for key, value in made.state_dict().items() if key == "preference"}
    for fusion in fusions.values():
        state |= {k: value for k, value in fusion.state_dict().items() if k != "preference"}
    storage.load_weights(made, state, "unimodal models")
    return made


def _part(modality: str, encoder: Any, folder: Path) -> Path:
    """The encoder's own folder; a model's config says who wrote it."""
    config = folder / "config.json"
    record = storage.read_json(config) if config.is_file() else {}
    if not {"modalities", "parts"} <= set(record):
        return folder
    part = record["parts"].get(f"encoders/{modality}")
    plugin = plugins.origin(encoder).name
    if part is None or part["plugin"] != plugin:
        raise CheckpointError(
            f"{folder} has another encoder" if part else f"{folder} has no modality {modality!r}",
            expected=f"{modality!r} by the plugin {plugin!r}",
            got=f"the plugin {part['plugin']!r}" if part else f"a model of {record['modalities']}",
            mend="make the model's encoder with that plugin"
            if part
            else f"give the folder of the encoder itself: {folder / 'encoders' / '...'}",
        )
    return folder / "encoders" / modality


def _described(encoder: Any) -> str:
    """Settings and preprocessing, and what each token id stands for."""
    tokenizer = getattr(encoder.collate, "tokenizer", None)
    vocabulary = [] if tokenizer is None else sorted(tokenizer.get_vocab().items())
    mark = hashlib.blake2b(repr(vocabulary).encode(), digest_size=8).hexdigest()
    return f"{describe(encoder)}\nvocabulary of {len(vocabulary)} tokens, {mark}"


def _differences(source: str, target: str) -> Iterator[str]:
    """Lines of two descriptions that differ, other than by what does not touch the weights."""
    ours, theirs = (_telling(text) for text in (target, source))
    for line in difflib.unified_diff(ours, theirs, "", "", lineterm="", n=0):
        if line.startswith(("+", "-")) and not line.startswith(("+++", "---")):
            yield f"{'saved' if line[0] == '+' else 'here'} {line[1:].strip()}"


def _telling(text: str) -> list[str]:
    lines = []
    for line in text.splitlines():
        name = line.partition("=")[0].rpartition(" ")[2].rpartition(".")[2]
        if not ("=" in line and (name in OWN or "drop" in name)):
            lines.append(line)
    return lines


def _unfit(name: str, expected: str, got: str, mend: str) -> CheckpointError:
    return CheckpointError(
        f"the model of {name!r} cannot be combined",
        expected=expected,
        got=got,
        mend=mend or "give a model that was trained on this modality alone",
    )
