"""Exact DBSCAN on a grid, for one to three dimensions.

    points → keys of cells → buckets → sorted by cell → core points → core cells joined → labels

Cells have the diagonal eps, so that the points of one are neighbours of each other: what is dense
is decided cell by cell.

Source: Song & Lee, RP-DBSCAN, SIGMOD 2018, carried on one machine; the grid is that of Gan & Tao,
SIGMOD 2015.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kernels.grid_cells import list_cells, sort_bucket
from thresher.cluster.kernels.grid_core import mark_core, weigh_cells
from thresher.cluster.kernels.grid_join import box_cells, gather_core, join_cells
from thresher.cluster.kernels.grid_keys import (
    PADDING,
    Axes,
    Buckets,
    Layout,
    bounds,
    bucket_of_part,
    keys_of_rows,
)
from thresher.cluster.kernels.grid_label import label_cells
from thresher.cluster.kernels.grid_rows import Rows
from thresher.cluster.kernels.partition import count_buckets, first_places, move
from thresher.cluster.numbering import number_clusters
from thresher.cluster.open_points import check_finite
from thresher.cluster.points import Clustered, Phase, Points
from thresher.cluster.threads import each
from thresher.errors import ParameterError

__all__ = ["cluster", "fits"]

KEY_BITS = 62
SAMPLED = 32_768  # points that tell how many fall where
SLOTS = 65_536
BUCKET = 2_048  # points of a bucket, about
MOST_BUCKETS = 2_048
STEEPEST = 0.75  # cosine of a cap's angle: eps stays below two sides, as the rows want it
FINEST = 1e-9  # eps on the unit sphere from which on rounding is small against a square
RUNS = 16  # of cells, for every thread: late ones even out early ones

Array = NDArray[Any]


class Grid(NamedTuple):
    """Where the cells lie."""

    layout: Layout
    axes: Axes
    rows: Rows


class Cells(NamedTuple):
    """Points in order of their cells."""

    columns: tuple[Array, ...]  # d arrays of (N,)
    rows: Array  # (N,) their row numbers
    weights: Array | None
    keys: Array  # (cells,) ascending
    starts: Array  # (cells + 1,) first point of each


def cluster(
    points: Points,
    eps: float,
    min_samples: float,
    weights: Array | None,
    jobs: int,
    phase: Phase,
    *,
    on_sphere: bool = False,
) -> Clustered:
    """Cluster points of at most three dimensions.

    Args:
        points: At least one.
        eps: Radius of a neighbourhood, > 0.
        min_samples: Least weight of a core point's neighbourhood, the point itself included.
        weights: (N,) int64 or float64, >= 0; None for 1 each.
        jobs: Threads.
        phase: Hears how far the work is.
        on_sphere: Whether all have the length 1, in three dimensions.

    Raises:
        ParameterError: eps is so small against the extent of the data that cells have no numbers.
        DataError: a coordinate is not finite.

    Source: Song & Lee, SIGMOD 2018; Gan & Tao, SIGMOD 2015.
    """
    least, greatest, sample = survey(points, None, jobs, phase)
    grid = tangent_grid(points, least, greatest, eps, jobs, phase) if on_sphere else None
    if grid is None:
        grid = lay_out(least, greatest, eps)
    cells = sort_into_cells(points, grid, sample, weights, jobs, phase)
    return cluster_cells(cells, grid, eps, min_samples, jobs, phase)


# ---------------------------------------------------------------------- the grid
def survey(points: Points, axes: Axes, jobs: int, phase: Phase) -> tuple[Array, Array, Array]:
    """Least and greatest coordinates along axes, (d,) float64, and an even sample of the rows."""
    parts = len(points.starts) - 1
    d = points.dimension if axes is None else len(axes)
    least, greatest = np.full((parts, d), np.inf), np.full((parts, d), -np.inf)
    step = max(1, points.rows // SAMPLED)
    samples: list[Array] = [np.empty(0)] * parts
    finite = np.ones(parts, np.bool_)

    def task(number: int) -> None:
        part = points.part(number)
        finite[number] = bounds(part, axes, least[number], greatest[number])
        samples[number] = np.array(part[int(-points.starts[number] % step) :: step], np.float64)

    each(task, parts, jobs, lambda share: phase("reading", share))
    if not finite.all():
        check_finite(points, jobs)
    return least.min(0), greatest.max(0), np.concatenate(samples)


def fits(least: Array, greatest: Array, eps: float) -> bool:
    """Whether the keys of the cells are numbers of 62 bits."""
    try:
        lay_out(least, greatest, eps)
    except ParameterError:
        return False
    return True


def tangent_grid(
    points: Points, least: Array, greatest: Array, eps: float, jobs: int, phase: Phase
) -> Grid | None:
    """The grid of squares under a cap of the unit sphere, or None where the points need more.

    Points at most an angle a from the cap's middle, projected onto its tangent plane, come closer,
    though never by more than the factor cos a. So far apart on the plane is far apart on the
    sphere, and what shares a square of the diagonal eps · cos a lies within eps.

    Args:
        points: Of length 1 in three dimensions.
        least: (3,) of their coordinates.
        greatest: (3,) of their coordinates.
        eps: Radius.
        jobs: Threads.
        phase: Hears how far the work is.
    """
    middle = (least + greatest) / 2
    length = float(np.linalg.norm(middle))
    if length < STEEPEST or eps < FINEST:
        return None
    # of a unit vector's complete basis all rows but the first lie in the tangent plane
    _, _, basis = np.linalg.svd(middle[None] / length)
    frame = (basis[1], basis[2], middle / length)
    corners = np.stack([np.array(frame) * least, np.array(frame) * greatest])
    low, high = corners.min(0).sum(1), corners.max(0).sum(1)
    if low[2] < STEEPEST:  # the points lie closer together than their box's corners, perhaps
        low, high, _ = survey(points, frame, jobs, phase)
    if low[2] < STEEPEST:
        return None
    return lay_out(low[:2], high[:2], eps, axes=frame[:2], shrunk=float(low[2]), magnitude=1.0)


def lay_out(
    least: Array,
    greatest: Array,
    eps: float,
    *,
    axes: Axes = None,
    shrunk: float = 1.0,
    magnitude: float = 0.0,
) -> Grid:
    """The grid over a box.

    The side is a little less than eps / √d: by as much as rounding may put a point into the wrong
    cell, so that the points of a cell are neighbours by the definition, too.

    Args:
        least: (d,) of the coordinates along the axes.
        greatest: (d,) of the coordinates along the axes.
        eps: Radius.
        axes: Of the grid, None for those of the coordinates.
        shrunk: Distances along the axes are at least this share of those between the points.
        magnitude: Largest coordinate that was rounded on the way to the grid.

    Raises:
        ParameterError: the keys would need more than 62 bits.
    """
    d = len(least)
    sides = math.sqrt(d) / shrunk  # of a cell in eps
    with np.errstate(over="ignore"):
        extent = float(((greatest - least) * (sides / eps)).max())
    most = max(extent, 4 * magnitude * sides / eps)
    shrink = max(1e-9, most * 2.0**-48)
    if most >= 2.0**KEY_BITS or shrink > 0.01:
        raise too_small(eps, extent)
    per_side = sides / (eps * (1 - shrink))
    cells = [int(length * per_side) + 1 for length in greatest - least]
    fields = [count // 2 + 1 for count in cells[:-1]] + [cells[-1]]
    bits = [(count + 2 * PADDING + 1).bit_length() for count in fields]
    remainders = d - 1
    if sum(bits) + remainders > KEY_BITS:
        raise too_small(eps, extent)
    shift = np.array([sum(bits[j + 1 :]) + remainders for j in range(d)], np.int64)
    layout = Layout(least.astype(np.float64), per_side, shift)
    margin = most * 2.0**-49 + 1e-12
    return Grid(layout, axes, rows_around(shift, margin, sides / (1 - shrink)))


def too_small(eps: float, cells: float) -> ParameterError:
    """The refusal of an eps that makes more cells than there are numbers."""
    return ParameterError(
        f"eps = {eps:g} is too small for the grid: the data extend over {cells:.3g} cells.",
        'Leave algorithm at "auto", or take a larger eps.',
    )


def rows_around(shift: Array, margin: float, radius: float) -> Rows:
    """The columns of blocks that can hold neighbours of a point, nearest first.

    Args:
        shift: (d,) of the layout.
        margin: By which a distance in cells may be off.
        radius: eps in cells, below 2.
    """
    d = len(shift)
    offsets = sorted(
        itertools.product((-1, 0, 1), repeat=d - 1), key=lambda offset: sum(o * o for o in offset)
    )
    delta = [sum(o << int(s) for o, s in zip(o_s, shift[:-1], strict=True)) for o_s in offsets]
    reach = int(radius) + 1
    return Rows(
        np.array(delta, np.int64),
        np.array(offsets, np.int64).reshape(len(offsets), d - 1) + 1,
        reach << (d - 1),
        (reach + 1) << (d - 1),
        d - 1,
        margin,
        radius * radius * (1 + 1e-9),
    )


# ---------------------------------------------------------------------- points into cells
def sort_into_cells(
    points: Points, grid: Grid, sample: Array, weights: Array | None, jobs: int, phase: Phase
) -> Cells:
    """The points in order of their cells, and where each cell begins."""
    moved = move_to_buckets(points, grid, sample, weights, jobs, phase)
    columns, rows, moved_weights, begins = moved
    count, n = len(begins) - 1, points.rows
    distinct = np.zeros(count + 1, np.int64)
    runs = even_runs(begins, RUNS * jobs)

    def sort(number: int) -> None:
        for b in range(runs[number], runs[number + 1]):
            distinct[b + 1] = sort_bucket(
                columns, rows, moved_weights, begins[b], begins[b + 1], grid.layout, grid.axes
            )

    each(sort, len(runs) - 1, jobs, lambda share: phase("sorting", 0.5 + share / 4))
    cell_of = np.cumsum(distinct)
    keys = np.empty(cell_of[-1], np.int64)
    starts = np.empty(cell_of[-1] + 1, rows.dtype)
    starts[-1] = n

    def enumerate_cells(number: int) -> None:
        first, last = runs[number], runs[number + 1]
        list_cells(
            columns,
            begins[first],
            begins[last],
            grid.layout,
            grid.axes,
            cell_of[first],
            keys,
            starts,
        )

    each(enumerate_cells, len(runs) - 1, jobs, lambda share: phase("sorting", 0.75 + share / 4))
    return Cells(columns, rows, moved_weights, keys, starts)


class Moved(NamedTuple):
    """Points in order of their buckets."""

    columns: tuple[Array, ...]
    rows: Array
    weights: Array | None
    begins: Array  # (buckets + 1,) first point of each


def move_to_buckets(
    points: Points, grid: Grid, sample: Array, weights: Array | None, jobs: int, phase: Phase
) -> Moved:
    """The points in runs of neighbouring cells, each small enough for a core's cache."""
    n, parts, starts = points.rows, len(points.starts) - 1, points.starts
    buckets, count = deal(sample, grid, n)
    bucket_of = np.empty(n, np.uint16)
    counts = np.zeros((parts, count), np.int64)

    def find(number: int) -> None:
        found = bucket_of[starts[number] : starts[number + 1]]
        bucket_of_part(points.part(number), grid.layout, grid.axes, buckets, found)
        count_buckets(found, counts[number])

    each(find, parts, jobs, lambda share: phase("sorting", share / 4))
    places = np.empty_like(counts)
    first_places(counts, places)
    begins = np.append(places[0], n)
    columns = tuple(np.empty(n, points.dtype) for _ in range(points.dimension))
    rows = np.empty(n, np.int32 if n < 2**31 else np.int64)
    moved_weights = None if weights is None else np.empty(n, narrow(weights))

    def carry(number: int) -> None:
        first, last = starts[number], starts[number + 1]
        move(
            points.part(number), first, bucket_of[first:last], counts[number], places[number],
            weights, columns, rows, moved_weights,
        )  # fmt: skip

    each(carry, parts, jobs, lambda share: phase("sorting", 0.25 + share / 4))
    return Moved(columns, rows, moved_weights, begins)


def narrow(weights: Array) -> Any:
    """The type to hold weights in: of whole ones, which are seldom large, a byte where it does."""
    return np.uint8 if weights.dtype == np.int64 and weights.max() < 256 else weights.dtype


def deal(sample: Array, grid: Grid, n: int) -> tuple[Buckets, int]:
    """Buckets of about equally many points, by the keys of a sample; and their number."""
    keys = np.empty(len(sample), np.int64)
    keys_of_rows(sample, grid.layout, grid.axes, keys)
    keys.sort()
    count = min(max(1, n // BUCKET), MOST_BUCKETS)
    none = np.empty(0, np.int64)
    trim = len(keys) // 1000  # a few far points must not stretch the table
    origin, top = int(keys[trim]), int(keys[-1 - trim])
    shift = max(0, (top - origin).bit_length() - (SLOTS - 1).bit_length())
    slots = np.clip((keys - origin) >> shift, 0, SLOTS - 1)
    held = np.bincount(slots, minlength=SLOTS)
    before = np.cumsum(held) - held
    table = np.minimum(before * count // len(keys), count - 1).astype(np.uint16)
    if shift > 0 and held.max() * count > 16 * len(keys):  # most points in one slot
        splitters = np.unique(keys[np.arange(1, count) * len(keys) // count])
        return Buckets(origin, shift, table, splitters), len(splitters) + 1
    return Buckets(origin, shift, table, none), count


def even_runs(begins: Array, runs: int) -> Array:
    """Cut what begins at these points into at most so many runs of about equal numbers of points.

    Args:
        begins: (m + 1,) ascending; the last is the number of points.
        runs: At most.

    Returns:
        (runs + 1,) int64, ascending strictly: the first thing of every run, and m.
    """
    marks = np.linspace(0, begins[-1], runs + 1)[1:-1]
    cuts = np.searchsorted(begins[:-1], marks)
    return np.unique(np.concatenate([[0], cuts, [len(begins) - 1]]))


# ---------------------------------------------------------------------- cells into clusters
def cluster_cells(
    cells: Cells,
    grid: Grid,
    eps: float,
    min_samples: float,
    jobs: int,
    phase: Phase,
) -> Clustered:
    """Core points, their clusters, and the labels of all."""
    columns, rows_of, weights, keys, starts = cells
    n, squared = len(rows_of), eps * eps
    runs = even_runs(starts, RUNS * jobs)
    tasks = len(runs) - 1
    core, cores = np.zeros(n, np.bool_), np.zeros(len(keys), starts.dtype)
    whole = weights is None or weights.dtype.kind in "iu"
    cell_weights = None if weights is None else np.empty(len(keys), np.int64 if whole else float)
    if weights is not None:
        each(
            lambda i: weigh_cells(weights, starts, runs[i], runs[i + 1], cell_weights), tasks, jobs
        )
    least = np.int64(min(math.ceil(min_samples), 2**62)) if whole else np.float64(min_samples)
    each(
        lambda i: mark_core(
            columns, weights, keys, starts, cell_weights, *grid, squared, least,
            runs[i], runs[i + 1], core, cores,
        ),
        tasks, jobs, lambda share: phase("core points", share),
    )  # fmt: skip
    heart = core_cells(cells, core, cores, runs, jobs)
    labels_of_cells, clusters = join(columns, heart, grid.rows, squared, jobs, phase)
    labels, core_rows = np.full(n, -1, np.int32), np.zeros(n, np.bool_)
    each(
        lambda i: label_cells(
            columns, rows_of, keys, starts, cores, heart.keys, heart.starts, heart.stops,
            labels_of_cells, *grid, squared, runs[i], runs[i + 1], labels, core_rows,
        ),
        tasks, jobs, lambda share: phase("labels", share),
    )  # fmt: skip
    held = (*columns, rows_of, keys, starts, core, cores, *heart, labels)
    statistics: dict[str, int | float | str] = {
        "engine": "grid",
        "cells": len(keys),
        "core_cells": len(heart.keys),
        "clusters": clusters,
        "bytes": sum({id(a): a.nbytes for a in held}.values()) + core_rows.nbytes,
    }
    return Clustered(labels, core_rows, statistics)


class Core(NamedTuple):
    """The cells that have core points."""

    keys: Array
    starts: Array  # (cells,) the first core point of each
    stops: Array  # (cells,)
    lowest_rows: Array  # (cells,) lowest row number of each cell's core points
    parent: Array  # (cells,) int32 or int64
    boxes: Array  # (cells, 2, d)


def core_cells(cells: Cells, core: Array, cores: Array, runs: Array, jobs: int) -> Core:
    """The cells that have core points, which are put before the others of each."""
    tasks = len(runs) - 1
    before = np.append(0, np.cumsum(np.add.reduceat(cores > 0, runs[:-1], dtype=np.int64)))
    count, number_type = int(before[-1]), cells.starts.dtype
    keys, lowest = np.empty(count, np.int64), np.empty(count, cells.rows.dtype)
    starts, stops = np.empty(count, number_type), np.empty(count, number_type)
    boxes = np.empty((count, 2, len(cells.columns)))

    def gather(i: int) -> None:
        gather_core(
            cells.columns, cells.rows, core, cells.keys, cells.starts, cores, runs[i],
            runs[i + 1], before[i], keys, starts, stops, lowest,
        )  # fmt: skip
        box_cells(cells.columns, starts, stops, before[i], before[i + 1], boxes)

    each(gather, tasks, jobs)
    return Core(keys, starts, stops, lowest, np.arange(count, dtype=number_type), boxes)


def join(
    columns: tuple[Array, ...], heart: Core, rows: Rows, squared: float, jobs: int, phase: Phase
) -> tuple[Array, int]:
    """The label of every core cell, (cells,) int32, and the number of clusters."""
    if len(heart.keys) == 0:
        return np.empty(0, np.int32), 0
    ends = even_runs(np.append(heart.starts, heart.stops[-1]), RUNS * jobs)

    def merge(low: int, middle: int, high: int) -> None:
        join_cells(
            columns, heart.keys, heart.starts, heart.stops, heart.boxes, rows, squared, low, middle,
            high, heart.parent,
        )  # fmt: skip

    each(
        lambda i: merge(ends[i], ends[i], ends[i + 1]),
        len(ends) - 1, jobs, lambda share: phase("joining", share * 0.9),
    )  # fmt: skip
    width = 1
    while width < len(ends) - 1:
        firsts = range(0, len(ends) - 1 - width, 2 * width)

        def across(i: int, width: int = width, firsts: range = firsts) -> None:
            first = firsts[i]
            last = min(first + 2 * width, len(ends) - 1)
            merge(ends[first], ends[first + width], ends[last])

        each(across, len(firsts), jobs)
        width *= 2
    return number_clusters(heart.parent, heart.lowest_rows)
