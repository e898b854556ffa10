"""results/training.jsonl → results/training.md: the newest line of every case against its bar."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cells import Line, read_lines

__all__ = ["write_table"]

HEAD = """# The training loop: recording, throughput, memory

Made by `python benchmarks/training.py table` from training.jsonl; do not edit. Quotients are \
medians of paired alternations, A B A B …, with their quartiles. With one thread the processor \
time of the process is judged, as other work on the machine does not disturb it; with more, the \
wall clock. The data are random numbers of the stated shape, batches of 128, unless a line says \
otherwise.
"""


def write_table(results: Path) -> None:
    """Write the Markdown beside the JSONL file."""
    lines = list({(line["task"], line["case"]): line for line in read_lines(results)}.values())
    sections = [
        section(of(lines, task))
        for task, section in (
            ("recording", recording),
            ("loop", loop),
            ("audit", audit),
            ("scale", scale),
            ("checkpoint", checkpoint),
        )
        if of(lines, task)
    ]
    results.with_suffix(".md").write_text("\n".join([HEAD, *sections]))


def of(lines: Iterable[Line], task: str) -> list[Line]:
    return [line for line in lines if line["task"] == task]


# ---------------------------------------------------------------------- sections
def recording(lines: list[Line]) -> str:
    """Cost of the audit's columns; bytes a sample."""
    timed = [line for line in lines if "step_us" in line]
    rows = [
        [
            line["case"],
            step(line, "audit"),
            quotient(line, "audit/without"),
            quotient(line, "audit/blind"),
            f"≤ {line['bar']:.2f}",
            verdict(clocked(line, "audit/without")[1] <= line["bar"]),
            setting(line),
        ]
        for line in timed
    ]
    stored = [
        [
            f"k = {line['classes']}",
            f"{line['probabilities']:.0f}",
            f"{line['besides']:.0f}",
            f"≤ {line['bar']}",
            verdict(line["besides"] <= line["bar"]),
        ]
        for line in lines
        if "besides" in line
    ]
    return text(
        "## Recording",
        "`python benchmarks/training.py recording`: a step of standard training that records what "
        "the audit reads, over the same step with `audit=False`, and over one whose history "
        "observes nothing.",
        markdown(
            "network; µs a step; over audit=False; over observing nothing; bar; met; setting", rows
        ),
        "Bytes a sample: the mean probabilities (all k, or the eight largest where N·k is large), "
        "and all other columns.",
        markdown("classes; probabilities; besides; bar; met", stored),
    )


def loop(lines: list[Line]) -> str:
    """Throughput of the loop, and of the loading alone."""
    trained = [
        [
            line["case"],
            step(line, "plain"),
            step(line, "ours"),
            quotient(line, "plain/ours"),
            quotient(line, "plain/audit"),
            f"≥ {line['bar']:.2f}",
            verdict(clocked(line, "plain/ours")[1] >= line["bar"]),
            setting(line),
        ]
        for line in lines
        if "plain/ours" in line
    ]
    loaded = [
        [
            line["case"],
            step(line, "loader"),
            step(line, "ours"),
            quotient(line, "loader/ours"),
            f"≥ {line['bar']:.0f}",
            verdict(clocked(line, "loader/ours")[1] >= line["bar"]),
            setting(line),
        ]
        for line in lines
        if "loader/ours" in line
    ]
    return text(
        "## Throughput of the loop",
        "`python benchmarks/training.py loop`: samples a second of thresher's loop with standard "
        "training, as a share of the shortest plain PyTorch loop on the same tensors, in the same "
        "order, with the same scaling, network and optimiser.",
        markdown(
            "network; plain µs a step; ours; share without audit; with audit; bar; met; setting",
            trained,
        ),
        "Loading alone, raw batches: `DataLoader(TensorDataset)` with its default collate over "
        "gathering by index.",
        markdown("data; DataLoader µs a batch; ours; times as fast; bar; met; setting", loaded),
    )


def audit(lines: list[Line]) -> str:
    """The whole of fit."""
    rows = [
        [
            line["case"],
            f"{line['seconds'][clock(line)]['with']:.2f}",
            f"{line['seconds'][clock(line)]['without']:.2f}",
            quotient(line, "with/without"),
            f"≤ {line['bar']:.2f}",
            verdict(clocked(line, "with/without")[1] <= line["bar"]),
            setting(line),
        ]
        for line in lines
    ]
    return text(
        "## The whole of fit",
        "`python benchmarks/training.py audit`: `thresher.fit` (method auto) with the audit, its "
        "table and its report, over `fit(audit=False)`.",
        markdown("data; s with; s without; with/without; bar; met; setting", rows),
    )


def scale(lines: list[Line]) -> str:
    """A million rows: time and memory."""
    rows = []
    for line in lines:
        seconds, bars = line["phase_seconds"], line["bar"]
        memory = line["peak_above_mib"] / line["input_mib"]
        rows.append(
            [
                line["case"],
                f"{line['seconds'] / 60:.1f} min",
                *(
                    f"{seconds.get(phase, 0.0):.1f}"
                    for phase in ("read", "plan", "train", "history", "audit.parquet", "report")
                ),
                verdict(seconds["audit.parquet"] <= bars["audit.parquet"]),
                f"{line['peak_above_mib']:.0f} MiB = {memory:.2f} × input",
                verdict(memory <= bars["memory"]),
                f"{100 * line['noise_rate_estimate']:.1f} %",
                threads(line["threads_used"]),
            ]
        )
    peaks = [
        [line["case"], *(f"{line['phase_peak_mib'].get(phase, 0):.0f}" for phase in PHASES)]
        for line in lines
    ]
    return text(
        "## A million embeddings",
        "`python benchmarks/training.py scale`: `thresher fit` in a fresh process on an "
        "uncompressed .npz; Gaussian classes, 10 % symmetric wrong labels. Seconds by phase; bars: "
        "audit.parquet ≤ 10 s, memory ≤ 2 × the input above what a small run leaves resident.",
        markdown(
            "data; all; read; plan; train; history; audit.parquet; report; met; "
            "peak memory above imports; met; noise rate found; setting",
            rows,
        ),
        "Most memory resident in each phase, MiB above imports (the mapped input counts).",
        markdown("data; " + "; ".join(PHASES), peaks),
    )


def checkpoint(lines: list[Line]) -> str:
    """What saving costs."""
    rows = [
        [
            line["case"],
            f"{line['mib']:.1f}",
            f"{1000 * max(line['seconds']):.0f}",
            f"{sum(line['seconds_between']) / len(line['seconds_between']):.0f}",
            f"{100 * line['share']:.2f} %",
            f"≤ {100 * line['bar']:.0f} %",
            verdict(line["share"] <= line["bar"]),
            threads(line["threads"]),
        ]
        for line in lines
    ]
    return text(
        "## Checkpoints",
        "`python benchmarks/training.py checkpoint`: the training stands still while it is saved "
        "(bytes, digest, sync to the disk); the part of the wall clock that this takes from one "
        "save to the next, as often as it is saved by default. The slowest of the saves is shown.",
        markdown(
            "network; MiB; ms a save; s between saves; part of the time; bar; met; setting", rows
        ),
    )


PHASES = (
    "read",
    "plan",
    "train",
    "checkpoints, within train",
    "history",
    "audit.parquet",
    "report",
)


# ---------------------------------------------------------------------- figures
def clock(line: Line) -> str:
    """The clock that is judged."""
    return "cpu" if line["threads"] == 1 else "wall"


def clocked(line: Line, name: str) -> list[float]:
    """Lower quartile, median, upper quartile of a quotient, by the clock that is judged."""
    found: list[float] = line[name][clock(line)]
    return found


def quotient(line: Line, name: str) -> str:
    low, middle, high = clocked(line, name)
    digits = 2 if middle > 1.5 else 3
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def step(line: Line, action: str) -> str:
    return f"{line['step_us'][clock(line)][action]:,}"


def verdict(met: bool) -> str:
    return "yes" if met else "**no**"


def setting(line: Line) -> str:
    return f"{threads(line['threads'])}, {clock(line)} time"


def threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


# ---------------------------------------------------------------------- Markdown
def markdown(head: str, rows: Sequence[Sequence[Any]]) -> str:
    titles = head.split("; ")
    table = [titles, ["---"] + ["---:"] * (len(titles) - 1), *rows]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in table)


def text(*paragraphs: str) -> str:
    return "\n\n".join(paragraphs) + "\n"
