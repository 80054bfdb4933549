from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import davies_bouldin_score, silhouette_score

from modalxai.errors import InputError
from modalxai.statistics import measure_by_emotion, signal_over_time, warping
from modalxai.statistics.series import association, cluster_series, davies_bouldin, silhouette


def _dtw(first, second):
    """The textbook table (Sakoe & Chiba 1978), squared differences, root at the end."""
    table = np.full((len(first) + 1, len(second) + 1), np.inf)
    table[0, 0] = 0
    for i, one in enumerate(first, 1):
        for j, other in enumerate(second, 1):
            least = min(table[i - 1, j], table[i, j - 1], table[i - 1, j - 1])
            table[i, j] = (one - other) ** 2 + least
    return np.sqrt(table[-1, -1])


def _shapes(each=5):
    """Three shapes, each early or late, short or long."""
    generator = np.random.default_rng(0)
    made = []
    for kind in range(3):
        for _ in range(each):
            size, start = generator.integers(24, 36), generator.integers(4, 10)
            one = generator.normal(0, 0.05, size)
            one[start : start + 6] += (0, 2, -2)[kind] + (kind == 0) * np.linspace(-1, 1, 6)
            if kind == 0:
                one += np.linspace(0, 4, size)
            made.append(30 + 5 * one)
    return made, np.repeat(range(3), each)


@pytest.fixture(scope="module")
def clustered():
    series, kinds = _shapes()
    state = np.random.get_state()[1].copy()
    found = cluster_series(series, (2, 3, 4, 5), restarts=2)
    assert (np.random.get_state()[1] == state).all()
    return series, kinds, found


def test_shapes_are_found_whatever_their_length_and_level(clustered):
    _, kinds, found = clustered
    assert [one.count for one in found] == [2, 3, 4, 5]
    three = found[1]
    assert association(three.labels.tolist(), kinds.tolist()).v == pytest.approx(1)
    assert max(found, key=lambda one: one.silhouette) is three
    assert min(found, key=lambda one: one.davies_bouldin) is three


def test_indices_equal_their_definitions_under_textbook_dtw(clustered):
    series, _, found = clustered
    scaled = [(one - one.mean()) / one.std() for one in series]
    three = found[1]
    apart = np.array([[_dtw(one, other) for other in scaled] for one in scaled])
    assert three.silhouette == pytest.approx(
        silhouette_score(apart, three.labels, metric="precomputed")
    )
    to_own = np.array([[_dtw(one, centre) for centre in three.centres] for one in scaled])
    spread = [to_own[three.labels == c, c].mean() for c in range(3)]
    worst = [
        max(
            (spread[i] + spread[j]) / _dtw(three.centres[i], three.centres[j])
            for j in range(3)
            if j != i
        )
        for i in range(3)
    ]
    assert three.davies_bouldin == pytest.approx(np.mean(worst))


def test_davies_bouldin_of_euclidean_distances_equals_scikit_learn():
    generator = np.random.default_rng(1)
    points, labels = generator.normal(size=(40, 3)), generator.integers(0, 4, 40)
    centres = np.stack([points[labels == one].mean(0) for one in range(4)])
    to_centres = np.linalg.norm(points[:, None] - centres, axis=-1)
    between = np.linalg.norm(centres[:, None] - centres, axis=-1)
    assert davies_bouldin(to_centres, between, labels) == pytest.approx(
        davies_bouldin_score(points, labels)
    )


def test_warped_distances_equal_the_textbook_table(monkeypatch):
    series, _ = _shapes(2)
    series.append(np.array([3.0]))
    want = np.array([[_dtw(one, other) for other in series[:3]] for one in series])
    assert warping.distances(series, series[:3]) == pytest.approx(want)
    monkeypatch.setattr(warping, "_CELLS", 1)  # one pair at a time
    assert warping.distances(series, series[:3]) == pytest.approx(want)


def test_a_barycentre_never_lies_further_off_and_is_the_series_where_all_are_one():
    generator = np.random.default_rng(3)
    for _ in range(20):
        series = [generator.normal(size=generator.integers(3, 12)) for _ in range(5)]
        centre = series[0]
        for _ in range(4):
            made = warping.barycentre(series, centre)
            before, after = (
                (warping.distances(series, [one]) ** 2).sum() for one in (centre, made)
            )
            assert after <= before + 1e-9
            centre = made
    same = np.array([1.0, 3.0, 2.0])
    assert warping.barycentre([same, same], same) == pytest.approx(same)
    # Shifted shapes warp onto each other: the mean keeps the peak, which a plain mean would halve.
    early, late = np.zeros(9), np.zeros(9)
    early[2] = late[5] = 4.0
    assert warping.barycentre([early, late], early).max() == 4.0


def test_silhouettes_equal_scikit_learn_also_with_lonely_samples():
    generator = np.random.default_rng(4)
    for _ in range(10):
        points = generator.normal(size=(12, 2))
        apart = np.linalg.norm(points[:, None] - points, axis=-1)
        labels = np.concatenate([[0, 1, 2, 3], generator.integers(0, 3, 8)])
        assert silhouette(apart, labels) == pytest.approx(
            silhouette_score(apart, labels, metric="precomputed")
        )


def test_equal_series_still_fill_every_cluster():
    series = [np.array([0.0, 1.0, 0.0])] * 3 + [np.array([1.0, 0.0, 1.0])] * 3
    found = cluster_series(series, (2, 4))
    assert sorted(np.bincount(found[0].labels).tolist()) == [3, 3]
    assert (np.bincount(found[1].labels, minlength=4) > 0).all()


def test_one_number_of_clusters_needs_no_list():
    series = [[0, 1, 2, 3], [0, 1, 2, 4], [3, 2, 1, 0], [4, 2, 1, 0]]
    (alone,) = cluster_series(series, 2)
    (listed,) = cluster_series(series, [2])
    assert alone.labels.tolist() == listed.labels.tolist()
    assert alone.silhouette == listed.silhouette
    with pytest.raises(InputError, match="do not fit"):
        cluster_series(series, 4)


def test_the_same_seed_gives_the_same_clusters(clustered):
    series, _, found = clustered
    again = cluster_series(series, (2, 3), restarts=2)[1]
    assert (again.labels == found[1].labels).all()


def test_association_equals_scipy_and_is_none_for_unrelated_labels():
    generator = np.random.default_rng(2)
    clusters, emotions = generator.integers(0, 3, 300), generator.choice(list("abcd"), 300)
    found = association(clusters.tolist(), emotions.tolist())
    table = [[((clusters == c) & (emotions == e)).sum() for e in "abcd"] for c in range(3)]
    assert (found.chi2, found.freedom, found.p) == pytest.approx(
        tuple(stats.chi2_contingency(table, correction=False)[place] for place in (0, 2, 1))
    )
    assert found.v == pytest.approx(stats.contingency.association(np.array(table)))
    assert found.p > 0.05
    assert found.v < 0.2


def test_mistakes_are_named():
    series, _ = _shapes()
    for arguments, wrong in [
        ((series, (1,)), "do not fit"),
        ((series, (15,)), "do not fit"),
        ((series, ()), "do not fit"),
        (([*series, [1.0, np.nan]],), "series 15 cannot"),
        (([*series, []],), "series 15 cannot"),
    ]:
        with pytest.raises(InputError, match=wrong):
            cluster_series(*arguments)
    with pytest.raises(InputError, match="nothing to associate"):
        association([1, 1], ["a", "b"])


def test_a_signal_is_drawn_over_the_emotions_of_its_utterances():
    time = np.arange(0, 20, 0.25)
    figure = signal_over_time(
        time,
        np.sin(time),
        [(1.0, 3.0, "joy"), (5.0, 9.0, "anger"), (12.0, 13.0, "joy")],
        name="EDA",
    )
    axes = figure.axes[0]
    assert axes.lines[0].get_xdata().tolist() == time.tolist()
    bands = [(one.get_x(), one.get_width(), one.get_facecolor()) for one in axes.patches]
    assert [one[:2] for one in bands] == [(1, 2), (5, 4), (12, 1)]
    assert bands[0][2] == bands[2][2] != bands[1][2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["anger", "joy"]
    figure.canvas.draw()
    for wrong in ((time[::-1], time, []), (time, time[1:], []), (time, time, [(3, 3, "joy")])):
        with pytest.raises(InputError, match="cannot be drawn"):
            signal_over_time(*wrong)


def test_a_measure_is_drawn_by_emotion_with_counts():
    values, groups = [1.0, 2.0, 3.0, 10.0, 12.0, 30.0], ["joy"] * 3 + ["anger"] * 2 + ["fear"]
    axes = measure_by_emotion(values, groups, name="arousal").axes[0]
    labels = [tick.get_text() for tick in axes.get_xticklabels()]
    assert labels == ["anger\nn = 2", "fear\nn = 1", "joy\nn = 3"]
    assert axes.get_ylabel() == "arousal"
    medians = [line.get_ydata()[0] for line in axes.lines if line.get_color() == "#1d2733"]
    assert medians == [11.0, 30.0, 2.0]
