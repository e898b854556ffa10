"""`thresher k-distance`: how far the k-th nearest point is, to choose eps of `thresher dbscan`."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thresher.cli.clustering import (
    Columns,
    Input,
    Jobs,
    Phases,
    PointsPath,
    check_choice,
    check_places,
    open_input,
    print_lines,
)
from thresher.cli.options import AsJson
from thresher.cli.output import print_json
from thresher.cluster.names import METRICS
from thresher.memory import peak_mib

if TYPE_CHECKING:
    from thresher.cluster.k_distances import KDistances

__all__ = ["k_distance"]

SHARES = (0.5, 0.75, 0.9, 0.95, 0.99)  # of the points, that would be core


def k_distance(
    points: PointsPath,
    k: Annotated[
        int,
        typer.Option("--k", help="Which neighbour, the point itself being the first.", min=1),
    ] = 5,
    columns: Columns = None,
    metric: Annotated[
        str, typer.Option(help="euclidean, haversine (metres) or cosine.")
    ] = "euclidean",
    sample: Annotated[
        int, typer.Option(help="Points that are measured, each against all.", min=1)
    ] = 10_000,
    jobs: Jobs = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the curve, a .png.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier file of this name.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Suggest --eps for `thresher dbscan`, and say how many points would be core at others."""
    began = time.perf_counter()
    check_choice("--metric", metric, METRICS)
    check_places(points, None, plot, overwrite=overwrite)

    from thresher.cluster.threads import jobs_of

    threads = jobs_of(jobs)
    with Phases() as phases:
        given = open_input(points, columns, metric, None, (), threads, phases)
        found = measure(given, k, sample, metric, threads, phases) if given.points.rows else None
        if found is not None and plot is not None:
            phases("drawing", 0.0)
            found.plot(plot)
    facts = {
        "method": "k-distance",
        "columns": list(getattr(given.shown, "axes", ())),
        "metric": metric,
        "k": k,
        "n": given.points.rows,
        "dimension": given.points.dimension,
        **described(found),
    }
    drawn = None if found is None or plot is None else str(plot)
    if as_json:
        spent = {
            "seconds": round(time.perf_counter() - began, 3),
            "peak_mib": peak_mib(),
        }
        print_json({"schema": 1, "points": points, "plot": drawn, **facts, **spent})
        return
    lines = summary(found, facts)
    if found is not None and facts["suggested_eps"] is not None:
        lines["next"] = next_command(points, columns, metric, k, facts["suggested_eps"])
    print_lines(lines | ({} if drawn is None else {"picture": drawn}))


def measure(
    given: Input, k: int, sample: int, metric: str, jobs: int, phases: Phases
) -> KDistances:
    """Measure in metres on the Earth, in the metric's own unit elsewhere."""
    from thresher.cluster.k_distances import sampled_distances
    from thresher.cluster.metric import EARTH_RADIUS

    found = sampled_distances(given.points, k, sample, metric=metric, jobs=jobs, phase=phases)
    if metric == "haversine":
        return replace(found, distances=found.distances * EARTH_RADIUS, unit="metres")
    return found


def described(found: KDistances | None) -> dict[str, Any]:
    """What was found, for programs: the distance at which a share of the points is core."""
    if found is None:
        return {"sampled": 0, "core_at": {}, "suggested_eps": None, "core_share": None}
    import numpy as np

    at = np.quantile(found.distances, SHARES, method="inverted_cdf")
    eps = found.suggested_eps
    return {
        "sampled": len(found.distances),
        "core_at": {f"{share:g}": float(value) for share, value in zip(SHARES, at, strict=True)},
        "suggested_eps": eps if eps > 0 else None,
        "core_share": found.core_share(eps) if eps > 0 else None,
    }


def summary(found: KDistances | None, facts: dict[str, Any]) -> dict[str, str]:
    """What was found, for people."""
    if found is None:
        return {"points": "0"}
    from thresher.cluster.k_distances import four_digits

    unit = "metres" if found.unit == "metres" else ""  # the others are no words
    sampled = "" if len(found.distances) == found.rows else f", {facts['sampled']:,} sampled"
    lines = {
        "points": f"{found.rows:,} in {facts['dimension']} dimensions{sampled}",
        "k": f"{found.k}, the point itself being the first",
    }
    for share, value in facts["core_at"].items():
        lines[f"{100 * float(share):g} % core at"] = f"{four_digits(value):,.10g} {unit}".rstrip()
    if facts["suggested_eps"] is None:
        lines["suggested"] = f"no eps: all sampled points have {found.k} in their own place"
    else:
        lines["suggested"] = (
            f"eps {four_digits(facts['suggested_eps']):,.10g} {unit}".rstrip()
            + f", {100 * facts['core_share']:.1f} % core"
        )
    return lines


def next_command(points: str, columns: str | None, metric: str, k: int, eps: float) -> str:
    """What to call now."""
    from thresher.cluster.k_distances import four_digits

    words = [
        "thresher",
        "dbscan",
        points,
        "--eps",
        f"{four_digits(eps):.10g}",
        "--min-samples",
        str(k),
    ]
    words += [] if columns is None else ["--columns", columns]
    words += [] if metric == "euclidean" else ["--metric", metric]
    return shlex.join([*words, "--out", "clusters.parquet"])
