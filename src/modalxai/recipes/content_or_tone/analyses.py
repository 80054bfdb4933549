"""The analyses of recipe S0: what each removal, word, moment, tile and prosodic feature does.

Each takes a model or its explanation and returns what json holds. Of every utterance the predicted
label is explained. Axis letters: N samples, K labels, M modalities.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import modalxai as mx
from modalxai.attribution.spectrogram_image import SpectrogramImage
from modalxai.datasets.tonebench import Rule
from modalxai.datasets.tonebench.lexicon import lexicon
from modalxai.errors import DependencyError, InputError
from modalxai.metrics import class_f1, macro_f1, weighted_f1
from modalxai.recipes.content_or_tone.settings import AUDIO_REMOVALS, TEXT_REMOVALS
from modalxai.statistics import Array
from modalxai.voice import ProsodyDivision, Reference

BANDS = ((0, 1000), (1000, 2000), (2000, 4000), (4000, 8000))
"""Hertz; the source's example is the third."""
PIXELS = (80, 60)
"""Rows and columns of a map even in hertz and seconds."""
SHOWN_WORDS = 5

Explained = Callable[[Mapping[str, str]], mx.Explanation]


def scores(explanation: mx.Explanation) -> dict[str, dict[str, Any]]:
    """Accuracy and F1 with everything, and with all but one modality absent, on the true labels."""
    names = [label.name for label in explanation.labels]
    truth = [names[column] for column in explanation.targets.values.argmax(-1).tolist()]
    rows = {"all": len(explanation.scores) - 1}
    if len(explanation.modalities) > 1:
        rows |= {f"{name} alone": 1 << m for m, name in enumerate(explanation.modalities)}
    found = {}
    for name, row in rows.items():
        said = [names[column] for column in explanation.scores[row].argmax(-1).tolist()]
        found[name] = {
            "accuracy": float(np.mean([a == b for a, b in zip(truth, said, strict=True)])),
            "macro F1": macro_f1(truth, said),
            "weighted F1": weighted_f1(truth, said),
            "by_emotion": {
                str(label): float(value) for label, value in class_f1(truth, said).items()
            },
        }
    return found


def masking(explained: Explained, modalities: Sequence[str]) -> dict[str, Any]:
    """The masking experiment: the change of the predicted label's probability, by removal.

    ``change`` is p with everything minus p without the modality, ``size`` its mean magnitude,
    ``flips`` how often another label is predicted then.
    """
    found: dict[str, Any] = {}
    for text, audio in zip(TEXT_REMOVALS, AUDIO_REMOVALS, strict=True):
        removal = {"text": text, "audio": audio}
        one = explained({name: removal[name] for name in modalities})
        change = of_predicted(one, one.ablation(scale="probability").totals)
        groups = predicted(one)
        for m, name in enumerate(one.modalities):
            own = change[:, m]
            found[f"{name}: {removal[name]}"] = {
                "change": float(own.mean()),
                "size": float(np.abs(own).mean()),
                "flips": float(one.flips()[:, m].double().mean()),
                "by_emotion": {
                    label: float(own[rows].mean()) for label, rows in rows_of(groups).items()
                },
            }
    return found


def contributions(
    model: mx.EmotionModel,
    samples: Sequence[Any],
    rule: Rule | None,
    budget: int,
    language: str = "en",
) -> dict[str, Any]:
    """Owen values of words and segments: what pushes the predicted emotion, in nats.

    ``carrier_first`` is how often the strongest word is the one that carries the planted content,
    ``found`` the values themselves.
    """
    kinds = {name: {"text": "word", "audio": "segment"}[name] for name in model.modalities}
    removal = {name: {"text": "mask", "audio": "silence"}[name] for name in model.modalities}
    method = mx.attribution.Owen(players=kinds, budget=budget)
    found = method.attribute(model.game(samples, removal=removal))
    best = found.prediction.argmax(-1).tolist()
    carriers = set()
    if rule is not None:
        words = lexicon(language, rule.contents).contents
        carriers = {word for content in rule.contents for word in words[content]}
    shown: list[dict[str, Any]] = []
    first: list[bool] = []
    pushes: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row, column in enumerate(best):
        label = found.labels[column].name
        units: dict[str, list[tuple[str, float]]] = {}
        for name in found.units:
            spans, mask = found.spans[name], found.mask[name][row]
            values = found.units[name][row, column][mask].tolist()
            starts, ends = spans.start[row][mask].tolist(), spans.end[row][mask].tolist()
            said = [
                samples[row]["text"][int(a) : int(b)] if name == "text" else f"{a:.2f}-{b:.2f} s"
                for a, b in zip(starts, ends, strict=True)
            ]
            units[name] = list(zip(said, values, strict=True))
        heard = [(word.strip(".,!?").lower(), value) for word, value in units.get("text", [])]
        for word, value in heard:
            pushes[label][word].append(value)
        if carriers and heard:
            first.append(max(heard, key=lambda one: abs(one[1]))[0] in carriers)
        shown.append({"id": found.sample_ids[row], "label": label, "units": units})
    # A sampled game (a long sentence) has an error of its own, which is not the arithmetic's.
    return {
        "found": found,
        "samples": shown,
        "gap": float(found.unit_gap().abs().max()),
        "residual": float(found.residual().abs().max()),
        "words": {
            label: sorted(
                ((word, float(np.mean(values)), len(values)) for word, values in own.items()),
                key=lambda one: -one[1],
            )[:SHOWN_WORDS]
            for label, own in pushes.items()
        },
        "carrier_first": float(np.mean(first)) if first else None,
    }


def spectrogram(model: mx.EmotionModel, samples: Sequence[Any], removal: Any) -> dict[str, Any]:
    """Grad-CAM on the time-frequency maps: by emotion, how much of the map lies in each band."""
    game = model.game(samples, removal=removal)
    found = mx.attribution.SpectrogramGradCAM().attribute(game)
    best = found.prediction.argmax(-1).tolist()
    parts, pictures = defaultdict(list), []
    for row, column in enumerate(best):
        label = found.labels[column].name
        image = SpectrogramImage.of(found, label, sample=row, resampling="area", size=PIXELS)
        values, total = image.values.double(), float(image.values.double().sum())
        if total <= 0:
            continue
        centres = (image.hertz[1:] + image.hertz[:-1]) / 2
        parts[label].append(
            [float(values[(centres >= a) & (centres < b)].sum()) / total for a, b in BANDS]
        )
        pictures.append((row, label))
    edges = [float(image.hertz[0]), float(image.hertz[-1])]
    width = edges[1] - edges[0]
    return {
        "bands": [f"{a / 1000:g}-{b / 1000:g} kHz" for a, b in BANDS],
        "even": [max(0.0, min(b, edges[1]) - max(a, edges[0])) / width for a, b in BANDS],
        "by_emotion": {
            label: {"n": len(own), "shares": np.mean(own, 0)} for label, own in parts.items()
        },
        "pictures": pictures,
        "maps": found,
    }


def prosody(
    model: mx.EmotionModel, samples: Sequence[Any], usual: Sequence[Any], removal: Any
) -> dict[str, Any]:
    """Pitch, rate and intensity against the placebo, by emotion.

    ``size`` is the mean magnitude of each player's Shapley value in nats; ``"recording"`` is the
    placebo, what a resynthesis does by itself. ``effect`` is what neutralising the feature alone
    does, ``believable`` how often that is more than twice its placebo.

    Parameters
    ----------
    usual
        Recordings whose mean pitch and rate are neutral.
    """
    try:
        reference = Reference.of(usual)
        method = mx.attribution.Prosody(division=ProsodyDivision(reference=reference))
        game = model.game(samples, removal=removal)
        found, alone = method.attribute(game), method.effects(game, doses=())
    except (DependencyError, InputError) as error:
        return {"skipped": str(error)}
    best = found.prediction.argmax(-1)
    rows = torch.arange(len(best))
    units = found.units["audio"][rows, best].numpy()
    effect, sure = alone.effect[rows, best].numpy(), alone.believable[rows, best].numpy()
    names = [found.labels[column].name for column in best.tolist()]
    groups = {"all": np.arange(len(names))} | rows_of(np.asarray(names))
    return {
        "n": len(names),
        "reference": asdict(reference),
        "players": ProsodyDivision.names,
        "features": alone.players,
        "by_emotion": {
            label: {
                "n": len(own),
                "size": np.abs(units[own]).mean(0),
                "effect": effect[own].mean(0),
                "believable": sure[own].mean(0),
            }
            for label, own in groups.items()
        },
    }


# --- small parts ------------------------------------------------------------------------------


def predicted(explanation: mx.Explanation) -> NDArray[np.str_]:
    """The name of the label predicted for each sample, [N]."""
    names = [label.name for label in explanation.labels]
    return np.asarray([names[c] for c in explanation.scores[-1].argmax(-1).tolist()])


def of_predicted(explanation: mx.Explanation, totals: torch.Tensor) -> Array:
    """Of totals [N, K, M] those of each sample's predicted label, [N, M]."""
    best = explanation.scores[-1].argmax(-1).cpu()
    return np.asarray(totals.cpu().double()[torch.arange(len(best)), best].numpy())


def audio_share(explanation: mx.Explanation, rows: NDArray[np.intp]) -> float:
    """The audio's magnitude share over some samples, a ratio of means; NaN without audio."""
    if "audio" not in explanation.modalities or not len(rows):
        return float("nan")
    phi = np.abs(of_predicted(explanation, explanation.shapley().totals))[rows].mean(0)
    return float(phi[explanation.modalities.index("audio")] / phi.sum())


def rows_of(values: NDArray[np.str_]) -> dict[str, NDArray[np.intp]]:
    """Where each value is, by value in order."""
    return {str(one): np.flatnonzero(values == one) for one in sorted(set(values.tolist()))}
