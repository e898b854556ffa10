"""Benchmark of the audit of predictions made elsewhere: memory, time, and what stands apart.

    python benchmarks/audit_memory.py matrix       200,000 rows × 5,000 classes, a file of 4 GB
    python benchmarks/audit_memory.py neighbours   50,000 embeddings of 128 numbers
    python benchmarks/audit_memory.py outliers     foreign rows among ordinary ones
    python benchmarks/audit_memory.py table        results/audit_memory.jsonl → …/audit_memory.md

Memory is the peak of a fresh process, and what of it came after the imports. Pages of a file that
are mapped count. Every call measures anew and appends its lines; the newest line of a case counts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cells import keep, read_lines
from tables import table

RESULTS = Path(__file__).parent / "results" / "audit_memory.jsonl"
ROWS, CLASSES, NOISE = 200_000, 5_000, 0.1
BAR_MIB = 1024
EMBEDDINGS, WIDTH = 50_000, 128
ORDINARY, FOREIGN = 8_000, 160

HEAD = """# The audit of predictions made elsewhere: memory, time, outliers

Made by `python benchmarks/audit_memory.py table` from audit_memory.jsonl; do not edit.

"""


# ---------------------------------------------------------------------- matrix
def matrix(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The program, on a matrix that is larger than it may hold."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        write_matrix(Path(folder))
        figures = in_its_own_process("audit", folder)
        yield {"case": f"{ROWS:,} × {CLASSES:,} float32", **figures, "bar_mib": BAR_MIB}


def write_matrix(folder: Path) -> None:
    """Probabilities of .5 to 1 for a class, the rest even; a tenth of the labels are another."""
    random = np.random.default_rng(0)
    true = random.integers(0, CLASSES, ROWS)
    shift = random.integers(1, CLASSES, ROWS)
    labels = np.where(random.random(ROWS) < NOISE, (true + shift) % CLASSES, true)
    np.save(folder / "labels.npy", labels)
    sure = random.uniform(0.5, 1.0, ROWS).astype(np.float32)
    stored = np.lib.format.open_memmap(
        folder / "probabilities.npy", mode="w+", dtype=np.float32, shape=(ROWS, CLASSES)
    )
    for start in range(0, ROWS, 1000):
        rows = np.arange(start, start + 1000)
        block = np.repeat((1 - sure[rows, None]) / (CLASSES - 1), CLASSES, axis=1)
        block[np.arange(1000), true[rows]] = sure[rows]
        stored[rows] = block
    stored.flush()


def audit(folder: str) -> dict[str, Any]:
    """The command, in this process; seconds, memory and what it found."""
    import pyarrow.parquet  # noqa: F401
    from typer.testing import CliRunner

    import thresher.audit.table  # noqa: F401
    from thresher.cli.app import app

    before, started = peak_mib(), time.perf_counter()
    files = {"probabilities": "probabilities.npy", "labels": "labels.npy", "out": "out.parquet"}
    options = [word for name, file in files.items() for word in (f"--{name}", f"{folder}/{file}")]
    done = CliRunner().invoke(app, ["audit", *options, "--json"], catch_exceptions=False)
    found = json.loads(done.stdout)
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "peak_mib": round(peak_mib(), 1),
        "above_imports_mib": round(peak_mib() - before, 1),
        "label_issues": found["n_label_issues"],
        "torch_imported": "torch" in sys.modules,
    }


# ---------------------------------------------------------------------- neighbours
def neighbours(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Votes, outliers and near-duplicates, which compare every row with every other."""
    figures = in_its_own_process("embeddings")
    yield {"case": f"{EMBEDDINGS:,} embeddings of {WIDTH} numbers", **figures}


def embeddings() -> dict[str, Any]:
    """The function, in this process."""
    from thresher.audit import from_embeddings

    random = np.random.default_rng(0)
    labels = random.integers(0, 100, EMBEDDINGS)
    centres = random.normal(size=(100, WIDTH)).astype(np.float32)
    features = centres[labels] + random.normal(size=(EMBEDDINGS, WIDTH)).astype(np.float32)
    before, started = peak_mib(), time.perf_counter()
    from_embeddings(features, labels)
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "above_imports_mib": round(peak_mib() - before, 1),
        "input_mib": round(features.nbytes / 2**20, 1),
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
    }


# ---------------------------------------------------------------------- outliers
def outliers(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """How many foreign rows are marked, and how many ordinary ones by mistake."""
    from thresher.audit.features import is_outlier, nearest_neighbours, outlier_score

    for name, ordinary, foreign in foreign_rows():
        alone = is_outlier(outlier_score(nearest_neighbours(ordinary)))
        marked = is_outlier(outlier_score(nearest_neighbours(np.concatenate([ordinary, foreign]))))
        yield {
            "case": name,
            "found": round(float(marked[len(ordinary) :].mean()), 3),
            "by_mistake": round(float(marked[: len(ordinary)].mean()), 4),
            "by_mistake_alone": round(float(alone.mean()), 4),
        }


def foreign_rows() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Ordinary and foreign rows: pixels, features of a network, and numbers."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    random = np.random.default_rng(0)
    digits = load_digits().data.astype(np.float32)
    shuffled = digits[:40][:, random.permutation(64)]
    yield "digits, pixels; shuffled pixels", digits, shuffled
    folder = os.environ.get("THRESHER_DATA")
    if not folder:
        print("THRESHER_DATA names no folder: digits alone", file=sys.stderr)
        return
    fashion, labels = pixels(Path(folder) / "fashion_mnist" / "fashion_mnist_20k.npz", ORDINARY)
    mnist, _ = pixels(Path(folder) / "mnist" / "mnist_20k.npz", FOREIGN)
    yield "Fashion-MNIST, pixels; MNIST", fashion, mnist
    labels = np.where(random.random(ORDINARY) < 0.2, random.integers(0, 10, ORDINARY), labels)
    both = np.concatenate([fashion, mnist])
    network = MLPClassifier((256, 128), max_iter=8, random_state=0)
    network.fit(both, np.concatenate([labels, random.integers(0, 10, FOREIGN)]))
    for weights, bias in list(zip(network.coefs_, network.intercepts_, strict=True))[:-1]:
        both = np.maximum(both @ weights + bias, 0)
    yield "Fashion-MNIST, last layer of an MLP; MNIST", both[:ORDINARY], both[ORDINARY:]


def pixels(path: Path, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The first training images as numbers in 0..1, and their labels."""
    with np.load(path) as stored:
        images = stored["train_images"][:rows].reshape(rows, -1).astype(np.float32) / 255
        return images, stored["train_labels"][:rows]


# ---------------------------------------------------------------------- processes
def peak_mib() -> float:
    """The most memory that this process had.

    Not ru_maxrss: that survives exec, so that a process starts with the peak of the one that
    started it, which has just written 4 GB.
    """
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def in_its_own_process(*arguments: str) -> dict[str, Any]:
    """Figures of a fresh process, whose memory holds nothing else."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "inside", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


# ---------------------------------------------------------------------- the command
TASKS = {"matrix": matrix, "neighbours": neighbours, "outliers": outliers}


def write_table(results: Path) -> None:
    """Write the Markdown beside the JSONL file."""
    lines = list({(line["task"], line["case"]): line for line in read_lines(results)}.values())
    rows = [cells for line in lines for cells in ROWS_OF[line["task"]](line)]
    results.with_suffix(".md").write_text(
        HEAD + table(["case", "figure", "thresher", "required", ""], rows)
    )


def matrix_rows(line: dict[str, Any]) -> list[list[str]]:
    met = "met" if line["above_imports_mib"] < line["bar_mib"] else "**missed**"
    return [
        [line["case"], "MiB at the peak, above the imports", f"{line['above_imports_mib']:.0f}",
         f"< {line['bar_mib']}", met],
        ["", "s", f"{line['seconds']}", "", ""],
    ]  # fmt: skip


def neighbours_rows(line: dict[str, Any]) -> list[list[str]]:
    words = f"{line['above_imports_mib']:.0f} (input {line['input_mib']:.0f})"
    return [
        [line["case"], "MiB at the peak, above imports and input", words, "", ""],
        ["", f"s, {line['threads']} threads", f"{line['seconds']}", "", ""],
    ]


def outliers_rows(line: dict[str, Any]) -> list[list[str]]:
    return [
        [line["case"], "foreign rows marked, %", f"{100 * line['found']:.0f}", "", ""],
        ["", "ordinary rows marked, %", f"{100 * line['by_mistake']:.1f}", "", ""],
        ["", "the same without foreign rows, %", f"{100 * line['by_mistake_alone']:.1f}", "", ""],
    ]


ROWS_OF = {"matrix": matrix_rows, "neighbours": neighbours_rows, "outliers": outliers_rows}


def main() -> int:
    """Measure, print and keep; or write the table."""
    if sys.argv[1:2] == ["inside"]:
        name, *rest = sys.argv[2:]
        print(json.dumps(audit(*rest) if name == "audit" else embeddings()))
        return 0
    options = parse()
    if options.task == "table":
        write_table(options.results)
        return 0
    keep(options.task, TASKS[options.task](options), {}, options.results)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=[*TASKS, "table"])
    parser.add_argument("--folder", type=Path, help="where the files are made (a temporary folder)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSONL file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
