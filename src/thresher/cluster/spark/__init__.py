"""The clusterings on Spark, for data that one machine does not hold.

Names are looked up when they are first used, as workers import this package as well.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thresher.cluster.spark.pamae import SparkMedoids, kmedoids
    from thresher.cluster.spark.spark_dbscan import SparkClustered, dbscan

__all__ = ["SparkClustered", "SparkMedoids", "dbscan", "kmedoids"]

WHERE = {
    "SparkClustered": "spark_dbscan",
    "SparkMedoids": "pamae",
    "dbscan": "spark_dbscan",
    "kmedoids": "pamae",
}


def __getattr__(name: str) -> Any:
    if name not in WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{WHERE[name]}"), name)
