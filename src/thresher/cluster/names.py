"""Words that users choose by, known before anything heavy is loaded."""

from __future__ import annotations

__all__ = ["ALGORITHMS", "MEDOID_METRICS", "METRICS"]

METRICS = ("euclidean", "haversine", "cosine")
MEDOID_METRICS = ("euclidean", "manhattan", "cosine", "haversine")
ALGORITHMS = ("auto", "grid", "tree", "balls")
