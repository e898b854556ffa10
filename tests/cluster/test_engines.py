"""Every engine gives the answer of the definition, whatever the points look like."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import cluster as scikit_learn

from cluster.oracle import brute
from thresher.cluster import balls, grid, tree
from thresher.cluster.points import ArrayPoints
from thresher.errors import ParameterError

ENGINES = {"grid": grid, "tree": tree, "balls": balls}
DIMENSIONS = {"grid": (1, 2, 3), "tree": (1, 2, 3, 4, 5, 13), "balls": (1, 2, 3, 4, 5, 17)}
PLANE = {"grid": 2, "tree": 2, "balls": 17}  # columns that plane figures are given

MANY = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
some_engine = pytest.mark.parametrize("engine", sorted(ENGINES))


@pytest.fixture
def small(monkeypatch):
    """Buckets, leaves, groups and balls of a few points, so that few points need many of them."""
    monkeypatch.setattr(grid, "BUCKET", 16)
    monkeypatch.setattr(tree, "BUCKET_SIZE", 40)
    monkeypatch.setattr(tree, "LEAF_SIZE", 6)
    monkeypatch.setattr(tree, "GROUP_SIZE", 32)
    monkeypatch.setattr(balls, "BALL_ROWS", 12)
    monkeypatch.setattr(balls, "MOST_ROWS", 30)


def cluster(engine, X, eps, min_samples, weights=None, jobs=1, part_rows=65_536, phase=None):
    points = ArrayPoints(np.asarray(X), part_rows)
    hear = phase or (lambda name, share: None)
    return ENGINES[engine].cluster(points, eps, min_samples, weights, jobs, hear)


def assert_as_defined(engine, X, eps, min_samples, weights=None, **how):
    labels, core = brute(X, eps, min_samples, weights)
    found = cluster(engine, X, eps, min_samples, weights, **how)
    np.testing.assert_array_equal(found.core, core)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.labels.dtype == np.int32
    assert found.core.dtype == np.bool_


def flat(engine, X):
    """A figure of the plane in as many columns as the engine is made for."""
    X = np.asarray(X, np.float64)
    rest = PLANE[engine] - X.shape[1]
    return np.pad(X, ((0, 0), (rest // 2, rest - rest // 2)))


# ---------------------------------------------------------------------- data
def uniform(random, n, d):
    return random.random((n, d))


def blobs(random, n, d):
    centres = 3 * random.normal(size=(4, d))[random.integers(0, 4, n)]
    return centres + random.choice([0.01, 0.4]) * random.normal(size=(n, d))


def walk(random, n, d):
    """A seed spreader: points around a place that moves on, and now and then jumps."""
    jumps = random.random((n, 1)) < 0.02
    steps = np.where(jumps, 10.0, 0.3) * random.normal(size=(n, d))
    return np.cumsum(steps, axis=0) + 0.2 * random.normal(size=(n, d))


def repeated(random, n, d):
    some = random.random((max(1, n // 4), d))
    return some[random.integers(0, len(some), n)]


def line(random, n, d):
    return np.outer(random.normal(size=n), random.normal(size=d))


def far_flung(random, n, d):
    return random.standard_cauchy((n, d))


SHAPES = (uniform, blobs, walk, repeated, line, far_flung)


def distance_at(X, share):
    """A distance that this share of the pairs of points have at most: one of theirs, exactly eps
    up to rounding; 1 where all are equal."""
    X = np.asarray(X[:150], np.float64)
    if len(X) < 2:
        return 1.0
    pairs = np.triu_indices(len(X), 1)
    distances = np.sqrt(((X[pairs[0]] - X[pairs[1]]) ** 2).sum(axis=1))
    return float(np.quantile(distances, share, method="nearest")) or 1.0


# ---------------------------------------------------------------------- exactness
@some_engine
@MANY
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from(SHAPES),
    n=st.integers(1, 300),
    which=st.integers(0, 5),
    share=st.sampled_from([0.003, 0.02, 0.1, 0.5, 1.0]),
    min_samples=st.sampled_from([1, 2, 4, 10, 60]),
    shift=st.sampled_from([0.0, 1e6, -3e5]),
    constant=st.booleans(),
)
def test_any_points_are_clustered_as_defined(
    engine, small, seed, shape, n, which, share, min_samples, shift, constant
):
    d = DIMENSIONS[engine][which % len(DIMENSIONS[engine])]
    random = np.random.default_rng(seed)
    X = shape(random, n, d) + shift
    if constant:
        X[:, random.integers(d)] = 0.1
    assert_as_defined(engine, X, distance_at(X, share), min_samples)


@some_engine
@MANY
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 300),
    width=st.integers(1, 9),
    which=st.integers(0, 5),
    squared_eps=st.integers(1, 6),
    min_samples=st.sampled_from([1, 2, 3, 5, 9]),
    step=st.sampled_from([1.0, 0.1]),
    shift=st.sampled_from([0.0, 1e6]),
)
def test_distances_of_exactly_eps_on_lattices_are_decided_by_the_definition(
    engine, small, seed, n, width, which, squared_eps, min_samples, step, shift
):
    """A step of 0.1 is no number of float64: rounding decides, and the same way everywhere."""
    d = DIMENSIONS[engine][which % len(DIMENSIONS[engine])]
    X = np.random.default_rng(seed).integers(0, width, (n, d)) * step + shift
    assert_as_defined(engine, X, math.sqrt(squared_eps) * step, min_samples)


@some_engine
@pytest.mark.parametrize("squared_eps", [1, 2])
def test_a_lattice_hangs_together_at_its_own_distance_and_not_below(engine, squared_eps):
    """Neighbours of a square lattice at 1: four; with the diagonals at √2: eight."""
    X = flat(engine, np.stack(np.meshgrid(np.arange(20), np.arange(20)), -1).reshape(-1, 2))
    neighbours = {1: 5, 2: 9}[squared_eps]  # with itself
    eps = math.sqrt(squared_eps)
    found = cluster(engine, X, eps, neighbours)
    assert 18 * 18 == found.core.sum()
    assert 0 == found.labels[found.core].max()
    assert 0 == cluster(engine, X, math.nextafter(eps, 0), neighbours).core.sum()


@some_engine
@MANY
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 300),
    step=st.sampled_from([None, 0.25, 60, 100]),
    least=st.integers(0, 12),
    shape=st.sampled_from(SHAPES),
)
def test_neighbours_are_weighed_as_defined(engine, small, seed, n, step, least, shape):
    """Whole weights as integers, in a byte or beyond one with their sums, and fractions."""
    random = np.random.default_rng(seed)
    X = flat(engine, shape(random, n, 2))
    weights = random.integers(0, 5, n)
    enough = float(least or 1)
    if step:  # halfway between two sums, so that the order of the additions cannot decide
        weights, enough = weights * step, step * (least + 0.5)
    assert_as_defined(engine, X, distance_at(X, 0.05), enough, weights)


@some_engine
@MANY
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 300),
    shape=st.sampled_from(SHAPES),
    share=st.sampled_from([0.01, 0.1, 0.5]),
    shift=st.sampled_from([0.0, 1e4]),
)
def test_distances_of_short_floats_are_double(engine, small, seed, n, shape, share, shift):
    X = (flat(engine, shape(np.random.default_rng(seed), n, 2)) + shift).astype(np.float32)
    assert_as_defined(engine, X, distance_at(X, share), 4)


@some_engine
def test_a_pair_is_told_apart_beyond_single_precision(engine):
    X = flat(engine, [[0, 0], [1 + 1e-15, 0], [10, 0], [11, 0]])
    assert [-1, -1, 0, 0] == cluster(engine, X, 1.0, 2).labels.tolist()


@pytest.mark.parametrize(
    ("engine", "d"),
    [("grid", 1), ("grid", 2), ("grid", 3), ("tree", 2), ("tree", 5), ("balls", 5), ("balls", 17)],
)
def test_thousands_of_points_are_clustered_as_by_scikit_learn(engine, d):
    """Its numbers of clusters included; its border points may lie in another of their clusters."""
    random = np.random.default_rng(d)
    centres = random.normal(size=(12, d))[random.integers(0, 12, 4000)]
    X = centres + 0.15 * random.normal(size=(4000, d)) * random.exponential(size=(4000, 1))
    eps = distance_at(X, 0.04)
    expected = scikit_learn.DBSCAN(eps=eps, min_samples=12).fit(X)
    found = cluster(engine, X, eps, 12, jobs=2)
    core = np.flatnonzero(found.core)
    np.testing.assert_array_equal(expected.core_sample_indices_, core)
    np.testing.assert_array_equal(expected.labels_[core], found.labels[core])
    np.testing.assert_array_equal(expected.labels_ < 0, found.labels < 0)
    assert 0 < len(core) < 4000


# ---------------------------------------------------------------------- closed forms
@some_engine
@pytest.mark.parametrize("eps", [0.995, 1.0, 1.01])
def test_clusters_do_not_meet_at_a_border_point(engine, eps):
    """Point 4 is no core point, but within reach of core point 3, and close to core point 5."""
    X = [
        (-0.3, 0.3), (-0.3, 0.31), (-0.3, 0.29), (0.6, 0.3),
        (1.45, 0.3), (2.1, 0.3), (2.9, 0.3), (2.9, 0.31),
    ]  # fmt: skip
    found = cluster(engine, flat(engine, X), eps, 4)
    assert [0, 1, 2, 3, 5] == np.flatnonzero(found.core).tolist()
    assert [0, 0, 0, 0, 1, 1, 1, 1] == found.labels.tolist()


@some_engine
@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0]])
def test_a_border_point_between_two_core_points_joins_the_lexicographically_first(engine, order):
    X = flat(engine, [(0, 0), (-1, 0), (-1.5, 0), (-1.5, 0.1), (1, 0), (1.5, 0), (1.5, 0.1)])
    labels = np.empty(7, np.int32)
    labels[order] = cluster(engine, X[order], 1.0, 4).labels
    assert labels[0] == labels[1] != labels[4]


@some_engine
def test_clusters_are_numbered_by_their_lowest_core_row(engine):
    """Row 0 is a border point of the cluster that comes second."""
    X = flat(engine, [(9.45, 0), (0, 0), (0.1, 0), (0.2, 0), (10, 0), (10.1, 0), (10.2, 0), (5, 5)])
    assert [1, 0, 0, 0, 1, 1, 1, -1] == cluster(engine, X, 0.6, 3).labels.tolist()


@some_engine
def test_one_point_is_a_cluster_only_if_it_need_have_no_neighbour(engine):
    X = flat(engine, [(3, 4)])
    assert [0] == cluster(engine, X, 0.5, 1).labels.tolist()
    assert [0] == cluster(engine, X, 0.5, 0.3).labels.tolist()
    assert [-1] == cluster(engine, X, 0.5, 1.5).labels.tolist()


@some_engine
@pytest.mark.parametrize(
    ("eps", "min_samples", "labels"),
    [(5, 1, [0, 0]), (5, 2, [0, 0]), (5, 3, [-1, -1]), (4.999, 1, [0, 1]), (4.999, 2, [-1, -1])],
)
def test_two_points_are_one_cluster_two_or_none(engine, eps, min_samples, labels):
    """At a distance of 5."""
    X = flat(engine, [(0, 0), (3, 4)])
    assert labels == cluster(engine, X, float(eps), min_samples).labels.tolist()


@some_engine
@pytest.mark.parametrize("n", [300, 20_000])
def test_equal_points_are_one_cluster_or_noise(engine, n):
    X = np.full((n, PLANE[engine]), 0.1)
    all_core = cluster(engine, X, 1e-9, n)
    assert all_core.core.all()
    assert not all_core.labels.any()
    none_core = cluster(engine, X, 1e-9, n + 1)
    assert not none_core.core.any()
    assert (none_core.labels == -1).all()


@some_engine
def test_a_crowd_of_one_too_few_is_noise(engine):
    """All within eps of all, in more groups and cells than one."""
    n = 10_000
    X = np.random.default_rng(0).random((n, PLANE[engine]))
    eps = 1.001 * math.sqrt(PLANE[engine])
    assert cluster(engine, X, eps, n).core.all()
    assert not cluster(engine, X, eps, n + 1).core.any()


@some_engine
@pytest.mark.parametrize("eps", [1e-300, 1e-100, 1e100, 1e300])
def test_eps_may_be_tiny_or_huge(engine, eps):
    """The grid refuses where cells would have no numbers; no one is wrong."""
    X = np.repeat(flat(engine, np.random.default_rng(5).random((50, 2))), 2, axis=0)
    if engine == "grid" and eps < 1:
        with pytest.raises(ParameterError, match="too small for the grid"):
            cluster(engine, X, eps, 2)
        X = np.repeat(X[:1], 100, axis=0)
    with np.errstate(over="ignore", under="ignore"):
        assert_as_defined(engine, X, eps, 2)


@some_engine
def test_coordinates_may_be_as_large_as_numbers_are(engine):
    """Their differences are beyond float64: far apart, and no fault."""
    X = flat(engine, [(-1.5e308, 0), (-1.5e308, 0), (1.5e308, 0), (0, 0), (0, 1)])
    if engine == "grid":
        with pytest.raises(ParameterError, match="too small for the grid"):
            cluster(engine, X, 1.0, 2)
        return
    assert [0, 0, -1, 1, 1] == cluster(engine, X, 1.0, 2).labels.tolist()


# ---------------------------------------------------------------------- invariance
def counted(found):
    return [found.statistics[name] for name in ("engine", "cells", "core_cells", "clusters")]


@some_engine
@pytest.mark.parametrize("weighted", [False, True])
def test_labels_do_not_depend_on_threads_parts_or_the_order_of_rows(engine, small, weighted):
    """Numbers follow the rows; which points are together, borders included, does not."""
    random = np.random.default_rng(7)
    X = flat(engine, np.concatenate([walk(random, 1200, 2), random.normal(size=(300, 2))]))
    X[-200:] = X[:200]
    weights = random.integers(0, 4, len(X)) if weighted else None
    eps = distance_at(X, 0.02)
    alone = cluster(engine, X, eps, 6, weights)
    assert 1 < len(set(alone.labels)) < len(X)
    assert 0 < alone.core.sum() < (alone.labels >= 0).sum()
    for jobs, part_rows in ((1, 7), (2, 65_536), (3, 100)):
        shared = cluster(engine, X, eps, 6, weights, jobs=jobs, part_rows=part_rows)
        np.testing.assert_array_equal(alone.labels, shared.labels)
        np.testing.assert_array_equal(alone.core, shared.core)
        assert counted(alone) == counted(shared)
    order = random.permutation(len(X))
    moved = cluster(engine, X[order], eps, 6, None if weights is None else weights[order])
    np.testing.assert_array_equal(alone.core[order], moved.core)
    pairs = set(zip(alone.labels[order].tolist(), moved.labels.tolist(), strict=True))
    assert len(pairs) == len(set(alone.labels)) == len(set(moved.labels))
    assert (-1, -1) in pairs


@some_engine
@pytest.mark.parametrize(
    "lay",
    [
        np.asfortranarray,
        lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
        lambda X: np.repeat(X, 2, axis=1)[:, ::2],
        lambda X: np.asfortranarray(np.repeat(X, 3, axis=0))[::3],
    ],
    ids=["columns", "turned", "every other", "thinned columns"],
)
def test_rows_may_lie_in_memory_in_any_way_and_are_left_alone(engine, lay):
    """And may be read-only."""
    X = flat(engine, blobs(np.random.default_rng(10), 400, 2))
    laid = lay(X)
    laid.flags.writeable = False
    eps = distance_at(X, 0.05)
    expected, found = cluster(engine, X, eps, 5), cluster(engine, laid, eps, 5)
    np.testing.assert_array_equal(expected.labels, found.labels)
    np.testing.assert_array_equal(X, laid)


@some_engine
def test_the_work_is_told_from_its_beginning_to_its_end(engine):
    """Phases come one after another; shares of each rise up to 1, by the calling thread."""
    heard = []
    X = flat(engine, walk(np.random.default_rng(3), 3000, 2))
    cluster(engine, X, 1.0, 5, part_rows=500, phase=lambda *told: heard.append(told))
    names = list(dict.fromkeys(name for name, _ in heard))
    assert names == [name for i, (name, _) in enumerate(heard) if i == 0 or heard[i - 1][0] != name]
    assert {"core points", "joining", "labels"} <= set(names)
    for name in names:
        shares = [share for told, share in heard if told == name]
        assert shares == sorted(shares)
        assert 0 <= shares[0] <= shares[-1] <= 1


@some_engine
def test_the_statistics_tell_what_was_used(engine):
    X = flat(engine, walk(np.random.default_rng(4), 3000, 2))
    found = cluster(engine, X, 0.5, 5)
    assert engine == found.statistics["engine"]
    assert found.labels.max() + 1 == found.statistics["clusters"]
    assert 0 < found.statistics["core_cells"] <= found.statistics["cells"] <= 3000
    assert found.statistics["bytes"] > X.nbytes


OVERLAPPING = """
import threading
import numpy as np
from threadpoolctl import threadpool_info
from thresher.cluster import balls
from thresher.cluster.points import ArrayPoints

def fit(hear):
    balls.cluster(ArrayPoints(np.random.default_rng(0).random((500, 17))), 0.5, 5, None, 1, hear)

def first():
    def hear(name, share):
        if not other.ident:
            other.start()
            second_begins.wait(5)  # and no second time: it may be that it waits for this one

    fit(hear)
    first_ended.set()

def second():
    def hear(name, share):
        second_begins.set()
        first_ended.wait(30)

    fit(hear)

fit(lambda name, share: None)
before = [library["num_threads"] for library in threadpool_info()]
second_begins, first_ended = threading.Event(), threading.Event()
one, other = threading.Thread(target=first), threading.Thread(target=second)
one.start()
one.join()
other.join()
print(before == [library["num_threads"] for library in threadpool_info()])
"""


def test_fits_that_overlap_give_the_threads_of_the_matrix_product_back():
    """Switched off while either fits, and on again after the last; in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", OVERLAPPING], capture_output=True, text=True, check=True
    )
    assert "True" == done.stdout.strip()
