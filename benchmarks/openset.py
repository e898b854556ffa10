"""Benchmark of open sets: methods that learn from foreign samples, and detectors of them.

    python benchmarks/openset.py toy     TAUFE, OAT, ODNL on 500 clean samples of the toy (a minute)
    python benchmarks/openset.py cifar   detectors on a model of CIFAR-10N worse, 40 % wrong labels:
                                         statistics of a safe set and of all samples (minutes)
    python benchmarks/openset.py table   results/openset.jsonl → results/openset.md

The toy's foreign samples are normal random numbers in its 64 columns; figures are of fresh ones.
Finished cells are kept in results/openset.jsonl and skipped the next time.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from cells import Cell, Line, grid_status, newest, read_lines
from tables import Lines, percent, plain, table

RESULTS = Path(__file__).parent / "results" / "openset.jsonl"
SAMPLES = 500  # of the toy, all with their right label
FOREIGN = 4_000  # random ones to train on, and as many fresh ones
CIFAR_ROWS, CIFAR_EPOCHS = 10_000, 16

#: Row of the table → method and its settings.
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "standard": ("Standard", {}),
    "taufe, mean 0.1": ("TAUFE", {"strength": 0.1, "reduction": "mean"}),
    "taufe, sum 0.01": ("TAUFE", {"strength": 0.01}),
    "taufe, sum 0.1": ("TAUFE", {"strength": 0.1}),
    "oat": ("OAT", {}),
    "odnl": ("ODNL", {}),
}
SETS = {"textures": "textures_32", "imagenet": "imagenet_sample_32", "fruit": "cifar100_fruit_32"}


def main() -> int:
    """Parse, compute what is missing, and say whether all went well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=["toy", "cifar", "table"])
    parser.add_argument("--seeds", type=lambda text: [int(each) for each in text.split(",")])
    parser.add_argument("--rows", type=int, default=CIFAR_ROWS, help="training images (10,000)")
    parser.add_argument("--epochs", type=int, default=CIFAR_EPOCHS, help="of cifar (16)")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread (2)")
    parser.add_argument("--fresh", action="store_true", help="compute finished cells again")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSONL file")
    options = parser.parse_args()
    if options.task == "table":
        write_page(newest(read_lines(options.results)), options.results.with_suffix(".md"))
        return 0
    folder = os.environ.get("THRESHER_DATA")
    if folder is None and options.task != "toy":
        print("Set THRESHER_DATA to the folder of the data sets.", file=sys.stderr)
        return 2
    cells: list[Cell]
    if options.task == "toy":
        cells = [
            {"task": "openset", "data": "toy", "method": name, "seed": seed}
            for seed in options.seeds or [0, 1]
            for name in METHODS
        ]
        compute = toy_cell
    else:
        cells = [
            {"task": "openset", "data": "cifar", "noise": "worse", "method": "standard",
             "rows": options.rows, "epochs": options.epochs, "seed": seed}
            for seed in options.seeds or [0]
        ]  # fmt: skip
        compute = partial(detector_cell, folder=folder or "")
    return grid_status(
        cells, compute, options.results, workers=options.workers, fresh=options.fresh
    )


# ---------------------------------------------------------------------- methods, on the toy
def toy_cell(cell: Cell) -> list[Line]:
    """One training with the toy's schedule, and what the network makes of fresh foreign samples."""
    import numpy as np
    import torch
    from toy_runs import toy

    import thresher.noise
    from thresher.models.last_layer import features_seen
    from thresher.noise import Batch
    from thresher.openset import energy, figures
    from thresher.training.stream import Stream

    kind, settings = METHODS[cell["method"]]
    seed = cell["seed"]
    data = toy.make_toy(None, 0.0, seed)
    random = np.random.default_rng(1000 + seed)
    foreign, fresh = (
        torch.from_numpy(random.normal(size=(FOREIGN, toy.COLUMNS)).astype(np.float32))
        for _ in range(2)
    )
    inputs, labels = torch.from_numpy(data.x_train[:SAMPLES]), torch.from_numpy(data.true[:SAMPLES])
    net = toy.ToyNet(seed)
    net.head.bias = None  # no features, then, is no opinion
    optimizer = torch.optim.SGD(
        net.parameters(), toy.LEARNING_RATE, momentum=toy.MOMENTUM, weight_decay=toy.WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        optimizer, [toy.EPOCHS // 2, toy.EPOCHS * 3 // 4], gamma=toy.DECAY
    )
    method = getattr(thresher.noise, kind)(**settings)
    criterion = method.start(SAMPLES, toy.CLASSES, epochs=toy.EPOCHS, labels=labels, seed=seed)
    stream = Stream(foreign, lambda raw: raw, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(toy.EPOCHS):
        order = torch.randperm(SAMPLES, generator=generator)
        for number, index in enumerate(order.split(toy.BATCH_SIZE)):
            optimizer.zero_grad()
            batch = Batch(index, inputs[index], labels[index])
            drawn = stream.draw(len(index), epoch, number)
            criterion.step(net, batch, lambda _, drawn=drawn: drawn).mean().backward()
            optimizer.step()
        criterion.end_epoch()
        schedule.step()
    tested = torch.from_numpy(data.x_test)
    with torch.no_grad(), features_seen(net.head) as seen:
        known, strange = net(tested), net(fresh)
    return [
        {
            "test_accuracy": float((known.argmax(1).numpy() == data.y_test).mean()),
            "foreign_feature": float(seen[1].square().mean()),
            "foreign_confidence": float(strange.softmax(1).amax(1).mean()),
            "auroc": figures(energy(known.numpy()), energy(strange.numpy())).auroc,
        }
    ]


# ---------------------------------------------------------------------- detectors, on CIFAR-10N
def detector_cell(cell: Cell, folder: str) -> list[Line]:
    """One training on wrong labels; each score of each foreign set, by two kinds of statistics."""
    import numpy as np
    from noise_data import load_problem
    from one_run import job_for

    from thresher.audit import judge
    from thresher.epochs import train_epochs
    from thresher.openset import SCORES, Detector, figures

    problem = load_problem(Path(folder), "cifar", cell["noise"], cell["seed"], cell["rows"])
    job = job_for(
        problem.samples,
        method=cell["method"],
        epochs=cell["epochs"],
        seed=cell["seed"],
        audit=True,
    )
    train_epochs(job)
    verdicts = judge(job.record())
    safe = verdicts.judged & ~verdicts.is_label_issue & (verdicts.label_score > 0.5)
    values = {"train": seen_by(job, problem.samples.inputs)}
    values["known"] = seen_by(job, problem.truth.test.inputs)
    for name, file in SETS.items():
        with np.load(Path(folder) / "ood" / f"{file}.npz") as stored:
            images = stored["images"]
            if "overlaps_cifar10" in stored:
                images = images[~stored["overlaps_cifar10"]]
        values[name] = seen_by(job, images)
    lines = []
    for score in SCORES:
        place = int(score in ("mahalanobis", "nearest-neighbour"))  # logits, features
        for statistics, trusted in (("safe set", safe), ("all samples", None)):
            detector = Detector(score).fit(
                values["train"][place], problem.samples.labels, safe=trusted
            )
            scores = {name: detector.score(each[place]) for name, each in values.items()}
            for name in SETS:
                found = figures(scores["known"], scores[name])
                lines.append(
                    {"variant": f"{score}, {statistics}, {name}", "score": score,
                     "statistics": statistics, "foreign": name, "auroc": found.auroc,
                     "aupr": found.aupr, "fpr_at_95": found.fpr_at_95,
                     "marked": float((scores[name] > detector.threshold_).mean()),
                     "known_marked": float((scores["known"] > detector.threshold_).mean())}
                )  # fmt: skip
    shared = {
        "test_accuracy": job.model.accuracy(problem.truth.test),
        "safe_share": float(safe.mean()),
        "safe_wrong": float(problem.bad[safe].mean()),
        "wrong": float(problem.bad.mean()),
    }
    return [shared | line for line in lines]


def seen_by(job: Any, images: Any) -> tuple[Any, Any]:
    """Logits and features, float32, of raw images."""
    import numpy as np
    import torch

    from thresher.models.last_layer import features_seen, last_layer
    from thresher.training.predict import as_tensor

    net = job.model.network.eval()
    logits, features = [], []
    layer = last_layer(net, len(job.samples.classes))
    with torch.no_grad(), features_seen(layer) as seen:
        for start in range(0, len(images), 500):
            seen.clear()
            block = as_tensor(np.ascontiguousarray(images[start : start + 500]))
            logits.append(net(job.model.preparation(block)).numpy())
            features.append(seen[0].numpy())
    return np.concatenate(logits), np.concatenate(features)


# ---------------------------------------------------------------------- the page
def write_page(lines: list[Line], path: Path) -> None:
    """The tables."""
    parts = [
        "# Open sets",
        "Made by `python benchmarks/openset.py table` from openset.jsonl; do not edit.",
    ]
    for data, section in (("toy", toy_section), ("cifar", detector_section)):
        found = Lines(tuple(each for each in lines if each.get("data") == data))
        if found.lines:
            parts += section(found)
    path.write_text("\n\n".join(parts) + "\n")


def toy_section(found: Lines) -> list[str]:
    """A row a method."""
    rows = []
    for name in METHODS:
        of = found.where(method=name)
        rows.append(
            [
                name,
                percent(of.values("test_accuracy")),
                plain(of.values("foreign_feature"), 3),
                percent(of.values("foreign_confidence")),
                percent(of.values("auroc")),
            ]
        )
    head = ["", "test accuracy", "φ² of foreign", "max p of foreign", "energy tells, AUROC"]
    return [
        "## Methods that learn from foreign samples",
        f"`python benchmarks/openset.py toy`: {SAMPLES} clean samples of the toy, foreign ones of "
        f"N(0, I), {FOREIGN:,} to train on and as many fresh ones for the figures; a head without "
        f"bias, {len(found.distinct('seed'))} seeds, means and ranges. *φ²*: mean square of a "
        "feature; *max p*: mean of the largest probability, 10 = none is preferred.",
        table(head, rows),
    ]


def detector_section(found: Lines) -> list[str]:
    """A row a score and kind of statistics."""
    first = found.lines[0]
    rows = []
    for score in found.distinct("score"):
        for statistics in found.distinct("statistics"):
            of = found.where(score=score, statistics=statistics)
            rows.append(
                [
                    f"{score}, {statistics}",
                    *(percent(of.where(foreign=name).values("auroc")) for name in SETS),
                    *(percent(of.where(foreign=name).values("fpr_at_95")) for name in SETS),
                    percent(of.values("marked")),
                    percent(of.where(foreign="fruit").values("known_marked")),
                ]
            )
    head = ["", *(f"AUROC, {name}" for name in SETS), *(f"FPR at 95, {name}" for name in SETS)]
    return [
        "## Detectors on a model of wrong labels",
        f"`python benchmarks/openset.py cifar`: standard training on CIFAR-10N worse, "
        f"{first['rows']:,} images, {first['epochs']} epochs; "
        f"{100 * found.mean('wrong'):.1f} % of the labels are wrong, of the safe set (not flagged "
        f"by the audit, {100 * found.mean('safe_share'):.0f} % of the images) "
        f"{100 * found.mean('safe_wrong'):.1f} %. Scores of logits need no statistics but their "
        "threshold. *Marked*: above the 95 % quantile of the trusted samples' own scores.",
        table([*head, "foreign marked", "known marked"], rows),
    ]


if __name__ == "__main__":
    sys.exit(main())
