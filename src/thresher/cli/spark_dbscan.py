"""What `thresher dbscan --engine spark` does: the same clusters, of a folder that Spark reads."""

from __future__ import annotations

import re
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from thresher.cli.clustering import names_of, print_lines, share_of
from thresher.cli.output import print_json, say
from thresher.cli.spark_output import (
    Output,
    check_address,
    check_folder,
    refuse_plot,
    tell_result,
    whole_folder,
)
from thresher.errors import ParameterError

__all__ = ["Settings", "dbscan_on_spark", "refuse_others", "size_of"]

READINGS: dict[Any, list[str]] = {  # of the points, by rho
    "auto": ["choose rho", "count the cells", "label"],
    0: ["choose the cells", "count them", "fetch points", "label"],
    None: ["count the cells", "label"],
}
UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}


@dataclass(frozen=True)
class Settings:
    """As the command line has them: eps in metres for haversine."""

    columns: str | None
    metric: str
    eps: float
    min_samples: float
    rho: float | Literal["auto"]
    weight: str | None
    driver_limit: str
    jobs: int | None


def refuse_others(*, plot: Path | None, algorithm: str) -> None:
    """Refuse options that Spark has nothing for.

    Raises:
        ParameterError: names it.
    """
    refuse_plot(plot)
    if algorithm != "auto":
        raise ParameterError("--algorithm is of --engine local.", "Leave it out.")


def size_of(text: str) -> int:
    """Bytes.

    >>> size_of("2GiB"), size_of("64 MiB"), size_of("100")
    (2147483648, 67108864, 100)

    Raises:
        ParameterError: it is no size.
    """
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]*)\s*", text)
    unit = found.group(2).upper() if found else ""
    if found is None or unit not in UNITS:
        raise ParameterError(f'--driver-limit "{text}" is no size.', "Example: --driver-limit 4GiB")
    return int(float(found.group(1)) * UNITS[unit])


def dbscan_on_spark(points: str, settings: Settings, output: Output) -> None:
    """Cluster a Parquet folder and write one.

    Args:
        points: A .parquet or a folder of them, as a path or an address.
        settings: Of DBSCAN.
        output: What to write and to print.

    Raises:
        ParameterError: a setting that cannot be.
        DataError: points that cannot be clustered.
        RunError: Spark cannot run, or the folder cannot be written.
    """
    began = time.perf_counter()
    limit = size_of(settings.driver_limit)
    check_folder(points, output)
    if output.explain:
        tell_plan(points, settings, limit, as_json=output.as_json)
        return
    check_address(output)
    from thresher.cluster.metric import EARTH_RADIUS
    from thresher.cluster.spark import dbscan
    from thresher.cluster.spark.written import write_rows

    geographic = settings.metric == "haversine"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")
        found = dbscan(
            points,
            settings.eps / EARTH_RADIUS if geographic else settings.eps,
            settings.min_samples,
            rho=settings.rho,
            columns=names_of(settings.columns),
            metric=settings.metric,
            degrees=geographic,
            weight=settings.weight,
            driver_limit=limit,
            n_jobs=settings.jobs,
            tell=say,
        )
        rows = found.rows.select("cluster", "is_core") if output.only_labels else found.rows
        say("writing")
        with whole_folder(output) as (place, replacing):
            counted = write_rows(rows, place, overwrite=replacing)
    facts = {
        "method": "dbscan",
        "columns": names_of(settings.columns) or [],
        "metric": settings.metric,
        "eps": settings.eps,
        "min_samples": settings.min_samples,
        "rho": found.statistics["rho"],
        "weight": settings.weight,
        **counted,
        "engine": "spark",
        "statistics": found.statistics,
    }
    count, noise, core = (int(counted[name]) for name in ("n", "noise", "core"))
    engine = found.statistics["engine"]
    lines = {
        "points": f"{count:,}",
        "clusters": f"{counted['clusters']:,}, the largest of {counted['largest']:,}"
        if counted["clusters"]
        else "0",
        "noise": share_of(noise, count),
        "core": share_of(core, count),
        "border": share_of(int(counted["border"]), count),
        "engine": "spark, by tasks" if engine == "tasks" else f"spark, {engine} in the driver",
        "rho": f"{found.statistics['rho']:g}",
        "cells": f"{found.statistics['cells']:,}",
        **told_of_points(found.statistics),
        "shuffled": f"{found.statistics['shuffle_bytes'] / 2**20:,.1f} MiB",
    }
    tell_result(points, output, facts, lines, began)


def told_of_points(statistics: dict[str, Any]) -> dict[str, str]:
    """The line of an exact run: how many points the driver had to see."""
    if "fetched_points" not in statistics:
        return {}
    share = f"{100 * statistics['fetched_share']:.1f} % of them"
    undecided = f"{statistics['undecided_cells']:,} cells undecided"
    return {"fetched": f"{statistics['fetched_points']:,} points, {share}; {undecided}"}


def tell_plan(points: str, settings: Settings, limit: int, *, as_json: bool) -> None:
    """What would be done, from the files' own figures; nothing runs."""
    from thresher.cluster.parquet_points import open_parquet
    from thresher.cluster.spark.dictionary import bytes_a_cell
    from thresher.cluster.spark.rho import FINEST

    rows = open_parquet(points)
    chosen = rows.choose(
        names_of(settings.columns), () if settings.weight is None else (settings.weight,)
    )
    dimension = 3 if settings.metric == "haversine" else len(chosen.axes)
    piece = 4 * dimension + 12
    plan: dict[str, Any] = {
        "points": rows.count,
        "files": len({block.fragment.path for block in rows.blocks}),
        "dimension": dimension,
        "rho": settings.rho,
        "passes": len(READINGS.get(settings.rho, READINGS[None])),
        "cells_at_most": rows.count,
        "shuffle_bytes_at_most": rows.count * piece,
        "driver_bytes_at_most": rows.count * bytes_a_cell(dimension),
        "driver_limit": limit,
    }
    if as_json:
        print_json({"schema": 1, **plan})
        return
    reading = ", ".join(READINGS.get(settings.rho, READINGS[None]))
    rho = {"auto": f"from {FINEST:g} on, as the driver allows", 0: "0: exact"}.get(
        settings.rho, f"{settings.rho}"
    )
    print_lines(
        {
            "points": f"{rows.count:,} in {dimension} dimensions, {plan['files']:,} files",
            "passes": f"{plan['passes']} over the points ({reading})",
            "rho": rho,
            "cells": f"{rows.count:,} at most, each with points of its own",
            "shuffle": f"{rows.count * piece / 2**20:,.0f} MiB at most: {piece} bytes a cell and "
            f"task{'; and points that decide' if settings.rho == 0 else ', no points'}",
            "driver": f"{plan['driver_bytes_at_most'] / 2**20:,.0f} MiB at most, "
            f"{bytes_a_cell(dimension)} bytes a cell; may take {limit / 2**20:,.0f}",
        }
    )
