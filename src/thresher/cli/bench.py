"""`thresher bench noise`: methods against label noise, compared in one command."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thresher.cli.fit import duration, parsed_rate
from thresher.cli.options import BatchSize, Device, LearningRate, Limit, LongestSide, WeightDecay
from thresher.cli.output import console, print_json, say
from thresher.stop_signals import termination

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from thresher.bench.processes import Ended
    from thresher.bench.settings import Cell

__all__ = ["bench", "noise"]

bench = typer.Typer(help="Compare methods on data, with a report.", no_args_is_help=True)


@bench.command("noise")
def noise(
    out: Annotated[
        Path,
        typer.Option(
            help="The folder. What is done there is not done again; alone, it goes on as before.",
            show_default=False,
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(help="Data as `thresher fit` takes them. Default: digits, of scikit-learn."),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Some of `thresher methods`, a,b,c. Default: all that are against wrong labels. "
            "standard and cleanlab's prune-and-retrain are always among them.",
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="SPECS",
            help="none, symmetric:0.4, pair:0.4, asymmetric:0.4:cat>dog;dog>cat, "
            "class-dependent:0.2, instance:0.4, given; several with commas. Default: "
            "none,symmetric:0.4; with --true, given.",
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="How many: 0, 1, … Default: 3.")] = None,
    jobs: Annotated[int, typer.Option(help="Cells at once, a process of one thread each.")] = 1,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data. Default: 30.")] = None,
    label: Annotated[str | None, typer.Option(help="Column with the labels.")] = None,
    true: Annotated[
        str | None,
        typer.Option(
            help="Column with the true labels, for the evaluator alone. Default: the labels are "
            "true."
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(help="Test data, with true labels. Default: a quarter, drawn by the seed."),
    ] = None,
    auxiliary: Annotated[
        str | None,
        typer.Option(
            help="Further data of none of the classes, for the methods that learn from them: "
            "taufe, oat, odnl."
        ),
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(help="Share of the rows by which an epoch is chosen. Default: 0.1."),
    ] = None,
    noise_rate: Annotated[
        str | None,
        typer.Option(
            help="For methods that take one: auto has them estimate it, true tells them, or a "
            "number, or what estimates it: settled, gaussian-mean, beta-mean, … Default: auto."
        ),
    ] = None,
    group_report: Annotated[
        str | None,
        typer.Option(help="Column whose groups are compared; it is never learned from."),
    ] = None,
    image: Annotated[str | None, typer.Option(help="Column with encoded images.")] = None,
    longest_side: LongestSide = None,
    text: Annotated[
        list[str] | None, typer.Option(help="Column of free text; may be given several times.")
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="Sentence encoder for the text.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="File with the labels of the rows: FILE or FILE:NAME.")
    ] = None,
    limit: Limit = None,
    model: Annotated[str | None, typer.Option(help="As of `thresher fit`. Default: auto.")] = None,
    device: Device = None,
    augment: Annotated[
        str | None, typer.Option(help="Random views of images. Default: auto.")
    ] = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    weight_decay: WeightDecay = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one object.")
    ] = False,
) -> None:
    """Train every method under every kind of noise from every seed, and compare."""
    given: dict[str, Any] = {
        "data": data,
        "label": label,
        "true": true,
        "test": test,
        "auxiliary": auxiliary,
        "validation": validation,
        "told": None if noise_rate is None else parsed_rate(noise_rate),
        "group_report": group_report,
        "image": image,
        "longest_side": longest_side,
        "text": tuple(text) if text else None,
        "encoder": encoder,
        "labels": labels,
        "limit": limit,
        "model": model,
        "epochs": epochs,
        "device": device,
        "augment": augment,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
    }
    given = {name: value for name, value in given.items() if value is not None}
    with termination() as terminated:
        narrator = GridNarrator()
        try:
            summary = compared(out, given, methods, noise, seeds, jobs, narrator)
        except KeyboardInterrupt:
            narrator.close()
            if (out / "bench.toml").is_file():
                again = f"thresher bench noise --out {shlex.quote(str(out))}"
                say(f"thresher: Interrupted. What is done is kept. Go on with: {again}")
            else:
                say("thresher: Interrupted before the first cell was begun. Nothing is kept.")
            raise typer.Exit(143 if terminated.received else 130) from None
        finally:
            narrator.close()
    if as_json:
        print_json(summary)
    else:
        print_summary(summary)
    if summary["failed"]:
        raise typer.Exit(1)


def compared(
    out: Path,
    given: dict[str, Any],
    methods: str | None,
    noise: str | None,
    seeds: int | None,
    jobs: int,
    narrator: GridNarrator,
) -> dict[str, Any]:
    """A new benchmark, or one that is gone on with."""
    from thresher.bench.settings import BenchSettings

    # slips are refused before anything heavy is imported
    alone = not given and methods is None and noise is None and seeds is None
    settings = None if alone else BenchSettings(**given)
    from thresher.bench.compare import Grid, compare, resumed_grid

    if settings is None:
        settings, grid = resumed_grid(out)
    else:
        grid = Grid.of(methods, noise, 3 if seeds is None else seeds, settings)
    return compare(out, settings, grid, jobs=jobs, watcher=narrator)


class GridNarrator:
    """Tells how a grid goes: a bar on a terminal, a line a cell otherwise."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._bar: tuple[Progress, TaskID] | None = None

    def note(self, sentence: str) -> None:
        """Something that must be said aloud."""
        self._say(f"note: {sentence}")

    def begin(self, cells: int, done: int) -> None:
        """So many cells in all, so many of them done before."""
        self._say(f"{cells:,} cells, {done:,} of them done before")
        if self._terminal and done < cells:
            self._bar = self._open(cells - done)

    def began(self, cell: Cell) -> None:
        """A cell is being computed."""
        if self._bar is not None:
            progress, task = self._bar
            progress.update(task, words=str(cell))

    def ended(self, ended: Ended, number: int, total: int) -> None:
        """A cell has ended."""
        left = f"{duration(ended.left)} left"
        if ended.reason is not None:
            self._say(f"[{number}/{total}] {ended.cell}: FAILED, {ended.reason}")
        elif not self._terminal:
            self._say(f"[{number}/{total}, {left}] {ended.cell}: {duration(ended.seconds)}")
        if self._bar is not None:
            progress, task = self._bar
            progress.update(task, completed=number, left=left)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None

    def _say(self, sentence: str) -> None:
        if self._bar is not None:
            self._bar[0].console.print(sentence)
        else:
            say(sentence)

    def _open(self, total: int) -> tuple[Progress, TaskID]:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        progress = Progress(
            TextColumn("cells"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[words]}"),
            console=console(),
        )
        progress.start()
        return progress, progress.add_task("cells", total=total, words="", left="")


def print_summary(summary: dict[str, Any]) -> None:
    """The accuracies for people, and where the rest is."""
    from rich.table import Table

    out = console(stderr=False)
    columns = ("last", "mean_of_last_ten", "validation_selected", "audit_average_precision")
    for noise in dict.fromkeys(each["noise"] for each in summary["table"]):
        print(f"noise {noise}")
        table = Table(box=None, pad_edge=False)
        table.add_column("method", no_wrap=True)
        for title in ("last", "mean of last ten", "validation-selected", "audit AP", "seconds ×"):
            table.add_column(title, justify="right")
        for each in summary["table"]:
            if each["noise"] == noise:
                seconds = each.get("relative_seconds")
                table.add_row(
                    each["title"],
                    *(in_percent(each.get(name)) for name in columns),
                    "–" if seconds is None else f"{seconds['mean']:.2f}",
                )
        out.print(table, soft_wrap=False)
    print(
        f"{summary['done']:,} of {summary['cells']:,} cells done, {summary['failed']:,} failed, "
        f"{summary['skipped']:,} skipped"
    )
    for each in summary["failures"]:
        say(f"{each['method']}, {each['noise']}, seed {each['seed']}: {each['reason']}")
    print(f"report  {summary['report']}")


def in_percent(figure: dict[str, float] | None) -> str:
    """A mean in per cent.

    >>> in_percent({"mean": 0.9321}), in_percent(None)
    ('93.2', '–')
    """
    return "–" if figure is None else f"{100 * figure['mean']:.1f}"
