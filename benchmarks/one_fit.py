"""One `thresher fit` in this process, with its time and memory by phase, as one JSON object.

    python benchmarks/one_fit.py DATA [options of thresher fit]

A small fit goes first: it imports everything that a run imports and starts the thread pools. What
is resident then is the ground that memory is measured from. The command line's own output goes to
standard error.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch

from thresher import auditing, fitting, running
from thresher.cli import main as command_line
from thresher.fitting import fit
from thresher.job import Job
from thresher.trained_model import TrainedModel
from thresher.training import checkpoint

MIB = 2**20
SAMPLING_SECONDS = 0.005


class Phases:
    """What is going on, and the most that was resident meanwhile."""

    def __init__(self, ground: int) -> None:
        self.ground = ground
        self.seconds: dict[str, float] = {}
        self.peaks: dict[str, float] = {}
        self._now = ["start"]
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        while True:
            name = self._now[-1]
            above = (resident() - self.ground) / MIB
            self.peaks[name] = max(self.peaks.get(name, 0.0), round(above, 1))
            time.sleep(SAMPLING_SECONDS)

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its calls counted to a phase."""

        def measured(*arguments: Any, **named: Any) -> Any:
            self._now.append(name)
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                taken = time.perf_counter() - started
                self.seconds[name] = round(self.seconds.get(name, 0.0) + taken, 3)
                self._now.pop()

        return measured

    def watch(self) -> None:
        """Put the phases of a run between the job and what it calls."""
        fitting.read = self.timed("read", fitting.read)
        Job.plan = staticmethod(self.timed("plan", Job.plan))  # type: ignore[method-assign]
        running.train_epochs = self.timed("train", running.train_epochs)
        TrainedModel.save = self.timed("model", TrainedModel.save)  # type: ignore[method-assign]
        saving = self.timed("checkpoints, within train", checkpoint.save_checkpoint)
        checkpoint.save_checkpoint = saving
        for name, phase in (
            ("save_file", "history"),
            ("judge", "audit.parquet"),
            ("build_table", "audit.parquet"),
            ("write_table", "audit.parquet"),
            ("summarise", "report"),
            ("render_report", "report"),
            ("write_report", "report"),
        ):
            setattr(auditing, name, self.timed(phase, getattr(auditing, name)))


def resident() -> int:
    """Bytes of this process that are in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def import_all(columns: int) -> None:
    """A run of seconds on a table of the same kind."""
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((400, columns), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "small.npz"
        np.savez(data, X=inputs, y=generator.integers(4, size=400))
        fit(data, epochs=2, out=Path(folder) / "run")
    gc.collect()


def main() -> None:
    """Run, and print what it took."""
    after_imports = resident()
    import_all(columns=64)
    phases = Phases(ground=resident())
    phases.watch()
    started = time.perf_counter()
    with redirect_stdout(sys.stderr):
        sys.argv = ["thresher", "fit", *sys.argv[1:]]
        try:
            command_line()
        except SystemExit as end:
            if end.code:
                raise
    seconds = time.perf_counter() - started
    out = Path(sys.argv[sys.argv.index("--out") + 1])
    summary = json.loads((out / "summary.json").read_text())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        json.dumps(
            {
                "epochs": summary["epochs"],
                "threads_used": torch.get_num_threads(),
                "noise_rate_estimate": summary["noise_rate_estimate"],
                "n_label_issues": summary["n_label_issues"],
                "seconds": round(seconds, 1),
                "phase_seconds": phases.seconds,
                "imports_mib": round(after_imports / MIB, 1),
                "ground_mib": round(phases.ground / MIB, 1),
                "peak_above_mib": round((peak - phases.ground) / MIB, 1),
                "phase_peak_mib": phases.peaks,
            }
        )
    )


if __name__ == "__main__":
    main()
