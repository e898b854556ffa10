"""Words that users choose by, known before anything heavy is loaded."""

from __future__ import annotations

__all__ = ["ALGORITHMS", "ENGINES", "MEDOID_METRICS", "METRICS"]

METRICS = ("euclidean", "haversine", "cosine")
MEDOID_METRICS = ("euclidean", "manhattan", "cosine", "haversine")
ENGINES = ("local", "spark")
ALGORITHMS = ("auto", "grid", "tree", "balls")
