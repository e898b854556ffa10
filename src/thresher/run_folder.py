"""The run folder: everything that a training leaves behind, in open formats.

    run.toml              settings as resolved; `--config run.toml` repeats the run
    model/                the model: config.json, preprocess.json, model.safetensors, README.md
    history.safetensors   what the network did with every sample
    metrics.jsonl         one line an epoch
    audit.parquet         one row a sample
    report.html           the audit to look at
    transition.parquet    how labels are confused, where the method knows it
    summary.json          what it came to: the object that `fit --json` prints
    skipped.parquet       rows that could not be read, when there were any
    features.npy          what the last layer saw of every sample, when it was to be kept
    evidence.parquet      what people are shown of the samples that the report and a review name
    decisions.sqlite      what people decided in a review, a log that only grows
    decided.parquet       decisions of an earlier run's review that this one was started with
    out-of-distribution.parquet   samples marked as such when the run began, when some were
    conflicts.parquet     samples of identical content and different labels, when there were any
    tracking/             what trackers write, when some were asked for
    state/                what resuming needs, and copies of large inputs; removed at the end

Every file but the log appears whole or not at all, and none is written outside the folder.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import tomli_w

from thresher.decisions import DecisionLog
from thresher.errors import RunError
from thresher.held_folder import held_folder
from thresher.whole_file import whole_file

__all__ = ["RunFolder"]

SCHEMA = 1


def _write(path: Path, content: str) -> None:
    """Write a text file that appears whole or not at all.

    Raises:
        RunError: no space, no permission; whatever was under the name before is untouched.
    """
    with whole_file(path) as aside:
        aside.write_text(content, encoding="utf-8")


class RunFolder:
    """Names and writes the files of one run.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.settings = self.path / "run.toml"
        self.model = self.path / "model"
        self.history = self.path / "history.safetensors"
        self.metrics = self.path / "metrics.jsonl"
        self.audit = self.path / "audit.parquet"
        self.report = self.path / "report.html"
        self.skipped = self.path / "skipped.parquet"
        self.features = self.path / "features.npy"
        self.evidence = self.path / "evidence.parquet"
        self.decisions = self.path / "decisions.sqlite"
        self.decided = self.path / "decided.parquet"
        self.out_of_distribution = self.path / "out-of-distribution.parquet"
        self.conflicts = self.path / "conflicts.parquet"
        self.transition = self.path / "transition.parquet"
        self.summary = self.path / "summary.json"
        self.state = self.path / "state"
        self.checkpoint = self.state / "checkpoint.safetensors"
        self.checkpoint_before = self.state / "checkpoint-before.safetensors"
        self.tracking = self.path / "tracking"
        self._parents: list[Path] = []  # made for it, the innermost first

    @classmethod
    def create(cls, path: str | Path, *, overwrite: bool = False) -> RunFolder:
        """Make a new folder; an existing run is replaced only on request, when the new one ends.

        Raises:
            RunError: the folder exists, is in use, or cannot be made.
        """
        run = cls.vacant(path, overwrite=overwrite)
        place = run.path.resolve()  # a link stays: the run is made where it points to
        replacing = overwrite and run._holds_run()
        run._parents = [each for each in place.parents if not each.exists()]
        try:
            if replacing:
                run._set_aside()
            (place / run.state.name).mkdir(parents=True)  # of two at once, one succeeds
        except OSError as error:
            with suppress(OSError):
                place.rmdir()  # made, but with no space for what it holds
            if place.exists():
                raise run._taken() from error
            if replacing:
                run._bring_back()
            raise RunError(
                f"Cannot write {run.path}: {_reason(error)}.",
                "Free some space or choose another place with --out.",
            ) from error
        return run

    @classmethod
    def vacant(cls, path: str | Path, *, overwrite: bool = False) -> RunFolder:
        """A folder that a run can be made in, or that holds one to replace; nothing is made.

        Raises:
            RunError: it exists, or holds decisions of people, or its name is no UTF-8 text, which
                Arrow needs.
        """
        run = cls(path)
        try:
            str(run.path).encode()
        except UnicodeEncodeError as error:
            raise RunError(
                f"The name {str(run.path)!r} of the run folder is not UTF-8 text.",
                "Choose another --out.",
            ) from error
        if run.path.resolve().exists() and not (overwrite and run._holds_run()):
            raise run._taken()
        run._refuse_decided()
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
        weights = self.model / "model.safetensors"
        return self.summary.is_file() and weights.is_file() and not self.state.exists()

    @property
    def resumable(self) -> bool:
        """Whether there is a checkpoint to go on from; without one, resuming starts over."""
        return self.checkpoint.is_file() or self.checkpoint_before.is_file()

    @property
    def command(self) -> str:
        """What to type in a shell to go on with the run."""
        return f"thresher fit --resume {shlex.quote(str(self.path))}"

    @property
    def replaced(self) -> Path:
        """Where the run that this one replaces waits until this one has ended."""
        place = self.path.resolve()
        return place.with_name(f".{place.name}.replaced")

    def require_complete(self) -> RunFolder:
        """This run, if it has finished.

        Raises:
            RunError: it was interrupted.
        """
        if not self.complete:
            raise RunError(
                f"The run in {self.path} is not finished.",
                f"Finish it: {self.command}",
            )
        return self

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Hold the folder: meanwhile no other run writes to it or replaces it.

        The hold ends with the process, however that ends. File systems without locks have none.

        Raises:
            RunError: another run holds the folder.
        """
        taken = RunError(
            f"The run in {self.path} is in use: another process is training there.",
            "Wait until it has ended, or choose another --out.",
        )
        with held_folder(self.path, taken):
            yield

    # ------------------------------------------------------------------ replacing
    def _taken(self) -> RunError:
        if self._holds_run():
            return RunError(
                f"{self.path} exists and holds a run.",
                "Choose another --out, or --overwrite to replace the run.",
            )
        return RunError(f"{self.path} exists and is not a run.", "Choose another --out.")

    def _refuse_decided(self) -> None:
        """Refuse to replace what cannot be computed again."""
        with DecisionLog(self.decisions, read_only=True) as log:
            decided = len(log.current())
        if decided:
            raise RunError(
                f"{self.path} holds what people decided of {decided:,} samples.",
                "Choose another --out; or export the decisions, then delete "
                f"{self.decisions.name} in it.",
            )

    def _holds_run(self) -> bool:
        try:
            settings = tomllib.loads(self.settings.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        run = settings.get("run")
        return isinstance(run, dict) and "thresher" in run

    def _set_aside(self) -> None:
        """Make room; of an unfinished run and an older one it was to replace, keep the older."""
        place = self.path.resolve()
        with self.occupied():
            if self.replaced.exists() and not self.complete:
                shutil.rmtree(place)
            else:
                shutil.rmtree(self.replaced, ignore_errors=True)
                place.rename(self.replaced)

    def _bring_back(self) -> None:
        if self.replaced.exists():
            self.replaced.rename(self.path.resolve())

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
            settings = tomllib.loads(self.settings.read_text(encoding="utf-8"))
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
        for name in ("fit", "run"):
            if not isinstance(settings.get(name), dict):
                raise RunError(f"{self.settings} has no table [{name}].", "Start the run again.")
        return settings

    def write_metrics(self, epochs: Iterable[Mapping[str, Any]]) -> None:
        """Write metrics.jsonl, one line an epoch."""
        lines = (json.dumps({"schema": SCHEMA, **each}) for each in epochs)
        _write(self.metrics, "".join(line + "\n" for line in lines))

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return [json.loads(line) for line in self.metrics.read_text(encoding="utf-8").splitlines()]

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json, without the name of the folder: a run may be moved."""
        kept = {key: value for key, value in summary.items() if key != "run"}
        _write(self.summary, json.dumps(kept, indent=2) + "\n")

    def read_summary(self) -> dict[str, Any]:
        """What the run came to.

        Raises:
            RunError: the file is missing or torn.
        """
        try:
            kept: dict[str, Any] = json.loads(self.summary.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.summary} cannot be read: {error}.", "Start the run again."
            ) from error
        return {"schema": kept.pop("schema", None), "run": str(self.path), **kept}

    def finish(self) -> None:
        """Remove what only resuming needs, and the run that this one replaces."""
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.rmtree(self.replaced, ignore_errors=True)

    def remove(self) -> None:
        """Remove the folder: the run failed before there was anything to keep."""
        shutil.rmtree(self.path.resolve(), ignore_errors=True)
        for parent in self._parents:
            with suppress(OSError):  # not empty: others have moved in
                parent.rmdir()
        self._bring_back()


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _without_none(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in settings.items()
        if value is not None
    }
