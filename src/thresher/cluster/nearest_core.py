"""New points: the cluster of the nearest core point, if one is within eps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.metric import euclidean_view
from thresher.cluster.points import Points

__all__ = ["nearest_labels"]

BLOCK = 4_096  # new points at once
MARGIN = 1 + 1e-9  # the tree's distances are rounded otherwise than ours


def nearest_labels(
    core: Points, labels: NDArray[np.int32], points: Points, metric: str, eps: float, jobs: int
) -> NDArray[np.int32]:
    """The label of the nearest core point within eps of every point, or -1.

    Of core points equally near, the one with the lexicographically smallest coordinates counts.

    Args:
        core: Core points.
        labels: Their clusters.
        points: Finite, of the same dimension.
        metric: As of DBSCAN.
        eps: As of DBSCAN.
        jobs: Threads.
    """
    from scipy.spatial import cKDTree

    found = np.full(points.rows, -1, np.int32)
    if not core.rows:
        return found
    core_view, radius = euclidean_view(core, metric, eps)
    centres = np.concatenate(
        [np.asarray(core_view.part(i), np.float64) for i in range(len(core_view.starts) - 1)]
    )
    tree = cKDTree(centres)
    view, _ = euclidean_view(points, metric, eps)
    for number in range(len(view.starts) - 1):
        part = np.asarray(view.part(number), np.float64)
        for first in range(0, len(part), BLOCK):
            block = part[first : first + BLOCK]
            nearest, _ = tree.query(block, distance_upper_bound=radius * MARGIN, workers=jobs)
            near = np.flatnonzero(np.isfinite(nearest))
            candidates = tree.query_ball_point(block[near], nearest[near] * MARGIN, workers=jobs)
            start = int(view.starts[number]) + first
            for i, some in zip(near, candidates, strict=True):
                found[start + i] = decide(block[i], centres, labels, some, radius)
    return found


def decide(
    point: NDArray[Any],
    centres: NDArray[Any],
    labels: NDArray[np.int32],
    candidates: list[int],
    radius: float,
) -> int:
    """The label of the nearest of some core points, by the definition's own distance."""
    rows = np.asarray(candidates, np.int64)
    squared = np.zeros(len(rows))
    for k in range(len(point)):  # columns in order
        squared += (centres[rows, k] - point[k]) ** 2
    closest = rows[squared == squared.min()] if len(rows) else rows
    if not len(closest) or squared.min() > radius * radius:
        return -1
    order = np.lexsort(centres[closest].T[::-1])
    return int(labels[closest[order[0]]])
