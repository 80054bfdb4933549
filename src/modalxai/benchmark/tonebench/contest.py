"""One model, every contestant: what each says, what it costs, and where it cannot answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from modalxai.audio import seed_for
from modalxai.benchmark.tonebench.contestant import Answer, Contestant, installed
from modalxai.benchmark.tonebench.counting import counted
from modalxai.benchmark.tonebench.question import Question, Track
from modalxai.errors import ModalxaiError
from modalxai.evaluation import Coordinates, localisation, reparametrised
from modalxai.evaluation.coordinates import plain as unchanged
from modalxai.model import EmotionModel
from modalxai.types import Attribution, Spans

ANSWERED, REFUSED, MISSING = "answered", "cannot answer", "not installed"
SHIFTS, SHIFTED_SAMPLES = 3, 6
"""Of the reparametrisation gap: changes of coordinates, and samples that are explained."""


@dataclass(frozen=True, eq=False)
class Arena:
    """A model whose gold is known, and the samples that are explained.

    Parameters
    ----------
    family, seed
        Where it comes from.
    model
        Trained, in eval mode.
    samples
        N of them.
    background
        The same recordings and texts under other ids, as the gold's removal lends them.
    gold
        Float [N, K, M], Shapley values of the modalities of this model, by brute force.
    kinds
        Integer [N, K], types of interaction of the first pair; -1 where there is none.
    dummies
        Modalities that decide nothing.
    tracks
        Removals under which it is asked.
    """

    family: str
    seed: int
    model: EmotionModel
    samples: Sequence[Mapping[str, Any]]
    background: Sequence[Mapping[str, Any]]
    gold: Tensor
    kinds: Tensor
    dummies: tuple[str, ...]
    tracks: tuple[Track, ...]

    def predicted(self) -> Tensor:
        """Integer [N]."""
        return self.model.predict(list(self.samples), batch_size=64).scores.argmax(-1)


def compete(
    arena: Arena,
    contestants: Sequence[Contestant],
    without: Sequence[str] = (),
    shifted: bool = True,
) -> dict[str, Any]:
    """What everybody says about one arena, as json can hold it.

    Parameters
    ----------
    arena
        Model, samples and gold.
    contestants
        Who takes part.
    without
        Names of those who are not asked here, though they take part elsewhere.
    shifted
        Whether the reparametrisation gap is measured, too: a property of the method, not the model.
    """
    predicted = arena.predicted()
    at = torch.arange(len(predicted)), predicted
    asked = [one for one in contestants if one.name not in without]
    answers = {}
    for track in arena.tracks:
        memory: dict[Any, Any] = {}
        answers[track.removal] = {
            one.name: _record(arena, one, _question(arena, track, predicted, memory))
            for one in asked
        }
    return {
        "family": arena.family,
        "seed": arena.seed,
        "labels": [label.name for label in arena.model.labels],
        "modalities": list(arena.model.modalities),
        "dummies": list(arena.dummies),
        "speakers": [str(one["speaker"]) for one in arena.samples],
        "predicted": predicted.tolist(),
        "gold": arena.gold[at].tolist(),
        "kinds": arena.kinds[at].tolist(),
        "tracks": {track.removal: track.name for track in arena.tracks},
        "answers": answers,
        "reparametrisation": {
            one.name: reparametrisation(arena, one, predicted) for one in asked if shifted
        },
    }


def _question(
    arena: Arena, track: Track, predicted: Tensor, memory: dict[Any, Any] | None = None
) -> Question:
    seed = seed_for(arena.family, arena.seed) % 2**31
    return Question(
        model=arena.model,
        samples=arena.samples,
        background=arena.background,
        track=track,
        predicted=predicted,
        seed=seed,
        memory={} if memory is None else memory,
    )


def _record(arena: Arena, contestant: Contestant, asked: Question) -> dict[str, Any]:
    """Status, contributions to the predicted label, rows, and what else can be scored."""
    if not installed(contestant):
        return {"status": MISSING, "why": f"pip install {contestant.package}"}
    try:
        with counted(asked.model) as rows:
            asked.rows.encoded = rows.encoded
            answer = contestant.answer(asked)
        answer.check(asked)
    except ModalxaiError as error:
        # A removal or a fusion that the method is not made for; a bug is no such thing, and stops.
        return {"status": REFUSED, "why": error.wrong}
    at = torch.arange(len(asked.predicted)), asked.predicted

    def own(values: Tensor | None) -> Any:
        return None if values is None else values[at].tolist()

    return {
        "status": ANSWERED,
        "contributions": own(answer.contributions),
        "signed": answer.signed,
        "nats": answer.nats,
        "residual": own(answer.residual),
        "kinds": own(answer.kinds),
        "silent": list(answer.silent),
        "rows": asked.rows.total,
        "found": _found(arena, answer, asked.predicted),
    }


def _found(arena: Arena, answer: Answer, predicted: Tensor) -> dict[str, dict[str, list[float]]]:
    """By modality AUC and pointing [N] of maps for the predicted label, where it is known."""
    if answer.maps is None:
        return {}
    found = {}
    for name in arena.model.modalities:
        known = [one.get("where", {}).get(name) for one in arena.samples]
        if name in answer.maps.units and any(known):
            found[name] = _pointed(answer.maps, known, name, predicted)
    return found


def _pointed(
    maps: Attribution, known: Sequence[Any], name: str, predicted: Tensor
) -> dict[str, list[float]]:
    edges = torch.tensor([(0.0, 0.0) if one is None else tuple(map(float, one)) for one in known])
    spans = maps.spans[name]
    edges = edges.to(spans.start)
    truth = Spans(edges[:, :1], edges[:, 1:], spans.unit)
    auc, pointing = torch.full((2, len(known)), torch.nan, dtype=torch.float64)
    for column in set(predicted.tolist()):
        chosen = predicted == column
        each = localisation(maps, truth, maps.labels[column].name, name)
        auc[chosen], pointing[chosen] = each.auc[chosen], each.pointing[chosen]
    return {"auc": auc.tolist(), "pointing": pointing.tolist()}


def reparametrisation(arena: Arena, contestant: Contestant, predicted: Tensor) -> float | None:
    """How far shares of samples move, in points, when constants move from fusion to encoders.

    The largest change over a few samples and shifts of one root mean square; the function computed
    is the same, see `modalxai.evaluation.reparametrisation_gap`. Asked under the first removal of
    the arena that the contestant answers to; ``None`` where there is none.
    """
    if not installed(contestant):
        return None
    model, dims = arena.model, dict(arena.model.fusion.dims)
    few = replace(arena, samples=list(arena.samples)[:SHIFTED_SAMPLES])
    models = [reparametrised(model, {name: unchanged(width) for name, width in dims.items()})]
    for at in range(SHIFTS):
        changes = {name: _shifted(width, f"{name}/{at}") for name, width in dims.items()}
        models.append(reparametrised(model, changes))
    for track in arena.tracks[::-1]:
        shares = []
        try:
            for other in models:
                asked = _question(replace(few, model=other), track, predicted[:SHIFTED_SAMPLES])
                answer = contestant.answer(asked)
                if answer.contributions is None:
                    return None
                own = torch.arange(len(asked.predicted)), asked.predicted
                sizes = answer.contributions[own].double().abs()
                shares.append(sizes / sizes.sum(-1, keepdim=True).clamp(min=1e-9))
        except ModalxaiError:
            continue
        return 100 * float((torch.stack(shares) - shares[0]).abs().max())
    return None


def _shifted(width: int, name: str) -> Coordinates:
    """A constant added to every vector; layer-normed vectors have a root mean square of about 1."""
    same = unchanged(width)
    draw = torch.Generator().manual_seed(seed_for(name, 0) % 2**63)
    return replace(same, offset=torch.randn(width, generator=draw, dtype=torch.float64))
