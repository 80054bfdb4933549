"""Which removal stands for "off" in each modality; declared, never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from modalxai.errors import InputError, RemovalError
from modalxai.protocols import Removable

if TYPE_CHECKING:
    from modalxai.model import EmotionModel

ABSENT = "absent"
JOINT = "marginal"
INDEPENDENT = "marginal-independent"
MARGINAL = (JOINT, INDEPENDENT)
"""A donor's features stand in: one donor for all modalities, or another one for each."""
OUTPUT = (ABSENT, "mean", *MARGINAL)
"""Removals at the encoder's output, offered for every encoder."""
LEVELS = ("input", "features")


def offered(model: EmotionModel, modality: str, level: str) -> tuple[str, ...]:
    """The removals one modality of a model offers."""
    encoder = model.encoder(modality)
    own = tuple(encoder.removals) if isinstance(encoder, Removable) and level == "input" else ()
    return (*OUTPUT, *own)


def needs_donors(removal: object) -> bool:
    """Whether one name, or one of the names by modality, is a marginal removal."""
    names = removal.values() if isinstance(removal, Mapping) else (removal,)
    return any(name in MARGINAL for name in names if isinstance(name, str))


def resolve(
    model: EmotionModel, removal: str | Mapping[str, str] | None, level: str, background: bool
) -> dict[str, str]:
    """A removal for every modality.

    What is not named is "absent" for a model trained with modality dropout.

    Raises
    ------
    RemovalError
        A removal left unnamed for a model trained without modality dropout, one that the encoder
        does not offer, or one that needs a background where there is none.
    InputError
        An unknown modality or level.
    """
    if level not in LEVELS:
        raise InputError(
            "unknown level",
            expected=f"one of {LEVELS}",
            got=repr(level),
            mend='"input" removes and encodes again, "features" masks the encoders\' outputs',
        )
    if not isinstance(removal, str | Mapping | None):
        raise RemovalError(
            "a removal of the wrong type",
            expected="one name for all modalities, or a name for each",
            got=repr(removal),
            mend='write removal={"text": "mask", "audio": "silence"}, for example',
        )
    named = (
        dict.fromkeys(model.modalities, removal)
        if isinstance(removal, str)
        else dict(removal or {})
    )
    if unknown := [name for name in named if name not in model.modalities]:
        raise InputError(
            f"a removal for the unknown modality {unknown[0]!r}",
            expected=f"some of {list(model.modalities)}",
            got=str(list(named)),
            mend="use the model's names",
        )
    chosen = {}
    for name in model.modalities:
        offers = offered(model, name, level)
        if name not in named and not model.modality_dropout:
            raise RemovalError(
                f"no removal for {name!r}, of a model trained without modality dropout",
                expected=f"one of {list(offers)}",
                got="nothing",
                mend=f'write removal={{"{name}": ...}}, or train with modality_dropout=0.1',
            )
        chosen[name] = named.get(name, ABSENT)
        if chosen[name] not in offers:
            raise RemovalError(
                f"{name!r} does not offer the removal {chosen[name]!r} at level {level!r}",
                expected=f"one of {list(offers)}",
                got=repr(chosen[name]),
                mend="choose one that is offered",
            )
        if chosen[name] in ("mean", *MARGINAL) and not background:
            raise RemovalError(
                f"the removal {chosen[name]!r} of {name!r} needs other samples",
                expected="a background",
                got="none",
                mend="pass background=samples of the same corpus",
            )
    return chosen
