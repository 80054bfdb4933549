"""The planted truth of what `modalxai.recipes.synthetic` adds to speech: dimensions and label sets.

As in `modalxai.datasets.tonebench.gold`, it is what a listener who knows the tables makes of what
words and voice tell, cell by cell: enumerated, never estimated.

Axis letters: C contents, A tones, K labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from modalxai.datasets.tonebench import Rule, Truth
from modalxai.datasets.tonebench.gold import NO_EVIDENCE, Voice, on_scale
from modalxai.datasets.tonebench.listener import Removal
from modalxai.errors import InputError
from modalxai.recipes.synthetic import Dimension, LabelSet, check_cells
from modalxai.statistics import Array


def gold_dimension(
    rule: Rule,
    dimension: Dimension,
    *,
    on: Rule | None = None,
    voice: Voice = "babble",
    removal: Removal = "absent",
) -> Truth:
    """The planted truth of a dimension, over all cells, on the scale of its own points.

    The listener's answer to a coalition is the mean of the values that are possible then, which is
    what a model trained with squared errors and modality dropout approximates.

    Parameters
    ----------
    rule
        What the model was trained on: how often the cells occur.
    dimension
        What is rated.
    on
        A rule over the same names whose cells are explained.
    voice
        What the voice says: see `ToneBench`.
    removal
        ``"absent"``: the listener is not told. ``"marginal"``: it is told what another utterance
        says, or how, and its answers are averaged on the scale; no modality dropout is supposed.
    """
    check_cells(rule, dimension.centres, dimension.name)
    cells = rule if on is None else on
    values = _coalitions(rule, dimension.expected[..., None], lambda one: one, voice, removal)
    (truth,) = _truths(values, cells.joint[..., None])
    return truth


def gold_sets(
    rule: Rule,
    sets: LabelSet,
    by: Literal["predicted", "true"] = "predicted",
    scale: Literal["log-odds", "probability"] = "log-odds",
    *,
    on: Rule | None = None,
    voice: Voice = "babble",
    removal: Removal = "absent",
) -> dict[str, Truth]:
    """The planted truth of each label of a set, over the cells that belong to it.

    Parameters
    ----------
    rule, on, voice, removal
        As in `gold_dimension`.
    sets
        What is drawn.
    by
        Which cells belong to a label: those where it is likelier than not, or every cell in
        proportion to how often it carries the label.
    scale
        Of the label's own probability.

    Raises
    ------
    InputError
        An unknown option, or chances for other cells.
    """
    if by not in ("predicted", "true") or scale not in ("log-odds", "probability"):
        raise InputError(
            "unknown grouping or scale",
            expected="by 'predicted' or 'true', scale 'log-odds' or 'probability'",
            got=f"{by!r}, {scale!r}",
            mend="choose among them",
        )
    check_cells(rule, sets.chance, "label sets")
    cells = rule if on is None else on
    belongs = (sets.chance > 0.5).astype(float) if by == "predicted" else sets.chance
    mass = cells.joint[..., None] * belongs
    values = _coalitions(rule, sets.chance, lambda one: on_scale(one, scale), voice, removal)
    return dict(zip(sets.labels, _truths(values, mass), strict=True))


def _coalitions(
    rule: Rule, table: Array, scaled: Callable[[Array], Array], voice: Voice, removal: Removal
) -> tuple[Array, ...]:
    """The listener's values [C, A, K] told nothing, the tone, the content, both.

    Absent: on the scale of the mean of ``table`` [C, A, K] given what is told. Marginal: the mean,
    on the scale, over what others would have said instead.
    """
    known = voice in ("babble", "words") and removal in ("absent", "marginal")
    if not known or (removal == "marginal" and (voice == "words" or (rule.weights == 0).any())):
        raise InputError(
            "a listener that has no answer",
            expected="voice 'babble' or 'words', removal 'absent' or, for babble in a rule all of "
            "whose cells occur, 'marginal'",
            got=f"{voice!r}, {removal!r}, {int((rule.weights == 0).sum())} cells that never occur",
            mend="name the voice that the corpus was made with, and removal='absent'",
        )
    joint = rule.joint[..., None]
    if removal == "marginal":
        both = scaled(table)
        tones, contents = joint.sum(0, keepdims=True), joint.sum(1, keepdims=True)
        told = (
            (joint * both).sum((0, 1), keepdims=True),
            (contents * both).sum(0, keepdims=True),
            (tones * both).sum(1, keepdims=True),
            both,
        )
        return tuple(np.broadcast_to(one, table.shape) for one in told)
    with np.errstate(invalid="ignore"):
        by_tone = (joint * table).sum(0, keepdims=True) / joint.sum(0, keepdims=True)
        by_content = (joint * table).sum(1, keepdims=True) / joint.sum(1, keepdims=True)
    told = ((joint * table).sum((0, 1), keepdims=True), by_tone, by_content, table)
    none, audio, text, both = (scaled(np.broadcast_to(one, table.shape)) for one in told)
    return none, both if voice == "words" else audio, text, both


def _truths(values: tuple[Array, ...], mass: Array) -> list[Truth]:
    """By column of ``values`` [C, A, K], over cells that count as ``mass`` [C, A, K] says.

    A cell that never occurs has no say.
    """
    none, audio, text, both = values
    joined = both - audio - text + none
    frequency = mass.sum((0, 1))

    def mean(values: Array) -> Array:
        total = np.where(mass > 0, mass * values, 0).sum((0, 1))
        return np.asarray(total / np.where(frequency > 0, frequency, np.nan))

    phi = {"audio": audio - none + joined / 2, "text": text - none + joined / 2}
    sizes = {name: mean(np.abs(value)) for name, value in phi.items()}
    alone = mean(np.abs(audio - none)) + mean(np.abs(text - none))
    truths = []
    for k in range(both.shape[-1]):
        whole = sizes["audio"][k] + sizes["text"][k]
        reason = None
        if frequency[k] == 0:
            reason = "no sample belongs to this label"
        elif whole < NO_EVIDENCE:
            reason = "no modality evidence for this label"
        shown = np.nan if reason else 1 / whole
        parts = alone[k] + mean(np.abs(joined))[k]
        truths.append(
            Truth(
                share={name: float(size[k] * shown) for name, size in sizes.items()},
                evidence={name: float(mean(value)[k]) for name, value in phi.items()},
                interaction=float(mean(joined)[k]),
                interaction_share=float(
                    np.nan if reason else mean(np.abs(joined))[k] / parts if parts > 0 else np.nan
                ),
                dividends={("audio", "text"): float(mean(joined)[k])},
                frequency=float(frequency[k]),
                reason=reason,
            )
        )
    return truths
