"""wav2vec 2.0, HuBERT and WavLM, so that no clip depends on what shares its batch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import Tensor, nn

from modalxai import audio, masking, storage
from modalxai.encoders import folders, front_end
from modalxai.encoders import layers as layering
from modalxai.encoders import speech_checkpoints as checkpoints
from modalxai.encoders.layers import Layers
from modalxai.encoders.spec_augment import SpecAugment
from modalxai.encoders.tuning import TunedEncoder, Tuning, load_adapters
from modalxai.encoders.waveforms import (
    RawAudio,
    WaveformCollate,
    WaveformRemoval,
    check_offered,
    check_positive,
    check_units,
    frame_count,
)
from modalxai.errors import RemovalError
from modalxai.types import Audio, Features, Inputs, Spans

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

LEARNED = "learned-mask"

SpeechTuning = Tuning | Literal["transformer"]
"""`Tuning`, or all but the convolutional front end."""


@dataclass(frozen=True)
class Wav2Vec2Collate(WaveformCollate):
    """Waveforms, lengths and ``blank`` bool [B, T]: frames that the learned mask stands for."""

    def __call__(self, raws: Sequence[RawAudio | None]) -> dict[str, Tensor]:
        """Collate; no frame is blank. See `WaveformCollate`."""
        inputs = super().__call__(raws)
        longest = frame_count(self.frames, inputs["waveform"].shape[1])
        return {**inputs, "blank": torch.zeros(len(raws), longest, dtype=torch.bool)}


class Wav2Vec2Encoder(WaveformRemoval, TunedEncoder):
    """A wav2vec 2.0, HuBERT or WavLM model of transformers: one vector every 20 ms.

    A row of a batch is what the clip gives alone. Checkpoints whose front end has a group norm
    (wav2vec2-base, hubert-base, wavlm-base) normalise over a whole padded row, so the front end
    runs once per length; the frames are padded instead, and the transformer does not attend to
    padding. Front ends with layer norms are local: one padded run is exact.

    Clips are not cut to whole frames: the samples after the last one reach no frame by
    convolution, but they do enter the statistics of a group norm, in pre-training too.

    SpecAugment of the config is applied under ``train()`` where the transformer learns, as
    transformers does, except that every row has its own number of spans, from its own length, and
    that the random numbers are torch's, not numpy's. A checkpoint without a learned mask vector
    (many fine-tuned ones) has none. LayerDrop is not applied: it leaves parameters without a
    gradient, which distributed training refuses.

    Parameters
    ----------
    config
        A ``Wav2Vec2Config``, ``HubertConfig`` or ``WavLMConfig``, for random weights; or a loaded
        base model, which is taken over. ``None`` is ``Wav2Vec2Config()``, the base size.
    trainable
        ``"none"``, ``"all"``, how many top transformer layers learn, ``"transformer"`` for all but
        the convolutional front end (``freeze_feature_encoder`` in transformers), or adapters:
        ``"lora"``, or a `modalxai.encoders.Lora` with other settings than the usual ones.
    normalize
        Whether each clip is brought to zero mean and unit variance; ``None`` means yes.
    segment_seconds
        Length of a ``"segment"`` unit.
    sample_rate
        Hertz; recordings at other rates are resampled.
    layers
        ``"last"`` layer, or all ``"weighted"`` by a learned softmax, see
        `modalxai.encoders.layers.LayerMix`.
    checkpointing
        Save memory in training: layers that learn are run again in the backward pass (gradient
        checkpointing). The gradients are the same.
    spec_augment
        Whether the masks of the config are applied; ``None`` is what its ``apply_spec_augment``
        says, which is yes unless it was turned off.

    Attributes
    ----------
    removals
        ``"silence"``, ``"noise"`` and, where the model has a trained mask vector,
        ``"learned-mask"``: that vector, from pre-training, in place of removed frames.
    kinds
        ``"segment"``, ``"voiced"`` and ``"frame"``. Not ``"tile"``, which the learned mask cannot
        remove; spans with frequencies may be given for the other removals.

    Raises
    ------
    CheckpointError
        A model of another type, or with parts that cannot be run independently of the batch.
    DependencyError
        Adapters without peft.
    InputError
        Impossible settings.

    References
    ----------
    Baevski et al. (2020), wav2vec 2.0; Hsu et al. (2021), HuBERT; Chen et al. (2022), WavLM.
    """

    family: checkpoints.Family = checkpoints.WAV2VEC2
    kinds: tuple[str, ...] = ("segment", "voiced", "frame")

    def __init__(
        self,
        config: PretrainedConfig | PreTrainedModel | None = None,
        trainable: SpeechTuning = "all",
        normalize: bool | None = None,
        segment_seconds: float = 0.5,
        sample_rate: int = 16_000,
        layers: Layers = "last",
        checkpointing: bool = False,
        spec_augment: bool | None = None,
    ) -> None:
        super().__init__()
        check_positive("segment_seconds", segment_seconds)
        self.model: Any = self._make(config)
        settings = self.model.config
        self.dim: int = settings.hidden_size
        self.segment_seconds = segment_seconds
        self.frames = audio.Frames(1, 1, 0, sample_rate)
        for kernel, stride in zip(settings.conv_kernel, settings.conv_stride, strict=True):
            self.frames = self.frames.then(kernel, stride)
        whiten = self.family.normalize if normalize is None else normalize
        self.collate = Wav2Vec2Collate(self.frames, whiten)
        if hasattr(self._prenet, checkpoints.MASK):
            self.removals = (*self.removals, LEARNED)
        self.spec_augment = spec_augment
        self._masks = SpecAugment.of(settings, spec_augment)
        front = {id(weight) for weight in self._extractor.parameters()}
        rest = [weight for weight in self.model.parameters() if id(weight) not in front]
        named = {"transformer": rest}
        self.tune(list(self._transformer.layers), trainable, layers, checkpointing, named)

    @classmethod
    def from_config(cls, config: PretrainedConfig, **settings: Any) -> Self:
        """Random weights; ``settings`` are the constructor's other arguments."""
        return cls(config, **settings)

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path,
        trainable: SpeechTuning | None = None,
        normalize: bool | None = None,
        segment_seconds: float | None = None,
        layers: Layers | None = None,
        checkpointing: bool | None = None,
        spec_augment: bool | None = None,
    ) -> Self:
        """Load a checkpoint of transformers, or a folder that `save_pretrained` wrote.

        Parameters
        ----------
        checkpoint
            Name on the Hugging Face Hub, or a folder. Weights are read from safetensors only;
            task heads are left out.
        trainable, normalize, segment_seconds, layers, checkpointing, spec_augment
            See the class; ``None`` is what the checkpoint says, else the class's default. Adapters
            that were saved are loaded whatever learns; ``"lora"`` trains them on.

        Raises
        ------
        CheckpointError
            Nothing there, no safetensors, another architecture, or missing weights.
        DependencyError
            Adapters without peft.
        """
        folders.check(checkpoint, cls)
        model, own = checkpoints.load(checkpoint, cls.family)
        weights = own.pop("layer_weights", None)
        load_adapters(model, checkpoint, own)
        own.pop("lora", None)
        given = {
            "trainable": trainable,
            "normalize": normalize,
            "segment_seconds": segment_seconds,
            "layers": layers,
            "checkpointing": checkpointing,
            "spec_augment": spec_augment,
        }
        encoder = cls(
            model, **own | {name: value for name, value in given.items() if value is not None}
        )
        if encoder.mix is not None and weights is not None:
            encoder.mix.restore(weights, str(checkpoint))
        return encoder

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the files of transformers (model, preprocessor), and ``modalxai.json``.

        Adapters are written as peft does, into the folder ``adapter`` in it.
        """
        checkpoints.save(self.model, self.collate, folder, self.family)
        own = {"segment_seconds": self.segment_seconds, "spec_augment": self.spec_augment}
        storage.write_json(Path(folder) / checkpoints.OWN, own | self.tuning())

    def train(self, mode: bool = True) -> Self:
        """Like ``nn.Module.train``; what is frozen stays in eval."""
        super().train(mode)
        if self.trainable not in ("all", "transformer"):
            # It has no weights of its own, but sits before the frozen bottom of the transformer.
            self._transformer.dropout.eval()
        return self

    @property
    def blank(self) -> Tensor:
        """What stands for a removed frame, [D]: the learned mask vector, zero if there is none."""
        learned: Tensor | None = getattr(self._prenet, checkpoints.MASK, None)
        return self._like.new_zeros(self.dim) if learned is None else learned

    def forward(self, inputs: Inputs) -> Features:
        """Encode.

        Parameters
        ----------
        inputs
            ``waveform`` float [B, S], ``length`` int [B], ``blank`` bool [B, T].

        Returns
        -------
        Features
            The last hidden state, or the mix of all, float [B, T, D], zero on padding; spans in
            seconds.
        """
        return self.tail(self.stem(inputs))

    def stem(self, inputs: Inputs) -> Features:
        """Frames before the transformer, projected to D; blank ones replaced by `blank`."""
        lengths, blanks = inputs["length"], inputs["blank"]
        longest = blanks.shape[1]
        mask = masking.from_lengths(self.frames.counts(lengths), longest)
        waveform = inputs["waveform"].to(self._like.dtype)
        convolved = front_end.convolve(
            self._extractor, self.model.config, waveform, lengths, longest, self.frames.field
        )
        projected = self._prenet.feature_projection(convolved)
        # HuBERT gives the frames, the others also what they were projected from.
        values = projected if isinstance(projected, Tensor) else projected[0]
        values = torch.where(blanks[..., None], self.blank.to(values.dtype), values)
        return Features(masking.blank(values, mask), mask, self.frames.spans(lengths, longest))

    def tail(self, stem: Features) -> Features:
        """The transformer over the stem's real frames."""
        values = stem.values
        if self._masks is not None and self.training and self._transformer.training:
            values = self._masks(values, stem.mask, self.blank)
        # Blanked once more, because the transformer writes zeros into its input.
        values = masking.blank(values, stem.mask)
        hidden = layering.run(
            self.mix, self._transformer.layers, lambda: self._contextualise(values, stem.mask)
        )
        return Features(masking.blank(hidden, stem.mask), stem.mask, stem.spans)

    def remove(
        self, inputs: Inputs, units: Spans, keep: Tensor, how: str, seed: int | Sequence[int]
    ) -> Inputs:
        """Remove units; see `WaveformRemoval.remove`.

        ``"learned-mask"`` leaves the waveform and marks, in ``blank``, the frames whose centre
        lies in a removed span: the convolutions see the whole clip, as in pre-training.

        A clip that is all silence, by ``"silence"``, has the fewest samples that give as many
        frames: those behind the last frame are told by nothing, and silences of one number of
        frames are the same input, which a corpus encodes once.
        """
        if how == "silence":
            return self._trimmed(super().remove(inputs, units, keep, how, seed), units, keep)
        if how != LEARNED:
            return super().remove(inputs, units, keep, how, seed)
        check_offered(how, self.removals, "removal")
        lengths, blanks = inputs["length"], inputs["blank"]
        check_units(units, keep, len(lengths), seed)
        if units.low is not None:
            raise RemovalError(
                "the learned mask stands for whole frames, not for some of their frequencies",
                expected="spans without low and high",
                got="tiles",
                mend='remove tiles by "silence" or "noise"',
            )
        units, keep = units.to(blanks.device), keep.to(blanks.device)
        gone = audio.removed(units, keep, inputs["waveform"].shape[1], self.frames.sample_rate)
        centres = self.frames.centres(blanks.shape[1]).long().to(blanks.device)
        at_centre = gone[:, centres.clamp(max=gone.shape[1] - 1)]
        real = masking.from_lengths(self.frames.counts(lengths), blanks.shape[1])
        return {**inputs, "blank": blanks | (at_centre & real)}

    def _trimmed(self, inputs: Inputs, units: Spans, keep: Tensor) -> Inputs:
        """Clips of which nothing is left, cut to their last frame."""
        lengths = inputs["length"]
        counts = self.frames.counts(lengths)
        fewest = 2 * self.frames.offset + self.frames.field + (counts - 1) * self.frames.stride
        left = (keep & units.mask).any(1).to(lengths.device) | inputs["waveform"].any(1)
        return {**inputs, "length": torch.where(left | (counts == 0), lengths, fewest)}

    def _forward(self) -> None:
        rate = self.frames.sample_rate
        clip = Audio(torch.linspace(-0.5, 0.5, 2 * self.frames.field), rate)
        inputs = self.collate([clip])
        self({name: value.to(self._like.device) for name, value in inputs.items()})

    @property
    def _like(self) -> Tensor:
        weight: Tensor = self._prenet.feature_projection.projection.weight
        return weight

    # Where the parts lie; SpeechT5 has the same ones under other names.

    @property
    def _prenet(self) -> Any:
        """What holds the feature projection and the learned mask."""
        return self.model

    @property
    def _extractor(self) -> nn.Module:
        extractor: nn.Module = self.model.feature_extractor
        return extractor

    @property
    def _transformer(self) -> Any:
        return self.model.encoder

    def _contextualise(self, values: Tensor, mask: Tensor) -> Tensor:
        """Projected frames to the last hidden state, both [B, T, D]."""
        hidden: Tensor = self.model.encoder(
            values, attention_mask=masking.attendable(mask)
        ).last_hidden_state
        return hidden

    @classmethod
    def _make(cls, found: PretrainedConfig | PreTrainedModel | None) -> Any:
        """The bare model of a config, or the model taken over, without LayerDrop."""
        from transformers import AutoModel, PreTrainedModel, Wav2Vec2Config

        make: Any = AutoModel.from_config  # untyped
        if isinstance(found, PreTrainedModel):
            checkpoints.check(found.config, type(found).__name__, cls.family)
            model: Any = found
        else:
            config = Wav2Vec2Config() if found is None else copy.deepcopy(found)
            checkpoints.check(config, type(config).__name__, cls.family)
            model = make(config, dtype=torch.float32)
        # The model's own copy or a model taken over: no config of the caller changes.
        model.config.layerdrop = 0.0
        return model
