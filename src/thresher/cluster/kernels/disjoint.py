"""Disjoint sets: every element has a parent of lower or equal number; a root is its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from thresher.cluster.kernels.compiled import kernel

__all__ = ["find", "flatten", "unite"]


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
def flatten(parent: Any) -> None:
    """Make every element's parent its root."""
    for e in range(np.uintp(len(parent))):
        parent[e] = parent[np.uintp(parent[e])]
