"""When each word was said: forced alignment of a transcript with a CTC model's letters.

Source: L. Kuerzinger et al., SPECOM 2020, for the best path through CTC's lattice as word times.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from modalxai import audio, masking
from modalxai.ctc import best_path, forms
from modalxai.errors import CheckpointError, InputError, ModalxaiError
from modalxai.foreign_errors import cause, told
from modalxai.pretrained import require_safetensors
from modalxai.types import Audio, Spans

UNKNOWN = 1.0
"""Nats per frame by which a word that cannot be spelled fits worse than the likeliest letter: it
takes the frames that its neighbours' letters explain worse than that, and no others."""
SILENT = "nothing in it is spoken"
"""Why punctuation that stands alone has no place."""
WHOLE = "(not aligned)"
"""Name of the one player of a recording whose words could not be placed."""


@dataclass(frozen=True)
class PlacedWord:
    """A word and when it was said.

    Parameters
    ----------
    text
        The word as the transcript has it.
    start, end
        Seconds; ``None`` where it could not be placed.
    score
        Geometric mean, 0 to 1, of the probabilities of its letters in its frames; 0 where it could
        not be placed.
    reason
        Why it could not be placed; empty otherwise.
    """

    text: str
    start: float | None = None
    end: float | None = None
    score: float = 0.0
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Alignment:
    """The words of B samples.

    Parameters
    ----------
    spans
        Seconds [B, U], named by the words: what ``game.divide({"audio": spans})`` takes. Only words
        that could be placed; a recording without any is one player, named ``WHOLE``. A missing
        recording has none.
    scores
        Float [B, U], see `PlacedWord`; 0 on padding and for ``WHOLE``.
    unplaced
        By sample id, the words without a place and why.
    missing
        By sample id, why nothing could be aligned at all.
    """

    spans: Spans
    scores: Tensor
    unplaced: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


class WordAligner:
    """Places the words of a transcript in a recording, by a speech recogniser's letters.

    A word lasts from the first frame of its first letter to the last frame of its last one. Blanks
    between words, and words that cannot be placed, belong to no word, so a removal leaves them. CTC
    models are sure of a letter for a frame or two, often late in it: beginnings and ends are good
    to some 50 ms. One recording is run at a time, so that none depends on another.

    Parameters
    ----------
    model
        ``transformers.Wav2Vec2ForCTC``, or HuBERT's or WavLM's: waveforms [1, S] to ``logits``
        [1, T, V], its config with ``conv_kernel`` and ``conv_stride``.
    letters
        Column of the logits by letter: syllables or jamo (conjoining or compatibility) for Korean.
        A letter is looked up as it is, in lower and in upper case, and as jamo.
    blank
        Column of CTC's blank.
    delimiter
        Column of what the model writes between words, ``None`` if nothing.
    sample_rate
        Hertz that the model reads.
    normalize
        Whether it wants clips of zero mean and unit variance.

    Raises
    ------
    InputError
        No letters, or a blank among them.

    Examples
    --------
    ``aligner = WordAligner.from_pretrained("kresnik/wav2vec2-large-xlsr-korean")``, then
    ``game.divide({"audio": aligner.align(samples).spans, "text": "word"})``.
    """

    def __init__(
        self,
        model: nn.Module,
        letters: Mapping[str, int],
        blank: int,
        delimiter: int | None = None,
        sample_rate: int = 16_000,
        normalize: bool = True,
    ) -> None:
        if not letters or blank in letters.values() or delimiter in letters.values():
            raise InputError(
                "an alphabet that cannot spell",
                expected="columns of letters, none of them the blank or the delimiter",
                got=f"{len(letters)} letters, blank {blank}, delimiter {delimiter}",
                mend="leave the tokenizer's special tokens out",
            )
        self.model = model
        self.letters = dict(letters)
        self.blank = blank
        self.delimiter = delimiter
        self.normalize = normalize
        config: Any = model.config
        self.frames = audio.Frames(1, 1, 0, sample_rate)
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            self.frames = self.frames.then(kernel, stride)

    @classmethod
    def from_pretrained(cls, checkpoint: str | Path) -> Self:
        """Load a CTC checkpoint of transformers with its tokenizer.

        Parameters
        ----------
        checkpoint
            Name on the Hugging Face Hub, or a folder. Weights are read from safetensors only.

        Raises
        ------
        CheckpointError
            Nothing there, no CTC model of waveforms, weights or tokenizer missing.
        """
        from transformers import (
            AutoModelForCTC,
            AutoTokenizer,
            Wav2Vec2FeatureExtractor,
        )

        name = str(checkpoint)
        require_safetensors(name)
        try:
            with torch.random.fork_rng(devices=[]):
                model, report = AutoModelForCTC.from_pretrained(
                    name, use_safetensors=True, trust_remote_code=False, output_loading_info=True
                )
            tokenizer: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            extractor: Any = Wav2Vec2FeatureExtractor.from_pretrained(name)
        except Exception as error:  # transformers and the hub raise whatever they trip over
            raise CheckpointError(
                f"{name} cannot be loaded",
                expected="a CTC model of waveforms with its tokenizer and preprocessing, "
                "weights in safetensors",
                got=told(error),
                mend="choose a recogniser such as facebook/wav2vec2-base-960h",
            ) from cause(error)
        # A mask vector is used in training alone.
        lost = [key for key in report["missing_keys"] if not key.endswith("masked_spec_embed")]
        reads = hasattr(model.config, "conv_kernel") and not getattr(
            model.config, "add_adapter", False
        )
        if lost or not reads or tokenizer.pad_token_id is None:
            raise CheckpointError(
                f"{name} is no speech recogniser that can be aligned with",
                expected="a CTC head that was trained, on convolutions without an adapter, and a "
                "tokenizer with a blank",
                got=f"missing weights {sorted(lost)[:3]}, model_type {model.config.model_type!r}",
                mend="choose a checkpoint that was fine-tuned to recognise speech",
            )
        special = {*tokenizer.all_special_tokens, getattr(tokenizer, "word_delimiter_token", None)}
        vocabulary = tokenizer.get_vocab()
        return cls(
            model,
            {token: column for token, column in vocabulary.items() if token not in special},
            tokenizer.pad_token_id,
            vocabulary.get(getattr(tokenizer, "word_delimiter_token", None)),
            int(extractor.sampling_rate),
            bool(extractor.do_normalize),
        )

    def emissions(self, raw: Audio | str | Path) -> tuple[Tensor, float]:
        """Log-probabilities of the letters in each frame, float64 [T, V], and the clip's seconds.

        Raises
        ------
        InputError
            A recording that cannot be used, see `modalxai.audio.prepare`.
        """
        clip = audio.prepare(raw, self.frames.sample_rate, self.frames.field)
        heard = audio.standardise(clip) if self.normalize else clip
        modes = {module: module.training for module in self.model.modules()}
        device = next((weight.device for weight in self.model.parameters()), torch.device("cpu"))
        try:
            self.model.eval()
            with torch.no_grad():
                logits: Tensor = self.model(heard[None].to(device)).logits[0]
        finally:
            for module, mode in modes.items():
                module.training = mode
        return logits.double().cpu().log_softmax(-1), len(clip) / self.frames.sample_rate

    def words(self, raw: Audio | str | Path, text: str) -> tuple[PlacedWord, ...]:
        """The words of one transcript, divided at whitespace, in order.

        Raises
        ------
        InputError
            A recording that cannot be used, or a text that is blank or no text.
        """
        if not isinstance(text, str) or not text.strip():
            raise InputError(
                "no transcript to align",
                expected="a str with one word or more",
                got=repr(text)[:40],
                mend="give None where the transcript is missing",
            )
        chances, seconds = self.emissions(raw)
        said = [self._spell(word) for word in text.split()]
        if not any(isinstance(letters, list) for letters in said):
            return self._placed(text.split(), said, {}, {}, "no word can be spelled")
        likeliest = chances.max(-1, keepdim=True).values - UNKNOWN
        chances = torch.cat([chances, likeliest], dim=1)
        targets, owners = self._targets(said, chances.shape[1] - 1)
        path = best_path(chances, targets, self.blank)
        if path is None:
            reason = f"{len(targets)} letters do not fit into {len(chances)} frames"
            return self._placed(text.split(), said, {}, {}, reason)
        length = torch.tensor([round(seconds * self.frames.sample_rate)])
        spans = self.frames.spans(length, len(chances))
        times: dict[int, tuple[float, float]] = {}
        scores: dict[int, float] = {}
        for word in {owner for owner in owners if owner is not None}:
            own = torch.tensor([place is not None and owners[place] == word for place in path])
            at = own.nonzero().flatten().tolist()
            times[word] = float(spans.start[0, at[0]]), float(spans.end[0, at[-1]])
            letters = [
                targets[place] for place in path if place is not None and owners[place] == word
            ]
            scores[word] = math.exp(float(chances[at, letters].mean()))
        return self._placed(text.split(), said, times, scores, "")

    def align(
        self, samples: Sequence[Mapping[str, Any]], audio: str = "audio", text: str = "text"
    ) -> Alignment:
        """The words of samples, in their order, as players.

        Parameters
        ----------
        samples
            As the game was made of.
        audio, text
            Keys of the recording and of its transcript.

        Raises
        ------
        InputError
            No sample, or one whose recording or transcript cannot be used; it is named.
        """
        if not samples or isinstance(samples, Mapping):
            raise InputError(
                "nothing to align",
                expected="a list of one sample or more",
                got="one mapping" if isinstance(samples, Mapping) else "none",
                mend="write align([sample])",
            )
        rows: list[list[PlacedWord]] = []
        unplaced: dict[str, tuple[tuple[str, str], ...]] = {}
        missing: dict[str, str] = {}
        for index, sample in enumerate(samples):
            name, raw, said = (
                str(sample.get("id", f"#{index}")),
                sample.get(audio),
                sample.get(text),
            )
            rows.append([])
            if raw is None or said is None:
                missing[name] = f"no {audio if raw is None else text}"
            try:
                found = () if name in missing else self.words(raw, said)  # type: ignore[arg-type]
                rows[-1] = [word for word in found if word.start is not None]
                if raw is not None and not rows[-1]:
                    rows[-1] = [PlacedWord(WHOLE, 0.0, self._seconds(raw))]
            except ModalxaiError as error:
                raise error.at(f"sample {name!r}", index) from error
            if lost := tuple((word.text, word.reason) for word in found if word.start is None):
                unplaced[name] = lost
                if len(lost) == len(found):
                    missing[name] = f"no word was placed: {lost[0][1]}"
        start, end, scores = (
            masking.pad([torch.tensor([float(getattr(w, side)) for w in row]) for row in rows])[0]
            for side in ("start", "end", "score")
        )
        names = tuple(tuple(word.text for word in row) for row in rows)
        return Alignment(Spans(start, end, "seconds", names=names), scores, unplaced, missing)

    def _seconds(self, raw: Audio | str | Path) -> float:
        rate = self.frames.sample_rate
        return len(audio.prepare(raw, rate, self.frames.field)) / rate

    def _spell(self, word: str) -> list[int] | str:
        """The letters of a word, or why there are none."""
        found: list[int] = []
        for character in unicodedata.normalize("NFC", word):
            letters = next(
                (form for form in forms(character) if all(one in self.letters for one in form)), ""
            )
            if not letters and unicodedata.category(character)[0] in "LNM":
                return f"the model has no letter {character!r}"
            found += [self.letters[one] for one in letters]
        return found or SILENT

    def _targets(
        self, said: Sequence[list[int] | str], unknown: int
    ) -> tuple[list[int], list[int | None]]:
        """Columns in order, and whose word each is; ``unknown`` for a word without letters."""
        targets: list[int] = []
        owners: list[int | None] = []
        for word, letters in enumerate(said):
            if letters == SILENT:
                continue
            if targets and self.delimiter is not None:
                targets.append(self.delimiter)
                owners.append(None)
            own = letters if isinstance(letters, list) else [unknown]
            targets += own
            owners += [word if isinstance(letters, list) else None] * len(own)
        return targets, owners

    def _placed(
        self,
        words: Sequence[str],
        said: Sequence[list[int] | str],
        times: Mapping[int, tuple[float, float]],
        scores: Mapping[int, float],
        reason: str,
    ) -> tuple[PlacedWord, ...]:
        return tuple(
            PlacedWord(word, *times[place], scores[place])
            if place in times
            else PlacedWord(word, reason=letters if isinstance(letters, str) else reason)
            for place, (word, letters) in enumerate(zip(words, said, strict=True))
        )
