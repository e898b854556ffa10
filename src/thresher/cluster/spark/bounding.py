"""Which cells' points decide what an exact run needs to know: asked of all cells by tasks.

    tasks       cells that are core at the lower radius, and at the upper one; links at the lower
    driver      components of the sure cells, carried to every machine
    tasks       `thresher.cluster.undecided` of their own cells → marks of cells anywhere
    driver      the marks of all, carried to every machine

As `thresher.cluster.undecided.needed_cells` does where the driver holds all cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.cluster.kernels.cell_tree import NONE
from thresher.cluster.kernels.disjoint import flatten, keep_forest
from thresher.cluster.spark import arrays, pieces
from thresher.cluster.spark.cell_graph import ask, link_core, mark_core, merged, told_by_all
from thresher.cluster.spark.dictionary import Snapping
from thresher.cluster.spark.row_tables import Array, RowSet
from thresher.cluster.spark.sub_dictionaries import SubDictionaries
from thresher.cluster.undecided import Bounded, Bounds, bounded, mark_needed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["AllCells", "Needed", "NeededCells", "left_over", "needed_by_tasks"]

BLOCK = 4_096  # cells that are asked about together


class NeededCells(NamedTuple):
    """Cells of sub-dictionaries that are marked, for workers."""

    cells: SubDictionaries
    parts: frozenset[int]  # that have any

    def contains(self, rows: Array) -> NDArray[np.bool_]:
        """Whether each of some rows (b, d) is one of them."""
        found = np.zeros(len(rows), np.bool_)
        parts = self.cells.parting.parts_of(rows)
        for part in np.unique(parts).tolist():
            if part in self.parts:
                here = np.flatnonzero(parts == part)
                numbers = self.cells.read(part).numbers(rows[here])
                bits = _bits(self.cells.file(part, "needed"))
                marked = bits[numbers >> 3] >> (7 - (numbers & 7)).astype(np.uint8) & 1
                found[here] = (numbers >= 0) & (marked > 0)
        return found


@lru_cache(maxsize=1 << 14)
def _bits(path: Path) -> NDArray[np.uint8]:
    return np.asarray(np.memmap(path, np.uint8, mode="r"))


class AllCells(NamedTuple):
    """All there are."""

    def contains(self, rows: Array) -> NDArray[np.bool_]:
        """Each is one of them."""
        return np.ones(len(rows), np.bool_)


class Needed(NamedTuple):
    """Cells whose points are asked for."""

    cells: RowSet
    how_many: int
    weight: float  # of their points
    undecided: int  # that may or may not hold core points


def needed_by_tasks(
    spark: SparkSession,
    cells: SubDictionaries,
    bounds: Bounds,
    min_samples: float,
    folder: Path,
    tasks: int,
    most_edges: int,
) -> Needed:
    """Find the cells whose points decide.

    Args:
        spark: Its session.
        cells: Whose balls are of the lower radius.
        bounds: The radii; the lower one > 0.
        min_samples: As of DBSCAN.
        folder: Of the job.
        tasks: Among which cells are dealt out.
        most_edges: That the driver takes.
    """
    for radius, name in ((bounds.sure, "sure"), (bounds.possible, "possible")):
        mark_core(spark, cells, radius, min_samples, folder, tasks, name)
    linked = link_core(spark, cells, bounds.sure, tasks, "sure", nearest=False).persist()
    try:
        edges, _ = merged(linked, cells.balls, tasks, most_edges)
    finally:
        linked.unpersist()
    parent = np.arange(cells.balls, dtype=np.int64)
    keep_forest(parent, edges, np.empty_like(edges))
    flatten(parent)
    for part in cells.layouts:
        first = cells.first_balls[part]
        own = parent[first : first + int(cells.read(part).balls[-1]) + 1]
        cells.carry(spark, folder, part, "components", own.tobytes())

    marks = {part: np.zeros(len(cells.read(part).weights), np.uint8) for part in cells.layouts}
    undecided = 0
    asked = ask(spark, tasks, partial(_mark, cells, bounds, tasks))
    for row in told_by_all(asked):
        told = arrays.unpacked(row["layout"], row["bytes"])
        mine = marks[row["number"]]
        mine |= np.unpackbits(told["needed"], count=len(mine))
        undecided += int(told["undecided"][0])
    count, weight = 0, 0.0
    parts = []
    for part, needed in marks.items():
        if needed.any():
            count += int(needed.sum())
            weight += float(cells.read(part).weights[needed > 0].sum())
            parts.append(part)
            cells.carry(spark, folder, part, "needed", np.packbits(needed).tobytes())
    return Needed(NeededCells(cells, frozenset(parts)), count, weight, undecided)


def _mark(
    cells: SubDictionaries, bounds: Bounds, tasks: int, task: int
) -> Iterator[pa.RecordBatch]:
    """What a task's own cells need."""
    known: dict[int, Bounded] = {}
    needed: dict[int, NDArray[np.uint8]] = {}
    undecided: dict[int, int] = {}
    for part in cells.layouts:
        own = np.flatnonzero(cells.owned(part, tasks) == task)
        for start in range(0, len(own), BLOCK):
            here = own[start : start + BLOCK]
            places = cells.read(part).tree.columns[:, here]
            near = cells.near(places.min(axis=1), places.max(axis=1), bounds.possible)
            for other in {part, *near} - known.keys():
                known[other] = _bounded(cells, other)
                needed.setdefault(other, np.zeros(len(known[other].sure), np.uint8))
            mine = known[part]
            trees = {other: known[other] for other in near}
            mark_needed(mine, here, trees, needed, part, bounds)
            undecided[part] = undecided.get(part, 0) + int(mine.undecided[here].sum())
        known.clear()  # parts lie by place, so that the next one has other neighbours
    for part, marks in needed.items():
        if marks.any():
            told: dict[str, Array] = {
                "needed": np.packbits(marks),
                "undecided": np.array([undecided.get(part, 0)], np.int64),
            }
            yield from arrays.packed(part, task, told)


def _bounded(cells: SubDictionaries, part: int) -> Bounded:
    """What the bounds say of a part's cells."""
    held = cells.read(part)
    of_ball = np.fromfile(cells.file(part, "components"), np.int64)
    sure = cells.marks(part, "sure") > 0
    components = np.where(sure, of_ball[held.balls], NONE)
    return bounded(held.tree, components, cells.marks(part, "possible") > 0)


def left_over(frame: DataFrame, snapping: Snapping, needed: RowSet) -> DataFrame:
    """The pieces of a dictionary of cells without those whose points are asked for."""
    cells = frame.where("cells > 0")
    return cells.mapInArrow(partial(_leave, snapping, needed), frame.schema)


def _leave(
    snapping: Snapping, needed: RowSet, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for row in pieces.one_by_one(batches):
        piece = pieces.decoded(row, snapping.dimension, snapping.side)
        kept = ~needed.contains(piece.rows)
        rest = pieces.Piece(*(each[kept] for each in piece))
        nowhere = np.zeros(len(rest.rows), np.int32)
        yield from pieces.sorted_into(rest, nowhere, 1, snapping.side)
