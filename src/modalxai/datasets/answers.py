"""Texts that were paid for once: asked in batches, kept on disk, never asked again."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from modalxai import storage
from modalxai.errors import AccessError, CheckpointError, ModalxaiError, PluginError, RequestError

T = TypeVar("T")


class Question(NamedTuple, Generic[T]):
    """What is asked about one row, and the hash of all that decides the answer."""

    key: str
    value: T


@dataclass(frozen=True)
class Failure:
    """A row without an answer.

    Parameters
    ----------
    row, id
        Its number and the id of its sample.
    reason
        What was wrong, and what came.
    """

    row: int
    id: str
    reason: str


@dataclass
class Gathered:
    """Answers by row, what became of the rest, and how many values were sent out."""

    texts: dict[int, str] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    asked: int = 0


@dataclass(frozen=True)
class Answers:
    """A folder with one json file per answer, named by its key.

    Files are written in one step, so that several processes may share a folder and none is ever
    half there. One that is damaged all the same is named in a warning and asked again.

    Parameters
    ----------
    folder
        Made if it is not there; ``None`` keeps nothing.
    about
        Written beside each answer, for readers.
    """

    folder: Path | None
    about: Mapping[str, Any]

    def read(self, key: str) -> str | None:
        """The answer, ``None`` where there is none."""
        if self.folder is None or not (path := self._path(self.folder, key)).is_file():
            return None
        try:
            record = storage.read_json(path)
            storage.check_seal(path, record)
        except CheckpointError as error:
            warnings.warn(f"{error.wrong}; it is asked again", stacklevel=2)
            return None
        text = record.get("text")
        if record.get("key") == key and isinstance(text, str):
            return text
        warnings.warn(f"{path} holds another answer; it is asked again", stacklevel=2)
        return None

    def write(self, key: str, text: str) -> None:
        """Keep an answer."""
        if self.folder is not None:
            record = storage.sealed({"key": key, "text": text, **self.about})
            storage.write_json(self._path(self.folder, key), record)

    @staticmethod
    def _path(folder: Path, key: str) -> Path:
        return folder / key[:2] / f"{key}.json"


def key_of(name: str, settings: Mapping[str, Any], *parts: bytes) -> str:
    """Hash of a plugin's name, its settings and what it is asked about."""
    head = json.dumps([name, settings], sort_keys=True, ensure_ascii=False)
    state = hashlib.blake2b(head.encode(), digest_size=20)
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.hexdigest()


def gather(
    ids: Sequence[str],
    rows: Iterable[int],
    prepare: Callable[[int], Question[T] | None],
    ask: Callable[[Sequence[T]], list[str]],
    answers: Answers,
    batch_size: int,
    strict: bool,
    patience: int,
    concurrency: int = 1,
) -> Gathered:
    """Answer every row from the cache, or else by asking; equal questions are asked once.

    Parameters
    ----------
    ids
        By row.
    rows
        In which order.
    prepare
        A row's question, ``None`` where there is nothing to ask; may raise.
    ask
        Questions' values to answers.
    answers
        The cache.
    batch_size
        Most values in one call of ``ask``.
    strict
        Whether the first failure is raised; otherwise it is recorded.
    patience
        So many requests in a row without an answer are raised: nobody is there.
    concurrency
        Most calls of ``ask`` at once; above 1 they are made in threads. Answers are taken in the
        order of the questions, and those on their way when a run ends are kept all the same.

    Raises
    ------
    AccessError
        Whoever is asked would refuse every row.
    PluginError
        Whoever is asked does not keep the contract.
    """
    gathered = Gathered()
    waiting: dict[str, tuple[T, list[int]]] = {}
    batch: list[str] = []
    open_calls: deque[tuple[list[str], Future[list[str]]]] = deque()
    pool = ThreadPoolExecutor(concurrency) if concurrency > 1 else None
    answered: dict[str, str] = {}
    unanswered = 0

    def fail(row: int, error: ModalxaiError) -> None:
        nonlocal unanswered
        unanswered += isinstance(error, RequestError)
        if strict or unanswered >= patience:
            raise error.at(f"sample {ids[row]!r}") from error
        gathered.failures.append(Failure(row, ids[row], f"{error.wrong} (got: {error.got})"))

    def flush() -> None:
        keys = list(batch)
        batch.clear()
        values = [waiting[key][0] for key in keys]
        if pool is None:
            take(keys, partial(ask, values))
        else:
            open_calls.append((keys, pool.submit(ask, values)))
            settle(concurrency)  # one more than are under way, so that none has to wait for us

    def settle(left: int) -> None:
        while len(open_calls) > left:
            keys, call = open_calls[0]
            call.exception()  # waits; whoever interrupts that finds the call still among the open
            open_calls.popleft()
            take(keys, call.result)

    def take(keys: Sequence[str], answer: Callable[[], list[str]]) -> None:
        nonlocal unanswered
        try:
            texts = _checked(answer(), len(keys))
        except (AccessError, PluginError):
            raise
        except ModalxaiError as error:
            if len(keys) > 1:  # one bad row must not cost its neighbours
                for key in keys:
                    take([key], partial(ask, [waiting[key][0]]))
                return
            for row in waiting.pop(keys[0])[1]:
                fail(row, error)
            return
        unanswered = 0
        gathered.asked += len(keys)
        for key, text in zip(keys, texts, strict=True):
            answers.write(key, text)
            answered[key] = text
            gathered.texts.update(dict.fromkeys(waiting.pop(key)[1], text))

    try:
        for row in rows:
            try:
                question = prepare(row)
            except ModalxaiError as error:
                fail(row, error)
                continue
            if question is None:
                continue
            if question.key in waiting:
                waiting[question.key][1].append(row)
            elif question.key in answered:
                gathered.texts[row] = answered[question.key]
            elif (text := answers.read(question.key)) is not None:
                gathered.texts[row] = answered[question.key] = text
            else:
                waiting[question.key] = (question.value, [row])
                batch.append(question.key)
                if len(batch) == batch_size:
                    flush()
        if batch:
            flush()
        settle(0)
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
            _keep(open_calls, answers)
    gathered.failures.sort(key=lambda failure: failure.row)
    return gathered


def _keep(calls: Iterable[tuple[Sequence[str], Future[list[str]]]], answers: Answers) -> None:
    """What came while a run ended early is paid for, and is not to be asked again."""
    for keys, call in calls:
        if not call.cancelled() and call.exception() is None:
            for key, text in zip(keys, _checked(call.result(), len(keys)), strict=True):
                answers.write(key, text)


def _checked(texts: object, count: int) -> list[str]:
    fits = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    if not fits or len(texts) != count:  # type: ignore[arg-type]  # a list, as just seen
        raise PluginError(
            "a recogniser or translator that breaks its contract",
            expected=f"a list of {count} strings",
            got=repr(texts)[:200],
            mend="update the package that offers it, or report it to its author",
        )
    return texts  # type: ignore[return-value]  # checked
