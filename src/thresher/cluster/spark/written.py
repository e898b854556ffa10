"""The rows of a result as Parquet, and what was written, counted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["write_medoid_rows", "write_rows"]


def write_rows(rows: DataFrame, folder: Path) -> dict[str, int]:
    """Write the rows of a result, and count them in what was written.

    Args:
        rows: With ``cluster`` and ``is_core``.
        folder: That is not there yet, and that every worker sees.

    Returns:
        Rows, noise, core and border points, clusters, and the rows of the largest.
    """
    from pyspark.sql import functions as f

    noise = f.col("cluster") < 0
    sizes = (
        _written(rows, folder)
        .groupBy("cluster")
        .agg(f.count("*").alias("n"), f.count_if("is_core").alias("core"))
    )
    told = sizes.agg(
        f.sum("n").alias("n"),
        f.sum(f.when(noise, f.col("n")).otherwise(0)).alias("noise"),
        f.sum("core").alias("core"),
        f.count_if(~noise).alias("clusters"),
        f.max(f.when(~noise, f.col("n"))).alias("largest"),
    ).collect()
    figures = {name: int(value or 0) for name, value in told[0].asDict().items()}
    return figures | {"border": figures["n"] - figures["noise"] - figures["core"]}


def write_medoid_rows(rows: DataFrame, folder: Path) -> dict[str, float]:
    """Write the rows of k-medoids, and count them in what was written.

    Args:
        rows: With ``cluster`` and ``distance``.
        folder: That is not there yet, and that every worker sees.

    Returns:
        Rows ("n"), those of the largest cluster, the median of the distances (off by a
        ten-thousandth of the rows, at most) and the largest.
    """
    from pyspark.sql import functions as f

    held = _written(rows, folder)
    sizes = held.groupBy("cluster").count().agg(f.sum("count"), f.max("count")).collect()[0]
    far = held.agg(f.percentile_approx("distance", 0.5, 10_000), f.max("distance")).collect()[0]
    figures = {"n": sizes[0], "largest": sizes[1]}
    found = {name: int(value or 0) for name, value in figures.items()}
    return found | {"median": float(far[0] or 0), "farthest": float(far[1] or 0)}


def _written(rows: DataFrame, folder: Path) -> DataFrame:
    rows.write.parquet(folder.as_uri())
    return rows.sparkSession.read.parquet(folder.as_uri())
