"""A progress bar over the samples of a run, whatever the size of its parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modalxai.corpus_run.reading import Piece

Chunks = Iterable[tuple[int, Iterable[Piece]]]


def shown(chunks: Chunks, total: int | None) -> Iterator[tuple[int, Iterable[Piece]]]:
    """The same chunks; the bar moves with every batch that was explained.

    Parameters
    ----------
    total
        Samples that will be read, ``None`` where nobody knows.
    """
    from tqdm import tqdm

    with tqdm(desc="explain", unit="sample", total=total) as bar:

        def watched(pieces: Iterable[Piece]) -> Iterator[Piece]:
            for piece in pieces:
                yield piece
                bar.update(len(piece.places) + len(piece.bad))

        for number, pieces in chunks:
            yield number, watched(pieces)
