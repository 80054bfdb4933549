"""Controls: numbers that look like an answer and know little or nothing of the question."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from modalxai import masking
from modalxai.audio import seed_for
from modalxai.benchmark.tonebench.contestant import Answer, Method
from modalxai.benchmark.tonebench.question import Question
from modalxai.benchmark.tonebench.whole import WholeModel
from modalxai.blocks import SelfAttentionBlock
from modalxai.errors import InputError
from modalxai.trace import no_trace
from modalxai.types import Attribution, Features, Provenance


def equal(asked: Question) -> Answer:
    """The same for every modality."""
    shape = (len(asked.samples), len(asked.labels), len(asked.modalities))
    return Answer(torch.ones(shape), signed=False)


def drawn(asked: Question) -> Answer:
    """Contributions drawn for every label, signs for every sample, maps for every vector."""
    generator = torch.Generator().manual_seed(seed_for("random", asked.seed))
    shape = (len(asked.samples), len(asked.labels), len(asked.modalities))
    sizes = torch.rand(shape[1:], generator=generator).expand(shape)
    signs = torch.randint(0, 2, shape, generator=generator) * 2.0 - 1
    with no_trace(asked.model):
        features = _encoded(asked)
    units = {
        name: torch.rand((*shape[:2], one.mask.shape[1]), generator=generator)
        for name, one in features.items()
    }
    return Answer(sizes * signs, maps=as_map(asked, features, units, "random"))


def lengths(asked: Question) -> Answer:
    """How many vectors each encoder gives."""
    with no_trace(asked.model):
        counts = [one.mask.sum(1).float() for one in _encoded(asked).values()]
    return Answer(asked.spread(torch.stack(counts, -1)), signed=False)


def norms(asked: Question) -> Answer:
    """Length of the mean vector of each modality, |h|."""
    with no_trace(asked.model):
        sizes = [
            masking.mean(one.values, one.mask).norm(dim=-1) for one in _encoded(asked).values()
        ]
    return Answer(asked.spread(torch.stack(sizes, -1)), signed=False)


def confidence(asked: Question) -> Answer:
    """The predicted label's probability from each modality alone."""
    whole = WholeModel(asked)
    found = []
    for m in range(whole.players):
        masks = torch.zeros_like(whole.on)
        masks[:, m] = 1
        found.append(whole(masks, whole.rows).softmax(-1))  # clr keeps the softmax
    return Answer(torch.stack(found, -1), signed=False)


def attention_mass(asked: Question) -> Answer:
    """Attention that the vectors of each modality receive, averaged over layers, heads, queries.

    Raises
    ------
    InputError
        A fusion without the attention of `modalxai.blocks`.
    """
    model = asked.model
    inside = cast("nn.Module", model.fusion).modules()
    blocks = [one for one in inside if isinstance(one, SelfAttentionBlock)]
    if not blocks:
        raise InputError(
            "a fusion that does not attend over vectors",
            expected="fusion-transformer",
            got=type(model.fusion).__name__,
            mend="leave attention mass out",
        )
    with no_trace(model):
        features = _encoded(asked)
        with _watched(blocks) as received:
            model.fuse(features)
    mass = torch.stack(received).mean(0)  # [N, all vectors]
    # An absent modality, which there is none of here, would have one vector for itself.
    sizes = [one.mask.shape[1] for one in features.values()]
    parts = [part.sum(-1) for part in torch.split(mass, sizes, dim=-1)]
    return Answer(asked.spread(torch.stack(parts, -1)), signed=False)


@contextmanager
def _watched(blocks: list[SelfAttentionBlock]) -> Iterator[list[Tensor]]:
    """What every vector receives, float [N, T] by block."""
    received: list[Tensor] = []

    def hook(block: nn.Module, given: tuple[Any, ...]) -> None:
        assert isinstance(block, SelfAttentionBlock)
        values, mask = given
        split = block.query_key_value(block.attention_norm(values)).unflatten(
            -1, (3, block.heads, -1)
        )
        query, key, _ = split.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        weights = scores.masked_fill(~mask[:, None, None, :], -torch.inf).softmax(-1)
        asking = mask[:, None, :, None].to(weights)
        received.append((weights * asking).sum((1, 2)) / (asking.sum((1, 2)) * block.heads))

    handles = [block.register_forward_pre_hook(hook) for block in blocks]
    try:
        yield received
    finally:
        for handle in handles:
            handle.remove()


def _encoded(asked: Question) -> dict[str, Features]:
    return asked.model.encode(asked.model.collate(list(asked.samples)))


def as_map(
    asked: Question, features: dict[str, Features], units: dict[str, Tensor], name: str
) -> Attribution:
    """Values [N, K, T_m] of every vector, as an attribution."""
    clean = {
        key: values.masked_fill(~features[key].mask[:, None], 0) for key, values in units.items()
    }
    totals = torch.stack([clean[key].sum(-1) for key in asked.modalities], -1)
    nothing = totals.new_full(totals.shape[:2], torch.nan)
    return Attribution(
        sample_ids=tuple(str(one["id"]) for one in asked.samples),
        labels=asked.model.labels,
        modalities=asked.modalities,
        present=torch.stack([features[key].mask.any(1) for key in asked.modalities], 1),
        totals=totals,
        units=clean,
        pairs={},
        se=torch.zeros_like(totals),
        mask={key: features[key].mask for key in asked.modalities},
        spans={key: features[key].spans for key in asked.modalities},
        prediction=nothing,
        reference=nothing,
        provenance=Provenance(
            attributor=name,
            params={},
            scale="clr",
            removal=dict(asked.track.how),
            level="features",
            background=None,
            seed=asked.seed,
            versions={},
        ),
    )


CONTROLS = (
    Method("50/50", "control", "the same for every modality", "nothing", equal),
    Method("random", "control", "contributions drawn for every label", "encode once", drawn),
    Method("length-share", "control", "how many vectors a modality has", "encode once", lengths),
    Method("norm-share", "control", "length of a modality's mean vector", "encode once", norms),
    Method(
        "confidence",
        "control",
        "probability of the predicted label from one modality alone",
        "M calls of the whole model",
        confidence,
    ),
    Method(
        "attention-mass",
        "control",
        "attention that a modality's vectors receive in the fusion",
        "encode once, fuse once",
        attention_mass,
    ),
)
