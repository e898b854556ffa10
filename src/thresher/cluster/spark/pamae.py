"""k-medoids of data on a cluster: the search of one machine, its passes made by Spark.

    check       every row, and how many there are
    samples     their rows, by number, to the driver; searched there
    evaluate    one pass: each task sends what every set of medoids costs on its rows
    refine      three passes: some rows of every group, the objects near to their medians, the costs
                of these; then one that evaluates what has moved
    label       the nearest medoid of every row, when the rows are read

The mathematics is that of `thresher.cluster.pamae`, run by the driver, and all that is gathered of
rows is independent of their order: the medoids are those of one machine, bit for bit, whatever the
partitions.

Source: Song, Lee & Han, PAMAE: Parallel k-Medoids Clustering with High Accuracy and Efficiency,
KDD 2017; the deviations are those of `thresher.cluster.pamae`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thresher.cluster.kmedoids import check_whole, drawn_seed
from thresher.cluster.medoid_space import code_of
from thresher.cluster.metric import check_degrees
from thresher.cluster.pamae import automatic_sample_size, find_medoids, k_medoids
from thresher.cluster.points import ArrayPoints
from thresher.cluster.spark.measured import Phases
from thresher.cluster.spark.medoid_labelling import ADDED, labelled
from thresher.cluster.spark.medoid_rows import Reading, SparkRows, count_rows
from thresher.cluster.spark.session import check_workers, session
from thresher.cluster.spark.source import Source, check_added, open_source
from thresher.cluster.threads import jobs_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["SparkMedoids", "kmedoids"]


class SparkMedoids(NamedTuple):
    """What `kmedoids` returns: u = min(k, distinct rows) medoids, sorted by their coordinates."""

    rows: DataFrame  # as given, with ``cluster`` int32 in 0..u-1 and ``distance`` float64
    medoids: NDArray[Any]  # (u, d); radians where degrees were given
    medoid_rows: NDArray[np.int64]  # (u,) which rows they are, counted from 0 in the rows' order
    inertia: float  # φ
    statistics: dict[str, Any]


def kmedoids(
    data: DataFrame | str | os.PathLike[str],
    n_clusters: int = 8,
    *,
    columns: Sequence[str] | None = None,
    n_samples: int = 5,
    sample_size: int | Literal["auto"] = "auto",
    refine_rounds: int = 1,
    metric: str = "euclidean",
    degrees: bool = False,
    weight: str | None = None,
    random_state: int | np.random.RandomState | None = None,
    n_jobs: int | None = None,
    tell: Callable[[str], None] | None = None,
) -> SparkMedoids:
    """Choose k rows, the medoids, so that all rows are near to them; on a Spark cluster.

    The medoids, their row numbers, φ and every label are those of `thresher.cluster.KMedoids` with
    the same settings and the same number as ``random_state``, to the bit, for any number of
    partitions, executors and retried tasks: samples are drawn by the number of a row, and sums over
    rows are exact. The number of a row is its place among the rows of the files in the order of
    their paths, or among those of a DataFrame in the order of its partitions. A query whose rows
    come in another order each time has other numbers each time, as other data would.

    Args:
        data: A DataFrame, or the path of a Parquet file or of a folder of them that every worker
            sees. The coordinates of a DataFrame are persisted while it is read, unless it is
            persisted already.
        n_clusters: k, >= 1. With fewer distinct rows, each is a medoid, and there are no more: none
            is repeated.
        columns: d columns of numbers, or one of lists of d numbers, all finite; None takes all but
            the weight.
        n_samples: m, how many samples are searched, >= 1. Default 5 (Song et al. 2017).
        sample_size: s, rows of a sample, >= 1; "auto" = 40 k (Song et al. 2017). Up to s rows are
            fetched and searched as a whole.
        refine_rounds: At most so many refinements of four passes each, >= 0. Default 1 (Song et al.
            2017); it stops by itself where one changes nothing.
        metric: "euclidean", "manhattan", "cosine", or "haversine" of latitude and longitude.
        degrees: For haversine: the coordinates are degrees; else radians. Distances, φ and the
            medoids are in radians.
        weight: A column of weights, finite and >= 0, not all 0; or None for 1 each. Rows of weight
            0 get clusters and do not count.
        random_state: A number gives the same medoids each time; a `RandomState`, or None for
            NumPy's own, draws a seed.
        n_jobs: The driver's threads; None and -1 take every processor.
        tell: Is told a line for every phase, with the address of Spark's page.

    Raises:
        ParameterError: a setting out of range.
        DataError: rows that cannot be clustered; names the file and the row group, or the
            partition.
        RunError: no Java, or workers that cannot run thresher.

    Cost: a pass to check, one to fetch the samples (two with weights), two to evaluate, four a
    round of refinement. Each reads the coordinates; the first two compute no distances, the third
    n · m · k, the others n · k. The driver holds the samples, 32 MiB of rows for the medians (1000
    rows a cluster, if that is more) and what tasks send.
    Source: Song, Lee & Han, PAMAE, KDD 2017.
    """
    check_whole("n_clusters", n_clusters, 1)
    check_whole("n_samples", n_samples, 1)
    check_whole("refine_rounds", refine_rounds, 0)
    if sample_size != "auto":
        check_whole("sample_size", sample_size, 1)
    check_degrees(metric, degrees=degrees)
    jobs = jobs_of(n_jobs)
    spark = data.sparkSession if hasattr(data, "sparkSession") else session()
    source = open_source(data, spark)
    check_added(source.schema, ADDED.names)
    without = () if weight is None else (weight,)
    chosen = source.choose(columns, without)
    code = code_of(metric, len(chosen.axes))
    weights = None if weight is None else source.choose([weight], ())
    reading = Reading(chosen, weights, code, degrees)
    phases = Phases(spark, tell)
    with phases.phase("checking the workers"):
        compile_here(reading)
        check_workers(spark)
    held = source.held(reading.columns)
    try:
        return cluster(
            source,
            held,
            reading,
            phases,
            jobs,
            n_clusters=n_clusters,
            n_samples=n_samples,
            sample_size=automatic_sample_size(n_clusters) if sample_size == "auto" else sample_size,
            refine_rounds=refine_rounds,
            seed=drawn_seed(random_state),
        )
    finally:
        held.release()


def cluster(
    source: Source,
    held: Source,
    reading: Reading,
    phases: Phases,
    jobs: int,
    **settings: int,
) -> SparkMedoids:
    """The medoids of rows that are held, and the rows of the source around them."""
    with phases.phase("checking the rows"):
        counted = count_rows(held, reading)
    statistics: dict[str, Any] = {"points": counted.total, "clusters": 0, "rounds": 0}
    if not counted.total:
        nothing = np.empty((0, len(reading.chosen.axes)), reading.dtype)
        rows = labelled(source, reading, None)
        statistics |= {"passes": 1, "gathered_bytes": 0, "seeding_inertia": 0.0}
        return SparkMedoids(
            rows, nothing, np.empty(0, np.int64), 0.0, statistics | phases.figures()
        )
    data = SparkRows(held.numbered(counted.rows), reading, counted, phases, jobs)
    found = find_medoids(data, **settings)
    assigned = found.assigned
    statistics |= {
        "clusters": len(assigned.medoids.rows),
        "rounds": found.rounds,
        "passes": 1 + data.passes,
        "gathered_bytes": data.gathered_bytes,
        "seeding_inertia": found.seeding_inertia,
    }
    return SparkMedoids(
        labelled(source, reading, assigned.find),
        assigned.medoids.coordinates,
        assigned.first_rows,
        assigned.inertia,
        statistics | phases.figures(),
    )


def compile_here(reading: Reading) -> None:
    """Compile what tasks need once, in the driver: workers of this machine find it made."""
    dimension = max(1, len(reading.chosen.axes))
    few = (np.arange(8 * dimension).reshape(8, dimension) % 7 + 1) / 10  # of any metric
    points = ArrayPoints(few.astype(reading.dtype))
    k_medoids(points, 2, metric=reading.metric, n_samples=2, sample_size=4, weights=np.ones(8))
