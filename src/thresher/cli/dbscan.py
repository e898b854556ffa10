"""`thresher dbscan`: clusters of points that lie close together, and the noise between them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from thresher.cli.clustering import (
    Columns,
    Engine,
    Explain,
    Found,
    Input,
    Jobs,
    OnlyLabels,
    Out,
    Overwrite,
    Phases,
    Plot,
    PointsPath,
    Weight,
    check_choice,
    check_places,
    finish,
    open_input,
    share_of,
)
from thresher.cli.options import AsJson
from thresher.cluster.names import ALGORITHMS, ENGINES, METRICS
from thresher.errors import ParameterError

if TYPE_CHECKING:
    from thresher.cluster.points import Clustered

__all__ = ["dbscan"]


def dbscan(
    points: PointsPath,
    eps: Annotated[
        float,
        typer.Option(
            help="Radius of a neighbourhood; metres for haversine, 1 - cos of the angle for "
            "cosine.",
            show_default=False,
        ),
    ],
    out: Out,
    min_samples: Annotated[
        float,
        typer.Option(help="Neighbours of a core point, itself included; their weight if weighted."),
    ] = 5.0,
    columns: Columns = None,
    metric: Annotated[str, typer.Option(help="euclidean, haversine or cosine.")] = "euclidean",
    rho: Annotated[
        str,
        typer.Option(
            help="Share of eps by which distances may be off; 0 is exact. auto, on Spark: the "
            "smallest that --driver-limit allows."
        ),
    ] = "0",
    weight: Weight = None,
    algorithm: Annotated[
        str, typer.Option(help="auto, grid, tree or balls; all give the same answer.")
    ] = "auto",
    engine: Engine = "local",
    driver_limit: Annotated[
        str, typer.Option(help="On Spark: memory that the cells may take in the driver.")
    ] = "2GiB",
    explain: Explain = False,
    jobs: Jobs = None,
    only_labels: OnlyLabels = False,
    plot: Plot = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Cluster points by density: DBSCAN, exactly on this machine, or on Spark."""
    began = time.perf_counter()
    check_choice("--metric", metric, METRICS)
    check_choice("--algorithm", algorithm, ALGORITHMS)
    if not 0 < eps < float("inf"):
        raise ParameterError(
            f"--eps must be above 0 and finite, got {eps:g}.", "Example: --eps 0.5"
        )
    if not 0 < min_samples < float("inf"):
        raise ParameterError(
            f"--min-samples must be above 0 and finite, got {min_samples:g}.",
            "Example: --min-samples 5",
        )
    check_choice("--engine", engine, ENGINES)
    tolerance = rho_of(rho, engine)
    min_samples = int(min_samples) if min_samples.is_integer() else min_samples
    if engine == "spark":
        from thresher.cli.spark_dbscan import Settings, dbscan_on_spark, refuse_others
        from thresher.cli.spark_output import Output

        refuse_others(plot=plot, algorithm=algorithm)
        dbscan_on_spark(
            points,
            Settings(columns, metric, eps, min_samples, tolerance, weight, driver_limit, jobs),
            Output(out, only_labels, overwrite, explain, as_json),
        )
        return
    if explain:
        raise ParameterError("--explain is of --engine spark.", "Leave it out.")
    check_places(points, out, plot, overwrite=overwrite)

    from thresher.cluster.kernels.compiled import told_of_compiling
    from thresher.cluster.threads import jobs_of

    threads = jobs_of(jobs)
    with Phases() as phases, told_of_compiling(phases.compiling):
        added = () if only_labels else ("cluster", "is_core")
        given = open_input(points, columns, metric, weight, added, threads, phases)
        clustered = cluster(
            given,
            eps,
            min_samples,
            metric=metric,
            rho=float(tolerance),
            algorithm=algorithm,
            jobs=threads,
            phases=phases,
        )
        settings = {
            "columns": list(getattr(given.shown, "axes", ())),
            "metric": metric,
            "eps": eps,
            "min_samples": min_samples,
            "rho": tolerance,
            "weight": weight,
        }
        finish(
            given,
            described(given, clustered, settings),
            out,
            plot,
            phases,
            began,
            only_labels=only_labels,
            geographic=metric == "haversine",
            as_json=as_json,
        )


def rho_of(text: str, engine: str) -> float | Literal["auto"]:
    """The value of --rho.

    Raises:
        ParameterError: it is no number in [0, 1), or "auto" without Spark.
    """
    if text == "auto":
        if engine != "spark":
            raise ParameterError("--rho auto is of --engine spark.", "0, the default, is exact.")
        return "auto"
    try:
        rho = float(text)
    except ValueError:
        raise ParameterError(f'--rho must be a number or "auto", got {text!r}.', "") from None
    if not 0 <= rho < 1:
        raise ParameterError(f"--rho must be in [0, 1), got {rho:g}.", "0 is exact.")
    return rho


def cluster(
    given: Input,
    eps: float,
    min_samples: float,
    *,
    metric: str,
    rho: float,
    algorithm: str,
    jobs: int,
    phases: Phases,
) -> Clustered:
    """Cluster points; none have no clusters."""
    import numpy as np

    from thresher.cluster.metric import EARTH_RADIUS
    from thresher.cluster.points import Clustered

    if not given.points.rows:
        return Clustered(np.empty(0, np.int32), np.empty(0, bool), {"engine": "none"})
    from thresher.cluster.dbscan import cluster_points

    return cluster_points(
        given.points,
        eps / EARTH_RADIUS if metric == "haversine" else eps,
        min_samples,
        metric=metric,
        rho=rho,
        algorithm=algorithm,
        weights=given.weights,
        jobs=jobs,
        phase=phases,
        tell=phases.note,
    )


def described(given: Input, clustered: Clustered, settings: dict[str, Any]) -> Found:
    """What was found, for programs and for people."""
    import numpy as np

    labels, core, statistics = clustered
    count = len(labels)
    sizes = np.bincount(labels[labels >= 0])
    noise, core_points = int((labels < 0).sum()), int(core.sum())
    facts = {
        "method": "dbscan",
        **settings,
        "n": count,
        "dimension": given.points.dimension,
        "clusters": len(sizes),
        "largest": int(sizes.max(initial=0)),
        "noise": noise,
        "core": core_points,
        "border": count - noise - core_points,
        "engine": str(statistics.get("engine", "")),
        "statistics": {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in statistics.items()
        },
    }
    lines = {
        "points": f"{count:,} in {given.points.dimension} dimensions",
        "clusters": f"{len(sizes):,}, the largest of {facts['largest']:,}" if len(sizes) else "0",
        "noise": share_of(noise, count),
        "core": share_of(core_points, count),
        "border": share_of(facts["border"], count),
        "engine": facts["engine"],
    }
    return Found(labels, {"is_core": core}, facts, lines)
