"""Points at the centres of cubes: clusters lie between those of a smaller and a larger radius."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.oracle import brute
from thresher.cluster import DBSCAN
from thresher.cluster.points import ArrayPoints
from thresher.cluster.snapped import SnappedPoints, cube_side

MANY = settings(max_examples=25, deadline=None)


@given(
    eps=st.floats(1e-150, 1e150),
    d=st.integers(1, 64),
    rho=st.floats(1e-150, 1, exclude_max=True) | st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.5]),
)
def test_the_cubes_are_the_largest_of_their_kind(eps, d, rho):
    """Their diagonal, eps over a power of two, is at most rho times eps, and more than half."""
    diagonal = cube_side(eps, d, rho) * math.sqrt(d) / eps
    halvings = round(-math.log2(diagonal))
    assert math.isclose(2.0**-halvings, diagonal, rel_tol=1e-12)
    assert rho / 2 < 2.0**-halvings <= rho


@pytest.mark.parametrize("rho", [0.01, 0.05, 0.10])
def test_the_papers_precisions_cut_a_cell_as_the_paper_does(rho):
    """h = 1 + ⌈log₂(1 / ρ)⌉ levels: 128, 32 and 16 slices a side."""
    slices = {0.01: 128, 0.05: 32, 0.10: 16}[rho]
    assert 1 / math.sqrt(2) / slices == cube_side(1.0, 2, rho)


def test_points_move_to_the_centres_of_their_cubes():
    """By half a diagonal at most; cubes are half-open, below zero as above."""
    X = np.array([[0.0, 0.24], [-0.01, 0.25], [0.9, -0.25]])
    snapped = SnappedPoints(ArrayPoints(X), 0.25)
    assert [[0.125, 0.125], [-0.125, 0.375], [0.875, -0.125]] == snapped.part(0).tolist()
    assert [[0.875, -0.125]] == snapped.take(np.array([2])).tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points_beyond_all_cubes_stay(dtype):
    """Where the steps of their own numbers are coarser, or cubes too small for a number."""
    X = np.array([[1e30, -1e30], [0.5, 3.0]], dtype)
    assert X[0].astype(float).tolist() == SnappedPoints(ArrayPoints(X), 1e-3).part(0)[0].tolist()
    for side in (0.0, 5e-324):
        assert X.astype(float).tolist() == SnappedPoints(ArrayPoints(X), side).part(0).tolist()


@MANY
@given(
    seed=st.integers(0, 10**6),
    d=st.integers(1, 2),
    rho=st.sampled_from([0.01, 0.05, 0.1, 0.5]),
    min_samples=st.sampled_from([1, 3, 8]),
    eps=st.sampled_from([0.05, 0.2, 1.0]),
)
def test_clusters_lie_between_those_of_the_smaller_and_the_larger_radius(
    seed, d, rho, min_samples, eps
):
    """Core points, and which of them are together: inclusions without a tolerance."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(5, d))[random.integers(0, 5, 300)]
    X += 0.1 * random.standard_cauchy((300, d))
    loose = DBSCAN(eps, min_samples=min_samples, rho=rho).fit(X)
    inner, inner_core = brute(X, (1 - rho) * eps, min_samples)
    outer, outer_core = brute(X, (1 + rho) * eps, min_samples)
    core = np.zeros(300, bool)
    core[loose.core_sample_indices_] = True
    assert (inner_core <= core).all()
    assert (core <= outer_core).all()
    for cluster in range(inner.max() + 1):
        assert 1 == len(set(loose.labels_[inner_core & (inner == cluster)]))
    for cluster in range(loose.n_clusters_):
        assert 1 == len(set(outer[core & (loose.labels_ == cluster)]))


@MANY
@given(seed=st.integers(0, 10**6), rho=st.sampled_from([0.1, 0.5, 0.9]), weighted=st.booleans())
def test_clusters_are_those_of_the_centres_with_the_weights_of_their_points(seed, rho, weighted):
    """The definition; there are as many distinct rows as cubes that hold points."""
    random = np.random.default_rng(seed)
    X = 3 * random.random((300, 2))
    weights = random.integers(1, 4, 300) if weighted else None
    centres = SnappedPoints(ArrayPoints(X), cube_side(0.3, 2, rho)).part(0)
    labels, core = brute(centres, 0.3, 7, weights)
    found = DBSCAN(0.3, min_samples=7, rho=rho).fit(X, sample_weight=weights)
    np.testing.assert_array_equal(labels, found.labels_)
    np.testing.assert_array_equal(np.flatnonzero(core), found.core_sample_indices_)
    assert len(np.unique(centres, axis=0)) == found.statistics_["distinct_rows"]


@pytest.mark.parametrize("eps", [1e-300, 5e-324, 1e300])
@pytest.mark.parametrize("rho", [0.3, 5e-324])
def test_any_radius_can_be_loosened(eps, rho):
    """Where cubes have no size, points stay; where there is one cube, there is one cluster."""
    X = np.repeat(np.random.default_rng(0).random((50, 2)), 2, axis=0)
    found = DBSCAN(eps, min_samples=2, rho=rho).fit(X)
    assert (1 if eps > 1 else 50) == found.n_clusters_
