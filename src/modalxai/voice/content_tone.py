"""Two players inside a recording: the words that are spoken, and how they are spoken."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor

from modalxai.errors import InputError
from modalxai.types import Audio, Spans
from modalxai.voice.checks import Check, check_edit, check_hum
from modalxai.voice.delexicalise import hum, low_pass
from modalxai.voice.edits import Edit, Reference, resynthesise
from modalxai.voice.players import indexed, kept
from modalxai.voice.tracking import Tracker
from modalxai.voice.world import RawAudio, analyse, synthesise


@dataclass(frozen=True)
class ContentToneDivision:
    """The players ``"words"`` and ``"prosody"`` of a recording.

    Words without prosody: the same words at one pitch, one intensity and the neutral rate. Prosody
    without words: the same pitch, intensity and timing, hummed or behind a low-pass filter.
    Together with the transcript these are the players of content and tone.

    Parameters
    ----------
    delexicalised
        ``"hum"``: resynthesised with one spectral envelope for all frames. ``"low-pass"``: the
        recording below ``cutoff``, its intensity contour put back.
    cutoff
        Hertz; a voice that rises above it loses its pitch, which `check` tells.
    reference
        The neutral pitch level and rate; by default the utterance's own.
    tracker
        How the pitch is found.

    Raises
    ------
    InputError
        Another way to lose the words, or an impossible cutoff.
    """

    delexicalised: Literal["hum", "low-pass"] = "hum"
    cutoff: float = 400.0
    reference: Reference = field(default_factory=Reference)
    tracker: Tracker = field(default_factory=Tracker)

    names: ClassVar[tuple[str, ...]] = ("words", "prosody")

    def __post_init__(self) -> None:
        if self.delexicalised not in ("hum", "low-pass"):
            raise InputError(
                "an unknown way to lose the words",
                expected="'hum' or 'low-pass'",
                got=repr(self.delexicalised),
                mend="choose one of the two",
            )
        if not 100 <= self.cutoff <= 480:
            raise InputError(
                "a cutoff that loses the voice or keeps the words",
                expected="100 to 480 hertz",
                got=repr(self.cutoff),
                mend="leave the default, 400",
            )

    @property
    def neutral(self) -> Edit:
        """The edit that takes the prosody away."""
        return Edit(0.0, 0.0, 0.0, 0.0, self.reference)

    def units(self, raw: RawAudio) -> Spans:
        """The two players, [1, 2], without a place."""
        return indexed(self.names)

    def render(self, raw: RawAudio, keep: Tensor) -> Any:
        """The recording with the players left that ``keep``, bool [2], names.

        Everything kept is the raw value itself; otherwise a new `Audio`, mono, at the rate and the
        root mean square of the recording.

        Raises
        ------
        InputError
            Nothing kept, a mask that does not fit, or a recording that cannot be used (see
            `modalxai.voice.analyse` and `apply`).
        DependencyError
            pyworld is not installed.
        """
        words, prosody = kept(keep, len(self.names))
        if words and prosody:
            return raw
        if words:
            return resynthesise(raw, self.neutral, self.tracker)
        if prosody:
            return self._without_words(raw)
        raise _nothing_left()

    def check(self, raw: RawAudio, keep: Tensor) -> Check:
        """Whether `render` did what ``keep`` asks for, see `check_edit` and `check_hum`."""
        words, prosody = kept(keep, len(self.names))
        rendered = self.render(raw, keep)
        if words:
            return check_edit(raw, rendered, Edit() if prosody else self.neutral, self.tracker)
        return check_hum(raw, rendered, self.tracker)

    def _without_words(self, raw: RawAudio) -> Audio:
        analysis = analyse(raw, self.tracker)
        if self.delexicalised == "hum":
            return synthesise(hum(analysis))
        return low_pass(raw, analysis, self.cutoff)


def _nothing_left() -> InputError:
    return InputError(
        "a recording without words and prosody is no rendering",
        expected="one player kept, or the whole modality removed",
        got="keep is False for both",
        mend="remove the modality instead",
    )
