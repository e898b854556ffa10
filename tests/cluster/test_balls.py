"""The engine for many dimensions: equal to the definition, whatever the balls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN
from threadpoolctl import threadpool_info

from cluster.oracle import brute
from thresher.cluster import balls
from thresher.cluster.points import ArrayPoints

MANY_BALLS = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(autouse=True)
def small_balls(monkeypatch):
    """Balls of a few points, so that small data has many, of which some are cut to pieces."""
    monkeypatch.setattr(balls, "BALL_ROWS", 12)
    monkeypatch.setattr(balls, "MOST_ROWS", 30)


def cluster(X, eps, min_samples, weights=None, jobs=1, part_rows=65_536):
    X = np.asarray(X)
    return balls.cluster(
        ArrayPoints(X, part_rows), eps, min_samples, weights, jobs, lambda name, share: None
    )


def assert_as_defined(X, eps, min_samples, weights=None, jobs=1):
    labels, core = brute(X, eps, min_samples, weights)
    found = cluster(X, eps, min_samples, weights, jobs)
    np.testing.assert_array_equal(found.core, core)
    np.testing.assert_array_equal(found.labels, labels)


def blobs(seed, n, d, spread=0.3, groups=6):
    """Groups around normal centres, each point at its own distance: some are far away."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(groups, d))[random.integers(0, groups, n)]
    return centres + spread * random.exponential(size=(n, 1)) * random.normal(size=(n, d))


def unit_embeddings(n, d, groups=10, noise=0.04, outliers=0.05, seed=0):
    """Unit vectors around random directions, and some of any direction."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(groups, d))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    X = X[random.integers(0, groups, n)] + noise * random.normal(size=(n, d))
    alone = random.random(n) < outliers
    X[alone] = random.normal(size=(alone.sum(), d))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def distance_quantile(X, share):
    """A radius that this share of the pairs is within."""
    X = np.asarray(X[:200], np.float64)
    distances = np.linalg.norm(X[:, None] - X[None], axis=-1)
    return float(np.quantile(distances[np.triu_indices(len(X), 1)], share))


# ---------------------------------------------------------------------- exactness
@MANY_BALLS
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 600),
    d=st.integers(1, 40),
    share=st.sampled_from([0.01, 0.05, 0.2, 0.6]),
    min_samples=st.sampled_from([1, 2, 5, 10, 40]),
    shift=st.sampled_from([0.0, 1e6]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_groups_with_outliers_are_clustered_as_defined(
    seed, n, d, share, min_samples, shift, dtype
):
    X = (blobs(seed, n, d) + shift).astype(dtype)
    assert_as_defined(X, distance_quantile(X, share) or 1.0, min_samples)


@MANY_BALLS
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 400),
    d=st.integers(1, 24),
    squared_eps=st.integers(1, 12),
    min_samples=st.sampled_from([1, 3, 8, 30]),
    shift=st.sampled_from([0.0, 1e6]),
)
def test_distances_of_exactly_eps_are_decided_by_the_definition(
    seed, n, d, squared_eps, min_samples, shift
):
    X = np.random.default_rng(seed).integers(0, 3, (n, d)) + shift
    assert_as_defined(X, float(np.sqrt(squared_eps)), min_samples)


@MANY_BALLS
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 400),
    d=st.integers(1, 24),
    step=st.sampled_from([1.0, 0.25, 0.1]),
    least=st.floats(0, 12),
)
def test_weights_are_counted_as_defined(seed, n, d, step, least):
    X = blobs(seed, n, d)
    weights = step * np.random.default_rng(seed + 1).integers(0, 9, n)
    # Halfway between two sums, so that the order of the additions cannot decide.
    least = step * (np.floor(least / step) + 0.5)
    assert_as_defined(X, distance_quantile(X, 0.1) or 1.0, least, weights)


def test_a_borderline_pair_is_told_apart_beyond_single_precision():
    apart = np.zeros((4, 20))
    apart[:, 3] = [0, 1 + 1e-12, 10, 11]
    labels = cluster(apart + 0.5, 1.0, 2).labels
    assert [-1, -1, 0, 0] == labels.tolist()


def test_far_groups_leave_the_distances_within_a_group_exact():
    X = np.concatenate([blobs(i, 120, 18, 0.01) + 1e7 * i for i in range(4)])
    assert_as_defined(X, distance_quantile(X[:120], 0.2), 5)


@pytest.mark.parametrize("unit", [1e-60, 1e-150, 1e-170, 1e60, 1e150, 1e170])
def test_the_unit_of_the_data_may_be_beyond_single_precision(unit):
    X = blobs(4, 150, 17)
    with np.errstate(over="ignore", under="ignore"):
        assert_as_defined(X * unit, distance_quantile(X, 0.1) * unit, 5)


@pytest.mark.parametrize("eps", [1e-320, 1e-200, 1e-30, 1e30, 1e200])
def test_eps_may_be_tiny_or_huge(eps):
    X = np.repeat(blobs(5, 60, 17), 2, axis=0)
    assert_as_defined(X, eps, 2)


@pytest.mark.parametrize("min_samples", [1, 2, 300, 301])
def test_equal_points_are_one_cluster_or_noise(min_samples):
    found = cluster(np.full((300, 30), 0.1), 1e-9, min_samples)
    assert found.core.all() == (min_samples <= 300)
    assert set(found.labels) == ({0} if min_samples <= 300 else {-1})


def test_one_point_is_a_cluster_only_if_it_need_have_no_neighbour():
    assert [0] == cluster(np.ones((1, 50)), 0.5, 1).labels.tolist()
    assert [-1] == cluster(np.ones((1, 50)), 0.5, 2).labels.tolist()


def test_embeddings_are_clustered_as_by_scikit_learn(monkeypatch):
    monkeypatch.undo()  # balls of the usual size
    X = unit_embeddings(4000, 64)
    expected = DBSCAN(eps=0.5, min_samples=10, algorithm="brute").fit(X.astype(np.float64))
    found = cluster(X, 0.5, 10, jobs=2)
    core = np.flatnonzero(found.core)
    np.testing.assert_array_equal(expected.core_sample_indices_, core)
    np.testing.assert_array_equal(expected.labels_[core], found.labels[core])
    np.testing.assert_array_equal(expected.labels_ < 0, found.labels < 0)


# ---------------------------------------------------------------------- borders
def padded(X):
    """Points of a plane in 17 dimensions."""
    return np.pad(np.asarray(X, np.float64), ((0, 0), (8, 7)))


def test_clusters_do_not_meet_at_a_border_point():
    """Point 4 has core point 3 within reach and lies near core point 5: no bridge."""
    X = [
        (-0.3, 0.3), (-0.3, 0.31), (-0.3, 0.29), (0.6, 0.3),
        (1.45, 0.3), (2.1, 0.3), (2.9, 0.3), (2.9, 0.31),
    ]  # fmt: skip
    found = cluster(padded(X), 1.0, 4)
    assert [0, 0, 0, 0, 1, 1, 1, 1] == found.labels.tolist()
    assert [0, 1, 2, 3, 5] == np.flatnonzero(found.core).tolist()


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0]])
def test_a_border_point_between_two_core_points_joins_the_lexicographically_first(order):
    X = np.array([(0, 0), (-1, 0), (-1.5, 0), (-1.5, 0.1), (1, 0), (1.5, 0), (1.5, 0.1)])
    labels = np.empty(7, np.int32)
    labels[order] = cluster(padded(X[order]), 1.0, 4).labels
    assert labels[0] == labels[1] != labels[4]


# ---------------------------------------------------------------------- invariance
def test_the_result_is_that_of_one_thread_one_part_and_any_order_of_rows():
    X = blobs(7, 700, 25)
    eps = distance_quantile(X, 0.1)
    weights = np.random.default_rng(8).random(700)
    order = np.random.default_rng(9).permutation(700)
    for weighting, least in ((None, 8), (weights, 4.0)):
        alone = cluster(X, eps, least, weighting)
        shared = cluster(X, eps, least, weighting, jobs=3, part_rows=11)
        assert alone.statistics == shared.statistics
        np.testing.assert_array_equal(alone.labels, shared.labels)
        np.testing.assert_array_equal(alone.core, shared.core)
        moved = cluster(X[order], eps, least, None if weighting is None else weighting[order])
        np.testing.assert_array_equal(alone.core[order], moved.core)
        pairs = set(zip(alone.labels[order], moved.labels, strict=True))
        assert len(pairs) == len(set(alone.labels)) == len(set(moved.labels))


def test_columns_may_lie_one_after_another_and_be_read_only():
    X = np.asfortranarray(blobs(10, 300, 20))
    X.flags.writeable = False
    assert_as_defined(X, distance_quantile(X, 0.1), 5)


def test_the_threads_of_the_matrix_product_are_given_back():
    before = [(library["filepath"], library["num_threads"]) for library in threadpool_info()]
    cluster(blobs(11, 100, 20), 1.0, 5)
    after = [(library["filepath"], library["num_threads"]) for library in threadpool_info()]
    assert before == after


def test_the_statistics_tell_what_was_used():
    found = cluster(blobs(12, 400, 20), 2.0, 5)
    assert found.statistics["engine"] == "balls"
    assert found.statistics["clusters"] == found.labels.max() + 1
    assert 400 / 30 <= found.statistics["cells"] <= 400
    assert found.statistics["core_cells"] <= found.statistics["cells"]
    assert found.statistics["bytes"] > 400 * 20 * 8
