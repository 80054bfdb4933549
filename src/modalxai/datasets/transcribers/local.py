"""A speech-recognition checkpoint of transformers, run here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from modalxai import masking
from modalxai.datasets import checkpoints, chosen
from modalxai.datasets.transcribers.hearing import listen
from modalxai.encoders import text_checkpoint
from modalxai.errors import CheckpointError, InputError, each
from modalxai.foreign_errors import cause, told
from modalxai.types import Audio

WRITERS = ("moonshine", "speech-encoder-decoder", "speech_to_text", "speecht5", "whisper")
"""Encoder-decoders that need no prompt."""
EXACT = ("hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm")
"""CTC models whose frames do not depend on masked padding, if their front end has layer norms."""


class TransformersTranscriber:
    """Runs a checkpoint on this machine.

    It may be any CTC model (wav2vec 2.0, HuBERT, Conformers, ...), Whisper, SpeechT5, Speech2Text,
    Moonshine, or a speech encoder with a text decoder.

    A text does not depend on the recordings beside it: recordings share a batch where padding is
    masked exactly, or where they need none because they are of one length; the others run alone.
    Decoding is greedy and draws nothing. Weights are read as safetensors; no code of the
    checkpoint is run.

    Parameters
    ----------
    checkpoint
        A folder with model, feature extractor and tokenizer, or a name on the hub.
    language
        What is spoken, for a multilingual Whisper: ``"ko"``; ``None`` lets it guess.
    max_new_tokens
        Most tokens that an encoder-decoder writes; ``None``: what the checkpoint says, or as many
        as it can.
    batch_size
        Most recordings at a time.
    device
        Where the model runs: ``"cpu"``, ``"cuda"``.

    Raises
    ------
    CheckpointError
        No such checkpoint, a pickle, missing weights, or a model that is no recogniser.
    InputError
        A language for a model that takes none.

    Examples
    --------
    ::

        recogniser = mx.plugins.create(
            "transcribers", "transformers", checkpoint="openai/whisper-small", language="ko"
        )
    """

    name = "transformers"

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        language: str | None = None,
        max_new_tokens: int | None = None,
        batch_size: int = 8,
        device: str = "cpu",
    ) -> None:
        from transformers import (
            MODEL_FOR_CTC_MAPPING,
            AutoModelForCTC,
            AutoModelForSpeechSeq2Seq,
        )

        chosen.number("batch_size", batch_size, low=1, whole=True)
        if max_new_tokens is not None:
            chosen.number("max_new_tokens", max_new_tokens, low=1, whole=True)
        config = text_checkpoint.load_config(checkpoint)
        self._ctc = type(config) in MODEL_FOR_CTC_MAPPING
        if not self._ctc and config.model_type not in WRITERS:
            raise CheckpointError(
                f"{checkpoint} is no recogniser that this transcriber runs",
                expected=f"a CTC model, or one of {list(WRITERS)}",
                got=repr(config.model_type),
                mend="choose another checkpoint, or serve it and use openai-compatible",
            )
        loader = AutoModelForCTC if self._ctc else AutoModelForSpeechSeq2Seq
        self._extractor = _extractor(checkpoint)
        self._model, self._tokenizer = checkpoints.load(checkpoint, config, loader, device)
        self.batch_size = batch_size
        self._asked = {"language": language, "max_new_tokens": max_new_tokens}
        self._grouped = {"group_tokens": False} if self._ctc else {}
        self._options = {} if self._ctc else checkpoints.limit(self._model, max_new_tokens)
        if config.model_type == "whisper":
            self._options = self._whisper(language, max_new_tokens)
        elif language is not None:
            raise _no_language(checkpoint, language)
        # Group norms see padding; layer norms do not.
        self._pads = (
            config.model_type in EXACT
            and config.feat_extract_norm == "layer"
            and not getattr(config, "conv_pos_batch_norm", False)
            and not getattr(config, "add_adapter", False)
        )

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path,
        *,
        language: str | None = None,
        max_new_tokens: int | None = None,
        batch_size: int = 8,
        device: str = "cpu",
    ) -> Self:
        """The same as the class itself; what ``create(..., checkpoint=...)`` calls."""
        return cls(
            checkpoint,
            language=language,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            device=device,
        )

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """Language, limit, and a hash of weights, preprocessing, vocabulary and versions."""
        parts = (self._extractor.to_dict(), checkpoints.words(self._tokenizer))
        return {**self._asked, "model": checkpoints.digest(self._model, *parts)}

    @torch.no_grad()
    def transcribe(self, audio: Sequence[Audio]) -> list[str]:
        """One text per recording.

        Raises
        ------
        InputError
            A recording that cannot be used, is silent, too short or too long; its ``index`` is
            the recording's place.
        """
        found = [features for features in each(audio, self._features) if features is not None]
        texts = [""] * len(found)
        for rows in self._batches(found):
            inputs = self._join([found[row] for row in rows])
            ids = self._read(inputs) if self._ctc else self._write(inputs)
            for row, tokens in zip(rows, ids, strict=True):
                # A CTC tokenizer would group what is left once blanks are gone: "ll" to "l".
                text = self._tokenizer.decode(
                    tokens.tolist(), skip_special_tokens=True, **self._grouped
                )
                texts[row] = " ".join(text.split())
        return texts

    def _features(self, audio: Audio) -> dict[str, Tensor]:
        """One recording alone, so that it is normalised over its own samples."""
        rate = int(self._extractor.sampling_rate)
        waveform = listen(audio, rate)
        most = getattr(self._extractor, "n_samples", None)
        if most is not None and waveform.numel() > most:
            raise InputError(
                "a recording longer than the model can hear",
                expected=f"at most {most / rate:g} s",
                got=f"{waveform.numel() / rate:.1f} s",
                mend="cut it into utterances",
            )
        made = self._extractor(waveform.numpy(), sampling_rate=rate, return_tensors="pt")
        return {name: value for name, value in made.items() if isinstance(value, Tensor)}

    def _batches(self, found: Sequence[Mapping[str, Tensor]]) -> list[list[int]]:
        alike: dict[object, list[int]] = {}
        for row, features in enumerate(found):
            shape = {name: tuple(value.shape) for name, value in features.items()}
            alike.setdefault(None if self._pads else repr(shape), []).append(row)
        size = self.batch_size
        return [
            rows[start : start + size]
            for rows in alike.values()
            for start in range(0, len(rows), size)
        ]

    def _join(self, found: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        if self._pads:
            values, mask = masking.pad([features["input_values"][0] for features in found])
            joined = {"input_values": values, "attention_mask": mask.long()}
        else:
            joined = {name: torch.cat([one[name] for one in found]) for name in found[0]}
        return {name: value.to(self._model.device) for name, value in joined.items()}

    def _read(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        """The likeliest token of every frame; repetitions dropped, then blanks."""
        best = self._model(**inputs).logits.argmax(-1)
        counts = [best.shape[1]] * len(best)
        if self._pads:
            lengths = inputs["attention_mask"].sum(1)
            counts = self._model._get_feat_extract_output_lengths(lengths).tolist()
        rows = [row[:count] for row, count in zip(best, counts, strict=True)]
        runs = [torch.unique_consecutive(row) for row in rows]
        return [run[run != self._model.config.pad_token_id] for run in runs]

    def _write(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        return list(self._model.generate(**inputs, do_sample=False, num_beams=1, **self._options))

    def _whisper(self, language: str | None, most: int | None) -> dict[str, Any]:
        options: dict[str, Any] = dict(checkpoints.limit(self._model, most))
        generation = self._model.generation_config
        if getattr(generation, "is_multilingual", False):
            return options | {"task": "transcribe", "language": language}
        if language is not None:
            raise _no_language("this Whisper", language)
        return options


def _extractor(checkpoint: str | Path) -> Any:
    from transformers import AutoFeatureExtractor

    load: Any = AutoFeatureExtractor.from_pretrained
    try:
        return load(str(checkpoint), trust_remote_code=False)
    except Exception as error:  # transformers and the hub raise all kinds
        raise CheckpointError(
            f"{checkpoint}: cannot be loaded",
            expected="preprocessor_config.json beside the weights",
            got=told(error),
            mend="save the feature extractor there: extractor.save_pretrained(folder)",
        ) from cause(error)


def _no_language(checkpoint: object, language: str) -> InputError:
    return InputError(
        f"{checkpoint} takes no language",
        expected="language=None",
        got=repr(language),
        mend="leave it out, or choose a multilingual Whisper",
    )
