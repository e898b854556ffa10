"""The grid's own pieces: cells, the rows around them, buckets, runs, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cluster.oracle import brute, squared_distances
from thresher.cluster import DBSCAN, grid
from thresher.cluster.kernels.grid_keys import bounds, bucket_of_part, keys_of_rows
from thresher.cluster.kernels.grid_rows import row_distance, slab_distances
from thresher.cluster.points import ArrayPoints
from thresher.errors import DataError, ParameterError

MANY = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def quiet(name, share):
    """Nobody listens."""


def keys_in(X, found):
    """The key of each row."""
    keys = np.empty(len(X), np.int64)
    keys_of_rows(X, found.layout, found.axes, keys)
    return keys


def laid_out(X, eps):
    """The grid over some rows, and the key of each."""
    found = grid.lay_out(X.min(axis=0), X.max(axis=0), eps)
    return found, keys_in(X, found)


def scattered(seed, n, d, shift, lattice):
    """Points in a box of some cells, of which many lie exactly eps = 1 apart if on a lattice."""
    random = np.random.default_rng(seed)
    X = random.integers(0, 7, (n, d)) * 0.5 if lattice else 4 * random.random((n, d))
    return X + shift


# ---------------------------------------------------------------------- cells
boxes = given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 120),
    d=st.integers(1, 3),
    shift=st.sampled_from([0.0, 1e6, -1e6, 1e9]),
    lattice=st.booleans(),
)


@MANY
@boxes
def test_points_of_a_cell_are_neighbours(seed, n, d, shift, lattice):
    """By the definition, rounding included, also far from the origin."""
    X = scattered(seed, n, d, shift, lattice)
    _, keys = laid_out(X, 1.0)
    together = keys[:, None] == keys
    assert squared_distances(X, X)[together].max() <= 1.0


@MANY
@boxes
def test_neighbours_lie_in_the_rows_around_a_cell(seed, n, d, shift, lattice):
    """Every neighbour's cell is in one row, and no bound on the distance to that row forbids it."""
    X = scattered(seed, n, d, shift, lattice)
    found, keys = laid_out(X, 1.0)
    assert_neighbours_are_in_reach(X, found, keys, 1.0)


def assert_neighbours_are_in_reach(X, found, keys, eps):
    """Of every row by the definition."""
    rows = found.rows
    near = squared_distances(X, X) <= eps * eps
    slabs = np.empty((len(found.layout.shift) - 1, 3))
    for i in range(len(X)):
        middle = ((keys[i] >> rows.remainders) << rows.remainders) + rows.delta
        inside = (keys[:, None] >= middle - rows.below) & (keys[:, None] < middle + rows.above)
        assert inside.sum(axis=1).max() <= 1
        slab_distances(X[i], found.layout, found.axes, rows, slabs)
        reached = [row_distance(rows, r, slabs) <= rows.limit for r in range(len(rows.delta))]
        assert (inside & reached)[near[i]].any(axis=1).all()


@pytest.mark.parametrize("d", [1, 2, 3])
def test_rows_are_nearest_first_and_the_first_is_the_cells_own(d):
    """There are 3 to the power of d - 1."""
    rows = grid.lay_out(np.zeros(d), np.full(d, 10.0), 0.5).rows
    assert 3 ** (d - 1) == len(rows.delta) == len(set(rows.delta.tolist()))
    assert 0 == rows.delta[0]
    away = np.abs(rows.offset - 1).sum(axis=1)
    assert away.tolist() == sorted(away.tolist())


@MANY
@given(
    extents=st.lists(st.floats(0, 1e30) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=3),
    least=st.sampled_from([0.0, -1e9, 1e6]),
    eps=st.floats(1e-12, 1e12),
)
def test_cells_have_numbers_or_the_grid_refuses(extents, least, eps):
    """No key overflows: those of opposite corners, with their surroundings, stay in 62 bits."""
    corners = np.array([np.full(len(extents), least), least + np.array(extents)])
    if not grid.fits(*corners, eps):
        with pytest.raises(ParameterError, match="is too small for the grid"):
            grid.lay_out(*corners, eps)
        return
    found, keys = laid_out(corners, eps)
    rows = found.rows
    for delta in rows.delta.tolist():
        for key in keys.tolist():
            assert 0 <= key + delta - rows.below
            assert key + delta + rows.above < 2**grid.KEY_BITS
    assert keys[0] <= keys[1]


def test_an_eps_too_small_for_cells_goes_to_the_tree():
    """The answer is the same; whoever asks for the grid is told why not."""
    X = np.concatenate([np.random.default_rng(0).random((200, 2)), [[1e25, -1e25]] * 3])
    labels, core = brute(X, 0.1, 3)
    found = DBSCAN(eps=0.1, min_samples=3).fit(X)
    assert "tree" == found.statistics_["engine"]
    np.testing.assert_array_equal(labels, found.labels_)
    np.testing.assert_array_equal(np.flatnonzero(core), found.core_sample_indices_)
    with pytest.raises(ParameterError, match=r"too small for the grid.*\"auto\", or take a larger"):
        DBSCAN(eps=0.1, min_samples=3, algorithm="grid").fit(X)


# ---------------------------------------------------------------------- caps of the sphere
def cap(seed, n, width):
    """Unit vectors around any direction, at most an angle away; many equally far."""
    random = np.random.default_rng(seed)
    frame, _ = np.linalg.qr(random.normal(size=(3, 3)))
    around = np.round(random.random((n, 2)), 2) * (width, 2 * math.pi)
    tilt = np.sin(around[:, :1])
    local = (tilt * np.cos(around[:, 1:]), tilt * np.sin(around[:, 1:]), np.cos(around[:, :1]))
    X = np.concatenate(local, axis=1) @ frame
    return X / np.sqrt((X * X).sum(axis=1, keepdims=True))


def tangent(X, eps):
    """The grid under the points' cap."""
    return grid.tangent_grid(ArrayPoints(X, 50), X.min(axis=0), X.max(axis=0), eps, 2, quiet)


caps = given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 120),
    width=st.sampled_from([1e-8, 1e-4, 0.1, 0.5, 0.7]),
    share=st.floats(0.02, 1.5),
)


@MANY
@caps
def test_squares_under_a_cap_hold_neighbours_and_rows_all_of_them(seed, n, width, share):
    """As cells of three dimensions do, whatever the slope at the rim."""
    X, eps = cap(seed, n, width), max(width * share, 1e-9)
    found = tangent(X, eps)
    assume(found is not None)
    keys = keys_in(X, found)
    together = keys[:, None] == keys
    assert squared_distances(X, X)[together].max() <= eps * eps
    assert_neighbours_are_in_reach(X, found, keys, eps)


@settings(MANY, max_examples=60)
@caps
def test_a_cap_is_clustered_as_defined(seed, n, width, share):
    """On the tangent plane as in space."""
    X, eps = cap(seed, n, width), max(width * share, 1e-9)
    labels, core = brute(X, eps, 4)
    for on_sphere in (True, False):
        found = grid.cluster(ArrayPoints(X, 50), eps, 4, None, 2, quiet, on_sphere=on_sphere)
        np.testing.assert_array_equal(labels, found.labels)
        np.testing.assert_array_equal(core, found.core)


def test_a_cap_is_laid_out_on_its_plane_and_the_globe_in_space():
    """Too steep, too fine, or all around: None."""
    assert 2 == len(tangent(cap(0, 500, 0.6), 0.01).axes)
    assert tangent(cap(0, 500, 0.9), 0.01) is None
    assert tangent(cap(0, 500, 0.6), 1e-10) is None
    assert tangent(cap(0, 500, math.pi), 0.01) is None
    assert tangent(np.array([[1.0, 0, 0], [-1.0, 0, 0]]), 0.01) is None


# ---------------------------------------------------------------------- the survey
def test_the_survey_finds_the_extent_and_an_even_sample(monkeypatch):
    """Whatever the parts."""
    monkeypatch.setattr(grid, "SAMPLED", 100)
    X = np.random.default_rng(1).normal(size=(1000, 2))
    for part_rows in (7, 333, 2000):
        least, greatest, sample = grid.survey(ArrayPoints(X, part_rows), None, 2, quiet)
        assert least.tolist() == X.min(axis=0).tolist()
        assert greatest.tolist() == X.max(axis=0).tolist()
        np.testing.assert_array_equal(X[::10], sample)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (57, 1), (999, 0)])
def test_the_survey_refuses_what_is_not_finite(bad, place):
    """And names the row, on any number of threads."""
    X = np.random.default_rng(1).normal(size=(1000, 2))
    X[place] = bad
    with pytest.raises(DataError, match=rf"Row {place[0]:,} .*column {place[1]}"):
        grid.cluster(ArrayPoints(X, 100), 0.1, 5, None, 2, quiet)


def test_bounds_join_what_was_known():
    """Over several parts."""
    least, greatest = np.array([0.0, 5.0]), np.array([1.0, 6.0])
    assert bounds(np.array([[0.5, -1.0], [2.0, 5.5]]), None, least, greatest)
    assert ([0.0, -1.0], [2.0, 6.0]) == (least.tolist(), greatest.tolist())
    assert not bounds(np.array([[0.5, np.nan]]), None, least, greatest)


# ---------------------------------------------------------------------- buckets
def skewed(kind, n):
    """Points of the plane that fill a few of the slots of an even table, or stretch it."""
    random = np.random.default_rng(2)
    X = random.random((n, 2))
    if kind == "far outliers":
        X[:: n // 3] = random.normal(size=(len(X[:: n // 3]), 2)) * 1e4
    elif kind == "one slot":
        X[: n // 50] = random.random((len(X[: n // 50]), 2)) * 1e5
    elif kind == "nested":
        X *= 10.0 ** random.integers(-6, 4, (n, 1))
    return X


@pytest.mark.parametrize("kind", ["even", "far outliers", "one slot", "nested"])
@pytest.mark.parametrize("eps", [0.0001, 0.01])
def test_points_are_dealt_in_order_of_keys_and_evenly(kind, eps, monkeypatch):
    """However skewed: no bucket holds much more than its share and a cell's points."""
    monkeypatch.setattr(grid, "BUCKET", 100)
    X = skewed(kind, 20_000)
    laid, keys = laid_out(X, eps)
    buckets, count = grid.deal(X[::4].copy(), laid, len(X))
    found = np.empty(len(X), np.uint16)
    bucket_of_part(X, laid.layout, laid.axes, buckets, found)
    assert found.max() < count <= 200
    order = np.argsort(keys, kind="stable")
    assert (np.diff(found[order].astype(int)) >= 0).all()
    changes = keys[order][1:] == keys[order][:-1]
    assert (found[order][1:] == found[order][:-1])[changes].all()
    _, cell_sizes = np.unique(keys, return_counts=True)
    assert np.bincount(found).max() <= 16 * 100 + cell_sizes.max()


def test_equal_points_are_dealt_to_one_bucket():
    """Nothing to tell apart is no fault."""
    X = np.zeros((30_000, 2))
    laid, _ = laid_out(X, 1.0)
    buckets, count = grid.deal(X, laid, len(X))
    found = np.empty(len(X), np.uint16)
    bucket_of_part(X, laid.layout, laid.axes, buckets, found)
    assert 1 == len(set(found.tolist()))
    assert found[0] < count


@pytest.mark.parametrize("kind", ["even", "far outliers", "one slot", "nested"])
def test_cells_hold_all_points_in_order(kind, monkeypatch):
    """Keys ascend, rows of a cell ascend, weights go along."""
    monkeypatch.setattr(grid, "BUCKET", 100)
    X = skewed(kind, 5000)
    weights = np.arange(5000)
    points = ArrayPoints(X, 700)
    least, greatest, sample = grid.survey(points, None, 2, quiet)
    laid = grid.lay_out(least, greatest, 0.01)
    cells = grid.sort_into_cells(points, laid, sample, weights, 2, quiet)
    _, keys = laid_out(X, 0.01)
    order = np.argsort(keys, kind="stable")
    np.testing.assert_array_equal(order, cells.rows)
    np.testing.assert_array_equal(order, cells.weights)
    np.testing.assert_array_equal(X[order], np.stack(cells.columns, 1))
    expected, sizes = np.unique(keys, return_counts=True)
    np.testing.assert_array_equal(expected, cells.keys)
    np.testing.assert_array_equal(np.append(0, np.cumsum(sizes)), cells.starts)


def test_points_are_copied_once_and_weights_take_a_byte():
    """Coordinates 16, row 4, label 4, flags 2, and what cells take; nothing for core points."""
    X = np.random.default_rng(0).normal(size=(20_000, 2))
    points, weights = ArrayPoints(X), np.full(len(X), 255)
    found = grid.cluster(points, 0.3, 400, weights, 1, quiet)
    assert 0.5 < found.core.mean() < 1
    of_cells = 100 * found.statistics["cells"]
    assert found.statistics["bytes"] <= 26 * len(X) + of_cells
    assert grid.narrow(weights) == np.uint8
    assert grid.narrow(weights + 1) == np.int64
    assert grid.narrow(weights / 2) == np.float64


@pytest.mark.parametrize("kind", ["far outliers", "one slot", "nested"])
def test_skewed_points_are_clustered_as_defined(kind, monkeypatch):
    monkeypatch.setattr(grid, "BUCKET", 50)
    X = skewed(kind, 2500)
    labels, core = brute(X, 0.02, 4)
    found = grid.cluster(ArrayPoints(X, 300), 0.02, 4, None, 3, quiet)
    np.testing.assert_array_equal(labels, found.labels)
    np.testing.assert_array_equal(core, found.core)


# ---------------------------------------------------------------------- runs
@MANY
@given(
    sizes=st.lists(st.integers(0, 50), min_size=1, max_size=200).filter(sum),
    runs=st.integers(1, 64),
)
def test_runs_are_even_up_to_the_largest_piece(sizes, runs):
    """They cover everything, once and in order."""
    begins = np.append(0, np.cumsum(sizes))
    cut = grid.even_runs(begins, runs)
    assert (0, len(sizes)) == (cut[0], cut[-1])
    assert (np.diff(cut) > 0).all()
    assert len(cut) - 1 <= runs
    assert np.diff(begins[cut]).max() <= begins[-1] / runs + max(sizes)


# ---------------------------------------------------------------------- joining
@pytest.mark.parametrize("jobs", [1, 3])
def test_a_chain_through_all_runs_is_one_cluster(jobs):
    """Cut it anywhere, and it is two."""
    line = np.arange(5000) * 0.9
    X = np.stack([line * 0.6, line * 0.8], 1)
    found = grid.cluster(ArrayPoints(X), 1.0, 2, None, jobs, quiet)
    assert 1 == found.statistics["clusters"]
    cut = grid.cluster(ArrayPoints(np.delete(X, 2500, axis=0)), 1.0, 2, None, jobs, quiet)
    assert [0] * 2500 + [1] * 2499 == cut.labels.tolist()


@MANY
@given(seed=st.integers(0, 10**6), gap=st.floats(0.9, 1.1), apart=st.floats(0, 2 * math.pi))
def test_dense_crowds_touch_where_one_pair_does(seed, gap, apart):
    """Thousands of pairs, of which the nearest decides."""
    random = np.random.default_rng(seed)
    angle, radius = random.uniform(0, 2 * math.pi, 400), 0.3 * np.sqrt(random.random(400))
    one = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    other = np.roll(one, 1, axis=1) + (0.6 + gap) * np.array([math.cos(apart), math.sin(apart)])
    nearest = squared_distances(one, other).min()
    assume(abs(nearest - 1) > 1e-12)
    found = grid.cluster(ArrayPoints(np.concatenate([one, other])), 1.0, 50, None, 1, quiet)
    assert (1 if nearest <= 1 else 2) == found.statistics["clusters"]
