"""What `thresher dbscan --engine spark` does: the same clusters, of a folder that Spark reads."""

from __future__ import annotations

import re
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from thresher.cli.clustering import print_lines, share_of
from thresher.cli.output import print_json, say
from thresher.errors import ParameterError, RunError
from thresher.memory import peak_mib

__all__ = [
    "Settings",
    "check_address",
    "check_folder",
    "dbscan_on_spark",
    "names_of",
    "refuse_others",
    "refuse_plot",
    "size_of",
    "whole_folder",
]

READINGS: dict[Any, list[str]] = {  # of the points, by rho
    "auto": ["choose rho", "count the cells", "label"],
    0: ["choose the cells", "count them", "fetch points", "label"],
    None: ["count the cells", "label"],
}
WITHOUT_HOST = ("file", "dbfs", "viewfs")  # file:///home/…; of hdfs the host must be named
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


def refuse_plot(plot: Path | None) -> None:
    """Refuse to draw rows that no machine holds.

    Raises:
        ParameterError: there is something to draw.
    """
    if plot is not None:
        raise ParameterError("--plot is of --engine local.", "Draw a sample of the output.")


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


def dbscan_on_spark(
    points: str,
    out: Path,
    settings: Settings,
    *,
    only_labels: bool,
    overwrite: bool,
    explain: bool,
    as_json: bool,
) -> None:
    """Cluster a Parquet folder and write one.

    Args:
        points: A .parquet or a folder of them.
        out: The folder of the result.
        settings: Of DBSCAN.
        only_labels: Leave the columns of the input out.
        overwrite: Replace an earlier folder.
        explain: Print the plan, and stop.
        as_json: Print one object.

    Raises:
        ParameterError: a setting that cannot be.
        DataError: points that cannot be clustered.
        RunError: Spark cannot run, or the folder cannot be written.
    """
    began = time.perf_counter()
    limit = size_of(settings.driver_limit)
    check_folder(points, out, overwrite=overwrite)
    if explain:
        tell_plan(points, settings, limit, as_json=as_json)
        return
    check_address(out, overwrite=overwrite)
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
        rows = found.rows.select("cluster", "is_core") if only_labels else found.rows
        say("writing")
        with whole_folder(out, overwrite=overwrite) as (place, replacing):
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
    seconds = time.perf_counter() - began
    if as_json:
        measured = {"seconds": round(seconds, 3), "peak_mib": peak_mib()}
        print_json({"schema": 1, "points": points, "out": str(out), **facts, **measured})
        return
    count, noise, core = (int(counted[name]) for name in ("n", "noise", "core"))
    print_lines(
        {
            "points": f"{count:,}",
            "clusters": f"{counted['clusters']:,}, the largest of {counted['largest']:,}"
            if counted["clusters"]
            else "0",
            "noise": share_of(noise, count),
            "core": share_of(core, count),
            "border": share_of(int(counted["border"]), count),
            "engine": f"spark, {found.statistics['engine']} in the driver",
            "rho": f"{found.statistics['rho']:g}",
            "cells": f"{found.statistics['cells']:,}",
            **told_of_points(found.statistics),
            "shuffled": f"{found.statistics['shuffle_bytes'] / 2**20:,.1f} MiB",
            "time": f"{seconds:.1f} s",
            "memory": f"{peak_mib():,.0f} MiB of the driver's Python at the peak",
            "labels": str(out),
        }
    )


def told_of_points(statistics: dict[str, Any]) -> dict[str, str]:
    """The line of an exact run: how many points the driver had to see."""
    if "fetched_points" not in statistics:
        return {}
    share = f"{100 * statistics['fetched_share']:.1f} % of them"
    undecided = f"{statistics['undecided_cells']:,} cells undecided"
    return {"fetched": f"{statistics['fetched_points']:,} points, {share}; {undecided}"}


def names_of(columns: str | None) -> list[str] | None:
    """Names separated by commas."""
    return None if columns is None else [each.strip() for each in columns.split(",")]


def address_in(out: Path) -> str | None:
    """The address that a path was made of, whose slashes it has joined; None for a path.

    >>> address_in(Path("s3://bucket/folder")), address_in(Path("folder"))
    ('s3a://bucket/folder', None)
    """
    found = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]+):/(.*)", str(out))
    if found is None:
        return None
    scheme, rest = found.groups()
    if scheme in ("s3", "s3n"):
        scheme = "s3a"
    slashes = "///" if scheme in WITHOUT_HOST else "//"
    return f"{scheme}:{slashes}{rest}"


def plain(place: str) -> str:
    """A place with one name for one thing, to be compared: a path, or scheme:/rest."""
    scheme, _, rest = place.partition(":/")
    if not rest or not scheme.isalnum():
        return str(Path(place).resolve())
    if scheme == "file":
        return str(Path("/" + rest.lstrip("/")).resolve())
    return f"{'s3' if scheme in ('s3a', 's3n') else scheme}:/{rest.strip('/')}"


def check_folder(points: str, out: Path, *, overwrite: bool) -> None:
    """Refuse a place for the output where it cannot be.

    Raises:
        ParameterError: within the input, or around it.
        RunError: something stands there, or there is no such folder.
    """
    one, other = plain(points), plain(str(out))
    if one == other or one.startswith(other + "/") or other.startswith(one + "/"):
        raise ParameterError(
            f"--out {out} and the points in {points} are not apart.",
            "Choose a place outside of the input; it is never changed.",
        )
    if address_in(out) is not None:
        return  # Spark looks there, once there is a session
    if not out.resolve().parent.is_dir():
        raise RunError(f"There is no folder {out.parent} for --out.", "Make it first.")
    refuse_standing(str(out), standing_in(out), overwrite=overwrite)


def check_address(out: Path, *, overwrite: bool) -> None:
    """As `check_folder`, of an address, for which a session is needed.

    Raises:
        RunError: something stands there, or Spark cannot look.
    """
    address = address_in(out)
    if address is not None:
        from thresher.cluster.spark.session import session
        from thresher.cluster.spark.written import stands_at

        refuse_standing(address, stands_at(session(), address), overwrite=overwrite)


def standing_in(out: Path) -> str:
    """What is at a path, in the words of `stands_at`."""
    if out.is_dir() and not any(out.iterdir()):
        return "whole"
    if out.is_dir():
        return "whole" if (out / "_SUCCESS").exists() else "other"
    return "file" if out.exists() else "nothing"


def refuse_standing(place: str, what: str, *, overwrite: bool) -> None:
    """Refuse to write where something is.

    Raises:
        RunError: says what may be done.
    """
    if what == "file" or (what != "nothing" and not overwrite):
        raise RunError(
            f"{place} exists already.", "Choose another --out, or --overwrite to replace a folder."
        )
    if what == "other":
        raise RunError(
            f"{place} is a folder that Spark has not written: it is not replaced.",
            "Choose another --out, or remove it by hand.",
        )


@contextmanager
def whole_folder(out: Path, *, overwrite: bool) -> Iterator[tuple[str, bool]]:
    """The address to write to, and whether to replace what is there.

    On this machine it is beside the folder that is wanted, and takes its place when all is written.
    Elsewhere it is the folder itself: Spark's file _SUCCESS is written last.
    """
    address = address_in(out)
    if address is not None:
        yield address, overwrite
        return
    # no hidden name: Spark would not read it back
    aside = out.resolve().parent / f"{out.name}.unfinished-{uuid4().hex[:8]}"
    try:
        yield f"file://{aside}", False  # Hadoop decodes no %20
        if out.exists() and overwrite:
            old = aside.with_name(aside.name + ".old")
            out.rename(old)
            aside.rename(out)
            shutil.rmtree(old, ignore_errors=True)
        else:
            aside.rename(out)
    except OSError as error:
        raise RunError(
            f"Cannot write {out}: {error.strerror or error}.",
            "Free some space or choose a folder that can be written.",
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


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
