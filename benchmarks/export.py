"""Benchmark of the export: a corrected copy of a million rows, with ten thousand decisions.

    python benchmarks/export.py csv       10⁶ rows of ten numbers, a text in quotes and the label
    python benchmarks/export.py jsonl     the same as JSON lines
    python benchmarks/export.py parquet   the same as Parquet
    python benchmarks/export.py folders   10⁵ small images in ten class folders, as hard links

A run of one epoch comes first; what is timed is the whole command in a process of its own, its
imports included. Every call measures anew and appends its line; the newest line of a case counts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from cells import keep
from PIL import Image

import thresher
from thresher.decisions import Decided, DecisionLog

RESULTS = Path(__file__).parent / "results" / "export.jsonl"
ROWS, FEATURES, CLASSES, DECISIONS = 10**6, 10, 10, 10**4
IMAGES, SIDE = 10**5, 8
TURNS = 3
BAR = 10  # seconds
PROGRAM = "from thresher.cli import main; main()"


def rows() -> pa.Table:
    """A label that follows from the numbers, and a text that needs quotes."""
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, FEATURES)).round(4)
    label = np.abs(x[:, :2]).sum(1) * 3 // 1 % CLASSES
    columns = {f"x{number}": x[:, number] for number in range(FEATURES)}
    notes = pa.array([f'row {number}, "noted"' for number in range(ROWS)])
    names = pa.array([f"class {code:.0f}" for code in label])
    return pa.table({**columns, "note": notes, "label": names})


def write(case: str, path: Path) -> None:
    """The data of a case."""
    if case == "folders":
        random = np.random.default_rng(0)
        for number in range(IMAGES):
            folder = path / f"class{number % CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.bmp")
    elif case == "csv":
        pa.csv.write_csv(rows(), path)
    elif case == "parquet":
        pq.write_table(rows(), path)
    else:
        with path.open("w") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows().to_pylist())


def review(run: Path) -> None:
    """Decide every hundredth sample: accept, keep, exclude, unsure, by turns."""
    table = pq.read_table(run / "audit.parquet")
    chosen = np.arange(0, len(table), len(table) // DECISIONS)
    words = ("accept", "keep", "exclude", "unsure")
    decided = []
    for turn, row in enumerate(table.take(pa.array(chosen)).to_pylist()):
        word = words[turn % len(words)]
        label = {"accept": row["suggested_label"], "exclude": None}.get(word, row["given_label"])
        decided.append(Decided(row["sample_id"], word, label))
    with DecisionLog(run / "decisions.sqlite") as log:
        log.append(decided)


def measured(case: str, folder: Path) -> dict[str, Any]:
    """Seconds of the command, and the most memory that its process had."""
    data = folder / ("data" if case == "folders" else f"data.{case}")
    write(case, data)
    label = None if case == "folders" else "label"
    model = "mlp" if case == "folders" else "auto"
    thresher.fit(data, label=label, model=model, epochs=1, out=folder / "run")
    review(folder / "run")
    out = folder / ("out" if case == "folders" else f"out.{case}")
    arguments = ["export", str(folder / "run"), "--out", str(out), "--overwrite", "--json"]
    arguments += ["--link"] if case == "folders" else []
    seconds = []
    for _ in range(TURNS):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments], check=True, capture_output=True
        )
        seconds.append(time.perf_counter() - started)
    counts = json.loads(done.stdout)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    size = out.stat().st_size if out.is_file() else 0
    return {
        "case": case,
        "rows": counts["rows"],
        "changed": counts["changed"],
        "dropped": counts["dropped"],
        "seconds": round(float(np.median(seconds)), 2),
        "slowest": round(max(seconds), 2),
        "peak_mib": round(peak),
        "mib": round(size / 2**20),
        "bar": BAR,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=["csv", "jsonl", "parquet", "folders"])
    parser.add_argument("--folder", help="where the data are made; default: the system's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        load = round(os.getloadavg()[0], 1)
        keep("export", [measured(options.case, Path(folder))], {"load": load}, RESULTS)


if __name__ == "__main__":
    main()
