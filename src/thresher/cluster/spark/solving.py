"""Labels of a dictionary of cells: in the driver, or by tasks where the driver cannot hold it.

rho > 0     cells → labels
rho = 0     cells → which of their points decide → these and the other cells → labels
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.dbscan import run_engine
from thresher.cluster.points import ArrayPoints
from thresher.cluster.spark.bounding import AllCells, Needed, left_over, needed_by_tasks
from thresher.cluster.spark.cell_graph import cluster_cells, compile_for_tasks
from thresher.cluster.spark.dictionary import (
    Counted,
    Gathered,
    Snapping,
    bytes_a_cell,
    collected,
    counted,
    dictionary,
)
from thresher.cluster.spark.labelling import Labels, data_changed
from thresher.cluster.spark.measured import Phases
from thresher.cluster.spark.row_tables import RowSet, ship
from thresher.cluster.spark.source import Source
from thresher.cluster.spark.sub_dictionaries import SubDictionaries, parting_of, split
from thresher.cluster.undecided import bounds_of, needed_cells
from thresher.cluster.weights import whole_where_they_can_be

__all__ = ["Job", "gather", "solved", "solved_exactly"]

TASKS_A_CORE = 4  # among which cells are dealt out
SUB_BYTES = 6 << 20  # of the cells of a sub-dictionary
TOGETHER = 1 << 18  # cells that are looked at together
BYTES_AN_EDGE = 64  # of the driver, with room to spare: a forest is merged where it is larger


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


def solved(job: Job, told: Counted) -> tuple[Labels, dict[str, Any]]:
    """Labels of the rows of a dictionary, by whoever can hold it."""
    return solved_here(job, told) if fits(job, told.rows) else solved_apart(job, told)


def solved_here(job: Job, told: Counted) -> tuple[Labels, dict[str, Any]]:
    """Labels of the cells, by the driver."""
    with job.phases.phase("clustering the cells"):
        cells = collected(told, job.snapping, job.folder)
        labels, core, found = solve(job, cells)
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
        "sub_dictionaries": len(cells.parts),
        "dictionary_bytes": cells.trees.size,
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
    return split(told, job.snapping, parting, radius, job.folder, tasks_of(job))


def solved_exactly(job: Job, told: Counted) -> tuple[Labels, dict[str, Any]]:
    """Labels of the cells and of the points that decide."""
    with job.phases.phase("bounding"):
        needed = needed_of(job, told)
    fetched = 0
    if needed.how_many:
        labels, found, fetched = solved_with_points(job, told, needed)
    else:
        labels, found = solved(job, told)
    return labels, found | {
        "undecided_cells": needed.undecided,
        "undecided_share": needed.undecided / max(1, told.rows),
        "fetched_points": fetched,
        "fetched_share": fetched / max(1, told.points),
    }


def solved_with_points(
    job: Job, told: Counted, needed: Needed
) -> tuple[Labels, dict[str, Any], int]:
    """Labels of points in the place of their cells, and of the other cells; how many points.

    Raises:
        DataError: the points are others than those that were counted.
    """
    with job.phases.phase("fetching points"):
        points = gather(job, needed.cells)
    left = left_over(told.frame, job.snapping, needed.cells).persist()
    try:
        if not math.isclose(points.weight, needed.weight, rel_tol=1e-9):
            raise data_changed()
        rows = told.rows - needed.how_many + points.rows
        labels, found = solved(job, told._replace(frame=left.union(points.frame), rows=rows))
    finally:
        points.frame.unpersist()
        left.unpersist()
    return labels._replace(by_points=needed.cells), found, points.points


def needed_of(job: Job, told: Counted) -> Needed:
    """The cells whose points decide."""
    spark, snapping = job.phases.spark, job.snapping
    radius, side, dimension = snapping.radius, snapping.side, snapping.dimension
    bounds = bounds_of(radius, side, dimension, told.largest)
    if bounds.sure <= 0 or not told.rows:
        return Needed(AllCells(), told.rows, told.weight, told.rows)
    if not fits(job, told.rows):
        cells = parted(job, told, bounds.sure)
        most = job.limit // BYTES_AN_EDGE
        return needed_by_tasks(
            spark, cells, bounds, job.min_samples, job.folder, tasks_of(job), most
        )
    cells_here = collected(told, snapping, job.folder)
    weights = whole_where_they_can_be(cells_here.weights)
    needed, undecided = needed_cells(cells_here.rows, weights, bounds, job.min_samples, job.jobs)
    table = ship(spark, job.folder, cells_here.rows[needed])
    heavy = float(cells_here.weights[needed].sum())
    return Needed(table, int(needed.sum()), heavy, undecided)


def solve(job: Job, cells: Gathered) -> tuple[NDArray[np.int32], NDArray[np.bool_], dict[str, Any]]:
    """Labels and core marks of weighted rows, by the engine of one machine."""
    if not len(cells.rows):
        return np.empty(0, np.int32), np.empty(0, np.bool_), {"engine": "none", "clusters": 0}
    weights = cells.weights
    found = run_engine(
        ArrayPoints(cells.rows),
        job.snapping.radius,
        job.min_samples,
        weights if weights.dtype == np.int64 else whole_where_they_can_be(weights),
        "auto",
        False,
        job.jobs,
        lambda name, share: None,
        None,
    )
    told = {name: found.statistics[name] for name in ("engine", "clusters")}
    return renumbered(found.labels, found.core, cells.lowest), found.core, told


def renumbered(
    labels: NDArray[np.int32], core: NDArray[np.bool_], lowest: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Clusters numbered by their first point that is core, wherever it stands among the rows.

    >>> labels, core = np.array([0, 1, -1, 1], np.int32), np.array([1, 1, 0, 0], np.bool_)
    >>> renumbered(labels, core, np.array([3, 2, 1, 0]))
    array([ 1,  0, -1,  0], dtype=int32)
    """
    clusters = int(labels.max(initial=-1)) + 1
    first = np.full(clusters, np.iinfo(np.int64).max)
    for start in range(0, len(labels), TOGETHER):
        part = slice(start, start + TOGETHER)
        here = core[part]
        np.minimum.at(first, labels[part][here], lowest[part][here])
    number = np.empty(clusters + 1, np.int32)
    number[np.argsort(first)] = np.arange(clusters, dtype=np.int32)
    number[clusters] = -1  # in the place of noise, which is -1
    found: NDArray[np.int32] = number[labels]
    return found
