"""Exact DBSCAN for many dimensions: matrix products of balls that are within reach of each other.

    points → balls around centres → stored ball after ball → core points → united → labels

Two points can be within eps only if each is within eps and the other ball's radius of that ball's
centre. What remains is computed by matrix products in single precision, tile by tile, and a pair
too close to eps to be told so is decided by the definition in double precision; no distance is
stored. The multiplication's own threads are switched off, since the balls are shared out to ours.

Source: ball pruning as in metric trees, Omohundro, Five Balltree Construction Algorithms, 1989;
a bound on the rounding is derived in ``kernels.balls_tile``.
"""

from __future__ import annotations

import queue
import threading
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg  # noqa: F401  its BLAS is that of numba, and must be loaded to be limited
from numpy.typing import NDArray

from thresher.cluster.kernels.balls_border import border_ball
from thresher.cluster.kernels.balls_count import add, count_ball
from thresher.cluster.kernels.balls_form import assign, face, measure
from thresher.cluster.kernels.balls_tile import Balls, near_balls
from thresher.cluster.kernels.balls_unite import Forest, merge, unite_ball
from thresher.cluster.kernels.disjoint import flatten
from thresher.cluster.numbering import number_clusters
from thresher.cluster.points import Clustered, Phase, Points
from thresher.cluster.threads import each, one_blas_thread
from thresher.keyed_random import keyed_seed

__all__ = ["cluster"]

BALL_ROWS = 256  # points of a ball, on average: tiles of this size multiply at full speed
MOST_BALLS = 2048  # centres, each of which every point is compared with
MOST_ROWS = 1024  # points of a ball: a task must not be much longer than others
MOST_PIECES = 4096  # of balls cut to that length: what is known of pairs of balls grows with these²
SAMPLED = 16  # sampled points for every centre
STEPS = 3  # of Lloyd's algorithm, on the sample
LEVELS = 3  # what lies far from the centres is given centres of its own, twice
FAR = 0.25  # beyond the third quartile of a ball's distances, as a share of it
CHUNK = 4096  # rows read at once
SAFE_SQUARES = (1e-280, 1e280)  # eps² and coordinates² that double precision holds well

Array = NDArray[Any]


def cluster(
    points: Points,
    eps: float,
    min_samples: float,
    weights: Array | None,
    jobs: int,
    phase: Phase,
) -> Clustered:
    """Cluster points of any dimension; made for more than 16.

    Args:
        points: Finite, at least one.
        eps: Radius of a neighbourhood, > 0.
        min_samples: Least weight of a core point's neighbourhood, the point itself included.
        weights: (N,) >= 0; None for 1 each. They are added in the order of the balls.
        jobs: Threads.
        phase: Hears how far the work is.

    Cost: at most N² d multiplications for the core points and as many for the clusters, less what
    the balls spare; N d numbers of the points' own precision and about 40 bytes a point.
    """
    eps, min_samples = float(eps), float(min_samples)  # kernels are compiled for these types
    with one_blas_thread():
        formed = form(points, eps, jobs, phase)
        order = formed.order
        moved = np.empty(0) if weights is None else weights[order].astype(np.float64)
        core_mask = core_points(formed, eps, min_samples, moved, jobs, phase)
        core = select(formed, core_mask)
        components = join(formed, core, eps, jobs, phase)
        rest = select(formed, ~core_mask)
        nearest = borders(formed, core, rest, eps, jobs, phase)

    count = int(components.max(initial=-1)) + 1
    lowest = np.full(count, points.rows, np.int64)
    np.minimum.at(lowest, components[core.positions], order[core.positions])
    clusters, _ = number_clusters(np.arange(count), lowest)
    number = np.append(clusters, np.int32(-1))  # the component -1 is none
    reached = np.flatnonzero(nearest >= 0)
    components[reached] = components[nearest[reached]]
    labels, core_rows = np.empty(points.rows, np.int32), np.empty(points.rows, np.bool_)
    labels[order] = number[components]
    core_rows[order] = core_mask
    held = (*formed.balls, order, formed.distances, moved, core_mask, core.positions)
    statistics: dict[str, int | float | str] = {
        "engine": "balls",
        "cells": len(formed.balls.radii),
        "core_cells": int((core.radii >= 0).sum()),
        "clusters": count,
        "bytes": sum(a.nbytes for a in (*held, components, nearest, labels, core_rows)),
    }
    return Clustered(labels, core_rows, statistics)


# ---------------------------------------------------------------------- balls
class Formed(NamedTuple):
    """The points ball after ball, and where they came from."""

    balls: Balls
    order: NDArray[np.int64]  # (N,): the row of every position
    distances: NDArray[np.float64]  # (N,): no less than that from the ball's centre


def form(points: Points, eps: float, jobs: int, phase: Phase) -> Formed:
    """Put every point into a ball, and copy the points in order of the balls."""
    order, starts = group(points, jobs, phase)
    places = np.empty(points.rows, np.int64)
    places[order] = np.arange(points.rows)
    held = np.empty((points.rows, points.dimension), points.dtype)
    parts = len(points.starts) - 1
    largest = np.zeros(parts)

    def copy(number: int) -> None:
        first, part = points.starts[number], points.part(number)
        for begin in range(0, len(part), CHUNK):
            rows = part[begin : begin + CHUNK]
            held[places[first + begin : first + begin + len(rows)]] = rows
            largest[number] = max(largest[number], np.abs(rows).max())

    each(copy, parts, jobs, lambda share: phase("sorting", 0.8 + 0.1 * share))
    count = len(starts) - 1
    centres, radii = np.zeros((count, points.dimension)), np.full(count, np.inf)
    distances = np.full(points.rows, np.inf)
    with np.errstate(over="ignore", under="ignore"):
        least, most = np.square(eps), np.square(max(eps, largest.max()))
    if SAFE_SQUARES[0] < least and most < SAFE_SQUARES[1]:
        each(
            lambda i: measure(held, starts[i], starts[i + 1], centres[i], distances),
            count,
            jobs,
            lambda share: phase("sorting", 0.9 + 0.1 * share),
        )
        radii = np.maximum.reduceat(distances, starts[:-1])
    facing = np.full((count, count), np.inf, np.float32)
    balls = Balls(held, starts, centres, radii, np.empty((0, 0), np.float32))
    each(lambda i: face(balls, i, near(balls, radii, radii, i, 0, eps), eps, facing), count, jobs)
    balls = balls._replace(facing=facing)
    return Formed(balls, order, distances)


def near(
    balls: Balls, row_radii: Array, column_radii: Array, ball: int, first: int, eps: float
) -> NDArray[np.int64]:
    """Balls from ``first`` on whose columns may be within eps of a ball's rows, nearest first."""
    numbers, distances = near_balls(
        balls.centres, column_radii, balls.facing, ball, row_radii[ball], first, eps
    )
    ordered: NDArray[np.int64] = numbers[np.argsort(distances, kind="stable")]
    return ordered


def group(points: Points, jobs: int, phase: Phase) -> tuple[Array, Array]:
    """The rows in order of their balls, (N,), and the first place of each ball, (balls + 1,).

    Points far from the centre of their ball would make it reach far: they are given centres of
    their own, which also finds groups that the first centres missed.
    """
    rows: Array | None = None
    orders, sizes = [], []
    for level in range(LEVELS):
        nearest, distance = nearest_centres(
            points, rows, level, jobs, lambda share, at=level: phase("sorting", 0.25 * (at + share))
        )
        kept = np.lexsort((distance, nearest))
        held = np.bincount(nearest)
        held = held[held > 0]
        far = np.zeros(len(kept), np.bool_)
        if level < LEVELS - 1:
            ends = np.cumsum(held)
            quartiles = distance[kept[ends - held + held * 3 // 4]]
            far = distance[kept] > np.repeat(quartiles * (1 + FAR), held)
            held -= np.add.reduceat(far, ends - held, dtype=held.dtype)
        here = kept[~far]
        orders.append(here if rows is None else rows[here])
        sizes.append(held)
        far_rows = kept[far]
        rows = np.sort(far_rows if rows is None else rows[far_rows])
        if len(rows) == 0:
            break
    every = np.concatenate(sizes)
    pieces = -(-every // max(MOST_ROWS, points.rows // MOST_PIECES))
    piece_of = np.repeat(np.arange(len(every)), pieces)
    within = np.arange(len(piece_of)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    begins = (np.cumsum(every) - every)[piece_of] + within * every[piece_of] // pieces[piece_of]
    return np.concatenate(orders), np.append(begins, points.rows).astype(np.int64)


def nearest_centres(
    points: Points, rows: Array | None, level: int, jobs: int, done: Any
) -> tuple[Array, Array]:
    """Number of a centre near to every row, int32, and the distance, float32.

    Args:
        points: All of them.
        rows: The rows meant, ascending; None for all.
        level: Draws another sample.
        jobs: Threads.
        done: Is told the share that is done.
    """
    count = points.rows if rows is None else len(rows)
    centres_wanted = min(MOST_BALLS, max(1, count // BALL_ROWS))
    random = np.random.default_rng(keyed_seed(0, "balls", level))
    drawn = random.integers(0, count, min(count, SAMPLED * centres_wanted))
    sample = np.array(points.take(np.sort(drawn if rows is None else rows[drawn])), order="C")
    with np.errstate(over="ignore", invalid="ignore"):
        middle = sample.mean(axis=0, dtype=np.float64)
        spread = float(np.abs(sample - middle).max())
    scale = float(np.ldexp(1.0, -np.frexp(spread)[1])) if 0 < spread < np.inf else 1.0
    centres = lloyd(random.permutation(sample), middle, scale, centres_wanted)
    nearest, distance = np.empty(count, np.int32), np.empty(count, np.float32)
    begins = points.starts if rows is None else np.append(np.arange(0, count, CHUNK), count)

    def task(number: int) -> None:
        first, last = begins[number], begins[number + 1]
        part = points.part(number) if rows is None else points.take(rows[first:last])
        for begin in range(0, last - first, CHUNK):
            block = np.array(part[begin : begin + CHUNK], order="C")
            here = slice(first + begin, first + begin + len(block))
            assign(block, middle, scale, centres, nearest[here], distance[here])

    each(task, len(begins) - 1, jobs, done)
    return nearest, distance


def lloyd(sample: Array, middle: Array, scale: float, count: int) -> Array:
    """Centres of a sample, (count, d) float32, moved and scaled; the first points at first."""
    centres = ((sample[:count] - middle) * scale).astype(np.float32)
    nearest, distance = np.empty(len(sample), np.int32), np.empty(len(sample), np.float32)
    for _ in range(STEPS):
        assign(sample, middle, scale, centres, nearest, distance)
        held = np.bincount(nearest, minlength=count)
        sums = np.zeros(centres.shape)
        np.add.at(sums, nearest, (sample - middle) * scale)
        full = held > 0
        centres[full] = sums[full] / held[full, None]
    return centres


# ---------------------------------------------------------------------- clusters
class Selected(NamedTuple):
    """Some of the points of every ball."""

    positions: NDArray[np.int64]  # ascending
    starts: NDArray[np.int64]  # (balls + 1,): the first of every ball
    radii: NDArray[np.float64]  # (balls,): how far they reach from the centre; -1 for none


def select(formed: Formed, mask: Array) -> Selected:
    """The points of a mask."""
    positions = np.flatnonzero(mask)
    starts = np.searchsorted(positions, formed.balls.starts)
    radii = np.full(len(starts) - 1, -1.0)
    some = starts[1:] > starts[:-1]
    if some.any():
        radii[some] = np.maximum.reduceat(formed.distances[positions], starts[:-1][some])
    return Selected(positions, starts, radii)


def core_points(
    formed: Formed, eps: float, min_samples: float, weights: Array, jobs: int, phase: Phase
) -> NDArray[np.bool_]:
    """Which positions have neighbours enough: those in their own ball are counted first.

    Counts, and weights that are whole numbers, are exact in whatever order they are added, so
    that a pair of balls is looked at once for both. Other weights are added by one task alone.
    """
    balls = formed.balls
    count = len(balls.radii)
    masses = np.diff(balls.starts).astype(np.float64)
    if len(weights):
        masses = np.add.reduceat(weights, balls.starts[:-1])
    both = bool((weights == np.floor(weights)).all() and weights.sum() < 2.0**53)
    counts = np.zeros(len(formed.order))
    lock = threading.Lock()
    spaces = pool([np.zeros(len(counts) if both else 0) for _ in range(min(jobs, count))])

    def within(ball: int) -> None:
        own = np.full(1, ball)
        count_ball(balls, masses, ball, own, False, eps, min_samples, weights, counts, np.empty(0))

    each(within, count, jobs, lambda share: phase("core points", share / 8))
    unclear = np.logical_or.reduceat(counts < min_samples, balls.starts[:-1])

    def across(ball: int) -> None:
        if not (unclear[ball] or both):
            return
        others = near(balls, balls.radii, balls.radii, ball, ball + 1 if both else 0, eps)
        others = others[others != ball]
        if not unclear[ball]:
            others = others[unclear[others]]
        found = spaces.get()
        touched = count_ball(
            balls, masses, ball, others, both, eps, min_samples, weights, counts, found
        )
        if both:
            with lock:
                add(counts, found, balls.starts, touched)
        spaces.put(found)

    if unclear.any():
        each(across, count, jobs, lambda share: phase("core points", (1 + 7 * share) / 8))
    mask: NDArray[np.bool_] = counts >= min_samples
    return mask


def join(formed: Formed, core: Selected, eps: float, jobs: int, phase: Phase) -> NDArray[np.int32]:
    """The component of every position, (N,) numbered from 0; -1 where there is no core point."""
    count, total = len(core.radii), len(core.positions)
    components = np.full(len(formed.order), -1, np.int32)
    components[core.positions] = np.arange(total, dtype=np.int32)
    parents = np.arange(total, dtype=np.int32)

    def within(ball: int) -> None:
        if core.radii[ball] >= 0:
            own = np.full(1, ball)
            unite_ball(formed.balls, *core, ball, own, eps, Forest(components, parents))

    each(within, count, jobs, lambda share: phase("joining", share / 8))
    renumber(components, core.positions, parents)

    # What a ball is united with does not depend on what others know: only the work spared does.
    parents = np.arange(int(components.max(initial=-1)) + 1, dtype=np.int32)
    lock = threading.Lock()
    spaces = pool([np.empty_like(parents) for _ in range(min(jobs, count))])

    def across(ball: int) -> None:
        if core.radii[ball] < 0:
            return
        found = spaces.get()
        with lock:
            found[:] = parents
        others = near(formed.balls, core.radii, core.radii, ball, ball + 1, eps)
        unite_ball(formed.balls, *core, ball, others, eps, Forest(components, found))
        with lock:
            merge(parents, found)
        spaces.put(found)

    each(across, count, jobs, lambda share: phase("joining", (1 + 7 * share) / 8))
    renumber(components, core.positions, parents)
    return components


def renumber(components: Array, positions: Array, parents: Array) -> None:
    """Replace the elements of some positions by the numbers of their roots, counted from 0."""
    flatten(parents)
    roots = parents == np.arange(len(parents), dtype=parents.dtype)
    numbers = np.cumsum(roots, dtype=parents.dtype) - 1
    components[positions] = numbers[parents[components[positions]]]


def borders(
    formed: Formed, core: Selected, rest: Selected, eps: float, jobs: int, phase: Phase
) -> NDArray[np.int64]:
    """Position of the nearest core point of every other position; -1 where none is within eps."""
    nearest = np.full(len(formed.order), -1, np.int64)

    def task(ball: int) -> None:
        if rest.radii[ball] >= 0:
            others = near(formed.balls, rest.radii, core.radii, ball, 0, eps)
            border_ball(formed.balls, *core, *rest, ball, others, eps, nearest)

    each(task, len(core.radii), jobs, lambda share: phase("labels", share))
    return nearest


def pool(items: list[Array]) -> queue.SimpleQueue[Array]:
    """Arrays that tasks borrow, one for each that runs at a time."""
    spaces: queue.SimpleQueue[Array] = queue.SimpleQueue()
    for item in items:
        spaces.put(item)
    return spaces
