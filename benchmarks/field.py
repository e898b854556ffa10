"""Benchmark of the field on labels that people got wrong: CIFAR-10N, 5,000 images, a small network.

    python benchmarks/field.py worse     the labels of one careless annotator, every method
    python benchmarks/field.py long      the same, four times the epochs: wrong labels are memorised
    python benchmarks/field.py aggre     majority votes of three annotators
    python benchmarks/field.py random1   the first annotator of each image
    python benchmarks/field.py table     results/field.jsonl → results/field.md

The cells are those of `thresher bench noise`, and so is the report; here a finished cell is kept in
results/field.jsonl and skipped the next time, wherever it was computed. A cell takes two minutes to
an hour; `--methods` and `--seeds` name some of them.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import pyarrow.parquet as pq
from cells import Cell, Line, grid_status, newest, read_lines

RESULTS = Path(__file__).parent / "results" / "field.jsonl"
MADE = Path(__file__).parents[1] / "build" / "field"  # the files that the cells read
ROWS, TESTED = 5_000, 5_000
CASES = {  # labels, epochs, seeds
    "worse": ("worse", 16, (0, 1, 2)),
    "long": ("worse", 64, (0,)),
    "aggre": ("aggre", 16, (0,)),
    "random1": ("random1", 16, (0,)),
}
TITLES = {
    "worse": "One careless annotator",
    "long": "One careless annotator, four times the epochs",
    "aggre": "Majority of three annotators",
    "random1": "The first annotator",
}


def main() -> int:
    """Parse, compute what is missing, and say whether all went well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=[*CASES, "table"])
    parser.add_argument("--methods", help="some, a,b,c (default: all against wrong labels)")
    parser.add_argument("--seeds", type=lambda text: [int(each) for each in text.split(",")])
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread (2)")
    parser.add_argument("--fresh", action="store_true", help="compute finished cells again")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSONL file")
    options = parser.parse_args()
    if options.task == "table":
        write_page(newest(read_lines(options.results)), options.results.with_suffix(".md"))
        return 0
    folder = os.environ.get("THRESHER_DATA")
    if folder is None:
        print("Set THRESHER_DATA to the folder of the data sets.", file=sys.stderr)
        return 2
    from thresher.bench.settings import chosen_methods

    labels, epochs, seeds = CASES[options.task]
    methods = options.methods.split(",") if options.methods else chosen_methods(None)
    cells: list[Cell] = [
        {"task": "field", "data": "cifar", "noise": labels, "method": method, "rows": ROWS,
         "epochs": epochs, "seed": seed}
        for seed in options.seeds or seeds
        for method in methods
    ]  # fmt: skip
    make_files(Path(folder), labels)
    return grid_status(
        cells, field_cell, options.results, workers=options.workers, fresh=options.fresh
    )


def make_files(folder: Path, labels: str) -> None:
    """The first images with the labels that are trained on and the true ones, and the tested."""
    MADE.mkdir(parents=True, exist_ok=True)
    train = pq.read_table(folder / "cifar10" / "train.parquet").slice(0, ROWS)
    train = train.select(["image", "label", f"label_{labels}"])
    test = pq.read_table(folder / "cifar10" / "test.parquet").slice(0, TESTED)
    # the column of labels has one name in both files
    pq.write_table(train.rename_columns(["image", "true", "label"]), MADE / f"{labels}.parquet")
    pq.write_table(test.select(["image", "label"]), MADE / "test.parquet")


def field_cell(cell: Cell) -> list[Line]:
    """The row of `thresher bench noise`, without what it says of the process."""
    from thresher.bench.cell import measure
    from thresher.bench.noise_spec import NoiseSpec
    from thresher.bench.settings import BenchSettings
    from thresher.bench.settings import Cell as OneCell

    settings = BenchSettings(
        data=str(MADE / f"{cell['noise']}.parquet"),
        label="label",
        true="true",
        image="image",
        test=str(MADE / "test.parquet"),
        epochs=cell["epochs"],
        device="cpu",
    )
    row = measure(settings, OneCell(cell["method"], NoiseSpec("given"), cell["seed"]))
    unwanted = ("held_mib", "peak_mib", "groups", *cell)  # the process computes several cells
    return [{name: value for name, value in row.items() if name not in unwanted}]


def names(lines: list[Line]) -> list[str]:
    """The methods, in the order in which they come on the command line, then those named alone."""
    from thresher.bench.settings import chosen_methods

    there = dict.fromkeys(line["method"] for line in lines)
    usual = [name for name in chosen_methods(None) if name in there]
    return [*usual, *(name for name in there if name not in usual)]


def seeds_of(lines: list[Line], method: str) -> list[int]:
    return sorted(line["seed"] for line in lines if line["method"] == method)


def part_of_page(case: str, found: list[Line]) -> list[str]:
    """The tables of one case, of methods that were all run from the same seeds."""
    from thresher.bench.report import PARTS, sections
    from thresher.bench.tables import markdown_table

    labels, epochs, _ = CASES[case]
    seeds = sorted({line["seed"] for line in found})
    title = TITLES[case] + (f", {len(seeds)} seeds" if len(seeds) > 1 else "")
    order = names(found)
    rows = sorted(found, key=lambda line: (line["seed"], order.index(line["method"])))
    parts = []
    for section in sections([{**row, "noise": title} for row in rows]):
        parts.append(f"## {title}")
        parts.append(
            f"`label_{labels}`, {100 * (section.realised or 0):.1f} % wrong, {epochs} epochs, "
            f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}. {section.verdict}"
        )
        for part in PARTS:
            made = markdown_table(section.found, part.figures)
            if made:
                parts += [f"### {part.title}", part.note, made.rstrip("\n")]
    return parts


def write_page(lines: list[Line], path: Path) -> None:
    """The tables of every case."""
    from thresher.bench.report import LEGEND

    parts = [
        "# Methods on labels that people got wrong",
        "Made by `python benchmarks/field.py table` from field.jsonl; do not edit. CIFAR-10N: the "
        "first 5,000 images, of which 500, with labels as wrong as the others, choose an epoch; "
        "5,000 test images with true labels; the small network, default settings. Seconds were "
        "taken beside other work. " + LEGEND,
    ]
    for case, (labels, epochs, _) in CASES.items():
        found = [
            {**line, "status": "done", "held_mib": None, "peak_mib": None}
            for line in lines
            if line["noise"] == labels and line["epochs"] == epochs
        ]
        seeds = sorted({line["seed"] for line in found})
        several = [name for name in names(found) if len(seeds_of(found, name)) == len(seeds)]
        if len(seeds) == 1 or len(several) < len(names(found)):
            parts += part_of_page(case, [line for line in found if line["seed"] == 0])
        if len(seeds) > 1:
            parts += part_of_page(case, [line for line in found if line["method"] in several])
    path.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    sys.exit(main())
