"""What `thresher kmedoids --engine spark` does: the same medoids, of a folder that Spark reads."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

from thresher.cli.clustering import names_of, print_lines, share_of
from thresher.cli.output import print_json, say
from thresher.cli.spark_output import (
    Output,
    check_address,
    check_folder,
    tell_result,
    whole_folder,
)

__all__ = ["Settings", "kmedoids_on_spark"]


@dataclass(frozen=True)
class Settings:
    """As the command line has them."""

    columns: str | None
    metric: str
    k: int
    samples: int
    sample_size: int | None
    refine_rounds: int
    weight: str | None
    seed: int
    jobs: int | None


def kmedoids_on_spark(points: str, settings: Settings, output: Output) -> None:
    """Cluster a Parquet folder and write one.

    Args:
        points: A .parquet or a folder of them, as a path or an address.
        settings: Of k-medoids.
        output: What to write and to print.

    Raises:
        ParameterError: a setting that cannot be.
        DataError: points that cannot be clustered.
        RunError: Spark cannot run, or the folder cannot be written.
    """
    began = time.perf_counter()
    check_folder(points, output)
    if output.explain:
        tell_plan(points, settings, as_json=output.as_json)
        return
    check_address(output)
    from thresher.cluster.metric import EARTH_RADIUS
    from thresher.cluster.spark import kmedoids
    from thresher.cluster.spark.written import write_medoid_rows

    geographic = settings.metric == "haversine"
    metres = EARTH_RADIUS if geographic else 1.0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")
        found = kmedoids(
            points,
            settings.k,
            columns=names_of(settings.columns),
            n_samples=settings.samples,
            sample_size="auto" if settings.sample_size is None else settings.sample_size,
            refine_rounds=settings.refine_rounds,
            metric=settings.metric,
            degrees=geographic,
            weight=settings.weight,
            random_state=settings.seed,
            n_jobs=settings.jobs,
            tell=say,
        )
        clusters = len(found.medoid_rows)
        if 0 < clusters < settings.k:
            say(
                f"note: There are {clusters:,} distinct points, fewer than --k {settings.k}: each "
                "is a cluster of its own."
            )
        rows = found.rows.select("cluster", "distance") if output.only_labels else found.rows
        if geographic:
            rows = rows.withColumn("distance", rows["distance"] * metres)
        say("writing")
        with whole_folder(output) as (place, replacing):
            counted = write_medoid_rows(rows, place, overwrite=replacing)
    statistics = found.statistics
    facts = {
        "method": "kmedoids",
        "columns": names_of(settings.columns) or [],
        "metric": settings.metric,
        "k": settings.k,
        "samples": settings.samples,
        "sample_size": settings.sample_size,
        "refine_rounds": settings.refine_rounds,
        "weight": settings.weight,
        "seed": settings.seed,
        "n": counted["n"],
        "dimension": found.medoids.shape[1],
        "inertia": found.inertia * metres,
        "seeding_inertia": statistics["seeding_inertia"] * metres,
        "clusters": clusters,
        "largest": counted["largest"],
        "rounds": statistics["rounds"],
        "medoids": found.medoid_rows.tolist(),
        "engine": "spark",
        "statistics": statistics,
    }
    count, largest = int(counted["n"]), int(counted["largest"])
    lines = {
        "points": f"{count:,} in {facts['dimension']} dimensions",
        "clusters": f"{clusters:,}, the largest of {share_of(largest, count)}",
        "inertia": f"{facts['inertia']:,.6g}, the sum of all distances to the medoids",
        "distance": f"{counted['median']:,.4g} in the median, {counted['farthest']:,.4g} at most",
        "engine": f"spark, {statistics['passes']} passes over the points, and one to label",
        "gathered": f"{statistics['gathered_bytes'] / 2**20:,.1f} MiB by the driver",
        "shuffled": f"{statistics['shuffle_bytes'] / 2**20:,.1f} MiB",
    }
    tell_result(points, output, facts, lines, began)


def tell_plan(points: str, settings: Settings, *, as_json: bool) -> None:
    """What would be done, from the files' own figures; nothing runs."""
    from thresher.cluster.medoid_refinement import NEAREST_OBJECTS, median_rows
    from thresher.cluster.medoid_space import code_of
    from thresher.cluster.pamae import automatic_sample_size
    from thresher.cluster.parquet_points import open_parquet

    rows = open_parquet(points)
    chosen = rows.choose(
        names_of(settings.columns), () if settings.weight is None else (settings.weight,)
    )
    code_of(settings.metric, len(chosen.axes))
    size = settings.sample_size or automatic_sample_size(settings.k)
    dimension = 3 if settings.metric == "haversine" else len(chosen.axes)
    row_bytes = len(chosen.axes) * chosen.dtype.itemsize
    drawn = settings.k * median_rows(settings.k, dimension, chosen.dtype.itemsize)
    drawn = min(rows.count, drawn)  # for the medians
    whole = rows.count <= size
    sampled = rows.count if whole else settings.samples * size
    rounds = 0 if whole else settings.refine_rounds
    evaluations = 1 if whole or settings.samples == 1 else 2
    fetching = 1 if settings.weight is None or whole else 2
    plan: dict[str, Any] = {
        "points": rows.count,
        "files": len({block.fragment.path for block in rows.blocks}),
        "dimension": len(chosen.axes),
        "k": settings.k,
        "sampled_rows": sampled,
        "passes_at_most": 1 + fetching + evaluations + 4 * rounds + 1,
        "sample_bytes": sampled * (8 + row_bytes),
        "median_bytes": drawn * (20 + row_bytes) if rounds else 0,
        "task_bytes": settings.k * NEAREST_OBJECTS * (16 + 8 * dimension) if rounds else 0,
        "shuffled_points": 0,
    }
    if as_json:
        print_json({"schema": 1, **plan})
        return
    print_lines(
        {
            "points": f"{rows.count:,} in {len(chosen.axes)} dimensions, {plan['files']:,} files",
            "passes": f"{plan['passes_at_most']} over the points at most (check, fetch samples, "
            "evaluate, refine, label)",
            "samples": f"{sampled:,} rows in the driver, {plan['sample_bytes'] / 2**20:,.1f} MiB"
            + (": all, searched as a whole" if whole else ""),
            "medians": f"about {plan['median_bytes'] / 2**20:,.1f} MiB of rows in the driver",
            "tasks": f"send {plan['task_bytes'] / 2**10:,.0f} KiB each at most, besides these",
            "shuffle": "no points",
        }
    )
