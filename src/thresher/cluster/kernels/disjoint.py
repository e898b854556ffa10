"""Disjoint sets: every element has a parent of lower or equal number; a root is its own.

Sparse ones keep one more than the parent's number, and 0 of a root: whoever stands alone is written
nowhere, so that of a large array of zeros only what is used takes memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from thresher.cluster.kernels.compiled import kernel

__all__ = [
    "find",
    "find_sparse",
    "flatten",
    "keep_forest",
    "keep_sparse_forest",
    "unite",
    "unite_sparse",
]


@kernel
def find(parent: Any, element: int) -> int:
    """The root of an element; halves the way to it."""
    e = np.uintp(element)
    while np.uintp(parent[e]) != e:
        parent[e] = parent[np.uintp(parent[e])]
        e = np.uintp(parent[e])
    return np.int64(e)


@kernel
def unite(parent: Any, one: int, other: int) -> int:
    """Join the sets of two roots; returns the root of both, the lower of them."""
    if one < other:
        parent[other] = one
        return one
    parent[one] = other
    return other


@kernel
def find_sparse(parent: Any, element: int) -> int:
    """The root of an element of sparse sets; shortens the way to it."""
    e = np.uintp(element)
    while parent[e] != 0:
        above = np.uintp(parent[e]) - np.uintp(1)
        if parent[above] != 0:
            parent[e] = parent[above]
        e = above
    return np.int64(e)


@kernel
def unite_sparse(parent: Any, one: int, other: int) -> None:
    """Join the sets of two roots of sparse sets; the lower of them is the root of both."""
    parent[max(one, other)] = min(one, other) + 1


@kernel
def flatten(parent: Any) -> None:
    """Make every element's parent its root."""
    for e in range(np.uintp(len(parent))):
        parent[e] = parent[np.uintp(parent[e])]


@kernel
def keep_forest(parent: Any, edges: Any, kept: Any) -> int:
    """Unite what edges join, and keep those that joined two sets.

    Args:
        parent: (n,) a forest, to write to.
        edges: (m, 2).
        kept: (m, 2), written from its first row on.

    Returns:
        How many were kept.
    """
    count = 0
    for k in range(edges.shape[0]):
        one, other = find(parent, edges[k, 0]), find(parent, edges[k, 1])
        if one != other:
            unite(parent, one, other)
            kept[count, 0], kept[count, 1] = edges[k, 0], edges[k, 1]
            count += 1
    return count


@kernel
def keep_sparse_forest(parent: Any, edges: Any, kept: Any, count: int) -> int:
    """The same with sparse sets, going on where edges of others were kept.

    Args:
        parent: (n,) sparse sets, to write to.
        edges: (m, 2).
        kept: (n, 2), written from a row on.
        count: That row: how many were kept before.

    Returns:
        How many are kept now.
    """
    for k in range(edges.shape[0]):
        one, other = find_sparse(parent, edges[k, 0]), find_sparse(parent, edges[k, 1])
        if one != other:
            unite_sparse(parent, one, other)
            kept[count, 0], kept[count, 1] = edges[k, 0], edges[k, 1]
            count += 1
    return count
