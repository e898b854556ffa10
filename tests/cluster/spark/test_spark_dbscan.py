"""DBSCAN on Spark: what one machine finds, whatever the partitions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.spark.faults import Faulty, faulty, killed, known_to_workers, raising
from cluster.spark.frames import folder_of, table_of
from thresher.cluster.dbscan import cluster_points
from thresher.cluster.metric import EARTH_RADIUS, RadianPoints
from thresher.cluster.open_points import open_rows
from thresher.cluster.points import ArrayPoints
from thresher.cluster.spark import bounding, carried, cell_graph, dbscan, solving
from thresher.errors import DataError, ParameterError

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

RHO = 0.1
EXACT = 0
BOTH = pytest.mark.parametrize("rho", [EXACT, RHO])


def places(n=3000, d=2, seed=0):
    """Three clusters in noise."""
    random = np.random.default_rng(seed)
    centres = np.array([[0.0] * d, [3.0] * d, [-3.0] * d])
    X = centres[random.integers(3, size=n)] + 0.3 * random.normal(size=(n, d))
    noise = random.random(n) < 0.2
    X[noise] = random.uniform(-6, 6, (int(noise.sum()), d))
    return X


def found_in(rows):
    """Labels and core marks of a result, in its order."""
    table = rows.toArrow()
    assert pa.int32() == table.schema.field("cluster").type
    assert pa.bool_() == table.schema.field("is_core").type
    return table, table["cluster"].to_numpy(), table["is_core"].to_numpy(zero_copy_only=False)


def assert_same(rows, X, eps, min_samples, **settings):
    """A result is that of one machine on the rows in the result's order."""
    table, labels, core = found_in(rows)
    here = cluster_points(ArrayPoints(X), eps, min_samples, **settings)
    np.testing.assert_array_equal(here.labels, labels)
    np.testing.assert_array_equal(here.core, core)
    return table


@BOTH
@pytest.mark.parametrize("tasks", [1, 3, 16])
def test_a_folder_is_clustered_as_on_one_machine(spark, tmp_path, tasks, rho, monkeypatch):
    """In the order of its files, with all columns, whatever the number of tasks."""
    monkeypatch.setattr("thresher.cluster.spark.source.ROWS_A_TASK", 3000 // tasks)
    X = places()
    identity = np.arange(3000) + 2**33
    folder = folder_of(tmp_path, table_of(X, id=identity), files=16)
    found = dbscan(folder, 0.3, 10, rho=rho, columns=["x0", "x1"])
    table = assert_same(found.rows, X, 0.3, 10, rho=rho)
    assert ["x0", "x1", "id", "cluster", "is_core"] == table.column_names
    np.testing.assert_array_equal(identity, table["id"].to_numpy())
    assert 3 == found.statistics["clusters"]
    assert 3000 == found.statistics["points"]


@BOTH
@pytest.mark.parametrize("partitions", [1, 3, 16])
def test_a_frame_is_clustered_as_on_one_machine(spark, partitions, rho):
    """In the order of its partitions, of which some may be empty."""
    X = places(600)
    frame = spark.createDataFrame(table_of(X)).repartition(partitions)
    if partitions == 16:
        frame = frame.where("x0 > 0 or spark_partition_id() % 2 = 0")
    table = frame.toArrow()
    X = np.stack([table["x0"], table["x1"]], axis=1)
    assert_same(dbscan(frame, 0.4, 5, rho=rho).rows, X, 0.4, 5, rho=rho)


@BOTH
@pytest.mark.parametrize("whole", [True, False])
def test_weights_count(spark, tmp_path, whole, rho):
    X = places(1000)
    random = np.random.default_rng(1)
    weights = random.integers(0, 4, 1000) if whole else random.integers(0, 12, 1000) / 4
    folder = folder_of(tmp_path, table_of(X, w=weights))
    found = dbscan(folder, 0.3, 7.5, rho=rho, weight="w")
    assert_same(found.rows, X, 0.3, 7.5, rho=rho, weights=weights)


@pytest.mark.parametrize("adaptive", ["true", "false"])
@pytest.mark.parametrize(("dtype", "rho"), [(np.float32, EXACT), (np.float64, RHO)])
def test_a_column_of_lists_holds_the_coordinates(spark, dtype, rho, adaptive):
    """Of either type, with Spark's adaptive plans and without."""
    X = places(800, 3).astype(dtype)
    lists = pa.array(list(X), pa.list_(pa.from_numpy_dtype(dtype)))
    spark.conf.set("spark.sql.adaptive.enabled", adaptive)
    try:
        frame = spark.createDataFrame(pa.table({"v": lists})).coalesce(2)
        assert_same(dbscan(frame, 0.5, 5, rho=rho).rows, X, 0.5, 5, rho=rho)
    finally:
        spark.conf.unset("spark.sql.adaptive.enabled")


@BOTH
def test_positions_and_directions(spark, tmp_path, rho):
    """Degrees across the date line; cosines."""
    random = np.random.default_rng(2)
    around = np.where(random.random(900) < 0.5, 179.99, -179.99)
    X = np.stack([60 + 0.01 * random.normal(size=900), around + 0.01 * random.normal(size=900)], 1)
    folder = folder_of(tmp_path, table_of(X))
    eps = 500 / EARTH_RADIUS
    found = dbscan(folder, eps, 8, rho=rho, metric="haversine", degrees=True)
    _, labels, core = found_in(found.rows)
    here = cluster_points(RadianPoints(ArrayPoints(X)), eps, 8, metric="haversine", rho=rho)
    np.testing.assert_array_equal(here.labels, labels)
    np.testing.assert_array_equal(here.core, core)
    vectors = random.normal(size=(400, 3))
    frame = spark.createDataFrame(table_of(vectors)).coalesce(2)
    found = dbscan(frame, 0.01, 4, rho=rho, metric="cosine")
    assert_same(found.rows, vectors, 0.01, 4, rho=rho, metric="cosine")


@BOTH
@pytest.mark.parametrize("n", [0, 1])
def test_few_rows(spark, n, tmp_path, rho):
    """None give none; one alone is noise."""
    X = places(5)[:n]
    for data in (
        spark.createDataFrame(table_of(X)),
        folder_of(tmp_path, table_of(X), files=1),
    ):
        found = dbscan(data, 0.3, 2, rho=rho)
        table, labels, core = found_in(found.rows)
        assert ([-1] * n, [False] * n) == (labels.tolist(), core.tolist())
        assert ["x0", "x1", "cluster", "is_core"] == table.column_names


# ---------------------------------------------------------------------- what is said of a run
def test_statistics_are_sparks_own(spark, tmp_path):
    """Cells are shuffled, a few bytes each, and nothing of the points."""
    X = places(20_000)
    folder = folder_of(tmp_path, table_of(X), group=5000)
    told = []
    found = dbscan(folder, 0.5, 10, rho=0.02, tell=told.append)
    statistics = found.statistics
    assert statistics["cells"] <= statistics["shuffled_cells"] <= 20_000
    assert 0 < statistics["shuffle_bytes"] <= 26 * statistics["shuffled_cells"]
    assert ["checking", "counting", "clustering"] == [line.split()[0] for line in told]
    coarse = dbscan(folder, 0.5, 10, rho=0.5).statistics
    assert coarse["shuffled_cells"] < statistics["shuffled_cells"] / 2
    assert coarse["shuffle_bytes"] < statistics["shuffle_bytes"]


def test_rho_is_chosen_by_what_the_driver_may_hold(spark, tmp_path):
    """The finest that fits; none fits: the number."""
    X = np.random.default_rng(0).uniform(0, 4, (20_000, 2))  # 25 points in a cell of eps
    folder = folder_of(tmp_path, table_of(X), group=5000)
    fine = dbscan(folder, 0.2, 10, rho="auto").statistics
    assert 0.01 == fine["rho"]
    coarse = dbscan(folder, 0.2, 10, rho="auto", driver_limit=1 << 19).statistics
    assert 0.01 < coarse["rho"] < 1
    assert "grid" == coarse["engine"]
    with pytest.raises(DataError, match=r"Even with rho=0\.64"):
        dbscan(folder, 0.2, 10, rho="auto", driver_limit=1000)


# ---------------------------------------------------------------------- beyond the driver
@pytest.mark.parametrize(
    ("d", "eps", "rho"),
    [(2, 0.3, 0.05), (3, 0.5, 0.2), (2, 3.0, 0.05), (2, 0.3, EXACT), (3, 0.6, EXACT)],
)
def test_what_the_driver_cannot_hold_is_clustered_by_tasks(
    spark, tmp_path, d, eps, rho, monkeypatch
):
    """As on one machine, in several parts."""
    X = places(6_000, d)
    folder = folder_of(tmp_path, table_of(X), group=3000)
    monkeypatch.setattr(solving, "SUB_BYTES", 1 << 15)
    monkeypatch.setattr(solving, "TASKS_A_CORE", 2)
    found = dbscan(folder, eps, 10, rho=rho, driver_limit=1 << 14)
    assert_same(found.rows, X, eps, 10, rho=rho)
    statistics = found.statistics
    assert statistics["sub_dictionaries"] >= 2
    assert statistics["balls"] <= statistics["cells"]
    assert statistics["edges"] == sorted(statistics["edges"], reverse=True)


@pytest.mark.parametrize("limit", [1 << 30, 1 << 10])
def test_files_are_carried_to_workers_elsewhere(spark, tmp_path, limit, monkeypatch):
    """As on a cluster, whose machines do not see the driver's folder."""
    monkeypatch.setattr(carried, "is_local", lambda session: False)
    monkeypatch.setattr(solving, "TASKS_A_CORE", 1)
    X = places(1500)
    folder = folder_of(tmp_path, table_of(X), files=1)
    found = dbscan(folder, 0.3, 10, driver_limit=limit)
    assert_same(found.rows, X, 0.3, 10)
    assert ("tasks" == found.statistics["engine"]) == (limit == 1 << 10)


# ---------------------------------------------------------------------- workers that die
@pytest.mark.parametrize("fault", [raising, killed])
def test_a_task_that_fails_is_done_again(spark, fault):
    """In the middle of either pass; the result is the same, and the failures are told."""
    with known_to_workers(spark):
        X = places(900)
        frame = spark.createDataFrame(table_of(X)).coalesce(2)
        frame = frame.mapInArrow(faulty(fault), frame.schema)
        found = dbscan(frame, 0.4, 5)
        assert_same(found.rows, X, 0.4, 5)
        assert found.statistics["failed_tasks"] >= 1


def test_a_task_that_asks_the_cells_is_done_again(spark, tmp_path, monkeypatch):
    """In each step over the sub-dictionaries, exact."""
    asked = []
    ask = cell_graph.ask

    def ask_twice(session, tasks, work):
        asked.append(tasks)
        return ask(session, tasks, Faulty(work, raising))

    monkeypatch.setattr(cell_graph, "ask", ask_twice)
    monkeypatch.setattr(bounding, "ask", ask_twice)
    monkeypatch.setattr(solving, "TASKS_A_CORE", 1)
    with known_to_workers(spark):
        X = places(1500)
        folder = folder_of(tmp_path, table_of(X), files=1)
        found = dbscan(folder, 0.3, 10, driver_limit=1 << 10)
        assert_same(found.rows, X, 0.3, 10)
        assert 9 == len(asked)
        assert found.statistics["failed_tasks"] >= 9


# ---------------------------------------------------------------------- what cannot be clustered
def test_a_missing_number_is_named_with_its_file_and_row_group(spark, tmp_path):
    X = places(1000)
    X[777, 1] = np.nan
    folder = folder_of(tmp_path, table_of(X), files=2, group=100)
    with pytest.raises(
        DataError, match=r'"x1" has NaN.* in row 77 of row group 2 in .*01\.parquet'
    ):
        dbscan(folder, 0.3, 5, rho=RHO)


def test_lists_of_another_length_are_refused(spark, tmp_path):
    lists = [[1.0, 2.0]] * 50 + [[1.0]] + [[1.0, 2.0]] * 9
    folder = folder_of(tmp_path, pa.table({"v": lists}), files=1)
    with pytest.raises(DataError, match=r"holds a list of 1 numbers.*00\.parquet"):
        dbscan(folder, 0.3, 5, rho=RHO)


def test_a_damaged_file_is_named(spark, tmp_path):
    """In the middle, where its end is whole: only a task finds out."""
    folder = folder_of(tmp_path, table_of(places(3000)), files=2, group=500)
    path = folder / "01.parquet"
    held = bytearray(path.read_bytes())
    held[200:9000] = bytes(8800)
    path.write_bytes(held)
    with pytest.raises(DataError, match=r"01\.parquet"):
        dbscan(folder, 0.3, 5, rho=RHO)


def test_data_that_change_meanwhile_are_noticed(spark, tmp_path, monkeypatch):
    """Between the counting and the fetching; between these and the labelling."""
    X = places(900)
    folder = folder_of(tmp_path, table_of(X), files=1)
    needed_of = solving.needed_of

    def meanwhile(job, told):
        needed = needed_of(job, told)
        pq.write_table(table_of(X + 0.05), folder / "00.parquet", row_group_size=250)
        return needed

    with monkeypatch.context() as patch:
        patch.setattr(solving, "needed_of", meanwhile)
        with pytest.raises(DataError, match="not those that were read first"):
            dbscan(folder, 0.3, 10)
    found = dbscan(folder, 0.3, 10, rho=RHO)
    pq.write_table(table_of(X), folder / "00.parquet", row_group_size=250)
    with pytest.raises(Exception, match="not those that were read first"):
        found.rows.toArrow()


@pytest.mark.parametrize(("value", "said"), [(-1.0, "The weight is -1"), (np.inf, "weight is inf")])
def test_wrong_weights_are_refused(spark, tmp_path, value, said):
    weights = np.ones(100)
    weights[60] = value
    folder = folder_of(tmp_path, table_of(places(100), w=weights), files=1)
    with pytest.raises(DataError, match=f"{said}.*row 60"):
        dbscan(folder, 0.3, 5, rho=RHO, weight="w")


def test_settings_are_refused_before_anything_runs(spark):
    frame = spark.createDataFrame(table_of(places(10), cluster=np.zeros(10)))
    with pytest.raises(DataError, match='have a column "cluster" already'):
        dbscan(frame, 0.3, rho=RHO, columns=["x0", "x1"])
    with pytest.raises(ParameterError, match="eps must be a number above 0"):
        dbscan(frame, -1, rho=RHO)
    with pytest.raises(ParameterError, match="rho must be in"):
        dbscan(frame, 0.3, rho="fine")
    with pytest.raises(ParameterError, match="degrees are of haversine"):
        dbscan(frame, 0.3, degrees=True, columns=["x0", "x1"])


def test_the_stand_in_reads_as_the_command_does(tmp_path):
    """The order of a folder's rows is that of one machine's reader."""
    X = places(700)
    folder = folder_of(tmp_path, table_of(X))
    points = open_rows(folder).points()
    read = np.concatenate([points.part(number) for number in range(len(points.starts) - 1)])
    np.testing.assert_array_equal(X, read)
