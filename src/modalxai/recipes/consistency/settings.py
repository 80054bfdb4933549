"""The settings of recipe S2: the published ones, and those of the tiny form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from modalxai.errors import InputError
from modalxai.recipes.options import Options
from modalxai.training import FitSettings
from modalxai.training.divergence import Direction, Path


@dataclass(frozen=True)
class Recogniser:
    """Where the recognised words come from.

    Parameters
    ----------
    name
        As tables call it.
    plugin, options
        A transcriber by its plugin's name. ``"simulated"`` corrupts the true text at the
        character error rate ``cer``; the published ones are cloud services, of these rates.
    """

    name: str
    plugin: str = "simulated"
    options: Mapping[str, Any] = field(default_factory=dict)


PUBLISHED_CER = {"first recogniser": 0.351, "second recogniser": 0.561}
"""What the two cloud services of the paper reached."""
SIMULATED = tuple(
    Recogniser(name, options={"cer": cer, "seed": seed, "hangul": "common"})
    for seed, (name, cer) in enumerate(PUBLISHED_CER.items())
)


PUBLISHED_TRAINING = FitSettings(
    epochs=3, lr=5e-5, batch_size=32, micro_batch=8, optimizer="adam", clip=None
)


@dataclass(frozen=True)
class Settings:
    """Everything that decides the figures; the defaults are the published values.

    Parameters
    ----------
    dropped
        Labels that are left out.
    parts
        Sizes of training, validation and test part; utterances are dealt at random.
    seeds
        How many; each has its own split, order and weights.
    width, kernel, layers, heads
        Of the fusions: hidden size, convolution, transformer layers, attention heads. The source
        does not give the heads.
    sequence_layers, baseline_width
        Of the convolution and transformer over MFCC, FastText, wav2vec 2.0 or HanBERT vectors in
        the baselines. The source gives neither.
    dropout
        Of fusions and of the layers over time; not given in the source.
    audio_trainable, text_trainable
        What learns of wav2vec 2.0 and HanBERT: all, in the source. A convolution and a transformer
        layer behind a frozen wav2vec 2.0 learn in its place.
    training
        Optimiser, rate, epochs, batch; its ``seed`` is replaced by the run's. The epoch with the
        highest weighted F1 on the validation part is kept, on the words that are tested on.
    weight, direction, stop_gradient
        Of the consistency loss. Open in the source: lambda 1, KL(p_gold || p_recognised), no
        stop-gradient.
    recognisers
        Two of different error rates.
    modality_dropout
        Of the compared models: 0, as in the source.
    explained_dropout, explained_epochs, explained_samples
        Of one further Shallow Fusion, the model of the report. Departure from the source: it must
        have seen "absent" for an explanation to be held against the planted truth; and have
        learnt that truth, from so many utterances of synthetic speech.
    donors
        Draws of the marginal removal.
    samples, sentences, speakers, clip_seconds, corpus_seed
        Of the synthetic speech, see `modalxai.recipes.consistency.data.synthetic`. Few samples on
        purpose: recognition errors cost little that way round, and much where words must be
        learnt from errors.
    memory
        Up to so many utterances, inputs (and the features of what does not learn) are kept in
        memory, so that nothing is collated twice.
    most
        Utterances of a real corpus that are used at most, ``None`` for all; the quick form's.
    spaced
        Utterances whose spacing is corrected for the sWER, the first of the corpus.
    """

    dropped: tuple[str, ...] = ("fear", "contempt")
    parts: tuple[int, int, int] = (8, 1, 1)
    seeds: int = 5
    width: int = 768
    kernel: int = 3
    layers: int = 1
    heads: int = 12
    sequence_layers: int = 1
    baseline_width: int = 768
    dropout: float = 0.1
    audio_trainable: Literal["all", "none"] = "all"
    text_trainable: Literal["all", "none"] = "all"
    training: FitSettings = field(default_factory=lambda: PUBLISHED_TRAINING)
    weight: float = 1.0
    direction: Direction = "gold||recognised"
    stop_gradient: Path | None = None
    recognisers: tuple[Recogniser, ...] = SIMULATED
    modality_dropout: float = 0.0
    explained_dropout: float = 0.25
    explained_epochs: int = 6
    explained_samples: int = 1500
    donors: int = 16
    samples: int = 500
    sentences: int = 2
    speakers: int = 24
    clip_seconds: float = 1.0
    corpus_seed: int = 0
    memory: int = 4000
    most: int | None = None
    spaced: int = 2000


PUBLISHED = Settings()
TINY = replace(
    PUBLISHED,
    width=32,
    heads=4,
    baseline_width=32,
    # Models this small have nothing to spare.
    dropout=0.0,
    # So that every recording is encoded once for all models. The text encoder learns.
    audio_trainable="none",
    training=FitSettings(
        epochs=6, lr=3e-3, batch_size=32, optimizer="adam", schedule="cosine", clip=1.0
    ),
    explained_epochs=14,
    spaced=120,
)
"""For tiny checkpoints and synthetic speech: small widths, and a rate for weights that are new."""


def settings_for(options: Options) -> Settings:
    """The settings of a run.

    Raises
    ------
    InputError
        A seed too many for the split to be drawn; see `Options` for the others.
    """
    chosen = TINY if options.checkpoints == "tiny" else PUBLISHED
    if options.quick:
        chosen = replace(
            chosen,
            seeds=1,
            training=replace(chosen.training, epochs=1),
            explained_epochs=1,
            explained_samples=160,
            donors=4,
            samples=160,
            most=160,
            spaced=8,
        )
    if options.seeds is not None:
        chosen = replace(chosen, seeds=options.seeds)
    if len(chosen.recognisers) < 1:
        raise InputError(
            "no recogniser",
            expected="one or more",
            got="none",
            mend="name one: Recogniser('mine', 'transformers', {...})",
        )
    return chosen
