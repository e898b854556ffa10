"""Benchmark of clustering on Spark: passes against plain ones, bytes, memory, balance, a peer.

    python benchmarks/spark.py all            every case below, each in a process of its own
    python benchmarks/spark.py CASE…          some: passes exact needed apart memory balance peer
                                              big
    python benchmarks/spark.py table          results/spark.jsonl → results/spark.md

    passes   5·10⁶ × 2 at rho .01: counting and clustering against a read that passes rows through,
             labelling against a write that does; the local engine in the same run; bytes shuffled
    exact    the same points with rho 0, and dense walks; the local engine in the same run
    needed   10⁶ points, cells of several sizes: how many points decide (no Spark)
    apart    the same at rho .01, with a driver that holds nothing: what tasks do instead
    memory   the same: peak of the driver's Python, and of a worker
    balance  10⁶ points of a skewed mixture dealt to 64 tasks, and to 64 regions
    peer     10⁵ points: DBSCAN written as joins of DataFrames
    big      5·10⁷ points made on the fly

Spark runs with two threads (`local[2]`) and a session that has run a small job before. Times are
the best of three rounds, of one where it is said. Every call measures anew and appends its lines;
the newest line of a case counts. `--scale` makes small cases to try the program with, which the
table passes over.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cluster_data as data
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cells import keep
from numpy.typing import NDArray

RESULTS = Path(__file__).parent / "results" / "spark.jsonl"
ROUNDS = 3
FILES = 8
MIXTURE = {"eps": 0.05, "min_samples": 50}
DENSE = {"eps": 200, "min_samples": 100}
REGIONS = 8  # along each axis

Figures = dict[str, Any]
Points = NDArray[np.float64]


# ---------------------------------------------------------------------- a session, and plain passes
def new_session(folder: Path, **settings: str) -> Any:
    """Two threads, no page, all files in a folder that is removed."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder: Any = SparkSession.builder.master("local[2]").appName("benchmark")
    for name, value in {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "4g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": str(folder / "local"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        **settings,
    }.items():
        builder = builder.config(name, value)
    made = builder.getOrCreate()
    made.sparkContext.setLogLevel("ERROR")
    return made


def write_points(folder: Path, points: Points) -> Path:
    """A folder of Parquet files, as many rows in each."""
    folder.mkdir()
    for place, part in enumerate(np.array_split(points, FILES)):
        table = pa.table({f"x{j}": part[:, j] for j in range(part.shape[1])})
        pq.write_table(table, folder / f"{place:02}.parquet", row_group_size=1 << 17)
    return folder


def warm_up(folder: Path) -> None:
    """A small job of every kind, which loads the kernels in the driver and in the workers."""
    from thresher.cluster.spark import dbscan

    points = write_points(folder / "small", data.gaussian_mixture(20_000, 2))
    for rho in (0.01, 0):
        rows = dbscan(str(points), **MIXTURE, rho=rho).rows
        rows.write.mode("overwrite").parquet(str(folder / "small-out"))


def passed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches


def seconds_of(work: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """The best of some rounds."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def local_labels(folder: Path, **settings: Any) -> tuple[NDArray[np.int32], float]:
    """The same by the engine of one machine, and its seconds with the reading."""
    from thresher.cluster import DBSCAN

    model = DBSCAN(**settings, n_jobs=2)
    seconds = seconds_of(lambda: model.fit(str(folder)))
    return model.labels_, seconds


def best_run(
    path: Path, out: Path, rounds: int = ROUNDS, **settings: Any
) -> tuple[Figures, float, float, NDArray[np.int32]]:
    """Statistics, seconds until labels are known, seconds of labelling, and the labels."""
    from thresher.cluster.spark import dbscan

    known, written = [], []
    best = None
    for _ in range(rounds):
        began = time.perf_counter()
        found = dbscan(str(path), **settings)
        known.append(time.perf_counter() - began)
        if known[-1] == min(known):
            best = found.statistics
        began = time.perf_counter()
        found.rows.write.mode("overwrite").parquet(str(out))
        written.append(time.perf_counter() - began)
    labels = pq.read_table(out, columns=["cluster"]).column(0).to_numpy()
    assert best is not None
    return best, min(known), min(written), labels


def compared(points: Path, out: Path, rounds: int, settings: Figures, **of_spark: Any) -> Figures:
    """Figures of a run, with the local engine's seconds and whether its labels are the same."""
    statistics, known, labelling, labels = best_run(points, out, rounds, **settings, **of_spark)
    here, local = local_labels(points, **settings)
    return {
        "known_seconds": known,
        "labelling_seconds": labelling,
        "local_seconds": local,
        "equal": bool((labels == here).all()),
        "statistics": statistics,
    }


# ---------------------------------------------------------------------- cases
def passes(folder: Path, scale: float) -> Iterator[Figures]:
    n = int(5_000_000 * scale)
    points = write_points(folder / "points", data.gaussian_mixture(n, 2))
    spark = new_session(folder)
    warm_up(folder)

    def plain() -> Any:
        frame = spark.read.parquet(str(points))
        return frame.mapInArrow(passed, frame.schema)

    reading = seconds_of(lambda: plain().write.format("noop").mode("overwrite").save())
    writing = seconds_of(lambda: plain().write.mode("overwrite").parquet(str(folder / "passed")))
    found = compared(points, folder / "out", ROUNDS, {**MIXTURE, "rho": 0.01})
    phases = found["statistics"]["seconds"]
    yield {
        "n": n,
        "read_seconds": reading,
        "write_seconds": writing,
        "solving_seconds": phases["counting the cells"] + phases["clustering the cells"],
        **found,
    }


def exact(folder: Path, scale: float) -> Iterator[Figures]:
    new_session(folder)
    warm_up(folder)
    n = int(5_000_000 * scale)
    for name, settings, made in (
        ("mixture", MIXTURE, data.gaussian_mixture(n, 2)),
        ("walks", DENSE, data.seed_spreader(n, 2)),
    ):
        points = write_points(folder / name, made)
        yield {"data": name, "n": n, **compared(points, folder / f"{name}-out", 1, settings)}


def needed(folder: Path, scale: float) -> Iterator[Figures]:
    """What an exact run must fetch, by the size of the cells."""
    from thresher.cluster.row_table import RowTable, empty_slots, find, slots_of
    from thresher.cluster.snapped import cube_side, snap
    from thresher.cluster.undecided import bounds_of, needed_cells

    n = int(1_000_000 * scale)
    for name, settings, points in (
        ("mixture, 2-D", MIXTURE, data.gaussian_mixture(n, 2)),
        ("mixture, 3-D", {"eps": 0.15, "min_samples": 50}, data.gaussian_mixture(n, 3)),
        ("walks, 2-D", DENSE, data.seed_spreader(n, 2)),
    ):
        eps, dimension = settings["eps"], points.shape[1]
        for rho in (0.01, 0.04, 0.16, 0.64):
            side = cube_side(eps, dimension, rho)
            snapped = snap(points, side)
            table = RowTable(dimension)
            table.add(snapped, np.ones(n, np.int64), np.arange(n))
            cells = np.array(table.rows)
            bounds = bounds_of(eps, side, dimension, float(np.abs(cells).max()))
            asked = settings["min_samples"]
            marks, undecided = needed_cells(cells, np.array(table.weights), bounds, asked, 2)
            cell_of = find(snapped, slots_of(cells, empty_slots(len(cells))), cells)
            yield {
                "data": name,
                "rho": rho,
                "n": n,
                "cells": len(cells),
                "undecided_share": undecided / len(cells),
                "fetched_share": float(marks[cell_of].mean()),
            }


def apart(folder: Path, scale: float) -> Iterator[Figures]:
    n = int(5_000_000 * scale)
    points = write_points(folder / "points", data.gaussian_mixture(n, 2))
    new_session(folder)
    warm_up(folder)
    for rho in (0.01, 0):
        settings = {**MIXTURE, "rho": rho}
        found = compared(points, folder / "out", 1, settings, driver_limit=1 << 20)
        yield {"rho": rho, "n": n, **found}


class Workers(threading.Thread):
    """Looks at the memory of Spark's Python workers while something runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.anonymous: dict[str, int] = {}  # by process; "self" is the driver
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.01):
            self.note("self", figure(contents(Path("/proc/self/status")).decode(), "RssAnon"))
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit() and b"pyspark.daemon" in contents(entry / "cmdline"):
                    self.note(entry.name, figure(contents(entry / "status").decode(), "RssAnon"))

    def note(self, process: str, held: int) -> None:
        self.anonymous[process] = max(self.anonymous.get(process, 0), held)


def contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # the process has ended meanwhile
        return b""


def figure(status: str, name: str) -> int:
    """Bytes of a line of /proc/PID/status; 0 where there is none."""
    for line in status.splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) << 10
    return 0


def memory(folder: Path, scale: float) -> Iterator[Figures]:
    """Peaks above what a small job of the same kind takes."""
    n = int(5_000_000 * scale)
    points = write_points(folder / "points", data.gaussian_mixture(n, 2))
    new_session(folder)
    warm_up(folder)
    for rho, limit in ((0.01, 2 << 30), (0.01, 1 << 20), (0, 2 << 30)):
        floor = watched(lambda rho=rho, limit=limit: warm_up_again(folder, rho, limit))
        statistics, peak = watched(
            lambda rho=rho, limit=limit: best_run(
                points, folder / "out", 1, **MIXTURE, rho=rho, driver_limit=limit
            )[0]
        )
        yield {
            "rho": rho,
            "driver_limit": limit,
            "n": n,
            "cells": statistics["cells"],
            "driver_bytes": peak["driver"],
            "driver_bytes_a_cell": peak["driver"]
            / (statistics["cells"] + statistics.get("fetched_points", 0)),
            "worker_bytes": peak["worker"] - floor[1]["worker"],
        }


def warm_up_again(folder: Path, rho: float, limit: int) -> None:
    from thresher.cluster.spark import dbscan

    rows = dbscan(str(folder / "small"), **MIXTURE, rho=rho, driver_limit=limit).rows
    rows.write.mode("overwrite").parquet(str(folder / "small-out"))


def watched(work: Callable[[], Any]) -> tuple[Any, dict[str, int]]:
    """What some work returns; the driver's growth and the largest worker's size meanwhile.

    Of memory that is not of files: what is mapped is one copy for all.
    """
    give_back_freed()
    before = figure(contents(Path("/proc/self/status")).decode(), "RssAnon")
    workers = Workers()
    workers.start()
    told = work()
    workers.done.set()
    workers.join()
    driver = workers.anonymous.pop("self", before)
    return told, {"driver": driver - before, "worker": max(workers.anonymous.values(), default=0)}


def give_back_freed() -> None:
    """Have the system take what is free: what is used again would else not be seen."""
    import ctypes
    import gc

    gc.collect()
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def balance(folder: Path, scale: float) -> Iterator[Figures]:
    from thresher.cluster.spark import dbscan, solving

    random = np.random.default_rng(0)
    n = int(1_000_000 * scale)
    centres = random.uniform(0, 100, (10, 2))
    spread = random.standard_normal((n, 2)) / np.sqrt(8)
    made = centres[random.integers(0, 10, n)] + spread
    points = write_points(folder / "points", made)
    new_session(folder)
    solving.TASKS_A_CORE = REGIONS * REGIONS // 2
    settings = {"eps": 0.05, "min_samples": 100, "rho": 0.01, "driver_limit": 1 << 20}
    found = dbscan(str(points), **settings).statistics
    edges = [np.linspace(low, high, REGIONS + 1) for low, high in zip(*box(made), strict=True)]
    regions = np.histogramdd(made, bins=edges)[0]
    yield {
        "n": n,
        "tasks": REGIONS * REGIONS,
        "cells": found["cells"],
        "balls": found["balls"],
        "points_by_hash": found["balance"]["points"],
        "cells_by_hash": found["balance"]["cells"],
        "points_by_region": float(regions.max() / regions.mean()),
        "edges": found["edges"],
    }


def box(points: Points) -> tuple[Points, Points]:
    return points.min(axis=0), points.max(axis=0)


def big(folder: Path, scale: float) -> Iterator[Figures]:
    """No file: every pass makes the points anew from their numbers."""
    spark = new_session(folder)
    warm_up(folder)
    n = int(50_000_000 * scale)
    from thresher.cluster.spark import dbscan

    numbers = spark.range(0, n, 1, 64)
    frame = numbers.mapInArrow(made_of_numbers, "x0 double, x1 double")
    began = time.perf_counter()
    found = dbscan(frame, 0.02, 500, rho="auto")
    known = time.perf_counter() - began
    began = time.perf_counter()
    found.rows.write.mode("overwrite").parquet(str(folder / "out"))
    yield {
        "rho": "auto",
        "n": n,
        "known_seconds": known,
        "labelling_seconds": time.perf_counter() - began,
        "statistics": found.statistics,
    }


def made_of_numbers(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Ten Gaussians, a point by its number alone."""
    import numpy as np
    import pyarrow as pa

    centres = np.random.default_rng(0).uniform(0, 100, (10, 2))
    for batch in batches:
        numbers = batch.column(0).to_numpy()
        random = np.random.default_rng(int(numbers[0]))
        chosen = centres[random.integers(0, 10, len(numbers))]
        points = chosen + random.standard_normal((len(numbers), 2))
        columns = [pa.array(points[:, 0].copy()), pa.array(points[:, 1].copy())]
        yield pa.RecordBatch.from_arrays(columns, ["x0", "x1"])


# ---------------------------------------------------------------------- the peer
def peer(folder: Path, scale: float) -> Iterator[Figures]:
    """DBSCAN as a plan of joins: pairs by a grid of side eps, components by least labels."""
    n = int(100_000 * scale)
    made = data.gaussian_mixture(n, 2)
    points = write_points(folder / "points", made)
    spark = new_session(folder, **{"spark.sql.shuffle.partitions": "8"})
    warm_up(folder)
    settings = {"eps": 0.15, "min_samples": 50}
    from thresher.cluster.spark.measured import Phases

    phases = Phases(spark)
    with phases.phase("joins"):
        rows = joined_dbscan(spark, str(points), settings["eps"], settings["min_samples"])
    found = np.array(rows, np.int64).reshape(-1, 2)
    statistics, known, labelling, labels = best_run(points, folder / "out", 1, **settings)
    yield {
        "n": n,
        "join_seconds": phases.seconds["joins"],
        "join_shuffle_bytes": phases.shuffled.get("joins", 0),
        "known_seconds": known,
        "labelling_seconds": labelling,
        "shuffle_bytes": statistics["shuffle_bytes"],
        "core_clusters": len(set(found[:, 1].tolist())),
        "equal": same_partition(found, labels, made, **settings),
    }


def joined_dbscan(spark: Any, path: str, eps: float, min_samples: int) -> list[tuple[int, int]]:
    """Core points (by number) with the least number of their cluster's core points."""
    from pyspark.sql import functions as f

    numbered = spark.read.parquet(path).withColumn("id", f.monotonically_increasing_id())
    rows = numbered.withColumns(
        {"cx": f.floor(f.col("x0") / eps), "cy": f.floor(f.col("x1") / eps)}
    ).persist()
    around = f.explode(f.array(*[f.lit(step) for step in (-1, 0, 1)]))
    near = (
        rows.withColumn("dx", around)
        .withColumn("dy", around)
        .select(
            f.col("id").alias("other"),
            f.col("x0").alias("ox"),
            f.col("x1").alias("oy"),
            (f.col("cx") + f.col("dx")).alias("cx"),
            (f.col("cy") + f.col("dy")).alias("cy"),
        )
    )
    apart = (f.col("x0") - f.col("ox")) ** 2 + (f.col("x1") - f.col("oy")) ** 2
    pairs = rows.join(near, ["cx", "cy"]).where(apart <= eps * eps).select("id", "other").persist()
    core = pairs.groupBy("id").count().where(f.col("count") >= min_samples).select("id").persist()
    links = (
        pairs.join(core, "id")
        .join(core.withColumnRenamed("id", "other"), "other")
        .where("id <> other")
        .persist()
    )
    labels = core.withColumn("label", f.col("id")).localCheckpoint()
    while True:
        nearest = links.join(labels.withColumnRenamed("id", "other"), "other")
        least = nearest.groupBy("id").agg(f.min("label").alias("seen"))
        stepped = labels.join(least, "id", "left").withColumn(
            "new", f.least("label", f.coalesce("seen", "label"))
        )
        # a label is a point: take on the label of that as well, which halves the way to the least
        of_label = labels.select(f.col("id").alias("new"), f.col("label").alias("jumped"))
        jumped = stepped.join(of_label, "new", "left")
        named = jumped.select(
            "id", "label", f.least("new", f.coalesce("jumped", "new")).alias("to")
        )
        named = named.localCheckpoint()
        changed = named.where("label <> to").count()
        labels = named.select("id", f.col("to").alias("label")).localCheckpoint()
        if not changed:
            return [(row["id"], row["label"]) for row in labels.collect()]


def same_partition(
    found: NDArray[np.int64], labels: NDArray[np.int32], points: Points, **settings: Any
) -> bool:
    """Whether both have as many core points, in clusters of the same sizes."""
    from thresher.cluster import DBSCAN

    core = DBSCAN(**settings).fit(points).core_sample_indices_
    ours = np.sort(np.unique(labels[core], return_counts=True)[1])
    theirs = np.sort(np.unique(found[:, 1], return_counts=True)[1])
    return len(core) == len(found) and np.array_equal(ours, theirs)


CASES: dict[str, Callable[[Path, float], Iterator[Figures]]] = {
    "passes": passes,
    "exact": exact,
    "needed": needed,
    "apart": apart,
    "memory": memory,
    "balance": balance,
    "peer": peer,
    "big": big,
}


def versions() -> Figures:
    from importlib.metadata import version

    return {name: version(name) for name in ("thresher", "pyspark", "pyarrow", "numpy")}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", nargs="+", choices=["all", "table", *CASES])
    parser.add_argument("--scale", type=float, default=1.0, help="rows, times this")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--folder", type=Path, help="for points and output, else a temporary one")
    asked = parser.parse_args()
    if asked.what == ["table"]:
        from spark_table import write_table

        write_table(asked.results)
        return
    names = list(CASES) if "all" in asked.what else asked.what
    if len(names) > 1:
        for name in names:
            more = ["--scale", str(asked.scale), "--results", str(asked.results)]
            subprocess.run([sys.executable, __file__, name, *more], check=True)
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        scale = {} if asked.scale == 1 else {"scale": asked.scale}
        measured = CASES[names[0]](Path(folder), asked.scale)
        keep(names[0], measured, versions() | scale, asked.results)


if __name__ == "__main__":
    main()
