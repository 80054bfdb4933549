"""modalxai's attributors and everybody else's plugins, by name through the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import modalxai as mx
from modalxai import plugins
from modalxai.benchmark.tonebench.contestant import Answer, Contestant
from modalxai.benchmark.tonebench.question import Question
from modalxai.report import Report
from modalxai.types import Attribution

DEFAULT = "modality-shapley"
"""What `modalxai.explain` and `modalxai.Report` answer with."""
OWN = "modalxai"

DIVIDED: dict[str, Any] = {"players": {"audio": "segment", "text": "word"}}
OPTIONS: dict[str, dict[str, Any]] = {"owen": DIVIDED, "unit-shapley": DIVIDED}
"""What an attributor must be told: who the players are."""
IN_NATS = ("modality-shapley", "owen")
"""Whose totals claim to be the modalities' Shapley values in nats; a plugin claims it by an
attribute ``nats``."""
QUESTIONS = {
    "modality-shapley": "exact Shapley values of the modalities; whether a share may be printed",
    "modality-ablation": "what is lost without the modality, in nats",
    "owen": "Owen values of words and moments; totals are the modalities' Shapley values",
    "unit-shapley": "sums of Shapley values of words and moments as equals",
    "feature-difference": "gradient times difference from the removed encoding",
    "grad-cam": "Grad-CAM at the encoders' outputs, clr",
    "hires-cam": "HiResCAM at the encoders' outputs, clr",
    "integrated-gradients": "integrated gradients from the removed encoding",
    "spectrogram-grad-cam": "Grad-CAM of moments and frequencies; of no modality as a whole",
    "content-tone": "Shapley values of transcript, spoken words and prosody",
    "prosody": "Shapley values of pitch, rate and the like; of no modality as a whole",
}
COSTS = {
    "modality-shapley": "encode once with and without, 2**M joins",
    "modality-ablation": "encode once with and without, 2**M joins",
    "owen": "2**words + 2**segments encodings",
    "unit-shapley": "2**words + 2**segments encodings, their product in joins",
    "content-tone": "two rendered voices more",
    "prosody": "17 rendered voices more",
}


@dataclass(frozen=True)
class Plugin:
    """An attributor, made from its name.

    Parameters
    ----------
    name
        Of the plugin.
    origin
        The package that offers it.
    """

    name: str
    origin: str
    package: str = ""

    @property
    def question(self) -> str:
        """What it computes."""
        return (
            QUESTIONS.get(self.name, "what its author says") if self.origin == OWN else "a plugin"
        )

    @property
    def cost(self) -> str:
        """What it asks of the model."""
        return COSTS.get(self.name, "encode once, gradients of the fusion")

    def answer(self, asked: Question) -> Answer:
        """What it says of the modalities, and of words and moments."""
        attributor = plugins.create("attribution", self.name, **self._options(asked))
        found: Attribution = attributor.attribute(asked.game())
        nats = self.origin == OWN and self.name in IN_NATS
        return spoken(asked, found, nats=bool(getattr(attributor, "nats", nats)))

    def _options(self, asked: Question) -> dict[str, Any]:
        given = OPTIONS.get(self.name, {}) if self.origin == OWN else {}
        return {
            name: {key: kind for key, kind in value.items() if key in asked.modalities}
            for name, value in given.items()
        }


@dataclass(frozen=True)
class Default(Plugin):
    """`modalxai.explain` with its report: what a user of modalxai reads."""

    def answer(self, asked: Question) -> Answer:
        """Shapley values, types of interaction, and the labels without evidence."""
        explanation = mx.explain(asked.model, list(asked.samples), **asked.removal())
        kinds = explanation.interaction_types()
        rows = Report(explanation, repeats=200).shares()
        silent = {row.label for row in rows if row.n and all(v != v for v in row.share.values())}
        return spoken(
            asked,
            explanation.shapley(),
            nats=True,
            # Of the first pair, the other modalities being there.
            kinds=kinds.kinds[:, :, 0, -1],
            silent=tuple(name for name in asked.labels if name in silent),
        )


def spoken(asked: Question, found: Attribution, **claims: Any) -> Answer:
    """An attribution as an answer: totals where it speaks of every modality, units where it has.

    The residual is left out where the method has no reference.
    """
    residual = found.residual()
    return Answer(
        contributions=found.totals if _of_all(asked, found) else None,
        signed=bool((found.totals < 0).any()) or found.provenance.attributor not in UNSIGNED,
        residual=residual if bool(residual.isfinite().all()) else None,
        maps=found if found.units else None,
        **claims,
    )


UNSIGNED = ("grad-cam", "spectrogram-grad-cam")
"""Methods that rectify."""
PARTIAL = ("prosody",)
"""Methods whose totals hold one modality only."""


def _of_all(asked: Question, found: Attribution) -> bool:
    return found.modalities == asked.modalities and found.provenance.attributor not in PARTIAL


def plugins_in() -> tuple[Contestant, ...]:
    """Every attributor that the registry knows, the default first."""
    names = plugins.available("attribution")
    order = [DEFAULT, *(name for name in names if name != DEFAULT)]
    made: list[Contestant] = []
    for name in order:
        origin = plugins.inspect("attribution", name).package
        kind = Default if name == DEFAULT and origin == OWN else Plugin
        made.append(kind(name, origin))
    return tuple(made)
