"""Checkpoints of speech models of transformers: what is read, refused and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from modalxai import saved_settings, storage
from modalxai.encoders import lora_files
from modalxai.encoders.own_names import with_own_names
from modalxai.encoders.waveforms import WaveformCollate
from modalxai.errors import CheckpointError, ModalxaiError
from modalxai.foreign_errors import cause, told
from modalxai.pretrained import require_safetensors

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

OWN = "modalxai.json"
SETTINGS = (
    "checkpointing",
    "layer_weights",
    "layers",
    "lora",
    "segment_seconds",
    "spec_augment",
    "trainable",
)
MASK = "masked_spec_embed"


def _auto() -> Any:
    from transformers import AutoModel

    return AutoModel


@dataclass(frozen=True)
class Family:
    """Speech models that are loaded and saved alike.

    Parameters
    ----------
    name
        What messages call them.
    types
        Their ``model_type`` in config.json.
    model
        The class that loads them, imported when asked for.
    extractor
        The class of transformers whose settings say how waveforms are prepared.
    normalize
        Whether a clip is standardised where no file says so.
    renames
        Regular expressions of a whole model's weights, to the names they have in ``model``.
    """

    name: str
    types: tuple[str, ...]
    model: Callable[[], Any] = _auto
    extractor: str = "Wav2Vec2FeatureExtractor"
    normalize: bool = True
    renames: Mapping[str, str] = field(default_factory=dict)


WAV2VEC2 = Family("wav2vec 2.0, HuBERT or WavLM", ("wav2vec2", "hubert", "wavlm"))


def check(config: PretrainedConfig, place: str, family: Family = WAV2VEC2) -> None:
    """Refuse a model that this encoder cannot run.

    Raises
    ------
    CheckpointError
        Another model type; an adapter, which makes frames of frames; a batch norm before the
        positional convolution, which turns padding into signal.
    """
    kind = getattr(config, "model_type", None)
    if kind not in family.types:
        raise CheckpointError(
            f"{place} is of another architecture",
            expected=f"model_type in {list(family.types)}",
            got=repr(kind),
            mend=f"choose a {family.name} checkpoint",
        )
    for name in ("add_adapter", "conv_pos_batch_norm"):
        if getattr(config, name, False):
            raise CheckpointError(
                f"{place} has a part that this encoder does not run",
                expected=f"{name}=False",
                got=f"{name}=True",
                mend="choose a checkpoint without it",
            )


def load(
    checkpoint: str | Path, family: Family = WAV2VEC2
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A base model, and the encoder's settings that its files tell.

    Raises
    ------
    CheckpointError
        Whatever is wrong with the checkpoint.
    """
    from transformers import AutoConfig

    name = str(checkpoint)
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        check(config, name, family)
        saved_settings.check_depth(config.to_dict(), name)
        require_safetensors(name)
        # Forked, because weights that the checkpoint lacks are drawn before they are refused.
        with torch.random.fork_rng(devices=[]):
            model, report = family.model().from_pretrained(
                name,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                **({"key_mapping": dict(family.renames)} if family.renames else {}),
            )
            model = with_own_names(model) if family.renames else model
        settings = _own(name) | _preprocessing(name, family)
    except ModalxaiError:
        raise
    except Exception as error:  # transformers and the hub raise whatever they trip over
        raise CheckpointError(
            f"{name} cannot be loaded",
            expected="a folder, or a name on the Hugging Face Hub, with config.json and "
            "model.safetensors",
            got=told(error),
            mend="check the name, the folder and the network",
        ) from cause(error)
    parts = tuple(f"{part}." for part, _ in model.named_children())
    masks = [key for key in report["missing_keys"] if key.rpartition(".")[2] == MASK]
    wrong = [f"{key} missing" for key in sorted(set(report["missing_keys"]) - set(masks))]
    # Task heads may be left over, and tables that are computed; a layer of the encoder may not.
    tables = {key for key, _ in model.named_buffers()}
    wrong += [
        f"{key} left over"
        for key in sorted(report["unexpected_keys"])
        if key.removeprefix(f"{model.base_model_prefix}.").startswith(parts) and key not in tables
    ]
    if wrong:
        raise CheckpointError(
            f"{name} does not hold the encoder's weights",
            expected="exactly the weights of the base model",
            got=f"{len(wrong)} differ: {wrong[:5]}",
            mend="use a checkpoint of this architecture, as its config.json says",
        )
    for key in masks:
        # Fine-tuned checkpoints often lack it; a random vector is no learned mask.
        delattr(model.get_submodule(key.rpartition(".")[0]), MASK)
        model.config.mask_time_prob = model.config.mask_feature_prob = 0.0
    return model, settings


def save(
    model: PreTrainedModel,
    collate: WaveformCollate,
    folder: str | Path,
    family: Family = WAV2VEC2,
) -> None:
    """Write the model and its preprocessing as transformers does."""
    import transformers

    lora_files.save(model, folder)
    extractor: Any = getattr(transformers, family.extractor)
    extractor(
        sampling_rate=collate.frames.sample_rate,
        do_normalize=collate.normalize,
        return_attention_mask=model.config.feat_extract_norm == "layer",
    ).save_pretrained(folder)


def _preprocessing(name: str, family: Family) -> dict[str, Any]:
    from transformers import Wav2Vec2FeatureExtractor

    files = ("preprocessor_config.json", "processor_config.json")
    if not any(_file(name, file) for file in files):
        return {}
    found, _ = Wav2Vec2FeatureExtractor.get_feature_extractor_dict(name)
    kind = found.get("feature_extractor_type", family.extractor)
    if kind != family.extractor:
        raise CheckpointError(
            f"{name} expects another input than a waveform",
            expected=family.extractor,
            got=str(kind),
            mend="choose another checkpoint",
        )
    return {
        "normalize": bool(found.get("do_normalize", family.normalize)),
        "sample_rate": int(found.get("sampling_rate", 16_000)),
    }


def _own(name: str) -> dict[str, Any]:
    path = _file(name, OWN)
    found = {} if path is None else storage.read_json(path)
    if unknown := sorted(set(found) - set(SETTINGS)):
        raise CheckpointError(
            f"{name}: {OWN} does not fit this encoder",
            expected=f"settings among {list(SETTINGS)}",
            got=str(unknown),
            mend="load the folder with the class that saved it",
        )
    return found


def _file(name: str, file: str) -> Path | None:
    from transformers.utils.hub import cached_file

    found = cached_file(name, file, _raise_exceptions_for_missing_entries=False)
    return None if found is None else Path(found)
