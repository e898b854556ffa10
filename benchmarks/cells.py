"""Cells of a benchmark grid: computed in processes of one thread, kept as soon as they are done.

A cell is a dictionary that says what is measured. Its lines (the cell and its figures) are appended
to a JSONL file; the next call skips what is there. The newest line of a cell is the one that
counts.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

__all__ = ["Cell", "Line", "compute_cells", "grid_status", "keep", "newest", "read_lines"]

Cell = dict[str, Any]
Line = dict[str, Any]

#: What a cell may say, in the order in which it is named; everything else in a line is a figure.
NAMES = (
    "task",
    "data",
    "noise",
    "rate",
    "method",
    "schedule",
    "rows",
    "epochs",
    "geometry",
    "seed",
)


def read_lines(path: Path) -> list[Line]:
    """Everything that was measured so far; a last line that was cut off is passed over."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            print(f"{path.name}: passing over a line that is cut off", file=sys.stderr)
    return lines


def newest(lines: Iterable[Line]) -> list[Line]:
    """The newest line of every cell (and variant of it), in the order of first appearance."""
    found = {(*named(line), line.get("variant")): line for line in lines}
    return list(found.values())


def named(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells cells apart."""
    return tuple(cell.get(name) for name in NAMES)


def compute_cells(
    cells: list[Cell],
    compute: Callable[[Cell], list[Line]],
    path: Path,
    *,
    workers: int,
    fresh: bool,
) -> bool:
    """Compute what is missing, and append it.

    Args:
        cells: The grid.
        compute: Makes the lines of a cell: figures only, the cell is added here. Importable.
        path: The JSONL file.
        workers: Processes.
        fresh: Compute what is there as well.

    Returns:
        Whether every cell could be computed.
    """
    done = set() if fresh else {named(line) for line in read_lines(path)}
    missing = [cell for cell in cells if named(cell) not in done]
    say(f"{len(cells)} cells, {len(cells) - len(missing)} of them already in {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    failed, started = 0, time.perf_counter()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes to come; they are spawned, not forked
    with ProcessPoolExecutor(workers, get_context("spawn"), one_thread) as pool:
        waiting = {pool.submit(compute, cell): cell for cell in missing}
        try:
            for number, future in enumerate(as_completed(waiting), 1):
                cell = waiting[future]
                error = future.exception()
                if error is None:
                    append(path, [cell | line for line in future.result()])
                else:
                    failed += 1
                seconds = time.perf_counter() - started
                left = seconds / number * (len(missing) - number) / 60
                outcome = "done" if error is None else f"FAILED: {error!r}"
                say(f"[{number}/{len(missing)}, {left:.0f} min left] {words(cell)}: {outcome}")
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            say("Interrupted. Call it again to go on.")
            raise
    return failed == 0


def grid_status(
    cells: list[Cell],
    compute: Callable[[Cell], list[Line]],
    path: Path,
    *,
    workers: int,
    fresh: bool,
) -> int:
    """As `compute_cells`; returns the exit status: 0 done, 1 a cell failed, 130 interrupted."""
    try:
        complete = compute_cells(cells, compute, path, workers=workers, fresh=fresh)
    except KeyboardInterrupt:
        return 130
    return 0 if complete else 1


def append(path: Path, lines: list[Line]) -> None:
    """Write the lines of one cell at once."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    with path.open("a") as file:
        file.write(text)


def keep(task: str, measured: Iterable[Line], machine: Line, path: Path) -> None:
    """Print and append each line as soon as it is measured, with the machine it was measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    where = machine | {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    for figures in measured:
        line = {"task": task, **figures, **where}
        print(json.dumps(line, ensure_ascii=False), flush=True)
        append(path, [line])


def one_thread() -> None:
    """What a new process does first."""
    import torch

    torch.set_num_threads(1)


def words(cell: Cell) -> str:
    """The cell in a few words."""
    return " ".join(
        f"{name} {cell[name]}" if name in ("seed", "rate", "epochs", "rows") else str(cell[name])
        for name in NAMES
        if cell.get(name) is not None
    )


def say(sentence: str) -> None:
    """Progress goes to stderr."""
    print(sentence, file=sys.stderr, flush=True)
