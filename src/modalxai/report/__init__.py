"""`Report`: from an explanation to shares per emotion that may be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from modalxai.attribution import Explanation
from modalxai.attribution.scales import check_scale
from modalxai.errors import InputError
from modalxai.report.alternatives import align
from modalxai.report.chance import judge
from modalxai.report.columns import clusters_of, strata, truth_of
from modalxai.report.disagreement import PairConflict, disagreements
from modalxai.report.evidence import Evidence
from modalxai.report.shares import ShareRow, share_rows
from modalxai.report.skill import ChanceGate, Score, Skill
from modalxai.report.text import text_table
from modalxai.statistics import IntervalOf, cluster_interval
from modalxai.types import Targets, select

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ChanceGate", "PairConflict", "Report", "Score", "ShareRow", "Skill"]


class Report:
    """How much each modality contributed to each emotion, how sure that is, and when not to say.

    Percentages are printed only where they mean something. A row is NaN, with its reason, where
    the modalities carry no evidence for the label (a mean magnitude of at most 0.05 nats, or of
    three standard errors of random removals), and every row is where the model is at chance.

    Parameters
    ----------
    explanation
        The coalition table of the samples.
    truth
        ``"labels"``, the targets that travelled with the samples; a column; ``{id: label}``; or
        None for unknown, which leaves the chance gate unjudged.
    by
        What a row is: ``"predicted"`` (the samples predicted c, contributions to c), ``"true"``,
        ``"correct"`` (predicted c, divided into correct and wrong) or a column (predicted c,
        divided by its values). A binary label's row holds the samples predicted, or truly, above
        0.5; a dimensional label's row all samples.
    cluster
        What is resampled: a column, ``{id: value}``, or None for every sample by itself.
    alternatives
        The same samples explained under other removals, to see whether the answer depends on the
        removal.
    scale
        See `modalxai.attribution.scales`; ``"clr"`` for None.
    samples_shown
        How many utterances the page shows, drawn at random.
    seed, repeats, level
        Of the cluster bootstrap; the level is the coverage of every interval.
    gold
        ``{label: {modality: share}}``, shown beside the measured shares.

    Raises
    ------
    InputError
        No samples, scores that are not finite, an unknown column, label, modality or scale, or
        an alternative of another model or other samples.
    """

    def __init__(
        self,
        explanation: Explanation,
        truth: str | Mapping[str, Any] | None = "labels",
        by: str | Mapping[str, Any] = "predicted",
        cluster: str | Mapping[str, Any] | None = "speaker",
        alternatives: Sequence[Explanation] = (),
        scale: str | None = None,
        samples_shown: int = 12,
        seed: int = 0,
        repeats: int = 2000,
        level: float = 0.95,
        gold: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        check_scale(scale or "clr")
        self.explanation = _exact(explanation)
        self.truth = truth_of(self.explanation, truth)
        self.clusters = clusters_of(self.explanation, cluster)
        self.alternatives = tuple(align(self.explanation, _exact(other)) for other in alternatives)
        scores = self.explanation.scores[-1].numpy()
        self.strata = tuple(strata(self.explanation, scores, self.truth, by))
        self.gold = _check_gold(self.explanation, gold or {})
        self.scale, self.samples_shown, self.seed = scale or "clr", samples_shown, seed
        self.repeats, self.level = repeats, level
        self.asked = {"truth": _said(truth), "by": _said(by), "cluster": _said(cluster)}

    def shares(self) -> list[ShareRow]:
        """One row per label, or per label and group."""
        return list(self._rows)

    def chance(self) -> ChanceGate:
        """Whether the model, and each modality alone, does better than a constant."""
        return self._gate

    def conflict(self) -> tuple[PairConflict, ...]:
        """How often each pair of modalities disagrees, and who wins; needs categorical labels."""
        return disagreements(self.explanation, self.clusters, self._interval)

    def table(self) -> str:
        """The shares as plain text."""
        removal = ", ".join(
            f"{name} {how}" for name, how in self.explanation.provenance.removal.items()
        )
        clusters = len(set(self.clusters))
        heading = (
            f"Contribution of each modality, rows by {self.asked['by']}; removal: {removal}; "
            f"scale: {self.scale}; {self.level:g} intervals over {clusters} clusters "
            f"({self.asked['cluster']})"
        )
        return text_table(self._rows, self._gate, self.explanation.modalities, self.gold, heading)

    def figure(self) -> Figure:
        """Shares and signed evidence as a matplotlib figure; nothing global is touched."""
        from modalxai.report.figures import draw

        return draw(self._rows, self.explanation.modalities, self.gold, self.level)

    def html(self) -> str:
        """One self-contained page: no script, no request, every text escaped."""
        from modalxai.report.html import render

        return render(self)

    def save_html(self, path: str | Path) -> None:
        """Write `html` to a file, in UTF-8."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        # A transcript may hold half a surrogate pair, which UTF-8 cannot.
        target.write_bytes(self.html().encode("utf-8", "replace"))

    @cached_property
    def _interval(self) -> IntervalOf:
        return partial(cluster_interval, repeats=self.repeats, level=self.level, seed=self.seed)

    @cached_property
    def _gate(self) -> ChanceGate:
        return judge(self.explanation, self.truth, self.clusters, self._interval)

    @cached_property
    def _rows(self) -> tuple[ShareRow, ...]:
        always = () if self.alternatives else ("one removal",)
        if self.asked["cluster"] == "none":
            always = (*always, "no clusters")
        return tuple(
            share_rows(
                Evidence.of(self.explanation, self.scale),
                [Evidence.of(other, self.scale) for other in self.alternatives],
                self.strata,
                self.clusters,
                self._gate,
                always,
                self._interval,
            )
        )


def _exact(explanation: Explanation) -> Explanation:
    """The explanation on the CPU in float64, so that differences lose nothing."""
    if not explanation.sample_ids:
        raise InputError(
            "a report of no samples",
            expected="an explanation of one sample or more",
            got="none",
            mend="explain some samples first",
        )
    draws = explanation.draws.detach().cpu().double()
    bad = (~torch.isfinite(draws)).any(-1).any(0).any(0)
    if bad.any():
        names = [explanation.sample_ids[int(row)] for row in bad.nonzero()[:3, 0]]
        raise InputError(
            "scores that are not finite",
            expected="finite scores for every coalition",
            got=f"NaN or infinite for {int(bad.sum())} samples, {names}",
            mend="leave these samples out, or mend the model that scores them so",
        )
    targets = Targets(explanation.targets.values.cpu(), explanation.targets.mask.cpu())
    return replace(explanation, draws=draws, present=explanation.present.cpu(), targets=targets)


def _check_gold(
    explanation: Explanation, gold: Mapping[str, Mapping[str, float]]
) -> Mapping[str, Mapping[str, float]]:
    if gold:
        select(explanation.labels, list(gold))
    unknown = {name for shares in gold.values() for name in shares} - set(explanation.modalities)
    if unknown:
        raise InputError(
            "gold names an unknown modality",
            expected=f"some of {list(explanation.modalities)}",
            got=str(sorted(unknown)),
            mend="use the model's names",
        )
    return gold


def _said(source: str | Mapping[str, Any] | None) -> str:
    if source is None:
        return "none"
    return source if isinstance(source, str) else "a mapping"
