"""DBSCAN of data on a cluster: its cells are counted, clustered, and looked up.

    count       parts → cells → shuffle of the cells' dictionary → driver
    driver      the engine of one machine on the cells' centres, weighted by their points
    label       parts → cells → labels, looked up in a table that every worker maps into memory

With rho > 0, points are read twice and never shuffled. With rho = 0 the driver first asks which
cells' points decide what the cells leave open (`thresher.cluster.undecided`), and a pass between
fetches those; they take the place of their cells. A pass before chooses how fine the cells are.

The clusters are those of one machine, bit for bit, whatever the partitions; with weights that are
no whole numbers, where no sum of them is within rounding of min_samples.

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

from thresher.cluster.dbscan import check_settings
from thresher.cluster.metric import check_degrees
from thresher.cluster.row_table import RowTable, empty_slots, find, slots_of
from thresher.cluster.spark.dictionary import Counted, Snapping
from thresher.cluster.spark.labelling import ADDED, labelled
from thresher.cluster.spark.measured import Phases
from thresher.cluster.spark.rho import FINEST, affordable
from thresher.cluster.spark.session import batches_in_bounds, check_workers, session
from thresher.cluster.spark.solving import Job, gather, solved, solved_exactly
from thresher.cluster.spark.source import check_added, open_source
from thresher.cluster.threads import jobs_of
from thresher.errors import DataError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["SparkClustered", "dbscan"]

DRIVER_LIMIT = 2 << 30


class SparkClustered(NamedTuple):
    """What `dbscan` returns."""

    rows: DataFrame  # as given, with ``cluster`` int32 and ``is_core`` bool
    statistics: dict[str, Any]
    files: Path  # of the driver, which workers look labels up in

    def release(self) -> None:
        """Remove the files before the process ends; the rows can no longer be asked for."""
        shutil.rmtree(self.files, ignore_errors=True)


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
        DataError: rows that cannot be clustered; with rho="auto", no dictionary that the driver may
            hold.
        RunError: no Java, or workers that cannot run thresher.

    Source: Song & Lee, RP-DBSCAN, SIGMOD 2018.
    """
    check_settings(eps, min_samples, metric, 0.0 if rho == "auto" else rho, "auto")
    finest = FINEST if rho in ("auto", 0) else float(rho)
    check_degrees(metric, degrees=degrees)
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
    folder = Path(tempfile.mkdtemp(prefix="thresher-"))
    # executors fetch the tables when they first label: they must outlive this call
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with batches_in_bounds(spark):
        with phases.phase("checking the workers"):
            compile_here(snapping)
            check_workers(spark)
        if exact or rho == "auto":
            with phases.phase("choosing rho"):
                snapping = affordable(source, snapping, driver_limit, exact=exact)
        threads = jobs_of(n_jobs)
        job = Job(source, snapping, float(min_samples), threads, driver_limit, phases, folder)
        with phases.phase("counting the cells"):
            cells = gather(job)
        try:
            refuse_no_weight(cells, snapping)
            labels, found = solved_exactly(job, cells) if exact else solved(job, cells)
        finally:
            cells.frame.unpersist()
    statistics = {
        **found,
        "points": cells.points,
        "cells": cells.rows,
        "rho": 0.0 if exact else snapping.rho,
        "cell_diagonal": snapping.rho,
        "shuffled_cells": cells.found,
        **phases.figures(),
    }
    return SparkClustered(labelled(source, snapping, labels), statistics, folder)


def compile_here(snapping: Snapping) -> None:
    """Compile what tasks need once, in the driver: workers of this machine find it made."""
    table = RowTable(snapping.dimension, snapping.weight_type)
    row = np.zeros((1, snapping.dimension))
    table.add(row, np.ones(1, snapping.weight_type), np.zeros(1, np.int64))
    slots, held = slots_of(row, empty_slots(1)), row.copy()
    slots.flags.writeable = held.flags.writeable = False  # as files that are mapped
    find(row, slots, held)


def refuse_no_weight(told: Counted, snapping: Snapping) -> None:
    """Raise an error where no row counts.

    Raises:
        DataError: all weights are zero.
    """
    if snapping.weight is not None and told.points and not told.weight:
        raise DataError(
            "All weights are zero: no row counts.",
            "Sample weights must contain at least one non-zero number.",
        )
