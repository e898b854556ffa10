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
    lift_any,
    lift_same,
    link,
    nearest_chosen,
    weigh,
)
from thresher.cluster.kernels.disjoint import keep_forest
from thresher.cluster.kernels.tree_build import route, top_tree
from thresher.cluster.numbering import number_clusters
from thresher.cluster.spark import arrays
from thresher.cluster.spark.dictionary import Snapping
from thresher.cluster.spark.pieces import Piece
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
    layouts: dict[int, str]  # of the files of labels

    def look_up(self, rows: Array) -> Found:
        """Labels and core marks of some rows (b, d)."""
        nothing = np.zeros(len(rows), np.bool_)
        found = Found(np.full(len(rows), -1, np.int32), nothing, ~nothing)
        parts = self.cells.parting.parts_of(rows)
        for part in np.unique(parts).tolist():
            if part not in self.layouts:
                continue
            here = np.flatnonzero(parts == part)
            numbers = self.cells.read(part).numbers(rows[here])
            here, numbers = here[numbers >= 0], numbers[numbers >= 0]
            held = arrays.mapped(self.cells.file(part, "labels"), self.layouts[part])
            found.labels[here], found.core[here] = held["labels"][numbers], held["core"][numbers]
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
    linked = link_core(spark, cells, radius, tasks, "core", nearest=True).persist()
    try:
        edges, counts = merged(linked, cells.balls, tasks, most_edges)
        nearest: dict[int, dict[int, Array]] = defaultdict(dict)
        for row in linked.where(f"number <> {EDGES}").toLocalIterator():
            whose = arrays.unpacked(row["layout"], row["bytes"])["nearest"]
            nearest[row["number"]][row["task"]] = whose
        return _finish(spark, cells, folder, edges, counts, nearest, tasks)
    finally:
        linked.unpersist()


def link_core(
    spark: SparkSession,
    cells: SubDictionaries,
    radius: float,
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
        tasks: Among which cells are dealt out.
        name: Of the marks of core cells.
        nearest: Ask for the others as well.
    """
    return ask(spark, tasks, partial(_link, cells, radius, tasks, name, nearest))


def mark_core(
    spark: SparkSession,
    cells: SubDictionaries,
    radius: float,
    min_samples: float,
    folder: Path,
    tasks: int,
    name: str,
) -> None:
    """Mark the core cells, a bit for each, in files of a name that every machine gets.

    Args:
        spark: Its session.
        cells: All.
        radius: Euclidean.
        min_samples: As of DBSCAN.
        folder: Of the job.
        tasks: How many there are.
        name: Of the marks.
    """
    marked = ask(spark, tasks, partial(_mark_core, cells, radius, min_samples, tasks))
    bits: dict[int, dict[int, Array]] = defaultdict(dict)
    for row in told_by_all(marked):
        bits[row["number"]][row["task"]] = arrays.unpacked(row["layout"], row["bytes"])["core"]
    for part, told in bits.items():
        core = _dealt_back(cells.owned(part, tasks), {t: np.unpackbits(b) for t, b in told.items()})
        cells.carry(spark, folder, part, name, np.packbits(core).tobytes())


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


def _dealt_back(owners: Array, told: dict[int, Array]) -> Array:
    """What tasks have told of their own cells, in the order of all."""
    order = np.argsort(owners, kind="stable")
    ends = np.cumsum(np.bincount(owners))
    first = next(iter(told.values()))
    found = np.empty(len(owners), first.dtype)
    for task, values in told.items():
        start = ends[task - 1] if task else 0
        found[order[start : ends[task]]] = values[: ends[task] - start]
    return found


def compile_for_tasks(snapping: Snapping) -> None:
    """Compile the kernels of tasks once, in the driver: workers of this machine find them made."""
    row, one = np.zeros((1, snapping.dimension)), np.ones(1, snapping.weight_type)
    held = subdictionary(in_order([Piece(row, one, np.zeros(1, np.int64))], 1.0))
    tree, core = held.tree, np.ones(1, np.uint8)
    held.numbers(row)
    route(row, *top_tree(row, 0), 0, np.empty(1, np.uint16), np.zeros(1, np.int64))
    weigh(tree, held.weights, held.node_weights, row, 1.0, 1.0, np.zeros_like(one))
    known = bounded(tree, np.zeros(1, np.int64), core > 0)
    bounds, marks = Bounds(1.0, 1.0, 0.0), np.zeros(1, np.uint8)
    mark_needed(known, np.zeros(1, np.int64), {0: known}, {0: marks}, 0, bounds)
    for kind in (np.int32, np.int64):
        parent, edges = np.zeros(1, kind), np.zeros((1, 2), kind)
        own = np.zeros(1, np.int64)
        link(tree, core, held.balls, known.component_nodes, 0, row, own, 1.0, parent, edges, 0)
    keep_forest(np.zeros(1, np.int64), np.zeros((0, 2), np.int64), np.zeros((0, 2), np.int64))


# ---------------------------------------------------------------------- core cells
def _mark_core(
    cells: SubDictionaries, radius: float, min_samples: float, tasks: int, task: int
) -> Iterator[pa.RecordBatch]:
    """Which cells of a task are core, part by part."""
    for part in cells.layouts:
        own = np.flatnonzero(cells.owned(part, tasks) == task)
        held = cells.read(part)
        core = np.empty(len(own), np.bool_)
        for start in range(0, len(own), BLOCK):
            here = own[start : start + BLOCK]
            places = np.ascontiguousarray(held.tree.columns[:, here].T)
            totals = np.zeros(len(here), held.weights.dtype)
            near = cells.near(places.min(axis=0), places.max(axis=0), radius)
            for other in sorted(near, key=lambda each: each != part):  # most of it is at home
                there = cells.read(other)
                weigh(
                    there.tree, there.weights, there.node_weights, places, radius * radius,
                    min_samples, totals,
                )  # fmt: skip
            core[start : start + BLOCK] = totals >= min_samples
        if len(own):
            yield from arrays.packed(part, task, {"core": np.packbits(core)})


# ---------------------------------------------------------------------- links
def _link(
    cells: SubDictionaries, radius: float, tasks: int, name: str, nearest: bool, task: int
) -> Iterator[pa.RecordBatch]:
    """A forest of the links of a task's core cells, and the nearest core ball of its others."""
    kind = np.int32 if cells.balls < 2**31 else np.int64
    parent = np.arange(cells.balls, dtype=kind)
    edges = np.empty((cells.balls, 2), kind)
    count = 0
    asking = {part: _Asking.of(cells, part, tasks, task, radius, name) for part in cells.layouts}
    for other in cells.layouts:
        there = cells.read(other)
        core = cells.marks(other, name)
        held = np.empty(len(there.tree.skip), np.uint8)
        lift_any(there.tree, core, held)
        if not held[0]:
            continue
        balls = np.where(core > 0, there.balls, np.int32(NONE))
        same = np.empty(len(held), np.int64)
        lift_same(there.tree, balls, same)
        first = cells.first_balls[other]
        for asks in asking.values():
            if asks is None or other not in asks.near:
                continue
            count = link(
                there.tree, core, there.balls, same, first, asks.core_places, asks.core_balls,
                radius * radius, parent, edges, count,
            )  # fmt: skip
            if not nearest:
                continue
            before = asks.found.copy()
            nearest_chosen(
                there.tree, core, held, cells.firsts[other], asks.places, asks.least, asks.found,
                asks.found_at,
            )  # fmt: skip
            nearer = asks.found != before
            at_home = asks.found[nearer] - cells.firsts[other]
            asks.found_ball[nearer] = first + there.balls[at_home]
    yield from arrays.packed(EDGES, task, {"edges": edges[:count]})
    for part, asks in asking.items():
        if nearest and asks is not None and len(asks.places):
            yield from arrays.packed(part, task, {"nearest": asks.found_ball.astype(kind)})


class _Asking(NamedTuple):
    """A task's cells of a part."""

    near: frozenset[int]  # parts in reach
    core_places: Array  # (k, d)
    core_balls: NDArray[np.int64]  # (k,)
    places: Array  # (q, d) of the others
    least: NDArray[np.float64]  # (q,) squared distance of the nearest core cell so far
    found: NDArray[np.int64]  # (q,) its number
    found_at: Array  # (q, d)
    found_ball: NDArray[np.int64]  # (q,)

    @classmethod
    def of(
        cls, cells: SubDictionaries, part: int, tasks: int, task: int, radius: float, name: str
    ) -> _Asking | None:
        """None where a part has no cell of the task."""
        own = np.flatnonzero(cells.owned(part, tasks) == task)
        if not len(own):
            return None
        held = cells.read(part)
        core = cells.marks(part, name)[own] > 0
        places = np.ascontiguousarray(held.tree.columns[:, own].T)
        others = np.ascontiguousarray(places[~core])
        return cls(
            frozenset(cells.near(places.min(axis=0), places.max(axis=0), radius)),
            np.ascontiguousarray(places[core]),
            cells.first_balls[part] + held.balls[own[core]].astype(np.int64),
            others,
            np.full(len(others), radius * radius),
            np.full(len(others), -1, np.int64),
            np.empty_like(others),
            np.full(len(others), -1, np.int64),
        )


# ---------------------------------------------------------------------- forests
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
    found = [
        arrays.unpacked(row["layout"], row["bytes"])["edges"] for row in forests.toLocalIterator()
    ]
    for each in held:
        each.unpersist()
    last = _forest_of(found, balls)
    return last, [*counts, len(last)]


def _edges_in(forests: DataFrame) -> int:
    from json import loads

    told = forests.select("layout").toArrow().column(0).to_pylist()
    return sum(loads(layout)[0][2][0] for layout in told)


def _merge(balls: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """A task of a round."""
    found, tasks = [], [0]
    for batch in batches:
        for row in batch.to_pylist():
            found.append(arrays.unpacked(row["layout"], row["bytes"])["edges"])
            tasks.append(row["task"])
    yield from arrays.packed(EDGES, max(tasks), {"edges": _forest_of(found, balls)})


def _forest_of(found: list[Array], balls: int) -> NDArray[np.int64]:
    """The edges that join two sets, one after another."""
    parent = np.arange(balls, dtype=np.int64)
    kept = [np.empty((0, 2), np.int64)]
    for each in found:
        edges = np.array(each, np.int64)
        new = np.empty_like(edges)
        kept.append(new[: keep_forest(parent, edges, new)])
    return np.concatenate(kept)


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
    for part in cells.layouts:
        held, owner = cells.read(part), cells.owned(part, tasks)
        core = cells.marks(part, "core") > 0
        first = cells.first_balls[part]
        np.minimum.at(lowest, first + held.balls[core], held.lowest[core])
        loads += [
            np.bincount(owner, minlength=tasks),
            np.bincount(owner, weights=held.weights, minlength=tasks),
        ]
    numbers, _ = number_clusters(parent, lowest)
    dense = lowest < LATEST
    clusters = int(numbers[dense].max(initial=-1)) + 1
    layouts = {}
    for part in cells.layouts:
        held, core = cells.read(part), cells.marks(part, "core") > 0
        labels = np.full(len(core), -1, np.int32)
        labels[core] = numbers[cells.first_balls[part] + held.balls[core]]
        if part in nearest:
            whose = _dealt_back(cells.owned(part, tasks)[~core], nearest[part])
            labels[~core] = np.where(whose >= 0, numbers[whose], -1)
        (row,) = arrays.packed(part, 0, {"labels": labels, "core": core})
        told = row.to_pylist()[0]
        cells.carry(spark, folder, part, "labels", told["bytes"])
        layouts[part] = told["layout"]
    share = loads.max(axis=1) / np.maximum(loads.mean(axis=1), 1e-300)
    balance = {"cells": float(share[0]), "points": float(share[1])}
    return Graph(CellLabels(cells, layouts), clusters, counts, balance)
