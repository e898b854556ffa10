"""What a review is worth: the first suspects are decided as the true labels say, and trained again.

    python benchmarks/corrected.py          CIFAR-10N, 10,000 images, `worse` and `aggre` (an hour)
    python benchmarks/corrected.py table    results/corrected.jsonl → results/corrected.md

Somebody who makes no mistake looks at the most suspect samples, in the order of the audit; then the
network is trained anew with these decisions. Beside it: what applying every suggestion would do to
the labels, which nobody looks at.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from cells import Line, append, newest, read_lines
from noise_data import Problem, load_problem
from tables import table

import thresher
from thresher.decisions import Decided, DecisionLog

RESULTS = Path(__file__).parent / "results" / "corrected.jsonl"
ROWS, EPOCHS, SEED = 10_000, 16, 0
DECIDED = (500, 2000)


def main() -> int:
    """Measure, or write the page."""
    if sys.argv[1:] == ["table"]:
        write_page(newest(read_lines(RESULTS)), RESULTS.with_suffix(".md"))
        return 0
    folder = os.environ.get("THRESHER_DATA")
    if folder is None:
        print("Set THRESHER_DATA to the folder of the data sets.", file=sys.stderr)
        return 2
    for noise in ("worse", "aggre"):
        problem = load_problem(Path(folder), "cifar", noise, SEED, ROWS)
        for line in measured(problem):
            cell = {"task": "corrected", "data": "cifar", "noise": noise, "rows": ROWS}
            append(RESULTS, [{**cell, "epochs": EPOCHS, "seed": SEED, **line}])
            print(line, flush=True)
    return 0


def measured(problem: Problem) -> list[Line]:
    """One line for the first run and one for every number of decisions."""
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as place:
        first = trained(problem, Path(place) / "first")
        audit = pq.read_table(first.run.audit).to_pandas()
        true = np.array(problem.samples.classes)[problem.truth.labels]
        bad = audit["given_label"].to_numpy() != true
        flagged = audit["is_label_issue"].to_numpy()
        applied = np.where(flagged, audit["suggested_label"], audit["given_label"]) != true
        lines.append(
            {
                "variant": "no decisions",
                **figures(problem, first),
                "wrong": float(bad.mean()),
                "wrong_after_all_suggestions": float(applied.mean()),
                "wrong_after_dropping": float(bad[~flagged].mean()),
            }
        )
        order = np.argsort(audit["rank"].fillna(np.inf).to_numpy(), kind="stable")
        for count in DECIDED:
            rows = order[:count]
            with DecisionLog(first.run.decisions) as log:
                log.append(decision(audit.iloc[row], true[row]) for row in rows)
            again = trained(problem, Path(place) / str(count), decisions=first.run.path)
            mended = bad.copy()
            mended[rows] = False
            lines.append(
                {
                    "variant": f"{count:,} decided",
                    **figures(problem, again),
                    "wrong": float(mended.mean()),
                    "found": float(bad[rows].mean()),
                }
            )
    return lines


def trained(problem: Problem, out: Path, **settings: Any) -> thresher.FitResult:
    """One run, as anybody would start it."""
    samples = problem.samples
    names = np.array(samples.classes)[samples.labels]
    return thresher.fit(
        (samples.inputs, names), epochs=EPOCHS, seed=SEED, device="cpu", out=out, **settings
    )


def figures(problem: Problem, result: thresher.FitResult) -> Line:
    """Accuracy on clean test labels, and what the run says of its own."""
    return {
        "test_accuracy": result.model.accuracy(problem.truth.test),
        "flagged": result.summary["n_label_issues"] / result.summary["n"],
        "rate_estimate": result.summary["noise_rate_estimate"],
    }


def decision(row: Any, true: str) -> Decided:
    """What somebody says who knows."""
    if row.given_label == true:
        return Decided(row.sample_id, "keep", true)
    if row.suggested_label == true:
        return Decided(row.sample_id, "accept", true)
    return Decided(row.sample_id, f"other:{true}", true)


def write_page(lines: list[Line], path: Path) -> None:
    """The page of results."""
    rows = [
        [
            f"{line['noise']}, {line['variant']}",
            percent(line["wrong"]),
            percent(line.get("found")),
            percent(line["test_accuracy"]),
            percent(line["rate_estimate"]),
        ]
        for line in lines
    ]
    blind = [
        [
            line["noise"],
            percent(line["wrong"]),
            percent(line["wrong_after_all_suggestions"]),
            percent(line["wrong_after_dropping"]),
        ]
        for line in lines
        if "wrong_after_all_suggestions" in line
    ]
    path.write_text(
        "# What a review is worth\n\nMade by `python benchmarks/corrected.py` and its `table`; do "
        f"not edit. CIFAR-10N, {ROWS:,} images, {EPOCHS} epochs, one seed. The most suspect "
        "samples are decided as the clean labels say, and the network is trained anew with these "
        "decisions (`thresher fit --decisions`). Test accuracy on 5,000 clean labels.\n\n"
        + table(
            ["", "wrong labels", "wrong among the decided", "test accuracy", "wrong, estimated"],
            rows,
        )
        + "\nWhat would come of the labels if nobody looked:\n\n"
        + table(["", "wrong labels", "all suggestions applied", "all suspects dropped"], blind)
    )


def percent(share: float | None) -> str:
    """In per cent."""
    return "–" if share is None else f"{100 * share:.1f} %"


if __name__ == "__main__":
    sys.exit(main())
