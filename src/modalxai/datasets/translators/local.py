"""A translation checkpoint of transformers, run here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch

from modalxai.datasets import checkpoints, chosen
from modalxai.encoders import text_checkpoint
from modalxai.errors import CheckpointError, InputError
from modalxai.protocols import Line


class TransformersTranslator:
    """Runs an encoder-decoder: Marian, NLLB, M2M100, mBART-50 or one like them.

    It reads one line without its context. A translation does not depend on the lines beside it:
    padding is masked. Nothing is drawn. Weights are read as safetensors; no code of the
    checkpoint is run.

    Parameters
    ----------
    checkpoint
        A folder with model and tokenizer, or a name on the hub.
    source, target
        The checkpoint's own codes of the languages (``"kor_Hang"``, ``"eng_Latn"`` for NLLB,
        ``"ko"``, ``"en"`` for M2M100). A multilingual checkpoint needs both; one for a single pair
        (Marian) takes none.
    beams
        How many translations are followed at a time.
    max_new_tokens
        Most tokens that it writes; ``None``: what the checkpoint says, or as many as it can.
    batch_size
        Most lines at a time.
    device
        Where the model runs: ``"cpu"``, ``"cuda"``.

    Raises
    ------
    CheckpointError
        No such checkpoint, a pickle, missing weights, or a model that does not translate.
    InputError
        Languages that the checkpoint does not know, needs, or does not take.

    Examples
    --------
    ::

        translator = mx.plugins.create(
            "translators", "transformers", checkpoint="facebook/nllb-200-distilled-600M",
            source="kor_Hang", target="eng_Latn",
        )
    """

    name = "transformers"
    context = (0, 0)

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        source: str | None = None,
        target: str | None = None,
        beams: int = 4,
        max_new_tokens: int | None = None,
        batch_size: int = 8,
        device: str = "cpu",
    ) -> None:
        from transformers import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, AutoModelForSeq2SeqLM

        chosen.number("beams", beams, low=1, whole=True)
        chosen.number("batch_size", batch_size, low=1, whole=True)
        if max_new_tokens is not None:
            chosen.number("max_new_tokens", max_new_tokens, low=1, whole=True)
        config = text_checkpoint.load_config(checkpoint)
        if type(config) not in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
            raise CheckpointError(
                f"{checkpoint} is no translator",
                expected="an encoder-decoder over text: Marian, NLLB, M2M100, mBART-50",
                got=repr(config.model_type),
                mend="choose another checkpoint",
            )
        self._model, self._tokenizer = checkpoints.load(
            checkpoint, config, AutoModelForSeq2SeqLM, device
        )
        self.batch_size = batch_size
        self._asked = {
            "source": source,
            "target": target,
            "beams": beams,
            "max_new_tokens": max_new_tokens,
        }
        self._options = checkpoints.limit(self._model, max_new_tokens) | {"num_beams": beams}
        self._options |= self._languages(checkpoint, source, target)

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path,
        *,
        source: str | None = None,
        target: str | None = None,
        beams: int = 4,
        max_new_tokens: int | None = None,
        batch_size: int = 8,
        device: str = "cpu",
    ) -> Self:
        """The same as the class itself; what ``create(..., checkpoint=...)`` calls."""
        return cls(
            checkpoint,
            source=source,
            target=target,
            beams=beams,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            device=device,
        )

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """Languages and decoding, and a hash of weights, vocabulary and versions."""
        parts = checkpoints.words(self._tokenizer)
        return {**self._asked, "model": checkpoints.digest(self._model, parts)}

    @torch.no_grad()
    def translate(self, lines: Sequence[Line]) -> list[str]:
        """One translation per line.

        Raises
        ------
        InputError
            A line longer than the model can read; its ``index`` is the line's place.
        """
        texts: list[str] = []
        most = checkpoints.positions(self._model.config)
        for index, line in enumerate(lines):
            count = len(self._tokenizer(line.text).input_ids)
            if most is not None and count > most:
                raise InputError(
                    "a line longer than the model can read",
                    expected=f"at most {most} tokens",
                    got=str(count),
                    mend="cut it into sentences",
                    index=index,
                )
        for start in range(0, len(lines), self.batch_size):
            chosen = [line.text for line in lines[start : start + self.batch_size]]
            inputs = self._tokenizer(chosen, padding=True, return_tensors="pt")
            inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
            inputs = {name: value.to(self._model.device) for name, value in inputs.items()}
            ids = self._model.generate(**inputs, do_sample=False, **self._options)
            texts += self._tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _languages(
        self, checkpoint: object, source: str | None, target: str | None
    ) -> dict[str, int]:
        """How the tokenizer and the decoder are told what to translate from and to."""
        known = _codes(self._tokenizer)
        if not known and source is None and target is None:
            return {}
        if not known or source not in known or target not in known:
            raise InputError(
                f"{checkpoint}: languages that do not fit",
                expected=f"source and target among {sorted(known)[:12]}, {len(known)} in all"
                if known
                else "none: the checkpoint translates one pair",
                got=f"source={source!r}, target={target!r}",
                mend="give the checkpoint's own codes, as its card lists them"
                if known
                else "leave source and target out",
            )
        self._tokenizer.src_lang = source
        return {"forced_bos_token_id": known[target]}


def _codes(tokenizer: Any) -> dict[str, int]:
    """Language codes that a multilingual tokenizer knows, and their tokens."""
    if not hasattr(tokenizer, "src_lang"):
        return {}
    if found := getattr(tokenizer, "lang_code_to_id", None):  # M2M100, mBART-50
        named = getattr(tokenizer, "lang_code_to_token", None) or {}
        return {code: tokenizer.convert_tokens_to_ids(named.get(code, code)) for code in found}
    vocabulary = tokenizer.get_vocab()  # NLLB: codes are tokens
    return {
        token: vocabulary[token]
        for token in vocabulary
        if len(token) == 8 and token[3] == "_" and token[:3].islower() and token[4:].istitle()
    }
