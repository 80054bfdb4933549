"""The verbs: what a part must do to be composed with every other part.

Each protocol of a module declares ``forward`` and ``__call__``: a checker compares the first with
the implementation (``nn.Module.__call__`` is ``Any`` and would accept anything), and callers use
the second, so that hooks fire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, Self, TypeVar, get_args, runtime_checkable

from torch import Tensor

from modalxai.types import Attribution, Audio, Features, Inputs, Labels, Prediction, Sample, Spans

Raw = TypeVar("Raw")
RawIn = TypeVar("RawIn", contravariant=True)
Projected = TypeVar("Projected")


BLANK = "blank"
"""Key of a `Staged` encoder's inputs: which units of its stem have been removed."""


class Samples(Protocol):
    """Samples by number: a list, or any map-style dataset."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample:
        """Sample number ``index``."""
        ...


class Missing(Protocol):
    """Vectors by modality."""

    def __getitem__(self, modality: str, /) -> Tensor: ...


class Collate(Protocol[RawIn]):
    """Raw values to one encoder's input: resample, tokenise, normalise, pad.

    A weightless, picklable object, so that loader workers carry no model. ``None`` is a missing
    modality. A raw value that cannot be used raises an `InputError` whose ``index`` is its place.
    """

    def __call__(self, raws: Sequence[RawIn | None]) -> Inputs:
        """Collate B raw values."""
        ...


class Encoder(Protocol[RawIn]):
    """One modality to vectors; named by its key in the model.

    A row depends on its own input alone: not on its neighbours, not on its padding. A missing
    modality gives a row of False in the mask, with finite values.
    """

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        ...

    @property
    def collate(self) -> Collate[RawIn]:
        """Raw values to inputs, see `Collate`."""
        ...

    def forward(self, inputs: Inputs) -> Features:
        """Values [B, T, D], mask and spans [B, T]."""
        ...

    def __call__(self, inputs: Inputs) -> Features:
        """`forward`, with hooks."""
        ...

    def save_pretrained(self, folder: str | Path) -> None:
        """Write settings, preprocessing and weights, no pickle."""
        ...

    @classmethod
    def from_pretrained(cls, checkpoint: str | Path) -> Self:
        """Rebuild from what `save_pretrained` wrote."""
        ...


@runtime_checkable
class Removable(Protocol):
    """Optional: an encoder that can remove units of its input."""

    @property
    def removals(self) -> tuple[str, ...]:
        """Names that ``how`` may take."""
        ...

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names that ``kind`` may take."""
        ...

    def units(self, inputs: Inputs, kind: str) -> Spans:
        """The units of each sample, [B, U]; padding has no extent."""
        ...

    def remove(
        self, inputs: Inputs, units: Spans, keep: Tensor, how: str, seed: int | Sequence[int]
    ) -> Inputs:
        """The input without the units whose ``keep`` (bool [B, U]) is False, mask included.

        Works for any spans in the encoder's unit, not only its own. What no unit covers stays.
        ``seed`` is one number, or one per row; a row's draw depends on its own alone.
        """
        ...


@runtime_checkable
class Staged(Protocol):
    """Optional: an encoder in two stages, ``forward(inputs) = tail(stem(inputs))``.

    Its inputs may hold `BLANK`, bool [B, T]: units of the stem that `blank` replaces.
    """

    @property
    def blank(self) -> Tensor:
        """What stands for a removed unit of the stem, [D_stem]."""
        ...

    def stem(self, inputs: Inputs) -> Features:
        """The first stage: local, [B, T, D_stem]."""
        ...

    def tail(self, stem: Features) -> Features:
        """The second stage, [B, T, D]."""
        ...


@runtime_checkable
class Mapped(Protocol):
    """Optional: an encoder whose first layer has a value for every cell of time and frequency.

    ``forward(inputs) = from_maps(maps(inputs), inputs)`` up to rounding. Not a stem: maps may be
    far larger than what `Encoder.forward` ever holds, and are made for explanations alone.
    """

    def maps(self, inputs: Inputs) -> Features:
        """K maps over T cells, [B, T, K], 0 where silent; spans with hertz, time before frequency.

        The cells of one moment follow each other, low frequencies first.
        """
        ...

    def from_maps(self, maps: Features, inputs: Inputs) -> Features:
        """The rest of `Encoder.forward`; of ``inputs`` it reads lengths alone."""
        ...


@runtime_checkable
class Division(Protocol[Raw]):
    """Players inside one raw value, before it is collated (pitch, rate; words, prosody)."""

    def units(self, raw: Raw) -> Spans:
        """The players of one raw value, [1, U]."""
        ...

    def render(self, raw: Raw, keep: Tensor) -> Raw:
        """The raw value with the players left that ``keep``, bool [U], names."""
        ...


class Fusion(Protocol):
    """All modalities to scores, head included.

    Finite on rows whose masks are all False.
    """

    @property
    def labels(self) -> Labels:
        """What the columns of its scores mean."""
        ...

    @property
    def dims(self) -> Mapping[str, int]:
        """Width of each modality it reads, in order."""
        ...

    def forward(self, features: Mapping[str, Features]) -> Prediction:
        """Scores [B, K] from features of every modality."""
        ...

    def __call__(self, features: Mapping[str, Features]) -> Prediction:
        """`forward`, with hooks."""
        ...

    def save_pretrained(self, folder: str | Path) -> None:
        """Write settings, preprocessing and weights, no pickle."""
        ...

    @classmethod
    def from_pretrained(cls, checkpoint: str | Path) -> Self:
        """Rebuild from what `save_pretrained` wrote."""
        ...


@runtime_checkable
class Split(Protocol[Projected]):
    """Optional: a fusion in two stages, ``forward(f) = join({m: project(m, f[m])})``.

    ``project`` pools and widens once per encoding; only ``join`` runs per coalition. What
    ``project`` returns is a tensor or a pytree of tensors whose first axis is B.
    """

    @property
    def missing(self) -> Missing:
        """By modality [D_m]: what stands for an absent one; a dict or an ``nn.ParameterDict``."""
        ...

    def project(self, modality: str, features: Features) -> Projected:
        """One modality, once per encoding."""
        ...

    def join(self, projected: Mapping[str, Projected]) -> Prediction:
        """All modalities, once per coalition."""
        ...


class Game(Protocol):
    """What would the model score if only these players were left?"""

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """Names of the B samples."""
        ...

    @property
    def labels(self) -> Labels:
        """The K labels."""
        ...

    @property
    def modalities(self) -> tuple[str, ...]:
        """The M modalities, in order."""
        ...

    @property
    def present(self) -> Tensor:
        """Bool [B, M]; a modality that a sample lacks is no player."""
        ...

    @property
    def players(self) -> Mapping[str, Spans]:
        """By modality; one span over everything where it is not divided."""
        ...

    @property
    def level(self) -> str:
        """``"input"`` or ``"features"``."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the game adds to a `Provenance`: removal, background, seed, versions."""
        ...

    def divide(self, players: Mapping[str, str | Spans | Division[Any]]) -> Game:
        """The same game with more players; what is not divided stays one player."""
        ...

    def value(self, keep: Mapping[str, Tensor]) -> Tensor:
        """Raw scores [R, ..., B, K] of coalitions.

        ``keep[m]`` is bool [..., B, U_m], True for what is left; ``...`` broadcasts over the
        modalities, so [V, 1, B, U] and [1, W, B, U'] ask for V * W coalitions.
        """
        ...


@runtime_checkable
class Selectable(Protocol):
    """Optional: a game that can be asked about some of its samples alone."""

    def select(self, rows: Sequence[int]) -> Game:
        """The same game of these samples."""
        ...


@runtime_checkable
class Priced(Protocol):
    """Optional: a game that knows what its encodings cost."""

    def cost(self, modality: str) -> float:
        """Of encoding one row, in any unit."""
        ...


@runtime_checkable
class Joint(Protocol):
    """Optional: a game that may share no work between coalitions, a black box."""

    @property
    def joint(self) -> bool:
        """Whether V masks of one modality and W of another cost V * W rows, not V + W."""
        ...


@runtime_checkable
class Divided(Protocol):
    """Optional: a game that knows how it was divided."""

    @property
    def divided(self) -> Mapping[str, str]:
        """By divided modality, what its players are, for a `Provenance`."""
        ...


@runtime_checkable
class Enumerated(Protocol):
    """Optional: a game that knows whether its draws are a sample."""

    @property
    def enumerated(self) -> bool:
        """Whether the draws of `Game.value` are all there are, so that their mean has no error."""
        ...


@runtime_checkable
class FactoredGame(Game, Protocol):
    """A game over encoders and a fusion: V + W encodings for V * W coalitions."""

    def encode(self, modality: str, keep: Tensor | None = None) -> Features:
        """One modality encoded; ``keep`` bool [B, U_m], ``None`` for everything."""
        ...

    def reference(self, modality: str) -> Tensor:
        """What its vectors are compared with, h0, broadcastable to [B, T, D]."""
        ...

    def fuse(self, features: Mapping[str, Features]) -> Prediction:
        """The fusion alone, gradients allowed."""
        ...


class Stage(NamedTuple):
    """An encoder cut open where it has a value for every cell of time and frequency."""

    maps: Features
    """[B, T, K], spans with hertz."""
    blank: Tensor
    """[K], what stands for a removed cell."""
    rest: Callable[[Features], Features]
    """Maps to what the encoder gives, gradients allowed."""


@runtime_checkable
class StagedGame(FactoredGame, Protocol):
    """Optional: a game that cuts its encoders open."""

    def stage(self, modality: str) -> Stage | None:
        """One encoder at its time-frequency maps; ``None`` if it has none."""
        ...


class Attributor(Protocol):
    """Frozen settings, never a model."""

    def attribute(self, game: Game, labels: Sequence[str] | None = None) -> Attribution:
        """Contributions to the named labels, or to every label for ``None``."""
        ...


Axiom = Literal["efficiency", "null player", "symmetry", "linearity"]
AXIOMS: tuple[Axiom, ...] = get_args(Axiom)
"""What an attributor may claim, of modalities.

``efficiency``: totals sum to prediction - reference, and units to totals. ``null player``: what
changes no score gets 0. ``symmetry``: what may be exchanged gets the same. ``linearity``: a sum of
games gets the sum of what they get.
"""


@runtime_checkable
class Axiomatic(Protocol):
    """Optional: an attributor that says which axioms it keeps; `modalxai.testing` checks them."""

    @property
    def axioms(self) -> tuple[Axiom, ...]:
        """Some of `AXIOMS`; a ``ClassVar`` will do."""
        ...


class Transcriber(Protocol):
    """Speech to text. Plugins: group ``modalxai.transcribers``."""

    @property
    def name(self) -> str:
        """Tells it from other transcribers, in a cache."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Json values: everything beside the sound that decides the text, and no secret."""
        ...

    @property
    def batch_size(self) -> int:
        """Most recordings in one call."""
        ...

    def transcribe(self, audio: Sequence[Audio]) -> list[str]:
        """One text per recording, which does not depend on the others.

        ``""`` where nothing was said. A recording that cannot be used raises an `InputError`
        whose ``index`` is its place; a server that does not answer, a `RequestError`.
        """
        ...


@runtime_checkable
class Corrupting(Transcriber, Protocol):
    """Optional: a transcriber that makes its text from what was really said."""

    def corrupt(self, texts: Sequence[str], ids: Sequence[str]) -> list[str]:
        """One text per true text; ``ids`` are the samples', which seeds belong to."""
        ...


class Line(NamedTuple):
    """What one speaker says, and the lines of the dialogue around it."""

    text: str
    speaker: str | None = None
    before: tuple[Line, ...] = ()
    """The oldest first."""
    after: tuple[Line, ...] = ()
    """The nearest first."""


class Translator(Protocol):
    """Text to text in another language. Plugins: group ``modalxai.translators``."""

    @property
    def name(self) -> str:
        """Tells it from other translators, in a cache."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Json values: everything beside the line that decides the translation, and no secret."""
        ...

    @property
    def batch_size(self) -> int:
        """Most lines in one call."""
        ...

    @property
    def context(self) -> tuple[int, int]:
        """How many lines before and after it reads."""
        ...

    def translate(self, lines: Sequence[Line]) -> list[str]:
        """One translation per line; errors as in `Transcriber`."""
        ...
