"""`ExplainRows`: the same explanation inside other people's pipelines over rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modalxai.corpus_run.parquet import evidence, winners
from modalxai.corpus_run.reading import Indexed
from modalxai.corpus_run.worker import Worker
from modalxai.datasets.manifest import heard
from modalxai.errors import InputError
from modalxai.games import Draws
from modalxai.games.run import BatchExplainer
from modalxai.model import EmotionModel
from modalxai.trace import no_trace
from modalxai.types import Audio


class ExplainRows:
    """A picklable function of a batch of rows: Hugging Face ``datasets.map``, Ray ``map_batches``.

    It carries the model's folder and not its weights; every process loads them at its first batch.

    Parameters
    ----------
    model
        A folder that `EmotionModel.save_pretrained` wrote.
    columns
        Which column a modality or the ``"id"`` is in, where it has another name.
    device
        Where the model is put.
    removal, level, background, draws, batch_size, seed
        See `modalxai.explain`; the background is a list of samples.

    Examples
    --------
    With Hugging Face datasets, and with Ray Data::

        explained = dataset.map(ExplainRows("model/"), batched=True, batch_size=64)
        explained = rows.map_batches(ExplainRows("model/"), batch_size=64)
    """

    def __init__(
        self,
        model: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        device: str = "cpu",
        removal: str | Mapping[str, str] | None = None,
        level: str = "input",
        background: Sequence[Mapping[str, Any]] | None = None,
        draws: Draws = 1,
        batch_size: int = 16,
        seed: int = 0,
    ) -> None:
        self._model, self._device = str(model), device
        self._columns = dict(columns or {})
        self._batch_size = batch_size
        self._settings: dict[str, Any] = {
            "removal": removal,
            "level": level,
            "background": background,
            "draws": draws,
            "batch_size": batch_size,
            "seed": seed,
        }
        self._explainer: BatchExplainer | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_explainer": None}

    def __call__(self, rows: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Explain B rows.

        Parameters
        ----------
        rows
            Columns of length B. Recordings as `Audio`, ``{"array", "sampling_rate"}``,
            ``{"bytes", "path"}`` or a path's mapping, as Hugging Face stores them.

        Returns
        -------
        dict
            New columns of length B: ``predicted``; ``evidence/<label>/<modality>``, exact Shapley
            values; ``problem``, why a row has none (its values are then None), else None.

        Raises
        ------
        InputError
            A column is missing.
        """
        if self._explainer is None:
            model = EmotionModel.from_pretrained(self._model).to(self._device).eval()
            self._explainer = BatchExplainer(model, **self._settings)
        model = self._explainer.model
        samples = _Rows(self._found(rows, model.modalities))
        source = Indexed(samples, model.collate, self._batch_size, max(1, len(samples)))
        with no_trace(model):
            pieces = [piece for _, chunk in source.chunks(lambda chunk: True) for piece in chunk]
            found, bad = Worker(self._explainer, "quarantine")(pieces)
        names = [f"evidence/{label.name}/{m}" for label in model.labels for m in model.modalities]
        out: dict[str, list[Any]] = {
            name: [None] * len(samples) for name in ("predicted", *names, "problem")
        }
        for one in bad:
            out["problem"][one.index] = f"{one.stage}: {one.reason}"
        if found is not None:
            places = {name: place for place, name in enumerate(samples.ids)}
            values = evidence(found)
            for row, (name, winner) in enumerate(
                zip(found.sample_ids, winners(found), strict=True)
            ):
                out["predicted"][places[name]] = winner
                for column in names:
                    out[column][places[name]] = float(values[column][row])
        return out

    def _found(
        self, rows: Mapping[str, Sequence[Any]], modalities: Sequence[str]
    ) -> dict[str, Sequence[Any]]:
        wanted = {name: self._columns.get(name, name) for name in ("id", *modalities)}
        if missing := [column for column in wanted.values() if column not in rows]:
            raise InputError(
                "columns are missing from the rows",
                expected=f"{list(wanted.values())}",
                got=f"{sorted(map(str, rows))}, without {missing}",
                mend='say where they are: ExplainRows(..., columns={"audio": "recording"})',
            )
        return {name: rows[column] for name, column in wanted.items()}


class _Rows:
    """Columns as samples, each made when it is asked for."""

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self._columns = columns
        self.ids = [str(name) for name in columns["id"]]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> dict[str, Any]:
        found = {name: _raw(values[row]) for name, values in self._columns.items()}
        return {**found, "id": self.ids[row]}


def _raw(value: Any) -> Any:
    """One cell as an encoder reads it."""
    if isinstance(value, np.generic):
        return value.item()
    stored = isinstance(value, Mapping) and {"array", "bytes", "path"} & {*value}
    return value if isinstance(value, Audio) or not stored else heard(value)
