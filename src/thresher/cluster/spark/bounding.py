"""Which cells' points decide what an exact run needs to know: asked of all cells by tasks.

    tasks       cells that are core at the lower radius, and at the upper one; links at the lower
    driver      components of the sure cells, carried to every machine
    tasks       `thresher.cluster.undecided` of their own cells → marks of cells anywhere
    driver      the marks of all, carried to every machine

As `thresher.cluster.undecided.needed_cells` does where the driver holds all cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.cluster.kernels.cell_tree import NONE
from thresher.cluster.kernels.disjoint import flatten, keep_forest
from thresher.cluster.spark import arrays, pieces
from thresher.cluster.spark.bundles import Bundle
from thresher.cluster.spark.cell_graph import (
    ask,
    link_core,
    mark_core,
    merged,
    of_parts,
    told_by_all,
)
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
                marked = self.cells.told(part, "needed", np.bool_)[numbers]
                found[here] = (numbers >= 0) & marked
        return found


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
    linked = link_core(spark, cells, bounds.sure, folder, tasks, "sure", nearest=False).persist()
    try:
        edges, _ = merged(linked, cells.balls, tasks, most_edges)
    finally:
        linked.unpersist()
    parent = np.arange(cells.balls, dtype=np.int64)
    keep_forest(parent, edges, np.empty_like(edges))
    flatten(parent)
    cells.tell(spark, folder, "components", [parent])

    known = of_parts(spark, cells, folder, tasks, partial(_bounded, cells))

    marks = {part: np.zeros(cells.count(part), np.bool_) for part in cells.parts}
    undecided = 0
    for row in told_by_all(ask(spark, tasks, partial(_mark, cells, known, bounds))):
        told = arrays.unpacked(row["layout"], row["bytes"])
        undecided += int(told["undecided"][0])
        runs = np.split(told["cells"], told["ends"][:-1])
        for part, needed in zip(told["parts"].tolist(), runs, strict=True):
            marks[part][needed] = True
    cells.tell(spark, folder, "needed", marks.values())
    having = [part for part, needed in marks.items() if needed.any()]
    count = sum(int(marks[part].sum()) for part in having)
    weight = sum(float(cells.read(part).weights[marks[part]].sum()) for part in having)
    return Needed(NeededCells(cells, frozenset(having)), count, weight, undecided)


def _bounded(cells: SubDictionaries, part: int) -> dict[str, Array]:
    """What the bounds say of a part's cells and nodes."""
    held = cells.read(part)
    of_ball = cells.told(part, "components", np.int64, of_balls=True)
    components = np.where(cells.told(part, "sure", np.bool_), of_ball[held.balls], NONE)
    found = bounded(held.tree, components, cells.told(part, "possible", np.bool_))
    return {name: getattr(found, name) for name in Bounded._fields[1:]}


def _mark(
    cells: SubDictionaries, known: Bundle, bounds: Bounds, task: int
) -> Iterator[pa.RecordBatch]:
    """What a task's own cells need, part by part."""
    for part in cells.parts:
        own = cells.read(part).of_task(task)
        if not len(own):
            continue
        mine = _known(cells, known, part)
        needed: dict[int, NDArray[np.uint8]] = {}
        for start in range(0, len(own), BLOCK):
            here = own[start : start + BLOCK]
            places = mine.tree.columns[:, here]
            near = cells.near(places.min(axis=1), places.max(axis=1), bounds.possible)
            trees = {other: _known(cells, known, other) for other in near}
            for other in trees.keys() - needed.keys():
                needed[other] = np.zeros(cells.count(other), np.uint8)
            mark_needed(mine, here, trees, needed, part, bounds)
        found = {other: np.flatnonzero(marks) for other, marks in needed.items()}
        told: dict[str, Array] = {
            "parts": np.array(list(found), np.int64),
            "ends": np.cumsum([len(marked) for marked in found.values()]),
            "cells": np.concatenate(list(found.values())).astype(np.int32),
            "undecided": np.array([mine.undecided[own].sum()], np.int64),
        }
        yield from arrays.packed(part, task, told)


def _known(cells: SubDictionaries, known: Bundle, part: int) -> Bounded:
    return Bounded(cells.read(part).tree, **known.read(part))


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
