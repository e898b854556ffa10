"""What the clustering commands share: their input and output, progress, and summary.

POINTS → Input → cluster → labels file, picture → summary
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thresher.cli.output import console, print_json, say, visible
from thresher.cli.places import check_apart
from thresher.errors import ParameterError, RunError, nearest
from thresher.memory import peak_mib

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.progress import Progress, TaskID

    from thresher.cluster.open_points import Rows
    from thresher.cluster.points import Points

__all__ = [
    "Columns",
    "Engine",
    "Explain",
    "Found",
    "Input",
    "Jobs",
    "OnlyLabels",
    "Out",
    "Overwrite",
    "Phases",
    "Plot",
    "PointsPath",
    "Weight",
    "check_choice",
    "check_places",
    "finish",
    "names_of",
    "open_input",
    "print_lines",
]

QUIET = 5.0  # seconds between two lines of one phase

# ---------------------------------------------------------------------- arguments of them all
PointsPath = Annotated[
    str,
    typer.Argument(
        help="A .parquet, a folder of them, a .csv or a .npy of points.", show_default=False
    ),
]
Out = Annotated[Path, typer.Option(help="Where the rows and their clusters go, a .parquet.")]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,…",
        help="The coordinates; all columns if not named. For haversine: latitude and longitude in "
        "degrees, in this order.",
    ),
]
Weight = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Weights of the points, at least 0.")
]
Engine = Annotated[
    str,
    typer.Option(
        help="local; or spark, for a folder that this machine does not hold: --out is a folder "
        "then."
    ),
]
Explain = Annotated[
    bool, typer.Option("--explain", help="On Spark: print what would be done, and stop.")
]
Jobs = Annotated[int | None, typer.Option(help="Threads; every processor if not said.", min=1)]
OnlyLabels = Annotated[
    bool, typer.Option("--only-labels", help="Leave out the columns of the input.")
]
Plot = Annotated[Path | None, typer.Option(help="Draw the first two coordinates, a .png.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace earlier files of these names.")
]


@dataclass(frozen=True)
class Input:
    """The points of a command.

    Args:
        source: Path as given.
        rows: With all their columns.
        shown: The coordinates as they stand in the file: what is drawn.
        points: What is clustered: radians where degrees were given.
        weights: (N,) float64, or None.
    """

    source: str
    rows: Rows
    shown: Points
    points: Points
    weights: NDArray[np.float64] | None


@dataclass(frozen=True)
class Found:
    """What a command found out.

    Args:
        labels: (N,) clusters, -1 for noise.
        columns: (N,) further columns of the output, by name.
        facts: What it was made with and what is to be told, in the order of the summary; JSON.
        lines: The same for people: name and value.
    """

    labels: NDArray[np.int32]
    columns: dict[str, NDArray[Any]]
    facts: dict[str, Any]
    lines: dict[str, str]


# ---------------------------------------------------------------------- before the work
def check_choice(option: str, word: str, allowed: tuple[str, ...]) -> None:
    """Refuse an unknown word.

    Raises:
        ParameterError: names the nearest one.
    """
    if word not in allowed:
        raise ParameterError(f'{option} "{word}" is unknown.', nearest(word, allowed))


def check_places(source: str, out: Path | None, plot: Path | None, *, overwrite: bool) -> None:
    """Refuse to write where nothing can be, where something is, or where the input lies.

    Raises:
        ParameterError: a wrong ending, or a place within the input.
        RunError: there is no such folder, or something stands there and --overwrite is missing.
    """
    for option, place, suffix in (("--out", out, ".parquet"), ("--plot", plot, ".png")):
        if place is None:
            continue
        if place.suffix.lower() != suffix:
            raise ParameterError(
                f'{option} must end in {suffix}, got "{place.name}".',
                f"Example: {option} clusters{suffix}",
            )
        check_apart(source, option, place)
        if place.is_dir() or (place.exists() and not overwrite):
            raise RunError(
                f"{place} exists already.",
                f"Choose another {option}, or --overwrite to replace it.",
            )


def names_of(columns: str | None) -> list[str] | None:
    """Names separated by commas."""
    return None if columns is None else [each.strip() for each in columns.split(",")]


def open_input(
    source: str,
    columns: str | None,
    metric: str,
    weight: str | None,
    added: tuple[str, ...],
    jobs: int,
    phases: Phases,
) -> Input:
    """Open the points and check every row.

    Args:
        source: Path.
        columns: Names of the coordinates, separated by commas; None takes all.
        metric: "haversine" takes degrees.
        weight: Name of the column of weights.
        added: Names of the columns that the output adds; none where it is of labels alone.
        jobs: Threads.
        phases: Progress.

    Raises:
        DataError: it cannot be read, or a row or a weight cannot be used.
        ParameterError: the input has an added column already.
    """
    from thresher.cluster.metric import RadianPoints
    from thresher.cluster.open_points import check_finite, open_rows

    rows = open_rows(source)
    if added:
        from thresher.cluster.labels_file import check_names

        check_names(rows.schema, added)
    names = names_of(columns)
    left_out = () if weight is None else (weight,)
    weights = None if weight is None else read_weights(rows, weight)
    shown = rows.points(names, left_out)
    check_finite(shown, jobs, phases)
    points = RadianPoints(shown) if metric == "haversine" else shown  # refuses swapped columns
    return Input(source, rows, shown, points, weights)


def read_weights(rows: Rows, name: str) -> NDArray[np.float64] | None:
    """A column of weights, (N,).

    Raises:
        DataError: there is no such column of numbers, or a weight cannot be one.
    """
    import numpy as np

    from thresher.cluster.weights import checked_weights

    column = rows.points([name])
    parts = [column.part(number)[:, 0] for number in range(len(column.starts) - 1)]
    return checked_weights(np.concatenate([np.empty(0), *parts]), column.rows, name=f'"{name}"')


# ---------------------------------------------------------------------- during the work
class Phases:
    """Tells what is going on: a bar on a terminal, a line a phase otherwise.

    A phase that lasts is told again, at most every five seconds.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._bar: tuple[Progress, TaskID] | None = None
        self._name = ""
        self._share = 0.0
        self._told = 0.0
        self._compiled = False

    def __call__(self, name: str, share: float) -> None:
        """So much of a phase is done, 0 to 1."""
        if self._terminal:
            if name != self._name or abs(share - self._share) >= 0.005 or share >= 1:
                self._name, self._share = name, share
                self._draw()
            return
        now = time.monotonic()
        if name != self._name:
            self._name, self._told = name, now
            say(name)
        elif now - self._told >= QUIET and share < 1:
            self._told = now
            say(f"{name} {100 * share:.0f} %")

    def compiling(self) -> None:
        """The machine code of this kind of data is being made; the next run finds it made."""
        if self._compiled:
            return
        self._compiled = True
        if self._terminal:
            self("compiling (once)", 0.0)
        else:
            say("compiling (once)")

    def note(self, sentence: str) -> None:
        """Something that must be said aloud."""
        self.close()
        say(f"note: {sentence}")

    def close(self) -> None:
        """Take the bar away: the summary says what remains to be known."""
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None

    def _draw(self) -> None:
        if self._bar is None:
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
            from rich.progress import TimeElapsedColumn as Elapsed

            progress = Progress(
                TextColumn("{task.description:<12}"),
                BarColumn(),
                TaskProgressColumn(),
                Elapsed(),
                console=console(),
                transient=True,
            )
            progress.start()
            self._bar = progress, progress.add_task(self._name, total=1.0)
        progress, task = self._bar
        progress.update(task, description=self._name, completed=self._share)

    def __enter__(self) -> Phases:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


# ---------------------------------------------------------------------- after the work
def finish(
    given: Input,
    found: Found,
    out: Path,
    plot: Path | None,
    phases: Phases,
    began: float,
    *,
    only_labels: bool,
    geographic: bool,
    as_json: bool,
) -> None:
    """Write the labels and the picture, and print the summary.

    Args:
        given: The points.
        found: Their clusters.
        out: A .parquet.
        plot: A .png, or None.
        phases: Progress.
        began: When the command began, by `time.perf_counter`.
        only_labels: Leave out the input's columns.
        geographic: The coordinates are latitude and longitude.
        as_json: Print one object.
    """
    from thresher.cluster.labels_file import write_labels

    write_labels(
        out,
        None if only_labels else given.rows,
        {"cluster": found.labels, **found.columns},
        found.facts,
        lambda share: phases("writing", share),
    )
    if plot is not None:
        from thresher.cluster.plot import draw

        phases("drawing", 0.0)
        axes = getattr(given.shown, "axes", None)
        draw(given.shown, found.labels, plot, axes, geographic=geographic)
    phases.close()
    seconds, peak = time.perf_counter() - began, peak_mib()
    if as_json:
        told = {
            "points": given.source,
            "out": str(out),
            "plot": None if plot is None else str(plot),
        }
        measured = {"seconds": round(seconds, 3), "peak_mib": peak}
        print_json({"schema": 1, **told, **found.facts, **measured})
        return
    lines = found.lines | {"time": f"{seconds:.1f} s", "memory": f"{peak:,.0f} MiB at the peak"}
    print_lines(lines | {"labels": str(out)} | ({} if plot is None else {"picture": str(plot)}))


def print_lines(lines: Mapping[str, str]) -> None:
    """Names and values below each other."""
    width = max(map(len, lines))
    for name, value in lines.items():
        print(visible(f"{name:<{width}}  {value}"))


def share_of(count: int, total: int) -> str:
    """A count, and its share of a total.

    >>> share_of(250, 1000), share_of(0, 0)
    ('250 (25.0 %)', '0')
    """
    return f"{count:,} ({100 * count / total:.1f} %)" if total else f"{count:,}"
