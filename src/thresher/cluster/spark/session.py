"""A Spark session whose workers run what the driver runs, or one sentence why there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thresher.errors import MissingPackageError, RunError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["batches_in_bounds", "check_workers", "session"]

OLDEST_JAVA = 17  # that PySpark 4 runs on
BATCH_BYTES = 4 << 20  # that a worker is handed at once; Spark's own bound is 64 MiB
BATCH_SETTING = "spark.sql.execution.arrow.maxBytesPerBatch"  # Spark 4.0 does not look at it


def session() -> SparkSession:
    """The session that is there, or a new one as Spark's settings say.

    Sets PYSPARK_PYTHON to this interpreter where nothing is said, as workers would else take any
    python3 of their path.

    Raises:
        MissingPackageError: PySpark is not installed.
        RunError: there is no Java, or too old a one.
    """
    try:
        from pyspark import SparkConf
        from pyspark.sql import SparkSession
    except ImportError:
        raise MissingPackageError("pyspark", "spark") from None
    found = SparkSession.getActiveSession()
    if found is not None:
        return found
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    check_java()
    builder: Any = SparkSession.builder.appName("thresher")
    if SparkConf().get("spark.master", "local").startswith("local"):
        # its page asks nobody for a token: it is for this machine alone
        for name in ("spark.driver.bindAddress", "spark.driver.host"):
            builder = builder.config(name, SparkConf().get(name, "127.0.0.1"))
    # a bar of Spark's would write over our lines
    made: SparkSession = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    made.sparkContext.setLogLevel("ERROR")
    return made


@contextmanager
def batches_in_bounds(spark: SparkSession) -> Iterator[None]:
    """Have Spark hand its workers small batches of what is run meanwhile.

    A batch of pieces, each of many cells, would be as large as all of a task's.
    """
    before = spark.conf.get(BATCH_SETTING, None)
    spark.conf.set(BATCH_SETTING, str(BATCH_BYTES))
    try:
        yield
    finally:
        if before is None:
            spark.conf.unset(BATCH_SETTING)
        else:
            spark.conf.set(BATCH_SETTING, before)


def check_java() -> None:
    """Refuse to start without a Java that PySpark runs on.

    Raises:
        RunError: none, or too old.
    """
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None or not Path(java).exists():
        where = f"JAVA_HOME is {home}" if home else "there is no java on the path"
        raise RunError(
            f"Spark needs Java {OLDEST_JAVA} or later, and {where}.",
            f"Install one (Debian: apt install openjdk-{OLDEST_JAVA}-jre-headless).",
        )
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = told.split('"')[1] if told.count('"') >= 2 else ""
    leading = version.split(".")[0].partition("-")[0]
    if not leading.isdigit() or int(leading) < OLDEST_JAVA:
        raise RunError(
            f"Spark needs Java {OLDEST_JAVA} or later, and {java} says {version or told[:60]!r}.",
            "Install one, and name its folder in JAVA_HOME.",
        )


def check_workers(spark: SparkSession) -> None:
    """Refuse workers that cannot import what tasks need.

    On this machine, where nobody has named an interpreter, workers are given the driver's: Spark
    would start any python3 of the path.

    Raises:
        RunError: names what is missing and where.
    """
    context: Any = spark.sparkContext
    if "PYSPARK_PYTHON" not in os.environ and context.master.startswith("local"):
        context.pythonExec = sys.executable

    def imports(batches: Iterable[Any]) -> Iterator[Any]:
        """Of a worker: its interpreter, and what it lacks. Pickled whole, as it asks for that."""
        import sys

        fault = None
        for package in ("numpy", "pyarrow", "numba", "thresher"):
            try:
                __import__(package)
            except ImportError as error:
                fault = f"{package} cannot be imported ({error})"
                break
        import pyarrow

        kinds = pyarrow.schema({"python": pyarrow.string(), "fault": pyarrow.string()})
        for _ in batches:
            found = {"python": [sys.executable], "fault": [fault]}
            yield pyarrow.RecordBatch.from_pydict(found, kinds)

    try:
        told = spark.range(1).mapInArrow(imports, "python string, fault string").collect()
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next((line for line in lines if "Error" in line or "[" in line), lines[0])
        raise RunError(
            f"No worker of Spark can run Python ({context.pythonExec}): {reason[:200]}",
            "PYSPARK_PYTHON must name an interpreter that every worker has, of the driver's "
            "version, with thresher installed.",
        ) from error
    for row in told:
        if row["fault"]:
            raise RunError(
                f"Spark's workers run {row['python']}, where {row['fault']}.",
                "Install thresher there, or name another interpreter in PYSPARK_PYTHON.",
            )
