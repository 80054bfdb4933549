"""A model as other libraries see it: whole samples in, scores out, no seam between its parts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modalxai.attribution.scales import on_scale
from modalxai.benchmark.tonebench.question import Question
from modalxai.games.bank import digest, take
from modalxai.games.removal import INDEPENDENT, JOINT, MARGINAL
from modalxai.trace import no_trace
from modalxai.types import Inputs, Spans

BATCH = 64
WHOLE = 1e6
"""Beyond the end of every text and recording."""


class WholeModel:
    """Clr scores of coalitions of modalities, from calls of the whole model alone.

    What is lost is replaced before the encoders: by nothing, by the input of a donor, or by what
    the encoder's own removal makes of it; a score is the mean over all donors, of all combinations
    of them where they are independent. So one coalition of one sample costs M encoder rows for each
    donor, whoever asks. The same inputs give the same scores: asked again they come from memory,
    and the rows are counted as if they had not (``Question.rows``).

    No code of modalxai's games is used here.

    Parameters
    ----------
    asked
        The question.
    """

    def __init__(self, asked: Question) -> None:
        self.asked, model = asked, asked.model
        samples, background = list(asked.samples), list(asked.background)
        lent = any(how in MARGINAL for how in asked.track.how.values())
        donors = background if lent else []
        self._inputs: dict[str, Inputs] = {}
        self._own: list[NDArray[np.int64]] = []
        self._lost: list[NDArray[np.int64]] = []
        """By modality, which input stands for it [N] or [N, R] when it is left, or lost."""
        for name in model.modalities:
            encoder = model.encoder(name)
            raws = [one.get(name) for one in (*samples, *donors)]
            inputs: Inputs = encoder.collate([*raws, None])
            how = asked.track.how[name]
            parts = [inputs]
            if how not in ("absent", *MARGINAL):
                parts.append(_removed(encoder, take(dict(inputs), _range(len(samples))), how))
            whole = {key: torch.cat([part[key] for part in parts]) for key in inputs}
            place, kept = _distinct(whole)
            self._inputs[name] = take(whole, torch.tensor(kept))
            self._own.append(place[: len(samples)])
            if how in MARGINAL:
                self._lost.append(place[len(samples) : len(samples) + len(donors)])
            elif how == "absent":
                self._lost.append(np.full(len(samples), place[len(raws)]))
            else:
                self._lost.append(place[len(raws) + 1 :])
        self._donors = _combined([asked.track.how[name] for name in model.modalities], len(donors))

    @property
    def players(self) -> int:
        """M."""
        return len(self._own)

    @property
    def on(self) -> Tensor:
        """Float [N, M] of ones: the inputs of Captum and SHAP."""
        return torch.ones(len(self.asked.samples), self.players)

    @property
    def off(self) -> Tensor:
        """Float [N, M] of zeros: their baselines."""
        return torch.zeros_like(self.on)

    @property
    def rows(self) -> Tensor:
        """Integer [N], 0 to N - 1."""
        return _range(len(self.asked.samples))

    def __call__(self, masks: Any, rows: Any) -> Tensor:
        """Scores [n, K] of coalitions, zeros and ones [n, M], of the samples ``rows`` [n]."""
        kept = np.asarray(masks).astype(bool)
        about = np.broadcast_to(np.asarray(rows), (len(kept),))
        scores = torch.empty(len(kept), len(self.asked.labels))
        whole = kept.all(1)
        for flags, donors in ((whole, self._donors[:, :1]), (~whole, self._donors)):
            at = np.flatnonzero(flags)
            if len(at):
                places = self._places(kept[at], about[at], donors)  # [n, R, M]
                found = self._scores(places.reshape(-1, self.players))
                scores[at] = found.reshape(len(at), -1, found.shape[-1]).mean(1)
        return scores

    def of(self, sample: int) -> Any:
        """The function of masks [n, M] alone that one sample is, array to array, for SHAP."""

        def function(masks: Any) -> NDArray[np.float64]:
            found = self(masks, np.full(len(masks), sample))
            return np.asarray(found.numpy(), dtype=np.float64)

        return function

    def _places(
        self, kept: NDArray[np.bool_], about: NDArray[Any], donors: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        columns = []
        for m, (own, lost) in enumerate(zip(self._own, self._lost, strict=True)):
            lent = self.asked.track.how[self.asked.modalities[m]] in MARGINAL
            other = lost[donors[m]][None] if lent else lost[about][:, None]
            columns.append(np.where(kept[:, m, None], own[about][:, None], other))
        shape = (len(kept), donors.shape[1])
        return np.stack([np.broadcast_to(column, shape) for column in columns], axis=-1)

    def _scores(self, places: NDArray[np.int64]) -> Tensor:
        """Clr scores [n, K] of the whole model, each distinct row of inputs asked once."""
        memory = self.asked.memory
        distinct, back = np.unique(places, axis=0, return_inverse=True)
        keys = [tuple(row) for row in distinct.tolist()]
        fresh = [key for key in keys if key not in memory]
        for start in range(0, len(fresh), BATCH):
            chosen = fresh[start : start + BATCH]
            memory.update(zip(chosen, self._ask(chosen), strict=True))
        self.asked.rows.remembered += (len(places) - len(fresh)) * self.players
        return torch.stack([memory[key] for key in keys])[torch.from_numpy(back.reshape(-1))]

    def _ask(self, chosen: Sequence[tuple[int, ...]]) -> Tensor:
        model = self.asked.model
        batch = {
            name: take(dict(self._inputs[name]), torch.tensor([key[m] for key in chosen]))
            for m, name in enumerate(model.modalities)
        }
        with no_trace(model):
            scores = model(batch).scores
        # One draw, no coalition axis; clr needs no rival.
        return on_scale(scores, model.labels, "clr", None).float().cpu()


def _range(count: int) -> Tensor:
    return torch.arange(count)


def _removed(encoder: Any, inputs: Inputs, how: str) -> Inputs:
    count = len(next(iter(inputs.values())))
    start = torch.zeros(count, 1, dtype=torch.float64)
    unit = encoder(take(dict(inputs), _range(1))).spans.unit
    everything = Spans(start, torch.full_like(start, WHOLE), unit)
    keep = torch.zeros(count, 1, dtype=torch.bool)
    removed: Inputs = encoder.remove(inputs, everything, keep, how, list(range(count)))
    return removed


def _distinct(inputs: Inputs) -> tuple[NDArray[np.int64], list[int]]:
    """Which distinct input each row is, and one row for each distinct input."""
    marks: dict[bytes, int] = {}
    place: list[int] = []
    kept: list[int] = []
    for row in range(len(next(iter(inputs.values())))):
        mark = digest(inputs, row)
        if mark not in marks:
            marks[mark] = len(kept)
            kept.append(row)
        place.append(marks[mark])
    return np.asarray(place, dtype=np.int64), kept


def _combined(how: Sequence[str], donors: int) -> NDArray[np.int64]:
    """Which donor lends each modality in each of R draws, [M, R]."""
    if not donors:
        return np.zeros((len(how), 1), dtype=np.int64)
    independent = [m for m, one in enumerate(how) if one == INDEPENDENT]
    joint = [m for m, one in enumerate(how) if one == JOINT]
    groups = [*([m] for m in independent), *([joint] if joint else [])]
    draws = np.array(list(product(range(donors), repeat=len(groups)))).T
    found = np.zeros((len(how), draws.shape[1]), dtype=np.int64)
    for group, lent in zip(groups, draws, strict=True):
        found[group] = lent
    return found
