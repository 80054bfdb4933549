"""`CorpusRun`: the folder that `explain_corpus` writes, read back whole or part by part."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from modalxai import storage
from modalxai.attribution import Explanation
from modalxai.corpus_run import identity, parquet
from modalxai.errors import InputError


@dataclass(frozen=True)
class Quarantined:
    """A sample that could not be explained.

    Parameters
    ----------
    index
        Its place in the corpus.
    id
        Its name, ``None`` where it could not be read.
    stage
        ``"read"``, ``"collate"``, ``"explain"``, or ``"scores"`` for scores that are not finite.
    error, reason
        The kind of error, and what it said.
    """

    index: int
    id: str | None
    stage: str
    error: str
    reason: str


class CorpusRun:
    """A run of `explain_corpus`, finished or not.

    Parameters
    ----------
    folder
        Holds ``run.json``; ``part-*.parquet``, see `modalxai.corpus_run.parquet`; and
        ``quarantine-*.jsonl`` where samples were bad.

    Raises
    ------
    CheckpointError
        There is no run in the folder, or its record is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.record: dict[str, Any] = storage.read_json(self.folder / identity.NAME)
        storage.check_seal(self.folder / identity.NAME, self.record)

    @classmethod
    def begin(cls, folder: str | Path, record: Mapping[str, Any]) -> Self:
        """The folder of a run, made or gone on with; see `modalxai.corpus_run.identity.claim`."""
        identity.claim(Path(folder), record)
        return cls(folder)

    @property
    def parts(self) -> list[Path]:
        """The finished parts, in the order of the corpus."""
        return sorted(self.folder.glob("part-*.parquet"))

    @property
    def expected(self) -> int | None:
        """How many parts there will be, ``None`` where the corpus has no length."""
        samples, size = self.record["samples"], self.record["settings"]["chunk"]
        return None if samples is None else -(-samples // size)

    @property
    def complete(self) -> bool | None:
        """Whether every part is there, ``None`` where nobody can know."""
        return None if self.expected is None else len(self.parts) == self.expected

    @property
    def explained(self) -> int:
        """How many samples are explained."""
        return sum(map(parquet.count_rows, self.parts))

    def __iter__(self) -> Iterator[Explanation]:
        """Part by part: no more than one is in memory."""
        return (part for part in map(parquet.read, self.parts) if part.sample_ids)

    def explanation(self) -> Explanation:
        """All parts as one table; about 4 * 2**M * K bytes a sample.

        Raises
        ------
        InputError
            Nothing was explained yet, or two parts have a sample of the same name.
        """
        found = list(self)
        if not found:
            raise InputError(
                f"{self.folder} holds no explained sample",
                expected="one part or more",
                got=f"{len(self.parts)} parts, {len(self.quarantine())} samples in quarantine",
                mend="run explain_corpus to its end, and read the reasons in the quarantine",
            )
        return Explanation.merge(found)

    def quarantine(self) -> list[Quarantined]:
        """The samples that could not be explained, in the order of the corpus."""
        found = []
        for path in sorted(self.folder.glob("quarantine-*.jsonl")):
            with storage.reading(path):
                lines = path.read_text(encoding="utf-8").splitlines()
                found += [Quarantined(**json.loads(line)) for line in lines]
        return found

    def summary(self) -> str:
        """How far it is, in one line."""
        bad, all_parts = len(self.quarantine()), self.expected
        whole = "" if all_parts is None else f" of {all_parts}"
        return (
            f"{self.explained} samples explained, {bad} in quarantine, "
            f"{len(self.parts)}{whole} parts in {self.folder}"
        )

    def done(self, chunk: int) -> bool:
        """Whether a part is finished."""
        return self._part(chunk).exists()

    def keep(self, chunk: int, explanation: Explanation, bad: Sequence[Quarantined]) -> None:
        """Write one part; it counts as finished once its Parquet file is there, the last step."""
        path = self.folder / f"quarantine-{chunk:06d}.jsonl"
        if bad:
            lines = [json.dumps(asdict(one), ensure_ascii=True) + "\n" for one in bad]
            storage.write_text(path, "".join(lines))
        else:
            path.unlink(missing_ok=True)
        parquet.write(self._part(chunk), explanation)

    def _part(self, chunk: int) -> Path:
        return self.folder / f"part-{chunk:06d}.parquet"
