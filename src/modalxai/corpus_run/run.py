"""`explain_corpus`: the table of a whole corpus, in parts that are finished or not there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import nn

from modalxai.corpus_run import parquet
from modalxai.corpus_run.folder import CorpusRun, Quarantined
from modalxai.corpus_run.identity import identity
from modalxai.corpus_run.processes import share
from modalxai.corpus_run.progress import Chunks, shown
from modalxai.corpus_run.reading import reader
from modalxai.corpus_run.worker import Worker
from modalxai.errors import InputError
from modalxai.games import Background, Data, Draws
from modalxai.games.run import BatchExplainer
from modalxai.sharding import gathered
from modalxai.trace import no_trace


def explain_corpus(
    model: nn.Module,
    data: Any,
    out: str | Path,
    *,
    removal: str | Mapping[str, str] | None = None,
    level: str = "input",
    background: Data | Background | None = None,
    draws: Draws = 1,
    batch_size: int = 16,
    seed: int = 0,
    max_bytes: int | None = None,
    chunk: int = 512,
    shard: tuple[int, int] | None = None,
    on_error: Literal["quarantine", "raise"] = "quarantine",
    progress: bool = False,
) -> CorpusRun:
    """Explain a corpus of any size into a folder; a run that was killed goes on where it was.

    The corpus is cut into chunks, the same ones in every run. Chunk c is the work of process
    c modulo their number, so that any number of processes (``torchrun``, Accelerate, or ``shard``
    by hand) share a folder, and a run may be gone on with by another number. A chunk is written
    in one atomic step when it is finished. Nothing is carried from one chunk to the next, so that
    a part holds the same numbers whoever computes it, and when.

    Parameters
    ----------
    model, removal, level, background, draws, batch_size, seed, max_bytes
        See `modalxai.explain`.
    data
        A list of samples or a Dataset, best read by place; or a loader of batches, which must not
        shuffle. Of a loader over a Dataset the dataset, the collate_fn, the batch size and the
        number of workers are used. Other iterables of batches are read whole by every process.
    out
        A folder, new or of the same run.
    chunk
        Samples in a part. What is wholly removed is encoded once in each.
    shard
        Which process this is, ``(number, count)``; as torch.distributed or torchrun say for None.
    on_error
        ``"quarantine"``: a sample that cannot be read, collated or explained, or whose scores are
        not finite, is written down with the reason, and the run goes on. ``"raise"`` ends it with
        an error; finished parts stay.
    progress
        Show a progress bar over the samples of this process.

    Returns
    -------
    CorpusRun
        The folder, with the parts of all processes that are finished.

    Raises
    ------
    InputError
        Data that are no corpus, ids that occur twice, or a corpus of which no sample could be
        explained.
    RemovalError
        See `modalxai.explain`.
    CheckpointError
        The folder holds another run, another model's or other settings', or cannot be written to.
    DependencyError
        pyarrow is not installed.

    Notes
    -----
    Where a batch is too large for the memory of a CUDA device, its halves are explained.
    Ids are known before anything is read for a list of samples and for a corpus of
    `modalxai.datasets`. Any other dataset is told from another by its length alone, and a stream
    by nothing; an id that occurs in two of their parts is an error when the parts are joined.
    """
    parquet.require()
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
        raise InputError(
            "a chunk that is none", expected="a whole number from 1", got=repr(chunk), mend="512"
        )
    if on_error not in ("quarantine", "raise"):
        raise InputError(
            "an unknown way to take an error",
            expected="'quarantine' or 'raise'",
            got=repr(on_error),
            mend="quarantine, to go on without the sample",
        )
    number, count = share(shard)
    explainer = BatchExplainer(
        model,
        removal=removal,
        level=level,
        background=background,
        draws=draws,
        batch_size=batch_size,
        seed=seed,
        max_bytes=max_bytes,
    )
    source = reader(data, explainer.model.collate, batch_size, chunk)
    settings = {
        "removal": dict(removal) if isinstance(removal, Mapping) else removal,
        "level": level,
        "background": explainer.background_digest,
        "draws": draws,
        "batch_size": getattr(data, "batch_size", None) or batch_size,
        "seed": seed,
        "chunk": chunk,
    }
    with gathered(explainer.model):  # one identity for all ranks of a sharded model
        record = identity(explainer.model, settings, source.samples, source.ids)
    run = CorpusRun.begin(out, record)
    worker = Worker(explainer, on_error)

    def mine(one: int) -> bool:
        return one % count == number and not run.done(one)

    chunks: Chunks = source.chunks(mine)
    if progress:
        samples = source.samples
        starts = [] if samples is None else range(0, samples, chunk)
        sizes = [
            min(chunk, (samples or 0) - start) for one, start in enumerate(starts) if mine(one)
        ]
        chunks = shown(chunks, None if samples is None else sum(sizes))
    empty: list[tuple[int, list[Quarantined]]] = []
    with no_trace(explainer.model):  # a loader draws from torch's generator, too
        for place, pieces in chunks:
            explanation, bad = worker(pieces)
            if explanation is None:
                empty.append((place, bad))
            else:
                run.keep(place, explanation, bad)
    if empty and not run.parts:
        first = empty[0][1][0]
        raise InputError(
            f"not one of {sum(len(bad) for _, bad in empty)} samples could be explained",
            expected="a corpus that fits the model",
            got=f"sample {first.id or first.index}, {first.stage}: {first.error}: {first.reason}",
            mend='see the first one: explain_corpus(..., on_error="raise")',
        )
    for place, bad in empty:
        run.keep(place, next(iter(run)).select([]), bad)
    return run
