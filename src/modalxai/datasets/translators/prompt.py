"""What a chat model is told: the task, the dialogue, the line."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

from modalxai.errors import InputError
from modalxai.protocols import Line

SYSTEM = (
    "You translate dialogue from {source} to {target}. You are given one line and the lines "
    "around it. Translate the one line, in the light of the others; keep its tone, its register "
    "and its emotion. Answer with the translation alone: no quotation marks, no speaker, no notes."
)
USER = """Lines before:
{before}

The line to translate:
{line}

Lines after:
{after}"""
PLACES = ("source", "target", "speaker", "before", "line", "after")


@dataclass(frozen=True)
class Prompt:
    """Two templates in the form of `str.format`, filled for each line.

    ``{line}`` is the text to translate and ``{speaker}`` who says it; ``{before}`` and
    ``{after}`` are the lines around it in the order they were said, one each, ``speaker: text``
    where the speaker is known, ``(none)`` where there are none; ``{source}`` and ``{target}``
    are the languages. Double braces stand for braces.

    Parameters
    ----------
    system
        The task.
    user
        The line and its context.

    Raises
    ------
    InputError
        A template that cannot be filled, or that shows no ``{line}``.

    Examples
    --------
    >>> prompt = Prompt(system="Translate to {target}.", user="{before} / {line} / {after}")
    >>> line = Line("응.", "B", before=(Line("밥 먹었어?", "A"),))
    >>> for message in prompt.messages(line, "Korean", "English"):
    ...     print(message)
    {'role': 'system', 'content': 'Translate to English.'}
    {'role': 'user', 'content': 'A: 밥 먹었어? / 응. / (none)'}
    """

    system: str = SYSTEM
    user: str = USER

    def __post_init__(self) -> None:
        found = [_places(template) for template in (self.system, self.user)]
        unknown = sorted({place for places in found for place in places} - set(PLACES))
        if unknown or "line" not in found[1]:
            raise InputError(
                "a prompt that cannot be filled",
                expected=f"places among {list(PLACES)}, and {{line}} in the user's template",
                got=str(unknown) if unknown else "no {line}",
                mend="correct the template; double braces stand for braces",
            )

    def messages(self, line: Line, source: str, target: str) -> list[dict[str, str]]:
        """The two messages of a chat."""
        filled = {
            "source": source,
            "target": target,
            "speaker": line.speaker or "unknown",
            "line": line.text,
            "before": _script(line.before),
            "after": _script(line.after),
        }
        return [
            {"role": "system", "content": self.system.format(**filled)},
            {"role": "user", "content": self.user.format(**filled)},
        ]


def _script(lines: Sequence[Line]) -> str:
    said = [line.text if line.speaker is None else f"{line.speaker}: {line.text}" for line in lines]
    return "\n".join(said) or "(none)"


def _places(template: str) -> set[str]:
    try:
        parts = list(string.Formatter().parse(template))
    except (ValueError, TypeError) as error:
        raise InputError(
            "a prompt that cannot be read",
            expected="a template in the form of str.format",
            got=str(error),
            mend="double the braces that stand for themselves",
        ) from error
    plain = all(not spec and conversion is None for _, place, spec, conversion in parts if place)
    # A place with a format of its own is named whole, and so is unknown.
    return {
        place if plain else f"{place}, formatted" for _, place, _, _ in parts if place is not None
    }


PROMPT = Prompt()
"""What a chat model is told unless you say otherwise."""
