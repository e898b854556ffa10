"""Data others have published: scikit-learn's clusters, the known indices, the authors' counts."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn import cluster as scikit_learn
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from thresher.cluster import DBSCAN

pytestmark = pytest.mark.realdata

NAMES = (
    "2d-20c-no0", "3-spiral", "D31", "R15", "aggregation", "atom", "birch-rg1", "chainlink",
    "cluto-t4-8k", "cluto-t7-10k", "complex9", "cure-t1-2000n-2D", "diamond9", "disk-6000n", "dpb",
    "elly-2d10c13s", "engytime", "flame", "hepta", "jain", "mopsi-joensuu", "s-set1", "s-set2",
    "twodiamonds",
)  # fmt: skip

KNOWN = {  # eps, min_samples, adjusted Rand index of exact DBSCAN: the README of the data
    "cluto-t4-8k": (8.5, 16, 0.972),
    "cluto-t7-10k": (10.0, 12, 0.980),
    "complex9": (14.0, 8, 0.997),
    "3-spiral": (3.0, 5, 1.000),
}


def points(name):
    """A file of points of the data."""
    path = Path(os.environ.get("THRESHER_DATA", "/nowhere")) / "points" / name
    if not path.exists():
        pytest.skip("set THRESHER_DATA to the folder that holds points/")
    return np.load(path)


@pytest.fixture(scope="module")
def benchmark():
    """24 sets, X and y of each."""
    return points("clustering_benchmark.npz")


@pytest.fixture(scope="module")
def examples():
    """The three example inputs of the authors of RP-DBSCAN, 100 000 points each."""
    return points("rp_dbscan_examples.npz")


def assert_scikit_learns(X, eps, min_samples):
    """Core points, noise, and the numbers of the clusters of core points."""
    expected = scikit_learn.DBSCAN(eps=eps, min_samples=min_samples).fit(X.astype(np.float64))
    found = DBSCAN(eps, min_samples=min_samples).fit(X)
    core = expected.core_sample_indices_
    np.testing.assert_array_equal(core, found.core_sample_indices_)
    np.testing.assert_array_equal(expected.labels_[core], found.labels_[core])
    np.testing.assert_array_equal(expected.labels_ < 0, found.labels_ < 0)
    assert 0 < len(core)
    return found


def test_all_sets_are_named(benchmark):
    assert set(NAMES) == {key.split("/")[0] for key in benchmark.files}


@pytest.mark.parametrize("name", NAMES)
def test_clusters_are_scikit_learns(name, benchmark):
    """At an eps that nine of ten points have eight neighbours within."""
    X = benchmark[f"{name}/X"]
    distances, _ = NearestNeighbors(n_neighbors=8).fit(X.astype(float)).kneighbors(X.astype(float))
    assert_scikit_learns(X, float(np.quantile(distances[:, -1], 0.9)), 8)


@pytest.mark.parametrize("name", KNOWN)
def test_known_clusters_are_found(name, benchmark):
    """As well as exact DBSCAN can."""
    eps, min_samples, index = KNOWN[name]
    found = assert_scikit_learns(benchmark[f"{name}/X"], eps, min_samples)
    assert index <= round(adjusted_rand_score(benchmark[f"{name}/y"], found.labels_), 3)


def test_the_authors_example_has_the_exact_counts(examples):
    """Of cells and sub-cells those that they print; of core points and clusters the exact ones.

    They print 85 894 core points, which are all points of core cells, and are 31 points off.
    """
    X = examples["chameleon"]
    found = DBSCAN(0.02, min_samples=180).fit(X)
    assert 80_154 == len(found.core_sample_indices_)
    sizes = np.bincount(found.labels_ + 1)
    assert [8191, 8215, 12_103, 19_944, 20_805, 22_640] == sorted(sizes[1:])
    assert 8102 == sizes[0]


@pytest.mark.parametrize(
    ("name", "min_samples", "indices"),
    [
        ("chameleon", 180, (0.9999, 0.9992, 0.998)),
        ("moons", 100, (0.9999, 0.9998, 0.9998)),
        ("blobs", 100, (0.9999, 0.9996, 0.9994)),
    ],
)
def test_the_tolerance_costs_little(name, min_samples, indices, examples):
    """Adjusted Rand indices against exact, for ρ of 0.01, 0.05 and 0.10; noise is one class."""
    X = examples[name]
    exact = DBSCAN(0.02, min_samples=min_samples).fit(X)
    for rho, index in zip((0.01, 0.05, 0.1), indices, strict=True):
        loose = DBSCAN(0.02, min_samples=min_samples, rho=rho).fit(X)
        digits = 3 if index == 0.998 else 4
        assert index <= round(adjusted_rand_score(exact.labels_, loose.labels_), digits)


def test_the_authors_example_has_as_many_sub_cells(examples):
    """73 020 of them at ρ = 0.01, up to what float32 rounds otherwise."""
    found = DBSCAN(0.02, min_samples=180, rho=0.01).fit(examples["chameleon"])
    assert abs(73_020 - found.statistics_["distinct_rows"]) <= 5
