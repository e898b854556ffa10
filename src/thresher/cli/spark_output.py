"""What commands on Spark have in common: where the result goes, and how it is told of.

A path is written beside and then renamed. An address, as s3://bucket/folder, is of one of Spark's
file systems, where the file _SUCCESS says that all is written.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from thresher.cli.clustering import print_lines
from thresher.cli.output import print_json
from thresher.cli.places import address_in, check_apart
from thresher.errors import ParameterError, RunError
from thresher.memory import peak_mib

__all__ = [
    "Output",
    "check_address",
    "check_folder",
    "refuse_plot",
    "tell_result",
    "whole_folder",
]


@dataclass(frozen=True)
class Output:
    """What a command is asked for besides its method's settings.

    Args:
        out: The folder of the result.
        only_labels: Leave the columns of the input out.
        overwrite: Replace an earlier folder.
        explain: Print the plan, and stop.
        as_json: Print one object.
    """

    out: Path
    only_labels: bool
    overwrite: bool
    explain: bool
    as_json: bool


def refuse_plot(plot: Path | None) -> None:
    """Refuse to draw rows that no machine holds.

    Raises:
        ParameterError: there is something to draw.
    """
    if plot is not None:
        raise ParameterError("--plot is of --engine local.", "Draw a sample of the output.")


def check_folder(points: str, output: Output) -> None:
    """Refuse a place for the output where it cannot be.

    Raises:
        ParameterError: within the input, or around it.
        RunError: something stands there, or there is no such folder.
    """
    check_apart(points, "--out", output.out)
    if address_in(output.out) is None:  # else Spark looks there, once there is a session
        what = standing_in(output.out)
        refuse_standing(str(output.out), what, overwrite=output.overwrite)


def check_address(output: Output) -> None:
    """As `check_folder`, of an address, for which a session is needed.

    Raises:
        RunError: something stands there, or Spark cannot look.
    """
    address = address_in(output.out)
    if address is not None:
        from thresher.cluster.spark.session import session
        from thresher.cluster.spark.written import stands_at

        refuse_standing(address, stands_at(session(), address), overwrite=output.overwrite)


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
def whole_folder(output: Output) -> Iterator[tuple[str, bool]]:
    """The address to write to, and whether to replace what is there.

    On this machine it is beside the folder that is wanted, and takes its place when all is written.
    Elsewhere it is the folder itself: Spark's file _SUCCESS is written last.
    """
    out = output.out
    address = address_in(out)
    if address is not None:
        yield address, output.overwrite
        return
    # no hidden name: Spark would not read it back
    aside = out.resolve().parent / f"{out.name}.unfinished-{uuid4().hex[:8]}"
    try:
        yield f"file://{aside}", False  # Hadoop decodes no %20
        if out.exists() and output.overwrite:
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


def tell_result(
    points: str, output: Output, facts: Mapping[str, Any], lines: Mapping[str, str], began: float
) -> None:
    """Print what was found: the facts as JSON, or the lines.

    Args:
        points: Where they came from.
        output: How to print, and where the result lies.
        facts: Of the result.
        lines: For people, without time, memory and place.
        began: When, by the clock of `time.perf_counter`.
    """
    seconds = time.perf_counter() - began
    if output.as_json:
        measured = {"seconds": round(seconds, 3), "peak_mib": peak_mib()}
        where = {"points": points, "out": str(output.out)}
        print_json({"schema": 1, **where, **facts, **measured})
        return
    print_lines(
        {
            **lines,
            "time": f"{seconds:.1f} s",
            "memory": f"{peak_mib():,.0f} MiB of the driver's Python at the peak",
            "labels": str(output.out),
        }
    )
