"""Exact clustering of many points on one machine: DBSCAN and k-medoids.

Names are looked up when they are first used: numba is not imported before.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thresher.cluster.dbscan import DBSCAN
    from thresher.cluster.k_distances import KDistances, k_distance
    from thresher.cluster.kmedoids import KMedoids
    from thresher.cluster.silhouette import medoid_silhouette

__all__ = ["DBSCAN", "KDistances", "KMedoids", "k_distance", "medoid_silhouette"]

WHERE = {
    "DBSCAN": "dbscan",
    "KDistances": "k_distances",
    "KMedoids": "kmedoids",
    "k_distance": "k_distances",
    "medoid_silhouette": "silhouette",
}


def __getattr__(name: str) -> Any:
    if name not in WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{WHERE[name]}"), name)
