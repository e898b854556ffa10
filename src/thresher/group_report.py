"""Group-aware report: whether some groups of people or places are served worse than others.

Pure functions on arrays. Groups are compared, never trained on: the column that names them is read
beside the samples. With a group a, a class c, a prediction ŷ and a label y:

    accuracy of a             P(ŷ = y | a)                       worst group: the smallest
    demographic parity gap    max over c and pairs of groups of  |P(ŷ=c | a) - P(ŷ=c | b)|
    equalised odds gap        the same of the rates              P(ŷ=c | y=c, a), P(ŷ=c | y≠c, a)
    selection rate            P(label is trusted | given c, a)
    label precision, recall   P(right | trusted, given c, a), P(trusted | right, given c, a)

A rate over few samples says little: groups of fewer than `FEWEST` are marked, and no rate over
fewer enters a gap or is called the worst.

Source: the gaps as in Lee, Roh, Song & Whang, Machine Learning Robustness, Fairness, and their
Convergence, KDD 2021 (tutorial); for more than two classes and groups, the largest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FEWEST",
    "NAMELESS",
    "Cell",
    "Fairness",
    "GroupAccuracy",
    "demographic_parity_gap",
    "equalised_odds_gap",
    "fairness",
    "numbered",
    "selection_by_group",
]

FEWEST = 20
NAMELESS = "(none)"  # the group of samples without one

Integers = NDArray[np.integer[Any]]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class GroupAccuracy:
    """How well one group is predicted."""

    group: str
    n: int
    accuracy: float
    small: bool


@dataclass(frozen=True)
class Fairness:
    """How groups differ in what is predicted of them.

    Attributes:
        groups: Each with its accuracy, by name.
        worst_group: The one with the smallest accuracy that is not small; None if all are.
        worst_group_accuracy: Of that one.
        demographic_parity_gap: In [0, 1]; None where fewer than two groups are large enough.
        equalised_odds_gap: The same.
    """

    groups: tuple[GroupAccuracy, ...]
    worst_group: str | None
    worst_group_accuracy: float | None
    demographic_parity_gap: float | None
    equalised_odds_gap: float | None

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Cell:
    """What was trusted of one given class in one group.

    Attributes:
        label: The given class.
        group: The group.
        n: Samples.
        selection_rate: Share of them that is trusted.
        label_precision: Share of right labels among the trusted; None without truth, or trusted.
        label_recall: Share of the right labels that is trusted; None without truth, or right ones.
        small: Fewer than FEWEST.
    """

    label: str
    group: str
    n: int
    selection_rate: float
    label_precision: float | None
    label_recall: float | None
    small: bool


def numbered(values: Sequence[Any]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Number the groups that a column names, in the order of their names.

    >>> codes, names = numbered(["b", None, "a", "b"])
    >>> codes.tolist(), names
    ([2, 0, 1, 2], ('(none)', 'a', 'b'))

    Args:
        values: (N,) texts, numbers, anything with a name; None, NaN or "" = in no group.
    """
    nameless = (None, "")
    texts = [NAMELESS if each in nameless or each != each else str(each) for each in values]
    names, codes = np.unique(np.array(texts, dtype=str), return_inverse=True)
    return codes.astype(np.int64), tuple(names.tolist())


def demographic_parity_gap(
    predicted: Integers, groups: Integers, classes: int, *, fewest: int = FEWEST
) -> float | None:
    """The largest difference between two groups in how often a class is predicted.

    >>> predicted, groups = np.array([0, 0, 0, 1, 1, 1, 1, 0]), np.repeat([0, 1], 4)
    >>> demographic_parity_gap(predicted, groups, 2, fewest=1)
    0.5

    Args:
        predicted: (N,) in 0..k-1.
        groups: (N,) >= 0.
        classes: k.
        fewest: Groups of fewer samples are left out.

    Returns:
        In [0, 1]; None where fewer than two groups are left.
    """
    everyone = np.ones(len(predicted), np.bool_)
    return _largest(_gap(predicted == each, everyone, groups, fewest) for each in range(classes))


def equalised_odds_gap(
    predicted: Integers, labels: Integers, groups: Integers, classes: int, *, fewest: int = FEWEST
) -> float | None:
    """The largest difference between two groups in true or false positives of a class.

    >>> predicted, labels = np.array([1, 1, 0, 0, 1, 0, 0, 0]), np.array([1, 1, 0, 0, 1, 1, 0, 0])
    >>> equalised_odds_gap(predicted, labels, np.repeat([0, 1], 4), 2, fewest=1)
    0.5

    Args:
        predicted: (N,) in 0..k-1.
        labels: (N,) in 0..k-1.
        groups: (N,) >= 0.
        classes: k.
        fewest: Rates over fewer samples are left out.

    Returns:
        In [0, 1]; None where no rate is known of two groups.
    """
    return _largest(
        _gap(predicted == each, rows, groups, fewest)
        for each in range(classes)
        for rows in (labels == each, labels != each)
    )


def fairness(
    predicted: Integers,
    labels: Integers,
    groups: Integers,
    names: Sequence[str],
    classes: int,
    *,
    fewest: int = FEWEST,
) -> Fairness:
    """Accuracies of the groups, the worst, and both gaps.

    Args:
        predicted: (N,) in 0..k-1.
        labels: (N,) in 0..k-1.
        groups: (N,) in 0..g-1.
        names: The g names.
        classes: k.
        fewest: Samples below which a group is small.
    """
    found = []
    for number, name in enumerate(names):
        rows = groups == number
        n = int(rows.sum())
        if n:
            accuracy = float((predicted == labels)[rows].mean())
            found.append(GroupAccuracy(name, n, accuracy, n < fewest))
    large = [each for each in found if not each.small]
    worst = min(large, key=lambda each: each.accuracy, default=None)
    return Fairness(
        tuple(found),
        None if worst is None else worst.group,
        None if worst is None else worst.accuracy,
        demographic_parity_gap(predicted, groups, classes, fewest=fewest),
        equalised_odds_gap(predicted, labels, groups, classes, fewest=fewest),
    )


def selection_by_group(
    trusted: Flags,
    given: Integers,
    groups: Integers,
    names: Sequence[str],
    classes: Sequence[str],
    *,
    true: Integers | None = None,
    fewest: int = FEWEST,
) -> tuple[Cell, ...]:
    """Who is trusted: of every given class in every group, those that occur.

    Args:
        trusted: (N,) bool, whether the given label is believed.
        given: (N,) given labels in 0..k-1; -1 = none, left out.
        groups: (N,) in 0..g-1.
        names: The g names of the groups.
        classes: The k names of the classes.
        true: (N,) true labels, where an evaluator has them.
        fewest: Samples below which a cell is small.
    """
    found = []
    right = None if true is None else given == true
    for label, called in enumerate(classes):
        for number, name in enumerate(names):
            rows = (given == label) & (groups == number)
            n = int(rows.sum())
            if not n:
                continue
            chosen = rows & trusted
            found.append(
                Cell(
                    called,
                    name,
                    n,
                    float(trusted[rows].mean()),
                    None if right is None else _share(right, chosen),
                    None if right is None else _share(trusted, rows & right),
                    n < fewest,
                )
            )
    return tuple(found)


def _share(flags: Flags, rows: Flags) -> float | None:
    return float(flags[rows].mean()) if rows.any() else None


def _gap(flags: Flags, rows: Flags, groups: Integers, fewest: int) -> float | None:
    """Largest less smallest rate of the flags among these rows, over groups with enough of them."""
    rates = [
        float(flags[chosen].mean())
        for each in np.unique(groups)
        for chosen in [rows & (groups == each)]
        if chosen.sum() >= max(1, fewest)
    ]
    return max(rates) - min(rates) if len(rates) > 1 else None


def _largest(gaps: Any) -> float | None:
    known = [gap for gap in gaps if gap is not None]
    return max(known) if known else None
