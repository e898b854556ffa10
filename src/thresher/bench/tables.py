"""Rows of cells → what is compared: a mean over seeds with its range, by noise and method.

A mean over other seeds is a mean over other problems: a method that lacks seeds which others under
the same noise have is called by those it has, and is never the best of a column.

Seconds and memory are divided by those of standard training under the same noise and seed, before
the mean is taken. Memory is what a training takes beyond what its process held before: the data,
and some hundreds of MiB of the process itself, would hide it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, Literal

from thresher.bench.settings import BASELINE

__all__ = [
    "ACCURACIES",
    "AUDIT",
    "COSTS",
    "GROUPS",
    "TRUST",
    "Entry",
    "Figure",
    "GroupEntry",
    "Spread",
    "cells_of",
    "entries",
    "group_entries",
    "markdown_table",
    "mean_curve",
    "seeds_in_words",
]

Row = Mapping[str, Any]

#: Of standard training, for a factor: on the digits the same one took 1.0 to 1.4 MiB in four runs,
#: and a ratio to so little would be chance.
LEAST_MIB = 4.0


@dataclass(frozen=True)
class Figure:
    """One column of a table.

    Attributes:
        name: In the rows.
        title: Above the column.
        kind: In per cent, in points of per cent with a sign, as a factor, or as it is.
        best: Which end is better; None where neither is.
    """

    name: str
    title: str
    kind: Literal["percent", "points", "factor", "plain"] = "percent"
    best: Literal["high", "low"] | None = None


ACCURACIES = (
    Figure("last", "last", best="high"),
    Figure("mean_of_last_ten", "mean of the last ten", best="high"),
    Figure("validation_selected", "validation-selected", best="high"),
    Figure("best_on_test", "best on test"),
)
TRUST = (
    Figure("label_precision", "label precision"),
    Figure("label_recall", "label recall"),
    Figure("coverage", "coverage"),
    Figure("replaced", "replaced"),
    Figure("correction_error", "correction error"),
    Figure("rate_error", "noise rate, error", "points"),
    Figure("transition_error", "transition matrix, error"),
)
AUDIT = (
    Figure("audit_average_precision", "average precision", best="high"),
    Figure("audit_auroc", "AUROC", best="high"),
    Figure("audit_rate_error", "noise rate, error", "points"),
    Figure("suggestion_accuracy", "right suggestions", best="high"),
)
COSTS = (
    Figure("relative_seconds", "seconds, × standard", "factor"),
    Figure("relative_memory", "memory, × standard", "factor"),
    Figure("cpu_seconds", "processor seconds", "plain"),
    Figure("training_mib", "MiB beyond the process", "plain"),
    Figure("peak_mib", "MiB with it", "plain"),
)
GROUPS = (
    Figure("worst_group_accuracy", "worst group", best="high"),
    Figure("demographic_parity_gap", "demographic parity gap", best="low"),
    Figure("equalised_odds_gap", "equalised odds gap", best="low"),
)


@dataclass(frozen=True)
class Spread:
    """A mean over seeds, and its range."""

    mean: float
    low: float
    high: float
    seeds: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Of those that are known; None without any."""
        known = [float(value) for value in values if value is not None]
        return cls(mean(known), min(known), max(known), len(known)) if known else None

    def words(self, kind: str) -> str:
        """As a cell of a table.

        >>> Spread(0.76, 0.75, 0.771, 3).words("percent")
        '76.0 (75.0–77.1)'
        >>> Spread(1.25, 1.25, 1.25, 1).words("factor")
        '1.25'
        """

        def one(value: float) -> str:
            if kind == "percent":
                return f"{100 * value:.1f}"
            if kind == "points":
                return f"{100 * value:+.1f}"
            return f"{value:.2f}" if kind == "factor" else f"{value:.3g}"

        if one(self.low) == one(self.high):
            return one(self.mean)
        between = "to" if kind == "points" else "–"
        pieces = (one(self.low), between, one(self.high))
        return f"{one(self.mean)} ({(' ' if kind == 'points' else '').join(pieces)})"


@dataclass(frozen=True)
class Entry:
    """One method under one kind of noise.

    Attributes:
        method: Which.
        noise: Which.
        seeds: Of the cells that are done.
        figures: Name → spread over the seeds; figures that are not known are missing.
        curve: Test accuracy after every epoch, the mean over seeds.
        whole: Whether it has all the seeds that any method has under this noise.
    """

    method: str
    noise: str
    seeds: tuple[int, ...]
    figures: Mapping[str, Spread]
    curve: tuple[float, ...]
    whole: bool = True

    @property
    def title(self) -> str:
        """The method, with its seeds where others have more."""
        return self.method if self.whole else f"{self.method} ({seeds_in_words(self.seeds)})"

    def words(self, figure: Figure) -> str:
        """The figure as a cell of a table; a dash where there is none."""
        found = self.figures.get(figure.name)
        return "–" if found is None else found.words(figure.kind)

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON."""
        return {
            "method": self.method,
            "title": self.title,
            "noise": self.noise,
            "seeds": list(self.seeds),
            **{
                name: {"mean": each.mean, "low": each.low, "high": each.high}
                for name, each in self.figures.items()
            },
        }


FIGURES = tuple(
    figure.name for part in (ACCURACIES, TRUST, AUDIT, COSTS, GROUPS) for figure in part
)


def entries(rows: Sequence[Row]) -> list[Entry]:
    """Summarise the finished cells, in the order in which noise and method first appear."""
    done = [row for row in rows if row["status"] == "done"]
    standard = {(row["noise"], row["seed"]): row for row in done if row["method"] == BASELINE}
    there: dict[str, set[int]] = {}
    for row in done:
        there.setdefault(row["noise"], set()).add(row["seed"])
    found = []
    for noise, method in dict.fromkeys((row["noise"], row["method"]) for row in done):
        cells = [
            {
                **row,
                "training_mib": training_mib(row),
                **relative(row, standard.get((noise, row["seed"]))),
            }
            for row in cells_of(done, noise, method)
        ]
        spreads = {name: Spread.of(row.get(name) for row in cells) for name in FIGURES}
        seeds = tuple(sorted(row["seed"] for row in cells))
        found.append(
            Entry(
                method,
                noise,
                seeds,
                {name: each for name, each in spreads.items() if each is not None},
                mean_curve([row["test_accuracies"] for row in cells]),
                there[noise] == set(seeds),
            )
        )
    return found


def seeds_in_words(seeds: Sequence[int]) -> str:
    """Seeds by their numbers.

    >>> seeds_in_words([0]), seeds_in_words([0, 2])
    ('seed 0', 'seeds 0, 2')
    """
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


@dataclass(frozen=True)
class GroupEntry:
    """What a method trusted of one given class in one group, means over seeds.

    Attributes:
        method, label, group: Which.
        n: Samples, the mean.
        selection_rate: Share of them that is trusted.
        label_precision: Of the trusted ones; None where none was.
        label_recall: Of the right ones; None where there are none.
        small: Small under some seed.
    """

    method: str
    label: str
    group: str
    n: float
    selection_rate: float
    label_precision: float | None
    label_recall: float | None
    small: bool


def group_entries(rows: Sequence[Row], noise: str) -> list[GroupEntry]:
    """Who was trusted under one kind of noise, by method, class and group."""
    cells: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row["status"] == "done" and row["noise"] == noise:
            for cell in row.get("groups") or ():
                key = (row["method"], cell["label"], cell["group"])
                cells.setdefault(key, []).append(cell)

    def averaged(found: Sequence[Row], name: str) -> float | None:
        known = [each[name] for each in found if each[name] is not None]
        return mean(known) if known else None

    return [
        GroupEntry(
            *key,
            mean(each["n"] for each in found),
            mean(each["selection_rate"] for each in found),
            averaged(found, "label_precision"),
            averaged(found, "label_recall"),
            any(each["small"] for each in found),
        )
        for key, found in cells.items()
    ]


def cells_of(rows: Iterable[Row], noise: str, method: str) -> list[Row]:
    """The rows of a method under one kind of noise."""
    return [row for row in rows if row["noise"] == noise and row["method"] == method]


def relative(row: Row, standard: Row | None) -> dict[str, float | None]:
    """What a cell cost, divided by what standard training did; None where that is not done.

    Memory has no factor where standard training took less than `LEAST_MIB`.
    """
    if standard is None:
        return {"relative_seconds": None, "relative_memory": None}
    seconds = standard["cpu_seconds"]
    memory, taken = training_mib(standard), training_mib(row)
    factor = None
    if memory is not None and taken is not None and memory >= LEAST_MIB:
        factor = taken / memory
    return {
        "relative_seconds": row["cpu_seconds"] / seconds if seconds else None,
        "relative_memory": factor,
    }


def training_mib(row: Row) -> float | None:
    """The memory a training took beyond what its process held before; None = not known.

    >>> training_mib({"held_mib": 390.0, "peak_mib": 400.5})
    10.5
    """
    held = row.get("held_mib")
    return None if held is None else max(0.0, row["peak_mib"] - held)


def mean_curve(curves: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The mean of curves, as long as the shortest.

    >>> mean_curve([[0.0, 1.0], [0.5, 0.5, 0.9]])
    (0.25, 0.75)
    """
    return tuple(mean(values) for values in zip(*curves, strict=False))


def markdown_table(found: Sequence[Entry], figures: Sequence[Figure]) -> str:
    """A table in Markdown, a row a method; figures that none has are left out, the best are bold.

    Args:
        found: Of one kind of noise.
        figures: The columns.
    """
    shown = [each for each in figures if any(each.name in entry.figures for entry in found)]
    if not shown:
        return ""
    lines = [
        ["method", *(each.title for each in shown)],
        ["---", *["---:"] * len(shown)],
        *(
            [
                entry.title,
                *(
                    f"**{entry.words(each)}**" if is_best(entry, each, found) else entry.words(each)
                    for each in shown
                ),
            ]
            for entry in found
        ),
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def is_best(entry: Entry, figure: Figure, found: Sequence[Entry]) -> bool:
    """Whether no method of the table has a better mean; where none is better, none is best.

    Only means over all the seeds are compared.
    """
    if figure.best is None:
        return False
    known = [each for each in found if each.whole and figure.name in each.figures]
    most = max((each.figures[figure.name].seeds for each in known), default=0)
    known = [each for each in known if each.figures[figure.name].seeds == most]
    means = [each.figures[figure.name].mean for each in known]
    if entry not in known or len(set(means)) < 2:
        return False
    best = max(means) if figure.best == "high" else min(means)
    return entry.figures[figure.name].mean == best
