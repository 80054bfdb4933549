"""The prosodic players of a recording: what each does to the model, against a placebo."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from modalxai.errors import InputError
from modalxai.types import Spans
from modalxai.voice.checks import Check, check_edit
from modalxai.voice.edits import Edit, Reference, check_dose, resynthesise
from modalxai.voice.players import indexed, kept
from modalxai.voice.tracking import Tracker
from modalxai.voice.world import RawAudio


@dataclass(frozen=True)
class ProsodyDivision:
    """Players inside a recording: the words, the recording itself, and four prosodic ones.

    - ``"words"``: what is left when all prosody is neutral. Its removal is the removal of the
      whole modality, which is not made here.
    - ``"recording"``: the sound as recorded, not taken apart and put together again. Its removal
      alone is the placebo. It cannot be kept when a prosodic player is removed: every edit is a
      resynthesis too.
    - ``"pitch level"``, ``"pitch range"``, ``"rate"``, ``"intensity"``: removed, they are brought
      to neutral, see `Edit`.

    Parameters
    ----------
    dose
        What a removed player keeps of its distance from neutral: 0 is neutral, 2 doubles it. See
        `Edit`.
    reference
        What is neutral. Without a reference pitch (rate) the neutral level (rate) is the
        utterance's own, and that player is idle: its removal is the placebo.
    tracker
        How the pitch is found.

    Raises
    ------
    InputError
        An impossible dose.

    Notes
    -----
    Encoders that normalise each clip cannot hear its level, so no player holds it: a resynthesis
    is as loud as the recording, and ``"intensity"`` is the contour alone.
    """

    dose: float = 0.0
    reference: Reference = field(default_factory=Reference)
    tracker: Tracker = field(default_factory=Tracker)

    names: ClassVar[tuple[str, ...]] = (
        "words",
        "recording",
        "pitch level",
        "pitch range",
        "rate",
        "intensity",
    )

    def __post_init__(self) -> None:
        check_dose(self.dose, "the prosodic players")

    @property
    def idle(self) -> tuple[str, ...]:
        """Players whose removal changes nothing beyond the placebo, whatever the recording."""
        if self.dose == 1:
            return self.names[2:]
        neutral = {"pitch level": self.reference.pitch, "rate": self.reference.rate}
        return tuple(name for name, value in neutral.items() if value is None)

    def units(self, raw: RawAudio) -> Spans:
        """The six players, [1, 6], without a place."""
        return indexed(self.names)

    def render(self, raw: RawAudio, keep: Tensor) -> Any:
        """The recording with the players left that ``keep``, bool [6], names.

        Everything kept is the raw value itself. Otherwise a new `Audio`: mono, at the rate of the
        recording, as long as it unless the rate was changed, at the same root mean square.
        Versions of one recording asked for in a row share one analysis.

        Raises
        ------
        InputError
            The words removed, a mask that does not fit, or a recording that cannot be used (see
            `modalxai.voice.analyse` and `apply`).
        DependencyError
            pyworld is not installed.
        """
        if all(kept(keep, len(self.names))):
            return raw
        return resynthesise(raw, self.edit(keep), self.tracker)

    def edit(self, keep: Tensor) -> Edit:
        """The edit that removes what ``keep``, bool [6], does not name."""
        words, _, *prosody = kept(keep, len(self.names))
        if not words:
            raise _without_words()
        level, span, rate, intensity = (1.0 if one else self.dose for one in prosody)
        return Edit(level, span, rate, intensity, self.reference)

    def canonical(self, keep: Tensor) -> Tensor:
        """Masks [..., 6] to the masks of the same sounds, so that each is rendered once.

        The recording is not kept beside a removed prosodic player; an idle player is.
        """
        same = keep.clone()
        same[..., 1] &= keep[..., 2:].all(-1)
        for name in self.idle:
            same[..., self.names.index(name)] = True
        return same

    def check(self, raw: RawAudio, keep: Tensor) -> Check:
        """Whether `render` did what ``keep`` asks for, see `check_edit`."""
        return check_edit(raw, self.render(raw, keep), self.edit(keep), self.tracker)


def _without_words() -> InputError:
    """What is raised where the words are to be removed and the rest kept."""
    return InputError(
        "a recording without its words is no rendering of this division",
        expected="the player 'words' kept, or the whole modality removed",
        got="keep is False for 'words'",
        mend="keep the words here; ContentToneDivision renders a voice without words",
    )
