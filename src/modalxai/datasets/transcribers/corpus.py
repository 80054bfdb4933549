"""A corpus with what a recogniser heard as a further column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modalxai import audio as sound
from modalxai.datasets import columns
from modalxai.datasets.answers import Answers, Failure, Gathered, Question, gather, key_of
from modalxai.datasets.transcribers.corruption import tidy
from modalxai.datasets.transcribers.hearing import content
from modalxai.metrics.texts import ErrorRate, cer
from modalxai.protocols import Corrupting, Samples, Transcriber
from modalxai.types import Audio


class Transcribed(columns.WithColumn):
    """Samples with a recognised text each; ``None`` where there is none.

    Parameters
    ----------
    truths
        What was really said, by row; ``None`` where nobody wrote it down.
    *given, **named
        As for `WithColumn`.
    """

    def __init__(
        self,
        samples: Samples,
        name: str,
        values: Sequence[str | None],
        truths: Sequence[str | None],
        failures: Sequence[Failure] = (),
        asked: int = 0,
    ) -> None:
        super().__init__(samples, name, values, failures, asked)
        self.truths = tuple(truths)

    def cer(self) -> ErrorRate:
        """Character error rate over the rows that have a true and a recognised text.

        In NFC, a run of spaces counted as one: no recogniser hears how wide a gap was typed.

        Raises
        ------
        InputError
            No row has both.
        """
        said, heard = [], []
        for true, found in zip(self.truths, self.values, strict=True):
            if true is not None and found is not None:
                said.append(tidy(true))
                heard.append(tidy(found))
        return cer(said, heard)


def transcribe_corpus(
    transcriber: Transcriber,
    samples: Samples,
    *,
    cache: str | Path | None = None,
    column: str = "recognised",
    audio: str = "audio",
    text: str = "text",
    strict: bool = False,
    patience: int = 10,
) -> Transcribed:
    """Let a recogniser hear every sample once.

    Answers lie in ``cache`` under a hash of what is heard, the transcriber and its settings, and
    are written as soon as they come: after a kill, the next run asks for the rest, and several
    processes may share the folder. A transcriber that corrupts true texts is not cached; it
    reads the column ``text`` and no sound.

    Parameters
    ----------
    transcriber
        See `modalxai.protocols.Transcriber`; ``mx.plugins.create("transcribers", name, ...)``.
    samples
        N samples with ids. One without a recording has no recognised text.
    cache
        A folder, made if it is not there.
    column
        What the new column is called; `modalxai.training.ConsistencyCollate` reads
        ``"recognised"``.
    audio, text
        Which columns hold the recording and the true text.
    strict
        Whether the first failure is raised. Otherwise it is recorded, and the sample's text is
        ``None``.
    patience
        After so many requests in a row that no server answered, the last failure is raised.

    Raises
    ------
    AccessError
        A server that would refuse every request alike.
    InputError
        A column that cannot be called so, or samples without ids.
    RequestError
        See ``patience``.

    Examples
    --------
    >>> samples = [{"id": "u1", "text": "well done"}, {"id": "u2", "text": "never again"}]
    >>> from modalxai.datasets import transcribers
    >>> recogniser = transcribers.SimulatedTranscriber(cer=0.2)
    >>> heard = transcribers.transcribe_corpus(recogniser, samples)
    >>> sorted(heard[0])
    ['id', 'recognised', 'text']
    """
    columns.check_name(column)
    ids = columns.ids_of(samples)
    count = len(samples)
    truths: list[str | None]
    if isinstance(transcriber, Corrupting):
        truths = columns.column(samples, text)
        gathered = _corrupted(transcriber, ids, truths, strict, patience)
    else:
        truths = [None] * count
        name, settings = transcriber.name, dict(transcriber.settings)

        def prepare(row: int) -> Question[Audio] | None:
            sample = samples[row]
            truths[row] = sample.get(text)
            found = sample.get(audio)
            if found is None:
                return None
            heard = sound.read(found) if isinstance(found, str | Path) else found
            return Question(key_of(name, settings, content(heard)), heard)

        answers = Answers(
            None if cache is None else Path(cache), {"transcriber": name, "settings": settings}
        )
        gathered = gather(
            ids,
            range(count),
            prepare,
            transcriber.transcribe,
            answers,
            transcriber.batch_size,
            strict,
            patience,
            getattr(transcriber, "concurrency", 1),
        )
    texts = [gathered.texts.get(row) for row in range(count)]
    return Transcribed(samples, column, texts, truths, gathered.failures, gathered.asked)


def _corrupted(
    transcriber: Corrupting,
    ids: Sequence[str],
    truths: Sequence[str | None],
    strict: bool,
    patience: int,
) -> Gathered:
    def prepare(row: int) -> Question[tuple[str, str]] | None:
        true = truths[row]
        return None if true is None else Question(str(row), (true, ids[row]))

    def ask(pairs: Sequence[tuple[str, str]]) -> list[str]:
        return transcriber.corrupt([true for true, _ in pairs], [name for _, name in pairs])

    answers = Answers(None, {})
    rows = range(len(ids))
    return gather(ids, rows, prepare, ask, answers, transcriber.batch_size, strict, patience)
