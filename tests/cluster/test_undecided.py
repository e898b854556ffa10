"""Cells with the points of those that decide have the clusters of all points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher.cluster.dbscan import cluster_points, run_engine
from thresher.cluster.points import ArrayPoints
from thresher.cluster.row_table import RowTable, empty_slots, find, slots_of
from thresher.cluster.snapped import cube_side, snap
from thresher.cluster.undecided import bounds_of, needed_cells


def table_of(rows, weights, numbers):
    table = RowTable(rows.shape[1], weights.dtype)
    table.add(rows, weights, numbers)
    return table.rows.copy(), table.weights.copy(), table.lowest.copy()


def by_cells(X, eps, min_samples, rho, weights=None, jobs=1):
    """Labels and core marks by cells and the points that decide, and which cells those are of."""
    weights = np.ones(len(X), np.int64) if weights is None else weights
    side = cube_side(eps, X.shape[1], rho)
    snapped = snap(X, side)
    cells = table_of(snapped, weights, np.arange(len(X)))
    bounds = bounds_of(eps, side, X.shape[1], np.abs(cells[0]).max())
    if bounds.sure > 0:
        needed, undecided = needed_cells(cells[0], cells[1], bounds, min_samples, jobs)
    else:
        needed, undecided = np.ones(len(cells[0]), np.bool_), len(cells[0])
    cell_of = find(snapped, slots_of(cells[0], empty_slots(len(needed))), cells[0])
    chosen = np.flatnonzero(needed[cell_of])
    points = table_of(X[chosen], weights[chosen], chosen)
    rows, held, lowest = (
        np.concatenate([one[~needed], other]) for one, other in zip(cells, points, strict=True)
    )
    order = np.argsort(lowest)
    found = run_engine(
        ArrayPoints(rows[order]), eps, min_samples, held[order], "auto", False, jobs,
        lambda *_: None, None,
    )  # fmt: skip
    row_of = (np.cumsum(~needed) - 1)[cell_of]
    point_of = find(X[chosen], slots_of(points[0], empty_slots(len(points[0]))), points[0])
    row_of[chosen] = (~needed).sum() + point_of
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    place = place[row_of]
    return found.labels[place], found.core[place], needed, undecided


def assert_exact(X, eps, min_samples, rho, weights=None, jobs=1):
    here = cluster_points(ArrayPoints(X), eps, min_samples, weights=weights)
    labels, core, *more = by_cells(X, eps, min_samples, rho, weights, jobs)
    np.testing.assert_array_equal(here.labels, labels)
    np.testing.assert_array_equal(here.core, core)
    return more


@given(
    st.integers(0, 2**32),
    st.integers(1, 4),
    st.integers(1, 200),
    st.sampled_from([0.05, 0.3, 0.6]),
    st.integers(1, 12),
    st.booleans(),
)
def test_the_clusters_are_those_of_all_points(seed, d, n, rho, min_samples, lattice):
    """Also where many distances are eps itself, and many points equal."""
    random = np.random.default_rng(seed)
    X = random.integers(0, 9, (n, d)) / 4 if lattice else random.normal(size=(n, d))
    assert_exact(X.astype(np.float64), 0.5, min_samples, rho)


@given(st.integers(0, 2**32), st.integers(2, 3))
def test_weights_count(seed, d):
    random = np.random.default_rng(seed)
    X = random.normal(size=(150, d))
    assert_exact(X, 0.4, 3.5, 0.2, random.integers(0, 5, 150).astype(np.int64))
    assert_exact(X, 0.4, 3.5, 0.2, random.integers(0, 9, 150) / 4)


@pytest.mark.parametrize("shift", [0.0, 1e6, 1e12])
def test_far_from_the_origin(shift):
    """Where centres are rounded, down to a few bits of a cell."""
    random = np.random.default_rng(0)
    X = shift + np.round(random.normal(size=(400, 2)), 3)
    for eps in (0.05, 0.2):
        assert_exact(X, eps, 5, 0.3)


def test_apart_and_dense_nothing_needs_the_points():
    """Three tight spots: the cells know it all. A chain at eps: the points decide."""
    random = np.random.default_rng(1)
    spots = np.concatenate([at + 0.01 * random.normal(size=(200, 2)) for at in (0.0, 5.0, 9.0)])
    needed, undecided = assert_exact(spots, 0.5, 10, 0.1)
    assert not needed.any()
    assert 0 == undecided
    chain = np.arange(50.0)[:, None]
    needed, undecided = assert_exact(chain, 1.0, 2, 0.1)
    assert needed.all()
    assert 50 == undecided


def test_fewer_points_the_finer_the_cells():
    """The share that is needed grows with rho, and stays a part."""
    X = np.random.default_rng(2).normal(size=(4000, 2))
    shares = []
    for rho in (0.02, 0.1, 0.5):
        needed, _ = assert_exact(X, 0.1, 20, rho, jobs=2)
        cells = snap(X, cube_side(0.1, 2, rho))
        shares.append(needed.sum() / len(np.unique(cells, axis=0)))
    assert 0 < shares[0] < shares[1] < shares[2] <= 1


@given(st.integers(0, 2**32))
def test_a_point_between_two_clusters_goes_to_the_nearer(seed):
    """Though the centre of the other's cell is nearer to the centre of its own."""
    random = np.random.default_rng(seed)
    clumps = [[x, 0.0] + 0.05 * random.normal(size=(30, 2)) for x in (-0.8, 0.8)]
    between = random.uniform(-0.1, 0.1, (6, 2))
    X = np.concatenate([*clumps, between]) + random.uniform(0, 1, 2)
    needed, _ = assert_exact(X, 1.0, 20, 0.2)
    assert not needed.all()
