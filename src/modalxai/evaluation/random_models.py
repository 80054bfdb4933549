"""Does the explanation depend on what the model has learnt?

Model parameter randomisation (Adebayo et al. 2018): a map that stays the same when the weights are
random explains the input, not the model. In the revised form of Hedstroem et al. 2023 (arXiv
2405.02383): layers from the bottom up, because a top-down cascade keeps what the lower layers say;
several random models rather than one; and the rise of the map's entropy beside its similarity.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from modalxai.errors import InputError
from modalxai.evaluation.maps import complexity, similarity
from modalxai.evaluation.models import Asked
from modalxai.protocols import Attributor
from modalxai.types import Labels

Layers = Literal["all", "bottom-up", "top-down"]
LAYERS = ("all", "bottom-up", "top-down")


@dataclass(frozen=True, eq=False)
class Randomisation:
    """Explanations of the model beside those of random ones.

    Parameters
    ----------
    sample_ids, labels
        B names, the L labels.
    layers
        For each of S steps the layers whose weights became random in it; earlier ones stay random.
    similarity
        Float64 [S, B, L], -1 to 1: Spearman's correlation of the map after each step with the
        model's own, over the sample's units (its modalities where there are no units), mean over
        the random models. It should fall to about 0. NaN with fewer than three units, or where a
        map is constant.
    complexity
        Float64 [B, L], nats: entropy of ``|phi| / sum |phi|`` of the model's own map.
    random_complexity
        Float64 [S, B, L]: the same after each step, mean over the random models.
    """

    sample_ids: tuple[str, ...]
    labels: Labels
    layers: tuple[tuple[str, ...], ...]
    similarity: Tensor
    complexity: Tensor
    random_complexity: Tensor

    @property
    def rise(self) -> Tensor:
        """How many nats of entropy the last step adds, [B, L]; eMPRT, not divided by the first.

        Above 0 where the map of the trained model is the more concentrated one.
        """
        return self.random_complexity[-1] - self.complexity

    @property
    def mean_similarity(self) -> Tensor:
        """Mean over the samples where it is defined, [S, L]."""
        return self.similarity.nanmean(1)


def randomisation(
    model: nn.Module,
    attributor: Attributor,
    data: Any,
    *,
    layers: Layers = "all",
    steps: int = 4,
    repeats: int = 3,
    labels: Sequence[str] | None = None,
    removal: str | Mapping[str, str] | None = None,
    level: str = "input",
    background: Any = None,
    draws: Any = 1,
    seed: int = 0,
) -> Randomisation:
    """Explain copies of the model whose weights are random; the model itself is not touched.

    A layer's weights become random by being shuffled within each tensor: they keep their
    distribution, so that activations neither die nor explode, and any part can be randomised,
    whatever its initialisation was. Tensors whose values are all equal stay, and so do buffers.
    Features kept on disk (`modalxai.training.CachedEncoder`) are neither read nor written.

    A map that passes depends on the weights; that does not make it right.

    Parameters
    ----------
    model
        An `EmotionModel`.
    attributor
        Whose maps; the units of each sample must not depend on the weights.
    data
        Samples or a batch.
    layers
        ``"all"`` at once; or a cascade, ``"bottom-up"`` (encoders first, in the model's order) or
        ``"top-down"`` (from the fusion's last layer).
    steps
        Of a cascade: the layers are cut into as many runs.
    repeats
        Random models.
    labels
        To explain; every one for ``None``.
    removal, level, background, draws
        Of the games, see `EmotionModel.game`.
    seed
        Of the shuffles, and of the games.

    Raises
    ------
    InputError
        A setting out of range, no model, or maps whose units change with the weights.
    """
    if layers not in LAYERS or min(steps, repeats) < 1:
        raise InputError(
            "a randomisation that is none",
            expected=f"layers of {LAYERS}, steps and repeats from 1",
            got=f"{layers=}, {steps=}, {repeats=}",
            mend='layers="all" is the cheapest',
        )
    settings = {
        "removal": removal,
        "level": level,
        "background": background,
        "draws": draws,
        "seed": seed,
    }
    asked = Asked(model, attributor, data, labels, settings)
    own = asked.attribute(model)
    similar, entropies = [], []
    runs: tuple[tuple[str, ...], ...] = ()
    for repeat in range(repeats):
        draw = torch.Generator().manual_seed(seed * 1_000_003 + repeat)
        changed = _copied(model)
        runs = _runs(changed, layers, steps)
        of_repeat = []
        for run in runs:
            for name in run:
                shuffle_weights(changed.get_submodule(name), draw)
            of_repeat.append(asked.attribute(changed))
        similar.append(torch.stack([similarity(own, other) for other in of_repeat]))
        entropies.append(torch.stack([complexity(other) for other in of_repeat]))
    return Randomisation(
        sample_ids=own.sample_ids,
        labels=own.labels,
        layers=runs,
        similarity=torch.stack(similar).nanmean(0),
        complexity=complexity(own),
        random_complexity=torch.stack(entropies).nanmean(0),
    )


def shuffle_weights(layer: nn.Module, generator: torch.Generator) -> None:
    """Shuffle each of a layer's own parameters in place, those of its children not."""
    with torch.no_grad():
        for weight in layer.parameters(recurse=False):
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].reshape(weight.shape))


def _runs(model: nn.Module, layers: str, steps: int) -> tuple[tuple[str, ...], ...]:
    """Names of the layers that have weights of their own, by step; encoders come first."""
    found = [
        name
        for name, module in model.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    ]
    if layers == "top-down":
        found.reverse()
    count = 1 if layers == "all" else max(1, min(steps, len(found)))
    edges = [len(found) * step // count for step in range(count + 1)]
    return tuple(tuple(found[start:stop]) for start, stop in pairwise(edges))


def _copied(model: nn.Module) -> Any:
    """The model once more, without caches: they would fill with what random encoders give."""
    copied: Any = copy.deepcopy(model)
    for name, encoder in copied.encoders.items():
        copied.encoders[name] = getattr(encoder, "wrapped", encoder)
    return copied
