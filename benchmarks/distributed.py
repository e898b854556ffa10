"""Benchmark of several processes: two with a thread each against one with two, on one machine.

    python benchmarks/distributed.py run       steps at the same global batch; time in exchanges
    python benchmarks/distributed.py table     results/distributed.jsonl → results/distributed.md

One process with two threads and two processes with one take turns, an epoch of the same batches
each (training.py's networks and data). In the two, every exchange is timed twice: by the wall,
which counts waiting for the other process, and by the processor, which counts its own cost. The one
gather a step that history and sampler live on is timed beside, with its packing; the others are
those of any training in several processes: gradients, and batch normalisation over all rows.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
import torch.distributed as dist
from cells import keep, read_lines
from tables import table

from thresher.noise import criterion
from training import CNN, MLP_WIDE, RESNET, prepared

RESULTS = Path(__file__).parent / "results" / "distributed.jsonl"
NETS = {"mlp": MLP_WIDE, "cnn": CNN, "resnet18": RESNET}
PROCESSES = 2
BAR = 0.03  # of a step, in the gather of history and sampler


class Timed:
    """Times functions of a module, which are replaced.

    Args:
        module: Where they are looked up.
        names: Of the functions.
    """

    clocks = (time.perf_counter, time.process_time)

    def __init__(self, module: Any, *names: str) -> None:
        self.begin()
        for name in names:
            setattr(module, name, self._timed(getattr(module, name)))

    def begin(self) -> None:
        """Count anew."""
        self.seconds, self.calls = [0.0, 0.0], 0

    def _timed(self, collective: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            before = [clock() for clock in self.clocks]
            found = collective(*arguments, **options)
            self.calls += 1
            for place, clock in enumerate(self.clocks):
                self.seconds[place] += clock() - before[place]
            return found

        return timed


def trains(number: int, name: str, meeting: Path, orders: Connection) -> None:
    """One of the processes: an epoch for every order, until there are no more."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=number,
        world_size=PROCESSES,
        timeout=timedelta(minutes=10),
    )
    exchanges = Timed(dist, "all_gather", "all_reduce")
    gather = Timed(criterion, "gather_columns")
    epochs = prepared(NETS[name], audit=True).run()
    while orders.recv():
        exchanges.begin()
        gather.begin()
        dist.barrier()
        started, used = time.perf_counter(), time.process_time()
        next(epochs)
        wall, cpu = time.perf_counter() - started, time.process_time() - used
        orders.send((wall, cpu, *exchanges.seconds, exchanges.calls, *gather.seconds))
    dist.destroy_process_group()


def measured(name: str, rounds: int) -> dict[str, Any]:
    """Take turns on one network.

    Args:
        name: Of the network.
        rounds: Epochs of each that count, >= 2, after one that does not.
    """
    net, load = NETS[name], os.getloadavg()[0]
    torch.set_num_threads(PROCESSES)
    alone = prepared(net, audit=True).run()
    one: list[float] = []
    two: list[tuple[float, ...]] = []
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe() for _ in range(PROCESSES)]
        running = [
            context.Process(target=trains, args=(number, name, Path(folder) / "meeting", theirs))
            for number, (_, theirs) in enumerate(pipes)
        ]
        for process in running:
            process.start()
        for turn in range(rounds + 1):
            started = time.perf_counter()
            next(alone)
            seconds = time.perf_counter() - started
            for ours, _ in pipes:
                ours.send(True)
            found = [ours.recv() for ours, _ in pipes]
            if turn:
                one.append(seconds)
                two.append(max(found))  # the slower of the two
        for ours, _ in pipes:
            ours.send(False)
        for process in running:
            process.join()
    steps = net.batches
    return {
        "case": net.title,
        "load_before": round(load, 1),
        "steps": steps,
        "rounds": rounds,
        "step_ms": {
            "one": round(1e3 * median(one) / steps, 3),
            "two": round(1e3 * median(each[0] for each in two) / steps, 3),
        },
        "two/one": spread([each[0] / single for each, single in zip(two, one, strict=True)]),
        "exchanges_a_step": round(two[0][4] / steps, 1),
        "exchange_wall": spread([each[2] / each[0] for each in two]),
        "exchange_cpu": spread([each[3] / each[1] for each in two]),
        "gather_wall": spread([each[5] / each[0] for each in two]),
        "gather_cpu": spread([each[6] / each[1] for each in two]),
        "bar": BAR,
    }


def spread(values: list[float]) -> list[float]:
    """Lower quartile, median and upper quartile."""
    return [round(value, 4) for value in quantiles(values, n=4)]


def run(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All networks."""
    for name in options.networks:
        yield measured(name, options.rounds)


def rounds_of(values: list[float], scale: float = 1, digits: int = 2) -> str:
    """Median, and quartiles: 0.98 (0.95–1.02)."""
    low, middle, high = (f"{scale * value:.{digits}f}" for value in values)
    return f"{middle} ({low}–{high})"


def write_table(results: Path) -> None:
    """Write the Markdown beside the JSONL file."""
    lines = list({line["case"]: line for line in read_lines(results)}.values())
    rows = [
        [
            line["case"],
            f"{line['load_before']:.1f}",
            f"{line['step_ms']['one']:.1f}",
            f"{line['step_ms']['two']:.1f}",
            rounds_of(line["two/one"]),
            f"{line['exchanges_a_step']:.0f}",
            rounds_of(line["exchange_wall"], 100, 1),
            rounds_of(line["exchange_cpu"], 100, 1),
            rounds_of(line["gather_wall"], 100, 1),
            rounds_of(line["gather_cpu"], 100, 1),
            "met" if line["gather_wall"][1] <= line["bar"] else "**missed**",
        ]
        for line in lines
    ]
    head = [
        "network, 128 rows a step",
        "other load",
        "1 process × 2 threads, ms a step",
        "2 processes × 1 thread",
        "two/one",
        "exchanges a step",
        "all exchanges, % of the time",
        "of the processor's work",
        "history's gather, % of the time",
        "of the processor's work",
        "≤ 3 % of the time",
    ]
    machine = f"{lines[0]['machine']}, torch {lines[0]['torch']}" if lines else ""
    results.with_suffix(".md").write_text(
        "# Several processes\n\n"
        "Made by `python benchmarks/distributed.py table` from distributed.jsonl; do not edit. "
        "Standard training with the audit's record, batches of 128 rows of all processes together, "
        f"gloo on one machine ({machine}). Medians of turns, with quartiles. Time in exchanges "
        "includes waiting for the other process; the processor's work does not. History's gather "
        "is what the record, the method and the sampler need, one a step; the other exchanges are "
        "those of gradients and of batch normalisation over all rows. Other load is that "
        "of the machine in the minute before: above 0.5, threads and processes wait for "
        "strangers, two threads of one process most of all, and no time here means much.\n\n"
        + table(head, rows)
    )


def main() -> int:
    """Measure, print and keep; or write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=["run", "table"])
    parser.add_argument("--networks", nargs="+", choices=list(NETS), default=list(NETS))
    parser.add_argument("--rounds", type=int, default=7, help="epochs of each that count (7)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSONL file")
    options = parser.parse_args()
    if options.task == "table":
        write_table(options.results)
        return 0
    keep("run", run(options), {"torch": torch.__version__}, options.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
