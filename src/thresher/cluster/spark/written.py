"""The rows of a result as Parquet, and what was written, counted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["write_rows"]


def write_rows(rows: DataFrame, folder: Path) -> dict[str, int]:
    """Write the rows of a result, and count them in what was written.

    Args:
        rows: With ``cluster`` and ``is_core``.
        folder: That is not there yet, and that every worker sees.

    Returns:
        Rows, noise, core and border points, clusters, and the rows of the largest.
    """
    from pyspark.sql import functions as f

    rows.write.parquet(folder.as_uri())
    noise = f.col("cluster") < 0
    sizes = (
        rows.sparkSession.read.parquet(folder.as_uri())
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
