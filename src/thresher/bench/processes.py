"""Cells in processes, a few at a time: done as they come, and none stops the others.

waiting → started (one process each) → done | failed, with the reason
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from thresher.bench.settings import BenchSettings, Cell

__all__ = ["Ended", "TimeLeft", "each_ended"]

LOOK_SECONDS = 1.0  # between two looks at processes that say nothing


@dataclass(frozen=True)
class Ended:
    """A cell whose process has ended.

    Attributes:
        cell: Which.
        reason: Why it failed; None = it is done.
        seconds: It took, start of the process included.
        left: Seconds until all are done, by what cells have taken so far.
    """

    cell: Cell
    reason: str | None
    seconds: float
    left: float


@dataclass
class TimeLeft:
    """How long the cells to come will take: as those of the same method took, else as the others.

    Args:
        taken: Method → seconds of its cells.
    """

    taken: dict[str, list[float]] = field(default_factory=dict)

    def note(self, method: str, seconds: float) -> None:
        """A cell has taken so long."""
        self.taken.setdefault(method, []).append(seconds)

    def of(self, method: str) -> float:
        """Seconds of one cell; 0 while nothing is known.

        >>> times = TimeLeft({"elr": [1.0, 3.0], "jocor": [4.0]})
        >>> times.of("elr"), times.of("selfie")
        (2.0, 3.0)
        """
        means = {name: sum(each) / len(each) for name, each in self.taken.items()}
        return means.get(method, sum(means.values()) / len(means) if means else 0.0)

    def left(self, waiting: Sequence[Cell], running: Mapping[Cell, float], jobs: int) -> float:
        """Seconds until all are done.

        Args:
            waiting: Cells not begun.
            running: Cell → seconds since it began.
            jobs: How many run at once.
        """
        work = sum(self.of(each.method) for each in waiting)
        work += sum(max(0.0, self.of(each.method) - since) for each, since in running.items())
        return work / jobs


@dataclass
class Running:
    """A process at work."""

    cell: Cell
    process: BaseProcess
    started: float


def each_ended(
    cells: Sequence[Cell],
    settings: BenchSettings,
    folder: Path,
    *,
    jobs: int,
    times: TimeLeft,
    began: Callable[[Cell], None],
) -> Iterator[Ended]:
    """Compute cells in processes, and yield each one when it has ended.

    When the caller is interrupted or stops asking, the processes at work are ended.

    Args:
        cells: In the order in which they are begun.
        settings: What they share.
        folder: Of the benchmark, where a finished cell leaves its row.
        jobs: Processes at once, >= 1.
        times: What cells have taken before.
        began: Hears of every cell that is begun.
    """
    waiting = list(cells)
    running: dict[Connection, Running] = {}
    context = get_context("forkserver")
    context.set_forkserver_preload(["thresher.bench.worker"])
    from thresher.bench.worker import compute

    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                cell = waiting.pop(0)
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(
                    target=compute, args=(theirs, settings, cell, folder), daemon=True
                )
                with one_thread():
                    process.start()
                theirs.close()
                running[ours] = Running(cell, process, time.perf_counter())
                began(cell)
            for pipe in connection.wait(list(running), LOOK_SECONDS):
                assert isinstance(pipe, Connection)
                each = running.pop(pipe)
                reason = outcome(pipe, each.process)
                now = time.perf_counter()
                seconds = now - each.started
                if reason is None:
                    times.note(each.cell.method, seconds)
                since = {other.cell: now - other.started for other in running.values()}
                yield Ended(each.cell, reason, seconds, times.left(waiting, since, jobs))
    finally:
        for each in running.values():
            each.process.kill()
        for each in running.values():
            each.process.join()


def outcome(pipe: Connection, process: BaseProcess) -> str | None:
    """What a process that has ended says: None for done, else the reason."""
    try:
        reason: str | None = pipe.recv()
    except EOFError:
        process.join()
        return ending(process.exitcode)
    finally:
        pipe.close()
    process.join()
    return reason


def ending(code: int | None) -> str:
    """How a process ended that said nothing.

    >>> ending(-9)
    'its process was ended by SIGKILL, as it is when memory runs out'
    """
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        memory = ", as it is when memory runs out" if -code == signal.SIGKILL else ""
        return f"its process was ended by {name}{memory}"
    return f"its process ended with exit code {code}"


@contextmanager
def one_thread() -> Iterator[None]:
    """Let the processes that are started here compute with one thread each."""
    name = "OMP_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
