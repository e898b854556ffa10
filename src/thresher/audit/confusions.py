"""transition.parquet: how labels are confused, as a method was told, estimated or learned it.

    true_label    string
    given_label   string
    probability   double   P(given | true); those of a true label add up to 1

T of the method → `write_transition` → the file → `read_transition` → `Confusions` → report
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from thresher.audit.table import class_numbers, read_table, write_table
from thresher.errors import RunError

__all__ = ["Confusion", "Confusions", "read_transition", "write_transition"]

LEAST = 0.005  # a smaller probability is not shown


@dataclass(frozen=True)
class Confusion:
    """How often a sample of one class is given another label.

    Attributes:
        true: The class.
        given: The label.
        probability: P(given | true), in [0, 1].
        shade: 0 … 1, in proportion: 1 is the most frequent of all.
    """

    true: str
    given: str
    probability: float
    shade: float


@dataclass(frozen=True)
class Confusions:
    """What a report shows of a transition matrix.

    Attributes:
        classes: Names.
        cells: (k, k), of a true class every label; None where the map would be too large.
        pairs: Of different classes, the most frequent first.
    """

    classes: tuple[str, ...]
    cells: tuple[tuple[Confusion, ...], ...] | None
    pairs: tuple[Confusion, ...]

    @classmethod
    def of(
        cls, transition: ArrayLike, classes: Sequence[str], *, largest_map: int, listed: int
    ) -> Confusions:
        """Arrange a matrix for the eye.

        Args:
            transition: T (k, k), rows add up to 1.
            classes: k names.
            largest_map: Most classes of which cells are shown.
            listed: Most pairs.
        """
        matrix = np.asarray(transition, np.float64)
        apart = np.where(np.eye(len(matrix), dtype=bool), 0.0, matrix)
        most = max(float(apart.max()), 1e-12)

        def cell(true: int, given: int) -> Confusion:
            probability = float(matrix[true, given])
            shade = min(1.0, probability / most)
            return Confusion(classes[true], classes[given], probability, shade)

        order = np.argsort(-apart, axis=None, kind="stable")[:listed]
        shown = [divmod(int(place), len(matrix)) for place in order]
        numbers = range(len(matrix))
        return cls(
            tuple(classes),
            tuple(tuple(cell(true, given) for given in numbers) for true in numbers)
            if len(matrix) <= largest_map
            else None,
            tuple(cell(*place) for place in shown if apart[place] >= LEAST),
        )


def write_transition(
    path: str | os.PathLike[str], transition: ArrayLike, classes: Sequence[str]
) -> None:
    """Write T (k, k) with the names of the classes; the file appears whole or not at all.

    Raises:
        RunError: the file cannot be written.
    """
    matrix = np.asarray(transition, np.float64)
    names = np.array([*classes, None], dtype=object)[:-1]
    true, given = np.indices(matrix.shape)
    columns = {
        "true_label": pa.array(names[true.ravel()], pa.string()),
        "given_label": pa.array(names[given.ravel()], pa.string()),
        "probability": pa.array(matrix.ravel()),
    }
    write_table(pa.table(columns), path)


def read_transition(path: Path, classes: Sequence[str]) -> list[list[float]] | None:
    """Read T (k, k) in the order of the classes; None where there is no file.

    Raises:
        RunError: the file is damaged, or of other classes.
    """
    if not path.is_file():
        return None
    table = read_table(path)
    try:
        true, given = (
            class_numbers(table[name], classes) for name in ("true_label", "given_label")
        )
        probability = table["probability"].to_numpy()
    except (KeyError, pa.ArrowException) as error:
        raise _of_another_run(path) from error
    matrix = np.full((len(classes), len(classes)), np.nan)
    known = (true >= 0) & (given >= 0)
    matrix[true[known], given[known]] = probability[known]
    if np.isnan(matrix).any():
        raise _of_another_run(path)
    found: list[list[float]] = matrix.tolist()
    return found


def _of_another_run(path: Path) -> RunError:
    return RunError(
        f"{path} does not hold how the classes of this run are confused.",
        "Delete it: the report goes on without it.",
    )
