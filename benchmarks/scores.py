"""Benchmark of the scores of a label: which one puts the wrong labels first, from one training.

    python benchmarks/scores.py run      results/scores.jsonl: every score on every set, three seeds
    python benchmarks/scores.py table    results/scores.jsonl → scores.md

Average precision of "the label is wrong", the most suspicious row first. All scores of a cell come
from one training; those from features take what the network's last layer saw at the end. Finished
cells are kept and skipped the next time. The data are read from the folder in the variable
THRESHER_DATA.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from cells import Cell, Line, grid_status, newest, read_lines
from numpy.typing import NDArray
from tables import Lines, table

from thresher.bench.evaluation import ranking

RESULTS = Path(__file__).parent / "results" / "scores.jsonl"
DATA = (  # data, noise, epochs
    ("letter", "symmetric 20 %", 40),
    ("letter", "class-dependent 20 %", 40),
    ("fashion", "instance-dependent 30 %", 30),
    ("fashion", "pair 30 %", 30),
    ("digits", "symmetric 40 %", 30),
    ("magic", "symmetric 20 %", 30),
    ("segment", "class-dependent 20 %", 30),
    ("hausa", "real", 30),
    ("sign", "symmetric 30 %", 30),
    ("cifar", "worse", 16),
    ("cifar", "aggre", 16),
)
METHODS = ("auto", "standard")
CIFAR_ROWS = 10_000
DEFAULT = "label score"

HEAD = """# Scores of a label

Made by `python benchmarks/scores.py table` from scores.jsonl; do not edit. Average precision of \
"the label is wrong" in percent, one training for all scores of a row, mean of the seeds {seeds}. \
The label score is the default: ln((P[given] + .03) / (P[rival] + .03)) of mean probabilities.
"""

Floats = NDArray[np.floating[Any]]


def main() -> int:
    """Measure what is missing, or write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=["run", "table"])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--data", help="some of the data sets, separated by commas")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread (2)")
    parser.add_argument("--fresh", action="store_true", help="compute finished cells again")
    options = parser.parse_args()
    if options.task == "table":
        write_table()
        return 0
    folder = os.environ.get("THRESHER_DATA")
    if folder is None:
        print("Set THRESHER_DATA to the folder of the data sets.", file=sys.stderr)
        return 2
    wanted = options.data.split(",") if options.data else None
    cells: list[Cell] = [
        {"task": "scores", "data": data, "noise": noise, "method": method, "epochs": epochs,
         "seed": int(seed)}
        for seed in options.seeds.split(",")
        for data, noise, epochs in DATA
        if wanted is None or data in wanted
        for method in METHODS
    ]  # fmt: skip
    compute = partial(measure, folder=Path(folder))
    return grid_status(cells, compute, RESULTS, workers=options.workers, fresh=options.fresh)


# ---------------------------------------------------------------------- one cell
def measure(cell: Cell, *, folder: Path) -> list[Line]:
    """Train once, and rank the rows by every score."""
    from noise_data import load_problem
    from one_run import audited_run

    rows = CIFAR_ROWS if cell["data"] == "cifar" else None
    problem = load_problem(folder, cell["data"], cell["noise"], cell["seed"], rows)
    run = audited_run(
        problem.samples, method=cell["method"], epochs=cell["epochs"], seed=cell["seed"]
    )
    found = {}
    for name, score in scores_of(run).items():
        known = np.where(np.isnan(score), np.inf, score)  # a row without a score comes last
        found[name] = round(ranking(problem.bad, np.nan_to_num(known, posinf=1e9))["ap"], 5)
    return [{"scores": found}]


def scores_of(run: Any) -> dict[str, Floats]:
    """Every score, high = likely right."""
    from thresher.audit import scores
    from thresher.audit.features import nearest_neighbours, neighbour_agreement, ridge_margin
    from thresher.training.features import last_layer_inputs
    from thresher.training.predict import as_tensor

    record, verdicts, job = run.record, run.verdicts, run.job
    given, rival = verdicts.p_given, verdicts.p_suggested
    visits = record.visits
    features = last_layer_inputs(
        job.model.network,
        as_tensor(job.samples.inputs),
        job.model.preparation,
        classes=len(record.classes),
    )
    label = verdicts.label_score
    ridge = ridge_margin(features, record.labels, len(record.classes))
    near = nearest_neighbours(features)
    return {
        DEFAULT: label,
        "its floor at .001": scores.label_score(given, rival, 0.001),
        "its floor at .3": scores.label_score(given, rival, 0.3),
        "plain margin of P": scores.normalised_margin(given, rival),
        "P[given]": given,
        "area under the margin": scores.area_under_margin(record.margin_sum, visits),
        "confidence": scores.confidence(record.given_sum, visits),
        "mean loss": -scores.mean_loss(record.loss_sum, visits),
        "correctness": scores.correctness(record.correct, visits),
        "variability": -scores.variability(record.given_sum, record.given_square_sum, visits),
        "forgetting": -scores.forgetting_events(record.forgetting, record.correct, visits),
        "ridge head on features": ridge,
        "neighbours' labels": neighbour_agreement(record.labels, near),
        "ranks of label score and ridge": scores.rank_ensemble(label, ridge),
    }


# ---------------------------------------------------------------------- the table
def write_table() -> None:
    """Write the Markdown beside the JSONL file."""
    lines = Lines(tuple(newest(read_lines(RESULTS))))
    seeds = ", ".join(str(seed) for seed in sorted(lines.distinct("seed")))
    sections = [HEAD.format(seeds=seeds)]
    for method in METHODS:
        sections += [f"## Trained by `{method}`\n", of_method(lines.where(method=method))]
    RESULTS.with_suffix(".md").write_text("\n".join(sections))


def of_method(lines: Lines) -> str:
    """A row a score, with how far it is behind the best of a set, on average and at most."""
    sets = [(data, noise) for data, noise, _ in DATA if lines.where(data=data, noise=noise).lines]
    names = list(lines.lines[0]["scores"])

    def of(name: str, where: tuple[str, str]) -> float:
        """Mean over the seeds."""
        here = lines.where(data=where[0], noise=where[1])
        return mean(line["scores"][name] for line in here.lines)

    best = {where: max(of(name, where) for name in names) for where in sets}
    behind = {name: [best[where] - of(name, where) for where in sets] for name in names}
    rows = [
        [name, *(f"{100 * of(name, where):.1f}" for where in sets),
         f"{100 * mean(lost):.1f}", f"{100 * max(lost):.1f}"]
        for name, lost in behind.items()
    ]  # fmt: skip
    return table(["score", *headings(lines, sets), "behind, mean", "behind, most"], rows)


def headings(lines: Lines, sets: list[tuple[str, str]]) -> list[str]:
    """The sets; of those that have not as many seeds as the others, which."""
    seeds = [sorted(lines.where(data=data, noise=noise).distinct("seed")) for data, noise in sets]
    most = max(map(len, seeds))
    return [
        f"{data}, {noise}"
        + ("" if len(found) == most else f" (seed {', '.join(map(str, found))} alone)")
        for (data, noise), found in zip(sets, seeds, strict=True)
    ]


if __name__ == "__main__":
    sys.exit(main())
