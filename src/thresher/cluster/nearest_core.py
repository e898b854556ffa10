"""New points: the cluster of the nearest core point, if one is within eps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.distinct import merge_equal_rows
from thresher.cluster.metric import euclidean_view
from thresher.cluster.points import Points

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

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
    # equal core points once: each is a candidate of all new points around it
    merged = merge_equal_rows(core_view, None, jobs, lambda name, share: None)
    clusters = np.empty(merged.points.rows, np.int32)
    clusters[merged.same] = labels
    centres = merged.points.array.astype(np.float64, copy=False)
    tree = cKDTree(centres)
    view, _ = euclidean_view(points, metric, eps)
    for number in range(len(view.starts) - 1):
        part = np.asarray(view.part(number), np.float64)
        for first in range(0, len(part), BLOCK):
            block = part[first : first + BLOCK]
            start = int(view.starts[number]) + first
            found[start : start + len(block)] = decide(block, centres, clusters, tree, radius, jobs)
    return found


def decide(
    block: NDArray[Any],
    centres: NDArray[Any],
    clusters: NDArray[np.int32],
    tree: cKDTree,
    radius: float,
    jobs: int,
) -> NDArray[np.int32]:
    """The labels of some points, by the definition's own distance: the tree only proposes."""
    distances, rows = tree.query(block, k=2, distance_upper_bound=radius * MARGIN, workers=jobs)
    found = np.full(len(block), -1, np.int32)
    near = np.isfinite(distances[:, 0])
    alone = near & (distances[:, 1] > distances[:, 0] * MARGIN)
    nearest = rows[alone, 0]
    reached = squared_distances(block[alone], centres[nearest]) <= radius * radius
    found[alone] = np.where(reached, clusters[nearest], -1)
    several = np.flatnonzero(near & ~alone)
    some = tree.query_ball_point(block[several], distances[several, 0] * MARGIN, workers=jobs)
    for i, candidates in zip(several, some, strict=True):
        squared = squared_distances(block[i], centres[candidates])
        if squared.min() <= radius * radius:
            closest = np.asarray(candidates)[squared == squared.min()]
            first = np.lexsort(centres[closest].T[::-1])[0]
            found[i] = clusters[closest[first]]
    return found


def squared_distances(points: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Σ_j (x_j - y_j)² of pairs of rows, columns in order."""
    squared = np.zeros(len(others))
    for k in range(others.shape[1]):
        squared += (others[:, k] - points[..., k]) ** 2
    return squared
