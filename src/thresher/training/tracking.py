"""Tracking: the metrics of a run sent to TensorBoard, MLflow or Weights & Biases as well.

None by default, and a run without them imports none. They are reached through Accelerate; the
run's own metrics.jsonl is written in any case, so a tracker that fails is left behind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from thresher.errors import MissingPackageError

__all__ = ["Tracking", "require_trackers"]


def require_trackers(names: str | None) -> list[str]:
    """Split the names of trackers and see that their packages are there.

    Args:
        names: Of tensorboard, mlflow, wandb, joined by commas; None = none.

    Raises:
        MissingPackageError: one is not installed; names the pip line.
    """
    each = [] if names is None else names.split(",")
    for name in each:
        if find_spec(name) is None:
            raise MissingPackageError(
                f'The tracker "{name}" is not installed.', f"pip install {name}"
            )
    return each


class Tracking:
    """Sends settings, the metrics of every epoch and the audit's summary to trackers.

    Args:
        names: Of tensorboard, mlflow, wandb, joined by commas; None = none.
        folder: What trackers write to files goes here, unless variables of their own (such as
            MLFLOW_TRACKING_URI) say otherwise.
        run: Name of the run.
        note: Told once when a tracker fails; training goes on without it.

    Raises:
        MissingPackageError: a tracker's package is not installed.
    """

    def __init__(
        self, names: str | None, folder: Path, run: str, note: Callable[[str], None]
    ) -> None:
        self.names = require_trackers(names)
        self.folder, self.run, self.note = folder, run, note
        self._accelerator: Accelerator | None = None

    def start(self, settings: Mapping[str, Any]) -> None:
        """Open the trackers and store the settings, a list as text."""
        if not self.names:
            return
        with self._forgiving():
            self.folder.mkdir(parents=True, exist_ok=True)
            accelerator = Accelerator(cpu=True, log_with=self.names, project_dir=self.folder)
            accelerator.init_trackers(
                self.run,
                config={
                    name: value if is_number(value) else str(value)
                    for name, value in settings.items()
                },
                init_kwargs={name: self._place(name) for name in self.names},
            )
            self._accelerator = accelerator

    def _place(self, name: str) -> dict[str, str]:
        """Keep what a tracker writes inside the run folder, and its reports at home."""
        if name == "wandb":
            return {"dir": str(self.folder)}
        if name == "mlflow":
            # else it reports its use to its makers, and notes in the home folder that it did
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        if name == "mlflow" and "MLFLOW_TRACKING_URI" not in os.environ:
            store = self.folder.resolve() / "mlflow.db"
            import_module("mlflow").set_tracking_uri(f"sqlite:///{store}")
            return {"logging_dir": str(self.folder.resolve() / "artifacts")}
        return {}

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Send numbers.

        Args:
            values: By name; what is no number is left out.
            step: The epoch, from 1; None for what belongs to the run as a whole.
        """
        if self._accelerator is not None:
            with self._forgiving():
                numbers = {name: value for name, value in values.items() if is_number(value)}
                self._accelerator.log(numbers, step=step)

    def finish(self) -> None:
        """Close the trackers."""
        if self._accelerator is not None:
            with self._forgiving():
                self._accelerator.end_training()
            self._accelerator = None

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        """Go on without trackers when one fails, and say so once: they may raise anything."""
        try:
            yield
        except Exception as error:
            self._accelerator = None
            lines = str(error).splitlines() or [type(error).__name__]
            self.note(f"Tracking stopped, training goes on: {lines[0]}")


def is_number(value: Any) -> bool:
    """Tell numbers from truth values, texts and lists."""
    return isinstance(value, int | float) and not isinstance(value, bool)
