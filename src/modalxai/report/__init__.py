"""`Report`: from an explanation to shares per emotion that may be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modalxai.attribution import Explanation
from modalxai.attribution.scales import check_scale
from modalxai.errors import InputError
from modalxai.report import figures
from modalxai.report.advice import Advice, advise
from modalxai.report.alignment import (
    Alignment,
    RankAgreement,
    align_with_people,
    human_weights,
    rank_agreement,
)
from modalxai.report.alternatives import align
from modalxai.report.baselines import Agreement, Audit, Emptiness, audit, audit_of, check_prior
from modalxai.report.behaviour import (
    BehaviouralWeights,
    Ratings,
    behavioural_weights,
    model_ratings,
    weight_difference,
)
from modalxai.report.chance import judge
from modalxai.report.changes import Change, compare, find_bias
from modalxai.report.columns import clusters_of, exact, leaks_of, truth_of
from modalxai.report.disagreement import PairConflict, disagreements
from modalxai.report.evidence import Evidence
from modalxai.report.familiarity import Familiarity, familiarity
from modalxai.report.opposition import Opposition, oppositions
from modalxai.report.rationales import Plausibility, plausibility
from modalxai.report.recordings import Recordings
from modalxai.report.seeds import SeedRow, over_seeds
from modalxai.report.shares import ShareRow, share_rows
from modalxai.report.skill import ChanceGate, Score, Skill
from modalxai.report.strata import By, said_of, strata
from modalxai.report.text import one_line, text_table
from modalxai.report.whole import whole_row
from modalxai.statistics import IntervalOf, cluster_interval
from modalxai.types import Attribution, columns, select

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Advice",
    "Agreement",
    "Alignment",
    "Audit",
    "BehaviouralWeights",
    "ChanceGate",
    "Change",
    "Emptiness",
    "Familiarity",
    "Opposition",
    "PairConflict",
    "Plausibility",
    "RankAgreement",
    "Ratings",
    "Report",
    "Score",
    "SeedRow",
    "ShareRow",
    "Skill",
    "align_with_people",
    "audit",
    "behavioural_weights",
    "compare",
    "familiarity",
    "figures",
    "find_bias",
    "human_weights",
    "model_ratings",
    "over_seeds",
    "plausibility",
    "rank_agreement",
    "weight_difference",
]


class Report:
    """How much each modality contributed to each emotion, how sure that is, and when not to say.

    Percentages are printed only where they mean something. A row is NaN, with its reason, where
    the modalities carry no evidence for the label (a mean magnitude of at most 0.05 nats, or of
    three standard errors of random removals), and every row is where the model is at chance.
    Samples of a split that leaks (`modalxai.datasets.Split.part`) say so in every row, table and
    page; ``leaks`` holds what they say.

    Parameters
    ----------
    explanation
        The coalition table of the samples.
    truth
        ``"labels"``, the targets that travelled with the samples; a column; ``{id: label}``; or
        None for unknown, which leaves the chance gate unjudged.
    by
        What a row is: ``"predicted"`` (the samples predicted c, contributions to c), ``"true"``
        or ``"truth"``, ``"correct"`` (predicted c, divided into correct and wrong), a column or
        ``{id: value}`` (predicted c, divided by its values), or several, for example
        ``("predicted", "noise")`` and ``("true", "context", "speaker")``. A binary label's row
        holds the samples predicted, or truly, above 0.5; a dimensional label's row all samples.
    cluster
        What is resampled: a column, ``{id: value}``, or None for every sample by itself.
    alternatives
        The same samples explained under other removals, to see whether the answer depends on the
        removal; two of them make the three that an audit wants.
    scale
        See `modalxai.attribution.scales`; ``"clr"`` for None.
    samples_shown
        How many utterances the page shows, drawn at random.
    seed, repeats, level
        Of the cluster bootstrap; the level is the coverage of every interval.
    gold
        ``{label: {modality: share}}``, shown beside the measured shares.
    prior
        Probability of each categorical (or binary) label, with which the empty coalition is
        compared; None for how often each is true.

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
        by: By = "predicted",
        cluster: str | Mapping[str, Any] | None = "speaker",
        alternatives: Sequence[Explanation] = (),
        scale: str | None = None,
        samples_shown: int = 12,
        seed: int = 0,
        repeats: int = 2000,
        level: float = 0.95,
        gold: Mapping[str, Mapping[str, float]] | None = None,
        prior: Mapping[str, float] | None = None,
    ) -> None:
        check_scale(scale or "clr")
        self.explanation = exact(explanation)
        self.truth = truth_of(self.explanation, truth)
        self.clusters = clusters_of(self.explanation, cluster)
        self.alternatives = tuple(align(self.explanation, exact(other)) for other in alternatives)
        scores = self.explanation.scores[-1].numpy()
        self.strata = tuple(strata(self.explanation, scores, self.truth, by))
        self.leaks = leaks_of(self.explanation)
        self.gold = _check_gold(self.explanation, gold or {})
        self.scale, self.samples_shown, self.seed = scale or "clr", samples_shown, seed
        self.repeats, self.level = repeats, level
        self.by, self.prior = by, prior
        check_prior(self.explanation, prior)
        self.asked = {"truth": _said(truth), "by": said_of(by), "cluster": _said(cluster)}

    def shares(self) -> list[ShareRow]:
        """One row per label, or per label and group."""
        return list(self._rows)

    def chance(self) -> ChanceGate:
        """Whether the model, and each modality alone, does better than a constant."""
        return self._gate

    def conflict(self) -> tuple[PairConflict, ...]:
        """How often each pair of modalities disagrees, and who wins; needs categorical labels."""
        return disagreements(self.explanation, self.clusters, self.interval)

    def opposition(self) -> tuple[Opposition, ...]:
        """The same by emotion, with signs: where a pair pulls apart in a row, and who wins."""
        sorts = columns(self.explanation.labels, "categorical")
        found = self.explanation.conflict() if sorts else None
        return oppositions(self.evidence, found, self.strata, self.clusters, self.interval)

    def audit(self) -> Audit:
        """What the model says of nothing, and whether the removal decides the answer."""
        alone = {
            skill.target: {
                name: score.others.get("accuracy", score.value)
                for name, score in {"everything": skill.model, **skill.alone}.items()
            }
            for skill in self._gate.skills
        }
        everyone = (self.explanation, *self.alternatives)
        return audit_of(everyone, self.truth, self.prior, self.scale, alone)

    def advice(self) -> list[Advice]:
        """What follows: which modality to keep, weight or drop, and where nobody can say."""
        return list(self._advice)

    def table(self) -> str:
        """The shares as plain text, and what follows."""
        removal = ", ".join(
            f"{name} {how}" for name, how in self.explanation.provenance.removal.items()
        )
        clusters = len(set(self.clusters))
        heading = (
            f"Contribution of each modality, rows by {self.asked['by']}; removal: {removal}; "
            f"scale: {self.scale}; {self.level:g} intervals over {clusters} clusters "
            f"({self.asked['cluster']})"
        )
        modalities = self.explanation.modalities
        rows = text_table(self._rows, self._gate, modalities, self.gold, heading, self.leaks)
        return "\n".join(
            [rows, "", "What follows, for this model under this removal:", *self._said()]
        )

    def figure(self) -> Figure:
        """Shares and signed evidence as a matplotlib figure; nothing global is touched."""
        return figures.shares(self._rows, self.explanation.modalities, self.gold, self.level)

    def html(
        self,
        before: Report | None = None,
        *,
        recordings: Recordings | None = None,
        units: Mapping[str, Attribution] | None = None,
        progress: bool = False,
    ) -> str:
        """One self-contained page: no script, no request, every text escaped.

        Parameters
        ----------
        before
            An earlier report with the same settings, to show how shares changed, see `compare`.
        recordings
            ``{id: Audio}`` (or paths), or the samples. The utterances shown are then drawn from
            those with units, or else with a recording. They are drawn over time and can be played:
            the sound is in the page, so pass them only if whoever gets the page may hear it.
        units
            By title, results of attributors whose players are words, segments, tiles or prosodic
            features (`modalxai.attribution.Owen`, `modalxai.attribution.Prosody`, ...), to colour
            the utterances with.
        progress
            Show a progress bar over the utterances, if they take longer than two seconds.

        Raises
        ------
        InputError
            Recordings or units of none of the samples, or a recording that cannot be used.
        """
        from modalxai.report.html import render

        changes = () if before is None else compare(before, self)
        return render(self, changes, recordings, units, progress)

    def save_html(
        self,
        path: str | Path,
        before: Report | None = None,
        *,
        recordings: Recordings | None = None,
        units: Mapping[str, Attribution] | None = None,
        progress: bool = False,
    ) -> None:
        """Write `html` to a file, in UTF-8."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        page = self.html(before, recordings=recordings, units=units, progress=progress)
        # A transcript may hold half a surrogate pair, which UTF-8 cannot.
        target.write_bytes(page.encode("utf-8", "replace"))

    def _said(self) -> list[str]:
        return [
            one_line(
                f"- {' '.join(filter(None, (one.label or 'all categorical labels', one.group)))}, "
                f"{one.modality or 'every modality'}: {one.verdict} ({one.why})"
            )
            for one in self._advice
        ]

    @cached_property
    def interval(self) -> IntervalOf:
        """`cluster_interval` with the settings of this report."""
        return partial(cluster_interval, repeats=self.repeats, level=self.level, seed=self.seed)

    @cached_property
    def evidence(self) -> Evidence:
        """The contributions as arrays, in the order of the samples."""
        return Evidence.of(self.explanation, self.scale)

    @cached_property
    def _others(self) -> list[Evidence]:
        return [Evidence.of(other, self.scale) for other in self.alternatives]

    @cached_property
    def _advice(self) -> tuple[Advice, ...]:
        whole = whole_row(
            self.explanation, self.evidence, self._others, self.clusters, self._gate, self.interval
        )
        return advise(
            self.explanation, self._rows, self.strata, whole, self.truth, self.clusters,
            self.interval,
        )  # fmt: skip

    @cached_property
    def _gate(self) -> ChanceGate:
        return judge(self.explanation, self.truth, self.clusters, self.interval)

    @cached_property
    def _rows(self) -> tuple[ShareRow, ...]:
        always = ("split may leak",) if self.leaks else ()
        if not self.alternatives:
            always = (*always, "one removal")
        if self.asked["cluster"] == "none":
            always = (*always, "no clusters")
        return tuple(
            share_rows(
                self.evidence,
                self._others,
                self.strata,
                self.clusters,
                self._gate,
                always,
                self.interval,
            )
        )


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
