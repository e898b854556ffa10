"""Benchmark of the methods against wrong labels, and of the label audit.

    python benchmarks/noise.py toy         reference toy: accuracy of every method
    python benchmarks/noise.py geometries  the same at 20 % too, and on five other geometries
    python benchmarks/noise.py rates       reference toy: estimators of the noise rate
    python benchmarks/noise.py digits      the demo
    python benchmarks/noise.py vectors     letter, Fashion-MNIST: methods, audit, cleanlab
    python benchmarks/noise.py cifar       CIFAR-10N: the same (hours)
    python benchmarks/noise.py compare     five more sets: every method, cleanlab's workflow (hours)
    python benchmarks/noise.py gtsrb       traffic signs: recall of every class, `auto` and standard
    python benchmarks/noise.py factors     time of every method over that of standard training
    python benchmarks/noise.py table       results/noise.jsonl → noise.md, compare.md, audit.md

Finished cells are kept in results/noise.jsonl and skipped the next time. What is not shipped
with scikit-learn is read from the folder in the variable THRESHER_DATA, or --data-folder.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from cells import Cell, Line, grid_status, newest, read_lines

RESULTS = Path(__file__).parent / "results" / "noise.jsonl"
METHODS = (
    "standard",
    "auto",
    "elr",
    "gce",
    "sce",
    "co-teaching",
    "selfie",
    "jocor",
    "morph",
    "dividemix",
    "pes",
    "prestopping",
    "label-smoothing",
    "bootstrap",
    "mixup",
)
PEER = "cleanlab 5-fold"
VECTORS = {  # data → kinds of noise, epochs
    "letter": (("symmetric 20 %", "class-dependent 20 %", "none"), 40),
    "fashion": (("instance-dependent 30 %", "pair 30 %", "none"), 30),
}
CIFAR_ROWS, CIFAR_EPOCHS = 10_000, 16
COMPARED = {  # data → kinds of noise, epochs
    "digits": (("symmetric 40 %", "none"), 30),
    "magic": (("symmetric 20 %", "none"), 30),
    "segment": (("class-dependent 20 %", "none"), 30),
    "hausa": (("real", "none"), 30),
    "sign": (("symmetric 30 %", "none"), 30),
}
GTSRB_EPOCHS = 20
GEOMETRIES = (1, 2, 3, 4, 5)  # seeds of centres and layers, beside the toy's own


def main() -> int:
    """Parse, compute what is missing, and say whether all went well."""
    options = parse()
    if options.task == "table":
        from audit_table import LONG, write_audit
        from compare_table import write_comparison
        from noise_table import write_tables

        measured = newest(read_lines(options.results))
        factors = [line for line in measured if line["task"] == "factors"]
        everything = [line for line in measured if line["task"] != "factors"]
        # a long run is compared with folds that cost as much, and with nothing else
        lines = [line for line in everything if line.get("epochs") != LONG]
        write_tables(lines, factors, options.results.with_suffix(".md"))
        write_comparison(lines, options.results.with_name("compare.md"))
        write_audit(everything, options.results.with_name("audit.md"))
        return 0
    if options.task == "factors" and options.methods and options.results == RESULTS:
        print("Some of the methods would stand for all: name a file of their own with --results.",
              file=sys.stderr)  # fmt: skip
        return 2
    needs_data = options.task in ("vectors", "cifar", "compare", "gtsrb")
    if needs_data and options.data_folder is None:
        print("Set THRESHER_DATA to the folder of the data sets.", file=sys.stderr)
        return 2
    cells, compute = TASKS[options.task](options)
    if needs_data:
        compute = partial(compute, folder=options.data_folder)
    return grid_status(
        cells,
        compute,
        options.results,
        workers=1 if options.task == "factors" else options.workers,  # times, one after the other
        fresh=options.fresh,
    )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=[*TASKS, "table"])
    parser.add_argument("--seeds", type=numbers, help="such as 0,1,2 (default: these; cifar: 0)")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread (2)")
    parser.add_argument("--fresh", action="store_true", help="compute finished cells again")
    parser.add_argument("--methods", type=names, help="some of the methods, and 'cleanlab 5-fold'")
    parser.add_argument("--data", type=names, help="vectors, compare: some of the data sets")
    parser.add_argument("--rows", type=int, default=CIFAR_ROWS, help="cifar: training rows")
    parser.add_argument("--epochs", type=int, default=CIFAR_EPOCHS, help="cifar: epochs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSONL file")
    folder = os.environ.get("THRESHER_DATA")
    parser.add_argument("--data-folder", type=Path, default=Path(folder) if folder else None)
    options = parser.parse_args()
    if options.seeds is None:
        options.seeds = [0] if options.task == "cifar" else [0, 1, 2]
    return options


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


# ---------------------------------------------------------------------- grids
Grid = tuple[list[Cell], Callable[..., list[Line]]]


def toy_grid(options: argparse.Namespace) -> Grid:
    from toy_runs import METHODS as TOY_METHODS
    from toy_runs import TOLD

    cells: list[Cell] = [
        {"task": "toy", "data": "toy", "noise": noise, "rate": rate, "method": method,
         "schedule": schedule, "seed": seed}
        for seed in options.seeds
        for noise, rate in (("symmetric", 0.4), ("pair", 0.4), ("none", 0.0))
        for method in options.methods or TOY_METHODS
        for schedule in ("steps", "cosine")
        if noise != "none" or method not in TOLD  # of a rate of 0
    ]  # fmt: skip
    return cells, toy_cell


def geometries_grid(options: argparse.Namespace) -> Grid:
    from toy_reference import REFERENCE

    drawn = [
        *((None, seed) for seed in options.seeds),  # None: the toy's own
        *((geometry, 0) for geometry in GEOMETRIES),
    ]
    cells: list[Cell] = [
        {"task": "geometries", "data": "toy", "noise": noise, "rate": rate, "method": method,
         "schedule": "steps", "geometry": geometry, "seed": seed}
        for geometry, seed in drawn
        for rate, figures in REFERENCE.items()
        for method in options.methods or figures
        if method in figures and (geometry is not None or rate != 0.4)  # which is the task toy's
        for noise in ("symmetric", "pair")
    ]  # fmt: skip
    return cells, geometries_cell


def rates_grid(options: argparse.Namespace) -> Grid:
    noises = [
        ("none", 0.0),
        *((kind, rate) for kind in ("symmetric", "pair") for rate in (0.2, 0.4)),
    ]
    cells: list[Cell] = [
        {"task": "rates", "data": "toy", "noise": noise, "rate": rate, "seed": seed}
        for seed in options.seeds
        for noise, rate in noises
    ]
    return cells, rates_cell


def digits_grid(options: argparse.Namespace) -> Grid:
    cells: list[Cell] = [
        {"task": "digits", "data": "digits", "noise": "symmetric" if rate else "none",
         "rate": rate, "seed": seed}
        for seed in options.seeds
        for rate in (0.4, 0.0)
    ]  # fmt: skip
    return cells, digits_cell


def vectors_grid(options: argparse.Namespace) -> Grid:
    wanted = options.methods or [METHODS[0], METHODS[1], METHODS[2], PEER, *METHODS[3:]]
    cells: list[Cell] = [
        {"task": "vectors", "data": data, "noise": noise, "method": method, "epochs": epochs,
         "seed": seed}
        for method in wanted
        for seed in options.seeds
        for data, (noises, epochs) in VECTORS.items()
        if options.data is None or data in options.data
        for noise in noises
    ]  # fmt: skip
    return cells, problem_cell


def cifar_grid(options: argparse.Namespace) -> Grid:
    wanted = options.methods or [*METHODS, PEER]
    cells: list[Cell] = [
        {"task": "cifar", "data": "cifar", "noise": noise, "method": method,
         "rows": options.rows, "epochs": options.epochs, "seed": seed}
        for seed in options.seeds
        for method in wanted
        for noise in ("worse", "aggre", "none")
    ]  # fmt: skip
    return cells, problem_cell


def compare_grid(options: argparse.Namespace) -> Grid:
    cells: list[Cell] = [
        {"task": "compare", "data": data, "noise": noise, "method": method, "epochs": epochs,
         "seed": seed}
        for seed in options.seeds
        for data, (noises, epochs) in COMPARED.items()
        if options.data is None or data in options.data
        for method in options.methods or (*METHODS, PEER)
        for noise in noises
    ]  # fmt: skip
    return cells, problem_cell


def gtsrb_grid(options: argparse.Namespace) -> Grid:
    cells: list[Cell] = [
        {"task": "gtsrb", "data": "gtsrb", "noise": "class-dependent 30 %", "method": method,
         "epochs": GTSRB_EPOCHS, "seed": seed}
        for seed in options.seeds
        for method in options.methods or ("standard", "auto")
    ]  # fmt: skip
    return cells, problem_cell


def factors_grid(options: argparse.Namespace) -> Grid:
    from factors import CASES, EPOCHS

    # one cell times all methods: it goes by the name of the one that they are compared with
    cells: list[Cell] = [
        {"task": "factors", "data": case, "method": "standard", "epochs": EPOCHS} for case in CASES
    ]
    return cells, partial(factors_cell, methods=options.methods)


TASKS: dict[str, Callable[[argparse.Namespace], Grid]] = {
    "toy": toy_grid,
    "geometries": geometries_grid,
    "rates": rates_grid,
    "digits": digits_grid,
    "vectors": vectors_grid,
    "cifar": cifar_grid,
    "compare": compare_grid,
    "gtsrb": gtsrb_grid,
    "factors": factors_grid,
}


# ---------------------------------------------------------------------- cells (in a process each)
def toy_cell(cell: Cell) -> list[Line]:
    from toy_runs import toy_figures

    return [
        toy_figures(cell["method"], cell["noise"], cell["rate"], cell["schedule"], cell["seed"])
    ]


def geometries_cell(cell: Cell) -> list[Line]:
    from toy_runs import toy_figures

    told = ("noise", "rate", "schedule", "seed", "geometry")
    asked = {name: cell[name] for name in told if cell[name] is not None}
    return [toy_figures(cell["method"], **asked)]


def rates_cell(cell: Cell) -> list[Line]:
    from rate_runs import rate_figures

    return [rate_figures(cell["noise"], cell["rate"], cell["seed"])]


def digits_cell(cell: Cell) -> list[Line]:
    from thresher.demonstration import demonstrate
    from thresher.fitting import Silence

    with tempfile.TemporaryDirectory() as folder:
        figures = demonstrate(
            Path(folder) / "run",
            noise_rate=cell["rate"],
            seed=cell["seed"],
            overwrite=False,
            listener=Silence(),
        )
    unwanted = ("schema", "run", "classes", "method", "peak_mib")
    return [{name: value for name, value in figures.items() if name not in unwanted}]


def factors_cell(cell: Cell, *, methods: list[str] | None) -> list[Line]:
    from factors import factor_lines

    return factor_lines(cell["data"], epochs=cell["epochs"], methods=methods)


def problem_cell(cell: Cell, *, folder: Path) -> list[Line]:
    from cleanlab_workflow import figures_of_workflow
    from noise_data import load_problem
    from one_run import audited_run, figures_of_run

    problem = load_problem(folder, cell["data"], cell["noise"], cell["seed"], cell.get("rows"))
    epochs, seed = cell["epochs"], cell["seed"]
    if cell["method"] == PEER:
        early_stopping = cell["task"] != "cifar" and cell["data"] != "sign"
        return figures_of_workflow(problem, epochs=epochs, seed=seed, early_stopping=early_stopping)
    augment = "crop" if cell["data"] == "gtsrb" else "auto"  # a mirrored sign is another sign
    run = audited_run(
        problem.samples, method=cell["method"], epochs=epochs, seed=seed, augment=augment
    )
    return [figures_of_run(run, problem)]


if __name__ == "__main__":
    sys.exit(main())
