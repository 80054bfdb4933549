"""How sure is a number? Intervals and tests for statistics of samples that come in clusters.

Utterances of one speaker resemble each other, so intervals that treat them as independent are too
narrow: at 68 utterances of 8 speakers their coverage fell from 95 to 62 % in our simulation. What
is resampled here is always the cluster.

Every statistic is a function of sums over samples (a ratio of means, a recall, a concordance
coefficient), so one matrix product resamples all of them. Axis letters: N samples, G clusters,
F summed terms, Q results of a statistic, R resamples, S training seeds.
"""

from modalxai.statistics.figures import measure_by_emotion, signal_over_time
from modalxai.statistics.groups import (
    EffectSizes,
    GroupTest,
    PairTest,
    bartlett,
    effect_sizes,
    games_howell,
    hedges_g,
    levene,
    normality,
    welch_anova,
)
from modalxai.statistics.intervals import (
    MANY_CLUSTERS,
    MOST_UNDEFINED,
    Interval,
    IntervalOf,
    Method,
    cluster_interval,
)
from modalxai.statistics.nested import nested_bootstrap, nested_interval
from modalxai.statistics.resampling import (
    cluster_bootstrap,
    cluster_jackknife,
    cluster_studentised,
)
from modalxai.statistics.series import (
    Association,
    SeriesClusters,
    association,
    cluster_series,
)
from modalxai.statistics.significance import Significance, cluster_test, holm, sign_flip_test
from modalxai.statistics.sums import (
    Array,
    Statistic,
    cluster_sums,
    difference,
    divide,
    means,
    ratio_of_means,
)

__all__ = [
    "MANY_CLUSTERS",
    "MOST_UNDEFINED",
    "Array",
    "Association",
    "EffectSizes",
    "GroupTest",
    "Interval",
    "IntervalOf",
    "Method",
    "PairTest",
    "SeriesClusters",
    "Significance",
    "Statistic",
    "association",
    "bartlett",
    "cluster_bootstrap",
    "cluster_interval",
    "cluster_jackknife",
    "cluster_series",
    "cluster_studentised",
    "cluster_sums",
    "cluster_test",
    "difference",
    "divide",
    "effect_sizes",
    "games_howell",
    "hedges_g",
    "holm",
    "levene",
    "means",
    "measure_by_emotion",
    "nested_bootstrap",
    "nested_interval",
    "normality",
    "ratio_of_means",
    "sign_flip_test",
    "signal_over_time",
    "welch_anova",
]
