"""results/cluster.jsonl → results/cluster.md: the newest line of every case against its bar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cells import Line, read_lines
from tables import Bar, bars, table

__all__ = ["write_table"]

HEAD = """# Exact clustering: time, memory, peers

Made by `python benchmarks/cluster.py table` from cluster.jsonl; do not edit. Every contender ran \
in a process of its own with two threads, in turns with the others; seconds are the best of three \
rounds or more on the wall clock (of one, where a round takes more than a minute). Our first \
call in a process is not counted, see cold start. Memory is the peak above the input and the \
imports. Peers: `dbscan` 1.0.0 (Wang, Gu and Shun's C++ code), scikit-learn, `kmedoids`.
"""

#: Case → times as fast as `dbscan`, as scikit-learn, bytes a point.
DBSCAN_BARS: dict[str, tuple[float | None, float | None, float | None]] = {
    "spreader2d": (3, None, 100),
    "varying2d": (3, None, 100),
    "gaussians2d": (3, None, 100),
    "spreader3d": (2.5, None, 120),
    "gaussians3d": (2.5, None, 120),
    "spreader5d": (2, None, 60 + 16 * 5),
    "gaussians5d": (2, None, 60 + 16 * 5),
    "spreader7d": (2, None, 60 + 16 * 7),
    "gaussians7d": (2, None, 60 + 16 * 7),
    "clicks": (3, 5, None),
    "embeddings": (None, 2, None),
    "taxi50": (3, None, None),
    "taxi200": (3, None, None),
    "taxi-part": (None, None, None),
    "shoreline": (3, None, 100),
    "cube": (None, None, 80),
    "fine-cube": (None, None, 120),
    "spots": (None, None, 100),
}
TEN_SECONDS = ("cube", "fine-cube")
SCALING_BARS = {
    "gaussians2d": 1.7,
    "gaussians3d": 1.7,
    "gaussians5d": 1.7,
    "gaussians7d": 1.7,
    "shoreline": 1.6,
}
EMBEDDINGS_MIB = MEDOIDS_MIB = 300
MEDOIDS_SECONDS = 10
RATIO_BARS = {
    "medoids-plane, k = 10": 1.001,
    "medoids-counters, k = 10": 1.035,
    "medoids-counters, k = 25": 1.035,
    "medoids-counters, k = 50": 1.035,
}
COLD_SECONDS = 1.0

BEGIN, END = "<!-- clustering: begin -->", "<!-- clustering: end -->"

Cases = Mapping[str, Line]


def write_table(results: Path) -> None:
    """Write the Markdown beside the JSONL file."""
    measured = (line for line in read_lines(results) if not line.get("small"))
    newest = {line["case"]: line for line in measured}
    clustered = [newest[name] for name in DBSCAN_BARS if name in newest]
    sections = [
        HEAD,
        circumstances(newest.values()) + "\n",
        "## Bars\n",
        bars(every_bar(newest)),
        "## DBSCAN\n",
        times(clustered),
        "Bytes a point at the peak, above the input; what the rows of the table found:\n",
        found(clustered),
        "## Agreement\n",
        "Against ours on the same points. Core points lost or gained are no matter of taste: "
        "DBSCAN's core points, clusters of core points and noise are unique.\n",
        agreement(clustered),
        "## k-medoids\n",
        quality(newest),
        "## Cold start\n",
        "Seconds in a fresh process: import, first call, second call; nothing compiled yet, and "
        "all of it in the cache.\n",
        cold(line for line in newest.values() if line["task"] == "cold"),
    ]
    results.with_suffix(".md").write_text("\n".join(sections))
    show_in_readme(times(clustered))


def show_in_readme(text: str) -> None:
    """Put a table between the marks of the README beside this file."""
    path = Path(__file__).with_name("README.md")
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    path.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")


def circumstances(lines: Iterable[Line]) -> str:
    """The machine, and what else it had to do."""
    lines = list(lines)
    if not lines:
        return "Nothing is measured yet."
    machines = ", ".join(sorted({line["machine"] for line in lines}))
    busiest = max(line["load"] for line in lines)
    return f"Measured on {machines}; tasks waiting or running before a case: up to {busiest:.1f}."


# ---------------------------------------------------------------------- bars
def every_bar(newest: Cases) -> list[Bar]:
    """The bars in the order of the tables; what is missing was not measured."""
    rows: list[Bar] = []
    for name, (dbscan, sklearn, size) in DBSCAN_BARS.items():
        line = newest.get(name)
        if dbscan is not None:
            rows.append(faster(name, line, "dbscan", dbscan))
        if sklearn is not None:
            rows.append(faster(name, line, "scikit-learn", sklearn))
        if size is not None:
            rows.append(Bar(f"{name}: bytes a point", bytes_a_point(line), most=size, scale=1))
        if line is not None and "same_partition" in line["runs"].get("scikit-learn", {}):
            words = f"{name}: rows with another core mark or noise than scikit-learn's"
            rows.append(Bar(words, unlike(line["runs"]["scikit-learn"]), most=0, scale=1))
    for name in TEN_SECONDS:
        seconds = figure(newest.get(name), "thresher", "seconds")
        rows.append(Bar(f"{name}: seconds", seconds, most=10, scale=1))
    embeddings = figure(newest.get("embeddings"), "thresher", "peak_mib")
    rows.append(Bar("embeddings: MiB above the input", embeddings, most=EMBEDDINGS_MIB, scale=1))
    for name, least in SCALING_BARS.items():
        measured = quotient(newest.get(name), "thresher, 1 thread", "thresher")
        rows.append(Bar(f"{name}: 2 threads over 1, times as fast", measured, least, scale=1))
    million = newest.get("medoids")
    for words, measured, most in (
        ("seconds", figure(million, "thresher", "seconds"), MEDOIDS_SECONDS),
        ("MiB above the input", figure(million, "thresher", "peak_mib"), MEDOIDS_MIB),
    ):
        rows.append(Bar(f"KMedoids, 10⁶ × 13, k = 50: {words}", measured, most=most, scale=1))
    for name, ratio_bar in RATIO_BARS.items():
        line = newest.get(name, {"ratios": {}})
        ratio, clara = line["ratios"].get("thresher"), best_clara(line)
        above = None if ratio is None else ratio - 1
        rows.append(Bar(f"{name}: φ above full FasterPAM's, %", above, most=ratio_bar - 1))
        below = None if ratio is None or clara is None else 1 - ratio / clara
        rows.append(Bar(f"{name}: φ below the better CLARA's, %", below, least=0))
    for line in newest.values():
        if line["task"] == "cold":
            words = f"{line['case']}: seconds of the first call beyond the second, cached"
            rows.append(Bar(words, beyond(line["cached"]), most=COLD_SECONDS, scale=1))
    return rows


def faster(name: str, line: Line | None, peer: str, least: float) -> Bar:
    words = f"{name}: times as fast as {peer}"
    return Bar(words, quotient(line, peer, "thresher"), least, scale=1)


def figure(line: Line | None, contender: str, name: str) -> float | None:
    """A figure of a contender, where it was measured."""
    found = None if line is None else line["runs"].get(contender, {}).get(name)
    return None if found is None else float(found)


def quotient(line: Line | None, above: str, below: str) -> float | None:
    """Seconds of one contender over those of another."""
    first, second = figure(line, above, "seconds"), figure(line, below, "seconds")
    return None if first is None or second is None else first / second


def bytes_a_point(line: Line | None, contender: str = "thresher") -> float | None:
    """Peak memory above the input, by point."""
    peak = figure(line, contender, "peak_mib")
    return None if line is None or peak is None else peak * 2**20 / line["rows"]


def unlike(run: Mapping[str, Any]) -> float:
    """Rows that two exact programs could not differ in; all clusters at once count as one."""
    rows = run["core_lost"] + run["core_gained"] + run["noise_differs"]
    return float(rows + (not run["same_partition"]))


def best_clara(line: Line) -> float | None:
    """The smaller of the two CLARA ratios."""
    found = [ratio for name, ratio in line["ratios"].items() if name.startswith("CLARA")]
    return min(found) if found else None


def beyond(seconds: Mapping[str, Any]) -> float | None:
    """The first call's seconds beyond the second's."""
    return seconds["first"] - seconds["second"] if "first" in seconds else None


# ---------------------------------------------------------------------- tables
def times(lines: Iterable[Line]) -> str:
    """Seconds of every contender, and how many times as fast ours is."""
    rows = [
        [
            f"`{line['case']}`: {line['title']}",
            f"{line['rows']:,} × {line['dimension']}",
            f"{line['eps']:g}, {line['min_samples']}",
            seconds(line, "thresher"),
            seconds(line, "thresher, 1 thread"),
            seconds(line, "dbscan"),
            seconds(line, "scikit-learn"),
        ]
        for line in lines
    ]
    head = ["data", "n × d", "eps, min_samples", "thresher", "1 thread", "dbscan", "scikit-learn"]
    return table(head, rows)


def seconds(line: Line, contender: str) -> str:
    """Seconds, with the quotient to ours; or why there are none."""
    run = line["runs"].get(contender)
    if run is None:
        return "–"
    if "failed" in run:
        return str(run["failed"])
    words = f"{run['seconds']:.3g} s"
    return words if contender == "thresher" else f"{words} ({over(line, contender)})"


def over(line: Line, contender: str) -> str:
    ratio = quotient(line, contender, "thresher")
    return "–" if ratio is None else f"{ratio:.2f} ×"


def found(lines: Iterable[Line]) -> str:
    """Clusters, noise and core points of ours; memory of all."""
    rows = []
    for line in lines:
        run = line["runs"]["thresher"]
        counts = [
            f"{run[name]:,}" if name in run else "–" for name in ("clusters", "noise", "core")
        ]
        sizes = (bytes_a_point(line, name) for name in ("thresher", "dbscan", "scikit-learn"))
        rows.append(
            [
                f"`{line['case']}`",
                *counts,
                str(run.get("statistics", {}).get("engine", "–")),
                *("–" if size is None else f"{size:,.0f}" for size in sizes),
            ]
        )
    head = ["data", "clusters", "noise", "core points", "engine", "B a point", "dbscan"]
    return table([*head, "scikit-learn"], rows)


def agreement(lines: Iterable[Line]) -> str:
    """How far every contender is from ours."""
    rows = [
        [
            f"`{line['case']}`",
            name,
            *(f"{run[figure]:,}" for figure in ("clusters", "core_lost", "core_gained")),
            f"{run['noise_differs']:,}",
            "yes" if run["same_partition"] else "**no**",
        ]
        for line in lines
        for name, run in line["runs"].items()
        if "same_partition" in run
    ]
    head = ["data", "contender", "clusters", "core points lost", "gained"]
    return table([*head, "rows of noise that differ", "same clusters of core points"], rows)


def quality(newest: Cases) -> str:
    """φ of every contender over that of full FasterPAM."""
    rows = [
        [
            name,
            *(
                f"{line['ratios'][contender]:.4f}" if contender in line["ratios"] else "–"
                for contender in ("thresher", "CLARA 40 + 2k", "CLARA 100 + 5k")
            ),
        ]
        for name in RATIO_BARS
        if (line := newest.get(name)) is not None
    ]
    words = (
        "n = 10,000: φ over the best of five full FasterPAM runs, mean of ten seeds; CLARA takes "
        "the best of five samples of 40 + 2k and of 100 + 5k rows.\n"
    )
    return words + "\n" + table(["data", "thresher", "CLARA 40 + 2k", "CLARA 100 + 5k"], rows)


def cold(lines: Iterable[Line]) -> str:
    """Import and the first two calls."""
    rows = [
        [
            line["case"],
            f"{line['rows']:,}",
            *(
                "–" if "first" not in line[state] else words(line[state])
                for state in ("compiling", "cached")
            ),
        ]
        for line in lines
    ]
    return table(["case", "rows", "nothing compiled", "cached"], rows)


def words(start: Mapping[str, float]) -> str:
    return " / ".join(f"{start[name]:.2f}" for name in ("import", "first", "second"))
