"""A dictionary of cells in parts, for what the driver cannot hold: trees as files on every machine.

    driver      a sample of the cells → a tree of medians: which part a place belongs to
    shuffle     of the pieces, by part
    tasks       the pieces of a part → a tree of its cells, and what is asked of it later
    driver      one file of all trees, which Spark carries to every machine
    tasks       map what they need: one copy a machine, however many workers

What is found out of cells is a file for each figure, in the order of the parts and of their cells.

Source: the sub-dictionaries of Song & Lee, RP-DBSCAN, SIGMOD 2018: there cut where halves are most
even, here at medians of a sample; a part out of reach is skipped by the box around all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thresher.cluster.kernels.cell_tree import lift_weights, name_balls
from thresher.cluster.kernels.tree_build import Tree, route, top_tree
from thresher.cluster.points import ArrayPoints
from thresher.cluster.row_table import empty_slots, find, slots_of
from thresher.cluster.spark import arrays, pieces
from thresher.cluster.spark.bundles import Bundle, bundled, mapped_figure, tell
from thresher.cluster.spark.carried import place_of
from thresher.cluster.spark.dictionary import Counted, Snapping, in_chunks
from thresher.cluster.tree import SAMPLED, grow

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["Parting", "SubDictionaries", "SubDictionary", "in_order", "parting_of", "split"]

MOST_LEVELS = 14
BYTES_A_CELL = 64  # of the file, about
TOGETHER = 8  # bits of a cell's number in its part: balls that begin with one go to one task
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ over the golden ratio: Fibonacci hashing

Array = NDArray[Any]


class Parting(NamedTuple):
    """Which part a place belongs to: a full binary tree of splits."""

    dimensions: NDArray[np.int64]
    values: NDArray[np.float64]
    levels: int

    def parts_of(self, places: Array) -> NDArray[np.uint16]:
        """(b,) the part of every place (b, d)."""
        parts, counts = np.empty(len(places), np.uint16), np.zeros(1 << self.levels, np.int64)
        rows = np.ascontiguousarray(places, np.float64)
        route(rows, self.dimensions, self.values, self.levels, parts, counts)
        return parts


class SubDictionary(NamedTuple):
    """The cells of a part, in the order of its tree."""

    tree: Tree
    weights: Array  # (n,)
    node_weights: Array  # (nodes,)
    lowest: NDArray[np.int64]  # (n,) the lowest number of a point
    balls: NDArray[np.int32]  # (n,) ascending: cells within eps of each other
    ball_weights: Array  # (balls,)
    slots: NDArray[np.int32]  # of the cells' hashes
    dealt: NDArray[np.int32]  # (n,) cells in the order of the tasks that are asked about them
    ends: NDArray[np.int64]  # (tasks,) where each task's cells end

    def numbers(self, rows: Array) -> NDArray[np.int32]:
        """Which cell each row (b, d) is; -1 for none."""
        return find(rows, self.slots, self.tree.columns.T)

    def of_task(self, task: int) -> NDArray[np.int32]:
        """The cells that a task is asked about, ascending."""
        return self.dealt[self.ends[task - 1] if task else 0 : self.ends[task]]


class SubDictionaries(NamedTuple):
    """What a task must know to read them."""

    trees: Bundle
    parting: Parting
    firsts: dict[int, int]  # number of each one's first cell, of all
    first_balls: dict[int, int]
    cells: int  # of all
    balls: int
    lows: Array  # (parts, d) the box around each
    highs: Array

    @property
    def parts(self) -> list[int]:
        """Those that have cells, ascending."""
        return list(self.firsts)

    def read(self, part: int) -> SubDictionary:
        """One of them, mapped into memory."""
        return subdictionary(self.trees.read(part))

    def count(self, part: int) -> int:
        """How many cells a part has."""
        return len(self.read(part).weights)

    # ---- figures of all cells, or of all balls
    def tell(self, spark: SparkSession, folder: Path, name: str, figures: Iterable[Array]) -> None:
        """Have Spark carry a figure to every machine.

        Args:
            spark: Its session.
            folder: Of the job.
            name: Of the figure.
            figures: An array a part, in their order.
        """
        tell(spark, folder / f"{self.trees.name}-{name}", figures)

    def told(self, part: int, name: str, kind: Any, *, of_balls: bool = False) -> Array:
        """A figure of a part's cells, or of its balls, mapped into memory."""
        path = place_of(self.trees.folder, f"{self.trees.name}-{name}")
        first = (self.first_balls if of_balls else self.firsts)[part]
        count = int(self.read(part).balls[-1]) + 1 if of_balls else self.count(part)
        return mapped_figure(path, np.dtype(kind).str)[first : first + count]

    def dealt_back(self, part: int, told: dict[int, Array], among: Array | None = None) -> Array:
        """What tasks have told of their own cells, in the order of all.

        Args:
            part: Of the cells.
            told: By task.
            among: (n,) bool, cells that were told of; None for all. The others are 0.
        """
        held = self.read(part)
        found = np.zeros(self.count(part), next(iter(told.values())).dtype)
        for task, values in told.items():
            own = held.of_task(task)
            own = own if among is None else own[among[own]]
            found[own] = values[: len(own)]
        return found

    def near(self, low: Array, high: Array, radius: float) -> list[int]:
        """Parts that have a cell within a radius of a box, perhaps."""
        gaps = np.maximum(0.0, np.maximum(self.lows - high, low - self.highs))
        reach = (radius * (1 + 1e-9)) ** 2
        found = (gaps * gaps).sum(axis=1) <= reach
        return [part for part, here in zip(self.parts, found, strict=True) if here]


def subdictionary(held: dict[str, Array]) -> SubDictionary:
    """A part out of its arrays."""
    tree = Tree(*(held[name] for name in Tree._fields))
    return SubDictionary(tree, *(held[name] for name in SubDictionary._fields[1:]))


# ---------------------------------------------------------------------- which part is whose
def parting_of(frame: DataFrame, snapping: Snapping, cells: int, most: int) -> Parting:
    """Medians of a sample of the cells, so that a part has at most about so many of them.

    Args:
        frame: Pieces of the dictionary.
        snapping: Of the rows.
        cells: How many there are.
        most: Of a part.
    """
    levels = min(MOST_LEVELS, max(0, (-(-cells // most) - 1).bit_length()))
    step = max(1, cells // (SAMPLED << levels))
    drawn = frame.where("cells > 0").mapInArrow(partial(_sample, snapping, step), _arrows())
    found = [
        arrays.unpacked(row["layout"], row["bytes"])["rows"] for row in drawn.toArrow().to_pylist()
    ]
    sample = np.concatenate(found) if found else np.empty((0, snapping.dimension))
    sample = np.ascontiguousarray(sample[np.lexsort(sample.T)])  # whatever the order of the pieces
    return Parting(*top_tree(sample, levels), levels)


def _sample(
    snapping: Snapping, step: int, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """One cell in so many, those whose hash says so."""
    from thresher.cluster.distinct import hashes_of

    for row in pieces.one_by_one(batches):
        rows = pieces.decoded(row, snapping.dimension, snapping.side).rows
        chosen = (hashes_of(rows) & np.uint64(0xFFFFFFFF)) % np.uint64(step) == 0
        yield from arrays.packed(row["bucket"], 0, {"rows": rows[chosen]})


def _arrows() -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(arrays.SCHEMA)


# ---------------------------------------------------------------------- the parts
def split(
    told: Counted, snapping: Snapping, parting: Parting, radius: float, folder: Path, tasks: int
) -> SubDictionaries:
    """Build all parts, write their file, and have Spark carry it to every machine.

    Args:
        told: Of the dictionary.
        snapping: Of the rows.
        parting: Which cell belongs to which part.
        radius: Cells within it are neighbours.
        folder: Of the job.
        tasks: That will be asked about the cells.
    """
    from pyspark import StorageLevel
    from pyspark.sql.pandas.types import from_arrow_schema

    parts = 1 << parting.levels
    schema = from_arrow_schema(pieces.SCHEMA)
    cells_only = told.frame.where("cells > 0")
    routed = cells_only.mapInArrow(partial(_route, snapping, parting), schema)
    ordered = routed.repartition(parts, "bucket").sortWithinPartitions("bucket")
    built = ordered.mapInArrow(partial(_build, snapping, radius, tasks), _arrows())
    built = built.persist(StorageLevel.DISK_ONLY)
    found: dict[int, _Told] = {}

    def look(part: int, held: dict[str, Array]) -> None:
        box = held["boxes"][0].reshape(2, -1).copy()
        found[part] = _Told(held["columns"].shape[1], int(held["balls"][-1]) + 1, box)

    try:
        built.select("number").toArrow()  # all of them, side by side
        rows = in_chunks(built, told.rows * BYTES_A_CELL)
        trees = bundled(told.frame.sparkSession, folder, rows, look)
    finally:
        built.unpersist()
    cells = {part: found[part].cells for part in trees.layouts}
    balls = {part: found[part].balls for part in trees.layouts}
    return SubDictionaries(
        trees,
        parting,
        counted_up(cells),
        counted_up(balls),
        sum(cells.values()),
        sum(balls.values()),
        np.array([found[part].box[0] for part in trees.layouts]),
        np.array([found[part].box[1] for part in trees.layouts]),
    )


class _Told(NamedTuple):
    """What the driver keeps of a part."""

    cells: int
    balls: int
    box: Array  # (2, d)


def counted_up(sizes: dict[int, int]) -> dict[int, int]:
    """How many come before each."""
    before = np.cumsum([0, *sizes.values()])[:-1].tolist()
    return dict(zip(sizes, before, strict=True))


def _route(
    snapping: Snapping, parting: Parting, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Every piece in pieces of parts."""
    for row in pieces.one_by_one(batches):
        piece = pieces.decoded(row, snapping.dimension, snapping.side)
        parts = parting.parts_of(piece.rows).astype(np.int32)
        yield from pieces.sorted_into(piece, parts, 1 << parting.levels, snapping.side)


def _build(
    snapping: Snapping, radius: float, tasks: int, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """The parts of a task, one after another: their pieces come so."""
    held: list[pieces.Piece] = []
    part = -1
    for row in pieces.one_by_one(batches):
        if row["bucket"] != part and held:
            yield from arrays.packed(part, 0, in_order(held, radius, part, tasks))
            held = []
        part = row["bucket"]
        held.append(pieces.decoded(row, snapping.dimension, snapping.side))
    if held:
        yield from arrays.packed(part, 0, in_order(held, radius, part, tasks))


def in_order(held: list[pieces.Piece], radius: float, part: int, tasks: int) -> dict[str, Array]:
    """A tree of pieces' cells, and what is asked of it: the arrays of a sub-dictionary."""
    rows, weights, lowest = (np.concatenate(each) for each in zip(*held, strict=True))
    tree = grow(ArrayPoints(rows), 0.0, 1, lambda *_: None)
    weights, lowest = weights[tree.rows], lowest[tree.rows]
    node_weights = np.empty(len(tree.skip), weights.dtype)
    lift_weights(tree, weights, node_weights)
    balls = np.empty(len(weights), np.int32)
    name_balls(tree, radius * radius, balls)
    cells = tree.columns.T
    slots = slots_of(cells, empty_slots(len(weights)))
    tree = tree._replace(rows=tree.rows[:0])  # in which order they came is of no use
    owners = owners_of(balls, part, tasks)
    dealt = np.argsort(owners, kind="stable").astype(np.int32)
    ends = np.cumsum(np.bincount(owners, minlength=tasks))
    starts = np.flatnonzero(np.diff(balls, prepend=-1))
    of_balls = np.add.reduceat(weights, starts)
    more = SubDictionary(tree, weights, node_weights, lowest, balls, of_balls, slots, dealt, ends)
    return {**tree._asdict(), **{name: getattr(more, name) for name in more._fields[1:]}}


def owners_of(balls: NDArray[np.int32], part: int, tasks: int) -> NDArray[np.uint16]:
    """(n,) which of so many tasks is asked about each cell, by a hash.

    A ball has one owner. Neighbours have the same where they lie in the same few hundred cells,
    so that a task meets fewer others; what is dense is scattered all the same.

    Args:
        balls: (n,) ascending.
        part: Of the cells.
        tasks: At most 2¹⁶.
    """
    first = np.searchsorted(balls, balls)  # of the cell's ball
    keys = (np.uint64(part) << np.uint64(32)) + (first >> TOGETHER).astype(np.uint64)
    mixed = (keys + np.uint64(1)) * GOLDEN >> np.uint64(33)
    return (mixed % np.uint64(tasks)).astype(np.uint16)
