"""Hausa news titles: real wrong labels of a text set, half of them, against cleanlab's workflow.

    python benchmarks/hausa.py           the comparison on the test titles → results/hausa.md
    python benchmarks/hausa.py choose    n-grams and dimensions, on the development titles

2,045 training titles of five topics, labelled by keyword rules that are wrong for half of them
(Hedderich et al., Transfer learning and distant supervision for multilingual transformer models,
EMNLP 2020). True labels are held by the evaluator alone. Everybody trains the same network on the
same features, those that `--text` makes by default; three seeds, one thread, two minutes. The set
is read from the folder in the variable THRESHER_DATA, or --data-folder.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cleanlab_workflow import SCORES, figures_of_workflow
from noise_data import Problem, Truth
from one_run import audited_run, figures_of_run
from tables import Bar, bars, difference, percent, plain, table

from thresher.data import ngrams, open_data, text
from thresher.keyed_random import keyed_seed

RESULTS = Path(__file__).parent / "results" / "hausa.md"
SEEDS = (0, 1, 2)
EPOCHS = 30  # the default of `thresher fit`
PEER = "cleanlab 5-fold"


def main() -> int:
    """Parse, and compare or choose."""
    options = parse()
    if options.data_folder is None:
        print("Set THRESHER_DATA to the folder of the data sets.", file=sys.stderr)
        return 2
    if options.task == "choose":
        choose(options.data_folder)
        return 0
    page = compare(options.data_folder)
    RESULTS.write_text(page)
    print(page)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", nargs="?", choices=["compare", "choose"], default="compare")
    folder = os.environ.get("THRESHER_DATA")
    parser.add_argument("--data-folder", type=Path, default=Path(folder) if folder else None)
    return parser.parse_args()


def titles(folder: Path, split: str) -> Problem:
    """Training titles with the labels of the rules, and the truth; `split` is "dev" or "test"."""
    train = pq.read_table(folder / "text" / "hausa_news_train.parquet")
    given = train.select(["text", "noisy_label"])
    samples = open_data(given, label="noisy_label", text=["text"])
    place = {name: number for number, name in enumerate(samples.classes)}
    true = np.array([place[name] for name in train["label"].to_pylist()], np.int64)
    held_out = pq.read_table(folder / "text" / "hausa_news_test.parquet")
    chosen = pa.array([each == split for each in held_out["split"].to_pylist()])
    test = open_data(
        held_out.filter(chosen), label="label", encoding=samples.encoding, classes=samples.classes
    )
    return Problem(samples, Truth(true, test))


# ---------------------------------------------------------------------- choosing
def choose(folder: Path) -> None:
    """Accuracy on the development titles, and on clean AG news, by n-grams and dimensions."""
    rows = []
    for (shortest, longest), dimensions in choices():
        ngrams.SHORTEST, ngrams.LONGEST = shortest, longest
        text.DIMENSIONS = dimensions
        problem = titles(folder, "dev")
        found = {
            method: [
                figures_of_run(
                    audited_run(problem.samples, method=method, epochs=EPOCHS, seed=seed), problem
                )["test_accuracy"]
                for seed in SEEDS
            ]
            for method in ("standard", "auto")
        }
        clean = ag_news(folder)
        run = audited_run(clean.samples, method="standard", epochs=EPOCHS, seed=0)
        found["AG news"] = [figures_of_run(run, clean)["test_accuracy"]]
        rows.append([f"{shortest}–{longest}", str(dimensions), *map(percent, found.values())])
        print(*rows[-1], sep="\t", file=sys.stderr)
    print(table(["n-grams", "dimensions", "standard", "auto", "AG news, standard"], rows))


def ag_news(folder: Path) -> Problem:
    """5,000 titles and descriptions with their true label, and 2,600 to test."""
    whole = pq.read_table(folder / "text" / "ag_news_7600.parquet")
    order = np.random.default_rng(keyed_seed(0, "AG news")).permutation(whole.num_rows)
    train, test = whole.take(pa.array(order[:5_000])), whole.take(pa.array(order[5_000:]))
    samples = open_data(train, label="label", text=["title", "description"])
    tested = open_data(test, encoding=samples.encoding, classes=samples.classes)
    return Problem(samples, Truth(samples.labels, tested))


def choices() -> Iterator[tuple[tuple[int, int], int]]:
    """What is compared: one thing is changed at a time."""
    for sizes in ((2, 5), (2, 4), (3, 5), (3, 6)):
        yield sizes, 128
    yield (2, 5), 64
    yield (2, 5), 256


# ---------------------------------------------------------------------- comparing
def compare(folder: Path) -> str:
    """The page of results: every seed of everybody, and the bars."""
    problem = titles(folder, "test")
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in SEEDS:
        for method in ("standard", "auto", "elr", "gce"):
            run = audited_run(problem.samples, method=method, epochs=EPOCHS, seed=seed)
            found.setdefault(method, []).append(figures_of_run(run, problem))
        for line in figures_of_workflow(problem, epochs=EPOCHS, seed=seed, early_stopping=True):
            best = max(line["scores"][score]["auroc"] for score in SCORES)
            name = f"{PEER}, {line['variant']}"
            found.setdefault(name, []).append(line | {"auroc": best})
        print(f"seed {seed} of {SEEDS} done", file=sys.stderr)
    shown = (("auroc", plain), ("ap", plain), ("precision", percent), ("test_accuracy", percent))
    rows = [
        [name, *(show([line[figure] for line in lines]) for figure, show in shown)]
        for name, lines in found.items()
    ]
    head = ["", "AUROC", "average precision", "precision of the verdicts", "test accuracy"]
    return PAGE.format(
        noise=100 * problem.bad.mean(),
        rows=len(problem.samples),
        tested=len(problem.truth.test),
        table=table(head, rows),
        bars=bars(list(requirements(found))),
    )


def requirements(found: dict[str, list[dict[str, Any]]]) -> Iterator[Bar]:
    """What `auto` is held to, of means over the seeds."""

    def over_seeds(name: str, figure: str) -> float:
        return mean(line[figure] for line in found[name])

    for variant in ("fixed epochs", "early-stopped"):
        peer = f"{PEER}, {variant}"
        yield Bar(
            f"AUROC of auto over that of {peer} (points)",
            difference(over_seeds("auto", "auroc"), over_seeds(peer, "auroc")),
            least=0.0,
        )
    yield Bar(
        "test accuracy of auto over that of standard (points)",
        difference(over_seeds("auto", "test_accuracy"), over_seeds("standard", "test_accuracy")),
        least=0.0,
    )


PAGE = """# Hausa news titles

Written by `python benchmarks/hausa.py`. {rows:,} titles, {noise:.1f} % of the labels wrong (keyword
rules, not drawn at random); {tested} test titles with their true label. Three seeds: mean
(smallest–largest). AUROC and average precision are those of finding the wrong labels; of cleanlab's
three scores, the best one is taken with hindsight. Its test accuracy is that of the training
without the rows it flags.

{table}
{bars}"""


if __name__ == "__main__":
    sys.exit(main())
