"""What a clustering will need, told before it starts."""

from __future__ import annotations

from thresher.cluster.points import Points
from thresher.errors import DataError
from thresher.memory import available_memory

__all__ = ["check_memory", "needed_memory", "pair_seconds"]

PAIR, PAIR_DIMENSION = 0.2e-9, 0.02e-9  # seconds of one core for a pair, and for each dimension
LABELS = 16  # bytes a point: label, core flag, row number, and what comes and goes
GRID_CELL = 60  # bytes a cell with weights, and a box for each core cell
TREE_POINT = 60
TREE_SCRATCH = 3 << 20  # bytes of a thread for each dimension and one more
TREE_GROUP = 4_096  # points; a thread works on at least so many


def needed_memory(engine: str, rows: int, dimension: int, itemsize: int, jobs: int = 1) -> int:
    """Bytes that an engine takes at most, besides the points as they were given.

    The worst case: every point is core and has a cell of its own.
    """
    point = dimension * itemsize
    if engine == "grid":
        return rows * (point + LABELS + GRID_CELL + 16 * dimension)
    if engine == "tree":
        threads = min(jobs, 1 + rows // TREE_GROUP)
        return rows * (2 * point + TREE_POINT) + threads * TREE_SCRATCH * (dimension + 1)
    return rows * (point + 4 * dimension + 2 * LABELS) + (64 << 20)


def pair_seconds(rows: int, dimension: int, jobs: int) -> float:
    """How long it takes to compare all pairs of points twice.

    The engine for many dimensions does so where nothing lies far enough apart to be skipped.
    """
    return rows * rows * (PAIR + PAIR_DIMENSION * dimension) / jobs


def check_memory(engine: str, points: Points, jobs: int = 1) -> None:
    """Refuse what cannot fit.

    Raises:
        DataError: names what is needed and what there is.
    """
    needed = needed_memory(engine, points.rows, points.dimension, points.dtype.itemsize, jobs)
    available = available_memory()
    if available is not None and needed > available:
        raise DataError(
            f"{points.rows:,} points in {points.dimension} dimensions may need "
            f"{needed / 2**30:.1f} GiB, but {max(available, 0) / 2**30:.1f} GiB are free.",
            "Take float32, fewer columns or rows, or rho > 0, which merges points close together.",
        )
