"""Benchmark of batch selection: what selectors win and cost against shuffled batches.

    python benchmarks/selection.py digits     every selector, three seeds (minutes)
    python benchmarks/selection.py fashion    Fashion-MNIST, 10,000 images as numbers (an hour)
    python benchmarks/selection.py cifar      CIFAR-10N, 5,000 images, some selectors (an hour)
    python benchmarks/selection.py overhead   what a step costs with a selector, over a shuffled one
    python benchmarks/selection.py table      results/selection.jsonl → results/selection.md

Every training learns by a rate that comes down to nothing at its end, with the same network, and
from as many samples as that of shuffled batches; who leaves samples out (InfoBatch, self-paced)
learns from fewer, and is held against shuffled batches of three quarters of the epochs. Errors are
on test labels that are right. Finished cells are kept in results/selection.jsonl and skipped the
next time.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from cells import Cell, Line, grid_status, newest, read_lines
from tables import table

RESULTS = Path(__file__).parent / "results" / "selection.jsonl"

#: Row of the table → method, sampler, options of the sampler, epochs over those of shuffled.
ROWS: dict[str, tuple[str, str, tuple[str, ...], float]] = {
    "shuffled": ("standard", "shuffled", (), 1.0),
    "shuffled, ¾ of the epochs": ("standard", "shuffled", (), 0.75),
    "rs2": ("standard", "rs2", (), 1 / 0.3),
    "ada-boundary": ("standard", "ada-boundary", (), 1.0),
    "ada-boundary, margin": ("standard", "ada-boundary", ("distance=margin",), 1.0),
    "ada-boundary, hard": ("standard", "ada-boundary", ("variant=hard",), 1.0),
    "ada-boundary, easy": ("standard", "ada-boundary", ("variant=easy",), 1.0),
    "recency-bias": ("standard", "recency-bias", (), 1.0),
    "recency-bias, plan": ("standard", "recency-bias", ("replacement=epoch",), 1.0),
    "online-batch": ("standard", "online-batch", (), 1.0),
    "active-bias": ("standard", "active-bias", (), 1.0),
    "self-paced": ("standard", "self-paced", (), 1.0),
    "info-batch": ("standard", "info-batch", (), 1.0),
    "selective-backprop": ("selective-backprop", "shuffled", (), 1.0),
    "rho-loss": ("rho-loss", "shuffled", (), 1.0),
}
FEW = ("shuffled", "rs2", "ada-boundary", "recency-bias", "online-batch", "info-batch")
TASKS = {  # epochs of shuffled batches, kinds of noise, training rows
    "digits": (30, ("none", "symmetric 40 %"), None),
    "fashion": (30, ("none", "symmetric 40 %"), None),
    "cifar": (16, ("none", "worse"), 5_000),
}


def main() -> int:
    """Parse, compute what is missing, and say whether all went well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=[*TASKS, "overhead", "table"])
    parser.add_argument("--seeds", type=lambda text: [int(each) for each in text.split(",")])
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread (2)")
    parser.add_argument("--fresh", action="store_true", help="compute finished cells again")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSONL file")
    options = parser.parse_args()
    if options.task == "table":
        write_page(newest(read_lines(options.results)), options.results.with_suffix(".md"))
        return 0
    if options.task == "overhead":
        from cells import keep

        keep("overhead", overheads(), {"threads": 1}, options.results)
        return 0
    folder = os.environ.get("THRESHER_DATA")
    if folder is None and options.task != "digits":
        print("Set THRESHER_DATA to the folder of the data sets.", file=sys.stderr)
        return 2
    epochs, noises, rows = TASKS[options.task]
    cells: list[Cell] = [
        {"task": "selection", "data": options.task, "noise": noise, "method": name,
         "rows": rows, "epochs": epochs, "seed": seed}
        for seed in options.seeds or ([0] if options.task == "cifar" else [0, 1, 2])
        for name in (FEW if options.task == "cifar" else ROWS)
        for noise in noises
    ]  # fmt: skip
    compute = partial(selection_cell, folder=folder or "")
    return grid_status(
        cells, compute, options.results, workers=options.workers, fresh=options.fresh
    )


def selection_cell(cell: Cell, folder: str) -> list[Line]:
    """One training: its errors after every epoch, its cost, and what it looked at."""
    from noise_data import load_problem
    from one_run import Clock

    from thresher.fitting import Silence
    from thresher.job import Job
    from thresher.settings import FitSettings
    from thresher.training.drawn_batches import DrawnBatches

    problem = load_problem(Path(folder), cell["data"], cell["noise"], cell["seed"], cell["rows"])
    method, sampler, sampler_options, longer = ROWS[cell["method"]]
    settings = FitSettings(
        method=method,
        sampler=sampler,
        sampler_options=sampler_options,
        epochs=round(cell["epochs"] * longer),
        seed=cell["seed"],
        device="cpu",
        validation=0.0,
    )
    clock, errors, reports = Clock(), [], []
    learned: dict[int, float] = {}  # samples that gradients were made of, by epoch

    def after_step() -> None:
        learned[job.training.position["epoch"]] = float(job.training.position["total"].mean())

    with clock.running():
        job = Job.plan(settings, problem.samples, None, Silence(), audit=False)
        epochs = job.training.run(after_step=after_step)
    total = job.training.settings.epochs
    for _ in range(total):
        with clock.running():
            next(epochs)
        errors.append(1 - job.model.accuracy(problem.truth.test))
        if isinstance(job.training.batches, DrawnBatches):
            reports.append(job.training.batches.sampler.report(problem.bad))
    history = job.training.criterion.history
    figures: dict[str, Any] = {
        "last_error": errors[-1],
        "best_error": min(errors),
        "learned": sum(learned.values()) / history.samples,
        **clock.figures(),
    }
    if reports:
        drawn = reports[len(reports) // 4 :]  # without the epochs of the warm-up
        figures["coverage"] = mean(each.coverage for each in drawn)
        figures["wrong_share"] = mean(each.wrong_share for each in drawn)
        sizes = [each.effective_sample_size for each in drawn]
        if all(size is not None for size in sizes):
            figures["effective_share"] = mean(sizes) / history.samples
    return [figures]


# ---------------------------------------------------------------------- the cost of a step
def overheads() -> Any:
    """Seconds of epochs with a selector over those of shuffled ones, in turns."""
    import time

    import numpy as np
    import torch

    from thresher.data import open_data
    from thresher.fitting import Silence
    from thresher.job import Job
    from thresher.settings import FitSettings

    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    cases = {
        "MLP 64–256–128–10, 20,000 rows": (
            random.normal(size=(20_000, 64)).astype(np.float32), 30,
        ),
        "small CNN, 2,000 images of 32×32×3": (
            random.integers(0, 255, (2_000, 32, 32, 3)).astype(np.uint8), 6,
        ),
    }  # fmt: skip
    for case, (inputs, turns) in cases.items():
        labels = random.integers(0, 10, len(inputs))
        samples = open_data((inputs, labels))
        names = ("shuffled", "recency-bias", "ada-boundary", "online-batch", "info-batch")
        runs = {}
        for name in names:
            options = () if name == "shuffled" or name == "info-batch" else ("warmup=0",)
            if name == "recency-bias":
                options = ("warmup=2", "window=2")
            settings = FitSettings(
                method="standard", sampler=name, sampler_options=options, epochs=turns + 2,
                device="cpu", validation=0.0, batch_size=128,
            )  # fmt: skip
            job = Job.plan(settings, samples, None, Silence(), audit=True)
            runs[name] = (job, job.training.run())
        spent: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(turns + 2):
            for name, (job, epochs) in runs.items():
                steps = counted(job)
                began = time.process_time()
                next(epochs)
                if turn >= 2:
                    spent[name].append((time.process_time() - began) / steps())
        for name in names[1:]:
            ratios = np.array(spent[name]) / np.array(spent["shuffled"])
            yield {
                "data": case,
                "method": name,
                "step_us": 1e6 * float(np.median(spent["shuffled"])),
                "over_shuffled": [float(q) for q in np.quantile(ratios, (0.25, 0.5, 0.75))],
                "bar": 1.02 if "CNN" in case else 1.15,
            }


def counted(job: Any) -> Callable[[], int]:
    """How many steps were taken since."""
    taken = []
    step = job.training.optimizer.step

    def counting() -> Any:
        taken.append(1)
        return step()

    job.training.optimizer.step = counting

    def count() -> int:
        job.training.optimizer.step = step
        return len(taken)

    return count


# ---------------------------------------------------------------------- the page
def write_page(lines: list[Line], path: Path) -> None:
    """The tables."""
    parts = [
        "# Batch selection",
        "Made by `python benchmarks/selection.py table` from selection.jsonl; do not edit. "
        "Standard training, default settings; the learning rate comes down to nothing. Errors in "
        "per cent on right test labels: after the last epoch, and the best of all epochs, which "
        "nobody could have chosen without these labels. Means over seeds, with the difference to "
        "shuffled batches of the same seed and its standard error. *Learned from*: samples that "
        "gradients were made of, in epochs. *CPU*: over that of shuffled batches, selection "
        "included. *Coverage*: share of the samples that an epoch visits; *effective*: how many "
        "equally likely samples the draws are worth, of all; *wrong*: share of wrong labels among "
        "the draws (these three after the first quarter of the epochs).",
    ]
    for data, title in (
        ("digits", "Handwritten digits"),
        ("fashion", "Fashion-MNIST, 10,000 rows"),
        ("cifar", "CIFAR-10N, 5,000 images"),
    ):
        for noise in TASKS[data][1]:
            found = [each for each in lines if each.get("data") == data and each["noise"] == noise]
            if found:
                parts += [f"## {title}, {'right labels' if noise == 'none' else noise}"]
                parts += [errors_table(found)]
    overhead = [each for each in lines if each["task"] == "overhead"]
    if overhead:
        parts += ["## What a step costs"]
        parts += [
            "`python benchmarks/selection.py overhead`: processor time of a step with a selector "
            "over that of a shuffled one, one thread, epochs in turns; medians with quartiles. "
            "Both record what the audit reads, as `thresher fit` does."
        ]
        rows = [
            [
                each["data"],
                each["method"],
                f"{each['step_us']:,.0f}",
                f"{each['over_shuffled'][1]:.3f} ({each['over_shuffled'][0]:.3f}–"
                f"{each['over_shuffled'][2]:.3f})",
                f"≤ {each['bar']}",
                "yes" if each["over_shuffled"][1] <= each["bar"] else "**no**",
            ]
            for each in overhead
        ]
        parts += [table(["network", "selector", "shuffled, µs", "over it", "bar", "met"], rows)]
    path.write_text("\n\n".join(parts) + "\n")


def errors_table(lines: list[Line]) -> str:
    """Rows of one data set and noise."""
    seeds = sorted({each["seed"] for each in lines})
    plain = {each["seed"]: each for each in lines if each["method"] == "shuffled"}
    rows = []
    for name in ROWS:
        mine = [each for each in lines if each["method"] == name]
        if not mine:
            continue
        rows.append(
            [
                name,
                with_error(mine, plain, "last_error"),
                with_error(mine, plain, "best_error"),
                f"{mean(each['learned'] for each in mine):.1f}",
                times(mine, plain),
                *(share(mine, each) for each in ("coverage", "effective_share", "wrong_share")),
            ]
        )
    heads = ["", "last error", "best error", "learned from", "CPU"]
    heads += ["coverage", "effective", "wrong"]
    return f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}.\n\n" + table(heads, rows)


def times(mine: list[Line], plain: dict[int, Line]) -> str:
    """Processor time over that of shuffled batches."""
    found = [
        each["cpu_seconds"] / plain[each["seed"]]["cpu_seconds"]
        for each in mine
        if each["seed"] in plain
    ]
    return f"{mean(found):.2f}" if found else "–"


def with_error(mine: list[Line], plain: dict[int, Line], name: str) -> str:
    """A mean error, and how sure its difference to shuffled batches is."""
    text = f"{100 * mean(each[name] for each in mine):.2f}"
    gaps = [
        100 * (each[name] - plain[each["seed"]][name]) for each in mine if each["seed"] in plain
    ]
    if len(gaps) < 2 or not any(gaps):
        return text
    middle = mean(gaps)
    spread = (sum((gap - middle) ** 2 for gap in gaps) / (len(gaps) - 1) / len(gaps)) ** 0.5
    return f"{text} ({middle:+.2f} ± {spread:.2f})"


def share(lines: list[Line], name: str) -> str:
    found = [each[name] for each in lines if each.get(name) is not None]
    return f"{100 * mean(found):.0f} %" if found else "–"


if __name__ == "__main__":
    sys.exit(main())
