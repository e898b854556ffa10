"""`thresher kmedoids`: k rows in the middle of all others, and which of them is nearest to each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

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
from thresher.cluster.names import ENGINES, MEDOID_METRICS
from thresher.errors import ParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from thresher.cluster.pamae import MedoidClusters

__all__ = ["kmedoids"]


def kmedoids(
    points: PointsPath,
    k: Annotated[int, typer.Option("--k", help="Clusters.", min=1, show_default=False)],
    out: Out,
    samples: Annotated[int, typer.Option(help="Samples that are searched.", min=1)] = 5,
    sample_size: Annotated[
        int | None, typer.Option(help="Rows of a sample; 40 k if not said.", min=1)
    ] = None,
    refine_rounds: Annotated[
        int, typer.Option(help="Refinements over the entire data, at most.", min=0)
    ] = 1,
    columns: Columns = None,
    metric: Annotated[
        str, typer.Option(help="euclidean, manhattan, cosine or haversine (metres).")
    ] = "euclidean",
    weight: Weight = None,
    seed: Annotated[int, typer.Option(help="Of the samples: same seed, same medoids.", min=0)] = 0,
    engine: Engine = "local",
    explain: Explain = False,
    jobs: Jobs = None,
    only_labels: OnlyLabels = False,
    plot: Plot = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Cluster points around k of them, so that the sum of all distances to these is small."""
    began = time.perf_counter()
    check_choice("--metric", metric, MEDOID_METRICS)
    check_choice("--engine", engine, ENGINES)
    if engine == "spark":
        from thresher.cli.spark_kmedoids import Settings, kmedoids_on_spark
        from thresher.cli.spark_output import Output, refuse_plot

        refuse_plot(plot)
        kmedoids_on_spark(
            points,
            Settings(columns, metric, k, samples, sample_size, refine_rounds, weight, seed, jobs),
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
        added = () if only_labels else ("cluster", "distance")
        given = open_input(points, columns, metric, weight, added, threads, phases)
        settings = {
            "columns": list(getattr(given.shown, "axes", ())),
            "metric": metric,
            "k": k,
            "samples": samples,
            "sample_size": sample_size,
            "refine_rounds": refine_rounds,
            "weight": weight,
            "seed": seed,
        }
        found = cluster(given, settings, threads, phases)
        finish(
            given,
            found,
            out,
            plot,
            phases,
            began,
            only_labels=only_labels,
            geographic=metric == "haversine",
            as_json=as_json,
        )


def cluster(given: Input, settings: dict[str, Any], jobs: int, phases: Phases) -> Found:
    """Cluster points; none have no medoids."""
    import numpy as np

    facts: dict[str, Any] = {"method": "kmedoids", **settings, "n": given.points.rows}
    facts["dimension"] = given.points.dimension
    if not given.points.rows:
        nothing: dict[str, Any] = {"clusters": 0, "inertia": 0.0, "medoids": []}
        columns: dict[str, NDArray[Any]] = {"distance": np.empty(0)}
        return Found(np.empty(0, np.int32), columns, facts | nothing, {"points": "0"})
    from thresher.cluster.medoid_space import code_of
    from thresher.cluster.metric import EARTH_RADIUS
    from thresher.cluster.pamae import k_medoids

    code = code_of(settings["metric"], given.points.dimension)
    found = k_medoids(
        given.points,
        settings["k"],
        metric=code,
        n_samples=settings["samples"],
        sample_size=settings["sample_size"],
        refine_rounds=settings["refine_rounds"],
        weights=given.weights,
        seed=settings["seed"],
        jobs=jobs,
        phase=phases,
    )
    if len(found.rows) < settings["k"]:
        phases.note(
            f"There are {len(found.rows):,} distinct points, fewer than --k {settings['k']}: each "
            "is a cluster of its own."
        )
    metres = EARTH_RADIUS if settings["metric"] == "haversine" else 1.0
    distances = distances_of(given, found, code, jobs, phases) * metres
    inertia, seeding = found.inertia * metres, found.seeding_inertia * metres
    return described(found, distances, facts | {"inertia": inertia, "seeding_inertia": seeding})


def distances_of(
    given: Input, found: MedoidClusters, code: int, jobs: int, phases: Phases
) -> NDArray[np.float64]:
    """(N,) the distance of each row to its medoid."""
    import numpy as np

    from thresher.cluster.medoid_space import NearestMedoid, embedded, tiles
    from thresher.cluster.threads import each

    nearest = NearestMedoid(code, embedded(code, found.medoids))
    distances = np.empty(given.points.rows)

    def measure(part: int) -> None:
        for first, rows in tiles(given.points, part):
            distances[first : first + len(rows)] = nearest(embedded(code, rows))[1]

    each(measure, len(given.points.starts) - 1, jobs, lambda share: phases("distances", share))
    return distances


def described(
    found: MedoidClusters, distances: NDArray[np.float64], facts: dict[str, Any]
) -> Found:
    """What was found, for programs and for people."""
    import numpy as np

    count, clusters = len(found.labels), len(found.rows)
    sizes = np.bincount(found.labels, minlength=clusters)
    facts = facts | {
        "clusters": clusters,
        "largest": int(sizes.max()),
        "rounds": found.rounds,
        "medoids": found.rows.tolist(),
    }
    lines = {
        "points": f"{count:,} in {facts['dimension']} dimensions",
        "clusters": f"{clusters:,}, the largest of {share_of(facts['largest'], count)}",
        "inertia": f"{facts['inertia']:,.6g}, the sum of all distances to the medoids",
        "distance": f"{np.median(distances):,.4g} in the median, {distances.max():,.4g} at most",
    }
    return Found(found.labels, {"distance": distances}, facts, lines)
