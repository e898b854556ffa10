"""The tree's own pieces: its nodes, the scratch and what it proves, and cells that nearly touch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.oracle import brute, squared_distances
from thresher.cluster import tree
from thresher.cluster.kernels import tree_scratch
from thresher.cluster.kernels.tree_build import cut, middle_value
from thresher.cluster.kernels.tree_scratch import frame_of, new_scratch, squares, to_frame
from thresher.cluster.points import ArrayPoints

MANY = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def quiet(name, share):
    """Nobody listens."""


@pytest.fixture
def small(monkeypatch):
    """Buckets, leaves and groups of a few points, so that few points need many of them."""
    monkeypatch.setattr(tree, "BUCKET_SIZE", 40)
    monkeypatch.setattr(tree, "LEAF_SIZE", 6)
    monkeypatch.setattr(tree, "GROUP_SIZE", 32)


@pytest.fixture
def little_room(monkeypatch):
    """Scratch that is filled many times over."""
    monkeypatch.setattr(tree_scratch, "MOST", tree_scratch.BLOCK + 10)


def cluster(X, eps, min_samples, weights=None, jobs=1):
    return tree.cluster(ArrayPoints(X), eps, min_samples, weights, jobs, quiet)


def assert_as_defined(X, eps, min_samples, weights=None):
    labels, core = brute(X, eps, min_samples, weights)
    found = cluster(X, eps, min_samples, weights)
    np.testing.assert_array_equal(found.core, core)
    np.testing.assert_array_equal(found.labels, labels)


# ---------------------------------------------------------------------- data
def spread(random, n, d):
    return random.normal(size=(n, d))


def few_values(random, n, d):
    """Counters: mostly zero, ties everywhere."""
    return np.log1p(random.poisson(0.4, (n, d)).astype(float))


def all_equal(random, n, d):
    return np.full((n, d), random.normal())


def ever_closer(random, n, d):
    """Halving parts one point after the other, as far as numbers go."""
    return 2.0 ** -random.integers(0, 900, (n, 1)) * np.ones(d)


def one_far_away(random, n, d):
    X = random.normal(size=(n, d))
    X[random.integers(n)] = 1e12
    return X


SHAPES = (spread, few_values, all_equal, ever_closer, one_far_away)


# ---------------------------------------------------------------------- nodes
@MANY
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from(SHAPES),
    n=st.integers(1, 700),
    d=st.sampled_from([1, 4, 7]),
    eps=st.sampled_from([1e-3, 0.5, 3.0]),
)
def test_a_node_bounds_its_points_and_leaves_are_cells_or_hold_few(small, seed, shape, n, d, eps):
    X = shape(np.random.default_rng(seed), n, d)
    grown = tree.grow(ArrayPoints(X, part_rows=100), eps, 1, quiet)
    np.testing.assert_array_equal(np.arange(n), np.sort(grown.rows))
    np.testing.assert_array_equal(X[grown.rows].T, grown.columns)
    end = 0
    for node in range(len(grown.skip)):
        start, stop = grown.starts[node], grown.stops[node]
        own = grown.columns[:, start:stop]
        np.testing.assert_array_equal(
            np.concatenate([own.min(axis=1), own.max(axis=1)]), grown.boxes[node]
        )
        if grown.skip[node] > node + 1:
            left, right = node + 1, grown.skip[node + 1]
            assert grown.skip[right] == grown.skip[node]
            assert (start, stop) == (grown.starts[left], grown.stops[right])
            assert grown.stops[left] == grown.starts[right]
        else:
            assert start == end
            end = stop
            if stop - start > tree.LEAF_SIZE:
                assert squared_distances(own.T, own.T).max() <= eps * eps
    assert n == end


@pytest.mark.parametrize("shape", SHAPES)
def test_a_cut_parts_all_points(shape):
    X = shape(np.random.default_rng(1), 5000, 4)
    grown = tree.grow(ArrayPoints(X), 0.1, 1, quiet)
    subtrees, above = cut(grown, 300, math.inf)
    np.testing.assert_array_equal(grown.stops[subtrees[:-1]], grown.starts[subtrees[1:]])
    assert (grown.starts[subtrees[0]], grown.stops[subtrees[-1]]) == (0, 5000)
    assert not set(above) & set(subtrees)


@MANY
@given(values=st.lists(st.sampled_from([-3.0, -1.0, 0.0, 0.5, 2.0, 7.0]), min_size=2))
def test_the_middle_value_parts_most_evenly(values):
    values = np.array([*values, 9.0, -9.0])
    shares = {value: abs(2 * (values <= value).sum() - len(values)) for value in values.tolist()}
    assert shares[middle_value(values.copy())] == min(shares.values())
    assert middle_value(values.copy()) < 9.0


# ---------------------------------------------------------------------- scratch
@MANY
@given(
    seed=st.integers(0, 10**6),
    d=st.sampled_from([1, 2, 4, 5, 7, 8, 13]),
    width=st.sampled_from([0.01, 1.0, 30.0, 1e4]),
    shift=st.sampled_from([0.0, 1e6]),
    eps=st.sampled_from([1e-6, 1.0, 1e5]),
)
def test_what_single_precision_proves_is_so(seed, d, width, shift, eps):
    """For pairs at distances around eps, to the last digit, in a box of many eps."""
    random = np.random.default_rng(seed)
    towards = random.normal(size=(200, d))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    A = shift + eps * width * random.uniform(-1, 1, (200, d))
    B = A + eps * towards * (1 + random.normal(size=(200, 1)) * 10.0 ** -random.integers(3, 16))
    columns = np.ascontiguousarray(np.concatenate([A, B]).T)
    box = np.concatenate([columns.min(axis=1), columns.max(axis=1)])[None]
    frame = frame_of(box, 0, eps)
    scratch = new_scratch(tree.grow(ArrayPoints(columns.T), eps, 1, quiet))
    assert not frame.rough
    for i in range(200):
        to_frame(columns, i, frame, scratch.point)
        scratch.near[0, :, 0] = scratch.point
        to_frame(columns, 200 + i, frame, scratch.point)
        squares(scratch.near[0], np.uintp(0), np.uintp(1), scratch.point, scratch.sums)
        within = squared_distances(A[i : i + 1], B[i : i + 1])[0, 0] <= eps * eps
        assert within or scratch.sums[0] > frame.low
        assert not within or scratch.sums[0] <= frame.high


@pytest.mark.parametrize("eps", [1e-12, 1e-160, 1e160])
def test_a_group_beyond_single_precision_is_rough(eps):
    """A box of 10¹² eps, and squares that float64 does not hold."""
    assert frame_of(np.array([[0.0, 0.0, 1.0, 1.0]]), 0, eps).rough


@MANY
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 300),
    exponent=st.sampled_from([3, 6, 9]),
    min_samples=st.sampled_from([1, 2, 4]),
)
def test_pairs_are_told_apart_where_leaves_are_huge_against_eps(
    small, seed, n, exponent, min_samples
):
    """Places far from each other, each with two or three points about eps = 1 apart."""
    random = np.random.default_rng(seed)
    places = random.integers(-(10**exponent), 10**exponent, (n, 5)).astype(float)
    X = places[random.integers(0, max(1, n // 3), n)] + random.integers(0, 2, (n, 5)) / math.sqrt(2)
    assert_as_defined(X, 1.0, min_samples)


@MANY
@given(
    seed=st.integers(0, 10**6),
    d=st.sampled_from([2, 5, 9]),
    share=st.sampled_from([0.05, 0.2, 0.6]),
    min_samples=st.sampled_from([3, 150, 600]),
    weighted=st.booleans(),
)
def test_candidates_that_do_not_fit_are_counted_in_turn(
    small, little_room, seed, d, share, min_samples, weighted
):
    random = np.random.default_rng(seed)
    X = random.normal(size=(900, d)) * random.choice([0.3, 1.0], (900, 1))
    eps = float(np.sqrt(np.quantile(squared_distances(X[:100], X[100:200]), share)))
    assert_as_defined(X, eps, min_samples, random.integers(0, 3, 900) if weighted else None)


# ---------------------------------------------------------------------- counting
@pytest.mark.parametrize(("min_samples", "core"), [(5004, 5000), (5005, 0)])
def test_a_large_cell_counts_itself_and_its_surroundings_once(min_samples, core):
    """More equal points than a group holds, and two points on either side within eps of them."""
    X = np.zeros((5004, 4))
    X[[17, 1234], 0] = 0.9
    X[[18, 4321], 0] = -0.9
    assert core == cluster(X, 1.0, min_samples).core.sum()


# ---------------------------------------------------------------------- joining
@pytest.mark.parametrize("d", [2, 4, 7])
@pytest.mark.parametrize("apart", [1.0001, 1 + 1e-15, 1.0])
def test_two_dense_blobs_are_one_where_their_nearest_points_are_neighbours(d, apart):
    """Two balls, each an adaptive cell of thousands of points, that face each other."""
    random = np.random.default_rng(d)
    ball = random.normal(size=(6000, d))
    ball *= 0.24 * random.random((6000, 1)) / np.linalg.norm(ball, axis=1, keepdims=True)
    ball[:, 0] = -np.abs(ball[:, 0])  # none beyond the one that faces the other
    ball[4321] = 0
    mirrored = -ball
    mirrored[:, 0] += apart
    found = cluster(np.concatenate([ball, mirrored]), 1.0, 5, jobs=2)
    assert found.core.all()
    assert (1 if apart <= 1 else 2) == found.statistics["clusters"]


def test_a_crowd_at_one_place_joins_what_is_within_reach():
    """A cell of equal points, which nothing can part, between two others of its kind."""
    crowd = np.repeat([[0.0, 0, 0, 0], [1.0, 0, 0, 0], [2.5, 0, 0, 0]], 5000, axis=0)
    found = cluster(crowd, 1.0, 5)
    assert [0, 0, 1] == found.labels[::5000].tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [4, 5, 6, 7, 8])
def test_every_number_of_columns_is_counted_as_defined(d, dtype):
    """Four to seven are written out one by one."""
    random = np.random.default_rng(d)
    X = (random.normal(size=(1500, d)) * random.exponential(size=(1500, 1))).astype(dtype)
    eps = float(np.sqrt(np.quantile(squared_distances(X[:200], X[200:400]), 0.02)))
    assert_as_defined(X, eps, 8)
    assert_as_defined(X, 3 * eps, 200)
