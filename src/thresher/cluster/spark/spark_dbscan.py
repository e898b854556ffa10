"""DBSCAN of data on a cluster: the cells are counted there and solved here.

    count       parts → cells → shuffle of the cells' dictionary → driver
    driver      the engine of one machine on the cells' centres, weighted by their points
    label       parts → cells → labels, looked up in a table that every worker maps into memory

With rho > 0, points are read twice and never shuffled. With rho = 0 the driver first asks which
cells' points decide what the cells leave open (`thresher.cluster.undecided`), and a pass between
fetches those; they take the place of their cells. A pass before chooses how fine the cells are.

The clusters are those of one machine, bit for bit, whatever the partitions.

Source: Song & Lee, RP-DBSCAN, SIGMOD 2018; both ends of a distance are snapped, as in
`thresher.cluster.snapped`, which is what gives the guarantee.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.dbscan import check_settings, run_engine
from thresher.cluster.parquet_points import open_parquet
from thresher.cluster.points import ArrayPoints
from thresher.cluster.row_table import RowTable, empty_slots, find, slots_of
from thresher.cluster.spark.bounding import AllCells, Needed, left_over, needed_by_tasks
from thresher.cluster.spark.cell_graph import cluster_cells, compile_for_tasks
from thresher.cluster.spark.dictionary import (
    Counted,
    Snapping,
    bytes_a_cell,
    collected,
    counted,
    dictionary,
)
from thresher.cluster.spark.labelling import ADDED, Labels, labelled
from thresher.cluster.spark.measured import Phases
from thresher.cluster.spark.rho import FINEST, affordable
from thresher.cluster.spark.row_tables import RowSet, ship
from thresher.cluster.spark.session import check_workers, session
from thresher.cluster.spark.source import FolderSource, FrameSource, Source, check_added
from thresher.cluster.spark.sub_dictionaries import SubDictionaries, parting_of, split
from thresher.cluster.threads import jobs_of
from thresher.cluster.undecided import bounds_of, needed_cells
from thresher.cluster.weights import whole_where_they_can_be
from thresher.errors import DataError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["SparkClustered", "dbscan"]

DRIVER_LIMIT = 2 << 30
TASKS_A_CORE = 4  # among which cells are dealt out
SUB_BYTES = 16 << 20  # of the cells of a sub-dictionary
BYTES_AN_EDGE = 64  # of the driver, with room to spare: a forest is merged where it is larger
Array = NDArray[Any]


class SparkClustered(NamedTuple):
    """What `dbscan` returns."""

    rows: DataFrame  # as given, with ``cluster`` int32 and ``is_core`` bool
    statistics: dict[str, Any]


def dbscan(
    data: DataFrame | str | os.PathLike[str],
    eps: float,
    min_samples: float = 5,
    *,
    rho: float | Literal["auto"] = 0.0,
    columns: Sequence[str] | None = None,
    metric: str = "euclidean",
    degrees: bool = False,
    weight: str | None = None,
    driver_limit: int = DRIVER_LIMIT,
    n_jobs: int | None = None,
    tell: Callable[[str], None] | None = None,
) -> SparkClustered:
    """Cluster rows by density on a Spark cluster.

    Args:
        data: A DataFrame, or the path of a Parquet file or of a folder of them that every worker
            sees.
        eps: As of `thresher.cluster.DBSCAN`.
        min_samples: As there.
        rho: As there: 0, the default, is exact. In (0, 1) points are moved to the centres of cells
            of diagonal rho · eps. "auto" starts at 0.01 and doubles until the dictionary fits in
            ``driver_limit``, by an estimate from one cell in 128; the statistics say what it took.
        columns: d columns of numbers, or one of lists of d numbers; None takes all.
        metric: As there.
        degrees: For haversine: the coordinates are degrees; else radians. Eps is in radians.
        weight: A column of weights, or None for 1 each.
        driver_limit: Bytes that the dictionary of the cells may take in the driver. Default 2 GiB.
        n_jobs: The driver's threads; None and -1 take every processor.
        tell: Is told a line for every phase.

    Raises:
        ParameterError: a setting out of range.
        DataError: rows that cannot be clustered, or a dictionary larger than the driver may hold.
        RunError: no Java, or workers that cannot run thresher.

    Source: Song & Lee, RP-DBSCAN, SIGMOD 2018.
    """
    finest = FINEST if rho in ("auto", 0) else float(rho)
    check_settings(eps, min_samples, metric, 0.0 if rho == "auto" else rho, "auto")
    spark = data.sparkSession if hasattr(data, "sparkSession") else session()
    source = open_source(data, spark)
    check_added(source.schema, ADDED.names)
    without = () if weight is None else (weight,)
    snapping = Snapping(
        source.choose(columns, without),
        None if weight is None else source.choose([weight], ()),
        metric,
        float(eps),
        degrees,
        finest,
    )
    exact = rho == 0
    phases = Phases(spark, tell)
    with phases.phase("checking the workers"):
        compile_here(snapping)
        check_workers(spark)
    if exact or rho == "auto":
        with phases.phase("choosing rho"):
            snapping = affordable(source, snapping, driver_limit, exact=exact)
    folder = Path(tempfile.mkdtemp(prefix="thresher-"))
    # executors fetch the tables when they first label: they must outlive this call
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    job = Job(source, snapping, float(min_samples), jobs_of(n_jobs), driver_limit, phases, folder)
    with phases.phase("counting the cells"):
        cells = gather(job)
    try:
        if exact:
            labels, found = solved_exactly(job, cells)
        elif fits(job, cells.rows):
            labels, found = solved_here(job, cells)
        else:
            labels, found = solved_apart(job, cells)
    finally:
        cells.frame.unpersist()
    statistics = {
        **found,
        "points": cells.points,
        "cells": cells.rows,
        "rho": 0.0 if exact else snapping.rho,
        "cell_diagonal": snapping.rho,
        "shuffled_cells": cells.found,
        "shuffle_bytes": sum(phases.shuffled.values()),
        "failed_tasks": phases.failed_tasks,
        "seconds": phases.seconds,
    }
    return SparkClustered(labelled(source, snapping, labels), statistics)


class Job(NamedTuple):
    """What the steps of a run share."""

    source: Source
    snapping: Snapping
    min_samples: float
    jobs: int  # threads of the driver
    limit: int  # bytes of the driver
    phases: Phases
    folder: Path  # of the tables that are shipped


def gather(job: Job, within: RowSet | None = None) -> Counted:
    """A pass that counts cells, or points within some cells."""
    buckets = job.phases.context.defaultParallelism
    return counted(dictionary(job.source, job.snapping, buckets, within))


def fits(job: Job, rows: int) -> bool:
    """Whether the driver may hold so many rows of a dictionary."""
    return rows * bytes_a_cell(job.snapping.dimension) <= job.limit


def solved_here(job: Job, told: Counted) -> tuple[Labels, dict[str, Any]]:
    """Labels of the cells, by the driver."""
    with job.phases.phase("clustering the cells"):
        cells = collected(told, job.snapping)
        refuse_no_weight(cells.weights, job.snapping)
        labels, core, found = solve(job, *cells)
        table = ship(job.phases.spark, job.folder, cells.rows, labels=labels, core=core)
    return Labels(table, None), found


def solved_apart(job: Job, told: Counted) -> tuple[Labels, dict[str, Any]]:
    """Labels of the cells, by tasks: the driver does not hold them."""
    spark, radius, tasks = job.phases.spark, job.snapping.radius, tasks_of(job)
    with job.phases.phase("parting the dictionary"):
        cells = parted(job, told, radius)
    with job.phases.phase("clustering the cells"):
        most = job.limit // BYTES_AN_EDGE
        graph = cluster_cells(spark, cells, radius, job.min_samples, job.folder, tasks, most)
    return Labels(graph.labels, None), {
        "engine": "tasks",
        "clusters": graph.clusters,
        "sub_dictionaries": len(cells.layouts),
        "dictionary_bytes": cells.size,
        "balls": cells.balls,
        "edges": graph.edges,
        "balance": graph.balance,
    }


def tasks_of(job: Job) -> int:
    """Among how many tasks cells are dealt out."""
    return TASKS_A_CORE * job.phases.context.defaultParallelism


def parted(job: Job, told: Counted, radius: float) -> SubDictionaries:
    """The cells as files on every machine, those within a radius of each other as balls."""
    compile_for_tasks(job.snapping)
    most = SUB_BYTES // (8 * job.snapping.dimension + 16)
    parting = parting_of(told.frame, job.snapping, told.rows, most)
    return split(told.frame, job.snapping, parting, radius, job.folder)


def solved_exactly(job: Job, told: Counted) -> tuple[Labels, dict[str, Any]]:
    """Labels of the cells and of the points that decide."""
    with job.phases.phase("bounding"):
        needed = needed_of(job, told)
    with job.phases.phase("fetching points"):
        points = gather(job, needed.cells)
    left = left_over(told.frame, job.snapping, needed.cells)
    rows = told.rows - needed.how_many + points.rows
    both = told._replace(frame=left.union(points.frame), rows=rows)
    try:
        labels, found = solved_here(job, both) if fits(job, rows) else solved_apart(job, both)
    finally:
        points.frame.unpersist()
    figures = {
        "undecided_cells": needed.undecided,
        "undecided_share": needed.undecided / max(1, told.rows),
        "fetched_points": points.points,
        "fetched_share": points.points / max(1, told.points),
    }
    return labels._replace(by_points=needed.cells), found | figures


def needed_of(job: Job, told: Counted) -> Needed:
    """The cells whose points decide."""
    spark, snapping = job.phases.spark, job.snapping
    radius, side, dimension = snapping.radius, snapping.side, snapping.dimension
    bounds = bounds_of(radius, side, dimension, told.largest)
    if bounds.sure <= 0 or not told.rows:
        return Needed(AllCells(), told.rows, told.rows)
    if not fits(job, told.rows):
        cells = parted(job, told, bounds.sure)
        most = job.limit // BYTES_AN_EDGE
        return needed_by_tasks(
            spark, cells, bounds, job.min_samples, job.folder, tasks_of(job), most
        )
    cells_here = collected(told, snapping)
    refuse_no_weight(cells_here.weights, snapping)
    weights = whole_where_they_can_be(cells_here.weights)
    needed, undecided = needed_cells(cells_here.rows, weights, bounds, job.min_samples, job.jobs)
    table = ship(spark, job.folder, cells_here.rows[needed])
    return Needed(table, int(needed.sum()), undecided)


def open_source(data: Any, spark: SparkSession) -> Source:
    """Rows of a DataFrame or of a path."""
    if isinstance(data, str | os.PathLike):
        rows = open_parquet(Path(data).absolute())  # workers stand in folders of their own
        return FolderSource(rows, spark, spark.sparkContext.defaultParallelism)
    return FrameSource(data)


def compile_here(snapping: Snapping) -> None:
    """Compile what tasks need once, in the driver: workers of this machine find it made."""
    table = RowTable(snapping.dimension, snapping.weight_type)
    row = np.zeros((1, snapping.dimension))
    table.add(row, np.ones(1, snapping.weight_type), np.zeros(1, np.int64))
    slots, held = slots_of(row, empty_slots(1)), row.copy()
    slots.flags.writeable = held.flags.writeable = False  # as files that are mapped
    find(row, slots, held)


def refuse_no_weight(weights: Array, snapping: Snapping) -> None:
    """Raise an error where no row counts.

    Raises:
        DataError: all weights are zero.
    """
    if snapping.weight is not None and len(weights) and not weights.any():
        raise DataError(
            "All weights are zero: no row counts.",
            "Sample weights must contain at least one non-zero number.",
        )


def solve(
    job: Job, rows: Array, weights: Array, lowest: Array
) -> tuple[NDArray[np.int32], NDArray[np.bool_], dict[str, Any]]:
    """Labels and core marks of weighted rows, by the engine of one machine."""
    labels, core = np.empty(len(rows), np.int32), np.empty(len(rows), np.bool_)
    if not len(rows):
        return labels, core, {"engine": "none", "clusters": 0}
    order = np.argsort(lowest)  # clusters are numbered by their first core row
    if weights.dtype != np.int64:
        weights = whole_where_they_can_be(weights)  # type: ignore[assignment]
    found = run_engine(
        ArrayPoints(rows[order]),
        job.snapping.radius,
        job.min_samples,
        weights[order],
        "auto",
        False,
        job.jobs,
        lambda name, share: None,
        None,
    )
    labels[order], core[order] = found.labels, found.core
    return labels, core, {name: found.statistics[name] for name in ("engine", "clusters")}
