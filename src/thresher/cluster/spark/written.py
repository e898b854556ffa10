"""The rows of a result as Parquet, and what was written, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from thresher.errors import RunError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["stands_at", "write_medoid_rows", "write_rows"]


def write_rows(rows: DataFrame, place: str, *, overwrite: bool = False) -> dict[str, int]:
    """Write the rows of a result, and count them in what was written.

    Args:
        rows: With ``cluster`` and ``is_core``.
        place: Address of a folder that every worker sees.
        overwrite: Replace what Spark has written there.

    Returns:
        Rows, noise, core and border points, clusters, and the rows of the largest.
    """
    from pyspark.sql import functions as f

    noise = f.col("cluster") < 0
    sizes = (
        _written(rows, place, overwrite)
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


def write_medoid_rows(rows: DataFrame, place: str, *, overwrite: bool = False) -> dict[str, float]:
    """Write the rows of k-medoids, and count them in what was written.

    Args:
        rows: With ``cluster`` and ``distance``.
        place: Address of a folder that every worker sees.
        overwrite: Replace what Spark has written there.

    Returns:
        Rows ("n"), those of the largest cluster, the median of the distances (off by a
        ten-thousandth of the rows, at most) and the largest.
    """
    from pyspark.sql import functions as f

    held = _written(rows, place, overwrite)
    sizes = held.groupBy("cluster").count().agg(f.sum("count"), f.max("count")).collect()[0]
    far = held.agg(f.percentile_approx("distance", 0.5, 10_000), f.max("distance")).collect()[0]
    figures = {"n": sizes[0], "largest": sizes[1]}
    found = {name: int(value or 0) for name, value in figures.items()}
    return found | {"median": float(far[0] or 0), "farthest": float(far[1] or 0)}


def _written(rows: DataFrame, place: str, overwrite: bool) -> DataFrame:
    rows.write.mode("overwrite" if overwrite else "errorifexists").parquet(place)
    return rows.sparkSession.read.parquet(place)


def stands_at(spark: SparkSession, place: str) -> Literal["nothing", "file", "whole", "other"]:
    """What is at an address: nothing, a file, a folder that may be replaced, or another.

    That is one which Spark has written to its end, or which is empty.

    Raises:
        RunError: Spark has no file system for it, or it does not answer.
    """
    session: Any = spark
    hadoop = session._jvm.org.apache.hadoop.fs
    try:
        path = hadoop.Path(place)
        files = path.getFileSystem(session._jsc.hadoopConfiguration())
        if not files.exists(path):
            return "nothing"
        if not files.getFileStatus(path).isDirectory():
            return "file"
        if not len(files.listStatus(path)):
            return "whole"
        return "whole" if files.exists(hadoop.Path(place, "_SUCCESS")) else "other"
    except Exception as error:
        reason = str(getattr(error, "java_exception", error)).strip().splitlines() or [repr(error)]
        raise RunError(
            f"Spark cannot look at {place}: {reason[0][:200]}",
            "It needs the file system's jar (spark.jars.packages) and its credentials.",
        ) from error
