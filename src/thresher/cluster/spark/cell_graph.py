"""Clusters of cells that lie in sub-dictionaries: tasks mark core cells, then link them.

    tasks       each a share of the cells, by hash      → which of them are core
    driver      a bit a cell, carried to every machine
    tasks       the same cells → a forest of what is linked, and the nearest core cell of the others
    rounds      the forests of a few tasks become one, until the driver can take them
    driver      components → numbers → labels of cells, carried to every machine

Cells within eps of each other as far as nodes of the tree allow are a ball: it is in one cluster,
and one vertex of the graph. A task asks about whole balls. As hashes scatter them, every task has
about as much to do however skewed the data are.

Source: cell graphs and their progressive merging, Song & Lee, RP-DBSCAN, SIGMOD 2018.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.cluster.kernels.cell_tree import (
    NONE,
    lift_same,
    link,
    nearest_chosen,
    weigh,
)
from thresher.cluster.kernels.disjoint import keep_forest, keep_sparse_forest
from thresher.cluster.kernels.tree_build import route, top_tree
from thresher.cluster.numbering import number_clusters
from thresher.cluster.spark import arrays
from thresher.cluster.spark.bundles import Bundle, bundled
from thresher.cluster.spark.dictionary import Snapping
from thresher.cluster.spark.pieces import Piece, one_by_one
from thresher.cluster.spark.row_tables import Found
from thresher.cluster.spark.sub_dictionaries import SubDictionaries, in_order, subdictionary
from thresher.cluster.undecided import Bounds, bounded, mark_needed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = [
    "EDGES",
    "CellLabels",
    "Graph",
    "ask",
    "cluster_cells",
    "compile_for_tasks",
    "link_core",
    "mark_core",
    "merged",
    "of_parts",
    "told_by_all",
]

BLOCK = 16_384  # cells that are asked about together
FAN = 4  # forests that become one in a round
EDGES = -1  # in the place of a part's number
LATEST = np.iinfo(np.int64).max

Array = NDArray[Any]


class CellLabels(NamedTuple):
    """Labels of cells in sub-dictionaries, for workers."""

    cells: SubDictionaries

    def look_up(self, rows: Array) -> Found:
        """Labels and core marks of some rows (b, d)."""
        nothing = np.zeros(len(rows), np.bool_)
        found = Found(np.full(len(rows), -1, np.int32), nothing, ~nothing)
        parts = self.cells.parting.parts_of(rows)
        for part in np.unique(parts).tolist():
            if part not in self.cells.firsts:
                continue
            here = np.flatnonzero(parts == part)
            numbers = self.cells.read(part).numbers(rows[here])
            here, numbers = here[numbers >= 0], numbers[numbers >= 0]
            found.labels[here] = self.cells.told(part, "labels", np.int32)[numbers]
            found.core[here] = self.cells.told(part, "core", np.bool_)[numbers]
            found.missing[here] = False
        return found


class Graph(NamedTuple):
    """What a run over the sub-dictionaries has found."""

    labels: CellLabels
    clusters: int
    edges: list[int]  # before every round, and after the last
    balance: dict[str, float]  # the largest task's share of cells and of points, over the mean


def cluster_cells(
    spark: SparkSession,
    cells: SubDictionaries,
    radius: float,
    min_samples: float,
    folder: Path,
    tasks: int,
    most_edges: int,
) -> Graph:
    """Cluster the cells of sub-dictionaries.

    Args:
        spark: Its session.
        cells: At least one.
        radius: Euclidean.
        min_samples: As of DBSCAN.
        folder: Of the job.
        tasks: Among which cells are dealt out.
        most_edges: That the driver takes.
    """
    mark_core(spark, cells, radius, min_samples, folder, tasks, "core")
    linked = link_core(spark, cells, radius, folder, tasks, "core", nearest=True).persist()
    try:
        edges, counts = merged(linked, cells.balls, tasks, most_edges)
        nearest: dict[int, dict[int, Array]] = defaultdict(dict)
        for row in linked.where(f"number <> {EDGES}").toLocalIterator():
            whose = arrays.unpacked(row["layout"], row["bytes"])["nearest"]
            nearest[row["number"]][row["task"]] = whose
        return _finish(spark, cells, folder, edges, counts, nearest, tasks)
    finally:
        linked.unpersist()


def mark_core(
    spark: SparkSession,
    cells: SubDictionaries,
    radius: float,
    min_samples: float,
    folder: Path,
    tasks: int,
    name: str,
) -> None:
    """Mark the core cells: a figure of a name.

    Args:
        spark: Its session.
        cells: All.
        radius: Euclidean.
        min_samples: As of DBSCAN.
        folder: Of the job.
        tasks: Among which cells are dealt out.
        name: Of the marks.
    """
    marked = ask(spark, tasks, partial(_mark_core, cells, radius, min_samples))
    bits: dict[int, dict[int, Array]] = defaultdict(dict)
    for row in told_by_all(marked):
        bits[row["number"]][row["task"]] = arrays.unpacked(row["layout"], row["bytes"])["core"]

    def core_of(part: int) -> Array:
        told = {task: np.unpackbits(each) for task, each in bits[part].items()}
        return cells.dealt_back(part, told)

    cells.tell(spark, folder, name, map(core_of, cells.parts))


def link_core(
    spark: SparkSession,
    cells: SubDictionaries,
    radius: float,
    folder: Path,
    tasks: int,
    name: str,
    *,
    nearest: bool,
) -> DataFrame:
    """Forests of the links of core cells, and perhaps the nearest core ball of every other cell.

    Args:
        spark: Its session.
        cells: All.
        radius: Euclidean.
        folder: Of the job.
        tasks: Among which cells are dealt out.
        name: Of the marks of core cells.
        nearest: Ask for the others as well.
    """
    nodes = of_parts(spark, cells, folder, tasks, partial(_lift, cells, name))
    return ask(spark, tasks, partial(_link, cells, nodes, radius, name, nearest))


def of_parts(
    spark: SparkSession,
    cells: SubDictionaries,
    folder: Path,
    tasks: int,
    work: Callable[[int], dict[str, Array]],
) -> Bundle:
    """What work makes of every part, once, for all tasks that will read it.

    Args:
        spark: Its session.
        cells: All.
        folder: Of the job.
        tasks: Among which parts are dealt out.
        work: Of a part.
    """
    return bundled(
        spark, folder, told_by_all(ask(spark, tasks, partial(_dealt, cells, tasks, work)))
    )


def _dealt(
    cells: SubDictionaries, tasks: int, work: Callable[[int], dict[str, Array]], task: int
) -> Iterator[pa.RecordBatch]:
    for part in cells.parts[task::tasks]:
        yield from arrays.packed(part, task, work(part))


def ask(spark: SparkSession, tasks: int, work: Callable[[int], Any]) -> DataFrame:
    """What so many tasks tell, each of its number."""
    from pyspark.sql.pandas.types import from_arrow_schema

    numbers = spark.range(0, tasks, 1, tasks)
    return numbers.mapInArrow(partial(_each, work), from_arrow_schema(arrays.SCHEMA))


def told_by_all(frame: DataFrame) -> Iterator[Any]:
    """The rows of tasks that run side by side; without this, one partition runs after another."""
    from pyspark import StorageLevel

    kept = frame.persist(StorageLevel.DISK_ONLY)
    try:
        kept.select("number").toArrow()
        yield from kept.toLocalIterator(prefetchPartitions=True)
    finally:
        kept.unpersist()


def _each(
    work: Callable[[int], Iterator[pa.RecordBatch]], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for task in batch.column(0).to_pylist():
            yield from work(task)


def compile_for_tasks(snapping: Snapping) -> None:
    """Compile the kernels of tasks once, in the driver: workers of this machine find them made."""
    row, one = np.zeros((1, snapping.dimension)), np.ones(1, snapping.weight_type)
    held = subdictionary(in_order([Piece(row, one, np.zeros(1, np.int64))], 1.0, 0, 1))
    tree, core = held.tree, np.ones(1, np.uint8)
    held.numbers(row)
    route(row, *top_tree(row, 0), 0, np.empty(1, np.uint16), np.zeros(1, np.int64))
    weigh(tree, held.weights, held.node_weights, row, 1.0, 1.0, np.zeros_like(one))
    known = bounded(tree, np.zeros(1, np.int64), core > 0)
    bounds, marks = Bounds(1.0, 1.0, 0.0), np.zeros(1, np.uint8)
    mark_needed(known, np.zeros(1, np.int64), {0: known}, {0: marks}, 0, bounds)
    same, own = np.zeros(1, np.int32), np.zeros(1, np.int64)
    lift_same(tree, np.zeros(1, np.int32), same)
    for kind in (np.uint32, np.uint64):
        parent, edges = np.zeros(1, kind), np.zeros((1, 2), kind)
        link(tree, core, held.balls, same, 0, row, own, 1.0, parent, edges, 0)
        told = np.frombuffer(edges.tobytes(), kind).reshape(edges.shape)  # cannot be written to
        keep_sparse_forest(parent, told, edges, 0)
    nearest_chosen(tree, core, core, 0, row, np.ones(1), own, row.copy())


# ---------------------------------------------------------------------- core cells
def _mark_core(
    cells: SubDictionaries, radius: float, min_samples: float, task: int
) -> Iterator[pa.RecordBatch]:
    """Which cells of a task are core, part by part."""
    for part in cells.parts:
        held = cells.read(part)
        own = held.of_task(task)
        core = held.ball_weights[held.balls[own]] >= min_samples  # the cells of a ball are near
        asking = np.flatnonzero(~core)
        for start in range(0, len(asking), BLOCK):
            block = asking[start : start + BLOCK]
            places = np.ascontiguousarray(held.tree.columns[:, own[block]].T)
            totals = np.zeros(len(block), held.weights.dtype)
            near = cells.near(places.min(axis=0), places.max(axis=0), radius)
            for other in sorted(near, key=lambda each: each != part):  # most of it is at home
                there = cells.read(other)
                weigh(
                    there.tree, there.weights, there.node_weights, places, radius * radius,
                    min_samples, totals,
                )  # fmt: skip
            core[block] = totals >= min_samples
        if len(own):
            yield from arrays.packed(part, task, {"core": np.packbits(core)})


# ---------------------------------------------------------------------- links
def _lift(cells: SubDictionaries, name: str, part: int) -> dict[str, Array]:
    """Of a part's nodes: the ball of its core cells, if it is one, and whether there is any."""
    held = cells.read(part)
    balls = np.where(cells.told(part, name, np.bool_), held.balls, np.int32(NONE))
    same = np.empty(len(held.tree.skip), np.int32)
    lift_same(held.tree, balls, same)
    return {"same": same, "held": (same != NONE).astype(np.uint8)}


def _link(
    cells: SubDictionaries, nodes: Bundle, radius: float, name: str, nearest: bool, task: int
) -> Iterator[pa.RecordBatch]:
    """A forest of the links of a task's core cells, and the nearest core ball of its others."""
    parent, edges = _no_links(cells.balls)
    count = 0
    for part in cells.parts:
        asks = _Asking.of(cells, part, task, radius, name)
        if asks is None:
            continue
        for other in asks.near:
            of_nodes = nodes.read(other)
            if not of_nodes["held"][0]:
                continue
            there, core = cells.read(other), cells.told(other, name, np.uint8)
            first = cells.first_balls[other]
            count = link(
                there.tree, core, there.balls, of_nodes["same"], first, asks.core_places,
                asks.core_balls, radius * radius, parent, edges, count,
            )  # fmt: skip
            if not nearest:
                continue
            before = asks.found.copy()
            nearest_chosen(
                there.tree, core, of_nodes["held"], cells.firsts[other], asks.places, asks.least,
                asks.found, asks.found_at,
            )  # fmt: skip
            nearer = asks.found != before
            at_home = asks.found[nearer] - cells.firsts[other]
            asks.found_ball[nearer] = first + there.balls[at_home]
        if nearest and len(asks.places):
            yield from arrays.packed(part, task, {"nearest": asks.found_ball})
    yield from arrays.packed(EDGES, task, {"edges": edges[:count]})


class _Asking(NamedTuple):
    """A task's cells of a part."""

    near: list[int]  # parts in reach
    core_places: Array  # (k, d)
    core_balls: NDArray[np.int64]  # (k,)
    places: Array  # (q, d) of the others
    least: NDArray[np.float64]  # (q,) squared distance of the nearest core cell so far
    found: NDArray[np.int64]  # (q,) its number
    found_at: Array  # (q, d)
    found_ball: NDArray[np.int64]  # (q,)

    @classmethod
    def of(
        cls, cells: SubDictionaries, part: int, task: int, radius: float, name: str
    ) -> _Asking | None:
        """None where a part has no cell of the task."""
        held = cells.read(part)
        own = held.of_task(task)
        if not len(own):
            return None
        core = cells.told(part, name, np.bool_)[own]
        places = np.ascontiguousarray(held.tree.columns[:, own].T)
        others = np.ascontiguousarray(places[~core])
        return cls(
            cells.near(places.min(axis=0), places.max(axis=0), radius),
            np.ascontiguousarray(places[core]),
            cells.first_balls[part] + held.balls[own[core]].astype(np.int64),
            others,
            np.full(len(others), radius * radius),
            np.full(len(others), -1, np.int64),
            np.empty_like(others),
            np.full(len(others), -1, np.int64),
        )


# ---------------------------------------------------------------------- forests
def _no_links(balls: int) -> tuple[Array, Array]:
    """Sparse sets of balls that stand alone, and room for what will join them.

    Both are as long as there are balls, yet only pages that are written to take memory.
    """
    kind = np.uint32 if balls < 2**32 else np.uint64
    return np.zeros(balls, kind), np.empty((balls, 2), kind)


def merged(told: DataFrame, balls: int, tasks: int, most: int) -> tuple[Array, list[int]]:
    """One forest of the links that all tasks have found, and how many edges each round had.

    Args:
        told: Of `link_core`, persisted.
        balls: How many there are.
        tasks: That have told.
        most: Edges that the driver takes.
    """
    from pyspark.sql import functions as f
    from pyspark.sql.pandas.types import from_arrow_schema

    forests = told.where(f"number = {EDGES}")
    counts = [_edges_in(forests)]
    held = []
    while tasks > 1 and counts[-1] > most:
        tasks = -(-tasks // FAN)
        dealt = forests.withColumn("task", (f.col("task") / FAN).cast("int"))
        together = dealt.repartition(tasks, "task")
        forests = together.mapInArrow(partial(_merge, balls), from_arrow_schema(arrays.SCHEMA))
        held.append(forests.persist())
        counts.append(_edges_in(forests))
    last = _forest_of((_edges(row) for row in forests.toLocalIterator()), balls)
    for each in held:
        each.unpersist()
    return last, [*counts, len(last)]


def _edges_in(forests: DataFrame) -> int:
    from json import loads

    told = forests.select("layout").toArrow().column(0).to_pylist()
    return sum(loads(layout)[0][2][0] for layout in told)


def _merge(balls: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """A task of a round."""
    task = 0

    def forests() -> Iterator[Array]:
        nonlocal task
        for row in one_by_one(batches):
            task = max(task, row["task"])
            yield _edges(row)

    edges = _forest_of(forests(), balls)
    yield from arrays.packed(EDGES, task, {"edges": edges})


def _edges(row: Any) -> Array:
    return arrays.unpacked(row["layout"], row["bytes"])["edges"]


def _forest_of(forests: Iterable[Array], balls: int) -> Array:
    """The edges of forests that join two sets, one forest after another."""
    parent, kept = _no_links(balls)
    count = 0
    for edges in forests:
        count = keep_sparse_forest(parent, edges, kept, count)
    return kept[:count]


# ---------------------------------------------------------------------- labels
def _finish(
    spark: SparkSession,
    cells: SubDictionaries,
    folder: Path,
    edges: Array,
    counts: list[int],
    nearest: dict[int, dict[int, Array]],
    tasks: int,
) -> Graph:
    """Number the clusters, and carry the labels of cells to every machine."""
    parent = np.arange(cells.balls, dtype=np.int64)
    keep_forest(parent, edges, np.empty_like(edges))
    lowest = np.full(cells.balls, LATEST)
    loads = np.zeros((2, tasks))
    for part in cells.parts:
        held, core = cells.read(part), cells.told(part, "core", np.bool_)
        first = cells.first_balls[part]
        np.minimum.at(lowest, first + held.balls[core], held.lowest[core])
        loads[0] += np.diff(held.ends, prepend=0)
        loads[1] += [float(held.weights[held.of_task(task)].sum()) for task in range(tasks)]
    numbers, _ = number_clusters(parent, lowest)
    dense = lowest < LATEST
    clusters = int(numbers[dense].max(initial=-1)) + 1

    def labels_of(part: int) -> Array:
        held, core = cells.read(part), cells.told(part, "core", np.bool_)
        labels = np.full(len(core), -1, np.int32)
        labels[core] = numbers[cells.first_balls[part] + held.balls[core]]
        if part in nearest:
            whose = cells.dealt_back(part, nearest[part], among=~core)[~core]
            labels[~core] = np.where(whose >= 0, numbers[whose], -1)
        return labels

    cells.tell(spark, folder, "labels", map(labels_of, cells.parts))
    share = loads.max(axis=1) / np.maximum(loads.mean(axis=1), 1e-300)
    balance = {"cells": float(share[0]), "points": float(share[1])}
    return Graph(CellLabels(cells), clusters, counts, balance)
