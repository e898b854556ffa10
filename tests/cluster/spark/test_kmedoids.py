"""k-medoids on Spark: what one machine finds, to the bit, whatever the partitions."""

from __future__ import annotations

import os
import signal
import sys
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from thresher.cluster.kernels import medoids as kernels
from thresher.cluster.medoid_space import METRICS, NearestMedoid, embedded
from thresher.cluster.metric import RadianPoints
from thresher.cluster.pamae import k_medoids
from thresher.cluster.points import ArrayPoints
from thresher.cluster.spark import kmedoids
from thresher.errors import DataError, ParameterError

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SAMPLED = {"n_samples": 3, "sample_size": 60}  # far fewer than there are rows


def places(n=2000, d=2, seed=0):
    """Groups that overlap, so that every round of refinement moves something."""
    random = np.random.default_rng(seed)
    centres = random.uniform(-4, 4, (12, d))
    return centres[random.integers(12, size=n)] + random.normal(size=(n, d))


def table_of(X, **more):
    """Columns x0, x1, … and others."""
    return pa.table({f"x{j}": X[:, j] for j in range(X.shape[1])} | more)


def folder_of(tmp_path, table, files=3, group=250):
    """A folder of Parquet files with small row groups, in the order of their names."""
    folder = tmp_path / "points"
    folder.mkdir()
    cuts = np.linspace(0, len(table), files + 1).astype(int)
    for place, (first, last) in enumerate(pairwise(cuts)):
        part = table.slice(first, last - first)
        pq.write_table(part, folder / f"{place:02}.parquet", row_group_size=group)
    return folder


def assert_same(found, points, k, *, metric="euclidean", weights=None, **settings):
    """What Spark found is what one machine finds in these points, bit for bit."""
    here = k_medoids(
        points, k, metric=METRICS[metric], weights=weights, seed=7, jobs=2, **settings
    )
    np.testing.assert_array_equal(here.rows, found.medoid_rows)
    np.testing.assert_array_equal(here.medoids, found.medoids)
    assert here.medoids.dtype == found.medoids.dtype
    assert here.inertia == found.inertia
    assert here.seeding_inertia == found.statistics["seeding_inertia"]
    assert here.rounds == found.statistics["rounds"]
    table = found.rows.toArrow()
    assert pa.int32() == table.schema.field("cluster").type
    np.testing.assert_array_equal(here.labels, table["cluster"].to_numpy())
    nearest = NearestMedoid(METRICS[metric], embedded(METRICS[metric], here.medoids))
    rows = np.concatenate([points.part(part) for part in range(len(points.starts) - 1)])
    distances = nearest(embedded(METRICS[metric], rows))[1]
    np.testing.assert_array_equal(distances, table["distance"].to_numpy())
    return table


@pytest.mark.parametrize("tasks", [1, 3, 16])
def test_a_folder_is_clustered_as_on_one_machine(spark, tmp_path, tasks, monkeypatch):
    """In the order of its files, with all columns, whatever the number of tasks."""
    monkeypatch.setattr("thresher.cluster.spark.source.ROWS_A_TASK", 2000 // tasks)
    if tasks == 1:
        monkeypatch.setattr("thresher.cluster.spark.source._shares", lambda blocks, tasks: [blocks])
    X = places()
    identity = np.arange(2000) + 2**33
    folder = folder_of(tmp_path, table_of(X, id=identity), group=100)
    found = kmedoids(folder, 8, columns=["x0", "x1"], random_state=7, **SAMPLED)
    table = assert_same(found, ArrayPoints(X), 8, **SAMPLED)
    assert ["x0", "x1", "id", "cluster", "distance"] == table.column_names
    np.testing.assert_array_equal(identity, table["id"].to_numpy())
    assert (2000, 8) == (found.statistics["points"], found.statistics["clusters"])


@pytest.mark.parametrize("partitions", [1, 3, 16])
def test_a_frame_is_clustered_as_on_one_machine(spark, partitions):
    """In the order of its partitions, of which some may be empty; several rounds."""
    X = places(900)
    frame = spark.createDataFrame(table_of(X)).repartition(partitions)
    if partitions == 16:
        frame = frame.where("x0 > 0 or spark_partition_id() % 2 = 0")
        frame = frame.where("spark_partition_id() % 5 > 0")
    table = frame.toArrow()
    X = np.stack([table["x0"], table["x1"]], axis=1)
    settings = {**SAMPLED, "refine_rounds": 3}
    found = kmedoids(frame, 6, random_state=7, **settings)
    assert_same(found, ArrayPoints(X), 6, **settings)
    assert found.statistics["rounds"] >= 1
