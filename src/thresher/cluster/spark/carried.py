"""Files of the driver that every worker can map: as they lie, or where Spark has carried them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["carry", "folder_of_workers", "place_of"]


def folder_of_workers(spark: SparkSession, folder: Path) -> str:
    """The folder itself where workers are on this machine; else "", for Spark's own."""
    return str(folder) if is_local(spark) else ""


def carry(spark: SparkSession, path: Path) -> None:
    """Have every machine get a file, unless workers see it as it is."""
    if not is_local(spark):
        spark.sparkContext.addFile(str(path))


def is_local(spark: SparkSession) -> bool:
    """Whether all workers are on this machine."""
    context: Any = spark.sparkContext
    return bool(context.master.startswith("local"))


def place_of(folder: str, name: str) -> Path:
    """Where a file lies, asked by a worker (or by the driver)."""
    if folder:
        return Path(folder) / name
    from pyspark import SparkFiles

    return Path(SparkFiles.get(name))
