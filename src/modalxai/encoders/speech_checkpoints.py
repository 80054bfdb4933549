"""Checkpoints of wav2vec 2.0, HuBERT and WavLM: what is read, what is refused, what is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from modalxai import storage
from modalxai.encoders.waveforms import WaveformCollate
from modalxai.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

OWN = "modalxai.json"
SETTINGS = ("segment_seconds", "trainable")
TYPES = ("wav2vec2", "hubert", "wavlm")
MASK = "masked_spec_embed"


def check(config: PretrainedConfig, place: str) -> None:
    """Refuse a model that this encoder cannot run.

    Raises
    ------
    CheckpointError
        Another model type; an adapter, which makes frames of frames; a batch norm before the
        positional convolution, which turns padding into signal.
    """
    kind = getattr(config, "model_type", None)
    if kind not in TYPES:
        raise CheckpointError(
            f"{place} is of another architecture",
            expected=f"model_type in {list(TYPES)}",
            got=repr(kind),
            mend="choose a wav2vec 2.0, HuBERT or WavLM checkpoint",
        )
    for name in ("add_adapter", "conv_pos_batch_norm"):
        if getattr(config, name, False):
            raise CheckpointError(
                f"{place} has a part that this encoder does not run",
                expected=f"{name}=False",
                got=f"{name}=True",
                mend="choose a checkpoint without it",
            )


def load(checkpoint: str | Path) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A base model, and the encoder's settings that its files tell.

    Raises
    ------
    CheckpointError
        Whatever is wrong with the checkpoint.
    """
    from transformers import AutoConfig, AutoModel

    name = str(checkpoint)
    _check_weights(Path(name))
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        check(config, name)
        # Forked, because weights that the checkpoint lacks are drawn before they are refused.
        with torch.random.fork_rng(devices=[]):
            model, report = AutoModel.from_pretrained(
                name,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        settings = _own(name) | _preprocessing(name)
    except CheckpointError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(
            f"{name} cannot be loaded",
            expected="a folder, or a name on the Hugging Face Hub, with config.json and "
            "model.safetensors",
            got=f"{type(error).__name__}: {error}",
            mend="check the name, the folder and the network",
        ) from error
    parts = tuple(f"{part}." for part, _ in model.named_children())
    wrong = [f"{key} missing" for key in sorted(set(report["missing_keys"]) - {MASK})]
    # Task heads may be left over; a layer of the encoder may not.
    wrong += [
        f"{key} left over"
        for key in sorted(report["unexpected_keys"])
        if key.removeprefix(f"{model.base_model_prefix}.").startswith(parts)
    ]
    if wrong:
        raise CheckpointError(
            f"{name} does not hold the encoder's weights",
            expected="exactly the weights of the base model",
            got=f"{len(wrong)} differ: {wrong[:5]}",
            mend="use a checkpoint of this architecture, as its config.json says",
        )
    if MASK in report["missing_keys"]:
        # Fine-tuned checkpoints often lack it; a random vector is no learned mask.
        delattr(model, MASK)
        model.config.mask_time_prob = model.config.mask_feature_prob = 0.0
    return model, settings


def save(model: PreTrainedModel, collate: WaveformCollate, folder: str | Path) -> None:
    """Write the model and its preprocessing as transformers does."""
    from transformers import Wav2Vec2FeatureExtractor

    model.save_pretrained(folder)
    extractor: Any = Wav2Vec2FeatureExtractor  # untyped
    extractor(
        sampling_rate=collate.frames.sample_rate,
        do_normalize=collate.normalize,
        return_attention_mask=model.config.feat_extract_norm == "layer",
    ).save_pretrained(folder)


def _check_weights(folder: Path) -> None:
    if not folder.is_dir() or any(folder.glob("*.safetensors")):
        return
    storage.read_tensors(folder / "model.safetensors")  # raises, naming what is there instead


def _preprocessing(name: str) -> dict[str, Any]:
    from transformers import Wav2Vec2FeatureExtractor

    files = ("preprocessor_config.json", "processor_config.json")
    if not any(_file(name, file) for file in files):
        return {}
    found, _ = Wav2Vec2FeatureExtractor.get_feature_extractor_dict(name)
    kind = found.get("feature_extractor_type", Wav2Vec2FeatureExtractor.__name__)
    if kind != Wav2Vec2FeatureExtractor.__name__:
        raise CheckpointError(
            f"{name} expects another input than a waveform",
            expected=Wav2Vec2FeatureExtractor.__name__,
            got=str(kind),
            mend="choose another checkpoint",
        )
    return {
        "normalize": bool(found.get("do_normalize", True)),
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
