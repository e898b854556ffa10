"""k-medoids on Spark: what one machine finds, to the bit, whatever the partitions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.spark.faults import faulty, killed, known_to_workers, raising
from cluster.spark.frames import folder_of, table_of
from thresher.cluster.medoid_space import METRICS, NearestMedoid, embedded
from thresher.cluster.metric import RadianPoints
from thresher.cluster.pamae import k_medoids
from thresher.cluster.points import ArrayPoints
from thresher.cluster.spark import kmedoids
from thresher.cluster.spark.source import FrameSource
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


def assert_same(found, points, k, *, metric="euclidean", weights=None, **settings):
    """What Spark found is what one machine finds in these points, bit for bit."""
    here = k_medoids(points, k, metric=METRICS[metric], weights=weights, seed=7, jobs=2, **settings)
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
    monkeypatch.setattr("thresher.cluster.spark.source.ROWS_A_TASK", 1)  # a block a task
    X = places()
    identity = np.arange(2000) + 2**33
    folder = folder_of(tmp_path, table_of(X, id=identity), files=tasks)
    settings = {**SAMPLED, "n_samples": 1} if tasks == 16 else {**SAMPLED, "refine_rounds": 2}
    found = kmedoids(folder, 8, columns=["x0", "x1"], random_state=7, **settings)
    table = assert_same(found, ArrayPoints(X), 8, **settings)
    assert found.statistics["rounds"] >= 1
    assert ["x0", "x1", "id", "cluster", "distance"] == table.column_names
    np.testing.assert_array_equal(identity, table["id"].to_numpy())
    assert (2000, 8) == (found.statistics["points"], found.statistics["clusters"])


@pytest.mark.parametrize("partitions", [1, 3, 16])
def test_a_frame_is_clustered_as_on_one_machine(spark, partitions):
    """In the order of its partitions, of which some may be empty."""
    X = places(900)
    frame = spark.createDataFrame(table_of(X)).repartition(partitions)
    if partitions == 16:
        frame = frame.where("spark_partition_id() % 5 > 0")
    table = frame.toArrow()
    X = np.stack([table["x0"], table["x1"]], axis=1)
    settings = {**SAMPLED, "refine_rounds": 0 if partitions == 16 else 1}
    found = kmedoids(frame, 6, random_state=7, **settings)
    assert_same(found, ArrayPoints(X), 6, **settings)


def test_weights_count(spark, tmp_path):
    """In the draws and in the sums; rows of weight 0 get clusters."""
    X = places(1500)
    weights = 1e-9 * np.random.default_rng(1).integers(0, 4, 1500) ** 3 / 8
    folder = folder_of(tmp_path, table_of(X, w=weights))
    found = kmedoids(folder, 6, weight="w", random_state=7, **SAMPLED)
    assert_same(found, ArrayPoints(X), 6, weights=weights, **SAMPLED)


def test_a_column_of_lists_holds_the_coordinates(spark):
    """Whose float32 stays what it is."""
    X = places(700, 5).astype(np.float32)
    lists = pa.array(list(X), pa.list_(pa.float32()))
    frame = spark.createDataFrame(pa.table({"v": lists})).coalesce(2)
    found = kmedoids(frame, 5, random_state=7, **SAMPLED)
    assert_same(found, ArrayPoints(X), 5, **SAMPLED)


@pytest.mark.parametrize("metric", ["manhattan", "cosine", "haversine"])
def test_every_metric(spark, metric):
    """Positions as degrees, across the date line."""
    X = places(600, 3 if metric == "cosine" else 2)
    if metric == "haversine":
        X = np.stack([X[:, 0], 180 + X[:, 1] - 360 * (X[:, 1] > 0)], axis=1)
    frame = spark.createDataFrame(table_of(X)).coalesce(2)
    points = ArrayPoints(X)
    degrees = metric == "haversine"
    one = {**SAMPLED, "n_samples": 1}
    found = kmedoids(frame, 5, metric=metric, degrees=degrees, random_state=7, **one)
    points = RadianPoints(points) if degrees else points
    assert_same(found, points, 5, metric=metric, **one)


def test_few_rows_are_searched_as_a_whole(spark, tmp_path):
    """One is its own medoid; with fewer than k, each is one."""
    X = places(30)
    folder = folder_of(tmp_path, table_of(X), files=2, group=7)
    assert_same(kmedoids(folder, 3, random_state=7), ArrayPoints(X), 3)
    for n, k in ((1, 1), (4, 6)):
        frame = spark.createDataFrame(table_of(X[:n])).coalesce(1)
        found = kmedoids(frame, k, random_state=7)
        assert_same(found, ArrayPoints(X[:n]), k)
        assert (n, 0.0) == (len(found.medoid_rows), found.inertia)


def test_no_rows_have_no_medoids(spark):
    found = kmedoids(spark.createDataFrame(table_of(places(5)[:0])), 3)
    assert (0, 2) == found.medoids.shape
    assert (0, 0.0) == (len(found.medoid_rows), found.inertia)
    assert ["x0", "x1", "cluster", "distance"] == found.rows.toArrow().column_names


def test_rare_objects_are_found_when_no_sample_has_them(spark, tmp_path):
    """Fewer distinct rows than medoids, most of which are equal."""
    X = np.zeros((3000, 2))
    X[[5, 2900]] = [[1, 1], [2, 2]]
    found = kmedoids(folder_of(tmp_path, table_of(X)), 4, sample_size=10, random_state=0)
    assert [0, 5, 2900] == found.medoid_rows.tolist()
    assert (3, 0.0) == (found.statistics["clusters"], found.inertia)


# ---------------------------------------------------------------------- what is said of a run
def test_statistics_are_sparks_own(spark, tmp_path):
    """Nothing is shuffled, and what tasks send is far less than the points."""
    X = places(60_000, 4)
    folder = folder_of(tmp_path, table_of(X), group=20_000)
    told = []
    found = kmedoids(
        folder, 4, sample_size=100, n_samples=2, refine_rounds=0, random_state=7, tell=told.append
    )
    statistics = found.statistics
    assert 0 == statistics["shuffle_bytes"]
    assert 0 < statistics["gathered_bytes"] < X.nbytes / 50
    assert 4 == statistics["passes"]  # check, fetch, evaluate the samples and the pool
    assert [
        "checking the workers",
        "checking the rows",
        "fetching rows",
        "searching samples",
        "evaluating medoids",
        "searching the pool",
        "evaluating medoids",
    ] == told
    assert set(told) == set(statistics["seconds"])


def test_many_tasks_put_together_what_they_gathered(spark, tmp_path, monkeypatch):
    """By a shuffle of sums and candidates, with the same result."""
    monkeypatch.setattr("thresher.cluster.spark.medoid_rows.TOGETHER", 2)
    monkeypatch.setattr("thresher.cluster.spark.source.ROWS_A_TASK", 1)
    X = places()
    folder = folder_of(tmp_path, table_of(X), files=4)
    one = {**SAMPLED, "n_samples": 1}
    found = kmedoids(folder, 8, random_state=7, **one)
    assert_same(found, ArrayPoints(X), 8, **one)
    assert found.statistics["shuffle_bytes"] > 0


def test_what_was_kept_is_let_go(spark, monkeypatch):
    """A frame that the caller keeps stays kept, and no other does."""
    hold, seen = FrameSource.held, []

    def watched(source, columns):
        held = hold(source, columns)
        seen.append(held._frame)
        assert seen[-1].storageLevel.useMemory
        return held

    monkeypatch.setattr(FrameSource, "held", watched)
    kept = spark.createDataFrame(table_of(places(50))).coalesce(1).persist()
    for frame in (kept, spark.createDataFrame(table_of(places(50, seed=1))).coalesce(1)):
        kmedoids(frame, 2, random_state=7)
    assert [True, False] == [frame.storageLevel.useMemory for frame in seen]
    kept.unpersist()


# ---------------------------------------------------------------------- workers that die
@pytest.mark.parametrize("fault", [raising, killed])
def test_a_task_that_fails_is_done_again(spark, fault, monkeypatch):
    """In the middle of a pass, of every one where nothing is kept; with the same result."""
    if fault is raising:
        monkeypatch.setattr(FrameSource, "held", lambda source, columns: source)
    with known_to_workers(spark):
        X = places(500)
        frame = spark.createDataFrame(table_of(X)).coalesce(2)
        frame = frame.mapInArrow(faulty(fault), frame.schema)
        few = {**SAMPLED, "n_samples": 1, "refine_rounds": 0}
        found = kmedoids(frame, 4, random_state=7, **few)
        assert_same(found, ArrayPoints(X), 4, **few)
        passes = found.statistics["passes"] if fault is raising else 1
        assert found.statistics["failed_tasks"] >= passes


# ---------------------------------------------------------------------- what cannot be clustered
def test_a_missing_number_is_named_with_its_file_and_row_group(spark, tmp_path):
    X = places(1000)
    X[777, 1] = np.nan
    folder = folder_of(tmp_path, table_of(X), files=2, group=100)
    where = r"row 77 of row group 2 in .*01\.parquet"
    with pytest.raises(DataError, match=rf'"x1" has NaN.* in {where}'):
        kmedoids(folder, 3)
    X[777] = 0
    pq.write_table(table_of(X[500:]), folder / "01.parquet", row_group_size=100)
    with pytest.raises(DataError, match=rf"A row of zeros has no direction.* It is {where}"):
        kmedoids(folder, 3, metric="cosine")


def test_lists_of_another_length_are_refused(spark, tmp_path):
    lists = [[1.0, 2.0]] * 50 + [[1.0]] + [[1.0, 2.0]] * 9
    folder = folder_of(tmp_path, pa.table({"v": lists}), files=1)
    with pytest.raises(DataError, match=r"holds a list of 1 numbers.*00\.parquet"):
        kmedoids(folder, 3)


@pytest.mark.parametrize(
    ("others", "sixtieth", "said"),
    [(1.0, -1.0, "The weight is -1.*row 60"), (0.0, 0.0, "All weights are zero")],
)
def test_wrong_weights_are_refused(spark, tmp_path, others, sixtieth, said):
    weights = np.full(100, others)
    weights[60] = sixtieth
    folder = folder_of(tmp_path, table_of(places(100), w=weights), files=1)
    with pytest.raises(DataError, match=said):
        kmedoids(folder, 3, weight="w")


def test_coordinates_that_overflow_are_refused(spark):
    frame = spark.createDataFrame(table_of(places(300) * 1e200)).coalesce(1)
    with pytest.raises(DataError, match="squared differences overflow"):
        kmedoids(frame, 3, sample_size=50)


def test_a_partition_that_changes_is_refused(spark, monkeypatch):
    """Its numbers would be another's."""
    frame = spark.createDataFrame(table_of(places(300))).coalesce(2)
    numbered = FrameSource.numbered

    def forgetful(source, counted):
        source._frame = frame.where("x0 > 0")
        return numbered(source, counted)

    monkeypatch.setattr(FrameSource, "numbered", forgetful)
    with pytest.raises(DataError, match=r"Partition . had 1?\d+ rows, and now has"):
        kmedoids(frame, 3, sample_size=50)


def test_settings_are_refused_before_anything_runs(spark):
    frame = spark.createDataFrame(table_of(places(10), cluster=np.zeros(10)))
    with pytest.raises(DataError, match='have a column "cluster" already'):
        kmedoids(frame, 3, columns=["x0", "x1"])
    frame = frame.drop("cluster")
    for settings, said in (
        ({"n_clusters": 0}, "n_clusters must be a whole number"),
        ({"sample_size": 0}, "sample_size"),
        ({"metric": "euclidian"}, 'mean "euclidean"'),
        ({"degrees": True}, "degrees are of haversine"),
    ):
        with pytest.raises(ParameterError, match=said):
            kmedoids(frame, **settings)
