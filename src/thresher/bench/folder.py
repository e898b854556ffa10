"""The folder of a benchmark: one file a finished cell, so that what is done stays done.

    bench.toml            settings that all cells share, fingerprint of the data, the grid,
                          hashes of methods of one's own
    cells/NAME.json       the row of a finished cell; NAME.failed.json, why there is none
    rows.parquet          all rows
    report.html, .md      tables and pictures
    summary.json          the object that --json prints
    state/                copies of large inputs; removed when every cell is done

A file is written aside and renamed: a cell that is killed leaves nothing that looks finished.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import tomli_w

from thresher.bench.settings import Cell
from thresher.errors import RunError
from thresher.held_folder import held_folder
from thresher.whole_file import whole_file

__all__ = ["SCHEMA", "BenchFolder"]

SCHEMA = 1
COPY = re.compile(r"\.?(images|rows)-[0-9a-f]{16}(\.partial)?$")  # of large inputs, in state/


class BenchFolder:
    """Names, reads and writes the files of one benchmark.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.settings = self.path / "bench.toml"
        self.cells = self.path / "cells"
        self.rows = self.path / "rows.parquet"
        self.report = self.path / "report.html"
        self.markdown = self.path / "report.md"
        self.summary = self.path / "summary.json"
        self.state = self.path / "state"

    @property
    def begun(self) -> bool:
        """Whether it holds a benchmark."""
        return self.settings.is_file()

    def refuse_other(self) -> None:
        """Refuse a folder that holds something else.

        Raises:
            RunError: it does, or it is no folder.
        """
        if self.begun or not self.path.exists():
            return
        if not self.path.is_dir() or not all(map(self._is_ours, self.path.iterdir())):
            raise RunError(f"{self.path} exists and is not a benchmark.", "Choose another --out.")

    def _is_ours(self, entry: Path) -> bool:
        """Whether a process that was killed while the data were read may have left it."""
        if entry.name == f".{self.settings.name}.partial":
            return True
        if entry == self.cells and entry.is_dir():
            return not any(entry.iterdir())
        if entry == self.state and entry.is_dir():
            return all(COPY.match(each.name) and each.is_dir() for each in entry.iterdir())
        return False

    def discard(self, *, also_itself: bool) -> None:
        """Take back what `make` has made for nothing; of what has begun, no file.

        Args:
            also_itself: Remove the folder too, which was not there before.
        """
        if not self.begun:
            shutil.rmtree(self.state, ignore_errors=True)
        for each in (self.state, self.cells, *([self.path] if also_itself else [])):
            with suppress(OSError):  # it is not empty
                each.rmdir()

    def make(self) -> None:
        """Make the folder and those within it.

        Raises:
            RunError: the system refuses.
        """
        try:
            for each in (self.cells, self.state):
                each.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"Cannot write {self.path}: {error.strerror}.", "Choose another --out."
            ) from error

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Hold the folder: meanwhile no other benchmark writes to it.

        Raises:
            RunError: another process holds it.
        """
        taken = RunError(
            f"The benchmark in {self.path} is in use: another process computes cells there.",
            "Wait until it has ended; --jobs says how many cells one computes at once.",
        )
        with held_folder(self.path, taken):
            yield

    # ------------------------------------------------------------------ settings
    def write_settings(self, tables: Mapping[str, Mapping[str, Any]]) -> None:
        """Write bench.toml."""
        self._write(self.settings, tomli_w.dumps({"schema": SCHEMA, **tables}))

    def read_settings(self) -> dict[str, Any]:
        """Read bench.toml.

        Raises:
            RunError: it is torn, or of another release.
        """
        try:
            tables = tomllib.loads(self.settings.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.settings} cannot be read: {error}.", "Choose another --out."
            ) from error
        if tables.get("schema") != SCHEMA:
            raise RunError(
                f"{self.settings} has schema {tables.get('schema')}; this release reads {SCHEMA}.",
                "Use the release of thresher that wrote it, or choose another --out.",
            )
        return tables

    # ------------------------------------------------------------------ cells
    def file_of(self, cell: Cell) -> Path:
        """Where the row of a cell is kept."""
        method, noise = (quote(str(each), safe="") for each in (cell.method, cell.noise))
        return self.cells / f"{method}~{noise}~seed-{cell.seed}.json"

    def keep(self, cell: Cell, row: Mapping[str, Any]) -> None:
        """Write the row of a finished cell."""
        text = json.dumps({"schema": SCHEMA, "status": "done", **row}, indent=1)
        self._write(self.file_of(cell), text + "\n")
        self._failure(cell).unlink(missing_ok=True)

    def keep_failure(self, cell: Cell, reason: str) -> None:
        """Write why a cell could not be computed; it is tried again by the next call."""
        row = {
            "schema": SCHEMA,
            "status": "failed",
            "method": cell.method,
            "noise": str(cell.noise),
            "seed": cell.seed,
            "reason": reason,
        }
        self._write(self._failure(cell), json.dumps(row, indent=1) + "\n")

    def _failure(self, cell: Cell) -> Path:
        return self.file_of(cell).with_suffix(".failed.json")

    def finished(self, cell: Cell) -> dict[str, Any] | None:
        """The row of a cell that is done; None if it is not.

        Raises:
            RunError: it was written by another release.
        """
        return _read(self.file_of(cell))

    def all_rows(self) -> list[dict[str, Any]]:
        """What is there of all cells that were ever asked for: finished ones, and failures.

        Raises:
            RunError: one was written by another release.
        """
        found = (_read(each) for each in sorted(self.cells.glob("*.json")))
        return [row for row in found if row is not None]

    # ------------------------------------------------------------------ results
    def write_text(self, path: Path, text: str) -> None:
        """Write a text file of the folder, whole or not at all."""
        self._write(path, text)

    def finish(self) -> None:
        """Remove what only further cells would need."""
        shutil.rmtree(self.state, ignore_errors=True)

    def _write(self, path: Path, content: str) -> None:
        with whole_file(path) as aside:
            aside.write_text(content, encoding="utf-8", errors="replace")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # not there; or damaged from outside, and computed again
    if row.get("schema") != SCHEMA:
        raise RunError(
            f"{path} has schema {row.get('schema')}; this release reads {SCHEMA}.",
            "Use the release of thresher that wrote it, or choose another --out.",
        )
    del row["schema"]
    return row
