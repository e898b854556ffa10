"""results/spark.jsonl → results/spark.md: the newest line of every case against its bar."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cells import Line, read_lines
from spark_cost import cost_tables
from tables import Bar, bars, table

__all__ = ["write_table"]

HEAD = """# Clustering on Spark: passes, bytes, memory, balance, a peer

Made by `python benchmarks/spark.py table` from spark.jsonl; do not edit. Spark ran with two \
threads (`local[2]`) on one machine, in a session that had run a small job before; best of three \
rounds for `passes` and of one for the others. The local engine ran in the same process, with two \
threads. On one machine Spark cannot be faster: these figures say what a pass costs, not what a \
cluster wins.
"""

MIB = 2**20
Lines = Mapping[str, Line]


def write_table(results: Path) -> None:
    """Write the Markdown beside the JSONL file."""
    newest = {name_of(line): line for line in read_lines(results) if not line.get("scale")}
    sections = [
        HEAD,
        "## Bars\n",
        bars(every_bar(newest)),
        "## Runs\n",
        runs(newest),
        "Seconds of the phases:\n",
        phases(newest),
        "## Points that an exact run fetches\n",
        needed(newest),
        *cost_tables(newest),
    ]
    results.with_suffix(".md").write_text("\n".join(sections))


def name_of(line: Line) -> str:
    """A case with what tells its lines apart."""
    more = [line.get("data"), line.get("rho"), line.get("driver_limit"), line.get("n_clusters")]
    return " ".join(str(each) for each in (line["task"], *more) if each is not None)


def quotient(line: Line | None, above: str, below: str) -> float | None:
    """One figure of a line over another."""
    return None if line is None else line[above] / line[below]


def every_bar(newest: Lines) -> list[Bar]:
    """The bars; what is missing was not measured."""
    passes, peer, balance = newest.get("passes"), newest.get("peer"), newest.get("balance")
    here = newest.get(f"memory 0.01 {2 << 30}")
    by_tasks = newest.get(f"memory 0.01 {1 << 20}")
    bytes_a_cell = None
    if passes is not None:
        told = passes["statistics"]
        bytes_a_cell = told["shuffle_bytes"] / told["shuffled_cells"]
    rows = [
        Bar(
            "counting, shuffle and solving, over a read that passes rows through",
            quotient(passes, "solving_seconds", "read_seconds"),
            most=3,
            scale=1,
        ),
        Bar(
            "labelling with the writing, over a write that passes rows through",
            quotient(passes, "labelling_seconds", "write_seconds"),
            most=2,
            scale=1,
        ),
        Bar("bytes shuffled, a cell and task", bytes_a_cell, most=26, scale=1),
        Bar(
            "driver's peak, bytes a cell, cells collected",
            None if here is None else here["driver_bytes_a_cell"],
            most=40,
            scale=1,
        ),
        Bar(
            "driver's peak, bytes a cell, cells with tasks",
            None if by_tasks is None else by_tasks["driver_bytes_a_cell"],
            most=40,
            scale=1,
        ),
        *(
            Bar(f"a worker's own memory, MiB, {words}", mebibytes(line), most=64, scale=1)
            for words, line in (("cells collected", here), ("cells with tasks", by_tasks))
        ),
        Bar(
            "points of the fullest of 64 tasks, over the mean",
            None if balance is None else balance["points_by_hash"],
            most=1.3,
            scale=1,
        ),
        Bar(
            "times as fast as joins of DataFrames, with the labelling",
            None
            if peer is None
            else peer["join_seconds"] / (peer["known_seconds"] + peer["labelling_seconds"]),
            least=10,
            scale=1,
        ),
    ]
    for name, line in newest.items():
        if "equal" in line:
            rows.append(Bar(f"{name}: labels are the local engine's", line["equal"], 1, scale=1))
    return rows


def mebibytes(line: Line | None) -> float | None:
    return None if line is None else line["worker_bytes"] / MIB


def runs(newest: Lines) -> str:
    """One row for each run."""
    head = [
        "run", "points", "cells", "undecided", "fetched", "shuffled", "labels known",
        "labelled", "local engine",
    ]  # fmt: skip
    return table(head, (row_of(name, line) for name, line in newest.items() if told_of(line)))


def told_of(line: Line) -> bool:
    return "statistics" in line and "cells" in line["statistics"]


def row_of(name: str, line: Line) -> list[str]:
    told = line["statistics"]
    exact = "undecided_share" in told
    local = line.get("local_seconds")
    return [
        name,
        f"{line['n']:,}",
        f"{told['cells']:,}",
        f"{100 * told['undecided_share']:.1f} %" if exact else "",
        f"{100 * told['fetched_share']:.1f} %" if exact else "",
        f"{told['shuffle_bytes'] / MIB:,.0f} MiB",
        f"{line['known_seconds']:.1f} s",
        f"{line['labelling_seconds']:.1f} s",
        "" if local is None else f"{local:.2f} s",
    ]


def needed(newest: Lines) -> str:
    """Shares of cells and points, by the size of the cells."""
    rows = [
        [
            line["data"],
            f"{line['rho']:g}",
            f"{line['cells']:,}",
            f"{100 * line['undecided_share']:.1f} %",
            f"{100 * line['fetched_share']:.1f} %",
        ]
        for line in newest.values()
        if line["task"] == "needed"
    ]
    return table(["10⁶ points", "diagonal over eps", "cells", "undecided", "fetched"], rows)


def phases(newest: Lines) -> str:
    """Seconds of every phase of every run."""
    shown = {name: line["statistics"]["seconds"] for name, line in newest.items() if told_of(line)}
    names = list(dict.fromkeys(phase for seconds in shown.values() for phase in seconds))
    rows = [
        [name, *(f"{seconds[each]:.1f}" if each in seconds else "" for each in names)]
        for name, seconds in shown.items()
    ]
    return table(["run", *names], rows)
