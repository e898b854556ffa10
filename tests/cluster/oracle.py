"""DBSCAN by its definition, in plain NumPy: the judge of all engines. O(n²) time, O(n) memory.

    near(p)  = {q : Σ_j (p_j − q_j)² ≤ eps²}, the columns added in order, in float64
    core     = the points whose near points number (or weigh) min_samples or more
    clusters = the connected components of the core points, with an edge between near ones
    border   = any other point near a core point: it joins the nearest one's cluster; of equally
               near ones that with the lexicographically smallest coordinates

Clusters are numbered by their lowest core row; whatever is left is noise, −1.
"""

from __future__ import annotations

import numpy as np

BLOCK = 256  # rows whose distances are held at once


def squared_distances(A, B):
    """(len(A), len(B)) float64, the columns added in order."""
    total = np.zeros((len(A), len(B)))
    for j in range(A.shape[1]):
        difference = A[:, j, None] - B[None, :, j]
        total += difference * difference
    return total


def core_points(X, eps, min_samples, weights=None):
    """(n,) bool: has near points, itself among them, that number or weigh ``min_samples``."""
    weights = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=np.float64)
    core = np.empty(len(X), dtype=bool)
    for first in range(0, len(X), BLOCK):
        near = squared_distances(X[first : first + BLOCK], X) <= eps * eps
        core[first : first + BLOCK] = near @ weights >= min_samples
    return core


def components(C, eps):
    """(len(C),) int: the component of every core point, numbered by its first point."""
    labels = np.full(len(C), -1)
    for seed in range(len(C)):
        if labels[seed] >= 0:
            continue
        labels[seed] = label = labels.max() + 1
        frontier = np.array([seed])
        while len(frontier):
            waiting = np.flatnonzero(labels < 0)
            reached = np.zeros(len(waiting), dtype=bool)
            for first in range(0, len(frontier), BLOCK):
                near = squared_distances(C[frontier[first : first + BLOCK]], C[waiting])
                reached |= (near <= eps * eps).any(axis=0)
            frontier = waiting[reached]
            labels[frontier] = label
    return labels


def brute(X, eps, min_samples, weights=None):
    """Labels and core mask of the rows of ``X``, (n, d), n up to a few thousand."""
    X = np.asarray(X, dtype=np.float64)
    labels = np.full(len(X), -1, dtype=np.int32)
    core = core_points(X, eps, min_samples, weights)
    rows = np.flatnonzero(core)
    if len(rows) == 0:
        return labels, core
    labels[rows] = components(X[rows], eps)
    rows = rows[np.lexsort(X[rows].T[::-1])]  # argmin takes the first of the equally near
    others = np.flatnonzero(~core)
    for first in range(0, len(others), BLOCK):
        block = others[first : first + BLOCK]
        distances = squared_distances(X[block], X[rows])
        nearest = distances.argmin(axis=1)
        reached = distances[np.arange(len(block)), nearest] <= eps * eps
        labels[block[reached]] = labels[rows[nearest[reached]]]
    return labels, core
