"""DBSCAN of data on a cluster: the cells are counted there and solved here.

    pass 1      parts → cells → shuffle of the cells' dictionary → driver
    driver      the engine of one machine on the cells' centres, weighted by their points
    pass 2      parts → cells → labels, looked up in a table that every worker maps into memory

Points are read twice and never shuffled. The clusters are those of rho > 0 on one machine, bit for
bit, whatever the partitions.

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
    Cells,
    DictionaryTooLargeError,
    Snapping,
    collected,
    dictionary,
)
from thresher.cluster.spark.label_table import ship
from thresher.cluster.spark.labelling import ADDED, labelled
from thresher.cluster.spark.measured import Phases
from thresher.cluster.spark.rho import COARSEST, FINEST, affordable
from thresher.cluster.spark.session import check_workers, session
from thresher.cluster.spark.source import FolderSource, FrameSource, Source, check_added
from thresher.cluster.threads import jobs_of
from thresher.cluster.weights import whole_where_they_can_be
from thresher.errors import DataError, ParameterError

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
        rho: As there, in (0, 1): points are moved to the centres of cells of diagonal rho · eps.
            "auto" starts at 0.01 and doubles until the dictionary fits in
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
    check_settings(eps, min_samples, metric, FINEST if rho == "auto" else rho, "auto")
    if not rho:
        raise ParameterError(
            "rho = 0 is exact, which runs on one machine only.",
            'Take rho="auto" (--rho auto), or leave Spark out.',
        )
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
        FINEST if rho == "auto" else float(rho),
    )
    phases = Phases(spark, tell)
    with phases.phase("checking the workers"):
        compile_here(snapping)
        check_workers(spark)
    if rho == "auto":
        with phases.phase("choosing rho"):
            snapping = affordable(source, snapping, driver_limit)
    while True:
        try:
            cells = count_cells(source, snapping, driver_limit, phases)
            break
        except DictionaryTooLargeError:  # the estimate was too low
            if rho != "auto" or snapping.rho >= COARSEST:
                raise
            snapping = replace(snapping, rho=2 * snapping.rho)
    with phases.phase("clustering the cells"):
        labels, core, found = solve(cells, snapping, float(min_samples), jobs_of(n_jobs))
        folder = Path(tempfile.mkdtemp(prefix="thresher-"))
        # executors fetch the table when they first label: it must outlive this call
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        name = ship(spark, folder, cells.centres, labels, core)
    statistics = {
        **found,
        "points": cells.points,
        "cells": len(labels),
        "rho": snapping.rho,
        "shuffled_cells": cells.found,
        "shuffle_bytes": sum(phases.shuffled.values()),
        "failed_tasks": phases.failed_tasks,
        "seconds": phases.seconds,
    }
    return SparkClustered(labelled(source, snapping, name), statistics)


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


def count_cells(source: Source, snapping: Snapping, limit: int, phases: Phases) -> Cells:
    """Pass 1."""
    from pyspark import StorageLevel

    with phases.phase("counting the cells"):
        context = phases.context
        frame = dictionary(source, snapping, context.defaultParallelism)
        frame.persist(StorageLevel.MEMORY_AND_DISK)
        try:
            cells = collected(frame, snapping, limit)
        finally:
            frame.unpersist()
    if snapping.weight is not None and len(cells.weights) and not cells.weights.any():
        raise DataError(
            "All weights are zero: no row counts.",
            "Sample weights must contain at least one non-zero number.",
        )
    return cells


def solve(
    cells: Cells, snapping: Snapping, min_samples: float, jobs: int
) -> tuple[NDArray[np.int32], NDArray[np.bool_], dict[str, Any]]:
    """Labels and core marks of the cells, by the engine of one machine."""
    if not len(cells.centres):
        return np.empty(0, np.int32), np.empty(0, np.bool_), {"engine": "none", "clusters": 0}
    weights: Array | None = cells.weights
    if cells.weights.dtype != np.int64:
        weights = whole_where_they_can_be(cells.weights)
    found = run_engine(
        ArrayPoints(cells.centres),
        snapping.radius,
        min_samples,
        weights,
        "auto",
        False,
        jobs,
        lambda name, share: None,
        None,
    )
    told = {name: found.statistics[name] for name in ("engine", "clusters")}
    return found.labels, found.core, told
