"""The run folder: everything that a training leaves behind, in open formats.

    run.toml              settings as resolved; `--config run.toml` repeats the run
    model.safetensors     weights; metadata key "thresher": classes, columns, scaling
    history.safetensors   what the network did with every sample
    metrics.jsonl         one line an epoch
    audit.parquet         one row a sample
    report.html           the audit to look at
    summary.json          what it came to: the object that `fit --json` prints
    skipped.parquet       rows that could not be read, when there were any
    state/                what resuming needs; removed when the run is complete

Every file appears whole or not at all, and none is written outside the folder.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from thresher.errors import RunError
from thresher.whole_file import whole_file

__all__ = ["RunFolder"]

SCHEMA = 1


def _write(path: Path, content: str) -> None:
    """Write a text file that appears whole or not at all.

    Raises:
        RunError: no space, no permission; whatever was under the name before is untouched.
    """
    with whole_file(path) as aside:
        aside.write_text(content)


class RunFolder:
    """Names and writes the files of one run.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.settings = self.path / "run.toml"
        self.model = self.path / "model.safetensors"
        self.history = self.path / "history.safetensors"
        self.metrics = self.path / "metrics.jsonl"
        self.audit = self.path / "audit.parquet"
        self.report = self.path / "report.html"
        self.skipped = self.path / "skipped.parquet"
        self.summary = self.path / "summary.json"
        self.state = self.path / "state"
        self.replaced = self.path.with_name(f".{self.path.name}.replaced")
        self.checkpoint = self.state / "checkpoint.safetensors"

    @classmethod
    def create(cls, path: str | Path, *, overwrite: bool = False) -> RunFolder:
        """Make a new folder; an existing run is replaced only on request, when the new one ends.

        Raises:
            RunError: the folder exists, or cannot be made.
        """
        run = cls(path)
        try:
            if overwrite and run.settings.exists():
                shutil.rmtree(run.replaced, ignore_errors=True)
                run.path.rename(run.replaced)  # comes back if the new run fails at once
            run.path.parent.mkdir(parents=True, exist_ok=True)
            run.path.mkdir()
            run.state.mkdir()
        except FileExistsError as error:
            known = "a run" if run.settings.exists() else "something that is not a run"
            raise RunError(
                f"{run.path} exists and holds {known}.",
                "Choose another --out, or --overwrite to replace the run."
                if run.settings.exists()
                else "Choose another --out.",
            ) from error
        except OSError as error:
            raise RunError(
                f"Cannot write {run.path}: {error.strerror or error}.",
                "Free some space or choose another place with --out.",
            ) from error
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run.

        Raises:
            RunError: there is none.
        """
        run = cls(path)
        if not run.settings.is_file():
            raise RunError(
                f"{run.path} is not a run folder: it has no run.toml.",
                "Pass the folder that thresher fit wrote (its --out).",
            )
        return run

    @property
    def complete(self) -> bool:
        """Whether the training has finished and everything is written."""
        return self.audit.is_file() and self.model.is_file() and not self.state.exists()

    def require_complete(self) -> RunFolder:
        """This run, if it has finished.

        Raises:
            RunError: it was interrupted.
        """
        if not self.complete:
            raise RunError(
                f"The run in {self.path} is not finished.",
                f"Finish it: thresher fit --resume {self.path}",
            )
        return self

    # ------------------------------------------------------------------ files
    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Write run.toml; None is left out, TOML has no word for it."""
        _write(self.settings, tomli_w.dumps(_without_none({"schema": SCHEMA, **settings})))

    def read_settings(self) -> dict[str, Any]:
        """Read run.toml.

        Raises:
            RunError: it is torn, or of a later release.
        """
        try:
            settings = tomllib.loads(self.settings.read_text())
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.settings} cannot be read: {error}.", "Start the run again."
            ) from error
        schema = settings.get("schema")
        if schema != SCHEMA:
            raise RunError(
                f"{self.settings} has schema {schema}; this release reads {SCHEMA}.",
                "Use the release of thresher that wrote it.",
            )
        return settings

    def write_metrics(self, epochs: Iterable[Mapping[str, Any]]) -> None:
        """Write metrics.jsonl, one line an epoch."""
        lines = (json.dumps({"schema": SCHEMA, **each}) for each in epochs)
        _write(self.metrics, "".join(line + "\n" for line in lines))

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return [json.loads(line) for line in self.metrics.read_text().splitlines()]

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json."""
        _write(self.summary, json.dumps(summary, indent=2) + "\n")

    def read_summary(self) -> dict[str, Any]:
        """What the run came to."""
        summary: dict[str, Any] = json.loads(self.summary.read_text())
        return summary

    def finish(self) -> None:
        """Remove what only resuming needs, and the run that this one replaces."""
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.rmtree(self.replaced, ignore_errors=True)

    def remove(self) -> None:
        """Remove the folder: the run failed before there was anything to keep."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self.replaced.exists():
            self.replaced.rename(self.path)


def _without_none(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in settings.items()
        if value is not None
    }
