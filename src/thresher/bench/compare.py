"""Compare methods: a grid of cells that can be stopped, resumed and widened at any time.

settings, grid → bench.toml → cells that are not done → processes.py → cells/*.json
               → rows.parquet, report.html, report.md, summary.json
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import thresher
from thresher.bench.folder import SCHEMA, BenchFolder
from thresher.bench.noise_spec import NoiseSpec, parse_noise
from thresher.bench.own_source import refuse_changed, source_hashes
from thresher.bench.processes import Ended, TimeLeft, each_ended
from thresher.bench.prune_and_retrain import require_cleanlab
from thresher.bench.reading import Source, open_source, refuse_problems
from thresher.bench.report import render_html, render_markdown
from thresher.bench.rows import rows_table, write_rows
from thresher.bench.settings import (
    BASELINE,
    DIGITS,
    PEER,
    BenchSettings,
    Cell,
    chosen_methods,
    chosen_noises,
    grid,
    learns_from_more,
)
from thresher.bench.tables import entries
from thresher.data.wording import counted
from thresher.errors import MissingPackageError, ParameterError, RunError
from thresher.noise import METHODS

__all__ = ["Grid", "Watcher", "compare", "resumed_grid"]

START_SECONDS = 2.0  # of a process, before it computes


class Watcher(Protocol):
    """Whoever wants to hear how a benchmark goes."""

    def note(self, sentence: str) -> None:
        """Something that must be said aloud."""

    def begin(self, cells: int, done: int) -> None:
        """So many cells in all, so many of them done before."""

    def began(self, cell: Cell) -> None:
        """A cell is being computed."""

    def ended(self, ended: Ended, number: int, total: int) -> None:
        """A cell has ended, as so many of all that were to be computed."""


@dataclass(frozen=True)
class Grid:
    """What is compared: methods, kinds of noise, seeds from 0.

    Attributes:
        methods: The baseline first, the peer last.
        noises: At least one.
        seeds: How many, >= 1.
    """

    methods: tuple[str, ...]
    noises: tuple[NoiseSpec, ...]
    seeds: int

    @classmethod
    def of(
        cls, methods: str | None, noise: str | None, seeds: int, settings: BenchSettings
    ) -> Grid:
        """As it is written on the command line; what is left out depends on the settings.

        Raises:
            ParameterError: an unknown name, or fewer than one seed.
        """
        chosen = chosen_methods(methods, auxiliary=settings.auxiliary is not None)
        made = cls(chosen, chosen_noises(noise, settings.true), seeds)
        made.cells()
        return made

    def cells(self) -> tuple[Cell, ...]:
        """All of them, seed by seed."""
        return grid(self.methods, self.noises, self.seeds)

    def to_table(self) -> dict[str, Any]:
        """The table [grid] of bench.toml."""
        return {
            "methods": list(self.methods),
            "noise": [str(each) for each in self.noises],
            "seeds": self.seeds,
        }


def resumed_grid(out: Path) -> tuple[BenchSettings, Grid]:
    """Settings and grid of the benchmark in a folder, as they were last asked for.

    Raises:
        RunError: there is none.
        ParameterError: bench.toml was changed by hand, and is wrong.
    """
    folder = BenchFolder(out)
    if not folder.begun:
        raise RunError(
            f"{out} holds no benchmark.", f"Name the data with --data, such as --data {DIGITS}."
        )
    tables = folder.read_settings()
    written = tables["grid"]
    settings = BenchSettings.from_table(tables["bench"], folder.path)
    noises = tuple(parse_noise(each) for each in written["noise"])
    return settings, Grid(chosen_methods(",".join(written["methods"])), noises, written["seeds"])


def compare(
    out: Path, settings: BenchSettings, grid: Grid, *, jobs: int, watcher: Watcher
) -> dict[str, Any]:
    """Compute the cells that are not done, and write the report on all that are.

    Args:
        out: The folder; one that holds a benchmark with the same settings is gone on with.
        settings: What all cells share.
        grid: What is compared.
        jobs: Processes of one thread each, >= 1.
        watcher: Hears how it goes.

    Returns:
        The object that --json prints.

    Raises:
        ThresherError: bad input; nothing is computed then.
        KeyboardInterrupt: what is done is kept, and reported.
    """
    if jobs < 1:
        raise ParameterError(f"jobs must be at least 1, got {jobs}.", "One a core is usual.")
    takers = [name for name in grid.methods if learns_from_more(name)]
    if settings.auxiliary is None:
        refuse_without_auxiliary(takers)
    elif not takers:
        watcher.note("No method that is compared learns from the auxiliary data.")
    started = time.perf_counter()
    folder = BenchFolder(out)
    folder.refuse_other()
    existed = folder.path.exists()
    folder.make()
    with folder.occupied():
        try:
            source = open_source(settings, folder.state)
            refuse_problems(source, grid.noises, settings.validation)
            begin(folder, settings, grid, source)
        except BaseException:
            folder.discard(also_itself=not existed)
            raise
        for sentence in (*source.notes, *said_of_versions(folder)):
            watcher.note(sentence)
        del source  # every process reads its own
        skipped = skipped_cells(grid.cells())
        try:
            run_cells(folder, settings, grid, skipped, jobs, watcher)
        finally:
            summary = write_results(folder, settings, grid, skipped)
        if summary["done"] + summary["skipped"] == summary["cells"]:
            folder.finish()
    return {**summary, "seconds": round(time.perf_counter() - started, 3)}


def refuse_without_auxiliary(takers: Sequence[str]) -> None:
    """Refuse methods that learn from auxiliary data where there are none.

    Raises:
        ParameterError: names the methods.
    """
    if takers:
        raise ParameterError(
            "Further data of none of the classes are lacking, from which these methods learn as "
            f"well: {', '.join(takers)}.",
            "Name the data with --auxiliary, or leave these methods out.",
        )


def begin(folder: BenchFolder, settings: BenchSettings, grid: Grid, source: Source) -> None:
    """Write bench.toml, or compare it with the one that is there.

    Raises:
        RunError: cells were measured with other settings, on other data or with another source of
            a method.
    """
    table = settings.to_table(folder.path)
    sources: dict[str, str] = {}
    if folder.begun:
        before = folder.read_settings()
        for name in dict.fromkeys((*before["bench"], *table)):
            old, new = before["bench"].get(name), table.get(name)
            if old != new:
                raise RunError(
                    f"The cells in {folder.path} were measured with {name} {words(old)}, "
                    f"now it is {words(new)}.",
                    "Choose another --out; methods, noise and seeds alone can be added.",
                )
        if before["data"]["fingerprint"] != source.fingerprint:
            raise RunError(
                f"The data are not those that the cells in {folder.path} were measured on.",
                "Put the original data back, or choose another --out.",
            )
        # a method that has no figure yet may still be mended
        measured = {row["method"] for row in done_rows(folder)}
        sources = {
            name: each for name, each in before.get("methods", {}).items() if name in measured
        }
        refuse_changed(sources, grid.methods)
    facts = {"fingerprint": source.fingerprint, "thresher": thresher.__version__}
    sources = source_hashes(grid.methods) | sources
    tables = {"bench": table, "grid": grid.to_table(), "data": facts, "methods": sources}
    folder.write_settings({name: each for name, each in tables.items() if each})


def done_rows(folder: BenchFolder) -> list[dict[str, Any]]:
    """The rows of all finished cells that are there."""
    return [row for row in folder.all_rows() if row["status"] == "done"]


def versions(rows: Sequence[Mapping[str, Any]]) -> str:
    """The versions of thresher that measured these rows; of none, this one.

    >>> versions([{"thresher": "0.2.0"}, {"thresher": "0.1.0"}, {"thresher": "0.2.0"}])
    '0.1.0 and 0.2.0'
    """
    found = sorted({row["thresher"] for row in rows if row.get("thresher")})
    return " and ".join(found or [thresher.__version__])


def said_of_versions(folder: BenchFolder) -> tuple[str, ...]:
    """What must be said aloud where cells were measured by another version than this one."""
    this = thresher.__version__
    others = [row for row in done_rows(folder) if row.get("thresher", this) != this]
    if not others:
        return ()
    return (
        f"{counted(len(others), 'finished cell')} of thresher {versions(others)}, and this is "
        f"{this}: figures may differ. Another --out measures all of them anew.",
    )


def words(value: object) -> str:
    """A setting in words.

    >>> words(None), words(30)
    ('left out', '30')
    """
    return "left out" if value is None else str(value)


def skipped_cells(cells: Sequence[Cell]) -> dict[Cell, str]:
    """The cells that cannot be computed here, and why; not being able to is no failure."""
    try:
        require_cleanlab()
    except MissingPackageError as error:
        return {cell: f"{error.cause} {error.fix}" for cell in cells if cell.method == PEER}
    return {}


def run_cells(
    folder: BenchFolder,
    settings: BenchSettings,
    grid: Grid,
    skipped: Mapping[Cell, str],
    jobs: int,
    watcher: Watcher,
) -> None:
    """Compute what is not done; failures are kept with their reason and do not stop the rest."""
    cells = [cell for cell in grid.cells() if cell not in skipped]
    times = TimeLeft()
    missing = []
    for cell in cells:
        row = folder.finished(cell)
        if row is None:
            missing.append(cell)
        else:
            times.note(cell.method, row["wall_seconds"] + START_SECONDS)
    watcher.begin(len(cells), len(cells) - len(missing))
    for reason in dict.fromkeys(skipped.values()):
        watcher.note(f"{PEER} is left out: {reason}")
    computing = each_ended(
        missing, settings, folder.path, jobs=jobs, times=times, began=watcher.began
    )
    for number, ended in enumerate(computing, 1):
        if ended.reason is not None:
            folder.keep_failure(ended.cell, ended.reason)
        watcher.ended(ended, number, len(missing))


def write_results(
    folder: BenchFolder, settings: BenchSettings, grid: Grid, skipped: Mapping[Cell, str]
) -> dict[str, Any]:
    """Rows, report and summary of all that is in the folder."""
    rows = in_order(
        [
            *folder.all_rows(),
            *(
                {
                    "method": cell.method,
                    "noise": str(cell.noise),
                    "seed": cell.seed,
                    "status": "skipped",
                    "reason": reason,
                }
                for cell, reason in skipped.items()
                if folder.finished(cell) is None
            ),
        ]
    )
    shown = [*rows, *not_come_to(grid, rows)]
    whole = covering(grid, rows)
    facts = {
        "data": Path(settings.data).name,
        "command": command(folder.path, settings, whole),
        "thresher": versions(rows),
    }
    write_rows(rows_table(rows), folder.rows)
    folder.write_text(folder.markdown, render_markdown(shown, facts))
    table = settings.to_table(folder.path)
    folder.write_text(folder.report, render_html(shown, facts, {**table, **whole.to_table()}))
    asked = {(cell.method, str(cell.noise), cell.seed) for cell in grid.cells()}
    mine = [row for row in rows if (row["method"], row["noise"], row["seed"]) in asked]
    summary = {
        "schema": SCHEMA,
        "bench": str(folder.path),
        "cells": len(asked),
        **{
            status: sum(row["status"] == status for row in mine)
            for status in ("done", "failed", "skipped")
        },
        "table": [entry.to_json() for entry in entries(rows)],
        "failures": [
            {name: row[name] for name in ("method", "noise", "seed", "reason")}
            for row in mine
            if row["status"] == "failed"
        ],
        "rows": str(folder.rows),
        "report": str(folder.report),
    }
    kept = {name: value for name, value in summary.items() if name != "bench"}
    folder.write_text(folder.summary, json.dumps(kept, indent=1) + "\n")
    return summary


def not_come_to(grid: Grid, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each cell that was asked for and has none, as after Ctrl+C."""
    there = {(row["method"], row["noise"], row["seed"]) for row in rows}
    asked = [(cell.method, str(cell.noise), cell.seed) for cell in grid.cells()]
    return [
        {
            "method": method,
            "noise": noise,
            "seed": seed,
            "status": "not computed",
            "reason": "the benchmark was ended before",
        }
        for method, noise, seed in asked
        if (method, noise, seed) not in there
    ]


def covering(grid: Grid, rows: Sequence[Mapping[str, Any]]) -> Grid:
    """The smallest grid that holds this one and all rows, which may be of other calls as well."""
    named = dict.fromkeys((*grid.methods, *(row["method"] for row in rows)))
    others = (each for each in named if each not in (BASELINE, PEER))
    noises = dict.fromkeys((*grid.noises, *(parse_noise(row["noise"]) for row in rows)))
    seeds = max([grid.seeds, *(row["seed"] + 1 for row in rows)])
    return Grid((BASELINE, *others, PEER), tuple(noises), seeds)


def in_order(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows by noise, method and seed: noises as they are named, the baseline first, the peer last.

    >>> rows = [{"noise": "none", "method": name, "seed": 0} for name in ("cleanlab", "standard")]
    >>> [row["method"] for row in in_order(rows)]
    ['standard', 'cleanlab']
    """
    places = {name: place for place, name in enumerate((BASELINE, *METHODS, PEER))}
    places[BASELINE] = -1
    return sorted(
        rows,
        key=lambda row: (
            row["noise"] != "none",
            row["noise"],
            places.get(row["method"], len(places)),
            row["seed"],
        ),
    )


def command(out: Path, settings: BenchSettings, grid: Grid) -> str:
    """What to type to make the same grid."""
    default = BenchSettings()
    options: dict[str, Any] = {
        name.replace("_", "-"): value
        for name, value in asdict(settings).items()
        if value != getattr(default, name) and name not in ("text", "told")
    }
    options = {"data": settings.data, **options}
    if settings.told is not None:
        options["noise-rate"] = settings.told
    pieces = [f"--{name} {shlex.quote(str(value))}" for name, value in options.items()]
    pieces += [f"--text {shlex.quote(each)}" for each in settings.text]
    methods = ",".join(grid.methods)
    noises = shlex.quote(",".join(str(each) for each in grid.noises))
    pieces += [f"--methods {methods}", f"--noise {noises}", f"--seeds {grid.seeds}"]
    return f"thresher bench noise {' '.join(pieces)} --out {shlex.quote(str(out))}"
