"""A process that computes one cell: one thread, its own memory, and no life beyond its parent's.

Processes are forked from a server that has imported everything and started no thread: a cell costs
no import, and its peak of memory is its own.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from thresher.bench import cell as cells
from thresher.bench.folder import BenchFolder
from thresher.bench.own_source import refuse_changed
from thresher.bench.prune_and_retrain import import_cleanlab
from thresher.bench.settings import PEER, BenchSettings, Cell
from thresher.data import open_data
from thresher.errors import ThresherError
from thresher.fitting import Silence
from thresher.job import Job
from thresher.settings import FitSettings

__all__ = ["compute", "reason_of", "warm_up"]


def compute(pipe: Connection, settings: BenchSettings, cell: Cell, folder: Path) -> None:
    """Compute a cell and keep its row; send None, or the reason why there is none.

    Args:
        pipe: To whoever started this process.
        settings: What all cells share.
        cell: Which.
        folder: Of the benchmark.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C goes to all; the parent ends us
    die_with_parent()
    # what a method of the user's own prints must not stand beside the object of --json
    os.dup2(2, 1)
    torch.set_num_threads(1)
    where = BenchFolder(folder)
    failure = attempt(lambda: where.keep(cell, warmed(settings, cell, where)))
    pipe.send(failure)
    pipe.close()


def warmed(settings: BenchSettings, cell: Cell, folder: BenchFolder) -> dict[str, object]:
    """The row of a cell, measured when the first steps of this process are behind it.

    Raises:
        ThresherError: it cannot be computed; or the data, or the method itself, have changed since
            the benchmark was begun.
    """
    begun = folder.read_settings()
    refuse_changed(begun.get("methods", {}), [cell.method])
    warm_up()
    if cell.method == PEER:
        import_cleanlab()
    return cells.measure(settings, cell, folder.state, begun["data"]["fingerprint"])


def attempt(work: Callable[[], None]) -> str | None:
    """Do it; None, or why it failed."""
    try:
        work()
    except Exception as error:
        return reason_of(error)
    return None


def reason_of(error: Exception) -> str:
    """Why a cell failed, in one line.

    >>> reason_of(ValueError("no such thing"))
    'ValueError: no such thing'
    """
    if isinstance(error, ThresherError):
        return " ".join(str(error).split())
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def warm_up() -> None:
    """Train a moment on numbers: what a process does once is then behind it, and not timed."""
    random = np.random.default_rng(0)
    samples = open_data((random.normal(size=(64, 4)), np.arange(64) % 2))
    settings = FitSettings(method="standard", epochs=1, validation=0.0, device="cpu")
    for _ in Job.plan(settings, samples, None, Silence(), audit=True).training.run():
        pass


def die_with_parent() -> None:
    """End this process as soon as the one that asked for it has ended, however it did."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
