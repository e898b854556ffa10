"""What a clustering will need: an upper bound of what it takes, and a refusal with figures."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from thresher.cluster import DBSCAN, balls, dbscan, forecast, grid, tree
from thresher.cluster.forecast import check_memory, needed_memory, pair_seconds
from thresher.cluster.points import ArrayPoints
from thresher.errors import DataError


@pytest.mark.parametrize("min_samples", [1, 5, 1000])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(("engine", "d"), [(grid, 2), (tree, 5), (balls, 17)])
def test_an_engine_takes_no_more_than_was_foretold(engine, d, spread, min_samples):
    """All in a cell, or each in its own; all core, or none."""
    X = spread * np.random.default_rng(0).random((10_000, d))
    found = engine.cluster(ArrayPoints(X), 0.5, min_samples, None, 1, lambda name, share: None)
    name = found.statistics["engine"]
    assert found.statistics["bytes"] <= needed_memory(name, len(X), d, 8)


@pytest.mark.parametrize("engine", ["grid", "tree", "balls"])
def test_the_need_grows_with_rows_columns_and_precision(engine):
    least = needed_memory(engine, 1000, 2, 4)
    assert needed_memory(engine, 2000, 2, 4) > least
    assert needed_memory(engine, 1000, 3, 4) > least
    assert needed_memory(engine, 1000, 2, 8) > least


def test_every_thread_of_the_tree_has_its_scratch():
    """As long as there are points enough for all of them."""
    few, many = (needed_memory("tree", rows, 5, 8, jobs=64) for rows in (1000, 10**6))
    assert few == needed_memory("tree", 1000, 5, 8)
    assert many > needed_memory("tree", 10**6, 5, 8, jobs=2) > needed_memory("tree", 10**6, 5, 8)


def test_time_is_that_of_all_pairs():
    """Four times for twice the rows, half for twice the threads."""
    assert 4 * pair_seconds(10**6, 64, 2) == pair_seconds(2 * 10**6, 64, 2)
    assert 2 * pair_seconds(10**6, 64, 2) == pair_seconds(10**6, 64, 1)


def test_where_the_system_does_not_say_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(forecast, "available_memory", lambda: None)
    check_memory("grid", ArrayPoints(np.zeros((1000, 2))))


@pytest.mark.parametrize("d", [2, 5, 20])
def test_what_cannot_fit_is_refused_with_both_figures(d, monkeypatch):
    """Before anything is sorted; with what helps."""
    monkeypatch.setattr(forecast, "available_memory", lambda: 1000)
    X = np.random.default_rng(0).random((100_000, d))
    with pytest.raises(DataError, match=r"100,000 points in .* may need 0\.\d GiB, but 0\.0 GiB"):
        DBSCAN().fit(X)
    with pytest.raises(DataError, match="Take float32, fewer columns or rows, or rho > 0"):
        DBSCAN().fit(X)


def test_a_long_work_is_told_beforehand(monkeypatch):
    """Once, at the line that asks for it; no short one is."""
    X = np.random.default_rng(0).random((50, 20))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DBSCAN().fit(X)
    monkeypatch.setattr(dbscan, "pair_seconds", lambda rows, dimension, jobs: 6000.0)
    with pytest.warns(
        UserWarning, match="50 points in 20 dimensions may take up to 100 min"
    ) as told:
        DBSCAN().fit(X)
    assert [__file__] == [warning.filename for warning in told]
