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
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.dbscan import check_settings, run_engine
from thresher.cluster.parquet_points import open_parquet
from thresher.cluster.points import ArrayPoints
from thresher.cluster.row_table import RowTable, empty_slots, find, slots_of
from thresher.cluster.spark.dictionary import (
    DictionaryTooLargeError,
    Gathered,
    Snapping,
    collected,
    dictionary,
)
from thresher.cluster.spark.labelling import ADDED, Labels, labelled
from thresher.cluster.spark.measured import Phases
from thresher.cluster.spark.rho import COARSEST, FINEST, affordable
from thresher.cluster.spark.row_tables import ship
from thresher.cluster.spark.session import check_workers, session
from thresher.cluster.spark.source import FolderSource, FrameSource, Source, check_added
from thresher.cluster.threads import jobs_of
from thresher.cluster.undecided import needed_cells
from thresher.cluster.weights import whole_where_they_can_be
from thresher.errors import DataError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["SparkClustered", "dbscan"]

DRIVER_LIMIT = 2 << 30
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
    while True:
        try:
            with phases.phase("counting the cells"):
                cells = gather(source, snapping, driver_limit, phases)
            break
        except DictionaryTooLargeError:  # the estimate was too low
            if not (exact or rho == "auto") or snapping.rho >= COARSEST:
                raise
            snapping = replace(snapping, rho=2 * snapping.rho)
    refuse_no_weight(cells.weights, snapping)
    folder = Path(tempfile.mkdtemp(prefix="thresher-"))
    # executors fetch the tables when they first label: they must outlive this call
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    job = Job(source, snapping, float(min_samples), jobs_of(n_jobs), driver_limit, phases, folder)
    tables, found = solved(job, cells) if not exact else solved_exactly(job, cells)
    statistics = {
        **found,
        "points": cells.points,
        "cells": len(cells.rows),
        "rho": 0.0 if exact else snapping.rho,
        "cell_diagonal": snapping.rho,
        "shuffled_cells": cells.found,
        "shuffle_bytes": sum(phases.shuffled.values()),
        "failed_tasks": phases.failed_tasks,
        "seconds": phases.seconds,
    }
    return SparkClustered(labelled(source, snapping, tables), statistics)


class Job(NamedTuple):
    """What the steps of a run share."""

    source: Source
    snapping: Snapping
    min_samples: float
    jobs: int  # threads of the driver
    limit: int  # bytes of the driver
    phases: Phases
    folder: Path  # of the tables that are shipped


def solved(job: Job, cells: Gathered) -> tuple[Labels, dict[str, Any]]:
    """Labels of the cells, with every worker."""
    with job.phases.phase("clustering the cells"):
        labels, core, found = solve(job, cells.rows, cells.weights, cells.lowest)
        spark = job.phases.spark
        return Labels(ship(spark, job.folder, cells.rows, labels=labels, core=core), None), found


def solved_exactly(job: Job, cells: Gathered) -> tuple[Labels, dict[str, Any]]:
    """Labels of the cells and of the points that decide, with every worker."""
    spark, snapping = job.phases.spark, job.snapping
    with job.phases.phase("bounding"):
        needed, undecided = needed_cells(
            cells.rows,
            whole_where_they_can_be(cells.weights),
            snapping.radius,
            snapping.side,
            job.min_samples,
            job.jobs,
        )
        asked = ship(spark, job.folder, cells.rows[needed])
    with job.phases.phase("fetching points"):
        points = gather(job.source, snapping, job.limit, job.phases, asked, int((~needed).sum()))
    with job.phases.phase("clustering"):
        rows, weights, lowest = (
            np.concatenate([one[~needed], other])
            for one, other in zip(cells[:3], points[:3], strict=True)
        )
        labels, core, found = solve(job, rows, weights, lowest)
        ends = len(rows) - len(points.rows)
        tables = Labels(
            ship(spark, job.folder, rows[:ends], labels=labels[:ends], core=core[:ends]),
            ship(spark, job.folder, rows[ends:], labels=labels[ends:], core=core[ends:]),
        )
    figures = {
        "undecided_cells": undecided,
        "undecided_share": undecided / max(1, len(cells.rows)),
        "fetched_points": points.points,
        "fetched_share": points.points / max(1, cells.points),
    }
    return tables, found | figures


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


def gather(
    source: Source,
    snapping: Snapping,
    limit: int,
    phases: Phases,
    within: str | None = None,
    beside: int = 0,
) -> Gathered:
    """A pass that counts cells, or points within some cells, beside so many that are held."""
    from pyspark import StorageLevel

    frame = dictionary(source, snapping, phases.context.defaultParallelism, within)
    frame.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        return collected(frame, snapping, limit, beside)
    finally:
        frame.unpersist()


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
