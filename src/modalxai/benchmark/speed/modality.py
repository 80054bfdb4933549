"""Whole modalities: the exact table, Grad-CAM and integrated gradients beside a prediction."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor

from modalxai.attribution import Explanation, GradCAM, IntegratedGradients, ModalityShapley
from modalxai.benchmark.speed import counting, saliency
from modalxai.benchmark.speed.blackbox import BlackBox
from modalxai.benchmark.speed.models import ABSENT, Shape, make, removal_for, samples
from modalxai.benchmark.speed.peers import FOR_MODALITIES, Peer, quiet
from modalxai.games import ModelGame
from modalxai.model import EmotionModel

PREDICTION = "one prediction"
SHAPLEY = "modalxai ModalityShapley"
TABLE = "modalxai, table"
TABLE_AND_CAM = "modalxai, table + Grad-CAM"
OURS = (SHAPLEY, TABLE, TABLE_AND_CAM)
CAM, GRADIENTS = "modalxai GradCAM", "modalxai IntegratedGradients"
Gradients = Literal["all", "fusion"]
SCALES = ("clr", "log-odds", "probability", "raw", "contrast")


@dataclass(frozen=True)
class Cell:
    """One model, its inputs, and what "off" means.

    Parameters
    ----------
    shape
        The model.
    removal
        ``"absent"`` or ``"replaced"``.
    seconds
        Length of the clips.
    batch
        Samples explained at once.
    """

    shape: Shape
    removal: str = ABSENT
    seconds: float = 3.0
    batch: int = 1

    @property
    def keys(self) -> dict[str, Any]:
        """The cell as columns of a table."""
        return {
            "size": self.shape.size,
            "fusion": self.shape.fusion,
            "modalities": self.shape.modalities,
            "labels": self.shape.columns,
            "removal": self.removal,
            "seconds": self.seconds,
            "batch": self.batch,
        }


class Asked:
    """A cell's model and samples, made once.

    Parameters
    ----------
    cell
        Which.
    seed, device
        Of the weights and inputs, and where they lie.
    """

    def __init__(self, cell: Cell, seed: int = 0, device: str = "cpu") -> None:
        self.cell = cell
        self.model: EmotionModel = make(cell.shape, seed, device)
        self.samples = samples(cell.batch, cell.seconds, cell.shape.modalities, seed=seed)
        self.batch = self.model.collate(self.samples).to(device)
        self.removal = removal_for(self.model, cell.removal)

    def predict(self) -> Tensor:
        """Scores, as a user gets them."""
        with torch.no_grad():
            scores: Tensor = self.model(self.batch).scores
        return scores

    def game(self) -> ModelGame:
        """A new one, which has encoded nothing yet."""
        return self.model.game(self.batch, removal=self.removal)

    def shapley(self) -> Tensor:
        """Shapley values alone, clr, all labels: [B, L, M]."""
        return ModalityShapley().attribute(self.game()).totals

    def table(self) -> Tensor:
        """Every index on every scale, for all labels; clr Shapley values [B, L, M]."""
        return self._table(self.game())

    def table_and_cam(self) -> Tensor:
        """The same after the Grad-CAM of all labels, which spares the table a run of the fusion."""
        game = self.game()
        GradCAM().attribute(game)
        return self._table(game)

    def necessity(self) -> Tensor:
        """Ablation deltas [B, L, M]."""
        return Explanation.of(self.game()).ablation().totals

    def cam(self) -> Tensor:
        """Grad-CAM totals [B, L, M]."""
        return GradCAM().attribute(self.game()).totals

    def gradients(self) -> Tensor:
        """Integrated gradients [B, L, M]."""
        return IntegratedGradients(saliency.NODES).attribute(self.game()).totals

    def references(self) -> list[Tensor]:
        """What the game compares each modality's vectors with."""
        game = self.game()
        return [game.reference(name) for name in self.model.modalities]

    def box(self) -> BlackBox:
        """The model as a function of masks."""
        return BlackBox(self.model, self.samples, self.removal)

    def _table(self, game: ModelGame) -> Tensor:
        explanation = Explanation.of(game)
        for scale in SCALES:
            explanation.shapley(scale)
            explanation.ablation(scale)
            explanation.sufficiency(scale)
            explanation.interactions(scale)
        explanation.conflict()
        return explanation.shapley().totals


def measure(
    cell: Cell,
    *,
    own: Sequence[str] = OURS,
    peers: Sequence[Peer] = FOR_MODALITIES,
    gradients: Gradients | None = None,
    memory: bool = True,
    pairs: int = 0,
    heavy: int = 200,
    seed: int = 0,
    device: str = "cpu",
) -> list[dict[str, Any]]:
    """A row for each contestant: what it cost over a prediction, and how far it is from the truth.

    Parameters
    ----------
    cell
        What is asked about.
    own
        Which of ours, of `OURS`.
    peers
        Of other libraries; those that are not installed get a row that says so.
    gradients
        Also Grad-CAM and integrated gradients, of one sample, absent removal. ``"fusion"`` leaves
        out what sends a row for each label through the whole model.
    memory
        Run each once more, for the peak of its memory.
    pairs
        How often each is timed beside a prediction; 0 for counts alone.
    heavy
        Contestants with more encoder rows than this for a sample are timed once, and their memory
        is not traced.
    """
    asked = Asked(cell, seed, device)
    asked.predict()
    clock = counting.cpu_seconds if device == "cpu" else counting.wall_seconds
    base, _ = _counted(asked, asked.predict, memory)
    rows = [{**cell.keys, "contestant": PREDICTION, "package": "torch", **base}]
    entered = [one for one in _ours(asked) if one.name in own]
    entered += _theirs(asked, peers, seed)
    entered += _gradients(asked, gradients == "all") if gradients else []
    for one in entered:
        if one.call is None:
            rows.append({**cell.keys, "contestant": one.name, "note": "not installed"})
            continue
        found, values = _counted(asked, one.call, memory, heavy * cell.batch)
        row = {
            **cell.keys,
            "contestant": one.name,
            "package": one.package,
            "estimand": one.estimand,
            "exact": one.exact,
            "labels_at_once": one.every_label,
            **found,
            "flops_ratio": found["flops"] / base["flops"],
            "error": _error(values, one.truth()),
        }
        if pairs:
            often = pairs if found["encoder_rows"] <= heavy * cell.batch else 1
            with quiet(), counting.one_thread():
                ratio = counting.paired(one.call, asked.predict, often, clock)
            row |= {
                "time_ratio": ratio.middle,
                "time_low": ratio.low,
                "time_high": ratio.high,
                "predict_seconds": ratio.seconds,
                "pairs": ratio.pairs,
            }
        rows.append(row)
    return rows


@dataclass(frozen=True)
class Contestant:
    """Who is measured in a cell.

    Parameters
    ----------
    name, package, estimand, exact, every_label
        As of a `modalxai.benchmark.speed.peers.Peer`.
    call
        Answers for the first sample: [L, M], or [1, M] of one label. ``None`` without its package.
    truth
        The exact answer to the same question, [L, M].
    """

    name: str
    package: str
    estimand: str
    exact: bool
    every_label: bool
    call: Callable[[], Tensor] | None
    truth: Callable[[], Tensor]


def _first(values: Callable[[], Tensor]) -> Callable[[], Tensor]:
    return lambda: values()[0].cpu()


def _ours(asked: Asked) -> list[Contestant]:
    truth = cache(_first(asked.table))
    return [
        Contestant(name, "modalxai", estimand, True, True, _first(call), truth)
        for name, estimand, call in (
            (SHAPLEY, "Shapley", asked.shapley),
            (TABLE, "all indices, all scales", asked.table),
            (TABLE_AND_CAM, "all indices, all scales, Grad-CAM", asked.table_and_cam),
        )
    ]


def _theirs(asked: Asked, peers: Sequence[Peer], seed: int) -> list[Contestant]:
    box = asked.box()
    truths = {
        "Shapley": cache(_first(asked.table)),
        "Owen, nested": cache(_first(asked.table)),
        "necessity": cache(_first(asked.necessity)),
    }
    # As many rows as enumerating takes: a sample that costs more than the truth is of no use.
    budget = 2 ** sum(box.players.values()) + 1

    def asking(peer: Peer) -> Callable[[], Tensor]:
        return lambda: peer.solve(box, budget, seed).float()

    return [
        Contestant(
            peer.name,
            peer.package,
            peer.estimand,
            peer.exact,
            peer.every_label,
            asking(peer) if peer.installed else None,
            truths[peer.estimand],
        )
        for peer in peers
        if peer.batched or asked.cell.batch == 1
    ]


def _gradients(asked: Asked, whole_too: bool) -> list[Contestant]:
    model, sample = asked.model, asked.samples[0]
    cam, path = _first(asked.cam), _first(asked.gradients)
    whole = partial(saliency.grad_cam, model, sample, head=False)
    head = partial(saliency.grad_cam, model, sample, head=True)
    found: list[tuple[str, str, str, Callable[[], Tensor], Callable[[], Tensor]]] = [
        (CAM, "modalxai", "Grad-CAM", cam, cam),
        ("Captum LayerGradCam, fusion alone", "captum", "Grad-CAM", head, cam),
    ]
    if whole_too:
        found.append(("Captum LayerGradCam", "captum", "Grad-CAM", whole, cam))
    if asked.cell.shape.fusion == "pooled":
        straight = partial(saliency.integrated_gradients, model, sample, asked.references())
        question = "integrated gradients"
        found += [
            (GRADIENTS, "modalxai", question, path, path),
            ("Captum IntegratedGradients, fusion alone", "captum", question, straight, path),
        ]
    return [
        Contestant(name, package, question, True, True, call, cache(truth))
        for name, package, question, call, truth in found
    ]


def _counted(
    asked: Asked, call: Callable[[], Tensor], memory: bool, heavy: int = 200
) -> tuple[dict[str, Any], Tensor]:
    """FLOPs, encoder rows and calls, and the peak of memory; what the call returned."""
    answers: list[Tensor] = []
    with quiet(), counting.Rows(asked.model.encoders) as rows:
        flops = counting.flops(lambda: answers.append(call()))
    found: dict[str, Any] = {
        "flops": flops,
        "encoder_rows": sum(rows.rows.values()),
        "encoder_calls": sum(rows.calls.values()),
    }
    if memory and found["encoder_rows"] <= heavy:
        with quiet():
            found["peak_mib"] = counting.peak_bytes(call) / 2**20
    return found, answers[0]


def _error(values: Tensor, answer: Tensor) -> float:
    """Largest difference over the largest of the answer, of the labels that were asked for."""
    asked = answer[: len(values)]
    return float((values.double() - asked.double()).abs().max() / asked.abs().max().clamp(min=1e-9))


def ratio_of(rows: Sequence[Mapping[str, Any]], contestant: str, key: str, **cell: Any) -> float:
    """One figure of one contestant in one cell; NaN where it was not measured."""
    for row in rows:
        if row["contestant"] == contestant and all(row[name] == cell[name] for name in cell):
            found = row.get(key)
            return math.nan if found is None else float(found)
    return math.nan
