"""One chunk explained: what fails is tried in halves, until the samples at fault are alone."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from modalxai.attribution import Explanation
from modalxai.batching import halves
from modalxai.corpus_run.folder import Quarantined
from modalxai.corpus_run.reading import Piece, blame
from modalxai.errors import InputError, ModalxaiError
from modalxai.games.run import BatchExplainer, merged
from modalxai.types import Batch


class Worker:
    """Explains the pieces of one chunk; to be called within `no_trace`."""

    def __init__(self, explainer: BatchExplainer, on_error: str) -> None:
        self._explainer, self._on_error = explainer, on_error

    def __call__(self, pieces: Iterable[Piece]) -> tuple[Explanation | None, list[Quarantined]]:
        """The table of a chunk, ``None`` where nothing could be explained, and what was bad."""
        self._explainer.forget()
        parts: list[Explanation] = []
        bad: list[Quarantined] = []
        for piece in pieces:
            self._blame(piece.bad, bad)
            if piece.batch is not None:
                parts += self._explain(piece, bad)
        return (merged(parts) if parts else None), bad

    def _explain(self, piece: Piece, bad: list[Quarantined]) -> list[Explanation]:
        batch = piece.batch or Batch()
        try:
            found = self._explainer(batch)
        except torch.OutOfMemoryError:
            raise  # one sample alone is too much, perhaps because others use the device
        except ModalxaiError as error:
            if not isinstance(error, InputError):
                raise  # settings or the model, not a sample
            return self._alone(piece, bad, error)
        except (RuntimeError, ValueError, IndexError, KeyError, ArithmeticError) as error:
            return self._alone(piece, bad, error)
        finite = found.draws.isfinite().all(-1).all(0).all(0).tolist()
        for row, fine in enumerate(finite):
            if not fine:
                wrong = blame(
                    piece.places[row],
                    batch.ids[row],
                    "scores",
                    "the model's scores are not finite; check its weights and this sample's values",
                )
                self._blame([wrong], bad)
        kept = [row for row, fine in enumerate(finite) if fine]
        if len(kept) < len(finite):
            found = found.select(kept)
        return [found] if kept else []

    def _alone(self, piece: Piece, bad: list[Quarantined], error: Exception) -> list[Explanation]:
        """One failure must not take its neighbours with it."""
        if len(piece.places) > 1:
            return [part for half in _halves(piece) for part in self._explain(half, bad)]
        name = piece.batch.ids[0] if piece.batch is not None else None
        if self._on_error == "raise":
            raise error
        bad.append(blame(piece.places[0], name, "explain", error))
        return []

    def _blame(self, found: list[Quarantined], bad: list[Quarantined]) -> None:
        if found and self._on_error == "raise":
            first = found[0]
            raise InputError(
                f"sample {first.id or first.index}: {first.stage} failed",
                expected="a sample that can be explained",
                got=f"{first.error}: {first.reason}",
                mend='mend or drop it, or go on without it: on_error="quarantine"',
            )
        bad += found


def _halves(piece: Piece) -> list[Piece]:
    """The two halves of a batch, each with its rows only."""
    first, second = halves(piece.batch or Batch())
    middle = len(first.ids)
    return [Piece(first, piece.places[:middle]), Piece(second, piece.places[middle:])]
