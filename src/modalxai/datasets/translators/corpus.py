"""A corpus with translations as a further column."""

from __future__ import annotations

from pathlib import Path

from modalxai.datasets import columns
from modalxai.datasets.answers import Answers, Question, gather, key_of
from modalxai.datasets.columns import WithColumn
from modalxai.datasets.translators.dialogue import Dialogues
from modalxai.errors import InputError
from modalxai.protocols import Line, Samples, Translator


def translate_corpus(
    translator: Translator,
    samples: Samples,
    *,
    cache: str | Path | None = None,
    column: str = "translation",
    text: str = "text",
    dialogue: str = "dialogue",
    turn: str = "turn",
    speaker: str = "speaker",
    strict: bool = False,
    patience: int = 10,
) -> WithColumn:
    """Translate every sample's text once, in the order of the dialogues.

    Answers lie in ``cache`` under a hash of the line, the context that the translator reads, the
    translator and its settings, and are written as soon as they come: after a kill, the next run
    asks for the rest, and several processes may share the folder. No recording is read from a
    corpus that offers its columns.

    Parameters
    ----------
    translator
        See `modalxai.protocols.Translator`; ``mx.plugins.create("translators", name, ...)``.
    samples
        N samples with ids. One without a text has no translation.
    cache
        A folder, made if it is not there.
    column
        What the new column is called.
    text, dialogue, turn, speaker
        Which columns hold the text, the name of the dialogue, the line's number in it, and who
        speaks. A sample without a dialogue is translated without context. A corpus that knows the
        lines which are no samples (`MELD.context`, say) shows them too.
    strict
        Whether the first failure is raised. Otherwise it is recorded, and the sample's
        translation is ``None``.
    patience
        After so many requests in a row that no server answered, the last failure is raised.

    Raises
    ------
    AccessError
        A server that would refuse every request alike.
    InputError
        A column that cannot be called so, samples without ids, or a dialogue without an order.
    RequestError
        See ``patience``.
    """
    columns.check_name(column)
    ids = columns.ids_of(samples)
    dialogues = Dialogues(samples, ids, text, dialogue, turn, speaker)
    before, after = translator.context
    name, settings = translator.name, dict(translator.settings)

    def prepare(row: int) -> Question[Line] | None:
        line = dialogues.line(row, before, after)
        if line is None:
            return None
        if not line.text.strip():
            raise InputError(
                "an empty transcript",
                expected="a text with a letter in it",
                got=repr(line.text),
                mend="leave the sample out, or give None where there is no text",
            )
        return Question(key_of(name, settings, repr(_seen(line, before, after)).encode()), line)

    answers = Answers(
        None if cache is None else Path(cache), {"translator": name, "settings": settings}
    )
    gathered = gather(
        ids,
        dialogues.order,
        prepare,
        translator.translate,
        answers,
        translator.batch_size,
        strict,
        patience,
        getattr(translator, "concurrency", 1),
    )
    values = [gathered.texts.get(row) for row in range(len(samples))]
    return WithColumn(samples, column, values, gathered.failures, gathered.asked)


def _seen(line: Line, before: int, after: int) -> tuple[object, ...]:
    """All that decides the translation; who speaks means nothing to one that reads no context."""
    return tuple(line) if before or after else (line.text,)
