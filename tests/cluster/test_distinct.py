"""Equal rows become one, in order of their first occurrence, with the sum of their weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.oracle import brute
from thresher.cluster import DBSCAN, distinct
from thresher.cluster.distinct import distinct_share, merge_equal_rows
from thresher.cluster.points import ArrayPoints

MANY = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def merge(X, weights=None, jobs=1, part_rows=65_536):
    return merge_equal_rows(ArrayPoints(X, part_rows), weights, jobs, lambda name, share: None)


def assert_merged(X, weights, merged):
    """By NumPy's own."""
    _, first, inverse = np.unique(X, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    np.testing.assert_array_equal(X[first[order]], merged.points.array)
    np.testing.assert_array_equal(np.argsort(order)[inverse.reshape(-1)], merged.same)
    expected = np.zeros(len(first), np.int64 if weights is None else weights.dtype)
    np.add.at(expected, merged.same, 1 if weights is None else weights)
    np.testing.assert_allclose(merged.weights, expected, rtol=1e-15)
    assert expected.dtype == merged.weights.dtype


@MANY
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 500),
    d=st.sampled_from([1, 2, 5]),
    values=st.sampled_from([1, 3, 10, 10**6]),
    step=st.sampled_from([None, 1, 0.25]),
    part_rows=st.sampled_from([7, 1000]),
)
def test_rows_are_merged_and_weights_added(seed, n, d, values, step, part_rows):
    random = np.random.default_rng(seed)
    X = random.integers(-values, values, (n, d)) / 4
    weights = None if step is None else step * random.integers(0, 9, n)
    assert_merged(X, weights, merge(X, weights, part_rows=part_rows))


def test_many_buckets_give_the_same_on_any_number_of_threads():
    """Of 50 000 rows; order and sums of weights do not depend on who merged what."""
    random = np.random.default_rng(1)
    X, weights = random.integers(0, 90, (50_000, 2)) / 7, random.random(50_000)
    alone = merge(X, weights)
    assert_merged(X, weights, alone)
    for jobs, part_rows in ((2, 999), (3, 65_536)):
        shared = merge(X, weights, jobs, part_rows)
        np.testing.assert_array_equal(alone.points.array, shared.points.array)
        np.testing.assert_array_equal(alone.same, shared.same)
        np.testing.assert_array_equal(alone.weights, shared.weights)


def test_zeros_of_both_signs_are_equal():
    """As numbers they are."""
    merged = merge(np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, -1.0]]))
    assert [0, 0, 1] == merged.same.tolist()
    assert [2, 1] == merged.weights.tolist()


def test_short_floats_stay_short():
    merged = merge(np.array([[0.1, 1], [0.1, 1]], np.float32))
    assert np.float32 == merged.points.dtype
    assert [[np.float32(0.1), 1]] == merged.points.array.tolist()


def test_rows_with_one_hash_are_compared_in_full(monkeypatch):
    """A hash proposes; what is equal is decided by the rows."""
    monkeypatch.setattr(distinct, "hashes_of", lambda rows: np.full(len(rows), 7, np.uint64))
    X = np.random.default_rng(2).integers(0, 4, (300, 2)) * 1.0
    assert_merged(X, None, merge(X, part_rows=100))


@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
@pytest.mark.parametrize("even", [True, False])
def test_the_share_of_distinct_rows_is_estimated(share, even):
    """Right to a few standard deviations of a sixteenth of them, also if one row fills the rest."""
    random = np.random.default_rng(3)
    n = 100_000
    some = random.random((round(n * share), 2))
    rest = random.integers(0, len(some) if even else 1, n - len(some))
    X = np.concatenate([some, some[rest]])
    found = distinct_share(ArrayPoints(X, 7000), 2)
    assert abs(found - share) <= 6 * share * np.sqrt(15 / (share * n))
    assert found <= 1


@pytest.mark.parametrize("value", range(20))
def test_equal_rows_are_noticed_whatever_their_hash(value):
    """That the hash of the only row is in no sample says as much."""
    assert distinct_share(ArrayPoints(np.full((10_000, 2), value / 7)), 1) < 0.01


@MANY
@given(
    seed=st.integers(0, 10**6),
    d=st.sampled_from([2, 5]),
    weighted=st.booleans(),
    min_samples=st.sampled_from([1, 4, 30]),
)
def test_clusters_of_merged_rows_are_those_of_all(seed, d, weighted, min_samples):
    """Also on the grid, which merges only where many neighbours are counted."""
    random = np.random.default_rng(seed)
    X = random.integers(0, 4, (400, d)) * 1.0
    weights = random.integers(0, 3, 400) + (np.arange(400) == 0) if weighted else None
    if d == 2:
        min_samples += 256
    labels, core = brute(X, 1.0, min_samples, weights)
    found = DBSCAN(eps=1.0, min_samples=min_samples).fit(X, sample_weight=weights)
    np.testing.assert_array_equal(labels, found.labels_)
    np.testing.assert_array_equal(np.flatnonzero(core), found.core_sample_indices_)
    if d == 2:
        assert 16 == found.statistics_["distinct_rows"]
